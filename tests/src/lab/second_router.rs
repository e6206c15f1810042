//! A second router on a farm's link, with a client of its own behind it.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::Result;

use super::farm::{CLIENT, Farm, ROUTER_CLIENT, ROUTER_LINK, SERVER, SWITCH};
use super::namespace::{Namespace, veth};
use super::neighbour::{self, Neighbour};

/// The switch's port to it.
const SWITCH_PORT: &str = "acpr2";

/// Its address on the servers' link.
const ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x53, 1, 0, 0, 0, 2);

/// The router and the client; both go when this is dropped.
#[derive(Debug)]
pub struct SecondRouter {
    /// The router, between [`ROUTER_LINK`] and [`ROUTER_CLIENT`].
    pub router: Namespace,
    /// The client, on [`CLIENT`].
    pub client: Namespace,
}

impl SecondRouter {
    /// Puts it on the link. Every server answers its client through it; IPv6 only.
    ///
    /// # Errors
    /// As [`Namespace::ip`].
    pub fn new(farm: &Farm) -> Result<Self> {
        let router = Namespace::new()?;
        router.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        veth(&farm.switch, SWITCH_PORT, &router, ROUTER_LINK)?;
        farm.switch.ip_batch(&format!("link set {SWITCH_PORT} master {SWITCH} up\n"))?;
        router.ip_batch(&format!(
            "link set {ROUTER_LINK} address 02:ac:00:00:00:02 up\naddr add {ADDRESS}/64 dev {ROUTER_LINK}\n"
        ))?;
        let client = Namespace::new()?;
        veth(&router, ROUTER_CLIENT, &client, CLIENT)?;
        router.ip_batch(&format!(
            "link set {ROUTER_CLIENT} up\naddr add 2001:db8:53:3::1/64 dev {ROUTER_CLIENT}\n"
        ))?;
        client.ip_batch(&format!(
            "link set {CLIENT} up\n\
             addr add 2001:db8:53:3::2/64 dev {CLIENT}\n\
             route add default via 2001:db8:53:3::1\n"
        ))?;
        for server in &farm.servers {
            server.namespace.ip(&[
                "route",
                "add",
                "2001:db8:53:3::/64",
                "via",
                &ADDRESS.to_string(),
                "dev",
                SERVER,
            ])?;
        }
        Ok(Self { router, client })
    }

    /// What it believes of an address on the servers' link.
    ///
    /// # Errors
    /// The neighbour cache cannot be read.
    pub fn neighbour(&self, address: IpAddr) -> Result<Option<Neighbour>> {
        neighbour::read(&self.router, ROUTER_LINK, address)
    }
}
