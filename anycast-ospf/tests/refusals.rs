//! What is not taken: every reason counted, told once with what to change, and nothing grows. And authentication, against what FRR and
//! BIRD sent.

mod common;
mod lab;

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use anycast_ospf::auth::{Algorithm, Key, KeyRing, Sequence};
use anycast_ospf::codec::{Body, DatabaseDescription, Hello, Options, Packet, checksum};
use anycast_ospf::{
    ALL_D_ROUTERS, ALL_SPF_ROUTERS, Advertise, AreaId, Config, Event, Guard, Input, InterfaceConfig,
    InterfaceId, Link, NEIGHBORS_MAX, NeighborState, Output, Reason, RouterId, Speaker, Time,
};
use common::{AUTHENTICATED, Captured, PLAIN, packets};
use lab::{interface, seconds};
use proptest::prelude::*;

const ETH0: InterfaceId = InterfaceId(0);

fn us() -> Ipv6Addr {
    "fe80::99".parse().expect("an address")
}

fn them() -> Ipv6Addr {
    "fe80::1".parse().expect("an address")
}

fn up(config: Config) -> Speaker {
    let mut speaker = Speaker::new(config).expect("a configuration that can be");
    for at in 0..speaker.interfaces().len() {
        let link = Link { ifindex: 2, mtu: 1500, link_local: us() };
        speaker.handle(seconds(10), Input::Up(InterfaceId(at), link));
    }
    speaker
}

fn speaker() -> Speaker {
    up(Config::new(RouterId(0x0a00_0063), vec![interface("eth0")]))
}

fn hello() -> Hello {
    Hello {
        interface_id: 7,
        priority: 1,
        options: Options::V6 | Options::E | Options::R,
        hello_interval: 1,
        dead_interval: 4,
        designated_router: RouterId(1),
        backup_designated_router: RouterId::NONE,
        neighbors: vec![RouterId(0x0a00_0063)],
    }
}

fn packet(body: Body) -> Packet {
    Packet { router_id: RouterId(1), area: AreaId::BACKBONE, instance: 0, checksum: 0, body }
}

fn filled(source: Ipv6Addr, destination: Ipv6Addr, packet: &Packet) -> Vec<u8> {
    let mut payload = packet.encode();
    checksum::fill(source, destination, &mut payload);
    payload
}

fn give(
    speaker: &mut Speaker,
    now: Time,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    payload: &[u8],
) -> Vec<Output> {
    speaker.handle(now, Input::Packet { interface: ETH0, source, destination, payload })
}

fn problems(output: &[Output]) -> Vec<&Event> {
    let events = output.iter().filter_map(|output| match output {
        Output::Event(event) => Some(event),
        _ => None,
    });
    events.filter(|event| event.is_problem()).collect()
}

