//! What the loop keeps of a service and of a check besides what the core knows.

use std::time::Duration;

use anycast_common::abi::Counters;
use anycast_core::{Hold, ServiceId, State, Time};

use crate::config::{self, Config, ProcessTarget};
use crate::monitor::TaskGuard;
use crate::monitor::check::{CheckHandle, CheckKind, DnsCheck};

use super::Error;

/// Over how long the query rate is averaged.
const RATE_WINDOW: Duration = Duration::from_secs(2);

/// A service as the loop sees it.
pub(super) struct ServiceRun {
    /// Its number in the fast path of its interface.
    pub(super) index: u32,
    /// The operator's word, as last read.
    pub(super) hold: Hold,
    /// Why it is in its state.
    pub(super) reason: String,
    pub(super) counters: Counters,
    pub(super) rate: Rate,
    /// What its sockets have dropped since they were opened.
    pub(super) socket_drops: u64,
    pub(super) advertisements_sent: u64,
    pub(super) advertisements_failed: u64,
    /// When the address was found missing; it is put back a second later.
    pub(super) address_missing_since: Option<Time>,
    pub(super) state: State,
}

impl ServiceRun {
    pub(super) fn new(index: u32) -> Self {
        Self {
            index,
            hold: Hold::Automatic,
            reason: "starting".to_owned(),
            counters: Counters::default(),
            rate: Rate::default(),
            socket_drops: 0,
            advertisements_sent: 0,
            advertisements_failed: 0,
            address_missing_since: None,
            state: State::Down,
        }
    }
}

/// An exponentially weighted rate of a cumulative counter.
#[derive(Default)]
pub(super) struct Rate {
    last: Option<(Time, u64)>,
    per_second: f64,
}

impl Rate {
    /// A reading of the counter.
    pub(super) fn read(&mut self, now: Time, total: u64) {
        if let Some((then, before)) = self.last {
            let elapsed = now.since(then).as_secs_f64();
            if elapsed > 0.0 {
                let rate = total.saturating_sub(before) as f64 / elapsed;
                let weight = 1.0 - (-elapsed / RATE_WINDOW.as_secs_f64()).exp();
                self.per_second += weight * (rate - self.per_second);
            }
        }
        self.last = Some((now, total));
    }

    pub(super) const fn per_second(&self) -> f64 {
        self.per_second
    }
}

/// A check or a watched process, and whom it decides over.
pub(super) struct CheckRun {
    /// The services and the position of this check among theirs; a process has no position.
    pub(super) services: Vec<(ServiceId, usize)>,
    pub(super) kind: &'static str,
    /// In words, for status.
    pub(super) target: String,
    pub(super) latency: Option<Duration>,
    pub(super) error: Option<String>,
    pub(super) at: Option<Time>,
    pub(super) successes: u64,
    pub(super) failures: u64,
    /// Was the last result good? A change is logged, a repetition is not.
    pub(super) good: Option<bool>,
    /// The running check; ends with this.
    running: Running,
}

/// What ends a check or a watch when it is dropped.
pub(super) enum Running {
    Check { handle: CheckHandle },
    Process { _guard: TaskGuard },
}

impl CheckRun {
    pub(super) fn new(
        services: Vec<(ServiceId, usize)>,
        kind: &'static str,
        target: String,
        running: Running,
    ) -> Self {
        Self {
            services,
            kind,
            target,
            latency: None,
            error: None,
            at: None,
            successes: 0,
            failures: 0,
            good: None,
            running,
        }
    }

    /// Runs the check at once; a process is watched all along.
    pub(super) fn run_now(&self) {
        match &self.running {
            Running::Check { handle } => handle.run_now(),
            Running::Process { .. } => {}
        }
    }
}

/// What a configured check runs, in the order in which the core counts them: name, words for status, job.
pub(super) fn jobs(
    service: &str,
    check: &config::Check,
) -> Result<Vec<(&'static str, String, CheckKind)>, Error> {
    let mut jobs = Vec::new();
    if let Some(dns) = &check.dns {
        let question = DnsCheck::new(dns.server, &dns.name, &dns.rtype)
            .and_then(|question| question.with_transports(dns.udp, dns.tcp))
            .map_err(|source| Error::Question { service: service.to_owned(), source })?;
        jobs.push(("dns", question.to_string(), CheckKind::Dns(question)));
    }
    if let Some(address) = check.tcp {
        jobs.push(("tcp", address.to_string(), CheckKind::Tcp { address }));
    }
    if let Some(command) = &check.exec {
        jobs.push(("exec", command.join(" "), CheckKind::Exec { command: command.clone() }));
    }
    Ok(jobs)
}

/// The services that a service's own check decides over: itself and those that say `check_as`.
pub(super) fn sharers(config: &Config, owner: usize) -> Vec<ServiceId> {
    (0..config.services.len())
        .filter(|&service| match config.services[service].check {
            config::Checked::Own(_) => service == owner,
            config::Checked::As(other) => other == owner,
        })
        .map(|service| ServiceId(u16::try_from(service).unwrap_or(u16::MAX)))
        .collect()
}

/// A process target in words.
pub(super) fn process_target(target: &ProcessTarget) -> String {
    match target {
        ProcessTarget::PidFile(path) => format!("pid file {}", path.display()),
        ProcessTarget::Unit(unit) => format!("unit {unit}"),
    }
}
