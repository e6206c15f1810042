//! Processes of the lab: killed when dropped, with a log that a failing test prints.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::wait::wait_for;

/// Lines of a log that a failing test prints.
const LOG_TAIL: usize = 40;

/// A running process with its output in a file.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: std::process::Child,
    log: PathBuf,
}

impl Child {
    /// Starts `command` with standard output and error in the file `log`, which is appended to.
    ///
    /// # Errors
    /// The program is not there, or the log cannot be written.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("open {}", log.display()))?;
        command.stdout(file.try_clone()?).stderr(file);
        let process =
            command.spawn().with_context(|| format!("start {name}: {}", command.get_program().display()))?;
        Ok(Self { name: name.to_owned(), process, log: log.to_owned() })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It has been waited for already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid() as i32), signal)
            .with_context(|| format!("send {signal} to {}", self.name))
    }

    /// Sends a signal to its process group: to it and to those of its children that made no group of their own.
    ///
    /// # Errors
    /// All of them have ended.
    pub fn signal_group(&self, signal: Signal) -> Result<()> {
        killpg(Pid::from_raw(self.pid() as i32), signal)
            .with_context(|| format!("send {signal} to the processes of {}", self.name))
    }

    /// Kills it with SIGKILL and waits for its end.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        // Of one that has ended already this is no error.
        self.process.kill()?;
        self.process.wait().with_context(|| format!("wait for {}", self.name))?;
        Ok(())
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.process.try_wait()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It still runs after `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let name = self.name.clone();
        wait_for(&format!("the end of {name}"), timeout, || self.process.try_wait().transpose())?
            .with_context(|| format!("wait for {name}"))
    }

    /// Asks it to end with SIGTERM and waits.
    ///
    /// # Errors
    /// It still runs after `timeout`.
    pub fn terminate(&mut self, timeout: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(timeout)
    }

    /// What it printed.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_TAIL)..];
            eprintln!(
                "--- log of {}, last {} of {} lines:\n{}",
                self.name,
                tail.len(),
                lines.len(),
                tail.join("\n")
            );
        }
    }
}

/// The daemon's binary: `ANYCAST_BIN`, or beside this executable.
///
/// # Errors
/// It is not there.
pub fn anycast_binary() -> Result<PathBuf> {
    beside("anycast", "ANYCAST_BIN")
}

/// The lab's own binary: `ANYCAST_LAB_BIN`, or beside this executable, or this executable.
///
/// # Errors
/// It is not there.
pub fn lab_binary() -> Result<PathBuf> {
    beside("anycast-lab", "ANYCAST_LAB_BIN")
}

fn beside(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let own = std::env::current_exe().context("find this executable")?;
    let directory = own.parent().context("this executable has no directory")?;
    // Cargo puts test executables one directory deeper.
    for directory in [Some(directory), directory.parent()].into_iter().flatten() {
        let path = directory.join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!("no {name} in {} or above: run `cargo xtask build`, or set {variable}", directory.display())
}
