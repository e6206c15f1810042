//! Listening sockets of TCP and TLS.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anycast_pool::registrar::ConnectionKind;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::hub::Hub;
use super::stream;
use crate::tls;

/// Connections that the kernel accepts before they are looked at.
const BACKLOG: i32 = 4096;

/// Handshakes of TLS at a time, and how long each may take.
const HANDSHAKES: usize = 256;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Octets that the kernel keeps of a connection unsent. More would hide from the machine who takes nothing.
const UNSENT: u32 = 32 * 1024;

/// How long the other host may acknowledge nothing of what was sent, and how it is asked when nothing is sent.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How long to wait when no connection can be accepted: out of file descriptors, most likely.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listening TCP socket; of `[::]`, for IPv4 too.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // A restart must not wait for the connections of the registrar before.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections in clear text until the registrar stops, and serves them to their ends.
pub(super) async fn serve_tcp(hub: Hub, listener: TcpListener) {
    accept(&hub, listener, |stream, peer| {
        let hub = hub.clone();
        async move {
            let connection = hub.connected(peer, ConnectionKind::Tcp, None);
            stream::serve(hub, connection, stream).await;
        }
    })
    .await;
}

/// Accepts connections over TLS until the registrar stops, and serves them to their ends. The machine hears of those alone whose certificate is trusted.
pub(super) async fn serve_tls(hub: Hub, listener: TcpListener, server: Rc<tls::Server>) {
    let places = Rc::new(Semaphore::new(HANDSHAKES));
    accept(&hub, listener, |stream, peer| {
        let acceptor = TlsAcceptor::from(server.current());
        let (hub, places) = (hub.clone(), places.clone());
        async move {
            let shaken = timeout(HANDSHAKE_TIMEOUT, async {
                // Never closed: the semaphore is ours.
                let _place = places.acquire().await;
                acceptor.accept(stream).await
            });
            let error = match shaken.await {
                Ok(Ok(stream)) => {
                    let identity = stream.get_ref().1.peer_certificates().and_then(tls::identity);
                    let connection = hub.connected(peer, ConnectionKind::Tls, identity.as_deref());
                    return stream::serve(hub, connection, stream).await;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no handshake within {HANDSHAKE_TIMEOUT:?}"),
            };
            hub.with(|core| core.handshakes_failed += 1);
            debug!(%peer, error, "no TLS connection: see whether the client's certificate is of an authority of tls.client_ca");
        }
    })
    .await;
}

async fn accept<F: Future<Output = ()> + 'static>(
    hub: &Hub,
    listener: TcpListener,
    serve: impl Fn(TcpStream, SocketAddr) -> F,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = hub.stopping() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if let Err(error) = set_up(&stream) {
                        debug!(%peer, %error, "cannot set up a connection");
                        continue;
                    }
                    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                    connections.spawn_local(serve(stream, peer));
                }
                Err(error) => {
                    warn!(%error, "cannot accept a connection: raise LimitNOFILE, or lower limits.connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    // Nobody comes to a registrar that is on its way out.
    drop(listener);
    while connections.join_next().await.is_some() {}
}

fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_notsent_lowat(UNSENT)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3))
}
