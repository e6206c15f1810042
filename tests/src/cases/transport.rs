//! What the fast path only counts: DNS over UDP, SYNs over TCP, fragments; and what it does not look at.

use std::net::{IpAddr, Ipv6Addr};

use anycast_common::abi::Counters;

use super::*;
use crate::frames::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ether, Extension, Ipv4, Ipv6, NEXT_DESTINATION_OPTIONS, NEXT_ICMPV6,
    NEXT_TCP, NEXT_UDP, TCP_ACK, TCP_SYN, customer, dns, tcp, udp,
};

const PORT: u16 = 40_000;

fn ether() -> Ether {
    Ether::new(MAC, ROUTER_MAC)
}

fn udp6(ether: &Ether, destination: Ipv6Addr, port: u16, payload: &[u8]) -> Vec<u8> {
    let datagram = udp((CLIENT.into(), PORT), (destination.into(), port), payload, None);
    ether.frame(ETHERTYPE_IPV6, &Ipv6::new(CLIENT, destination).packet(NEXT_UDP, &datagram))
}

fn udp4(ether: &Ether, ip: &Ipv4, port: u16, payload: &[u8]) -> Vec<u8> {
    let datagram = udp((ip.source.into(), PORT), (ip.destination.into(), port), payload, None);
    ether.frame(ETHERTYPE_IPV4, &ip.packet(NEXT_UDP, &datagram))
}

fn tcp6(port: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let segment = tcp((CLIENT.into(), PORT), (PLAIN_ADDRESS.into(), port), flags, payload);
    ether().frame(ETHERTYPE_IPV6, &Ipv6::new(CLIENT, PLAIN_ADDRESS).packet(NEXT_TCP, &segment))
}

fn tcp4(port: u16, flags: u8) -> Vec<u8> {
    let segment = tcp((CLIENT4.into(), PORT), (PLAIN4_ADDRESS.into(), port), flags, b"");
    ether().frame(ETHERTYPE_IPV4, &Ipv4::new(CLIENT4, PLAIN4_ADDRESS).packet(NEXT_TCP, &segment))
}

fn pass(name: &'static str, control: &'static str, frame: Vec<u8>) -> Case {
    let expect = passes(&frame);
    Case::new(name, control, frame, expect)
}

fn count(name: &'static str, control: &'static str, frame: Vec<u8>, index: usize, what: Counters) -> Case {
    let bytes = if what.fragments == 0 { frame.len() as u64 } else { 0 };
    let expect = counts(&frame, index, Counters { bytes, ..what });
    Case::new(name, control, frame, expect)
}

fn query() -> Counters {
    Counters { queries: 1, ..Counters::default() }
}

fn malformed() -> Counters {
    Counters { malformed: 1, ..Counters::default() }
}

fn syn() -> Counters {
    Counters { tcp_syns: 1, ..Counters::default() }
}

fn fragment() -> Counters {
    Counters { fragments: 1, ..Counters::default() }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = datagrams();
    cases.extend(segments());
    cases.extend(fragments());
    cases.extend(untouched());
    cases
}

