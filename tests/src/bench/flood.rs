//! DNS answers a second while solicitations arrive at full speed: with the fast path, and with the kernel answering.
//!
//! NSD and dnsperf share one core; the generator has another, on which the solicitations are answered too, as the receive
//! queue of a NIC would be served by a core of its own. Queries come through the same queue as the flood: what the flood costs
//! DNS is the time that the queue is full.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anycast_user::datapath::Mode;
use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use super::fast_path::{self, address};
use super::stats::Samples;
use super::wire::{self, PEER_ADDRESS, PEER_MAC, SERVER, SERVER_ADDRESS, Wire};
use crate::frames::Neighbor;
use crate::lab::{Child, Namespace, wait_until};

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

/// The core of NSD and dnsperf.
const DNS_CORE: usize = 0;
/// The core of the generator.
const FLOOD_CORE: usize = 1;
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
    let nsd = nsd(&wire.server, directory.path())?;
    wire.load(&Neighbor::solicitation(PEER_MAC, PEER_ADDRESS, target).frame())?;
    let measured = match answerer {
        Answerer::FastPath => {
            let _fast_path = fast_path::attach(&wire, Mode::Native)?;
            quiet_and_flooded(&wire, directory.path())
        }
        Answerer::Kernel => {
            let _pass = wire::attach(&wire, "pass")?;
            wire.server.ip(&["addr", "add", &format!("{target}/64"), "dev", SERVER, "nodad"])?;
            quiet_and_flooded(&wire, directory.path())
        }
    };
    nsd.signal(Signal::SIGTERM)?;
    measured
}

fn quiet_and_flooded(wire: &Wire, directory: &Path) -> Result<(f64, f64, f64)> {
    let quiet = dnsperf(wire, directory)?;
    let over = AtomicBool::new(false);
    let (flooded, offered) = std::thread::scope(|scope| {
        let generator = scope.spawn(|| -> Result<f64> {
            wire::pin(FLOOD_CORE)?;
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
    let mut command = pinned(&wire.peer, DNS_CORE, "dnsperf");
    // Many outstanding queries, so that one which is lost costs itself and not a place for a second.
    command.args([
        "-s",
        &SERVER_ADDRESS.to_string(),
        "-p",
        "53",
        "-c",
        "4",
        "-q",
        "2000",
        "-b",
        "4096",
        "-t",
        "1",
    ]);
    command.args(["-l", &SPELL.as_secs().to_string(), "-d"]).arg(&queries);
    let output: Output = command.output().context("run dnsperf")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Queries per second:"));
    line.and_then(|rate| rate.trim().parse().ok())
        .with_context(|| format!("dnsperf says no rate: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// NSD on the server's link-local address.
fn nsd(server: &Namespace, directory: &Path) -> Result<Child> {
    let path = directory.display();
    fs::write(
        directory.join("nsd.conf"),
        format!(
            "server:\n  ip-address: {SERVER_ADDRESS}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{path}\"\n  \
             database: \"\"\n  pidfile: \"{path}/nsd.pid\"\n  xfrdfile: \"{path}/xfrd\"\n  zonelistfile: \"{path}/zones\"\n  \
             xfrdir: \"{path}\"\n  server-count: 1\n  receive-buffer-size: 8388608\n  send-buffer-size: 8388608\n  rrl-ratelimit: 0\nremote-control:\n  control-enable: no\n\
             zone:\n  name: example.\n  zonefile: example.zone\n"
        ),
    )?;
    fs::write(
        directory.join("example.zone"),
        "$ORIGIN example.\n$TTL 60\n@ SOA ns hostmaster 1 3600 900 604800 60\n@ NS ns\nns AAAA 2001:db8::1\nhealth SOA ns hostmaster 1 3600 900 604800 60\n",
    )?;
    let mut command = pinned(server, DNS_CORE, "nsd");
    command.arg("-d").arg("-c").arg(directory.join("nsd.conf"));
    let mut nsd = Child::spawn("nsd", command, &directory.join("nsd.log"))?;
    let pid_file = directory.join("nsd.pid");
    wait_until("NSD runs", Duration::from_secs(10), || {
        pid_file.exists() || nsd.ended().is_ok_and(|ended| ended.is_some())
    })?;
    if nsd.ended()?.is_some() {
        bail!("NSD has ended: {}", nsd.log());
    }
    Ok(nsd)
}

fn pinned(namespace: &Namespace, core: usize, program: &str) -> Command {
    let mut command = namespace.command("taskset");
    command.args(["-c", &core.to_string(), program]);
    command
}
