//! Neighbor Solicitations answered in a second, by whom.
//!
//! On one wire, in interleaved rounds: the fast path in the driver and behind it, the kernel's own neighbour discovery, ndppd,
//! and the limit, a bare program that swaps two MAC addresses. The core of this thread makes the solicitations, answers them
//! and counts the answers; ndppd is a process and has the other cores too.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::process::Command;
use std::time::Duration;

use anycast_user::datapath::Mode;
use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use super::fast_path;
use super::stats::Samples;
use super::wire::{self, PEER_ADDRESS, PEER_MAC, SERVER, Wire};
use crate::frames::Neighbor;
use crate::lab::{Child, wait_until};

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Responder {
    /// The fast path, attached to the driver.
    XdpNative,
    /// The fast path, attached behind the driver.
    XdpGeneric,
    /// The kernel, which has the address on the interface.
    KernelNdisc,
    /// ndppd, with a static rule for the address.
    Ndppd,
    /// Nobody: the frame goes back with its MAC addresses swapped.
    Reflector,
}

impl Responder {
    /// All, in the order of a round.
    pub const ALL: [Self; 5] =
        [Self::Reflector, Self::XdpNative, Self::XdpGeneric, Self::KernelNdisc, Self::Ndppd];

    /// The key in the report.
    pub const fn key(self) -> &'static str {
        match self {
            Self::XdpNative => "xdp_native",
            Self::XdpGeneric => "xdp_generic",
            Self::KernelNdisc => "kernel_ndisc",
            Self::Ndppd => "ndppd",
            Self::Reflector => "reflector",
        }
    }
}

/// What was measured.
#[derive(Debug, Default)]
pub struct Rates {
    /// Answers a second.
    pub answered: BTreeMap<Responder, Samples>,
    /// Solicitations offered a second meanwhile.
    pub offered: BTreeMap<Responder, Samples>,
    /// Round by round: native over the kernel, over ndppd, over the reflector.
    pub to_kernel: Samples,
    /// As above.
    pub to_ndppd: Samples,
    /// As above.
    pub to_reflector: Samples,
}

/// How long each responder is flooded in a round.
const SPELL: Duration = Duration::from_millis(1500);

/// Steps of the search for the highest rate at which ndppd answers 99 of 100, solicitations a second.
const NDPPD_STEPS: [f64; 9] = [2e3, 5e3, 10e3, 15e3, 20e3, 25e3, 30e3, 40e3, 60e3];

/// Runs `rounds` rounds.
///
/// # Errors
/// A responder cannot be set up, or answers nothing at all.
pub fn measure(rounds: usize, mut progress: impl FnMut(&str)) -> Result<Rates> {
    let mut rates = Rates::default();
    for round in 1..=rounds {
        let mut this = BTreeMap::new();
        for responder in Responder::ALL {
            let (answered, offered) =
                spell(responder).with_context(|| format!("measure {}", responder.key()))?;
            progress(&format!("round {round}/{rounds} {:<13} {answered:>11.0} answers/s", responder.key()));
            rates.answered.entry(responder).or_default().push(answered);
            rates.offered.entry(responder).or_default().push(offered);
            this.insert(responder, answered);
        }
        let native = this[&Responder::XdpNative];
        rates.to_kernel.push(native / this[&Responder::KernelNdisc]);
        rates.to_ndppd.push(native / this[&Responder::Ndppd]);
        rates.to_reflector.push(native / this[&Responder::Reflector]);
    }
    Ok(rates)
}

/// The solicitation that everybody gets: multicast, 86 octets, from the peer's link-local address.
fn solicitation(target: Ipv6Addr) -> Vec<u8> {
    Neighbor::solicitation(PEER_MAC, PEER_ADDRESS, target).frame()
}

/// One responder for one spell: answers and offers a second.
fn spell(responder: Responder) -> Result<(f64, f64)> {
    let mut wire = Wire::new("drop_and_count")?;
    wire::pin(0)?;
    let target = fast_path::address(0);
    wire.load(&solicitation(target))?;
    let result = match responder {
        Responder::Reflector => {
            let _program = wire::attach(&wire, "reflector")?;
            let flood = wire.flood(SPELL)?;
            (flood.returned_per_second(), flood.sent_per_second())
        }
        Responder::XdpNative => with_fast_path(&wire, Mode::Native)?,
        Responder::XdpGeneric => {
            // Without a program in the driver the interface takes frames from the peer's XDP only if it polls, which GRO makes it.
            ethtool(&wire, &["-K", SERVER, "gro", "on"])?;
            with_fast_path(&wire, Mode::Generic)?
        }
        Responder::KernelNdisc => {
            let _program = wire::attach(&wire, "pass")?;
            wire.server.ip(&["addr", "add", &format!("{target}/64"), "dev", SERVER, "nodad"])?;
            answers(&wire)?
        }
        Responder::Ndppd => with_ndppd(&wire, target)?,
    };
    if result.0 <= 0.0 {
        bail!("it answered nothing");
    }
    Ok(result)
}

fn answers(wire: &Wire) -> Result<(f64, f64)> {
    let flood = wire.flood(SPELL)?;
    Ok((flood.answered_per_second(), flood.sent_per_second()))
}

fn with_fast_path(wire: &Wire, mode: Mode) -> Result<(f64, f64)> {
    let _fast_path = fast_path::attach(wire, mode)?;
    answers(wire)
}

/// ndppd under overload answers little; what it is good for is the highest rate at which it answers nearly everything.
fn with_ndppd(wire: &Wire, target: Ipv6Addr) -> Result<(f64, f64)> {
    let _program = wire::attach(wire, "pass")?;
    let directory = tempfile::tempdir().context("make a directory for ndppd")?;
    let config = directory.path().join("ndppd.conf");
    std::fs::write(
        &config,
        format!("proxy {SERVER} {{\n  router no\n  rule {target}/128 {{\n    static\n  }}\n}}\n"),
    )?;
    // This thread is pinned, and a child would be with it: ndppd has all cores.
    let cores =
        std::fs::read_to_string("/sys/devices/system/cpu/online").context("read which cores there are")?;
    let mut command = wire.server.command("taskset");
    command.args(["-c", cores.trim(), "ndppd", "-c"]).arg(&config);
    let mut ndppd = Child::spawn("ndppd", command, &directory.path().join("ndppd.log"))?;
    let frame = solicitation(target);
    let mut best = (0.0, 0.0);
    wait_until("ndppd answers", Duration::from_secs(10), || {
        wire.trickle(&frame, Duration::from_millis(50), 1000.0).is_ok_and(|flood| flood.advertisements > 0)
    })
    .with_context(|| ndppd.log())?;
    for rate in NDPPD_STEPS {
        let flood = wire.trickle(&frame, SPELL / 3, rate)?;
        if (flood.advertisements as f64) < 0.99 * flood.sent as f64 {
            break;
        }
        best = (flood.answered_per_second(), flood.sent_per_second());
    }
    ndppd.signal(Signal::SIGTERM)?;
    ndppd.wait(Duration::from_secs(5))?;
    Ok(best)
}

fn ethtool(wire: &Wire, arguments: &[&str]) -> Result<()> {
    let mut command: Command = wire.server.command("ethtool");
    let output = command.args(arguments).output().context("run ethtool")?;
    if !output.status.success() {
        bail!("ethtool {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
