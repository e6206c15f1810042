//! Routers on the link: how they are named, and how this server knows them.

use std::fmt;
use std::net::Ipv6Addr;

/// Most routers of a service that are named: what is told of them fits into one heartbeat. Those beyond are under `*`.
pub const ROUTERS_MAX: usize = 16;

/// A router on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Router {
    /// Its link-local address, which names it: the source of its advertisements (RFC 4861 6.1.2) and of the solicitations that
    /// it sends for packets it forwards (RFC 4861 7.2.2: one of the interface's own addresses, and a forwarded packet's source
    /// is none).
    pub address: Ipv6Addr,
    /// The MAC address it sends from, by which the fast path knows it.
    pub mac: [u8; 6],
}

impl Router {
    /// A router with this link-local address and MAC address; `None` if it is no link-local unicast address (RFC 4291 2.5.6),
    /// or no MAC address of a single station.
    pub fn new(address: Ipv6Addr, mac: [u8; 6]) -> Option<Self> {
        let link_local = address.to_bits() >> 64 == 0xfe80 << 48 && address.to_bits() as u64 != 0;
        (link_local && mac[0] & 1 == 0 && mac != [0; 6]).then_some(Self { address, mac })
    }

    /// The lower half of its address: all that is not the same for every router.
    pub const fn interface_id(&self) -> u64 {
        self.address.to_bits() as u64
    }

    /// The address with this lower half.
    pub const fn address_of(interface_id: u64) -> Ipv6Addr {
        Ipv6Addr::from_bits(0xfe80 << 112 | interface_id as u128)
    }
}

impl fmt::Display for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.mac;
        write!(f, "{} ({a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x})", self.address)
    }
}

/// How a router was seen, from the weakest to the strongest: the MAC address of a solicitation is the one whose entry counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sighting {
    /// Another server of the farm has seen it.
    Peer,
    /// The kernel's neighbour cache calls it a router.
    Neighbour,
    /// It sent a Router Advertisement.
    Advertisement,
    /// It solicited the service address.
    Solicitation,
}

impl Sighting {
    /// The word in status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Neighbour => "neighbour",
            Self::Advertisement => "advertisement",
            Self::Solicitation => "solicitation",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routers_have_a_link_local_address_and_the_mac_of_one_station() {
        let address: Ipv6Addr = "fe80::1:2".parse().expect("an address");
        let router = Router::new(address, [2, 0, 0, 0, 0, 9]).expect("a router");
        assert_eq!(Router::address_of(router.interface_id()), address);
        assert_eq!(router.to_string(), "fe80::1:2 (02:00:00:00:00:09)");
        for wrong in ["2001:db8::1", "fe80::", "fe80:1::1", "ff02::1", "::"] {
            assert_eq!(Router::new(wrong.parse().expect("an address"), [2, 0, 0, 0, 0, 9]), None, "{wrong}");
        }
        assert_eq!(Router::new(address, [0x33, 0x33, 0, 0, 0, 1]), None);
        assert_eq!(Router::new(address, [0; 6]), None);
    }
}
