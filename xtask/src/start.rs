//! Commands that set up, build and then become a binary of the workspace: signals, terminal and exit code are its own.

use std::{ffi::OsString, net::IpAddr, path::PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::{build, process, requirements::Job, setup, workspace::Profile};

/// What `cargo xtask build-and-load` takes.
#[derive(Args)]
pub struct LoadArguments {
    /// The interface to attach to
    #[arg(long, value_name = "IF")]
    interface: String,
    /// A service address to answer for; give it again for each further one
    #[arg(long, value_name = "ADDR", required = true)]
    address: Vec<IpAddr>,
    /// Attach to the driver, or to the kernel's generic hook where the driver has no XDP
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Build with the release profile
    #[arg(long)]
    release: bool,
    /// Further arguments of `anycast load`, after `--`
    #[arg(last = true)]
    further: Vec<OsString>,
}

/// Where the program is attached.
#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// In the driver
    Native,
    /// Behind the driver
    Generic,
}

/// What `cargo xtask demo` takes.
#[derive(Args)]
pub struct DemoArguments {
    /// Write what was measured to this file, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// What `cargo xtask bench` takes.
#[derive(Args)]
pub struct BenchArguments {
    /// Arguments of the benches, such as `--report FILE`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Builds, then becomes `anycast load`.
pub fn build_and_load(arguments: &LoadArguments) -> Result<()> {
    setup::ensure(&[Job::Build])?;
    let profile = if arguments.release { Profile::Release } else { Profile::Debug };
    build::all(profile)?;
    let mut load = process::command(profile.binary("anycast"));
    load.arg("load").arg("--interface").arg(&arguments.interface);
    for address in &arguments.address {
        load.arg("--address").arg(address.to_string());
    }
    if let Some(mode) = arguments.mode {
        load.arg("--mode").arg(match mode {
            Mode::Native => "native",
            Mode::Generic => "generic",
        });
    }
    Err(process::exec(load.args(&arguments.further)))
}

/// Sets up and builds, then becomes the demo.
pub fn demo(arguments: &DemoArguments) -> Result<()> {
    setup::ensure(&[Job::Demo])?;
    build::all(Profile::Debug)?;
    let mut demo = process::command(Profile::Debug.binary("anycast-lab"));
    demo.arg("demo").env("ANYCAST_BIN", Profile::Debug.binary("anycast"));
    if let Some(report) = &arguments.report {
        demo.arg("--report").arg(report);
    }
    Err(process::exec(&mut demo))
}

/// Sets up and builds with the release profile, then becomes the benches.
pub fn bench(arguments: &BenchArguments) -> Result<()> {
    setup::ensure(&[Job::Bench])?;
    build::all(Profile::Release)?;
    let mut bench = process::command(Profile::Release.binary("anycast-lab"));
    bench.arg("bench").args(&arguments.arguments).env("ANYCAST_BIN", Profile::Release.binary("anycast"));
    Err(process::exec(&mut bench))
}
