//! `anycast pool`: what a pool user knows, and a forwarder that is one.

mod forward;
mod show;

use std::process::ExitCode;
use std::time::Duration;

use anycast_pool::{ElementId, PoolHandle};
use anycast_user::config::pool::TlsFiles;
use anycast_user::pool::{PoolUser, PoolUserOptions, user};
use anycast_user::telemetry::log;
use anyhow::Context as _;

use crate::cli::Global;
use crate::cli::pool::{Named, PoolCommand, Registrars};
use crate::output;

/// How long a registrar may take to look after a reported element.
const VERDICT: Duration = Duration::from_secs(3);

/// Runs one of its commands.
pub fn pool(global: &Global, command: PoolCommand) -> anyhow::Result<ExitCode> {
    match command {
        PoolCommand::Resolve(named) => {
            super::runtime()?.block_on(resolve(&named, if named.json { show::json } else { show::resolved }))
        }
        PoolCommand::Elements(named) => {
            super::runtime()?.block_on(resolve(&named, if named.json { show::json } else { show::elements }))
        }
        PoolCommand::Watch(named) => super::runtime()?.block_on(watch(&named)),
        PoolCommand::Report { named, id } => super::runtime()?.block_on(report(&named, ElementId(id))),
        PoolCommand::Forward(options) => {
            super::start_log(global)?;
            super::runtime()?.block_on(forward::forward(&options))
        }
    }
}

/// A user as the options say. Must be called in a runtime.
fn user(options: &Registrars) -> anyhow::Result<PoolUser> {
    let mut user = PoolUserOptions::new(options.registrar.iter().cloned());
    if let (Some(ca), Some(certificate), Some(key)) = (&options.tls_ca, &options.tls_cert, &options.tls_key) {
        let files = TlsFiles {
            ca: ca.clone(),
            certificate: certificate.clone(),
            key: key.clone(),
            server_name: options.tls_name.clone(),
        };
        user.registrars.tls = Some(files.load().context("cannot use TLS")?);
        user.registrars.check()?;
    }
    user.registrars.discover.clone_from(&options.discover);
    user.patience = options.timeout;
    Ok(PoolUser::connect(user))
}

type Show = fn(
    &anycast_pool::user::PoolSnapshot,
    &[(String, anycast_pool::RegistrarSnapshot, Option<String>)],
) -> String;

async fn resolve(named: &Named, show: Show) -> anyhow::Result<ExitCode> {
    let user = user(&named.registrars)?;
    let snapshot = user.resolve(named.name.as_str()).await?;
    output::print(&show(&snapshot, &user.registrars()))?;
    Ok(ExitCode::SUCCESS)
}

async fn watch(named: &Named) -> anyhow::Result<ExitCode> {
    let user = user(&named.registrars)?;
    let mut changes = user.changes();
    // A pool that is not there yet is worth watching, and so is a registrar; the first words say so.
    user.follow(&PoolHandle::from(named.name.as_str()));
    while let Some(news) = changes.next().await {
        output::print(&show::news(&news, &log::time_of_day(), named.json))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn report(named: &Named, id: ElementId) -> anyhow::Result<ExitCode> {
    let user = user(&named.registrars)?;
    let pool = PoolHandle::from(named.name.as_str());
    let snapshot = user.resolve(pool.clone()).await?;
    let known = snapshot.elements.iter().any(|element| element.id == id);
    anyhow::ensure!(
        known,
        "pool {pool} has no element {id}: `anycast pool elements {}` lists those it has",
        named.name
    );
    let mut changes = user.changes();
    user.failed(pool.clone(), id);
    // The own word came first. A registrar's, if it changes anything, follows; none is as good: the element answered it.
    let verdict = async {
        while let Some(news) = changes.next().await {
            let user::News::Change(change) = news else { continue };
            if let anycast_pool::user::What::State(state, witness) = change.what
                && change.id == id
                && witness != anycast_pool::vector::Witness::Own
            {
                return format!("reported; {id} is {}: {witness}", state.name());
            }
        }
        String::new()
    };
    let text = tokio::time::timeout(VERDICT, verdict).await.unwrap_or_else(|_| {
        format!("reported; no registrar calls {id} down: it answers their keep-alives, or they limit reports")
    });
    output::print(&format!("{text}\n"))?;
    Ok(ExitCode::SUCCESS)
}
