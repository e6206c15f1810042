//! Events: at most one solicitation of a kind and service in an interval, a budget for peers, and neither hides the other.

use anycast_common::abi::{
    Drop, EVENT_PEER_ADVERTISEMENT, EVENT_SOLICITED_DAD, EVENT_SOLICITED_MULTICAST, EVENT_SOLICITED_UNICAST,
    PEERS_BUDGET,
};
use anycast_tests::cases::{
    self, MAC, PEER, PEER_MAC, PLAIN, PLAIN_ADDRESS, ROUTER, ROUTER_MAC, TWIN_ADDRESS,
};
use anycast_tests::exercise::{Flood, flood, stay_on_one_cpu};
use anycast_tests::frames::Neighbor;
use anycast_tests::subject::Subject;

fn of_kind(flood: &Flood, kind: u32, index: u32) -> u64 {
    flood.events.iter().filter(|event| event.kind == kind && event.index == index).count() as u64
}

fn shut() -> Subject {
    let mut subject = super::subject();
    subject.set_gates(&[cases::SHUT; 6]);
    subject
}

#[test]
fn a_flood_of_solicitations_costs_one_event_of_each_kind_and_service_in_an_interval() {
    stay_on_one_cpu().unwrap();
    let mut subject = shut();
    let mut frames = Vec::new();
    for target in [PLAIN_ADDRESS, TWIN_ADDRESS] {
        frames.push(Neighbor::solicitation(ROUTER_MAC, ROUTER, target).frame());
        frames.push(Neighbor::probe(ROUTER_MAC, ROUTER, target, MAC).frame());
        frames.push(Neighbor::duplicate_detection(ROUTER_MAC, target).frame());
    }
    let flood = flood(&mut subject, &frames, 6_000).unwrap();
    for kind in [EVENT_SOLICITED_MULTICAST, EVENT_SOLICITED_UNICAST, EVENT_SOLICITED_DAD] {
        for index in 0..2 {
            let events = of_kind(&flood, kind, index);
            assert!(events >= 1, "kind {kind} of service {index}: none");
            assert!(events <= flood.intervals, "kind {kind} of service {index}: {events}");
        }
    }
    assert!(flood.events.len() < 600, "{} events of 6000 frames", flood.events.len());
}

/// The limit is one of time: lifted, each frame is an event.
#[test]
fn without_the_limit_every_solicitation_is_an_event() {
    let mut subject = shut();
    let frame = Neighbor::solicitation(ROUTER_MAC, ROUTER, PLAIN_ADDRESS).frame();
    let mut events = 0;
    for _ in 0..100 {
        subject.lift_limits(PLAIN).unwrap();
        events += subject.run(&frame).unwrap().events.len();
    }
    assert_eq!(events, 100);
}

#[test]
fn peers_have_a_budget_and_what_is_over_it_is_counted() {
    stay_on_one_cpu().unwrap();
    let mut subject = shut();
    let frame = Neighbor::advertisement(PEER_MAC, PEER, PLAIN_ADDRESS).frame();
    let flood = flood(&mut subject, &[frame], 3_000).unwrap();
    let events = flood.events.len() as u64;
    assert!(events >= u64::from(PEERS_BUDGET), "{events} events");
    assert!(events <= u64::from(PEERS_BUDGET) * flood.intervals, "{events} events");
    assert_eq!(events + flood.lost, 3_000, "each advertisement is told or counted as lost");
}

#[test]
fn a_flood_of_solicitations_does_not_hide_a_peer() {
    stay_on_one_cpu().unwrap();
    let mut subject = shut();
    let mut frames = vec![Neighbor::solicitation(ROUTER_MAC, ROUTER, PLAIN_ADDRESS).frame(); 999];
    frames.push(Neighbor::advertisement(PEER_MAC, PEER, PLAIN_ADDRESS).frame());
    let flood = flood(&mut subject, &frames, 5_000).unwrap();
    assert_eq!(of_kind(&flood, EVENT_PEER_ADVERTISEMENT, 0), 5);
    assert_eq!(flood.lost, 0);
}

/// A controller that does not read: the ring fills, and what does not fit is counted.
#[test]
fn a_full_ring_is_counted() {
    let mut subject = shut();
    let frame = Neighbor::solicitation(ROUTER_MAC, ROUTER, PLAIN_ADDRESS).frame();
    let peer = Neighbor::advertisement(PEER_MAC, PEER, PLAIN_ADDRESS).frame();
    let mut lost = [0; 2];
    // The ring holds some 1,200 records.
    for _ in 0..1_500 {
        for (frame, lost) in [&frame, &peer].into_iter().zip(&mut lost) {
            subject.lift_limits(PLAIN).unwrap();
            let drops = subject.run_without_reading(frame).unwrap();
            *lost += u64::from(
                drops.iter().any(|drop| matches!(drop.0, Drop::SolicitedRingFull | Drop::PeersRingFull)),
            );
        }
    }
    for lost in lost {
        assert!((100..1_400).contains(&lost), "{lost} of 1500 lost");
    }
}