#[test]
fn each_reason_is_counted_and_told_once() {
    let all = ALL_SPF_ROUTERS;
    let good = packet(Body::Hello(hello()));
    let with = |change: &dyn Fn(&mut Hello)| {
        let mut hello = hello();
        change(&mut hello);
        filled(them(), all, &packet(Body::Hello(hello)))
    };
    let octets = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut payload = filled(them(), all, &good);
        change(&mut payload);
        payload
    };
    let update = |body: Body| filled(them(), all, &packet(body));
    let mut count = update(Body::LinkStateUpdate(vec![]));
    count[19] = 9;
    checksum::fill(them(), all, &mut count);
    let far: Ipv6Addr = "2001:db8::1".parse().unwrap();
    let signed = {
        let mut payload = good.encode();
        ring(b"secret").sign(them(), 1, &mut payload);
        payload
    };
    let cases: Vec<(&str, Reason, Ipv6Addr, Ipv6Addr, Vec<u8>)> = vec![
        ("cut", Reason::Length, them(), all, octets(&|payload| payload.truncate(20))),
        ("too short for a header", Reason::Length, them(), all, vec![3, 1, 0, 2]),
        ("version 2", Reason::Version, them(), all, octets(&|payload| payload[0] = 2)),
        ("type 6", Reason::Kind, them(), all, octets(&|payload| payload[1] = 6)),
        ("count", Reason::Count, them(), all, count),
        ("checksum", Reason::Checksum, them(), all, octets(&|payload| payload[30] ^= 1)),
        ("area", Reason::Area, them(), all, filled(them(), all, &Packet { area: AreaId(5), ..good.clone() })),
        (
            "instance",
            Reason::Instance,
            them(),
            all,
            filled(them(), all, &Packet { instance: 5, ..good.clone() }),
        ),
        ("global source", Reason::Source, far, all, filled(far, all, &good)),
        ("to the DR", Reason::Destination, them(), ALL_D_ROUTERS, filled(them(), ALL_D_ROUTERS, &good)),
        (
            "router id 0",
            Reason::RouterId,
            them(),
            all,
            filled(them(), all, &Packet { router_id: RouterId::NONE, ..good.clone() }),
        ),
        (
            "our router id",
            Reason::RouterId,
            them(),
            all,
            filled(them(), all, &Packet { router_id: RouterId(0x0a00_0063), ..good.clone() }),
        ),
        ("no neighbour", Reason::NoNeighbor, them(), all, update(Body::LinkStateAck(vec![]))),
        ("hello interval", Reason::HelloMismatch, them(), all, with(&|hello| hello.hello_interval = 10)),
        ("dead interval", Reason::HelloMismatch, them(), all, with(&|hello| hello.dead_interval = 40)),
        ("stub", Reason::HelloMismatch, them(), all, with(&|hello| hello.options = Options::V6)),
        (
            "NSSA",
            Reason::HelloMismatch,
            them(),
            all,
            with(&|hello| hello.options = hello.options | Options::N),
        ),
        ("trailer", Reason::Auth, them(), all, signed),
    ];
    for (what, reason, source, destination, payload) in cases {
        let mut speaker = speaker();
        let first = give(&mut speaker, seconds(10), source, destination, &payload);
        let ordinary = matches!(reason, Reason::NoNeighbor | Reason::Destination);
        assert_eq!(problems(&first).len(), usize::from(!ordinary), "{what}: {first:?}");
        for _ in 0..100 {
            assert_eq!(
                problems(&give(&mut speaker, seconds(10), source, destination, &payload)),
                Vec::<&Event>::new(),
                "{what}"
            );
        }
        let counters = &speaker.interfaces()[0].counters;
        for other in Reason::ALL {
            assert_eq!(
                counters.rejected(other),
                if other == reason { 101 } else { 0 },
                "{what}: {}",
                other.name()
            );
        }
        assert_eq!(counters.received, 101);
        assert_eq!(speaker.neighbors(seconds(10)), [], "{what}");
    }
    // The control: the packet that all of them were made of is taken.
    let mut speaker = speaker();
    assert_eq!(
        problems(&give(&mut speaker, seconds(10), them(), all, &filled(them(), all, &good))),
        Vec::<&Event>::new()
    );
    assert_eq!(speaker.neighbors(seconds(10))[0].state, NeighborState::ExStart);
}

#[test]
fn another_ospf_on_the_link_is_no_problem_if_it_is_ours() {
    let other = InterfaceConfig { instance: 5, ..interface("eth0-5") };
    let mut speaker = up(Config::new(RouterId(9), vec![interface("eth0"), other]));
    let payload = filled(them(), ALL_SPF_ROUTERS, &Packet { instance: 5, ..packet(Body::Hello(hello())) });
    assert_eq!(
        problems(&give(&mut speaker, seconds(10), them(), ALL_SPF_ROUTERS, &payload)),
        Vec::<&Event>::new()
    );
    assert_eq!(speaker.interfaces()[0].counters.rejected(Reason::Instance), 0);
    // Our own multicast that comes back is nothing at all.
    let payload =
        filled(us(), ALL_SPF_ROUTERS, &Packet { router_id: RouterId(9), ..packet(Body::Hello(hello())) });
    assert_eq!(give(&mut speaker, seconds(10), us(), ALL_SPF_ROUTERS, &payload), []);
}

