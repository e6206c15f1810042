//! Keep-alives and unreachable reports (RFC 5352 3.4, 3.5).

use super::{DropReason, Registrar, Reports};
use crate::handlespace::{NOWHERE, Slot, Waiting};
use crate::wire::{Message, Source, State};
use crate::{ElementId, PoolHandle, Time};

impl Registrar {
    /// A keep-alive is to be sent, or the last one was not answered in time.
    pub(super) fn keep_alive_due(&mut self, now: Time, slot: Slot) {
        let Some(own) = self.space.element(slot) else { return };
        match own.upkeep.waiting {
            Waiting::No => self.send_keep_alive(now, slot, Waiting::Periodic),
            waiting => {
                self.counters.keep_alive_timeouts += 1;
                let source = if waiting == Waiting::Report { Source::Report } else { Source::KeepAlive };
                self.next_keep_alive(now, slot);
                self.observe(now, slot, State::Down, source);
            }
        }
    }

    /// Sends a keep-alive. Flag H is zero: the element has this registrar for its home already, or has it among several.
    fn send_keep_alive(&mut self, now: Time, slot: Slot, waiting: Waiting) {
        let Some(own) = self.space.element_mut(slot) else { return };
        let (place, pool) = (own.upkeep.connection, own.pool());
        own.upkeep.waiting = waiting;
        own.upkeep.keep_alive = now + self.config.keep_alive_timeout;
        let Some(handle) = self.space.pool(pool).map(|pool| pool.handle().clone()) else { return };
        let registrar = self.config.id;
        self.send(now, place, &Message::EndpointKeepAlive { registrar, handle, adopt: false });
    }

    fn next_keep_alive(&mut self, now: Time, slot: Slot) {
        let next = now + self.random.around(self.config.keep_alive_interval);
        if let Some(own) = self.space.element_mut(slot) {
            own.upkeep.waiting = Waiting::No;
            own.upkeep.keep_alive = next;
        }
    }

    /// Sends a keep-alive at once, because something speaks against the element. At most one is outstanding, and they are spaced:
    /// nobody can make the registrar flood an element (RFC 5355 2.14).
    pub(super) fn probe(&mut self, now: Time, slot: Slot) {
        let rate = self.config.rates.report_keep_alives;
        let spacing = self.config.report_spacing;
        let Some(own) = self.space.element_mut(slot) else { return };
        if own.upkeep.connection == NOWHERE {
            return;
        }
        if own.upkeep.waiting != Waiting::No {
            own.upkeep.waiting = Waiting::Report;
            return;
        }
        if own.upkeep.spare > now || !self.report_keep_alives.take(rate, now) {
            self.counters.count_dropped(DropReason::ReportSpacing);
            return;
        }
        own.upkeep.spare = now + spacing;
        self.send_keep_alive(now, slot, Waiting::Report);
        self.arm_element(slot);
    }

    pub(super) fn keep_alive_ack(&mut self, now: Time, place: u32, handle: &PoolHandle, id: ElementId) {
        let pool = self.space.find_pool(handle.as_bytes());
        let slot = pool.and_then(|pool| self.space.find(pool, id));
        let own = slot.and_then(|slot| Some((slot, self.space.element(slot)?.upkeep)));
        let Some((slot, upkeep)) = own.filter(|(_, upkeep)| upkeep.connection == place) else {
            self.counters.count_dropped(DropReason::AckNotOwner);
            return;
        };
        if upkeep.waiting != Waiting::No {
            self.next_keep_alive(now, slot);
        }
        // One that comes too late still says that the element is there. But an element that many users cannot reach is not up
        // because the registrar can.
        if upkeep.held_down <= now {
            self.observe(now, slot, State::Up, Source::KeepAlive);
        }
        self.arm_element(slot);
    }

    pub(super) fn unreachable(&mut self, now: Time, place: u32, handle: &PoolHandle, id: ElementId) {
        let rate = self.config.rates.reports;
        let Some(connection) = self.connections.at_mut(place) else { return };
        if !connection.reports.take(rate, now) {
            self.counters.count_dropped(DropReason::ReportRate);
            return;
        }
        let host = connection.peer.ip();
        let pool = self.space.find_pool(handle.as_bytes());
        let Some(slot) = pool.and_then(|pool| self.space.find(pool, id)) else {
            self.counters.count_dropped(DropReason::ReportUnknown);
            return;
        };
        let Some(own) = self.space.element(slot) else { return };
        if own.state() == State::Down {
            self.counters.count_dropped(DropReason::ReportDown);
            return;
        }
        if own.upkeep.connection == NOWHERE {
            // Restored and not yet back: there is no way to ask it, which is what a failed keep-alive is.
            self.observe(now, slot, State::Down, Source::Report);
            self.arm_element(slot);
            return;
        }
        self.probe(now, slot);
        self.count_report(now, slot, host);
    }

    /// "If the counter exceeds the protocol threshold MAX-BAD-PE-REPORT, the ENRP server SHOULD remove the PE" (RFC 5352 3.5). Hosts
    /// are counted, not reports: one host cannot take an element away.
    fn count_report(&mut self, now: Time, slot: Slot, host: std::net::IpAddr) {
        let window = self.config.report_window;
        let reports = self.reports.entry(slot).or_insert_with(|| Reports { since: now, hosts: Vec::new() });
        if now.since(reports.since) >= window {
            *reports = Reports { since: now, hosts: Vec::new() };
        }
        if !reports.hosts.contains(&host) {
            reports.hosts.push(host);
        }
        if reports.hosts.len() > self.config.max_bad_reports {
            self.reports.remove(&slot);
            if let Some(own) = self.space.element_mut(slot) {
                own.upkeep.held_down = now + window;
            }
            self.observe(now, slot, State::Down, Source::Report);
            self.arm_element(slot);
        }
    }
}
