//! The registrar: it knows the elements and tells the users (RFC 5352 3, the ENRP server's side of ASAP).
//!
//! ```text
//!   Connected, Received, Written, Closed, Tick ──► Registrar::handle(now, event) ──► actions, in order, by next_action
//!                                                       │
//!      receive ─► register ─┐                           │        Send, Close, Journal, Announce, Notice
//!              ─► keep_alive ├─► handlespace ─► push ───┘
//!              ─► resolve ───┘        ▲
//!                        upkeep: what time does to elements
//! ```
//!
//! An element is up from its registration on, and by each keep-alive that it answers; it is down as soon as its connection is
//! lost, a keep-alive is not answered, or users' reports are confirmed. Down is not gone: it stays registered for
//! [`down_keep`](Config::down_keep), not in the lists that users of the RFCs get, but in the status vector.
//!
//! Every event also runs the timers that are due, and a tick too many does nothing.

mod bucket;
mod config;
mod connection;
mod counters;
mod event;
mod keep_alive;
mod link;
mod members;
mod push;
mod receive;
mod register;
mod resolve;
mod restore;
mod snapshot;
mod timers;
mod upkeep;

pub use config::{Config, ConfigError, Limits, Rate, Rates};
pub use counters::{Counters, DropReason};
pub use event::{Action, CloseReason, ConnectionId, ConnectionKind, Event, Notice};
pub use members::{Member, Members, NoMember};
pub use snapshot::{ConnectionSnapshot, ElementSnapshot, PoolSnapshot, Snapshot};

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use crate::handlespace::{Handlespace, NEVER, PoolIndex, Slot, Status};
use crate::wire::Message;
use crate::{Random, Time};
use bucket::Bucket;
use connection::{Connections, Identities};
use timers::{Target, Timers};

/// A registrar.
#[derive(Debug)]
pub struct Registrar {
    config: Config,
    /// Which life of it; another one after each start.
    epoch: u32,
    started: Time,
    random: Random,
    space: Handlespace,
    connections: Connections,
    identities: Identities,
    timers: Timers,
    actions: VecDeque<Action>,
    /// Pools that changed by the event at hand.
    changed: Vec<PoolIndex>,
    /// Who reported an element that answers keep-alives, since when.
    reports: HashMap<Slot, Reports>,
    report_keep_alives: Bucket,
    notices: Bucket,
    subscriptions: usize,
    announce: Option<Arc<[u8]>>,
    next_announce: Time,
    counters: Counters,
    stopped: bool,
}

/// Hosts that reported an element within a window.
#[derive(Debug)]
struct Reports {
    since: Time,
    hosts: Vec<IpAddr>,
}

impl Registrar {
    /// A registrar without elements. The seed decides about the epoch and all that is drawn: take another one at each start, from
    /// a good source.
    ///
    /// # Errors
    /// The configuration cannot be.
    pub fn new(config: Config, seed: u64, now: Time) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut random = Random::new(seed);
        let announces = !config.announce_interval.is_zero();
        let message = Message::ServerAnnounce { registrar: config.id, transports: config.announce.clone() };
        let announce = announces.then(|| message.to_octets().ok()).flatten().map(Arc::from);
        Ok(Self {
            epoch: random.next() as u32,
            started: now,
            space: Handlespace::new(random.next()),
            random,
            connections: Connections::default(),
            identities: Identities::default(),
            timers: Timers::default(),
            actions: VecDeque::new(),
            changed: Vec::new(),
            reports: HashMap::new(),
            report_keep_alives: Bucket::default(),
            notices: Bucket::default(),
            subscriptions: 0,
            next_announce: if announce.is_some() { now } else { NEVER },
            announce,
            counters: Counters::default(),
            stopped: false,
            config,
        })
    }

    /// Takes an event in. What is to be done is in [`next_action`](Self::next_action) afterwards.
    pub fn handle(&mut self, now: Time, event: Event<'_>) {
        if self.stopped {
            return;
        }
        self.run_timers(now);
        match event {
            Event::Connected { connection, peer, kind, identity } => {
                self.connected(now, connection, peer, kind, identity);
            }
            Event::Received { connection, octets } => self.received(now, connection, octets),
            Event::Message { connection, octets } => self.message(now, connection, octets),
            Event::Written { connection, octets } => self.written(now, connection, octets),
            Event::Closed { connection } => self.closed(now, connection),
            Event::Tick => {}
            Event::Shutdown => self.shut_down(now),
        }
        self.push_changed(now);
    }

    /// What is to be done next.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`handle`](Self::handle) with [`Event::Tick`], if nothing else happens.
    pub fn next_deadline(&self) -> Option<Time> {
        if self.stopped {
            return None;
        }
        let announce = (self.next_announce != NEVER).then_some(self.next_announce);
        [self.timers.next(), announce].into_iter().flatten().min()
    }

    /// What happened so far, counted.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The pools and elements.
    pub const fn handlespace(&self) -> &Handlespace {
        &self.space
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Which life of the registrar it is.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    fn run_timers(&mut self, now: Time) {
        while let Some((set, target)) = self.timers.pop(now) {
            match target {
                Target::Element(slot) => self.element_timer(now, set, slot),
                Target::Pool(pool) => self.pool_timer(now, set, pool),
                Target::Connection(place) => self.connection_timer(now, set, place),
            }
        }
        if self.next_announce <= now
            && let Some(octets) = &self.announce
        {
            self.actions.push_back(Action::Announce(octets.clone()));
            self.counters.count_sent(crate::wire::MessageType::ServerAnnounce);
            self.next_announce = now + self.config.announce_interval;
        }
    }

    const fn status(&self, now: Time) -> Status {
        Status { registrar: self.config.id, epoch: self.epoch, now }
    }

    fn notice(&mut self, now: Time, notice: Notice) {
        if self.notices.take(self.config.rates.notices, now) {
            self.actions.push_back(Action::Notice(notice));
        } else {
            self.counters.count_dropped(DropReason::NoticeRate);
        }
    }
}
