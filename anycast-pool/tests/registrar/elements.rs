//! Registration, keep-alives, loss and return of elements.

use anycast_pool::ElementId;
use anycast_pool::registrar::*;
use anycast_pool::wire::*;

use crate::lab::*;

fn least_used(id: u32, load: u32) -> PoolElement {
    PoolElement { policy: policy(0x4000_0001, &[load]), ..element(id) }
}

#[test]
fn an_element_registers_and_is_found() {
    let mut lab = Lab::new();
    lab.connect(1);
    assert_eq!(lab.register(1, "dns", &element(7)), Ok(()));
    lab.connect(2);
    let answer = lab.resolve(2, "dns", false, false);
    assert_eq!((ids(&answer), answer.accepted, answer.status), (vec![7], false, None));
    // Even the policy that could be left out.
    assert_eq!(answer.policy, Some(PolicyParameter::ROUND_ROBIN));
    assert_eq!(answer.elements[0].home, REGISTRAR);
    assert_eq!(lab.status("dns", 7), Some((State::Up, Source::Registration)));
}

#[test]
fn over_sctp_the_home_says_where_the_element_speaks_asap() {
    let mut lab = Lab::new();
    lab.connect_as(1, ConnectionKind::Sctp, None);
    let message =
        Message::Registration { handle: handle("dns"), element: element(7), flags: StatusFlags::NONE };
    let octets = message.to_octets().unwrap();
    lab.event(Event::Message { connection: ConnectionId(1), octets: &octets });
    let answer = lab.resolve(1, "dns", false, false);
    let Some(Transport::Sctp { port, addresses, .. }) = &answer.elements[0].asap_transport else { panic!() };
    assert_eq!((*port, addresses[0].to_string()), (40_000, "198.51.100.1".to_owned()));
}

#[test]
fn a_registration_again_replaces_what_there_was() {
    let mut lab = Lab::new();
    lab.connect(1);
    lab.register(1, "dns", &least_used(1, 100)).unwrap();
    lab.register(1, "dns", &least_used(2, 50)).unwrap();
    assert_eq!(ids(&lab.resolve(1, "dns", false, false)), [2, 1]);
    lab.register(1, "dns", &least_used(1, 10)).unwrap();
    let answer = lab.resolve(1, "dns", false, false);
    assert_eq!(ids(&answer), [1, 2]);
    assert_eq!(answer.policy.unwrap().code(), 0x4000_0001);
    assert_eq!(lab.registrar.snapshot(lab.now).elements, 2);
}

#[test]
fn the_first_element_decides_what_the_pool_is() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    lab.connect(2);
    assert_eq!(lab.register(2, "dns", &least_used(2, 1)), Err(CauseCode::InconsistentPolicy));
    let tcp = Transport::Tcp("192.0.2.2:53".parse().unwrap());
    let other = PoolElement { user_transport: tcp, ..element(2) };
    assert_eq!(lab.register(2, "dns", &other), Err(CauseCode::InconsistentTransport));
    let refused = lab.registrar.counters().refused(CauseCode::InconsistentTransport);
    assert_eq!(refused, 1);
    // The control: another pool may be otherwise, and the same way is taken.
    assert_eq!(lab.register(2, "web", &other), Ok(()));
    assert_eq!(lab.register(2, "dns", &element(2)), Ok(()));
}

#[test]
fn data_and_control_must_agree() {
    let sctp = |id, transport_use| {
        let addresses = vec!["192.0.2.1".parse().unwrap()];
        PoolElement { user_transport: Transport::Sctp { port: 9, transport_use, addresses }, ..element(id) }
    };
    let mut lab = Lab::new();
    lab.connect(1);
    lab.register(1, "dns", &sctp(1, TransportUse::Data)).unwrap();
    let refused = lab.register(1, "dns", &sctp(2, TransportUse::DataAndControl));
    assert_eq!(refused, Err(CauseCode::InconsistentControl));
    assert_eq!(lab.register(1, "dns", &sctp(2, TransportUse::Data)), Ok(()));
}

