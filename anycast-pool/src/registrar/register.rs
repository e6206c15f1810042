//! Registration and deregistration (RFC 5352 3.1, 3.2). Each is answered once, whatever comes of it.

use super::timers::Target;
use super::{Action, ConnectionKind, DropReason, Notice, Registrar};
use crate::handlespace::{NEVER, NOWHERE, Slot, Stamp, Waiting};
use crate::journal::Record;
use crate::policy::{Policy, PolicyType};
use crate::wire::{
    Cause, CauseCode, Lifetime, Message, PoolElement, Source, State, StatusFlags, Transport, TransportUse,
};
use crate::{ElementId, PoolHandle, Time};

/// What users see of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    /// Another load, weight or life.
    Load,
    /// Another element, or another transport.
    More,
}

impl Registrar {
    pub(super) fn registration(
        &mut self,
        now: Time,
        place: u32,
        handle: PoolHandle,
        element: PoolElement,
        flags: StatusFlags,
    ) {
        let id = element.id;
        match self.admit(now, place, &handle, element) {
            Ok(element) => {
                let seen = self.register(now, place, &handle, &element, flags);
                let pool = self.space.find_pool(handle.as_bytes());
                let (rejected, errors) = (false, Vec::new());
                self.send(now, place, &Message::RegistrationResponse { handle, id, rejected, errors });
                if let Some(pool) = pool {
                    match seen {
                        Seen::Nothing => {}
                        Seen::Load => self.touch_load(pool),
                        Seen::More => self.touch(pool),
                    }
                }
            }
            Err(cause) => {
                self.refused(now, place, &handle, id, cause.code);
                let (rejected, errors) = (true, vec![cause]);
                self.send(now, place, &Message::RegistrationResponse { handle, id, rejected, errors });
            }
        }
    }

    /// May it register? The result is the element as it is kept.
    fn admit(
        &mut self,
        now: Time,
        place: u32,
        handle: &PoolHandle,
        mut element: PoolElement,
    ) -> Result<PoolElement, Cause> {
        let (limits, rates) = (self.config.limits, self.config.rates);
        let lack = || Err(Cause::bare(CauseCode::LackOfResources));
        let Some(connection) = self.connections.at_mut(place) else { return lack() };
        if !connection.registrations.take(rates.registrations, now) {
            self.counters.count_dropped(DropReason::RegistrationRate);
            return lack();
        }
        let (identity, kind, peer) = (connection.identity, connection.kind, connection.peer);
        let crowded = connection.elements.len() >= limits.elements_per_connection;
        if self.config.require_secured && identity == 0 {
            return Err(Cause::bare(CauseCode::Security));
        }
        if !self.config.members.may(handle, self.identities.name(identity).as_deref()) {
            return Err(Cause::bare(CauseCode::Security));
        }
        if let Some(reason) = invalid(handle, &element, limits.handle_octets) {
            return Err(Cause::new(CauseCode::InvalidValues, &reason));
        }
        element.home = self.config.id;
        // RFC 5352 3.1: where the registration came from, which only an SCTP transport can say.
        element.asap_transport = (kind == ConnectionKind::Sctp).then(|| Transport::Sctp {
            port: peer.port(),
            transport_use: TransportUse::Data,
            addresses: vec![peer.ip()],
        });
        if element.to_parameter().len() > limits.element_octets {
            return lack();
        }
        let pool = self.space.find_pool(handle.as_bytes());
        let known = pool.and_then(|pool| self.space.find(pool, element.id));
        if let Some(slot) = known {
            self.may_take_over(now, place, slot, identity)?;
        }
        if let Some(pool) = pool {
            self.space.is_consistent(pool, &element)?;
        } else if self.space.pool_count() >= limits.pools {
            return lack();
        }
        let mine = known.and_then(|slot| self.space.element(slot)).map(|known| known.upkeep.connection)
            == Some(place);
        if crowded && !mine || known.is_none() && self.space.element_count() >= limits.elements {
            return lack();
        }
        Ok(element)
    }