#[test]
fn a_flood_of_forged_neighbours_is_bounded_and_makes_no_flood_of_answers() {
    let mut speaker = speaker();
    let mut hellos = 0;
    for id in 1..2000 {
        let forged =
            Packet { router_id: RouterId(id), ..packet(Body::Hello(Hello { neighbors: vec![], ..hello() })) };
        let now = Time::from_nanos(10_000_000_000 + u64::from(id) * 100_000);
        let output =
            give(&mut speaker, now, them(), ALL_SPF_ROUTERS, &filled(them(), ALL_SPF_ROUTERS, &forged));
        hellos += output.iter().filter(|output| matches!(output, Output::Send { .. })).count();
    }
    assert_eq!(speaker.neighbors(seconds(10)).len(), NEIGHBORS_MAX);
    assert!(hellos <= 4, "{hellos} Hellos in 200 ms");
    let again = speaker.handle_timeout(seconds(11));
    assert!(
        again
            .iter()
            .all(|output| !matches!(output, Output::Send { payload, .. } if payload.len() + 40 > 1280))
    );
    speaker.handle_timeout(seconds(20));
    assert_eq!(speaker.neighbors(seconds(20)), [], "and they die");
}

#[test]
fn a_neighbour_that_describes_without_end_does_not_fill_the_memory() {
    let mut config = Config::new(RouterId(0x0a00_0063), vec![interface("eth0")]);
    config.limits.count = 100;
    let mut speaker = up(config);
    let router = RouterId(0xc000_0001);
    let from = |body| Packet { router_id: router, ..packet(body) };
    let hello = from(Body::Hello(Hello { designated_router: router, ..hello() }));
    give(&mut speaker, seconds(10), them(), ALL_SPF_ROUTERS, &filled(them(), ALL_SPF_ROUTERS, &hello));
    let options = Options::V6 | Options::E | Options::R;
    for sequence in 0..200_u32 {
        let header = |id: u32| anycast_ospf::codec::LsaHeader {
            age: 1,
            key: anycast_ospf::codec::LsaKey {
                ls_type: anycast_ospf::codec::LsType(0x2003),
                link_state_id: sequence * 50 + id,
                advertising_router: router,
            },
            sequence: 1,
            checksum: 1,
            length: 24,
        };
        let headers = if sequence == 0 { vec![] } else { (0..50).map(header).collect() };
        let description = DatabaseDescription {
            options,
            mtu: 1500,
            init: sequence == 0,
            more: true,
            master: true,
            sequence: 7 + sequence,
            headers,
        };
        let payload = filled(them(), us(), &from(Body::DatabaseDescription(description)));
        give(&mut speaker, seconds(10), them(), us(), &payload);
    }
    let neighbor = &speaker.neighbors(seconds(10))[0];
    assert_eq!((neighbor.state, neighbor.waiting), (NeighborState::Exchange, (100, 0)));
}

fn ring(secret: &[u8]) -> KeyRing {
    let key = Key { id: 7, algorithm: Algorithm::HmacSha256, secret: secret.to_vec() };
    KeyRing::new(vec![key]).expect("one key")
}

