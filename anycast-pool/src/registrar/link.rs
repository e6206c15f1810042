//! Connections come, take octets, and go.

use std::net::SocketAddr;
use std::sync::Arc;

use super::connection::Connection;
use super::timers::Target;
use super::{Action, CloseReason, ConnectionId, ConnectionKind, DropReason, Notice, Registrar};
use crate::Time;
use crate::handlespace::NEVER;
use crate::wire::{Message, MessageType};

impl Registrar {
    pub(super) fn connected(
        &mut self,
        now: Time,
        id: ConnectionId,
        peer: SocketAddr,
        kind: ConnectionKind,
        identity: Option<&str>,
    ) {
        if self.connections.find(id).is_some() {
            return;
        }
        if self.connections.len() >= self.config.limits.connections {
            self.counters.count_closed(CloseReason::TooMany);
            self.actions.push_back(Action::Close { connection: id, reason: CloseReason::TooMany });
            self.notice(now, Notice::Closed { peer, reason: CloseReason::TooMany });
            return;
        }
        let identity = self.identities.number(identity);
        let most = self.config.limits.message_octets;
        self.connections.insert(Connection::new(id, peer, kind, identity, most, now));
    }

    pub(super) fn closed(&mut self, now: Time, id: ConnectionId) {
        if let Some(place) = self.connections.find(id) {
            self.forget_connection(now, place);
        }
    }

    /// Closes a connection and forgets it. Its elements are down as if it had been lost: it was.
    pub(super) fn close(&mut self, now: Time, place: u32, reason: CloseReason) {
        let Some(connection) = self.connections.at(place) else { return };
        let (connection, peer) = (connection.id, connection.peer);
        self.counters.count_closed(reason);
        self.actions.push_back(Action::Close { connection, reason });
        self.notice(now, Notice::Closed { peer, reason });
        self.forget_connection(now, place);
    }

    fn forget_connection(&mut self, now: Time, place: u32) {
        while let Some(subscription) = self.connections.at(place).and_then(|own| own.subscriptions.last()) {
            let pool = subscription.0;
            self.unsubscribe(now, place, pool);
        }
        let Some(connection) = self.connections.remove(place) else { return };
        for slot in connection.elements {
            self.connection_lost(now, slot);
        }
    }

    pub(super) fn written(&mut self, now: Time, id: ConnectionId, octets: usize) {
        let Some(place) = self.connections.find(id) else { return };
        let Some(connection) = self.connections.at_mut(place) else { return };
        connection.backlog = connection.backlog.saturating_sub(octets);
        connection.progress = now;
        if connection.pending > 0 && connection.backlog <= self.config.backlog_low {
            self.push_pending(now, place);
        }
    }

    /// The time of a connection came up: is it stuck?
    pub(super) fn connection_timer(&mut self, now: Time, set: Time, place: u32) {
        let Some(connection) = self.connections.at_mut(place) else { return };
        if connection.armed != set {
            return;
        }
        connection.armed = NEVER;
        if connection.backlog == 0 {
            return;
        }
        let due = connection.progress + self.config.stuck_after;
        if due <= now {
            self.close(now, place, CloseReason::Stuck);
        } else {
            self.timers.arm(&mut connection.armed, due, Target::Connection(place));
        }
    }

    pub(super) fn send(&mut self, now: Time, place: u32, message: &Message) {
        // A message that is too long cannot come about: all its parts are bounded by the limits.
        if let Ok(octets) = message.to_octets() {
            self.send_octets(now, place, message.kind(), octets.into());
        }
    }

    pub(super) fn send_octets(&mut self, now: Time, place: u32, kind: MessageType, octets: Arc<[u8]>) {
        let Some(connection) = self.connections.at_mut(place) else {
            self.counters.count_dropped(DropReason::NoConnection);
            return;
        };
        if connection.backlog == 0 {
            connection.progress = now;
        }
        connection.backlog += octets.len();
        let due = connection.progress + self.config.stuck_after;
        self.timers.arm(&mut connection.armed, due, Target::Connection(place));
        self.counters.count_sent(kind);
        self.actions.push_back(Action::Send { connection: connection.id, octets });
    }

    pub(super) fn shut_down(&mut self, now: Time) {
        for place in self.connections.places() {
            if let Some(connection) = self.connections.remove(place) {
                self.counters.count_closed(CloseReason::Shutdown);
                let (connection, peer) = (connection.id, connection.peer);
                self.actions.push_back(Action::Close { connection, reason: CloseReason::Shutdown });
                self.notice(now, Notice::Closed { peer, reason: CloseReason::Shutdown });
            }
        }
        self.stopped = true;
    }
}
