//! The registrar's input and output, around [`anycast_pool::registrar`].
//!
//! ```text
//!  TCP, TLS, SCTP listeners ──► a task each connection ──┐                     ┌──► log: write(2), before what follows
//!  timer ────────────────────────────────────────────────┼─► hub ─► machine ───┼──► queue of a connection ─► its task ─► socket
//!  SIGTERM ──────────────────────────────────────────────┘                     └──► announces, log lines
//!  control socket, metrics ──► run loop ──► snapshot of the machine
//!                                  └──────► syncs and snapshots of the log, on threads that may wait
//! ```
//!
//! One thread: events are handled one after the other, at once. Who is slow waits alone: its messages queue, it is not read from
//! while much waits for it, and the machine closes it when it takes nothing.
//!
//! What is absent: decisions, which are the machine's; ENRP between registrars.

mod announce;
pub mod disk;
mod hub;
mod listen;
pub mod metrics;
mod sctp;
pub mod status;
mod stream;
pub mod table;

use std::fs::File;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anycast_pool::RegistrarId;
use anycast_pool::registrar::{Config as Machine, ConfigError, Limits, Registrar};
use anycast_pool::wire::Transport;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use crate::config::registrar::Registrar as Config;
use crate::control::{self, Answer, Command, Request};
use crate::host::descriptors;
use crate::host::state::StateError;
use crate::telemetry::{endpoint, notify};
use crate::tls;

use announce::Announcer;
use disk::{DiskError, Log, Opened, Written};
use hub::{Hub, now};
pub use status::Status;

/// How often the log is brought onto the disk and looked at.
const MAINTENANCE: Duration = Duration::from_secs(1);

/// How long connections have at the end to take what was sent to them.
const GOODBYE: Duration = Duration::from_secs(2);

/// Room of the channel of requests.
const CHANNEL: usize = 64;

/// Descriptors that are not connections.
const DESCRIPTORS: u64 = 64;

/// Why the registrar could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state directory.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] control::server::Error),
    /// Certificates.
    #[error("tls: {0}")]
    Tls(#[from] tls::Error),
    /// The metrics' address.
    #[error(
        "cannot serve metrics on {address}: {source}; change registrar.metrics, or remove it to switch them off"
    )]
    Metrics {
        /// From the configuration.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A listening socket.
    #[error("cannot listen on {protocol} {address}: {source}; change registrar.{key}, or stop who has it")]
    Listen {
        /// tcp, tls, sctp.
        protocol: &'static str,
        /// Its key in the configuration.
        key: &'static str,
        /// From the configuration.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// An interface for announces.
    #[error(
        "cannot announce on {interface}: {source}; name an interface of `ip link` in announce.interfaces"
    )]
    Announce {
        /// Its name.
        interface: String,
        /// What the system said.
        source: io::Error,
    },
    /// The machine refuses the configuration.
    #[error("{}: {source}", path.display())]
    Machine {
        /// The configuration file.
        path: PathBuf,
        /// What does not fit.
        source: ConfigError,
    },
    /// Nothing is open to anybody.
    #[error(
        "this kernel has no SCTP (modprobe sctp), and nothing else is to be listened on: see registrar.listen"
    )]
    Deaf,
    /// The system.
    #[error("cannot {operation}: {source}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Runs the registrar until SIGTERM or SIGINT. Needs a `LocalSet` of a runtime of one thread.
