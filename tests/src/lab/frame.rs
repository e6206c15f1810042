//! Reading captured frames: enough of Ethernet, ARP and neighbour discovery to say what was on the wire.
//!
//! This parses on its own: it must not inherit a mistake of the code under test. It judges nothing; a frame that is no
//! whole message of these kinds is [`Frame::Other`].

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use anyhow::Context as _;

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// That of `ff02::1` (RFC 2464 7).
    pub const ALL_NODES: Self = Self([0x33, 0x33, 0, 0, 0, 1]);

    /// Whether the group bit is set.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes: Option<Vec<u8>> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        let mac = bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
        mac.map(Self).with_context(|| format!("{text:?} is no MAC address"))
    }
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// RFC 4861 4.3.
    NeighborSolicitation(NeighborSolicitation),
    /// RFC 4861 4.4.
    NeighborAdvertisement(NeighborAdvertisement),
    /// RFC 826 for IPv4 on Ethernet.
    Arp(Arp),
    /// UDP over IPv6 or IPv4 without extension headers and options.
    Udp(Udp),
    /// Anything else.
    Other,
}

/// A neighbor solicitation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 4861 4.3")]
pub struct NeighborSolicitation {
    pub from: Mac,
    pub to: Mac,
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub target: Ipv6Addr,
    pub source_link_layer: Option<Mac>,
}

/// A neighbor advertisement.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 4861 4.4")]
pub struct NeighborAdvertisement {
    pub from: Mac,
    pub to: Mac,
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub router: bool,
    pub solicited: bool,
    pub override_flag: bool,
    pub target: Ipv6Addr,
    pub target_link_layer: Option<Mac>,
}

/// An ARP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 826 and RFC 5227")]
pub struct Arp {
    pub from: Mac,
    pub to: Mac,
    pub operation: u16,
    pub sender: Mac,
    pub sender_address: Ipv4Addr,
    pub target: Mac,
    pub target_address: Ipv4Addr,
}

/// A UDP datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 768")]
pub struct Udp {
    pub from: Mac,
    pub to: Mac,
    pub source: std::net::SocketAddr,
    pub destination: std::net::SocketAddr,
}

/// ARP operation of a request.
pub const ARP_REQUEST: u16 = 1;
/// ARP operation of a reply.
pub const ARP_REPLY: u16 = 2;

/// Parts of an Ethernet frame (IEEE 802.3) without VLAN tag.
mod ethernet {
    use core::ops::Range;
    pub const DESTINATION: Range<usize> = 0..6;
    pub const SOURCE: Range<usize> = 6..12;
    pub const TYPE: Range<usize> = 12..14;
    pub const HEADER: usize = 14;
    pub const TYPE_ARP: u16 = 0x0806;
    pub const TYPE_IPV4: u16 = 0x0800;
    pub const TYPE_IPV6: u16 = 0x86dd;
    pub const TYPES_VLAN: [u16; 2] = [0x8100, 0x88a8];
    pub const TAG: usize = 4;
}

/// Parts of an IPv6 packet (RFC 8200 3).
mod ipv6 {
    use core::ops::Range;
    pub const NEXT_HEADER: usize = 6;
    pub const SOURCE: Range<usize> = 8..24;
    pub const DESTINATION: Range<usize> = 24..40;
    pub const HEADER: usize = 40;
    pub const ICMPV6: u8 = 58;
    pub const UDP: u8 = 17;
}

/// Parts of NS and NA (RFC 4861 4.3, 4.4), from the start of ICMPv6.
mod ndp {
    use core::ops::Range;
    pub const TYPE: usize = 0;
    pub const FLAGS: usize = 4;
    pub const TARGET: Range<usize> = 8..24;
    pub const OPTIONS: usize = 24;
    pub const SOLICITATION: u8 = 135;
    pub const ADVERTISEMENT: u8 = 136;
    pub const ROUTER: u8 = 0x80;
    pub const SOLICITED: u8 = 0x40;
    pub const OVERRIDE: u8 = 0x20;
    pub const OPTION_SOURCE: u8 = 1;
    pub const OPTION_TARGET: u8 = 2;
}

