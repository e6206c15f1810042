//! Says good-bye for a daemon that was killed: without it routers would send queries into the void for a dead interval.
//!
//! A child process that holds open sockets and finished packets and waits for the end of a pipe. If the pipe ends without a word
//! of dismissal, the daemon is dead, and each router of the links gets a Hello that names no neighbour, upon which it drops the
//! adjacency at once (RFC 2328 10.2). The child knows no keys: what it would send, the daemon has signed.

use std::io::{self, BufRead as _, Write as _};
use std::net::Ipv6Addr;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anycast_ospf::{ALL_SPF_ROUTERS, Config, Guard as Words, Link};
use nix::sys::signal::{SigHandler, Signal, signal};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::socket;

/// The hidden command that the child runs.
pub const COMMAND: &str = "ospf-guard";

/// The Hello is said so many times against loss …
const TIMES: u16 = 3;
/// … this far apart.
const DISTANCE: Duration = Duration::from_millis(20);

/// Packets of a speaker that is followed by another with the same boot count: `ExecStopPost` runs beside the child.
pub const AFTER_STOP: u16 = 1000;

/// Why there is no guard.
#[derive(Debug, thiserror::Error)]
#[error(
    "the guard that says good-bye for a killed daemon cannot be started: {0}; `ospf.guard = false` goes without"
)]
pub struct GuardError(#[source] io::Error);

/// What the child is told: all it will ever need.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    /// These interfaces, from now on.
    Links(Vec<Farewell>),
    /// The daemon ends as it should: say nothing.
    Dismissed,
}

/// What to send on one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Farewell {
    interface: String,
    index: u32,
    source: Ipv6Addr,
    kernel_checksum: bool,
    /// One after the other.
    payloads: Vec<Vec<u8>>,
}

/// What to send on the interfaces that are up; `first` = number of the first packet.
pub fn farewells(config: &Config, links: &[Option<Link>], first: u16) -> Vec<Farewell> {
    let words = Words {
        router_id: config.router_id,
        boot_count: config.boot_count,
        stub_areas: config.stub_areas.clone(),
        advertise: config.advertise,
    };
    let up = config.interfaces.iter().zip(links).filter_map(|(interface, link)| Some((interface, (*link)?)));
    up.map(|(interface, link)| Farewell {
        interface: interface.name.clone(),
        index: link.ifindex,
        source: link.link_local,
        kernel_checksum: interface.kernel_checksum,
        payloads: (first..first + TIMES).map(|number| words.hello(interface, link, number)).collect(),
    })
    .collect()
}

/// The child, from the daemon's side.
pub(super) struct Guard {
    config: Config,
    child: Child,
    pipe: Option<ChildStdin>,
    told: Vec<Option<Link>>,
}

impl Guard {
    /// Starts the child: this very program.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(config: &Config) -> Result<Self, GuardError> {
        let mut child = Command::new("/proc/self/exe")
            .arg(COMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            // A Ctrl-C in the daemon's terminal is not for it.
            .process_group(0)
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .spawn()
            .map_err(GuardError)?;
        let pipe = child.stdin.take();
        Ok(Self { config: config.clone(), child, pipe, told: Vec::new() })
    }

    /// Tells it the links, if they are others than before.
    pub(super) fn links(&mut self, links: &[Option<Link>]) {
        if self.told == links {
            return;
        }
        self.told = links.to_vec();
        if let Err(error) = self.say(&Word::Links(farewells(&self.config, links, 0))) {
            warn!(%error, "the guard is gone: a killed daemon's routes stay for a dead interval");
            self.pipe = None;
        }
    }

    /// The daemon ends as it should.
    pub(super) fn dismiss(mut self) {
        // If it is gone it says nothing either; if it hangs it shall not keep the daemon from ending.
        let _ = self.say(&Word::Dismissed);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The pipe holds 64 KiB, many times what is said in a life: this does not wait.
    fn say(&mut self, word: &Word) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let mut line = serde_json::to_vec(word).map_err(io::Error::other)?;
        line.push(b'\n');
        pipe.write_all(&line)
    }
}

/// What the child does: listens, and when the daemon is dead sends what it was given.
///
/// # Errors
/// The pipe cannot be read.
pub fn stand_by() -> io::Result<()> {
    // The service manager ends the whole group by these. It is the daemon's end that counts.
    for other in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        // SAFETY: no handler of ours is installed.
        unsafe { signal(other, SigHandler::SigIgn) }?;
    }
    let mut ready: Vec<(Farewell, socket2::Socket)> = Vec::new();
    for line in io::stdin().lock().lines() {
        match serde_json::from_str(&line?).map_err(io::Error::other)? {
            Word::Dismissed => return Ok(()),
            Word::Links(farewells) => ready = farewells.into_iter().filter_map(opened).collect(),
        }
    }
    say(&ready);
    Ok(())
}

/// Says good-bye on all of them.
pub fn say_now(farewells: Vec<Farewell>) {
    say(&farewells.into_iter().filter_map(opened).collect::<Vec<_>>());
}

fn opened(farewell: Farewell) -> Option<(Farewell, socket2::Socket)> {
    match socket::open(&farewell.interface, farewell.index, farewell.kernel_checksum) {
        Ok(socket) => Some((farewell, socket)),
        Err((operation, error)) => {
            eprintln!("anycast {COMMAND}: {}: cannot {operation}: {error}", farewell.interface);
            None
        }
    }
}

fn say(ready: &[(Farewell, socket2::Socket)]) {
    for time in 0..usize::from(TIMES) {
        if time > 0 {
            std::thread::sleep(DISTANCE);
        }
        for (farewell, socket) in ready {
            let Some(payload) = farewell.payloads.get(time) else { continue };
            let sent = socket::send(socket, farewell.index, farewell.source, ALL_SPF_ROUTERS, payload);
            if let Err(error) = sent {
                eprintln!("anycast {COMMAND}: {}: cannot send: {error}", farewell.interface);
            }
        }
    }
}
