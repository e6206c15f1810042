//! Counts what passes to a service: DNS over UDP, TCP connection attempts, fragments.
//!
//! Only frames to our MAC address count. Their UDP and TCP checksums are not looked at: on virtual links they are partial.

use anycast_common::{
    abi::{Counters, Services},
    packet::{be16, dns, ne16, octet, tcp, udp},
};

use crate::{
    frame::Frame,
    maps::COUNTERS,
    service::{find, has_port, may_have_port, services},
};

/// What the IP header says about what follows it.
#[derive(Clone, Copy)]
pub struct Transport {
    /// Offset of the transport header in the frame.
    pub at: usize,
    /// Octets of IP header and payload.
    pub network_length: usize,
    /// Octets of the payload.
    pub length: usize,
}

/// Counts a UDP packet. `None` if it was not counted.
///
/// It counts as malformed if the UDP length or what the IP header leaves cannot hold a DNS header, or if that is not in
/// the frame's first buffer.
#[inline(always)]
pub fn count_udp(frame: &Frame, transport: Transport, destination: impl FnOnce() -> [u64; 2]) -> Option<()> {
    if transport.length < udp::LENGTH {
        return None;
    }
    let header = frame.view::<{ udp::LENGTH }>(transport.at)?;
    let services = services()?;
    if !may_have_port(services, be16(header, udp::DESTINATION)) {
        return None;
    }
    let counters = find_counters(frame, services, destination(), Some(ne16(header, udp::DESTINATION)))?;
    let whole = udp::LENGTH + dns::LENGTH;
    let holds_dns = transport.length >= whole && usize::from(be16(header, udp::DATAGRAM_LENGTH)) >= whole;
    let query = frame.view::<{ dns::LENGTH }>(transport.at + udp::LENGTH).filter(|_| holds_dns);
    let bytes = frame.length(transport.network_length);
    // SAFETY: the pointer is to this CPU's map value, which no other program run writes to at the same time.
    let counters = unsafe { &mut *counters };
    match query {
        Some(query) if octet(query, dns::FLAGS) & dns::RESPONSE == 0 => counters.queries += 1,
        Some(_) => counters.responses += 1,
        None => counters.malformed += 1,
    }
    counters.bytes += bytes;
    Some(())
}

/// Counts a TCP segment with SYN and without ACK. `None` if it was not counted.
#[inline(always)]
pub fn count_tcp(frame: &Frame, transport: Transport, destination: impl FnOnce() -> [u64; 2]) -> Option<()> {
    let header = frame.view::<{ tcp::LENGTH }>(transport.at)?;
    if octet(header, tcp::FLAGS) & (tcp::SYN | tcp::ACK) != tcp::SYN || transport.length < tcp::LENGTH {
        return None;
    }
    let services = services()?;
    if !may_have_port(services, be16(header, tcp::DESTINATION)) {
        return None;
    }
    let counters = find_counters(frame, services, destination(), Some(ne16(header, tcp::DESTINATION)))?;
    let bytes = frame.length(transport.network_length);
    // SAFETY: the pointer is to this CPU's map value, which no other program run writes to at the same time.
    let counters = unsafe { &mut *counters };
    counters.tcp_syns += 1;
    counters.bytes += bytes;
    Some(())
}

/// Counts a fragment of UDP or TCP, whose port cannot be told. `None` if it was not counted.
#[inline(always)]
pub fn count_fragment(frame: &Frame, destination: [u64; 2]) -> Option<()> {
    let counters = find_counters(frame, services()?, destination, None)?;
    // SAFETY: the pointer is to this CPU's map value, which no other program run writes to at the same time.
    unsafe { (*counters).fragments += 1 }
    Some(())
}

#[inline(always)]
fn find_counters(
    frame: &Frame,
    services: &'static Services,
    address: [u64; 2],
    port: Option<u16>,
) -> Option<*mut Counters> {
    if !frame.is_to_us(services) {
        return None;
    }
    let service = find(services, address, frame.vlan)?;
    if port.is_some_and(|port| !has_port(service, port)) {
        return None;
    }
    COUNTERS.get_ptr_mut(service.index)
}
