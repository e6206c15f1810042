//! Packets out: header, options, checksum or trailer, and how much fits.

use std::net::Ipv6Addr;

use super::Speaker;
use crate::codec::{Body, HEADER_LEN, Lsa, Options, Packet, UPDATE_OVERHEAD, checksum};
use crate::config::{Advertise, InterfaceConfig, LinkType};
use crate::event::{ALL_D_ROUTERS, ALL_SPF_ROUTERS, Output};
use crate::interface::Interface;
use crate::lsdb::InterfaceId;
use crate::{RouterId, Time};

/// Octets of an IPv6 header.
const IPV6_LEN: usize = 40;

impl Speaker {
    /// Options on an interface: those of its Hellos and Descriptions, but for AT; and those of its area's Router-LSA.
    pub(super) fn options(&self, config: &InterfaceConfig) -> Options {
        let stub = self.config.stub_areas.contains(&config.area);
        let external = if stub { Options::V6 } else { Options::V6 | Options::E };
        // R clear: no route leads through this host. Routers install its AS-External-LSAs only with R set.
        match self.config.advertise {
            Advertise::IntraArea => external,
            Advertise::External { .. } => external | Options::R,
        }
    }

    /// The same for a packet (RFC 7166 2.1).
    pub(super) fn packet_options(&self, interface: &Interface) -> Options {
        let options = self.options(&interface.config);
        if interface.config.auth.is_some() { options | Options::AT } else { options }
    }

    /// Octets that fit behind the packet header.
    pub(super) fn room(&self, interface: InterfaceId) -> usize {
        let Some(own) = self.interfaces.get(interface.0) else { return 0 };
        let mtu = own.link.map_or(0, |link| usize::from(link.mtu));
        let trailer = own.config.auth.as_ref().map_or(0, crate::auth::KeyRing::trailer_len);
        mtu.saturating_sub(IPV6_LEN + HEADER_LEN + trailer)
    }

    /// Where to a packet for one neighbour goes: on a point-to-point link everything goes to all (RFC 2328 8.1).
    pub(super) fn unicast(&self, interface: InterfaceId, router: RouterId) -> Option<Ipv6Addr> {
        let own = self.interfaces.get(interface.0)?;
        let neighbor = own.neighbors.get(&router)?;
        Some(match own.config.link_type {
            LinkType::PointToPoint => ALL_SPF_ROUTERS,
            LinkType::Broadcast => neighbor.address,
        })
    }

    /// Where to a packet for all that are adjacent goes, from a router that is neither Designated Router nor Backup (RFC 2328 13.3).
    pub(super) fn multicast(&self, interface: InterfaceId) -> Ipv6Addr {
        match self.interfaces.get(interface.0).map(|own| own.config.link_type) {
            Some(LinkType::PointToPoint) => ALL_SPF_ROUTERS,
            _ => ALL_D_ROUTERS,
        }
    }

    pub(super) fn transmit(&mut self, interface: InterfaceId, destination: Ipv6Addr, body: Body) {
        let router_id = self.config.router_id;
        let Some(own) = self.interfaces.get_mut(interface.0) else { return };
        let Some(link) = own.link else { return };
        let (area, instance) = (own.config.area, own.config.instance);
        let mut payload = Packet { router_id, area, instance, checksum: 0, body }.encode();
        match &own.config.auth {
            Some(keys) => keys.sign(link.link_local, self.sequence.advance(), &mut payload),
            None if own.config.kernel_checksum => {}
            None => checksum::fill(link.link_local, destination, &mut payload),
        }
        own.counters.sent += 1;
        self.output.push(Output::Send { interface, destination, payload });
    }

    /// Sends LSAs, as many to an Update as fit. One that is longer than the MTU goes alone, in fragments.
    pub(super) fn transmit_update(&mut self, interface: InterfaceId, destination: Ipv6Addr, lsas: Vec<Lsa>) {
        let room = self.room(interface);
        let (mut batch, mut length) = (Vec::new(), UPDATE_OVERHEAD);
        for lsa in lsas {
            if !batch.is_empty() && length + lsa.len() > room {
                self.transmit(interface, destination, Body::LinkStateUpdate(std::mem::take(&mut batch)));
                length = UPDATE_OVERHEAD;
            }
            length += lsa.len();
            batch.push(lsa);
        }
        if !batch.is_empty() {
            self.transmit(interface, destination, Body::LinkStateUpdate(batch));
        }
    }

    /// Notes the LSAs as sent and returns them as they go out.
    pub(super) fn outgoing<'a>(
        &mut self,
        now: Time,
        slots: impl Iterator<Item = &'a crate::lsdb::Slot>,
    ) -> Vec<Lsa> {
        let mut lsas = Vec::new();
        for slot in slots {
            if let Some(entry) = self.database.entry(slot) {
                lsas.push(entry.to_send(now));
                self.database.note_sent(now, slot);
            }
        }
        lsas
    }
}
