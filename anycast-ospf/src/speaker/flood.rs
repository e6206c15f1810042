//! Flooding (RFC 2328 13, RFC 5340 4.5): Updates in, on to where they have not been, and acknowledgments both ways.

use std::cmp::Ordering;
use std::net::Ipv6Addr;
use std::time::Duration;

use super::{ACK_DELAY, Speaker};
use crate::codec::{Body, LSA_HEADER_LEN, Lsa, LsaHeader, MAX_SEQUENCE};
use crate::lsdb::{InterfaceId, MIN_LS_ARRIVAL, Origin, Slot};
use crate::neighbor::NeighborEvent;
use crate::problem::Rejection;
use crate::{RouterId, Time};

/// For so long an LSA of `MaxAge` stays after the last acknowledgment; longer than packets of a link overtake each other.
const LINGER: Duration = Duration::from_secs(1);

/// What to do about one received LSA.
enum Verdict {
    /// Nothing, not even acknowledge.
    Silence,
    /// Acknowledge with others.
    DelayedAck,
    /// Acknowledge at once: the sender waits for it.
    DirectAck,
    /// The exchange went wrong; leave the rest.
    BadRequest,
}

impl Speaker {
    pub(super) fn update(
        &mut self,
        now: Time,
        interface: InterfaceId,
        router: RouterId,
        source: Ipv6Addr,
        lsas: Vec<Lsa>,
    ) {
        let mut direct = Vec::new();
        for lsa in lsas {
            let header = lsa.header;
            match self.take(now, interface, router, source, lsa) {
                Verdict::Silence => {}
                Verdict::DelayedAck => self.delay_ack(now, interface, header),
                Verdict::DirectAck => direct.push(header),
                Verdict::BadRequest => {
                    self.neighbor_event(now, interface, router, NeighborEvent::BadRequest);
                    break;
                }
            }
        }
        let most = (self.room(interface) / LSA_HEADER_LEN).max(1);
        if let Some(destination) = self.unicast(interface, router) {
            for headers in direct.chunks(most) {
                self.transmit(interface, destination, Body::LinkStateAck(headers.to_vec()));
            }
        }
        self.advance_loading(now);
    }

    /// RFC 2328 13, steps 1 to 8, with RFC 5340 4.5.1.
    fn take(
        &mut self,
        now: Time,
        interface: InterfaceId,
        router: RouterId,
        source: Ipv6Addr,
        lsa: Lsa,
    ) -> Verdict {
        if !lsa.is_intact() {
            self.reject(interface, source, Rejection::LsaChecksum);
            return Verdict::Silence;
        }
        let Some(slot) = self.slot(interface, lsa.header.key) else {
            self.reject(interface, source, Rejection::LsaScope);
            return Verdict::Silence;
        };
        let header = lsa.header;
        let Some(entry) = self.database.entry(&slot) else {
            if header.is_max_age() && !self.is_any_loading() {
                return Verdict::DirectAck;
            }
            return self.replace(now, interface, router, source, slot, lsa);
        };
        let copy = entry.header(now);
        match header.recency(&copy) {
            Ordering::Greater if entry.is_fresh(now) => Verdict::Silence,
            Ordering::Greater => self.replace(now, interface, router, source, slot, lsa),
            _ if self
                .neighbor(interface, router)
                .is_some_and(|neighbor| neighbor.requests.contains_key(&slot)) =>
            {
                Verdict::BadRequest
            }
            Ordering::Equal => {
                let Some(neighbor) = self.neighbor_mut(interface, router) else { return Verdict::Silence };
                // What it sends back it has got: an implied acknowledgment, to be answered by none (RFC 2328 13.5).
                if neighbor.retransmit.remove(&slot).is_some() {
                    Verdict::Silence
                } else {
                    Verdict::DirectAck
                }
            }
            // It wraps: nothing new may come before it is gone.
            Ordering::Less if copy.is_max_age() && copy.sequence == MAX_SEQUENCE => Verdict::Silence,
            Ordering::Less => {
                let recent = entry.sent().is_some_and(|sent| now.since(sent) < MIN_LS_ARRIVAL);
                if let (false, Some(destination)) = (recent, self.unicast(interface, router)) {
                    let lsas = self.outgoing(now, [&slot].into_iter());
                    self.transmit_update(interface, destination, lsas);
                }
                Verdict::Silence
            }
        }
    }

    /// A newer instance: into the database and on (RFC 2328 13 step 5).
    fn replace(
        &mut self,
        now: Time,
        interface: InterfaceId,
        router: RouterId,
        source: Ipv6Addr,
        slot: Slot,
        lsa: Lsa,
    ) -> Verdict {
        let header = lsa.header;
        if slot.key.advertising_router == self.config.router_id && !self.note_own(now, slot, &header) {
            return Verdict::Silence;
        }
        if self.database.install(now, slot, lsa, Origin::Flooded).is_err() {
            // Acknowledged all the same: a neighbour that sends it for ever helps nobody. It is not passed on, since what is not
            // kept cannot be retransmitted.
            self.reject(interface, source, Rejection::DatabaseFull);
            if let Some(neighbor) = self.neighbor_mut(interface, router)
                && neighbor.requests.get(&slot).is_some_and(|wanted| header.recency(wanted).is_ge())
            {
                neighbor.requests.remove(&slot);
            }
            return Verdict::DirectAck;
        }
        self.note_load(slot, now);
        self.flood(now, slot, Some((interface, router)));
        Verdict::DelayedAck
    }

