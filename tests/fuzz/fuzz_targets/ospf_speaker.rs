//! A speaker on two links whose routers say anything: raw packets, and answers to what it says itself, by which an adjacency
//! comes to be. Nothing grows beyond its bound, and whatever it says can be read.
#![no_main]

use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::time::Duration;

use anycast_ospf::codec::body::Prefix;
use anycast_ospf::codec::{Body, DatabaseDescription, Hello, INITIAL_SEQUENCE, Lsa, Packet};
use anycast_ospf::{
    ALL_SPF_ROUTERS, Config, Input, InterfaceConfig, InterfaceId, Link, LinkType, NEIGHBORS_MAX, Output,
    RouterId, Speaker, Time,
};
use libfuzzer_sys::fuzz_target;

const OURS: u32 = 0x0a00_0135;
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x53);
/// What one input may be answered by: an input of 1232 octets holds no more than 61 requests, each of which is answered by a packet at
/// most, on two links to several neighbours.
const ANSWERS_MAX: usize = 1024;
/// What is kept for an answer.
const UNANSWERED_MAX: usize = 8;
/// The database's own limits, as configured below.
const LSAS_MAX: usize = 64;

struct Rig {
    speaker: Speaker,
    now: Time,
    /// What it said on each link and nobody answered, the newest last.
    said: [VecDeque<Vec<u8>>; 2],
}

impl Rig {
    fn new() -> Self {
        // As on a socket: the kernel has verified the checksum, which a fuzzer would never hit.
        let interface = |name| InterfaceConfig { kernel_checksum: true, ..InterfaceConfig::new(name) };
        let point_to_point = InterfaceConfig { link_type: LinkType::PointToPoint, ..interface("eth1") };
        let mut config = Config::new(RouterId(OURS), vec![interface("eth0"), point_to_point]);
        config.limits.count = LSAS_MAX;
        let mut rig = Self {
            speaker: Speaker::new(config).expect("a valid configuration"),
            now: Time::from_nanos(1_000_000_000),
            said: [VecDeque::new(), VecDeque::new()],
        };
        for number in 0..2 {
            let link = Link { ifindex: 2 + number as u32, mtu: 1500, link_local: LINK_LOCAL };
            rig.hear(Input::Up(InterfaceId(number), link));
        }
        rig.hear(Input::Announce(Prefix::host(Ipv6Addr::LOCALHOST), 10));
        rig
    }

    fn hear(&mut self, input: Input<'_>) {
        let outputs = self.speaker.handle(self.now, input);
        self.look(outputs);
    }

    fn look(&mut self, outputs: Vec<Output>) {
        assert!(outputs.len() <= ANSWERS_MAX, "{} answers", outputs.len());
        for output in outputs {
            if let Output::Send { interface, payload, .. } = output {
                assert!(Packet::decode(&payload).is_ok(), "it says what nobody can read");
                let said = &mut self.said[interface.0];
                said.push_back(payload);
                if said.len() > UNANSWERED_MAX {
                    said.pop_front();
                }
            }
        }
        let size = self.speaker.database_size();
        assert!(size.count <= LSAS_MAX, "{} LSAs", size.count);
        assert!(self.speaker.neighbors(self.now).len() <= 2 * NEIGHBORS_MAX);
    }

    /// Time passes: every timer at its moment, and no more of them than a busy minute has.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..10_000 {
            match self.speaker.next_timeout().filter(|at| *at <= end) {
                Some(at) => {
                    self.now = self.now.max(at);
                    let outputs = self.speaker.handle_timeout(self.now);
                    self.look(outputs);
                }
                None => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("timers never end");
    }
}

/// Makes the LSAs of an update whole: a wrong checksum would end the story at the door.
fn intact(payload: &[u8]) -> Vec<u8> {
    match Packet::decode(payload) {
        Ok((Packet { body: Body::LinkStateUpdate(lsas), router_id, area, instance, checksum }, _)) => {
            let whole = |lsa: Lsa| Lsa::new(lsa.header.key, lsa.header.sequence, lsa.header.age, &lsa.body);
            let body = Body::LinkStateUpdate(lsas.into_iter().map(whole).collect());
            Packet { router_id, area, instance, checksum, body }.encode()
        }
        _ => payload.to_vec(),
    }
}

/// What `router` would answer to the speaker's own packet, with octets of `noise` over it from `at` on.
fn answer(own: &[u8], router: u32, at: usize, noise: &[u8]) -> Vec<u8> {
    let Ok((own, _)) = Packet::decode(own) else { return Vec::new() };
    let body = match own.body {
        Body::Hello(hello) => Body::Hello(Hello { neighbors: vec![RouterId(OURS)], ..hello }),
        // A slave's.
        Body::DatabaseDescription(description) => Body::DatabaseDescription(DatabaseDescription {
            init: false,
            more: false,
            master: false,
            ..description
        }),
        Body::LinkStateRequest(keys) => {
            let lsa = |key| Lsa::new(key, INITIAL_SEQUENCE + 9, 1, noise);
            Body::LinkStateUpdate(keys.into_iter().map(lsa).collect())
        }
        Body::LinkStateUpdate(lsas) => Body::LinkStateAck(lsas.iter().map(|lsa| lsa.header).collect()),
        acks => acks,
    };
    let mut payload = Packet { router_id: RouterId(router), body, ..own }.encode();
    for (octet, noise) in payload.iter_mut().skip(at).zip(noise) {
        *octet ^= noise;
    }
    payload
}

/// One step: what happens, who says it, how long it takes, and the octets that belong to it.
fn step<'a>(rig: &mut Rig, octets: &'a [u8]) -> Option<&'a [u8]> {
    let [what, who, wait, length, rest @ ..] = octets else { return None };
    let (body, rest) = rest.split_at((usize::from(*length) * 2).min(rest.len()));
    let interface = usize::from(what & 1);
    let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100 + u16::from(who & 3));
    let destination = if what & 2 == 0 { ALL_SPF_ROUTERS } else { LINK_LOCAL };
    match what >> 2 & 7 {
        0..4 => {
            let payload = intact(body);
            rig.hear(Input::Packet {
                interface: InterfaceId(interface),
                source,
                destination,
                payload: &payload,
            });
        }
        4 | 5 => {
            let router = 0x0a00_0001 + u32::from(who & 3) * 0x100;
            // Nothing is changed by noise behind the end.
            let at = if who >> 2 == 63 { usize::MAX } else { usize::from(who >> 2) };
            let own = rig.said[interface].pop_front().unwrap_or_default();
            let payload = intact(&answer(&own, router, at, body));
            rig.hear(Input::Packet {
                interface: InterfaceId(interface),
                source,
                destination,
                payload: &payload,
            });
        }
        6 => rig.hear(Input::Announce(Prefix::host(source), u16::from(*who) + 1)),
        _ => rig.hear(Input::Withdraw(Prefix::host(source))),
    }
    // Up to nearly an hour: LSAs are refreshed and age away.
    rig.pass(Duration::from_millis(1 << (wait & 15)) * u32::from(wait >> 4));
    Some(rest)
}

fuzz_target!(|octets: &[u8]| {
    let mut rig = Rig::new();
    let mut left = octets;
    while let Some(rest) = step(&mut rig, left) {
        left = rest;
    }
    rig.hear(Input::Stop);
    rig.pass(Duration::from_secs(5));
});
