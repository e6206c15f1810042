//! Announces by multicast (RFC 5352 3.7), so that elements and users find the registrar: to ff02::133 and 224.0.1.185, port 3863,
//! on each interface of the configuration.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use anycast_pool::wire::{GROUP_V4, GROUP_V6, PORT};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};
use tracing::{info, warn};

/// Sends announces.
#[derive(Debug)]
pub(super) struct Announcer {
    ways: Vec<Way>,
}

/// One group on one interface.
#[derive(Debug)]
struct Way {
    interface: String,
    socket: UdpSocket,
    group: SocketAddr,
    /// The last one did not go out: said once, not each second.
    failed: bool,
}

impl Announcer {
    /// Opens a socket for each interface and group.
    ///
    /// # Errors
    /// An interface is not there, with its name.
    pub fn open(interfaces: &[String]) -> Result<Self, (String, io::Error)> {
        let mut ways = Vec::new();
        for interface in interfaces {
            let failed = |error: io::Error| (interface.clone(), error);
            let index = if_nametoindex(interface.as_str()).map_err(io::Error::from).map_err(failed)?;
            for group in
                [SocketAddr::V6(SocketAddrV6::new(GROUP_V6, PORT, 0, index)), (GROUP_V4, PORT).into()]
            {
                let socket = socket(group, index).map_err(failed)?;
                ways.push(Way { interface: interface.clone(), socket, group, failed: false });
            }
        }
        Ok(Self { ways })
    }

    /// Sends an announce everywhere.
    pub fn send(&mut self, octets: &[u8]) {
        for way in &mut self.ways {
            match (way.socket.send_to(octets, way.group), way.failed) {
                (Ok(_), true) => {
                    way.failed = false;
                    info!(interface = way.interface, group = %way.group, "announces go out again");
                }
                (Err(error), false) => {
                    way.failed = true;
                    warn!(interface = way.interface, group = %way.group, %error, "cannot announce the registrar");
                }
                _ => {}
            }
        }
    }
}

fn socket(group: SocketAddr, index: u32) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if group.is_ipv6() {
        socket.set_multicast_if_v6(index)?;
        socket.set_multicast_hops_v6(1)?;
        socket.bind(&SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0).into())?;
    } else {
        // No membership: struct ip_mreqn is what names an interface by its index.
        set_multicast_interface(&socket, index)?;
        socket.set_multicast_ttl_v4(1)?;
    }
    Ok(socket.into())
}

fn set_multicast_interface(socket: &Socket, index: u32) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let index = libc::c_int::try_from(index).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let none = libc::in_addr { s_addr: 0 };
    let request = libc::ip_mreqn { imr_multiaddr: none, imr_address: none, imr_ifindex: index };
    // SAFETY: the option takes a struct ip_mreqn (ip(7)); the pointer is to one, which lives on, and the length is its own.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MULTICAST_IF,
            (&raw const request).cast(),
            size_of::<libc::ip_mreqn>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
