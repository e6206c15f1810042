//! The machine of one server: events in, actions out, a deadline.

mod advertising;
mod alarm;
mod answers;
mod authentication;
mod bucket;
mod doubt;
mod link;
mod load;
mod meter;
mod ownership;
mod rogue;
mod route;
mod routers;
mod service;
mod sleep;
mod timer;

use std::net::IpAddr;
use std::time::Duration;

use crate::Time;
use crate::config::{Config, ConfigError, LinkId, Mode, ServerId, ServiceId};
use crate::event::{Action, Alarm, Command, CommandError, Event, State};
use crate::heartbeat::{DATAGRAM_MAX, Message};
use crate::random::Random;
use crate::status::Status;
use alarm::Alarms;
use link::{Accepted, Link};
use service::{Context, Input, Phase, STEP, Service};
use timer::Timer;

/// A server that owns nothing heartbeats this many times slower than an owner, at least.
const SLOW: u32 = 4;

/// … and once more for each so many live peers, which bounds the farm's traffic.
const PEERS_PER_SLOWDOWN: usize = 20;

/// The decisions of one server. Deterministic: the same configuration, seed and events give the same actions.
#[derive(Clone, Debug)]
pub struct Machine {
    config: Config,
    now: Time,
    random: Random,
    incarnation: u64,
    sequence: u64,
    services: Vec<Service>,
    links: Vec<Link>,
    alarms: Alarms,
    stage: Stage,
}

/// How far stopping has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// Serving the tail until then.
    Stopping(Time),
    /// Nothing is done any more.
    Stopped,
}

