//! `anycast registrar run`, and clients that speak ASAP to it by the wire types alone.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anycast_pool::wire::{
    Frames, Lifetime, Message, PolicyParameter, PoolElement, ResolutionResponse, StatusFlags, Transport,
};
use anycast_pool::{ElementId, PoolHandle, RegistrarId};
use anycast_user::control::{Answer, Command, client};
use anycast_user::registrar::Status;
use anycast_user::tls;
use anyhow::{Context as _, Result, bail};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tempfile::TempDir;

use super::child::{Child, anycast_binary};
use super::namespace::Namespace;
use super::wait::wait_for;

/// How long a registrar may take for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A registrar on this host, or in a namespace.
#[derive(Debug)]
pub struct Registrar {
    child: Child,
    directory: TempDir,
    /// TCP.
    pub address: SocketAddr,
    /// TLS, if it has certificates.
    pub address_tls: Option<SocketAddr>,
}

impl Registrar {
    /// Starts one at a loopback address; `more` are further tables of its configuration.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(certificates: Option<&Certificates>, more: &str) -> Result<Self> {
        let address = own_address();
        let address_tls = certificates.map(|_| own_address());
        let directory = TempDir::new().context("make a directory")?;
        let mut file = format!(
            "[registrar]\nlisten = [\"{address}\"]\nlisten_sctp = []\ncontrol_socket = \"{0}/control.sock\"\n\
             state_dir = \"{0}/state\"\n",
            directory.path().display()
        );
        if let (Some(certificates), Some(address)) = (certificates, address_tls) {
            let (certificate, key) = certificates.issue("registrar", &["localhost"])?;
            file += &format!(
                "listen_tls = [\"{address}\"]\n[tls]\ncertificate = \"{}\"\nkey = \"{}\"\nclient_ca = \"{}\"\n",
                certificate.display(),
                key.display(),
                certificates.authority_file().display()
            );
        }
        Self::start_with(None, directory, address, address_tls, &(file + more))
    }

    /// Starts one at a free port of this address, on SCTP too: at the same port.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_sctp(address: Ipv4Addr, more: &str) -> Result<Self> {
        let address = SocketAddr::new(address.into(), own_address().port());
        let directory = TempDir::new().context("make a directory")?;
        let file = format!(
            "[registrar]\nlisten = [\"{address}\"]\nlisten_sctp = [\"{address}\"]\n\
             control_socket = \"{0}/control.sock\"\nstate_dir = \"{0}/state\"\n{more}",
            directory.path().display()
        );
        Self::start_with(None, directory, address, None, &file)
    }

    /// Starts one in a namespace, at this address.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_in(namespace: &Namespace, address: SocketAddr, more: &str) -> Result<Self> {
        let directory = TempDir::new().context("make a directory")?;
        let file = format!(
            "[registrar]\nlisten = [\"{address}\"]\nlisten_sctp = []\ncontrol_socket = \"{0}/control.sock\"\n\
             state_dir = \"{0}/state\"\n{more}",
            directory.path().display()
        );
        Self::start_with(Some(namespace), directory, address, None, &file)
    }

    fn start_with(
        namespace: Option<&Namespace>,
        directory: TempDir,
        address: SocketAddr,
        address_tls: Option<SocketAddr>,
        file: &str,
    ) -> Result<Self> {
        let path = directory.path().join("registrar.toml");
        std::fs::write(&path, file).with_context(|| format!("write {}", path.display()))?;
        let child = spawn(namespace, directory.path())?;
        let mut own = Self { child, directory, address, address_tls };
        own.wait_until_up()?;
        Ok(own)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()
    }

    /// Starts it again after its death.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.child = spawn(None, self.directory.path())?;
        self.wait_until_up()
    }

    /// Asks it to end and waits.
    ///
    /// # Errors
    /// It does not end.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.child.terminate(PATIENCE)
    }

    /// What `anycast registrar status` shows.
    ///
    /// # Errors
    /// It does not answer.
    pub fn status(&self, pool: Option<&str>) -> Result<Status> {
        let socket = self.directory.path().join("control.sock");
        match client::request(&socket, &Command::Registrar { pool: pool.map(str::to_owned) })? {
            Answer::Registrar(status) => Ok(*status),
            other => bail!("the registrar answered {other:?}"),
        }
    }

    /// A new connection in clear text.
    ///
    /// # Errors
    /// It is not accepted.
    pub fn connect(&self) -> Result<Asap> {
        Asap::connect(self.address)
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.child.log()
    }

    fn wait_until_up(&mut self) -> Result<()> {
        let socket = self.directory.path().join("control.sock");
        let pid = self.child.pid();
        let answered = wait_for("the registrar answers", PATIENCE, || {
            if let Ok(Some(status)) = self.child.ended() {
                return Some(Err(status));
            }
            match client::request(&socket, &Command::Registrar { pool: None }) {
                Ok(Answer::Registrar(status)) if status.pid == pid => Some(Ok(())),
                _ => None,
            }
        })
        .with_context(|| self.child.log())?;
        answered.map_err(|status| anyhow::anyhow!("the registrar ended, {status}: {}", self.child.log()))
    }
}

fn spawn(namespace: Option<&Namespace>, directory: &Path) -> Result<Child> {
    let program = anycast_binary()?;
    let mut command = match namespace {
        Some(namespace) => namespace.command(program),
        None => Process::new(program),
    };
    command.args(["registrar", "run", "--config"]).arg(directory.join("registrar.toml"));
    Child::spawn("registrar", command, &directory.join("registrar.log"))
}

