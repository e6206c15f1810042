//! Connections to registrars, by TCP, TLS and SCTP, for a machine of `anycast_pool`.
//!
//! A connection is a task. It reads messages into one bounded channel that all connections of a machine share, and writes what
//! stands in a bounded queue of its own: a registrar that takes nothing for long, or for which too much waits, is given up.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anycast_pool::wire::{Frames, Transport};
use anycast_pool::{ConnectionId, HuntConfig, Target};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tracing::debug;

use super::address::{RegistrarAddress, RegistrarProtocol};
use super::discover;
use crate::sctp::{self, Received};
use crate::tls;

/// Messages that may wait to be written to one registrar. A user or element says little, so more means that none is taken.
const WRITES: usize = 256;

/// A message that was not taken within that time ends its connection.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long what was said last may take after the connection was given up.
const FAREWELL: Duration = Duration::from_millis(500);

/// Octets that are read at a time.
const READ: usize = 16 * 1024;

/// Messages of all registrars that may wait for the machine; a full channel makes the registrars wait.
pub(super) const REPORTS: usize = 256;

/// What a connection has to say.
#[derive(Debug)]
pub(super) enum Report {
    /// It is open.
    Connected(ConnectionId),
    /// A message, whole.
    Message(ConnectionId, Vec<u8>),
    /// It is lost, or did not come about, and why.
    Closed(ConnectionId, String),
    /// A registrar announced itself from that address.
    Announced(SocketAddr, Vec<Transport>),
}

/// Whom to connect to, and how.
#[derive(Clone, Debug, Default)]
pub struct Registrars {
    /// The registrars.
    pub addresses: Vec<RegistrarAddress>,
    /// Interfaces on which announces of more are heard.
    pub discover: Vec<String>,
    /// Talk to them by TLS; then none of them can be reached by SCTP.
    pub tls: Option<Tls>,
}

/// How to talk by TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Certificates and authorities.
    pub client: Arc<tls::Client>,
    /// What the registrars' certificates are for; `None` = what each was named by.
    pub server_name: Option<ServerName<'static>>,
}

/// TLS is wanted and SCTP too.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} cannot be reached by TLS: TLS over SCTP is not supported; name it without sctp://, or do without TLS"
)]
pub struct NoTlsOverSctp(pub RegistrarAddress);

impl Registrars {
    /// How many there may be at a time.
    pub(super) fn expected(&self, hunt: &HuntConfig) -> usize {
        let announced = if self.discover.is_empty() { 0 } else { hunt.announced_max };
        self.addresses.len() + announced
    }

    /// Sees whether each can be talked to as is wanted.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check(&self) -> Result<(), NoTlsOverSctp> {
        let by_sctp = |address: &&RegistrarAddress| address.protocol() == RegistrarProtocol::Sctp;
        match self.addresses.iter().find(by_sctp) {
            Some(address) if self.tls.is_some() => Err(NoTlsOverSctp(address.clone())),
            _ => Ok(()),
        }
    }

    /// A registrar in words.
    pub fn name(&self, target: &Target) -> String {
        match target {
            Target::Configured(index) => match self.addresses.get(*index) {
                Some(address) => format!("registrar {address}"),
                None => target.to_string(),
            },
            Target::Announced(_) => target.to_string(),
        }
    }
}

/// A stream to a registrar.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The connections of a machine.
pub(super) struct Links {
    registrars: Arc<Registrars>,
    open: HashMap<ConnectionId, Link>,
    reports: mpsc::Sender<Report>,
    /// Why a registrar could not be reached the last time; gone when it is.
    errors: BTreeMap<String, String>,
}

struct Link {
    target: Target,
    writes: mpsc::Sender<Vec<u8>>,
}

impl Links {
    /// None yet; what they will have to say comes out of the receiver. Must be called in a Tokio runtime.
    pub fn new(registrars: Registrars) -> (Self, mpsc::Receiver<Report>) {
        let (reports, receiver) = mpsc::channel(REPORTS);
        let registrars = Arc::new(registrars);
        for interface in &registrars.discover {
            tokio::spawn(discover::hear(interface.clone(), Arc::clone(&registrars), reports.clone()));
        }
        (Self { registrars, open: HashMap::new(), reports, errors: BTreeMap::new() }, receiver)
    }

