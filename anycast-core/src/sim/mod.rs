//! A virtual link of many servers under a virtual clock: one [`Machine`] each, datagrams with loss, delay, duplication and
//! cuts, gates with their leases, and a router whose neighbour cache entry follows the advertisements.
//!
//! Deterministic by seed. Nothing waits: time jumps to the next thing that happens.

mod link;
mod watch;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

pub use link::Network;
pub use watch::{Spell, Watch};

use crate::config::{CheckConfig, Config, FarmConfig, Mode, Restored, ServerId, ServiceConfig};
use crate::event::{Action, Alarm, Cause, Command, CommandError, Event, Reason, Solicitation, State};
use crate::random::Random;
use crate::{LinkId, Machine, ServiceId, Status, Time};

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
        farm: Some(FarmConfig { name: "sim".to_owned(), heartbeat: Duration::from_millis(50) }),
        lease: Duration::from_millis(300),
        restart_lease: Duration::from_secs(10),
        grace: Duration::from_secs(2),
        services: vec![ServiceConfig {
            address: IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x53)),
            vlan: 0,
            link: LINK,
            mode: Mode::Failover,
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
    /// `None` while the daemon is down.
    machine: Option<Machine>,
    starts: u64,
    /// The service process lives.
    process: bool,
    /// The daemon does not run until then; what arrives meanwhile waits.
    paused_until: Option<Time>,
    waiting: Vec<Event>,
    /// The gate as it stands in the map: it outlives the daemon.
    open_until: Option<Time>,
    tick: Option<Time>,
    queries: u64,
    solicitations: u64,
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

/// What is to happen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Tick(usize),
    Arrival(usize, Vec<u8>),
    Advertisement(usize, [u8; 6]),
    Lapse(usize),
    Resume(usize),
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
    queue: BinaryHeap<Reverse<(Time, u64, Happening)>>,
    queued: u64,
    /// The server that the router's neighbour cache entry names.
    entry: Option<usize>,
    watch: Watch,
    log: Vec<Entry>,
    heartbeats: u64,
    heartbeat_octets: u64,
}

impl Sim {
    /// A farm of which no daemon has been started yet.
    pub fn new(plan: &Plan) -> Self {
        let servers = (0..plan.servers).map(|number| Server {
            config: (plan.config)(number),
            machine: None,
            starts: 0,
            process: true,
            paused_until: None,
            waiting: Vec::new(),
            open_until: None,
            tick: None,
            queries: 0,
            solicitations: 0,
        });
        Self {
            now: Time::ZERO,
            random: Random::new(plan.seed),
            seed: plan.seed,
            network: plan.network,
            link: link::Link::new(plan.servers),
            servers: servers.collect(),
            queue: BinaryHeap::new(),
            queued: 0,
            entry: None,
            watch: Watch::new(plan.servers),
            log: Vec::new(),
            heartbeats: 0,
            heartbeat_octets: 0,
        }
    }

    /// The virtual time.
    pub const fn now(&self) -> Time {
        self.now
    }

    /// Starts a server's daemon. It adopts the gate its last one left open, and remembers the epoch.
    ///
    /// # Errors
    /// The plan's configuration is not valid.
    pub fn start(&mut self, server: usize) -> Result<(), crate::ConfigError> {
        let state = &mut self.servers[server];
        state.starts += 1;
        state.waiting.clear();
        state.paused_until = None;
        let mut config = state.config.clone();
        for service in &mut config.services {
            service.restored.gate_open_until = state.open_until.filter(|until| *until > self.now);
        }
        let seed = self.seed ^ state.starts << 32;
        state.machine = Some(Machine::new(config, seed, self.now)?);
        let alive = state.process;
        self.handle(server, Event::Mac { link: LINK, mac: mac(server) });
        self.handle(server, Event::Link { link: LINK, up: true });
        self.handle(server, Event::Address { service: SERVICE, present: true });
        self.handle(server, Event::Process { service: SERVICE, alive });
        self.handle(server, Event::Check { service: SERVICE, check: 0, ok: alive, latency: Duration::ZERO });
        self.watch_able(server);
        Ok(())
    }

    /// Starts all daemons.
    ///
    /// # Errors
    /// The plan's configuration is not valid.
    pub fn start_all(&mut self) -> Result<(), crate::ConfigError> {
        (0..self.servers.len()).try_for_each(|server| self.start(server))
    }

