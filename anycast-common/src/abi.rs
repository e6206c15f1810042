//! Keys and values of the BPF maps: the contract between the XDP program, the controller, an adopting controller of
//! another build, and the operator who looks in with `bpftool map dump`.
//!
//! Rules of this file: `repr(C)`, explicit padding that is always zero, no `bool`, `Option` or `enum` in a map value, sizes
//! asserted at compile time. A change of any layout or meaning is a new [`ABI_VERSION`].

/// Version of everything in this file; stored in [`Meta::abi_version`] and checked by whoever adopts pinned maps.
pub const ABI_VERSION: u32 = 2;

/// Service addresses one interface can carry.
pub const SERVICES_MAX: usize = 64;

/// UDP and TCP ports one service can have.
pub const PORTS_MAX: usize = 4;

/// Slots of one half of the `SERVICES` table. Sixteen times [`SERVICES_MAX`]: a collision-free multiplier is found in some
/// tens of tries.
pub const SLOTS: u32 = 1024;

/// Slots of the one value of the `SERVICES` map: two halves, so that user space fills the idle one and then switches with one
/// store to [`Services::table`]. The program never sees a half-written table.
pub const SERVICES_ENTRIES: u32 = 2 * SLOTS;

/// [`Service::index`] of an empty slot. Zero-filled slots would be service 0 at `::`: user space fills the table with
/// [`Service::EMPTY`] before attaching.
pub const NO_SERVICE: u32 = u32::MAX;

/// Where a key belongs in a half of the `SERVICES` table.
///
/// Multiply-shift: the key, made one word, times an odd number that user space chooses so that the services of the interface
/// do not collide; of the product the highest bits. Two keys collide under one multiplier in 512 or fewer. Address words and VLAN
/// are in the byte order in which they stand in memory (see [`Service`]); the address comes as two words, see
/// [`packet::halves`](crate::packet::halves).
#[inline(always)]
pub const fn slot(multiplier: u64, address: [u64; 2], vlan: u32) -> u32 {
    let [first, second] = address;
    // The constant is odd, so that no bit is lost, and fits the sign-extended operand of one instruction.
    let key = (first ^ vlan as u64).wrapping_mul(0xFFFF_FFFF_9E37_79B1).wrapping_add(second);
    (key.wrapping_mul(multiplier) >> (64 - SLOTS.trailing_zeros())) as u32
}

/// [`Services::table`] as [`slot`]'s multiplier and the first slot of the active half.
#[inline(always)]
pub const fn table(table: u64) -> (u64, u32) {
    (table | 1, (table & 1) as u32 * SLOTS)
}

/// The one value of `META`: whose maps these are. The program does not read it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// [`ABI_VERSION`] of the program that made the maps.
    pub abi_version: u32,
    /// Interface index the program is attached to; 0 in a packet test.
    pub ifindex: u32,
}

/// The one value of `SERVICES`: what the program must know before it can look up a service, and the services.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Services {
    /// The active table, see [`table`]: the lowest bit says which half is active; with that bit set it is [`slot`]'s
    /// multiplier. One aligned 64-bit store switches both.
    pub table: u64,
    /// Bit `port % 64` is set for each port of any service: a UDP packet or SYN to another port passes before any look-up.
    pub port_filter: u64,
    /// The interface's MAC address; frames to another unicast MAC pass uncounted.
    pub mac: [u8; 6],
    /// Zero.
    pub pad: [u8; 2],
    /// Zero: fills the cache line.
    pub reserved: [u64; 5],
    /// Both halves.
    pub slots: [Service; SERVICES_ENTRIES as usize],
}

