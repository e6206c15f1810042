//! ASAP on the wire: octets that were put together by hand from RFC 5352 and RFC 5354, and both directions of each.

use std::net::SocketAddr;

use anycast_pool::wire::*;
use anycast_pool::{ElementId, PoolHandle, RegistrarId};

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn parse(hex: &str) -> Result<Parsed, Malformed> {
    Message::parse(&octets(hex))
}

/// The message for these octets and back; emitted behind other things into a used buffer.
fn is(hex: &str, message: &Message) {
    let fixed = octets(hex);
    assert_eq!(Message::parse(&fixed), Ok(Parsed { message: message.clone(), report: Vec::new() }));
    let mut dirty = vec![0x2a; 4096];
    dirty.truncate(3);
    message.emit(&mut dirty).expect("a short message");
    assert_eq!(dirty[..3], [0x2a; 3]);
    assert_eq!(dirty[3..], fixed, "{message:?}");
}

fn handle(name: &str) -> PoolHandle {
    PoolHandle::from(name)
}

fn udp(address: &str) -> Transport {
    Transport::Udp(address.parse::<SocketAddr>().expect("an address"))
}

fn element() -> PoolElement {
    PoolElement {
        id: ElementId(0x0102_0304),
        home: RegistrarId::UNDETERMINED,
        life: Lifetime::Seconds(300),
        user_transport: udp("192.0.2.1:53"),
        policy: PolicyParameter::ROUND_ROBIN,
        asap_transport: None,
    }
}

/// A Pool Element of 40 octets: header 4, three words 12, UDP Transport 8 + 8, policy 8.
const ELEMENT: &str =
    "000a 0028  01020304 00000000 0000012c  0006 0010 0035 0000 0001 0008 c0000201  0008 0008 00000001";

#[test]
fn registration() {
    let fixed = format!("01 00 0034  0009 0007 646e7300  {ELEMENT}");
    let message =
        Message::Registration { handle: handle("dns"), element: element(), flags: StatusFlags::NONE };
    is(&fixed, &message);
    // The same from one that waits: a parameter that others skip.
    let fixed = format!("01 00 003c  0009 0007 646e7300  8041 0008 00000001  {ELEMENT}");
    let message =
        Message::Registration { handle: handle("dns"), element: element(), flags: StatusFlags::STANDBY };
    is(&fixed, &message);
}

#[test]
fn deregistration() {
    is(
        "02 00 0014  0009 0007 646e7300  000e 0008 01020304",
        &Message::Deregistration { handle: handle("dns"), id: ElementId(0x0102_0304) },
    );
}

#[test]
fn registration_response() {
    let (handle, id) = (handle("echo"), ElementId(7));
    let accepted =
        Message::RegistrationResponse { handle: handle.clone(), id, rejected: false, errors: Vec::new() };
    is("03 00 0014  0009 0008 6563686f  000e 0008 00000007", &accepted);
    let information = octets("0008 0008 00000001");
    let errors = vec![Cause { code: CauseCode::InconsistentPolicy, information }];
    let rejected = Message::RegistrationResponse { handle, id, rejected: true, errors };
    is(
        "03 01 0024  0009 0008 6563686f  000e 0008 00000007  000c 0010 0005 000c 0008 0008 00000001",
        &rejected,
    );
}

#[test]
fn deregistration_response() {
    let message = Message::DeregistrationResponse {
        handle: handle("echo"),
        id: ElementId(7),
        errors: vec![Cause::bare(CauseCode::Security)],
    };
    is("04 00 001c  0009 0008 6563686f  000e 0008 00000007  000c 0008 000a 0004", &message);
}

#[test]
fn handle_resolution() {
    let plain =
        Message::HandleResolution { handle: handle("echo"), subscribe: true, limit: None, status: false };
    is("05 01 000c  0009 0008 6563686f", &plain);
    let full = Message::HandleResolution {
        handle: handle("echo"),
        subscribe: false,
        limit: Some(u32::MAX),
        status: true,
    };
    is("05 00 0018  0009 0008 6563686f  8040 0004  803f 0008 ffffffff", &full);
}

