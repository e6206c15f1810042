//! Associations of SCTP: elements and users at [`crate::sctp`]'s sockets.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use anycast_pool::registrar::{ConnectionId, ConnectionKind, Event};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::hub::{Hub, READ_BELOW, farewell};
use super::listen::ACCEPT_PAUSE;
use crate::sctp::{Async, Received, accept, is_missing, listen, receive, send};

/// Associations that the kernel accepts before they are looked at.
const BACKLOG: i32 = 1024;

/// A listening socket; `None` if the kernel has no SCTP.
pub(super) fn bind(address: SocketAddr) -> io::Result<Option<Async>> {
    match listen(address, BACKLOG) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Accepts associations until the registrar stops, and serves them to their ends.
pub(super) async fn serve(hub: Hub, listener: Async) {
    let mut associations = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = hub.stopping() => break,
            Some(_) = associations.join_next() => {}
            accepted = accept(&listener) => match accepted {
                Ok((socket, peer)) => {
                    associations.spawn_local(association(hub.clone(), socket, peer));
                }
                Err(error) => {
                    warn!(%error, "cannot accept an SCTP association");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while associations.join_next().await.is_some() {}
}

async fn association(hub: Hub, socket: Async, peer: SocketAddr) {
    let connection = hub.connected(peer, ConnectionKind::Sctp, None);
    let mut partial = Vec::new();
    let end = poll_fn(|context| {
        hub.wake_by(connection, context.waker());
        poll(&hub, connection, &socket, &mut partial, context)
    })
    .await;
    if let Err(error) = end {
        debug!(connection = connection.0, %error, "association lost");
    } else if let Some(reason) = hub.closing(connection) {
        let rest = poll_fn(|context| poll_send(&hub, connection, &socket, context));
        // Whether the other side takes the rest is its own affair; closing the socket shuts the association down.
        let _ = timeout(farewell(reason), rest).await;
    }
    hub.closed(connection);
}

fn poll(
    hub: &Hub,
    connection: ConnectionId,
    socket: &Async,
    partial: &mut Vec<u8>,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    loop {
        if hub.closing(connection).is_some() {
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(Err(error)) = poll_send(hub, connection, socket, context) {
            return Poll::Ready(Err(error));
        }
        if hub.waiting(connection) > READ_BELOW {
            return Poll::Pending;
        }
        let mut ready = ready!(socket.poll_read_ready(context))?;
        let Ok(received) =
            ready.try_io(|socket| hub.with_buffer(|buffer| receive(socket.get_ref(), buffer, partial)))
        else {
            continue;
        };
        match received? {
            Received::End => return Poll::Ready(Ok(())),
            Received::Part => {}
            Received::Message => {
                hub.handle(Event::Message { connection, octets: partial });
                partial.clear();
            }
        }
    }
}

/// Ready when nothing waits any more.
fn poll_send(
    hub: &Hub,
    connection: ConnectionId,
    socket: &Async,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while hub.waiting(connection) > 0 {
        let mut ready = ready!(socket.poll_write_ready(context))?;
        let sent = ready.try_io(|socket| {
            hub.write(connection, |slices| match slices.first() {
                Some(message) => send(socket.get_ref(), message),
                None => Ok(0),
            })
            .unwrap_or(Ok(0))
        });
        match sent {
            Ok(octets) => hub.written(connection, octets?),
            Err(_would_block) => {}
        }
    }
    Poll::Ready(Ok(()))
}
