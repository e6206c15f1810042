//! Handle resolution and subscription (RFC 5352 3.3).
//!
//! A user that asked for the status vector gets a positive answer for a pool without usable elements too, if there is such a
//! pool: the vector tells of them, and a subscription lasts until they are back. For others a positive answer must list an
//! element (2.2.6), so they get a negative one, which ends a subscription.

use super::{DropReason, Registrar};
use crate::handlespace::{Asked, PoolIndex, Subscriber};
use crate::wire::{Cause, CauseCode, Message, MessageType, ResolutionResponse};
use crate::{PoolHandle, Time};

impl Registrar {
    pub(super) fn resolution(
        &mut self,
        now: Time,
        place: u32,
        handle: &PoolHandle,
        subscribe: bool,
        limit: Option<u32>,
        status: bool,
    ) {
        let rate = self.config.rates.resolutions;
        let Some(connection) = self.connections.at_mut(place) else { return };
        if !connection.resolutions.take(rate, now) {
            self.counters.count_dropped(DropReason::ResolutionRate);
            return;
        }
        let limit = self.limit(limit);
        let Some(index) = self.space.find_pool(handle.as_bytes()) else {
            self.unknown_handle(now, place, handle);
            return;
        };
        let usable = self.space.pool(index).is_some_and(|pool| pool.usable() > 0);
        if !usable && !status {
            self.unsubscribe(now, place, index);
            self.unknown_handle(now, place, handle);
            return;
        }
        let accepted = subscribe && self.subscribe(now, place, index, limit, status);
        self.answer(now, place, index, Asked { limit: usize::from(limit), accepted, status: None }, status);
    }

    /// How many elements an answer has at most. None at all cannot be wanted.
    fn limit(&self, wanted: Option<u32>) -> u16 {
        let wanted = wanted.unwrap_or_else(|| u32::from(self.config.answer_default));
        wanted.clamp(1, u32::from(self.config.answer_max.max(1))) as u16
    }

    pub(super) fn answer(&mut self, now: Time, place: u32, index: PoolIndex, asked: Asked, status: bool) {
        let status = status.then(|| self.status(now));
        let mut octets = Vec::with_capacity(1024);
        // Elements are bounded, so an answer is never too long.
        if self.space.answer(index, Asked { status, ..asked }, &mut octets).is_ok() {
            self.send_octets(now, place, MessageType::HandleResolutionResponse, octets.into());
        }
    }

    pub(super) fn unknown_handle(&mut self, now: Time, place: u32, handle: &PoolHandle) {
        self.counters.unknown_handles += 1;
        let response = ResolutionResponse {
            handle: handle.clone(),
            accepted: false,
            policy: None,
            elements: Vec::new(),
            errors: vec![Cause::bare(CauseCode::UnknownPoolHandle)],
            status: None,
        };
        self.send(now, place, &Message::HandleResolutionResponse(response));
    }

    /// Enters a subscription, or gives it other wishes; false if there are too many ("it has resource issues", RFC 5352 2.2.6).
    fn subscribe(&mut self, now: Time, place: u32, index: PoolIndex, limit: u16, status: bool) -> bool {
        let limits = self.config.limits;
        let Some(connection) = self.connections.at_mut(place) else { return false };
        let Some(pool) = self.space.pool_mut(index) else { return false };
        let known = connection.subscriptions.iter().find(|(pool, _)| *pool == index);
        if let Some((_, at)) = known {
            if let Some(own) = pool.push.subscribers.get_mut(*at as usize) {
                own.limit = limit;
                own.status = status;
                // The answer that follows is the newest.
                if std::mem::take(&mut own.pending) {
                    connection.pending -= 1;
                }
            }
            return true;
        }
        if self.subscriptions >= limits.subscriptions
            || connection.subscriptions.len() >= limits.subscriptions_per_connection
        {
            self.counters.subscriptions_refused += 1;
            return false;
        }
        self.subscriptions += 1;
        connection.subscriptions.push((index, pool.push.subscribers.len() as u32));
        pool.push.subscribers.push(Subscriber { connection: place, limit, status, pending: false });
        if pool.push.subscribers.len() == 1 {
            self.put_off_refresh(now, index);
            self.arm_pool(now, index);
        }
        true
    }

    pub(super) fn unsubscribe(&mut self, now: Time, place: u32, index: PoolIndex) {
        let Some(connection) = self.connections.at_mut(place) else { return };
        let Some(own) = connection.subscriptions.iter().position(|(pool, _)| *pool == index) else { return };
        let (_, at) = connection.subscriptions.swap_remove(own);
        self.subscriptions -= 1;
        let Some(pool) = self.space.pool_mut(index) else { return };
        if at as usize >= pool.push.subscribers.len() {
            return;
        }
        let gone = pool.push.subscribers.swap_remove(at as usize);
        if gone.pending {
            connection.pending -= 1;
        }
        // The last one has the place now.
        let moved = pool.push.subscribers.get(at as usize).map(|moved| moved.connection);
        if let Some(moved) = moved.and_then(|moved| self.connections.at_mut(moved))
            && let Some(entry) = moved.subscriptions.iter_mut().find(|(pool, _)| *pool == index)
        {
            entry.1 = at;
        }
        self.put_off_refresh(now, index);
        self.arm_pool(now, index);
    }
}