#[test]
fn handle_resolution_response() {
    let mut least_used = element();
    least_used.policy = PolicyParameter::new(0x4000_0001, &[9]).unwrap();
    let response = ResolutionResponse {
        handle: handle("echo"),
        accepted: true,
        policy: PolicyParameter::new(0x4000_0001, &[0]),
        elements: vec![least_used],
        errors: Vec::new(),
        status: Some(StatusVector {
            registrar: RegistrarId(0x1122_3344),
            epoch: 5,
            sequence: 6,
            entries: vec![
                StatusEntry {
                    id: ElementId(0x0102_0304),
                    state: State::Up,
                    source: Source::KeepAlive,
                    flags: StatusFlags::STANDBY,
                    age_ms: 1000,
                },
                StatusEntry {
                    id: ElementId(8),
                    state: State::Down,
                    source: Source::Deregistration,
                    flags: StatusFlags::TOMBSTONE,
                    age_ms: u32::MAX,
                },
            ],
        }),
    };
    is(
        "06 01 006c  0009 0008 6563686f  0008 000c 40000001 00000000 \
         000a 002c 01020304 00000000 0000012c 0006 0010 0035 0000 0001 0008 c0000201 0008 000c 40000001 00000009 \
         8040 0028 11223344 00000005 00000006  01020304 01 00 0001 000003e8  00000008 02 02 0004 ffffffff",
        &Message::HandleResolutionResponse(response),
    );
    let negative = ResolutionResponse {
        handle: handle("echo"),
        accepted: false,
        policy: None,
        elements: Vec::new(),
        errors: vec![Cause::bare(CauseCode::UnknownPoolHandle)],
        status: None,
    };
    is("06 00 0014  0009 0008 6563686f  000c 0008 0009 0004", &Message::HandleResolutionResponse(negative));
}

#[test]
fn endpoint_keep_alive_and_its_answer() {
    let message = Message::EndpointKeepAlive {
        registrar: RegistrarId(0x1122_3344),
        handle: handle("dns"),
        adopt: false,
    };
    is("07 00 0010  11223344  0009 0007 646e7300", &message);
    // The length as RFC 5354 4 has it, without the padding of the last parameter; with and without the padding itself.
    for literal in ["07 00 000f 11223344 0009 0007 646e7300", "07 00 000f 11223344 0009 0007 646e73"] {
        assert_eq!(parse(literal).unwrap().message, message);
    }
    // RSPLIB's registrar adds whom it asks.
    let named = "07 00 0018  11223344  0009 0007 646e7300  000e 0008 01020304";
    assert_eq!(parse(named).unwrap().message, message);
    let adopt = Message::EndpointKeepAlive { registrar: RegistrarId(1), handle: handle("dns0"), adopt: true };
    is("07 01 0010  00000001  0009 0008 646e7330", &adopt);
    is(
        "08 00 0014  0009 0007 646e7300  000e 0008 01020304",
        &Message::EndpointKeepAliveAck { handle: handle("dns"), id: ElementId(0x0102_0304) },
    );
}

#[test]
fn endpoint_unreachable() {
    is(
        "09 00 0014  0009 0007 646e7300  000e 0008 01020304",
        &Message::EndpointUnreachable { handle: handle("dns"), id: ElementId(0x0102_0304) },
    );
}

#[test]
fn server_announce() {
    let nowhere = Message::ServerAnnounce { registrar: RegistrarId(1), transports: Vec::new() };
    is("0a 00 0008 00000001", &nowhere);
    let transports = vec![
        Transport::Tcp("[2001:db8::1]:3863".parse().unwrap()),
        Transport::Sctp {
            port: 3863,
            transport_use: TransportUse::DataAndControl,
            addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::2".parse().unwrap()],
        },
    ];
    is(
        "0a 00 0048 00000001  0005 001c 0f17 0000 0002 0014 20010db8000000000000000000000001 \
         0004 0024 0f17 0001 0001 0008 c0000201 0002 0014 20010db8000000000000000000000002",
        &Message::ServerAnnounce { registrar: RegistrarId(1), transports },
    );
}

#[test]
fn cookies_business_cards_and_errors() {
    is("0b 00 000c 000d 0005 aa000000", &Message::Cookie(vec![0xaa]));
    is("0c 00 000c 000d 0006 aabb0000", &Message::CookieEcho(vec![0xaa, 0xbb]));
    let elements = vec![element(), element()];
    is(
        &format!("0d 00 005c  0009 0007 646e7300  {ELEMENT} {ELEMENT}"),
        &Message::BusinessCard { handle: handle("dns"), elements },
    );
    is(
        "0e 00 0014  000c 0010  0002 0006 fe000000  0000 0004",
        &Message::Error(vec![
            Cause { code: CauseCode::UnrecognizedMessage, information: vec![0xfe, 0] },
            Cause::bare(CauseCode::Unspecified),
        ]),
    );
    assert_eq!(
        parse("0e 00 0008 000c 0004").unwrap().message,
        Message::Error(vec![Cause::bare(CauseCode::Unspecified)])
    );
}