/// One slot of `SERVICES`; a cache line.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// The service address in network byte order as it stands in memory; IPv4 as `::ffff:a.b.c.d`.
    pub address: [u32; 4],
    /// The VLAN of [`vlan_key`], 0 = untagged; with [`IPV4_KEY`] for an IPv4 service.
    pub vlan: u32,
    /// Index into `GATES` and `COUNTERS`, or [`NO_SERVICE`].
    pub index: u32,
    /// Source address of the NA (link-local, or the service address), network byte order; unused for IPv4.
    pub source: [u32; 4],
    /// NA flags as they stand in the first byte behind the checksum (R 0x80, O 0x20); S is the program's to add.
    pub na_flags: u32,
    /// Ports of the service in network byte order, unused ones 0.
    pub ports: [u16; PORTS_MAX],
    /// The MAC address the NA announces and comes from. The same as [`Services::mac`]; it stands here too so that it changes in
    /// one step with `checksum_base`, which covers it.
    pub mac: [u8; 6],
    /// [`SERVICE_DELAYED`], or zero. Only the program with extras looks at it.
    pub flags: u16,
    /// Unfolded one's-complement sum (native byte order of 16-bit words in memory) of what never changes in this service's
    /// NA: pseudo-header without destination, type, code, flags without S, target, option. The program adds S and the
    /// destination, folds and complements.
    pub checksum_base: u32,
}

impl Service {
    /// An empty slot. No frame has its VLAN, so that it matches no key: a frame can have the address `::` as its target.
    pub const EMPTY: Self = Self {
        address: [0; 4],
        vlan: u32::MAX,
        index: NO_SERVICE,
        source: [0; 4],
        na_flags: 0,
        ports: [0; PORTS_MAX],
        mac: [0; 6],
        flags: 0,
        checksum_base: 0,
    };
}

/// [`Service::flags`]: multicast solicitations are the controller's to answer, after a random delay (RFC 4861 7.2.7).
pub const SERVICE_DELAYED: u16 = 1;

/// The VLAN part of a service's key: VLAN identifiers of up to two tags, outermost first, as `outer << 12 | inner`. A
/// priority tag (identifier 0, IEEE 802.1Q 9.6) adds nothing, outermost or behind another: `vlan_key(&[0]) == vlan_key(&[])`
/// and `vlan_key(&[7, 0]) == vlan_key(&[7])`.
#[inline(always)]
pub const fn vlan_key(vids: &[u16]) -> u32 {
    let mut key = 0;
    let mut i = 0;
    while i < vids.len() {
        let vid = (vids[i] & 0x0fff) as u32;
        if vid != 0 {
            key = key << 12 | vid;
        }
        i += 1;
    }
    key
}

/// Added to the VLAN in the key of an IPv4 service, above all identifiers. An IPv6 packet can have an IPv4-mapped address, which
/// nobody may send (RFC 4291 2.5.5.2), as its target or destination: its key is another one, so that it finds no IPv4 service.
pub const IPV4_KEY: u32 = 1 << 31;

/// [`Gate::hold`]: the controller decides.
pub const HOLD_AUTOMATIC: u32 = 0;
/// [`Gate::hold`]: the operator holds the gate shut.
pub const HOLD_SHUT: u32 = 1;
/// [`Gate::hold`]: the operator holds the gate open, lease or no lease.
pub const HOLD_OPEN: u32 = 2;

/// One value of `GATES`: may the fast path answer for this service?
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// The lease: open until this time of `CLOCK_MONOTONIC` in nanoseconds; 0 = shut. Only the decision loop stores it,
    /// with one aligned 64-bit store.
    pub open_until_ns: u64,
    /// The operator's word over the controller's: one of the `HOLD_` values. The controller only reads it.
    pub hold: u32,
    /// Zero.
    pub pad: u32,
}

/// Key of `ROUTERS`: the gate of one router, which goes before the service's. Only the program with extras looks.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RouterKey {
    /// The service's index.
    pub index: u32,
    /// The MAC address that the router's solicitations come from.
    pub mac: [u8; 6],
    /// Zero.
    pub pad: [u8; 2],
}

/// One value of `ROUTERS`: may the fast path answer this router for this service?
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouterGate {
    /// The lease, as [`Gate::open_until_ns`]; 0 = another server owns this router's entry. The operator's hold over the service's
    /// gate holds here too.
    pub open_until_ns: u64,
}

/// Entries of `ROUTERS`.
pub const ROUTERS_ENTRIES: usize = 1024;

