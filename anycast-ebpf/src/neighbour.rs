//! Neighbor Discovery for a service address: validity (RFC 4861 7.1), the gate, the answer, peers' advertisements.
//!
//! A packet with several faults is counted under the first of this order: hop limit, checksum, code, length, options,
//! destination and option of duplicate address detection, destination.

use anycast_common::{
    abi::{Drop, Service},
    packet::{MAC_LENGTH, address, checksum, ethernet, ipv6, ndp, ne32, octet, octets},
};

use crate::{
    frame::{Frame, same_address, same_mac},
    maps::COUNTERS,
    reply,
    report::{self, Kind},
    service::{find, gate, meta},
    verdict::Verdict,
};

/// Units of eight octets that a packet may have: all of a link MTU of 1500. A longer one passes; the kernel, which does
/// not have the address on the link, does not answer it either.
const UNITS_MAX: usize = (1500 - ipv6::LENGTH) / ndp::OPTION_UNIT;

/// Judges an ICMPv6 packet of `length` octets.
#[inline(always)]
pub fn judge(frame: Frame, length: usize) -> Option<Verdict> {
    let icmp = frame.view::<{ ndp::LENGTH }>(frame.network + ipv6::LENGTH)?;
    match octet(icmp, ndp::TYPE) {
        ndp::SOLICITATION => judge_solicitation(frame, length),
        ndp::ADVERTISEMENT => judge_advertisement(&frame, length),
        _ => None,
    }
}

/// The service that an NS or NA is for, if its Ethernet addresses are those of one: to our MAC address or a group it would
/// be sent to, from a single station. A source address that is a group must not be answered (RFC 4291 2.7).
#[inline(always)]
pub fn addressed_service(frame: &Frame, icmp: &[u8; ndp::LENGTH]) -> Option<(&'static Service, bool)> {
    let meta = meta()?;
    let (to, from) = frame.addresses()?;
    let unicast = same_mac(&to, &meta.mac);
    if !unicast
        && !same_mac(&to, &ethernet::solicited_node(octets(icmp, ndp::TARGET)))
        && !same_mac(&to, &ethernet::ALL_NODES)
    {
        return None;
    }
    let header = frame.view::<{ ipv6::LENGTH }>(frame.network)?;
    if from[0] & ethernet::GROUP_BIT != 0 || octet(header, ipv6::SOURCE) == ipv6::MULTICAST_PREFIX {
        return None;
    }
    Some((find(meta, ndp::target(icmp), frame.vlan)?, unicast))
}

#[inline(always)]
fn judge_solicitation(frame: Frame, length: usize) -> Option<Verdict> {
    let icmp = frame.view::<{ ndp::LENGTH }>(frame.network + ipv6::LENGTH)?;
    let header = frame.view::<{ ipv6::LENGTH }>(frame.network)?;
    let (service, unicast) = addressed_service(&frame, icmp)?;
    let option = match check(&frame, header, icmp, length)? {
        Ok(option) => option,
        Err(reason) => return Some(Verdict::Drop(reason)),
    };
    let source = address(header, ipv6::SOURCE);
    let destination = address(header, ipv6::DESTINATION);
    let to_solicited_node = same_address(destination, ipv6::solicited_node(service.address));
    let kind = if same_address(source, ipv6::UNSPECIFIED) {
        if !to_solicited_node {
            return Some(Verdict::Drop(Drop::NsDadDestination));
        }
        if option.source.is_some() {
            return Some(Verdict::Drop(Drop::NsDadOption));
        }
        Kind::Dad
    } else if to_solicited_node
        || same_address(destination, service.address)
        || same_address(destination, ipv6::ALL_NODES)
    {
        if unicast { Kind::Unicast } else { Kind::Multicast }
    } else {
        return Some(Verdict::Drop(Drop::NsDestination));
    };
    if let Err(refused) = admit(service.index, kind)? {
        let (_, from) = frame.addresses()?;
        report::solicited(service.index, kind, source, from, frame.vlan);
        return Some(Verdict::Drop(refused));
    }
    reply::advertise(frame, service, source, kind == Kind::Dad)
}

