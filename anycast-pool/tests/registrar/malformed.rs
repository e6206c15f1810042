//! What is no ASAP: told or not, counted, and nobody else's business.

use anycast_pool::RegistrarId;
use anycast_pool::registrar::*;
use anycast_pool::wire::*;

use crate::lab::*;

#[test]
fn unknown_messages_and_parameters_are_told_as_their_bits_say() {
    let mut lab = Lab::new();
    lab.connect(1);
    for (octets, cause) in [
        (&[0x20, 0, 0, 4][..], None),
        (&[0x60, 0, 0, 4][..], Some(CauseCode::UnrecognizedMessage)),
        (&[0xe0, 0, 0, 4][..], None),
        (&[5, 0, 0, 8, 0x3f, 0, 0, 4][..], None),
        (&[5, 0, 0, 8, 0x7f, 0, 0, 4][..], Some(CauseCode::UnrecognizedParameter)),
    ] {
        lab.octets(1, octets);
        let told: Vec<_> = lab.take(1).into_iter().collect();
        match cause {
            None => assert!(told.is_empty(), "{octets:02x?}: {told:?}"),
            Some(code) => {
                let [Message::Error(causes)] = &told[..] else { panic!("{told:?}") };
                assert_eq!(causes[0].code, code);
            }
        }
    }
    let counters = lab.registrar.counters();
    assert_eq!(counters.malformed(MalformedReason::UnknownMessage), 3);
    assert_eq!(counters.malformed(MalformedReason::UnknownParameter), 2);
    assert!(lab.closed.is_empty());
}

#[test]
fn a_parameter_that_is_skipped_and_reported_does_not_hinder_the_answer() {
    let mut lab = Lab::new();
    lab.element(1, "echo", 1);
    lab.octets(1, &[5, 0, 0, 16, 0, 9, 0, 8, b'e', b'c', b'h', b'o', 0xff, 0, 0, 4]);
    let [Message::Error(_), Message::HandleResolutionResponse(answer)] = &lab.take(1)[..] else { panic!() };
    assert_eq!(ids(answer), [1]);
}

#[test]
fn a_stream_that_is_no_asap_is_closed_and_no_other() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    lab.connect(2);
    lab.octets(2, b"GET / HTTP/1.1\r\n");
    assert_eq!(lab.closed.get(&2), Some(&CloseReason::Framing));
    assert_eq!(lab.registrar.counters().framing, 1);
    assert!(lab.notices.iter().any(|notice| matches!(notice, Notice::Framing { .. })));
    assert_eq!(ids(&lab.resolve(1, "dns", false, false)), [1]);
    // What still comes from it is dropped.
    lab.octets(2, &[5, 0, 0, 4]);
    assert_eq!(lab.registrar.counters().dropped(DropReason::NoConnection), 1);
}

#[test]
fn much_of_it_closes_the_connection_and_errors_are_few() {
    let mut lab = Lab::new();
    lab.connect(1);
    for _ in 0..200 {
        lab.octets(1, &[0x60, 0, 0, 4]);
    }
    assert_eq!(lab.closed.get(&1), Some(&CloseReason::Malformed));
    assert_eq!(lab.take(1).len(), 20);
    assert_eq!(lab.registrar.counters().dropped(DropReason::ErrorRate), 80);
}

#[test]
fn messages_in_pieces_and_together_are_taken() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    lab.connect(2);
    let ask =
        Message::HandleResolution { handle: handle("dns"), subscribe: false, limit: None, status: false };
    let stream = [ask.to_octets().unwrap(), ask.to_octets().unwrap()].concat();
    for octet in &stream[..stream.len() - 1] {
        lab.octets(2, &[*octet]);
    }
    assert_eq!(lab.responses(2).len(), 1);
    lab.octets(2, &stream[stream.len() - 1..]);
    assert_eq!(lab.responses(2).len(), 1);
    lab.octets(2, &stream);
    assert_eq!(lab.responses(2).len(), 2);
}

#[test]
fn what_is_between_others_is_ignored_and_counted() {
    let mut lab = Lab::new();
    lab.connect(1);
    for message in [
        Message::Cookie(vec![1]),
        Message::CookieEcho(vec![1]),
        Message::BusinessCard { handle: handle("dns"), elements: Vec::new() },
        Message::ServerAnnounce { registrar: REGISTRAR, transports: Vec::new() },
        Message::EndpointKeepAlive { registrar: REGISTRAR, handle: handle("dns"), adopt: true },
    ] {
        lab.send(1, &message);
    }
    lab.send(1, &Message::Error(vec![Cause::bare(CauseCode::Unspecified)]));
    assert!(lab.take(1).is_empty());
    assert_eq!(lab.registrar.counters().dropped(DropReason::NotForRegistrar), 5);
    assert_eq!(lab.registrar.counters().received(MessageType::Error), 1);
}

#[test]
fn more_connections_than_allowed_are_closed() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let mut lab = Lab::with(Config { limits, ..config() });
    for connection in 1..=3 {
        lab.connect(connection);
    }
    assert_eq!(lab.closed.get(&3), Some(&CloseReason::TooMany));
    lab.close(1);
    lab.connect(4);
    assert_eq!(lab.closed.len(), 1);
}

#[test]
fn notices_are_few_however_much_happens() {
    let mut lab = Lab::new();
    for connection in 0..100 {
        lab.connect(connection);
        for _ in 0..50 {
            lab.octets(connection, &[0x20, 0, 0, 4]);
        }
    }
    assert_eq!(lab.notices.len(), 200);
    assert_eq!(lab.registrar.counters().dropped(DropReason::NoticeRate), 4800);
}

#[test]
fn what_a_configuration_cannot_be() {
    let build = |config: Config| Registrar::new(config, 1, anycast_pool::Time::ZERO).err();
    assert_eq!(build(Config::new(RegistrarId(0))), Some(ConfigError::Id));
    let zero = Config { keep_alive_timeout: std::time::Duration::ZERO, ..config() };
    assert_eq!(build(zero), Some(ConfigError::Zero("keep-alive timeout")));
    let answer = Config { answer_default: 9, answer_max: 8, ..config() };
    assert_eq!(build(answer), Some(ConfigError::Answer { default: 9, most: 8 }));
    assert_eq!(build(config()), None);
}
