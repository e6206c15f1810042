//! DNS answers a second while solicitations arrive at full speed: with the fast path, and with the kernel answering.
//!
//! ```text
//! core 0: NSD, and the thread that serves the receive queue of the server's interface: here the solicitations are answered
//! core 1: the generator, dnsperf, and the thread that serves the peer's interface: here the answers arrive
//! ```
//!
//! As on a server whose NIC interrupts the cores that DNS runs on: queries come through the queue that the flood comes
//! through, and who answers solicitations takes the time from NSD. The queues are served by threads (`threaded` of the
//! interface), which can be bound to a core; softirqs stay where a queue was first found full.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anycast_user::datapath::Mode;
use anyhow::{Context as _, Result};

use super::fast_path::{self, address};
use super::stats::Samples;
use super::wire::{self, PEER, PEER_ADDRESS, PEER_MAC, SERVER, SERVER_ADDRESS, Wire};
use crate::frames::Neighbor;
use crate::lab::{Namespace, Nsd};

/// Who answers solicitations meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answerer {
    /// The fast path.
    FastPath,
    /// The kernel.
    Kernel,
}

/// What was measured: answers a second.
#[derive(Debug, Default)]
pub struct UnderFlood {
    /// Without flood.
    pub quiet: Samples,
    /// With it.
    pub flooded: Samples,
    /// Round by round.
    pub ratio: Samples,
    /// Solicitations a second meanwhile.
    pub offered: Samples,
}

/// The core of NSD and of the server's receive queue.
const SERVER_CORE: usize = 0;
/// The core of the generator, of dnsperf and of the peer's receive queue.
const PEER_CORE: usize = 1;
const SPELL: Duration = Duration::from_secs(3);

/// Runs `rounds` rounds of both; the first of the pair is the fast path's.
///
/// # Errors
/// NSD or dnsperf cannot be run.
pub fn measure(rounds: usize, mut progress: impl FnMut(&str)) -> Result<(UnderFlood, UnderFlood)> {
    let mut results = (UnderFlood::default(), UnderFlood::default());
    for round in 1..=rounds {
        for answerer in [Answerer::FastPath, Answerer::Kernel] {
            let (quiet, flooded, offered) = spell(answerer).with_context(|| format!("{answerer:?}"))?;
            let into = if answerer == Answerer::FastPath { &mut results.0 } else { &mut results.1 };
            into.quiet.push(quiet);
            into.flooded.push(flooded);
            into.ratio.push(flooded / quiet);
            into.offered.push(offered);
            progress(&format!(
                "round {round}/{rounds} {answerer:?}: {flooded:.0} of {quiet:.0} answers/s under {offered:.0} solicitations/s"
            ));
        }
    }
    Ok(results)
}

fn spell(answerer: Answerer) -> Result<(f64, f64, f64)> {
    let mut wire = Wire::new("drop_advertisements")?;
    let target = address(0);
    let directory = tempfile::tempdir().context("make a directory for NSD")?;
    // The address where NSD is asked is the server's own in both cases, so that only the answerer differs.
    let pid_file = directory.path().join("nsd.pid");
    let address = [IpAddr::V6(SERVER_ADDRESS)];
    let _nsd = Nsd::start(&wire.server, "nsd", directory.path(), &pid_file, &address, Some(SERVER_CORE))?;
    wire.load(&Neighbor::solicitation(PEER_MAC, PEER_ADDRESS, target).frame())?;
    match answerer {
        Answerer::FastPath => {
            let _fast_path = fast_path::attach(&wire, Mode::Native)?;
            quiet_and_flooded(&wire, directory.path())
        }
        Answerer::Kernel => {
            let _pass = wire::attach(&wire, "pass")?;
            wire.server.ip(&["addr", "add", &format!("{target}/64"), "dev", SERVER, "nodad"])?;
            quiet_and_flooded(&wire, directory.path())
        }
    }
}

fn quiet_and_flooded(wire: &Wire, directory: &Path) -> Result<(f64, f64, f64)> {
    wire::bind_queues(&wire.server, SERVER, SERVER_CORE)?;
    wire::bind_queues(&wire.peer, PEER, PEER_CORE)?;
    let quiet = dnsperf(wire, directory)?;
    let over = AtomicBool::new(false);
    let (flooded, offered) = std::thread::scope(|scope| {
        let generator = scope.spawn(|| -> Result<f64> {
            wire::pin(PEER_CORE)?;
            let mut spells = Samples::default();
            while !over.load(Ordering::Relaxed) {
                spells.push(wire.flood(Duration::from_millis(500))?.sent_per_second());
            }
            Ok(spells.median())
        });
        let flooded = dnsperf(wire, directory);
        over.store(true, Ordering::Relaxed);
        let offered = generator.join().map_err(|_| anyhow::anyhow!("the generator panicked"))?;
        anyhow::Ok((flooded?, offered?))
    })?;
    Ok((quiet, flooded, offered))
}

/// Answers a second to dnsperf.
fn dnsperf(wire: &Wire, directory: &Path) -> Result<f64> {
    let queries = directory.join("queries");
    fs::write(&queries, "health.example. SOA\n")?;
    let mut command = pinned(&wire.peer, PEER_CORE, "dnsperf");
    // Many outstanding queries and a short wait, so that one which is lost costs itself and not a place for others.
    command.args([
        "-s",
        &SERVER_ADDRESS.to_string(),
        "-p",
        "53",
        "-c",
        "4",
        "-q",
        "4000",
        "-b",
        "4096",
        "-t",
        "0.1",
    ]);
    command.args(["-l", &SPELL.as_secs().to_string(), "-d"]).arg(&queries);
    let output: Output = command.output().context("run dnsperf")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Queries per second:"));
    line.and_then(|rate| rate.trim().parse().ok())
        .with_context(|| format!("dnsperf says no rate: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn pinned(namespace: &Namespace, core: usize, program: &str) -> Command {
    let mut command = namespace.command("taskset");
    command.args(["-c", &core.to_string(), program]);
    command
}
