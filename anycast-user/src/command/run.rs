//! `anycast run`.

use std::process::ExitCode;

use anycast_user::config::Config;
use anycast_user::controller;
use tracing::warn;

use crate::cli::Global;

/// Reads the configuration and runs the daemon until it is stopped.
pub fn run(global: &Global) -> anyhow::Result<ExitCode> {
    let mut config = Config::load(&global.config_path())?;
    if let Some(socket) = &global.socket {
        config.daemon.control_socket.clone_from(socket);
    }
    for warning in &config.warnings {
        warn!("{warning}");
    }
    super::runtime()?.block_on(controller::run(config))?;
    Ok(ExitCode::SUCCESS)
}
