//! Neighbor Discovery: RFC 4861 7.1.1 (solicitations), 7.1.2 (advertisements), 7.2.4 (answers), RFC 6980 (fragments).

use std::net::Ipv6Addr;

use anycast_common::abi::{self, Drop};

use super::reader::Reader;
use super::transport::Payload;
use super::{Link, Outcome, Solicitation, World, dropped};
use crate::frames::{
    ALL_NODES, ALL_NODES_MAC, ETHERTYPE_IPV6, Ether, FLAG_OVERRIDE, FLAG_ROUTER, FLAG_SOLICITED, Ipv6, Mac,
    NEXT_FRAGMENT, NEXT_ICMPV6, Neighbor, TYPE_ADVERTISEMENT, TYPE_SOLICITATION, group_mac, solicited_node,
    target_link_layer, upper_checksum,
};

/// Octets of the longest message that fits into the MTU of Ethernet and is a multiple of 8; a longer one is left to the
/// kernel, which does not have the address on the link and does not answer either.
const MESSAGE_MAX: usize = 1456;

/// An IPv6 packet.
struct Packet<'a> {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next_header: u8,
    hop_limit: u8,
    /// Octets behind the header, as the header says.
    length: usize,
    /// Octets behind the header, as the frame ends: the packet may be longer (the rest is in another buffer, or nowhere), or
    /// shorter (padding follows).
    visible: &'a [u8],
}

impl<'a> Packet<'a> {
    fn parse(mut reader: Reader<'a>) -> Option<Self> {
        if reader.bytes(4)?[0] >> 4 != 6 {
            return None;
        }
        let length = usize::from(reader.u16()?);
        let (next_header, hop_limit) = (reader.u8()?, reader.u8()?);
        let (source, destination) = (reader.ipv6()?, reader.ipv6()?);
        Some(Self { source, destination, next_header, hop_limit, length, visible: reader.rest() })
    }
}

/// The options of a message: every one that is whole, and whether one was not.
struct Options<'a> {
    whole: Vec<(u8, &'a [u8])>,
    broken: bool,
}

impl<'a> Options<'a> {
    fn parse(bytes: &'a [u8]) -> Self {
        let mut options = Self { whole: Vec::new(), broken: false };
        let mut reader = Reader::new(bytes);
        while !reader.rest().is_empty() {
            let option = reader.rest();
            let units = option.get(1).copied().unwrap_or(0);
            match reader.bytes(usize::from(units) * 8) {
                Some(whole) if units > 0 => options.whole.push((whole[0], &whole[2..])),
                _ => {
                    options.broken = true;
                    break;
                }
            }
        }
        options
    }

    fn find(&self, kind: u8) -> Option<&'a [u8]> {
        self.whole.iter().find(|option| option.0 == kind).map(|option| option.1)
    }
}