    /// RFC 2328 13.3: on to all interfaces where it belongs, and onto the lists of those who may not have it.
    pub(super) fn flood(&mut self, now: Time, slot: Slot, from: Option<(InterfaceId, RouterId)>) {
        let Some(header) = self.database.entry(&slot).map(|entry| entry.header(now)) else { return };
        for id in self.ids() {
            let eligible = self.interfaces.get(id.0).is_some_and(|own| self.is_eligible(id, own, slot.scope));
            let Some(own) = self.interfaces.get_mut(id.0).filter(|_| eligible) else { continue };
            let again = now + own.config.retransmit_interval;
            let mut waiting = false;
            for (router, neighbor) in &mut own.neighbors {
                // The old instance is waited for no longer, whoever had it (step 5c).
                neighbor.retransmit.remove(&slot);
                if !neighbor.floods() {
                    continue;
                }
                if let Some(wanted) = neighbor.requests.get(&slot) {
                    let recency = header.recency(wanted);
                    if recency.is_lt() {
                        continue;
                    }
                    neighbor.requests.remove(&slot);
                    if recency.is_eq() {
                        continue;
                    }
                }
                if from == Some((id, *router)) {
                    continue;
                }
                neighbor.retransmit.insert(slot, header);
                neighbor.retransmit_at.get_or_insert(again);
                waiting = true;
            }
            // Step 3: from Designated Router or Backup, to all of the link: they have it already.
            let had = from.is_some_and(|(interface, router)| {
                interface == id && (router == own.designated_router || router == own.backup_designated_router)
            });
            if waiting && !had {
                own.flood.insert(slot);
            }
        }
    }

    /// Sends what gathered while an event was worked off.
    pub(super) fn flush_floods(&mut self, now: Time) {
        for interface in self.ids() {
            let Some(own) = self.interfaces.get_mut(interface.0) else { continue };
            let slots = std::mem::take(&mut own.flood);
            if slots.is_empty() {
                continue;
            }
            let lsas = self.outgoing(now, slots.iter());
            let destination = self.multicast(interface);
            self.transmit_update(interface, destination, lsas);
        }
    }

    fn delay_ack(&mut self, now: Time, interface: InterfaceId, header: LsaHeader) {
        let most = (self.room(interface) / LSA_HEADER_LEN).max(1);
        let Some(own) = self.interfaces.get_mut(interface.0) else { return };
        own.acks.push(header);
        own.acks_at.get_or_insert(now + ACK_DELAY);
        if own.acks.len() >= most {
            self.send_acks(interface);
        }
    }

    pub(super) fn send_acks(&mut self, interface: InterfaceId) {
        let Some(own) = self.interfaces.get_mut(interface.0) else { return };
        own.acks_at = None;
        let headers = std::mem::take(&mut own.acks);
        if !headers.is_empty() {
            self.transmit(interface, self.multicast(interface), Body::LinkStateAck(headers));
        }
    }

    /// RFC 2328 13.7.
    pub(super) fn acknowledged(&mut self, interface: InterfaceId, router: RouterId, headers: &[LsaHeader]) {
        for header in headers {
            let Some(slot) = self.slot(interface, header.key) else { continue };
            let Some(neighbor) = self.neighbor_mut(interface, router) else { return };
            if neighbor.retransmit.get(&slot).is_some_and(|sent| sent.recency(header).is_eq()) {
                neighbor.retransmit.remove(&slot);
            }
        }
    }

    /// LSAs that reached `MaxAge` are flooded out (RFC 2328 14).
    pub(super) fn expire_database(&mut self, now: Time) {
        while let Some(slot) = self.database.expire(now) {
            self.note_load(slot, now);
            self.dirty |= self.own.contains_key(&slot);
            self.flood(now, slot, None);
        }
    }

    /// LSAs of `MaxAge` leave that nobody waits for (RFC 2328 14). True if own ones did.
    ///
    /// Not at once, as the RFC has it, but after [`LINGER`]: an older instance that was overtaken on the way would else find no newer
    /// one here, come in, and be passed on to the other uplink, where its originator may never look. Found by the histories.
    pub(super) fn sweep(&mut self, now: Time) -> bool {
        self.sweep_at = None;
        if self.database.leaving().next().is_none() || self.is_any_loading() {
            return false;
        }
        let (mut done, mut next) = (Vec::new(), None::<Time>);
        for slot in self.database.leaving().filter(|slot| !self.is_awaited(slot)) {
            let until = self.database.entry(slot).map_or(now, |entry| entry.installed() + LINGER);
            if until <= now {
                done.push(*slot);
            } else {
                next = Some(next.map_or(until, |next| next.min(until)));
            }
        }
        self.sweep_at = next;
        let mut own = false;
        for slot in done {
            self.database.remove(&slot);
            own |= self.forget_own(&slot);
        }
        own
    }

    /// Has a neighbour not acknowledged it?
    pub(super) fn is_awaited(&self, slot: &Slot) -> bool {
        self.neighbors_of(slot.scope).any(|neighbor| neighbor.retransmit.contains_key(slot))
    }
}