impl Machine {
    /// A machine that knows nothing yet: no service is able until events say so. The first call of [`handle`](Self::handle)
    /// shuts every gate that is not adopted. `seed` should differ between servers and starts.
    pub fn new(config: Config, seed: u64, now: Time) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut random = Random::new(seed ^ config.server.0);
        let dead_interval = config.farm.as_ref().map(|farm| farm.heartbeat).unwrap_or_default() * 3;
        let mut links: Vec<Link> = Vec::new();
        let mut services = Vec::new();
        for (index, service) in config.services.iter().enumerate() {
            let id = ServiceId(u16::try_from(index).map_err(|_| ConfigError::Services)?);
            let link = match links.iter().position(|link| link.id == service.link) {
                Some(link) => link,
                None => {
                    links.push(Link::new(service.link, now));
                    links.len() - 1
                }
            };
            let slot = links[link].add(id, service.address, service.vlan);
            services.push(Service::new(id, slot, service.clone(), dead_interval, now));
        }
        let drawn = random.next();
        let incarnation =
            config.farm.as_ref().and_then(|farm| farm.auth.as_ref()).map_or(drawn, |auth| auth.incarnation);
        let stage = Stage::Running;
        let alarms = Alarms::default();
        Ok(Self { config, now, random, incarnation, sequence: 0, services, links, alarms, stage })
    }

    /// Takes an event and appends what is to be done, to be performed in that order. Total: any event in any state. Time
    /// must not run backwards; if it does, it is taken to stand still. Events of unknown services and links are ignored.
    pub fn handle(&mut self, now: Time, event: Event, actions: &mut Vec<Action>) {
        if self.stage == Stage::Stopped {
            return;
        }
        let start = actions.len();
        self.wake(now, actions);
        self.event(event, actions);
        self.finish(start, actions);
    }

    /// Takes a heartbeat that was read already, as [`Event::Heartbeat`] is taken: a simulation reads once what a thousand
    /// servers hear. True if it was news.
    pub fn hear(
        &mut self,
        now: Time,
        link: LinkId,
        source: IpAddr,
        message: &Message,
        actions: &mut Vec<Action>,
    ) -> bool {
        if self.stage == Stage::Stopped {
            return false;
        }
        let start = actions.len();
        self.wake(now, actions);
        let accepted = self.heard(link, source, message, None, actions);
        self.finish(start, actions);
        accepted
    }

    /// Takes a heartbeat that says what the sender's last accepted one said, as it was heard at `at`: for
    /// [`calm`](Self::calm) machines without authentication the same as [`hear`](Self::hear), but for leases and heartbeats that
    /// are due.
    pub fn hear_again(&mut self, link: LinkId, server: ServerId, sequence: u64, at: Time) {
        if let Some(link) = self.link_mut(link) {
            link.hear_again(server, sequence, at);
        }
    }

    /// Does a heartbeat that says what was said before mean no more than that its sender lives?
    pub fn calm(&self) -> bool {
        self.stage == Stage::Running
            && self.services.iter().all(|service| {
                // Who makes the table looks at everybody, again and again.
                !service.config.per_router
                    && !service.deaf
                    && (service.config.mode != Mode::Solicited || service.phase != Phase::Standby)
            })
    }

    /// Does a heartbeat that says that its sender owns make this server look at nobody else?
    pub fn only_notes_owners(&self) -> bool {
        self.services.iter().all(|service| {
            let listens =
                matches!(service.phase, Phase::Down | Phase::Listening | Phase::Ready | Phase::Drained);
            listens && !service.deaf && !service.config.per_router && service.config.mode != Mode::Solicited
        })
    }

    /// Obeys the operator, or says why not. Appends actions like [`handle`](Self::handle).
    pub fn command(
        &mut self,
        now: Time,
        service: ServiceId,
        command: Command,
        actions: &mut Vec<Action>,
    ) -> Result<(), CommandError> {
        if self.stage != Stage::Running {
            return Err(CommandError::Stopping);
        }
        if service.index() >= self.services.len() {
            return Err(CommandError::NoSuchService(service));
        }
        let start = actions.len();
        self.wake(now, actions);
        let result = self.with(service, actions, |service, cx| service.command(command, cx));
        self.finish(start, actions);
        // The service exists, as was checked.
        result.unwrap_or(Err(CommandError::NoSuchService(service)))
    }

    /// When [`Event::Tick`] is wanted at the latest; `None` = only other events can change anything.
    pub fn deadline(&self) -> Option<Time> {
        let services = self.services.iter().filter_map(|service| service.timers.earliest());
        let links = self.links.iter().filter(|link| self.config.farm.is_some() && link.up);
        // What a heartbeat's own consequences have to tell is told at once, not with the next event.
        let links = links.map(|link| if link.urgent { self.now } else { link.next });
        match self.stage {
            Stage::Running => services.chain(links).min(),
            // Its end is put off, and the hand-over has a timer of its own.
            Stage::Stopping(_) if self.waits_for_sleepers() => services.chain(links).min(),
            Stage::Stopping(until) => services.chain(links).chain([until]).min(),
            Stage::Stopped => None,
        }
    }

    /// State of one service: what [`status`](Self::status) says, without the rest.
    pub fn state(&self, service: ServiceId) -> Option<State> {
        self.services.get(service.index()).map(Service::state)
    }

    /// Can the service be served? [`status`](Self::status) says why not.
    pub fn able(&self, service: ServiceId) -> Option<bool> {
        self.services.get(service.index()).map(|service| service.health.able())
    }

    /// Does it answer through a gate that the last controller left open, not yet known to be able?
    pub fn adopting(&self, service: ServiceId) -> bool {
        self.services.get(service.index()).is_some_and(|service| service.phase == Phase::Adopting)
    }

    /// Was a stop asked for?
    pub fn stopping(&self) -> bool {
        self.stage != Stage::Running
    }

    /// A picture of everything.
    pub fn status(&self, now: Time) -> Status {
        let services =
            self.services.iter().filter_map(|service| Some((service, self.link(service.config.link)?)));
        Status {
            server: self.config.server,
            services: services.map(|(service, link)| service.status(now, link)).collect(),
            links: self.links.iter().map(|link| link.status(now)).collect(),
            deadline: self.deadline(),
            stopping: self.stopping(),
        }
    }

    /// Stopping, and all that could take over must start their service first?
    fn waits_for_sleepers(&self) -> bool {
        self.services.iter().any(Service::waits_for_sleepers)
    }

    /// Before anything else: time has come to `now`. Silence that this process slept through is not silence.
    fn wake(&mut self, now: Time, actions: &mut Vec<Action>) {
        let heartbeat = self.heartbeat();
        let overslept = heartbeat.is_some_and(|heartbeat| {
            self.deadline().is_some_and(|deadline| now.since(deadline) >= heartbeat)
        });
        self.now = self.now.max(now);
        if !overslept {
            return;
        }
        let now = self.now;
        for index in 0..self.services.len() {
            self.with(ServiceId(index as u16), actions, |service, cx| {
                // Datagrams that wait in the socket are heard first.
                service.caught_up = now + STEP;
                for timer in [Timer::Doubt, Timer::Silent, Timer::Contest, Timer::Slice, Timer::Preempt] {
                    if service.timers.at(timer).is_some_and(|at| at < now + STEP) {
                        service.timers.arm(timer, now + STEP);
                    }
                }
                if service.lapsed(now) && service.had_candidates(cx) {
                    service.step(Input::Stalled, cx);
                }
            });
        }
    }

    fn event(&mut self, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Tick => {}
            Event::Check { service, check, ok, latency } => {
                self.with(service, actions, |service, cx| {
                    if service.health.check(check, ok, latency) {
                        service.gauge.latency(latency);
                        service.health_changed(cx);
                    }
                });
            }
            Event::Process { service, alive } => {
                self.with(service, actions, |service, cx| {
                    service.health.process(alive);
                    service.health_changed(cx);
                });
            }
            Event::Address { service, present } => {
                self.with(service, actions, |service, cx| {
                    service.health.address(present);
                    service.health_changed(cx);
                });
            }
            Event::Link { link, up } => {
                let now = self.now;
                if let Some(known) = self.link_mut(link) {
                    if up && !known.up {
                        known.next = now;
                    }
                    known.up = up;
                }
                self.on_link(link, actions, |service, cx| {
                    service.health.link(up);
                    service.health_changed(cx);
                });
            }
            Event::Mac { link, mac } => {
                let Some(known) = self.link_mut(link) else { return };
                let before = known.mac.replace(mac);
                if before.is_some_and(|before| before != mac) {
                    known.urgent = true;
                    self.on_link(link, actions, |service, cx| service.mac_changed(cx));
                }
            }
            Event::Started { service } => {
                self.with(service, actions, |service, cx| service.started(cx));
            }
            Event::Counters { service, queries, solicitations } => {
                self.with(service, actions, |service, cx| service.counters(queries, solicitations, cx));
            }
            Event::Drops { service, total } => {
                self.with(service, actions, |service, _| service.gauge.drops(total));
            }
            Event::RoutePeers { service, peers } => {
                self.with(service, actions, |service, _| service.route_peers(peers));
            }
            Event::Solicited { service, kind } => {
                self.with(service, actions, |service, cx| service.solicited(kind, cx));
            }
            Event::Delayed { service, address, mac } => {
                self.with(service, actions, |service, cx| service.delayed(address, mac, cx));
            }
            Event::Router { service, router, by } => {
                let now = self.now;
                self.with(service, actions, |service, _| service.router_seen(router, by, now));
            }
            Event::PeerAdvertisement { service, mac, override_flag, flags, option } => {
                self.advertised(service, mac, override_flag, flags, &option, actions);
            }
            Event::Heartbeat { link, source, datagram } => self.read(link, source, &datagram, actions),
            Event::Hold { service, hold } => {
                self.with(service, actions, |service, cx| service.hold(hold, cx));
            }
            Event::Stop { keep } => self.stop(keep, actions),
        }
    }

    /// A datagram arrived: can it be read?
    fn read(&mut self, link: LinkId, source: IpAddr, datagram: &[u8], actions: &mut Vec<Action>) {
        match Message::decode(datagram) {
            _ if self.config.farm.is_none() => {}
            Ok(message) => {
                self.heard(link, source, &message, Some(datagram), actions);
            }
            Err(error) => {
                let Some(known) = self.link_mut(link) else { return };
                known.malformed += 1;
                self.alarms.raise(self.now, Alarm::BadHeartbeat { link, source, error }, actions);
            }
        }
    }

    /// A heartbeat arrived: whose is it, and is it news?
    /// Without the datagram it was read from it is as good as unsigned.
    fn heard(
        &mut self,
        link: LinkId,
        source: IpAddr,
        message: &Message,
        datagram: Option<&[u8]>,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some(farm) = &self.config.farm else { return false };
        let (now, server, incarnation) = (self.now, self.config.server, self.incarnation);
        let Some(known) = self.links.iter_mut().find(|known| known.id == link) else { return false };
        if message.farm != farm.name {
            known.foreign += 1;
            self.alarms.raise(now, Alarm::ForeignFarm { link, source, farm: message.farm.clone() }, actions);
            return false;
        }
        if !self.authenticates(link, source, message, datagram, actions) {
            return false;
        }
        let Some(known) = self.links.iter_mut().find(|known| known.id == link) else { return false };
        if message.server == server {
            // This server's own datagram, looped back, is nobody's.
            if message.incarnation != incarnation {
                self.alarms.raise(now, Alarm::DuplicateServer { link, source }, actions);
            }
            return false;
        }
        if known.hear(now, message) == Accepted::Stale {
            known.stale += 1;
            return false;
        }
        known.received += 1;
        for report in &message.services {
            let Some(service) = self.link(link).and_then(|known| Some(known.services[known.slot(report)?]))
            else {
                continue;
            };
            self.with(service, actions, |service, cx| service.hear(message.server, report, cx));
        }
        if message.leaving {
            if let Some(known) = self.link_mut(link) {
                known.forget(message.server);
            }
            self.on_link(link, actions, |service, cx| service.left(message.server, cx));
        }
        self.on_link(link, actions, |service, cx| service.heard_somebody(cx));
        true
    }

    fn stop(&mut self, keep: bool, actions: &mut Vec<Action>) {
        if keep {
            let lease = self.config.restart_lease;
            let mut open = false;
            for index in 0..self.services.len() {
                open |= self
                    .with(ServiceId(index as u16), actions, |service, cx| service.keep(lease, cx))
                    .unwrap_or_default();
            }
            if open {
                // Peers wait for the lease to run out, no longer.
                self.send_everywhere(Some(lease / 3), false, actions);
            }
            self.stage = Stage::Stopped;
            actions.push(Action::StopDone { keep });
            return;
        }
        if self.stage != Stage::Running {
            return;
        }
        let mut tail = false;
        for index in 0..self.services.len() {
            tail |= self
                .with(ServiceId(index as u16), actions, |service, cx| service.stop(cx))
                .unwrap_or_default();
        }
        self.stage = Stage::Stopping(if tail { self.now + self.config.grace } else { self.now });
    }

    /// After everything else: timers that are due, heartbeats, leases, and the order of the actions.
    fn finish(&mut self, start: usize, actions: &mut Vec<Action>) {
        if self.stage == Stage::Stopped {
            sort(&mut actions[start..]);
            return;
        }
        for index in 0..self.services.len() {
            self.with(ServiceId(index as u16), actions, |service, cx| {
                service.start_at_first(cx);
                service.expire(cx);
                service.settle_routers(cx);
                service.settle_route(cx);
                service.gate(false, cx);
            });
        }
        self.heartbeats(actions);
        if let Stage::Stopping(until) = &mut self.stage
            && self.services.iter().any(Service::waits_for_sleepers)
        {
            // The tail begins when somebody has taken over.
            *until = self.now + self.config.grace;
        } else if let Stage::Stopping(until) = self.stage
            && self.now >= until
        {
            self.stage = Stage::Stopped;
            for index in 0..self.services.len() {
                self.with(ServiceId(index as u16), actions, Service::shut);
            }
            actions.push(Action::StopDone { keep: false });
        }
        sort(&mut actions[start..]);
    }

    /// Sends the heartbeats that are due.
    fn heartbeats(&mut self, actions: &mut Vec<Action>) {
        let Some(heartbeat) = self.heartbeat() else { return };
        let now = self.now;
        let leaving = self.stage != Stage::Running;
        for index in 0..self.links.len() {
            let link = &mut self.links[index];
            if !link.up || !(link.urgent || now >= link.next) {
                continue;
            }
            if now >= link.next {
                link.repeats = link.repeats.saturating_sub(u8::from(!link.urgent));
                link.sweep(now);
            }
            link.urgent = false;
            let id = link.id;
            let slowness = SLOW.max((link.live(now).count() / PEERS_PER_SLOWDOWN) as u32);
            let repeating = link.repeats > 0;
            let owns = self
                .services
                .iter()
                .any(|service| service.config.link == id && (service.owns() || service.owns_routers()));
            let slow = heartbeat * slowness;
            // Others spread out by a tenth, and announce the longest it can take.
            let announced = if owns { heartbeat } else { slow + slow / 10 };
            let next =
                if owns || repeating { heartbeat } else { slow - slow / 10 + self.random.up_to(slow / 5) };
            self.links[index].next = now + next;
            self.send(index, announced, leaving, actions);
            self.on_link(id, actions, |service, cx| service.answerers_changed(cx));
        }
    }

    fn send_everywhere(&mut self, interval: Option<Duration>, leaving: bool, actions: &mut Vec<Action>) {
        let Some(heartbeat) = self.heartbeat() else { return };
        for index in 0..self.links.len() {
            if self.links[index].up {
                self.send(index, interval.unwrap_or(heartbeat), leaving, actions);
            }
        }
    }

    /// Tells the link about all services on it, in as many datagrams as it takes.
    fn send(&mut self, index: usize, interval: Duration, leaving: bool, actions: &mut Vec<Action>) {
        let Some(farm) = self.config.farm.as_ref().map(|farm| farm.name.clone()) else { return };
        let (now, server) = (self.now, self.config.server);
        let link = &self.links[index];
        let empty = Message {
            farm,
            server,
            incarnation: self.incarnation,
            sequence: 0,
            interval,
            leaving,
            mac: link.mac,
            services: Vec::new(),
        };
        let room = DATAGRAM_MAX - empty.encoded_len() - self.trailer_room();
        let mut messages = vec![empty.clone()];
        let mut used = 0;
        for service in &link.services {
            let report = self.services[service.index()].report(now, server, link);
            let size = report.element_len();
            if used + size > room {
                messages.push(empty.clone());
                used = 0;
            }
            used += size;
            if let Some(message) = messages.last_mut() {
                message.services.push(report);
            }
        }
        for (number, mut message) in messages.into_iter().enumerate() {
            self.sequence += 1;
            message.sequence = self.sequence;
            let mut datagram = message.encode();
            self.sign(index, number == 0, &mut datagram);
            let link = &mut self.links[index];
            link.sent += 1;
            actions.push(Action::Heartbeat { link: link.id, datagram });
        }
    }

    fn heartbeat(&self) -> Option<Duration> {
        self.config.farm.as_ref().map(|farm| farm.heartbeat)
    }

    fn link(&self, id: LinkId) -> Option<&Link> {
        self.links.iter().find(|link| link.id == id)
    }

    fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.id == id)
    }

    /// Does something with each service of a link.
    fn on_link(
        &mut self,
        link: LinkId,
        actions: &mut Vec<Action>,
        mut f: impl FnMut(&mut Service, &mut Context<'_>),
    ) {
        for index in 0..self.services.len() {
            if self.services[index].config.link == link {
                self.with(ServiceId(index as u16), actions, &mut f);
            }
        }
    }

    /// Does something with one service, lending it what it needs. `None` if there is no such service.
    fn with<T>(
        &mut self,
        service: ServiceId,
        actions: &mut Vec<Action>,
        f: impl FnOnce(&mut Service, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let heartbeat = self.heartbeat();
        let service = self.services.get_mut(service.index())?;
        let link = self.links.iter_mut().find(|link| link.id == service.config.link)?;
        let mut context = Context {
            now: self.now,
            server: self.config.server,
            heartbeat,
            lease: self.config.lease,
            grace: self.config.grace,
            link,
            random: &mut self.random,
            alarms: &mut self.alarms,
            actions,
        };
        Some(f(service, &mut context))
    }
}

/// Puts first what must be fast: gates, then advertisements, then heartbeats, then what may wait. Otherwise the order stays.
fn sort(actions: &mut [Action]) {
    actions.sort_by_key(|action| match action {
        // The routers' before the service's: what they shut must not be open under the other's lease.
        Action::RouterGates { .. } => 0,
        Action::Gate { .. } => 1,
        Action::Route { .. }
        | Action::Advertise { .. }
        | Action::AdvertiseTo { .. }
        | Action::Answer { .. } => 2,
        Action::Heartbeat { .. } => 3,
        Action::StateChanged { .. } | Action::Quiet { .. } | Action::Alarm(_) => 4,
        Action::StopService { .. }
        | Action::StartService { .. }
        | Action::PersistEpoch { .. }
        | Action::PersistDrained { .. } => 5,
        Action::StopDone { .. } => 6,
    });
}