#[test]
fn the_reject_shows_what_the_pool_has() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    lab.send(
        1,
        &Message::Registration { handle: handle("dns"), element: least_used(2, 1), flags: StatusFlags::NONE },
    );
    let Message::RegistrationResponse { rejected: true, errors, .. } = lab.take(1).pop().unwrap() else {
        panic!()
    };
    assert_eq!(errors[0].information, [0, 8, 0, 8, 0, 0, 0, 1]);
}

#[test]
fn a_pool_whose_elements_are_down_becomes_what_the_next_one_is() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    lab.connect(2);
    assert!(lab.register(2, "dns", &least_used(2, 1)).is_err());
    lab.close(1);
    assert_eq!(lab.register(2, "dns", &least_used(2, 1)), Ok(()));
    assert_eq!(ids(&lab.resolve(2, "dns", false, false)), [2]);
}

#[test]
fn values_that_cannot_be_are_refused() {
    let mut lab = Lab::new();
    lab.connect(1);
    let nowhere = Transport::Udp("0.0.0.0:53".parse().unwrap());
    let no_port = Transport::Udp("192.0.2.1:0".parse().unwrap());
    for wrong in [
        PoolElement { life: Lifetime::Seconds(0), ..element(1) },
        PoolElement { policy: PolicyParameter::new(0, &[]).unwrap(), ..element(1) },
        PoolElement { policy: PolicyParameter::new(0x4000_0001, &[]).unwrap(), ..element(1) },
        PoolElement { user_transport: nowhere, ..element(1) },
        PoolElement { user_transport: no_port, ..element(1) },
    ] {
        assert_eq!(lab.register(1, "dns", &wrong), Err(CauseCode::InvalidValues), "{wrong:?}");
    }
    assert_eq!(lab.register(1, "", &element(1)), Err(CauseCode::InvalidValues));
    assert_eq!(lab.register(1, &"x".repeat(256), &element(1)), Err(CauseCode::InvalidValues));
    assert_eq!(lab.registrar.snapshot(lab.now).pools, 0);
    assert_eq!(lab.register(1, &"x".repeat(255), &element(1)), Ok(()));
}

#[test]
fn an_identifier_in_use_is_refused_until_the_earlier_connection_is_gone() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 7);
    lab.connect(2);
    assert_eq!(lab.register(2, "dns", &element(7)), Err(CauseCode::NonUniqueElementId));
    lab.close(1);
    assert_eq!(lab.status("dns", 7), Some((State::Down, Source::ConnectionLost)));
    assert_eq!(lab.register(2, "dns", &element(7)), Ok(()));
    assert_eq!(lab.status("dns", 7), Some((State::Up, Source::Registration)));
}

#[test]
fn a_dead_connection_is_found_out_when_the_element_comes_over_another() {
    let mut lab = Lab::new();
    lab.connect(1);
    lab.register(1, "dns", &element(7)).unwrap();
    lab.connect(2);
    assert_eq!(lab.register(2, "dns", &element(7)), Err(CauseCode::NonUniqueElementId));
    // The refusal asked the earlier connection, which does not answer.
    assert_eq!(keep_alives(&lab.take(1)), 1);
    lab.pass(lab.registrar.config().keep_alive_timeout);
    assert_eq!(lab.register(2, "dns", &element(7)), Ok(()));
}

#[test]
fn who_shows_the_same_certificate_is_the_same() {
    let mut lab = Lab::new();
    lab.connect_as(1, ConnectionKind::Tls, Some("a.example"));
    lab.register(1, "dns", &element(7)).unwrap();
    lab.connect_as(2, ConnectionKind::Tls, Some("a.example"));
    lab.connect_as(3, ConnectionKind::Tls, Some("b.example"));
    lab.connect(4);
    for other in [3, 4] {
        assert_eq!(lab.register(other, "dns", &element(7)), Err(CauseCode::Security));
    }
    assert_eq!(lab.register(2, "dns", &element(7)), Ok(()));
    // The earlier connection has nothing to do with it any more.
    lab.close(1);
    assert!(lab.is_up("dns", 7));
    // Even when the element is down, it is nobody else's.
    lab.close(2);
    assert_eq!(lab.register(3, "dns", &element(7)), Err(CauseCode::Security));
}

