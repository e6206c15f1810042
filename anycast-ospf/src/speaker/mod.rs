//! The speaker: all machines together.
//!
//! ```text
//!  receive ──┬─ hello ───► election, neighbour machine (machine)
//!            ├─ exchange ─► descriptions, requests
//!            └─ flood ────► database, acknowledgments, other interfaces
//!  services ──► originate: what the database should hold of ours ─► flood
//!  stop ──────► flush, wait, good-bye
//! ```
//!
//! Every call ends in `settle`: own LSAs are brought to what they should be, LSAs of `MaxAge` that nobody waits for leave, and what
//! is to be flooded goes out, as many LSAs to a packet as fit.

mod exchange;
mod flood;
mod hello;
mod machine;
mod originate;
mod receive;
mod retransmit;
mod send;
mod services;
mod stop;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::auth::{KeyRing, Sequence};
use crate::codec::LsaKey;
use crate::codec::body::Prefix;
use crate::config::{Config, ConfigError};
use crate::event::{Event, Input, Output};
use crate::interface::Interface;
use crate::lsdb::{Database, InterfaceId, Scope, Slot};
use crate::neighbor::Neighbor;
use crate::problem::Rejection;
use crate::{AreaId, RouterId, Time};
use originate::Own;
use services::Service;
use stop::Phase;

pub use services::PeerLoad;

/// Most neighbours of an interface: a Hello that names them fits into the least MTU of IPv6, 1280 octets.
pub const NEIGHBORS_MAX: usize = 255;

/// Time for which acknowledgments gather (RFC 2328 13.5: less than the retransmit interval, which is a second or more).
const ACK_DELAY: Duration = Duration::from_millis(200);

/// An OSPFv3 speaker of a stub host.
#[derive(Clone, Debug)]
pub struct Speaker {
    config: Config,
    interfaces: Vec<Interface>,
    database: Database,
    sequence: Sequence,
    services: BTreeMap<Prefix, Service>,
    own: BTreeMap<Slot, Own>,
    /// Something changed that own LSAs follow from.
    dirty: bool,
    /// Areas whose routers are to calculate anew, see [`originate`].
    recalculate: BTreeSet<AreaId>,
    /// An own LSA is due then.
    originate_at: Option<Time>,
    /// An LSA of `MaxAge` may leave then.
    sweep_at: Option<Time>,
    phase: Phase,
    unreadable: BTreeSet<RouterId>,
    output: Vec<Output>,
}

