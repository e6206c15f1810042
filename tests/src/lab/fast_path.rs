//! The fast path without a daemon: a gate in a test's own hand.

use std::net::{IpAddr, Ipv6Addr};

use anycast_common::abi::{Counters, DROPS, HOLD_AUTOMATIC};
use anycast_user::datapath::{Datapath, Mode, Options, Service};
use anyhow::{Context as _, Result};

use super::farm::{SERVER, Server};
use super::frame::Mac;

/// Open for as long as any test runs.
const FOR_EVER: u64 = u64::MAX;

/// The fast path attached to a server's interface; detached when dropped.
pub struct FastPath {
    // Taken when it is dropped.
    datapath: Option<Datapath>,
    addresses: Vec<IpAddr>,
    indexes: Vec<u32>,
}

impl FastPath {
    /// Attaches to [`SERVER`] of `server` with services on port 53, all gates shut.
    ///
    /// # Errors
    /// As [`Datapath::open`].
    pub fn attach(server: &Server, mode: Mode, addresses: &[IpAddr]) -> Result<Self> {
        let services: Vec<Service> = addresses
            .iter()
            .map(|address| Service {
                ports: vec![53],
                source: Some(link_local(server.mac)),
                ..Service::new(*address)
            })
            .collect();
        Self::attach_services(server, mode, &services)
    }

    /// Attaches with services as they are, all gates shut.
    ///
    /// # Errors
    /// As [`Datapath::open`].
    pub fn attach_services(server: &Server, mode: Mode, services: &[Service]) -> Result<Self> {
        let options = Options {
            interface: SERVER.to_owned(),
            mode,
            bpffs: server.bpffs.clone(),
            log: false,
            extra: false,
        };
        // Index and offloads of the interface are looked up in the namespace of the thread that asks.
        let (datapath, indexes) = server.namespace.run(|| {
            let mut datapath = Datapath::open(&options).context("attach the fast path")?;
            let indexes = datapath.set_services(server.mac.0, services).context("set the services")?;
            anyhow::Ok((datapath, indexes))
        })?;
        let addresses = services.iter().map(|service| service.address).collect();
        Ok(Self { datapath: Some(datapath), addresses, indexes })
    }

    /// Opens the gate of an address for good.
    ///
    /// # Panics
    /// The address is not this server's.
    pub fn open(&mut self, address: IpAddr) {
        self.set_lease(address, FOR_EVER);
    }

    /// Shuts the gate of an address.
    ///
    /// # Panics
    /// The address is not this server's.
    pub fn shut(&mut self, address: IpAddr) {
        self.set_lease(address, 0);
    }

    fn set_lease(&mut self, address: IpAddr, open_until_ns: u64) {
        let index = self.index(address);
        self.datapath().set_lease(index, open_until_ns);
    }

    /// Sets a gate by the number of its service, in the order in which they were given.
    pub fn set_gate(&mut self, number: usize, open_until_ns: u64, hold: u32) {
        let index = self.indexes[number];
        self.datapath().set_lease(index, open_until_ns);
        self.datapath().set_hold(index, hold);
    }

    /// Shuts all gates and ends all holds.
    pub fn shut_all(&mut self) {
        for number in 0..self.indexes.len() {
            self.set_gate(number, 0, HOLD_AUTOMATIC);
        }
    }

    /// The counters of an address.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn counters(&mut self, address: IpAddr) -> Result<Counters> {
        let index = self.index(address);
        Ok(self.datapath().counters(index)?)
    }

    /// The counters of all services, in the order in which they were given.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn all_counters(&mut self) -> Result<Vec<Counters>> {
        let indexes = self.indexes.clone();
        indexes.into_iter().map(|index| Ok(self.datapath().counters(index)?)).collect()
    }

    /// What was dropped, by reason.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn drops(&mut self) -> Result<[u64; DROPS]> {
        Ok(self.datapath().drops()?)
    }

    fn index(&self, address: IpAddr) -> u32 {
        let number = self.addresses.iter().position(|found| *found == address);
        self.indexes[number.unwrap_or_else(|| panic!("{address} is no service of this server"))]
    }

    fn datapath(&mut self) -> &mut Datapath {
        match &mut self.datapath {
            Some(datapath) => datapath,
            None => unreachable!("only drop takes it"),
        }
    }
}

impl Drop for FastPath {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.datapath.take().map(Datapath::detach) {
            eprintln!("detach the fast path: {error}");
        }
    }
}

/// The link-local address that the kernel gives an interface with this MAC (RFC 4291 appendix A).
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0.map(u16::from);
    Ipv6Addr::new(0xfe80, 0, 0, 0, (a ^ 2) << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_addresses_are_those_of_the_rfc() {
        // The example of RFC 4291 appendix A, 34-56-78-9A-BC-DE.
        let address = link_local(Mac([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]));
        assert_eq!(address, "fe80::3656:78ff:fe9a:bcde".parse::<Ipv6Addr>().unwrap());
    }
}
