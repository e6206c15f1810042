//! Hand-built octets in both directions, and random ones.

use anycast_ospf::codec::body::{
    AsExternalLsa, GraceLsa, GraceReason, IntraAreaPrefixLsa, LinkLsa, LoadLsa, MetricPrefix, NetworkLsa,
    Prefix, RouterLink, RouterLsa, ServiceState,
};
use anycast_ospf::codec::{
    Body, DatabaseDescription, DecodeError, Hello, LinkKind, LsType, Lsa, LsaBody, LsaHeader, LsaKey,
    Options, Packet, PrefixOptions, checksum,
};
use anycast_ospf::{AreaId, RouterId};
use proptest::prelude::*;

fn key(ls_type: LsType, link_state_id: u32) -> LsaKey {
    LsaKey { ls_type, link_state_id, advertising_router: RouterId(0xc000_0203) }
}

/// RFC 5340 4.4.3.2: the Router-LSA of RT3 in the example.
#[test]
fn the_router_lsa_of_the_rfcs_example() {
    let body = RouterLsa {
        flags: 0x01,
        options: Options::V6 | Options::E | Options::R,
        links: vec![RouterLink {
            kind: LinkKind::Transit,
            metric: 1,
            interface_id: 1,
            neighbor_interface_id: 1,
            neighbor_router_id: RouterId(0xc000_0204),
        }],
    };
    let octets = [
        0x01, 0, 0, 0x13, // B-bit, options
        2, 0, 0, 1, // transit, metric
        0, 0, 0, 1, 0, 0, 0, 1, 192, 0, 2, 4,
    ];
    assert_eq!(body.encode(), octets);
    assert_eq!(RouterLsa::decode(&octets), Ok(body));
}

/// RFC 5340 4.4.3.9: the Intra-Area-Prefix-LSA of RT3; a prefix of 56 bits takes two words.
#[test]
fn the_intra_area_prefix_lsa_of_the_rfcs_example() {
    let body = IntraAreaPrefixLsa {
        referenced: key(LsType::ROUTER, 0),
        prefixes: vec![MetricPrefix {
            prefix: Prefix::new("2001:db8:c001:400::".parse().unwrap(), 56).unwrap(),
            options: PrefixOptions(0),
            metric: 2,
        }],
    };
    let octets = [
        0, 1, 0x20, 0x01, 0, 0, 0, 0, 192, 0, 2, 3, // one prefix, of Router-LSA 0 of 192.0.2.3
        56, 0, 0, 2, 0x20, 0x01, 0x0d, 0xb8, 0xc0, 0x01, 0x04, 0x00,
    ];
    assert_eq!(body.encode(), octets);
    assert_eq!(IntraAreaPrefixLsa::decode(&octets), Ok(body));
}

#[test]
fn the_load_lsa_octet_for_octet() {
    let body = LoadLsa {
        enterprise: 0,
        state: ServiceState::Up,
        permille: 700,
        capacity: 100_000,
        rate: 70_000,
        prefix: Prefix::host("2001:db8:53::53".parse().unwrap()),
        cost: 130,
    };
    let octets = [
        0, 0, 0, 0, // experimental
        0, 1, 0, 4, 1, 1, 0, 0, // version 1, up
        0, 2, 0, 4, 0, 0, 0x02, 0xbc, // 700
        0, 3, 0, 4, 0, 0x01, 0x86, 0xa0, // 100,000
        0, 4, 0, 4, 0, 0x01, 0x11, 0x70, // 70,000
        0, 5, 0, 20, 128, 0, 0, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 0x53, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53, //
        0, 6, 0, 4, 0, 0, 0, 130,
    ];
    assert_eq!(body.encode(), octets);
    assert_eq!(LoadLsa::decode(&octets, 0), Ok(body));
    assert_eq!(LoadLsa::decode(&octets, 7), Err(DecodeError::Enterprise { got: 0, want: 7 }));
    // An unknown TLV of odd length, with and without its padding, changes nothing.
    let mut more = octets.to_vec();
    more.extend_from_slice(&[0xff, 0xff, 0, 1, 9, 0, 0, 0]);
    assert_eq!(LoadLsa::decode(&more, 0), Ok(body));
    assert_eq!(LoadLsa::decode(&more[..more.len() - 3], 0), Ok(body));
    // Each mandatory TLV, and each length.
    assert_eq!(LoadLsa::decode(&octets[..4], 0), Err(DecodeError::TlvMissing(1)));
    assert_eq!(LoadLsa::decode(&octets[..12], 0), Err(DecodeError::TlvMissing(2)));
    let mut wrong = octets;
    wrong[15] = 8;
    assert_eq!(LoadLsa::decode(&wrong, 0), Err(DecodeError::TlvLength { kind: 2, length: 8 }));
    let mut wrong = octets;
    wrong[40] = 129;
    assert_eq!(LoadLsa::decode(&wrong, 0), Err(DecodeError::PrefixLength(129)));
    for cut in 0..octets.len() {
        let _ = LoadLsa::decode(&octets[..cut], 0);
    }
}

