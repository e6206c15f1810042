//! The `tcp` check: can a connection be opened?

use std::net::{IpAddr, SocketAddr};

use super::{CheckError, Deadline, source};

/// Opens a connection to `address` and closes it.
pub(super) async fn run(
    address: SocketAddr,
    service_addresses: &[IpAddr],
    deadline: Deadline,
) -> Result<(), CheckError> {
    let connect = source::connect_tcp(address, service_addresses);
    deadline.limit(|| format!("a TCP connection to {address}"), connect).await.map(drop)
}
