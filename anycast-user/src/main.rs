//! The `anycast` command: reads the command line, runs one command, and says in one line what went wrong.

mod cli;
mod command;
mod output;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;

/// Something failed.
const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    // Errors of usage end here, with exit code 2.
    let cli = Cli::parse();
    match command::execute(cli) {
        Ok(code) => code,
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("anycast: {}", output::chain(&error));
            ExitCode::from(if command::is_usage(&error) { USAGE } else { FAILED })
        }
    }
}
