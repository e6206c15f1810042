//! Unsolicited advertisements as whole Ethernet frames: the Neighbor Advertisement (RFC 4861 7.2.6) and the ARP
//! announcement (RFC 5227 3).
//!
//! The types are the meaning, `emit` writes the bytes: every byte of the frame, whatever the buffer held before. Padding to
//! Ethernet's 60 bytes is the driver's.

use std::net::{Ipv4Addr, Ipv6Addr};

use anycast_common::packet::{address, arp, checksum, ethernet, ipv6, ndp, vlan};

/// A MAC address.
pub type Mac = [u8; 6];

/// Most octets of further options in a Neighbor Advertisement: a signed one of the farm.
pub const OPTIONS_MAX: usize = anycast_common::abi::OPTION_SIGNED;

/// The longest frame of this module: two VLAN tags, IPv6 header and a Neighbor Advertisement with all options.
pub const FRAME_MAX: usize =
    ethernet::LENGTH + vlan::TAGS_MAX * vlan::LENGTH + ipv6::LENGTH + ndp::LENGTH_WITH_OPTION + OPTIONS_MAX;

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

/// A Neighbor Advertisement (RFC 4861 4.4): hop limit 255, with the target link-layer address option; unsolicited
/// (RFC 4861 7.2.6), unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborAdvertisement<'a> {
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
    /// S: the answer to a solicitation (RFC 4861 7.2.4); never with [`Recipient::Link`].
    pub solicited: bool,
    /// To whom it goes.
    pub recipient: Recipient<Ipv6Addr>,
    /// The VLAN, as [`vlan_key`](anycast_common::abi::vlan_key); 0 = untagged.
    pub vlan: u32,
    /// Further options, behind the target link-layer address option: whole units of eight octets, at most [`OPTIONS_MAX`].
    pub options: &'a [u8],
}

impl NeighborAdvertisement<'_> {
    /// Octets that [`emit`](Self::emit) writes.
    pub fn buffer_len(&self) -> usize {
        header_len(self.vlan) + ipv6::LENGTH + ndp::LENGTH_WITH_OPTION + self.options.len()
    }

    /// Writes the frame to the beginning of `buffer` and returns its length.
    ///
    /// # Panics
    /// If `buffer` is shorter than [`buffer_len`](Self::buffer_len); [`FRAME_MAX`] always suffices.
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let (destination, mac) = match self.recipient {
            Recipient::Link => (ipv6::ALL_NODES, ethernet::ALL_NODES),
            Recipient::Neighbor { address, mac } => (words(address), mac),
        };
        let router = if self.router { ndp::ROUTER } else { 0 };
        let override_entry = if self.override_entry { ndp::OVERRIDE } else { 0 };
        let solicited = if self.solicited { ndp::SOLICITED } else { 0 };
        let packet = ndp::advertisement_packet(
            words(self.source),
            destination,
            words(self.target),
            self.mac,
            router | solicited | override_entry,
        );
        if self.options.is_empty() {
            return emit_frame(buffer, (mac, self.mac), self.vlan, ethernet::IPV6, &packet);
        }
        let mut packet = [&packet[..], self.options].concat();
        let length = packet.len() - ipv6::LENGTH;
        // At most `OPTIONS_MAX` and the fixed part.
        packet[ipv6::PAYLOAD_LENGTH..ipv6::NEXT_HEADER].copy_from_slice(&(length as u16).to_be_bytes());
        let field = ipv6::LENGTH + ndp::CHECKSUM;
        packet[field..field + 2].fill(0);
        let sum = checksum::pseudo_header(words(self.source), destination, length as u32, ipv6::ICMPV6)
            + checksum::sum(&packet[ipv6::LENGTH..]);
        packet[field..field + 2].copy_from_slice(&(!checksum::fold(sum)).to_ne_bytes());
        emit_frame(buffer, (mac, self.mac), self.vlan, ethernet::IPV6, &packet)
    }

    /// The frame.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut frame = vec![0; self.buffer_len()];
        self.emit(&mut frame);
        frame
    }
}

/// The form of an ARP announcement. Linux takes either alike in every state of an existing entry; RFC 5227 3 asks for the
/// request, some hosts update only on a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpForm {
    /// Operation 1, target hardware address zero.
    Request,
    /// Operation 2, target hardware address that of the sender: Linux takes a reply with another one for a late answer
    /// and ignores it for a second after the entry's last change (`arp_is_garp`, `locktime`).
    Reply,
}

/// An ARP announcement (RFC 5227 3): sender and target protocol address are both the service address.
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

