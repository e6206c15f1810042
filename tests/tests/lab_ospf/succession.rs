//! Designated Router and Backup: who dies, and who comes after him.

use std::time::Duration;

use anycast_tests::lab::farm::SERVICE;
use anycast_tests::lab::routed::Speaker;
use anycast_tests::lab::second_router::SecondRouter;
use anycast_tests::lab::{Client, wait_until};

use crate::router::{BIRD, FRR, Kind, Router};
use crate::{PATIENCE, Rig, flows_of, need_lab, servers_link};

/// A Designated Router dies with a Backup beside it, and comes back.
fn backup_takes_over(first: Kind, second: Kind) {
    let mut rig = Rig::new(first, Speaker::Native, 1, "");
    rig.wait_until_full(0, &[("10.0.0.1", "DR")]);
    let other = SecondRouter::new(&rig.farm).unwrap();
    let directory = rig.farm.directory().join("second");
    let _backup = Router::ospf(second, &other.router, &directory, "10.0.0.2", &[servers_link(1)]);
    rig.wait_until_full(0, &[("10.0.0.1", "DR"), ("10.0.0.2", "BDR")]);
    rig.wait_for_next_hops_of(&other.router, &[0]);
    flows_of(&other.client, 8);
    let client = Client::start(&other.client, SERVICE, Duration::from_millis(10)).unwrap();
    rig.router.kill();
    rig.wait_until_full(0, &[("10.0.0.2", "DR")]);
    let interface = rig.picture(0).interfaces.remove(0);
    assert_eq!(interface.designated_router.as_deref(), Some("10.0.0.2"));
    rig.wait_for_next_hops_of(&other.router, &[0]);
    flows_of(&other.client, 8);
    let (_, before) = client.counts();
    wait_until("traffic goes on", PATIENCE, || client.counts().1 > before + 20).unwrap();
    println!("{first:?} dies, {second:?} takes over: no answer for {:?}", client.stop().longest_gap());
    // Who comes back finds a Designated Router, and is Backup now.
    rig.router = Router::start(first, &rig.farm);
    rig.wait_until_full(0, &[("10.0.0.1", "BDR"), ("10.0.0.2", "DR")]);
    rig.wait_for_next_hops(&[0]);
    // Control: what both routers have follows the service still.
    rig.responders[0].kill().unwrap();
    rig.wait_for_next_hops(&[]);
    rig.wait_for_next_hops_of(&other.router, &[]);
}

#[test]
fn bird_takes_over_when_frr_dies_as_designated_router() {
    need_lab!("bird_takes_over_when_frr_dies_as_designated_router");
    backup_takes_over(FRR, BIRD);
}

#[test]
fn frr_takes_over_when_bird_dies_as_designated_router() {
    need_lab!("frr_takes_over_when_bird_dies_as_designated_router");
    backup_takes_over(BIRD, FRR);
}
