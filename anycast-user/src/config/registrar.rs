//! The registrar's configuration, a file of its own: [`DEFAULT_PATH`].

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anycast_pool::registrar::Members;
use serde::Deserialize;
use toml::Spanned;

use super::value::Time;
use super::{Error, Problem, validate};
use crate::tls;

/// Where the configuration is looked for when `--config` is not given.
pub const DEFAULT_PATH: &str = "/etc/anycast/registrar.toml";
/// Where the control socket is when the configuration does not say.
pub const DEFAULT_CONTROL_SOCKET: &str = "/run/anycast-registrar/control.sock";
/// Where the handlespace is kept when the configuration does not say.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/anycast-registrar";

/// A configuration whose every value has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registrar {
    /// The file it was read from.
    pub path: PathBuf,
    /// TCP, in clear text.
    pub listen: Vec<SocketAddr>,
    /// TLS over TCP.
    pub listen_tls: Vec<SocketAddr>,
    /// SCTP one-to-one sockets.
    pub listen_sctp: Vec<SocketAddr>,
    /// Certificates; there if there is a `listen_tls`.
    pub tls: Option<tls::Files>,
    /// Elements must have shown a certificate.
    pub require_secured: bool,
    /// Who may register in which pool.
    pub members: Members,
    /// The control socket.
    pub control_socket: PathBuf,
    /// Directory for the handlespace and the identifier.
    pub state_dir: PathBuf,
    /// Where Prometheus metrics are served; `None` = not at all.
    pub metrics: Option<SocketAddr>,
    /// When the handlespace is on disk.
    pub sync: Sync,
    /// Mean time between keep-alives to an element.
    pub keep_alive_interval: Duration,
    /// How long an answer is awaited.
    pub keep_alive_timeout: Duration,
    /// What it holds at most.
    pub limits: Limits,
    /// Announces by multicast; `None` = none.
    pub announce: Option<Announce>,
    /// What is allowed but deserves a thought; one log line each.
    pub warnings: Vec<Problem>,
}

/// When what was acknowledged is on the disk. In the kernel it is before the acknowledgement, so that the death of the process
/// loses nothing; this is about the death of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Within a second.
    Second,
    /// Before it is acknowledged.
    Always,
}

/// `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of all kinds together.
    pub connections: usize,
    /// Pools.
    pub pools: usize,
    /// Elements of all pools.
    pub elements: usize,
    /// Elements that register over one connection.
    pub elements_per_connection: usize,
    /// Subscriptions of all users.
    pub subscriptions: usize,
    /// Pools that one connection subscribes to.
    pub subscriptions_per_connection: usize,
    /// Octets that wait for one connection before it is closed.
    pub backlog: usize,
    /// How long a connection may take nothing of what is there for it.
    pub stuck: Duration,
}

/// `[announce]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// Where the announces go out.
    pub interfaces: Vec<String>,
    /// How often.
    pub interval: Duration,
    /// Where elements and users reach the registrar by TCP.
    pub addresses: Vec<SocketAddr>,
}

impl Registrar {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, has an unknown key, or holds values that do not fit.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Checks the text of a file; `path` is only for error messages.
    ///
    /// # Errors
    /// As [`Registrar::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let options = toml::from_str(text).map_err(|error| Error::syntax(path, text, &error))?;
        validate::registrar::validate(path, text, options)
    }
}

/// Where the control socket is according to a file that need not be sound.
pub fn control_socket_of(path: &Path) -> PathBuf {
    std::fs::read_to_string(path)
        .ok()
        .and_then(|text| text.parse::<toml::Table>().ok())
        .and_then(|table| Some(PathBuf::from(table.get("registrar")?.get("control_socket")?.as_str()?)))
        .unwrap_or_else(|| PathBuf::from(DEFAULT_CONTROL_SOCKET))
}

/// The file as it stands there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    #[serde(default)]
    pub registrar: Own,
    pub tls: Option<Spanned<TlsOptions>>,
    #[serde(default)]
    pub keep_alive: KeepAliveOptions,
    #[serde(default)]
    pub limits: LimitsOptions,
    pub announce: Option<Spanned<AnnounceOptions>>,
    #[serde(default)]
    pub pool: Vec<PoolOptions>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Own {
    pub listen: Option<Spanned<Vec<Spanned<String>>>>,
    pub listen_tls: Option<Spanned<Vec<Spanned<String>>>>,
    pub listen_sctp: Option<Spanned<Vec<Spanned<String>>>>,
    pub require_secured: Option<Spanned<bool>>,
    pub control_socket: Option<Spanned<PathBuf>>,
    pub state_dir: Option<Spanned<PathBuf>>,
    pub metrics: Option<Spanned<String>>,
    pub sync: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsOptions {
    pub certificate: Option<Spanned<PathBuf>>,
    pub key: Option<Spanned<PathBuf>>,
    pub client_ca: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeepAliveOptions {
    pub interval: Option<Spanned<Time>>,
    pub timeout: Option<Spanned<Time>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsOptions {
    pub connections: Option<Spanned<i64>>,
    pub pools: Option<Spanned<i64>>,
    pub elements: Option<Spanned<i64>>,
    pub elements_per_connection: Option<Spanned<i64>>,
    pub subscriptions: Option<Spanned<i64>>,
    pub subscriptions_per_connection: Option<Spanned<i64>>,
    pub backlog: Option<Spanned<i64>>,
    pub stuck: Option<Spanned<Time>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PoolOptions {
    pub name: Spanned<String>,
    pub elements: Spanned<Vec<Spanned<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnnounceOptions {
    pub interfaces: Option<Spanned<Vec<Spanned<String>>>>,
    pub interval: Option<Spanned<Time>>,
    pub addresses: Option<Spanned<Vec<Spanned<String>>>>,
}

#[cfg(test)]
mod tests;
