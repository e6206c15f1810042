//! Frames, byte for byte, for the packet tests and the lab.
//!
//! These builders share no code with the program under test, and they let every field be wrong: a field that is not
//! given a value computed from the others is written as it stands.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// The broadcast address.
pub const BROADCAST: Mac = [0xff; 6];
/// The group address of `ff02::1` (RFC 2464 7).
pub const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
/// All nodes of the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Tag protocol identifier of a customer VLAN tag (IEEE 802.1Q).
pub const TPID_CUSTOMER: u16 = 0x8100;
/// Tag protocol identifier of a service VLAN tag (IEEE 802.1ad).
pub const TPID_SERVICE: u16 = 0x88a8;

/// Next header of a hop-by-hop options header.
pub const NEXT_HOP_BY_HOP: u8 = 0;
/// Next header or protocol of TCP.
pub const NEXT_TCP: u8 = 6;
/// Next header or protocol of UDP.
pub const NEXT_UDP: u8 = 17;
/// Next header of a routing header.
pub const NEXT_ROUTING: u8 = 43;
/// Next header of a fragment header.
pub const NEXT_FRAGMENT: u8 = 44;
/// Next header of ICMPv6.
pub const NEXT_ICMPV6: u8 = 58;
/// Next header of a destination options header.
pub const NEXT_DESTINATION_OPTIONS: u8 = 60;

/// ICMPv6 type of a Neighbor Solicitation.
pub const TYPE_SOLICITATION: u8 = 135;
/// ICMPv6 type of a Neighbor Advertisement.
pub const TYPE_ADVERTISEMENT: u8 = 136;

/// The router flag of a Neighbor Advertisement.
pub const FLAG_ROUTER: u8 = 0x80;
/// The solicited flag of a Neighbor Advertisement.
pub const FLAG_SOLICITED: u8 = 0x40;
/// The override flag of a Neighbor Advertisement.
pub const FLAG_OVERRIDE: u8 = 0x20;

/// The SYN flag of TCP.
pub const TCP_SYN: u8 = 0x02;
/// The ACK flag of TCP.
pub const TCP_ACK: u8 = 0x10;

/// The solicited-node group of an address (RFC 4291 2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let low = address.octets();
    let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
    group[13..].copy_from_slice(&low[13..]);
    Ipv6Addr::from(group)
}

/// The Ethernet address of an IPv6 group (RFC 2464 7).
pub fn group_mac(group: Ipv6Addr) -> Mac {
    let low = group.octets();
    [0x33, 0x33, low[12], low[13], low[14], low[15]]
}

/// The Internet checksum (RFC 1071) over the parts laid end to end; each part but the last must have an even length.
pub fn internet_checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u64::from(*low));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The checksum of an upper-layer packet behind IPv6 (RFC 8200 8.1) or IPv4. The packet's own checksum field must be zero;
/// the result is zero over a packet that carries the right one.
///
/// # Panics
/// If the addresses are of different families.
pub fn upper_checksum(source: IpAddr, destination: IpAddr, next_header: u8, packet: &[u8]) -> u16 {
    match (source, destination) {
        (IpAddr::V6(source), IpAddr::V6(destination)) => internet_checksum(&[
            &source.octets(),
            &destination.octets(),
            &(packet.len() as u32).to_be_bytes(),
            &[0, 0, 0, next_header],
            packet,
        ]),
        (IpAddr::V4(source), IpAddr::V4(destination)) => internet_checksum(&[
            &source.octets(),
            &destination.octets(),
            &[0, next_header],
            &(packet.len() as u16).to_be_bytes(),
            packet,
        ]),
        _ => panic!("{source} and {destination} are of different families"),
    }
}

/// A VLAN tag: protocol identifier and tag control information (priority, DEI, identifier).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Tag protocol identifier.
    pub tpid: u16,
    /// Priority (3 bits), drop eligible indicator, VLAN identifier (12 bits).
    pub tci: u16,
}

/// A customer tag with this identifier.
pub const fn customer(vid: u16) -> Tag {
    Tag { tpid: TPID_CUSTOMER, tci: vid }
}

