//! Interfaces up and down, Hellos out and in (RFC 2328 9.5 and 10.5, RFC 5340 4.2.1.1), and the election.

use std::net::Ipv6Addr;
use std::time::Duration;

use super::{NEIGHBORS_MAX, Speaker};
use crate::codec::{Body, Hello, Options};
use crate::config::LinkType;
use crate::event::{ALL_SPF_ROUTERS, Event, Link};
use crate::lsdb::{InterfaceId, Scope};
use crate::neighbor::{Neighbor, NeighborEvent, NeighborState};
use crate::problem::Rejection;
use crate::{RouterId, Time};

/// Two Hellos out of turn are never closer than this: a flood of new neighbours makes no flood of answers.
const HELLO_SPACING: Duration = Duration::from_millis(100);

impl Speaker {
    pub(super) fn link_up(&mut self, now: Time, interface: InterfaceId, link: Link) {
        if !self.is_speaking() {
            return;
        }
        let Some(own) = self.interfaces.get(interface.0) else { return };
        let before = own.link;
        if before == Some(link) {
            return;
        }
        // Another index is another interface: the neighbours know this one by it.
        if before.is_some_and(|before| before.ifindex != link.ifindex) {
            self.link_down(now, interface);
        }
        let Some(own) = self.interfaces.get_mut(interface.0) else { return };
        let was_up = own.link.replace(link).is_some();
        self.dirty = true;
        if was_up {
            return;
        }
        own.hello_at = Some(now);
        own.told.clear();
        own.alarm_at = Some(now + Duration::from_secs(own.config.dead_interval.into()));
        let state = own.state();
        self.tell(Event::Interface { interface, state });
        self.send_hello_if_due(now, interface);
    }

    pub(super) fn link_down(&mut self, now: Time, interface: InterfaceId) {
        let Some(own) = self.interfaces.get(interface.0) else { return };
        if own.link.is_none() {
            return;
        }
        let routers = own.neighbors.keys().copied().collect::<Vec<_>>();
        for router in routers {
            self.neighbor_event(now, interface, router, NeighborEvent::Kill);
        }
        let Some(own) = self.interfaces.get_mut(interface.0) else { return };
        own.link = None;
        (own.hello_at, own.hastened, own.alarm_at, own.acks_at) = (None, None, None, None);
        own.acks.clear();
        own.flood.clear();
        (own.designated_router, own.backup_designated_router) = (RouterId::NONE, RouterId::NONE);
        let state = own.state();
        self.database.remove_scope(Scope::Link(interface));
        self.own.retain(|slot, _| slot.scope != Scope::Link(interface));
        self.dirty = true;
        self.tell(Event::Interface { interface, state });
    }

    pub(super) fn expire_interface(&mut self, now: Time, interface: InterfaceId) {
        self.expire_neighbors(now, interface);
        let Some(own) = self.interfaces.get_mut(interface.0) else { return };
        if own.acks_at.is_some_and(|at| at <= now) {
            self.send_acks(interface);
        }
        self.send_hello_if_due(now, interface);
        let Some(own) = self.interfaces.get_mut(interface.0) else { return };
        if own.alarm_at.is_some_and(|at| at <= now) {
            own.alarm_at = None;
            let neighbors = own.neighbors.len();
            if own.config.link_type == LinkType::Broadcast && own.designated_router == RouterId::NONE {
                self.tell(Event::NoDesignatedRouter { interface, neighbors });
            }
        }
    }

    pub(super) fn send_hello_if_due(&mut self, now: Time, interface: InterfaceId) {
        let Some(own) = self.interfaces.get_mut(interface.0) else { return };
        if own.hello_at.is_some_and(|at| at <= now) {
            own.hello_at = Some(now + Duration::from_secs(own.config.hello_interval.into()));
            let neighbors = own.neighbors.keys().copied().collect();
            self.send_hello(interface, neighbors);
        }
    }

    pub(super) fn send_hello(&mut self, interface: InterfaceId, neighbors: Vec<RouterId>) {
        let Some(own) = self.interfaces.get(interface.0) else { return };
        let Some(link) = own.link else { return };
        let hello = Hello {
            interface_id: link.ifindex,
            priority: 0,
            options: self.packet_options(own),
            hello_interval: own.config.hello_interval,
            dead_interval: own.config.dead_interval,
            designated_router: own.designated_router,
            backup_designated_router: own.backup_designated_router,
            neighbors,
        };
        self.transmit(interface, ALL_SPF_ROUTERS, Body::Hello(hello));
    }

