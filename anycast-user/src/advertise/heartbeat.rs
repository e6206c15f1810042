//! The socket of the link heartbeat: UDP over link-local IPv6 multicast on one interface.
//!
//! Its bytes mean nothing here; the core encodes and decodes them. What this socket vouches for is where they come from: a
//! received hop limit of 255 proves that no router forwarded the packet (the argument of RFC 4861 11.2 and RFC 5082), so
//! only a machine on the link can send a heartbeat, and its source is a link-local address of that link.

use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{PRIORITY_CONTROL, interface_index, interface_is_gone};

/// The default multicast group, ff12::8000:9530: transient (no group is assigned to this protocol) and link-local scope
/// (RFC 4291 2.7), with a group identifier of the range for dynamic use (RFC 3307 4.3), so that neither the address nor its
/// MAC address 33:33:80:00:95:30 falls together with an assigned one.
pub const GROUP: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0x8000, 0x9530);

/// The default UDP port.
pub const PORT: u16 = 9530;

/// The longest heartbeat that is sent or received, octets: what fits IPv6's minimum MTU of 1280 without a fragment.
pub const HEARTBEAT_MAX: usize = 1280 - 40 - 8;

/// The hop limit that proves that a packet comes from the link.
const HOP_LIMIT: i32 = 255;

/// The traffic class, DSCP CS6: network control (RFC 4594 3.1), which the switches of the link may prefer.
const CLASS: u32 = 48 << 2;

/// Why a heartbeat was not sent or the socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum HeartbeatError {
    /// There is no interface of that name, or it is another one than when the socket was opened; [`Heartbeat::reopen`] when
    /// it is back.
    #[error("interface {interface} does not exist, or is a new one of that name")]
    Gone {
        /// The interface's name.
        interface: String,
    },
    /// The group is no link-local multicast group.
    #[error("{group} is no multicast group of link-local scope (ff02::/16, ff12::/16)")]
    Group {
        /// The group.
        group: Ipv6Addr,
    },
    /// The socket could not be set up.
    #[error("cannot {operation} for heartbeats to [{group}%{interface}]:{port}: {source}")]
    Open {
        /// What was tried.
        operation: &'static str,
        /// The interface's name.
        interface: String,
        /// The group.
        group: Ipv6Addr,
        /// The UDP port.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
    /// The interface has no link-local address that could be the source: none at all, or one that duplicate address
    /// detection is not through with (EADDRNOTAVAIL, ENETUNREACH).
    #[error("interface {interface} has no usable link-local address to send heartbeats from")]
    NoSource {
        /// The interface's name.
        interface: String,
    },
    /// The kernel refused to send, or to receive.
    #[error("cannot {operation} a heartbeat on {interface}: {source}")]
    Io {
        /// `send` or `receive`.
        operation: &'static str,
        /// The interface's name.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What the socket did, and which packets it refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeartbeatCounters {
    /// Heartbeats sent.
    pub sent: u64,
    /// Heartbeats that could not be sent.
    pub send_errors: u64,
    /// Packets handed on.
    pub received: u64,
    /// Packets refused: hop limit below 255, so forwarded by a router or forged from beyond one.
    pub refused_hop_limit: u64,
    /// Packets refused: the source is not link-local.
    pub refused_source: u64,
    /// Packets refused: longer than [`HEARTBEAT_MAX`] or than the caller's buffer.
    pub refused_length: u64,
}

/// A received heartbeat; its bytes stand in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Octets of the payload.
    pub length: usize,
    /// The sender's link-local address.
    pub source: Ipv6Addr,
    /// The interface it came in on.
    pub ifindex: u32,
}

/// The heartbeat socket of one interface.
#[derive(Debug)]
pub struct Heartbeat {
    interface: String,
    group: Ipv6Addr,
    port: u16,
    index: u32,
    socket: AsyncFd<Socket>,
    counters: HeartbeatCounters,
}

impl Heartbeat {
    /// Opens the socket on `interface` and joins `group` there. Must be called within a tokio runtime with I/O enabled.
    ///
    /// Several sockets of one host may share group and port (`SO_REUSEADDR`); they do not hear each other, for what this
    /// host sends is not looped back.
    ///
    /// # Errors
    /// See [`HeartbeatError`].
    pub fn open(interface: &str, group: Ipv6Addr, port: u16) -> Result<Self, HeartbeatError> {
        let (socket, index) = open_socket(interface, group, port)?;
        Ok(Self {
            interface: interface.to_owned(),
            group,
            port,
            index,
            socket,
            counters: HeartbeatCounters::default(),
        })
    }

    /// The interface's name.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// What it did since it was opened.
    pub fn counters(&self) -> HeartbeatCounters {
        self.counters
    }

