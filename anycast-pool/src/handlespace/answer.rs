//! Answers about a pool, encoded.

use super::{Element, Handlespace, PoolIndex};
use crate::wire::{ENTRY_LEN, STATUS_HEADER_LEN, State};
use crate::wire::{
    EmitError, MESSAGE_MAX, MessageType, ParameterType, StatusEntry, StatusFlags, StatusVector, emit_handle,
    emit_message,
};
use crate::{RegistrarId, Time};

/// Octets of an answer that pool elements may take; what is left is for the status vector.
const LIST_MAX: usize = 48 * 1024;

/// What an answer is to have.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Elements at most.
    pub limit: usize,
    /// Flag A: updates will come.
    pub accepted: bool,
    /// The status vector, if it is wanted.
    pub status: Option<Status>,
}

/// Who gives a status vector, and when.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// Who.
    pub registrar: RegistrarId,
    /// Which life of it.
    pub epoch: u32,
    /// Now.
    pub now: Time,
}

impl Handlespace {
    /// Appends a positive handle resolution response (RFC 5352 2.2.6) to `out`: elements in the order of the pool's policy, which
    /// moves on with each answer. The result is how many elements it lists.
    ///
    /// # Errors
    /// The answer would be too long, which bounded elements never make it.
    pub fn answer(&mut self, index: PoolIndex, asked: Asked, out: &mut Vec<u8>) -> Result<usize, EmitError> {
        let Some(Some(pool)) = self.pools.get_mut(index.at()) else { return Ok(0) };
        let elements = &self.elements;
        let chosen = pool.selector.select(asked.limit);
        let at = |slot: u32| elements.get(slot as usize).and_then(Option::as_ref);
        let mut listed = 0;
        let start = out.len();
        emit_message(out, MessageType::HandleResolutionResponse, asked.accepted, |out| {
            emit_handle(&pool.handle, out);
            // Round-robin could be left out, as RFC 5352 2.2.6 has it; RSPLIB's users do not read an answer without.
            out.octets(&pool.policy_parameter());
            for element in chosen.iter().filter_map(|slot| at(*slot)) {
                if out.len() - start + element.octets().len() > LIST_MAX {
                    break;
                }
                out.octets(element.octets());
                listed += 1;
            }
            if let Some(status) = asked.status {
                let room = (MESSAGE_MAX - (out.len() - start)).saturating_sub(STATUS_HEADER_LEN) / ENTRY_LEN;
                let members = pool.members().iter().filter_map(|slot| at(slot.word()));
                let entries = entries(members, pool.tombstones(), status.now, room);
                let vector = StatusVector {
                    registrar: status.registrar,
                    epoch: status.epoch,
                    sequence: pool.sequence,
                    entries,
                };
                vector.emit(out);
            }
        })?;
        Ok(listed)
    }

    /// The status vector of a pool.
    pub fn status(&self, index: PoolIndex, status: Status) -> Option<StatusVector> {
        let pool = self.pool(index)?;
        let members = pool.members().iter().filter_map(|slot| self.element(*slot));
        Some(StatusVector {
            registrar: status.registrar,
            epoch: status.epoch,
            sequence: pool.sequence,
            entries: entries(members, pool.tombstones(), status.now, usize::MAX),
        })
    }
}

/// Registered elements before tombstones: if there is no room for all, those are missed least.
fn entries<'a>(
    members: impl Iterator<Item = &'a Element>,
    tombstones: impl Iterator<Item = &'a super::Tombstone>,
    now: Time,
    room: usize,
) -> Vec<StatusEntry> {
    let tombstones = tombstones.map(|tombstone| StatusEntry {
        id: tombstone.id,
        state: State::Down,
        source: tombstone.source,
        flags: StatusFlags::TOMBSTONE,
        age_ms: tombstone.at.age_ms(now),
    });
    members.map(|element| element.entry(now)).chain(tombstones).take(room).collect()
}

const _: () = assert!(ParameterType::STATUS_VECTOR.0 >> 14 == 0b10, "who does not know it must skip it");
