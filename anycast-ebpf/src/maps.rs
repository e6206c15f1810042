//! The maps, named and laid out as `anycast_common::abi` says. BTF-typed, so that `bpftool map dump` prints field names.

use anycast_common::abi::{
    Counters, DROPS as REASONS, Event, Gate, Limits, Meta, RING_BYTES, ROUTERS_ENTRIES, RouterGate,
    RouterKey, SERVICES_MAX, Services,
};
use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, HashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};

/// User space maps these arrays into its memory: renewing a lease and switching the table is one store, no system call.
const MMAPABLE: usize = BPF_F_MMAPABLE as usize;

#[btf_map]
pub static META: Array<Meta, 1, MMAPABLE> = Array::new();

/// A table addressed by a hash that user space keeps free of collisions, instead of a hash map: a shift and an addition find
/// the slot. It is one value, so that the slot is computed in registers instead of going through memory as a map's key, and
/// mappable, so that it begins with a page and each slot is one cache line.
#[btf_map]
pub static SERVICES: Array<Services, 1, MMAPABLE> = Array::new();

#[btf_map]
pub static GATES: Array<Gate, SERVICES_MAX, MMAPABLE> = Array::new();

/// The gates of single routers. A hash map, and a call for each solicitation: only `anycast_extra` looks.
#[btf_map]
pub static ROUTERS: HashMap<RouterKey, RouterGate, ROUTERS_ENTRIES> = HashMap::new();

#[btf_map]
pub static COUNTERS: PerCpuArray<Counters, SERVICES_MAX> = PerCpuArray::new();

#[btf_map]
pub static DROPS: PerCpuArray<u64, REASONS> = PerCpuArray::new();

#[btf_map]
pub static LIMITS: PerCpuArray<Limits, SERVICES_MAX> = PerCpuArray::new();

#[btf_map]
pub static SOLICITED: RingBuf<Event, { RING_BYTES as usize }> = RingBuf::new();

#[btf_map]
pub static PEERS: RingBuf<Event, { RING_BYTES as usize }> = RingBuf::new();

/// When this CPU last wrote to the log, nanoseconds.
#[btf_map]
pub static LOGGED: PerCpuArray<u64, 1> = PerCpuArray::new();