/// BIRD 2.0.12 signs as RFC 7166 says; FRR 8.4.4 only verifies with the switch.
#[test]
fn what_bird_signed_verifies_and_what_frr84_signed_does_with_the_switch() {
    let mut seen = BTreeMap::<RouterId, usize>::new();
    for Captured { source, payload, .. } in packets(AUTHENTICATED) {
        let (packet, _) = Packet::decode(&payload).unwrap();
        let length = payload.len() - 48;
        let rfc = ring(b"SecretKeyForTests");
        let frr = rfc.clone().frr84_compat(true);
        let is_bird = packet.router_id == RouterId(0x0a00_0002);
        assert_eq!(rfc.verify(source, &payload, length, false).is_ok(), is_bird, "{}", packet.router_id);
        assert_eq!(frr.verify(source, &payload, length, false).is_ok(), !is_bird, "{}", packet.router_id);
        assert!(ring(b"another").verify(source, &payload, length, false).is_err());
        // What we sign is what they sign, octet for octet.
        let sequence = u64::from_be_bytes(payload[length + 8..length + 16].try_into().unwrap());
        let mut ours = payload[..length].to_vec();
        if is_bird { &rfc } else { &frr }.sign(source, sequence, &mut ours);
        assert_eq!(ours, payload);
        *seen.entry(packet.router_id).or_default() += 1;
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn an_authenticated_interface_takes_what_is_authentic_once() {
    let mut config = Config::new(RouterId(0x0a00_0063), vec![interface("eth0")]);
    config.interfaces[0].auth = Some(ring(b"SecretKeyForTests"));
    config.boot_count = 3;
    let mut speaker = Speaker::new(config.clone()).unwrap();
    let link = Link { ifindex: 2, mtu: 1500, link_local: us() };
    let first = speaker.handle(seconds(10), Input::Up(ETH0, link));
    let Some(Output::Send { payload, .. }) =
        first.iter().find(|output| matches!(output, Output::Send { .. }))
    else {
        panic!("a Hello")
    };
    let (packet, trailer) = Packet::decode(payload).unwrap();
    assert!(packet.body.options().is_some_and(|options| options.contains(Options::AT)));
    assert_eq!((packet.checksum, trailer.len()), (0, 48), "no checksum beside a trailer (RFC 7166 4.2)");
    assert_eq!(ring(b"SecretKeyForTests").verify(us(), payload, 36, false), Ok(0x3_0000_0001));

    // BIRD's captured Hellos, one after the other; then one of them again.
    let hellos =
        packets(AUTHENTICATED).into_iter().filter(|packet| packet.payload[7] == 2).collect::<Vec<_>>();
    for captured in &hellos {
        let output =
            give(&mut speaker, seconds(10), captured.source, captured.destination, &captured.payload);
        assert_eq!(problems(&output), Vec::<&Event>::new());
    }
    assert_eq!(speaker.neighbors(seconds(10)).len(), 1);
    let replayed =
        give(&mut speaker, seconds(10), hellos[0].source, hellos[0].destination, &hellos[0].payload);
    assert!(problems(&replayed)[0].to_string().contains("replayed"), "{replayed:?}");
    let plain = packets(PLAIN).remove(0);
    give(&mut speaker, seconds(10), plain.source, plain.destination, &plain.payload);
    let frr = packets(AUTHENTICATED).remove(0);
    give(&mut speaker, seconds(10), frr.source, frr.destination, &frr.payload);
    assert_eq!(speaker.interfaces()[0].counters.rejected(Reason::Auth), 3);
    // With the switch FRR is heard and BIRD is not.
    speaker.set_keys(ETH0, Some(ring(b"SecretKeyForTests").frr84_compat(true)));
    give(&mut speaker, seconds(10), frr.source, frr.destination, &frr.payload);
    assert_eq!(speaker.neighbors(seconds(10)).len(), 2);

    // The guard's last word is above all that this speaker sent, and below the next one's.
    let guard = Guard {
        router_id: RouterId(0x0a00_0063),
        boot_count: 3,
        stub_areas: Default::default(),
        advertise: Advertise::IntraArea,
    };
    let payload = guard.hello(&config.interfaces[0], link, 0);
    let sequence = ring(b"SecretKeyForTests").verify(us(), &payload, 36, false).unwrap();
    assert!(sequence > 0x3_0000_0001 && sequence < Sequence::new(4).advance());
}

proptest! {
    /// Anything from anybody, right checksum or not, at any time: no panic, no growth, no endless loop.
    #[test]
    fn no_octets_from_anybody_do_harm(
        inputs in prop::collection::vec((0_usize..40, any::<u8>(), prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), any::<bool>()), 0..80),
    ) {
        let captured = packets(PLAIN);
        let mut speaker = speaker();
        let mut now = seconds(10);
        for (which, advance, changes, repair) in inputs {
            now = now + std::time::Duration::from_millis(u64::from(advance) * 10);
            let Captured { source, mut payload, .. } = captured[which % captured.len()].clone();
            for (at, value) in changes {
                let at = at.index(payload.len());
                payload[at] = value;
            }
            // As if all were addressed to us, so that exchanges get somewhere.
            if repair {
                checksum::fill(source, us(), &mut payload);
            }
            give(&mut speaker, now, source, us(), &payload);
            while let Some(at) = speaker.next_timeout().filter(|at| *at <= now) {
                speaker.handle_timeout(now);
                prop_assert!(speaker.next_timeout().is_none_or(|next| next > at));
            }
        }
        prop_assert!(speaker.neighbors(now).len() <= 80);
        let _ = (speaker.database(now), speaker.interfaces(), speaker.peer_loads(now), speaker.database_size());
    }
}
