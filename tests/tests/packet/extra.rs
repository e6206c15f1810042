//! The program with extras: gates of single routers, and answers left to the controller.

use anycast_common::abi::{
    Counters, Drop, EVENT_SOLICITED_ANSWERED, EVENT_SOLICITED_DELAYED, EVENT_SOLICITED_MULTICAST,
    EVENT_SOLICITED_UNICAST,
};
use anycast_tests::cases::{
    self, MAC, OTHER_MAC, PLAIN, PLAIN_ADDRESS, PLAIN4, ROUTER, ROUTER_MAC, TAGGED, TWIN,
};
use anycast_tests::exercise::{self, extra, extra::OPEN};
use anycast_tests::frames::Neighbor;
use anycast_tests::reference::{RouterGate, Verdict};
use anycast_tests::subject::{Subject, verdict};

fn subject() -> Subject {
    Subject::extra(MAC, &cases::services()).unwrap()
}

/// What becomes of a solicitation from the router, and the kind of the event.
fn solicited(subject: &mut Subject, unicast: bool) -> (Option<Verdict>, Vec<u32>) {
    let mut ns = Neighbor::solicitation(ROUTER_MAC, ROUTER, PLAIN_ADDRESS);
    if unicast {
        ns.ether.destination = MAC;
        ns.ip.destination = PLAIN_ADDRESS;
    }
    subject.lift_limits(PLAIN).unwrap();
    let frame = ns.frame();
    assert_eq!(subject.differs(&frame).unwrap(), None);
    subject.lift_limits(PLAIN).unwrap();
    let observed = subject.run(&frame).unwrap();
    (verdict(observed.action), observed.events.iter().map(|event| event.kind).collect())
}

/// What one router's gate says goes before what the service's says, for this router, service and kind of frame, and no other.
#[test]
fn a_routers_gate_goes_before_the_services() {
    let mut subject = subject();
    let answered = (Some(Verdict::Tx), vec![EVENT_SOLICITED_ANSWERED]);
    let rows: [(&str, Option<RouterGate>, bool); 8] = [
        ("nobody is named", None, true),
        ("this router is another server's", Some((PLAIN, ROUTER_MAC, 0)), false),
        ("its lease has run out", Some((PLAIN, ROUTER_MAC, 1)), false),
        ("it is ours", Some((PLAIN, ROUTER_MAC, OPEN)), true),
        ("another router is another server's", Some((PLAIN, OTHER_MAC, 0)), true),
        ("of another service it is another server's", Some((TWIN, ROUTER_MAC, 0)), true),
        ("on a VLAN it is another server's", Some((TAGGED, ROUTER_MAC, 0)), true),
        ("for IPv4 it is another server's", Some((PLAIN4, ROUTER_MAC, 0)), true),
    ];
    for (what, gate, open) in rows {
        for unicast in [false, true] {
            subject.set_gates(&[cases::OPEN; 6]);
            subject.set_router_gates(gate.as_slice()).unwrap();
            let kind = if unicast { EVENT_SOLICITED_UNICAST } else { EVENT_SOLICITED_MULTICAST };
            let refused = (Some(Verdict::Drop), vec![kind]);
            let expected = if open { &answered } else { &refused };
            assert_eq!(&solicited(&mut subject, unicast), expected, "{what}, unicast: {unicast}");
        }
    }
    // And the other way about: the service's gate is shut, as where another server owns the address.
    subject.set_gates(&[cases::SHUT; 6]);
    for (gates, open) in [
        (vec![], false),
        (vec![(PLAIN, ROUTER_MAC, OPEN)], true),
        (vec![(PLAIN, OTHER_MAC, OPEN)], false),
        (vec![(TWIN, ROUTER_MAC, OPEN)], false),
    ] {
        subject.set_router_gates(&gates).unwrap();
        let (verdict, _) = solicited(&mut subject, false);
        assert_eq!(verdict == Some(Verdict::Tx), open, "{gates:?}");
    }
}

