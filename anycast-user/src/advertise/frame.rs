//! Unsolicited advertisements as whole Ethernet frames: the Neighbor Advertisement (RFC 4861 4.4, 7.2.6) and the ARP
//! announcement (RFC 5227 3).
//!
//! The types are the meaning, [`emit`](NeighborAdvertisement::emit) writes the bytes. Every byte of the frame is written,
//! whatever the buffer held before. Padding to Ethernet's 60 bytes is the driver's.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A MAC address.
pub type Mac = [u8; 6];

/// The longest frame of this module: two VLAN tags, IPv6 header and a Neighbor Advertisement with one option.
pub const FRAME_MAX: usize = ETHERNET_HEADER + 2 * VLAN_TAG + IPV6_HEADER + NA_LENGTH;

const ETHERNET_HEADER: usize = 14;
const VLAN_TAG: usize = 4;
const IPV6_HEADER: usize = 40;

const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;
const ETHERTYPE_IPV6: u16 = 0x86dd;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
const BROADCAST: Mac = [0xff; 6];

/// The VLAN identifiers of `vlan`, a key made by [`vlan_key`](anycast_common::abi::vlan_key), outermost first; `None`
/// where there is no tag.
fn vids(vlan: u32) -> [Option<u16>; 2] {
    let vid = |bits: u32| Some((bits & 0x0fff) as u16).filter(|vid| *vid != 0);
    [vid(vlan >> 12), vid(vlan)]
}

/// The length of the Ethernet header with the tags of `vlan`.
fn header_len(vlan: u32) -> usize {
    ETHERNET_HEADER + VLAN_TAG * vids(vlan).iter().flatten().count()
}

/// Writes the Ethernet header (IEEE 802.3) with the tags of `vlan` (IEEE 802.1Q) and returns its length. Two tags are a
/// service tag (0x88a8) around a customer tag (0x8100), one is a customer tag. Priority is 0.
fn emit_header(buffer: &mut [u8], destination: Mac, source: Mac, vlan: u32, ethertype: u16) -> usize {
    buffer[0..6].copy_from_slice(&destination);
    buffer[6..12].copy_from_slice(&source);
    let mut at = 12;
    let tags = vids(vlan);
    let outer_type = if tags.iter().all(Option::is_some) { ETHERTYPE_QINQ } else { ETHERTYPE_VLAN };
    for (vid, tpid) in tags.into_iter().flatten().zip([outer_type, ETHERTYPE_VLAN]) {
        buffer[at..at + 2].copy_from_slice(&tpid.to_be_bytes());
        buffer[at + 2..at + 4].copy_from_slice(&vid.to_be_bytes());
        at += VLAN_TAG;
    }
    buffer[at..at + 2].copy_from_slice(&ethertype.to_be_bytes());
    at + 2
}

/// To whom an advertisement goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient<Address> {
    /// Everybody on the link: ff02::1 (RFC 4861 7.2.6), or the Ethernet broadcast address (RFC 5227 3).
    Link,
    /// One neighbor, usually a router.
    Neighbor {
        /// Its address on the link.
        address: Address,
        /// Its MAC address.
        mac: Mac,
    },
}

/// An unsolicited Neighbor Advertisement (RFC 4861 4.4): S = 0, hop limit 255, with the target link-layer address option.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |   Type = 136  |   Code = 0    |          Checksum             |
/// |R|S|O|                     Reserved                            |
/// |                       Target Address                          |
/// |  Option = 2   |  Length = 1   |    Link-Layer Address ...     |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborAdvertisement {
    /// The MAC address announced; also the frame's source.
    pub mac: Mac,
    /// The IPv6 source: the interface's link-local address, or the target itself. It must be assigned to this host
    /// (RFC 4861 4.4).
    pub source: Ipv6Addr,
    /// The service address.
    pub target: Ipv6Addr,
    /// R: this interface forwards.
    pub router: bool,
    /// O: replace what is in the neighbor's cache.
    pub override_entry: bool,
    /// To whom it goes.
    pub recipient: Recipient<Ipv6Addr>,
    /// The VLAN, as [`vlan_key`](anycast_common::abi::vlan_key); 0 = untagged.
    pub vlan: u32,
}

