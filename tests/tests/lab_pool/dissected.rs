//! Every message as an independent dissector reads it: Wireshark's for ASAP.

use std::net::SocketAddr;

use anycast_pool::wire::{
    Cause, CauseCode, Lifetime, Message, MessageType, PORT, PolicyParameter, PoolElement, ResolutionResponse,
    Source, State, StatusEntry, StatusFlags, StatusVector, Transport,
};
use anycast_pool::{ElementId, PoolHandle, RegistrarId};
use anycast_tests::lab::tshark;
use anycast_tests::skip;

/// Ethernet, IPv6 and UDP of port 3863 around a message.
fn frame(message: &[u8]) -> Vec<u8> {
    let source = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let destination = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x33];
    let length = u16::try_from(8 + message.len()).unwrap();
    let mut udp = Vec::new();
    for word in [PORT, PORT, length, 0] {
        udp.extend_from_slice(&word.to_be_bytes());
    }
    udp.extend_from_slice(message);
    let mut pseudo = [source, destination].concat();
    pseudo.extend_from_slice(&u32::from(length).to_be_bytes());
    pseudo.extend_from_slice(&[0, 0, 0, 17]);
    pseudo.extend_from_slice(&udp);
    let checksum = checksum(&pseudo).to_be_bytes();
    udp[6..8].copy_from_slice(&checksum);

    let mut frame = vec![0x33, 0x33, 0, 0, 1, 0x33, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&[17, 1]);
    frame.extend_from_slice(&source);
    frame.extend_from_slice(&destination);
    frame.extend_from_slice(&udp);
    frame
}

fn checksum(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn element(id: u32, policy: PolicyParameter) -> PoolElement {
    PoolElement {
        id: ElementId(id),
        home: RegistrarId(0xabcd),
        life: Lifetime::Seconds(300),
        user_transport: Transport::Udp("[2001:db8::53]:53".parse::<SocketAddr>().unwrap()),
        policy,
        asap_transport: Some(Transport::Tcp("192.0.2.1:3863".parse().unwrap())),
    }
}

/// One of each type; of those with optional parts, one without and one with all of them.
fn messages() -> Vec<Message> {
    let (handle, id, registrar) = (PoolHandle::from("dns"), ElementId(7), RegistrarId(0xabcd));
    let weighted = PolicyParameter::new(2, &[10]).unwrap();
    let entry = StatusEntry {
        id,
        state: State::Up,
        source: Source::KeepAlive,
        flags: StatusFlags::STANDBY,
        age_ms: 1_500,
    };
    let status = StatusVector { registrar, epoch: 1, sequence: 2, entries: vec![entry; 3] };
    let errors = vec![Cause { code: CauseCode::UnknownPoolHandle, information: Vec::new() }];
    let response = |elements: Vec<PoolElement>, errors: Vec<Cause>, status: Option<StatusVector>| {
        Message::HandleResolutionResponse(ResolutionResponse {
            handle: PoolHandle::from("dns"),
            accepted: status.is_some(),
            policy: elements.first().map(|element| element.policy),
            elements,
            errors,
            status,
        })
    };
    let registration = |flags| Message::Registration {
        handle: PoolHandle::from("dns"),
        element: element(7, PolicyParameter::ROUND_ROBIN),
        flags,
    };
    let resolution = |limit, status| Message::HandleResolution {
        handle: PoolHandle::from("dns"),
        subscribe: status,
        limit,
        status,
    };
    vec![
        registration(StatusFlags::NONE),
        registration(StatusFlags::STANDBY),
        Message::Deregistration { handle: handle.clone(), id },
        Message::RegistrationResponse { handle: handle.clone(), id, rejected: false, errors: Vec::new() },
        Message::RegistrationResponse { handle: handle.clone(), id, rejected: true, errors: errors.clone() },
        Message::DeregistrationResponse { handle: handle.clone(), id, errors: Vec::new() },
        resolution(None, false),
        resolution(Some(8), true),
        response(vec![element(7, weighted), element(8, weighted)], Vec::new(), None),
        response(vec![element(7, weighted)], Vec::new(), Some(status)),
        response(Vec::new(), errors.clone(), None),
        Message::EndpointKeepAlive { registrar, handle: handle.clone(), adopt: true },
        Message::EndpointKeepAliveAck { handle: handle.clone(), id },
        Message::EndpointUnreachable { handle: handle.clone(), id },
        Message::ServerAnnounce { registrar, transports: Vec::new() },
        Message::ServerAnnounce {
            registrar,
            transports: vec![Transport::Tcp("[2001:db8::1]:3863".parse().unwrap())],
        },
        Message::Cookie(vec![1, 2, 3, 4, 5]),
        Message::CookieEcho(vec![1, 2, 3, 4, 5]),
        Message::BusinessCard { handle, elements: vec![element(7, weighted)] },
        Message::Error(errors),
    ]
}

#[test]
fn every_message_is_dissected_without_complaint() {
    if !tshark::installed() {
        skip("every_message_is_dissected_without_complaint", "tshark is not installed");
        return;
    }
    let messages = messages();
    assert!(MessageType::ALL.iter().all(|kind| messages.iter().any(|message| message.kind() == *kind)));
    let frames: Vec<_> = messages.iter().map(|message| frame(&message.to_octets().unwrap())).collect();
    let dissected =
        tshark::dissect(frames.iter().map(Vec::as_slice), &["asap.message_type", "asap.message_length"])
            .unwrap();
    assert_eq!(dissected.len(), messages.len());
    for (dissected, message) in dissected.iter().zip(&messages) {
        assert!(dissected.complaints.is_empty(), "{message:?}: {:?}", dissected.complaints);
        let code: u8 = dissected.fields[0][0].parse().unwrap();
        assert_eq!(code, message.kind().code(), "{message:?}");
    }
}

#[test]
fn a_length_that_lies_is_complained_of() {
    if !tshark::installed() {
        skip("a_length_that_lies_is_complained_of", "tshark is not installed");
        return;
    }
    let mut octets = messages()[0].to_octets().unwrap();
    // The last two octets of the pool handle's header: its length.
    octets[6..8].copy_from_slice(&2_u16.to_be_bytes());
    let lying = frame(&octets);
    let dissected = tshark::dissect([lying.as_slice()], &["asap.message_type"]).unwrap();
    assert!(!dissected[0].complaints.is_empty(), "{dissected:?}");
}
