//! What survives a restart.

use super::Registrar;
use crate::Time;
use crate::handlespace::{NEVER, Stamp};
use crate::journal::Record;
use crate::wire::{PoolElement, Source, State};

impl Registrar {
    /// Takes in what the journal had, in order. Elements keep their last state and its age, with source `restored`; they have
    /// [`restore_grace`](super::Config::restore_grace) to come back. The result is how many elements there are.
    ///
    /// Nothing of it is journaled again: write [`records`](Self::records) anew, or go on with the same file.
    pub fn restore(&mut self, now: Time, records: impl IntoIterator<Item = Record>) -> usize {
        for record in records {
            self.restore_record(now, record);
        }
        let slots: Vec<_> = self.space.elements().map(|(slot, _)| slot).collect();
        for slot in slots {
            let give_up = now
                + match self.space.element(slot).map(|own| own.state()) {
                    Some(State::Down) => self.config.down_keep,
                    _ => self.config.restore_grace,
                };
            if let Some(own) = self.space.element_mut(slot) {
                own.upkeep.give_up = give_up;
                let life = own.decode().and_then(|element| element.life.duration());
                own.upkeep.expires = life.map_or(NEVER, |life| now + life);
            }
            self.arm_element(slot);
        }
        let pools: Vec<_> = self.space.pools().map(|(index, _)| index).collect();
        for index in pools {
            self.arm_pool(now, index);
        }
        self.space.element_count()
    }

    fn restore_record(&mut self, now: Time, record: Record) {
        match record {
            Record::Registered { handle, element, flags, identity } => {
                let Some(mut element) = PoolElement::from_parameter(&element) else { return };
                // The list may be another one after the restart, too.
                if !self.config.members.may(&handle, identity.as_deref()) {
                    return;
                }
                // The identifier may be another one after the restart.
                element.home = self.config.id;
                let slot = self.space.insert(&handle, &element, flags);
                let identity = self.identities.number(identity.as_deref());
                if let Some(own) = self.space.element_mut(slot) {
                    own.upkeep.identity = identity;
                }
            }
            Record::Status { handle, id, state, age, .. } => {
                let pool = self.space.find_pool(handle.as_bytes());
                if let Some(slot) = pool.and_then(|pool| self.space.find(pool, id)) {
                    self.space.observe(slot, state, Source::Restored, Stamp::before(now, age));
                }
            }
            Record::Removed { handle, id, source, age } => {
                let pool = self.space.find_pool(handle.as_bytes());
                if let Some(slot) = pool.and_then(|pool| self.space.find(pool, id)) {
                    self.space.remove(slot, source, Stamp::before(now, age));
                }
            }
        }
    }

    /// The handlespace as records: a snapshot that takes the place of the journal so far. Tombstones are left out: they are soon
    /// forgotten anyway.
    pub fn records(&self, now: Time) -> impl Iterator<Item = Record> + '_ {
        self.space.elements().flat_map(move |(_, own)| {
            let handle = self.space.pool(own.pool()).map(|pool| pool.handle().clone());
            let records = handle.map(|handle| {
                let registered = Record::Registered {
                    handle: handle.clone(),
                    element: own.octets().into(),
                    flags: own.flags(),
                    identity: self.identities.name(own.upkeep.identity),
                };
                let (id, state, source, age) = (own.id(), own.state(), own.source(), own.observed().age(now));
                [registered, Record::Status { handle, id, state, source, age }]
            });
            records.into_iter().flatten()
        })
    }
}
