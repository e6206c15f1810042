//! Time passes: what is due happens, machines act, their actions are performed.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use super::again::Heard;
use super::queue::{Happening, Payload};
use super::{Broken, Entry, LINK, SERVICE, Sim, Waiting, mac};
use crate::event::{Action, Event, Reason, State};
use crate::heartbeat::Message;
use crate::{Machine, Time};

/// Any so many advertisements of one daemon …
const BUCKET: usize = 4;
/// … span this: two at once, then one a second.
const BUCKET_SPAN: Duration = Duration::from_secs(2);

/// Flags of every advertisement here.
const OVERRIDE: u8 = 0x20;
/// A service stops within this time …
const STOPPED: Duration = Duration::from_millis(100);
/// … and starts within this.
const STARTED: Duration = Duration::from_secs(1);

/// A contest is over within this time.
const CONTEST: Duration = Duration::from_secs(1);

impl Sim {
    /// Lets time pass.
    pub fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some((at, happening)) = self.queue.pop(end) {
            self.now = self.now.max(at);
            self.happen(happening);
        }
        self.now = end;
        self.catch_up_all();
        self.watch.pass(end);
        self.routers.pass(end);
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

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick(server) => self.tick(server),
            Happening::Arrival(server, Payload::Heartbeat(message)) => self.hear(server, &message),
            Happening::Arrival(server, Payload::Signed(datagram)) => {
                let datagram = datagram.to_vec();
                self.handle(server, Event::Heartbeat { link: LINK, source: SOURCE, datagram });
            }
            Happening::Arrival(server, Payload::Advertisement(mac, option)) => {
                let (flags, option) = (OVERRIDE, option.to_vec());
                let event =
                    Event::PeerAdvertisement { service: SERVICE, mac, override_flag: true, flags, option };
                self.handle(server, event);
            }
            Happening::Router(server) => {
                self.entry = Some(server);
                self.routers.advertised(server, None);
            }
            Happening::OneRouter(number) => self.routers.arrived(number),
            Happening::Lapse(server) => {
                if self.servers[server].open_until.is_some_and(|until| until <= self.now) {
                    self.watch.gate(self.now, server, false);
                }
                self.watch_routers();
            }
            Happening::Resume(server) => self.resume(server),
            Happening::Check(server) => self.check(server),
            Happening::Stopped(server) => self.process(server, false),
            Happening::Started(server) => {
                self.servers[server].process = true;
                self.handle(server, Event::Process { service: SERVICE, alive: true });
                self.handle(server, Event::Started { service: SERVICE });
                self.check(server);
            }
        }
    }

    fn tick(&mut self, server: usize) {
        let state = &mut self.servers[server];
        if state.tick != Some(self.now) {
            return;
        }
        state.tick = None;
        if state.paused_until.is_some() {
            return;
        }
        if state.wants().is_some_and(|wants| wants <= self.now) {
            self.handle(server, Event::Tick);
        } else {
            // The machine has changed its mind since: later.
            self.schedule(server);
        }
    }

    /// Gives a server's machine an event: later, if it is paused, never, if its daemon is down.
    pub(super) fn handle(&mut self, server: usize, event: Event) {
        let state = &mut self.servers[server];
        if state.paused_until.is_some() {
            state.waiting.push(Waiting::Event(event));
            return;
        }
        self.catch_up(server);
        let state = &mut self.servers[server];
        let now = state.clock.shows(self.now);
        let Some(machine) = &mut state.machine else { return };
        let mut actions = std::mem::take(&mut self.actions);
        machine.handle(now, event, &mut actions);
        self.perform(server, &mut actions);
        self.actions = actions;
    }

    /// A heartbeat reaches a server. It was read once, when it was sent: a thousand servers hear the same.
    pub(super) fn hear(&mut self, server: usize, heard: &Arc<Heard>) {
        let state = &mut self.servers[server];
        if state.paused_until.is_some() {
            state.waiting.push(Waiting::Heartbeat(Arc::clone(heard)));
            return;
        }
        if state.machine.is_none() || self.aside(server, heard) {
            return;
        }
        if self.asks_about_others(server, heard) {
            self.catch_up(server);
        }
        let state = &mut self.servers[server];
        let now = state.clock.shows(self.now);
        let Some(machine) = &mut state.machine else { return };
        let mut actions = std::mem::take(&mut self.actions);
        let accepted = machine.hear(now, LINK, SOURCE, &heard.message, &mut actions);
        self.told(server, heard, accepted);
        self.perform(server, &mut actions);
        self.actions = actions;
    }

    /// Does what a machine asks for, and asks it when it wants to be called again.
    pub(super) fn perform(&mut self, server: usize, actions: &mut Vec<Action>) {
        for action in actions.drain(..) {
            match &action {
                Action::Gate { open_until, .. } => {
                    let was_open = self.open(server);
                    let state = &mut self.servers[server];
                    state.open_until = open_until.map(|until| state.clock.when(until));
                    if let Some(until) = state.open_until {
                        self.queue.push(until, Happening::Lapse(server));
                    }
                    let open = self.open(server);
                    self.watch.gate(self.now, server, open);
                    self.watch_routers();
                    if was_open == open {
                        continue;
                    }
                }
                Action::Heartbeat { datagram, .. } => {
                    self.heartbeat(server, datagram);
                    continue;
                }
                Action::Advertise { .. } => self.advertise(server),
                Action::RouterGates { gates, .. } => {
                    self.router_gates(server, gates);
                    continue;
                }
                Action::AdvertiseTo { router, .. } => self.advertise_to(server, *router),
                Action::PersistEpoch { epoch, .. } => {
                    self.servers[server].config.services[0].restored.epoch = *epoch;
                }
                Action::PersistDrained { drained, .. } => {
                    self.servers[server].config.services[0].restored.drained = *drained;
                }
                Action::StopService { .. } => {
                    self.queue.push(self.now + STOPPED, Happening::Stopped(server));
                }
                Action::StartService { .. } => {
                    self.queue.push(self.now + STARTED, Happening::Started(server));
                }
                Action::StopDone { .. } => self.servers[server].machine = None,
                Action::StateChanged { to: State::Owner, reason, .. } => {
                    self.servers[server].owns_since = self.now;
                    let thought_dead = matches!(reason, Reason::OwnerSilent(_));
                    if thought_dead && self.lives_an_owner(server) {
                        self.traffic.false_takeovers += 1;
                        self.traffic.false_contests += u64::from(!self.servers[server].contests);
                    }
                }
                // No router here reads routes.
                Action::Route { .. }
                | Action::StateChanged { .. }
                | Action::Quiet { .. }
                | Action::Alarm(_)
                | Action::Answer { .. } => {}
            }
            self.log.push(Entry { at: self.now, server, action });
        }
        self.calm(server);
        self.verify(server);
        self.schedule(server);
    }

    /// Sees to it that the queue holds a tick when the machine wants one.
    fn schedule(&mut self, server: usize) {
        let state = &mut self.servers[server];
        let Some(wants) = state.wants() else { return };
        let wants = wants.max(self.now);
        if state.tick.is_none_or(|tick| tick > wants || tick < self.now) {
            state.tick = Some(wants);
            self.queue.push(wants, Happening::Tick(server));
        }
    }

    /// What must hold after everything that a machine does.
    fn verify(&mut self, server: usize) {
        let Some(machine) = &self.servers[server].machine else { return };
        if machine.state(SERVICE) != Some(State::Owner) {
            return;
        }
        if machine.able(SERVICE) == Some(false) && !machine.adopting(SERVICE) {
            self.broken.push((self.now, server, Broken::OwnsUnable));
        }
        if machine.deadline().is_none() {
            self.broken.push((self.now, server, Broken::NoDeadline));
        }
    }

    fn heartbeat(&mut self, server: usize, datagram: &[u8]) {
        self.traffic.heartbeats += 1;
        self.traffic.heartbeat_octets += datagram.len() as u64;
        // A machine that sends what nobody can read is heard by nobody.
        let Ok(message) = Message::decode(datagram) else { return };
        let asks = message.services.iter().any(|report| report.suspect);
        // It asks and knows of no owner any more.
        let contests = message.services.iter().any(|report| report.suspect && report.owner.is_none());
        let before = &mut self.servers[server];
        let begins_to_ask = !std::mem::replace(&mut before.asks, asks) && asks;
        let begins_to_contest = !std::mem::replace(&mut before.contests, contests) && contests;
        if begins_to_ask || begins_to_contest {
            let lives = self.lives_an_owner(server);
            self.traffic.false_questions += u64::from(begins_to_ask && lives);
            self.traffic.false_contests += u64::from(begins_to_contest && lives);
        }
        let farm = self.servers[server].config.farm.as_ref();
        if farm.is_some_and(|farm| farm.auth.is_some()) {
            self.broadcast(server, Payload::Signed(datagram.into()));
            return;
        }
        let heard = self.again.read(server, message);
        self.broadcast(server, Payload::Heartbeat(heard));
    }

    fn advertise(&mut self, server: usize) {
        self.traffic.advertisements += 1;
        let advertised = &mut self.servers[server].advertised;
        advertised.push_back(self.now);
        if advertised.len() >= BUCKET {
            // The server's clock may be fast.
            let span = self.now.since(advertised.pop_front().unwrap_or_default());
            if span + BUCKET_SPAN * self.network.drift / 1_000_000 < BUCKET_SPAN {
                self.broken.push((self.now, server, Broken::Bucket));
            }
        }
        if let Some(delay) = self.link.carry_to_router(&self.network, &mut self.random, server) {
            self.queue.push(self.now + delay, Happening::Router(server));
        }
        let machine = self.servers[server].machine.as_mut();
        let option = machine.and_then(|machine| machine.advertisement_option(SERVICE, mac(server), OVERRIDE));
        self.broadcast(server, Payload::Advertisement(mac(server), option.unwrap_or_default().into()));
    }

    /// Does somebody else own the address, awake and within this server's hearing, and not only since the contest that
    /// this server may still be in?
    fn lives_an_owner(&self, server: usize) -> bool {
        (0..self.servers.len()).any(|other| {
            other != server
                && self.open(other)
                && self.state(other) == State::Owner
                && self.now.since(self.servers[other].owns_since) >= CONTEST
                && self.servers[other].paused_until.is_none()
                && self.link.passes(other, server)
        })
    }

    fn broadcast(&mut self, from: usize, payload: Payload) {
        let mut arrivals: Vec<(Time, u32)> = Vec::with_capacity(self.servers.len());
        for to in (0..self.servers.len()).filter(|to| *to != from) {
            let delays = self.link.carry(&self.network, &mut self.random, from, to);
            arrivals.extend(delays.into_iter().flatten().map(|delay| (self.now + delay, to as u32)));
        }
        self.queue.wave(payload, arrivals);
    }
}

impl super::Server {
    /// When the daemon wants to be called, by the simulation's clock.
    fn wants(&self) -> Option<Time> {
        let deadline = self.machine.as_ref().and_then(Machine::deadline)?;
        Some(self.clock.when(deadline))
    }
}

/// Where heartbeats come from; only alarms say it.
const SOURCE: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