/// The operator's hold is over all gates, and a stranger's duplicate address detection under the service's alone.
#[test]
fn holds_and_strangers_do_not_ask_the_routers_gate() {
    let mut subject = subject();
    for (gate, router, expected) in [
        (cases::HELD_SHUT, OPEN, Verdict::Drop),
        (cases::HELD_OPEN, 0, Verdict::Tx),
        (cases::OPEN, 0, Verdict::Drop),
        (cases::SHUT, OPEN, Verdict::Tx),
    ] {
        let mut gates = [cases::OPEN; 6];
        gates[PLAIN] = gate;
        subject.set_gates(&gates);
        subject.set_router_gates(&[(PLAIN, ROUTER_MAC, router)]).unwrap();
        assert_eq!(solicited(&mut subject, false).0, Some(expected), "{gate:?} {router}");
    }
    let mut dad = Neighbor::solicitation(ROUTER_MAC, std::net::Ipv6Addr::UNSPECIFIED, PLAIN_ADDRESS);
    dad.options.clear();
    for (gate, router, expected) in [(cases::OPEN, 0, Verdict::Tx), (cases::SHUT, OPEN, Verdict::Drop)] {
        let mut gates = [cases::OPEN; 6];
        gates[PLAIN] = gate;
        subject.set_gates(&gates);
        subject.set_router_gates(&[(PLAIN, ROUTER_MAC, router)]).unwrap();
        assert_eq!(subject.differs(&dad.frame()).unwrap(), None);
        assert_eq!(verdict(subject.run(&dad.frame()).unwrap().action), Some(expected));
    }
}

/// Negative control: the program without extras does not look at the gates of routers.
#[test]
fn the_program_without_extras_knows_no_routers() {
    let mut subject = exercise::embedded().unwrap();
    subject.set_gates(&[cases::OPEN; 6]);
    subject.set_router_gates(&[(PLAIN, ROUTER_MAC, 0)]).unwrap();
    assert_eq!(solicited(&mut subject, false), (Some(Verdict::Tx), vec![]));
}

/// All cases and random frames, with routers that are ours, another's, or not named, and with answers left to the controller.
#[test]
fn with_extras_everything_else_is_as_without() {
    exercise::stay_on_one_cpu().unwrap();
    let (mut subject, mut delayed) = extra::embedded().unwrap();
    assert_eq!(extra::all(&mut subject, &mut delayed, 21).unwrap(), None);
}

fn delayed() -> Subject {
    Subject::extra(MAC, &extra::delayed_services()).unwrap()
}

/// Multicast solicitations go to the controller; probes are answered at once; a shut gate refuses as ever.
#[test]
fn delayed_answers_are_the_controllers() {
    let mut subject = delayed();
    subject.set_gates(&[cases::OPEN; 6]);
    assert_eq!(solicited(&mut subject, false), (Some(Verdict::Drop), vec![EVENT_SOLICITED_DELAYED]));
    assert_eq!(solicited(&mut subject, true), (Some(Verdict::Tx), vec![EVENT_SOLICITED_ANSWERED]));
    let frame = Neighbor::solicitation(ROUTER_MAC, ROUTER, PLAIN_ADDRESS).frame();
    let observed = subject.run(&frame).unwrap();
    assert_eq!(observed.drops, [(Drop::Delayed, 1)]);
    let counters = Counters { solicitations_multicast: 1, ..Counters::default() };
    assert_eq!(observed.counted, [(PLAIN, counters)]);
    subject.set_gates(&[cases::SHUT; 6]);
    assert_eq!(solicited(&mut subject, false), (Some(Verdict::Drop), vec![EVENT_SOLICITED_MULTICAST]));
    // Negative control: the same frames with a service that does not ask for it.
    let mut at_once = self::subject();
    at_once.set_gates(&[cases::OPEN; 6]);
    assert_eq!(solicited(&mut at_once, false), (Some(Verdict::Tx), vec![EVENT_SOLICITED_ANSWERED]));
}

/// Who does not ask for extras does not pay: the programs share their source, and the smaller one has none of it.
#[test]
fn the_program_without_extras_is_smaller() {
    let without = exercise::embedded().unwrap().instructions().unwrap();
    let with = subject().instructions().unwrap();
    println!("{without} instructions without extras, {with} with");
    assert!(without < with);
}
