//! The router believes it: what a Linux router's neighbour cache makes of the fast path and of advertisements.
//!
//! The gates are in the tests' own hands; what the daemon does with them is shown elsewhere.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as the tests do, by a panic")]

mod moves;
mod probes;
mod theft;

use std::net::IpAddr;
use std::time::Duration;

use anycast_tests::lab::farm::{ROUTER_LINK, SERVICE, SERVICE_V4};
use anycast_tests::lab::{DnsResponder, Farm, FarmOptions};

const PATIENCE: Duration = Duration::from_secs(10);

/// Returns from the test if the lab cannot run here.
#[macro_export]
macro_rules! need_lab {
    ($name:literal) => {
        if let Err(reason) = anycast_tests::lab::available() {
            anycast_tests::skip($name, &reason);
            return;
        }
    };
}

/// A farm of two, each with the DNS service and both service addresses on `lo`.
fn farm_of_two() -> (Vec<DnsResponder>, Farm) {
    let farm = Farm::new(&FarmOptions { servers: 2, ..FarmOptions::default() }).unwrap();
    for server in &farm.servers {
        for address in [SERVICE, SERVICE_V4] {
            server.add_service_address(address).unwrap();
        }
        // As the daemon sets them: the kernel neither answers for an address on lo nor asks in its name.
        server.namespace.sysctl("net/ipv4/conf/all/arp_ignore", "1").unwrap();
        server.namespace.sysctl("net/ipv4/conf/all/arp_announce", "2").unwrap();
    }
    let responders = farm.servers.iter().map(|server| DnsResponder::start(server).unwrap()).collect();
    (responders, farm)
}

/// Sets a neighbour parameter of the router's interface to the servers for the family of `address`.
fn set_neighbour_parameter(farm: &Farm, address: IpAddr, name: &str, value: &str) {
    let family = if address.is_ipv6() { "ipv6" } else { "ipv4" };
    farm.router.sysctl(&format!("net/{family}/neigh/{ROUTER_LINK}/{name}"), value).unwrap();
}