    /// Opens the socket anew, which an interface that was gone and is back needs. The old socket stays if that fails.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn reopen(&mut self) -> Result<(), HeartbeatError> {
        // Both may exist at once; only the memberships of the new one matter from here on.
        let (socket, index) = open_socket(&self.interface, self.group, self.port)?;
        self.socket = socket;
        self.index = index;
        Ok(())
    }

    /// Sends one heartbeat to the group. Never waits.
    ///
    /// # Errors
    /// See [`HeartbeatError`]. A later call may succeed.
    pub fn send(&mut self, payload: &[u8]) -> Result<(), HeartbeatError> {
        let destination = SocketAddrV6::new(self.group, self.port, 0, self.index);
        match self.socket.get_ref().send_to(payload, &SockAddr::from(destination)) {
            Ok(_) => {
                self.counters.sent += 1;
                Ok(())
            }
            Err(source) => {
                self.counters.send_errors += 1;
                Err(self.failed("send", source))
            }
        }
    }

    /// Waits for the next heartbeat of another host and puts its payload at the beginning of `buffer`. Packets that were not
    /// sent on this link are counted and passed over. Cancel safe.
    ///
    /// # Errors
    /// [`HeartbeatError::Io`]; the socket is still usable.
    pub async fn receive(&mut self, buffer: &mut [u8]) -> Result<Received, HeartbeatError> {
        loop {
            let result = {
                let mut ready =
                    self.socket.readable().await.map_err(|source| self.failed("receive", source))?;
                ready.try_io(|socket| receive_message(socket.get_ref(), buffer))
            };
            match result {
                Err(_would_block) => {}
                Ok(Err(source)) => return Err(self.failed("receive", source)),
                Ok(Ok(message)) => {
                    if let Some(received) = self.accept(&message) {
                        return Ok(received);
                    }
                }
            }
        }
    }

    /// The rules for what is handed on.
    fn accept(&mut self, message: &Message) -> Option<Received> {
        if message.hop_limit != Some(HOP_LIMIT) {
            self.counters.refused_hop_limit += 1;
        } else if !message.source.is_unicast_link_local() {
            self.counters.refused_source += 1;
        } else if message.truncated || message.length > HEARTBEAT_MAX {
            self.counters.refused_length += 1;
        } else {
            self.counters.received += 1;
            return Some(Received { length: message.length, source: message.source, ifindex: self.index });
        }
        None
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> HeartbeatError {
        let interface = self.interface.clone();
        // To a socket whose interface is gone the kernel says that there is no route, or no source.
        if interface_is_gone(&source) || interface_index(&interface).ok() != Some(self.index) {
            return HeartbeatError::Gone { interface };
        }
        match source.raw_os_error() {
            Some(libc::EADDRNOTAVAIL | libc::ENETUNREACH) => HeartbeatError::NoSource { interface },
            _ => HeartbeatError::Io { operation, interface, source },
        }
    }
}

fn open_socket(
    interface: &str,
    group: Ipv6Addr,
    port: u16,
) -> Result<(AsyncFd<Socket>, u32), HeartbeatError> {
    // RFC 4291 2.7: the low four bits of the second octet are the scope.
    if !group.is_multicast() || group.octets()[1] & 0x0f != 2 {
        return Err(HeartbeatError::Group { group });
    }
    let failed = |operation: &'static str| {
        move |source: io::Error| {
            let interface = interface.to_owned();
            if interface_is_gone(&source) {
                HeartbeatError::Gone { interface }
            } else {
                HeartbeatError::Open { operation, interface, group, port, source }
            }
        }
    };
    let index = interface_index(interface).map_err(failed("find the interface"))?;
    let socket = Socket::new(Domain::IPV6, Type::DGRAM.nonblocking(), Some(Protocol::UDP))
        .map_err(failed("open a socket"))?;
    socket.set_reuse_address(true).map_err(failed("share the port"))?;
    socket.set_only_v6(true).map_err(failed("restrict the socket to IPv6"))?;
    socket.set_recv_hoplimit_v6(true).map_err(failed("ask for the received hop limit"))?;
    socket.set_multicast_hops_v6(HOP_LIMIT as u32).map_err(failed("set the hop limit"))?;
    socket.set_tclass_v6(CLASS).map_err(failed("set the traffic class"))?;
    socket.set_priority(PRIORITY_CONTROL).map_err(failed("set the priority"))?;
    socket.set_multicast_if_v6(index).map_err(failed("choose the interface"))?;
    socket.set_multicast_loop_v6(false).map_err(failed("switch off the loop"))?;
    // Without this a socket gets the packets of every group that any socket of the host joined.
    socket.set_multicast_all_v6(false).map_err(failed("restrict the socket to its group"))?;
    // Bound to the group, not to `::`: unicast to the port is nobody's heartbeat. The scope binds the socket to the interface.
    let local = SocketAddrV6::new(group, port, 0, index);
    socket.bind(&SockAddr::from(local)).map_err(failed("bind a socket"))?;
    socket.join_multicast_v6(&group, index).map_err(failed("join the group"))?;
    // SAFETY: the `Socket` owns its descriptor, which stays open and the same as long as the `AsyncFd` owns the `Socket`; only
    // shared references to it are taken.
    let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }
        .map_err(|error| failed("register a socket")(error.into()))?;
    Ok((socket, index))
}

/// What `recvmsg` told of a packet.
#[derive(Clone, Copy, Debug)]
struct Message {
    length: usize,
    truncated: bool,
    source: Ipv6Addr,
    hop_limit: Option<i32>,
}

fn receive_message(socket: &Socket, buffer: &mut [u8]) -> io::Result<Message> {
    let mut control = nix::cmsg_space!(libc::c_int);
    let mut buffers = [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut buffers, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
    let hop_limit = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv6HopLimit(limit) => Some(limit),
        _ => None,
    });
    Ok(Message {
        length: message.bytes,
        truncated: message.flags.contains(MsgFlags::MSG_TRUNC),
        source: message.address.map_or(Ipv6Addr::UNSPECIFIED, |address| address.ip()),
        hop_limit,
    })
}
