//! Measurements: rounds of everything that is compared, interleaved, and ratios within a round. The figures of one machine on
//! one day stand in `docs/performance.md`; absolute rates swing with the machine's mood, ratios do not.

mod chart;
mod control;
mod cost;
mod document;
pub mod failover;
mod fast_path;
mod flood;
pub mod ospf;
pub mod ospf_soak;
pub mod per_router;
pub mod pool;
mod solicitations;
mod stats;
mod wire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use cost::{Kind, Size};
use flood::UnderFlood;
use solicitations::Responder;
use stats::{Summary, round};

/// Which measurements: without a name those of one server.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    which: Option<Which>,
    #[command(flatten)]
    one_server: Options,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Which {
    /// How fast another server answers, beside keepalived; what is lost meanwhile. See docs/failover.md.
    Failover(failover::Options),
    /// How fast a route changes in a router, beside FRR and BIRD. See docs/ospf.md.
    Ospf(ospf::Options),
    /// A server beside FRR and BIRD for longer than LSAs live; 65 minutes. See docs/ospf.md.
    OspfSoak(ospf_soak::Options),
    /// How soon users know that an element is gone, what a registrar holds, a DNS forwarder while servers fail. See docs/registrar.md.
    Pool(pool::Options),
}

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Write `performance.md` and its chart into this directory.
    #[arg(long, value_name = "DIR")]
    pub docs: Option<PathBuf>,
    /// Rounds of everything that is compared.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Runs of everything that is timed.
    #[arg(long, default_value_t = 200)]
    pub runs: usize,
    /// Only print one part's figures, for whoever tunes it: no report, no page.
    #[arg(long, value_enum, value_name = "PART", conflicts_with_all = ["report", "docs"])]
    pub only: Option<Part>,
    /// Seconds for which an idle daemon is watched.
    #[arg(long, default_value_t = 30)]
    pub idle: u64,
}

/// Parts that can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Solicitations answered in a second.
    Solicitations,
    /// Cost of a packet.
    Cost,
    /// DNS under a flood of solicitations.
    Flood,
    /// Times of the controller.
    Control,
}

/// The figures.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where and when.
    pub machine: Machine,
    /// Rounds of everything that is compared.
    pub rounds: usize,
    /// Answers a second, medians.
    pub ns_answered_per_s: BTreeMap<&'static str, f64>,
    /// Solicitations offered a second meanwhile, medians.
    pub ns_offered_per_s: BTreeMap<&'static str, f64>,
    /// Native over the kernel, median of the rounds' ratios.
    pub ratio_to_kernel: f64,
    /// Native over ndppd.
    pub ratio_to_ndppd: f64,
    /// Native over the reflector.
    pub ratio_to_reflector: f64,
    /// Nanoseconds over an empty program.
    pub ns_per_run: BTreeMap<&'static str, f64>,
    /// The empty program's, the clock of the statistics included.
    pub ns_per_run_empty: f64,
    /// Length of the fast path.
    pub program: Size,
    /// Ratio of DNS answers with a flood of solicitations to those without.
    pub dns_under_flood: BTreeMap<&'static str, f64>,
    /// The absolute figures behind it: answers a second without and with, solicitations a second.
    pub dns_under_flood_rates: BTreeMap<&'static str, [f64; 3]>,
    /// Process exit to gate shut.
    pub gate_shut_ms: Summary,
    /// SIGKILL of the controller to the last answer.
    pub lease_loss_ms: Summary,
    /// `stop --keep` and start.
    pub restart: control::Restart,
    /// An idle owner.
    pub idle: control::Idle,
}

/// Where and when it was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// `/proc/cpuinfo`.
    pub processor: String,
    /// Cores.
    pub cores: usize,
    /// `uname -r`.
    pub kernel: String,
    /// `date`, UTC.
    pub date: String,
}

/// Runs what was asked for.
///
/// # Errors
/// Something to be measured cannot be had.
pub fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.which {
        None => one_server(&arguments.one_server),
        Some(Which::Failover(options)) => failover::run(options),
        Some(Which::Ospf(options)) => ospf::run(options),
        Some(Which::OspfSoak(options)) => ospf_soak::run(options),
        Some(Which::Pool(options)) => pool::run(options),
    }
}

