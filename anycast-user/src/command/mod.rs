//! The commands, one a file.

mod check;
mod completions;
mod detach;
mod load;
mod operate;
mod ospf;
mod pool;
mod registrar;
mod run;
mod simulate;
mod stats;
mod status;
mod stop;

use std::process::ExitCode;

use anycast_user::config;
use anycast_user::telemetry;

use crate::cli::{Cli, Command, Global};

/// The command line asks for something that cannot be; exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Runs a command.
pub fn execute(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { global, command } = cli;
    match command {
        Command::Run => {
            start_log(&global)?;
            run::run(&global)
        }
        Command::Load(options) => {
            start_log(&global)?;
            load::load(options)
        }
        Command::Check => check::check(&global),
        Command::Status { json, watch } => status::status(&global, json, watch),
        Command::Stats { interface, json, bpffs } => stats::stats(&global.bpffs_path(bpffs), interface, json),
        Command::Stop { keep } => stop::stop(&global, keep),
        Command::Detach { interface, bpffs } => {
            start_log(&global)?;
            detach::detach(&global, &interface, bpffs)
        }
        Command::Pool { command } => pool::pool(&global, command),
        Command::Ospf { command } => ospf::ospf(&global, command),
        Command::Registrar { command } => registrar::registrar(&global, command),
        Command::OspfGuard => ospf::stand_by(),
        Command::Simulate(options) => simulate::simulate(&options),
        Command::Completions { shell } => completions::completions(shell),
        Command::Man { directory } => completions::man(directory),
        operator => operate::operate(&global, operator),
    }
}

/// Whether an error means exit code 2: the command line or the configuration is wrong.
pub fn is_usage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<Usage>()
            || cause.is::<config::Error>()
            || cause.is::<anycast_user::simulate::Error>()
            || matches!(cause.downcast_ref(), Some(anycast_user::datapath::Error::NotEmbedded))
    })
}

fn start_log(global: &Global) -> anyhow::Result<()> {
    telemetry::log::start(global.verbose).map_err(|error| Usage(error).into())
}

/// A runtime of one thread: the daemon does one thing after the other, and its checks wait, not work.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    use anyhow::Context;
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}