#[test]
fn a_secured_registrar_takes_no_unsecured_elements() {
    let mut lab = Lab::with(Config { require_secured: true, ..config() });
    lab.connect(1);
    assert_eq!(lab.register(1, "dns", &element(1)), Err(CauseCode::Security));
    lab.connect_as(2, ConnectionKind::Tls, Some("a.example"));
    assert_eq!(lab.register(2, "dns", &element(1)), Ok(()));
    // Users need no certificate.
    assert_eq!(ids(&lab.resolve(1, "dns", false, false)), [1]);
}

#[test]
fn only_those_on_the_list_register_in_a_pool() {
    let mut members = Members::default();
    members.allow("dns".into(), ["*.dns.example".parse().unwrap()]);
    members.allow("open".into(), [Member::Anybody]);
    let mut lab = Lab::with(Config { members, ..config() });
    lab.connect(1);
    lab.connect_as(2, ConnectionKind::Tls, Some("ns1.dns.example"));
    lab.connect_as(3, ConnectionKind::Tls, Some("www.example"));
    assert_eq!(lab.register(1, "dns", &element(1)), Err(CauseCode::Security));
    assert_eq!(lab.register(2, "dns", &element(2)), Ok(()));
    assert_eq!(lab.register(3, "dns", &element(3)), Err(CauseCode::Security));
    assert_eq!(lab.register(1, "open", &element(1)), Ok(()));
    // A pool that is on no list is not opened by anybody.
    assert_eq!(lab.register(2, "other", &element(2)), Err(CauseCode::Security));
    assert_eq!(ids(&lab.resolve(3, "dns", false, false)), [2]);
}

#[test]
fn what_does_not_fit_is_refused_for_lack_of_resources() {
    let limits = Limits { pools: 2, elements: 4, elements_per_connection: 3, ..Limits::default() };
    let mut lab = Lab::with(Config { limits, ..config() });
    lab.connect(1);
    lab.connect(2);
    lab.register(1, "a", &element(1)).unwrap();
    lab.register(1, "b", &element(1)).unwrap();
    assert_eq!(lab.register(1, "c", &element(1)), Err(CauseCode::LackOfResources));
    lab.register(1, "b", &element(2)).unwrap();
    assert_eq!(lab.register(1, "b", &element(3)), Err(CauseCode::LackOfResources));
    lab.register(2, "b", &element(3)).unwrap();
    assert_eq!(lab.register(2, "b", &element(4)), Err(CauseCode::LackOfResources));
    // Who is there already may register again.
    assert_eq!(lab.register(1, "a", &element(1)), Ok(()));
    let long = Transport::Opaque(vec![0; 600]);
    assert_eq!(
        lab.register(1, "a", &PoolElement { user_transport: long, ..element(1) }),
        Err(CauseCode::LackOfResources)
    );
}

#[test]
fn registrations_are_limited_and_each_is_answered() {
    let rates = Rates { registrations: Rate { per_second: 1, burst: 3 }, ..Rates::default() };
    let mut lab = Lab::with(Config { rates, ..config() });
    lab.connect(1);
    let accepted = (0..10).filter(|_| lab.register(1, "dns", &element(1)).is_ok()).count();
    assert_eq!(accepted, 3);
    assert_eq!(lab.registrar.counters().dropped(DropReason::RegistrationRate), 7);
    lab.connect(2);
    assert_eq!(lab.register(2, "dns", &element(2)), Ok(()));
    lab.pass(seconds(1));
    assert_eq!(lab.register(1, "dns", &element(1)), Ok(()));
}

