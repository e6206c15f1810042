//! SCTP by one-to-one sockets (RFC 6458 4): the transport that RFC 5352 asks for. One message of SCTP is one of ASAP, with payload
//! protocol identifier 11.
//!
//! The kernel needs its module `sctp`. Where it has none, the registrar says so once and goes on with TCP and TLS.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::task::{Context, Poll, ready};

use anycast_pool::registrar::{ConnectionId, ConnectionKind, Event};
use anycast_pool::wire::{MESSAGE_MAX, SCTP_PAYLOAD_PROTOCOL};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::hub::{Hub, READ_BELOW, farewell};
use super::listen::ACCEPT_PAUSE;

/// Associations that the kernel accepts before they are looked at.
const BACKLOG: i32 = 1024;

/// Room for the control message with struct sctp_sndinfo, aligned as struct cmsghdr.
const CONTROL: usize = 64;

/// An SCTP socket of a runtime.
type Async = AsyncFd<Socket>;

/// A listening socket; `None` if the kernel has no SCTP.
pub(super) fn bind(address: SocketAddr) -> io::Result<Option<Async>> {
    let protocol = Some(Protocol::from(libc::IPPROTO_SCTP));
    let socket = match Socket::new(Domain::for_address(address), Type::STREAM, protocol) {
        Ok(socket) => socket,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    register(socket).map(Some)
}

fn register(socket: Socket) -> io::Result<Async> {
    // SAFETY: a `Socket` owns its descriptor and closes it only when it is dropped: it stays the same until then.
    unsafe { AsyncFd::register(socket) }.map_err(io::Error::from)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EPROTONOSUPPORT | libc::ESOCKTNOSUPPORT | libc::EAFNOSUPPORT | libc::EINVAL)
    )
}

/// Accepts associations until it is dropped.
pub(super) async fn serve(hub: Hub, listener: Async) {
    let mut associations = JoinSet::new();
    loop {
        tokio::select! {
            biased;
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
}

async fn accept(listener: &Async) -> io::Result<(Async, SocketAddr)> {
    loop {
        let mut ready = listener.readable().await?;
        let Ok(accepted) = ready.try_io(|listener| listener.get_ref().accept()) else { continue };
        let (socket, peer) = accepted?;
        socket.set_nonblocking(true)?;
        set_no_delay(&socket)?;
        let peer = peer.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        return Ok((register(socket)?, peer));
    }
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

/// What a call of recvmsg(2) gave.
enum Received {
    /// The association is over.
    End,
    /// A part of a message, or nothing that is of interest.
    Part,
    /// The message is whole.
    Message,
}

fn receive(socket: &Socket, buffer: &mut [u8], partial: &mut Vec<u8>) -> io::Result<Received> {
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zeros is a valid struct msghdr: null pointers with lengths of zero.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    // SAFETY: the header names one vector, which names the whole of `buffer`; all of them outlive the call.
    let result = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    let length = usize::try_from(result).map_err(|_| io::Error::last_os_error())?;
    if length == 0 {
        return Ok(Received::End);
    }
    // No notifications are asked for.
    if header.msg_flags & libc::MSG_NOTIFICATION != 0 {
        return Ok(Received::Part);
    }
    if partial.len() + length > MESSAGE_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message longer than ASAP has"));
    }
    partial.extend_from_slice(buffer.get(..length).unwrap_or_default());
    Ok(if header.msg_flags & libc::MSG_EOR == 0 { Received::Part } else { Received::Message })
}

/// Sends a whole message with ASAP's payload protocol identifier; a non-blocking socket takes all of it or nothing.
fn send(socket: &Socket, message: &[u8]) -> io::Result<usize> {
    #[repr(align(8))]
    struct Control([u8; CONTROL]);
    let mut control = Control([0; CONTROL]);
    let info_length = size_of::<libc::sctp_sndinfo>() as u32;
    let mut vector = libc::iovec { iov_base: message.as_ptr().cast_mut().cast(), iov_len: message.len() };
    // SAFETY: all zeros is a valid struct msghdr, see `receive`.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: a computation on integers.
    header.msg_controllen = unsafe { libc::CMSG_SPACE(info_length) } as _;
    // SAFETY: all zeros is a valid struct sctp_sndinfo, of integers alone.
    let mut info: libc::sctp_sndinfo = unsafe { MaybeUninit::zeroed().assume_init() };
    info.snd_ppid = SCTP_PAYLOAD_PROTOCOL.to_be();
    // SAFETY: `control` is aligned for struct cmsghdr and longer than CMSG_SPACE of the 16 octets of sctp_sndinfo, which is 32:
    // so the first header is inside, and its data, which is written unaligned if need be.
    unsafe {
        let first = libc::CMSG_FIRSTHDR(&raw const header);
        (*first).cmsg_level = libc::IPPROTO_SCTP;
        (*first).cmsg_type = libc::SCTP_SNDINFO;
        (*first).cmsg_len = libc::CMSG_LEN(info_length) as _;
        libc::CMSG_DATA(first).cast::<libc::sctp_sndinfo>().write_unaligned(info);
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the header names one vector, which names `message`, only read by sendmsg(2), and `control`; all outlive the call.
    let result = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, flags) };
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn set_no_delay(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: SCTP_NODELAY takes an int; the pointer is to one, and the length is its own.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_SCTP,
            libc::SCTP_NODELAY,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
