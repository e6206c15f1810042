//! What the registrar is told before it begins, and what cannot be.

use std::time::Duration;

use super::Members;
use crate::RegistrarId;
use crate::wire::Transport;

/// Configuration of a registrar.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its identifier: random, never zero, another one than all others' (RFC 5353 2.1).
    pub id: RegistrarId,
    /// Elements must have shown who they are; others are rejected with cause 0xa (RFC 5354 3.12.11).
    pub require_secured: bool,
    /// Who may register in which pool; others are rejected with the same cause.
    pub members: Members,
    /// Mean time between keep-alives to an element (RFC 5352 3.4); each is drawn from half to one and a half of it.
    pub keep_alive_interval: Duration,
    /// How long an answer to a keep-alive is awaited.
    pub keep_alive_timeout: Duration,
    /// MAX-BAD-PE-REPORT (RFC 5352 7.3): more hosts than these that report an element which answers keep-alives, and it is taken
    /// for down.
    pub max_bad_reports: usize,
    /// How long reports are counted together, and how long such an element stays down unless it registers over another
    /// connection.
    pub report_window: Duration,
    /// Least time between two keep-alives that reports cause to one element (RFC 5355 2.14).
    pub report_spacing: Duration,
    /// How long an element that is down stays registered, so that it can come back as what it was.
    pub down_keep: Duration,
    /// How long the status vector tells of an element that is no longer registered.
    pub tombstone_keep: Duration,
    /// How long an element may take to come back after a restart of the registrar, before it is taken for down.
    pub restore_grace: Duration,
    /// Elements of an answer if the user does not say how many it wants. RFC 5352 3.3 says that all SHOULD be listed, RFC 5356
    /// speaks of the number that was asked for; users that fail over need few.
    pub answer_default: u16,
    /// Elements of an answer at most.
    pub answer_max: u16,
    /// How long changes of a pool are gathered after a push. The first change after a rest is pushed at once.
    pub push_window: Duration,
    /// The same for changes of loads and weights alone, which come often and are urgent to nobody.
    pub load_window: Duration,
    /// How often a subscriber hears of a pool that does not change, so that it knows ages and that the registrar lives; zero =
    /// never.
    pub push_refresh: Duration,
    /// A connection that has not taken more than these octets gets no pushes: only the newest waits for it.
    pub backlog_low: usize,
    /// A connection that has not taken more than these octets is closed.
    pub backlog_max: usize,
    /// A connection that takes nothing for that long though something is there for it is closed.
    pub stuck_after: Duration,
    /// T6-Serverannounce (RFC 5352 7.2); zero = never.
    pub announce_interval: Duration,
    /// Where the registrar listens, for the announces; none = SCTP at the source's address and port 3863.
    pub announce: Vec<Transport>,
    /// What it holds at most.
    pub limits: Limits,
    /// How often others may do things.
    pub rates: Rates,
}

/// What a registrar holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Limits {
    pub connections: usize,
    pub pools: usize,
    pub elements: usize,
    pub elements_per_connection: usize,
    pub subscriptions: usize,
    pub subscriptions_per_connection: usize,
    /// Octets of a pool handle.
    pub handle_octets: usize,
    /// Octets of an element's parameter.
    pub element_octets: usize,
    /// Octets of a message from anybody.
    pub message_octets: usize,
    /// Malformed messages of one connection, before it is closed.
    pub malformed_per_connection: u32,
}

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once after a rest.
    pub burst: u32,
}

/// How often others may do things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Resolutions of one connection.
    pub resolutions: Rate,
    /// Registrations and deregistrations of one connection.
    pub registrations: Rate,
    /// Unreachable reports of one connection (RFC 5355 2.13).
    pub reports: Rate,
    /// Errors sent to one connection.
    pub errors: Rate,
    /// Keep-alives caused by reports, of all connections together.
    pub report_keep_alives: Rate,
    /// Notices, of all kinds together.
    pub notices: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            pools: 10_000,
            elements: 200_000,
            elements_per_connection: 1_024,
            subscriptions: 100_000,
            subscriptions_per_connection: 256,
            handle_octets: 255,
            element_octets: 512,
            message_octets: 4_096,
            malformed_per_connection: 100,
        }
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            resolutions: Rate { per_second: 100_000, burst: 100_000 },
            registrations: Rate { per_second: 200, burst: 2_000 },
            reports: Rate { per_second: 10, burst: 50 },
            errors: Rate { per_second: 10, burst: 20 },
            report_keep_alives: Rate { per_second: 1_000, burst: 1_000 },
            notices: Rate { per_second: 50, burst: 200 },
        }
    }
}

impl Config {
    /// One with defaults.
    pub fn new(id: RegistrarId) -> Self {
        Self {
            id,
            require_secured: false,
            members: Members::default(),
            keep_alive_interval: Duration::from_secs(5),
            keep_alive_timeout: Duration::from_secs(2),
            max_bad_reports: 3,
            report_window: Duration::from_secs(60),
            report_spacing: Duration::from_secs(1),
            down_keep: Duration::from_secs(300),
            tombstone_keep: Duration::from_secs(60),
            restore_grace: Duration::from_secs(30),
            answer_default: 8,
            answer_max: 128,
            push_window: Duration::from_millis(20),
            load_window: Duration::from_secs(1),
            push_refresh: Duration::from_secs(30),
            backlog_low: 16 * 1024,
            backlog_max: 1024 * 1024,
            stuck_after: Duration::from_secs(10),
            announce_interval: Duration::from_secs(1),
            announce: Vec::new(),
            limits: Limits::default(),
            rates: Rates::default(),
        }
    }

    /// Can it be?
    ///
    /// # Errors
    /// Why not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.id == RegistrarId::UNDETERMINED {
            return Err(ConfigError::Id);
        }
        let durations = [
            ("keep-alive interval", self.keep_alive_interval),
            ("keep-alive timeout", self.keep_alive_timeout),
            ("stuck-after", self.stuck_after),
            ("down-keep", self.down_keep),
        ];
        if let Some((name, _)) = durations.into_iter().find(|(_, duration)| duration.is_zero()) {
            return Err(ConfigError::Zero(name));
        }
        if self.answer_default == 0 || self.answer_default > self.answer_max {
            return Err(ConfigError::Answer { default: self.answer_default, most: self.answer_max });
        }
        if self.backlog_max <= self.backlog_low {
            return Err(ConfigError::Backlog { low: self.backlog_low, most: self.backlog_max });
        }
        Ok(())
    }
}

/// What a configuration cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ConfigError {
    #[error("the registrar's identifier is 0, which means none (RFC 5353 2.1)")]
    Id,
    #[error("{0} is zero")]
    Zero(&'static str),
    #[error("an answer has {default} elements by default, but at most {most}")]
    Answer { default: u16, most: u16 },
    #[error("pushes wait from {low} octets on, but a connection is closed at {most}")]
    Backlog { low: usize, most: usize },
}