    /// Whom they lead to.
    pub fn registrars(&self) -> &Registrars {
        &self.registrars
    }

    /// Why a registrar cannot be reached; `None` = it can, or was not tried.
    pub fn error(&self, target: &Target) -> Option<&str> {
        self.errors.get(&self.registrars.name(target)).map(String::as_str)
    }

    /// Begins to connect. Must be called in a Tokio runtime.
    pub fn connect(&mut self, id: ConnectionId, target: Target) {
        let (writes, queue) = mpsc::channel(WRITES);
        let task = Task { id, target: target.clone(), registrars: Arc::clone(&self.registrars), queue };
        self.open.insert(id, Link { target, writes });
        tokio::spawn(task.run(self.reports.clone()));
    }

    /// Sends a message; false if the connection is not there or takes nothing: then it is closed.
    pub fn send(&mut self, id: ConnectionId, octets: Vec<u8>) -> bool {
        let Some(link) = self.open.get(&id) else { return false };
        let taken = link.writes.try_send(octets).is_ok();
        if !taken {
            let name = self.registrars.name(&link.target);
            self.errors.insert(name, "it takes nothing of what is sent to it".to_owned());
            self.open.remove(&id);
        }
        taken
    }

    /// Gives a connection up; what was sent before is still tried.
    pub fn close(&mut self, id: ConnectionId) {
        if let Some(link) = self.open.remove(&id) {
            let name = self.registrars.name(&link.target);
            self.errors.entry(name).or_insert_with(|| "it did not answer in time".to_owned());
        }
    }

    /// Gives all of them up.
    pub fn close_all(&mut self) {
        self.open.clear();
    }

    /// Takes note of a report, for [`error`](Self::error).
    pub fn note(&mut self, report: &Report) {
        match report {
            Report::Connected(id) => {
                if let Some(link) = self.open.get(id) {
                    self.errors.remove(&self.registrars.name(&link.target));
                }
            }
            Report::Closed(id, why) => {
                if let Some(link) = self.open.remove(id) {
                    self.errors.insert(self.registrars.name(&link.target), why.clone());
                }
            }
            Report::Message(..) | Report::Announced(..) => {}
        }
    }
}

/// One connection.
struct Task {
    id: ConnectionId,
    target: Target,
    registrars: Arc<Registrars>,
    queue: mpsc::Receiver<Vec<u8>>,
}

impl Task {
    async fn run(mut self, reports: mpsc::Sender<Report>) {
        let why = match self.talk(&reports).await {
            // Given up from here: nobody waits for word.
            Ok(()) => return,
            Err(error) => tls::explain(&error),
        };
        debug!(registrar = self.registrars.name(&self.target), %why, "connection ended");
        // The machine may have gone.
        let _ = reports.send(Report::Closed(self.id, why)).await;
    }

    async fn talk(&mut self, reports: &mpsc::Sender<Report>) -> io::Result<()> {
        let connection = tokio::select! {
            connection = connect(&self.registrars, &self.target) => connection?,
            // Nothing is sent before it is connected: the queue's end means that it was given up.
            _ = self.queue.recv() => return Ok(()),
        };
        reports.send(Report::Connected(self.id)).await.map_err(gone)?;
        match connection {
            Connection::Stream(stream) => self.talk_by_stream(stream, reports).await,
            Connection::Sctp(association) => self.talk_by_sctp(&association, reports).await,
        }
    }

    async fn talk_by_stream(
        &mut self,
        stream: Box<dyn Stream>,
        reports: &mpsc::Sender<Report>,
    ) -> io::Result<()> {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut frames = Frames::default();
        let mut buffer = vec![0; READ];
        loop {
            tokio::select! {
                read = reader.read(&mut buffer) => {
                    let length = read?;
                    if length == 0 {
                        return Err(closed());
                    }
                    frames.push(&buffer[..length]);
                    while let Some(message) = frames.next_message().map_err(io::Error::other)? {
                        let report = Report::Message(self.id, message.to_vec());
                        reports.send(report).await.map_err(gone)?;
                    }
                }
                octets = self.queue.recv() => match octets {
                    Some(octets) => {
                        timeout(WRITE_TIMEOUT, write(&mut writer, &octets)).await.map_err(|_| stuck())??;
                    }
                    None => {
                        // Whatever comes of it, nobody is there to be told.
                        let _ = timeout(FAREWELL, writer.shutdown()).await;
                        return Ok(());
                    }
                },
            }
        }
    }

