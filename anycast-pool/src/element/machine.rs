//! The element's machine.

use std::collections::BTreeMap;

use super::{
    ElementConfig, ElementSnapshot, Event, Input, Output, Problem, RegistrationSnapshot, RegistrationState,
};
use crate::hunt::{Links, Step};
use crate::wire::{
    Cause, CauseCode, ElementId, Lifetime, Message, PolicyParameter, PoolElement, PoolHandle, RegistrarId,
    StatusFlags,
};
use crate::{ConnectionId, Random, Target, Time};

/// Doublings after which a pause is at its maximum anyway.
const DOUBLINGS_MAX: u32 = 16;

/// A service of a pool.
#[derive(Clone, Debug)]
pub struct Element {
    config: ElementConfig,
    links: Links,
    registrations: BTreeMap<usize, Registration>,
    random: Random,
    home: RegistrarId,
    able: bool,
    standby: bool,
    draining: bool,
    load: u32,
    stop: Stop,
    sent: u64,
    keep_alives: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    No,
    Until(Time),
    Done,
}

/// What one registrar knows, as far as this side can tell.
#[derive(Clone, Debug, Default)]
struct Registration {
    /// It may have the element: a registration was sent and no deregistration was answered since.
    may_have: bool,
    /// What it confirmed on this connection.
    confirmed: Option<Declared>,
    /// When the confirmed registration is to be renewed.
    renewal: Option<Time>,
    pending: Option<Pending>,
    /// Registrations without an answer, since the last answer.
    attempts: u32,
    /// A rejected registration is not tried again before.
    not_before: Option<Time>,
    /// Rejections in a row.
    rejections: u32,
    registrar: Option<RegistrarId>,
    keep_alive: Option<Time>,
    /// When it was last heard on this connection.
    heard: Time,
    problem: Option<Problem>,
    /// [`Event::Lost`] was told.
    lost: bool,
}

/// What an element says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Declared {
    policy: PolicyParameter,
    load: u32,
    flags: StatusFlags,
    at: Time,
}

#[derive(Clone, Copy, Debug)]
enum Pending {
    /// A registration, until T2 is over.
    Registration(Declared, Time),
    /// A deregistration, until T3 is over.
    Deregistration(Time),
}

impl Element {
    /// An element that is not able yet. Call [`handle`](Self::handle) with [`Input::Tick`] to begin.
    pub fn new(config: ElementConfig) -> Self {
        let links = Links::new(config.hunt, config.registrars, config.seed);
        let random = Random::new(config.seed ^ 0x5045);
        let load = config.policy.load().unwrap_or(0);
        Self {
            config,
            links,
            registrations: BTreeMap::new(),
            random,
            home: RegistrarId::UNDETERMINED,
            able: false,
            standby: false,
            draining: false,
            load,
            stop: Stop::No,
            sent: 0,
            keep_alives: 0,
        }
    }

    /// Takes what happened and says what to do.
    pub fn handle(&mut self, now: Time, input: Input<'_>) -> Vec<Output> {
        let mut out = Vec::new();
        if self.stop == Stop::Done {
            return out;
        }
        match input {
            Input::Connected(connection) => match self.links.connected(now, connection) {
                Some(number) => {
                    let registration = self.registrations.entry(number).or_default();
                    (registration.lost, registration.heard) = (false, now);
                }
                None => out.push(Output::Close(connection)),
            },
            Input::Message(connection, octets) => self.message(now, connection, octets, &mut out),
            Input::Closed(connection) => self.closed(now, connection, &mut out),
            Input::Announced(from, transports) => self.links.announced(now, from, transports),
            Input::Able(able) => self.able = able,
            Input::Standby(standby) => self.standby = standby,
            Input::Load(load) => self.load = load,
            Input::Drain(draining) => self.draining = draining,
            Input::Stop if self.stop == Stop::No => self.stop = Stop::Until(now + self.config.stop),
            Input::Stop | Input::Tick => {}
        }
        self.advance(now, &mut out);
        out
    }

    /// When to say [`Input::Tick`].
    pub fn next_timeout(&self) -> Option<Time> {
        let stop = match self.stop {
            Stop::Done => return None,
            Stop::Until(until) => Some(until),
            Stop::No => None,
        };
        let registrations = self.links.open().filter_map(|(number, _)| {
            let registration = self.registrations.get(&number)?;
            match registration.pending {
                Some(Pending::Registration(_, until) | Pending::Deregistration(until)) => Some(until),
                None if !self.wanted() => None,
                None => {
                    let renewal = self.renewal(registration);
                    [registration.not_before, renewal, self.load_due(registration)]
                        .into_iter()
                        .flatten()
                        .min()
                }
            }
        });
        registrations.chain(self.links.next_timeout()).chain(stop).min()
    }

