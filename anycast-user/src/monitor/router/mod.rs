//! Routers on the links that carry services: by their Router Advertisements, and by what the kernel's neighbour cache calls a
//! router.
//!
//! Both, because either alone misses some: the kernel takes no advertisement in where `accept_ra` is off, as on most servers, and
//! a router that is configured by hand sends none. The third source, the solicitations for a service address, is the fast path's.

mod advertisement;

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use anycast_core::{Router, Sighting};
use futures_util::TryStreamExt;
use futures_util::future::select_all;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage,
};
use rtnetlink::{Handle, IpVersion};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::TaskGuard;

/// How often the neighbour cache is read, and sockets of interfaces that were away are opened again.
const REREAD: Duration = Duration::from_secs(10);

/// The longest Router Advertisement that is looked at: one link MTU.
const ADVERTISEMENT_MAX: usize = 1500;

/// The hop limit that proves that a packet comes from the link (RFC 4861 6.1.2).
const HOP_LIMIT: i32 = 255;

/// A router was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The interface it is on.
    pub interface: String,
    /// The router.
    pub router: Router,
    /// How it was seen.
    pub by: Sighting,
}

/// Watches for routers on these interfaces. What cannot be read is tried again, and said at debug level: a farm works without
/// knowing its routers, only not router by router.
pub fn spawn(interfaces: Vec<String>, reports: mpsc::Sender<Report>) -> TaskGuard {
    TaskGuard::spawn(run(interfaces, reports))
}

async fn run(interfaces: Vec<String>, reports: mpsc::Sender<Report>) {
    let mut sockets: BTreeMap<String, Listener> = BTreeMap::new();
    let mut reread = tokio::time::interval(REREAD);
    loop {
        let heard = async {
            if sockets.is_empty() {
                return std::future::pending().await;
            }
            select_all(
                sockets
                    .iter()
                    .map(|(name, socket)| Box::pin(async { (name.clone(), socket.receive().await) })),
            )
            .await
            .0
        };
        let seen = tokio::select! {
            (name, heard) = heard => match heard {
                Ok(router) => router.map(|router| (name, router, Sighting::Advertisement)).into_iter().collect(),
                Err(error) => {
                    tracing::debug!(%error, interface = name, "cannot receive router advertisements");
                    sockets.remove(&name);
                    Vec::new()
                }
            },
            _ = reread.tick() => {
                for name in &interfaces {
                    // An interface that is back under its name has another index.
                    let index = nix::net::if_::if_nametoindex(name.as_str()).ok();
                    if sockets.get(name).is_none_or(|socket| Some(socket.index) != index) {
                        sockets.remove(name);
                        match index.map(|index| Listener::open(name, index)) {
                            Some(Ok(socket)) => drop(sockets.insert(name.clone(), socket)),
                            Some(Err(error)) => {
                                tracing::debug!(%error, interface = name, "cannot listen for router advertisements");
                            }
                            None => {}
                        }
                    }
                }
                neighbours(&interfaces).await
            }
            () = reports.closed() => return,
        };
        for (interface, router, by) in seen {
            if reports.send(Report { interface, router, by }).await.is_err() {
                return;
            }
        }
    }
}

/// What the kernel calls a router: whoever answered it with the R flag, or advertised itself where advertisements are taken in.
async fn neighbours(interfaces: &[String]) -> Vec<(String, Router, Sighting)> {
    let (connection, handle, _no_notifications) = match rtnetlink::new_connection() {
        Ok(connection) => connection,
        Err(error) => {
            tracing::debug!(%error, "cannot read the neighbour cache");
            return Vec::new();
        }
    };
    let _connection = TaskGuard::spawn(connection);
    match read_neighbours(&handle).await {
        Ok(neighbours) => {
            neighbours.iter().filter_map(|neighbour| router_of(neighbour, interfaces)).collect()
        }
        Err(error) => {
            tracing::debug!(%error, "cannot read the neighbour cache");
            Vec::new()
        }
    }
}