#[test]
fn deregistration_takes_away_and_leaves_a_tombstone() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    lab.element(2, "dns", 2);
    lab.send(1, &Message::Deregistration { handle: handle("dns"), id: ElementId(1) });
    assert_eq!(
        lab.one(1),
        Message::DeregistrationResponse { handle: handle("dns"), id: ElementId(1), errors: Vec::new() }
    );
    let answer = lab.resolve(2, "dns", false, true);
    assert_eq!(ids(&answer), [2]);
    let tombstone = answer.status.unwrap().entries.into_iter().find(|entry| entry.id.0 == 1).unwrap();
    assert_eq!(
        (tombstone.state, tombstone.source, tombstone.flags),
        (State::Down, Source::Deregistration, StatusFlags::TOMBSTONE)
    );
    lab.pass(lab.registrar.config().tombstone_keep);
    assert_eq!(lab.status("dns", 1), None);
    assert!(lab.is_up("dns", 2));
}

#[test]
fn deregistration_of_what_is_not_there_is_granted_and_of_anothers_is_not() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    lab.connect(2);
    for (id, granted) in [(9, true), (1, false)] {
        lab.send(2, &Message::Deregistration { handle: handle("dns"), id: ElementId(id) });
        let Message::DeregistrationResponse { errors, .. } = lab.one(2) else { panic!() };
        assert_eq!(errors.is_empty(), granted);
    }
    assert!(lab.is_up("dns", 1));
    // Left behind by its connection, it may be deregistered over another.
    lab.close(1);
    lab.send(2, &Message::Deregistration { handle: handle("dns"), id: ElementId(1) });
    assert_eq!(lab.status("dns", 1), Some((State::Down, Source::Deregistration)));
}

#[test]
fn a_life_ends_and_the_element_is_told() {
    let mut lab = Lab::new();
    lab.connect(1);
    lab.answering.insert((1, 1));
    let short = PoolElement { life: Lifetime::Seconds(60), ..element(1) };
    lab.register(1, "dns", &short).unwrap();
    lab.pass(seconds(50));
    lab.register(1, "dns", &short).unwrap();
    lab.pass(seconds(50));
    assert!(lab.is_up("dns", 1), "registered again, it lives on");
    lab.take(1);
    lab.pass(seconds(10));
    let told =
        lab.take(1).into_iter().any(|message| matches!(message, Message::DeregistrationResponse { .. }));
    assert!(told);
    assert_eq!(lab.status("dns", 1), Some((State::Down, Source::Deregistration)));
    assert_eq!(lab.registrar.counters().expired, 1);
}

#[test]
fn keep_alives_are_spread_and_one_at_a_time() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    let start = lab.now;
    let mut times = Vec::new();
    while times.len() < 200 {
        lab.pass(ms(10));
        if keep_alives(&lab.take(1)) > 0 {
            times.push(lab.now);
        }
    }
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    assert!(gaps.iter().all(|gap| (ms(2480)..ms(7520)).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().any(|gap| *gap < ms(3200)) && gaps.iter().any(|gap| *gap > ms(6800)));
    let mean = lab.now.since(start) / 200;
    assert!((ms(4600)..ms(5400)).contains(&mean), "{mean:?}");
    assert!(lab.is_up("dns", 1));
}

#[test]
fn who_does_not_answer_is_down_in_good_time_and_up_when_it_answers() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    lab.element(2, "dns", 2);
    lab.pass(seconds(30));
    lab.answering.remove(&(1, 1));
    let config = lab.registrar.config().clone();
    lab.pass(config.keep_alive_interval * 3 / 2 + config.keep_alive_timeout);
    assert_eq!(lab.status("dns", 1), Some((State::Down, Source::KeepAlive)));
    assert!(lab.is_up("dns", 2));
    assert_eq!(ids(&lab.resolve(2, "dns", false, false)), [2]);
    // It hung and goes on.
    lab.answering.insert((1, 1));
    lab.pass(config.keep_alive_interval * 3 / 2);
    assert_eq!(lab.status("dns", 1), Some((State::Up, Source::KeepAlive)));
    assert_eq!(lab.registrar.snapshot(lab.now).elements, 2);
}

