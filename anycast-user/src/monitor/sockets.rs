//! Drops of the service's sockets: queries that arrived and found a full receive buffer, connections that found a full
//! queue. Read from the kernel by sock_diag(7), which counts them socket by socket.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP};
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla,
};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};

/// Room for one datagram of the kernel's answer; it fills at most 32 KiB.
const BUFFER: usize = 64 * 1024;

/// Why drops could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SocketsError {
    /// A system call.
    #[error("cannot {operation}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refuses to answer.
    #[error(
        "the kernel does not tell of {protocol} sockets: {source}; it does with the modules udp_diag and tcp_diag (`modprobe`)"
    )]
    Refused {
        /// `UDP` or `TCP`.
        protocol: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// An answer that is none.
    #[error("the kernel's answer cannot be read: {0}")]
    Malformed(String),
}

fn io(operation: &'static str) -> impl FnOnce(io::Error) -> SocketsError {
    move |source| SocketsError::Io { operation, source }
}

/// A bound socket: its local address and what it has dropped since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bound {
    address: IpAddr,
    drops: u64,
}

/// Asks for the sockets of one network namespace.
pub struct Sockets {
    socket: Socket,
    buffer: Vec<u8>,
    /// By port: what has been read since [`Sockets::forget`].
    read: HashMap<u16, Vec<Bound>>,
}

impl Sockets {
    /// Opens a socket in the network namespace of this thread.
    ///
    /// # Errors
    /// The kernel has no such sockets.
    pub fn open() -> Result<Self, SocketsError> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG).map_err(io("open a sock_diag socket"))?;
        socket.bind_auto().map_err(io("bind a sock_diag socket"))?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(io("connect a sock_diag socket"))?;
        Ok(Self { socket, buffer: vec![0; BUFFER], read: HashMap::new() })
    }

    /// Forgets what was read: the next question is asked of the kernel.
    pub fn forget(&mut self) {
        self.read.clear();
    }

    /// Datagrams and connections dropped by the sockets that serve `address` on `ports`, since they were opened: those bound to
    /// it, and those bound to no address. Does not wait: the kernel answers within the call.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn drops(&mut self, address: IpAddr, ports: &[u16]) -> Result<u64, SocketsError> {
        let mut drops = 0;
        for port in ports {
            if !self.read.contains_key(port) {
                let bound = self.bound_to(*port)?;
                self.read.insert(*port, bound);
            }
            let bound = self.read.get(port).into_iter().flatten();
            drops +=
                bound.filter(|bound| serves(bound.address, address)).map(|bound| bound.drops).sum::<u64>();
        }
        Ok(drops)
    }

    fn bound_to(&mut self, port: u16) -> Result<Vec<Bound>, SocketsError> {
        let mut bound = Vec::new();
        for family in [AF_INET, AF_INET6] {
            // An unconnected UDP socket is in state CLOSE.
            self.dump("UDP", family, IPPROTO_UDP, StateFlags::CLOSE, port, &mut bound)?;
            self.dump("TCP", family, IPPROTO_TCP, StateFlags::LISTEN, port, &mut bound)?;
        }
        Ok(bound)
    }

    fn dump(
        &mut self,
        protocol: &'static str,
        family: u8,
        number: u8,
        states: StateFlags,
        port: u16,
        bound: &mut Vec<Bound>,
    ) -> Result<(), SocketsError> {
        let mut socket_id = if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
        socket_id.source_port = port;
        let request = InetRequest {
            family,
            protocol: number,
            extensions: ExtensionFlags::SKMEMINFO,
            states,
            socket_id,
        };
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
        message.finalize();
        let mut octets = vec![0; message.buffer_len()];
        message.serialize(&mut octets);
        self.socket.send(&octets, 0).map_err(io("ask for sockets"))?;
        loop {
            let length =
                self.socket.recv(&mut &mut self.buffer[..], 0).map_err(io("read the list of sockets"))?;
            let mut rest = self.buffer.get(..length).unwrap_or_default();
            while !rest.is_empty() {
                let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
                    .map_err(|error| SocketsError::Malformed(error.to_string()))?;
                match message.payload {
                    NetlinkPayload::Done(_) => return Ok(()),
                    NetlinkPayload::Error(error) => {
                        return Err(SocketsError::Refused { protocol, source: error.to_io() });
                    }
                    NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                        bound.extend(bound_of(&response));
                    }
                    _ => (),
                }
                rest = rest.get(message.header.length.next_multiple_of(4) as usize..).unwrap_or_default();
            }
        }
    }
}

fn bound_of(response: &InetResponse) -> Option<Bound> {
    let drops = response.nlas.iter().find_map(|nla| match nla {
        Nla::MemInfo(memory) => Some(u64::from(memory.drops)),
        _ => None,
    })?;
    Some(Bound { address: response.header.socket_id.source_address, drops })
}

/// Does a socket bound to `bound` get what is sent to `address`? One bound to `::` gets IPv4 too, unless it was told not to.
fn serves(bound: IpAddr, address: IpAddr) -> bool {
    bound == address
        || match bound {
            IpAddr::V4(bound) => bound.is_unspecified() && address.is_ipv4(),
            IpAddr::V6(bound) => {
                bound.is_unspecified() || bound.to_ipv4_mapped().map(IpAddr::V4) == Some(address)
            }
        }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn who_serves_an_address() {
        let serves = |bound: &str, address: &str| serves(bound.parse().unwrap(), address.parse().unwrap());
        assert!(serves("2001:db8::53", "2001:db8::53") && serves("::", "2001:db8::53"));
        assert!(!serves("2001:db8::54", "2001:db8::53") && !serves("0.0.0.0", "2001:db8::53"));
        assert!(serves("0.0.0.0", "192.0.2.53") && serves("::", "192.0.2.53"));
        assert!(serves("::ffff:192.0.2.53", "192.0.2.53") && !serves("192.0.2.54", "192.0.2.53"));
    }

    #[test]
    fn what_a_full_socket_drops_is_counted() {
        let server = UdpSocket::bind("[::1]:0").unwrap();
        let (address, port) = (server.local_addr().unwrap().ip(), server.local_addr().unwrap().port());
        let other = UdpSocket::bind("[::1]:0").unwrap();
        let mut sockets = Sockets::open().unwrap();
        assert_eq!(sockets.drops(address, &[port]).unwrap(), 0);
        // Nobody reads: what does not fit into the buffer is dropped.
        let payload = [0; 1024];
        for _ in 0..4096 {
            other.send_to(&payload, (address, port)).unwrap();
        }
        assert_eq!(sockets.drops(address, &[port]).unwrap(), 0, "what was read stands until it is forgotten");
        sockets.forget();
        let drops = sockets.drops(address, &[port]).unwrap();
        assert!(drops > 0);
        // Controls: of another address, and of another port.
        assert_eq!(sockets.drops("2001:db8::53".parse().unwrap(), &[port]).unwrap(), 0);
        assert_eq!(sockets.drops(address, &[other.local_addr().unwrap().port()]).unwrap(), 0);
    }
}
