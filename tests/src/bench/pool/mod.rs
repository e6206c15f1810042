//! What pools cost and gain.

pub mod forward;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    #[command(flatten)]
    forward: forward::Options,
}

/// The figures.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// A DNS forwarder while servers fail.
    pub forward: forward::Forward,
}

/// Measures everything.
///
/// # Errors
/// Something to be measured cannot be had.
pub fn run(options: &Options) -> Result<()> {
    let report = Report { forward: forward::measure(&options.forward)? };
    let text = serde_json::to_string_pretty(&report)?;
    match &options.report {
        Some(path) => std::fs::write(path, text + "\n").with_context(|| format!("write {}", path.display())),
        None => {
            println!("{text}");
            Ok(())
        }
    }
}