///
/// # Errors
/// It could not start.
pub async fn run(config: Config) -> Result<(), Error> {
    let system = |operation| move |source| Error::System { operation, source };
    let mut terminate = signal(SignalKind::terminate()).map_err(system("handle SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("handle SIGINT"))?;
    descriptors::allow(config.limits.connections as u64 + DESCRIPTORS, "limits.connections");
    let seed = random().map_err(system("read /dev/urandom"))?;
    let fresh = RegistrarId(((random().map_err(system("read /dev/urandom"))?) as u32).max(1));
    let tls_server = tls_server(&config)?;
    let announcer = announcer(&config)?;
    let control = control::server::Server::bind(&config.control_socket)?;
    let metrics = match config.metrics {
        Some(address) => {
            let failed = |error: endpoint::Error| Error::Metrics { address, source: error.source };
            Some(endpoint::Endpoint::bind(address).await.map_err(failed)?)
        }
        None => None,
    };
    let Opened { log, id, records } = Log::open(&config.state_dir, config.sync, fresh)?;
    let machine_error = |source| Error::Machine { path: config.path.clone(), source };
    let mut registrar = Registrar::new(machine(&config, id), seed, now()).map_err(machine_error)?;
    let restored = registrar.restore(now(), records) as u64;

    let hub = Hub::new(registrar, log, announcer);
    let mut tasks = JoinSet::new();
    let listeners = listen(&hub, &config, tls_server.as_ref(), &mut tasks)?;
    let fixed = status::Fixed { listeners, restored };
    let timers = hub.clone();
    tasks.spawn_local(async move { timers.run_timers().await });
    let (requests, mut requested) = mpsc::channel(CHANNEL);
    let to_control = requests.clone();
    let mut ends = JoinSet::new();
    ends.spawn_local(async move { control.run(to_control).await });
    if let Some(metrics) = metrics {
        ends.spawn_local(async move { metrics.run(requests).await });
    }
    info!(%id, restored, listeners = ?fixed.listeners, "the registrar runs");
    notify::ready(&format!("registrar {id}: {restored} elements restored"));

    let mut keeper = Keeper::default();
    let mut tick = interval(MAINTENANCE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            Some(request) = requested.recv() => {
                if answer(&hub, &fixed, request) {
                    break;
                }
            }
            Some(done) = keeper.done() => keeper.take(&hub, done),
            _ = tick.tick() => {
                keeper.maintain(&hub);
                notify::watchdog();
            }
        }
    }
    notify::stopping();
    info!("stopping");
    hub.stop();
    // Elements and users have what was sent to them, or do not take it; what is acknowledged is in the log.
    let _ = timeout(GOODBYE, hub.all_closed()).await;
    drop(tasks);
    keeper.finish(&hub).await;
    drop(requested);
    let _ = timeout(GOODBYE, ends.join_all()).await;
    Ok(())
}

fn machine(config: &Config, id: RegistrarId) -> Machine {
    let mut machine = Machine::new(id);
    machine.require_secured = config.require_secured;
    machine.members.clone_from(&config.members);
    machine.keep_alive_interval = config.keep_alive_interval;
    machine.keep_alive_timeout = config.keep_alive_timeout;
    machine.backlog_max = config.limits.backlog;
    machine.stuck_after = config.limits.stuck;
    machine.limits = Limits {
        connections: config.limits.connections,
        pools: config.limits.pools,
        elements: config.limits.elements,
        elements_per_connection: config.limits.elements_per_connection,
        subscriptions: config.limits.subscriptions,
        subscriptions_per_connection: config.limits.subscriptions_per_connection,
        ..machine.limits
    };
    match &config.announce {
        Some(announce) => {
            machine.announce_interval = announce.interval;
            machine.announce = announce.addresses.iter().copied().map(Transport::Tcp).collect();
        }
        None => machine.announce_interval = Duration::ZERO,
    }
    machine
}

fn tls_server(config: &Config) -> Result<Option<Rc<tls::Server>>, Error> {
    let Some(own) = config.tls.as_ref().filter(|_| !config.listen_tls.is_empty()) else { return Ok(None) };
    Ok(Some(Rc::new(tls::Server::server(own.clone())?)))
}

fn announcer(config: &Config) -> Result<Option<Announcer>, Error> {
    let Some(announce) = &config.announce else { return Ok(None) };
    let failed = |(interface, source)| Error::Announce { interface, source };
    Announcer::open(&announce.interfaces).map(Some).map_err(failed)
}

/// Opens all listening sockets; the result says where they are, for people.
fn listen(
    hub: &Hub,
    config: &Config,
    tls_server: Option<&Rc<tls::Server>>,
    tasks: &mut JoinSet<()>,
) -> Result<Vec<String>, Error> {
    let mut listeners = Vec::new();
    for address in &config.listen {
        let failed = failed("tcp", "listen", *address);
        let listener = listen::bind(*address).map_err(failed)?;
        listeners.push(format!("tcp {address}"));
        tasks.spawn_local(listen::serve_tcp(hub.clone(), listener));
    }
    for address in &config.listen_tls {
        let failed = failed("tls", "listen_tls", *address);
        let Some(server) = tls_server else { continue };
        let listener = listen::bind(*address).map_err(failed)?;
        listeners.push(format!("tls {address}"));
        tasks.spawn_local(listen::serve_tls(hub.clone(), listener, Rc::clone(server)));
    }
    for address in &config.listen_sctp {
        let failed = failed("sctp", "listen_sctp", *address);
        match sctp::bind(*address).map_err(failed)? {
            Some(listener) => {
                listeners.push(format!("sctp {address}"));
                tasks.spawn_local(sctp::serve(hub.clone(), listener));
            }
            None => {
                warn!("this kernel has no SCTP: `modprobe sctp`, or empty registrar.listen_sctp");
                break;
            }
        }
    }
    if listeners.is_empty() { Err(Error::Deaf) } else { Ok(listeners) }
}

fn failed(protocol: &'static str, key: &'static str, address: SocketAddr) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Listen { protocol, key, address, source }
}

