//! What FRR 8.4.4 and BIRD 2.0.12 really sent: decoded, checked, encoded to the same octets, and read the same by `ospf-parser`.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use anycast_ospf::codec::{
    Body, DecodeError, Header, Kind, LinkKind, LsType, Lsa, LsaBody, Options, Packet, PrefixOptions, checksum,
};
use anycast_ospf::{AreaId, RouterId};
use common::{AUTHENTICATED, PLAIN, packets};
use ospf_parser::{Ospfv3LinkStateAdvertisement as Theirs, Ospfv3Packet, parse_ospfv3_packet};

const FRR: RouterId = RouterId(0x0a00_0001);
const BIRD: RouterId = RouterId(0x0a00_0002);

fn lsas() -> Vec<Lsa> {
    let updates = packets(PLAIN).into_iter().filter_map(|packet| {
        match Packet::decode(&packet.payload).expect("a packet").0.body {
            Body::LinkStateUpdate(lsas) => Some(lsas),
            _ => None,
        }
    });
    updates.flatten().collect()
}

#[test]
fn every_packet_is_encoded_to_the_same_octets() {
    let mut kinds = BTreeMap::<Kind, usize>::new();
    for captured in packets(PLAIN).into_iter().chain(packets(AUTHENTICATED)) {
        let (packet, trailer) = Packet::decode(&captured.payload).unwrap();
        let mut again = packet.encode();
        again.extend_from_slice(trailer);
        assert_eq!(again, captured.payload, "line {}", captured.line);
        *kinds.entry(packet.body.kind()).or_default() += 1;
    }
    assert_eq!(kinds.len(), Kind::ALL.len(), "{kinds:?}");
}

#[test]
fn every_checksum_holds_and_is_computed_the_same() {
    for captured in packets(PLAIN) {
        let (source, destination) = (captured.source, captured.destination);
        assert!(checksum::packet_holds(source, destination, &captured.payload), "line {}", captured.line);
        let mut again = captured.payload.clone();
        again[12..14].fill(0x2a);
        checksum::fill(source, destination, &mut again);
        assert_eq!(again, captured.payload);
        again[20] ^= 0x01;
        assert!(!checksum::packet_holds(source, destination, &again), "line {}", captured.line);
    }
}

#[test]
fn every_lsa_is_intact_and_its_body_encoded_to_the_same_octets() {
    let mut types = BTreeSet::new();
    for lsa in lsas() {
        assert!(lsa.is_intact(), "{}", lsa.header.key);
        let body = LsaBody::decode(&lsa).unwrap();
        assert!(!matches!(body, LsaBody::Opaque(_)), "{}", lsa.header.key);
        assert_eq!(body.encode(), *lsa.body, "{}", lsa.header.key);
        let again = Lsa::new(lsa.header.key, lsa.header.sequence, lsa.header.age, &body.encode());
        assert_eq!(again, lsa);
        types.insert(lsa.header.key.ls_type);
    }
    let expected =
        [LsType::LINK, LsType::ROUTER, LsType::NETWORK, LsType::INTRA_AREA_PREFIX, LsType::AS_EXTERNAL];
    assert_eq!(types, expected.into_iter().collect());
}

#[test]
fn the_meaning_is_what_the_daemons_were_configured_to() {
    let first = &packets(PLAIN)[0];
    let header = Header::decode(&first.payload).unwrap();
    assert_eq!((header.router_id, header.area, header.instance), (FRR, AreaId::BACKBONE, 0));
    let Body::Hello(hello) = Packet::decode(&first.payload).unwrap().0.body else { panic!("a Hello") };
    assert_eq!((hello.hello_interval, hello.dead_interval, hello.priority), (1, 4, 10));
    assert_eq!(hello.options, Options::V6 | Options::E | Options::R);
    assert_eq!(hello.neighbors, []);

    let newest = lsas()
        .into_iter()
        .map(|lsa| (lsa.header.key, LsaBody::decode(&lsa).unwrap()))
        .collect::<BTreeMap<_, _>>();
    let of = |ls_type, router| {
        newest
            .iter()
            .filter(move |(key, _)| key.ls_type == ls_type && key.advertising_router == router)
            .map(|(_, body)| body)
    };
    let Some(LsaBody::Router(router)) = of(LsType::ROUTER, BIRD).next_back() else { panic!("a Router-LSA") };
    assert_eq!(router.links.len(), 1);
    assert_eq!((router.links[0].kind, router.links[0].metric), (LinkKind::Transit, 10));
    assert_eq!(router.links[0].neighbor_router_id, FRR);
    let Some(LsaBody::Network(network)) = of(LsType::NETWORK, FRR).next_back() else {
        panic!("a Network-LSA")
    };
    assert_eq!(network.attached, [FRR, BIRD]);
    let Some(LsaBody::AsExternal(external)) = of(LsType::AS_EXTERNAL, BIRD).next_back() else {
        panic!("AS-External-LSA")
    };
    assert_eq!((external.type_2, external.metric, external.tag), (true, 500, Some(888)));
    assert_eq!(external.prefix.to_string(), "2001:db8:bb::/48");
    let service = of(LsType::INTRA_AREA_PREFIX, BIRD).find_map(|body| match body {
        LsaBody::IntraAreaPrefix(body) => body.prefixes.iter().find(|prefix| prefix.prefix.length() == 128),
        _ => None,
    });
    let service = service.expect("the stub network of BIRD");
    assert_eq!((service.metric, service.options.0 & PrefixOptions::NU.0), (100, 0));
    assert_eq!(service.prefix.address().to_string(), "2001:db8:54::53");
}

