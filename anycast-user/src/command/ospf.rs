//! `anycast ospf`: what the routing protocol looks like, and the good-bye of a daemon that was killed.

use std::process::ExitCode;

use anycast_user::config::ospf::Driver;
use anycast_user::control::{Answer, Command, client};
use anycast_user::host::state::StateDir;
use anycast_user::monitor::link::{self, Watched};
use anycast_user::routing::{farewell, guard};
use anycast_user::telemetry::ospf as picture;
use anycast_user::{config, routing};

use crate::cli::{Global, OspfCommand};
use crate::output;

/// Runs one of its commands.
pub fn ospf(global: &Global, command: OspfCommand) -> anyhow::Result<ExitCode> {
    let (json, render): (bool, fn(&picture::Ospf) -> String) = match command {
        OspfCommand::Neighbors { json } => (json, picture::neighbors),
        OspfCommand::Interfaces { json } => (json, picture::interfaces),
        OspfCommand::Database { json } => (json, picture::database),
        OspfCommand::Goodbye => return goodbye(global),
    };
    match client::request(&global.socket_path(), &Command::Ospf)? {
        Answer::Ospf(picture) if json => output::print_json(&picture)?,
        Answer::Ospf(picture) => output::print(&render(&picture))?,
        other => anyhow::bail!("the daemon answered {other:?} instead of its routing protocol's picture"),
    }
    Ok(ExitCode::SUCCESS)
}

/// The child process of a daemon.
pub fn stand_by() -> anyhow::Result<ExitCode> {
    guard::stand_by()?;
    Ok(ExitCode::SUCCESS)
}

/// For `ExecStopPost`: if the daemon did not end as it should, says good-bye in its place.
fn goodbye(global: &Global) -> anyhow::Result<ExitCode> {
    // systemd.exec(5): "success" of a daemon that ended by itself and well.
    if std::env::var("SERVICE_RESULT").is_ok_and(|result| result == "success") {
        return Ok(ExitCode::SUCCESS);
    }
    let config = config::Config::load(&global.config_path())?;
    let Some(ospf) = &config.ospf else { return Ok(ExitCode::SUCCESS) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let routed = config.services.iter().filter(|service| service.advertise.ospf);
    let services: Vec<_> = routed.map(|service| (service.address, service.ospf_interface.clone())).collect();
    let Driver::Native(native) = &ospf.driver else {
        runtime.block_on(routing::withdraw(&ospf.driver, &services))?;
        return Ok(ExitCode::SUCCESS);
    };
    let state = StateDir::open(&config.daemon.state_dir)?;
    let start = routing::Start { boot_count: state.state().incarnation as u32, services };
    let ospf = routing::speaker_config(native, &start)?;
    let names = native.interfaces.iter().map(|uplink| uplink.name.clone()).collect();
    let watched = Watched { interfaces: names, addresses: Default::default() };
    let seen = runtime.block_on(link::read_once(&watched))?;
    let links = routing::links(&ospf, &seen.interfaces);
    farewell::say_now(farewell::farewells(&ospf, &links, farewell::AFTER_STOP));
    Ok(ExitCode::SUCCESS)
}
