//! The daemon's end of the control socket.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use thiserror::Error;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::Request;
use super::protocol::{self, Answer, Command, LINE_MAX};

/// Clients served at a time; the others are told so.
const CONNECTIONS_MAX: usize = 32;

/// How long a client may take for a line, and the controller for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Read and write for owner and group.
const MODE: u32 = 0o660;

/// Why the control socket cannot be had.
#[derive(Debug, Error)]
pub enum Error {
    /// A daemon listens there.
    #[error(
        "the control socket {} is in use by process {pid}: stop that daemon first (`anycast --socket {} stop`), or give this one its own daemon.control_socket",
        path.display(),
        path.display()
    )]
    InUse {
        /// The socket.
        path: PathBuf,
        /// Who listens.
        pid: i32,
    },
    /// Something that is not a socket lies there.
    #[error("{} exists and is not a socket: remove it or change daemon.control_socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Another step failed.
    #[error("cannot {operation} the control socket {}: {source}", path.display())]
    Io {
        /// The step.
        operation: &'static str,
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A bound control socket; the file is removed when this is dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the socket file: what is removed must still be ours.
    file: (u64, u64),
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Caller {
    uid: u32,
    gid: u32,
}

impl Server {
    /// Binds the socket with mode 0660: a stale one is replaced, a live one refused. Needs a tokio runtime.
    ///
    /// # Errors
    /// Another daemon listens there, the path is taken by something else, or the directory does not allow it.
    pub fn bind(path: &Path) -> Result<Self, Error> {
        let failed =
            |operation| move |source: io::Error| Error::Io { operation, path: path.to_owned(), source };
        make_room(path)?;
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed("make the directory of"))?;
        }
        let listener = StdListener::bind(path).map_err(failed("bind"))?;
        // Until here the mode is what the umask left: never more than 0777 of the directory's owner, for microseconds,
        // and what changes anything is decided by the caller's credentials anyway.
        fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(failed("set the mode of"))?;
        let metadata = fs::metadata(path).map_err(failed("look at"))?;
        listener.set_nonblocking(true).map_err(failed("set up"))?;
        let listener = UnixListener::from_std(listener).map_err(failed("set up"))?;
        Ok(Self { listener, path: path.to_owned(), file: (metadata.dev(), metadata.ino()) })
    }

    /// Serves clients until the controller drops its end of `requests`, and then those that are connected to their end. Cancel-safe: dropping it ends all connections.
    pub async fn run(&self, requests: mpsc::Sender<Request>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
                () = requests.closed() => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: they come back when connections end.
                    warn!(%error, "cannot accept a control connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    let requests = requests.clone();
                    connections.spawn(async move {
                        if let Err(error) = serve(stream, &requests).await {
                            debug!(%error, "control connection ended");
                        }
                        drop(place);
                    });
                }
                Err(_) => refuse(&stream),
            }
        }
        // Requests are answered or refused by now; what is left is writing it to the clients.
        while connections.join_next().await.is_some() {}
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) == self.file)
            && let Err(error) = fs::remove_file(&self.path)
        {
            warn!(path = %self.path.display(), %error, "cannot remove the control socket");
        }
    }
}

impl Caller {
    /// Root, the daemon's own user, or the daemon's own group may change things.
    fn may(self, command: &Command, daemon: Self) -> bool {
        command.only_looks() || self.uid == 0 || self.uid == daemon.uid || self.gid == daemon.gid
    }
}

/// Removes a socket nobody listens on.
fn make_room(path: &Path) -> Result<(), Error> {
    let failed = |operation| move |source: io::Error| Error::Io { operation, path: path.to_owned(), source };
    // Through a symbolic link, which may lead to the socket of a daemon that runs.
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at")(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(Error::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match StdStream::connect(path) {
        // The credentials are those of the process that called listen(2).
        Ok(stream) => {
            let pid = getsockopt(&stream, PeerCredentials).map_or(0, |credentials| credentials.pid());
            Err(Error::InUse { path: path.to_owned(), pid })
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed("replace the stale"))
        }
        Err(error) => Err(failed("try")(error)),
    }
}

/// One line to a client too many, without waiting for it.
fn refuse(stream: &UnixStream) {
    let answer =
        protocol::encode_answer(Err(format!("{CONNECTIONS_MAX} clients are connected already: try again")));
    // The client may be gone already: then nobody misses the answer.
    let _ = stream.try_write(answer.as_bytes());
}

/// Serves one client until it has no more to say, is too slow, or says what cannot be read.
async fn serve(stream: UnixStream, requests: &mpsc::Sender<Request>) -> io::Result<()> {
    let credentials = stream.peer_cred()?;
    let caller = Caller { uid: credentials.uid(), gid: credentials.gid() };
    let daemon = Caller { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() };
    debug!(fd = stream.as_raw_fd(), uid = caller.uid, pid = credentials.pid(), "control connection");
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let (answer, last) = match timeout(TIMEOUT, read_line(&mut reader)).await {
            Ok(Ok(Some(line))) => match protocol::decode_request(&line) {
                Ok(command) if caller.may(&command, daemon) => (ask(command, requests).await, false),
                Ok(_) => (
                    Err("may not: only root and the daemon's own user and group may change things".to_owned()),
                    false,
                ),
                Err(error) => (Err(error), false),
            },
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => (Err(error.to_string()), true),
            Ok(Err(error)) => return Err(error),
            Err(_) => (Err(format!("no request within {} s", TIMEOUT.as_secs())), true),
        };
        match timeout(TIMEOUT, writer.write_all(protocol::encode_answer(answer).as_bytes())).await {
            Ok(written) => written?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
        if last {
            return Ok(());
        }
    }
}

/// One line without its line feed; `None` at the end of the stream.
async fn read_line<R: AsyncBufRead + Unpin>(reader: &mut R) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let limit = LINE_MAX as u64;
    reader.take(limit).read_until(b'\n', &mut line).await?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if line.len() as u64 + 1 == limit => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("a request is at most {LINE_MAX} bytes")))
        }
        Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Puts a command to the controller.
async fn ask(command: Command, requests: &mpsc::Sender<Request>) -> Result<Answer, String> {
    let (reply, answer) = oneshot::channel();
    let asked = async {
        requests.send(Request { command, reply }).await.ok()?;
        answer.await.ok()
    };
    match timeout(TIMEOUT, asked).await {
        Ok(Some(answer)) => answer,
        Ok(None) => Err("the daemon is stopping".to_owned()),
        Err(_) => Err(format!("the controller did not answer within {} s", TIMEOUT.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_the_daemon_s_own_user_and_group_change_things() {
        let daemon = Caller { uid: 100, gid: 200 };
        let stop = Command::Stop { keep: false };
        for (uid, gid, may) in
            [(0, 0, true), (100, 1, true), (1, 200, true), (1, 1, false), (200, 100, false)]
        {
            assert_eq!(Caller { uid, gid }.may(&stop, daemon), may, "uid {uid}, gid {gid}");
            assert!(Caller { uid, gid }.may(&Command::Status, daemon));
        }
    }
}
