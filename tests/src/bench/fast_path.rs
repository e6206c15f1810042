//! The fast path as it is measured: sixty-four addresses, the gate held open.

use std::net::{IpAddr, Ipv6Addr};

use anycast_common::abi::HOLD_OPEN;
use anycast_user::datapath::{Datapath, Mode, Options, Service};
use anyhow::{Context as _, Result};

use super::wire::{SERVER, SERVER_ADDRESS, SERVER_MAC, Wire};

/// As many as an interface can have: the look-up must not get slower with them.
pub const SERVICES: u16 = 64;

/// The address of a service.
pub fn address(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x53, number + 1)
}

/// Attaches it to the server's end of the wire. To be detached in the server's namespace.
///
/// # Errors
/// The fast path is not built, or refused.
pub fn attach(wire: &Wire, mode: Mode) -> Result<Datapath> {
    let bpffs = std::path::PathBuf::from(format!("/sys/fs/bpf/anycast-bench-{}", wire.server.name()));
    let options = Options { interface: SERVER.to_owned(), mode, bpffs, log: false };
    let mut fast_path = wire.server.run(|| Datapath::open(&options)).context("attach the fast path")?;
    let services: Vec<Service> = (0..SERVICES)
        .map(|number| Service {
            address: IpAddr::V6(address(number)),
            vlan: Vec::new(),
            ports: vec![53],
            override_flag: true,
            router: false,
            source: Some(SERVER_ADDRESS),
        })
        .collect();
    for index in fast_path.set_services(SERVER_MAC, &services).context("fill the table")? {
        fast_path.set_hold(index, HOLD_OPEN);
    }
    Ok(fast_path)
}
