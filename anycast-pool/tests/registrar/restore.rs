//! A restart loses no registration.

use std::time::Duration;

use anycast_pool::ElementId;
use anycast_pool::journal;
use anycast_pool::registrar::*;
use anycast_pool::wire::*;

use crate::lab::*;

const WALL: Duration = Duration::from_secs(1_700_000_000);

/// Another registrar with what the journal has, `later`.
fn restarted(lab: &Lab, later: Duration) -> Lab {
    let mut file = journal::header().to_vec();
    lab.journal.iter().for_each(|record| journal::append(record, WALL, &mut file));
    let read = journal::read(&file, WALL + later).expect("a journal");
    assert_eq!(read.rest, None);
    let mut next = Lab::new();
    let now = next.now;
    next.registrar.restore(now, read.records);
    next
}

#[test]
fn elements_keep_their_state_until_the_grace_is_over() {
    let mut lab = Lab::new();
    for id in 1..=3 {
        lab.element(id, "dns", id as u32);
    }
    lab.close(2);
    let mut next = restarted(&lab, seconds(5));
    assert_eq!(next.registrar.snapshot(next.now).elements, 3);
    for (id, state) in [(1, State::Up), (2, State::Down), (3, State::Up)] {
        assert_eq!(next.status("dns", id), Some((state, Source::Restored)));
    }
    next.connect(10);
    let answer = next.resolve(10, "dns", true, true);
    assert_eq!(ids(&answer), [1, 3]);
    assert!(answer.status.unwrap().entries.iter().all(|entry| entry.age_ms == 5000));
    // One comes back, the other does not.
    next.connect(11);
    next.register(11, "dns", &element(1)).unwrap();
    next.answering.insert((11, 1));
    assert_eq!(next.status("dns", 1), Some((State::Up, Source::Registration)));
    next.pass(ms(29_900));
    assert!(next.is_up("dns", 3));
    next.pass(ms(100));
    assert_eq!(next.status("dns", 3), Some((State::Down, Source::ConnectionLost)));
    assert!(next.is_up("dns", 1));
    next.pass(seconds(301));
    assert_eq!(next.registrar.snapshot(next.now).elements, 1);
}

#[test]
fn another_life_has_another_epoch() {
    let now = anycast_pool::Time::ZERO;
    let epoch = |seed| Registrar::new(config(), seed, now).unwrap().epoch();
    assert_ne!(epoch(1), epoch(2));
}

#[test]
fn what_was_deregistered_does_not_come_back() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    lab.element(2, "dns", 2);
    lab.send(1, &Message::Deregistration { handle: handle("dns"), id: ElementId(1) });
    let next = restarted(&lab, seconds(5));
    assert_eq!(next.status("dns", 1), Some((State::Down, Source::Deregistration)));
    assert_eq!(next.registrar.snapshot(next.now).elements, 1);
}

#[test]
fn whose_an_element_is_survives() {
    let mut lab = Lab::new();
    lab.connect_as(1, ConnectionKind::Tls, Some("a.example"));
    lab.register_with(1, "dns", &element(1), StatusFlags::STANDBY).unwrap();
    let mut next = restarted(&lab, Duration::ZERO);
    next.connect(1);
    assert_eq!(next.register(1, "dns", &element(1)), Err(CauseCode::Security));
    let snapshot = next.registrar.element_snapshots(&handle("dns"), next.now).remove(0);
    assert_eq!((snapshot.flags, snapshot.identity.as_deref()), (StatusFlags::STANDBY, Some("a.example")));
    next.connect_as(2, ConnectionKind::Tls, Some("a.example"));
    assert_eq!(next.register(2, "dns", &element(1)), Ok(()));
}

#[test]
fn a_snapshot_says_what_the_log_says() {
    let mut lab = Lab::new();
    for id in 1..=5 {
        lab.element(id, "dns", id as u32);
    }
    lab.close(4);
    lab.pass(seconds(20));
    let now = lab.now;
    let compact: Vec<_> = lab.registrar.records(now).collect();
    assert_eq!(compact.len(), 10);
    let log = restarted(&lab, Duration::ZERO);
    lab.journal = compact;
    let snapshot = restarted(&lab, Duration::ZERO);
    for id in 1..=5 {
        assert_eq!(log.status("dns", id), snapshot.status("dns", id));
    }
}

#[test]
fn a_registration_is_in_the_journal_before_it_is_acknowledged_and_loads_are_not() {
    let now = anycast_pool::Time::ZERO;
    let mut registrar = Registrar::new(config(), 1, now).unwrap();
    let connection = ConnectionId(1);
    let peer = "198.51.100.1:4".parse().unwrap();
    registrar.handle(now, Event::Connected { connection, peer, kind: ConnectionKind::Tcp, identity: None });
    let mut order = |load| {
        let policy = PolicyParameter::new(0x4000_0001, &[load]).unwrap();
        let element = PoolElement { policy, ..element(1) };
        let message = Message::Registration { handle: handle("dns"), element, flags: StatusFlags::NONE };
        registrar.handle(now, Event::Received { connection, octets: &message.to_octets().unwrap() });
        let actions = std::iter::from_fn(|| registrar.next_action());
        let order = actions.filter_map(|action| match action {
            Action::Journal(_) => Some("journal"),
            Action::Send { .. } => Some("send"),
            _ => None,
        });
        order.collect::<Vec<_>>()
    };
    assert_eq!(order(1), ["journal", "journal", "send"]);
    assert_eq!(order(2), ["send"]);
}

#[test]
fn a_report_on_an_element_that_is_not_back_yet_takes_it_down() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    let mut next = restarted(&lab, Duration::ZERO);
    next.connect(9);
    next.send(9, &Message::EndpointUnreachable { handle: handle("dns"), id: ElementId(1) });
    assert_eq!(next.status("dns", 1), Some((State::Down, Source::Report)));
}
