//! `anycast registrar`.

use std::path::PathBuf;
use std::process::ExitCode;

use anycast_user::config::registrar::{DEFAULT_PATH, Registrar, control_socket_of};
use anycast_user::control::{Answer, Command, client};
use anycast_user::registrar::{self, table};
use anycast_user::tls;
use tracing::warn;

use crate::cli::{Global, RegistrarCommand};
use crate::output;

/// Runs one of its commands.
pub fn registrar(global: &Global, command: RegistrarCommand) -> anyhow::Result<ExitCode> {
    match command {
        RegistrarCommand::Run => run(global),
        RegistrarCommand::Status { json, pool } => status(global, json, pool),
        RegistrarCommand::Check => check(global),
    }
}

fn config_path(global: &Global) -> PathBuf {
    global.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_PATH))
}

fn run(global: &Global) -> anyhow::Result<ExitCode> {
    super::start_log(global)?;
    let mut config = Registrar::load(&config_path(global))?;
    if let Some(socket) = &global.socket {
        config.control_socket.clone_from(socket);
    }
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let runtime = super::runtime()?;
    tokio::task::LocalSet::new().block_on(&runtime, registrar::run(config))?;
    Ok(ExitCode::SUCCESS)
}

fn status(global: &Global, json: bool, pool: Option<String>) -> anyhow::Result<ExitCode> {
    let socket = global.socket.clone().unwrap_or_else(|| control_socket_of(&config_path(global)));
    let status = match client::request(&socket, &Command::Registrar { pool: pool.clone() })? {
        Answer::Registrar(status) => status,
        other => anyhow::bail!("the registrar answered {other:?} instead of its status"),
    };
    if json {
        output::print_json(&status)?;
    } else {
        output::print(&table::render(&status, pool.as_deref()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn check(global: &Global) -> anyhow::Result<ExitCode> {
    let config = Registrar::load(&config_path(global))?;
    for warning in &config.warnings {
        output::print(&format!("WARNING  {warning}\n"))?;
    }
    if let Some(own) = &config.tls {
        tls::Server::server(own.clone())?;
        output::print("ok       certificates\n")?;
    }
    let listeners = config.listen.len() + config.listen_tls.len() + config.listen_sctp.len();
    output::print(&format!("ok       configuration {}: {listeners} listeners\n", config.path.display()))?;
    Ok(ExitCode::SUCCESS)
}
