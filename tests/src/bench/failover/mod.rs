//! Failover: how long until another server answers, beside keepalived in the same lab and in turn with it; and what is lost
//! when nothing fails. The figures stand in `docs/failover.md`.

mod contest;
mod continuous;
mod document;
mod silence;
mod targets;

use std::ops::AddAssign;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anycast_core::random::Random;
use anyhow::{Result, bail};
use serde::Serialize;

use super::stats::Summary;
use super::{Machine, machine, per_router, write};
use crate::lab::wait::{end_waits_on_signals, interrupted};
use crate::lab::{Cluster, DaemonOptions, Event, Record};
use contest::{Block, Tally};
use continuous::Shares;
use silence::Silence;

/// Servers of the farm.
const SERVERS: usize = 4;

/// Between two queries of the client.
const QUERY_INTERVAL: Duration = Duration::from_micros(500);

/// Our events come at any phase of the heartbeat and of the check.
const OUR_PHASE: Duration = Duration::from_millis(100);

/// keepalived's, at any phase of its longest interval.
const KEEPALIVED_PHASE: Duration = Duration::from_secs(1);

/// The weights of the second rotation.
const WEIGHTS: [u32; 3] = [1, 2, 3];

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Write `failover.md` and its chart into this directory.
    #[arg(long, value_name = "DIR")]
    pub docs: Option<PathBuf>,
    /// Runs of each of our events.
    #[arg(long, default_value_t = 50)]
    pub runs: usize,
    /// Runs of each of keepalived's, with each of its intervals.
    #[arg(long, default_value_t = 8)]
    pub keepalived_runs: usize,
    /// Queries during drains, restarts, planned stops and rotation: at least so many each.
    #[arg(long, default_value_t = 100_000)]
    pub queries: usize,
    /// Slices of a rotation.
    #[arg(long, default_value_t = 24)]
    pub slices: usize,
}

/// Queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Sent.
    pub sent: usize,
    /// Never answered.
    pub lost: usize,
}

impl Count {
    fn of(record: &Record) -> Self {
        Self { sent: record.sent(), lost: record.lost() }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.lost += other.lost;
    }
}

/// From an event to the first answer of another server, milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figures {
    /// All processes of the DNS server die.
    pub process_killed_ms: Summary,
    /// All processes of the DNS server stand still.
    pub service_hung_ms: Summary,
    /// The server is cut off the link.
    pub link_cut_ms: Summary,
    /// What decides is killed; the DNS server is well.
    pub daemon_killed_ms: Summary,
    /// What decides is asked to stop.
    pub planned_ms: Summary,
    /// Queries around planned stops.
    pub planned: Count,
    /// Queries while nothing happened.
    pub quiet: Count,
    /// Queries that no event explains.
    pub lost_in_peace: usize,
}

/// How it was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Settings {
    /// Servers of the farm.
    pub servers: usize,
    /// Between two queries.
    pub query_interval_ms: f64,
    /// Our heartbeat, the default.
    pub heartbeat_ms: u64,
    /// Our lease, the default.
    pub lease_ms: u64,
    /// Interval of the check.
    pub check_interval_ms: u64,
    /// Its timeout.
    pub check_timeout_ms: u64,
    /// Failures in a row that make it down.
    pub check_fall: u64,
}

/// The check as [`DaemonOptions::toml`] writes it, and its defaults.
const SETTINGS: Settings = Settings {
    servers: SERVERS,
    query_interval_ms: 0.5,
    heartbeat_ms: 50,
    lease_ms: 300,
    check_interval_ms: 100,
    check_timeout_ms: 90,
    check_fall: 3,
};

/// The figures.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where and when.
    pub machine: Machine,
    /// How.
    pub settings: Settings,
    /// Ours.
    #[serde(flatten)]
    pub ours: Figures,
    /// What a killed daemon's fast path did after its lease.
    pub daemon_killed_silence: Silence,
    /// keepalived with an interval of a second.
    pub keepalived_1s: Figures,
    /// … of 100 ms.
    pub keepalived_100ms: Figures,
    /// … of 50 ms, which is our heartbeat.
    pub keepalived_50ms: Figures,
    /// Queries during `anycast drain`.
    pub drain: Count,
    /// Queries during `rotate` with slices of a second.
    pub rotation: Count,
    /// Queries during `anycast stop --keep` and start.
    pub restart: Count,
    /// How evenly the rotation spread them.
    pub rotate: Shares,
    /// What several routers with `per_router` answer over what one owner does; none where it was not measured.
    pub per_router_gain: Option<f64>,
    /// Whether everything came to an end and nothing was lost while nothing happened: otherwise the other figures say nothing.
    pub valid: bool,
    /// What did not come to an end, and why.
    pub failures: Vec<String>,
}

