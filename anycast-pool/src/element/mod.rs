//! The pool element: it registers with every registrar, answers their keep-alives and says good-bye.
//!
//! [`Element`] is one service of one pool. What it should be registered as follows from what its owner says of it: able or not, standby,
//! its load, draining. What each registrar knows of it is kept per connection, and each event ends with the two being compared; so a
//! lost connection, a lost response and a registrar that was down for long all lead to the same place.
//!
//! ```text
//!   able, standby, load, drain, stop ──► wanted ─┐
//!                                                ├─ differ ──► Registration (T2, T4) or Deregistration (T3)
//!   responses, connections, timers ──► registered ┘
//! ```
//!
//! When the service is not able to work, the element deregisters at once rather than to leave keep-alives unanswered: users know
//! within the time of a push instead of a time-out.

mod machine;
mod problem;
mod snapshot;

use std::net::SocketAddr;
use std::time::Duration;

pub use machine::Element;
pub use problem::Problem;
pub use snapshot::{ElementSnapshot, RegistrationSnapshot, RegistrationState};

use crate::policy::{FULL_LOAD, Policy};
use crate::wire::{ElementId, PoolHandle, RegistrarId, Transport};
use crate::{ConnectionId, HuntConfig, Target};

/// What an element is, and its times.
#[derive(Clone, Debug, PartialEq)]
pub struct ElementConfig {
    /// Its pool.
    pub handle: PoolHandle,
    /// Its identifier: random, and the same after a restart, so that it replaces itself instead of joining as another.
    pub id: ElementId,
    /// Where users find the service.
    pub transport: Transport,
    /// How it wants to be chosen; the load is what [`Input::Load`] says.
    pub policy: Policy,
    /// How long a registration holds without being renewed; whole seconds on the wire.
    pub life: Duration,
    /// How many registrars are configured.
    pub registrars: usize,
    /// Connections to them. Each is registered with, so [`HuntConfig::parallel`] is how many at most.
    pub hunt: HuntConfig,
    /// T2-registration: time for a registration to be answered.
    pub registration: Duration,
    /// T3-deregistration: time for a deregistration to be answered.
    pub deregistration: Duration,
    /// T4-reregistration: a registration is renewed after that long. `None`: after 10 minutes or 20 s before its end, whichever is
    /// first; a life below 40 s is renewed at half of it.
    pub reregistration: Option<Duration>,
    /// A registrar that says nothing for that long is registered with again, which it must answer: a connection that is dead without
    /// either side knowing would otherwise last until T4.
    pub silence: Duration,
    /// MAX-REG-ATTEMPT: registrations without an answer beyond which the registrar is left for a while.
    pub attempts_max: u32,
    /// A rejected registration is tried again after that long, ±50 %; sooner at first if the reason may pass by itself. RFC 5352 3.1 forbids to try again without correcting the error; the
    /// error may lie in the pool's other elements, so it may be corrected without anybody telling this one.
    pub rejected: Duration,
    /// A load that differs by less is not worth a registration.
    pub load_change: u32,
    /// Least time between two registrations for the load.
    pub load_interval: Duration,
    /// [`Input::Stop`] waits that long for registrars to answer.
    pub stop: Duration,
    /// What pauses follow from.
    pub seed: u64,
}

impl ElementConfig {
    /// An element with the times of RFC 5352 7, a life of 5 minutes and as many connections as registrars.
    pub fn new(
        handle: PoolHandle,
        id: ElementId,
        transport: Transport,
        policy: Policy,
        registrars: usize,
        seed: u64,
    ) -> Self {
        Self {
            handle,
            id,
            transport,
            policy,
            life: Duration::from_secs(300),
            registrars,
            hunt: HuntConfig { parallel: registrars, ..HuntConfig::default() },
            registration: Duration::from_secs(30),
            deregistration: Duration::from_secs(30),
            reregistration: None,
            silence: Duration::from_secs(60),
            attempts_max: 2,
            rejected: Duration::from_secs(60),
            load_change: FULL_LOAD / 20,
            load_interval: Duration::from_secs(1),
            stop: Duration::from_secs(1),
            seed,
        }
    }

    /// T4-reregistration.
    pub fn renewal(&self) -> Duration {
        const MOST: Duration = Duration::from_secs(600);
        const MARGIN: Duration = Duration::from_secs(20);
        self.reregistration.unwrap_or_else(|| {
            if self.life < MARGIN * 2 { self.life / 2 } else { (self.life - MARGIN).min(MOST) }
        })
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
    /// The service works, or does not. At first it does not.
    Able(bool),
    /// It waits until others cannot serve, or no longer. Standby is registered all the same: it is up.
    Standby(bool),
    /// Its load; [`FULL_LOAD`] = 100 %.
    Load(u32),
    /// It takes no new requests, or does again.
    Drain(bool),
    /// Say good-bye to all and end.
    Stop,
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
    /// Tell somebody.
    Event(Event),
    /// All is said; no more will come.
    Stopped,
}

/// What is worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A registrar took the registration; told at the first of a connection.
    Registered(Target),
    /// A registrar took the deregistration.
    Deregistered(Target),
    /// A registrar took the element out, not being asked: its registration's life was over, or users reported it.
    Removed(Target),
    /// The connection is lost or cannot be made; told once until it is back.
    Lost(Target),
    /// A registrar asked to be the home (RFC 5352 3.4).
    Home(RegistrarId),
    /// Something is wrong; told once for each registrar until it is over or another.
    Problem(Target, Problem),
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registered(target) => write!(f, "registered with {target}"),
            Self::Deregistered(target) => write!(f, "deregistered from {target}"),
            Self::Removed(target) => {
                write!(f, "{target} took this element out of its pool; registering again")
            }
            Self::Lost(target) => write!(f, "no connection to {target}; trying again"),
            Self::Home(registrar) => write!(f, "registrar {registrar} is the home now"),
            Self::Problem(target, problem) => write!(f, "{target}: {problem}: {}", problem.advice()),
        }
    }
}

#[cfg(test)]
mod tests;