/// Counts a valid solicitation and asks the gate.
#[inline(always)]
pub fn admit(index: u32, kind: Kind) -> Option<Result<(), Drop>> {
    let gate = gate(index)?;
    // SAFETY: the pointer is to this CPU's map value, which no other program run writes to at the same time.
    let counters = unsafe { &mut *COUNTERS.get_ptr_mut(index)? };
    match kind {
        Kind::Multicast => counters.solicitations_multicast += 1,
        Kind::Unicast => counters.solicitations_unicast += 1,
        Kind::Dad => counters.solicitations_dad += 1,
    }
    match gate {
        Err(Drop::GateHeld) => counters.refused_held += 1,
        Err(Drop::LeaseStale) => counters.refused_stale += 1,
        Err(_) => counters.refused_shut += 1,
        Ok(()) => (),
    }
    Some(gate)
}

#[inline(always)]
fn judge_advertisement(frame: &Frame, length: usize) -> Option<Verdict> {
    let icmp = frame.view::<{ ndp::LENGTH }>(frame.network + ipv6::LENGTH)?;
    let header = frame.view::<{ ipv6::LENGTH }>(frame.network)?;
    let (service, _) = addressed_service(frame, icmp)?;
    let Ok(option) = check(frame, header, icmp, length)? else {
        return Some(Verdict::Drop(Drop::NaInvalid));
    };
    let flags = octet(icmp, ndp::FLAGS);
    if flags & ndp::SOLICITED != 0 && octet(header, ipv6::DESTINATION) == ipv6::MULTICAST_PREFIX {
        return Some(Verdict::Drop(Drop::NaInvalid));
    }
    let (_, from) = frame.addresses()?;
    let announced = option.target.unwrap_or([0; MAC_LENGTH]);
    if same_mac(&from, &service.mac) || same_mac(&announced, &service.mac) {
        return Some(Verdict::Drop(Drop::OwnAdvertisement));
    }
    // SAFETY: the pointer is to this CPU's map value, which no other program run writes to at the same time.
    unsafe { (*COUNTERS.get_ptr_mut(service.index)?).advertisements += 1 }
    let source = address(header, ipv6::SOURCE);
    report::peer_advertisement(service.index, source, from, announced, frame.vlan, u32::from(flags));
    Some(Verdict::Drop(Drop::PeerAdvertisement))
}

/// Link-layer addresses of the options, each the first of its kind.
#[derive(Clone, Copy, Default)]
struct LinkLayer {
    source: Option<[u8; MAC_LENGTH]>,
    target: Option<[u8; MAC_LENGTH]>,
}

impl LinkLayer {
    #[inline(always)]
    fn note(&mut self, unit: &[u8; ndp::OPTION_UNIT]) {
        let mac = Some(octets(unit, ndp::OPTION_ADDRESS));
        match octet(unit, ndp::OPTION_TYPE) {
            ndp::SOURCE_LINK_LAYER if self.source.is_none() => self.source = mac,
            ndp::TARGET_LINK_LAYER if self.target.is_none() => self.target = mac,
            _ => (),
        }
    }
}

