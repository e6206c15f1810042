//! Where a probe comes from, and that it stays on this host.
//!
//! A probe to the service address, or from it, is dangerous: once the address is lost from `lo`, the same probe would
//! leave through the link, reach the *peer* that owns the address, be answered, and report a dead server as healthy. And
//! a packet from the service address makes the router resolve it. So:
//!
//! | the address asked | source | device |
//! |---|---|---|
//! | loopback, or a service address | `::1` or `127.0.0.1` | bound to `lo` |
//! | any other, of this host or another (a service in a container, …) | the kernel's choice, refused if it is a service address | the route's |
//!
//! A socket bound to `lo` cannot send through another device, whatever the routing tables say. It cannot reach this host's
//! addresses on other interfaces either, so those are asked as another host's are: no peer has them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use super::CheckError;

/// A UDP socket connected to `server`: it receives from there only.
pub(super) async fn connect_udp(
    server: SocketAddr,
    service_addresses: &[IpAddr],
) -> Result<UdpSocket, CheckError> {
    let source = source_for(server.ip(), service_addresses);
    let socket = UdpSocket::bind((source.unwrap_or(unspecified(server.ip())), 0))
        .await
        .map_err(CheckError::io(format!("bind a UDP socket for {server}")))?;
    if source.is_some() {
        socket.bind_device(Some(LOOPBACK_DEVICE)).map_err(CheckError::io("bind a UDP socket to lo"))?;
    }
    socket.connect(server).await.map_err(|error| failed_connect("UDP", server, error))?;
    refuse_service_address("UDP", server, socket.local_addr(), service_addresses)?;
    Ok(socket)
}

/// A TCP connection to `server`.
pub(super) async fn connect_tcp(
    server: SocketAddr,
    service_addresses: &[IpAddr],
) -> Result<TcpStream, CheckError> {
    let socket = match server {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
    .map_err(CheckError::io(format!("open a TCP socket for {server}")))?;
    if let Some(source) = source_for(server.ip(), service_addresses) {
        socket.bind_device(Some(LOOPBACK_DEVICE)).map_err(CheckError::io("bind a TCP socket to lo"))?;
        socket.bind((source, 0).into()).map_err(CheckError::io(format!("bind a TCP socket to {source}")))?;
    } else {
        // The handshake already carries the source address: ask a UDP socket, which sends nothing, what it would be.
        drop(connect_udp(server, service_addresses).await?);
    }
    let stream = socket.connect(server).await.map_err(|error| failed_connect("TCP", server, error))?;
    refuse_service_address("TCP", server, stream.local_addr(), service_addresses)?;
    Ok(stream)
}

/// The error of a connect, or of a receive on a connected UDP socket, which reports what ICMP said.
pub(super) fn failed_connect(transport: &'static str, server: SocketAddr, error: io::Error) -> CheckError {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        CheckError::Refused { transport, server }
    } else {
        CheckError::Io { operation: format!("{transport} {server}"), source: error }
    }
}

const LOOPBACK_DEVICE: &[u8] = b"lo";

/// The loopback address to send from, if the probe must stay on this host.
fn source_for(server: IpAddr, service_addresses: &[IpAddr]) -> Option<IpAddr> {
    let stays = server.is_loopback() || service_addresses.contains(&server);
    stays.then_some(match server {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    })
}

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

fn refuse_service_address(
    transport: &'static str,
    server: SocketAddr,
    local: io::Result<SocketAddr>,
    service_addresses: &[IpAddr],
) -> Result<(), CheckError> {
    let source_address =
        local.map_err(CheckError::io(format!("read the source address towards {server}")))?.ip();
    if service_addresses.contains(&source_address) {
        return Err(CheckError::ServiceAddressAsSource { transport, server, source_address });
    }
    Ok(())
}
