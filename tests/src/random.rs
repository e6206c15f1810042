//! Random frames: the cases' frames with a few things changed, most of them still plausible.
//!
//! A frame of random octets tests nothing but the first comparison of the program. So the changes are of the kind that an
//! attacker, a broken stack or a strange switch would make, and most frames get a right checksum again afterwards.
#![expect(clippy::ptr_arg, reason = "the changes are of one type, whether they make the frame longer or not")]

use anycast_common::abi::Gate;

use crate::cases::{self, Case};
use crate::frames::{
    ALL_NODES, ALL_NODES_MAC, BROADCAST, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Mac, NEXT_ICMPV6,
    TPID_CUSTOMER, TPID_SERVICE, group_mac, solicited_node, upper_checksum,
};

/// A generator of random numbers that gives the same ones for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    /// True in `percent` of a hundred calls.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of `choices`, of which there is at least one.
    pub fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    fn octets<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.number() as u8)
    }
}

/// A random frame and the gates it meets.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What the frame was made from.
    pub story: Vec<&'static str>,
    /// The gates of the services of [`cases::services`].
    pub gates: Vec<Gate>,
    /// The frame.
    pub frame: Vec<u8>,
}

/// Makes one trial after another.
#[derive(Debug)]
pub struct Mutator {
    random: Random,
    cases: Vec<Case>,
    gates: Vec<Gate>,
    made: u64,
}

/// Trials that share their gates: opening and shutting costs more than running a frame.
const TRIALS_PER_GATES: u64 = 64;

/// The longest frame that is made: what `BPF_PROG_TEST_RUN` takes without a second buffer, with room to spare.
const FRAME_MAX: usize = 3_400;

/// The shortest: the kernel refuses less than an Ethernet header.
const FRAME_MIN: usize = 14;

impl Mutator {
    /// The trials of this seed.
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), cases: cases::all(), gates: Vec::new(), made: 0 }
    }

    /// The next trial.
    pub fn trial(&mut self) -> Trial {
        if self.made.is_multiple_of(TRIALS_PER_GATES) {
            self.gates = (0..cases::services().len()).map(|_| self.gate()).collect();
        }
        self.made += 1;
        let case = self.random.below(self.cases.len());
        let mut trial = Trial {
            story: vec![self.cases[case].name],
            gates: self.gates.clone(),
            frame: self.cases[case].frame.clone(),
        };
        for _ in 0..self.random.pick(&[0, 1, 1, 1, 2, 2, 3, 5]) {
            self.change(&mut trial);
        }
        if self.random.chance(75) && repair_checksum(&mut trial.frame).is_some() {
            trial.story.push("checksum repaired");
        }
        trial.frame.truncate(FRAME_MAX);
        if trial.frame.len() < FRAME_MIN {
            trial.frame.resize(FRAME_MIN, 0);
        }
        trial
    }

    fn gate(&mut self) -> Gate {
        let gates = [cases::SHUT, cases::STALE, cases::HELD_SHUT, cases::HELD_OPEN, cases::HELD_OPEN_STALE];
        if self.random.chance(60) { cases::OPEN } else { self.random.pick(&gates) }
    }

    fn change(&mut self, trial: &mut Trial) {
        let changes: [(&str, Change); 18] = [
            ("bit flipped", flip_bit),
            ("octet set", set_octet),
            ("cut", cut),
            ("padded", pad),
            ("tag pushed", push_tag),
            ("tag popped", pop_tag),
            ("to another mac", change_destination_mac),
            ("from another mac", change_source_mac),
            ("source changed", change_source),
            ("source randomised", randomise_source),
            ("destination changed", change_destination),
            ("target changed", change_target),
            ("hop limit changed", change_hop_limit),
            ("icmp head changed", change_icmp_head),
            ("payload length changed", change_payload_length),
            ("option appended", append_option),
            ("extension inserted", insert_extension),
            ("upper layer changed", change_upper_layer),
        ];
        let (name, change) = self.random.pick(&changes);
        if change(&mut self.random, &mut trial.frame).is_some() {
            trial.story.push(name);
        }
    }
}

