//! A DNS forwarder in front of a pool: each query goes where the pool's status vector and policy say, and elsewhere if no answer
//! comes, within the time that its client has.
//!
//! ```text
//!   client ──UDP──► listener ──task for each query──► race ──► upstream: a socket for each attempt ──► element
//!          ──TCP──► connection ─────────┘              │
//!                                                      └── pick, succeeded, failed ──► PoolUser ──► registrars
//! ```
//!
//! What is absent: a cache, and any change of what passes. Queries under way are bounded, and with them sockets and memory.

mod message;
mod pace;
mod race;
mod stats;
mod upstream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anycast_pool::PoolHandle;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

pub use stats::{Outcome, Stats};

use message::Verdict;
use pace::Pace;
use race::Shared;
use upstream::{Ids, Query, framed};

use super::PoolUser;

/// Longest datagram: the largest there is.
const DATAGRAM_MAX: usize = 65_535;

/// Datagrams that may wait in the kernel while the forwarder is busy.
const RECEIVE_BUFFER: usize = 4 << 20;

/// TCP connections at a time.
const CONNECTIONS_MAX: usize = 256;

/// Queries of one TCP connection under way at a time (RFC 7766 6.2.1.1: answers may overtake each other).
const PIPELINE_MAX: usize = 16;

/// How long a TCP connection may be idle (RFC 7766 6.2.3), and how long a client may take for an answer.
const IDLE: Duration = Duration::from_secs(10);

/// Between two lines in the log while something happens.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How to forward.
#[derive(Clone, Debug)]
pub struct ForwardOptions {
    /// Addresses and ports to serve, by UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// The pool.
    pub pool: PoolHandle,
    /// How long a query may take before its client gets SERVFAIL. Clients wait a second and more.
    pub patience: Duration,
    /// Queries under way at a time; more are dropped.
    pub in_flight: usize,
}

impl ForwardOptions {
    /// With a patience of 900 ms and 4,096 queries under way.
    pub fn new(listen: Vec<SocketAddr>, pool: impl Into<PoolHandle>) -> Self {
        Self { listen, pool: pool.into(), patience: Duration::from_millis(900), in_flight: 4_096 }
    }
}

/// The forwarder cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// An address cannot be had.
    #[error("cannot listen on {address} by {protocol}: {source}{}", hint(source))]
    Listen {
        /// Where.
        address: SocketAddr,
        /// By what.
        protocol: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// An address that stands for all.
    #[error(
        "cannot listen on {0}: an answer must leave from the address that was asked; name each address with --listen"
    )]
    Unspecified(SocketAddr),
    /// The kernel's generator of random numbers.
    #[error("cannot open /dev/urandom: {0}")]
    Random(io::Error),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program has it: `ss -lnup` and `ss -lntp` show which",
        io::ErrorKind::AddrNotAvailable => "; this host has no such address: `ip address` lists those it has",
        io::ErrorKind::PermissionDenied => "; a port below 1024 needs root or CAP_NET_BIND_SERVICE",
        _ => "",
    }
}

/// A forwarder that has its sockets.
pub struct Forward {
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
    udp: Vec<Arc<UdpSocket>>,
    tcp: Vec<TcpListener>,
}

impl Forward {
    /// Opens the sockets. The pool is followed from now on.
    ///
    /// # Errors
    /// One cannot be opened.
    pub async fn bind(user: PoolUser, options: &ForwardOptions) -> Result<Self, ForwardError> {
        let (mut udp, mut tcp) = (Vec::new(), Vec::new());
        for &address in &options.listen {
            if address.ip().is_unspecified() {
                return Err(ForwardError::Unspecified(address));
            }
            let failed = |protocol| move |source| ForwardError::Listen { address, protocol, source };
            let socket = UdpSocket::bind(address).await.map_err(failed("UDP"))?;
            // What the kernel grants is enough.
            let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
            let address = socket.local_addr().map_err(failed("UDP"))?;
            tcp.push(TcpListener::bind(address).await.map_err(failed("TCP"))?);
            udp.push(Arc::new(socket));
        }
        user.follow(&options.pool);
        let shared = Shared {
            user,
            pool: options.pool.clone(),
            ids: Ids::open().map_err(ForwardError::Random)?,
            pace: Pace::new(),
            stats: Stats::default(),
            patience: options.patience,
        };
        Ok(Self { shared: Arc::new(shared), places: Arc::new(Semaphore::new(options.in_flight)), udp, tcp })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.udp.iter().map(|socket| socket.local_addr()).collect()
    }

