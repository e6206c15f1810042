//! The state directory: what must survive the daemon.
//!
//! One small JSON file, `state.json`, replaced as a whole (written beside, synced, renamed, directory synced), so that a
//! crash or a full disk leaves the old one. A lock on the directory keeps a second daemon out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Version of the file's format. A file of another version is refused, never guessed at.
pub const STATE_VERSION: u32 = 1;

const STATE_FILE: &str = "state.json";
const TEMPORARY_FILE: &str = "state.json.new";
const LOCK_FILE: &str = "lock";

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// An operation on the directory or a file in it failed.
    #[error("state_dir: cannot {operation} {}: {source}{}", path.display(), hint(source))]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another process holds the directory's lock.
    #[error(
        "state_dir: {} is in use by another anycast process{}; stop it, or give each daemon a state_dir of its own",
        path.display(),
        pid.map_or(String::new(), |pid| format!(" (pid {pid})"))
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The other process, if it left its id.
        pid: Option<u32>,
    },
    /// The file is not what this program wrote.
    #[error(
        "state_dir: {} is damaged ({source}); it tells which addresses and sysctls are to be undone and which services are \
         drained: mend it, or look at `ip address show dev lo` and /proc/sys/net/ipv4/conf and move the file away to start \
         without it",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// The file is of another version of this program.
    #[error(
        "state_dir: {} has format version {found}, this program knows {STATE_VERSION}; run the version that wrote it and \
         `anycast stop`, or move the file away to start without it",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
}

/// What to do about an I/O error, for the operator.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => "; free some space there, a few kilobytes suffice",
        Some(libc::EROFS) => "; set state_dir to a writable file system",
        Some(libc::EACCES | libc::EPERM) => "; the daemon's user must own the directory",
        Some(libc::ENOTDIR) => "; state_dir must be a directory",
        _ => "",
    }
}

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// [`STATE_VERSION`].
    pub version: u32,
    /// The host's life in which `addresses` and `sysctls` were recorded. In another one (after a reboot, in another network
    /// namespace) the kernel has forgotten both, and so does [`StateDir::open`].
    pub host: HostInstance,
    /// By service name.
    pub services: BTreeMap<String, ServiceState>,
    /// Service addresses that were put on `lo` by the daemon, or were about to be.
    pub addresses: BTreeSet<IpAddr>,
    /// Sysctls that the daemon changed, or was about to, by their path below /proc/sys/net.
    pub sysctls: BTreeMap<String, SysctlRecord>,
    /// How often the daemon was started, or more: each start has a number greater than all before.
    #[serde(default)]
    pub incarnation: u64,
    /// Identifiers in their pools, by service name: after a restart a service replaces itself there instead of joining as another.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub elements: BTreeMap<String, u32>,
}

impl State {
    /// What is remembered of a service; nothing of a new one.
    pub fn service(&self, name: &str) -> ServiceState {
        self.services.get(name).cloned().unwrap_or_default()
    }

    /// Remembers an epoch unless a higher one is remembered: writers on several threads may come in any order.
    pub fn raise_epoch(&mut self, name: &str, epoch: u64) {
        let service = self.services.entry(name.to_owned()).or_default();
        service.epoch = service.epoch.max(epoch);
    }

    /// Remembers whether the operator drained a service.
    pub fn set_drained(&mut self, name: &str, drained: bool) {
        self.services.entry(name.to_owned()).or_default().drained = drained;
    }
}

/// What is remembered of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceState {
    /// The highest epoch that this server took or heard.
    pub epoch: u64,
    /// The operator drained the service.
    pub drained: bool,
}

/// One changed sysctl.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SysctlRecord {
    /// Its value before.
    pub before: String,
    /// The value that the daemon set. Where another one is found, somebody changed it since, and it is left alone.
    pub set: String,
}

/// One life of one network namespace: addresses and sysctls live as long as this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostInstance {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    /// The network namespace's cookie (`SO_NETNS_COOKIE`, Linux 5.14), never used twice in one boot.
    pub netns: u64,
}

