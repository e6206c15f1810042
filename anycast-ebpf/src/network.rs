//! IPv6 and IPv4: what is behind the header, and which part of the program it is for.

use anycast_common::{
    abi::{Drop, IPV4_KEY},
    packet::{address_halves, be16, ethernet, halves, ipv4, ipv6, mapped, ndp, ne32, octet},
};

use crate::{
    arp,
    frame::Frame,
    neighbour,
    transport::{Transport, count_fragment, count_tcp, count_udp},
    verdict::Verdict,
};

/// The verdict on a frame. The EtherTypes that are none of this program's business pass first.
#[inline(always)]
pub fn judge<const EXTRA: bool>(frame: Frame) -> Option<Verdict> {
    match frame.ether_type {
        ethernet::IPV6 => judge_ipv6::<EXTRA>(frame),
        ethernet::IPV4 => judge_ipv4(frame),
        ethernet::ARP => arp::judge::<EXTRA>(frame),
        _ => None,
    }
}

/// IPv6. Extension headers other than the fragment header are not looked behind: an NS there is valid, but nobody sends
/// one, the kernel does not answer it either (it does not have the address on the link), and walking the chain would be the
/// longest path of the program, open to everybody.
#[inline(always)]
fn judge_ipv6<const EXTRA: bool>(frame: Frame) -> Option<Verdict> {
    let header = frame.view::<{ ipv6::LENGTH }>(frame.network)?;
    if octet(header, ipv6::VERSION) >> 4 != 6 {
        return None;
    }
    let length = usize::from(be16(header, ipv6::PAYLOAD_LENGTH));
    let transport =
        Transport { at: frame.network + ipv6::LENGTH, network_length: ipv6::LENGTH + length, length };
    let destination = || address_halves(header, ipv6::DESTINATION);
    match octet(header, ipv6::NEXT_HEADER) {
        ipv6::TCP => count_tcp(&frame, transport, destination)?,
        ipv6::UDP => count_udp(&frame, transport, destination)?,
        ipv6::ICMPV6 => return neighbour::judge::<EXTRA>(frame, length),
        ipv6::FRAGMENT => return judge_ipv6_fragment(&frame),
        _ => (),
    }
    None
}

/// A fragment, also one that is the whole packet (RFC 6946). Fragments of UDP and TCP pass and are counted, for their port
/// is not looked at; fragmented Neighbor Discovery is dropped (RFC 6980 5) if its target can be seen.
#[inline(always)]
fn judge_ipv6_fragment(frame: &Frame) -> Option<Verdict> {
    let at = frame.network + ipv6::LENGTH;
    let fragment = frame.view::<{ ipv6::FRAGMENT_LENGTH }>(at)?;
    match octet(fragment, ipv6::FRAGMENT_NEXT_HEADER) {
        ipv6::TCP | ipv6::UDP => {
            let header = frame.view::<{ ipv6::LENGTH }>(frame.network)?;
            count_fragment(frame, address_halves(header, ipv6::DESTINATION))?;
            None
        }
        ipv6::ICMPV6 if be16(fragment, ipv6::FRAGMENT_OFFSET) & ipv6::FRAGMENT_OFFSET_MASK == 0 => {
            let icmp = frame.view::<{ ndp::LENGTH }>(at + ipv6::FRAGMENT_LENGTH)?;
            let reason = match octet(icmp, ndp::TYPE) {
                ndp::SOLICITATION => Drop::NsFragment,
                ndp::ADVERTISEMENT => Drop::NaInvalid,
                _ => return None,
            };
            neighbour::addressed_service(frame, icmp)?;
            Some(Verdict::Drop(reason))
        }
        _ => None,
    }
}

/// IPv4: only counted, ARP is a protocol of its own.
#[inline(always)]
fn judge_ipv4(mut frame: Frame) -> Option<Verdict> {
    frame.vlan |= IPV4_KEY;
    let frame = &frame;
    let header = frame.view::<{ ipv4::LENGTH }>(frame.network)?;
    let protocol = octet(header, ipv4::PROTOCOL);
    if protocol != ipv4::TCP && protocol != ipv4::UDP {
        return None;
    }
    let destination = || halves(mapped(ne32(header, ipv4::DESTINATION)));
    let version = octet(header, ipv4::VERSION);
    if be16(header, ipv4::FRAGMENT_OFFSET) & ipv4::FRAGMENT_MASK != 0 {
        if version >> 4 == 4 && version >= ipv4::PLAIN_VERSION {
            count_fragment(frame, destination())?;
        }
        return None;
    }
    let network_length = usize::from(be16(header, ipv4::TOTAL_LENGTH));
    // Two copies of the same code, so that the usual one has constant offsets.
    if version == ipv4::PLAIN_VERSION {
        count_ipv4(frame, protocol, ipv4::LENGTH, network_length, destination);
    } else if version >> 4 == 4 && version > ipv4::PLAIN_VERSION {
        let header_length = usize::from(version & ipv4::HEADER_LENGTH_MASK) * ipv4::HEADER_LENGTH_UNIT;
        count_ipv4(frame, protocol, header_length, network_length, destination);
    }
    None
}

#[inline(always)]
fn count_ipv4(
    frame: &Frame,
    protocol: u8,
    header_length: usize,
    network_length: usize,
    destination: impl FnOnce() -> [u64; 2],
) -> Option<()> {
    let length = network_length.checked_sub(header_length)?;
    let transport = Transport { at: frame.network + header_length, network_length, length };
    match protocol {
        ipv4::TCP => count_tcp(frame, transport, destination),
        _ => count_udp(frame, transport, destination),
    }
}
