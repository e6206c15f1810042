//! What elements and users have from `anycast registrar run`, over TCP and TLS.

use std::collections::BTreeSet;

use anycast_pool::wire::{Message, ResolutionResponse, Source, State};
use anycast_pool::{ElementId, PoolHandle};
use anycast_tests::lab::registrar::{PATIENCE, registration, resolution};
use anycast_tests::lab::{Asap, Certificates, Registrar, wait_until};

/// Those that users are told to use.
fn usable(response: &ResolutionResponse) -> BTreeSet<u32> {
    response.elements.iter().map(|element| element.id.0).collect()
}

/// What is said of an element.
fn state(response: &ResolutionResponse, id: u32) -> Option<(State, Source)> {
    let status = response.status.as_ref()?;
    let entry = status.entries.iter().find(|entry| entry.id == ElementId(id))?;
    Some((entry.state, entry.source))
}

/// The next push.
fn pushed(user: &mut Asap) -> ResolutionResponse {
    match user.receive().unwrap() {
        Some(Message::HandleResolutionResponse(response)) => response,
        other => panic!("no push: {other:?}"),
    }
}

#[test]
fn a_user_hears_at_once_of_an_element_whose_process_is_gone() {
    let registrar = Registrar::start(None, "").unwrap();
    let (mut first, mut second) = (registrar.connect().unwrap(), registrar.connect().unwrap());
    first.register("dns", 1).unwrap();
    second.register("dns", 2).unwrap();
    let mut user = registrar.connect().unwrap();
    let response = user.resolve("dns", true).unwrap();
    assert!(response.accepted);
    assert_eq!(usable(&response), [1, 2].into());

    drop(second);
    let response = pushed(&mut user);
    assert_eq!(usable(&response), [1].into());
    assert_eq!(state(&response, 2), Some((State::Down, Source::ConnectionLost)));

    first.send(&Message::Deregistration { handle: PoolHandle::from("dns"), id: ElementId(1) }).unwrap();
    assert!(matches!(first.receive().unwrap(), Some(Message::DeregistrationResponse { .. })));
    assert_eq!(state(&pushed(&mut user), 1), Some((State::Down, Source::Deregistration)));

    let status = registrar.status(Some("dns")).unwrap();
    assert_eq!(status.totals.subscriptions, 1);
    assert_eq!(status.elements.len(), 1);
    assert_eq!(status.elements[0].source, "connection lost");
}

#[test]
fn an_element_that_answers_no_keep_alive_is_down() {
    let more = "[keep_alive]\ninterval = \"1s\"\ntimeout = \"1s\"\n";
    let registrar = Registrar::start(None, more).unwrap();
    let (mut answers, mut silent) = (registrar.connect().unwrap(), registrar.connect().unwrap());
    answers.register("dns", 1).unwrap();
    silent.register("dns", 2).unwrap();
    let mut user = registrar.connect().unwrap();
    user.resolve("dns", true).unwrap();
    let answering = std::thread::spawn(move || {
        while let Ok(Some(message)) = answers.receive() {
            if let Message::EndpointKeepAlive { handle, .. } = message {
                let ack = Message::EndpointKeepAliveAck { handle, id: ElementId(1) };
                if answers.send(&ack).is_err() {
                    break;
                }
            }
        }
    });
    let response = pushed(&mut user);
    assert_eq!(usable(&response), [1].into());
    assert_eq!(state(&response, 2), Some((State::Down, Source::KeepAlive)));
    drop(registrar);
    answering.join().unwrap();
}

#[test]
fn only_clients_with_a_certificate_of_the_authority_are_heard_over_tls() {
    let (ours, theirs) = (Certificates::new().unwrap(), Certificates::new().unwrap());
    let registrar = Registrar::start(Some(&ours), "").unwrap();
    let address = registrar.address_tls.unwrap();

    let mut element = Asap::connect_tls(address, ours.client("ns1.example", &ours).unwrap()).unwrap();
    element.register("dns", 1).unwrap();
    let mut user = Asap::connect_tls(address, ours.client("user.example", &ours).unwrap()).unwrap();
    assert_eq!(usable(&user.resolve("dns", false).unwrap()), [1].into());
    let status = registrar.status(Some("dns")).unwrap();
    assert_eq!(status.elements[0].identity.as_deref(), Some("ns1.example"));

    let stranger = theirs.client("ns1.example", &ours).unwrap();
    let answer = Asap::connect_tls(address, stranger).unwrap().register("dns", 2);
    assert!(answer.is_err(), "a stranger registered");
    let status = registrar.status(Some("dns")).unwrap();
    assert_eq!((status.elements.len(), status.counters.other["handshakes_failed"]), (1, 1));

    // Whoever shows nothing may not take the place of who did.
    let mut thief = registrar.connect().unwrap();
    let answer = thief.ask(&registration("dns", 1)).unwrap();
    assert!(matches!(answer, Message::RegistrationResponse { rejected: true, .. }), "{answer:?}");
}

