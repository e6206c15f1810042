//! Neighbor Discovery for a service address: validity (RFC 4861 7.1), the gate, the answer, peers' advertisements.
//!
//! A packet with several faults is counted under the first of this order: hop limit, checksum, code, length, options,
//! destination and option of duplicate address detection, destination.

use anycast_common::{
    abi::{Drop, SERVICE_DELAYED, Service},
    packet::{MAC_LENGTH, address, address_halves, checksum, ethernet, ipv6, ndp, ne32, octet, octets},
};

use crate::{
    frame::{Frame, same_address, same_mac},
    maps::COUNTERS,
    reply,
    report::{self, Advertisement, Kind},
    service::{find, gate, router_lease, services},
    verdict::Verdict,
};

/// Units of eight octets that a packet may have: all of a link MTU of 1500. A longer one passes; the kernel, which does
/// not have the address on the link, does not answer it either.
const UNITS_MAX: usize = (1500 - ipv6::LENGTH) / ndp::OPTION_UNIT;

/// Judges an ICMPv6 packet of `length` octets.
#[inline(always)]
pub fn judge<const EXTRA: bool>(frame: Frame, length: usize) -> Option<Verdict> {
    let icmp = frame.view::<{ ndp::LENGTH }>(frame.network + ipv6::LENGTH)?;
    match octet(icmp, ndp::TYPE) {
        ndp::SOLICITATION => judge_solicitation::<EXTRA>(frame, length),
        ndp::ADVERTISEMENT => judge_advertisement(&frame, length),
        _ => None,
    }
}

/// The service that an NS or NA is for, if its Ethernet addresses are those of one: to our MAC address or a group it would
/// be sent to, from a single station. A source address that is a group must not be answered (RFC 4291 2.7).
#[inline(always)]
pub fn addressed_service(frame: &Frame, icmp: &[u8; ndp::LENGTH]) -> Option<(&'static Service, bool)> {
    let services = services()?;
    let (to, from) = frame.addresses()?;
    let unicast = frame.is_to_us(services);
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
    Some((find(services, address_halves(icmp, ndp::TARGET), frame.vlan)?, unicast))
}