    /// What it counts, as text for a scrape.
    pub fn metrics(&self) -> impl Fn() -> String + Clone + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.stats.metrics(&shared.pool.to_string())
    }

    /// What it counts, as a line for a log.
    pub fn summary(&self) -> impl Fn() -> String + Clone + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.stats.line()
    }

    /// Forwards until it is dropped.
    pub async fn run(self) {
        let mut tasks = tokio::task::JoinSet::new();
        for socket in self.udp {
            tasks.spawn(serve_udp(Arc::clone(&self.shared), socket, Arc::clone(&self.places)));
        }
        for listener in self.tcp {
            tasks.spawn(serve_tcp(Arc::clone(&self.shared), listener, Arc::clone(&self.places)));
        }
        let shared = self.shared;
        tasks.spawn(async move {
            let mut before = String::new();
            loop {
                tokio::time::sleep(LOG_INTERVAL).await;
                let line = shared.stats.line();
                if line != before {
                    info!("{line}");
                    before = line;
                }
            }
        });
        while tasks.join_next().await.is_some() {}
    }
}

async fn serve_udp(shared: Arc<Shared>, socket: Arc<UdpSocket>, places: Arc<Semaphore>) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // Of an answer that did not arrive; it says nothing about the next query.
                debug!(%error, "receive");
                continue;
            }
        };
        let arrived = Instant::now();
        let message = &buffer[..length];
        match message::judge(message) {
            Verdict::Ignore => shared.stats.ignored(),
            Verdict::Refuse(code) => {
                shared.stats.refused();
                reply(&socket, &message::refusal(message, None, code), client);
            }
            Verdict::Forward { question_end } => {
                let Some(place) = place(&shared, &places) else { continue };
                let query = Query { octets: message.to_vec(), question_end, tcp: false };
                let (shared, socket) = (Arc::clone(&shared), Arc::clone(&socket));
                tokio::spawn(async move {
                    let answer = race::answer(&shared, &query, arrived).await;
                    reply(&socket, &answer, client);
                    drop(place);
                });
            }
        }
    }
}

/// Room for one more query. Without any it is dropped: clients ask again, and an answer to all of them would only be later.
fn place(shared: &Shared, places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    let place = Arc::clone(places).try_acquire_owned().ok();
    if place.is_none() {
        if shared.stats.dropped_total().is_multiple_of(10_000) {
            warn!(
                "too many queries under way: some are dropped; raise --in-flight, or see why answers take so long"
            );
        }
        shared.stats.dropped();
    }
    place
}

/// Sends an answer if the kernel takes it now: who waits for room answers nobody else.
fn reply(socket: &UdpSocket, answer: &[u8], client: SocketAddr) {
    if let Err(error) = socket.try_send_to(answer, client) {
        debug!(%client, %error, "answer not sent");
    }
}

async fn serve_tcp(shared: Arc<Shared>, listener: TcpListener, places: Arc<Semaphore>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Never closed: the semaphore is ours.
        let Ok(connection) = Arc::clone(&connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, client)) => {
                let (shared, places) = (Arc::clone(&shared), Arc::clone(&places));
                tokio::spawn(async move {
                    if let Err(error) = converse(&shared, stream, &places).await {
                        debug!(%client, %error, "TCP connection ended");
                    }
                    drop(connection);
                });
            }
            Err(error) => {
                // Of file descriptors there are too few for a moment.
                warn!(%error, "cannot accept a TCP connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves a TCP connection until its client ends it or falls silent.
async fn converse(shared: &Arc<Shared>, mut stream: TcpStream, places: &Arc<Semaphore>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.split();
    let mut answers = FuturesUnordered::new();
    let mut buffer = Vec::new();
    let mut open = true;
    loop {
        while answers.len() < PIPELINE_MAX
            && let Some(message) = next_message(&mut buffer)
        {
            let arrived = Instant::now();
            match message::judge(&message) {
                Verdict::Ignore => {
                    shared.stats.ignored();
                    return Ok(());
                }
                Verdict::Refuse(code) => {
                    shared.stats.refused();
                    let answer = framed(&message::refusal(&message, None, code))?;
                    timeout(IDLE, writer.write_all(&answer)).await??;
                }
                Verdict::Forward { question_end } => {
                    // A client that is dropped asks again on another connection.
                    let Some(place) = place(shared, places) else { return Ok(()) };
                    let query = Query { octets: message, question_end, tcp: true };
                    answers.push(async move {
                        let answer = race::answer(shared, &query, arrived).await;
                        drop(place);
                        answer
                    });
                }
            }
        }
        if !open && answers.is_empty() {
            return Ok(());
        }
        tokio::select! {
            Some(answer) = answers.next() => {
                timeout(IDLE, writer.write_all(&framed(&answer)?)).await??;
            }
            read = timeout(IDLE, reader.read_buf(&mut buffer)), if open && answers.len() < PIPELINE_MAX => {
                // Idle only if it waits for nothing.
                open = match read {
                    Ok(length) => length? > 0,
                    Err(_) => !answers.is_empty(),
                };
            }
        }
    }
}

/// Takes the next message out of a stream's octets.
fn next_message(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes(*buffer.first_chunk()?));
    let message = buffer.get(2..2 + length)?.to_vec();
    buffer.drain(..2 + length);
    Some(message)
}
