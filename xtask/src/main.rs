//! Set-up, builds, tests and benches of this repository: `cargo xtask COMMAND`.
//!
//! This package depends on nothing of the workspace: it finds or installs tools and starts what it has built.

mod build;
mod fuzz;
mod no_services;
mod process;
mod requirements;
mod rings;
mod setup;
mod start;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what this repository's commands need, or only say what is missing
    Setup(setup::SetupArguments),
    /// Build the BPF objects and the binaries that embed them
    Build(build::BuildArguments),
    /// Build, then answer for service addresses on an interface until Ctrl-C
    BuildAndLoad(start::LoadArguments),
    /// Run a farm in network namespaces and watch it survive the loss of a server
    Demo(start::DemoArguments),
    /// Run the test rings
    Test(rings::TestArguments),
    /// Measure, with the release profile
    Bench(start::BenchArguments),
    /// Fuzz what is read from anybody on the link
    Fuzz(fuzz::FuzzArguments),
    /// Run what continuous integration runs: all rings, lints included
    Ci(rings::TestArguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Setup(arguments) => setup::setup(&arguments).map(|()| true),
        Command::Build(arguments) => build::build(&arguments).map(|()| true),
        Command::BuildAndLoad(arguments) => start::build_and_load(&arguments).map(|()| true),
        Command::Demo(arguments) => start::demo(&arguments).map(|()| true),
        Command::Bench(arguments) => start::bench(&arguments).map(|()| true),
        Command::Fuzz(arguments) => fuzz::fuzz(&arguments),
        Command::Test(arguments) | Command::Ci(arguments) => rings::test(&arguments),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