#[test]
fn what_is_malformed_gets_an_error_or_silence_and_disturbs_nobody() {
    let registrar = Registrar::start(None, "").unwrap();
    let mut element = registrar.connect().unwrap();
    element.register("dns", 1).unwrap();

    // A message of an unknown type whose top bits ask for a report (RFC 5354 2).
    let mut user = registrar.connect().unwrap();
    user.send_octets(&[0x7f, 0, 0, 4]).unwrap();
    assert!(matches!(user.receive().unwrap(), Some(Message::Error(_))));
    // One whose top bits ask for silence, and then a good one over the same connection.
    user.send_octets(&[0xbf, 0, 0, 4]).unwrap();
    assert_eq!(usable(&user.resolve("dns", false).unwrap()), [1].into());

    // A stream that cannot be cut into messages is closed.
    let mut broken = registrar.connect().unwrap();
    broken.send_octets(&[1, 0, 0, 3]).unwrap();
    assert_eq!(broken.receive().unwrap(), None);

    assert_eq!(usable(&user.resolve("dns", false).unwrap()), [1].into());
    let status = registrar.status(None).unwrap();
    assert_eq!(status.counters.other["framing"], 1);
    assert_eq!(status.counters.closed["framing"], 1);
    assert!(status.counters.malformed.values().sum::<u64>() >= 2, "{:?}", status.counters.malformed);
    assert_eq!(status.totals.elements_up, 1);
}

#[test]
fn who_takes_nothing_is_cut_off_and_the_others_are_served() {
    let more = "[limits]\nstuck = \"500ms\"\n[keep_alive]\ninterval = \"10m\"\n";
    let registrar = Registrar::start(None, more).unwrap();
    let mut element = registrar.connect().unwrap();
    for id in 1..=8 {
        element.register("dns", id).unwrap();
    }
    let mut stuck = registrar.connect().unwrap();
    // Asks on and takes no answer: both sides' buffers fill, and then it is not read from any more.
    let question = resolution("dns", false).to_octets().unwrap().repeat(100);
    stuck.socket().set_write_timeout(Some(PATIENCE)).unwrap();
    while stuck.send_octets(&question).is_ok() {}
    wait_until("the registrar closes it", PATIENCE, || {
        registrar.status(None).is_ok_and(|status| status.counters.closed["stuck"] == 1)
    })
    .unwrap();
    let status = registrar.status(None).unwrap();
    assert_eq!((status.totals.backlog_octets, status.totals.connections), (0, 1));
    // The element is still what it was.
    assert_eq!(usable(&registrar.connect().unwrap().resolve("dns", false).unwrap()).len(), 8);
}

#[test]
fn sigkill_at_any_moment_loses_no_registration() {
    let mut registrar = Registrar::start(None, "").unwrap();
    let identifier = registrar.status(None).unwrap().identifier;
    let (mut acknowledged, mut epochs) = (BTreeSet::new(), BTreeSet::new());
    let mut next = 0;
    for _ in 0..20 {
        let status = registrar.status(Some("dns")).unwrap();
        assert_eq!(status.identifier, identifier);
        epochs.insert(status.epoch);
        let there: BTreeSet<_> =
            status.elements.iter().map(|element| u32::from_str_radix(&element.id, 16).unwrap()).collect();
        assert!(there.is_superset(&acknowledged), "lost {:?}", acknowledged.difference(&there));

        // Registers without waiting, and kills it when a few are acknowledged: in the middle of the others.
        let mut element = registrar.connect().unwrap();
        let all: Vec<u8> =
            (next..next + 50).flat_map(|id| registration("dns", id).to_octets().unwrap()).collect();
        next += 50;
        element.send_octets(&all).unwrap();
        for _ in 0..10 {
            if let Some(Message::RegistrationResponse { id, rejected: false, .. }) =
                element.receive().unwrap()
            {
                acknowledged.insert(id.0);
            }
        }
        registrar.kill().unwrap();
        // What was sent before its death counts too.
        while let Ok(Some(Message::RegistrationResponse { id, rejected: false, .. })) = element.receive() {
            acknowledged.insert(id.0);
        }
        registrar.restart().unwrap();
    }
    assert!(acknowledged.len() >= 200);
    assert_eq!(epochs.len(), 20, "an epoch came twice");
    // Restored elements are told of with their age, and from where that is known.
    let response = registrar.connect().unwrap().resolve("dns", false).unwrap();
    assert!(response.status.unwrap().entries.iter().all(|entry| entry.source == Source::Restored));
}

#[test]
fn it_stops_when_it_is_told_to() {
    let mut registrar = Registrar::start(None, "").unwrap();
    let mut element = registrar.connect().unwrap();
    element.register("dns", 1).unwrap();
    assert!(registrar.terminate().unwrap().success(), "{}", registrar.log());
    assert_eq!(element.receive().unwrap(), None);
    registrar.restart().unwrap();
    // That it was stopped makes no element down.
    assert_eq!(registrar.status(Some("dns")).unwrap().elements[0].state, "up");
}