#[test]
fn all_transports() {
    for (fixed, transport) in [
        (
            "0003 0014 0035 0000 444e5343 0001 0008 c0000201",
            Transport::Dccp { address: "192.0.2.1:53".parse().unwrap(), service_code: 0x444e_5343 },
        ),
        ("0005 0010 0035 0000 0001 0008 c0000201", Transport::Tcp("192.0.2.1:53".parse().unwrap())),
        ("0006 0010 0035 0000 0001 0008 c0000201", udp("192.0.2.1:53")),
        ("0007 0010 0035 0000 0001 0008 c0000201", Transport::UdpLite("192.0.2.1:53".parse().unwrap())),
        ("0010 0006 01020000", Transport::Opaque(vec![1, 2])),
    ] {
        let length = 8 + octets(fixed).len();
        let message = Message::ServerAnnounce { registrar: RegistrarId(9), transports: vec![transport] };
        is(&format!("0a 00 {length:04x} 00000009 {fixed}"), &message);
    }
    // RSPLIB fills what is reserved in TCP's parameter; it is ignored.
    let message = parse("0a 00 0018 00000009  0005 0010 0035 0001 0001 0008 c0000201").unwrap().message;
    let transports = vec![Transport::Tcp("192.0.2.1:53".parse().unwrap())];
    assert_eq!(message, Message::ServerAnnounce { registrar: RegistrarId(9), transports });
}

#[test]
fn an_infinite_life_is_minus_one_and_other_negative_ones_are_refused() {
    let with = |life: &str| format!("01 00 0034  0009 0007 646e7300  {}", ELEMENT.replace("0000012c", life));
    let Message::Registration { element, .. } = parse(&with("ffffffff")).unwrap().message else { panic!() };
    assert_eq!(element.life, Lifetime::Infinite);
    let refused = parse(&with("fffffffe")).unwrap_err();
    assert_eq!(refused.error, DecodeError::Lifetime(0xffff_fffe));
    // Invalid Values shows the whole parameter in which the value is (RFC 5354 3.12.5).
    let shown = octets(&ELEMENT.replace("0000012c", "fffffffe"));
    assert_eq!(refused.report, [Cause { code: CauseCode::InvalidValues, information: shown }]);
}

#[test]
fn unknown_messages_go_by_their_two_top_bits() {
    for (kind, reported) in
        [("20", false), ("60", true), ("a0", false), ("e0", false), ("ff", false), ("00", false)]
    {
        let message = format!("{kind} 00 0008 01020304");
        let refused = parse(&message).unwrap_err();
        assert_eq!(refused.error, DecodeError::UnknownMessage(octets(&message)[0]));
        let cause = Cause { code: CauseCode::UnrecognizedMessage, information: octets(&message) };
        assert_eq!(refused.report, if reported { vec![cause] } else { Vec::new() }, "{kind}");
    }
    let mut long = octets("60 00 1000");
    long.resize(0x1000, 0);
    assert_eq!(Message::parse(&long).unwrap_err().report[0].information.len(), 512);
}

#[test]
fn unknown_parameters_go_by_their_two_top_bits() {
    for (kind, skipped, reported) in
        [("3abc", false, false), ("7abc", false, true), ("babc", true, false), ("fabc", true, true)]
    {
        // Its length is no multiple of four, and it stands before what is known.
        let unknown = format!("{kind} 0005 ee");
        let message = format!("05 00 0014 {unknown} 000000  0009 0008 6563686f");
        let cause = Cause { code: CauseCode::UnrecognizedParameter, information: octets(&unknown) };
        let expected = if reported { vec![cause] } else { Vec::new() };
        match parse(&message) {
            Ok(parsed) => {
                assert!(skipped, "{kind}");
                assert_eq!(parsed.report, expected);
            }
            Err(refused) => {
                assert!(!skipped, "{kind}");
                assert_eq!(refused.report, expected);
                assert_eq!(refused.error.reason(), MalformedReason::UnknownParameter);
            }
        }
    }
}

#[test]
fn reports_are_few_however_many_unknown_parameters_there_are() {
    let mut message = octets("05 00 018c  0009 0008 6563686f");
    for _ in 0..96 {
        message.extend(octets("fabc 0004"));
    }
    assert_eq!(Message::parse(&message).unwrap().report.len(), 4);
}

