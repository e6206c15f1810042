//! The `SERVICES` table: which slot holds which service, under a multiplier that keeps them apart. Pure.

use std::net::{IpAddr, Ipv6Addr};

use anycast_common::{
    abi::{self, IPV4_KEY, PORTS_MAX, SERVICES_MAX, SLOTS, slot, vlan_key},
    packet::{MAC_LENGTH, halves, ndp},
};

use super::{Error, Service, error::ServiceFault};

/// Multipliers tried. With 64 services in 1024 slots one in some tens is free of collisions: that none of these is has a
/// probability below 10^-500.
const MULTIPLIERS: u64 = 100_000;

/// What tells services apart: address words in memory order, VLAN and address family.
pub(super) type Key = ([u32; 4], u32);

/// A table ready to be stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// As [`slot`]'s; odd.
    pub multiplier: u64,
    /// Slot and value of each service, in the order in which they were given.
    pub entries: Vec<(u32, abi::Service)>,
    /// As `Services::port_filter`.
    pub port_filter: u64,
}

impl Table {
    /// Makes the table of `services`; `known` gives the index of a service that is in the maps already.
    pub fn new(
        mac: [u8; MAC_LENGTH],
        services: &[Service],
        known: impl Fn(&Key) -> Option<u32>,
    ) -> Result<Self, Error> {
        if services.len() > SERVICES_MAX {
            return Err(Error::TooManyServices { count: services.len() });
        }
        let keys: Vec<Key> = services.iter().map(key).collect();
        for (place, service) in services.iter().enumerate() {
            validate(service)?;
            if keys[..place].contains(&keys[place]) {
                return Err(fault(service, ServiceFault::Duplicate));
            }
        }
        let mut free = [true; SERVICES_MAX];
        let kept: Vec<Option<u32>> = keys.iter().map(&known).collect();
        for index in kept.iter().flatten() {
            free[*index as usize] = false;
        }
        let mut unused = (0..SERVICES_MAX as u32).filter(|index| free[*index as usize]);
        let (multiplier, slots) = place(&keys);
        let mut entries = Vec::with_capacity(services.len());
        for (((service, key), slot), kept) in services.iter().zip(&keys).zip(slots).zip(kept) {
            // There are as many indices as there may be services.
            let index = kept.or_else(|| unused.next()).unwrap_or(abi::NO_SERVICE);
            entries.push((slot, value(service, *key, index, mac)));
        }
        let port_filter =
            services.iter().flat_map(|service| &service.ports).fold(0, |bits, port| bits | 1 << (port % 64));
        Ok(Self { multiplier, entries, port_filter })
    }
}

/// The key of a service.
pub(super) fn key(service: &Service) -> Key {
    let family = if service.address.is_ipv4() { IPV4_KEY } else { 0 };
    (words(mapped(service.address)), vlan_key(&service.vlan) | family)
}

/// The address of a key.
pub(super) fn address(words: [u32; 4]) -> IpAddr {
    let mut octets = [0; 16];
    for (place, word) in octets.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    Ipv6Addr::from(octets).to_canonical()
}