#[test]
fn an_answer_from_who_is_not_the_element_counts_for_nothing() {
    let mut lab = Lab::new();
    lab.connect(1);
    lab.register(1, "dns", &element(1)).unwrap();
    lab.element(2, "dns", 2);
    lab.answering.insert((2, 1));
    lab.pass(seconds(10));
    assert_eq!(lab.status("dns", 1), Some((State::Down, Source::KeepAlive)));
    assert!(lab.registrar.counters().dropped(DropReason::AckNotOwner) > 0);
}

#[test]
fn a_lost_connection_takes_its_elements_down_at_once_and_they_come_back() {
    let mut lab = Lab::new();
    lab.connect(1);
    for id in 1..=3 {
        lab.register(1, "dns", &element(id)).unwrap();
    }
    lab.element(2, "dns", 4);
    lab.close(1);
    assert!((1..=3).all(|id| lab.status("dns", id) == Some((State::Down, Source::ConnectionLost))));
    assert_eq!(ids(&lab.resolve(2, "dns", false, false)), [4]);
    lab.pass(seconds(100));
    lab.connect(3);
    lab.register(3, "dns", &element(2)).unwrap();
    assert!(lab.is_up("dns", 2));
    lab.answering.insert((3, 2));
    lab.pass(lab.registrar.config().down_keep);
    let removed = Some((State::Down, Source::ConnectionLost));
    assert_eq!((lab.status("dns", 1), lab.registrar.snapshot(lab.now).elements), (None, 2));
    assert_ne!(lab.status("dns", 2), removed);
}

#[test]
fn who_is_silent_for_too_long_is_removed_and_told() {
    let mut lab = Lab::new();
    lab.connect(1);
    lab.register(1, "dns", &element(1)).unwrap();
    let keep = lab.registrar.config().down_keep;
    lab.pass(keep);
    assert_eq!(lab.registrar.snapshot(lab.now).elements, 1);
    lab.pass(seconds(10));
    assert_eq!(lab.registrar.snapshot(lab.now).elements, 0);
    let last = lab.take(1).pop().unwrap();
    assert!(matches!(last, Message::DeregistrationResponse { .. }), "{last:?}");
    lab.pass(seconds(61));
    assert_eq!(lab.registrar.snapshot(lab.now).pools, 0);
}

#[test]
fn standby_is_not_down_and_draining_is_in_no_list() {
    let mut lab = Lab::new();
    lab.connect(1);
    lab.register_with(1, "dns", &element(1), StatusFlags::STANDBY).unwrap();
    lab.register_with(1, "dns", &element(2), StatusFlags::DRAINING).unwrap();
    let answer = lab.resolve(1, "dns", false, true);
    assert_eq!(ids(&answer), [1]);
    let entries = answer.status.unwrap().entries;
    assert!(entries.iter().all(|entry| entry.state == State::Up));
    let flags: Vec<_> = entries.iter().map(|entry| (entry.id.0, entry.flags)).collect();
    assert_eq!(flags, [(1, StatusFlags::STANDBY), (2, StatusFlags::DRAINING)]);
    lab.register(1, "dns", &element(2)).unwrap();
    assert_eq!(lab.resolve(1, "dns", false, false).elements.len(), 2);
}

#[test]
fn nothing_is_down_because_the_registrar_stops() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    lab.journal.clear();
    lab.event(Event::Shutdown);
    assert_eq!(lab.closed[&1], CloseReason::Shutdown);
    assert!(lab.journal.is_empty());
    assert!(lab.is_up("dns", 1));
    assert_eq!(lab.registrar.next_deadline(), None);
}

#[test]
fn announces_go_out_every_t6_and_only_if_wanted() {
    let mut lab = Lab::with(Config::new(REGISTRAR));
    lab.pass(seconds(10));
    assert_eq!(lab.announces.len(), 11);
    let announce = Message::ServerAnnounce { registrar: REGISTRAR, transports: Vec::new() };
    assert_eq!(lab.announces[0], announce);
    let mut silent = Lab::new();
    silent.pass(seconds(10));
    assert!(silent.announces.is_empty());
}