async fn read_neighbours(handle: &Handle) -> Result<Vec<NeighbourMessage>, rtnetlink::Error> {
    let dump = handle.neighbours().get().set_family(IpVersion::V6).execute();
    // The kernel answers within milliseconds; a lost answer must not end the watching.
    tokio::time::timeout(REREAD, dump.try_collect()).await.unwrap_or_else(|_elapsed| Ok(Vec::new()))
}

fn router_of(neighbour: &NeighbourMessage, interfaces: &[String]) -> Option<(String, Router, Sighting)> {
    if !neighbour.header.flags.contains(NeighbourFlags::Router) {
        return None;
    }
    let (mut address, mut mac) = (None, None);
    for attribute in &neighbour.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(destination)) => {
                address = Some(*destination)
            }
            // The crate's name for NDA_LLADDR.
            NeighbourAttribute::LinkLocalAddress(bytes) => mac = bytes.as_slice().try_into().ok(),
            _ => {}
        }
    }
    let router = Router::new(address?, mac?)?;
    let index = neighbour.header.ifindex;
    let on = |name: &&String| nix::net::if_::if_nametoindex(name.as_str()).is_ok_and(|of| of == index);
    Some((interfaces.iter().find(on)?.clone(), router, Sighting::Neighbour))
}

/// A raw ICMPv6 socket that receives the Router Advertisements of one interface, and nothing else.
struct Listener {
    index: u32,
    socket: AsyncFd<Socket>,
}

impl Listener {
    fn open(interface: &str, index: u32) -> std::io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW.nonblocking(), Some(Protocol::ICMPV6))?;
        only_advertisements(&socket)?;
        socket.set_recv_hoplimit_v6(true)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        // All-nodes is joined by the kernel wherever there is IPv6.
        // SAFETY: the `Socket` owns its descriptor, which stays open and the same as long as the `AsyncFd` owns the `Socket`; only
        // shared references to it are taken.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self { index, socket })
    }

    /// Waits for the next advertisement: its router, if it is valid and tells its link-layer address. Cancel safe.
    async fn receive(&self) -> std::io::Result<Option<Router>> {
        let mut buffer = [0; ADVERTISEMENT_MAX];
        loop {
            let mut ready = self.socket.readable().await?;
            if let Ok(received) = ready.try_io(|socket| receive(socket.get_ref(), &mut buffer)) {
                let (source, hop_limit, length) = received?;
                // The kernel has verified the checksum.
                let valid = hop_limit == Some(HOP_LIMIT);
                let mac = buffer.get(..length).filter(|_| valid).and_then(advertisement::source_link_layer);
                return Ok(mac.and_then(|mac| Router::new(source, mac)));
            }
        }
    }
}

fn receive(socket: &Socket, buffer: &mut [u8]) -> std::io::Result<(Ipv6Addr, Option<i32>, usize)> {
    let mut control = nix::cmsg_space!(libc::c_int);
    let mut buffers = [std::io::IoSliceMut::new(buffer)];
    let message =
        recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut buffers, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
    let hop_limit = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv6HopLimit(limit) => Some(limit),
        _ => None,
    });
    let source = message.address.map_or(Ipv6Addr::UNSPECIFIED, |address| address.ip());
    Ok((source, hop_limit, message.bytes))
}

/// `ICMP6_FILTER` (RFC 3542 3.2): a set bit blocks its type.
fn only_advertisements(socket: &Socket) -> std::io::Result<()> {
    const ICMP6_FILTER: libc::c_int = 1;
    let mut blocked = [u32::MAX; 8];
    let kind = usize::from(advertisement::TYPE);
    blocked[kind / 32] &= !(1 << (kind % 32));
    // SAFETY: the option's value is an array of 32 octets that outlives the call, as `struct icmp6_filter` is.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_ICMPV6,
            ICMP6_FILTER,
            blocked.as_ptr().cast(),
            size_of_val(&blocked) as libc::socklen_t,
        )
    };
    if status == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