/// A service tag with this identifier.
pub const fn service(vid: u16) -> Tag {
    Tag { tpid: TPID_SERVICE, tci: vid }
}

/// The Ethernet part of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ether {
    /// Destination address.
    pub destination: Mac,
    /// Source address.
    pub source: Mac,
    /// VLAN tags, outermost first.
    pub tags: Vec<Tag>,
    /// Bytes behind the network packet (0x5a each), as a sender that pads to the minimum frame leaves them.
    pub padding: usize,
}

impl Ether {
    /// An untagged, unpadded frame.
    pub fn new(destination: Mac, source: Mac) -> Self {
        Self { destination, source, tags: Vec::new(), padding: 0 }
    }

    /// The frame around `payload`.
    pub fn frame(&self, ethertype: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(22 + payload.len() + self.padding);
        frame.extend(self.destination);
        frame.extend(self.source);
        for tag in &self.tags {
            frame.extend(tag.tpid.to_be_bytes());
            frame.extend(tag.tci.to_be_bytes());
        }
        frame.extend(ethertype.to_be_bytes());
        frame.extend(payload);
        frame.resize(frame.len() + self.padding, 0x5a);
        frame
    }
}

/// An IPv6 extension header: its number, and what follows its next-header octet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The number by which the header in front announces it.
    pub number: u8,
    /// The header's octets from the second on.
    pub rest: Vec<u8>,
}

impl Extension {
    /// A header of 8 octets whose only option is padding: hop-by-hop or destination options.
    pub fn padding(number: u8) -> Self {
        Self { number, rest: vec![0, 1, 4, 0, 0, 0, 0] }
    }

    /// A fragment header (RFC 8200 4.5); `offset` in units of 8 octets.
    pub fn fragment(offset: u16, more: bool) -> Self {
        let mut rest = vec![0];
        rest.extend((offset << 3 | u16::from(more)).to_be_bytes());
        rest.extend(0x1234_5678u32.to_be_bytes());
        Self { number: NEXT_FRAGMENT, rest }
    }
}

/// The IPv6 header and what stands between it and the upper layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv6 {
    /// Traffic class and flow label as they stand in the first four octets.
    pub class_and_flow: u32,
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// Hop limit.
    pub hop_limit: u8,
    /// Extension headers, in order.
    pub extensions: Vec<Extension>,
    /// Payload length, if not the true one.
    pub payload_length: Option<u16>,
}

impl Ipv6 {
    /// A plain header; hop limit 255.
    pub fn new(source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        Self {
            class_and_flow: 0,
            source,
            destination,
            hop_limit: 255,
            extensions: Vec::new(),
            payload_length: None,
        }
    }

    /// The packet around `upper`.
    pub fn packet(&self, next_header: u8, upper: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        for (i, extension) in self.extensions.iter().enumerate() {
            body.push(self.extensions.get(i + 1).map_or(next_header, |next| next.number));
            body.extend(&extension.rest);
        }
        body.extend(upper);
        let mut packet = Vec::with_capacity(40 + body.len());
        packet.extend((6 << 28 | self.class_and_flow).to_be_bytes());
        packet.extend(self.payload_length.unwrap_or(body.len() as u16).to_be_bytes());
        packet.push(self.extensions.first().map_or(next_header, |first| first.number));
        packet.push(self.hop_limit);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(body);
        packet
    }
}

/// The IPv4 header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Flags (3 bits) and fragment offset (13 bits).
    pub fragment: u16,
    /// Options; a multiple of four octets.
    pub options: Vec<u8>,
    /// Total length, if not the true one.
    pub total_length: Option<u16>,
}

impl Ipv4 {
    /// A plain header that forbids fragmentation.
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Self { source, destination, fragment: 0x4000, options: Vec::new(), total_length: None }
    }

    /// The packet around `upper`.
    pub fn packet(&self, protocol: u8, upper: &[u8]) -> Vec<u8> {
        let header = 20 + self.options.len();
        let mut packet = vec![0x40 | (header / 4) as u8, 0];
        packet.extend(self.total_length.unwrap_or((header + upper.len()) as u16).to_be_bytes());
        packet.extend(0x4242u16.to_be_bytes());
        packet.extend(self.fragment.to_be_bytes());
        packet.extend([64, protocol, 0, 0]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(&self.options);
        let checksum = internet_checksum(&[&packet]);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        packet.extend(upper);
        packet
    }
}

