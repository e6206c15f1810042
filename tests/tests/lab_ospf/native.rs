//! The daemon's own speaker with FRR or BIRD as Designated Router.

use anycast_tests::lab::routed::Speaker;
use anycast_tests::lab::wait_until;
use anycast_user::control::Command;

use crate::router::{BIRD, FRR, Kind};
use crate::{PATIENCE, Rig, need_lab};

fn shared_moved_and_withdrawn(kind: Kind) {
    let mut rig = Rig::new(kind, Speaker::Native, 2, "");
    rig.wait_until_full(0, &[("10.0.0.1", "DR")]);
    assert_eq!(rig.answering(), ["s1", "s2"], "flows are shared");
    // Drained: the other is used; it stays in the database as the last resort.
    rig.daemons[0].request(&Command::Drain { service: None }).unwrap();
    rig.wait_for_next_hops(&[1]);
    assert_eq!(rig.picture(0).routes[0].metric, 65_535);
    assert_eq!(rig.answering(), ["s2"]);
    // With the other one dead, the last resort is what there is.
    rig.responders[1].kill().unwrap();
    rig.wait_for_next_hops(&[0]);
    rig.daemons[0].request(&Command::Undrain { service: None }).unwrap();
    assert_eq!(rig.answering(), ["s1"]);
    // And with that one dead too, nothing.
    rig.responders[0].kill().unwrap();
    rig.wait_for_next_hops(&[]);
}

#[test]
fn with_frr_servers_share_drain_and_withdraw() {
    need_lab!("with_frr_servers_share_drain_and_withdraw");
    shared_moved_and_withdrawn(FRR);
}

#[test]
fn with_bird_servers_share_drain_and_withdraw() {
    need_lab!("with_bird_servers_share_drain_and_withdraw");
    shared_moved_and_withdrawn(BIRD);
}

#[test]
fn a_stop_takes_the_route_at_once_and_a_killed_daemons_guard_does_too() {
    need_lab!("a_stop_takes_the_route_at_once_and_a_killed_daemons_guard_does_too");
    let mut rig = Rig::new(FRR, Speaker::Native, 2, "");
    let daemon = rig.daemons.remove(0);
    assert!(daemon.terminate().unwrap().success());
    assert_eq!(rig.next_hops(), [rig.link_local(1)], "it is gone when the daemon is");
    rig.daemons[0].kill().unwrap();
    rig.wait_for_next_hops(&[]);
}

#[test]
fn a_cost_higher_by_one_takes_all_traffic_away() {
    need_lab!("a_cost_higher_by_one_takes_all_traffic_away");
    let mut rig = Rig::idle(FRR, Speaker::Native, 2, "");
    rig.options[1].services[0].more += "\n[service.cost]\nmin = 11";
    rig.start(0);
    rig.wait_for_next_hops(&[0]);
    rig.start(1);
    rig.wait_until_full(1, &[("10.0.0.1", "DR")]);
    wait_until("the router has both", PATIENCE, || {
        let of_s2 = rig.picture(0).database.into_iter().filter(|lsa| lsa.advertising_router == "10.0.1.2");
        of_s2.into_iter().any(|lsa| lsa.says.ends_with("metric 11"))
    })
    .unwrap();
    assert_eq!(rig.answering(), ["s1"]);
    // Control: it is there all the same, and the next best.
    rig.responders[0].kill().unwrap();
    rig.wait_for_next_hops(&[1]);
    assert_eq!(rig.answering(), ["s2"]);
}