/// Counts and lengths that lie.
#[test]
fn lying_counts_and_lengths_are_refused_with_the_value() {
    let mut link = LinkLsa {
        priority: 0,
        options: Options::V6,
        link_local: "fe80::1".parse().unwrap(),
        prefixes: vec![],
    }
    .encode();
    link[20..24].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(LinkLsa::decode(&link), Err(DecodeError::Count { what: "Link-LSA", said: u32::MAX, room: 0 }));

    let update = Packet {
        router_id: RouterId(1),
        area: AreaId::BACKBONE,
        instance: 0,
        checksum: 0,
        body: Body::LinkStateUpdate(vec![Lsa::new(key(LsType::ROUTER, 0), -5, 1, &[0; 4])]),
    };
    let octets = update.encode();
    let with = |at: usize, value: u8| {
        let mut octets = octets.clone();
        octets[at] = value;
        Packet::decode(&octets).map(|_| ())
    };
    assert_eq!(with(0, 2), Err(DecodeError::Version(2)));
    assert_eq!(with(1, 6), Err(DecodeError::Kind(6)));
    assert_eq!(with(3, 15), Err(DecodeError::Length { said: 15, got: 44 }));
    assert_eq!(with(3, 45), Err(DecodeError::Length { said: 45, got: 44 }));
    assert_eq!(with(19, 0), Err(DecodeError::Trailing { what: "Link State Update", octets: 24 }));
    assert_eq!(with(19, 2), Err(DecodeError::Count { what: "Link State Update", said: 2, room: 1 }));
    assert_eq!(with(39, 19), Err(DecodeError::LsaLength { said: 19, room: 24 }));
    assert_eq!(with(39, 25), Err(DecodeError::LsaLength { said: 25, room: 24 }));
    assert_eq!(with(39, 20), Err(DecodeError::Trailing { what: "Link State Update", octets: 4 }));
}

#[test]
fn a_prefix_takes_as_many_words_as_it_needs() {
    for (length, words) in [(0, 0), (1, 1), (32, 1), (33, 2), (64, 2), (65, 3), (97, 4), (128, 4)] {
        let prefix = Prefix::new("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap(), length).unwrap();
        let body = AsExternalLsa {
            type_2: true,
            metric: 20,
            prefix,
            options: PrefixOptions(0),
            forwarding: None,
            tag: None,
            referenced: None,
        };
        assert_eq!(body.encode().len(), 8 + 4 * words, "{length}");
        assert_eq!(AsExternalLsa::decode(&body.encode()), Ok(body), "{length}");
    }
    assert_eq!(Prefix::new("::".parse().unwrap(), 129), None);
}

fn any_key() -> impl Strategy<Value = LsaKey> {
    (any::<u16>(), any::<u32>(), any::<u32>()).prop_map(|(ls_type, link_state_id, router)| LsaKey {
        ls_type: LsType(ls_type),
        link_state_id,
        advertising_router: RouterId(router),
    })
}

fn any_header() -> impl Strategy<Value = LsaHeader> {
    (any::<u16>(), any_key(), any::<i32>(), any::<u16>(), 20_u16..)
        .prop_map(|(age, key, sequence, checksum, length)| LsaHeader { age, key, sequence, checksum, length })
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..120)
}

fn any_lsa() -> impl Strategy<Value = Lsa> {
    (any_key(), any::<i32>(), any::<u16>(), any_body())
        .prop_map(|(key, sequence, age, body)| Lsa::new(key, sequence, age, &body))
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let ids = || prop::collection::vec(any::<u32>().prop_map(RouterId), 0..20);
    let hello = (
        any::<u32>(),
        any::<u8>(),
        any::<u32>(),
        any::<u16>(),
        any::<u16>(),
        any::<u32>(),
        any::<u32>(),
        ids(),
    )
        .prop_map(
            |(interface_id, priority, options, hello_interval, dead_interval, dr, bdr, neighbors)| {
                Body::Hello(Hello {
                    interface_id,
                    priority,
                    options: Options::from_bits(options),
                    hello_interval,
                    dead_interval,
                    designated_router: RouterId(dr),
                    backup_designated_router: RouterId(bdr),
                    neighbors,
                })
            },
        );
    let headers = || prop::collection::vec(any_header(), 0..20);
    let description = (any::<u32>(), any::<u16>(), any::<[bool; 3]>(), any::<u32>(), headers()).prop_map(
        |(options, mtu, [init, more, master], sequence, headers)| {
            let options = Options::from_bits(options);
            Body::DatabaseDescription(DatabaseDescription {
                options,
                mtu,
                init,
                more,
                master,
                sequence,
                headers,
            })
        },
    );
    let body = prop_oneof![
        hello,
        description,
        prop::collection::vec(any_key(), 0..20).prop_map(Body::LinkStateRequest),
        prop::collection::vec(any_lsa(), 0..10).prop_map(Body::LinkStateUpdate),
        headers().prop_map(Body::LinkStateAck),
    ];
    (any::<u32>(), any::<u32>(), any::<u8>(), any::<u16>(), body).prop_map(
        |(router_id, area, instance, checksum, body)| Packet {
            router_id: RouterId(router_id),
            area: AreaId(area),
            instance,
            checksum,
            body,
        },
    )
}

