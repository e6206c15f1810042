//! The daemon's own speaker with FRR or BIRD as Designated Router.

use anycast_tests::lab::routed::Speaker;
use anycast_tests::lab::wait_until;
use anycast_user::control::{Answer, Command};
use anycast_user::telemetry::ospf::Ospf;

use crate::{Kind, PATIENCE, Rig, need_lab};

fn picture(rig: &Rig, server: usize) -> Ospf {
    match rig.daemons[server].request(&Command::Ospf).unwrap() {
        Answer::Ospf(picture) => *picture,
        other => panic!("{other:?}"),
    }
}

fn wait_until_full(rig: &Rig, server: usize) {
    wait_until("the router is Full", PATIENCE, || {
        picture(rig, server).neighbors.iter().any(|neighbor| neighbor.state == "Full")
    })
    .unwrap();
}

fn shared_moved_and_withdrawn(kind: Kind) {
    let mut rig = Rig::new(kind, Speaker::Native, 2, "");
    wait_until_full(&rig, 0);
    assert_eq!(rig.answering(), ["s1", "s2"], "flows are shared");
    // Drained: the other is used; it stays in the database as the last resort.
    rig.daemons[0].request(&Command::Drain { service: None }).unwrap();
    rig.wait_for_next_hops(&[1]);
    assert_eq!(picture(&rig, 0).routes[0].metric, 65_535);
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
    shared_moved_and_withdrawn(Kind::Frr);
}

#[test]
fn with_bird_servers_share_drain_and_withdraw() {
    need_lab!("with_bird_servers_share_drain_and_withdraw");
    shared_moved_and_withdrawn(Kind::Bird(""));
}

#[test]
fn a_stop_takes_the_route_at_once_and_a_killed_daemons_guard_does_too() {
    need_lab!("a_stop_takes_the_route_at_once_and_a_killed_daemons_guard_does_too");
    let mut rig = Rig::new(Kind::Frr, Speaker::Native, 2, "");
    let daemon = rig.daemons.remove(0);
    assert!(daemon.terminate().unwrap().success());
    assert_eq!(rig.next_hops(), [rig.link_local(1)], "it is gone when the daemon is");
    rig.daemons[0].kill().unwrap();
    rig.wait_for_next_hops(&[]);
}

#[test]
fn with_a_key_bird_takes_the_route_and_without_it_does_not() {
    need_lab!("with_a_key_bird_takes_the_route_and_without_it_does_not");
    const BIRD: &str =
        "authentication cryptographic; password \"between us\" { id 7; algorithm hmac sha256; };";
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("ospf.keys");
    let write = |text: &str| {
        std::fs::write(&keys, text).unwrap();
        std::fs::set_permissions(&keys, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    };
    let more = format!("key_file = \"{}\"", keys.display());
    write("7 hmac-sha-256 \"between us\"\n");
    let rig = Rig::new(Kind::Bird(BIRD), Speaker::Native, 1, &more);
    assert!(picture(&rig, 0).interfaces[0].authenticated);
    drop(rig);
    // Control: with another secret they do not become neighbours, and each counts why.
    write("7 hmac-sha-256 \"between them\"\n");
    let rig = Rig::unrouted(Kind::Bird(BIRD), Speaker::Native, 1, &more);
    wait_until("packets are refused", PATIENCE, || {
        let rejected = &picture(&rig, 0).interfaces[0].rejected;
        rejected.iter().any(|rejected| rejected.reason == "auth" && rejected.total >= 3)
    })
    .unwrap();
    assert_eq!(picture(&rig, 0).neighbors, []);
    assert_eq!(rig.next_hops(), Vec::<String>::new());
}

#[test]
fn two_servers_read_each_others_load() {
    need_lab!("two_servers_read_each_others_load");
    let rig = Rig::new(Kind::Bird(""), Speaker::Native, 2, "");
    let loads = |server: usize| {
        let database = picture(&rig, server).database;
        database.into_iter().filter(|lsa| lsa.ls_type == "load" && lsa.says.contains("load")).count()
    };
    wait_until("each has both loads", PATIENCE, || loads(0) == 2 && loads(1) == 2).unwrap();
}
