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
    #[command(flatten)]
    forward: forward::Options,
}

/// The figures.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    /// Death of an element's process to the new vector, of each subscriber.
    push_ms: Summary,
    /// An element's host is cut off, to the new vector.
    cut_off_ms: Summary,
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
    /// A DNS forwarder while servers fail.
    forward: forward::Forward,
}

/// Runs it.
///
/// # Errors
/// Something to be measured cannot be had.
pub fn run(options: &Options) -> Result<()> {
    println!("Restarts ({})", options.restarts);
    let restarts = restarts::measure(options.restarts)?;
    println!("  {restarts:?}");
    println!("Push to {} subscribers ({} deaths)", options.subscribers, options.deaths);
    let push_ms = push::death(options.subscribers, options.deaths)?;
    println!("  {push_ms:?}");
    println!("Host cut off");
    let cut_off_ms = push::cut_off(options.deaths)?;
    println!("  {cut_off_ms:?}, bound {:.0}", push::bound_ms());
    println!("Resolutions");
    let resolutions = resolutions::measure()?;
    println!("  {resolutions:?}");
    let forward = forward::measure(&options.forward)?;
    let report = Report {
        machine: machine()?,
        push_ms,
        cut_off_ms,
        cut_off_bound_ms: push::bound_ms(),
        resolutions_per_s: resolutions.per_s,
        resolutions_per_s_machine: resolutions.per_s_machine,
        bytes_per_element: resolutions.bytes_per_element,
        restarts,
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
