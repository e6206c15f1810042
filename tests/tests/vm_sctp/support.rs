//! What the tests share: processes of ours, a client that speaks SCTP and says what it likes, waiting.

use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anycast_pool::wire::{Message, State, StatusFlags};
use anycast_tests::guest::GUEST_ADDRESS;
use anycast_tests::lab::wait::{becomes, run_within};
use anycast_tests::lab::{Child, Registrar, anycast_binary, lab_binary};
use anycast_user::pool::{PoolUser, PoolUserOptions, RegistrarAddress, RegistrarProtocol};
use socket2::{Domain, Protocol, Socket, Type};
use tempfile::TempDir;

/// How long anything may take: the guest's processors may be simulated.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Keep-alives that come often, so that a test sees several of them.
pub const OFTEN: &str = "[keep_alive]\ninterval = \"2s\"\ntimeout = \"2s\"\n";

/// Runs an asynchronous test, bounded.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    run_within(PATIENCE * 3, test).unwrap()
}

/// Waits until `condition` holds, looking often.
pub async fn until(what: &str, condition: impl FnMut() -> bool) {
    becomes(what, PATIENCE, condition).await.unwrap();
}

/// A registrar of ours that listens on TCP and SCTP.
pub fn registrar(more: &str) -> Registrar {
    Registrar::start_sctp(GUEST_ADDRESS, more).unwrap()
}

/// An address of the guest.
pub fn local(port: u16) -> SocketAddr {
    (GUEST_ADDRESS, port).into()
}

/// The same by SCTP.
pub fn by_sctp(address: SocketAddr) -> RegistrarAddress {
    RegistrarAddress::from(address).by(RegistrarProtocol::Sctp)
}

/// A user that reaches its registrars by SCTP.
pub fn user(registrar: SocketAddr) -> PoolUser {
    PoolUser::connect(PoolUserOptions { patience: PATIENCE, ..PoolUserOptions::new([by_sctp(registrar)]) })
}

/// What a user knows of an element.
pub fn seen(user: &PoolUser, pool: &str, id: u32) -> Option<(State, StatusFlags)> {
    let elements = user.snapshot(&pool.into())?.elements;
    elements.into_iter().find(|element| element.id.0 == id).map(|element| (element.state, element.flags))
}

/// Is it up and still there?
pub fn is_up(user: &PoolUser, pool: &str, id: u32) -> bool {
    seen(user, pool, id)
        .is_some_and(|(state, flags)| state == State::Up && !flags.contains(StatusFlags::TOMBSTONE))
}

/// Is it down, but not gone?
pub fn is_down(user: &PoolUser, pool: &str, id: u32) -> bool {
    seen(user, pool, id)
        .is_some_and(|(state, flags)| state == State::Down && !flags.contains(StatusFlags::TOMBSTONE))
}

/// Is it gone?
pub fn is_gone(user: &PoolUser, pool: &str, id: u32) -> bool {
    seen(user, pool, id).is_none_or(|(_, flags)| flags.contains(StatusFlags::TOMBSTONE))
}

/// How many acknowledgements of keep-alives a registrar has heard.
pub fn acknowledged(registrar: &Registrar) -> u64 {
    let received = registrar.status(None).unwrap().counters.received;
    received["endpoint_keep_alive_ack"]
}

/// An element of ours: the product's element side in a process of its own, with an echo service.
pub struct Member {
    pub process: Child,
    _directory: TempDir,
}

impl Member {
    pub fn start(registrar: SocketAddr, pool: &str, id: u32, service: SocketAddr) -> Self {
        let directory = TempDir::new().unwrap();
        let mut command = Command::new(lab_binary().unwrap());
        command.args(["pool-member", "--pool", pool]);
        command.args(["--registrar", &by_sctp(registrar).to_string(), "--id", &id.to_string()]);
        command.args(["--service", &service.to_string()]);
        let process = Child::spawn("pool-member", command, &directory.path().join("log")).unwrap();
        Self { process, _directory: directory }
    }
}

/// Runs `anycast` with these arguments; the result is its exit and what it printed.
pub fn anycast(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(anycast_binary().unwrap()).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// The elements that `anycast registrar status` shows of a pool, as JSON.
pub fn status_json(directory: &Path, pool: &str) -> Vec<serde_json::Value> {
    let config = directory.join("registrar.toml");
    let config = config.to_str().unwrap();
    let (good, text) = anycast(&["registrar", "status", "--config", config, "--pool", pool, "--json"]);
    assert!(good, "{text}");
    let status: serde_json::Value = serde_json::from_str(&text).unwrap();
    status["elements"].as_array().unwrap().clone()
}

/// An association that sends what it is told, message by message.
pub struct Raw(Socket);

impl Raw {
    pub fn connect(to: SocketAddr) -> Self {
        let protocol = Some(Protocol::from(libc::IPPROTO_SCTP));
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, protocol).unwrap();
        socket.connect(&to.into()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    pub fn send_octets(&mut self, octets: &[u8]) {
        assert_eq!(self.0.write(octets).unwrap(), octets.len());
    }

    pub fn send(&mut self, message: &Message) {
        self.send_octets(&message.to_octets().unwrap());
    }

    /// The next message; `None` at the end of the association.
    pub fn receive(&mut self) -> Option<Message> {
        let mut buffer = [0; 0x1_0000];
        match self.0.read(&mut buffer) {
            Ok(0) => None,
            Ok(length) => Some(Message::parse(&buffer[..length]).unwrap().message),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("receive: {error}"),
        }
    }

    pub fn ask(&mut self, message: &Message) -> Message {
        self.send(message);
        self.receive().expect("the association ended instead of an answer")
    }
}
