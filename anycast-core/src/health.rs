//! Can a service be served? All its checks are up, its process lives, its address is local and its link is up.

use std::fmt;
use std::time::Duration;

use crate::Hold;
use crate::config::{CheckConfig, ServiceConfig};

/// Something that keeps a service from being able.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impediment {
    /// A check is down.
    CheckDown(usize),
    /// A check has not yet succeeded often enough since the start.
    CheckUnknown(usize),
    /// The watched process is not alive.
    ProcessDead,
    /// The watched process has not been found yet.
    ProcessUnknown,
    /// The service address is not local.
    AddressMissing,
    /// The link is down or away.
    LinkDown,
    /// The operator holds the gate shut.
    HeldShut,
    /// The service process is being started after standby.
    Starting,
}

impl fmt::Display for Impediment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CheckDown(check) => write!(f, "check {check} is down"),
            Self::CheckUnknown(check) => write!(f, "check {check} is not up yet"),
            Self::ProcessDead => f.write_str("service process is dead"),
            Self::ProcessUnknown => f.write_str("service process not found yet"),
            Self::AddressMissing => f.write_str("service address is not local"),
            Self::LinkDown => f.write_str("link is down"),
            Self::HeldShut => f.write_str("gate is held shut"),
            Self::Starting => f.write_str("service is being started"),
        }
    }
}

/// State of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckState {
    /// Neither `rise` successes nor `fall` failures in a row yet.
    Unknown,
    /// `rise` successes in a row, and not `fall` failures since.
    Up,
    /// `fall` failures in a row, and not `rise` successes since.
    Down,
}

/// One check in a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckStatus {
    /// Its state.
    pub state: CheckState,
    /// Successes in a row.
    pub successes: u32,
    /// Failures in a row.
    pub failures: u32,
    /// How long the last run took.
    pub latency: Option<Duration>,
}

/// One check with its damping.
#[derive(Clone, Debug)]
struct Check {
    config: CheckConfig,
    status: CheckStatus,
}

impl Check {
    const fn new(config: CheckConfig) -> Self {
        let status = CheckStatus { state: CheckState::Unknown, successes: 0, failures: 0, latency: None };
        Self { config, status }
    }

    const fn forget(&mut self) {
        self.status.state = CheckState::Unknown;
        self.status.successes = 0;
        self.status.failures = 0;
    }

    fn ran(&mut self, ok: bool, latency: Duration) {
        let status = &mut self.status;
        status.latency = Some(latency);
        if ok {
            status.failures = 0;
            status.successes = status.successes.saturating_add(1);
            if status.successes >= self.config.rise {
                status.state = CheckState::Up;
            }
        } else {
            status.successes = 0;
            status.failures = status.failures.saturating_add(1);
            if status.failures >= self.config.fall {
                status.state = CheckState::Down;
            }
        }
    }
}

/// Health of one service.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    checks: Vec<Check>,
    watches_process: bool,
    process: Option<bool>,
    address: Option<bool>,
    link: Option<bool>,
    hold: Hold,
    /// The service is stopped on purpose: its checks and its process say nothing.
    suspended: bool,
    /// It is being started: they do not count yet.
    starting: bool,
}

impl Health {
    /// Nothing is known yet: not able.
    pub(crate) fn new(config: &ServiceConfig) -> Self {
        Self {
            checks: config.checks.iter().copied().map(Check::new).collect(),
            watches_process: config.process,
            process: None,
            address: None,
            link: None,
            hold: Hold::Automatic,
            suspended: false,
            starting: config.standby.is_some_and(|standby| standby.wake_timeout.is_some()),
        }
    }

    /// The service is stopped on purpose.
    pub(crate) const fn suspend(&mut self) {
        self.suspended = true;
    }

    /// The service is being started.
    pub(crate) const fn start(&mut self) {
        self.suspended = false;
        self.starting = true;
    }

    /// It has been started. What checks found before was another process, or none.
    pub(crate) fn started(&mut self) {
        self.starting = false;
        self.checks.iter_mut().for_each(Check::forget);
    }

    pub(crate) const fn is_starting(&self) -> bool {
        self.starting
    }

    /// Is something bad that starting the service does not mend?
    pub(crate) fn unreachable(&self) -> bool {
        self.address != Some(true) || self.link != Some(true) || self.hold == Hold::Shut
    }

    /// A check ran. False if there is no such check.
    pub(crate) fn check(&mut self, check: usize, ok: bool, latency: Duration) -> bool {
        self.checks.get_mut(check).map(|check| check.ran(ok, latency)).is_some()
    }

    pub(crate) const fn process(&mut self, alive: bool) {
        self.process = Some(alive);
    }

    pub(crate) const fn address(&mut self, present: bool) {
        self.address = Some(present);
    }

    pub(crate) const fn link(&mut self, up: bool) {
        self.link = Some(up);
    }

    pub(crate) const fn hold(&mut self, hold: Hold) {
        self.hold = hold;
    }

    pub(crate) const fn held(&self) -> Hold {
        self.hold
    }

