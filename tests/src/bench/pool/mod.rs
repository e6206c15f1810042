//! Reliable server pooling: how soon every user knows, and what a registrar can hold. The figures stand in `docs/registrar.md`.

pub mod forward;
pub mod push;
mod resolutions;
mod restarts;

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use super::stats::Summary;
use super::{Machine, machine, write};

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Users that subscribe to a pool.
    #[arg(long, default_value_t = 1_000)]
    pub subscribers: usize,
    /// Deaths of an element.
    #[arg(long, default_value_t = 20)]
    pub deaths: usize,
    /// Restarts of the registrar.
    #[arg(long, default_value_t = 50)]
    pub restarts: usize,
    /// Only print one part's figures, for whoever tunes it: no report.
    #[arg(long, value_enum, value_name = "PART", conflicts_with = "report")]
    pub only: Option<Part>,
    #[command(flatten)]
    forward: forward::Options,
}

/// Parts that can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Deaths of an element's process and host, to users' knowledge.
    Push,
    /// Resolutions a second, memory.
    Resolutions,
    /// Restarts of registrars.
    Restarts,
    /// The DNS forwarder.
    Forward,
}

/// The figures.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    /// Death of an element's process to the new vector, of each subscriber.
    push_ms: Summary,
    /// The same with ten times the subscribers and a quarter of the deaths.
    push_many_ms: Summary,
    /// Subscribers of that.
    push_many_subscribers: usize,
    /// An element's host is cut off, to the new vector: the longest.
    cut_off_ms: f64,
    /// All of them.
    cut_offs_ms: Summary,
    /// What it may be: 1.5 × interval + timeout + 100 ms.
    cut_off_bound_ms: f64,
    /// Through a connection, of one core.
    resolutions_per_s: f64,
    /// Of the machine alone.
    resolutions_per_s_machine: f64,
    /// Resident memory of the registrar for each.
    bytes_per_element: f64,
    /// SIGKILL and restart.
    restarts: restarts::Restarts,
    /// SIGKILL and restart of one of two.
    restarts_one_of_two: restarts::OneOfTwo,
    /// A DNS forwarder while servers fail.
    forward: forward::Forward,
}

/// Runs it.
///
/// # Errors
/// Something to be measured cannot be had.
pub fn run(options: &Options) -> Result<()> {
    if let Some(part) = options.only {
        match part {
            Part::Push => push(options).map(drop)?,
            Part::Resolutions => measured("Resolutions", resolutions::measure()).map(drop)?,
            Part::Restarts => restart(options).map(drop)?,
            Part::Forward => forward::measure(&options.forward).map(drop)?,
        }
        return Ok(());
    }
    let (restarts, restarts_one_of_two) = restart(options)?;
    let [push_ms, push_many_ms, cut_offs_ms] = push(options)?;
    let resolutions = measured("Resolutions", resolutions::measure())?;
    let forward = forward::measure(&options.forward)?;
    let report = Report {
        machine: machine()?,
        push_ms,
        push_many_ms,
        push_many_subscribers: options.subscribers * MANY,
        cut_off_ms: cut_offs_ms.max,
        cut_offs_ms,
        cut_off_bound_ms: push::bound_ms(),
        resolutions_per_s: resolutions.per_s,
        resolutions_per_s_machine: resolutions.per_s_machine,
        bytes_per_element: resolutions.bytes_per_element,
        restarts,
        restarts_one_of_two,
        forward,
    };
    let json = serde_json::to_string_pretty(&report)? + "\n";
    match &options.report {
        Some(path) => write(path, &json),
        None => {
            print!("{json}");
            Ok(())
        }
    }
}

/// How many times as many subscribers are told once more.
const MANY: usize = 10;

fn restart(options: &Options) -> Result<(restarts::Restarts, restarts::OneOfTwo)> {
    let title = format!("Restarts of a registrar ({})", options.restarts);
    let restarts = measured(&title, restarts::measure(options.restarts))?;
    let title = format!("Restarts of one of two registrars ({})", options.restarts);
    Ok((restarts, measured(&title, restarts::one_of_two(options.restarts))?))
}

/// Deaths with the subscribers of the options, with many, and hosts cut off.
fn push(options: &Options) -> Result<[Summary; 3]> {
    let death = |subscribers, deaths| {
        let title = format!("Push to {subscribers} subscribers ({deaths} deaths)");
        measured(&title, push::death(subscribers, deaths))
    };
    let few = death(options.subscribers, options.deaths)?;
    let many = death(options.subscribers * MANY, options.deaths.div_ceil(4))?;
    let title = format!("Host cut off ({}), bound {:.0} ms", options.deaths, push::bound_ms());
    Ok([few, many, measured(&title, push::cut_off(options.deaths))?])
}

fn measured<T: std::fmt::Debug>(title: &str, figures: Result<T>) -> Result<T> {
    let figures = figures?;
    println!("{title}\n  {figures:?}");
    Ok(figures)
}
