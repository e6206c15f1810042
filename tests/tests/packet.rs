//! The fast path, packet by packet: the program that the `anycast` binary carries, run by `BPF_PROG_TEST_RUN`.
//!
//! Needs root and `cargo xtask build`. The number of random frames is taken from `ANYCAST_FRAMES`, the seed from
//! `ANYCAST_SEED`; both are printed.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as the tests do, by a panic")]

#[path = "packet/events.rs"]
mod events;
#[path = "packet/extra.rs"]
mod extra;
#[path = "packet/random.rs"]
mod random;

use std::net::Ipv6Addr;

use anycast_common::abi::Counters;
use anycast_tests::cases::{self, MAC, PLAIN};
use anycast_tests::exercise;
use anycast_tests::frames::Neighbor;
use anycast_tests::reference::Verdict;
use anycast_tests::subject::{Subject, verdict};

fn subject() -> Subject {
    exercise::embedded().unwrap_or_else(|error| panic!("{error:#}"))
}

fn agreed(difference: anyhow::Result<Option<String>>) {
    if let Some(difference) = difference.unwrap() {
        panic!("{difference}");
    }
}

#[test]
fn every_case_ends_as_it_must() {
    let mut subject = subject();
    let cases = cases::all();
    let mut failures = Vec::new();
    for case in &cases {
        assert_eq!(case.services, cases::services(), "{}: the services are loaded once", case.name);
        failures.extend(exercise::case(&mut subject, case).unwrap());
    }
    println!("{} cases", cases.len());
    assert!(failures.is_empty(), "{} of {} cases\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn answers_carry_the_right_checksum_for_every_sum() {
    agreed(exercise::checksums(&mut subject(), 1 << 16));
}

#[test]
fn the_whole_key_is_compared() {
    agreed(exercise::keys(&mut subject(), 16_384));
}

/// The maps belong to an interface: what another interface serves is a stranger's here.
#[test]
fn an_interface_answers_only_for_its_own_services() {
    let services = cases::services();
    let mut here = Subject::embedded(MAC, &services[..1]).unwrap();
    let mut there = Subject::embedded(MAC, &services[1..2]).unwrap();
    here.set_gates(&[cases::OPEN]);
    there.set_gates(&[cases::OPEN]);
    let plain = Neighbor::solicitation(cases::ROUTER_MAC, cases::ROUTER, cases::PLAIN_ADDRESS).frame();
    let twin = Neighbor::solicitation(cases::ROUTER_MAC, cases::ROUTER, cases::TWIN_ADDRESS).frame();
    for (subject, own, other) in [(&mut here, &plain, &twin), (&mut there, &twin, &plain)] {
        let answered = subject.run(own).unwrap();
        assert_eq!(verdict(answered.action), Some(Verdict::Tx));
        assert_eq!(answered.counted.len(), 1);
        let passed = subject.run(other).unwrap();
        assert_eq!(verdict(passed.action), Some(Verdict::Pass));
        assert_eq!(&passed.frame, other);
        assert!(passed.counted.is_empty() && passed.drops.is_empty() && passed.events.is_empty());
    }
}

/// A lease that runs out between two frames; renewing it opens the gate again.
#[test]
fn the_lease_is_asked_for_every_frame() {
    let mut subject = subject();
    let frame = Neighbor::solicitation(cases::ROUTER_MAC, cases::ROUTER, cases::PLAIN_ADDRESS).frame();
    let mut gates = [cases::OPEN; 6];
    for (gate, expected) in
        [(cases::OPEN, Verdict::Tx), (cases::STALE, Verdict::Drop), (cases::OPEN, Verdict::Tx)]
    {
        gates[PLAIN] = gate;
        subject.set_gates(&gates);
        let observed = subject.run(&frame).unwrap();
        assert_eq!(verdict(observed.action), Some(expected));
        let refused = u64::from(expected == Verdict::Drop);
        let counters = Counters {
            solicitations_multicast: 1,
            answered: 1 - refused,
            refused_stale: refused,
            ..Counters::default()
        };
        assert_eq!(observed.counted, [(PLAIN, counters)]);
    }
}

/// As many services as an interface can carry, each found, each answered with its own address.
#[test]
fn a_full_table_is_searched_right() {
    let services: Vec<_> = (0..anycast_common::abi::SERVICES_MAX as u16)
        .map(|number| {
            let mut service = cases::services()[PLAIN].clone();
            service.address = Ipv6Addr::new(0x2001, 0xdb8, 0x100 + number, 0, 0, 0, 0, 0x53).into();
            service.vlan = if number % 3 == 0 { vec![] } else { vec![number] };
            service
        })
        .collect();
    let mut subject = Subject::embedded(MAC, &services).unwrap();
    subject.set_gates(&vec![cases::OPEN; services.len()]);
    for number in 0..0x140u16 {
        let target = Ipv6Addr::new(0x2001, 0xdb8, number, 0, 0, 0, 0, 0x53);
        let untagged = Neighbor::solicitation(cases::ROUTER_MAC, cases::ROUTER, target);
        let mut tagged = untagged.clone();
        tagged.ether.tags = vec![anycast_tests::frames::customer(number.saturating_sub(0x100))];
        let mut answers = 0;
        for frame in [untagged.frame(), tagged.frame()] {
            let expected = subject.expect(&frame);
            assert_eq!(subject.differs(&frame).unwrap(), None, "{target}");
            answers += usize::from(expected.verdict == Verdict::Tx);
        }
        // Service 0 is untagged and the frame's tag is a priority tag then.
        let own = (0x100..0x140).contains(&number);
        let expected = if number == 0x100 { 2 } else { usize::from(own) };
        assert_eq!(answers, expected, "{target}");
    }
}