    pub(crate) const fn process_alive(&self) -> Option<bool> {
        match self.process {
            _ if !self.watches_process => None,
            None => Some(false),
            known => known,
        }
    }

    pub(crate) fn checks(&self) -> Vec<CheckStatus> {
        self.checks.iter().map(|check| check.status).collect()
    }

    /// Able = nothing stands in the way.
    pub(crate) fn able(&self) -> bool {
        self.obstacles().next().is_none()
    }

    /// Everything that stands in the way.
    pub(crate) fn impediments(&self) -> Vec<Impediment> {
        self.obstacles().collect()
    }

    /// Is something known to be bad, as opposed to not known yet? This ends an adoption, which begins with nothing known.
    pub(crate) fn failed(&self) -> bool {
        self.checks.iter().any(|check| check.status.state == CheckState::Down)
            || (self.watches_process && self.process == Some(false))
            || self.address == Some(false)
            || self.link == Some(false)
            || self.hold == Hold::Shut
    }

    fn obstacles(&self) -> impl Iterator<Item = Impediment> + '_ {
        let counts = !self.suspended && !self.starting;
        let checks =
            self.checks.iter().enumerate().filter_map(move |(index, check)| match check.status.state {
                _ if !counts => None,
                CheckState::Up => None,
                CheckState::Down => Some(Impediment::CheckDown(index)),
                CheckState::Unknown => Some(Impediment::CheckUnknown(index)),
            });
        let process = match self.process {
            _ if !self.watches_process || !counts => None,
            Some(true) => None,
            Some(false) => Some(Impediment::ProcessDead),
            None => Some(Impediment::ProcessUnknown),
        };
        let address = (self.address != Some(true)).then_some(Impediment::AddressMissing);
        let link = (self.link != Some(true)).then_some(Impediment::LinkDown);
        let hold = (self.hold == Hold::Shut).then_some(Impediment::HeldShut);
        let starting = self.starting.then_some(Impediment::Starting);
        checks.chain(process).chain(address).chain(link).chain(hold).chain(starting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim;

    fn health(rise: u32, fall: u32, process: bool) -> Health {
        let mut service = sim::config(0).services.remove(0);
        service.checks = vec![CheckConfig { rise, fall }];
        service.process = process;
        Health::new(&service)
    }

    fn runs(health: &mut Health, results: &[bool]) {
        for ok in results {
            assert!(health.check(0, *ok, Duration::ZERO));
        }
    }

    #[test]
    fn able_only_with_everything() {
        let mut health = health(1, 1, true);
        let all = [
            Impediment::CheckUnknown(0),
            Impediment::ProcessUnknown,
            Impediment::AddressMissing,
            Impediment::LinkDown,
        ];
        assert_eq!(health.impediments(), all);
        assert!(!health.failed(), "nothing is known yet");
        runs(&mut health, &[true]);
        assert_eq!(health.impediments(), all[1..]);
        health.process(true);
        assert_eq!(health.impediments(), all[2..]);
        health.address(true);
        assert_eq!(health.impediments(), all[3..]);
        health.link(true);
        assert!(health.able());
        health.hold(Hold::Shut);
        assert_eq!(health.impediments(), [Impediment::HeldShut]);
        health.hold(Hold::Open);
        assert!(health.able());
        for lost in [Health::address, Health::link, Health::process] {
            let mut health = health.clone();
            lost(&mut health, false);
            assert!(!health.able() && health.failed());
        }
    }

    #[test]
    fn rise_applies_at_the_start_and_after_a_failure() {
        let mut health = health(2, 3, false);
        runs(&mut health, &[true]);
        assert_eq!(health.checks()[0].state, CheckState::Unknown);
        runs(&mut health, &[false, true]);
        assert_eq!(health.checks()[0].state, CheckState::Unknown, "in a row");
        runs(&mut health, &[true]);
        assert_eq!(health.checks()[0].state, CheckState::Up);
        runs(&mut health, &[false, false, true, false, false]);
        assert_eq!(health.checks()[0].state, CheckState::Up, "fall 3 in a row");
        runs(&mut health, &[false]);
        assert_eq!(health.checks()[0].state, CheckState::Down);
        runs(&mut health, &[true]);
        assert_eq!(health.checks()[0].state, CheckState::Down);
        runs(&mut health, &[true]);
        assert_eq!(health.checks()[0].state, CheckState::Up);
    }

    #[test]
    fn process_exit_needs_no_fall_count() {
        let mut health = health(1, 10, true);
        runs(&mut health, &[true]);
        health.process(true);
        health.address(true);
        health.link(true);
        assert!(health.able());
        health.process(false);
        assert_eq!(health.impediments(), [Impediment::ProcessDead]);
    }

    #[test]
    fn unwatched_process_and_unknown_check_are_ignored() {
        let mut health = health(1, 1, false);
        assert_eq!(health.process_alive(), None);
        health.process(false);
        assert!(!health.impediments().contains(&Impediment::ProcessDead));
        assert!(!health.check(1, true, Duration::ZERO), "there is no check 1");
    }
}