impl HostInstance {
    /// The one that the calling thread is in.
    ///
    /// # Errors
    /// The kernel's, with the operation that failed.
    pub fn current() -> Result<Self, StateError> {
        let path = Path::new("/proc/sys/kernel/random/boot_id");
        let boot = fs::read_to_string(path).map_err(failed("read", path))?.trim().to_owned();
        let netns =
            netns_cookie().map_err(failed("ask for the cookie of", Path::new("/proc/thread-self/ns/net")))?;
        Ok(Self { boot, netns })
    }
}

fn netns_cookie() -> io::Result<u64> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::DGRAM, None)?;
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the option's value is 8 octets; `cookie` has them, `length` says so, and both outlive the call.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if status == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// The state directory, locked for this process, and its state.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    state: State,
    /// Held for its lock.
    lock: File,
}

impl StateDir {
    /// Makes the directory if need be, locks it and reads the state; there is none at first. What was recorded in another
    /// life of the host is forgotten: see [`State::host`].
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn open(path: &Path) -> Result<Self, StateError> {
        Self::open_in(path, HostInstance::current()?)
    }

    fn open_in(path: &Path, host: HostInstance) -> Result<Self, StateError> {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(path).map_err(failed("make", path))?;
        let lock = lock(path)?;
        let mut state = match read(&path.join(STATE_FILE))? {
            Some(state) => state,
            None => State {
                version: STATE_VERSION,
                host: host.clone(),
                services: BTreeMap::new(),
                addresses: BTreeSet::new(),
                sysctls: BTreeMap::new(),
                incarnation: 0,
                elements: BTreeMap::new(),
            },
        };
        if state.host != host {
            state.host = host;
            state.addresses.clear();
            state.sysctls.clear();
        }
        Ok(Self { path: path.to_owned(), state, lock })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The state as it stands on disk.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Changes the state, on disk and then here. It returns when the disk has it, which may take a while: the decision loop,
    /// whose lease runs on meanwhile, leaves it to a blocking task. Writes nothing if nothing changed.
    ///
    /// # Errors
    /// [`StateError::Io`]: nothing changed, neither on disk nor here.
    pub fn update(&mut self, change: impl FnOnce(&mut State)) -> Result<(), StateError> {
        let mut state = self.state.clone();
        change(&mut state);
        if state != self.state {
            self.write(&state)?;
            self.state = state;
        }
        Ok(())
    }

    /// Writes the state as it is: whether the directory can be written is better known before anything is changed.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn probe(&self) -> Result<(), StateError> {
        self.write(&self.state)
    }

    /// The number of this start, greater than that of each start before. On disk before it is used.
    ///
    /// It is at least the seconds since 1970 that the clock shows, so that a host whose state was lost is not held to be an
    /// earlier start of itself. A clock that is set back does no harm: the last number is remembered.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn next_incarnation(&mut self) -> Result<u64, StateError> {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.next_incarnation_at(clock)
    }

    fn next_incarnation_at(&mut self, clock: u64) -> Result<u64, StateError> {
        self.update(|state| state.incarnation = state.incarnation.saturating_add(1).max(clock))?;
        Ok(self.state.incarnation)
    }

    fn write(&self, state: &State) -> Result<(), StateError> {
        let temporary = self.path.join(TEMPORARY_FILE);
        let result = self.replace(&temporary, state);
        if result.is_err() {
            // It takes room on a disk that may be full. Failing to remove it changes nothing: the next write truncates it.
            let _ = fs::remove_file(&temporary);
        }
        result
    }

    fn replace(&self, temporary: &Path, state: &State) -> Result<(), StateError> {
        let mut text = serde_json::to_string_pretty(state)
            .map_err(|source| failed("encode", temporary)(io::Error::from(source)))?;
        text.push('\n');
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o640)
            .open(temporary)
            .map_err(failed("create", temporary))?;
        file.write_all(text.as_bytes()).map_err(failed("write", temporary))?;
        file.sync_all().map_err(failed("sync", temporary))?;
        let path = self.path.join(STATE_FILE);
        fs::rename(temporary, &path).map_err(failed("replace", &path))?;
        // The rename itself is on disk only when the directory is.
        File::open(&self.path).and_then(|directory| directory.sync_all()).map_err(failed("sync", &self.path))
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        // Closing would not do: a child that this process has forked and that has not yet come to its exec shares the lock. If it
        // fails, the lock ends with the last of them.
        let _ = self.lock.unlock();
    }
}