fn datagrams() -> Vec<Case> {
    let response = Counters { responses: 1, ..Counters::default() };
    let tagged = Ether { tags: vec![customer(7)], ..ether() };
    let other_vlan = Ether { tags: vec![customer(8)], ..ether() };
    let other_mac = Ether { destination: OTHER_MAC, ..ether() };
    let padded = Ether { padding: 9, ..ether() };
    let plain4 = Ipv4::new(CLIENT4, PLAIN4_ADDRESS);
    let with_options = Ipv4 { options: vec![1, 1, 1, 0], ..plain4.clone() };
    let mut without_header = udp4(&ether(), &plain4, 53, &dns(false));
    without_header[14] = 0x44;
    let short_length = {
        let datagram = udp((CLIENT.into(), PORT), (PLAIN_ADDRESS.into(), 53), &dns(false), Some(19));
        ether().frame(ETHERTYPE_IPV6, &Ipv6::new(CLIENT, PLAIN_ADDRESS).packet(NEXT_UDP, &datagram))
    };
    let mut wrong_checksum = udp6(&ether(), PLAIN_ADDRESS, 53, &dns(false));
    wrong_checksum[14 + 40 + 6] ^= 0xff;
    let mut short = dns(false);
    short.truncate(11);
    let mut header = dns(false);
    header.truncate(12);
    vec![
        count(
            "query",
            "query to another port",
            udp6(&ether(), PLAIN_ADDRESS, 53, &dns(false)),
            PLAIN,
            query(),
        ),
        count("response", "query", udp6(&ether(), PLAIN_ADDRESS, 53, &dns(true)), PLAIN, response),
        count("query for the twin", "query", udp6(&ether(), TWIN_ADDRESS, 53, &dns(false)), TWIN, query()),
        pass("query to another port", "query", udp6(&ether(), PLAIN_ADDRESS, 54, &dns(false))),
        // 117 = 53 + 64, 853 is a port of another service: the same bits of the port filter.
        pass(
            "query to a port that the filter takes for 53",
            "query",
            udp6(&ether(), PLAIN_ADDRESS, 117, &dns(false)),
        ),
        pass("query to another service's port", "query", udp6(&ether(), PLAIN_ADDRESS, 853, &dns(false))),
        count(
            "query on vlan 7",
            "query on vlan 8",
            udp6(&tagged, PLAIN_ADDRESS, 53, &dns(false)),
            TAGGED,
            query(),
        ),
        count(
            "query to the second port",
            "query to another service's port",
            udp6(&tagged, PLAIN_ADDRESS, 853, &dns(false)),
            TAGGED,
            query(),
        ),
        pass("query on vlan 8", "query on vlan 7", udp6(&other_vlan, PLAIN_ADDRESS, 53, &dns(false))),
        pass("query to another mac", "query", udp6(&other_mac, PLAIN_ADDRESS, 53, &dns(false))),
        pass("query to a foreign address", "query", udp6(&ether(), FOREIGN_ADDRESS, 53, &dns(false))),
        // The table holds IPv4 addresses in this form; no packet may carry it (RFC 4291 2.5.5.2).
        pass(
            "query to the IPv4 service's mapped address",
            "query",
            udp6(&ether(), PLAIN4_ADDRESS.to_ipv6_mapped(), 53, &dns(false)),
        ),
        count("query with a partial checksum", "query to another port", wrong_checksum, PLAIN, query()),
        count("query padded", "query", udp6(&padded, PLAIN_ADDRESS, 53, &dns(false)), PLAIN, query()),
        count(
            "query, gate shut",
            "query to another port",
            udp6(&ether(), PLAIN_ADDRESS, 53, &dns(false)),
            PLAIN,
            query(),
        )
        .with_gate(PLAIN, SHUT),
        count(
            "datagram of 11 octets",
            "datagram of 12 octets",
            udp6(&ether(), PLAIN_ADDRESS, 53, &short),
            PLAIN,
            malformed(),
        ),
        count(
            "datagram of 12 octets",
            "datagram of 11 octets",
            udp6(&ether(), PLAIN_ADDRESS, 53, &header),
            PLAIN,
            query(),
        ),
        count(
            "datagram without payload",
            "datagram of 12 octets",
            udp6(&ether(), PLAIN_ADDRESS, 53, b""),
            PLAIN,
            malformed(),
        ),
        // The IPv6 header says where the packet ends, not the frame.
        count(
            "datagram of 11 octets, padded",
            "datagram of 12 octets",
            udp6(&padded, PLAIN_ADDRESS, 53, &short),
            PLAIN,
            malformed(),
        ),
        count(
            "query over ipv4",
            "query over ipv4 to another port",
            udp4(&ether(), &plain4, 53, &dns(false)),
            PLAIN4,
            query(),
        ),
        pass("query over ipv4 to another port", "query over ipv4", udp4(&ether(), &plain4, 54, &dns(false))),
        count(
            "response over ipv4",
            "query over ipv4",
            udp4(&ether(), &plain4, 53, &dns(true)),
            PLAIN4,
            response,
        ),
        count(
            "query over ipv4 on vlan 7",
            "query over ipv4",
            udp4(&tagged, &plain4, 53, &dns(false)),
            TAGGED4,
            query(),
        ),
        count(
            "query over ipv4 with options",
            "query over ipv4 to another port",
            udp4(&ether(), &with_options, 53, &dns(false)),
            PLAIN4,
            query(),
        ),
        pass("query over ipv4 with a header of four words", "query over ipv4", without_header),
        count(
            "datagram that says it has 19 octets",
            "datagram of 12 octets",
            short_length,
            PLAIN,
            malformed(),
        ),
        pass(
            "query over ipv4 to a foreign address",
            "query over ipv4",
            udp4(&ether(), &Ipv4::new(CLIENT4, FOREIGN4_ADDRESS), 53, &dns(false)),
        ),
        pass("query over ipv4 to another mac", "query over ipv4", udp4(&other_mac, &plain4, 53, &dns(false))),
        count(
            "datagram over ipv4 of 11 octets, padded",
            "query over ipv4",
            udp4(&padded, &plain4, 53, &short),
            PLAIN4,
            malformed(),
        ),
    ]
}