/// Answers an operator or a scraper; true: stop.
fn answer(hub: &Hub, fixed: &status::Fixed, request: Request) -> bool {
    let (answer, stop) = match request.command {
        // What the metrics' endpoint asks.
        Command::Status => (Ok(picture(hub, fixed, None)), false),
        Command::Registrar { pool } => (Ok(picture(hub, fixed, pool.as_deref())), false),
        Command::Stop { .. } => (Ok(Answer::Done("the registrar stops".to_owned())), true),
        _ => (Err("this is a registrar: it knows `anycast registrar status` and `stop`".to_owned()), false),
    };
    // The client may be gone.
    let _ = request.reply.send(answer);
    stop
}

fn picture(hub: &Hub, fixed: &status::Fixed, pool: Option<&str>) -> Answer {
    Answer::Registrar(Box::new(hub.with(|core| status::take(core, fixed, pool))))
}

/// Brings the log onto the disk, one thing at a time, on threads that may wait.
#[derive(Default)]
struct Keeper {
    work: JoinSet<Done>,
    sync_failed: bool,
}

/// What a thread did.
enum Done {
    Synced(io::Result<()>),
    Snapshot(Result<Written, StateError>),
}

impl Keeper {
    fn maintain(&mut self, hub: &Hub) {
        if !self.work.is_empty() {
            return;
        }
        if hub.with(|core| core.log.wants_snapshot()) {
            let snapshot = hub.with(|core| core.log.begin_snapshot(core.registrar.records(now())));
            self.work.spawn(async {
                match spawn_blocking(move || snapshot.write()).await {
                    Ok(written) => Done::Snapshot(written),
                    Err(error) => Done::Synced(Err(error.into())),
                }
            });
        } else if let Some(file) = hub.with(|core| core.log.take_dirty()) {
            self.work.spawn(async {
                let synced = spawn_blocking(move || file.sync_data()).await;
                Done::Synced(synced.unwrap_or_else(|error| Err(error.into())))
            });
        }
    }

    /// Waits for what is under way; `None` if nothing is.
    async fn done(&mut self) -> Option<Done> {
        self.work.join_next().await.and_then(Result::ok)
    }

    fn take(&mut self, hub: &Hub, done: Done) {
        match done {
            Done::Snapshot(written) => hub.with(|core| core.log.end_snapshot(written)),
            Done::Synced(Err(error)) if !self.sync_failed => {
                self.sync_failed = true;
                warn!(%error, "cannot sync the handlespace: see the disk of state_dir");
            }
            Done::Synced(result) => self.sync_failed = result.is_err(),
        }
    }

    /// The last sync.
    async fn finish(&mut self, hub: &Hub) {
        while let Some(done) = self.done().await {
            self.take(hub, done);
        }
        self.maintain(hub);
        while let Some(done) = self.done().await {
            self.take(hub, done);
        }
    }
}

/// A number nobody can guess.
fn random() -> io::Result<u64> {
    let mut octets = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut octets)?;
    Ok(u64::from_ne_bytes(octets))
}