    /// A known identifier is a re-registration from the element itself, or two elements have the same. It is the element itself if
    /// it comes over the same connection, if the earlier connection is gone or does not answer, or if it shows the same
    /// certificate.
    fn may_take_over(&mut self, now: Time, place: u32, slot: Slot, identity: u32) -> Result<(), Cause> {
        let Some(known) = self.space.element(slot) else { return Ok(()) };
        if known.upkeep.identity != 0 && known.upkeep.identity != identity {
            return Err(Cause::bare(CauseCode::Security));
        }
        let elsewhere = known.upkeep.connection != NOWHERE && known.upkeep.connection != place;
        let same = identity != 0 && known.upkeep.identity == identity;
        if elsewhere && !same && known.state() != State::Down {
            // If the earlier connection is dead, this tells soon.
            self.probe(now, slot);
            return Err(Cause::bare(CauseCode::NonUniqueElementId));
        }
        Ok(())
    }

    /// Enters the element; the result is what of it was not yet noted as a change of its pool.
    fn register(
        &mut self,
        now: Time,
        place: u32,
        handle: &PoolHandle,
        element: &PoolElement,
        flags: StatusFlags,
    ) -> Seen {
        let pool = self.space.find_pool(handle.as_bytes());
        let known = pool.and_then(|pool| self.space.find(pool, element.id));
        let before = known.and_then(|slot| self.space.element(slot));
        let before = before.and_then(|own| Some((own.decode()?, own.flags(), own.is_usable())));
        let (slot, changed) = match known {
            Some(slot) => (slot, self.space.replace(slot, element, flags)),
            None => (self.space.insert(handle, element, flags), true),
        };
        let usable = self.space.element(slot).is_some_and(|own| own.is_usable());
        let journal = before.as_ref().is_none_or(|(own, said, _)| *said != flags || lasting(own, element));
        let seen = match before {
            _ if !changed => Seen::Nothing,
            Some((.., used)) if !journal && used == usable => Seen::Load,
            _ => Seen::More,
        };
        self.attach(place, slot);
        let identity = self.connections.at(place).map_or(0, |connection| connection.identity);
        let next = now + self.random.around(self.config.keep_alive_interval);
        let mut new_identity = false;
        let mut held_down = false;
        if let Some(own) = self.space.element_mut(slot) {
            held_down = own.upkeep.held_down > now;
            new_identity = own.upkeep.identity != identity;
            own.upkeep.identity = identity;
            own.upkeep.expires = element.life.duration().map_or(NEVER, |life| now + life);
            if own.upkeep.waiting == Waiting::No && own.upkeep.keep_alive == NEVER {
                own.upkeep.keep_alive = next;
            }
        }
        if journal || new_identity {
            let identity = self.identities.name(identity);
            let (handle, element) = (handle.clone(), element.to_parameter());
            self.actions.push_back(Action::Journal(Record::Registered { handle, element, flags, identity }));
        }
        // A load that comes every second is no reason to forget that many users cannot reach the element.
        let up = !held_down && self.observe(now, slot, State::Up, Source::Registration);
        self.arm_element(slot);
        if up { Seen::Nothing } else { seen }
    }

    /// Makes the connection the one over which the element is reached.
    fn attach(&mut self, place: u32, slot: Slot) {
        if self.space.element(slot).is_some_and(|own| own.upkeep.connection == place) {
            return;
        }
        self.detach(slot);
        let Some(connection) = self.connections.at_mut(place) else { return };
        let Some(own) = self.space.element_mut(slot) else { return };
        own.upkeep.connection = place;
        own.upkeep.connection_place = connection.elements.len() as u32;
        // What the earlier connection was asked, this one does not answer; what was said against the element then, is past.
        own.upkeep.held_down = Time::ZERO;
        own.upkeep.waiting = Waiting::No;
        own.upkeep.keep_alive = NEVER;
        connection.elements.push(slot);
        self.reports.remove(&slot);
    }

    /// Takes the element from its connection.
    pub(super) fn detach(&mut self, slot: Slot) {
        let Some(own) = self.space.element_mut(slot) else { return };
        let (place, at) = (own.upkeep.connection, own.upkeep.connection_place as usize);
        own.upkeep.connection = NOWHERE;
        let Some(connection) = self.connections.at_mut(place) else { return };
        if connection.elements.get(at) == Some(&slot) {
            connection.elements.swap_remove(at);
            if let Some(moved) = connection.elements.get(at).copied()
                && let Some(moved) = self.space.element_mut(moved)
            {
                moved.upkeep.connection_place = at as u32;
            }
        }
    }