    /// What it looks like now.
    pub fn snapshot(&self, now: Time) -> ElementSnapshot {
        let none = Registration::default();
        let registrations = self.links.iter().map(|(number, link)| {
            let registration = self.registrations.get(&number).unwrap_or(&none);
            RegistrationSnapshot {
                target: link.target.clone(),
                registrar: registration.registrar,
                link: link.state,
                state: registration.state(),
                renewal: self.renewal(registration).map(|at| at.since(now)),
                keep_alive: registration.keep_alive.map(|at| now.since(at)),
                problem: registration.problem.clone(),
            }
        });
        ElementSnapshot {
            handle: self.config.handle.clone(),
            id: self.config.id,
            home: self.home,
            wanted: self.wanted(),
            standby: self.standby,
            load: self.load,
            registrations: registrations.collect(),
            sent: self.sent,
            keep_alives: self.keep_alives,
        }
    }

    fn wanted(&self) -> bool {
        self.able && !self.draining && self.stop == Stop::No
    }

    fn closed(&mut self, now: Time, connection: ConnectionId, out: &mut Vec<Output>) {
        let Some((number, _)) = self.links.closed(now, connection) else { return };
        self.lose(number, out);
    }

    /// The connection is gone: what the registrar has is open again.
    fn lose(&mut self, number: usize, out: &mut Vec<Output>) {
        let target = self.target(number);
        let registration = self.registrations.entry(number).or_default();
        (registration.confirmed, registration.renewal, registration.pending) = (None, None, None);
        registration.attempts = 0;
        if !std::mem::replace(&mut registration.lost, true)
            && let Some(target) = target
        {
            out.push(Output::Event(Event::Lost(target)));
        }
    }

    fn message(&mut self, now: Time, connection: ConnectionId, octets: &[u8], out: &mut Vec<Output>) {
        let Some(number) = self.links.number(connection) else { return };
        self.registrations.entry(number).or_default().heard = now;
        let parsed = match Message::parse(octets) {
            Ok(parsed) => parsed,
            Err(malformed) => {
                send_error(connection, malformed.report, out);
                self.problem(number, Problem::Malformed(malformed.error.to_string()), out);
                return;
            }
        };
        send_error(connection, parsed.report, out);
        match parsed.message {
            Message::RegistrationResponse { handle, id, rejected, errors } if self.is_own(&handle, id) => {
                self.registration_response(now, number, rejected, &errors, out);
            }
            Message::DeregistrationResponse { handle, id, errors } if self.is_own(&handle, id) => {
                self.deregistration_response(number, &errors, out);
            }
            // RFC 5352 3.4: another pool's is silently discarded. Who is not registered, or not able, does not answer.
            Message::EndpointKeepAlive { registrar, handle, adopt } if handle == self.config.handle => {
                let wanted = self.wanted();
                let registration = self.registrations.entry(number).or_default();
                registration.registrar = Some(registrar);
                registration.keep_alive = Some(now);
                if adopt && self.home != registrar {
                    self.home = registrar;
                    out.push(Output::Event(Event::Home(registrar)));
                }
                if wanted {
                    self.keep_alives += 1;
                    let ack = Message::EndpointKeepAliveAck { handle, id: self.config.id };
                    self.send(number, connection, &ack, out);
                }
            }
            _ => {}
        }
    }

    fn registration_response(
        &mut self,
        now: Time,
        number: usize,
        rejected: bool,
        errors: &[Cause],
        out: &mut Vec<Output>,
    ) {
        let renewal = now + self.config.renewal();
        let target = self.target(number);
        let soft = errors.iter().all(|cause| is_soft(cause.code));
        let rejections = self.registrations.get(&number).map_or(0, |registration| registration.rejections);
        let pause = self.config.hunt.pause.saturating_mul(1 << rejections.min(DOUBLINGS_MAX));
        let pause = if soft { pause.min(self.config.rejected) } else { self.config.rejected };
        let retry = now + self.random.around(pause);
        let Some(registration) = self.registrations.get_mut(&number) else { return };
        let Some(Pending::Registration(declared, _)) = registration.pending else { return };
        registration.pending = None;
        registration.attempts = 0;
        self.links.worked(number);
        if rejected {
            (registration.confirmed, registration.renewal) = (None, None);
            registration.may_have = false;
            registration.not_before = Some(retry);
            registration.rejections = registration.rejections.saturating_add(1);
            self.problem(number, Problem::rejected(errors), out);
            return;
        }
        let first = registration.confirmed.replace(declared).is_none();
        registration.renewal = Some(renewal);
        registration.not_before = None;
        registration.rejections = 0;
        if errors.is_empty() {
            registration.problem = None;
        } else {
            self.problem(number, Problem::warning(errors), out);
        }
        if let Some(target) = target.filter(|_| first) {
            out.push(Output::Event(Event::Registered(target)));
        }
    }