/// Octets of the ICMPv6 message, option included.
const NA_LENGTH: usize = 32;

/// Field offsets of the ICMPv6 message (RFC 4861 4.4, 4.6.1).
mod na {
    use std::ops::Range;
    pub const TYPE: usize = 0;
    pub const CODE: usize = 1;
    pub const CHECKSUM: Range<usize> = 2..4;
    pub const FLAGS: usize = 4;
    pub const RESERVED: Range<usize> = 5..8;
    pub const TARGET: Range<usize> = 8..24;
    pub const OPTION_TYPE: usize = 24;
    pub const OPTION_LENGTH: usize = 25;
    pub const OPTION_MAC: Range<usize> = 26..32;
}

/// Field offsets of the IPv6 header (RFC 8200 3).
mod ipv6 {
    use std::ops::Range;
    pub const VERSION_CLASS_FLOW: Range<usize> = 0..4;
    pub const PAYLOAD_LENGTH: Range<usize> = 4..6;
    pub const NEXT_HEADER: usize = 6;
    pub const HOP_LIMIT: usize = 7;
    pub const SOURCE: Range<usize> = 8..24;
    pub const DESTINATION: Range<usize> = 24..40;
}

impl NeighborAdvertisement {
    /// Octets that [`emit`](Self::emit) writes.
    pub fn buffer_len(&self) -> usize {
        header_len(self.vlan) + IPV6_HEADER + NA_LENGTH
    }

    /// Writes the frame to the beginning of `buffer` and returns its length.
    ///
    /// # Panics
    /// If `buffer` is shorter than [`buffer_len`](Self::buffer_len); [`FRAME_MAX`] always suffices.
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let (destination, destination_mac) = match self.recipient {
            Recipient::Link => (ALL_NODES, ALL_NODES_MAC),
            Recipient::Neighbor { address, mac } => (address, mac),
        };
        let length = self.buffer_len();
        let header = emit_header(buffer, destination_mac, self.mac, self.vlan, ETHERTYPE_IPV6);
        let (ip, message) = buffer[header..length].split_at_mut(IPV6_HEADER);

        ip[ipv6::VERSION_CLASS_FLOW].copy_from_slice(&[0x60, 0, 0, 0]);
        ip[ipv6::PAYLOAD_LENGTH].copy_from_slice(&(NA_LENGTH as u16).to_be_bytes());
        ip[ipv6::NEXT_HEADER] = libc::IPPROTO_ICMPV6 as u8;
        ip[ipv6::HOP_LIMIT] = 255;
        ip[ipv6::SOURCE].copy_from_slice(&self.source.octets());
        ip[ipv6::DESTINATION].copy_from_slice(&destination.octets());

        message[na::TYPE] = 136;
        message[na::CODE] = 0;
        message[na::CHECKSUM].fill(0);
        message[na::FLAGS] = u8::from(self.router) << 7 | u8::from(self.override_entry) << 5;
        message[na::RESERVED].fill(0);
        message[na::TARGET].copy_from_slice(&self.target.octets());
        message[na::OPTION_TYPE] = 2;
        message[na::OPTION_LENGTH] = 1;
        message[na::OPTION_MAC].copy_from_slice(&self.mac);
        let checksum = icmpv6_checksum(self.source, destination, message);
        message[na::CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
        length
    }

    /// The frame.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut frame = vec![0; self.buffer_len()];
        self.emit(&mut frame);
        frame
    }
}

