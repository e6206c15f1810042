//! Rewrites a solicitation into its answer, in place.

use anycast_common::{
    abi::{Drop, Service},
    packet::{MAC_LENGTH, arp, ethernet, ipv6, ndp, put, put_address},
};

use crate::{frame::Frame, maps::COUNTERS, verdict::Verdict};

/// Rewrites an NS from `solicitor` into the NA (RFC 4861 7.2.4): to the solicitor with S, or, if it was duplicate address
/// detection, to all nodes without S. Always with the target link-layer address option.
///
/// The frame is made as long as the NA is, before anything is written: grown for an NS without option, cut for one with more.
#[inline(always)]
pub fn advertise(frame: Frame, service: &Service, solicitor: [u32; 4], dad: bool) -> Option<Verdict> {
    let (_, from) = frame.addresses()?;
    let network = frame.network;
    let Some(mut frame) = frame.resize(network + ipv6::LENGTH + ndp::LENGTH_WITH_OPTION) else {
        return Some(Verdict::Drop(Drop::NoRoom));
    };
    let (to, destination) = if dad { (ethernet::ALL_NODES, ipv6::ALL_NODES) } else { (from, solicitor) };
    let packet = frame.view_mut::<{ ipv6::LENGTH + ndp::LENGTH_WITH_OPTION }>(network)?;
    const ICMP: usize = ipv6::LENGTH;
    put(packet, ipv6::VERSION, ipv6::PLAIN_VERSION);
    put(packet, ipv6::PAYLOAD_LENGTH, (ndp::LENGTH_WITH_OPTION as u16).to_be_bytes());
    put_address(packet, ipv6::SOURCE, service.source);
    put_address(packet, ipv6::DESTINATION, destination);
    // Next header, hop limit and target are already right.
    let checksum = ndp::checksum_of_answer(service.checksum_base, !dad, destination);
    put(packet, ICMP + ndp::TYPE, [ndp::ADVERTISEMENT, 0]);
    put(packet, ICMP + ndp::CHECKSUM, checksum.to_ne_bytes());
    let flags = service.na_flags | if dad { 0 } else { u32::from(ndp::SOLICITED) };
    put(packet, ICMP + ndp::FLAGS, flags.to_le_bytes());
    put(packet, ICMP + ndp::LENGTH, [ndp::TARGET_LINK_LAYER, 1]);
    put(packet, ICMP + ndp::LENGTH + ndp::OPTION_ADDRESS, service.mac);
    address_to(&mut frame, to, service.mac)?;
    count_answer(service)
}

/// Rewrites an ARP request into the reply (RFC 826), which answers a probe too (RFC 5227 2.1.1).
#[inline(always)]
pub fn answer_arp(mut frame: Frame, service: &Service) -> Option<Verdict> {
    let (_, from) = frame.addresses()?;
    let network = frame.network;
    let packet = frame.view_mut::<{ arp::LENGTH }>(network)?;
    let solicitor: [u8; MAC_LENGTH + 4] = *packet.split_at(arp::SENDER_HARDWARE).1.first_chunk()?;
    let target: [u8; 4] = *packet.split_at(arp::TARGET_PROTOCOL).1.first_chunk()?;
    put(packet, arp::OPERATION, arp::REPLY.to_be_bytes());
    put(packet, arp::SENDER_HARDWARE, service.mac);
    put(packet, arp::SENDER_PROTOCOL, target);
    put(packet, arp::TARGET_HARDWARE, solicitor);
    address_to(&mut frame, from, service.mac)?;
    count_answer(service)
}

#[inline(always)]
fn address_to(frame: &mut Frame, to: [u8; MAC_LENGTH], from: [u8; MAC_LENGTH]) -> Option<()> {
    let header = frame.view_mut::<{ ethernet::LENGTH }>(0)?;
    put(header, ethernet::DESTINATION, to);
    put(header, ethernet::SOURCE, from);
    Some(())
}

#[inline(always)]
fn count_answer(service: &Service) -> Option<Verdict> {
    // SAFETY: the pointer is to this CPU's map value, which no other program run writes to at the same time.
    unsafe { (*COUNTERS.get_ptr_mut(service.index)?).answered += 1 }
    Some(Verdict::Answer)
}
