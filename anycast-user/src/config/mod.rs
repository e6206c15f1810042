//! The configuration file: TOML read into plain structs of options (`options`), then checked as a whole into a
//! [`Config`] that holds only sound values.
//!
//! Every error names the file, the line, the key and what to do about it; all errors of the second step are reported at once.

mod error;
pub mod keys;
mod options;
pub mod ospf;
pub mod pool;
pub mod registrar;
mod validate;
pub(crate) mod value;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use anycast_core::auth::Mode as AuthMode;
pub use error::{Error, Problem};

/// Where the configuration is looked for when `--config` is not given.
pub const DEFAULT_PATH: &str = "/etc/anycast/anycast.toml";
/// Where the control socket is when the configuration does not say.
pub const DEFAULT_CONTROL_SOCKET: &str = "/run/anycast/control.sock";
/// Where links, programs and maps are pinned when the configuration does not say.
pub const DEFAULT_BPFFS: &str = "/sys/fs/bpf/anycast";
/// Where epochs, drained services and the journal of changed sysctls are kept when the configuration does not say.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/anycast";
/// How long the fast path answers without a renewal when the configuration does not say.
pub const DEFAULT_LEASE: Duration = Duration::from_millis(300);

/// A configuration whose every value has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// `[daemon]`.
    pub daemon: Daemon,
    /// `[farm]`.
    pub farm: Farm,
    /// `[ospf]`; `None` = services are advertised on their links alone.
    pub ospf: Option<ospf::Ospf>,
    /// `[pool]`; `None` = no service registers with anybody.
    pub pool: Option<pool::Pool>,
    /// Each interface that carries a service, in order of first use.
    pub interfaces: Vec<Interface>,
    /// `[[service]]`, in the order of the file.
    pub services: Vec<Service>,
    /// What is allowed but deserves a thought; one log line each.
    pub warnings: Vec<Problem>,
}

/// Paths and times of the daemon itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// The control socket.
    pub control_socket: PathBuf,
    /// Directory for what must survive a restart.
    pub state_dir: PathBuf,
    /// Directory under a mounted bpffs for links, programs and maps.
    pub bpffs: PathBuf,
    /// Where Prometheus metrics are served; `None` = not at all.
    pub metrics: Option<SocketAddr>,
    /// How long an open gate answers after its last renewal.
    pub lease: Duration,
    /// How long the gate left open by `anycast stop --keep` answers.
    pub restart_lease: Duration,
    /// How long a stopping server goes on serving what still arrives.
    pub grace: Duration,
    /// Load the fast path with its log statements.
    pub bpf_log: bool,
    /// As long as this file is there, all services are drained.
    pub drain_file: Option<PathBuf>,
    /// A program that is run on each change of state and on each alarm.
    pub notify: Option<PathBuf>,
}

/// The group of servers that share the services of this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Farm {
    /// Name that every heartbeat carries; servers of other names are not peers.
    pub name: String,
    /// Interval of the owner's heartbeats.
    pub heartbeat: Duration,
    /// MACs of servers that run other software: their advertisements count as a peer's.
    pub foreign: Vec<[u8; 6]>,
    /// How heartbeats and advertisements are authenticated; `None` = not at all.
    pub auth: Option<Auth>,
}

/// Authentication within the farm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// The file with the farm's keys; see [`keys`].
    pub key_file: PathBuf,
    /// How far it is switched on.
    pub mode: AuthMode,
}

/// An interface that carries services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// How the fast path is attached.
    pub xdp_mode: XdpMode,
}

/// Where in the kernel the XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// Behind the driver, on the socket buffer: any interface, a fraction of the speed.
    Generic,
}

/// One service address and all that decides over it.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Unique in the file; what commands, logs and metrics call it.
    pub name: String,
    /// Index into [`Config::interfaces`].
    pub interface: usize,
    /// The service address.
    pub address: IpAddr,
    /// VLAN identifiers, outermost first; empty = untagged.
    pub vlan: Vec<u16>,
    /// UDP and TCP ports whose packets are counted.
    pub ports: Vec<u16>,
    /// Who answers among the able servers.
    pub mode: Mode,
    /// Length of this server's turn, in [`Mode::Rotate`].
    pub slice: Duration,
    /// Share of the turns, in [`Mode::Rotate`].
    pub weight: u32,
    /// Who goes first, in [`Mode::Failover`]: the higher.
    pub priority: u8,
    /// Ready for this long, this server takes over from an owner of lower priority; `None` = never.
    pub preempt_delay: Option<Duration>,
    /// Different servers own different routers' entries at the same time.
    pub per_router: bool,
    /// Answer multicast solicitations after a random time up to this one, in [`Mode::Solicited`]; `None` = at once.
    pub answer_delay: Option<Duration>,
    /// As long as this file is there, the service is drained.
    pub drain_file: Option<PathBuf>,
    /// By what it is advertised.
    pub advertise: ospf::Advertise,
    /// How its cost follows its load, where it is advertised by `[ospf]`.
    pub cost: ospf::Cost,
    /// The interface on which FRR has the address, where FRR is driven.
    pub ospf_interface: Option<String>,
    /// The O flag of the advertisements (RFC 4861 4.4).
    pub override_flag: bool,
    /// Source address of the advertisements.
    pub source: Source,
    /// The checks that decide whether this server is able.
    pub check: Checked,
    /// The standby rule; `None` = never stands by.
    pub standby: Option<Standby>,
    /// What load is measured against; `None` = load is not measured.
    pub load: Option<Load>,
    /// What it is in its pool; `None` = it is in none.
    pub element: Option<pool::Element>,
}