    /// The service process of a server exits or comes back.
    pub fn process(&mut self, server: usize, alive: bool) {
        self.servers[server].process = alive;
        self.handle(server, Event::Process { service: SERVICE, alive });
        self.handle(server, Event::Check { service: SERVICE, check: 0, ok: alive, latency: Duration::ZERO });
        self.watch_able(server);
    }

    /// The daemon dies without a word (SIGKILL); its gate stays open until the lease runs out.
    pub fn crash(&mut self, server: usize) {
        self.servers[server].machine = None;
        self.watch_able(server);
    }

    /// The whole server dies: its gate too.
    pub fn crash_host(&mut self, server: usize) {
        self.crash(server);
        self.servers[server].open_until = None;
        self.watch.gate(self.now, server, false);
    }

    /// The daemon is asked to stop.
    pub fn stop(&mut self, server: usize, keep: bool) {
        self.handle(server, Event::Stop { keep });
        self.watch_able(server);
    }

    /// The daemon stands still for a while; what arrives waits in its sockets.
    pub fn pause(&mut self, server: usize, duration: Duration) {
        let until = self.now + duration;
        self.servers[server].paused_until = Some(until);
        self.push(until, Happening::Resume(server));
        self.watch_able(server);
    }

    /// Frames from one server to another are lost, or arrive again.
    pub fn cut(&mut self, from: usize, to: usize, cut: bool) {
        self.link.cut(from, to, cut);
    }

    /// Both ways between a server and all others.
    pub fn isolate(&mut self, server: usize, cut: bool) {
        for other in (0..self.servers.len()).filter(|other| *other != server) {
            self.link.cut(server, other, cut);
            self.link.cut(other, server, cut);
        }
    }

    /// Any event for one server, now.
    pub fn event(&mut self, server: usize, event: Event) {
        self.handle(server, event);
    }

    /// The operator asks one server; `None` if its daemon is down.
    pub fn command(&mut self, server: usize, command: Command) -> Option<Result<(), CommandError>> {
        let mut actions = Vec::new();
        let result = self.servers[server].machine.as_mut()?.command(self.now, SERVICE, command, &mut actions);
        self.perform(server, actions);
        self.watch_able(server);
        Some(result)
    }

    /// `queries` arrive at the server that the router's entry names, and its controller reads the counters. Without an
    /// entry, or if that server's gate is shut for probes, the router solicits first.
    pub fn queries(&mut self, queries: u64) {
        if let Some(server) = self.entry {
            self.servers[server].queries += queries;
        }
        self.read_counters();
    }

    /// The router solicits by multicast: every server hears it, whoever answers first becomes the entry.
    pub fn solicit(&mut self) {
        self.entry = None;
        for server in 0..self.servers.len() {
            self.servers[server].solicitations += 1;
            if self.open(server) {
                self.entry.get_or_insert(server);
            } else {
                self.handle(server, Event::Solicited { service: SERVICE, kind: Solicitation::Multicast });
            }
        }
        self.read_counters();
    }

