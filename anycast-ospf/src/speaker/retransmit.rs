//! The timers of neighbours: silence, and what is sent again (RFC 2328 10.8, 10.9, 13.6).

use super::Speaker;
use crate::codec::UPDATE_OVERHEAD;
use crate::event::Event;
use crate::lsdb::InterfaceId;
use crate::neighbor::NeighborEvent;
use crate::{RouterId, Time};

impl Speaker {
    pub(super) fn expire_neighbors(&mut self, now: Time, interface: InterfaceId) {
        let Some(own) = self.interfaces.get(interface.0) else { return };
        let due = own.neighbors.iter().filter(|(_, neighbor)| neighbor.earliest() <= now);
        for router in due.map(|(router, _)| *router).collect::<Vec<_>>() {
            self.expire_neighbor(now, interface, router);
        }
    }

    fn expire_neighbor(&mut self, now: Time, interface: InterfaceId, router: RouterId) {
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        let Some(neighbor) = self.neighbor_mut(interface, router) else { return };
        if neighbor.inactivity <= now {
            self.neighbor_event(now, interface, router, NeighborEvent::InactivityTimer);
            return;
        }
        if due(neighbor.stuck_at) {
            (neighbor.stuck_at, neighbor.stuck_told) = (None, true);
            let state = neighbor.state;
            self.tell(Event::Stuck { interface, router, state });
        }
        if self.neighbor(interface, router).is_some_and(|neighbor| due(neighbor.description_at)) {
            self.repeat_description(now, interface, router);
        }
        if self.neighbor(interface, router).is_some_and(|neighbor| due(neighbor.request_at)) {
            self.repeat_requests(now, interface, router);
        }
        if self.neighbor(interface, router).is_some_and(|neighbor| due(neighbor.retransmit_at)) {
            self.retransmit(now, interface, router);
        }
    }

    /// One Update full of what the neighbour has not acknowledged; more at the next time.
    fn retransmit(&mut self, now: Time, interface: InterfaceId, router: RouterId) {
        let room = self.room(interface);
        let Some(own) = self.interfaces.get(interface.0) else { return };
        let again = now + own.config.retransmit_interval;
        let Some(neighbor) = own.neighbors.get(&router) else { return };
        let mut length = UPDATE_OVERHEAD;
        let mut slots = Vec::new();
        for slot in neighbor.retransmit.keys() {
            let Some(entry) = self.database.entry(slot) else { continue };
            length += entry.lsa().len();
            if length > room && !slots.is_empty() {
                break;
            }
            slots.push(*slot);
        }
        let Some(destination) = self.unicast(interface, router) else { return };
        let lsas = self.outgoing(now, slots.iter());
        if let Some(own) = self.interfaces.get_mut(interface.0) {
            own.counters.retransmitted += lsas.len() as u64;
        }
        if let Some(neighbor) = self.neighbor_mut(interface, router) {
            neighbor.retransmit_at = (!neighbor.retransmit.is_empty()).then_some(again);
        }
        self.transmit_update(interface, destination, lsas);
    }
}
