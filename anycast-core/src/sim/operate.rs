//! What happens to a farm from outside: daemons start and die, processes fail, frames are lost, operators ask.

use std::time::Duration;

use super::queue::Happening;
use super::{LINK, SERVICE, Sim, Waiting, mac};
use crate::event::{Command, CommandError, Event, Solicitation};
use crate::{ConfigError, Machine};

impl Sim {
    /// Starts a server's daemon. It adopts the gate its last one left open, and remembers the epoch.
    ///
    /// # Errors
    /// The plan's configuration is not valid.
    pub fn start(&mut self, server: usize) -> Result<(), ConfigError> {
        let now = self.now;
        self.forget_told(server);
        let state = &mut self.servers[server];
        state.powered = true;
        state.starts += 1;
        state.waiting.clear();
        state.paused_until = None;
        (state.asks, state.contests) = (false, false);
        state.advertised.clear();
        let mut config = state.config.clone();
        for service in &mut config.services {
            let open_until = state.open_until.filter(|until| *until > now);
            service.restored.gate_open_until = open_until.map(|until| state.clock.shows(until));
        }
        if let Some(auth) = config.farm.as_mut().and_then(|farm| farm.auth.as_mut()) {
            auth.incarnation = state.starts;
        }
        let seed = self.seed ^ state.starts << 32;
        state.machine = Some(Machine::new(config, seed, state.clock.shows(now))?);
        let (alive, ok) = (state.process, state.process && !state.hangs);
        self.handle(server, Event::Mac { link: LINK, mac: mac(server) });
        self.handle(server, Event::Link { link: LINK, up: true });
        self.handle(server, Event::Address { service: SERVICE, present: true });
        self.handle(server, Event::Process { service: SERVICE, alive });
        self.handle(server, Event::Check { service: SERVICE, check: 0, ok, latency: Duration::ZERO });
        self.watch_able(server);
        Ok(())
    }

    /// Starts all daemons.
    ///
    /// # Errors
    /// The plan's configuration is not valid.
    pub fn start_all(&mut self) -> Result<(), ConfigError> {
        (0..self.servers.len()).try_for_each(|server| self.start(server))
    }

    /// The service process of a server exits or comes back.
    pub fn process(&mut self, server: usize, alive: bool) {
        self.servers[server].process = alive;
        self.servers[server].hangs = false;
        self.handle(server, Event::Process { service: SERVICE, alive });
        self.handle(server, Event::Check { service: SERVICE, check: 0, ok: alive, latency: Duration::ZERO });
        self.watch_able(server);
    }

    /// The service process of a server hangs, or no longer does; the checks find out after `detection`.
    pub fn hang(&mut self, server: usize, hangs: bool, detection: Duration) {
        self.servers[server].hangs = hangs;
        self.watch_able(server);
        self.queue.push(self.now + detection, Happening::Check(server));
    }

    /// The daemon dies without a word (SIGKILL); its gate stays open until the lease runs out.
    pub fn crash(&mut self, server: usize) {
        self.forget_told(server);
        self.servers[server].machine = None;
        (self.servers[server].asks, self.servers[server].contests) = (false, false);
        self.watch_able(server);
    }

    /// The whole server dies: its gate too.
    pub fn crash_host(&mut self, server: usize) {
        self.crash(server);
        self.servers[server].powered = false;
        self.servers[server].open_until = None;
        self.routers.crash_host(server);
        self.watch.gate(self.now, server, false);
        self.watch_routers();
    }

    /// The daemon is asked to stop.
    pub fn stop(&mut self, server: usize, keep: bool) {
        self.handle(server, Event::Stop { keep });
        self.watch_able(server);
    }

    /// The daemon stands still for a while; what arrives waits in its sockets.
    pub fn pause(&mut self, server: usize, duration: Duration) {
        self.catch_up(server);
        let until = self.now + duration;
        self.servers[server].paused_until = Some(until);
        self.queue.push(until, Happening::Resume(server));
        self.watch_able(server);
    }

    /// Frames from one server to another are lost, or arrive again.
    pub fn cut(&mut self, from: usize, to: usize, cut: bool) {
        self.worsen(from, to, if cut { 1.0 } else { 0.0 });
    }