    /// Every controller reads its counters.
    pub fn read_counters(&mut self) {
        for server in 0..self.servers.len() {
            let (queries, solicitations) = (self.servers[server].queries, self.servers[server].solicitations);
            self.handle(server, Event::Counters { service: SERVICE, queries, solicitations });
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.queue.peek().is_some_and(|Reverse((at, ..))| *at <= end) {
            if let Some(Reverse((at, _, happening))) = self.queue.pop() {
                self.now = self.now.max(at);
                self.happen(happening);
            }
        }
        self.now = end;
        self.watch.pass(end);
    }

    /// Lets time pass in steps of `step` until `done` or `limit` is over; what had passed then, if it came to be done.
    pub fn run_until(
        &mut self,
        limit: Duration,
        step: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Option<Duration> {
        let start = self.now;
        while !done(self) {
            if self.now.since(start) >= limit {
                return None;
            }
            self.run(step);
        }
        Some(self.now.since(start))
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
        Some(self.servers[server].machine.as_ref()?.status(self.now))
    }

    /// Servers in a state.
    pub fn in_state(&self, state: State) -> Vec<usize> {
        (0..self.servers.len()).filter(|server| self.state(*server) == state).collect()
    }

    /// The server that the router's entry names.
    pub const fn entry(&self) -> Option<usize> {
        self.entry
    }

    /// What has been done, oldest first.
    pub fn log(&self) -> &[Entry] {
        &self.log
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

    /// Heartbeats sent so far, and their octets of UDP payload.
    pub const fn traffic(&self) -> (u64, u64) {
        (self.heartbeats, self.heartbeat_octets)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick(server) => {
                if self.servers[server].tick == Some(self.now) {
                    self.servers[server].tick = None;
                    if self.servers[server].paused_until.is_none() {
                        self.handle(server, Event::Tick);
                    }
                }
            }
            Happening::Arrival(server, datagram) => self.arrive(server, datagram),
            Happening::Advertisement(server, mac) => {
                let event = Event::PeerAdvertisement { service: SERVICE, mac, override_flag: true };
                self.handle(server, event);
            }
            Happening::Lapse(server) => {
                if self.servers[server].open_until.is_some_and(|until| until <= self.now) {
                    self.watch.gate(self.now, server, false);
                }
            }
            Happening::Resume(server) => {
                if self.servers[server].paused_until.is_some_and(|until| until <= self.now) {
                    self.servers[server].paused_until = None;
                    self.handle(server, Event::Tick);
                    for event in std::mem::take(&mut self.servers[server].waiting) {
                        self.handle(server, event);
                    }
                    self.watch_able(server);
                }
            }
        }
    }

    fn arrive(&mut self, server: usize, datagram: Vec<u8>) {
        let source = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
        self.handle(server, Event::Heartbeat { link: LINK, source, datagram });
    }

    /// Gives a server's machine an event: later, if it is paused, never, if its daemon is down.
    fn handle(&mut self, server: usize, event: Event) {
        let state = &mut self.servers[server];
        if state.paused_until.is_some() {
            state.waiting.push(event);
            return;
        }
        let Some(machine) = &mut state.machine else { return };
        let mut actions = Vec::new();
        machine.handle(self.now, event, &mut actions);
        self.perform(server, actions);
    }

    fn perform(&mut self, server: usize, actions: Vec<Action>) {
        for action in actions {
            match &action {
                Action::Gate { open_until, .. } => {
                    let was_open = self.open(server);
                    self.servers[server].open_until = *open_until;
                    let open = self.open(server);
                    self.watch.gate(self.now, server, open);
                    if let Some(until) = open_until {
                        self.push(*until, Happening::Lapse(server));
                    }
                    if was_open == open {
                        continue;
                    }
                }
                Action::Heartbeat { datagram, .. } => {
                    self.heartbeats += 1;
                    self.heartbeat_octets += datagram.len() as u64;
                    self.broadcast(server, |to| Happening::Arrival(to, datagram.clone()));
                    continue;
                }
                Action::Advertise { .. } => {
                    self.entry = Some(server);
                    self.broadcast(server, |to| Happening::Advertisement(to, mac(server)));
                }
                Action::PersistEpoch { epoch, .. } => {
                    self.servers[server].config.services[0].restored.epoch = *epoch;
                }
                Action::PersistDrained { drained, .. } => {
                    self.servers[server].config.services[0].restored.drained = *drained;
                }
                Action::StopDone { .. } => self.servers[server].machine = None,
                Action::StateChanged { .. } | Action::Quiet { .. } | Action::Alarm(_) => {}
            }
            self.log.push(Entry { at: self.now, server, action });
        }
        let deadline = self.servers[server].machine.as_ref().and_then(Machine::deadline);
        let deadline = deadline.map(|deadline| deadline.max(self.now));
        if deadline != self.servers[server].tick {
            self.servers[server].tick = deadline;
            if let Some(deadline) = deadline {
                self.push(deadline, Happening::Tick(server));
            }
        }
    }

    fn broadcast(&mut self, from: usize, happening: impl Fn(usize) -> Happening) {
        for to in (0..self.servers.len()).filter(|to| *to != from) {
            let arrivals = self.link.carry(&self.network, &mut self.random, from, to);
            for delay in arrivals.into_iter().flatten() {
                self.push(self.now + delay, happening(to));
            }
        }
    }

    fn push(&mut self, at: Time, happening: Happening) {
        self.queued += 1;
        self.queue.push(Reverse((at, self.queued, happening)));
    }

    /// Tells the watch whether this server is one that could serve.
    fn watch_able(&mut self, server: usize) {
        let state = &self.servers[server];
        let stopping = || state.machine.as_ref().is_some_and(|machine| machine.stopping());
        let drained = state.config.services[0].restored.drained;
        let able = state.process
            && state.machine.is_some()
            && state.paused_until.is_none()
            && !drained
            && !stopping();
        self.watch.able(self.now, server, able);
    }
}