pub(crate) fn failed(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io { operation, path: path.clone(), source }
}

/// Locks the directory with flock(2) on a file in it, which ends with the process; the file holds the process id for whoever
/// finds it locked.
pub(crate) fn lock(directory: &Path) -> Result<File, StateError> {
    let path = directory.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        .open(&path)
        .map_err(failed("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(StateError::Locked { path: directory.to_owned(), pid });
        }
        Err(TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
    }
    // Only information: on a full disk the lock is as good without it.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// Reads the state; `None` if there is no file.
fn read(path: &Path) -> Result<Option<State>, StateError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("read", path)(source)),
    };
    let corrupt = |source| StateError::Corrupt { path: path.to_owned(), source };
    // The version first, alone: a file of another version is no damaged file.
    #[derive(Deserialize)]
    struct Version {
        version: u64,
    }
    let Version { version: found } = serde_json::from_str(&text).map_err(corrupt)?;
    if found != u64::from(STATE_VERSION) {
        return Err(StateError::Version { path: path.to_owned(), found });
    }
    serde_json::from_str(&text).map_err(corrupt).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(netns: u64) -> HostInstance {
        HostInstance { boot: "b00".to_owned(), netns }
    }

    fn drain(state: &mut State) {
        state.set_drained("dns", true);
    }

    fn text(directory: &Path) -> String {
        fs::read_to_string(directory.join(STATE_FILE)).unwrap()
    }

    #[test]
    fn state_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        // The directory is made, parents and all.
        let path = directory.path().join("lib/anycast");
        let mut first = StateDir::open_in(&path, host(1)).unwrap();
        first
            .update(|state| {
                drain(state);
                state.raise_epoch("dns", u64::MAX);
                state.raise_epoch("dns", 3);
                state.addresses.insert("2001:db8::53".parse().unwrap());
                state.sysctls.insert("x".to_owned(), SysctlRecord { before: "0".into(), set: "2".into() });
            })
            .unwrap();
        let written = first.state().clone();
        drop(first);
        let second = StateDir::open_in(&path, host(1)).unwrap();
        assert_eq!(*second.state(), written);
        assert_eq!(second.state().service("dns"), ServiceState { epoch: u64::MAX, drained: true });
        assert_eq!(second.state().service("web"), ServiceState::default());
        assert!(!path.join(TEMPORARY_FILE).exists());
    }

    #[test]
    fn another_life_of_the_host_keeps_the_services_only() {
        let directory = tempfile::tempdir().unwrap();
        let mut first = StateDir::open_in(directory.path(), host(1)).unwrap();
        first
            .update(|state| {
                drain(state);
                state.addresses.insert("192.0.2.53".parse().unwrap());
                state.sysctls.insert("x".to_owned(), SysctlRecord { before: "0".into(), set: "2".into() });
            })
            .unwrap();
        drop(first);
        let second = StateDir::open_in(directory.path(), host(2)).unwrap();
        assert_eq!(second.state().host, host(2));
        assert!(second.state().service("dns").drained);
        assert!(second.state().addresses.is_empty());
        assert!(second.state().sysctls.is_empty());
    }

    #[test]
    fn each_start_has_a_greater_number_whatever_the_clock_says() {
        let directory = tempfile::tempdir().unwrap();
        let mut last = 0;
        for clock in [1_000, 1_000, 5_000, 0, 4_999] {
            let mut state = StateDir::open_in(directory.path(), host(1)).unwrap();
            let number = state.next_incarnation_at(clock).unwrap();
            assert!(number > last && number >= clock, "{number} after {last} at {clock}");
            last = number;
        }
        assert_eq!(last, 5_002);
        // A lost state: the clock keeps the numbers growing.
        fs::remove_file(directory.path().join(STATE_FILE)).unwrap();
        let mut state = StateDir::open_in(directory.path(), host(1)).unwrap();
        assert_eq!(state.next_incarnation_at(9_000).unwrap(), 9_000);
    }

    #[test]
    fn a_state_without_a_number_is_read() {
        let directory = tempfile::tempdir().unwrap();
        StateDir::open_in(directory.path(), host(1)).unwrap().probe().unwrap();
        let old = text(directory.path()).replace(",\n  \"incarnation\": 0", "");
        assert!(!old.contains("incarnation"));
        fs::write(directory.path().join(STATE_FILE), old).unwrap();
        assert_eq!(StateDir::open_in(directory.path(), host(1)).unwrap().state().incarnation, 0);
    }

    #[test]
    fn host_instance_is_the_same_twice() {
        let host = HostInstance::current().unwrap();
        assert_eq!(host, HostInstance::current().unwrap());
        assert_eq!(host.boot.len(), 36);
    }

    #[test]
    fn a_second_daemon_is_kept_out_and_told_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let first = StateDir::open_in(directory.path(), host(1)).unwrap();
        let error = StateDir::open_in(directory.path(), host(1)).unwrap_err();
        assert!(
            matches!(error, StateError::Locked { pid: Some(pid), .. } if pid == std::process::id()),
            "{error}"
        );
        assert!(error.to_string().contains(&format!("(pid {})", std::process::id())), "{error}");
        drop(first);
        StateDir::open_in(directory.path(), host(1)).unwrap();
    }

    #[test]
    fn a_damaged_file_is_an_error_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        StateDir::open_in(directory.path(), host(1)).unwrap().probe().unwrap();
        let good = text(directory.path());
        let cases = [
            String::new(),
            "{".to_owned(),
            good[..good.len() / 2].to_owned(),
            good.replacen("\"services\"", "\"servants\"", 1),
            good.replacen("\"addresses\": []", "\"addresses\": [\"2001:db8::x\"]", 1),
        ];
        for damaged in cases {
            assert_ne!(damaged, good);
            fs::write(directory.path().join(STATE_FILE), &damaged).unwrap();
            let error = StateDir::open_in(directory.path(), host(1)).unwrap_err();
            assert!(matches!(error, StateError::Corrupt { .. }), "{damaged:?}: {error}");
            let path = directory.path().join(STATE_FILE);
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
            assert_eq!(text(directory.path()), damaged);
        }
        // The control: the undamaged file is read.
        fs::write(directory.path().join(STATE_FILE), &good).unwrap();
        StateDir::open_in(directory.path(), host(1)).unwrap();
    }

    #[test]
    fn a_file_of_another_version_is_refused_whatever_else_it_holds() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(STATE_FILE), r#"{"version": 2, "news": 1}"#).unwrap();
        let error = StateDir::open_in(directory.path(), host(1)).unwrap_err();
        assert!(matches!(error, StateError::Version { found: 2, .. }), "{error}");
    }

    #[test]
    fn a_file_where_the_directory_should_be_is_an_error_that_says_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = StateDir::open_in(&file.path().join("state"), host(1)).unwrap_err();
        assert!(error.to_string().contains("must be a directory"), "{error}");
    }

    #[test]
    fn a_failed_write_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut dir = StateDir::open_in(directory.path(), host(1)).unwrap();
        dir.update(drain).unwrap();
        let before = (dir.state().clone(), text(directory.path()));
        // A directory in the temporary file's place cannot be written to, not even by root.
        fs::create_dir(directory.path().join(TEMPORARY_FILE)).unwrap();
        let error = dir.update(|state| state.services.clear()).unwrap_err();
        assert!(matches!(error, StateError::Io { operation: "create", .. }), "{error}");
        assert_eq!((dir.state().clone(), text(directory.path())), before);
        fs::remove_dir(directory.path().join(TEMPORARY_FILE)).unwrap();
        dir.update(|state| state.services.clear()).unwrap();
        assert!(dir.state().services.is_empty());
    }

    #[test]
    fn no_change_is_no_write() {
        let directory = tempfile::tempdir().unwrap();
        let mut dir = StateDir::open_in(directory.path(), host(1)).unwrap();
        dir.update(|_| {}).unwrap();
        assert!(!directory.path().join(STATE_FILE).exists());
        dir.update(drain).unwrap();
        assert!(directory.path().join(STATE_FILE).exists());
    }
}
