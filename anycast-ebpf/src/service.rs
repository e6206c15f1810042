//! Which service a frame is for, and whether the gate is open.

use anycast_common::{
    abi::{self, Drop, HOLD_OPEN, HOLD_SHUT, RouterKey, Service, Services},
    packet::{MAC_LENGTH, halves},
};
use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;

use crate::{
    frame::same_halves,
    maps::{GATES, ROUTERS, SERVICES},
};

/// What the program must know before it can look up a service, and the table.
#[inline(always)]
pub fn services() -> Option<&'static Services> {
    SERVICES.get(0)
}

/// The service of `address` on `vlan`; an IPv4 address is mapped into IPv6 and comes with `abi::IPV4_KEY` in `vlan`.
#[inline(always)]
pub fn find(services: &'static Services, address: [u64; 2], vlan: u32) -> Option<&'static Service> {
    // SAFETY: a reference can be read. Volatile because user space stores a new value at any time: multiplier and half must
    // come from the same load.
    let table = unsafe { core::ptr::from_ref(&services.table).read_volatile() };
    let (multiplier, first) = abi::table(table);
    let service = services.slots.get((first + abi::slot(multiplier, address, vlan)) as usize)?;
    let same = same_halves(halves(service.address), address) && service.vlan == vlan;
    same.then_some(service)
}

/// Does the service have `port`, in network byte order? No service has port 0, which fills unused places.
#[inline(always)]
pub fn has_port(service: &Service, port: u16) -> bool {
    let [a, b, c, d] = service.ports;
    if a == port {
        return port != 0;
    }
    port != 0 && (b == port || c == port || d == port)
}

/// May a UDP packet or SYN to `port`, in host byte order, be for any service?
#[inline(always)]
pub fn may_have_port(services: &Services, port: u16) -> bool {
    services.port_filter >> (port % 64) & 1 != 0
}

/// The lease of the router with this MAC address, if it is named: then it goes before the service's.
#[inline(always)]
pub fn router_lease(index: u32, mac: [u8; MAC_LENGTH]) -> Option<u64> {
    let gate = ROUTERS.get_ptr(RouterKey { index, mac, pad: [0; 2] })?;
    // SAFETY: the pointer is to a map value, which user space replaces but never writes to.
    Some(unsafe { (*gate).open_until_ns })
}

/// Asks the gate of service `index`: `Err` says why it is not open. `None` if there is no such gate. `router` finds the lease
/// that goes before the gate's own.
#[inline(always)]
pub fn gate(index: u32, router: impl FnOnce() -> Option<u64>) -> Option<Result<(), Drop>> {
    let gate = GATES.get_ptr(index)?;
    // SAFETY: the pointer is to a map value; volatile because user space stores to it at any time.
    let (open_until, hold) = unsafe {
        ((&raw const (*gate).open_until_ns).read_volatile(), (&raw const (*gate).hold).read_volatile())
    };
    if hold == HOLD_SHUT {
        return Some(Err(Drop::GateHeld));
    }
    if hold == HOLD_OPEN {
        return Some(Ok(()));
    }
    let open_until = router().unwrap_or(open_until);
    if open_until == 0 {
        return Some(Err(Drop::GateShut));
    }
    if open_until <= now() {
        return Some(Err(Drop::LeaseStale));
    }
    Some(Ok(()))
}

/// `CLOCK_MONOTONIC_COARSE` in nanoseconds, which is `CLOCK_MONOTONIC` as of the last tick: a lease may be honoured for one
/// tick (1 to 10 ms) more. The exact clock costs as much as the rest of the answer.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: the helper has no requirements.
    unsafe { bpf_ktime_get_coarse_ns() }
}