/// The checksum of an ICMPv6 message whose checksum field is zero (RFC 4443 2.3, RFC 1071).
fn icmpv6_checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u32 {
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum()
    };
    let mut sum = words(&source.octets())
        + words(&destination.octets())
        + message.len() as u32
        + libc::IPPROTO_ICMPV6 as u32
        + words(message);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The form of an ARP announcement. RFC 5227 3 asks for the request; some hosts update only on a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpForm {
    /// Operation 1, target hardware address zero.
    Request,
    /// Operation 2, target hardware address that of the sender: Linux takes a reply with another one for a late answer
    /// and ignores it for a second after the entry's last change (`arp_is_garp`, `locktime`).
    Reply,
}

/// An ARP announcement (RFC 5227 3; RFC 826): sender and target protocol address are both the service address.
///
/// ```text
/// | Ethernet = 1 | IPv4 = 0x0800 | 6 | 4 | operation |
/// | sender hardware (6) | sender protocol (4) | target hardware (6) | target protocol (4) |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpAnnouncement {
    /// The MAC address announced; also the frame's source.
    pub mac: Mac,
    /// The service address.
    pub address: Ipv4Addr,
    /// Request or reply.
    pub form: ArpForm,
    /// To whom it goes. A neighbor's protocol address stands nowhere in the frame: an announcement names only the service
    /// address.
    pub recipient: Recipient<Ipv4Addr>,
    /// The VLAN, as [`vlan_key`](anycast_common::abi::vlan_key); 0 = untagged.
    pub vlan: u32,
}

/// Octets of an ARP packet for Ethernet and IPv4.
const ARP_LENGTH: usize = 28;

/// Field offsets of the ARP packet (RFC 826) for Ethernet and IPv4.
mod arp {
    use std::ops::Range;
    pub const HARDWARE: Range<usize> = 0..2;
    pub const PROTOCOL: Range<usize> = 2..4;
    pub const HARDWARE_LENGTH: usize = 4;
    pub const PROTOCOL_LENGTH: usize = 5;
    pub const OPERATION: Range<usize> = 6..8;
    pub const SENDER_MAC: Range<usize> = 8..14;
    pub const SENDER_ADDRESS: Range<usize> = 14..18;
    pub const TARGET_MAC: Range<usize> = 18..24;
    pub const TARGET_ADDRESS: Range<usize> = 24..28;
}

impl ArpAnnouncement {
    /// Octets that [`emit`](Self::emit) writes.
    pub fn buffer_len(&self) -> usize {
        header_len(self.vlan) + ARP_LENGTH
    }

    /// Writes the frame to the beginning of `buffer` and returns its length.
    ///
    /// # Panics
    /// If `buffer` is shorter than [`buffer_len`](Self::buffer_len); [`FRAME_MAX`] always suffices.
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let destination = match self.recipient {
            Recipient::Link => BROADCAST,
            Recipient::Neighbor { mac, .. } => mac,
        };
        let (operation, target_mac) = match self.form {
            ArpForm::Request => (1u16, [0; 6]),
            ArpForm::Reply => (2, self.mac),
        };
        let length = self.buffer_len();
        let header = emit_header(buffer, destination, self.mac, self.vlan, ETHERTYPE_ARP);
        let packet = &mut buffer[header..length];
        packet[arp::HARDWARE].copy_from_slice(&1u16.to_be_bytes());
        packet[arp::PROTOCOL].copy_from_slice(&0x0800u16.to_be_bytes());
        packet[arp::HARDWARE_LENGTH] = 6;
        packet[arp::PROTOCOL_LENGTH] = 4;
        packet[arp::OPERATION].copy_from_slice(&operation.to_be_bytes());
        packet[arp::SENDER_MAC].copy_from_slice(&self.mac);
        packet[arp::SENDER_ADDRESS].copy_from_slice(&self.address.octets());
        packet[arp::TARGET_MAC].copy_from_slice(&target_mac);
        packet[arp::TARGET_ADDRESS].copy_from_slice(&self.address.octets());
        length
    }

    /// The frame.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut frame = vec![0; self.buffer_len()];
        self.emit(&mut frame);
        frame
    }
}
