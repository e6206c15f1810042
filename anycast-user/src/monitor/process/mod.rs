//! The service's main process: does it live?
//!
//! A process is watched through a **pidfd**, which becomes readable when the process has ended, zombie or not: the exit
//! is an event, and a process id that is used anew cannot be mistaken for the old process. A stopped (SIGSTOP) process
//! lives; that it does not answer is what checks are for.
//!
//! Which process it is comes from a pid file or from systemd over D-Bus. Both can lag behind or change at any time, so
//! the id is read, the pidfd opened, and the id read again: only if it still is the same does the pidfd count.

mod pid_file;
mod pidfd;
mod unit;
mod watch;

use std::{fmt, io, path::PathBuf};

use anycast_core::time::Time;
use thiserror::Error;
use tokio::sync::mpsc;

use super::TaskGuard;

/// The caller's name for a watched process; a [`Report`] carries it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub u32);

/// How the process is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The process whose id the service writes into this file.
    PidFile(PathBuf),
    /// The main process of a systemd unit (`nsd.service`).
    Unit {
        /// The unit's whole name.
        name: String,
        /// Where systemd is found.
        bus: Bus,
    },
}

/// The message bus that systemd is asked on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Bus {
    /// The system bus (`DBUS_SYSTEM_BUS_ADDRESS`, or its well-known socket).
    #[default]
    System,
    /// The bus at a D-Bus address (`unix:path=/run/dbus/system_bus_socket`).
    Address(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PidFile(path) => write!(f, "pid file {}", path.display()),
            Self::Unit { name, .. } => write!(f, "unit {name}"),
        }
    }
}

/// A change in what is known of a process. The first report is sent at once, and tells how things stand.
#[derive(Debug)]
pub struct Report {
    /// Which process.
    pub id: ProcessId,
    /// How it stands with it now.
    pub state: State,
    /// When that was seen.
    pub at: Time,
}

/// How it stands with a process.
#[derive(Debug)]
pub enum State {
    /// It lives. A second one in a row means that another process has taken its place without a gap.
    Running {
        /// Its id.
        pid: i32,
    },
    /// It has ended; what follows is `Running` with another process, or `Absent`.
    Exited {
        /// The id it had.
        pid: i32,
    },
    /// There is none: none was started, or it cannot be found. Sent again when the reason changes.
    Absent {
        /// Why it cannot be found.
        why: ProcessError,
    },
}

/// Why there is no process to watch.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// There is no pid file, or it cannot be read.
    #[error("read pid file {}: {source}", path.display())]
    PidFile {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The pid file holds no process id.
    #[error("pid file {} holds no process id but `{content}`", path.display())]
    NotAPid {
        /// The file.
        path: PathBuf,
        /// Its beginning.
        content: String,
    },
    /// The process that the pid file or systemd names does not exist, or is dead already.
    #[error("{target} names process {pid}, which does not live")]
    Dead {
        /// Pid file or unit.
        target: String,
        /// The id it names.
        pid: i32,
    },
    /// systemd says that the unit has no main process.
    #[error("unit {name} has no main process: it is not started")]
    NotStarted {
        /// The unit.
        name: String,
    },
    /// systemd cannot be asked.
    #[error("ask systemd for the main process of {name}: {source}")]
    Bus {
        /// The unit.
        name: String,
        /// What D-Bus said.
        source: zbus::Error,
    },
    /// A system call failed.
    #[error("{operation}: {source}")]
    Io {
        /// What was attempted.
        operation: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Starts watching a process. Its changes are sent to `reports`.
pub fn spawn(id: ProcessId, target: Target, reports: mpsc::Sender<Report>) -> TaskGuard {
    TaskGuard::spawn(async move {
        match target {
            Target::PidFile(path) => watch::run(id, pid_file::PidFile::new(path), reports).await,
            Target::Unit { name, bus } => watch::run(id, unit::Unit::new(name, bus), reports).await,
        }
    })
}

#[cfg(test)]
mod tests;