/// Runs everything of one server and writes what was asked for.
fn one_server(options: &Options) -> Result<()> {
    let say = |line: &str| println!("  {line}");
    if let Some(part) = options.only {
        return run_only(part, options, say);
    }
    println!("Neighbor Solicitations answered ({} rounds)", options.rounds);
    let rates = apart(|| solicitations::measure(options.rounds, say))?;
    println!("Cost of a packet ({} rounds)", options.rounds);
    let costs = apart(|| cost::measure(options.rounds, say))?;
    println!("DNS under a flood of solicitations ({} rounds)", options.rounds);
    let (fast, kernel) = apart(|| flood::measure(options.rounds, say))?;
    println!("Control ({} runs each)", options.runs);
    let gate_shut = control::gate_shut(options.runs, say)?;
    let lease_loss = control::lease_loss(options.runs, say)?;
    let restart = control::restart(options.runs, say)?;
    let idle = control::idle(Duration::from_secs(options.idle))?;

    let per_kind = |kind: Kind| round(costs.over_empty.get(&kind).map_or(f64::NAN, stats::Samples::median));
    let mut ns_per_run: BTreeMap<_, _> = Kind::ALL.map(|kind| (kind.key(), per_kind(kind))).into();
    let others = [Kind::TcpEstablished, Kind::UdpOtherPort, Kind::Ipv4Tcp];
    ns_per_run.insert("other_pass", others.map(per_kind).into_iter().fold(f64::NEG_INFINITY, f64::max));
    let medians = |of: &BTreeMap<Responder, stats::Samples>| {
        of.iter().map(|(responder, samples)| (responder.key(), samples.median().round())).collect()
    };
    let rates_of = |flood: &UnderFlood| {
        [&flood.quiet, &flood.flooded, &flood.offered].map(|samples| samples.median().round())
    };
    let report = Report {
        machine: machine()?,
        rounds: options.rounds,
        ns_answered_per_s: medians(&rates.answered),
        ns_offered_per_s: medians(&rates.offered),
        ratio_to_kernel: round(rates.to_kernel.median()),
        ratio_to_ndppd: round(rates.to_ndppd.median()),
        ratio_to_reflector: round(rates.to_reflector.median()),
        ns_per_run,
        ns_per_run_empty: round(costs.empty.median()),
        program: costs.size,
        dns_under_flood: [("fast_path", &fast), ("kernel", &kernel)]
            .map(|(key, flood)| (key, round(flood.ratio.median())))
            .into(),
        dns_under_flood_rates: [("fast_path", &fast), ("kernel", &kernel)]
            .map(|(key, flood)| (key, rates_of(flood)))
            .into(),
        gate_shut_ms: gate_shut.summary(),
        lease_loss_ms: lease_loss.summary(),
        restart,
        idle,
    };
    println!("\n{}", document::table(&report));
    if let Some(path) = &options.report {
        write(path, &(serde_json::to_string_pretty(&report)? + "\n"))?;
    }
    if let Some(directory) = &options.docs {
        write(&directory.join("performance.svg"), &document::chart(&report))?;
        write(&directory.join("performance.md"), &document::page(&report))?;
    }
    Ok(())
}

/// Runs one part, whose progress and medians are all there is to see.
fn run_only(part: Part, options: &Options, say: impl Fn(&str) + Copy + Send + Sync) -> Result<()> {
    match part {
        Part::Solicitations => {
            let rates = apart(|| solicitations::measure(options.rounds, say))?;
            for (responder, samples) in &rates.answered {
                say(&format!("median {:<16} {:>11.0} answers/s", responder.key(), samples.median()));
            }
            say(&format!(
                "ratio to the kernel {:.1}, to ndppd {:.0}, to the reflector {:.2}",
                rates.to_kernel.median(),
                rates.to_ndppd.median(),
                rates.to_reflector.median()
            ));
        }
        Part::Cost => {
            let costs = apart(|| cost::measure(options.rounds, say))?;
            for (kind, samples) in &costs.over_empty {
                say(&format!("median {:<16} {:>7.1} ns", kind.key(), samples.median()));
            }
            say(&format!("{:?}", costs.size));
        }
        Part::Flood => {
            let (fast, kernel) = apart(|| flood::measure(options.rounds, say))?;
            say(&format!(
                "median ratio: fast path {:.2}, kernel {:.2}",
                fast.ratio.median(),
                kernel.ratio.median()
            ));
        }
        Part::Control => {
            say(&format!("gate shut, ms: {:?}", control::gate_shut(options.runs, say)?.summary()));
            say(&format!("lease loss, ms: {:?}", control::lease_loss(options.runs, say)?.summary()));
            say(&format!("{:?}", control::restart(options.runs, say)?));
            say(&format!("{:?}", control::idle(Duration::from_secs(options.idle))?));
        }
    }
    Ok(())
}

/// Runs on a thread of its own, which may pin itself to a core.
fn apart<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}

fn machine() -> Result<Machine> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
    let processor = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| rest.trim_start_matches([' ', '\t', ':']))
        .to_owned();
    let date = std::process::Command::new("date").args(["-u", "+%Y-%m-%d"]).output().context("run date")?;
    let release =
        std::fs::read_to_string("/proc/sys/kernel/osrelease").context("read the kernel's release")?;
    // The part behind the version names whoever built the kernel.
    let kernel = release.trim().split('-').next().unwrap_or_default().to_owned();
    Ok(Machine {
        processor,
        cores: std::thread::available_parallelism()?.get(),
        kernel,
        date: String::from_utf8_lossy(&date.stdout).trim().to_owned(),
    })
}
