//! `anycast pool forward`.

use std::process::ExitCode;

use anycast_user::host::descriptors;
use anycast_user::pool::forward::{Forward, ForwardOptions};
use anycast_user::telemetry::endpoint::{self, Endpoint};
use anycast_user::telemetry::notify;
use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::cli::pool as cli;

/// Sockets that a query has at a time, mostly one.
const SOCKETS_PER_QUERY: u64 = 2;
/// Files beside those of queries: connections of clients and registrars.
const FILES_BESIDE: u64 = 512;

/// Forwards until it is told to stop.
pub async fn forward(options: &cli::Forward) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    descriptors::allow(u64::from(options.in_flight) * SOCKETS_PER_QUERY + FILES_BESIDE, "--in-flight");
    let user = super::user(&options.registrars)?;
    let forward = Forward::bind(
        user.clone(),
        &ForwardOptions {
            patience: options.patience,
            in_flight: options.in_flight as usize,
            ..ForwardOptions::new(options.listen.clone(), options.pool.as_str())
        },
    )
    .await?;
    let metrics = match options.metrics {
        Some(address) => {
            let failed = |error: endpoint::Error| error.source;
            let bound = Endpoint::bind(address).await.map_err(failed);
            Some(bound.with_context(|| format!("cannot serve metrics on {address}: see --metrics"))?)
        }
        None => None,
    };
    let (text, summary) = (forward.metrics(), forward.summary());
    let metrics = async {
        match metrics {
            Some(endpoint) => endpoint.run_with(text).await,
            None => std::future::pending().await,
        }
    };
    // It serves in any case: the registrar may come later, and then the pool is known at once.
    let resolved = async {
        match user.resolve(options.pool.as_str()).await {
            Ok(pool) => info!(pool = options.pool, elements = pool.elements.len(), "forwarding"),
            Err(error) => warn!("forwarding as soon as the pool is known: {error}"),
        }
        std::future::pending::<()>().await;
    };
    notify::ready(&format!("forwarding to pool {}", options.pool));
    tokio::select! {
        () = forward.run() => {}
        () = metrics => {}
        () = resolved => {}
        _ = terminate.recv() => info!("stopped by SIGTERM: {}", summary()),
        _ = interrupt.recv() => info!("stopped by SIGINT: {}", summary()),
    }
    notify::stopping();
    Ok(ExitCode::SUCCESS)
}