/// One value of `COUNTERS`, per CPU and service. Packets, unless the name says otherwise. ARP requests count as
/// solicitations, ARP probes as duplicate address detection. `queries` and `bytes` stand side by side: most packets touch both.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Solicitations sent to the solicited-node or all-nodes group, or to the broadcast address.
    pub solicitations_multicast: u64,
    /// Solicitations sent to our MAC: a neighbour's reachability probe (RFC 4861 7.3.3).
    pub solicitations_unicast: u64,
    /// Solicitations from the unspecified address: a stranger's duplicate address detection (RFC 4862 5.4).
    pub solicitations_dad: u64,
    /// Solicitations answered.
    pub answered: u64,
    /// Solicitations not answered: the gate is shut.
    pub refused_shut: u64,
    /// Solicitations not answered: the lease ran out.
    pub refused_stale: u64,
    /// Solicitations not answered: the operator holds the gate shut.
    pub refused_held: u64,
    /// Advertisements for the service address from another MAC.
    pub advertisements: u64,
    /// UDP packets to a service port with QR = 1: responses, which a server has no use for.
    pub responses: u64,
    /// TCP segments to a service port with SYN and without ACK.
    pub tcp_syns: u64,
    /// UDP packets to a service port with QR = 0: queries.
    pub queries: u64,
    /// Bytes of the frames counted in `queries`, `responses`, `tcp_syns` and `malformed`.
    pub bytes: u64,
    /// UDP packets to a service port whose UDP length, IP length or first buffer cannot hold a DNS header.
    pub malformed: u64,
    /// IP fragments to the service address, whose port cannot be seen; they pass.
    pub fragments: u64,
}

/// Why a frame was dropped (or an event lost): index into `DROPS`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drop {
    /// The gate is shut (the sum over services of `refused_shut`).
    GateShut = 0,
    /// The lease ran out.
    LeaseStale = 1,
    /// The operator holds the gate shut.
    GateHeld = 2,
    /// NS: hop limit is not 255 (RFC 4861 7.1.1).
    NsHopLimit = 3,
    /// NS: checksum (RFC 4861 7.1.1).
    NsChecksum = 4,
    /// NS: code is not 0 (RFC 4861 7.1.1).
    NsCode = 5,
    /// NS: ICMP length below 24 octets (RFC 4861 7.1.1).
    NsLength = 6,
    /// NS: an option of length 0, or one that runs past the end (RFC 4861 4.6, 7.1.1).
    NsOption = 7,
    /// NS from `::` not to the target's solicited-node group (RFC 4861 7.1.1).
    NsDadDestination = 8,
    /// NS from `::` with a source link-layer address option (RFC 4861 7.1.1).
    NsDadOption = 9,
    /// NS in fragments (RFC 6980 5).
    NsFragment = 10,
    /// NS to a destination address that is neither the target nor a group it would be sent to.
    NsDestination = 11,
    /// NA: hop limit, checksum, code, length, option or S with a multicast destination (RFC 4861 7.1.2), or in fragments.
    NaInvalid = 12,
    /// Our own advertisement, looped back by the link.
    OwnAdvertisement = 13,
    /// A valid advertisement of another server, reported to the controller.
    PeerAdvertisement = 14,
    /// ARP for a service address with a wrong length, type or operation (RFC 826).
    ArpInvalid = 15,
    /// The frame could not be grown by the 8 bytes of the option.
    NoRoom = 16,
    /// An event for the controller was lost: `SOLICITED` ring full.
    SolicitedRingFull = 17,
    /// An event for the controller was lost: `PEERS` ring full or over its budget.
    PeersRingFull = 18,
    /// A solicitation that the controller answers, after a random delay.
    Delayed = 19,
}

/// Entries of `DROPS`.
pub const DROPS: usize = 20;