    fn deregistration_response(&mut self, number: usize, errors: &[Cause], out: &mut Vec<Output>) {
        let target = self.target(number);
        let Some(registration) = self.registrations.get_mut(&number) else { return };
        let asked = matches!(registration.pending, Some(Pending::Deregistration(_)));
        if asked && !errors.is_empty() {
            // Rejected: T3 ends it, and the registration ends with its life.
            self.problem(number, Problem::rejected(errors), out);
            return;
        }
        if asked {
            registration.pending = None;
            self.links.worked(number);
        }
        registration.may_have = false;
        (registration.confirmed, registration.renewal) = (None, None);
        if let Some(target) = target {
            out.push(Output::Event(if asked { Event::Deregistered(target) } else { Event::Removed(target) }));
        }
    }

    /// Compares what is wanted with what each registrar knows.
    fn advance(&mut self, now: Time, out: &mut Vec<Output>) {
        let open: Vec<(usize, ConnectionId)> = self.links.open().collect();
        for (number, connection) in open {
            self.advance_one(now, number, connection, out);
        }
        if let Stop::Until(until) = self.stop {
            let waits = self.links.open().any(|(number, _)| {
                self.registrations.get(&number).is_some_and(|registration| registration.may_have)
            });
            if !waits || until <= now {
                self.stop = Stop::Done;
                let connections = self.links.iter().filter_map(|(_, link)| link.connection());
                out.extend(connections.map(Output::Close));
                out.push(Output::Stopped);
            }
            return;
        }
        let (steps, forgotten) = self.links.poll(now);
        for number in forgotten {
            self.registrations.remove(&number);
        }
        for step in steps {
            match step {
                Step::Connect(connection, target) => out.push(Output::Connect(connection, target)),
                Step::GiveUp(connection, number) => {
                    out.push(Output::Close(connection));
                    self.lose(number, out);
                }
            }
        }
    }

    fn advance_one(&mut self, now: Time, number: usize, connection: ConnectionId, out: &mut Vec<Output>) {
        let wanted = self.wanted();
        let declared = self.declared(now);
        let renewal = self.registrations.get(&number).and_then(|registration| self.renewal(registration));
        let registration = self.registrations.entry(number).or_default();
        match registration.pending {
            // A good-bye does not wait for the answer to a registration.
            Some(Pending::Registration(..)) if !wanted => self.deregister(now, number, connection, out),
            Some(Pending::Registration(_, until)) if until <= now => {
                registration.pending = None;
                if registration.attempts > self.config.attempts_max {
                    let silent = Problem::Silent(registration.attempts);
                    self.problem(number, silent, out);
                    self.give_up(now, number, connection, out);
                } else {
                    self.register(now, number, connection, declared, out);
                }
            }
            Some(Pending::Deregistration(until)) if until <= now => {
                self.give_up(now, number, connection, out);
            }
            Some(_) => {}
            None if !wanted => {
                if registration.may_have {
                    self.deregister(now, number, connection, out);
                }
            }
            None if registration.not_before.is_some_and(|at| now < at) => {}
            None => {
                let due = match registration.confirmed {
                    None => true,
                    Some(confirmed) => {
                        renewal.is_none_or(|at| at <= now)
                            || confirmed.flags != declared.flags
                            || self.load_due_of(&confirmed).is_some_and(|at| at <= now)
                    }
                };
                if due {
                    self.register(now, number, connection, declared, out);
                }
            }
        }
    }

