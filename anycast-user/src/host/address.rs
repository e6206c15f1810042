//! The service address on `lo`.
//!
//! It lives there and never on the link: on the link the kernel answers solicitations by itself and uses the address as
//! the source of its own. IPv6: /128, no duplicate address detection, preferred lifetime 0 (never chosen as a source,
//! RFC 6724 rule 3). IPv4: /32, scope host (never chosen as a source for another host).

use std::io;
use std::net::IpAddr;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressScope, CacheInfo,
};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkHeader};
use tracing::{debug, info};

use super::state::{StateDir, StateError};

/// Why an address could not be added or removed.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The address is on the service's link.
    #[error(
        "the service address {address} is on interface {interface}, where the kernel would answer for it by itself; it belongs \
         on lo, where anycast puts it: ip address del {address}/{prefix} dev {interface} (and remove it from the network \
         configuration)"
    )]
    OnLink {
        /// The service address.
        address: IpAddr,
        /// The interface it was found on.
        interface: String,
        /// Its prefix length there.
        prefix: u8,
    },
    /// No rtnetlink socket could be had.
    #[error("cannot open an rtnetlink socket: {0}")]
    Open(io::Error),
    /// The kernel refused.
    #[error("cannot {operation} {address} {preposition} lo: {source}{}", hint(source))]
    Netlink {
        /// `add` or `remove`.
        operation: &'static str,
        /// `to` or `from`.
        preposition: &'static str,
        /// The service address.
        address: IpAddr,
        /// What the kernel said.
        source: Box<rtnetlink::Error>,
    },
    /// The kernel did not list its addresses or interfaces.
    #[error("cannot list the host's {what}: {source}")]
    List {
        /// `addresses` or `interfaces`.
        what: &'static str,
        /// What the kernel said.
        source: Box<rtnetlink::Error>,
    },
    /// There is no loopback interface.
    #[error("this network namespace has no loopback interface")]
    NoLoopback,
    /// The loopback interface is down: an address on it would be no use.
    #[error("interface lo is down, so no address on it can be reached: ip link set lo up")]
    LoopbackDown,
    /// It could not be recorded, and so it was not added.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What to do about an error of the kernel, for the operator.
fn hint(error: &rtnetlink::Error) -> &'static str {
    match errno(error) {
        Some(libc::EPERM) => "; it needs CAP_NET_ADMIN",
        // What the kernel says to an IPv6 address on an interface with disable_ipv6 = 1.
        Some(libc::EACCES) => "; IPv6 is switched off there: sysctl -w net.ipv6.conf.lo.disable_ipv6=0",
        _ => "",
    }
}

/// The kernel's error number, positive.
fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io().raw_os_error(),
        _ => None,
    }
}

/// Who put an address where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressOrigin {
    /// This daemon, now or in an earlier run; it takes it away when it stops.
    Ours,
    /// Somebody else; it is left alone.
    Found,
}

/// An address of the host, where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    index: u32,
    prefix: u8,
}

/// Adds and removes service addresses, by rtnetlink in the network namespace of the thread that made it.
#[derive(Clone, Debug)]
pub struct Addresses {
    handle: rtnetlink::Handle,
}

impl Addresses {
    /// Opens an rtnetlink socket. Must be called within a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// [`AddressError::Open`].
    pub fn open() -> Result<Self, AddressError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(AddressError::Open)?;
        // It ends when the last handle is dropped.
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// Works over a socket there is already.
    pub fn with_handle(handle: rtnetlink::Handle) -> Self {
        Self { handle }
    }

    /// Refuses an address that is on one of `links`, the interfaces that carry services.
    ///
    /// # Errors
    /// [`AddressError::OnLink`] and what listing may meet.
    pub async fn check(&self, address: IpAddr, links: &[&str]) -> Result<(), AddressError> {
        for place in self.places(address).await? {
            if let Some(interface) = self.interface_name(place.index).await?
                && links.contains(&interface.as_str())
            {
                return Err(AddressError::OnLink { address, interface, prefix: place.prefix });
            }
        }
        Ok(())
    }