/// The checks that RFC 4861 7.1.1 and 7.1.2 have in common, with the reason as for an NS. `None` if the packet is not whole
/// in the frame's first buffer or longer than is looked at.
#[inline(always)]
fn check(
    frame: &Frame,
    header: &[u8; ipv6::LENGTH],
    icmp: &[u8; ndp::LENGTH],
    length: usize,
) -> Option<Result<LinkLayer, Drop>> {
    let at = frame.network + ipv6::LENGTH;
    let mut sum = checksum::pseudo_header(
        address(header, ipv6::SOURCE),
        address(header, ipv6::DESTINATION),
        length as u32,
        ipv6::ICMPV6,
    );
    let mut link_layer = LinkLayer::default();
    let options_fit;
    // The two lengths that are seen in practice are summed without a loop.
    if length == ndp::LENGTH_WITH_OPTION {
        let option = frame.view::<{ ndp::OPTION_UNIT }>(at + ndp::LENGTH)?;
        sum += sum_fixed(icmp) + sum_unit(option);
        link_layer.note(option);
        options_fit = octet(option, ndp::OPTION_LENGTH) == 1;
    } else if length == ndp::LENGTH {
        sum += sum_fixed(icmp);
        options_fit = true;
    } else {
        let (rest, fit) = walk(frame, at, length, &mut link_layer)?;
        sum += rest;
        options_fit = fit;
    }
    let reason = if octet(header, ipv6::HOP_LIMIT) != ndp::HOP_LIMIT {
        Drop::NsHopLimit
    } else if checksum::fold(sum) != checksum::VALID {
        Drop::NsChecksum
    } else if octet(icmp, ndp::CODE) != 0 {
        Drop::NsCode
    } else if length < ndp::LENGTH {
        Drop::NsLength
    } else if !options_fit {
        Drop::NsOption
    } else {
        return Some(Ok(link_layer));
    };
    Some(Err(reason))
}

#[inline(always)]
fn sum_unit(unit: &[u8; ndp::OPTION_UNIT]) -> u64 {
    u64::from(ne32(unit, 0)) + u64::from(ne32(unit, 4))
}

#[inline(always)]
fn sum_fixed(icmp: &[u8; ndp::LENGTH]) -> u64 {
    u64::from(ne32(icmp, 0))
        + u64::from(ne32(icmp, 4))
        + u64::from(ne32(icmp, 8))
        + u64::from(ne32(icmp, 12))
        + u64::from(ne32(icmp, 16))
        + u64::from(ne32(icmp, 20))
}

/// Sums a packet of any length and walks its options in one go: the fixed part is three units long, so that each option
/// begins with a unit. Gives the sum, and whether the options end with the packet.
///
/// Not `bpf_csum_diff`: the verifier wants the most that the length can be to lie within the frame.
#[inline(always)]
fn walk(frame: &Frame, at: usize, length: usize, link_layer: &mut LinkLayer) -> Option<(u64, bool)> {
    if length >= UNITS_MAX * ndp::OPTION_UNIT {
        return None;
    }
    let mut sum = 0;
    let mut next_option = ndp::LENGTH;
    let mut done = 0;
    while done < UNITS_MAX * ndp::OPTION_UNIT {
        if done + ndp::OPTION_UNIT > length {
            break;
        }
        let unit = frame.view::<{ ndp::OPTION_UNIT }>(opaque(at + done))?;
        sum += sum_unit(unit);
        if done == next_option {
            link_layer.note(unit);
            // An option of length 0 stays where it is, and so never reaches the end.
            next_option += usize::from(octet(unit, ndp::OPTION_LENGTH)) * ndp::OPTION_UNIT;
        }
        done += ndp::OPTION_UNIT;
    }
    // Up to seven octets are left if the length is not a multiple of eight, and then some option does not fit.
    let mut pad = 0;
    while pad < ndp::OPTION_UNIT {
        if done + pad >= length {
            break;
        }
        let [octet] = *frame.view::<1>(opaque(at + done + pad))?;
        sum += if pad % 2 == 0 {
            u64::from(u16::from_ne_bytes([octet, 0]))
        } else {
            u64::from(u16::from_ne_bytes([0, octet]))
        };
        pad += 1;
    }
    Some((sum, next_option == length))
}

/// Hides from the compiler where an offset comes from. Otherwise it takes the bounds check out of the loop as a bound of the
/// counter, in which the verifier does not recognise it.
#[inline(always)]
fn opaque(mut offset: usize) -> usize {
    // SAFETY: no instruction at all; the value stays in its register.
    unsafe {
        core::arch::asm!("/* {0} */", inout(reg) offset, options(pure, nomem, nostack, preserves_flags))
    };
    offset
}
