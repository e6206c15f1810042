//! Signing what is sent, and judging what is heard, before the services see it.

use std::net::IpAddr;

use crate::auth::replay::{Identity, Numbers};
use crate::auth::trailer::{self, TRAILER_MAX, Trailer};
use crate::auth::{Authentication, KeyRing, Verdict};
use crate::config::{LinkId, ServiceId};
use crate::event::{Action, Alarm, State};
use crate::heartbeat::Message;
use crate::machine::advertising::By;
use crate::machine::service::STEP;
use crate::machine::{Machine, PEERS_PER_SLOWDOWN};
use crate::nd_option::{Envelope, Information};

impl Machine {
    /// Replaces the keys, for a roll-over; without authentication nothing happens.
    pub fn set_keys(&mut self, keys: KeyRing) {
        if let Some(auth) = self.config.farm.as_mut().and_then(|farm| farm.auth.as_mut()) {
            auth.keys = keys;
        }
    }

    /// The option of an unsolicited Neighbor Advertisement that is about to be sent for a service with this MAC address and
    /// these flags; `None` if it has none (IPv4, or no farm). Each has a number of its own, so it is for one frame only.
    pub fn advertisement_option(&mut self, service: ServiceId, mac: [u8; 6], flags: u8) -> Option<Vec<u8>> {
        let farm = self.config.farm.as_ref()?;
        let service = self.services.get(service.index())?;
        let IpAddr::V6(target) = service.config.address else { return None };
        self.sequence += 1;
        let numbers =
            Numbers { server: self.config.server, incarnation: self.incarnation, sequence: self.sequence };
        let information = Information { numbers, epoch: service.reign, load: service.gauge.permille() };
        let keys = farm.auth.as_ref().filter(|auth| auth.mode.signs()).map(|auth| &auth.keys);
        Some(information.emit(&Envelope { target, vlan: service.config.vlan, mac, flags }, keys))
    }

    fn auth(&self) -> Option<&Authentication> {
        self.config.farm.as_ref()?.auth.as_ref()
    }

    /// Octets to be left free in a heartbeat.
    pub(super) fn trailer_room(&self) -> usize {
        if self.auth().is_some_and(|auth| auth.mode.signs()) { TRAILER_MAX } else { 0 }
    }

    /// Signs a heartbeat that is complete but for that. The first of several carries what this server has heard.
    pub(super) fn sign(&mut self, link: usize, first: bool, datagram: &mut Vec<u8>) {
        let Some(auth) = self.config.farm.as_ref().and_then(|farm| farm.auth.as_ref()) else { return };
        if auth.mode.signs() {
            let trailer = if first { self.links[link].senders.trailer(self.now) } else { Trailer::default() };
            trailer::sign(datagram, &trailer, &auth.keys);
        }
    }

    /// Is this heartbeat of this farm to be obeyed?
    pub(super) fn authenticates(
        &mut self,
        link: LinkId,
        source: IpAddr,
        message: &Message,
        datagram: Option<&[u8]>,
        actions: &mut Vec<Action>,
    ) -> bool {
        let own =
            Identity { server: self.config.server, incarnation: self.incarnation, sequence: self.sequence };
        let Some(auth) = self.config.farm.as_ref().and_then(|farm| farm.auth.as_ref()) else { return true };
        let Some(known) = self.links.iter_mut().find(|known| known.id == link) else { return false };
        let mut asks = false;
        let trailer =
            datagram.map_or(Err(Verdict::Unsigned), |datagram| trailer::verify(datagram, &auth.keys));
        let verdict = match trailer {
            Err(verdict) => verdict,
            // This server's own id: its own datagram looped back, one of an earlier start, or another server's.
            Ok(_) if message.server == own.server && message.incarnation < own.incarnation => {
                Verdict::Replayed
            }
            Ok(_) if message.server == own.server => Verdict::Verified,
            Ok(trailer) => {
                asks = trailer.asks;
                let Message { server, incarnation, sequence, .. } = *message;
                known.senders.judge(self.now, own, Numbers { server, incarnation, sequence }, &trailer)
            }
        };
        known.heartbeats.count(verdict);
        if verdict.is_foreign()
            || (matches!(verdict, Verdict::Unsigned | Verdict::Malformed) && !auth.mode.obeys(verdict))
        {
            self.alarms.raise(self.now, Alarm::Unauthentic { link, source, verdict }, actions);
        }
        // Ask, or answer who asks: at once, so that a server that has just started is among its peers within a step or two.
        // In a large farm the owner does so, the others with their next heartbeat.
        let few = known.live(self.now).count() <= PEERS_PER_SLOWDOWN;
        let owns = self.services.iter().any(|service| service.config.link == link && service.owns());
        let asked = asks && verdict != Verdict::Replayed && (few || owns);
        if auth.mode.signs() && (verdict == Verdict::Unproven || asked) {
            known.answer(self.now, STEP / 2);
        }
        auth.mode.obeys(verdict)
    }

    /// Another server advertises one of this server's addresses.
    pub(super) fn advertised(
        &mut self,
        service: ServiceId,
        mac: [u8; 6],
        override_flag: bool,
        flags: u8,
        option: &[u8],
        actions: &mut Vec<Action>,
    ) {
        let by = self.advertiser(service, mac, flags, option, actions);
        self.with(service, actions, |service, cx| service.peer_advertisement(by, mac, override_flag, cx));
    }

    /// Who advertises, as far as the option proves it.
    fn advertiser(
        &mut self,
        service: ServiceId,
        mac: [u8; 6],
        flags: u8,
        option: &[u8],
        actions: &mut Vec<Action>,
    ) -> By {
        let Some(auth) = self.config.farm.as_ref().and_then(|farm| farm.auth.as_ref()) else {
            return By::Mac;
        };
        let Some(state) = self.services.get(service.index()) else { return By::Nobody };
        let Some(link) = self.links.iter_mut().find(|link| link.id == state.config.link) else {
            return By::Nobody;
        };
        if state.config.foreign.contains(&mac) {
            return By::Mac;
        }
        let vlan = state.config.vlan;
        let verified = match state.config.address {
            IpAddr::V6(target) => {
                Information::verify(option, &Envelope { target, vlan, mac, flags }, &auth.keys)
            }
            // ARP has no room for a signature.
            IpAddr::V4(_) => Err(Verdict::Unsigned),
        };
        let verdict = match verified {
            Ok(information) => link.senders.judge_advertisement(self.now, information.numbers),
            Err(verdict) => verdict,
        };
        link.advertisements.count(verdict);
        if verdict.is_foreign() {
            self.alarms.raise(self.now, Alarm::SecondFarm { service, mac }, actions);
        }
        if auth.mode.obeys(verdict) {
            return match (verdict, verified) {
                (Verdict::Verified, Ok(information)) => {
                    By::Peer { server: information.numbers.server, epoch: information.epoch }
                }
                _ => By::Mac,
            };
        }
        // Not obeyed. What points at the server that owns by its heartbeats does no harm, whoever sent it; nor can an ARP
        // announcement of a peer be told from a forged one.
        let peer = link.peer_of(mac);
        let owns = peer
            .and_then(|peer| link.report(self.now, peer, state.slot))
            .is_some_and(|known| known.report.state == State::Owner);
        let ipv4 = state.config.address.is_ipv4() && peer.is_some();
        match verdict {
            Verdict::UnknownKey | Verdict::BadSignature | Verdict::Unproven => By::Nobody,
            _ if owns || ipv4 => By::Nobody,
            _ => By::Rogue,
        }
    }
}