impl Drop {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; DROPS] = [
        Self::GateShut,
        Self::LeaseStale,
        Self::GateHeld,
        Self::NsHopLimit,
        Self::NsChecksum,
        Self::NsCode,
        Self::NsLength,
        Self::NsOption,
        Self::NsDadDestination,
        Self::NsDadOption,
        Self::NsFragment,
        Self::NsDestination,
        Self::NaInvalid,
        Self::OwnAdvertisement,
        Self::PeerAdvertisement,
        Self::ArpInvalid,
        Self::NoRoom,
        Self::SolicitedRingFull,
        Self::PeersRingFull,
        Self::Delayed,
    ];

    /// The name in metrics, in `anycast stats` and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GateShut => "gate_shut",
            Self::LeaseStale => "lease_stale",
            Self::GateHeld => "gate_held",
            Self::NsHopLimit => "ns_hop_limit",
            Self::NsChecksum => "ns_checksum",
            Self::NsCode => "ns_code",
            Self::NsLength => "ns_length",
            Self::NsOption => "ns_option",
            Self::NsDadDestination => "ns_dad_destination",
            Self::NsDadOption => "ns_dad_option",
            Self::NsFragment => "ns_fragment",
            Self::NsDestination => "ns_destination",
            Self::NaInvalid => "na_invalid",
            Self::OwnAdvertisement => "own_advertisement",
            Self::PeerAdvertisement => "peer_advertisement",
            Self::ArpInvalid => "arp_invalid",
            Self::NoRoom => "no_room",
            Self::SolicitedRingFull => "solicited_ring_full",
            Self::PeersRingFull => "peers_ring_full",
            Self::Delayed => "delayed",
        }
    }
}

/// [`Event::kind`]: a multicast or broadcast solicitation was refused.
pub const EVENT_SOLICITED_MULTICAST: u32 = 1;
/// [`Event::kind`]: a unicast solicitation was refused.
pub const EVENT_SOLICITED_UNICAST: u32 = 2;
/// [`Event::kind`]: a stranger's duplicate address detection was refused.
pub const EVENT_SOLICITED_DAD: u32 = 3;
/// [`Event::kind`]: a valid advertisement for the service address came from another MAC.
pub const EVENT_PEER_ADVERTISEMENT: u32 = 4;

/// [`Event::kind`]: a solicitation was answered; only from the program with extras, which learns routers by it.
pub const EVENT_SOLICITED_ANSWERED: u32 = 5;
/// [`Event::kind`]: a multicast solicitation is left to the controller.
pub const EVENT_SOLICITED_DELAYED: u32 = 6;

/// One record of the rings `SOLICITED` and `PEERS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// One of the `EVENT_` values.
    pub kind: u32,
    /// The service's index.
    pub index: u32,
    /// IP source address, network byte order in memory; IPv4 as `::ffff:a.b.c.d`.
    pub address: [u32; 4],
    /// Source MAC of the frame.
    pub mac: [u8; 6],
    /// For an advertisement: the link-layer address it announces (target option or ARP sender), else zero.
    pub announced: [u8; 6],
    /// The frame's VLAN, as [`vlan_key`].
    pub vlan: u32,
    /// NA flags (R 0x80, S 0x40, O 0x20); 0 for a solicitation.
    pub flags: u32,
    /// Octets of `option` that are the frame's: 0, [`OPTION_PLAIN`] or [`OPTION_SIGNED`].
    pub option_length: u32,
    /// For an NA: what stands behind the fixed place of its target link-layer address option, whatever it is; the rest zero.
    /// The program does not look into it.
    pub option: [[u8; 8]; OPTION_SIGNED / 8],
}

/// Octets of the farm's option in an NA without a signature.
pub const OPTION_PLAIN: usize = 40;

/// … and with one. An NA that has so many octets behind its target link-layer address option is copied so far.
pub const OPTION_SIGNED: usize = 80;

impl Event {
    /// What the frame had behind its target link-layer address option, as far as it was copied.
    pub fn option(&self) -> &[u8] {
        let octets = self.option.as_flattened();
        octets.get(..self.option_length as usize).unwrap_or(octets)
    }
}

