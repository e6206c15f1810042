//! ASAP on the wire: any message there and back, cut anywhere, with any bits turned.

use std::net::SocketAddr;

use anycast_pool::wire::*;
use anycast_pool::{ElementId, PoolHandle, RegistrarId};
use proptest::prelude::*;

fn arbitrary_handle() -> impl Strategy<Value = PoolHandle> {
    proptest::collection::vec(any::<u8>(), 0..20).prop_map(PoolHandle::new)
}

fn arbitrary_address() -> impl Strategy<Value = SocketAddr> {
    (any::<std::net::IpAddr>(), any::<u16>()).prop_map(|(address, port)| SocketAddr::new(address, port))
}

fn arbitrary_transport() -> impl Strategy<Value = Transport> {
    prop_oneof![
        arbitrary_address().prop_map(Transport::Tcp),
        arbitrary_address().prop_map(Transport::Udp),
        arbitrary_address().prop_map(Transport::UdpLite),
        (arbitrary_address(), any::<u32>())
            .prop_map(|(address, service_code)| Transport::Dccp { address, service_code }),
        proptest::collection::vec(any::<u8>(), 0..9).prop_map(Transport::Opaque),
        arbitrary_sctp(),
    ]
}

fn arbitrary_sctp() -> impl Strategy<Value = Transport> {
    let transport_use = prop_oneof![
        Just(TransportUse::Data),
        Just(TransportUse::DataAndControl),
        Just(TransportUse::Other(7))
    ];
    (any::<u16>(), transport_use, proptest::collection::vec(any::<std::net::IpAddr>(), 1..4))
        .prop_map(|(port, transport_use, addresses)| Transport::Sctp { port, transport_use, addresses })
}

fn arbitrary_policy() -> impl Strategy<Value = PolicyParameter> {
    (any::<u32>(), proptest::collection::vec(any::<u32>(), 0..=PolicyParameter::WORDS_MAX))
        .prop_map(|(code, words)| PolicyParameter::new(code, &words).expect("few words"))
}

fn arbitrary_element() -> impl Strategy<Value = PoolElement> {
    let life = prop_oneof![Just(Lifetime::Infinite), (0..0x8000_0000_u32).prop_map(Lifetime::Seconds)];
    let asap = proptest::option::of(arbitrary_sctp());
    (any::<u32>(), any::<u32>(), life, arbitrary_transport(), arbitrary_policy(), asap).prop_map(
        |(id, home, life, user_transport, policy, asap_transport)| PoolElement {
            id: ElementId(id),
            home: RegistrarId(home),
            life,
            user_transport,
            policy,
            asap_transport,
        },
    )
}

fn arbitrary_causes() -> impl Strategy<Value = Vec<Cause>> {
    let cause = (0..20_u16, proptest::collection::vec(any::<u8>(), 0..9))
        .prop_map(|(code, information)| Cause { code: CauseCode::from_code(code), information });
    proptest::collection::vec(cause, 0..3)
}

fn arbitrary_vector() -> impl Strategy<Value = StatusVector> {
    let entry = (any::<u32>(), 0..3_u8, any::<u8>(), any::<u16>(), any::<u32>()).prop_map(
        |(id, state, source, flags, age_ms)| StatusEntry {
            id: ElementId(id),
            state: State::from_code(state),
            source: Source::from_code(source),
            flags: StatusFlags(flags),
            age_ms,
        },
    );
    (any::<u32>(), any::<u32>(), any::<u32>(), proptest::collection::vec(entry, 0..5)).prop_map(
        |(registrar, epoch, sequence, entries)| StatusVector {
            registrar: RegistrarId(registrar),
            epoch,
            sequence,
            entries,
        },
    )
}

