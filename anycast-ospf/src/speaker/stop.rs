//! The end: flush, wait for acknowledgments, and a Hello that names nobody, which drops the adjacencies at once.
//!
//! In steps, so that a router never sees a service whose host is gone from its map: services, then Router- and Link-LSAs, then
//! the Hello. All within a second, or the last step without waiting.

use std::time::Duration;

use super::Speaker;
use crate::event::{Event, Output};
use crate::lsdb::Slot;
use crate::{RouterId, Time};

/// Acknowledgments are waited for this long.
const PATIENCE: Duration = Duration::from_secs(1);
/// Those of the host's own LSAs no longer than this: what a router drops because its last instance is younger than a second
/// (`MinLSArrival`) is out of its map by the Hello all the same.
const PATIENCE_HOST: Duration = Duration::from_millis(100);

/// How far the speaker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// Services are flushed.
    Services(Time),
    /// Everything else is.
    Host(Time),
    /// All is said.
    Stopped,
    /// Another router has our router id.
    Halted,
}

impl Phase {
    pub(super) const fn advertises(self) -> bool {
        matches!(self, Self::Running)
    }

    pub(super) const fn is_host(self) -> bool {
        matches!(self, Self::Running | Self::Services(_))
    }

    pub(super) const fn listens(self) -> bool {
        !matches!(self, Self::Stopped | Self::Halted)
    }

    pub(super) const fn deadline(self) -> Option<Time> {
        match self {
            Self::Services(at) | Self::Host(at) => Some(at),
            _ => None,
        }
    }
}

impl Speaker {
    pub(super) fn stop(&mut self, now: Time) {
        match self.phase {
            Phase::Running => {
                self.phase = Phase::Services(now + PATIENCE);
                self.dirty = true;
            }
            Phase::Halted => {
                self.phase = Phase::Stopped;
                self.output.push(Output::Stopped);
            }
            Phase::Services(_) | Phase::Host(_) | Phase::Stopped => {}
        }
    }

    pub(super) fn advance_stop(&mut self, now: Time) {
        let Some(deadline) = self.phase.deadline() else { return };
        self.originate(now);
        if let Phase::Services(_) = self.phase
            && (deadline <= now || !self.holds_own(now, |slot| self.is_of_service(slot)))
        {
            self.phase = Phase::Host(deadline.min(now + PATIENCE_HOST));
            // They do not wait for MinLSArrival.
            let slots = self.own.keys().copied().collect::<Vec<_>>();
            for slot in slots {
                self.flush_own(now, slot);
            }
        }
        let Phase::Host(_) = self.phase else { return };
        if deadline <= now || !self.holds_own(now, |_| true) {
            self.flush_floods(now);
            for interface in self.ids() {
                self.send_hello(interface, Vec::new());
                self.drop_neighbors(interface);
            }
            self.phase = Phase::Stopped;
            self.output.push(Output::Stopped);
        }
    }

    /// Is there an own LSA that is not flushed yet, or whose flush a neighbour has not acknowledged?
    fn holds_own(&self, now: Time, which: impl Fn(&Slot) -> bool) -> bool {
        self.own.keys().filter(|slot| which(slot)).any(|slot| match self.database.entry(slot) {
            None => false,
            Some(entry) if entry.header(now).is_max_age() => self.is_awaited(slot),
            // Where nobody is adjacent nobody acknowledges.
            Some(_) => self.neighbors_of(slot.scope).any(crate::neighbor::Neighbor::floods),
        })
    }

    fn is_of_service(&self, slot: &Slot) -> bool {
        use crate::codec::LsType;
        !matches!(slot.key.ls_type, LsType::ROUTER | LsType::LINK)
    }

    /// Gives up the router id to whoever else has it.
    pub(super) fn halt(&mut self, _now: Time, slot: Slot) {
        self.tell(Event::DuplicateRouterId { slot });
        for interface in self.ids() {
            self.send_hello(interface, Vec::new());
            self.drop_neighbors(interface);
        }
        self.phase = Phase::Halted;
    }

    fn drop_neighbors(&mut self, interface: crate::InterfaceId) {
        if let Some(own) = self.interfaces.get_mut(interface.0) {
            own.neighbors.clear();
            own.flood.clear();
            (own.hello_at, own.acks_at, own.alarm_at) = (None, None, None);
            (own.designated_router, own.backup_designated_router) = (RouterId::NONE, RouterId::NONE);
        }
    }
}
