//! A connection over TCP or TLS: one task, which writes what waits and reads what comes.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use anycast_pool::registrar::{ConnectionId, Event};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;
use tracing::debug;

use super::hub::{Hub, READ_BELOW, farewell};

/// A stream that a registrar speaks over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// Serves a connection to its end.
pub(super) async fn serve(hub: Hub, connection: ConnectionId, mut stream: impl Stream) {
    let end = poll_fn(|context| {
        hub.wake_by(connection, context.waker());
        poll(&hub, connection, &mut stream, context)
    })
    .await;
    if let Err(error) = end {
        debug!(connection = connection.0, %error, "connection lost");
    } else if let Some(reason) = hub.closing(connection) {
        // Whether the other side takes the rest is its own affair: the machine has forgotten it.
        let _ = timeout(farewell(reason), async {
            poll_fn(|context| poll_write(&hub, connection, &mut stream, context)).await?;
            stream.shutdown().await
        })
        .await;
    }
    hub.closed(connection);
}

/// Ready when the connection ended or is to be closed.
fn poll(
    hub: &Hub,
    connection: ConnectionId,
    stream: &mut impl Stream,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    loop {
        if hub.closing(connection).is_some() {
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(Err(error)) = poll_write(hub, connection, stream, context) {
            return Poll::Ready(Err(error));
        }
        // Whoever takes something wakes this task.
        if hub.waiting(connection) > READ_BELOW {
            return Poll::Pending;
        }
        if !ready!(poll_read(hub, connection, stream, context))? {
            return Poll::Ready(Ok(()));
        }
    }
}

/// Ready when nothing waits any more.
fn poll_write(
    hub: &Hub,
    connection: ConnectionId,
    stream: &mut impl Stream,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    let mut any = false;
    loop {
        let result =
            hub.write(connection, |slices| Pin::new(&mut *stream).poll_write_vectored(context, slices));
        match result {
            None => break,
            Some(Poll::Ready(Ok(0))) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Some(Poll::Ready(Ok(octets))) => {
                any = true;
                hub.written(connection, octets);
            }
            Some(Poll::Ready(Err(error))) => return Poll::Ready(Err(error)),
            Some(Poll::Pending) => return Poll::Pending,
        }
    }
    // TLS keeps what is written until it is flushed; TCP does nothing here.
    if any { Pin::new(stream).poll_flush(context) } else { Poll::Ready(Ok(())) }
}

/// Ready when something came and was handed over; false at the end of the stream.
fn poll_read(
    hub: &Hub,
    connection: ConnectionId,
    stream: &mut impl Stream,
    context: &mut Context<'_>,
) -> Poll<io::Result<bool>> {
    hub.with_buffer(|buffer| {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
        let octets = buffer.filled();
        if octets.is_empty() {
            return Poll::Ready(Ok(false));
        }
        hub.handle(Event::Received { connection, octets });
        Poll::Ready(Ok(true))
    })
}
