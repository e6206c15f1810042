//! Checks: does the service answer?
//!
//! A check runs at once and then every [`CheckOptions::interval`]. One run must end within [`CheckOptions::timeout`]:
//! what comes later is a failure, however good it is. Runs of one check never overlap, and a run that was held up moves
//! the following ones instead of making them burst.

mod dns;
mod error;
mod exec;
mod source;
mod tcp;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anycast_core::time::Time;
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, MissedTickBehavior},
};

pub use dns::{DnsCheck, QuestionError};
pub use error::CheckError;

use super::TaskGuard;

/// The caller's name for a check; a [`Report`] carries it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckId(pub u32);

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckOptions {
    /// From the start of one run to the start of the next.
    pub interval: Duration,
    /// A run that has not succeeded after this time has failed.
    pub timeout: Duration,
    /// What a run does.
    pub kind: CheckKind,
    /// Every service address of this host. A probe never uses one of them as its source, and a probe *to* one of them is
    /// kept on `lo`, so that it can never be answered by a peer that has the same address.
    pub service_addresses: Vec<IpAddr>,
}

/// What a run of a check does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// Asks a question over UDP and TCP, and validates the answer.
    Dns(DnsCheck),
    /// Opens a TCP connection and closes it.
    Tcp {
        /// Where the service listens.
        address: SocketAddr,
    },
    /// Runs a command: exit status 0 is good, everything else is not.
    Exec {
        /// The program (found through `PATH` unless it has a slash) and its arguments. No shell is involved.
        command: Vec<String>,
    },
}

/// The result of one run.
#[derive(Debug)]
pub struct Report {
    /// Which check.
    pub id: CheckId,
    /// How long it took (of several transports, the slower), or what was wrong.
    pub outcome: Result<Duration, CheckError>,
    /// When the run ended.
    pub at: Time,
}

/// A running check; dropping it ends the check.
#[derive(Debug)]
#[must_use = "dropping the handle ends the check"]
pub struct CheckHandle {
    now: Arc<Notify>,
    task: TaskGuard,
}

impl CheckHandle {
    /// Runs the check now, or directly after the run under way; the interval starts anew.
    pub fn run_now(&self) {
        self.now.notify_one();
    }

    /// Whether the check has ended because nobody listens to its reports any more.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

/// Starts a check that sends one [`Report`] a run to `reports`.
pub fn spawn(id: CheckId, options: CheckOptions, reports: mpsc::Sender<Report>) -> CheckHandle {
    let now = Arc::new(Notify::new());
    let task = TaskGuard::spawn(run(id, options, reports, Arc::clone(&now)));
    CheckHandle { now, task }
}

/// Runs a check once.
///
/// # Errors
/// What was wrong, [`CheckError::TimedOut`] included.
pub async fn run_once(options: &CheckOptions) -> Result<Duration, CheckError> {
    let started = Instant::now();
    let deadline = Deadline { at: started + options.timeout, timeout: options.timeout };
    match &options.kind {
        CheckKind::Dns(check) => dns::run(check, &options.service_addresses, deadline).await?,
        CheckKind::Tcp { address } => tcp::run(*address, &options.service_addresses, deadline).await?,
        CheckKind::Exec { command } => exec::run(command, deadline).await?,
    }
    in_time(started.elapsed(), options.timeout)
}

/// The runtime may have been held up between the answer and its reading: an answer that was late is late.
fn in_time(latency: Duration, timeout: Duration) -> Result<Duration, CheckError> {
    if latency > timeout { Err(CheckError::Late { after: latency, timeout }) } else { Ok(latency) }
}

/// When a run must be over, and what that was in the configuration (for the error's text).
#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Instant,
    timeout: Duration,
}

impl Deadline {
    /// Waits for `step`, at most until the deadline.
    async fn limit<T>(
        self,
        waiting_for: impl FnOnce() -> String,
        step: impl Future<Output = Result<T, CheckError>>,
    ) -> Result<T, CheckError> {
        match tokio::time::timeout_at(self.at, step).await {
            Ok(result) => result,
            Err(_elapsed) => Err(CheckError::TimedOut { timeout: self.timeout, waiting_for: waiting_for() }),
        }
    }
}

async fn run(id: CheckId, options: CheckOptions, reports: mpsc::Sender<Report>, now: Arc<Notify>) {
    // An interval of zero would panic; the configuration refuses it, and here it means "without pause".
    let mut ticks = tokio::time::interval(options.interval.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = now.notified() => ticks.reset(),
            () = reports.closed() => return,
        }
        let outcome = run_once(&options).await;
        if reports.send(Report { id, outcome, at: super::now() }).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
