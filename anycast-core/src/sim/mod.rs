//! A virtual link of many servers under a virtual clock: one [`Machine`] each, datagrams with loss, delay, duplication,
//! overtaking and cuts, clocks that drift, gates with their leases, and a router whose neighbour cache entry follows the
//! advertisements that reach it.
//!
//! Deterministic by seed. Nothing waits: time jumps to the next thing that happens.

mod again;
pub mod bounds;
mod clock;
mod drive;
pub mod figures;
pub mod history;
mod link;
mod operate;
mod queue;
mod routers;
pub mod scenario;
mod step;
mod watch;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

pub use bounds::{Bounds, Violation};
pub use drive::run;
pub use figures::Figures;
pub use link::Network;
pub use routers::router;
pub use scenario::{Deed, Farm, Scenario, Selector, Step, Way};
pub use watch::{Spell, Watch};

use crate::config::{
    CheckConfig, Config, FarmConfig, Mode, PRIORITY_DEFAULT, Restored, ServerId, ServiceConfig,
};
use crate::event::{Action, Alarm, Cause, Event, Reason, State};
use crate::random::Random;
use crate::{LinkId, Machine, ServiceId, Status, Time};
use again::{Again, Heard};
use clock::Clock;
use queue::Queue;

/// The one service and the one link of every server here.
const SERVICE: ServiceId = ServiceId(0);
const LINK: LinkId = LinkId(0);

/// The farm, before anything happens to it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Number of servers.
    pub servers: usize,
    /// Everything random follows from it.
    pub seed: u64,
    /// The link.
    pub network: Network,
    /// Configuration of each server, by its number.
    pub config: fn(usize) -> Config,
}

/// A sensible configuration of server `number`: `failover`, heartbeat 50 ms, lease 300 ms, one check, no standby.
pub fn config(number: usize) -> Config {
    Config {
        server: ServerId(number as u64 + 1),
        farm: Some(FarmConfig { name: "sim".to_owned(), heartbeat: Duration::from_millis(50), auth: None }),
        lease: Duration::from_millis(300),
        restart_lease: Duration::from_secs(10),
        grace: Duration::from_secs(2),
        services: vec![ServiceConfig {
            address: IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x53)),
            vlan: 0,
            link: LINK,
            mode: Mode::Failover,
            priority: PRIORITY_DEFAULT,
            preempt_delay: None,
            answer_delay: None,
            per_router: false,
            neighbor_discovery: true,
            route: None,
            checks: vec![CheckConfig { rise: 1, fall: 1 }],
            process: true,
            standby: None,
            load: None,
            foreign: Vec::new(),
            restored: Restored::default(),
        }],
    }
}

/// MAC address of server `number`.
pub fn mac(number: usize) -> [u8; 6] {
    let [.., a, b] = (number as u32).to_be_bytes();
    [0x02, 0, 0, 0, a, b]
}

/// One server.
#[derive(Debug)]
struct Server {
    config: Config,
    clock: Clock,
    /// `None` while the daemon is down.
    machine: Option<Machine>,
    starts: u64,
    /// The service process lives.
    process: bool,
    /// It lives and answers nothing.
    hangs: bool,
    /// The host has power.
    powered: bool,
    /// The daemon does not run until then; what arrives meanwhile waits.
    paused_until: Option<Time>,
    waiting: Vec<Waiting>,
    /// The gate as it stands in the map: it outlives the daemon.
    open_until: Option<Time>,
    /// When the queue holds a tick for it; a later wish is looked up then.
    tick: Option<Time>,
    /// It asks whether the owner lives; it has given the owner up, and its turn comes first.
    asks: bool,
    contests: bool,
    /// When it last became the owner.
    owns_since: Time,
    /// Its last advertisements since the daemon's start, newest last.
    advertised: VecDeque<Time>,
    queries: u64,
    solicitations: u64,
}

/// What waits for a paused daemon.
#[derive(Debug)]
enum Waiting {
    Event(Event),
    Heartbeat(Arc<Heard>),
}

/// Something that one server did, with the time.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When.
    pub at: Time,
    /// Which server.
    pub server: usize,
    /// What; heartbeats and renewals of leases are left out.
    pub action: Action,
}

/// A rule that a machine broke, whatever the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Owner, and not able to serve.
    OwnsUnable,
    /// Owner without a deadline: nothing would renew its lease.
    NoDeadline,
    /// More advertisements than the token bucket holds.
    Bucket,
}

/// What the farm sent, and what it did without need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Heartbeats sent.
    pub heartbeats: u64,
    /// Their octets of UDP payload.
    pub heartbeat_octets: u64,
    /// Unsolicited advertisements sent.
    pub advertisements: u64,
    /// Times a server asked whether the owner lives, and it did.
    pub false_questions: u64,
    /// Times a server gave up an owner that lived, and went for the address: it was the first in the contest, or took it.
    pub false_contests: u64,
    /// Times a server took the address from an owner that it thought dead, and that was not.
    pub false_takeovers: u64,
}

/// The simulation.
#[derive(Debug)]
pub struct Sim {
    now: Time,
    random: Random,
    seed: u64,
    network: Network,
    link: link::Link,
    servers: Vec<Server>,
    queue: Queue,
    /// The server that the router's neighbour cache entry names.
    entry: Option<usize>,
    watch: Watch,
    routers: routers::Routers,
    log: Vec<Entry>,
    traffic: Traffic,
    /// Room for what a machine asks for.
    actions: Vec<Action>,
    broken: Vec<(Time, usize, Broken)>,
    again: Again,
}

