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
use super::{Machine, machine, write};
use crate::lab::wait::end_waits_on_signals;
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
    /// Whether nothing was lost while nothing happened: otherwise the other figures say nothing.
    pub valid: bool,
}

/// Runs everything and writes what was asked for.
///
/// # Errors
/// The lab cannot be had, a server does not take over at all, or queries were lost while nothing happened.
pub fn run(options: &Options) -> Result<()> {
    crate::lab::available().map_err(anyhow::Error::msg)?;
    end_waits_on_signals()?;
    let mut cluster = Cluster::new(SERVERS)?;
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
    let mut random = Random::new(seed);
    let mut ours = Tally::default();
    let mut theirs = [1000, 100, 50].map(|interval| (Duration::from_millis(interval), Tally::default()));

    // In turn, so that a change of the machine's mood meets all of them.
    let rounds = options.keepalived_runs.max(1);
    for round in 1..=rounds {
        let wanted = (options.runs * round).div_ceil(rounds);
        our_events(&mut cluster, wanted, &mut random, &mut ours)?;
        if round <= options.keepalived_runs {
            for (interval, tally) in &mut theirs {
                cluster.run_keepalived(*interval)?;
                let block = Block { events: &Event::ALL, phase: KEEPALIVED_PHASE, lease: None };
                block.run(&mut cluster, &mut random, tally)?;
            }
        }
        println!("  round {round} of {rounds}: {} of our runs", ours.runs(Event::ProcessKilled));
    }
    cluster.run_anycast(defaults())?;
    while ours.planned.sent < options.queries {
        let block = Block { events: &[Event::Planned; 10], phase: OUR_PHASE, lease: None };
        block.run(&mut cluster, &mut random, &mut ours)?;
    }
    println!("  planned stops: {} queries", ours.planned.sent);
    let drain = continuous::drain(&mut cluster, options.queries)?;
    println!("  drain: {} of {} queries lost", drain.lost, drain.sent);
    let restart = continuous::restart(&mut cluster, options.queries)?;
    println!("  restart: {} of {} queries lost", restart.lost, restart.sent);
    let (mut rotation, equal) =
        continuous::rotate(&mut cluster, &[1; SERVERS], options.slices, options.queries)?;
    let (weighted_queries, weighted) = continuous::rotate(&mut cluster, &WEIGHTS, options.slices, 0)?;
    rotation += weighted_queries;
    println!("  rotation: {} of {} queries lost", rotation.lost, rotation.sent);
    cluster.stop()?;

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
        per_router_gain: None,
        valid: figures.iter().chain([&ours.figures()]).all(|figures| figures.quiet.lost == 0),
    };
    println!("\n{}", document::table(&report));
    if let Some(path) = &options.report {
        write(path, &(serde_json::to_string_pretty(&report)? + "\n"))?;
    }
    if let Some(directory) = &options.docs {
        write(&directory.join("failover.svg"), &document::chart(&report))?;
        write(&directory.join("failover.md"), &document::page(&report))?;
    }
    if !report.valid {
        bail!(
            "queries were lost while nothing happened: the machine is too busy for the figures to say anything"
        );
    }
    Ok(())
}

/// Our events, until each has been measured so often.
fn our_events(cluster: &mut Cluster, wanted: usize, random: &mut Random, tally: &mut Tally) -> Result<()> {
    let events: Vec<Event> =
        Event::ALL.into_iter().flat_map(|event| vec![event; wanted - tally.runs(event)]).collect();
    if events.is_empty() {
        return Ok(());
    }
    cluster.run_anycast(defaults())?;
    let lease = Some(DaemonOptions::default().lease);
    Block { events: &events, phase: OUR_PHASE, lease }.run(cluster, random, tally)
}

/// Our defaults on each server, but for the check, which is faster: see [`SETTINGS`].
fn defaults() -> Vec<DaemonOptions> {
    vec![DaemonOptions::default(); SERVERS]
}