/// An address to listen on: a loopback address of this process's own, and a port of its own. So a registrar that is
/// restarted finds its address free, whatever other tests do.
pub fn own_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let [_, a, b, c] = std::process::id().to_be_bytes();
    // Not 127.0.0.0/16, where others listen.
    let address = Ipv4Addr::new(127, a | 0x80, b, c);
    SocketAddr::new(address.into(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An authority and what it signs, as PEM files.
pub struct Certificates {
    authority: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Certificates {
    /// A new authority.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let own = Self { authority, directory: TempDir::new()? };
        std::fs::write(own.authority_file(), own.authority.pem())?;
        Ok(own)
    }

    /// The authority's certificate.
    pub fn authority_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Certificate and key for these names.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn issue(&self, file: &str, names: &[&str]) -> Result<(PathBuf, PathBuf)> {
        let key = KeyPair::generate()?;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names)?.signed_by(&key, &self.authority)?;
        let paths = self.paths(file);
        std::fs::write(&paths.0, certificate.pem())?;
        std::fs::write(&paths.1, key.serialize_pem())?;
        Ok(paths)
    }

    /// Where certificate and key of that name are.
    pub fn paths(&self, file: &str) -> (PathBuf, PathBuf) {
        let path = |end| self.directory.path().join(format!("{file}.{end}"));
        (path("pem"), path("key"))
    }

    /// The files of a client of this name, that trusts the authority of `trusted`.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn files(&self, name: &str, trusted: &Self) -> Result<tls::Files> {
        let (certificate, key) = self.issue(name, &[name])?;
        Ok(tls::Files { certificate, key, authorities: trusted.authority_file() })
    }

    /// A client of this name, that trusts the authority of `trusted`.
    ///
    /// # Errors
    /// The files cannot be written or read.
    pub fn client(&self, name: &str, trusted: &Self) -> Result<Arc<ClientConfig>> {
        Ok(tls::Client::client(self.files(name, trusted)?)?.current())
    }
}

trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// One end of a connection that speaks ASAP.
pub struct Asap {
    stream: Box<dyn Stream>,
    tcp: TcpStream,
    frames: Frames,
}

impl Asap {
    /// In clear text.
    ///
    /// # Errors
    /// It is not accepted.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let tcp = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        tcp.set_nodelay(true)?;
        Ok(Self { stream: Box::new(tcp.try_clone()?), tcp, frames: Frames::default() })
    }

    /// Over TLS. Whether the registrar takes the certificate is known with the first message.
    ///
    /// # Errors
    /// It is not accepted.
    pub fn connect_tls(address: SocketAddr, config: Arc<ClientConfig>) -> Result<Self> {
        let tcp = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        tcp.set_nodelay(true)?;
        let session = ClientConnection::new(config, tls::server_name("localhost")?)?;
        let stream = Box::new(StreamOwned::new(session, tcp.try_clone()?));
        Ok(Self { stream, tcp, frames: Frames::default() })
    }

    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        &self.tcp
    }

    /// Sends octets, whatever they are.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn send_octets(&mut self, octets: &[u8]) -> Result<()> {
        self.stream.write_all(octets).and_then(|()| self.stream.flush()).context("send")
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn send(&mut self, message: &Message) -> Result<()> {
        self.send_octets(&message.to_octets()?)
    }

    /// The next message; `None` at the end of the connection.
    ///
    /// # Errors
    /// There is none in time, or it cannot be read.
    pub fn receive(&mut self) -> Result<Option<Message>> {
        self.tcp.set_read_timeout(Some(PATIENCE))?;
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(octets) = self.frames.next_message()? {
                let parsed = Message::parse(octets).map_err(|malformed| malformed.error)?;
                return Ok(Some(parsed.message));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(length) => self.frames.push(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A registrar that died leaves a reset.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error).context("receive"),
            }
        }
    }

    /// Sends a message and waits for the next one.
    ///
    /// # Errors
    /// As [`send`](Self::send) and [`receive`](Self::receive), or the connection ends.
    pub fn ask(&mut self, message: &Message) -> Result<Message> {
        self.send(message)?;
        self.receive()?.context("the connection ended instead of an answer")
    }

    /// Registers an element and waits until that is acknowledged.
    ///
    /// # Errors
    /// It is not.
    pub fn register(&mut self, pool: &str, id: u32) -> Result<()> {
        match self.ask(&registration(pool, id))? {
            Message::RegistrationResponse { rejected: false, .. } => Ok(()),
            other => bail!("not registered: {other:?}"),
        }
    }

    /// Resolves a pool, with status and perhaps a subscription.
    ///
    /// # Errors
    /// There is no answer.
    pub fn resolve(&mut self, pool: &str, subscribe: bool) -> Result<ResolutionResponse> {
        match self.ask(&resolution(pool, subscribe))? {
            Message::HandleResolutionResponse(response) => Ok(response),
            other => bail!("no answer to a resolution: {other:?}"),
        }
    }
}

/// A registration of an element with a DNS service.
pub fn registration(pool: &str, id: u32) -> Message {
    let [.., a, b, c] = id.to_be_bytes();
    let element = PoolElement {
        id: ElementId(id),
        home: RegistrarId::UNDETERMINED,
        life: Lifetime::Seconds(3_600),
        user_transport: Transport::Udp(SocketAddr::new([10, a, b, c].into(), 53)),
        policy: PolicyParameter::ROUND_ROBIN,
        asap_transport: None,
    };
    Message::Registration { handle: PoolHandle::from(pool), element, flags: StatusFlags::NONE }
}

/// A resolution that wants the status vector.
pub fn resolution(pool: &str, subscribe: bool) -> Message {
    Message::HandleResolution { handle: PoolHandle::from(pool), subscribe, limit: None, status: true }
}
