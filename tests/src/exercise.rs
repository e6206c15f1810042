//! What a program must go through to be believed: the cases, random frames, every checksum, every part of the key, the
//! limits of the events. The packet tests run each step at full length on the program that is shipped, and all of them
//! shorter on each program with a planted fault.

pub mod extra;

use std::net::Ipv6Addr;

use anycast_common::abi::{Drop, EVENT_INTERVAL_NS, Event};
use anyhow::Result;

use crate::cases::{self, Case, MAC, PLAIN, PLAIN_ADDRESS};
use crate::frames::{Neighbor, customer};
use crate::random::Mutator;
use crate::reference::Outcome;
use crate::subject::{Subject, hex, monotonic_ns, verdict};

/// Runs one case. None: it ends as it must; else what came out instead.
///
/// # Errors
/// If the kernel refuses the run.
pub fn case(subject: &mut Subject, case: &Case) -> Result<Option<String>> {
    subject.set_gates(&case.gates);
    if let Some((service, _)) = case.expect.counted {
        subject.lift_limits(service)?;
    }
    let observed = subject.run(&case.frame)?;
    let expect = &case.expect;
    let met = verdict(observed.action) == Some(expect.verdict)
        && expect.bytes.as_ref().is_none_or(|bytes| *bytes == observed.frame)
        && observed.counted.iter().copied().eq(expect.counted)
        && observed.drops.iter().copied().eq(expect.drop.map(|reason| (reason, 1)))
        && observed.events.iter().copied().eq(expect.event);
    Ok((!met).then(|| {
        format!("{}\n  {}\n  expected {expect:?}\n  observed {observed:?}", case.name, hex(&case.frame))
    }))
}

/// Runs random frames of `seed` and gives each outcome to `seen`. None: program and model agree on all; else the first frame
/// on which they do not, and how.
///
/// # Errors
/// If the kernel refuses a run.
pub fn random(
    subject: &mut Subject,
    seed: u64,
    frames: u64,
    mut seen: impl FnMut(&Outcome),
) -> Result<Option<String>> {
    let mut mutator = Mutator::new(seed);
    for number in 0..frames {
        let trial = mutator.trial();
        subject.set_gates(&trial.gates);
        seen(&subject.expect(&trial.frame));
        if let Some(difference) = subject.differs(&trial.frame)? {
            return Ok(Some(format!(
                "frame {number} of seed {seed} ({})\n  {}\n  gates {:?}\n{difference}",
                trial.story.join(", "),
                hex(&trial.frame),
                trial.gates,
            )));
        }
    }
    Ok(None)
}

/// Solicitations from `count` addresses that differ in one word, so that the answers' checksums take all values if `count` is
/// 65536.
///
/// The answer's checksum is put together from a sum computed in advance: it must come out right whatever it folds to, and be
/// what a sum over the whole packet gives.
///
/// # Errors
/// If the kernel refuses a run.
pub fn checksums(subject: &mut Subject, count: u32) -> Result<Option<String>> {
    subject.set_gates(&[cases::OPEN; 6]);
    for word in (0..=u16::MAX).take(count as usize) {
        let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xffff, 0xffff, 0xffff, word);
        let frame = Neighbor::solicitation(cases::ROUTER_MAC, source, PLAIN_ADDRESS).frame();
        if let Some(difference) = subject.differs(&frame)? {
            return Ok(Some(format!("solicitation from {source}\n{difference}")));
        }
    }
    Ok(None)
}

/// Solicitations whose key differs from a service's in one word of the address or in the VLAN, `count` of each. Services are
/// found by a hash, so only some of these land on the service's slot, and only there a comparison that forgets a word shows.
///
/// # Errors
/// If the kernel refuses a run.
pub fn keys(subject: &mut Subject, count: u32) -> Result<Option<String>> {
    subject.set_gates(&[cases::OPEN; 6]);
    for number in 1..=count {
        for word in 0..4 {
            let mut octets = PLAIN_ADDRESS.octets();
            for (octet, change) in octets[4 * word..4 * word + 4].iter_mut().zip(number.to_be_bytes()) {
                *octet ^= change;
            }
            // The first octet stays: a multicast target would not show what is compared.
            let target = Ipv6Addr::from(octets);
            let frame = Neighbor::solicitation(cases::ROUTER_MAC, cases::ROUTER, target).frame();
            if let Some(difference) = subject.differs(&frame)? {
                return Ok(Some(format!("solicitation for {target}\n{difference}")));
            }
        }
        let mut ns = Neighbor::solicitation(cases::ROUTER_MAC, cases::ROUTER, PLAIN_ADDRESS);
        ns.ether.tags = vec![customer((number >> 12) as u16 & 0x0fff), customer(number as u16 & 0x0fff)];
        if let Some(difference) = subject.differs(&ns.frame())? {
            return Ok(Some(format!("solicitation on the vlans {:?}\n{difference}", ns.ether.tags)));
        }
    }
    Ok(None)
}