#[test]
fn an_error_is_never_answered_by_an_error() {
    for message in ["0e 00 0008 7abc 0004", "0e 00 0010 fabc 0004 000c 0008 0000 00ff"] {
        assert!(parse(message).unwrap_err().report.is_empty());
    }
}

#[test]
fn who_does_not_know_our_parameters_could_skip_them() {
    for kind in [ParameterType::STATUS_VECTOR, ParameterType::RESOLUTION_OPTION, ParameterType::ELEMENT_FLAGS]
    {
        assert_eq!(kind.0 >> 14, 0b10);
    }
    // And here they are skipped where they mean nothing.
    let message = parse("08 00 001c  0009 0007 646e7300  000e 0008 00000001  803f 0008 00000003").unwrap();
    assert_eq!(message.message.kind(), MessageType::EndpointKeepAliveAck);
}

#[test]
fn what_is_wrong_is_told_apart() {
    for (message, reason) in [
        ("", MalformedReason::Length),
        ("05 00 00", MalformedReason::Length),
        ("05 00 0003", MalformedReason::Length),
        ("05 00 0010 0009 0008 6563686f", MalformedReason::Length),
        ("05 00 000c 0009 0008 6563686f 00000000", MalformedReason::Length),
        ("05 00 000c 0009 0009 6563686f", MalformedReason::ParameterLength),
        ("05 00 000c 0009 0003 6563686f", MalformedReason::ParameterLength),
        ("05 00 0004", MalformedReason::MissingParameter),
        ("02 00 000c 0009 0008 6563686f", MalformedReason::MissingParameter),
        ("05 00 0014 0009 0008 6563686f 0009 0008 6563686f", MalformedReason::UnexpectedParameter),
        ("05 00 0014 0009 0008 6563686f 000e 0008 00000001", MalformedReason::UnexpectedParameter),
        ("02 00 0018 0009 0008 6563686f 000e 000c 0000000100000000", MalformedReason::Value),
        ("06 00 0014 0009 0008 6563686f 0008 0006 0000", MalformedReason::Length),
        ("06 00 0018 0009 0008 6563686f 0008 0009 00000001 01000000", MalformedReason::Value),
        ("06 00 0020 0009 0008 6563686f 8040 0014 00000001000000020000000300000004", MalformedReason::Value),
        ("0a 00 0010 00000001 0005 0008 00350000", MalformedReason::MissingParameter),
        ("0a 00 0018 00000001 0005 0010 00350000 0001 0007 c0000200", MalformedReason::Value),
    ] {
        let refused = parse(message).unwrap_err();
        assert_eq!(refused.error.reason(), reason, "{message}: {refused}");
    }
}

#[test]
fn what_is_too_long_is_not_written_and_leaves_the_buffer_alone() {
    let mut out = vec![1, 2, 3];
    assert_eq!(Message::Cookie(vec![0; 0xffff]).emit(&mut out), Err(EmitError::TooLong(0xffff + 9)));
    let many = Message::BusinessCard { handle: handle("dns"), elements: vec![element(); 2000] };
    assert!(many.emit(&mut out).is_err());
    assert_eq!(out, [1, 2, 3]);
    let most = Message::Cookie(vec![0; MESSAGE_MAX - 8]).to_octets().unwrap();
    assert_eq!(most.len(), MESSAGE_MAX);
    assert!(Message::parse(&most).is_ok());
}

#[test]
fn streams_are_cut_into_messages_however_they_come() {
    let messages =
        [octets("05 01 000c 0009 0008 6563686f"), octets("07 00 000f 11223344 0009 0007 646e7300")];
    let stream = messages.concat();
    for step in 1..=stream.len() {
        let mut frames = Frames::default();
        let mut got = Vec::new();
        for part in stream.chunks(step) {
            frames.push(part);
            while let Some(message) = frames.next_message().unwrap() {
                got.push(message.to_vec());
            }
        }
        assert_eq!(got, messages, "{step}");
        assert!(frames.is_empty());
    }
}

#[test]
fn streams_that_cannot_be_cut_stay_broken() {
    for (stream, error) in [("05 01 0003", FrameError::Length(3)), ("05 01 0011", FrameError::TooLong(0x11))]
    {
        let mut frames = Frames::new(16);
        frames.push(&octets(stream));
        assert_eq!(frames.next_message(), Err(error));
        frames.push(&octets("05 01 000c 0009 0008 6563686f"));
        assert_eq!(frames.next_message(), Err(error));
        assert!(frames.is_empty());
    }
}
