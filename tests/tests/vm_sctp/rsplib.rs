//! RSPLIB's programs, as processes. They are Debian's, and are only started: nothing of them is part of this project.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anycast_tests::lab::Child;
use anycast_tests::lab::registrar::PATIENCE;
use anycast_tests::lab::wait_until;
use tempfile::TempDir;

/// The pool that its programs use unless they are told otherwise.
pub const POOL: &str = "EchoPool";

/// Its address for the protocol between registrars.
const ENRP: &str = "10.53.0.1:9901";

/// A program of RSPLIB.
pub struct Rsplib {
    pub process: Child,
    _directory: TempDir,
}

impl Rsplib {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let mut command = Command::new(program);
        command.args(arguments).args(["-logcolor=off", "-loglevel=5"]).stdin(Stdio::null());
        let process = Child::spawn(program, command, &directory.path().join("log")).unwrap();
        Self { process, _directory: directory }
    }

    /// An element with an echo service over SCTP.
    pub fn element(registrar: SocketAddr, id: u32, service: SocketAddr) -> Self {
        Self::start(
            "rspserver",
            &[
                "-echo",
                &format!("-registrar={registrar}"),
                &format!("-identifier=0x{id:08x}"),
                &format!("-poolhandle={POOL}"),
                &format!("-local={service}"),
                "-asapannounce=off",
            ],
        )
    }

    /// A registrar that takes addresses of this host alone, asks its elements often, and is alone.
    pub fn registrar(at: SocketAddr) -> Self {
        let own = Self::start(
            "rspregistrar",
            &[
                &format!("-asap={at}"),
                &format!("-enrp={ENRP}"),
                "-asapannounce=off",
                "-enrpannounce=off",
                "-minaddressscope=loopback",
                "-endpointkeepalivetransmissioninterval=1000",
                "-endpointkeepalivetimeoutinterval=1000",
                "-mentordiscoverytimeout=500",
            ],
        );
        wait_until("RSPLIB's registrar accepts associations", PATIENCE, || {
            let protocol = Some(socket2::Protocol::from(libc::IPPROTO_SCTP));
            let socket =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, protocol).unwrap();
            socket.connect(&at.into()).is_ok()
        })
        .unwrap();
        own
    }

    /// What it printed.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// What RSPLIB's user gets back from an element of the pool to which it says `line`.
pub fn echoed(registrar: SocketAddr, line: &str) -> bool {
    let directory = TempDir::new().unwrap();
    let mut command = Command::new("rspterminal");
    command.args([&format!("-registrar={registrar}"), &format!("-poolhandle={POOL}")]);
    command.args(["-asapannounce=off", "-logcolor=off", "-loglevel=5"]).stdin(Stdio::piped());
    let log = directory.path().join("log");
    let file = std::fs::File::create(&log).unwrap();
    let mut process = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
    let mut input = process.stdin.take().unwrap();
    // The program may have ended.
    let _ = writeln!(input, "{line}");
    let printed = || String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
    let came = wait_until("RSPLIB's user prints the echo", PATIENCE, || printed().contains(line));
    process.kill().unwrap();
    process.wait().unwrap();
    if came.is_err() {
        println!("--- rspterminal:\n{}", printed());
    }
    came.is_ok()
}

/// The handlespace of RSPLIB's registrar, as RSPLIB shows it.
pub fn dump() -> String {
    let output = Command::new("hsdump").args([ENRP, "-logcolor=off"]).stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}