/// A neighbour discovery option of any type; the body is padded with zeros to a multiple of 8 octets.
pub fn option(kind: u8, body: &[u8]) -> Vec<u8> {
    let units = (2 + body.len()).div_ceil(8);
    let mut option = vec![kind, units as u8];
    option.extend(body);
    option.resize(units * 8, 0);
    option
}

/// A source link-layer address option (RFC 4861 4.6.1).
pub fn source_link_layer(mac: Mac) -> Vec<u8> {
    option(1, &mac)
}

/// A target link-layer address option (RFC 4861 4.6.1).
pub fn target_link_layer(mac: Mac) -> Vec<u8> {
    option(2, &mac)
}

/// A nonce option (RFC 3971 5.3.2, used by RFC 7527).
pub fn nonce(nonce: [u8; 6]) -> Vec<u8> {
    option(14, &nonce)
}

/// A Neighbor Solicitation or Advertisement (RFC 4861 4.3, 4.4) in its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// Ethernet.
    pub ether: Ether,
    /// IPv6.
    pub ip: Ipv6,
    /// ICMPv6 type.
    pub kind: u8,
    /// ICMPv6 code.
    pub code: u8,
    /// The first octet behind the checksum: flags of an advertisement, reserved in a solicitation.
    pub flags: u8,
    /// Target address.
    pub target: Ipv6Addr,
    /// Options, laid end to end.
    pub options: Vec<u8>,
    /// If given, the message is cut to this many octets of ICMPv6 (before the checksum is computed).
    pub cut: Option<usize>,
    /// XORed into the right checksum.
    pub checksum_fault: u16,
}

