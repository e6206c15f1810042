//! Database exchange (RFC 2328 10.6 to 10.9): descriptions as master and as slave, requests, and the answers to them.

use std::net::Ipv6Addr;

use super::Speaker;
use crate::codec::{Body, DatabaseDescription, LSA_HEADER_LEN, LsaHeader, LsaKey, REQUEST_LEN};
use crate::lsdb::InterfaceId;
use crate::neighbor::{NeighborEvent, NeighborState, Received};
use crate::problem::Rejection;
use crate::{RouterId, Time};

/// Octets of a Database Description before its headers.
const DESCRIPTION_OVERHEAD: usize = 12;

impl Speaker {
    /// ExStart: we claim to lead, until it is clear (RFC 2328 10.8).
    pub(super) fn begin_exchange(&mut self, now: Time, interface: InterfaceId, router: RouterId) {
        if let Some(neighbor) = self.neighbor_mut(interface, router) {
            neighbor.dd_sequence = neighbor.dd_sequence.wrapping_add(1);
            neighbor.master = true;
        }
        self.send_description(now, interface, router);
    }

    /// Sends the next description, and in ExStart the first one. The master sends it again until it is answered.
    pub(super) fn send_description(&mut self, now: Time, interface: InterfaceId, router: RouterId) {
        let Some(own) = self.interfaces.get(interface.0) else { return };
        let Some(link) = own.link else { return };
        let Some(neighbor) = own.neighbors.get(&router) else { return };
        let options = self.packet_options(own);
        let again = now + own.config.retransmit_interval;
        let (master, sequence) = (neighbor.master, neighbor.dd_sequence);
        let init = neighbor.state == NeighborState::ExStart;
        let most = (self.room(interface).saturating_sub(DESCRIPTION_OVERHEAD) / LSA_HEADER_LEN).max(1);
        let mut headers = Vec::new();
        let mut taken = 0;
        if !init {
            for slot in &neighbor.summary {
                if headers.len() == most {
                    break;
                }
                taken += 1;
                // What left the database meanwhile was flooded out to this neighbour too.
                headers.extend(self.database.entry(slot).map(|entry| entry.header(now)));
            }
        }
        let Some(neighbor) = self.neighbor_mut(interface, router) else { return };
        neighbor.summary.drain(..taken);
        let more = init || !neighbor.summary.is_empty();
        neighbor.described = !more;
        let description =
            DatabaseDescription { options, mtu: link.mtu, init, more, master, sequence, headers };
        neighbor.last_sent = Some(description.clone());
        neighbor.description_at = master.then_some(again);
        self.transmit_to(interface, router, Body::DatabaseDescription(description));
    }

    /// Sends the last description again, with the MTU of now: it may have been what was wrong.
    pub(super) fn repeat_description(&mut self, now: Time, interface: InterfaceId, router: RouterId) {
        let Some(own) = self.interfaces.get_mut(interface.0) else { return };
        let again = now + own.config.retransmit_interval;
        let mtu = own.link.map_or(0, |link| link.mtu);
        let Some(neighbor) = own.neighbors.get_mut(&router) else { return };
        neighbor.description_at = neighbor.master.then_some(again);
        let Some(description) = neighbor.last_sent.as_mut() else { return };
        description.mtu = mtu;
        let body = Body::DatabaseDescription(description.clone());
        self.transmit_to(interface, router, body);
    }

    fn transmit_to(&mut self, interface: InterfaceId, router: RouterId, body: Body) {
        if let Some(destination) = self.unicast(interface, router) {
            self.transmit(interface, destination, body);
        }
    }

    pub(super) fn description(
        &mut self,
        now: Time,
        interface: InterfaceId,
        router: RouterId,
        source: Ipv6Addr,
        description: &DatabaseDescription,
    ) -> Result<(), Rejection> {
        let Some(own) = self.interfaces.get(interface.0) else { return Ok(()) };
        let mtu = own.link.map_or(0, |link| link.mtu);
        if !own.config.mtu_ignore && description.mtu != mtu {
            let rejection = Rejection::Mtu { got: description.mtu, want: mtu };
            if description.mtu > mtu {
                return Err(rejection);
            }
            // The RFC takes a smaller one, but FRR and BIRD will not take ours: tell why it gets stuck.
            self.reject(interface, source, rejection);
        }
        if self.neighbor(interface, router).is_some_and(|neighbor| neighbor.state == NeighborState::Init) {
            self.neighbor_event(now, interface, router, NeighborEvent::TwoWayReceived);
        }
        let own_id = self.config.router_id;
        let Some(neighbor) = self.neighbor_mut(interface, router) else { return Ok(()) };
        let received = Received::of(description);
        let duplicate = neighbor.last_received == Some(received);
        match neighbor.state {
            NeighborState::Down | NeighborState::Init | NeighborState::TwoWay => return Ok(()),
            NeighborState::ExStart => {
                let flags = description.init && description.more && description.master;
                let claims = flags && description.headers.is_empty();
                let none = !description.init && !description.master;
                if claims && router > own_id {
                    neighbor.master = false;
                    neighbor.dd_sequence = description.sequence;
                } else if !(none && description.sequence == neighbor.dd_sequence && router < own_id) {
                    // It begins only now: a router that still waits to become Designated Router ignored our claim, and would not hear
                    // it again for a whole retransmit interval.
                    if claims && router < own_id {
                        self.repeat_description(now, interface, router);
                    }
                    return Ok(());
                }
                neighbor.options = description.options;
                neighbor.description_at = None;
                self.neighbor_event(now, interface, router, NeighborEvent::NegotiationDone);
            }
            NeighborState::Exchange | NeighborState::Loading | NeighborState::Full if duplicate => {
                if !neighbor.master {
                    self.repeat_description(now, interface, router);
                }
                return Ok(());
            }
            NeighborState::Exchange => {
                let expected =
                    if neighbor.master { neighbor.dd_sequence } else { neighbor.dd_sequence.wrapping_add(1) };
                let fits = description.master != neighbor.master
                    && !description.init
                    && description.options == neighbor.options
                    && description.sequence == expected;
                if !fits {
                    self.neighbor_event(now, interface, router, NeighborEvent::SequenceMismatch);
                    return Ok(());
                }
            }
            // All was said: only duplicates may come (RFC 2328 10.6).
            NeighborState::Loading | NeighborState::Full => {
                self.neighbor_event(now, interface, router, NeighborEvent::SequenceMismatch);
                return Ok(());
            }
        }
        if let Some(neighbor) = self.neighbor_mut(interface, router) {
            neighbor.last_received = Some(received);
        }
        if self.note_headers(now, interface, router, &description.headers).is_err() {
            self.neighbor_event(now, interface, router, NeighborEvent::SequenceMismatch);
            return Err(Rejection::LsaScope);
        }
        self.answer_description(now, interface, router, description);
        self.send_requests(now, interface, router);
        Ok(())
    }

