//! Events for the controller, limited so that a flood costs little and cannot hide a peer.

use anycast_common::{
    abi::{
        DELAYED_BUDGET, Drop, EVENT_INTERVAL_NS, EVENT_PEER_ADVERTISEMENT, EVENT_SOLICITED_ANSWERED,
        EVENT_SOLICITED_DAD, EVENT_SOLICITED_DELAYED, EVENT_SOLICITED_MULTICAST, EVENT_SOLICITED_UNICAST,
        Event, OPTION_PLAIN, OPTION_SIGNED, PEERS_BUDGET, RING_BYTES,
    },
    packet::{MAC_LENGTH, ndp, octets},
};
use aya_ebpf::btf_maps::RingBuf;

use crate::{
    frame::Frame,
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
    let limits = unsafe { &mut *limits };
    let within_budget = take(&mut limits.delayed_window_ns, &mut limits.delayed_sent, DELAYED_BUDGET);
    let kind = EVENT_SOLICITED_DELAYED;
    let event = Event { kind, index, address, mac, vlan, ..NOTHING };
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
    let event = Event { kind: number, index, address, mac, vlan, ..NOTHING };
    if !send(&SOLICITED, event) {
        count(Drop::SolicitedRingFull);
    }
}

/// An event of which nothing is known.
const NOTHING: Event = Event {
    kind: 0,
    index: 0,
    address: [0; 4],
    mac: [0; MAC_LENGTH],
    announced: [0; MAC_LENGTH],
    vlan: 0,
    flags: 0,
    option_length: 0,
    option: [[0; ndp::OPTION_UNIT]; OPTION_SIGNED / ndp::OPTION_UNIT],
};

/// What an advertisement says besides its service.
pub struct Advertisement {
    /// IP source address.
    pub address: [u32; 4],
    /// Source MAC address of the frame.
    pub mac: [u8; MAC_LENGTH],
    /// The link-layer address it announces.
    pub announced: [u8; MAC_LENGTH],
    /// R, S and O; 0 for ARP.
    pub flags: u32,
    /// Where the farm's option begins if there is one, and how many octets of the packet are left from there on.
    pub option: Option<(usize, usize)>,
}

/// Reports a valid advertisement of another server, as long as the service's budget lasts.
#[inline(always)]
pub fn peer_advertisement(frame: &Frame, index: u32, advertisement: Advertisement) {
    let Some(limits) = LIMITS.get_ptr_mut(index) else { return };
    // SAFETY: the pointer is to this CPU's map value, which no other program run writes to at the same time.
    let limits = unsafe { &mut *limits };
    let within_budget = take(&mut limits.peers_window_ns, &mut limits.peers_sent, PEERS_BUDGET);
    let Advertisement { address, mac, announced, flags, option } = advertisement;
    let vlan = frame.vlan;
    let kind = EVENT_PEER_ADVERTISEMENT;
    let mut event = Event { kind, index, address, mac, announced, vlan, flags, ..NOTHING };
    // Two halves of one fixed length each: the verifier takes no copy whose length it must connect with a check before.
    if let Some((at, length)) = option
        && length >= OPTION_PLAIN
        && let Some(half) = frame.view::<OPTION_PLAIN>(at)
    {
        copy(half, &mut event, 0);
        event.option_length = OPTION_PLAIN as u32;
        if length >= OPTION_SIGNED
            && let Some(half) = frame.view::<OPTION_PLAIN>(at + OPTION_PLAIN)
        {
            copy(half, &mut event, OPTION_PLAIN / ndp::OPTION_UNIT);
            event.option_length = OPTION_SIGNED as u32;
        }
    }
    if !within_budget || !send(&PEERS, event) {
        count(Drop::PeersRingFull);
    }
}

/// Copies into the units from `first` on.
#[inline(always)]
fn copy(from: &[u8; OPTION_PLAIN], event: &mut Event, first: usize) {
    event.option[first] = octets(from, 0);
    event.option[first + 1] = octets(from, 8);
    event.option[first + 2] = octets(from, 16);
    event.option[first + 3] = octets(from, 24);
    event.option[first + 4] = octets(from, 32);
}

const _: () = assert!(OPTION_PLAIN == 5 * ndp::OPTION_UNIT && OPTION_SIGNED == 2 * OPTION_PLAIN);

/// Takes one from a `budget` that is full again with each [`EVENT_INTERVAL_NS`].
#[inline(always)]
fn take(window_ns: &mut u64, sent: &mut u32, budget: u32) -> bool {
    let now = now();
    if now.wrapping_sub(*window_ns) >= EVENT_INTERVAL_NS {
        *window_ns = now;
        *sent = 0;
    }
    let within_budget = *sent < budget;
    if within_budget {
        *sent += 1;
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