/// Who answers solicitations among the able servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Servers take turns.
    Rotate,
    /// The owner stays until it fails.
    Failover,
    /// Each able server answers; the router keeps whom it heard.
    Solicited,
}

/// Source address of the advertisements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The interface's link-local address.
    LinkLocal,
    /// The service address.
    Target,
}

/// Where a service's check results come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Its own `[service.check]`.
    Own(Box<Check>),
    /// `check_as`: index of the service whose own check it shares.
    As(usize),
}

/// `[service.check]`: all targets that are given must be up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Time from one start of a check to the next.
    pub interval: Duration,
    /// A later answer is a failure.
    pub timeout: Duration,
    /// Successes in a row that bring a check up.
    pub rise: u32,
    /// Failures in a row that bring it down.
    pub fall: u32,
    /// A DNS query that must be answered well.
    pub dns: Option<DnsCheck>,
    /// A TCP connection that must be accepted.
    pub tcp: Option<SocketAddr>,
    /// A program, with arguments, that must exit with 0.
    pub exec: Option<Vec<String>>,
    /// A process that must live.
    pub process: Option<ProcessTarget>,
}

/// A DNS query that must be answered well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsCheck {
    /// The server's own address, not the service address.
    pub server: SocketAddr,
    /// The name asked, fully qualified.
    pub name: String,
    /// The mnemonic of the type asked, upper case.
    pub rtype: String,
    /// Ask over UDP.
    pub udp: bool,
    /// Ask over TCP.
    pub tcp: bool,
}

/// A process that must live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessTarget {
    /// The process whose number this file holds.
    PidFile(PathBuf),
    /// The main process of this systemd unit.
    Unit(String),
}

/// The standby rule: fewer than `queries` in `window` of owned time, and the server falls silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standby {
    /// Queries.
    pub queries: u64,
    /// Of owned time.
    pub window: Duration,
    /// What stops the service in standby and starts it again; `None` = it runs all along.
    pub hooks: Option<StandbyHooks>,
}

/// The commands that stop a service in standby and start it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandbyHooks {
    /// Stops the service, and ends when it has stopped.
    pub on_standby: Vec<String>,
    /// Starts the service, and does no harm if it runs.
    pub on_wake: Vec<String>,
    /// How long each of them may take, and the service from the beginning of `on_wake` until it is able.
    pub wake_timeout: Duration,
}

/// What load is measured against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Queries per second this server can answer.
    pub capacity: u64,
    /// Permille of `capacity` above which the server is congested.
    pub congested_above: u32,
}

impl Config {
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
    /// As [`Config::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let options = toml::from_str(text).map_err(|error| Error::syntax(path, text, &error))?;
        validate::validate(path, text, options)
    }

    /// The service that an operator means by a name or an address.
    ///
    /// # Errors
    /// A sentence for the operator: there is no such service, or the address is that of several.
    pub fn service(&self, name_or_address: &str) -> Result<usize, String> {
        if let Some(index) = self.services.iter().position(|service| service.name == name_or_address) {
            return Ok(index);
        }
        let names =
            || self.services.iter().map(|service| service.name.as_str()).collect::<Vec<_>>().join(", ");
        let Ok(address) = name_or_address.parse::<IpAddr>() else {
            return Err(format!("no service is called {name_or_address:?}; there are: {}", names()));
        };
        let with_address = |service: &&Service| service.address == address;
        match self.services.iter().filter(with_address).count() {
            0 => Err(format!("no service has the address {address}; there are: {}", names())),
            1 => Ok(self.services.iter().position(|service| service.address == address).unwrap_or_default()),
            _ => Err(format!("several services have the address {address}: name one of {}", names())),
        }
    }

    /// The check that decides over a service, its own or the one it shares.
    pub fn check_of(&self, service: usize) -> Option<&Check> {
        match &self.services.get(service)?.check {
            Checked::Own(check) => Some(check),
            Checked::As(other) => match &self.services.get(*other)?.check {
                Checked::Own(check) => Some(check),
                Checked::As(_) => None,
            },
        }
    }
}

/// Where the control socket is according to a file that need not be sound: an operator must reach a running daemon even
/// while its next configuration is being edited.
pub fn control_socket_of(path: &Path) -> PathBuf {
    daemon_path_of(path, "control_socket", DEFAULT_CONTROL_SOCKET)
}

/// Where links, programs and maps are pinned according to a file that need not be sound.
pub fn bpffs_of(path: &Path) -> PathBuf {
    daemon_path_of(path, "bpffs", DEFAULT_BPFFS)
}

/// Where the state directory is according to a file that need not be sound.
pub fn state_dir_of(path: &Path) -> PathBuf {
    daemon_path_of(path, "state_dir", DEFAULT_STATE_DIR)
}

fn daemon_path_of(path: &Path, key: &str, default: &str) -> PathBuf {
    std::fs::read_to_string(path)
        .ok()
        .and_then(|text| text.parse::<toml::Table>().ok())
        .and_then(|table| Some(PathBuf::from(table.get("daemon")?.get(key)?.as_str()?)))
        .unwrap_or_else(|| PathBuf::from(default))
}

/// Why an address cannot be a service address; `None` = it can.
pub fn unfit_address(address: IpAddr) -> Option<&'static str> {
    validate::unfit(address)
}

impl Service {
    /// Does it ask for what only the larger of the fast path's two programs can do?
    pub const fn needs_extra(&self) -> bool {
        self.per_router || self.answer_delay.is_some()
    }
}

impl XdpMode {
    /// The word in configuration, metrics and status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

impl Mode {
    /// The word in configuration, metrics and status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rotate => "rotate",
            Self::Failover => "failover",
            Self::Solicited => "solicited",
        }
    }
}

#[cfg(test)]
mod tests;