/// One value of `LIMITS`, per CPU and service: when each kind of event was last sent, so that a flood of solicitations costs
/// one event in [`EVENT_INTERVAL_NS`] and cannot hide a peer's advertisement.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Last event of each solicitation kind, `CLOCK_MONOTONIC` nanoseconds: multicast, unicast, DAD, answered.
    pub solicited_ns: [u64; 4],
    /// Start of the current window of solicitations left to the controller.
    pub delayed_window_ns: u64,
    /// Start of the current window of peer advertisements.
    pub peers_window_ns: u64,
    /// Events sent in that window.
    pub peers_sent: u32,
    /// Solicitations left to the controller in theirs.
    pub delayed_sent: u32,
}

/// Shortest distance of two events of a kind, service and CPU, nanoseconds.
pub const EVENT_INTERVAL_NS: u64 = 10_000_000;

/// Peer advertisements of a service reported per [`EVENT_INTERVAL_NS`] and CPU.
pub const PEERS_BUDGET: u32 = 16;

/// Solicitations of a service left to the controller per [`EVENT_INTERVAL_NS`] and CPU.
pub const DELAYED_BUDGET: u32 = 16;

/// Bytes of each ring; a power of two and a multiple of the page size.
pub const RING_BYTES: u32 = 64 * 1024;

const _: () = assert!(size_of::<Meta>() == 8);
const _: () = assert!(core::mem::offset_of!(Services, slots) == size_of::<Service>());
const _: () = assert!(size_of::<Services>() == 64 + SERVICES_ENTRIES as usize * 64);
const _: () = assert!(size_of::<Service>() == 64);
const _: () = assert!(size_of::<Gate>() == 16);
const _: () = assert!(size_of::<Counters>() == 14 * 8);
const _: () = assert!(size_of::<Event>() == 128);
const _: () = assert!(size_of::<Limits>() == 56);
const _: () = assert!(size_of::<RouterKey>() == 12);
const _: () = assert!(size_of::<RouterGate>() == 8);

#[cfg(feature = "user")]
mod pod {
    use super::{Counters, Event, Gate, Limits, Meta, RouterGate, RouterKey, Service};

    // SAFETY: each type is `repr(C)`, `Copy`, `'static`, consists of integers and arrays of integers, has no implicit padding
    // (sizes asserted above) and is valid for every bit pattern.
    unsafe impl aya::Pod for Meta {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Service {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Gate {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Counters {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Event {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Limits {}
    // SAFETY: as above.
    unsafe impl aya::Pod for RouterKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for RouterGate {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::halves;

    #[test]
    fn drops_are_numbered_in_order_and_named_once() {
        for (number, reason) in Drop::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
            assert_eq!(Drop::ALL.iter().filter(|other| other.name() == reason.name()).count(), 1);
        }
    }

    #[test]
    fn priority_tag_is_untagged() {
        assert_eq!(vlan_key(&[0]), vlan_key(&[]));
        assert_eq!(vlan_key(&[7]), 7);
        assert_eq!(vlan_key(&[7, 0]), 7);
        assert_eq!(vlan_key(&[0, 7]), 7);
        assert_eq!(vlan_key(&[100, 7]), 100 << 12 | 7);
    }

    #[test]
    fn slots_stay_within_one_half() {
        for number in 0..1000 {
            assert!(slot(u64::MAX - 2 * number, [1, number], 7) < SLOTS);
        }
    }

    #[test]
    fn each_part_of_a_key_moves_it() {
        let (multiplier, first) = table(0x9E37_79B9_7F4A_7C15);
        assert_eq!((multiplier, first), (0x9E37_79B9_7F4A_7C15, SLOTS));
        assert_eq!(table(multiplier - 1), (multiplier, 0));
        let slot = |address, vlan| slot(multiplier, halves(address), vlan);
        let plain = slot([1, 2, 3, 4], 7);
        let others: [([u32; 4], u32); 5] = [
            ([9, 2, 3, 4], 7),
            ([1, 9, 3, 4], 7),
            ([1, 2, 9, 4], 7),
            ([1, 2, 3, 9 << 24], 7),
            ([1, 2, 3, 4], 8),
        ];
        for (address, vlan) in others {
            assert_ne!(slot(address, vlan), plain, "{address:?} {vlan}");
        }
    }
}
