//! Raw sockets for OSPF packets: IPv6 protocol 89, one for each interface.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::Ipv6Addr;
use std::os::fd::AsRawFd as _;
use std::task::{Context, Poll, ready};

use anycast_ospf::ALL_SPF_ROUTERS;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// IPv6's next header for OSPF (RFC 5340 2.9).
const OSPF: i32 = 89;

/// Where the checksum stands in an OSPFv3 packet (RFC 5340 A.3.1).
const CHECKSUM_AT: libc::c_int = 12;

/// Longest packet that is read.
pub(super) const PACKET_MAX: usize = 65_535;

/// Room for the packets of a database exchange that come at once.
const RECEIVE_BUFFER: usize = 1 << 20;

/// DSCP CS6: network control (RFC 4594 3.1).
const CLASS: u32 = 48 << 2;

/// Why a socket is of no use.
#[derive(Debug, thiserror::Error)]
#[error("OSPF on {interface}: cannot {operation}: {source}")]
pub(crate) struct SocketError {
    interface: String,
    operation: &'static str,
    source: io::Error,
}

/// What came in; its payload stands in the caller's buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    pub(super) length: usize,
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
}

/// The socket of one interface.
#[derive(Debug)]
pub(super) struct Socket {
    interface: String,
    index: u32,
    source: Ipv6Addr,
    socket: AsyncFd<socket2::Socket>,
}

impl Socket {
    /// Opens one on `interface`, to send from `source`. `kernel_checksum`: the kernel fills and verifies checksums.
    ///
    /// # Errors
    /// A system call; without CAP_NET_RAW the first.
    pub(super) fn open(
        interface: &str,
        index: u32,
        source: Ipv6Addr,
        kernel_checksum: bool,
    ) -> Result<Self, SocketError> {
        let failed = |operation| {
            move |source: io::Error| SocketError { interface: interface.to_owned(), operation, source }
        };
        let socket =
            open(interface, index, kernel_checksum).map_err(|(operation, error)| failed(operation)(error))?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER).map_err(failed("set the receive buffer"))?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)
            .map_err(|error| failed("ask for destinations")(error.into()))?;
        socket.join_multicast_v6(&ALL_SPF_ROUTERS, index).map_err(failed("join ff02::5"))?;
        // SAFETY: the `Socket` owns its descriptor, which stays open and the same as long as the `AsyncFd` owns the `Socket`; only
        // shared references to it are taken.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }
            .map_err(|error| failed("register a socket")(error.into()))?;
        Ok(Self { interface: interface.to_owned(), index, source, socket })
    }

    /// Sends a packet. Never waits.
    ///
    /// # Errors
    /// The kernel refuses; a later call may succeed.
    pub(super) fn send(&self, destination: Ipv6Addr, payload: &[u8]) -> Result<(), SocketError> {
        send(self.socket.get_ref(), self.index, self.source, destination, payload)
            .map_err(|source| self.failed("send", source))
    }

    /// Takes the next packet, if there is one.
    pub(super) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<Received, SocketError>> {
        loop {
            let mut ready =
                ready!(self.socket.poll_read_ready(cx)).map_err(|source| self.failed("wait", source))?;
            match ready.try_io(|socket| receive(socket.get_ref(), buffer)) {
                Err(_would_block) => {}
                Ok(Ok(received)) => return Poll::Ready(Ok(received)),
                Ok(Err(source)) => return Poll::Ready(Err(self.failed("receive", source))),
            }
        }
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> SocketError {
        SocketError { interface: self.interface.clone(), operation, source }
    }
}

/// A raw socket that only sends and receives on an interface, with hop limit 1 (RFC 5340 2.9 and what all others do).
pub(super) fn open(
    interface: &str,
    index: u32,
    kernel_checksum: bool,
) -> Result<socket2::Socket, (&'static str, io::Error)> {
    let failed = |operation| move |error: io::Error| (operation, error);
    let socket = socket2::Socket::new(Domain::IPV6, Type::RAW.nonblocking(), Some(Protocol::from(OSPF)))
        .map_err(failed("open a raw socket (CAP_NET_RAW)"))?;
    socket.bind_device(Some(interface.as_bytes())).map_err(failed("bind to the interface"))?;
    socket.set_multicast_if_v6(index).map_err(failed("choose the interface"))?;
    socket.set_multicast_loop_v6(false).map_err(failed("switch off the loop"))?;
    socket.set_multicast_hops_v6(1).map_err(failed("set the hop limit"))?;
    socket.set_unicast_hops_v6(1).map_err(failed("set the hop limit"))?;
    socket.set_tclass_v6(CLASS).map_err(failed("set the traffic class"))?;
    let offset: libc::c_int = if kernel_checksum { CHECKSUM_AT } else { -1 };
    // SAFETY: the option takes an int, which `offset` is and outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_CHECKSUM,
            (&raw const offset).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result != 0 {
        return Err(("choose who computes checksums", io::Error::last_os_error()));
    }
    Ok(socket)
}

/// Sends one packet from `source`.
pub(super) fn send(
    socket: &socket2::Socket,
    index: u32,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    payload: &[u8],
) -> io::Result<()> {
    let to = SockaddrIn6::from(std::net::SocketAddrV6::new(destination, 0, 0, index));
    let from =
        libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: source.octets() }, ipi6_ifindex: index };
    let control = [ControlMessage::Ipv6PacketInfo(&from)];
    sendmsg(socket.as_raw_fd(), &[IoSlice::new(payload)], &control, MsgFlags::MSG_DONTWAIT, Some(&to))?;
    Ok(())
}

fn receive(socket: &socket2::Socket, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = nix::cmsg_space!(libc::in6_pktinfo);
    let mut parts = [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
    let destination = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Ipv6Addr::from(info.ipi6_addr.s6_addr)),
        _ => None,
    });
    Ok(Received {
        length: message.bytes,
        source: message.address.map_or(Ipv6Addr::UNSPECIFIED, |address| address.ip()),
        destination: destination.unwrap_or(Ipv6Addr::UNSPECIFIED),
    })
}