/// Parts of ARP for IPv4 on Ethernet (RFC 826).
mod arp {
    use core::ops::Range;
    pub const OPERATION: Range<usize> = 6..8;
    pub const SENDER: Range<usize> = 8..14;
    pub const SENDER_ADDRESS: Range<usize> = 14..18;
    pub const TARGET: Range<usize> = 18..24;
    pub const TARGET_ADDRESS: Range<usize> = 24..28;
}

impl Frame {
    /// Reads a frame; VLAN tags are skipped.
    pub fn parse(bytes: &[u8]) -> Self {
        parse(bytes).unwrap_or(Self::Other)
    }

    /// The neighbor solicitation, if it is one.
    pub fn solicitation(&self) -> Option<&NeighborSolicitation> {
        if let Self::NeighborSolicitation(message) = self { Some(message) } else { None }
    }

    /// The neighbor advertisement, if it is one.
    pub fn advertisement(&self) -> Option<&NeighborAdvertisement> {
        if let Self::NeighborAdvertisement(message) = self { Some(message) } else { None }
    }

    /// The ARP packet, if it is one.
    pub fn arp(&self) -> Option<&Arp> {
        if let Self::Arp(message) = self { Some(message) } else { None }
    }

    /// The UDP datagram, if it is one.
    pub fn udp(&self) -> Option<&Udp> {
        if let Self::Udp(message) = self { Some(message) } else { None }
    }
}

fn parse(bytes: &[u8]) -> Option<Frame> {
    let to = Mac(array(bytes, ethernet::DESTINATION)?);
    let from = Mac(array(bytes, ethernet::SOURCE)?);
    let mut tags = 0;
    let mut kind = u16::from_be_bytes(array(bytes, ethernet::TYPE)?);
    while ethernet::TYPES_VLAN.contains(&kind) {
        tags += ethernet::TAG;
        kind = u16::from_be_bytes(array(bytes, ethernet::TYPE.start + tags..ethernet::TYPE.end + tags)?);
    }
    let packet = bytes.get(ethernet::HEADER + tags..)?;
    match kind {
        ethernet::TYPE_ARP => Some(Frame::Arp(Arp {
            from,
            to,
            operation: u16::from_be_bytes(array(packet, arp::OPERATION)?),
            sender: Mac(array(packet, arp::SENDER)?),
            sender_address: Ipv4Addr::from(array::<4>(packet, arp::SENDER_ADDRESS)?),
            target: Mac(array(packet, arp::TARGET)?),
            target_address: Ipv4Addr::from(array::<4>(packet, arp::TARGET_ADDRESS)?),
        })),
        ethernet::TYPE_IPV6 => parse_ipv6(from, to, packet),
        ethernet::TYPE_IPV4 => parse_ipv4(from, to, packet),
        _ => None,
    }
}

fn parse_ipv6(from: Mac, to: Mac, packet: &[u8]) -> Option<Frame> {
    let source = Ipv6Addr::from(array::<16>(packet, ipv6::SOURCE)?);
    let destination = Ipv6Addr::from(array::<16>(packet, ipv6::DESTINATION)?);
    let message = packet.get(ipv6::HEADER..)?;
    match *packet.get(ipv6::NEXT_HEADER)? {
        ipv6::UDP => Some(udp(from, to, source.into(), destination.into(), message)?),
        ipv6::ICMPV6 => {
            let target = Ipv6Addr::from(array::<16>(message, ndp::TARGET)?);
            let flags = *message.get(ndp::FLAGS)?;
            match *message.get(ndp::TYPE)? {
                ndp::SOLICITATION => Some(Frame::NeighborSolicitation(NeighborSolicitation {
                    from,
                    to,
                    source,
                    destination,
                    target,
                    source_link_layer: link_layer_option(message, ndp::OPTION_SOURCE),
                })),
                ndp::ADVERTISEMENT => Some(Frame::NeighborAdvertisement(NeighborAdvertisement {
                    from,
                    to,
                    source,
                    destination,
                    router: flags & ndp::ROUTER != 0,
                    solicited: flags & ndp::SOLICITED != 0,
                    override_flag: flags & ndp::OVERRIDE != 0,
                    target,
                    target_link_layer: link_layer_option(message, ndp::OPTION_TARGET),
                })),
                _ => None,
            }
        }
        _ => None,
    }
}