impl ArpAnnouncement {
    /// Octets that [`emit`](Self::emit) writes.
    pub fn buffer_len(&self) -> usize {
        header_len(self.vlan) + arp::LENGTH
    }

    /// Writes the frame to the beginning of `buffer` and returns its length.
    ///
    /// # Panics
    /// If `buffer` is shorter than [`buffer_len`](Self::buffer_len); [`FRAME_MAX`] always suffices.
    pub fn emit(&self, buffer: &mut [u8]) -> usize {
        let destination = match self.recipient {
            Recipient::Link => ethernet::BROADCAST,
            Recipient::Neighbor { mac, .. } => mac,
        };
        let protocol = self.address.octets();
        let packet = match self.form {
            ArpForm::Request => arp::announcement(self.mac, protocol),
            ArpForm::Reply => arp::packet(arp::REPLY, (self.mac, protocol), (self.mac, protocol)),
        };
        emit_frame(buffer, (destination, self.mac), self.vlan, ethernet::ARP, &packet)
    }

    /// The frame.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut frame = vec![0; self.buffer_len()];
        self.emit(&mut frame);
        frame
    }
}

/// An address as words in memory order.
fn words(ip: Ipv6Addr) -> [u32; 4] {
    address(&ip.octets(), 0)
}

/// The VLAN identifiers of `vlan`, outermost first; `None` where there is no tag.
fn identifiers(vlan: u32) -> [Option<u16>; vlan::TAGS_MAX] {
    let identifier =
        |bits: u32| Some(bits as u16 & vlan::IDENTIFIER_MASK).filter(|identifier| *identifier != 0);
    [identifier(vlan >> 12), identifier(vlan)]
}

/// The length of the Ethernet header with the tags of `vlan`.
fn header_len(vlan: u32) -> usize {
    ethernet::LENGTH + vlan::LENGTH * identifiers(vlan).iter().flatten().count()
}

/// Writes a frame from `macs.1` to `macs.0`, with the tags of `vlan`, and returns its length. Two tags are a service tag
/// around a customer tag (IEEE 802.1ad), one is a customer tag; priority is 0.
fn emit_frame(buffer: &mut [u8], macs: (Mac, Mac), vlan: u32, ether_type: u16, packet: &[u8]) -> usize {
    buffer[ethernet::DESTINATION..ethernet::SOURCE].copy_from_slice(&macs.0);
    buffer[ethernet::SOURCE..ethernet::ETHER_TYPE].copy_from_slice(&macs.1);
    // Each tag follows the EtherType that announces it.
    let mut at = ethernet::ETHER_TYPE;
    let identifiers = identifiers(vlan);
    for (depth, identifier) in identifiers.into_iter().enumerate() {
        let Some(identifier) = identifier else { continue };
        let tag = if depth == 0 { vlan::SERVICE } else { vlan::CUSTOMER };
        buffer[at..at + 2].copy_from_slice(&tag.to_be_bytes());
        buffer[at + 2..at + vlan::LENGTH].copy_from_slice(&identifier.to_be_bytes());
        at += vlan::LENGTH;
    }
    buffer[at..at + 2].copy_from_slice(&ether_type.to_be_bytes());
    let payload = at + 2;
    let end = payload + packet.len();
    buffer[payload..end].copy_from_slice(packet);
    end
}

#[cfg(test)]
mod tests {
    use anycast_common::abi::vlan_key;

    use super::*;

