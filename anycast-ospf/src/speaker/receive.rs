//! Packets in: is it for us, is it whole, is it authentic (RFC 5340 4.2.2, RFC 7166 4.6)?

use std::net::Ipv6Addr;

use super::Speaker;
use crate::auth::AuthError;
use crate::codec::{Body, Header, Options, Packet, checksum};
use crate::event::ALL_SPF_ROUTERS;
use crate::lsdb::InterfaceId;
use crate::neighbor::NeighborState;
use crate::problem::Rejection;
use crate::{RouterId, Time};

impl Speaker {
    pub(super) fn receive(
        &mut self,
        now: Time,
        interface: InterfaceId,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        payload: &[u8],
    ) {
        let Some(own) = self.interfaces.get_mut(interface.0) else { return };
        let Some(link) = own.link.filter(|_| self.phase.listens()) else { return };
        own.counters.received += 1;
        // Our own, from this or another interface of the link, comes back where the socket loops multicast.
        if self.interfaces.iter().any(|own| own.link.is_some_and(|link| link.link_local == source)) {
            return;
        }
        match self.check(interface, source, destination, link.link_local, payload) {
            Ok(Some((packet, sequence))) => {
                if let Err(rejection) = self.dispatch(now, interface, source, packet, sequence) {
                    self.reject(interface, source, rejection);
                }
            }
            // For another OSPF on the link.
            Ok(None) => {}
            Err(rejection) => self.reject(interface, source, rejection),
        }
    }

    /// The packet and its sequence number of authentication, if all is right.
    fn check(
        &self,
        interface: InterfaceId,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        link_local: Ipv6Addr,
        payload: &[u8],
    ) -> Result<Option<(Packet, Option<u64>)>, Rejection> {
        let Some(own) = self.interfaces.get(interface.0) else { return Ok(None) };
        if !source.is_unicast_link_local() {
            return Err(Rejection::Source(source));
        }
        // Not AllDRouters: that is for Designated Router and Backup alone.
        if destination != ALL_SPF_ROUTERS && destination != link_local {
            return Err(Rejection::Destination(destination));
        }
        let header = Header::decode(payload)?;
        let length = usize::from(header.length);
        if header.instance != own.config.instance {
            let ifindex = own.link.map(|link| link.ifindex);
            let other = self.interfaces.iter().any(|other| {
                other.config.instance == header.instance && other.link.map(|link| link.ifindex) == ifindex
            });
            let rejection = Rejection::Instance { got: header.instance, want: own.config.instance };
            return if other { Ok(None) } else { Err(rejection) };
        }
        if header.area != own.config.area {
            return Err(Rejection::Area { got: header.area, want: own.config.area });
        }
        // The checksum comes before the body: octets that were damaged on the way are no sender's mistake.
        if own.config.auth.is_none() && !own.config.kernel_checksum {
            let holds = checksum::packet_holds(source, destination, &payload[..length]);
            match (holds, header.checksum, payload.len() - length) {
                (true, ..) => {}
                (false, 0, 1..) => return Err(Rejection::UnexpectedTrailer),
                (false, ..) => return Err(Rejection::Checksum),
            }
        }
        let (packet, _) = Packet::decode(payload)?;
        let sequence = match &own.config.auth {
            None => None,
            Some(keys) => {
                let options = packet.body.options();
                if options.is_some_and(|options| !options.contains(Options::AT)) {
                    return Err(AuthError::Missing.into());
                }
                let signalling = options.is_some_and(|options| options.contains(Options::L));
                let sequence = keys.verify(source, payload, length, signalling)?;
                if let Some(neighbor) = own.neighbors.get(&header.router_id) {
                    neighbor.replay.check(header.kind, sequence)?;
                }
                Some(sequence)
            }
        };
        if header.router_id == RouterId::NONE {
            return Err(Rejection::NoRouterId);
        }
        if header.router_id == self.config.router_id {
            return Err(Rejection::OwnRouterId);
        }
        Ok(Some((packet, sequence)))
    }

    fn dispatch(
        &mut self,
        now: Time,
        interface: InterfaceId,
        source: Ipv6Addr,
        packet: Packet,
        sequence: Option<u64>,
    ) -> Result<(), Rejection> {
        let (router, kind) = (packet.router_id, packet.body.kind());
        let note = |speaker: &mut Self| {
            if let (Some(sequence), Some(neighbor)) = (sequence, speaker.neighbor_mut(interface, router)) {
                neighbor.replay.note(kind, sequence);
            }
        };
        if let Body::Hello(hello) = packet.body {
            self.hello(now, interface, router, source, &hello)?;
            note(self);
            return Ok(());
        }
        // Everything else passes between neighbours only, and neighbours are known by router id (RFC 5340 4.2.2).
        let state = self.neighbor(interface, router).map_or(NeighborState::Down, |neighbor| neighbor.state);
        let least = match &packet.body {
            Body::DatabaseDescription(_) => NeighborState::Init,
            _ => NeighborState::Exchange,
        };
        note(self);
        if state < least {
            return Err(Rejection::NoNeighbor(router));
        }
        match packet.body {
            Body::Hello(_) => Ok(()),
            Body::DatabaseDescription(description) => {
                self.description(now, interface, router, source, &description)
            }
            Body::LinkStateRequest(keys) => {
                self.request(now, interface, router, &keys);
                Ok(())
            }
            Body::LinkStateUpdate(lsas) => {
                self.update(now, interface, router, source, lsas);
                Ok(())
            }
            Body::LinkStateAck(headers) => {
                self.acknowledged(interface, router, &headers);
                Ok(())
            }
        }
    }
}
