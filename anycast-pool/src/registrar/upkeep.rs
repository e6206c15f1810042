//! What becomes of elements by time and by what is seen of them.

use super::timers::Target;
use super::{Action, Notice, Registrar};
use crate::Time;
use crate::handlespace::{NEVER, PoolIndex, Slot, Stamp, Waiting};
use crate::journal::Record;
use crate::wire::{Message, Source, State};

impl Registrar {
    /// The time of an element came up.
    pub(super) fn element_timer(&mut self, now: Time, set: Time, slot: Slot) {
        let Some(own) = self.space.element_mut(slot) else { return };
        if own.upkeep.armed != set {
            return;
        }
        own.upkeep.armed = NEVER;
        let (upkeep, state) = (own.upkeep, own.state());
        if upkeep.expires <= now {
            self.counters.expired += 1;
            self.end(now, slot, Source::Deregistration);
        } else if upkeep.give_up <= now && state == State::Down {
            self.end(now, slot, Source::ConnectionLost);
        } else if upkeep.give_up <= now {
            // It was there before the restart and has not come back.
            self.observe(now, slot, State::Down, Source::ConnectionLost);
        } else if upkeep.keep_alive <= now {
            self.keep_alive_due(now, slot);
        }
        self.arm_element(slot);
    }

    /// Ends a registration and says so to the element, if it can be reached (RFC 5352 3.2).
    fn end(&mut self, now: Time, slot: Slot, source: Source) {
        let Some(own) = self.space.element(slot) else { return };
        let (id, place) = (own.id(), own.upkeep.connection);
        let handle = self.space.pool(own.pool()).map(|pool| pool.handle().clone());
        self.remove(now, slot, source);
        if let Some(handle) = handle
            && self.connections.at(place).is_some()
        {
            self.send(now, place, &Message::DeregistrationResponse { handle, id, errors: Vec::new() });
        }
    }

    /// The connection of an element is gone.
    pub(super) fn connection_lost(&mut self, now: Time, slot: Slot) {
        let Some(own) = self.space.element_mut(slot) else { return };
        own.upkeep.connection = crate::handlespace::NOWHERE;
        own.upkeep.waiting = Waiting::No;
        own.upkeep.keep_alive = NEVER;
        self.observe(now, slot, State::Down, Source::ConnectionLost);
        self.arm_element(slot);
    }

    /// Notes what was seen of an element; true if its state is another one now. The one place where a state changes.
    pub(super) fn observe(&mut self, now: Time, slot: Slot, state: State, source: Source) -> bool {
        let changed = self.space.observe(slot, state, source, Stamp::now(now));
        let Some(own) = self.space.element_mut(slot) else { return false };
        own.upkeep.give_up = match state {
            State::Down if changed || own.upkeep.give_up == NEVER => now + self.config.down_keep,
            State::Down => own.upkeep.give_up,
            State::Up | State::Unknown => NEVER,
        };
        if !changed {
            return false;
        }
        let (id, pool) = (own.id(), own.pool());
        if let Some(handle) = self.space.pool(pool).map(|pool| pool.handle().clone()) {
            let age = std::time::Duration::ZERO;
            let record = Record::Status { handle: handle.clone(), id, state, source, age };
            self.actions.push_back(Action::Journal(record));
            self.notice(now, Notice::Element { handle, id, state, source });
        }
        self.touch(pool);
        true
    }

    /// A pool is not as its users know it: they are told when the event at hand is done.
    pub(super) fn touch(&mut self, index: PoolIndex) {
        if let Some(pool) = self.space.pool_mut(index) {
            let due = pool.push.not_before;
            self.touch_at(index, due);
        }
    }

    /// The same for a load or weight.
    pub(super) fn touch_load(&mut self, index: PoolIndex) {
        if let Some(pool) = self.space.pool_mut(index) {
            let due = pool.push.not_before.max(pool.push.loads_not_before);
            self.touch_at(index, due);
        }
    }

    fn touch_at(&mut self, index: PoolIndex, due: Time) {
        let Some(pool) = self.space.pool_mut(index) else { return };
        pool.sequence = pool.sequence.wrapping_add(1);
        self.counters.coalesced += u64::from(pool.push.due != NEVER);
        pool.push.due = pool.push.due.min(due);
        if self.changed.last() != Some(&index) {
            self.changed.push(index);
        }
    }

    /// The time of a pool came up.
    pub(super) fn pool_timer(&mut self, now: Time, set: Time, index: PoolIndex) {
        let Some(pool) = self.space.pool_mut(index) else { return };
        if pool.push.armed != set {
            return;
        }
        pool.push.armed = NEVER;
        let keep = self.config.tombstone_keep;
        let before = pool.tombstones.len();
        while pool.tombstones.front().is_some_and(|tombstone| tombstone.at.age(now) >= keep) {
            pool.tombstones.pop_front();
        }
        if pool.tombstones.len() != before {
            // Nobody needs to be told at once that something is forgotten; the next push has it.
            pool.sequence = pool.sequence.wrapping_add(1);
        }
        if pool.push.due <= now || pool.push.refresh <= now {
            self.push(now, index);
        }
        self.arm_pool(now, index);
    }

    pub(super) fn arm_pool(&mut self, now: Time, index: PoolIndex) {
        if self.space.forget_pool(index) {
            return;
        }
        let keep = self.config.tombstone_keep;
        let Some(pool) = self.space.pool_mut(index) else { return };
        let mut due = pool.push.refresh.min(pool.push.due);
        if let Some(oldest) = pool.tombstones.front() {
            due = due.min(now + keep.saturating_sub(oldest.at.age(now)));
        }
        self.timers.arm(&mut pool.push.armed, due, Target::Pool(index));
    }
}