proptest! {
    #[test]
    fn a_packet_is_decoded_as_it_was_encoded(packet in any_packet(), trailer in any_body()) {
        let mut octets = packet.encode();
        octets.extend_from_slice(&trailer);
        prop_assert_eq!(Packet::decode(&octets), Ok((packet, trailer.as_slice())));
    }

    #[test]
    fn random_octets_never_panic(octets in prop::collection::vec(any::<u8>(), 0..200), kind in 1_u8..6) {
        let _ = Packet::decode(&octets);
        // And behind a header that is right.
        let mut packet = vec![3, kind, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        packet.extend_from_slice(&octets);
        let length = packet.len() as u16;
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        if let Ok((decoded, _)) = Packet::decode(&packet) {
            let again = decoded.encode();
            prop_assert_eq!(Packet::decode(&again).map(|(packet, _)| packet), Ok(decoded));
        }
    }

    /// Whatever a body decodes to is encoded to the same octets, but for reserved ones.
    #[test]
    fn random_bodies_never_panic(octets in any_body(), at in 0_usize..10) {
        let types = [0x2001, 0x2002, 0x2003, 0x2004, 0x4005, 0x2007, 0x0008, 0x2009, 0x000b, 0xbff0];
        let lsa = Lsa::new(key(LsType(types[at]), 0), 1, 1, &octets);
        prop_assert!(lsa.is_intact());
        if let Ok(body) = LsaBody::decode(&lsa) {
            let again = Lsa::new(lsa.header.key, 1, 1, &body.encode());
            prop_assert_eq!(LsaBody::decode(&again), Ok(body));
        }
        let _ = LoadLsa::decode(&octets, 0);
    }

    #[test]
    fn every_body_is_decoded_as_it_was_encoded(
        links in prop::collection::vec((any::<u8>(), any::<u16>(), any::<u32>(), any::<u32>(), any::<u32>()), 0..8),
        address in any::<u128>(), length in 0_u8..=128, metric in any::<u32>(), tag in any::<Option<u32>>(),
        forwarding in any::<Option<u128>>(), referenced in any::<Option<(u16, u32)>>(), flag in any::<bool>(),
    ) {
        let links = links.into_iter().map(|(kind, metric, interface_id, neighbor_interface_id, router)| RouterLink {
            kind: match kind { 1 => LinkKind::PointToPoint, 2 => LinkKind::Transit, 4 => LinkKind::Virtual, other => LinkKind::Other(other) },
            metric, interface_id, neighbor_interface_id, neighbor_router_id: RouterId(router),
        });
        let prefix = Prefix::new(address.into(), length).unwrap();
        let prefixes = vec![MetricPrefix { prefix, options: PrefixOptions(metric as u8), metric: metric as u16 }; 3];
        let options = Options::from_bits(metric);
        for (ls_type, body) in [
            (LsType::ROUTER, LsaBody::Router(RouterLsa { flags: length, options, links: links.collect() })),
            (LsType::NETWORK, LsaBody::Network(NetworkLsa { options, attached: vec![RouterId(metric); usize::from(length)] })),
            (LsType::LINK, LsaBody::Link(LinkLsa { priority: length, options, link_local: address.into(), prefixes: prefixes.clone() })),
            (LsType::INTRA_AREA_PREFIX, LsaBody::IntraAreaPrefix(IntraAreaPrefixLsa { referenced: key(LsType(metric as u16), metric), prefixes })),
            (LsType::AS_EXTERNAL, LsaBody::AsExternal(AsExternalLsa {
                type_2: flag, metric: metric & 0xff_ffff, prefix, options: PrefixOptions(length), forwarding: forwarding.map(Into::into), tag,
                referenced: referenced.filter(|(ls_type, _)| *ls_type != 0).map(|(ls_type, id)| (LsType(ls_type), id)),
            })),
            (LsType::GRACE, LsaBody::Grace(GraceLsa { period: metric, reason: GraceReason::SoftwareRestart })),
            (LsType::INTER_AREA_PREFIX, LsaBody::Opaque(address.to_be_bytes().as_slice().into())),
        ] {
            let lsa = Lsa::new(key(ls_type, 0), 1, 0, &body.encode());
            prop_assert_eq!(LsaBody::decode(&lsa), Ok(body));
        }
        let load = LoadLsa { enterprise: metric, state: ServiceState::Draining, permille: metric, capacity: metric, rate: metric, prefix, cost: metric };
        prop_assert_eq!(LoadLsa::decode(&load.encode(), metric), Ok(load));
    }

    #[test]
    fn any_changed_bit_of_an_lsa_behind_its_age_breaks_the_checksum(lsa in any_lsa(), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut octets = Vec::new();
        lsa.emit(&mut octets);
        let at = 2 + at.index(octets.len() - 2);
        octets[at] ^= 1_u8 << bit;
        // 0 and 255 are one to Fletcher; a single bit never makes one out of the other.
        prop_assert!(!checksum::fletcher_holds(&octets));
    }
}
