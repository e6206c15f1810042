//! What of a registrar is on disk: its identifier, and the handlespace as a log.
//!
//! ```text
//! STATE_DIR/lock                 keeps a second registrar out
//! STATE_DIR/registrar-id         eight hexadecimal digits, made at the first start
//! STATE_DIR/handlespace          the log, see anycast_pool::journal
//! STATE_DIR/handlespace.new      a snapshot that is being written; without meaning after a restart
//! STATE_DIR/handlespace.damaged  a log that could not be read to its end, kept to be looked at
//! ```
//!
//! A record is written by write(2) before the message that acknowledges it: SIGKILL loses nothing at any moment. When the disk
//! has it is up to [`Sync`]. A snapshot is written beside by another thread; meanwhile the log goes on, and what was appended to
//! it in the meantime is appended to the snapshot before that takes the log's place by rename(2).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anycast_pool::RegistrarId;
use anycast_pool::journal::{self, JournalError, Record, Tail};
use tracing::warn;

use crate::config::registrar::Sync;
use crate::host::state::{StateError, failed, lock};

const ID_FILE: &str = "registrar-id";
const LOG_FILE: &str = "handlespace";
const NEW_FILE: &str = "handlespace.new";
const DAMAGED_FILE: &str = "handlespace.damaged";

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A file or the directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The log is none.
    #[error("state_dir: {}: {source}", path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: JournalError,
    },
    /// The identifier is none.
    #[error(
        "state_dir: {} does not hold eight hexadecimal digits other than 00000000: remove it, and the registrar takes a new \
         identifier",
        path.display()
    )]
    Id {
        /// The file.
        path: PathBuf,
    },
}

/// What was there at the start.
#[derive(Debug)]
pub struct Opened {
    /// The log, ready to be appended to.
    pub log: Log,
    /// Whose it is.
    pub id: RegistrarId,
    /// What it had.
    pub records: Vec<Record>,
}

/// The log.
#[derive(Debug)]
pub struct Log {
    directory: PathBuf,
    file: File,
    /// Octets of it that are in order.
    length: u64,
    /// Octets of the last snapshot.
    snapshot: u64,
    sync: Sync,
    /// Records that are not yet written.
    batch: Vec<u8>,
    /// What was appended while a snapshot is written by another thread.
    meanwhile: Option<Vec<u8>>,
    /// Written and perhaps not on the disk.
    dirty: bool,
    /// Why the last write did not go well; until the next snapshot nothing is acknowledged.
    failure: Option<String>,
    counts: Counts,
    /// Held for its lock.
    _lock: File,
}

/// What happened to the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that were written.
    pub records: u64,
    /// Times that they could not.
    pub failures: u64,
    /// Snapshots.
    pub snapshots: u64,
}

/// A snapshot to be written by [`Snapshot::write`], on a thread that may wait.
#[derive(Debug)]
pub struct Snapshot {
    directory: PathBuf,
    octets: Vec<u8>,
}

/// A snapshot that is on the disk beside the log.
#[derive(Debug)]
pub struct Written {
    file: File,
    length: u64,
}