/// Changes a frame, if it is of the kind that can be changed so.
type Change = fn(&mut Random, &mut Vec<u8>) -> Option<()>;

/// EtherType and offset of the network packet.
fn network(frame: &[u8]) -> Option<(u16, usize)> {
    let mut at = 12;
    loop {
        let ethertype = u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]);
        at += 2;
        if ethertype != TPID_CUSTOMER && ethertype != TPID_SERVICE {
            return Some((ethertype, at));
        }
        at += 2;
    }
}

fn ipv6(frame: &[u8]) -> Option<usize> {
    network(frame)
        .filter(|found| found.0 == ETHERTYPE_IPV6 && frame.len() >= found.1 + 40)
        .map(|found| found.1)
}

fn put(frame: &mut [u8], at: usize, octets: &[u8]) -> Option<()> {
    frame.get_mut(at..at + octets.len())?.copy_from_slice(octets);
    Some(())
}

/// Gives an ICMPv6 packet that is whole in the frame its right checksum.
fn repair_checksum(frame: &mut [u8]) -> Option<()> {
    let at = ipv6(frame)?;
    let length = usize::from(u16::from_be_bytes([frame[at + 4], frame[at + 5]]));
    if frame[at + 6] != NEXT_ICMPV6 || length < 4 || frame.len() < at + 40 + length {
        return None;
    }
    let address =
        |from: usize| <[u8; 16]>::try_from(&frame[from..from + 16]).map(std::net::Ipv6Addr::from).ok();
    let (source, destination) = (address(at + 8)?, address(at + 24)?);
    let message = at + 40..at + 40 + length;
    frame[message.start + 2..message.start + 4].fill(0);
    let checksum = upper_checksum(source.into(), destination.into(), NEXT_ICMPV6, &frame[message.clone()]);
    put(frame, message.start + 2, &checksum.to_be_bytes())
}

fn flip_bit(random: &mut Random, frame: &mut Vec<u8>) -> Option<()> {
    let at = random.below(frame.len().min(120));
    frame[at] ^= 1 << random.below(8);
    Some(())
}

fn set_octet(random: &mut Random, frame: &mut Vec<u8>) -> Option<()> {
    let at = random.below(frame.len().min(120));
    frame[at] = random.pick(&[0, 1, 2, 7, 0x35, 0x40, 0x7f, 0x80, 0xfe, 0xff]);
    Some(())
}

fn cut(random: &mut Random, frame: &mut Vec<u8>) -> Option<()> {
    let by = if random.chance(70) { 1 + random.below(16) } else { random.below(frame.len()) };
    frame.truncate(frame.len().saturating_sub(by).max(FRAME_MIN));
    Some(())
}

fn pad(random: &mut Random, frame: &mut Vec<u8>) -> Option<()> {
    let by = if random.chance(90) { 1 + random.below(24) } else { random.below(1_500) };
    for _ in 0..by {
        frame.push(random.number() as u8);
    }
    Some(())
}

fn push_tag(random: &mut Random, frame: &mut Vec<u8>) -> Option<()> {
    let tpid = random.pick(&[TPID_CUSTOMER, TPID_CUSTOMER, TPID_SERVICE, 0x9100]);
    let tci = random.pick(&[0u16, 7, 7, 8, 100, 0x0fff]) | (random.below(16) as u16) << 12;
    let tag = [tpid.to_be_bytes(), tci.to_be_bytes()].concat();
    frame.splice(12..12, tag);
    Some(())
}

fn pop_tag(_: &mut Random, frame: &mut Vec<u8>) -> Option<()> {
    if network(frame)?.1 == 14 {
        return None;
    }
    frame.drain(12..16);
    Some(())
}

