//! The decision loop: the only caller of `anycast-core`, the only writer of gates.
//!
//! ```text
//!  check::Report ────┐                                             ┌──► datapath: lease of a gate
//!  process::Report ──┤                                             ├──► sender: unsolicited NA, ARP announcement
//!  link::Report ─────┤                                             ├──► heartbeat socket
//!  rings, counters ──┼─► observe ─► Event ─► Machine ─► Action ─► perform ─► persist (a thread of its own: it waits for
//!  heartbeats ───────┤                                             │                 the disk)
//!  routers ──────────┤                                             │
//!  control requests ─┤                                             └──► log, alarms
//!  hooks that ended ─┤                                             ├──► hooks: notify, on_standby, on_wake
//!  signals, timers ──┘
//! ```
//!
//! One task on one thread. A pass takes everything that is at hand, lets the machine decide, and performs what it says;
//! leases are renewed as the last step of a pass and nowhere else, so a loop that hangs lets them run out. What may wait for
//! the disk or a program is done elsewhere.
//!
//! What is absent here: decisions. Which of the files:
//! * `start`: bringing up, in the order that cannot mislead a router, and rolling back what a failed start has begun;
//! * `link`: everything that belongs to one interface, through its going and coming back;
//! * `observe`: what was seen, as events; `perform`: what is to be done; `command`: the operator;
//! * `drain`: whose word it is that a service is drained, a command's or a file's;
//! * `hooks`: the operator's programs, which the loop starts and never waits for;
//! * `routes`: services that a routing protocol advertises; `pool`: services that are elements of pools;
//! * `report`: the picture for `status` and metrics; `stop`: the way out.

mod command;
mod drain;
mod hooks;
mod link;
mod observe;
mod perform;
mod persist;
mod pool;
mod report;
mod routes;
mod service;
mod start;
mod stop;

use std::time::Duration;

use anycast_core::auth::KeyId;
use anycast_core::{Action, Event, Machine, Time};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::advertise::groups::Groups;
use crate::config::Config;
use crate::control::Request;
use crate::host::address::{AddressError, Addresses};
use crate::host::state::StateError;
use crate::host::sysctl::{SysctlError, Sysctls};
use crate::monitor::{self, check, process};
use crate::routing::{self, Routing};
use crate::{config, control, datapath, telemetry};

use drain::Drains;
use hooks::Hooks;
use link::Link;
use perform::Alarms;
use persist::Persister;
use pool::Elements;
pub use pool::PoolError;
use service::{CheckRun, ServiceRun};

/// How often counters and holds are read.
const POLL: Duration = Duration::from_millis(100);

/// How often the drops of the services' sockets are read.
const SOCKETS_POLL: Duration = Duration::from_secs(1);
/// How long hooks and notifications have to end when the daemon stops.
const LAST_HOOKS: Duration = Duration::from_secs(5);

/// How long clients have to take their last answers.
const GOODBYE: Duration = Duration::from_millis(200);

/// Room of each channel to the loop: a full one delays its sender.
const CHANNEL: usize = 256;