fn arbitrary_message() -> impl Strategy<Value = Message> {
    let name = || (arbitrary_handle(), any::<u32>().prop_map(ElementId));
    prop_oneof![
        (arbitrary_handle(), arbitrary_element(), 0..4_u16).prop_map(|(handle, element, flags)| {
            Message::Registration { handle, element, flags: StatusFlags(flags) }
        }),
        name().prop_map(|(handle, id)| Message::Deregistration { handle, id }),
        (name(), any::<bool>(), arbitrary_causes()).prop_map(|((handle, id), rejected, errors)| {
            Message::RegistrationResponse { handle, id, rejected, errors }
        }),
        (name(), arbitrary_causes()).prop_map(|((handle, id), errors)| Message::DeregistrationResponse {
            handle,
            id,
            errors
        }),
        (arbitrary_handle(), any::<bool>(), any::<Option<u32>>(), any::<bool>()).prop_map(
            |(handle, subscribe, limit, status)| Message::HandleResolution {
                handle,
                subscribe,
                limit,
                status
            }
        ),
        (
            arbitrary_handle(),
            any::<bool>(),
            proptest::option::of(arbitrary_policy()),
            proptest::collection::vec(arbitrary_element(), 0..4),
            arbitrary_causes(),
            proptest::option::of(arbitrary_vector())
        )
            .prop_map(|(handle, accepted, policy, elements, errors, status)| {
                let response = ResolutionResponse { handle, accepted, policy, elements, errors, status };
                Message::HandleResolutionResponse(response)
            }),
        (any::<u32>(), arbitrary_handle(), any::<bool>()).prop_map(|(registrar, handle, adopt)| {
            Message::EndpointKeepAlive { registrar: RegistrarId(registrar), handle, adopt }
        }),
        name().prop_map(|(handle, id)| Message::EndpointKeepAliveAck { handle, id }),
        name().prop_map(|(handle, id)| Message::EndpointUnreachable { handle, id }),
        (any::<u32>(), proptest::collection::vec(arbitrary_transport(), 0..3)).prop_map(
            |(registrar, transports)| Message::ServerAnnounce {
                registrar: RegistrarId(registrar),
                transports
            }
        ),
        proptest::collection::vec(any::<u8>(), 0..9).prop_map(Message::Cookie),
        proptest::collection::vec(any::<u8>(), 0..9).prop_map(Message::CookieEcho),
        (arbitrary_handle(), proptest::collection::vec(arbitrary_element(), 0..3))
            .prop_map(|(handle, elements)| Message::BusinessCard { handle, elements }),
        arbitrary_causes()
            .prop_filter("an error has a cause", |causes| !causes.is_empty())
            .prop_map(Message::Error),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(message in arbitrary_message()) {
        let octets = message.to_octets().unwrap();
        prop_assert_eq!(octets.len() % 4, 0);
        prop_assert_eq!(Message::parse(&octets), Ok(Parsed { message, report: Vec::new() }));
    }

    #[test]
    fn cut_anywhere_it_is_refused_or_read_and_never_panics(message in arbitrary_message()) {
        let octets = message.to_octets().unwrap();
        for cut in 0..octets.len() {
            prop_assert!(Message::parse(&octets[..cut]).is_err());
            // With a length that fits, what is inside is cut.
            if cut >= HEADER_LEN {
                let mut short = octets[..cut].to_vec();
                short[2..4].copy_from_slice(&(cut as u16).to_be_bytes());
                if let Ok(parsed) = Message::parse(&short) {
                    prop_assert!(parsed.message.to_octets().is_ok());
                }
            }
        }
    }

    #[test]
    fn turned_bits_never_panic_and_what_is_read_is_written_again(
        message in arbitrary_message(),
        turns in proptest::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..6),
    ) {
        let mut octets = message.to_octets().unwrap();
        for (at, bit) in turns {
            let at = at.index(octets.len());
            octets[at] ^= 1 << bit;
        }
        if let Ok(parsed) = Message::parse(&octets) {
            let again = parsed.message.to_octets().unwrap();
            prop_assert_eq!(Message::parse(&again).unwrap().message, parsed.message);
        }
    }
}
