//! What the fast path costs a packet, in nanoseconds over an empty program, and how long it is.
//!
//! Frames of one kind at a time come over the wire; the kernel's own statistics (`kernel.bpf_stats_enabled`) say how long the
//! program ran and how often. The clock that they read costs more than the program, but costs the empty program as much. The
//! two are measured in turn, several short times a round, since a virtual machine's speed drifts within a second by more than
//! what is looked for; a round's figure is the median of the differences.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anycast_user::datapath::Mode;
use anyhow::{Context as _, Result, bail};
use aya::programs::{ProgramInfo, loaded_programs};
use aya::sys::{Stats, enable_stats};

use super::fast_path::{self, address};
use super::stats::Samples;
use super::wire::{self, PEER_ADDRESS, PEER_MAC, SERVER_MAC, Wire};
use crate::frames::{Ether, Ipv4, Ipv6, Neighbor, dns, tcp, udp};

/// Kinds of frames, each with the budget that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A multicast solicitation, answered.
    Solicitation,
    /// A DNS query over UDP to the service, counted.
    DnsPass,
    /// Established TCP to the service address.
    TcpEstablished,
    /// UDP to another port of the service address.
    UdpOtherPort,
    /// TCP over IPv4.
    Ipv4Tcp,
}

impl Kind {
    /// All.
    pub const ALL: [Self; 5] =
        [Self::Solicitation, Self::DnsPass, Self::TcpEstablished, Self::UdpOtherPort, Self::Ipv4Tcp];

    /// The key in the report.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Solicitation => "solicitation",
            Self::DnsPass => "dns_pass",
            Self::TcpEstablished => "tcp_established",
            Self::UdpOtherPort => "udp_other_port",
            Self::Ipv4Tcp => "ipv4_tcp",
        }
    }

    fn frame(self) -> Vec<u8> {
        let client = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 7);
        // Not the first one: whatever the order of the table, a look-up takes as long.
        let service = address(fast_path::SERVICES / 2);
        let ether = Ether::new(SERVER_MAC, PEER_MAC);
        let v6 = |number: u8, upper: Vec<u8>| {
            ether.frame(0x86dd, &Ipv6::new(client, service).packet(number, &upper))
        };
        let ends = |port| ((IpAddr::V6(client), 40_000), (IpAddr::V6(service), port));
        // Flags of a segment in the middle of a connection: ACK.
        const ACK: u8 = 0x10;
        match self {
            Self::Solicitation => Neighbor::solicitation(PEER_MAC, PEER_ADDRESS, service).frame(),
            Self::DnsPass => v6(17, udp(ends(53).0, ends(53).1, &dns(false), None)),
            Self::UdpOtherPort => v6(17, udp(ends(4433).0, ends(4433).1, &dns(false), None)),
            Self::TcpEstablished => v6(6, tcp(ends(53).0, ends(53).1, ACK, &[0; 32])),
            Self::Ipv4Tcp => {
                let (from, to) = (Ipv4Addr::new(192, 0, 2, 7), Ipv4Addr::new(198, 51, 100, 53));
                let segment = tcp((IpAddr::V4(from), 40_000), (IpAddr::V4(to), 53), ACK, &[0; 32]);
                ether.frame(0x0800, &Ipv4::new(from, to).packet(6, &segment))
            }
        }
    }
}

/// What was measured.
#[derive(Debug, Default)]
pub struct Costs {
    /// By kind: nanoseconds a run over the empty program's.
    pub over_empty: std::collections::BTreeMap<Kind, Samples>,
    /// The empty program's, statistics included.
    pub empty: Samples,
    /// Length of the fast path.
    pub size: Size,
}

/// Length of a program.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Size {
    /// Instructions that the verifier looked at, over all paths.
    pub verified_instructions: u32,
    /// Octets of the translated program; eight an instruction.
    pub translated_bytes: u32,
    /// Octets of machine code.
    pub jited_bytes: u32,
}

/// How long one program is flooded.
const SPELL: Duration = Duration::from_millis(80);
/// How often the two take turns in a round.
const TURNS: usize = 7;

/// Runs `rounds` rounds.
///
/// # Errors
/// The programs cannot be had, or do not run.
pub fn measure(rounds: usize, mut progress: impl FnMut(&str)) -> Result<Costs> {
    let _statistics = enable_stats(Stats::RunTime).context("switch the kernel's BPF statistics on")?;
    let mut costs = Costs::default();
    wire::pin(0)?;
    for round in 1..=rounds {
        for kind in Kind::ALL {
            let mut wire = Wire::new("drop_and_count")?;
            wire.load(&kind.frame())?;
            let (mut over, mut empty) = (Samples::default(), Samples::default());
            for _ in 0..TURNS {
                let floor = {
                    let program = wire::attach(&wire, "empty")?;
                    let info = program.program("empty").context("no program empty")?.info()?;
                    nanoseconds_a_run(&wire, info.id())?
                };
                let fast_path = fast_path::attach(&wire, Mode::Native)?;
                over.push(nanoseconds_a_run(&wire, fast_path.program())? - floor);
                empty.push(floor);
                costs.size = size(fast_path.program())?;
            }
            let (over, empty) = (over.median(), empty.median());
            progress(&format!("round {round}/{rounds} {:<16} {over:>7.1} ns over {empty:.1}", kind.key()));
            costs.over_empty.entry(kind).or_default().push(over);
            costs.empty.push(empty);
        }
    }
    Ok(costs)
}

fn nanoseconds_a_run(wire: &Wire, program: u32) -> Result<f64> {
    let before = info(program)?;
    wire.flood(SPELL)?;
    let after = info(program)?;
    let runs = after.run_count() - before.run_count();
    if runs < 10_000 {
        bail!("program {program} ran only {runs} times");
    }
    Ok((after.run_time() - before.run_time()).as_nanos() as f64 / runs as f64)
}

fn size(program: u32) -> Result<Size> {
    let info = info(program)?;
    Ok(Size {
        verified_instructions: info.verified_instruction_count().unwrap_or_default(),
        translated_bytes: info.size_translated().unwrap_or_default(),
        jited_bytes: info.size_jitted(),
    })
}

fn info(program: u32) -> Result<ProgramInfo> {
    for info in loaded_programs() {
        let info = info.context("list the kernel's programs")?;
        if info.id() == program {
            return Ok(info);
        }
    }
    bail!("program {program} is not loaded")
}