fn a_mac(random: &mut Random) -> Mac {
    let twin = solicited_node(cases::PLAIN_ADDRESS);
    let other = solicited_node(cases::DOUBLE_ADDRESS);
    let any = random.octets();
    random.pick(&[
        cases::MAC,
        cases::MAC,
        cases::ROUTER_MAC,
        cases::PEER_MAC,
        cases::OTHER_MAC,
        group_mac(twin),
        group_mac(other),
        ALL_NODES_MAC,
        BROADCAST,
        any,
    ])
}

fn change_destination_mac(random: &mut Random, frame: &mut Vec<u8>) -> Option<()> {
    let mac = a_mac(random);
    put(frame, 0, &mac)
}

fn change_source_mac(random: &mut Random, frame: &mut Vec<u8>) -> Option<()> {
    let mac = a_mac(random);
    put(frame, 6, &mac)
}

fn an_address(random: &mut Random) -> [u8; 16] {
    let any = std::net::Ipv6Addr::from(random.octets::<16>());
    random
        .pick(&[
            cases::PLAIN_ADDRESS,
            cases::TWIN_ADDRESS,
            cases::DOUBLE_ADDRESS,
            cases::FOREIGN_ADDRESS,
            cases::LINK_LOCAL,
            cases::ROUTER,
            cases::PEER,
            solicited_node(cases::PLAIN_ADDRESS),
            solicited_node(cases::DOUBLE_ADDRESS),
            ALL_NODES,
            std::net::Ipv6Addr::UNSPECIFIED,
            std::net::Ipv6Addr::LOCALHOST,
            cases::PLAIN4_ADDRESS.to_ipv6_mapped(),
            any,
        ])
        .octets()
}

fn change_source(random: &mut Random, frame: &mut Vec<u8>) -> Option<()> {
    let address = an_address(random);
    match network(frame)? {
        (ETHERTYPE_IPV6, at) => put(frame, at + 8, &address),
        (ETHERTYPE_ARP, at) => put(frame, at + 14, &an_ipv4(random)),
        _ => None,
    }
}

fn randomise_source(random: &mut Random, frame: &mut Vec<u8>) -> Option<()> {
    let at = ipv6(frame)?;
    let host: [u8; 8] = if random.chance(50) { random.octets() } else { [0xff; 8] };
    put(frame, at + 16, &host)
}

fn an_ipv4(random: &mut Random) -> [u8; 4] {
    let any = random.octets();
    random.pick(&[
        cases::PLAIN4_ADDRESS.octets(),
        cases::PLAIN4_ADDRESS.octets(),
        cases::FOREIGN4_ADDRESS.octets(),
        cases::ROUTER4.octets(),
        [0; 4],
        any,
    ])
}

fn change_destination(random: &mut Random, frame: &mut Vec<u8>) -> Option<()> {
    let address = an_address(random);
    match network(frame)? {
        (ETHERTYPE_IPV6, at) => put(frame, at + 24, &address),
        (ETHERTYPE_IPV4, at) => put(frame, at + 16, &an_ipv4(random)),
        (ETHERTYPE_ARP, at) => put(frame, at + 24, &an_ipv4(random)),
        _ => None,
    }
}

fn change_target(random: &mut Random, frame: &mut Vec<u8>) -> Option<()> {
    let at = ipv6(frame)?;
    let address = an_address(random);
    put(frame, at + 48, &address)
}

fn change_hop_limit(random: &mut Random, frame: &mut Vec<u8>) -> Option<()> {
    let at = ipv6(frame)?;
    put(frame, at + 7, &[random.pick(&[0, 1, 64, 254, 255])])
}

/// Type, code, checksum or flags.
fn change_icmp_head(random: &mut Random, frame: &mut Vec<u8>) -> Option<()> {
    let at = ipv6(frame)? + 40;
    let flags = random.number() as u8;
    let (field, value) = random.pick(&[(0, 134), (0, 135), (0, 136), (1, 1), (2, 0), (4, flags), (4, 0x60)]);
    put(frame, at + field, &[value])
}