fn parse_ipv4(from: Mac, to: Mac, packet: &[u8]) -> Option<Frame> {
    // Version 4, header of five words; protocol, source and destination as in RFC 791 3.1.
    if *packet.first()? != 0x45 || *packet.get(9)? != ipv6::UDP {
        return None;
    }
    let source = Ipv4Addr::from(array::<4>(packet, 12..16)?);
    let destination = Ipv4Addr::from(array::<4>(packet, 16..20)?);
    udp(from, to, source.into(), destination.into(), packet.get(20..)?)
}

fn udp(
    from: Mac,
    to: Mac,
    source: std::net::IpAddr,
    destination: std::net::IpAddr,
    datagram: &[u8],
) -> Option<Frame> {
    let source = (source, u16::from_be_bytes(array(datagram, 0..2)?)).into();
    let destination = (destination, u16::from_be_bytes(array(datagram, 2..4)?)).into();
    Some(Frame::Udp(Udp { from, to, source, destination }))
}

/// The first link-layer address option of a kind (RFC 4861 4.6.1).
fn link_layer_option(message: &[u8], kind: u8) -> Option<Mac> {
    let mut options = message.get(ndp::OPTIONS..)?;
    while let [found, units, ..] = *options {
        if found == kind {
            return Some(Mac(array(options, 2..8)?));
        }
        // Length 0 is invalid and would never end.
        options = options.get((units as usize).max(1) * 8..)?;
    }
    None
}

fn array<const N: usize>(bytes: &[u8], range: core::ops::Range<usize>) -> Option<[u8; N]> {
    bytes.get(range)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An advertisement with O and S, option type 2, as RFC 4861 4.4 draws it.
    fn advertisement() -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd];
        bytes.extend([0x60, 0, 0, 0, 0, 32, 58, 255]);
        bytes.extend(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2).octets());
        bytes.extend(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).octets());
        bytes.extend([136, 0, 0xaa, 0xbb, 0x60, 0, 0, 0]);
        bytes.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53).octets());
        bytes.extend([2, 1, 2, 0, 0, 0, 0, 2]);
        bytes
    }

    #[test]
    fn reads_an_advertisement() {
        let frame = Frame::parse(&advertisement());
        let message = frame.advertisement().unwrap();
        assert!(message.solicited && message.override_flag && !message.router);
        assert_eq!(message.target, Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53));
        assert_eq!(message.target_link_layer, Some(Mac([2, 0, 0, 0, 0, 2])));
    }

    #[test]
    fn skips_tags() {
        let mut tagged = advertisement();
        for tag in [[0x81, 0x00, 0, 7], [0x88, 0xa8, 0, 100]] {
            tagged.splice(12..12, tag);
        }
        let (Frame::NeighborAdvertisement(plain), Frame::NeighborAdvertisement(tagged)) =
            (Frame::parse(&advertisement()), Frame::parse(&tagged))
        else {
            panic!("no advertisement")
        };
        assert_eq!(plain, tagged);
    }

    #[test]
    fn no_cut_frame_is_read_past_its_end() {
        let whole = advertisement();
        for end in 0..whole.len() {
            let frame = Frame::parse(&whole[..end]);
            let option = frame.advertisement().and_then(|message| message.target_link_layer);
            assert_eq!(option, None, "{end}");
        }
    }

    #[test]
    fn an_option_of_length_zero_ends_nothing_and_hangs_nothing() {
        let mut bytes = advertisement();
        let option = bytes.len() - 8;
        bytes[option] = 99;
        bytes[option + 1] = 0;
        assert_eq!(Frame::parse(&bytes).advertisement().unwrap().target_link_layer, None);
    }

    #[test]
    fn macs_are_written_as_they_are_read() {
        let mac: Mac = "02:ac:00:00:01:0f".parse().unwrap();
        assert_eq!(mac, Mac([2, 0xac, 0, 0, 1, 15]));
        assert_eq!(mac.to_string(), "02:ac:00:00:01:0f");
        assert!("02:ac:00".parse::<Mac>().is_err());
    }
}
