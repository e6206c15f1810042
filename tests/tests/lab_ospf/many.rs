//! Many servers at the same cost.

use std::time::Duration;

use anycast_tests::lab::routed::{self, Speaker};
use anycast_tests::lab::wait_until;
use anycast_user::control::Command;

use crate::router::{BIRD, FRR, Kind};
use crate::{PATIENCE, Rig, need_lab};

const EIGHT: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

/// So many flows miss one of eight servers in one of 10^14 runs.
const FLOWS: u16 = 256;

fn eight_share(kind: Kind) {
    let mut rig = Rig::at_once(kind, Speaker::Native, 8, "");
    rig.wait_for_next_hops(&EIGHT);
    let shares = rig.flows(FLOWS);
    assert_eq!(shares.len(), 8, "{shares:?}");
    // A raised cost takes the traffic away from one, and from no other …
    rig.daemons[2].request(&Command::Drain { service: None }).unwrap();
    rig.wait_for_next_hops(&[0, 1, 3, 4, 5, 6, 7]);
    let shares = rig.flows(FLOWS);
    assert!(shares.len() == 7 && !shares.contains_key("s3"), "{shares:?}");
    // … and an equal one gives it its share back.
    rig.daemons[2].request(&Command::Undrain { service: None }).unwrap();
    rig.wait_for_next_hops(&EIGHT);
    let shares = rig.flows(FLOWS);
    assert_eq!(shares.len(), 8, "{shares:?}");
    // One leaves, six at once, and the last.
    for leaving in [0..1, 1..7, 7..8] {
        let left = &EIGHT[leaving.end..];
        leaving.for_each(|server| rig.responders[server].kill().unwrap());
        rig.wait_for_next_hops(left);
    }
}

#[test]
fn with_frr_eight_servers_share() {
    need_lab!("with_frr_eight_servers_share");
    eight_share(FRR);
}

#[test]
fn with_bird_eight_servers_share() {
    need_lab!("with_bird_eight_servers_share");
    eight_share(BIRD);
}

/// Two servers raise their cost one after the other, and the first of them withdraws its route while its daemon stays. Tells whether
/// the router then uses the other one alone.
fn the_first_to_move_withdraws(more: &str) -> (Rig, bool) {
    let mut rig = Rig::new(FRR, Speaker::Native, 2, more);
    rig.daemons[0].request(&Command::Drain { service: None }).unwrap();
    rig.wait_for_next_hops(&[1]);
    rig.daemons[1].request(&Command::Drain { service: None }).unwrap();
    rig.wait_for_next_hops(&[0, 1]);
    rig.responders[0].kill().unwrap();
    wait_until("the route leaves the database", PATIENCE, || {
        !rig.router.holds(&rig.farm.router, 0x2009, "10.0.1.1")
    })
    .unwrap();
    let alone = [rig.link_local(1)];
    let other = wait_until("only the other is used", Duration::from_secs(3), || rig.next_hops() == alone);
    (rig, other.is_ok())
}

/// FRR does not know which next hops belong to the first of several equal paths before it has calculated routes again.
#[test]
fn frr_uses_no_next_hop_of_a_route_that_left() {
    need_lab!("frr_uses_no_next_hop_of_a_route_that_left");
    let (rig, other) = the_first_to_move_withdraws("");
    assert!(other, "{:?}", rig.next_hops());
    drop(rig);
    // Control: without a reason to calculate again it does, until something gives it one.
    let (mut rig, other) = the_first_to_move_withdraws("recalculate = false");
    assert!(!other, "this FRR does better: say so in docs/limitations.md");
    let mut both = [rig.link_local(0), rig.link_local(1)];
    both.sort_unstable();
    assert_eq!(rig.next_hops(), both);
    assert!(rig.daemons.remove(0).terminate().unwrap().success());
    let alone = [routed::link_local(&rig.farm.servers[1]).unwrap()];
    wait_until("only the other is used", PATIENCE, || rig.next_hops() == alone).unwrap();
}