fn segments() -> Vec<Case> {
    vec![
        count("tcp syn", "tcp ack", tcp6(53, TCP_SYN, b""), PLAIN, syn()),
        pass("tcp ack", "tcp syn", tcp6(53, TCP_ACK, b"")),
        pass("tcp syn and ack", "tcp syn", tcp6(53, TCP_SYN | TCP_ACK, b"")),
        pass("tcp data", "tcp syn", tcp6(53, TCP_ACK | 0x08, &dns(false))),
        pass("tcp syn to another port", "tcp syn", tcp6(54, TCP_SYN, b"")),
        count("tcp syn with ecn", "tcp ack", tcp6(53, TCP_SYN | 0xc0, b""), PLAIN, syn()),
        count("tcp syn over ipv4", "tcp ack over ipv4", tcp4(53, TCP_SYN), PLAIN4, syn()),
        pass("tcp ack over ipv4", "tcp syn over ipv4", tcp4(53, TCP_ACK)),
        pass("tcp syn over ipv4 to another port", "tcp syn over ipv4", tcp4(54, TCP_SYN)),
    ]
}

fn fragments() -> Vec<Case> {
    let datagram = udp((CLIENT.into(), PORT), (PLAIN_ADDRESS.into(), 53), &dns(false), None);
    let fragment6 = |ether: &Ether, destination: Ipv6Addr, offset: u16, more: bool, next: u8| {
        let mut ip = Ipv6::new(CLIENT, destination);
        ip.extensions = vec![Extension::fragment(offset, more)];
        ether.frame(ETHERTYPE_IPV6, &ip.packet(next, &datagram))
    };
    let fragment4 = |bits: u16| Ipv4 { fragment: bits, ..Ipv4::new(CLIENT4, PLAIN4_ADDRESS) };
    let other_mac = Ether { destination: OTHER_MAC, ..ether() };
    let mut other_version = udp4(&ether(), &fragment4(185), 53, &dns(false));
    other_version[14] = 0x65;
    vec![
        pass("later fragment over ipv4 of another version", "later fragment over ipv4", other_version),
        count(
            "first fragment",
            "query",
            fragment6(&ether(), PLAIN_ADDRESS, 0, true, NEXT_UDP),
            PLAIN,
            fragment(),
        ),
        count(
            "later fragment",
            "fragment to a foreign address",
            fragment6(&ether(), PLAIN_ADDRESS, 181, false, NEXT_UDP),
            PLAIN,
            fragment(),
        ),
        count(
            "fragment of tcp",
            "fragment to another mac",
            fragment6(&ether(), PLAIN_ADDRESS, 181, true, NEXT_TCP),
            PLAIN,
            fragment(),
        ),
        pass(
            "fragment to a foreign address",
            "first fragment",
            fragment6(&ether(), FOREIGN_ADDRESS, 0, true, NEXT_UDP),
        ),
        pass(
            "fragment to the IPv4 service's mapped address",
            "first fragment",
            fragment6(&ether(), PLAIN4_ADDRESS.to_ipv6_mapped(), 0, true, NEXT_UDP),
        ),
        pass(
            "fragment to another mac",
            "first fragment",
            fragment6(&other_mac, PLAIN_ADDRESS, 0, true, NEXT_UDP),
        ),
        count(
            "first fragment over ipv4",
            "query over ipv4",
            udp4(&ether(), &fragment4(0x2000), 53, &dns(false)),
            PLAIN4,
            fragment(),
        ),
        count(
            "later fragment over ipv4",
            "query over ipv4",
            udp4(&ether(), &fragment4(185), 53, &dns(false)),
            PLAIN4,
            fragment(),
        ),
    ]
}

fn untouched() -> Vec<Case> {
    let echo = |destination: Ipv6Addr| {
        let mut message = vec![128, 0, 0, 0, 1, 2, 3, 4];
        let checksum = crate::frames::upper_checksum(
            IpAddr::from(CLIENT),
            IpAddr::from(destination),
            NEXT_ICMPV6,
            &message,
        );
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        ether().frame(ETHERTYPE_IPV6, &Ipv6::new(CLIENT, destination).packet(NEXT_ICMPV6, &message))
    };
    let behind_options = {
        let datagram = udp((CLIENT.into(), PORT), (PLAIN_ADDRESS.into(), 53), &dns(false), None);
        let mut ip = Ipv6::new(CLIENT, PLAIN_ADDRESS);
        ip.extensions = vec![Extension::padding(NEXT_DESTINATION_OPTIONS)];
        ether().frame(ETHERTYPE_IPV6, &ip.packet(NEXT_UDP, &datagram))
    };
    let query = udp6(&ether(), PLAIN_ADDRESS, 53, &dns(false));
    vec![
        pass("echo request", "ns unicast probe", echo(PLAIN_ADDRESS)),
        pass("query behind destination options", "query", behind_options),
        count("query cut off inside dns", "query", query[..14 + 40 + 8 + 11].to_vec(), PLAIN, malformed()),
        pass("query cut off inside udp", "query", query[..14 + 40 + 6].to_vec()),
        pass("query cut off inside ipv6", "query", query[..14 + 30].to_vec()),
        pass("frame of another ethertype", "query", ether().frame(0x88cc, &query[14..])),
        pass("frame without network packet", "query", query[..14].to_vec()),
    ]
}