/// The VLAN identifiers of a key, outermost first.
pub(super) fn vlan(key: u32) -> Vec<u16> {
    [(key >> 12) as u16 & 0xfff, key as u16 & 0xfff].into_iter().filter(|vid| *vid != 0).collect()
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn words(address: Ipv6Addr) -> [u32; 4] {
    anycast_common::packet::address(&address.octets(), 0)
}

fn fault(service: &Service, reason: ServiceFault) -> Error {
    Error::Service { address: service.address, reason }
}

fn validate(service: &Service) -> Result<(), Error> {
    let address = service.address;
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    if address.is_multicast() || address.is_unspecified() || address.is_loopback() || broadcast {
        return Err(fault(service, ServiceFault::NotUnicast));
    }
    if service.ports.len() > PORTS_MAX || service.ports.contains(&0) {
        return Err(fault(service, ServiceFault::Ports));
    }
    if service.vlan.len() > 2 || service.vlan.iter().any(|vid| !(1..=4094).contains(vid)) {
        return Err(fault(service, ServiceFault::Vlan));
    }
    Ok(())
}

/// The first multiplier under which no two keys share a slot.
fn place(keys: &[Key]) -> (u64, Vec<u32>) {
    let slots = |by| keys.iter().map(|(address, vlan)| slot(by, halves(*address), *vlan)).collect::<Vec<_>>();
    // A Weyl sequence of odd numbers with all bits in use.
    let multiplier = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for by in (1..=MULTIPLIERS).map(multiplier) {
        let slots = slots(by);
        let mut taken = [false; SLOTS as usize];
        if slots.iter().all(|slot| !std::mem::replace(&mut taken[*slot as usize], true)) {
            return (by, slots);
        }
    }
    // Not reached, see `MULTIPLIERS`; services that share a slot would lose all but one of them to the kernel.
    (1, slots(1))
}

fn value(service: &Service, (address, vlan): Key, index: u32, mac: [u8; MAC_LENGTH]) -> abi::Service {
    let source = match (service.address, service.source) {
        (IpAddr::V4(_), _) => [0; 4],
        (IpAddr::V6(_), Some(source)) => words(source),
        (IpAddr::V6(_), None) => address,
    };
    let flags =
        if service.router { ndp::ROUTER } else { 0 } | if service.override_flag { ndp::OVERRIDE } else { 0 };
    let mut ports = [0; PORTS_MAX];
    for (place, port) in ports.iter_mut().zip(&service.ports) {
        *place = port.to_be();
    }
    let checksum_base =
        if service.address.is_ipv6() { ndp::checksum_base(source, address, mac, flags) } else { 0 };
    abi::Service {
        address,
        vlan,
        index,
        source,
        na_flags: u32::from(flags),
        ports,
        mac,
        flags: if service.delayed { abi::SERVICE_DELAYED } else { 0 },
        checksum_base,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn service(address: &str) -> Service {
        Service { ports: vec![53], ..Service::new(address.parse().unwrap()) }
    }

    fn many(count: u32) -> Vec<Service> {
        (0..count).map(|n| service(&format!("2001:db8::{n:x}:53"))).collect()
    }

    fn none(_: &Key) -> Option<u32> {
        None
    }

    #[test]
    fn a_full_table_has_neither_collisions_nor_shared_indices() {
        let table = Table::new(MAC, &many(64), none).unwrap();
        let slots: HashSet<u32> = table.entries.iter().map(|(slot, _)| *slot).collect();
        let indices: HashSet<u32> = table.entries.iter().map(|(_, service)| service.index).collect();
        assert_eq!((slots.len(), indices.len()), (64, 64));
        assert!(indices.iter().all(|index| *index < 64));
        for (place, value) in &table.entries {
            assert_eq!(*place, slot(table.multiplier, halves(value.address), value.vlan));
        }
        assert!(matches!(Table::new(MAC, &many(65), none), Err(Error::TooManyServices { count: 65 })));
    }

    #[test]
    fn a_known_service_keeps_its_index_and_no_other_gets_it() {
        let known = |wanted: &Key| (*wanted == key(&service("2001:db8::1:53"))).then_some(0);
        let table = Table::new(MAC, &many(3), known).unwrap();
        let indices: Vec<u32> = table.entries.iter().map(|(_, service)| service.index).collect();
        assert_eq!(indices, [1, 0, 2]);
    }

    #[test]
    fn keys_can_be_read_back() {
        for text in ["2001:db8::53", "192.0.2.53"] {
            let mut service = service(text);
            service.vlan = vec![100, 7];
            let (words, key) = key(&service);
            assert_eq!(address(words), service.address);
            assert_eq!(vlan(key), service.vlan);
        }
        assert!(vlan(0).is_empty());
        assert_eq!(vlan(7), [7]);
    }

    #[test]
    fn an_ipv4_address_and_its_mapped_form_have_different_keys() {
        assert_eq!(key(&service("192.0.2.53")).0, key(&service("::ffff:192.0.2.53")).0);
        assert_ne!(key(&service("192.0.2.53")), key(&service("::ffff:192.0.2.53")));
    }

    #[test]
    fn what_cannot_be_served_is_refused() {
        let reason = |service| match Table::new(MAC, &[service], none) {
            Err(Error::Service { reason, .. }) => Some(reason),
            Err(error) => panic!("{error}"),
            Ok(_) => None,
        };
        assert_eq!(reason(service("2001:db8::1")), None);
        for text in ["ff02::1", "::", "::1", "0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"] {
            assert_eq!(reason(service(text)), Some(ServiceFault::NotUnicast), "{text}");
        }
        let ports = |ports: &[u16]| reason(Service { ports: ports.to_vec(), ..service("2001:db8::1") });
        assert_eq!(ports(&[1, 2, 3, 4]), None);
        assert_eq!(ports(&[1, 2, 3, 4, 5]), Some(ServiceFault::Ports));
        assert_eq!(ports(&[0]), Some(ServiceFault::Ports));
        let vlan = |vlan: &[u16]| reason(Service { vlan: vlan.to_vec(), ..service("2001:db8::1") });
        assert_eq!(vlan(&[4094]), None);
        assert_eq!(vlan(&[1, 2, 3]), Some(ServiceFault::Vlan));
        assert_eq!(vlan(&[4095]), Some(ServiceFault::Vlan));
        assert_eq!(vlan(&[0]), Some(ServiceFault::Vlan));
        let twice = Table::new(MAC, &[service("2001:db8::1"), service("2001:db8::1")], none);
        assert!(matches!(twice, Err(Error::Service { reason: ServiceFault::Duplicate, .. })));
    }

    #[test]
    fn the_filter_has_a_bit_for_each_port() {
        let mut first = service("2001:db8::1");
        first.ports = vec![53, 853];
        let table = Table::new(MAC, &[first], none).unwrap();
        assert_eq!(table.port_filter, 1 << 53 | 1 << (853 % 64));
    }
}
