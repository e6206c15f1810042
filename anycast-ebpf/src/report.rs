//! Events for the controller, limited so that a flood costs little and cannot hide a peer.

use anycast_common::{
    abi::{
        DELAYED_BUDGET, Drop, EVENT_INTERVAL_NS, EVENT_PEER_ADVERTISEMENT, EVENT_SOLICITED_ANSWERED,
        EVENT_SOLICITED_DAD, EVENT_SOLICITED_DELAYED, EVENT_SOLICITED_MULTICAST, EVENT_SOLICITED_UNICAST,
        Event, Limits, PEERS_BUDGET, RING_BYTES,
    },
    packet::MAC_LENGTH,
};
use aya_ebpf::btf_maps::RingBuf;

use crate::{
    maps::{LIMITS, PEERS, SOLICITED},
    service::now,
    verdict::count,
};

/// How a solicitation came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To a group or the broadcast address.
    Multicast,
    /// To our MAC address.
    Unicast,
    /// From nobody: a stranger's duplicate address detection.
    Dad,
}

/// Reports a solicitation that was refused, once in [`EVENT_INTERVAL_NS`] for each kind.
#[inline(always)]
pub fn solicited(index: u32, kind: Kind, address: [u32; 4], mac: [u8; MAC_LENGTH], vlan: u32) {
    let Some(limits) = LIMITS.get_ptr_mut(index) else { return };
    let (number, last) = match kind {
        // SAFETY: the pointer is to this CPU's map value.
        Kind::Multicast => (EVENT_SOLICITED_MULTICAST, unsafe { &raw mut (*limits).solicited_ns[0] }),
        // SAFETY: as above.
        Kind::Unicast => (EVENT_SOLICITED_UNICAST, unsafe { &raw mut (*limits).solicited_ns[1] }),
        // SAFETY: as above.
        Kind::Dad => (EVENT_SOLICITED_DAD, unsafe { &raw mut (*limits).solicited_ns[2] }),
    };
    once(number, last, index, address, mac, vlan);
}

/// Reports a solicitation that is answered, once in [`EVENT_INTERVAL_NS`]: who solicits may be a router.
#[inline(always)]
pub fn answered(index: u32, address: [u32; 4], mac: [u8; MAC_LENGTH], vlan: u32) {
    let Some(limits) = LIMITS.get_ptr_mut(index) else { return };
    // SAFETY: the pointer is to this CPU's map value.
    let last = unsafe { &raw mut (*limits).solicited_ns[3] };
    once(EVENT_SOLICITED_ANSWERED, last, index, address, mac, vlan);
}

/// Leaves a solicitation to the controller, as long as the service's budget lasts: who is not answered solicits again.
#[inline(always)]
pub fn delayed(index: u32, address: [u32; 4], mac: [u8; MAC_LENGTH], vlan: u32) {
    let Some(limits) = LIMITS.get_ptr_mut(index) else { return };
    // SAFETY: the pointer is to this CPU's map value, which no other program run writes to at the same time.
    let within_budget = unsafe { take_delayed(&mut *limits) };
    let kind = EVENT_SOLICITED_DELAYED;
    let event = Event { kind, index, address, mac, announced: [0; MAC_LENGTH], vlan, flags: 0 };
    if !within_budget || !send(&SOLICITED, event) {
        count(Drop::SolicitedRingFull);
    }
}

/// Sends an event of a solicitation, unless one was sent at `last` and that is not long enough ago.
#[inline(always)]
fn once(number: u32, last: *mut u64, index: u32, address: [u32; 4], mac: [u8; MAC_LENGTH], vlan: u32) {
    let now = now();
    // SAFETY: the pointer is to this CPU's map value, which no other program run writes to at the same time.
    unsafe {
        if now.wrapping_sub(*last) < EVENT_INTERVAL_NS {
            return;
        }
        *last = now;
    }
    let event = Event { kind: number, index, address, mac, announced: [0; MAC_LENGTH], vlan, flags: 0 };
    if !send(&SOLICITED, event) {
        count(Drop::SolicitedRingFull);
    }
}

/// Reports a valid advertisement of another server, as long as the service's budget lasts.
#[inline(always)]
pub fn peer_advertisement(
    index: u32,
    address: [u32; 4],
    mac: [u8; MAC_LENGTH],
    announced: [u8; MAC_LENGTH],
    vlan: u32,
    flags: u32,
) {
    let Some(limits) = LIMITS.get_ptr_mut(index) else { return };
    // SAFETY: the pointer is to this CPU's map value, which no other program run writes to at the same time.
    let within_budget = unsafe { take(&mut *limits) };
    let event = Event { kind: EVENT_PEER_ADVERTISEMENT, index, address, mac, announced, vlan, flags };
    if !within_budget || !send(&PEERS, event) {
        count(Drop::PeersRingFull);
    }
}

#[inline(always)]
fn take(limits: &mut Limits) -> bool {
    let now = now();
    if now.wrapping_sub(limits.peers_window_ns) >= EVENT_INTERVAL_NS {
        limits.peers_window_ns = now;
        limits.peers_sent = 0;
    }
    let within_budget = limits.peers_sent < PEERS_BUDGET;
    if within_budget {
        limits.peers_sent += 1;
    }
    within_budget
}

#[inline(always)]
fn take_delayed(limits: &mut Limits) -> bool {
    let now = now();
    if now.wrapping_sub(limits.delayed_window_ns) >= EVENT_INTERVAL_NS {
        limits.delayed_window_ns = now;
        limits.delayed_sent = 0;
    }
    let within_budget = limits.delayed_sent < DELAYED_BUDGET;
    if within_budget {
        limits.delayed_sent += 1;
    }
    within_budget
}

#[inline(always)]
fn send(ring: &RingBuf<Event, { RING_BYTES as usize }>, event: Event) -> bool {
    let Some(mut entry) = ring.reserve_untyped::<Event>(0) else { return false };
    entry.write(event);
    entry.submit(0);
    true
}
