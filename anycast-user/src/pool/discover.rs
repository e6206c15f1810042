//! Announces of registrars by multicast (RFC 5352 2.2.10, 3.6): heard on interfaces of this host, so that registrars need not be named.
//!
//! An announce is a hint that anybody on the link can give: who must know whom it talks to uses TLS.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use anycast_pool::wire::{GROUP_V4, GROUP_V6, Message, PORT, Transport};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::address::RegistrarProtocol;
use super::links::{Registrars, Report};

/// Until an interface that cannot be listened on is tried again.
const PAUSE: Duration = Duration::from_secs(2);

/// Longest announce that is looked at: a few addresses.
const ANNOUNCE_MAX: usize = 2048;

/// Hears announces on an interface and reports them, until nobody takes reports any more.
pub(super) async fn hear(interface: String, registrars: Arc<Registrars>, reports: mpsc::Sender<Report>) {
    let mut failed = false;
    loop {
        let error = match open(&interface) {
            Ok(sockets) => {
                if std::mem::take(&mut failed) {
                    info!(interface, "announces of registrars are listened for");
                }
                tokio::select! {
                    () = reports.closed() => return,
                    error = receive(&sockets, &registrars, &reports) => error,
                }
            }
            Err(error) => error,
        };
        // An interface may come late, or go and come back. Said once.
        if !std::mem::replace(&mut failed, true) {
            warn!(interface, %error, "cannot hear announces of registrars: see `ip link`; trying again");
        }
        tokio::select! {
            () = reports.closed() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Sockets for the group of each family.
fn open(interface: &str) -> io::Result<[UdpSocket; 2]> {
    let index = if_nametoindex(interface)?;
    Ok([
        socket(SocketAddr::V6(SocketAddrV6::new(GROUP_V6, PORT, 0, index)), index)?,
        socket((GROUP_V4, PORT).into(), index)?,
    ])
}

fn socket(group: SocketAddr, index: u32) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // Each program of this host that listens gets a copy.
    socket.set_reuse_address(true)?;
    match group.ip() {
        IpAddr::V6(address) => {
            socket.set_only_v6(true)?;
            socket.join_multicast_v6(&address, index)?;
        }
        IpAddr::V4(address) => {
            socket.join_multicast_v4_n(&address, &InterfaceIndexOrAddress::Index(index))?;
            // What other programs joined on other interfaces is not for this one.
            socket.set_multicast_all_v4(false)?;
        }
    }
    // To the group itself: what is sent to an address of this host is no announce.
    socket.bind(&group.into())?;
    UdpSocket::from_std(socket.into())
}

/// Never ends but by an error.
async fn receive(
    sockets: &[UdpSocket; 2],
    registrars: &Registrars,
    reports: &mpsc::Sender<Report>,
) -> io::Error {
    let mut buffers = [[0; ANNOUNCE_MAX]; 2];
    loop {
        let [first, second] = &mut buffers;
        let received = tokio::select! {
            received = sockets[0].recv_from(first) => received.map(|(length, from)| (&first[..length], from)),
            received = sockets[1].recv_from(second) => received.map(|(length, from)| (&second[..length], from)),
        };
        let (octets, from) = match received {
            Ok(received) => received,
            Err(error) => return error,
        };
        match announced(octets) {
            Ok(transports) => {
                if let Some(transports) = wanted(transports, registrars)
                    && reports.send(Report::Announced(from, transports)).await.is_err()
                {
                    return io::ErrorKind::BrokenPipe.into();
                }
            }
            Err(error) => debug!(%from, error, "no announce"),
        }
    }
}

/// Where the registrar of an announce listens.
fn announced(octets: &[u8]) -> Result<Vec<Transport>, String> {
    match Message::parse(octets) {
        Ok(parsed) => match parsed.message {
            Message::ServerAnnounce { transports, .. } => Ok(transports),
            other => Err(format!("a message of type {}", other.kind().name())),
        },
        Err(malformed) => Err(malformed.error.to_string()),
    }
}

/// One transport of an announce, for one connection to a registrar is enough; TCP first, which works everywhere. None for a registrar
/// that is named anyway. An announce without transports stays as it is: it means SCTP at its source.
fn wanted(transports: Vec<Transport>, registrars: &Registrars) -> Option<Vec<Transport>> {
    let named = |transport: &Transport| {
        let (protocol, port, addresses) = match transport {
            Transport::Tcp(address) => (RegistrarProtocol::Tcp, address.port(), &[address.ip()][..]),
            Transport::Sctp { port, addresses, .. } => (RegistrarProtocol::Sctp, *port, addresses.as_slice()),
            _ => return false,
        };
        registrars.addresses.iter().any(|named| {
            named.protocol() == protocol
                && named.port(registrars.tls.is_some()) == port
                && named.host().parse().is_ok_and(|host: IpAddr| addresses.contains(&host))
        })
    };
    if transports.iter().any(named) {
        return None;
    }
    let rank = |transport: &&Transport| u8::from(!matches!(transport, Transport::Tcp(_)));
    Some(transports.iter().min_by_key(rank).cloned().into_iter().collect())
}

#[cfg(test)]
mod tests {
    use anycast_pool::RegistrarId;
    use anycast_pool::wire::TransportUse;

    use super::*;

    #[test]
    fn of_an_announce_one_way_is_taken_and_none_to_who_is_named() {
        let tcp = |text: &str| Transport::Tcp(text.parse().unwrap());
        let sctp = Transport::Sctp {
            port: PORT,
            transport_use: TransportUse::Data,
            addresses: vec!["2001:db8::1".parse().unwrap()],
        };
        let registrars =
            Registrars { addresses: vec!["2001:db8::2".parse().unwrap()], ..Registrars::default() };
        let one = tcp("[2001:db8::1]:3863");
        assert_eq!(wanted(vec![sctp.clone(), one.clone()], &registrars), Some(vec![one]));
        assert_eq!(wanted(vec![sctp.clone()], &registrars), Some(vec![sctp.clone()]));
        assert_eq!(wanted(vec![], &registrars), Some(vec![]));
        let by_sctp =
            Registrars { addresses: vec!["sctp://2001:db8::1".parse().unwrap()], ..Registrars::default() };
        assert_eq!(wanted(vec![sctp.clone()], &by_sctp), None);
        assert_eq!(wanted(vec![sctp, tcp("[2001:db8::2]:3863")], &registrars), None);
        assert!(wanted(vec![tcp("[2001:db8::2]:3864")], &registrars).is_some());
    }

    #[test]
    fn what_is_no_announce_is_told_apart() {
        let transports = vec![Transport::Tcp("[2001:db8::1]:3863".parse().unwrap())];
        let announce = Message::ServerAnnounce { registrar: RegistrarId(7), transports: transports.clone() };
        let octets = announce.to_octets().unwrap();
        assert_eq!(announced(&octets), Ok(transports));
        assert!(announced(&octets[..octets.len() - 1]).is_err());
        let other = Message::EndpointKeepAliveAck { handle: "dns".into(), id: anycast_pool::ElementId(1) };
        assert!(announced(&other.to_octets().unwrap()).unwrap_err().contains("keep_alive_ack"));
    }
}