    /// Puts on the list what the neighbour has and we do not, or older. `Err` if it has what cannot be here.
    fn note_headers(
        &mut self,
        now: Time,
        interface: InterfaceId,
        router: RouterId,
        headers: &[LsaHeader],
    ) -> Result<(), ()> {
        for header in headers {
            let slot = self.slot(interface, header.key).ok_or(())?;
            let newer =
                self.database.entry(&slot).is_none_or(|entry| header.recency(&entry.header(now)).is_gt());
            // A neighbour that describes without end must not make the list grow without end.
            let most = self.config.limits.count;
            if let Some(neighbor) = self.neighbor_mut(interface, router)
                && newer
                && neighbor.requests.len() < most
            {
                neighbor.requests.insert(slot, *header);
            }
        }
        Ok(())
    }

    /// RFC 2328 10.6, the last part: next description, or done.
    fn answer_description(
        &mut self,
        now: Time,
        interface: InterfaceId,
        router: RouterId,
        description: &DatabaseDescription,
    ) {
        let Some(neighbor) = self.neighbor_mut(interface, router) else { return };
        if neighbor.master {
            neighbor.dd_sequence = neighbor.dd_sequence.wrapping_add(1);
            if neighbor.described && !description.more {
                neighbor.description_at = None;
                self.neighbor_event(now, interface, router, NeighborEvent::ExchangeDone);
            } else {
                self.send_description(now, interface, router);
            }
        } else {
            neighbor.dd_sequence = description.sequence;
            self.send_description(now, interface, router);
            let described = self.neighbor(interface, router).is_some_and(|neighbor| neighbor.described);
            if described && !description.more {
                self.neighbor_event(now, interface, router, NeighborEvent::ExchangeDone);
            }
        }
    }

    /// Asks for the first LSAs of the list, unless the last question is not answered yet; and sees whether nothing is left.
    pub(super) fn send_requests(&mut self, now: Time, interface: InterfaceId, router: RouterId) {
        let Some(neighbor) = self.neighbor_mut(interface, router) else { return };
        let requests = &neighbor.requests;
        neighbor.requested.retain(|slot| requests.contains_key(slot));
        if !neighbor.requested.is_empty() || !neighbor.is_loading() {
            return;
        }
        if neighbor.requests.is_empty() {
            neighbor.request_at = None;
            self.neighbor_event(now, interface, router, NeighborEvent::LoadingDone);
            return;
        }
        self.repeat_requests(now, interface, router);
    }

    /// What was requested of one neighbour may have come from another: then the next is asked for, or nothing is left.
    pub(super) fn advance_loading(&mut self, now: Time) {
        for interface in self.ids() {
            let Some(own) = self.interfaces.get(interface.0) else { continue };
            let loading =
                own.neighbors.iter().filter(|(_, neighbor)| neighbor.is_loading()).map(|(router, _)| *router);
            for router in loading.collect::<Vec<_>>() {
                self.send_requests(now, interface, router);
            }
        }
    }

    /// Asks for the first LSAs of the list.
    pub(super) fn repeat_requests(&mut self, now: Time, interface: InterfaceId, router: RouterId) {
        let most = (self.room(interface) / REQUEST_LEN).max(1);
        let Some(own) = self.interfaces.get_mut(interface.0) else { return };
        let again = now + own.config.retransmit_interval;
        let Some(neighbor) = own.neighbors.get_mut(&router) else { return };
        let first = neighbor.requests.keys().take(most).copied().collect::<Vec<_>>();
        neighbor.requested = first.iter().copied().collect();
        neighbor.request_at = (!first.is_empty()).then_some(again);
        if !first.is_empty() {
            let keys = first.iter().map(|slot| slot.key).collect();
            self.transmit_to(interface, router, Body::LinkStateRequest(keys));
        }
    }

    /// Answers a request; not through the retransmission list, because it asks again (RFC 2328 10.7).
    pub(super) fn request(&mut self, now: Time, interface: InterfaceId, router: RouterId, keys: &[LsaKey]) {
        let slots = keys
            .iter()
            .map(|key| self.slot(interface, *key).filter(|slot| self.database.entry(slot).is_some()));
        let Some(slots) = slots.collect::<Option<Vec<_>>>() else {
            self.neighbor_event(now, interface, router, NeighborEvent::BadRequest);
            return;
        };
        let Some(destination) = self.unicast(interface, router) else { return };
        let lsas = self.outgoing(now, slots.iter());
        self.transmit_update(interface, destination, lsas);
    }
}