    /// Makes sure that the host has `address` and that none of `links` has it: adds it to `lo` unless it is local already.
    /// An addition is recorded in `state` first. Doing it again is harmless, and puts back an address that somebody removed.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub async fn add(
        &self,
        state: &mut StateDir,
        address: IpAddr,
        links: &[&str],
    ) -> Result<AddressOrigin, AddressError> {
        self.check(address, links).await?;
        let recorded = state.state().addresses.contains(&address);
        if !self.places(address).await?.is_empty() {
            let origin = if recorded { AddressOrigin::Ours } else { AddressOrigin::Found };
            debug!(%address, ?origin, "the service address is there");
            return Ok(origin);
        }
        let loopback = self.loopback().await?;
        if !loopback.flags.contains(LinkFlags::Up) {
            return Err(AddressError::LoopbackDown);
        }
        state.update(|state| {
            state.addresses.insert(address);
        })?;
        match self.request_add(loopback.index, address).await {
            Ok(()) => info!(%address, "added the service address to lo"),
            // Somebody was faster between the look and the addition: then it is theirs.
            Err(error) if errno(&error) == Some(libc::EEXIST) => {
                state.update(|state| {
                    state.addresses.remove(&address);
                })?;
                return Ok(AddressOrigin::Found);
            }
            Err(error) => {
                // Not added: best forgotten, but the kernel's error is the one to tell.
                let _ = state.update(|state| {
                    state.addresses.remove(&address);
                });
                let source = Box::new(error);
                return Err(AddressError::Netlink { operation: "add", preposition: "to", address, source });
            }
        }
        Ok(AddressOrigin::Ours)
    }

    /// Takes `address` from `lo` if the record in `state` says that the daemon put it there, and then forgets the record.
    /// Returns whether it did; `false` if it was not ours or not there any more.
    ///
    /// # Errors
    /// See [`AddressError`]; the record stays.
    pub async fn remove(&self, state: &mut StateDir, address: IpAddr) -> Result<bool, AddressError> {
        if !state.state().addresses.contains(&address) {
            return Ok(false);
        }
        let loopback = self.loopback().await?;
        let message = message(loopback.index, address);
        let removed = match self.handle.address().del(message).execute().await {
            Ok(()) => {
                info!(%address, "removed the service address from lo");
                true
            }
            // It is not there: what was to be reached.
            Err(error) if errno(&error) == Some(libc::EADDRNOTAVAIL) => false,
            Err(source) => {
                return Err(AddressError::Netlink {
                    operation: "remove",
                    preposition: "from",
                    address,
                    source: Box::new(source),
                });
            }
        };
        state.update(|state| {
            state.addresses.remove(&address);
        })?;
        Ok(removed)
    }

    /// Takes every recorded address from `lo`: for `anycast detach`, and for addresses that a new configuration no longer
    /// has.
    ///
    /// # Errors
    /// The first that was met; the others are removed all the same.
    pub async fn remove_all_but(&self, state: &mut StateDir, keep: &[IpAddr]) -> Result<(), AddressError> {
        let addresses: Vec<_> =
            state.state().addresses.iter().filter(|address| !keep.contains(address)).copied().collect();
        let mut result = Ok(());
        for address in addresses {
            if let Err(error) = self.remove(state, address).await
                && result.is_ok()
            {
                result = Err(error);
            }
        }
        result
    }

    async fn request_add(&self, loopback: u32, address: IpAddr) -> Result<(), rtnetlink::Error> {
        let mut request = self.handle.address().add(loopback, address, host_prefix(address));
        *request.message_mut() = message(loopback, address);
        request.execute().await
    }

    /// Where the host has `address`.
    async fn places(&self, address: IpAddr) -> Result<Vec<Place>, AddressError> {
        let listed = |error| listed("addresses", error);
        let mut messages = self.handle.address().get().execute();
        let mut places = Vec::new();
        while let Some(message) = messages.try_next().await.map_err(listed)? {
            if local_address(&message) == Some(address) {
                places.push(Place { index: message.header.index, prefix: message.header.prefix_len });
            }
        }
        Ok(places)
    }

    /// The name of an interface; `None` if it is gone meanwhile.
    async fn interface_name(&self, index: u32) -> Result<Option<String>, AddressError> {
        let mut messages = self.handle.link().get().match_index(index).execute();
        match messages.try_next().await {
            Ok(link) => Ok(link.and_then(|link| {
                link.attributes.into_iter().find_map(|attribute| match attribute {
                    LinkAttribute::IfName(name) => Some(name),
                    _ => None,
                })
            })),
            Err(error) if errno(&error) == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(listed("interfaces", error)),
        }
    }

    /// The loopback interface: index 1 in practice, but nobody promised.
    async fn loopback(&self) -> Result<LinkHeader, AddressError> {
        let listed = |error| listed("interfaces", error);
        let mut messages = self.handle.link().get().execute();
        let mut loopback = None;
        while let Some(link) = messages.try_next().await.map_err(listed)? {
            if link.header.flags.contains(LinkFlags::Loopback) {
                loopback.get_or_insert(link.header);
            }
        }
        loopback.ok_or(AddressError::NoLoopback)
    }
}

fn listed(what: &'static str, error: rtnetlink::Error) -> AddressError {
    AddressError::List { what, source: Box::new(error) }
}

fn host_prefix(address: IpAddr) -> u8 {
    if address.is_ipv6() { 128 } else { 32 }
}

/// The request for a service address on the loopback interface.
fn message(loopback: u32, address: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = loopback;
    message.header.prefix_len = host_prefix(address);
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(address));
    match address {
        IpAddr::V6(_) => {
            message.header.family = AddressFamily::Inet6;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
            let mut lifetimes = CacheInfo::default();
            lifetimes.ifa_preferred = 0;
            lifetimes.ifa_valid = u32::MAX;
            message.attributes.push(AddressAttribute::CacheInfo(lifetimes));
        }
        IpAddr::V4(_) => {
            message.header.family = AddressFamily::Inet;
            message.header.scope = AddressScope::Host;
        }
    }
    message
}

/// The host's own address in a message: `IFA_LOCAL` where there is one (on a point-to-point link `IFA_ADDRESS` is the other
/// end's), else `IFA_ADDRESS`.
fn local_address(message: &AddressMessage) -> Option<IpAddr> {
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(local) => return Some(*local),
            AddressAttribute::Address(other) => address = Some(*other),
            _ => {}
        }
    }
    address
}
