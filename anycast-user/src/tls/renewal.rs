//! Certificates that are renewed while the program runs: files that changed are read again before the next handshake.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::{ClientConfig, ServerConfig};
use tracing::{info, warn};

use super::{Error, client_config, server_config};

/// The PEM files of one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate that is shown, with those between it and the authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Authorities of the other side.
    pub authorities: PathBuf,
}

/// When each file was changed; `None` if it cannot be told.
type Stamps = [Option<SystemTime>; 3];

/// The server's side of TLS as its files have it now.
pub type Server = Renewable<ServerConfig>;

/// The client's side of TLS as its files have it now.
pub type Client = Renewable<ClientConfig>;

/// What was made of files, and is made again when they change.
#[derive(Debug)]
pub struct Renewable<C> {
    files: Files,
    load: fn(&Files) -> Result<Arc<C>, Error>,
    state: Mutex<State<C>>,
}

#[derive(Debug)]
struct State<C> {
    config: Arc<C>,
    /// Of the files that were looked at last, whether they were sound or not.
    stamps: Stamps,
}

impl Server {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// As [`server_config`].
    pub fn server(files: Files) -> Result<Self, Error> {
        Self::new(files, |files| server_config(&files.certificate, &files.key, &files.authorities))
    }
}

impl Client {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// As [`client_config`].
    pub fn client(files: Files) -> Result<Self, Error> {
        Self::new(files, |files| client_config(&files.authorities, &files.certificate, &files.key))
    }
}

impl<C> Renewable<C> {
    fn new(files: Files, load: fn(&Files) -> Result<Arc<C>, Error>) -> Result<Self, Error> {
        // Before they are read: what changes meanwhile is read again.
        let stamps = files.stamps();
        let state = Mutex::new(State { config: load(&files)?, stamps });
        Ok(Self { files, load, state })
    }

    /// What the files say. Files that are not sound (a renewal is under way: the certificate is there, its key is not) leave what was
    /// before, until they change again.
    pub fn current(&self) -> Arc<C> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = self.files.stamps();
        if stamps != state.stamps {
            state.stamps = stamps;
            match (self.load)(&self.files) {
                Ok(config) => {
                    info!(certificate = %self.files.certificate.display(), "TLS files changed and were read again");
                    state.config = config;
                }
                Err(error) => warn!("TLS files changed, what was read before stays in use: {error}"),
            }
        }
        Arc::clone(&state.config)
    }
}

impl Files {
    fn stamps(&self) -> Stamps {
        [&self.certificate, &self.key, &self.authorities]
            .map(|path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{authority, authority_file, issue};
    use super::*;

    /// Gives a file a time of its own: two changes may be too close for the file system's clock.
    fn touch(path: &std::path::Path, seconds: u64) {
        let file = std::fs::File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }

    #[test]
    fn files_that_change_are_read_again_and_unsound_ones_are_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let own = authority();
        let (certificate, key) = issue(path, &own, "a", &["a.example"]);
        let authorities = authority_file(path, &own, "ca.pem");
        let files = Files { certificate: certificate.clone(), key: key.clone(), authorities };
        let renewable = Server::server(files.clone()).unwrap();
        let first = renewable.current();
        assert!(Arc::ptr_eq(&first, &renewable.current()), "read again though nothing changed");

        // Half of a renewal: the certificate is new, its key is not there yet.
        let (new_certificate, new_key) = issue(path, &own, "b", &["a.example"]);
        std::fs::rename(new_certificate, &certificate).unwrap();
        touch(&certificate, 1_000);
        assert!(Arc::ptr_eq(&first, &renewable.current()));
        // The other half.
        std::fs::rename(new_key, &key).unwrap();
        touch(&key, 1_001);
        let second = renewable.current();
        assert!(!Arc::ptr_eq(&first, &second));
        // Gone files leave what there is.
        std::fs::remove_file(&key).unwrap();
        assert!(Arc::ptr_eq(&second, &renewable.current()));
        assert!(Client::client(files).is_err());
    }
}
