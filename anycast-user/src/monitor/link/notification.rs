//! The kernel's notifications, as hints that something changed.
//!
//! This reads its own multicast socket instead of the `rtnetlink` crate's connection: that panics when the socket's
//! buffer was full (`ENOBUFS`), which here only means "read everything anew", and it does not know `RTM_NEWNETCONF`.

use std::{collections::BTreeSet, io, net::IpAddr};

use futures_util::FutureExt;
use rtnetlink::{
    MulticastGroup,
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        address::{AddressAttribute, AddressMessage},
        link::{LinkAttribute, LinkMessage},
    },
    sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE},
};

use super::{LinkError, Report, Watched};

/// A subscription.
pub(super) struct Notifications {
    socket: TokioSocket,
    buffer: Vec<u8>,
}

/// What decides whether a notification concerns us.
#[derive(Debug)]
pub(super) struct Relevance {
    names: BTreeSet<String>,
    indexes: BTreeSet<u32>,
    addresses: BTreeSet<IpAddr>,
}

impl Relevance {
    /// `report` is the picture that is known: it tells the indexes of the names.
    pub(super) fn new(watched: &Watched, report: Option<&Report>) -> Self {
        let interfaces = report.into_iter().flat_map(|report| &report.interfaces);
        let on_interfaces =
            interfaces.filter_map(|seen| seen.interface.as_ref()).map(|interface| interface.index);
        let of_addresses = report.into_iter().flat_map(|report| &report.addresses).map(|seen| seen.index);
        Self {
            names: watched.interfaces.clone(),
            indexes: on_interfaces.chain(of_addresses).collect(),
            addresses: watched.addresses.clone(),
        }
    }

    fn of_link(&self, link: &LinkMessage) -> bool {
        self.indexes.contains(&link.header.index)
            || link.attributes.iter().any(|attribute| match attribute {
                LinkAttribute::IfName(name) => self.names.contains(name),
                _ => false,
            })
    }

    fn of_address(&self, address: &AddressMessage) -> bool {
        self.indexes.contains(&address.header.index)
            || address.attributes.iter().any(|attribute| match attribute {
                AddressAttribute::Address(address) | AddressAttribute::Local(address) => {
                    self.addresses.contains(address)
                }
                _ => false,
            })
    }

    /// Whether any message of a datagram concerns us. What cannot be read might.
    fn of_datagram(&self, mut datagram: &[u8]) -> bool {
        while datagram.len() >= HEADER {
            let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram) else {
                return true;
            };
            let relevant = match message.payload {
                NetlinkPayload::InnerMessage(
                    RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link),
                ) => self.of_link(&link),
                NetlinkPayload::InnerMessage(
                    RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address),
                ) => self.of_address(&address),
                // RTM_NEWNETCONF is none that the crate knows, and rare.
                _ => true,
            };
            if relevant {
                return true;
            }
            datagram = datagram.get(aligned(message.header.length)..).unwrap_or_default();
        }
        false
    }
}

impl Notifications {
    /// Subscribes to links, addresses and the forwarding state.
    pub(super) fn subscribe() -> Result<Self, LinkError> {
        let failed = |operation| move |source: io::Error| LinkError::Socket { operation, source };
        let mut socket: TokioSocket =
            AsyncSocket::new(NETLINK_ROUTE).map_err(failed("open a netlink socket for notifications"))?;
        let inner = socket.socket_mut();
        inner.bind(&SocketAddr::new(0, 0)).map_err(failed("bind the netlink socket for notifications"))?;
        for group in [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Netconf,
            MulticastGroup::Ipv6Netconf,
        ] {
            inner.add_membership(group as u32).map_err(failed("subscribe to netlink notifications"))?;
        }
        Ok(Self { socket, buffer: Vec::with_capacity(DATAGRAM) })
    }

    /// Waits for a notification that concerns us, or for the news that some were lost.
    ///
    /// Cancel-safe in the only way that matters: the caller reads the whole picture after each wait.
    pub(super) async fn relevant(&mut self, relevance: &Relevance) -> Result<(), LinkError> {
        while !self.receive(|datagram| relevance.of_datagram(datagram)).await? {}
        // What has queued up meanwhile is covered by the same reading.
        for _ in 0..DRAIN {
            match self.receive(|_| true).now_or_never() {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => break,
            }
        }
        Ok(())
    }

    /// Receives one datagram, or the news that some were lost (then the answer is `true`).
    async fn receive(&mut self, is_relevant: impl FnOnce(&[u8]) -> bool) -> Result<bool, LinkError> {
        self.buffer.clear();
        match self.socket.recv(&mut self.buffer).await {
            Ok(()) => Ok(is_relevant(&self.buffer)),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                tracing::debug!("netlink notifications were lost: reading everything anew");
                Ok(true)
            }
            Err(source) => Err(LinkError::Socket { operation: "receive netlink notifications", source }),
        }
    }
}

/// The kernel builds notifications of at most this size (`NLMSG_GOODSIZE` on the largest pages); a longer one is cut,
/// cannot be read, and so counts as relevant.
const DATAGRAM: usize = 65_536;
const HEADER: usize = 16;
/// How many queued notifications one reading may cover: an endless storm must not starve the reading.
const DRAIN: usize = 256;

/// The next message of a datagram starts at the next multiple of four (`NLMSG_ALIGN`).
fn aligned(length: u32) -> usize {
    usize::try_from(length.next_multiple_of(4)).unwrap_or(usize::MAX).max(HEADER)
}