/// What a flood brought out of the rings.
pub struct Flood {
    /// The events.
    pub events: Vec<Event>,
    /// Advertisements counted as lost.
    pub lost: u64,
    /// Intervals of the event limits that may have begun while it lasted.
    pub intervals: u64,
}

/// Sends the frames round and round, `count` in all, without lifting the limits of events. The caller stays on one CPU:
/// limits are kept by CPU.
///
/// # Errors
/// If the kernel refuses a run.
pub fn flood(subject: &mut Subject, frames: &[Vec<u8>], count: usize) -> Result<Flood> {
    let mut flood = Flood { events: Vec::new(), lost: 0, intervals: 0 };
    let start = monotonic_ns();
    for number in 0..count {
        let observed = subject.run(&frames[number % frames.len()])?;
        flood.events.extend(observed.events);
        let lost = observed.drops.iter().filter(|drop| drop.0 == Drop::PeersRingFull);
        flood.lost += lost.map(|drop| drop.1).sum::<u64>();
    }
    // The program's clock may be one tick (10 ms at most) behind, and an interval may have begun just before.
    flood.intervals = (monotonic_ns() - start) / EVENT_INTERVAL_NS + 3;
    Ok(flood)
}

/// A flood of refused solicitations must not be told frame by frame, one of advertisements neither.
fn limits(subject: &mut Subject) -> Result<Option<String>> {
    subject.set_gates(&[cases::SHUT; 6]);
    let ns = Neighbor::solicitation(cases::ROUTER_MAC, cases::ROUTER, PLAIN_ADDRESS).frame();
    let na = Neighbor::advertisement(cases::PEER_MAC, cases::PEER, PLAIN_ADDRESS).frame();
    for (frame, budget) in [(ns, 1), (na, u64::from(anycast_common::abi::PEERS_BUDGET))] {
        let flood = flood(subject, std::slice::from_ref(&frame), 20_000)?;
        let events = flood.events.len() as u64;
        if events > flood.intervals * budget {
            return Ok(Some(format!("{events} events of {budget} an interval in {}", flood.intervals)));
        }
    }
    Ok(None)
}

/// A part of [`all`], given the seed of random frames.
type Step = fn(&mut Subject, u64) -> Result<Option<String>>;

/// All of it, shortened. None: nothing found; else the first fault.
///
/// # Errors
/// If the kernel refuses a run.
pub fn all(subject: &mut Subject, seed: u64) -> Result<Option<String>> {
    subject.lift_limits(PLAIN)?;
    for row in cases::all() {
        if let Some(fault) = case(subject, &row)? {
            return Ok(Some(fault));
        }
    }
    let steps: [Step; 4] = [
        |subject, seed| random(subject, seed, 20_000, |_| ()),
        |subject, _| checksums(subject, 1 << 16),
        |subject, _| keys(subject, 8_192),
        |subject, _| limits(subject),
    ];
    for step in steps {
        if let Some(fault) = step(subject, seed)? {
            return Ok(Some(fault));
        }
    }
    Ok(None)
}

/// Keeps the calling thread on one CPU, for what is kept by CPU.
///
/// # Errors
/// If the kernel refuses.
pub fn stay_on_one_cpu() -> Result<()> {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    let here = nix::unistd::Pid::from_raw(0);
    let allowed = sched_getaffinity(here)?;
    let mut one = CpuSet::new();
    for cpu in 0..CpuSet::count() {
        if allowed.is_set(cpu)? {
            one.set(cpu)?;
            break;
        }
    }
    sched_setaffinity(here, &one)?;
    Ok(())
}

/// The services and MAC address that [`all`] expects of its subject.
///
/// # Errors
/// As [`Subject::embedded`].
pub fn embedded() -> Result<Subject> {
    Subject::embedded(MAC, &cases::services())
}