/// Why the daemon could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] control::server::Error),
    /// rtnetlink.
    #[error(transparent)]
    Link(#[from] monitor::link::LinkError),
    /// A service address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A sysctl.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// The fast path.
    #[error(transparent)]
    Datapath(#[from] datapath::Error),
    /// The packet socket.
    #[error(transparent)]
    Send(#[from] crate::advertise::sender::SendError),
    /// The heartbeat socket.
    #[error(transparent)]
    Heartbeat(#[from] crate::advertise::heartbeat::HeartbeatError),
    /// The core refuses the configuration.
    #[error("{path}: {source}", path = path.display())]
    Core {
        /// The configuration file.
        path: std::path::PathBuf,
        /// What does not fit.
        source: anycast_core::ConfigError,
    },
    /// A question of a `dns` check.
    #[error("service {service}: {source}")]
    Question {
        /// The service's name.
        service: String,
        /// What is wrong with it.
        source: check::QuestionError,
    },
    /// An interface of the configuration is not there.
    #[error(
        "interface {interface} does not exist: `ip link` lists those that do; name it in the configuration, or start this daemon after it"
    )]
    NoInterface {
        /// Its name.
        interface: String,
    },
    /// An interface without a MAC address.
    #[error("interface {interface} has no Ethernet address: the fast path serves Ethernet links only")]
    NoMac {
        /// Its name.
        interface: String,
    },
    /// A signal handler or a timer.
    #[error("cannot handle {what}: {source}")]
    Runtime {
        /// What.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The farm's keys.
    #[error(transparent)]
    Keys(#[from] config::keys::KeysError),
    /// The routing protocol.
    #[error(transparent)]
    Routing(#[from] routing::RoutingError),
    /// Services as elements of pools.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The metrics endpoint.
    #[error(transparent)]
    Metrics(#[from] telemetry::endpoint::Error),
}

/// Everything the loop knows and holds.
pub(crate) struct Controller {
    config: Config,
    machine: Machine,
    /// By `LinkId`: the interfaces of the configuration.
    links: Vec<Link>,
    /// By `ServiceId`.
    services: Vec<ServiceRun>,
    checks: Vec<CheckRun>,
    addresses: Addresses,
    sysctls: Sysctls,
    groups: Groups,
    persister: Persister,
    alarms: Alarms,
    hooks: Hooks,
    drains: Drains,
    /// Advertises by a routing protocol, if one is configured.
    routing: Option<Routing>,
    routing_trouble: Option<String>,
    /// The services that are elements of pools.
    elements: Elements,
    loads_told: Time,
    /// Ends the watching of interfaces and addresses with the controller.
    _watch: monitor::link::LinkHandle,
    /// The same for routers.
    _routers: monitor::TaskGuard,
    /// The same for drain files.
    _files: monitor::TaskGuard,
    started: Time,
    /// The last picture of rtnetlink: which service address is where.
    seen: Vec<monitor::link::AddressSeen>,
    /// The keys in force; the first signs.
    keys: Vec<KeyId>,
    /// Why the key file could not be read again.
    keys_error: Option<String>,
    routing_keys_error: Option<String>,
    /// Set by the core's last action.
    done: Option<bool>,
    actions: Vec<Action>,
    /// What the services' sockets have dropped; `None` once the kernel has refused to tell.
    sockets: Option<monitor::sockets::Sockets>,
    sockets_read: Time,
    watchdog: Option<Duration>,
    watchdog_sent: Time,
}

/// Where reports come in.
struct Inputs {
    checks: mpsc::Receiver<check::Report>,
    processes: mpsc::Receiver<process::Report>,
    links: mpsc::Receiver<monitor::link::Report>,
    routers: mpsc::Receiver<monitor::router::Report>,
    files: mpsc::Receiver<monitor::file::Report>,
    routing: mpsc::Receiver<routing::Report>,
    requests: mpsc::Receiver<Request>,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// Runs the daemon until it is told to stop: brings everything up, decides, and takes everything down.
///
/// Must be called in a Tokio runtime of one thread, in the network namespace to serve.
///
/// # Errors
/// Something needed could not be had; what was begun has been undone.
pub async fn run(config: Config) -> Result<(), Error> {
    let handler = |kind| signal(kind).map_err(|source| Error::Runtime { what: "signals", source });
    // Before anything is changed: a signal during the start must not leave it half done.
    let (terminate, interrupt, hangup) = (
        handler(SignalKind::terminate())?,
        handler(SignalKind::interrupt())?,
        handler(SignalKind::hangup())?,
    );
    let (requests_in, requests) = mpsc::channel(CHANNEL);
    let server = control::server::Server::bind(&config.daemon.control_socket)?;
    let metrics = match config.daemon.metrics {
        Some(address) => Some(telemetry::endpoint::Endpoint::bind(address).await?),
        None => None,
    };
    let (checks_in, checks) = mpsc::channel(CHANNEL);
    let (processes_in, processes) = mpsc::channel(CHANNEL);
    let (links_in, links) = mpsc::channel(CHANNEL);
    let (routers_in, routers) = mpsc::channel(CHANNEL);

    let (files_in, files) = mpsc::channel(CHANNEL);
    let (routing_in, routing) = mpsc::channel(CHANNEL);

    let reports = start::Reports {
        checks: checks_in,
        processes: processes_in,
        links: links_in,
        routers: routers_in,
        files: files_in,
        routing: routing_in,
    };
    let mut controller = start::start(config, reports).await?;
    let mut inputs =
        Inputs { checks, processes, links, routers, files, routing, requests, terminate, interrupt, hangup };

    let serving = async {
        let metrics_requests = requests_in.clone();
        let metrics = async {
            match &metrics {
                Some(server) => server.run(metrics_requests).await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(server.run(requests_in), metrics);
    };
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        () = controller.serve(&mut inputs) => {}
        () = &mut serving => {}
    }
    telemetry::notify::stopping();
    let keep = controller.done.unwrap_or(false);
    let result = controller.stop(keep).await;
    // Ends both servers; who asked for the stop still gets the answer.
    drop(inputs);
    if tokio::time::timeout(GOODBYE, serving).await.is_err() {
        debug!("a client did not take its answer");
    }
    result
}

impl Controller {
    /// The loop. Ends when the machine says that stopping is done.
    async fn serve(&mut self, inputs: &mut Inputs) {
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.pass(Event::Tick);
        telemetry::notify::ready(&format!("{} services", self.services.len()));
        info!(services = self.services.len(), "running");
        while self.done.is_none() {
            let deadline = self.machine.deadline().map(instant_of);
            let sleep = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            // Biased: what shuts a gate comes before what opens one, and a flood of commands or heartbeats before nothing.
            tokio::select! {
                biased;
                Some(report) = inputs.processes.recv() => self.process_reported(&report),
                Some(report) = inputs.links.recv() => self.link_reported(report).await,
                Some(report) = inputs.checks.recv() => self.check_reported(report),
                service = self.hooks.started() => self.service_started(service),
                _ = inputs.terminate.recv() => self.asked_to_stop("SIGTERM"),
                _ = inputs.interrupt.recv() => self.asked_to_stop("SIGINT"),
                _ = inputs.hangup.recv() => self.reload_keys(),
                _ = poll.tick() => self.poll().await,
                () = sleep => self.pass(Event::Tick),
                () = link::readable(&mut self.links) => self.links_readable(),
                Some(report) = inputs.routers.recv() => self.router_reported(&report),
                Some(report) = inputs.files.recv() => self.drain_file_reported(report),
                Some(report) = inputs.routing.recv() => self.routing_reported(report),
                Some(request) = inputs.requests.recv() => self.requested(request),
            }
            self.drain(inputs).await;
            self.perform();
            self.tell_pools();
            self.still_alive();
        }
    }

    /// Takes what else is at hand, so that leases are renewed on the whole picture.
    async fn drain(&mut self, inputs: &mut Inputs) {
        while let Ok(report) = inputs.processes.try_recv() {
            self.process_reported(&report);
        }
        while let Ok(report) = inputs.links.try_recv() {
            self.link_reported(report).await;
        }
        while let Ok(report) = inputs.checks.try_recv() {
            self.check_reported(report);
        }
        self.handle(Event::Tick);
    }

    /// One event, and everything it leads to.
    fn pass(&mut self, event: Event) {
        self.handle(event);
        self.perform();
    }

    /// Hands an event to the machine; its actions are performed at the end of the pass.
    fn handle(&mut self, event: Event) {
        self.machine.handle(monitor::now(), event, &mut self.actions);
    }

    /// SIGHUP: reads the key files again, for a roll-over. A file that is wrong changes nothing.
    fn reload_keys(&mut self) {
        if !self.reload_farm_keys() & !self.reload_routing_keys() {
            warn!(
                "SIGHUP ignored: there is no farm.key_file and no ospf.key_file to read again; other keys of the configuration need `anycast stop --keep` and a start"
            );
        }
    }

    /// False if there are none.
    fn reload_farm_keys(&mut self) -> bool {
        let Some(auth) = &self.config.farm.auth else { return false };
        match config::keys::load(&auth.key_file) {
            Ok(keys) => {
                info!(?keys, "keys read again; the first signs");
                self.keys = keys.ids().collect();
                self.machine.set_keys(keys);
                self.keys_error = None;
            }
            Err(error) => {
                error!(%error, "keys not read again: those in force stay");
                self.hooks.alarm(None, &format!("keys not read again: {error}"));
                self.keys_error = Some(error.to_string());
            }
        }
        true
    }

    fn asked_to_stop(&mut self, by: &str) {
        info!(by, "stopping: handing over, then serving what still arrives");
        self.handle(Event::Stop { keep: false });
    }

    /// Tells systemd that the loop makes its passes; nobody else may.
    fn still_alive(&mut self) {
        let now = monitor::now();
        if let Some(interval) = self.watchdog
            && now.since(self.watchdog_sent) >= interval / 3
        {
            telemetry::notify::watchdog();
            self.watchdog_sent = now;
        }
    }
}

/// The runtime's name for a point of `CLOCK_MONOTONIC`.
fn instant_of(at: Time) -> Instant {
    Instant::now() + at.since(monitor::now())
}

/// Logs an error of something that will be tried again.
fn will_retry<T, E: std::error::Error>(result: Result<T, E>, what: &str) -> Option<T> {
    result.map_err(|error| error!(%error, "{what}")).ok()
}