    async fn talk_by_sctp(
        &mut self,
        association: &sctp::Async,
        reports: &mpsc::Sender<Report>,
    ) -> io::Result<()> {
        let mut partial = Vec::new();
        let mut buffer = vec![0; READ];
        loop {
            tokio::select! {
                ready = association.readable() => {
                    let read = ready?.try_io(|socket| sctp::receive(socket.get_ref(), &mut buffer, &mut partial));
                    let Ok(received) = read else { continue };
                    match received? {
                        Received::End => return Err(closed()),
                        Received::Part => {}
                        Received::Message => {
                            let report = Report::Message(self.id, std::mem::take(&mut partial));
                            reports.send(report).await.map_err(gone)?;
                        }
                    }
                }
                octets = self.queue.recv() => match octets {
                    Some(octets) => {
                        let sent = timeout(WRITE_TIMEOUT, sctp::send_all(association, &octets));
                        sent.await.map_err(|_| stuck())??;
                    }
                    None => {
                        // What was sent arrives before the shutdown; closing the socket alone could abort the association.
                        let _ = association.get_ref().shutdown(Shutdown::Write);
                        return Ok(());
                    }
                },
            }
        }
    }
}

fn gone(_: mpsc::error::SendError<Report>) -> io::Error {
    io::Error::other("the machine has ended")
}

fn closed() -> io::Error {
    io::Error::other("the registrar closed the connection")
}

fn stuck() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it takes nothing of what is sent to it")
}

/// Writes a message and has TLS pass it on.
async fn write(writer: &mut (impl AsyncWrite + Unpin), octets: &[u8]) -> io::Result<()> {
    writer.write_all(octets).await?;
    writer.flush().await
}

/// An open connection.
enum Connection {
    /// TCP, or TLS on it.
    Stream(Box<dyn Stream>),
    /// SCTP.
    Sctp(sctp::Async),
}

async fn connect(registrars: &Registrars, target: &Target) -> io::Result<Connection> {
    match target {
        Target::Configured(index) => {
            let address = registrars.addresses.get(*index);
            let address = address.ok_or_else(|| io::Error::other("no such registrar"))?;
            let to = (address.host(), address.port(registrars.tls.is_some()));
            match address.protocol() {
                RegistrarProtocol::Tcp => {
                    let stream = TcpStream::connect(to).await?;
                    secured(registrars, address.host(), stream).await
                }
                RegistrarProtocol::Sctp => {
                    registrars.check().map_err(io::Error::other)?;
                    associated(lookup_host(to).await?).await
                }
            }
        }
        Target::Announced(Transport::Tcp(address)) => {
            let stream = TcpStream::connect(address).await?;
            secured(registrars, &address.ip().to_string(), stream).await
        }
        Target::Announced(Transport::Sctp { port, addresses, .. }) if registrars.tls.is_none() => {
            associated(addresses.iter().map(|address| SocketAddr::new(*address, *port))).await
        }
        Target::Announced(other) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            match registrars.tls {
                None => format!("{} is not spoken to registrars", other.kind().name()),
                Some(_) => format!("{} has no TLS here", other.kind().name()),
            },
        )),
    }
}

/// The stream itself, or TLS on it.
async fn secured(registrars: &Registrars, host: &str, stream: TcpStream) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let Some(own) = &registrars.tls else { return Ok(Connection::Stream(Box::new(stream))) };
    let name = match &own.server_name {
        Some(name) => name.clone(),
        None => tls::server_name(host).map_err(io::Error::other)?,
    };
    let stream = TlsConnector::from(own.client.current()).connect(name, stream).await?;
    Ok(Connection::Stream(Box::new(stream)))
}

/// An association with the first address that takes one.
async fn associated(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<Connection> {
    let mut error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match sctp::connect(address).await {
            Ok(association) => return Ok(Connection::Sctp(association)),
            Err(none) if sctp::is_missing(&none) => {
                let what = "this kernel has no SCTP: `modprobe sctp`, or name the registrar without sctp://";
                return Err(io::Error::new(io::ErrorKind::Unsupported, what));
            }
            Err(failed) => error = failed,
        }
    }
    Err(error)
}