    const MAC: Mac = [0x02, 0x00, 0x5e, 0x00, 0x53, 0x01];
    const ROUTER_MAC: Mac = [0x02, 0x00, 0x5e, 0x00, 0x53, 0xfe];
    const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x5eff, 0xfe00, 0x5301);
    const TARGET: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x53);
    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

    const TO_THE_LINK: NeighborAdvertisement<'_> = NeighborAdvertisement {
        mac: MAC,
        source: LINK_LOCAL,
        target: TARGET,
        router: false,
        override_entry: true,
        solicited: false,
        recipient: Recipient::Link,
        vlan: 0,
        options: &[],
    };

    const ANNOUNCEMENT: ArpAnnouncement = ArpAnnouncement {
        mac: MAC,
        address: Ipv4Addr::new(192, 0, 2, 53),
        form: ArpForm::Request,
        recipient: Recipient::Link,
        vlan: 0,
    };

    /// Emits into a buffer full of other bytes and one too long: what is left over must be untouched.
    fn dirty(emit: impl Fn(&mut [u8]) -> usize, buffer_len: usize) -> String {
        let mut buffer = [0x2a; FRAME_MAX + 4];
        let length = emit(&mut buffer);
        assert_eq!(length, buffer_len);
        assert!(buffer[length..].iter().all(|octet| *octet == 0x2a));
        buffer[..length].iter().map(|octet| format!("{octet:02x}")).collect()
    }

    fn na(na: NeighborAdvertisement<'_>) -> String {
        dirty(|buffer| na.emit(buffer), na.buffer_len())
    }

    fn arp(announcement: ArpAnnouncement) -> String {
        dirty(|buffer| announcement.emit(buffer), announcement.buffer_len())
    }

    // The expected frames were made by scapy 2.8.

    #[test]
    fn na_to_the_link() {
        assert_eq!(
            na(TO_THE_LINK),
            "33330000000102005e00530186dd\
             6000000000203afffe8000000000000000005efffe005301ff020000000000000000000000000001\
             8800c70e2000000020010db8000100000000000000000053020102005e005301"
        );
    }

    #[test]
    fn na_with_a_further_option() {
        let option = [253, 1, 1, 2, 3, 4, 5, 6];
        let frame = NeighborAdvertisement { options: &option, ..TO_THE_LINK }.to_vec();
        let plain = TO_THE_LINK.to_vec();
        let (field, payload_length) = (14 + 40 + 2, 14 + 4);
        assert_eq!(frame[payload_length..payload_length + 2], [0, 40]);
        assert_eq!(frame[frame.len() - 8..], option);
        for at in (0..plain.len()).filter(|at| ![payload_length + 1, field, field + 1].contains(at)) {
            assert_eq!(frame[at], plain[at], "octet {at}");
        }
        // The sum of everything, checksum included, is all ones (RFC 1071).
        let (source, destination) = (words(LINK_LOCAL), ipv6::ALL_NODES);
        let sum = |frame: &[u8]| {
            let length = (frame.len() - 14 - 40) as u32;
            checksum::pseudo_header(source, destination, length, ipv6::ICMPV6)
                + checksum::sum(&frame[14 + 40..])
        };
        let sum = |frame: &[u8]| checksum::fold(sum(frame));
        assert_eq!(sum(&frame), checksum::VALID);
        assert_eq!(sum(&plain), checksum::VALID);
        let mut wrong = frame;
        *wrong.last_mut().unwrap() ^= 1;
        assert_ne!(sum(&wrong), checksum::VALID);
    }

    #[test]
    fn na_of_a_router_without_override_from_the_target_on_a_vlan() {
        assert_eq!(
            na(NeighborAdvertisement {
                source: TARGET,
                router: true,
                override_entry: false,
                vlan: vlan_key(&[7]),
                ..TO_THE_LINK
            }),
            "33330000000102005e0053018100000786dd\
             6000000000203aff20010db8000100000000000000000053ff020000000000000000000000000001\
             8800e7838000000020010db8000100000000000000000053020102005e005301"
        );
    }

    #[test]
    fn na_to_one_neighbor_behind_two_tags() {
        assert_eq!(
            na(NeighborAdvertisement {
                recipient: Recipient::Neighbor { address: ROUTER, mac: ROUTER_MAC },
                vlan: vlan_key(&[100, 7]),
                ..TO_THE_LINK
            }),
            "02005e0053fe02005e00530188a800648100000786dd\
             6000000000203afffe8000000000000000005efffe005301fe800000000000000000000000000001\
             8800c7902000000020010db8000100000000000000000053020102005e005301"
        );
    }

    #[test]
    fn announcement_as_a_request_to_the_link() {
        assert_eq!(
            arp(ANNOUNCEMENT),
            "ffffffffffff02005e0053010806\
             000108000604000102005e005301c0000235000000000000c0000235"
        );
    }

    #[test]
    fn announcement_as_a_reply_to_one_neighbor_on_a_vlan() {
        assert_eq!(
            arp(ArpAnnouncement {
                form: ArpForm::Reply,
                recipient: Recipient::Neighbor { address: Ipv4Addr::new(192, 0, 2, 1), mac: ROUTER_MAC },
                vlan: vlan_key(&[4094]),
                ..ANNOUNCEMENT
            }),
            "02005e0053fe02005e00530181000ffe0806\
             000108000604000202005e005301c000023502005e005301c0000235"
        );
    }

    #[test]
    fn longest_frame_fits() {
        let longest = NeighborAdvertisement {
            vlan: vlan_key(&[4094, 4094]),
            options: &[0; OPTIONS_MAX],
            ..TO_THE_LINK
        };
        assert_eq!(longest.buffer_len(), FRAME_MAX);
        assert_eq!(longest.to_vec().len(), FRAME_MAX);
    }
}
