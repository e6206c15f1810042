//! Either side restarts.

use anycast_tests::lab::farm::SERVICE;
use anycast_tests::lab::routed::Speaker;
use anycast_tests::lab::wait_until;

use crate::router::{BIRD, FRR, Kind, Router};
use crate::{PATIENCE, Rig, need_lab};

/// A daemon is killed, and what it had said is still in the router when it comes back.
fn a_daemon_comes_back(kind: Kind) {
    // Without the guard the router notices nothing before the dead interval is over.
    let mut rig = Rig::new(kind, Speaker::Native, 1, "guard = false");
    let mut before = rig.own(0);
    // What is not known anew yet is taken back for the time being.
    before.retain(|(ls_type, _), _| ls_type != "load");
    assert_eq!(before.len(), 3, "{before:?}");
    rig.daemons[0].kill().unwrap();
    rig.start(0);
    rig.wait_until_full(0, &[("10.0.0.1", "DR")]);
    wait_until("all is said again, and newer", PATIENCE, || {
        let now = rig.own(0);
        before.iter().all(|(lsa, sequence)| now.get(lsa).is_some_and(|new| new > sequence))
    })
    .unwrap_or_else(|error| {
        panic!(
            "{error:#}: {before:?}, {:?}\n{}\n{}",
            rig.own(0),
            rig.log(0),
            rig.router.database(&rig.farm.router)
        )
    });
    rig.wait_for_next_hops(&[0]);
    // Control: what it does not want any more is taken from the router, which still has it when the daemon comes.
    rig.daemons[0].kill().unwrap();
    rig.responders[0].kill().unwrap();
    assert!(rig.router.holds(&rig.farm.router, 0x2009, "10.0.1.1"));
    assert_eq!(rig.next_hops(), [rig.link_local(0)]);
    rig.start(0);
    rig.wait_until_full(0, &[("10.0.0.1", "DR")]);
    wait_until("nothing is left of the service", PATIENCE, || {
        !rig.router.holds(&rig.farm.router, 0x2009, "10.0.1.1") && rig.next_hops().is_empty()
    })
    .unwrap();
    assert!(rig.own(0).keys().all(|(ls_type, _)| ["Router", "Link"].contains(&ls_type.as_str())));
}

#[test]
fn a_killed_daemon_comes_back_under_frr() {
    need_lab!("a_killed_daemon_comes_back_under_frr");
    a_daemon_comes_back(FRR);
}

#[test]
fn a_killed_daemon_comes_back_under_bird() {
    need_lab!("a_killed_daemon_comes_back_under_bird");
    a_daemon_comes_back(BIRD);
}

/// What a server has of the router: instances.
fn heard(rig: &Rig, server: usize) -> Vec<(String, u32, u32)> {
    let database = rig.picture(server).database.into_iter();
    let of_router = database.filter(|lsa| lsa.advertising_router == "10.0.0.1");
    let mut heard: Vec<_> = of_router.map(|lsa| (lsa.ls_type, lsa.link_state_id, lsa.sequence)).collect();
    heard.sort_unstable();
    heard
}

/// A router is killed and comes back within the dead interval, without a memory.
fn a_router_comes_back(kind: Kind) {
    let mut rig = Rig::new(kind, Speaker::Native, 2, "");
    // Where servers remember different instances of the router's own LSAs, BIRD 2.0.12 may leave one of them out of its
    // Network-LSA: see docs/limitations.md.
    wait_until("both servers have heard the same", PATIENCE, || heard(&rig, 0) == heard(&rig, 1)).unwrap();
    rig.router.kill();
    // What it had put into the kernel outlived it, and must not pass for what it will put there.
    rig.farm.router.ip(&["-6", "route", "del", &format!("{SERVICE}/128")]).unwrap();
    assert_eq!(rig.next_hops(), Vec::<String>::new());
    rig.router = Router::start(kind, &rig.farm);
    rig.wait_for_next_hops(&[0, 1]);
    for server in [0, 1] {
        rig.wait_until_full(server, &[("10.0.0.1", "DR")]);
    }
    assert_eq!(rig.answering(), ["s1", "s2"]);
    // Control: nothing of the time before is left that would keep the route.
    rig.responders[0].kill().unwrap();
    rig.wait_for_next_hops(&[1]);
    rig.responders[1].kill().unwrap();
    rig.wait_for_next_hops(&[]);
}

#[test]
fn frr_comes_back() {
    need_lab!("frr_comes_back");
    a_router_comes_back(FRR);
}

#[test]
fn bird_comes_back() {
    need_lab!("bird_comes_back");
    a_router_comes_back(BIRD);
}
