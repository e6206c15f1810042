//! The neighbour machine's effects: everything that a change of state brings (RFC 2328 10.3), in one place.

use std::time::Duration;

use super::Speaker;
use crate::event::Event;
use crate::lsdb::{InterfaceId, Scope, Slot};
use crate::neighbor::{NeighborEvent, NeighborState, next};
use crate::{RouterId, Time};

impl Speaker {
    pub(super) fn neighbor_event(
        &mut self,
        now: Time,
        interface: InterfaceId,
        router: RouterId,
        cause: NeighborEvent,
    ) {
        let Some(own) = self.interfaces.get_mut(interface.0) else { return };
        let adjacent = own.wants(router);
        let Some(neighbor) = own.neighbors.get_mut(&router) else { return };
        let from = neighbor.state;
        let Some(to) = next(from, cause, adjacent, neighbor.requests.is_empty()) else { return };
        neighbor.state = to;
        neighbor.since = now;
        if to < NeighborState::Exchange {
            neighbor.clear();
        }
        // An adjacency that begins anew is as stuck as one that does not move; only Full, or none wanted, ends the wait.
        if matches!(to, NeighborState::ExStart | NeighborState::Exchange | NeighborState::Loading) {
            let patience = own.config.retransmit_interval * 4;
            let patience = patience.max(Duration::from_secs(own.config.dead_interval.into()));
            neighbor.stuck_at = neighbor.stuck_at.or((!neighbor.stuck_told).then_some(now + patience));
        } else {
            (neighbor.stuck_at, neighbor.stuck_told) = (None, false);
        }
        self.tell(Event::Neighbor { interface, router, from, to, cause });
        match to {
            NeighborState::Down => {
                if let Some(own) = self.interfaces.get_mut(interface.0) {
                    own.neighbors.remove(&router);
                }
            }
            NeighborState::ExStart => self.begin_exchange(now, interface, router),
            NeighborState::Exchange => self.summarize(now, interface, router),
            NeighborState::Full | NeighborState::Init | NeighborState::TwoWay | NeighborState::Loading => {}
        }
        self.dirty |= from == NeighborState::Full || to == NeighborState::Full;
        // RFC 2328 9.2: communication began or ended to go both ways.
        if (from >= NeighborState::TwoWay) != (to >= NeighborState::TwoWay) {
            self.neighbor_change(now, interface);
        }
    }

    /// Lists what is to be described: all that is flooded on the link. What is on its way out is sent instead.
    fn summarize(&mut self, now: Time, interface: InterfaceId, router: RouterId) {
        let Some(own) = self.interfaces.get(interface.0) else { return };
        let as_wide = (!self.is_stub(own)).then_some(Scope::As);
        let scopes = [Some(Scope::Link(interface)), Some(Scope::Area(own.config.area)), as_wide];
        let (mut summary, mut leaving) = (Vec::<Slot>::new(), Vec::new());
        for (slot, entry) in scopes.into_iter().flatten().flat_map(|scope| self.database.of_scope(scope)) {
            let header = entry.header(now);
            if header.is_max_age() {
                leaving.push((*slot, header));
            } else {
                summary.push(*slot);
            }
        }
        let retransmit_at = now + own.config.retransmit_interval;
        let Some(neighbor) = self.neighbor_mut(interface, router) else { return };
        neighbor.summary = summary.into();
        if !leaving.is_empty() {
            neighbor.retransmit.extend(leaving);
            neighbor.retransmit_at = Some(retransmit_at);
        }
    }
}