/// Runs everything and writes what was asked for.
///
/// # Errors
/// The lab cannot be had, a server does not take over at all, or queries were lost while nothing happened.
pub fn run(options: &Options) -> Result<()> {
    crate::lab::available().map_err(anyhow::Error::msg)?;
    end_waits_on_signals()?;
    let mut bench = Bench { cluster: Cluster::new(SERVERS)?, failures: Vec::new() };
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
    let mut random = Random::new(seed);
    let mut ours = Tally::default();
    let mut theirs = [1000, 100, 50].map(|interval| (Duration::from_millis(interval), Tally::default()));

    // In turn, so that a change of the machine's mood meets all of them.
    let rounds = options.keepalived_runs.max(1);
    for round in 1..=rounds {
        let wanted = (options.runs * round).div_ceil(rounds);
        bench.try_to("measure our events", |cluster| our_events(cluster, wanted, &mut random, &mut ours))?;
        for (interval, tally) in &mut theirs {
            let wanted = round.min(options.keepalived_runs);
            let what = format!("measure keepalived's events, interval {interval:?}");
            bench.try_to(&what, |cluster| their_events(cluster, *interval, wanted, &mut random, tally))?;
        }
        println!("  round {round} of {rounds}: {} of our runs", ours.runs(Event::ProcessKilled));
    }
    bench.try_to("stop by plan", |cluster| planned(cluster, options.queries, &mut random, &mut ours))?;
    println!("  planned stops: {} of {} queries lost", ours.planned.lost, ours.planned.sent);
    let drain = bench.try_to("drain", |cluster| {
        cluster.run_anycast(defaults())?;
        continuous::drain(cluster, options.queries)
    })?;
    println!("  drain: {} of {} queries lost", drain.lost, drain.sent);
    let restart = bench.try_to("restart", |cluster| {
        cluster.run_anycast(defaults())?;
        continuous::restart(cluster, options.queries)
    })?;
    println!("  restart: {} of {} queries lost", restart.lost, restart.sent);
    let (mut rotation, equal) = bench.try_to("rotate", |cluster| {
        continuous::rotate(cluster, &[1; SERVERS], options.slices, options.queries)
    })?;
    let (weighted_queries, weighted) = bench.try_to("rotate with weights", |cluster| {
        let rotated = continuous::rotate(cluster, &WEIGHTS, options.slices, 0)?;
        cluster.stop().map(|()| rotated)
    })?;
    rotation += weighted_queries;
    println!("  rotation: {} of {} queries lost", rotation.lost, rotation.sent);
    let per_router_gain = bench.try_to("measure what per_router gains", |_| {
        per_router::measure().map(|measured| Some(measured.gain))
    })?;

    let figures = theirs.map(|(_, tally)| tally.figures());
    let [keepalived_1s, keepalived_100ms, keepalived_50ms] = figures;
    let report = Report {
        machine: machine()?,
        settings: SETTINGS,
        ours: ours.figures(),
        daemon_killed_silence: ours.silence,
        keepalived_1s,
        keepalived_100ms,
        keepalived_50ms,
        drain,
        rotation,
        restart,
        rotate: Shares {
            jain: continuous::jain(&continuous::by_server(&equal), SERVERS),
            weighted_error: continuous::weighted_error(&continuous::by_server(&weighted), &WEIGHTS),
            slices: equal.len(),
            weighted_slices: weighted.len(),
        },
        per_router_gain,
        valid: bench.failures.is_empty()
            && figures.iter().chain([&ours.figures()]).all(|figures| figures.quiet.lost == 0),
        failures: bench.failures,
    };
    println!("\n{}", document::table(&report));
    if let Some(path) = &options.report {
        write(path, &(serde_json::to_string_pretty(&report)? + "\n"))?;
    }
    if let Some(directory) = &options.docs {
        write(&directory.join("failover.svg"), &document::chart(&report))?;
        write(&directory.join("failover.md"), &document::page(&report))?;
    }
    if let Some(failure) = report.failures.first() {
        bail!("{} parts failed, the first: {failure}", report.failures.len());
    }
    if !report.valid {
        bail!(
            "queries were lost while nothing happened: the machine is too busy for the figures to say anything"
        );
    }
    Ok(())
}

/// The cluster, and what went wrong in it.
struct Bench {
    cluster: Cluster,
    failures: Vec<String>,
}

impl Bench {
    /// Does a part of the work. One that fails is noted and leaves its figures out; the next finds a new cluster.
    fn try_to<T: Default>(&mut self, what: &str, work: impl FnOnce(&mut Cluster) -> Result<T>) -> Result<T> {
        match work(&mut self.cluster) {
            Err(error) if !interrupted() => {
                let error = format!("{what}: {error:#}");
                eprintln!("  failed to {error}");
                self.failures.push(error);
                self.cluster = Cluster::new(SERVERS)?;
                Ok(T::default())
            }
            other => other,
        }
    }
}

/// The events that have been measured less often than wanted, each as often as is missing.
fn due(wanted: usize, tally: &Tally) -> Vec<Event> {
    let missing = |event| vec![event; wanted.saturating_sub(tally.runs(event))];
    Event::ALL.into_iter().flat_map(missing).collect()
}

/// Our events, until each has been measured so often.
fn our_events(cluster: &mut Cluster, wanted: usize, random: &mut Random, tally: &mut Tally) -> Result<()> {
    let events = due(wanted, tally);
    if events.is_empty() {
        return Ok(());
    }
    cluster.run_anycast(defaults())?;
    let lease = Some(DaemonOptions::default().lease);
    Block { events: &events, phase: OUR_PHASE, lease }.run(cluster, random, tally)
}

/// keepalived's events, until each has been measured so often.
fn their_events(
    cluster: &mut Cluster,
    interval: Duration,
    wanted: usize,
    random: &mut Random,
    tally: &mut Tally,
) -> Result<()> {
    let events = due(wanted, tally);
    if events.is_empty() {
        return Ok(());
    }
    cluster.run_keepalived(interval)?;
    Block { events: &events, phase: KEEPALIVED_PHASE, lease: None }.run(cluster, random, tally)
}

/// Planned stops until so many queries were sent around them.
fn planned(cluster: &mut Cluster, queries: usize, random: &mut Random, tally: &mut Tally) -> Result<()> {
    if tally.planned.sent < queries {
        cluster.run_anycast(defaults())?;
    }
    while tally.planned.sent < queries {
        Block { events: &[Event::Planned; 10], phase: OUR_PHASE, lease: None }.run(cluster, random, tally)?;
    }
    Ok(())
}

/// Our defaults on each server, but for the check, which is faster: see [`SETTINGS`].
fn defaults() -> Vec<DaemonOptions> {
    vec![DaemonOptions::default(); SERVERS]
}
