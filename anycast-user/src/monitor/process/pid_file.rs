//! A process whose id is in a file.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, RawFd},
        unix::fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::{Interest, unix::AsyncFd};

use super::{ProcessError, Target, watch::Source};

/// How often the file is read although nothing was notified: its directory may not exist yet, or the file may be a
/// symbolic link to a place that is not watched. Exits do not wait for this.
const REREAD: Duration = Duration::from_secs(1);

/// A process id and a line end are shorter than this.
const CONTENT_LIMIT: u64 = 64;

/// A pid file.
pub(super) struct PidFile {
    path: PathBuf,
    /// None while the directory cannot be watched.
    directory: Option<AsyncFd<Watch>>,
}

impl PidFile {
    pub(super) fn new(path: PathBuf) -> Self {
        let directory = watch_directory(&path);
        Self { path, directory }
    }
}

impl Source for PidFile {
    fn target(&self) -> String {
        Target::PidFile(self.path.clone()).to_string()
    }

    async fn read(&mut self) -> Result<i32, ProcessError> {
        let content = read_beginning(&self.path)
            .map_err(|source| ProcessError::PidFile { path: self.path.clone(), source })?;
        let text = String::from_utf8_lossy(&content);
        match text.trim().parse::<i32>() {
            Ok(pid) if pid > 0 => Ok(pid),
            _ => Err(ProcessError::NotAPid {
                path: self.path.clone(),
                content: text.trim().escape_debug().to_string(),
            }),
        }
    }

    async fn changed(&mut self) {
        let Some(directory) = &self.directory else {
            tokio::time::sleep(REREAD).await;
            self.directory = watch_directory(&self.path);
            return;
        };
        match tokio::time::timeout(REREAD, notified(directory, &self.path)).await {
            Ok(Notified::File) | Err(_) => {}
            // The directory was removed: there may be another one of that name.
            Ok(Notified::Gone) => self.directory = watch_directory(&self.path),
        }
    }
}

/// Reads the beginning of the file. A FIFO or a device in its place must not hang the daemon, hence the flag.
fn read_beginning(path: &Path) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut content = Vec::new();
    file.take(CONTENT_LIMIT).read_to_end(&mut content)?;
    Ok(content)
}

/// Tokio asks for the raw descriptor, which nix does not give.
struct Watch(Inotify);

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Watches the directory, since the file itself comes and goes, and is often renamed into place.
fn watch_directory(path: &Path) -> Option<AsyncFd<Watch>> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let watched = || -> io::Result<_> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        inotify.add_watch(
            directory,
            AddWatchFlags::IN_CLOSE_WRITE
                | AddWatchFlags::IN_MODIFY
                | AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_MOVED_TO
                | AddWatchFlags::IN_DELETE_SELF
                | AddWatchFlags::IN_MOVE_SELF
                | AddWatchFlags::IN_ONLYDIR,
        )?;
        // SAFETY: `Watch` owns its descriptor and answers with that one, open, until it is dropped with the `AsyncFd`.
        let watched = unsafe { AsyncFd::register_with_interest(Watch(inotify), Interest::READABLE) }?;
        Ok(watched)
    };
    match watched() {
        Ok(inotify) => Some(inotify),
        Err(error) => {
            tracing::debug!(directory = %directory.display(), %error, "cannot watch the directory of the pid file");
            None
        }
    }
}

enum Notified {
    /// The file may have changed.
    File,
    /// The directory is gone.
    Gone,
}

async fn notified(directory: &AsyncFd<Watch>, path: &Path) -> Notified {
    loop {
        let Ok(mut ready) = directory.readable().await else { return std::future::pending().await };
        let events = match ready.try_io(|watch| watch.get_ref().0.read_events().map_err(io::Error::from)) {
            Ok(Ok(events)) => events,
            Ok(Err(_)) => return Notified::Gone,
            Err(_would_block) => continue,
        };
        let gone = AddWatchFlags::IN_IGNORED
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_UNMOUNT;
        if events.iter().any(|event| event.mask.intersects(gone)) {
            return Notified::Gone;
        }
        let concerns_us = events.iter().any(|event| {
            event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) || event.name.as_deref() == path.file_name()
        });
        if concerns_us {
            return Notified::File;
        }
    }
}