#[test]
fn every_prefix_and_every_changed_octet_is_refused_or_read_without_panic() {
    for captured in packets(PLAIN).into_iter().chain(packets(AUTHENTICATED)) {
        let (packet, trailer) = Packet::decode(&captured.payload).unwrap();
        let length = captured.payload.len() - trailer.len();
        for cut in 0..length {
            let error = Packet::decode(&captured.payload[..cut]).unwrap_err();
            assert!(matches!(error, DecodeError::Length { .. } | DecodeError::Short { .. }), "{error:?}");
            assert!(!error.advice().is_empty() && !error.to_string().is_empty());
        }
        for at in 0..length {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut dirty = captured.payload.clone();
                dirty[at] = value;
                let Ok((other, _)) = Packet::decode(&dirty) else { continue };
                if let Body::LinkStateUpdate(lsas) = &other.body {
                    for lsa in lsas {
                        let _ = LsaBody::decode(lsa);
                    }
                }
                // Reserved octets are the only ones that may be lost.
                let (again, _) =
                    Packet::decode(&other.encode()).map(|(packet, rest)| (packet, rest.len())).unwrap();
                assert_eq!(again, other);
            }
        }
        drop(packet);
    }
}

#[test]
fn ospf_parser_reads_the_same() {
    for captured in packets(PLAIN) {
        let (ours, _) = Packet::decode(&captured.payload).unwrap();
        let (_, theirs) = parse_ospfv3_packet(&captured.payload).expect("ospf-parser reads it");
        match (&ours.body, theirs) {
            (Body::Hello(ours), Ospfv3Packet::Hello(theirs)) => {
                assert_eq!(ours.interface_id, theirs.interface_id);
                assert_eq!((ours.priority, ours.options.bits()), (theirs.router_priority, theirs.options));
                assert_eq!(
                    (ours.hello_interval, ours.dead_interval),
                    (theirs.hello_interval, theirs.router_dead_interval)
                );
                assert_eq!(ours.designated_router.0, theirs.designated_router);
                assert_eq!(ours.neighbors.iter().map(|id| id.0).collect::<Vec<_>>(), theirs.neighbor_list);
            }
            (Body::DatabaseDescription(ours), Ospfv3Packet::DatabaseDescription(theirs)) => {
                assert_eq!((ours.mtu, ours.sequence), (theirs.if_mtu, theirs.dd_sequence_number));
                let flags = u8::from(ours.init) << 2 | u8::from(ours.more) << 1 | u8::from(ours.master);
                assert_eq!(flags, theirs.db_description);
                assert_eq!(ours.headers.len(), theirs.lsa_headers.len());
            }
            (Body::LinkStateRequest(ours), Ospfv3Packet::LinkStateRequest(theirs)) => {
                assert_eq!(ours.len(), theirs.requests.len());
            }
            (Body::LinkStateUpdate(ours), Ospfv3Packet::LinkStateUpdate(theirs)) => {
                assert_eq!(ours.len(), theirs.lsa.len());
                for (ours, theirs) in ours.iter().zip(&theirs.lsa) {
                    same(ours, theirs);
                }
            }
            (Body::LinkStateAck(ours), Ospfv3Packet::LinkStateAcknowledgment(theirs)) => {
                let sums = ours.iter().map(|header| header.checksum).collect::<Vec<_>>();
                assert_eq!(
                    sums,
                    theirs.lsa_headers.iter().map(|header| header.ls_checksum).collect::<Vec<_>>()
                );
            }
            (ours, theirs) => panic!("line {}: {ours:?} is {theirs:?}", captured.line),
        }
    }
}

fn same(ours: &Lsa, theirs: &Theirs) {
    let header = match theirs {
        Theirs::Router(lsa) => &lsa.header,
        Theirs::Network(lsa) => &lsa.header,
        Theirs::Link(lsa) => &lsa.header,
        Theirs::IntraAreaPrefix(lsa) => &lsa.header,
        Theirs::ASExternal(lsa) => &lsa.header,
        other => panic!("{other:?}"),
    };
    assert_eq!(ours.header.key.ls_type.0, header.link_state_type.0);
    assert_eq!(ours.header.sequence.cast_unsigned(), header.ls_seq_number);
    assert_eq!(ours.header.checksum, header.ls_checksum);
    match (LsaBody::decode(ours).expect("a body"), theirs) {
        (LsaBody::Router(ours), Theirs::Router(theirs)) => {
            assert_eq!(ours.links.len(), theirs.links.len())
        }
        (LsaBody::Network(ours), Theirs::Network(theirs)) => {
            assert_eq!(ours.attached.iter().map(|id| id.0).collect::<Vec<_>>(), theirs.attached_routers);
        }
        (LsaBody::Link(ours), Theirs::Link(theirs)) => {
            assert_eq!(ours.link_local.octets().as_slice(), theirs.link_local_interface_address);
            assert_eq!(ours.prefixes.len(), theirs.address_prefixes.len());
        }
        (LsaBody::IntraAreaPrefix(ours), Theirs::IntraAreaPrefix(theirs)) => {
            // What it calls reserved is the metric here.
            let metrics = ours.prefixes.iter().map(|prefix| prefix.metric).collect::<Vec<_>>();
            assert_eq!(
                metrics,
                theirs.address_prefixes.iter().map(|prefix| prefix.reserved).collect::<Vec<_>>()
            );
        }
        (LsaBody::AsExternal(ours), Theirs::ASExternal(theirs)) => {
            assert_eq!((ours.metric, ours.type_2), (theirs.metric, theirs.flags & 0x04 != 0));
            // It takes length / 8 octets for a prefix where the RFC has whole words (A.4.1): behind a prefix of 48 bits it is lost.
            if ours.prefix.length() % 32 == 0 {
                assert_eq!(ours.tag, theirs.external_route_tag);
            }
        }
        (ours, theirs) => panic!("{ours:?} is {theirs:?}"),
    }
}