    pub(super) fn deregistration(&mut self, now: Time, place: u32, handle: PoolHandle, id: ElementId) {
        let cause = self.may_deregister(now, place, &handle, id);
        let errors = match cause {
            Ok(slot) => {
                if let Some(slot) = slot {
                    self.remove(now, slot, Source::Deregistration);
                }
                Vec::new()
            }
            Err(cause) => {
                self.refused(now, place, &handle, id, cause.code);
                vec![cause]
            }
        };
        self.send(now, place, &Message::DeregistrationResponse { handle, id, errors });
    }

    /// "If the ENRP server fails to find any record of the PE in its handlespace, it SHOULD consider the de-registration granted"
    /// (RFC 5352 3.2). Nobody deregisters another (2.2.2).
    fn may_deregister(
        &mut self,
        now: Time,
        place: u32,
        handle: &PoolHandle,
        id: ElementId,
    ) -> Result<Option<Slot>, Cause> {
        let rate = self.config.rates.registrations;
        let Some(connection) = self.connections.at_mut(place) else { return Ok(None) };
        if !connection.registrations.take(rate, now) {
            self.counters.count_dropped(DropReason::RegistrationRate);
            return Err(Cause::bare(CauseCode::LackOfResources));
        }
        let identity = connection.identity;
        let pool = self.space.find_pool(handle.as_bytes());
        let Some(slot) = pool.and_then(|pool| self.space.find(pool, id)) else { return Ok(None) };
        let Some(known) = self.space.element(slot) else { return Ok(None) };
        let own = known.upkeep.connection == place;
        let abandoned = known.upkeep.connection == NOWHERE && known.upkeep.identity == 0;
        let same = identity != 0 && known.upkeep.identity == identity;
        if own || abandoned || same { Ok(Some(slot)) } else { Err(Cause::bare(CauseCode::Security)) }
    }

    fn refused(&mut self, now: Time, place: u32, handle: &PoolHandle, id: ElementId, cause: CauseCode) {
        self.counters.count_refused(cause);
        if let Some(connection) = self.connections.at(place) {
            let (peer, handle) = (connection.peer, handle.clone());
            self.notice(now, Notice::Refused { peer, handle, id, cause });
        }
    }

    /// Takes an element away, for good.
    pub(super) fn remove(&mut self, now: Time, slot: Slot, source: Source) {
        self.detach(slot);
        self.reports.remove(&slot);
        let Some(element) = self.space.remove(slot, source, Stamp::now(now)) else { return };
        let (pool, id) = (element.pool(), element.id());
        let Some(handle) = self.space.pool(pool).map(|pool| pool.handle().clone()) else { return };
        let age = std::time::Duration::ZERO;
        let record = Record::Removed { handle: handle.clone(), id, source, age };
        self.actions.push_back(Action::Journal(record));
        self.notice(now, Notice::Removed { handle, id, source });
        self.touch(pool);
    }

    pub(super) fn arm_element(&mut self, slot: Slot) {
        if let Some(own) = self.space.element_mut(slot) {
            let due = own.upkeep.due();
            self.timers.arm(&mut own.upkeep.armed, due, Target::Element(slot));
        }
    }
}

/// The part of a registration whose values cannot be, as cause 3 shows it (RFC 5354 3.12.5).
fn invalid(handle: &PoolHandle, element: &PoolElement, handle_octets: usize) -> Option<Vec<u8>> {
    if handle.as_bytes().is_empty() || handle.as_bytes().len() > handle_octets {
        let shown = &handle.as_bytes()[..handle.as_bytes().len().min(handle_octets)];
        return Some(shown.to_vec());
    }
    if element.life == Lifetime::Seconds(0) {
        return Some(element.to_parameter().into());
    }
    let invalid_policy = PolicyType::from_code(element.policy.code()).is_invalid();
    if invalid_policy || Policy::parse(&element.policy).is_err() {
        return Some(element.policy.to_octets());
    }
    let transport = &element.user_transport;
    let somewhere = transport.address().is_none_or(|address| address.port() != 0)
        && transport.addresses().all(|address| !address.is_unspecified() && !address.is_multicast());
    (!somewhere).then(|| transport.to_parameter())
}

/// Must the change survive a restart? Loads and lifetimes come anew with the element.
fn lasting(before: &PoolElement, after: &PoolElement) -> bool {
    before.user_transport != after.user_transport
        || before.policy.code() != after.policy.code()
        || before.asap_transport != after.asap_transport
}