    /// A Hello soon: a new neighbour that is answered at once is adjacent up to a hello interval sooner.
    fn hasten_hello(&mut self, now: Time, interface: InterfaceId) {
        let Some(own) = self.interfaces.get_mut(interface.0) else { return };
        let soonest = own.hastened.map_or(now, |before| (before + HELLO_SPACING).max(now));
        own.hello_at = own.hello_at.map(|at| at.min(soonest));
        own.hastened = Some(soonest);
        self.send_hello_if_due(now, interface);
    }

    pub(super) fn hello(
        &mut self,
        now: Time,
        interface: InterfaceId,
        router: RouterId,
        source: Ipv6Addr,
        hello: &Hello,
    ) -> Result<(), Rejection> {
        let own_id = self.config.router_id;
        let Some(own) = self.interfaces.get(interface.0) else { return Ok(()) };
        let config = &own.config;
        let stub = self.is_stub(own);
        if hello.hello_interval != config.hello_interval {
            return Err(Rejection::HelloInterval { got: hello.hello_interval, want: config.hello_interval });
        }
        if hello.dead_interval != config.dead_interval {
            return Err(Rejection::DeadInterval { got: hello.dead_interval, want: config.dead_interval });
        }
        if hello.options.contains(Options::N) {
            return Err(Rejection::Nssa);
        }
        if hello.options.contains(Options::E) == stub {
            return Err(Rejection::AreaType { stub: !stub });
        }
        let known = own.neighbors.contains_key(&router);
        if !known && own.neighbors.len() >= NEIGHBORS_MAX {
            return Err(Rejection::TooManyNeighbors(NEIGHBORS_MAX));
        }
        let dead = Duration::from_secs(config.dead_interval.into());
        // Unique for each conversation, over restarts too: the clock's (RFC 2328 10.3).
        let dd_sequence = (now.as_nanos() >> 10) as u32 ^ self.config.boot_count.rotate_right(8);
        let Some(own) = self.interfaces.get_mut(interface.0) else { return Ok(()) };
        let neighbor = own.neighbors.entry(router).or_insert_with(|| Neighbor::new(now, source, dd_sequence));
        neighbor.address = source;
        neighbor.inactivity = now + dead;
        let moved = neighbor.interface_id != hello.interface_id;
        neighbor.interface_id = hello.interface_id;
        let declares = |neighbor: &Neighbor| {
            let (designated, backup) = (neighbor.designated_router, neighbor.backup_designated_router);
            (neighbor.priority, designated == router, backup == router)
        };
        let before = declares(neighbor);
        neighbor.priority = hello.priority;
        neighbor.designated_router = hello.designated_router;
        neighbor.backup_designated_router = hello.backup_designated_router;
        let changed = declares(neighbor) != before;
        self.dirty |= moved;

        self.neighbor_event(now, interface, router, NeighborEvent::HelloReceived);
        let both_ways = hello.neighbors.contains(&own_id);
        let event = if both_ways { NeighborEvent::TwoWayReceived } else { NeighborEvent::OneWayReceived };
        self.neighbor_event(now, interface, router, event);
        if changed {
            self.neighbor_change(now, interface);
        }
        if !known || !both_ways {
            self.hasten_hello(now, interface);
        }
        Ok(())
    }

    /// Elects anew, and asks again which adjacencies are wanted (RFC 2328 9.2 NeighborChange, 9.4).
    pub(super) fn neighbor_change(&mut self, now: Time, interface: InterfaceId) {
        let Some(own) = self.interfaces.get_mut(interface.0) else { return };
        if own.config.link_type != LinkType::Broadcast || own.link.is_none() {
            return;
        }
        let (designated, backup) = own.elect();
        if (designated, backup) == (own.designated_router, own.backup_designated_router) {
            return;
        }
        (own.designated_router, own.backup_designated_router) = (designated, backup);
        let dead = Duration::from_secs(own.config.dead_interval.into());
        own.alarm_at = if designated == RouterId::NONE { own.alarm_at.or(Some(now + dead)) } else { None };
        let both_ways = own.neighbors.iter().filter(|(_, neighbor)| neighbor.state >= NeighborState::TwoWay);
        let routers = both_ways.map(|(router, _)| *router).collect::<Vec<_>>();
        self.dirty = true;
        self.tell(Event::DesignatedRouter { interface, designated, backup });
        for router in routers {
            self.neighbor_event(now, interface, router, NeighborEvent::AdjacencyCheck);
        }
    }
}