impl World<'_> {
    pub(super) fn ipv6(&self, frame: &[u8], link: &Link, reader: Reader<'_>) -> Option<Outcome> {
        let packet = Packet::parse(reader)?;
        match packet.next_header {
            NEXT_ICMPV6 => match *packet.visible.first()? {
                TYPE_SOLICITATION => self.solicitation(link, &packet),
                TYPE_ADVERTISEMENT => self.advertisement(link, &packet),
                _ => None,
            },
            NEXT_FRAGMENT => self.fragment(frame, link, &packet),
            _ => {
                let payload = Payload { length: packet.length, visible: packet.visible };
                self.transport(frame, link, packet.destination.into(), packet.next_header, payload)
            }
        }
    }

    /// RFC 6980 5: neighbour discovery in a packet with a fragment header is ignored, whole or not. Only a first fragment
    /// shows what it is.
    fn fragment(&self, frame: &[u8], link: &Link, packet: &Packet<'_>) -> Option<Outcome> {
        let mut reader = Reader::new(packet.visible);
        let (next_header, _) = (reader.u8()?, reader.u8()?);
        let offset = reader.u16()? >> 3;
        reader.bytes(4)?;
        if next_header != NEXT_ICMPV6 {
            return self.transport_fragment(frame, link, packet.destination.into(), next_header);
        }
        let (kind, target) = (*reader.rest().first()?, target(reader.rest())?);
        let reason = match kind {
            TYPE_SOLICITATION => Drop::NsFragment,
            TYPE_ADVERTISEMENT => Drop::NaInvalid,
            _ => return None,
        };
        let index = self.service(target, link);
        (offset == 0 && index.is_some() && self.hears(link, packet, target)).then(|| dropped(vec![reason]))
    }

    /// Addressed to this server or to a group that it would be sent to, and from one station.
    fn hears(&self, link: &Link, packet: &Packet<'_>, target: Ipv6Addr) -> bool {
        let group = group_mac(solicited_node(target));
        [self.mac, group, ALL_NODES_MAC].contains(&link.destination)
            && link.is_from_a_station()
            && !packet.source.is_multicast()
    }

    fn solicitation(&self, link: &Link, packet: &Packet<'_>) -> Option<Outcome> {
        let target = target(packet.visible)?;
        let index = self.service(target, link)?;
        if !self.hears(link, packet, target) {
            return None;
        }
        let message = message(packet)?;
        let mut broken = Vec::new();
        let mut rule = |kept: bool, reason: Drop| {
            if !kept {
                broken.push(reason);
            }
        };
        let options = Options::parse(message.get(24..).unwrap_or_default());
        rule(packet.hop_limit == 255, Drop::NsHopLimit);
        rule(checksum_holds(packet, message), Drop::NsChecksum);
        rule(packet.visible[1] == 0, Drop::NsCode);
        rule(message.len() >= 24, Drop::NsLength);
        rule(!options.broken, Drop::NsOption);
        if packet.source.is_unspecified() {
            rule(packet.destination == solicited_node(target), Drop::NsDadDestination);
            rule(options.find(1).is_none(), Drop::NsDadOption);
        } else {
            let fitting = [target, solicited_node(target), ALL_NODES];
            rule(fitting.contains(&packet.destination), Drop::NsDestination);
        }
        if !broken.is_empty() {
            return Some(dropped(broken));
        }
        let kind = if packet.source.is_unspecified() {
            abi::EVENT_SOLICITED_DAD
        } else if link.destination == self.mac {
            abi::EVENT_SOLICITED_UNICAST
        } else {
            abi::EVENT_SOLICITED_MULTICAST
        };
        let solicitation = Solicitation { index, kind, source: packet.source.into() };
        Some(self.solicited(link, solicitation, self.answer(link, index, packet.source, target)))
    }

    /// RFC 4861 7.2.4.
    fn answer(&self, link: &Link, index: usize, solicitor: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
        let service = &self.services[index];
        let (receiver, receiver_mac, solicited) = if solicitor.is_unspecified() {
            (ALL_NODES, ALL_NODES_MAC, 0)
        } else {
            (solicitor, link.source, FLAG_SOLICITED)
        };
        let router = if service.router { FLAG_ROUTER } else { 0 };
        let override_flag = if service.override_flag { FLAG_OVERRIDE } else { 0 };
        let ether =
            Ether { destination: receiver_mac, source: self.mac, tags: link.tags.clone(), padding: 0 };
        let na = Neighbor {
            ether,
            ip: Ipv6::new(service.source.unwrap_or(target), receiver),
            kind: TYPE_ADVERTISEMENT,
            code: 0,
            flags: router | solicited | override_flag,
            target,
            options: target_link_layer(self.mac),
            cut: None,
            checksum_fault: 0,
        };
        na.ether.frame(ETHERTYPE_IPV6, &na.ip.packet(NEXT_ICMPV6, &na.message()))
    }

    fn advertisement(&self, link: &Link, packet: &Packet<'_>) -> Option<Outcome> {
        let target = target(packet.visible)?;
        let index = self.service(target, link)?;
        if !self.hears(link, packet, target) {
            return None;
        }
        let message = message(packet)?;
        let options = Options::parse(message.get(24..).unwrap_or_default());
        let flags = packet.visible[4] & (FLAG_ROUTER | FLAG_SOLICITED | FLAG_OVERRIDE);
        let valid = packet.hop_limit == 255
            && checksum_holds(packet, message)
            && packet.visible[1] == 0
            && message.len() >= 24
            && !options.broken
            && !(packet.destination.is_multicast() && flags & FLAG_SOLICITED != 0);
        let announced: Option<Mac> =
            options.find(2).and_then(|body| body.get(..6)).and_then(|mac| mac.try_into().ok());
        let own = link.source == self.mac || announced == Some(self.mac);
        let mut reasons = Vec::new();
        if !valid {
            reasons.push(Drop::NaInvalid);
        }
        if own {
            reasons.push(Drop::OwnAdvertisement);
        }
        if !reasons.is_empty() {
            return Some(dropped(reasons));
        }
        // The farm's option has its place behind the target link-layer address option, which comes first.
        let behind = message.get(32..).unwrap_or_default();
        Some(self.peer(link, index, packet.source, announced, flags, behind))
    }
}

/// The target, if the frame shows it.
fn target(message: &[u8]) -> Option<Ipv6Addr> {
    let mut reader = Reader::new(message);
    reader.bytes(8)?;
    reader.ipv6()
}

/// The message, if it is whole in the frame and no longer than is looked at.
fn message<'a>(packet: &Packet<'a>) -> Option<&'a [u8]> {
    packet.visible.get(..packet.length).filter(|message| message.len() <= MESSAGE_MAX)
}

fn checksum_holds(packet: &Packet<'_>, message: &[u8]) -> bool {
    upper_checksum(packet.source.into(), packet.destination.into(), NEXT_ICMPV6, message) == 0
}
