//! The pool user: it learns from every registrar which elements are up, and says which to use.
//!
//! ```text
//!   registrars ── resolution responses, pushes ──► vector ──┐
//!   own successes and failures ───────────────────► vector ──┼──► pick: best group of the vector, then the pool's policy
//!   elements and their policies ────────────────► selector ──┘
//!   own failures ──► ENDPOINT_UNREACHABLE to every registrar
//! ```
//!
//! A user subscribes to each registrar it is connected to and merges what they say, so losing one loses nothing. From a registrar that
//! knows the RFCs alone it asks again when its answer is stale. That a subscription is alive is tested by asking again now and then.

mod change;
mod machine;
mod pick;
mod pool;
mod snapshot;

use std::net::SocketAddr;
use std::time::Duration;

pub use change::{Change, What};
pub use machine::User;
pub use pick::Pick;
pub use snapshot::{PoolElementSnapshot, PoolSnapshot};

use crate::vector::VectorConfig;
use crate::wire::{CauseCode, ElementId, PoolHandle, Transport};
use crate::{ConnectionId, HuntConfig, Target};

/// Times and limits of a user.
#[derive(Clone, Debug, PartialEq)]
pub struct UserConfig {
    /// How many registrars are configured.
    pub registrars: usize,
    /// Connections to them. RFC 5352 3.6 allows three at a time.
    pub hunt: HuntConfig,
    /// T1-ENRPrequest: time for a resolution to be answered.
    pub request: Duration,
    /// MAX-REQUEST-RETRANSMIT: how often it is sent again before the registrar is left for a while.
    pub retransmit_max: u32,
    /// `stale_cache_value`: an answer without subscription holds that long.
    pub stale: Duration,
    /// With a subscription, the registrar is asked again after that long, ±50 %: it is thereby known to live, and ages are renewed.
    pub refresh: Duration,
    /// A registrar that does not know the pool is asked again after that long, ±50 %.
    pub unknown: Duration,
    /// Least time between two reports of one element.
    pub report_interval: Duration,
    /// Reports per second over all elements, in the mean; twice as many at once.
    pub reports_per_second: u32,
    /// What is known of elements.
    pub vector: VectorConfig,
    /// What pauses and draws follow from.
    pub seed: u64,
}

impl UserConfig {
    /// A user with the times of RFC 5352 7.
    pub fn new(registrars: usize, seed: u64) -> Self {
        Self {
            registrars,
            hunt: HuntConfig::default(),
            request: Duration::from_secs(15),
            retransmit_max: 2,
            stale: Duration::from_secs(30),
            refresh: Duration::from_secs(10),
            unknown: Duration::from_secs(2),
            report_interval: Duration::from_secs(1),
            reports_per_second: 10,
            vector: VectorConfig::default(),
            seed,
        }
    }
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A connection that was asked for is open.
    Connected(ConnectionId),
    /// It sent a message: one, whole.
    Message(ConnectionId, &'a [u8]),
    /// It is lost, or did not come about.
    Closed(ConnectionId),
    /// A registrar announced itself from that address (RFC 5352 2.2.10).
    Announced(SocketAddr, &'a [Transport]),
    /// Follow a pool.
    Open(&'a PoolHandle),
    /// Follow it no longer.
    Forget(&'a PoolHandle),
    /// An element served a request, after that long.
    Succeeded(&'a PoolHandle, ElementId, Duration),
    /// An element did not.
    Failed(&'a PoolHandle, ElementId),
    /// A time is over.
    Tick,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a connection; say [`Input::Connected`] or [`Input::Closed`].
    Connect(ConnectionId, Target),
    /// Send a message. If that is not possible, close and say [`Input::Closed`].
    Send(ConnectionId, Vec<u8>),
    /// Close a connection or give it up; [`Input::Closed`] is not awaited.
    Close(ConnectionId),
    /// Something is known of a pool that was not before.
    Change(Change),
    /// Tell somebody.
    Event(Event),
}

/// What is worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A registrar answered; told at the first answer of a connection.
    Heard(Target),
    /// The connection is lost or cannot be made; told once until it is back.
    Lost(Target),
    /// A registrar does not answer, this often in a row; the connection is closed.
    Silent(Target, u32),
    /// A registrar does not answer for a pool; told once until it does.
    Refused(Target, PoolHandle, Vec<CauseCode>),
    /// What a registrar sent cannot be read; told once for each connection.
    Malformed(Target, String),
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Heard(target) => write!(f, "{target} answers"),
            Self::Lost(target) => write!(f, "no connection to {target}; trying again"),
            Self::Silent(target, times) => write!(
                f,
                "{target} did not answer {times} times: see whether it hangs or is overloaded; connecting again"
            ),
            Self::Refused(target, handle, causes) => {
                let causes: Vec<String> = causes.iter().map(ToString::to_string).collect();
                write!(f, "{target} does not resolve {handle}: {}", causes.join(", "))
            }
            Self::Malformed(target, error) => write!(
                f,
                "not understood from {target}: {error}: see whether that port belongs to a registrar, and its version"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
