//! Does the last thing for a daemon that was killed: without it routers would send queries into the void for a dead interval, and
//! for ever where another daemon advertises what it was told.
//!
//! A child process that waits for the end of a pipe. If the pipe ends without a word of dismissal, the daemon is dead, and the child
//! does what it was told last. It needs no configuration and no keys: what it is to send or to withdraw stands in that word.

use std::io::{self, BufRead as _, Write as _};
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{SigHandler, Signal, signal};
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use super::native::farewell::{self, Farewell};
use crate::config::ospf::Driver;

/// The hidden command that the child runs.
pub const COMMAND: &str = "ospf-guard";

/// How long the child may take to withdraw routes. The next daemon must not find one that still does.
const WITHDRAW: Duration = Duration::from_secs(2);

/// Why there is no guard.
#[derive(Debug, thiserror::Error)]
#[error(
    "the guard that says good-bye for a killed daemon cannot be started: {0}; `ospf.guard = false` goes without"
)]
pub struct GuardError(#[source] io::Error);

/// What the child is told: all it will ever need.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    /// Send these.
    Farewells(Vec<Farewell>),
    /// Have another daemon withdraw the routes of these services.
    Withdraw {
        /// How it is driven.
        driver: Driver,
        /// The service addresses, and the interface of each where the driver needs one.
        services: Vec<(IpAddr, Option<String>)>,
    },
    /// Nothing: the daemon ends as it should.
    Dismissed,
}

/// The child, from the daemon's side.
pub(super) struct Guard {
    child: Child,
    pipe: ChildStdin,
    told: Option<Word>,
}

impl Guard {
    /// Starts the child: this very program.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start() -> Result<Self, GuardError> {
        let (child, pipe) = spawn().map_err(GuardError)?;
        Ok(Self { child, pipe, told: None })
    }

    /// Tells it what to do, in place of what it was told before.
    pub(super) fn tell(&mut self, word: Word) {
        let told = say(&mut self.pipe, &word);
        self.told = Some(word);
        if let Err(error) = told {
            warn!(%error, "the guard does not listen");
            self.restart();
        }
    }

    /// Starts another if it is gone. Call it now and then.
    pub(super) fn keep(&mut self) {
        match self.child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => {
                warn!(%status, "the guard has ended; starting another");
                self.restart();
            }
            Err(error) => warn!(%error, "cannot look after the guard"),
        }
    }

    fn restart(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let again = spawn().and_then(|(child, mut pipe)| {
            if let Some(word) = &self.told {
                say(&mut pipe, word)?;
            }
            Ok((child, pipe))
        });
        match again {
            Ok((child, pipe)) => (self.child, self.pipe) = (child, pipe),
            Err(error) => error!(%error, "there is no guard: a killed daemon's routes would stay"),
        }
    }

    /// The daemon ends as it should.
    pub(super) fn dismiss(mut self) {
        // If it is gone it does nothing either; if it hangs it shall not keep the daemon from ending.
        let _ = say(&mut self.pipe, &Word::Dismissed);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn() -> io::Result<(Child, ChildStdin)> {
    let mut child = Command::new("/proc/self/exe")
        .arg(COMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        // A Ctrl-C in the daemon's terminal is not for it.
        .process_group(0)
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .spawn()?;
    let pipe = child.stdin.take().ok_or_else(|| io::Error::other("no pipe"))?;
    Ok((child, pipe))
}

/// The pipe holds 64 KiB, many times what is said in a life: this does not wait.
fn say(pipe: &mut ChildStdin, word: &Word) -> io::Result<()> {
    let mut line = serde_json::to_vec(word).map_err(io::Error::other)?;
    line.push(b'\n');
    pipe.write_all(&line)
}

/// What the child is ready to do.
enum Ready {
    Nothing,
    Say(Vec<farewell::Open>),
    Withdraw(Driver, Vec<(IpAddr, Option<String>)>),
}

/// What the child does: listens, and when the daemon is dead does what it was told last.
///
/// # Errors
/// The pipe cannot be read, or what it is told to withdraw stays.
pub fn stand_by() -> io::Result<()> {
    // The service manager ends the whole group by these. It is the daemon's end that counts.
    for other in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        // SAFETY: no handler of ours is installed.
        unsafe { signal(other, SigHandler::SigIgn) }?;
    }
    let mut ready = Ready::Nothing;
    for line in io::stdin().lock().lines() {
        ready = match serde_json::from_str(&line?).map_err(io::Error::other)? {
            Word::Dismissed => return Ok(()),
            Word::Farewells(farewells) => Ready::Say(farewell::open(farewells)),
            Word::Withdraw { driver, services } => Ready::Withdraw(driver, services),
        }
    }
    match ready {
        Ready::Nothing => Ok(()),
        Ready::Say(farewells) => {
            farewell::say(&farewells);
            Ok(())
        }
        Ready::Withdraw(driver, services) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let withdrawn = runtime.block_on(async {
                tokio::time::timeout(WITHDRAW, super::withdraw(&driver, &services)).await
            });
            match withdrawn {
                Ok(result) => result.map_err(io::Error::other),
                Err(_) => Err(io::Error::other(format!("routes are not withdrawn within {WITHDRAW:?}"))),
            }
        }
    }
}
