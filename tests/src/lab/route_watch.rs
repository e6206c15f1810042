//! When a router's kernel changes its routes: a notification's moment, not that of a poll.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

use super::namespace::Namespace;

/// `RTMGRP_IPV6_ROUTE` (rtnetlink(7)).
const IPV6_ROUTE: u32 = 0x400;

/// Notifications of a namespace's IPv6 routes.
#[derive(Debug)]
pub struct RouteWatch<'a> {
    namespace: &'a Namespace,
    socket: OwnedFd,
}

impl<'a> RouteWatch<'a> {
    /// Begins to listen.
    ///
    /// # Errors
    /// A system call.
    pub fn new(namespace: &'a Namespace) -> Result<Self> {
        let socket = namespace.run(|| -> nix::Result<OwnedFd> {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, IPV6_ROUTE))?;
            Ok(socket)
        });
        Ok(Self { namespace, socket: socket.context("listen for changes of routes")? })
    }

    /// The next hops of a route to one address, in order.
    ///
    /// # Errors
    /// `ip` cannot be run.
    pub fn next_hops(&self, address: IpAddr) -> Result<Vec<String>> {
        next_hops(self.namespace, address)
    }

    /// Forgets what was told so far.
    pub fn clear(&self) {
        let mut buffer = [0; 65_536];
        while recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).is_ok() {}
    }

    /// Waits for the change that makes the route's next hops these, and tells when it was.
    ///
    /// # Errors
    /// It does not come within `patience`.
    pub fn wait_for(&self, address: IpAddr, expected: &[String], patience: Duration) -> Result<Instant> {
        let end = Instant::now() + patience;
        let mut buffer = [0; 65_536];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let now = self.next_hops(address)?;
                bail!(
                    "waited {patience:?} in vain for next hops {expected:?} of {address}; they are {now:?}"
                );
            }
            let mut ready = [PollFd::new(std::os::fd::AsFd::as_fd(&self.socket), PollFlags::POLLIN)];
            poll(&mut ready, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))?;
            let at = Instant::now();
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(_) => {}
                Err(nix::errno::Errno::EAGAIN) => continue,
                Err(error) => return Err(io::Error::from(error)).context("read changes of routes"),
            }
            if self.next_hops(address)? == expected {
                return Ok(at);
            }
        }
    }
}

/// The next hops that a namespace's kernel has for one address, by whatever prefix, in order.
///
/// # Errors
/// `ip` cannot be run.
pub fn next_hops(namespace: &Namespace, address: IpAddr) -> Result<Vec<String>> {
    let listed = namespace.ip(&["-6", "route", "show", "match", &address.to_string()])?;
    let words: Vec<&str> = listed.split_whitespace().collect();
    let hops = words.windows(2).filter(|pair| pair[0] == "via").map(|pair| pair[1].to_owned());
    let mut hops: Vec<String> = hops.collect();
    hops.sort_unstable();
    Ok(hops)
}