    fn register(
        &mut self,
        now: Time,
        number: usize,
        connection: ConnectionId,
        declared: Declared,
        out: &mut Vec<Output>,
    ) {
        let element = PoolElement {
            id: self.config.id,
            home: self.home,
            life: u32::try_from(self.config.life.as_secs()).map_or(Lifetime::Infinite, Lifetime::Seconds),
            user_transport: self.config.transport.clone(),
            policy: declared.policy,
            asap_transport: None,
        };
        let handle = self.config.handle.clone();
        let message = Message::Registration { handle, element, flags: declared.flags };
        let until = now + self.config.registration;
        let registration = self.registrations.entry(number).or_default();
        registration.pending = Some(Pending::Registration(declared, until));
        registration.attempts += 1;
        registration.may_have = true;
        self.sent += 1;
        self.send(number, connection, &message, out);
    }

    fn deregister(&mut self, now: Time, number: usize, connection: ConnectionId, out: &mut Vec<Output>) {
        let registration = self.registrations.entry(number).or_default();
        registration.pending = Some(Pending::Deregistration(now + self.config.deregistration));
        registration.not_before = None;
        let message = Message::Deregistration { handle: self.config.handle.clone(), id: self.config.id };
        self.send(number, connection, &message, out);
    }

    /// The registrar does not answer: another connection, later.
    fn give_up(&mut self, now: Time, number: usize, connection: ConnectionId, out: &mut Vec<Output>) {
        out.push(Output::Close(connection));
        self.links.closed(now, connection);
        self.lose(number, out);
    }

    fn send(&mut self, number: usize, connection: ConnectionId, message: &Message, out: &mut Vec<Output>) {
        match message.to_octets() {
            Ok(octets) => out.push(Output::Send(connection, octets)),
            Err(error) => self.problem(number, Problem::Unwritable(error.to_string()), out),
        }
    }

    fn problem(&mut self, number: usize, problem: Problem, out: &mut Vec<Output>) {
        let target = self.target(number);
        let registration = self.registrations.entry(number).or_default();
        if registration.problem.as_ref() != Some(&problem)
            && let Some(target) = target
        {
            out.push(Output::Event(Event::Problem(target, problem.clone())));
        }
        registration.problem = Some(problem);
    }

    fn target(&self, number: usize) -> Option<Target> {
        self.links.iter().find(|(at, _)| *at == number).map(|(_, link)| link.target.clone())
    }

    fn is_own(&self, handle: &PoolHandle, id: ElementId) -> bool {
        *handle == self.config.handle && id == self.config.id
    }

    fn declared(&self, at: Time) -> Declared {
        let flags = if self.standby { StatusFlags::STANDBY } else { StatusFlags::NONE };
        let policy = self.config.policy.with_load(self.load);
        Declared { policy: policy.parameter(), load: self.load, flags, at }
    }

    /// When a confirmed registration is to be renewed: in time, or because the registrar is silent.
    fn renewal(&self, registration: &Registration) -> Option<Time> {
        registration.renewal.map(|renewal| renewal.min(registration.heard + self.config.silence))
    }

    fn load_due(&self, registration: &Registration) -> Option<Time> {
        registration.confirmed.as_ref().and_then(|confirmed| self.load_due_of(confirmed))
    }

    /// When another load is to be said, if it is worth saying: policies without a load do not care.
    fn load_due_of(&self, confirmed: &Declared) -> Option<Time> {
        let worth = self.config.policy.load().is_some()
            && self.load != confirmed.load
            && self.load.abs_diff(confirmed.load) >= self.config.load_change;
        worth.then(|| confirmed.at + self.config.load_interval)
    }
}

/// May a rejection pass by itself? A registrar that has not noticed yet that the connection before is gone takes the element for
/// another one of the same identifier, and resources come and go.
const fn is_soft(cause: CauseCode) -> bool {
    matches!(cause, CauseCode::NonUniqueElementId | CauseCode::LackOfResources | CauseCode::Unspecified)
}

impl Registration {
    fn state(&self) -> RegistrationState {
        match (self.pending, &self.confirmed, self.not_before) {
            (Some(Pending::Deregistration(_)), ..) => RegistrationState::Deregistering,
            (_, Some(_), _) => RegistrationState::Registered,
            (Some(Pending::Registration(..)), None, _) => RegistrationState::Registering,
            (None, None, Some(_)) => RegistrationState::Rejected,
            (None, None, None) => RegistrationState::None,
        }
    }
}

/// Tells a registrar what of its message is unknown here (RFC 5354 3).
fn send_error(connection: ConnectionId, report: Vec<Cause>, out: &mut Vec<Output>) {
    if report.is_empty() {
        return;
    }
    if let Ok(octets) = Message::Error(report).to_octets() {
        out.push(Output::Send(connection, octets));
    }
}