impl Neighbor {
    /// A multicast solicitation as a router sends it when it resolves `target`, with its source link-layer address option.
    pub fn solicitation(mac: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Self {
        let group = solicited_node(target);
        Self {
            ether: Ether::new(group_mac(group), mac),
            ip: Ipv6::new(source, group),
            kind: TYPE_SOLICITATION,
            code: 0,
            flags: 0,
            target,
            options: source_link_layer(mac),
            cut: None,
            checksum_fault: 0,
        }
    }

    /// A unicast reachability probe, without option, to the neighbour that the cache names.
    pub fn probe(mac: Mac, source: Ipv6Addr, target: Ipv6Addr, neighbour: Mac) -> Self {
        Self {
            ether: Ether::new(neighbour, mac),
            ip: Ipv6::new(source, target),
            options: Vec::new(),
            ..Self::solicitation(mac, source, target)
        }
    }

    /// A stranger's duplicate address detection (RFC 4862 5.4.2).
    pub fn duplicate_detection(mac: Mac, target: Ipv6Addr) -> Self {
        Self { options: Vec::new(), ..Self::solicitation(mac, Ipv6Addr::UNSPECIFIED, target) }
    }

    /// An unsolicited advertisement to all nodes, with Override and the target link-layer address option.
    pub fn advertisement(mac: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Self {
        Self {
            ether: Ether::new(ALL_NODES_MAC, mac),
            ip: Ipv6::new(source, ALL_NODES),
            kind: TYPE_ADVERTISEMENT,
            flags: FLAG_OVERRIDE,
            options: target_link_layer(mac),
            ..Self::solicitation(mac, source, target)
        }
    }

    /// The ICMPv6 message.
    pub fn message(&self) -> Vec<u8> {
        let mut message = vec![self.kind, self.code, 0, 0, self.flags, 0, 0, 0];
        message.extend(self.target.octets());
        message.extend(&self.options);
        message.truncate(self.cut.unwrap_or(usize::MAX));
        if message.len() >= 4 {
            let checksum =
                upper_checksum(self.ip.source.into(), self.ip.destination.into(), NEXT_ICMPV6, &message);
            message[2..4].copy_from_slice(&(checksum ^ self.checksum_fault).to_be_bytes());
        }
        message
    }

    /// The frame.
    pub fn frame(&self) -> Vec<u8> {
        self.ether.frame(ETHERTYPE_IPV6, &self.ip.packet(NEXT_ICMPV6, &self.message()))
    }
}

/// An ARP packet (RFC 826) in its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Ethernet.
    pub ether: Ether,
    /// Hardware type; 1 = Ethernet.
    pub hardware: u16,
    /// Protocol type; 0x0800 = IPv4.
    pub protocol: u16,
    /// Length of a hardware address.
    pub hardware_length: u8,
    /// Length of a protocol address.
    pub protocol_length: u8,
    /// 1 = request, 2 = reply.
    pub operation: u16,
    /// Sender's hardware address.
    pub sender_mac: Mac,
    /// Sender's protocol address.
    pub sender: Ipv4Addr,
    /// Target's hardware address.
    pub target_mac: Mac,
    /// Target's protocol address.
    pub target: Ipv4Addr,
}

impl Arp {
    /// A broadcast request for `target`.
    pub fn request(mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Self {
        Self {
            ether: Ether::new(BROADCAST, mac),
            hardware: 1,
            protocol: ETHERTYPE_IPV4,
            hardware_length: 6,
            protocol_length: 4,
            operation: 1,
            sender_mac: mac,
            sender,
            target_mac: [0; 6],
            target,
        }
    }

    /// A reply that tells `receiver` that `sender` is at `mac`.
    pub fn reply(mac: Mac, sender: Ipv4Addr, receiver_mac: Mac, receiver: Ipv4Addr) -> Self {
        Self {
            ether: Ether::new(receiver_mac, mac),
            operation: 2,
            target_mac: receiver_mac,
            ..Self::request(mac, sender, receiver)
        }
    }

    /// An announcement (RFC 5227 3): a request whose sender and target are the same address.
    pub fn announcement(mac: Mac, address: Ipv4Addr) -> Self {
        Self::request(mac, address, address)
    }

    /// The frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut packet = Vec::with_capacity(28);
        packet.extend(self.hardware.to_be_bytes());
        packet.extend(self.protocol.to_be_bytes());
        packet.push(self.hardware_length);
        packet.push(self.protocol_length);
        packet.extend(self.operation.to_be_bytes());
        packet.extend(self.sender_mac);
        packet.extend(self.sender.octets());
        packet.extend(self.target_mac);
        packet.extend(self.target.octets());
        self.ether.frame(ETHERTYPE_ARP, &packet)
    }
}

/// A UDP datagram; the checksum is right. `length` is the length field, if not the true one.
pub fn udp(
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
    payload: &[u8],
    length: Option<u16>,
) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(8 + payload.len());
    datagram.extend(source.1.to_be_bytes());
    datagram.extend(destination.1.to_be_bytes());
    datagram.extend(length.unwrap_or(8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    let checksum = upper_checksum(source.0, destination.0, NEXT_UDP, &datagram);
    datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
    datagram
}

/// A TCP segment without options; the checksum is right.
pub fn tcp(source: (IpAddr, u16), destination: (IpAddr, u16), flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::with_capacity(20 + payload.len());
    segment.extend(source.1.to_be_bytes());
    segment.extend(destination.1.to_be_bytes());
    segment.extend(0x0102_0304u32.to_be_bytes());
    segment.extend(if flags & TCP_ACK != 0 { 0x0506_0708u32 } else { 0 }.to_be_bytes());
    segment.extend([5 << 4, flags]);
    segment.extend(65_535u16.to_be_bytes());
    segment.extend([0, 0, 0, 0]);
    segment.extend(payload);
    let checksum = upper_checksum(source.0, destination.0, NEXT_TCP, &segment);
    segment[16..18].copy_from_slice(&checksum.to_be_bytes());
    segment
}

/// A DNS message (RFC 1035 4.1): one question for the SOA of `example.`; `response` sets QR.
pub fn dns(response: bool) -> Vec<u8> {
    let mut message = vec![0xbe, 0xef, if response { 0x80 } else { 0 } | 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(b"\x07example\x00");
    message.extend([0, 6, 0, 1]);
    message
}

#[cfg(test)]
mod tests;