    /// Frames from one server to another are lost with this probability besides the network's own.
    pub fn worsen(&mut self, from: usize, to: usize, loss: f64) {
        if loss > 0.0 && !self.link.broken() {
            // A peer may be cut off for so long that it is forgotten.
            self.tell_all();
        }
        self.link.set(from, to, loss);
        self.watch.unbroken(self.now, !self.link.broken());
    }

    /// Frames between a server and the router are lost with these probabilities: what it sends, and what is sent to it.
    pub fn worsen_router(&mut self, server: usize, out: Option<f64>, back: Option<f64>) {
        let ways = self.link.router(server);
        *ways = (out.map_or(ways.0, |loss| loss as f32), back.map_or(ways.1, |loss| loss as f32));
        let reachable = ways.0 < 1.0 && ways.1 < 1.0;
        self.watch.reachable(self.now, server, reachable);
        self.watch_able(server);
    }

    /// The share of queries that do not reach a server whose entry the router has.
    pub fn unreached(&self, server: usize) -> f64 {
        self.link.unreached(server)
    }

    /// Both ways between a server and all others.
    pub fn isolate(&mut self, server: usize, cut: bool) {
        for other in (0..self.servers.len()).filter(|other| *other != server) {
            self.cut(server, other, cut);
            self.cut(other, server, cut);
        }
    }

    /// Gives a server's machine an event of the caller's making.
    pub fn event(&mut self, server: usize, event: Event) {
        self.handle(server, event);
    }

    /// The operator asks one server; `None` if its daemon is down or stands still.
    pub fn command(&mut self, server: usize, command: Command) -> Option<Result<(), CommandError>> {
        self.catch_up(server);
        let mut actions = Vec::new();
        let state = &mut self.servers[server];
        if state.paused_until.is_some() {
            return None;
        }
        let now = state.clock.shows(self.now);
        let result = state.machine.as_mut()?.command(now, SERVICE, command, &mut actions);
        self.perform(server, &mut actions);
        self.watch_able(server);
        Some(result)
    }

    /// `queries` arrive at the server that the router's entry names, and every controller reads its counters.
    pub fn queries(&mut self, queries: u64) {
        self.arrive(queries);
        self.read_counters();
    }

    /// `queries` arrive at the server that the router's entry names.
    pub fn arrive(&mut self, queries: u64) {
        if let Some(server) = self.entry {
            self.servers[server].queries += queries;
        }
    }

    /// The router solicits by multicast: every server hears it, whoever answers first becomes the entry.
    pub fn solicit(&mut self) {
        self.entry = None;
        for server in 0..self.servers.len() {
            if !self.servers[server].powered {
                continue;
            }
            self.servers[server].solicitations += 1;
            if !self.watch.reaches(server) {
                continue;
            }
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
            self.read_counters_of(server);
        }
    }

    /// One controller reads its counters.
    pub fn read_counters_of(&mut self, server: usize) {
        let (queries, solicitations) = (self.servers[server].queries, self.servers[server].solicitations);
        self.handle(server, Event::Counters { service: SERVICE, queries, solicitations });
    }

    /// Runs a paused daemon again: first its timers, then what waited.
    pub(super) fn resume(&mut self, server: usize) {
        if self.servers[server].paused_until.is_none_or(|until| until > self.now) {
            return;
        }
        self.servers[server].paused_until = None;
        self.handle(server, Event::Tick);
        for waiting in std::mem::take(&mut self.servers[server].waiting) {
            match waiting {
                Waiting::Event(event) => self.handle(server, event),
                Waiting::Heartbeat(message) => self.hear(server, &message),
            }
        }
        self.watch_able(server);
    }

    /// The checks of a server say what is so now.
    pub(super) fn check(&mut self, server: usize) {
        let ok = self.servers[server].process && !self.servers[server].hangs;
        self.handle(server, Event::Check { service: SERVICE, check: 0, ok, latency: Duration::ZERO });
        self.watch_able(server);
    }

    /// Tells the watch whether this server is one that could serve.
    pub(super) fn watch_able(&mut self, server: usize) {
        let state = &self.servers[server];
        let stopping = || state.machine.as_ref().is_some_and(Machine::stopping);
        let drained = state.config.services[0].restored.drained;
        let able = self.watch.reaches(server)
            && state.process
            && !state.hangs
            && state.machine.is_some()
            && state.paused_until.is_none()
            && !drained
            && !stopping();
        self.watch.able(self.now, server, able);
        self.routers.able(self.now, server, able);
    }
}