impl Log {
    /// Makes the directory if need be, locks it, reads what is there. `fresh` is an identifier for the first start.
    ///
    /// # Errors
    /// See [`DiskError`].
    pub fn open(directory: &Path, sync: Sync, fresh: RegistrarId) -> Result<Opened, DiskError> {
        DirBuilder::new().recursive(true).mode(0o750).create(directory).map_err(failed("make", directory))?;
        let own_lock = lock(directory)?;
        let id = identifier(directory, fresh)?;
        let path = directory.join(LOG_FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            .open(&path)
            .map_err(failed("open", &path))?;
        let mut octets = Vec::new();
        file.read_to_end(&mut octets).map_err(failed("read", &path))?;
        let read = journal::read(&octets, wall())
            .map_err(|source| DiskError::Journal { path: path.clone(), source })?;
        if let Some(tail) = read.rest {
            let lost = octets.len() - read.valid;
            warn!(path = %path.display(), octets = lost, "cut off the end of the handlespace: {tail}");
            // A record that was being written when the process died was never acknowledged. Anything else is to be looked at.
            if tail != Tail::Cut {
                let damaged = directory.join(DAMAGED_FILE);
                fs::write(&damaged, &octets).map_err(failed("write", &damaged))?;
                warn!(path = %damaged.display(), "kept the damaged handlespace; elements register anew by themselves");
            }
        }
        let mut log = Self {
            directory: directory.to_owned(),
            file,
            length: read.valid as u64,
            snapshot: 0,
            sync,
            batch: Vec::new(),
            meanwhile: None,
            dirty: false,
            failure: None,
            counts: Counts::default(),
            _lock: own_lock,
        };
        log.file.set_len(log.length).map_err(failed("cut", &path))?;
        if log.length == 0 {
            log.put(&journal::header()).map_err(failed("write", &path))?;
        }
        Ok(Opened { log, id, records: read.records })
    }

    /// Takes a record into the batch.
    pub fn add(&mut self, record: &Record) {
        journal::append(record, wall(), &mut self.batch);
        self.counts.records += 1;
    }

    /// Writes the batch. False: it is not written, and what it was about must not be acknowledged.
    pub fn commit(&mut self) -> bool {
        let batch = std::mem::take(&mut self.batch);
        if let Some(meanwhile) = &mut self.meanwhile {
            meanwhile.extend_from_slice(&batch);
        }
        if self.failure.is_some() {
            // The snapshot that mends it has this too: from the handlespace, or as what came meanwhile.
            return false;
        }
        if batch.is_empty() {
            return true;
        }
        let result = self.put(&batch).and_then(|()| match self.sync {
            Sync::Always => self.file.sync_data(),
            Sync::Second => Ok(()),
        });
        self.dirty = self.sync == Sync::Second;
        match result {
            Ok(()) => {
                // Its room is used again, but not that of a burst.
                if batch.capacity() <= 64 * 1024 {
                    self.batch = batch;
                    self.batch.clear();
                }
                true
            }
            Err(error) => {
                self.fail("append to", LOG_FILE, &error);
                false
            }
        }
    }

    /// Is a snapshot due: the log has grown, or could not be written?
    pub fn wants_snapshot(&self) -> bool {
        let grown = journal::should_compact(self.snapshot, self.length);
        self.meanwhile.is_none() && (grown || self.failure.is_some())
    }

    /// Begins a snapshot: what is appended from now on belongs to both files.
    pub fn begin_snapshot(&mut self, records: impl Iterator<Item = Record>) -> Snapshot {
        let (now, mut octets) = (wall(), journal::header().to_vec());
        records.for_each(|record| journal::append(&record, now, &mut octets));
        self.meanwhile = Some(Vec::new());
        Snapshot { directory: self.directory.clone(), octets }
    }

    /// Puts a written snapshot in the log's place.
    pub fn end_snapshot(&mut self, written: Result<Written, StateError>) {
        let meanwhile = self.meanwhile.take().unwrap_or_default();
        let placed = written
            .map_err(|error| error.to_string())
            .and_then(|written| self.place(written, &meanwhile).map_err(|error| error.to_string()));
        match placed {
            Ok(()) => {
                self.counts.snapshots += 1;
                self.failure = None;
            }
            Err(error) => {
                self.counts.failures += 1;
                warn!(
                    error,
                    "cannot replace the handlespace on disk: registrations are not acknowledged until it can be"
                );
                self.failure = Some(error);
            }
        }
    }

    fn place(&mut self, written: Written, meanwhile: &[u8]) -> Result<(), StateError> {
        let (new, log) = (self.directory.join(NEW_FILE), self.directory.join(LOG_FILE));
        written.file.write_all_at(meanwhile, written.length).map_err(failed("append to", &new))?;
        if self.sync == Sync::Always {
            written.file.sync_data().map_err(failed("sync", &new))?;
        }
        fs::rename(&new, &log).map_err(failed("replace", &log))?;
        self.file = written.file;
        self.snapshot = written.length;
        self.length = written.length + meanwhile.len() as u64;
        self.dirty = true;
        Ok(())
    }

    /// What is to be synced now, if anything: a handle for a thread that may wait.
    pub fn take_dirty(&mut self) -> Option<File> {
        std::mem::take(&mut self.dirty).then(|| self.file.try_clone().ok()).flatten()
    }

    /// Why nothing is acknowledged, if so.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Octets of the file.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// What happened to it.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Writes octets behind what is in order: what an earlier write left there halfway is overwritten.
    fn put(&mut self, octets: &[u8]) -> io::Result<()> {
        self.file.write_all_at(octets, self.length)?;
        self.length += octets.len() as u64;
        Ok(())
    }

    fn fail(&mut self, operation: &str, file: &str, error: &io::Error) {
        let path = self.directory.join(file);
        self.counts.failures += 1;
        let text = format!("cannot {operation} {}: {error}", path.display());
        warn!("{text}; registrations are not acknowledged until it can be, free some space there");
        self.failure = Some(text);
        // A record that is there halfway ends the log, and so it must be its end.
        if let Err(error) = self.file.set_len(self.length) {
            warn!(path = %path.display(), %error, "cannot cut the handlespace");
        }
    }
}

impl Snapshot {
    /// Writes it beside the log, on the disk.
    ///
    /// # Errors
    /// The disk is full, most likely.
    pub fn write(self) -> Result<Written, StateError> {
        let path = self.directory.join(NEW_FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o640)
            .open(&path)
            .map_err(failed("create", &path))?;
        file.write_all(&self.octets).map_err(failed("write", &path))?;
        file.sync_data().map_err(failed("sync", &path))?;
        Ok(Written { file, length: self.octets.len() as u64 })
    }
}

/// The time since 1970.
fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The registrar's identifier: the one that it has, or `fresh`, which it keeps.
fn identifier(directory: &Path, fresh: RegistrarId) -> Result<RegistrarId, DiskError> {
    let path = directory.join(ID_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let new = directory.join(format!("{ID_FILE}.new"));
            let mut file = File::create(&new).map_err(failed("create", &new))?;
            writeln!(file, "{fresh}").and_then(|()| file.sync_all()).map_err(failed("write", &new))?;
            fs::rename(&new, &path).map_err(failed("replace", &path))?;
            return Ok(fresh);
        }
        Err(source) => return Err(failed("read", &path)(source).into()),
    };
    match u32::from_str_radix(text.trim_end(), 16) {
        Ok(id) if id != 0 && text.trim_end().len() == 8 => Ok(RegistrarId(id)),
        _ => Err(DiskError::Id { path }),
    }
}

#[cfg(test)]
mod tests;
