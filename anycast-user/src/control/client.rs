//! The client's end of the control socket, blocking: a command line has nothing else to do meanwhile.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::protocol::{self, Answer, Command};

/// How long a client waits for the daemon. A daemon that holds a lease of 300 ms and does not answer in this time is dead.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum Error {
    /// Nobody listens there.
    #[error(
        "no daemon listens on {}: {source}; start `anycast run`, or name its socket with --socket or its file with --config",
        path.display()
    )]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// May not connect.
    #[error("may not talk to the daemon on {}: run it as root or as a member of the socket's group", path.display())]
    Permission {
        /// The socket.
        path: PathBuf,
    },
    /// The daemon listens but does not answer.
    #[error("the daemon on {} does not answer: {source}", path.display())]
    Talk {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The answer cannot be read: another version.
    #[error("the daemon on {} gave an answer this version cannot read: {source}", path.display())]
    Answer {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The daemon refused.
    #[error("the daemon refused: {0}")]
    Refused(String),
}

/// Sends one command and waits for the answer.
///
/// # Errors
/// There is no daemon, it does not answer in five seconds, or it refuses.
pub fn request(path: &Path, command: &Command) -> Result<Answer, Error> {
    let mut stream = UnixStream::connect(path).map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => Error::Permission { path: path.to_owned() },
        _ => Error::Connect { path: path.to_owned(), source },
    })?;
    let mut line = Vec::new();
    let mut talk = || -> io::Result<()> {
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        // Refused before it read the request (too many clients), the daemon has answered all the same: read on.
        if let Err(error) = stream.write_all(protocol::encode_request(command).as_bytes())
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            return Err(error);
        }
        BufReader::new(&stream).read_until(b'\n', &mut line)?;
        if line.last() == Some(&b'\n') { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    };
    talk().map_err(|source| Error::Talk { path: path.to_owned(), source })?;
    protocol::decode_answer(&line)
        .map_err(|source| Error::Answer { path: path.to_owned(), source })?
        .map_err(Error::Refused)
}
