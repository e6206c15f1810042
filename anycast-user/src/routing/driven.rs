//! Drivers of routing daemons that run already: they are told which routes there are to be, and tell the routers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{info, warn};

use super::guard::Guard;
use super::{Ending, Inputs, LOOK_AFTER, Order, Report};
use crate::telemetry::ospf as picture;

/// A driver that failed tries again after this time …
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// … and after twice the time each time, up to this.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Why a driver could not do what was wanted.
#[derive(Debug, thiserror::Error)]
#[error("{driver}: cannot {operation}: {why}")]
pub struct DriverError {
    /// `frr`, `bird`, `route`.
    pub driver: &'static str,
    /// What was attempted.
    pub operation: String,
    /// What came instead, and what to do.
    pub why: String,
}

/// What there is to be: a metric for each service that has a route.
pub(super) type Routes = BTreeMap<IpAddr, u16>;

/// Something that makes routes so.
pub(super) trait Drive: Send + 'static {
    /// Its name in the configuration.
    const NAME: &'static str;

    /// Brings the world from what it was left in to `routes`. Called again with the same after an error.
    fn apply(&mut self, routes: &Routes) -> impl Future<Output = Result<(), DriverError>> + Send;
}

/// Starts a driver.
pub(super) fn spawn(driver: impl Drive, inputs: Inputs, guard: Option<Guard>) -> JoinHandle<()> {
    tokio::spawn(run(driver, inputs, guard))
}

/// Runs a driver: one application at a time, always of the last wishes.
async fn run<D: Drive>(mut driver: D, mut inputs: Inputs, mut guard: Option<Guard>) {
    let mut routes = Routes::new();
    // At the start whatever an earlier daemon left is brought to what is wanted: nothing, for now.
    let mut due = Some(Instant::now());
    let mut retry = RETRY_FIRST;
    let mut trouble: Option<String> = None;
    let mut look_after = tokio::time::interval(LOOK_AFTER);
    let ending = loop {
        let wait = async {
            match due {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ending = &mut inputs.stop => break ending.unwrap_or(Ending::Withdraw),
            Some(order) = inputs.orders.recv() => {
                due = wish(&mut routes, order).then(Instant::now).or(due);
                continue;
            }
            Some(reply) = inputs.looks.recv() => {
                let picture = picture::Ospf {
                    driver: D::NAME.to_owned(),
                    routes: routes
                        .iter()
                        .map(|(address, metric)| picture::Route {
                            address: address.to_string(),
                            metric: (*metric).into(),
                        })
                        .collect(),
                    trouble: trouble.clone(),
                    ..picture::Ospf::default()
                };
                let _ = reply.send(picture);
                continue;
            }
            _ = look_after.tick() => {
                if let Some(guard) = &mut guard {
                    guard.keep();
                }
                continue;
            }
            () = wait => {}
        }
        match driver.apply(&routes).await {
            Ok(()) => {
                due = None;
                retry = RETRY_FIRST;
                if trouble.take().is_some() {
                    info!(driver = D::NAME, "routes are as wanted again");
                    let _ = inputs.reports.send(Report::Trouble(None)).await;
                }
            }
            Err(error) => {
                let text = error.to_string();
                if trouble.as_ref() != Some(&text) {
                    warn!("{text}; trying again");
                    let _ = inputs.reports.send(Report::Trouble(Some(text.clone()))).await;
                    trouble = Some(text);
                }
                due = Some(Instant::now() + retry);
                retry = (retry * 2).min(RETRY_MAX);
            }
        }
    };
    if ending == Ending::Withdraw
        && let Err(error) = driver.apply(&Routes::new()).await
    {
        warn!(%error, "routes are left behind");
    }
    // Killed before this, the guard withdraws them; from here on it must not.
    if let Some(guard) = guard {
        guard.dismiss();
    }
}

/// Notes an order; true if something is to be done.
fn wish(routes: &mut Routes, order: Order) -> bool {
    match order {
        Order::Route { address, route } => match route.metric() {
            Some(metric) => routes.insert(address, metric) != Some(metric),
            None => routes.remove(&address).is_some(),
        },
        // These daemons have no place for it, and keys of their own.
        Order::Load { .. } | Order::Keys(_) => false,
    }
}