impl Sim {
    /// A farm of which no daemon has been started yet.
    pub fn new(plan: &Plan) -> Self {
        Self::of((0..plan.servers).map(plan.config).collect(), plan.seed, plan.network)
    }

    /// The same for servers with these configurations.
    pub fn of(configs: Vec<Config>, seed: u64, network: Network) -> Self {
        let mut random = Random::new(seed);
        let count = configs.len();
        let servers = configs.into_iter().map(|config| Server {
            config,
            clock: if network.drift == 0 {
                Clock::default()
            } else {
                let ppm = random.below(2 * u64::from(network.drift) + 1) as i32 - network.drift as i32;
                Clock { offset: random.up_to(Duration::from_secs(1_000)), ppm }
            },
            machine: None,
            starts: 0,
            process: true,
            hangs: false,
            powered: true,
            paused_until: None,
            waiting: Vec::new(),
            open_until: None,
            tick: None,
            asks: false,
            contests: false,
            owns_since: Time::ZERO,
            advertised: VecDeque::new(),
            queries: 0,
            solicitations: 0,
        });
        let servers = servers.collect();
        Self {
            now: Time::ZERO,
            random,
            seed,
            network,
            link: link::Link::new(count),
            servers,
            queue: Queue::default(),
            entry: None,
            watch: Watch::new(count),
            routers: routers::Routers::new(count),
            log: Vec::new(),
            traffic: Traffic::default(),
            actions: Vec::new(),
            broken: Vec::new(),
            again: Again::new(count, network.drift == 0),
        }
    }

    /// From now on every machine is told of every heartbeat in full, when it arrives: slower, and the same.
    pub fn in_full(&mut self) {
        self.tell_all();
    }

    /// The virtual time.
    pub const fn now(&self) -> Time {
        self.now
    }

    /// Number of servers.
    pub const fn servers(&self) -> usize {
        self.servers.len()
    }

    /// Is the server's gate open?
    pub fn open(&self, server: usize) -> bool {
        self.servers[server].open_until.is_some_and(|until| until > self.now)
    }

    /// Servers whose gate is open.
    pub fn gates(&self) -> Vec<usize> {
        (0..self.servers.len()).filter(|server| self.open(*server)).collect()
    }

    /// State of a server's service; Down if its daemon is.
    pub fn state(&self, server: usize) -> State {
        self.servers[server]
            .machine
            .as_ref()
            .and_then(|machine| machine.state(SERVICE))
            .unwrap_or(State::Down)
    }

    /// Status of a server, if its daemon runs.
    pub fn status(&self, server: usize) -> Option<Status> {
        let state = &self.servers[server];
        Some(state.machine.as_ref()?.status(state.clock.shows(self.now)))
    }

    /// Servers in a state.
    pub fn in_state(&self, state: State) -> Vec<usize> {
        (0..self.servers.len()).filter(|server| self.state(*server) == state).collect()
    }

    /// Does the server's daemon run (paused or not)?
    pub fn running(&self, server: usize) -> bool {
        self.servers[server].machine.is_some()
    }

    /// Would a query that reaches the server be answered?
    pub fn serves(&self, server: usize) -> bool {
        let state = &self.servers[server];
        state.powered && state.process && !state.hangs
    }

    /// The server that the router's entry names.
    pub const fn entry(&self) -> Option<usize> {
        self.entry
    }

    /// Queries that reached a server so far.
    pub fn queries_of(&self, server: usize) -> u64 {
        self.servers[server].queries
    }

    /// What has been done, oldest first.
    pub fn log(&self) -> &[Entry] {
        &self.log
    }

    /// Takes the log away.
    pub fn take_log(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.log)
    }

    /// Forgets the log and the watch's worst spells.
    pub fn forget(&mut self) {
        self.log.clear();
        self.watch.forget(self.now);
    }

    /// Advertisements in the log, with their causes.
    pub fn advertisements(&self) -> impl Iterator<Item = (Time, usize, Cause)> + '_ {
        self.log.iter().filter_map(|entry| match entry.action {
            Action::Advertise { cause, .. } => Some((entry.at, entry.server, cause)),
            _ => None,
        })
    }

    /// Changes of state in the log.
    pub fn changes(&self) -> impl Iterator<Item = (Time, usize, State, &Reason)> + '_ {
        self.log.iter().filter_map(|entry| match &entry.action {
            Action::StateChanged { to, reason, .. } => Some((entry.at, entry.server, *to, reason)),
            _ => None,
        })
    }

    /// Alarms in the log.
    pub fn alarms(&self) -> impl Iterator<Item = (usize, &Alarm)> + '_ {
        self.log.iter().filter_map(|entry| match &entry.action {
            Action::Alarm(alarm) => Some((entry.server, alarm)),
            _ => None,
        })
    }

    /// What was seen of the gates.
    pub const fn watch(&self) -> &Watch {
        &self.watch
    }

    /// What was sent so far.
    pub const fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Rules that were broken, first to last.
    pub fn broken(&self) -> &[(Time, usize, Broken)] {
        &self.broken
    }
}
