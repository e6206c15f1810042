//! Pushes to subscribers.
//!
//! The first change after a rest goes out at once, what follows within the window goes out together at its end. All subscribers
//! with the same wishes share the octets; only so many different answers are made that the policy still spreads them. A
//! subscriber that takes nothing keeps a mark and no octets: when it takes some again it gets the newest.

use std::sync::Arc;

use super::Registrar;
use crate::Time;
use crate::handlespace::{Asked, NEVER, PoolIndex};
use crate::wire::MessageType;

/// Different answers made for subscribers with the same wishes.
const VARIANTS: usize = 8;

/// Answers for subscribers with the same wishes.
struct Group {
    limit: u16,
    status: bool,
    answers: Vec<Arc<[u8]>>,
    next: usize,
}

impl Registrar {
    /// Pushes the pools that the event at hand changed, or sets a time for it.
    pub(super) fn push_changed(&mut self, now: Time) {
        // A push can close nothing and change nothing, so the list does not grow meanwhile.
        for index in std::mem::take(&mut self.changed) {
            let due = self.space.pool(index).is_some_and(|pool| pool.push.due <= now);
            if due {
                self.push(now, index);
            }
            self.arm_pool(now, index);
        }
    }

    /// Sends the pool as it is now to all its subscribers.
    pub(super) fn push(&mut self, now: Time, index: PoolIndex) {
        self.put_off_refresh(now, index);
        let (window, load_window) = (self.config.push_window, self.config.load_window);
        let Some(pool) = self.space.pool_mut(index) else { return };
        pool.push.due = NEVER;
        let (count, usable) = (pool.push.subscribers.len(), pool.usable());
        if count == 0 {
            return;
        }
        pool.push.not_before = now + window;
        pool.push.loads_not_before = now + load_window;
        self.counters.pushes += 1;
        let mut groups = Vec::new();
        let mut ended = Vec::new();
        for at in 0..count {
            let Some(pool) = self.space.pool_mut(index) else { return };
            let Some(subscriber) = pool.push.subscribers.get_mut(at) else { break };
            let place = subscriber.connection;
            if !subscriber.status && usable == 0 {
                ended.push(place);
                continue;
            }
            let Some(connection) = self.connections.at_mut(place) else { continue };
            if connection.backlog > self.config.backlog_low {
                self.counters.held += u64::from(subscriber.pending);
                connection.pending += usize::from(!subscriber.pending);
                subscriber.pending = true;
                continue;
            }
            if std::mem::take(&mut subscriber.pending) {
                connection.pending -= 1;
            }
            let (limit, status) = (subscriber.limit, subscriber.status);
            if let Some(octets) = self.shared(now, index, &mut groups, limit, status) {
                self.send_octets(now, place, MessageType::HandleResolutionResponse, octets);
            }
        }
        for place in ended {
            self.end_subscription(now, place, index);
        }
    }

    /// What waits for a connection that takes octets again.
    pub(super) fn push_pending(&mut self, now: Time, place: u32) {
        let Some(connection) = self.connections.at(place) else { return };
        let subscriptions: Vec<PoolIndex> = connection.subscriptions.iter().map(|(pool, _)| *pool).collect();
        for index in subscriptions {
            let Some(connection) = self.connections.at_mut(place) else { return };
            if connection.pending == 0 || connection.backlog > self.config.backlog_low {
                return;
            }
            let own = connection.subscriptions.iter().find(|(pool, _)| *pool == index);
            let Some(at) = own.map(|(_, at)| *at as usize) else { continue };
            let Some(pool) = self.space.pool_mut(index) else { continue };
            let usable = pool.usable();
            let Some(subscriber) = pool.push.subscribers.get_mut(at) else { continue };
            if !std::mem::take(&mut subscriber.pending) {
                continue;
            }
            connection.pending -= 1;
            let (limit, status) = (usize::from(subscriber.limit), subscriber.status);
            if !status && usable == 0 {
                self.end_subscription(now, place, index);
            } else {
                self.answer(now, place, index, Asked { limit, accepted: true, status: None }, status);
            }
        }
    }

    /// The pool has nothing that a user of the RFCs alone could be told in a positive answer.
    fn end_subscription(&mut self, now: Time, place: u32, index: PoolIndex) {
        if let Some(handle) = self.space.pool(index).map(|pool| pool.handle().clone()) {
            self.unsubscribe(now, place, index);
            self.unknown_handle(now, place, &handle);
        }
    }

    fn shared(
        &mut self,
        now: Time,
        index: PoolIndex,
        groups: &mut Vec<Group>,
        limit: u16,
        status: bool,
    ) -> Option<Arc<[u8]>> {
        let known = groups.iter().position(|group| group.limit == limit && group.status == status);
        let at = known.unwrap_or_else(|| {
            groups.push(Group { limit, status, answers: Vec::new(), next: 0 });
            groups.len() - 1
        });
        let group = groups.get_mut(at)?;
        if group.answers.len() < VARIANTS {
            let status = status.then(|| self.status(now));
            let mut octets = Vec::with_capacity(1024);
            let asked = Asked { limit: usize::from(limit), accepted: true, status };
            self.space.answer(index, asked, &mut octets).ok()?;
            group.answers.push(octets.into());
            return group.answers.last().cloned();
        }
        group.next = (group.next + 1) % VARIANTS;
        group.answers.get(group.next).cloned()
    }

    /// A push or the first subscription says when the pool is pushed though nothing changes.
    pub(super) fn put_off_refresh(&mut self, now: Time, index: PoolIndex) {
        let refresh = self.config.push_refresh;
        let next = now + self.random.around(refresh);
        if let Some(pool) = self.space.pool_mut(index) {
            let none = refresh.is_zero() || pool.push.subscribers.is_empty();
            pool.push.refresh = if none { NEVER } else { next };
        }
    }
}
