//! A packet socket that sends the advertisements of [`frame`](super::frame) on one interface.

use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use super::{PRIORITY_CONTROL, interface_index, interface_is_gone};

/// Why a frame was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The socket could not be made; needs CAP_NET_RAW.
    #[error("cannot open a packet socket on {interface}: {source} (it needs CAP_NET_RAW)")]
    Open {
        /// The interface's name.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no interface of that name (ENXIO, ENODEV). It is looked up again by the next [`Sender::send`].
    #[error("interface {interface} does not exist")]
    Gone {
        /// The interface's name.
        interface: String,
    },
    /// The interface is administratively down (ENETDOWN).
    #[error("interface {interface} is down")]
    Down {
        /// The interface's name.
        interface: String,
    },
    /// The kernel had no room for the frame (ENOBUFS, EAGAIN).
    #[error("interface {interface} takes no frames now: its queue is full")]
    Full {
        /// The interface's name.
        interface: String,
    },
    /// Anything else.
    #[error("cannot send on {interface}: {source}")]
    Send {
        /// The interface's name.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What a [`Sender`] did since it was opened, by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendCounters {
    /// Frames given to the interface.
    pub sent: u64,
    /// Frames lost because the interface did not exist.
    pub gone: u64,
    /// Frames lost because the interface was down.
    pub down: u64,
    /// Frames lost because the interface's queue was full.
    pub full: u64,
    /// Frames lost for another reason.
    pub other: u64,
}

/// Sends raw frames on one interface. It receives nothing: its protocol is 0, so that it costs the receive path nothing.
#[derive(Debug)]
pub struct Sender {
    interface: String,
    socket: Option<Socket>,
    counters: SendCounters,
}

impl Sender {
    /// Opens a socket on the interface called `interface`.
    ///
    /// # Errors
    /// [`SendError::Gone`] or [`SendError::Open`].
    pub fn open(interface: &str) -> Result<Self, SendError> {
        let socket = open_socket(interface)?;
        Ok(Self { interface: interface.to_owned(), socket: Some(socket), counters: SendCounters::default() })
    }

    /// The interface's name.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// What it did since it was opened.
    pub fn counters(&self) -> SendCounters {
        self.counters
    }

    /// Sends one whole Ethernet frame. Never waits. If the interface went away and is back under its name, the frame goes
    /// to the new one. On an interface that is up without a carrier the kernel throws the frame away and reports success.
    ///
    /// # Errors
    /// The frame was not sent: see [`SendError`]. A later call may succeed in any case.
    pub fn send(&mut self, frame: &[u8]) -> Result<(), SendError> {
        let result = self.try_send(frame);
        let counter = match &result {
            Ok(()) => &mut self.counters.sent,
            Err(SendError::Gone { .. }) => &mut self.counters.gone,
            Err(SendError::Down { .. }) => &mut self.counters.down,
            Err(SendError::Full { .. }) => &mut self.counters.full,
            Err(SendError::Open { .. } | SendError::Send { .. }) => &mut self.counters.other,
        };
        *counter += 1;
        result
    }

    fn try_send(&mut self, frame: &[u8]) -> Result<(), SendError> {
        // One try on the socket there is; if its interface is gone, one more on a new socket.
        if let Some(socket) = &self.socket {
            match socket.send(frame) {
                Ok(_) => return Ok(()),
                Err(error) if interface_is_gone(&error) => self.socket = None,
                Err(error) => return Err(self.classify(error)),
            }
        }
        let socket = self.socket.insert(open_socket(&self.interface)?);
        match socket.send(frame) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.classify(error)),
        }
    }

    fn classify(&self, source: io::Error) -> SendError {
        let interface = self.interface.clone();
        match source.raw_os_error() {
            Some(libc::ENXIO | libc::ENODEV) => SendError::Gone { interface },
            Some(libc::ENETDOWN) => SendError::Down { interface },
            Some(libc::ENOBUFS | libc::EAGAIN) => SendError::Full { interface },
            _ => SendError::Send { interface, source },
        }
    }
}

fn open_socket(interface: &str) -> Result<Socket, SendError> {
    let index = interface_index(interface).map_err(|source| {
        if interface_is_gone(&source) {
            SendError::Gone { interface: interface.to_owned() }
        } else {
            SendError::Open { interface: interface.to_owned(), source }
        }
    })?;
    packet_socket(index).map_err(|source| SendError::Open { interface: interface.to_owned(), source })
}

/// A raw packet socket bound to an interface, that receives nothing.
pub(super) fn packet_socket(index: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(Protocol::from(0)))?;
    socket.set_priority(PRIORITY_CONTROL)?;
    socket.bind(&packet_address(index))?;
    Ok(socket)
}

/// The link-layer address that binds a packet socket to an interface and to no protocol (`packet(7)`).
fn packet_address(index: u32) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is plain data valid for every bit pattern, and the storage is large and aligned enough for any
    // socket address (`view_as` asserts the size).
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_ifindex = index.cast_signed();
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the storage holds a `sockaddr_ll` of this length, with its family set.
    unsafe { SockAddr::new(storage, length) }
}

/// Adds `mac` to the receive filter of the interface, for as long as the socket lives (`PACKET_ADD_MEMBERSHIP`).
pub(super) fn add_filter_membership(socket: &Socket, index: u32, mac: [u8; 6]) -> io::Result<()> {
    let mut request = libc::packet_mreq {
        mr_ifindex: index.cast_signed(),
        mr_type: libc::PACKET_MR_MULTICAST as libc::c_ushort,
        mr_alen: 6,
        mr_address: [0; 8],
    };
    request.mr_address[..6].copy_from_slice(&mac);
    // SAFETY: the option's value is a `packet_mreq` that outlives the call, and the length is its own.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const request).cast(),
            size_of::<libc::packet_mreq>() as libc::socklen_t,
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