impl Speaker {
    /// A speaker whose interfaces are all down.
    ///
    /// # Errors
    /// The configuration cannot be.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            interfaces: config.interfaces.iter().cloned().map(Interface::new).collect(),
            database: Database::new(config.limits),
            sequence: Sequence::new(config.boot_count),
            services: BTreeMap::new(),
            own: BTreeMap::new(),
            dirty: false,
            recalculate: BTreeSet::new(),
            originate_at: None,
            sweep_at: None,
            phase: Phase::Running,
            unreadable: BTreeSet::new(),
            output: Vec::new(),
            config,
        })
    }

    /// Works off what happened, and timers that are due. Spurious calls are harmless.
    pub fn handle(&mut self, now: Time, input: Input<'_>) -> Vec<Output> {
        self.expire(now);
        match input {
            Input::Packet { interface, source, destination, payload } => {
                self.receive(now, interface, source, destination, payload);
            }
            Input::Up(interface, link) => self.link_up(now, interface, link),
            Input::Down(interface) => self.link_down(now, interface),
            Input::Announce(prefix, cost) => self.announce(prefix, cost),
            Input::Drain(prefix) => self.drain(prefix),
            Input::Withdraw(prefix) => self.withdraw(prefix),
            Input::Load(prefix, load) => self.load(prefix, load),
            Input::Stop => self.stop(now),
        }
        self.settle(now)
    }

    /// Works off timers that are due.
    pub fn handle_timeout(&mut self, now: Time) -> Vec<Output> {
        self.expire(now);
        self.settle(now)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing happens before; `None` = only something that happens
    /// makes a difference.
    pub fn next_timeout(&self) -> Option<Time> {
        if !self.is_speaking() {
            return None;
        }
        let interfaces = self.interfaces.iter().filter_map(Interface::earliest);
        let own = [self.originate_at, self.sweep_at, self.database.next_expiry(), self.phase.deadline()];
        interfaces.chain(own.into_iter().flatten()).min()
    }

    /// Replaces the keys of an interface: a roll-over without a restart. `None` = no authentication.
    pub fn set_keys(&mut self, interface: InterfaceId, keys: Option<KeyRing>) {
        if let Some(interface) = self.interfaces.get_mut(interface.0) {
            interface.config.auth = keys;
        }
    }

    /// This host's name.
    pub const fn router_id(&self) -> RouterId {
        self.config.router_id
    }

    pub(crate) fn interface_table(&self) -> &[Interface] {
        &self.interfaces
    }

    pub(crate) const fn database_table(&self) -> &Database {
        &self.database
    }

    /// Has neither stopped nor given up its router id.
    const fn is_speaking(&self) -> bool {
        !matches!(self.phase, Phase::Stopped | Phase::Halted)
    }

    fn tell(&mut self, event: Event) {
        self.output.push(Output::Event(event));
    }

    /// Counts what was not taken, and tells it once.
    fn reject(&mut self, interface: InterfaceId, source: std::net::Ipv6Addr, rejection: Rejection) {
        let Some(own) = self.interfaces.get_mut(interface.0) else { return };
        own.counters.count(rejection.reason());
        if !rejection.is_ordinary() && own.told.insert(rejection.reason()) {
            self.tell(Event::Rejected { interface, source, rejection });
        }
    }

    fn ids(&self) -> impl Iterator<Item = InterfaceId> + use<> {
        (0..self.interfaces.len()).map(InterfaceId)
    }

    fn neighbor(&self, interface: InterfaceId, router: RouterId) -> Option<&Neighbor> {
        self.interfaces.get(interface.0)?.neighbors.get(&router)
    }

    fn neighbor_mut(&mut self, interface: InterfaceId, router: RouterId) -> Option<&mut Neighbor> {
        self.interfaces.get_mut(interface.0)?.neighbors.get_mut(&router)
    }

    fn is_stub(&self, interface: &Interface) -> bool {
        self.config.stub_areas.contains(&interface.config.area)
    }

    /// Where an LSA belongs that came in on an interface; `None` if it belongs nowhere: its scope is reserved, or it is for the
    /// whole AS and this is a stub area (RFC 5340 4.5.1).
    fn slot(&self, interface: InterfaceId, key: LsaKey) -> Option<Slot> {
        let own = self.interfaces.get(interface.0)?;
        let scope = Scope::of(&key, interface, own.config.area)?;
        (scope != Scope::As || !self.is_stub(own)).then_some(Slot { scope, key })
    }

    /// Is an LSA of that scope flooded on the interface (RFC 5340 4.5.2)?
    fn is_eligible(&self, id: InterfaceId, interface: &Interface, scope: Scope) -> bool {
        match scope {
            Scope::Link(link) => link == id,
            Scope::Area(area) => area == interface.config.area,
            Scope::As => !self.is_stub(interface),
        }
    }

    /// Neighbours to which LSAs of that scope are flooded.
    fn neighbors_of(&self, scope: Scope) -> impl Iterator<Item = &Neighbor> {
        let interfaces = self.interfaces.iter().enumerate();
        let eligible =
            interfaces.filter(move |(at, interface)| self.is_eligible(InterfaceId(*at), interface, scope));
        eligible.flat_map(|(_, interface)| interface.neighbors.values())
    }

    /// Is the database of any neighbour not yet the same (RFC 2328 13 step 4, 14)?
    fn is_any_loading(&self) -> bool {
        self.interfaces.iter().flat_map(|interface| interface.neighbors.values()).any(Neighbor::is_loading)
    }

    fn expire(&mut self, now: Time) {
        if !self.is_speaking() {
            return;
        }
        self.expire_database(now);
        for interface in self.ids() {
            self.expire_interface(now, interface);
        }
    }

    fn settle(&mut self, now: Time) -> Vec<Output> {
        if self.is_speaking() {
            // Flushing may free a place that an LSA with a wrapped sequence number waits for, so twice is enough and harmless.
            self.advance_stop(now);
            self.originate(now);
            if self.sweep(now) {
                self.originate(now);
            }
            self.advance_stop(now);
            self.flush_floods(now);
        }
        std::mem::take(&mut self.output)
    }
}
