//! `[ospf]`: how services are advertised by a routing protocol, and by whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Advertising by a routing protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ospf {
    /// Who speaks to the routers.
    pub driver: Driver,
    /// A child process does the last thing for a daemon that was killed.
    pub guard: bool,
}

/// Who speaks to the routers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Driver {
    /// The daemon itself, by OSPFv3.
    Native(Native),
    /// FRR's ospf6d, driven by vtysh.
    Frr(Frr),
    /// BIRD, driven by a file that it includes and by its control socket.
    Bird(Bird),
    /// The kernel's routing table, from which any routing daemon redistributes.
    Route(KernelRoute),
}

/// The daemon's own speaker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Native {
    /// Unique in the network.
    pub router_id: Ipv4Addr,
    /// Uplinks.
    pub interfaces: Vec<Uplink>,
    /// AS-External-LSAs instead of Intra-Area-Prefix-LSAs.
    pub external: Option<External>,
    /// The load LSA; `None` = none is sent.
    pub load: Option<LoadLsa>,
    /// Keys of the authentication trailer (RFC 7166); `None` = packets are not authenticated.
    pub key_file: Option<PathBuf>,
    /// Compute digests as FRR 8.4 does.
    pub frr84_compat: bool,
    /// Have routers calculate all routes anew when a service's prefix changed or left.
    pub recalculate: bool,
}

/// An interface on which OSPF is spoken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uplink {
    /// Its name.
    pub name: String,
    /// The area, written as an address.
    pub area: Ipv4Addr,
    /// The area is a stub.
    pub stub: bool,
    /// With one router only, and no Designated Router.
    pub point_to_point: bool,
    /// Instance ID, 0 to 31.
    pub instance: u8,
    /// Seconds between Hellos.
    pub hello: u16,
    /// Seconds until a silent router is dead.
    pub dead: u16,
    /// Until what was not acknowledged is sent again.
    pub retransmit: Duration,
    /// Cost of the link.
    pub cost: u16,
    /// Do not compare MTUs.
    pub mtu_ignore: bool,
}

/// AS-External-LSAs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct External {
    /// Type 2: the metric counts before every distance.
    pub type_2: bool,
    /// Route tag: a number, or the load.
    pub tag: Tag,
}

/// A route tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tag {
    /// None.
    None,
    /// Always this.
    Fixed(u32),
    /// The load in permille.
    Load,
}

/// The load LSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadLsa {
    /// Its type.
    pub ls_type: u16,
    /// The vendor's number; 0 for experiments.
    pub enterprise: u32,
}

/// FRR's ospf6d.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frr {
    /// Directory of the daemons' vty sockets.
    pub vty_socket: PathBuf,
    /// The program.
    pub vtysh: PathBuf,
    /// The area of the services' interfaces.
    pub area: Ipv4Addr,
}

/// BIRD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bird {
    /// Its control socket.
    pub control_socket: PathBuf,
    /// The file that it includes in an area, and that this daemon writes.
    pub include: PathBuf,
}

/// A kernel route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelRoute {
    /// `rtm_protocol`: who made the route.
    pub protocol: u8,
    /// Routing table.
    pub table: u32,
    /// Length of the prefix around an IPv6 service address that the route is to; those of IPv4 are /32.
    pub prefix_length: u8,
}

impl KernelRoute {
    /// What the route to a service address is to: an address and a length.
    pub fn destination(&self, address: IpAddr) -> (IpAddr, u8) {
        match address {
            IpAddr::V4(_) => (address, 32),
            IpAddr::V6(v6) => {
                let host = u128::MAX.checked_shr(self.prefix_length.into()).unwrap_or(0);
                (IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !host)), self.prefix_length)
            }
        }
    }
}

/// By what a service is advertised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertise {
    /// Neighbor Discovery on the link.
    pub ndp: bool,
    /// The routing protocol of `[ospf]`.
    pub ospf: bool,
}

impl Default for Advertise {
    fn default() -> Self {
        Self { ndp: true, ospf: false }
    }
}

/// How a service's cost follows its load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Cost of an idle server.
    pub min: u16,
    /// Cost of a full one.
    pub max: u16,
    /// Steps between.
    pub levels: u8,
    /// Least time before a raise.
    pub up_hold: Duration,
    /// Least time before a lowering.
    pub down_hold: Duration,
    /// A change waits for a random time up to this.
    pub jitter: Duration,
}

impl Default for Cost {
    fn default() -> Self {
        Self {
            min: 10,
            max: 80,
            levels: 8,
            up_hold: Duration::from_secs(10),
            down_hold: Duration::from_secs(30),
            jitter: Duration::from_secs(1),
        }
    }
}