#[inline(always)]
fn judge_solicitation<const EXTRA: bool>(frame: Frame, length: usize) -> Option<Verdict> {
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
        if option.source {
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
    if let Err(refused) = admit::<EXTRA>(&frame, service.index, kind)? {
        let (_, from) = frame.addresses()?;
        report::solicited(service.index, kind, source, from, frame.vlan);
        return Some(Verdict::Drop(refused));
    }
    if EXTRA {
        let (_, from) = frame.addresses()?;
        if service.flags & SERVICE_DELAYED != 0 && kind == Kind::Multicast {
            report::delayed(service.index, source, from, frame.vlan);
            return Some(Verdict::Drop(Drop::Delayed));
        }
        if kind != Kind::Dad {
            report::answered(service.index, source, from, frame.vlan);
        }
    }
    reply::advertise(frame, service, source, kind == Kind::Dad)
}

/// Counts a valid solicitation and asks the gate.
#[inline(always)]
pub fn admit<const EXTRA: bool>(frame: &Frame, index: u32, kind: Kind) -> Option<Result<(), Drop>> {
    let gate = if EXTRA && kind != Kind::Dad {
        let (_, from) = frame.addresses()?;
        gate(index, || router_lease(index, from))?
    } else {
        gate(index, || None)?
    };
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
    let announced = option.target;
    if same_mac(&from, &service.mac) || same_mac(&announced, &service.mac) {
        return Some(Verdict::Drop(Drop::OwnAdvertisement));
    }
    // SAFETY: the pointer is to this CPU's map value, which no other program run writes to at the same time.
    unsafe { (*COUNTERS.get_ptr_mut(service.index)?).advertisements += 1 }
    let advertisement = Advertisement {
        address: address(header, ipv6::SOURCE),
        mac: from,
        announced,
        flags: u32::from(flags & (ndp::ROUTER | ndp::SOLICITED | ndp::OVERRIDE)),
        // Directly behind the target link-layer address option, if that is the first.
        option: length
            .checked_sub(ndp::LENGTH_WITH_OPTION)
            .map(|left| (frame.network + ipv6::LENGTH + ndp::LENGTH_WITH_OPTION, left)),
    };
    report::peer_advertisement(frame, service.index, advertisement);
    Some(Verdict::Drop(Drop::PeerAdvertisement))
}

/// Link-layer addresses of the options.
#[derive(Clone, Copy, Default)]
struct LinkLayer {
    /// Is there a source link-layer address?
    source: bool,
    /// The first target link-layer address, or zeros. Not an `Option`: the compiler leaves whatever is in a register, a pointer
    /// perhaps, as the content of `None`, and the verifier objects to its being moved about.
    target: [u8; MAC_LENGTH],
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
        match octet(option, ndp::OPTION_TYPE) {
            ndp::SOURCE_LINK_LAYER => link_layer.source = true,
            ndp::TARGET_LINK_LAYER => link_layer.target = octets(option, ndp::OPTION_ADDRESS),
            _ => (),
        }
        options_fit = octet(option, ndp::OPTION_LENGTH) == 1;
    } else if length == ndp::LENGTH {
        sum += sum_fixed(icmp);
        options_fit = true;
    } else {
        if length > UNITS_MAX * ndp::OPTION_UNIT {
            return None;
        }
        let (start, end) = frame.bounds(at);
        let found = walk(start, end, opaque(length));
        if found & WALKED == 0 {
            return None;
        }
        sum += u64::from(found as u16);
        link_layer.source = found & WALKED_SOURCE != 0;
        let target = (found >> WALKED_TARGET_SHIFT) as usize;
        if target != 0 {
            let option = frame.view::<{ ndp::OPTION_UNIT }>(at + opaque(target))?;
            link_layer.target = octets(option, ndp::OPTION_ADDRESS);
        }
        options_fit = found & WALKED_FIT != 0;
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

/// Result of [`walk`], besides the folded sum in the low 16 bits: the whole packet was there.
const WALKED: u64 = 1 << 16;
/// Result of [`walk`]: the options end with the packet.
const WALKED_FIT: u64 = 1 << 17;
/// Result of [`walk`]: there is a source link-layer address option.
const WALKED_SOURCE: u64 = 1 << 18;
/// Result of [`walk`]: from here on, the offset of the first target link-layer address option; 0 if there is none.
const WALKED_TARGET_SHIFT: u32 = 19;

/// Sums a packet of `length` octets from `start` on and walks its options in one go: the fixed part is three units long, so that
/// each option begins with a unit. Gives `WALKED_` bits, or 0 if the packet is not whole before `end`.
///
/// The verifier walks the loop once for each number of units. So that it neither does that again for each combination of
/// options, nor walks the rest of the program once for each length, the function is one of its own, finds everything by
/// arithmetic instead of branches, and gives a single word.
///
/// Not `bpf_csum_diff`: the verifier wants the most that the length can be to lie within the frame.
#[inline(never)]
fn walk(start: usize, end: usize, length: usize) -> u64 {
    const UNIT: usize = ndp::OPTION_UNIT;
    // The eight octets that end with the packet; or, if the packet is shorter, the eight that begin with it, which are there
    // because the fixed part is.
    let first = opaque(length.saturating_sub(UNIT));
    let Some(window) = within::<UNIT>(start + first, end) else { return 0 };
    let window = u64::from_le_bytes(*window);
    let key = opaque(window as usize);
    let mut sum = sum_rest(window, length);
    let mut next_option = hide(ndp::LENGTH, key);
    let (mut has_source, mut target) = (0, 0);
    let mut done = 0;
    while done < UNITS_MAX * UNIT {
        if done + UNIT > length {
            break;
        }
        let Some(unit) = within::<UNIT>(start + hide(done, key), end) else { return 0 };
        sum += sum_unit(unit);
        let begins = is_zero(next_option ^ done);
        let kind = usize::from(octet(unit, ndp::OPTION_TYPE));
        has_source |= begins & is_zero(kind ^ usize::from(ndp::SOURCE_LINK_LAYER));
        let is_target = begins & is_zero(kind ^ usize::from(ndp::TARGET_LINK_LAYER)) & is_zero(target);
        target |= hide(done, key) & is_target.wrapping_neg();
        // An option of length 0 stays where it is, and so never reaches the end.
        let units = usize::from(octet(unit, ndp::OPTION_LENGTH)) & begins.wrapping_neg();
        next_option = hide(next_option + units * UNIT, key);
        done += UNIT;
    }
    let fits = is_zero(next_option ^ length) as u64 * WALKED_FIT;
    let has_source = has_source as u64 * WALKED_SOURCE;
    u64::from(checksum::fold(sum)) | WALKED | fits | has_source | (target as u64) << WALKED_TARGET_SHIFT
}

/// 1 if a number below 4096 is zero, else 0, without a branch.
#[inline(always)]
fn is_zero(number: usize) -> usize {
    opaque(number).wrapping_sub(1) >> (usize::BITS - 1)
}

/// The sum of the up to seven octets behind the last whole unit, from the `window` that holds them. Some option does not fit
/// then, but the checksum is judged first.
#[inline(always)]
fn sum_rest(window: u64, length: usize) -> u64 {
    let rest = length % ndp::OPTION_UNIT;
    let above = 8 * (ndp::OPTION_UNIT - rest) as u32;
    let wanted = match rest {
        0 => 0,
        _ if length < ndp::OPTION_UNIT => (window << above) >> above,
        _ => window >> above,
    };
    sum_unit(&wanted.to_le_bytes())
}

/// `N` octets from `start` on, if they end before `end`.
#[inline(always)]
fn within<'a, const N: usize>(start: usize, end: usize) -> Option<&'a [u8; N]> {
    if start + N > end {
        return None;
    }
    // SAFETY: `walk` gets start and end of a packet from a frame that is not changed while it runs, and the range lies between
    // them, checked just now.
    Some(unsafe { &*(start as *const [u8; N]) })
}

/// Hides from the verifier all it knows about a number below 4096, with a `key` of which it knows nothing. Otherwise each turn
/// of the loop, and each place at which an option may begin, would be the start of a walk of its own, and whoever called the
/// loop would learn from it how long the packet is.
///
/// The bound comes last: to the verifier of older kernels, Debian's 6.1 among them, a number is anything after an exclusive or with one
/// that it does not know.
#[inline(always)]
fn hide(number: usize, key: usize) -> usize {
    let mut hidden = number ^ key;
    // SAFETY: two instructions on a register; the compiler must not see that they take the key out again.
    unsafe {
        core::arch::asm!(
            "{0} ^= {1}",
            "{0} &= 4095",
            inout(reg) hidden,
            in(reg) key,
            options(pure, nomem, nostack, preserves_flags)
        )
    };
    hidden
}

/// Hides from the compiler where a number below 4096 comes from. Otherwise it takes the bounds check out of the loop as a bound
/// of the counter, in which the verifier does not recognise it.
#[inline(always)]
fn opaque(mut number: usize) -> usize {
    // SAFETY: one instruction that keeps the value in its register.
    unsafe {
        core::arch::asm!("{0} &= 4095", inout(reg) number, options(pure, nomem, nostack, preserves_flags))
    };
    number
}
