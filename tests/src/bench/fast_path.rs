//! The fast path as it is measured: sixty-four addresses, the gate held open.

use std::net::{IpAddr, Ipv6Addr};

use anycast_common::abi::HOLD_OPEN;
use anycast_user::datapath::{Datapath, Mode, Options, Service};
use anyhow::{Context as _, Result};

use super::wire::{SERVER, SERVER_LINK_LOCAL, SERVER_MAC, Wire};
use crate::lab::farm::Scratch;

/// As many as an interface can have: the look-up must not get slower with them.
pub const SERVICES: u16 = 64;

/// The address of a service.
pub fn address(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x53, number + 1)
}

/// An attached fast path; taken off, with everything pinned, when it is dropped.
pub struct Attached<'a> {
    wire: &'a Wire,
    datapath: Option<Datapath>,
    // Behind it: the pins go before the file system that they are on.
    _scratch: Scratch,
}

impl Attached<'_> {
    /// Its number among the kernel's programs.
    pub fn program(&self) -> u32 {
        self.datapath.as_ref().map_or(0, Datapath::program_id)
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        if let Some(datapath) = self.datapath.take()
            && let Err(error) = self.wire.server.run(|| datapath.detach())
        {
            eprintln!("cannot detach the measured program: {error}");
        }
    }
}

/// Attaches it to the server's end of the wire.
///
/// # Errors
/// The fast path is not built, or refused.
pub fn attach(wire: &Wire, mode: Mode) -> Result<Attached<'_>> {
    let scratch = Scratch::new()?;
    let options =
        Options { interface: SERVER.to_owned(), mode, bpffs: scratch.bpffs(), log: false, extra: false };
    let datapath = wire.server.run(|| Datapath::open(&options)).context("attach the fast path")?;
    let mut attached = Attached { wire, datapath: None, _scratch: scratch };
    let datapath = attached.datapath.insert(datapath);
    let services: Vec<Service> = (0..SERVICES)
        .map(|number| Service {
            address: IpAddr::V6(address(number)),
            vlan: Vec::new(),
            ports: vec![53],
            override_flag: true,
            router: false,
            source: Some(SERVER_LINK_LOCAL),
            delayed: false,
        })
        .collect();
    for index in datapath.set_services(SERVER_MAC, &services).context("fill the table")? {
        datapath.set_hold(index, HOLD_OPEN);
    }
    Ok(attached)
}
