//! SCTP by one-to-one sockets (RFC 6458 4), the transport that RFC 5352 asks for: one message of SCTP is one of ASAP, with payload
//! protocol identifier 11.
//!
//! The kernel needs its module `sctp`; [`is_missing`] tells its absence from other errors.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;

use anycast_pool::wire::{MESSAGE_MAX, SCTP_PAYLOAD_PROTOCOL};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

/// Room for the control message with struct sctp_sndinfo, aligned as struct cmsghdr.
const CONTROL: usize = 64;

/// An SCTP socket of a runtime.
pub(crate) type Async = AsyncFd<Socket>;

/// A listening socket; of `[::]`, for IPv4 too.
///
/// # Errors
/// The address cannot be had, or the kernel has no SCTP: see [`is_missing`].
pub(crate) fn listen(address: SocketAddr, backlog: i32) -> io::Result<Async> {
    let socket = socket(address)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    register(socket)
}

/// Accepts an association.
///
/// # Errors
/// What the system said: the listener may be out of descriptors.
pub(crate) async fn accept(listener: &Async) -> io::Result<(Async, SocketAddr)> {
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

/// A new association.
///
/// # Errors
/// It did not come about, or the kernel has no SCTP: see [`is_missing`].
pub(crate) async fn connect(address: SocketAddr) -> io::Result<Async> {
    let socket = socket(address)?;
    set_no_delay(&socket)?;
    let begun = socket.connect(&address.into());
    if let Err(error) = begun
        && error.raw_os_error() != Some(libc::EINPROGRESS)
    {
        return Err(error);
    }
    let socket = register(socket)?;
    // A socket that connects is writable when it has, or has not.
    let _ = socket.writable().await?;
    match socket.get_ref().take_error()? {
        Some(error) => Err(error),
        None => Ok(socket),
    }
}

/// Does the error of [`listen`] or [`connect`] say that the kernel has no SCTP?
pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPROTONOSUPPORT | libc::ESOCKTNOSUPPORT))
}

/// What a call of recvmsg(2) gave.
pub(crate) enum Received {
    /// The association is over.
    End,
    /// A part of a message, or nothing that is of interest.
    Part,
    /// The message is whole.
    Message,
}

/// Reads by `buffer` and adds what came to `partial`, which is to be cleared after each whole message.
///
/// # Errors
/// The association is lost, the message is longer than ASAP has them, or nothing is there yet.
pub(crate) fn receive(socket: &Socket, buffer: &mut [u8], partial: &mut Vec<u8>) -> io::Result<Received> {
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
///
/// # Errors
/// The association is lost, or there is no room now.
pub(crate) fn send(socket: &Socket, message: &[u8]) -> io::Result<usize> {
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

/// Sends a whole message as soon as there is room.
///
/// # Errors
/// The association is lost.
pub(crate) async fn send_all(socket: &Async, message: &[u8]) -> io::Result<()> {
    loop {
        let mut ready = socket.writable().await?;
        if let Ok(sent) = ready.try_io(|socket| send(socket.get_ref(), message)) {
            return sent.map(|_| ());
        }
    }
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let protocol = Some(Protocol::from(libc::IPPROTO_SCTP));
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, protocol)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn register(socket: Socket) -> io::Result<Async> {
    // SAFETY: a `Socket` owns its descriptor and closes it only when it is dropped: it stays the same until then.
    unsafe { AsyncFd::register(socket) }.map_err(io::Error::from)
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
