//! What comes over connections.

use super::{CloseReason, ConnectionId, DropReason, Notice, Registrar};
use crate::Time;
use crate::wire::{Malformed, Message, MessageType};

impl Registrar {
    pub(super) fn received(&mut self, now: Time, id: ConnectionId, octets: &[u8]) {
        let Some(place) = self.connections.find(id) else {
            self.counters.count_dropped(DropReason::NoConnection);
            return;
        };
        let Some(connection) = self.connections.at_mut(place) else { return };
        let mut frames = std::mem::take(&mut connection.frames);
        frames.push(octets);
        loop {
            match frames.next_message() {
                Ok(Some(message)) => self.take(now, place, message),
                Ok(None) => break,
                Err(error) => {
                    self.counters.framing += 1;
                    if let Some(connection) = self.connections.at(place) {
                        let peer = connection.peer;
                        self.notice(now, Notice::Framing { peer, error });
                    }
                    self.close(now, place, CloseReason::Framing);
                    return;
                }
            }
            // It may have been closed by what the message did.
            if self.connections.find(id) != Some(place) {
                return;
            }
        }
        if let Some(connection) = self.connections.at_mut(place) {
            connection.frames = frames;
        }
    }

    pub(super) fn message(&mut self, now: Time, id: ConnectionId, octets: &[u8]) {
        match self.connections.find(id) {
            Some(place) => self.take(now, place, octets),
            None => self.counters.count_dropped(DropReason::NoConnection),
        }
    }

    fn take(&mut self, now: Time, place: u32, octets: &[u8]) {
        let Some(connection) = self.connections.at(place) else { return };
        if connection.backlog > self.config.backlog_max {
            self.close(now, place, CloseReason::Backlog);
            return;
        }
        match Message::parse(octets) {
            Ok(parsed) => {
                self.counters.count_received(parsed.message.kind());
                if !parsed.report.is_empty() {
                    self.report_error(now, place, Message::Error(parsed.report));
                }
                self.act(now, place, parsed.message);
            }
            Err(malformed) => self.malformed(now, place, malformed),
        }
    }

    fn malformed(&mut self, now: Time, place: u32, malformed: Malformed) {
        self.counters.count_malformed(malformed.error.reason());
        let Some(connection) = self.connections.at_mut(place) else { return };
        connection.malformed += 1;
        let too_many = connection.malformed > self.config.limits.malformed_per_connection;
        let peer = connection.peer;
        self.notice(now, Notice::Malformed { peer, error: malformed.error });
        if too_many {
            self.close(now, place, CloseReason::Malformed);
        } else if !malformed.report.is_empty() {
            self.report_error(now, place, Message::Error(malformed.report));
        }
    }

    /// Sends an ASAP_ERROR, unless the connection got many of late.
    fn report_error(&mut self, now: Time, place: u32, error: Message) {
        let rate = self.config.rates.errors;
        let Some(connection) = self.connections.at_mut(place) else { return };
        if connection.errors.take(rate, now) {
            self.send(now, place, &error);
        } else {
            self.counters.count_dropped(DropReason::ErrorRate);
        }
    }

    fn act(&mut self, now: Time, place: u32, message: Message) {
        match message {
            Message::Registration { handle, element, flags } => {
                self.registration(now, place, handle, element, flags);
            }
            Message::Deregistration { handle, id } => self.deregistration(now, place, handle, id),
            Message::HandleResolution { handle, subscribe, limit, status } => {
                self.resolution(now, place, &handle, subscribe, limit, status);
            }
            Message::EndpointKeepAliveAck { handle, id } => self.keep_alive_ack(now, place, &handle, id),
            Message::EndpointUnreachable { handle, id } => self.unreachable(now, place, &handle, id),
            // An error is counted and answers nothing.
            Message::Error(_) => {}
            Message::RegistrationResponse { .. }
            | Message::DeregistrationResponse { .. }
            | Message::HandleResolutionResponse(_)
            | Message::EndpointKeepAlive { .. }
            | Message::ServerAnnounce { .. }
            | Message::Cookie(_)
            | Message::CookieEcho(_)
            | Message::BusinessCard { .. } => self.counters.count_dropped(DropReason::NotForRegistrar),
        }
    }
}

const _: () = assert!(MessageType::ALL.len() == 14, "a new message must be acted upon here");