fn change_payload_length(random: &mut Random, frame: &mut Vec<u8>) -> Option<()> {
    let (ethertype, at) = network(frame)?;
    let (field, header) = match ethertype {
        ETHERTYPE_IPV6 => (at + 4, 40),
        ETHERTYPE_IPV4 => (at + 2, 0),
        _ => return None,
    };
    let there = frame.len().checked_sub(at + header)?;
    let length = match random.below(4) {
        0 => there,
        1 => there.saturating_sub(random.below(40)),
        2 => there + random.below(40),
        _ => random.below(64),
    };
    put(frame, field, &(length as u16).to_be_bytes())
}

/// Appends an option to whatever the packet ends with, and says so in its length.
fn append_option(random: &mut Random, frame: &mut Vec<u8>) -> Option<()> {
    let at = ipv6(frame)?;
    let end = at + 40 + usize::from(u16::from_be_bytes([frame[at + 4], frame[at + 5]]));
    let kind = random.pick(&[1, 1, 2, 2, 3, 14, 253]);
    let units = random.pick(&[1, 1, 1, 2, 3, 20]);
    let said = if random.chance(85) { units } else { random.pick(&[0, 1, 2, 255]) };
    let mut option = vec![kind, said];
    let mac = a_mac(random);
    option.extend(mac);
    option.resize(usize::from(units) * 8, 0xa5);
    if end > frame.len() {
        return None;
    }
    frame.splice(end..end, option.iter().copied());
    put(frame, at + 4, &((end - at - 40 + option.len()) as u16).to_be_bytes())
}

fn insert_extension(random: &mut Random, frame: &mut Vec<u8>) -> Option<()> {
    let at = ipv6(frame)?;
    let length = u16::from_be_bytes([frame[at + 4], frame[at + 5]]);
    let number = random.pick(&[0, 43, 44, 44, 44, 60]);
    let offset = random.pick(&[0u8, 0, 0, 1, 8]);
    let extension = [frame[at + 6], 0, 0, offset, 1, 2, 3, 4];
    frame[at + 6] = number;
    frame.splice(at + 40..at + 40, extension);
    put(frame, at + 4, &length.wrapping_add(8).to_be_bytes())
}

/// Ports, lengths and flags of UDP and TCP, or the head of ARP.
fn change_upper_layer(random: &mut Random, frame: &mut Vec<u8>) -> Option<()> {
    let value = random.pick(&[0u8, 1, 2, 4, 6, 8, 0x10, 0x12, 53, 117, 0x80]);
    match network(frame)? {
        (ETHERTYPE_IPV6, at) => put(frame, at + 40 + random.below(14), &[value]),
        (ETHERTYPE_IPV4, at) => put(frame, at + random.below(34), &[value]),
        (ETHERTYPE_ARP, at) => put(frame, at + random.below(14), &[value]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::reference::World;

    #[test]
    fn the_same_seed_gives_the_same_trials() {
        let frames = |seed| {
            let mut mutator = Mutator::new(seed);
            (0..100).map(|_| mutator.trial().frame).collect::<Vec<_>>()
        };
        assert_eq!(frames(7), frames(7));
        assert_ne!(frames(7), frames(8));
    }

    #[test]
    fn every_verdict_and_every_reason_is_reached() {
        let mut mutator = Mutator::new(1);
        let services = cases::services();
        let (mut verdicts, mut reasons) = (HashSet::new(), HashSet::new());
        for _ in 0..40_000 {
            let trial = mutator.trial();
            let world = World {
                mac: cases::MAC,
                services: &services,
                gates: &trial.gates,
                now_ns: 1 << 40,
                extra: None,
            };
            let outcome = world.handle(&trial.frame);
            verdicts.insert(outcome.verdict);
            if let [reason] = outcome.reasons[..] {
                reasons.insert(reason.name());
            }
        }
        assert_eq!(verdicts.len(), 3);
        // Those left are the driver's, the rings' and the other program's, and cannot be reached by one frame.
        assert_eq!(reasons.len(), anycast_common::abi::DROPS - 4, "{reasons:?}");
    }
}
