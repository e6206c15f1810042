//! One attempt: a query to one server over a socket of its own.
//!
//! A new socket for each attempt gives each its own random port of the kernel's choice, and being connected it takes datagrams of
//! that server alone, and hears of a port that is closed: with a new identifier, that is all that can be done against forged
//! answers without cookies.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::message;

/// Longest datagram: the largest there is.
const DATAGRAM_MAX: usize = 65_535;

/// A client's query.
#[derive(Debug)]
pub(super) struct Query {
    /// As it came.
    pub octets: Vec<u8>,
    /// Length of header and question.
    pub question_end: usize,
    /// It came by TCP, and goes on so.
    pub tcp: bool,
}

/// Identifiers that nobody can foresee.
pub(super) struct Ids {
    source: Mutex<Source>,
}

struct Source {
    file: File,
    buffer: [u8; 512],
    used: usize,
}

impl Ids {
    /// From the kernel's generator.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open() -> io::Result<Self> {
        let file = File::open("/dev/urandom")?;
        Ok(Self { source: Mutex::new(Source { file, buffer: [0; 512], used: 512 }) })
    }

    /// The next one.
    ///
    /// # Errors
    /// The generator cannot be read, which Linux does not do.
    pub fn next(&self) -> io::Result<u16> {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let Source { file, buffer, used } = &mut *source;
        if *used + 2 > buffer.len() {
            file.read_exact(buffer)?;
            *used = 0;
        }
        let id = u16::from_be_bytes([buffer[*used], buffer[*used + 1]]);
        *used += 2;
        Ok(id)
    }
}

/// Asks one server. The answer carries the client's identifier.
///
/// # Errors
/// There is no way to the server, its port is closed, or it ended the connection. Silence is no error: this waits for ever.
pub(super) async fn ask(query: &Query, server: SocketAddr, id: u16) -> io::Result<Vec<u8>> {
    let mut answer =
        if query.tcp { ask_tcp(query, server, id).await? } else { ask_udp(query, server, id).await? };
    message::set_id(&mut answer, message::id(&query.octets));
    Ok(answer)
}

async fn ask_udp(query: &Query, server: SocketAddr, id: u16) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    let mut octets = query.octets.clone();
    message::set_id(&mut octets, id);
    socket.send(&octets).await?;
    let mut answer = Vec::new();
    loop {
        // Memory only for who has something to read: thousands may wait.
        socket.readable().await?;
        answer.reserve(DATAGRAM_MAX);
        match socket.try_recv_buf(&mut answer) {
            Ok(_) if message::answers(&answer, id, &query.octets, query.question_end) => {
                answer.shrink_to_fit();
                return Ok(answer);
            }
            // Forged, late, or mangled: the right one may still come.
            Ok(_) => answer = Vec::new(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => answer = Vec::new(),
            Err(error) => return Err(error),
        }
    }
}

async fn ask_tcp(query: &Query, server: SocketAddr, id: u16) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let mut octets = framed(&query.octets)?;
    message::set_id(&mut octets[2..], id);
    stream.write_all(&octets).await?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).await?;
    if message::answers(&answer, id, &query.octets, query.question_end) {
        Ok(answer)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "what it sent is no answer to the query"))
    }
}

/// A message behind its length (RFC 1035 4.2.2).
///
/// # Errors
/// It is longer than its length can say.
pub(super) fn framed(message: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut octets = Vec::with_capacity(2 + message.len());
    octets.extend_from_slice(&length.to_be_bytes());
    octets.extend_from_slice(message);
    Ok(octets)
}
