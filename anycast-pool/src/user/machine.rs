//! The user's machine.

use std::collections::BTreeMap;
use std::time::Duration;

use super::pool::{Pool, Talk};
use super::{Event, Input, Output, Pick, UserConfig};
use crate::hunt::{Links, Step};
use crate::vector::Voice;
use crate::wire::{Cause, ElementId, Message, PoolHandle, RegistrarId, ResolutionResponse};
use crate::{ConnectionId, Random, Target, Time};

/// A user of pools.
#[derive(Clone, Debug)]
pub struct User {
    config: UserConfig,
    links: Links,
    /// By the registrar's number.
    peers: BTreeMap<usize, Peer>,
    pools: BTreeMap<PoolHandle, Pool>,
    random: Random,
    allowance: Allowance,
}

/// What is kept of a registrar beside its link.
#[derive(Clone, Debug, Default)]
struct Peer {
    id: Option<RegistrarId>,
    heard: bool,
    lost: bool,
    malformed: bool,
}

/// A bucket of reports: RFC 5355 counts floods of them among the threats, so a user that sees everything fail does not join in.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    /// Nanoseconds' worth.
    left: u64,
    at: Time,
}

impl User {
    /// A user that follows no pool yet.
    pub fn new(config: UserConfig) -> Self {
        Self {
            links: Links::new(config.hunt, config.registrars, config.seed),
            peers: BTreeMap::new(),
            pools: BTreeMap::new(),
            random: Random::new(config.seed ^ 0x5055),
            allowance: Allowance { left: Allowance::MOST, at: Time::ZERO },
            config,
        }
    }

    /// Takes what happened and says what to do.
    pub fn handle(&mut self, now: Time, input: Input<'_>) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Connected(connection) => match self.links.connected(now, connection) {
                Some(number) => {
                    self.peers.insert(number, Peer::default());
                    for pool in self.pools.values_mut() {
                        pool.talks.insert(number, Talk::new(now));
                    }
                }
                None => out.push(Output::Close(connection)),
            },
            Input::Message(connection, octets) => self.message(now, connection, octets, &mut out),
            Input::Closed(connection) => {
                if let Some((number, _)) = self.links.closed(now, connection) {
                    self.lose(number, &mut out);
                }
            }
            Input::Announced(from, transports) => self.links.announced(now, from, transports),
            Input::Open(handle) => self.open(now, handle),
            Input::Forget(handle) => {
                self.pools.remove(handle);
            }
            Input::Succeeded(handle, id, latency) => self.observe(now, handle, id, Some(latency), &mut out),
            Input::Failed(handle, id) => self.observe(now, handle, id, None, &mut out),
            Input::Tick => {}
        }
        self.advance(now, &mut out);
        out
    }

    /// The element of a pool to use now, none of those in `exclude`: the ones tried already for the same request.
    ///
    /// `None` if none is known, or all are excluded or have weight 0.
    pub fn pick(&mut self, now: Time, handle: &PoolHandle, exclude: &[ElementId]) -> Option<Pick> {
        self.pools.get_mut(handle)?.pick(now, exclude)
    }

    /// Does a registrar answer for that pool?
    pub fn is_heard(&self, handle: &PoolHandle) -> bool {
        self.pools.get(handle).is_some_and(Pool::is_heard)
    }

    /// When to say [`Input::Tick`].
    pub fn next_timeout(&self) -> Option<Time> {
        let open: Vec<usize> = self.links.open().map(|(number, _)| number).collect();
        let pools = self.pools.values().flat_map(|pool| {
            let talks = open.iter().filter_map(|number| pool.talks.get(number));
            let talks = talks.map(|talk| talk.pending.map_or(talk.ask, |(until, _)| until));
            talks.chain(pool.vector.next_timeout())
        });
        pools.chain(self.links.next_timeout()).min()
    }

    pub(super) const fn links(&self) -> &Links {
        &self.links
    }

    pub(super) fn identity(&self, number: usize) -> Option<RegistrarId> {
        self.peers.get(&number)?.id
    }

    pub(super) fn pool(&self, handle: &PoolHandle) -> Option<&Pool> {
        self.pools.get(handle)
    }

    fn open(&mut self, now: Time, handle: &PoolHandle) {
        if self.pools.contains_key(handle) {
            return;
        }
        let mut pool = Pool::new(handle.clone(), &self.config, self.random.next());
        for (number, _) in self.links.open() {
            pool.talks.insert(number, Talk::new(now));
        }
        self.pools.insert(handle.clone(), pool);
    }

    fn message(&mut self, now: Time, connection: ConnectionId, octets: &[u8], out: &mut Vec<Output>) {
        let Some(number) = self.links.number(connection) else { return };
        let target = self.target(number);
        let peer = self.peers.entry(number).or_default();
        let parsed = match Message::parse(octets) {
            Ok(parsed) => parsed,
            Err(malformed) => {
                send_error(connection, malformed.report, out);
                if !std::mem::replace(&mut peer.malformed, true)
                    && let Some(target) = target
                {
                    out.push(Output::Event(Event::Malformed(target, malformed.error.to_string())));
                }
                return;
            }
        };
        send_error(connection, parsed.report, out);
        // Users are asked nothing and told nothing else: other messages are for elements, or for the control channel.
        let Message::HandleResolutionResponse(response) = parsed.message else { return };
        if let Some(status) = &response.status {
            peer.id = Some(status.registrar);
        }
        if !std::mem::replace(&mut peer.heard, true)
            && let Some(target) = target
        {
            out.push(Output::Event(Event::Heard(target)));
        }
        self.links.worked(number);
        self.response(now, number, response, out);
    }

    fn response(&mut self, now: Time, number: usize, response: ResolutionResponse, out: &mut Vec<Output>) {
        let target = self.target(number);
        let Some(pool) = self.pools.get_mut(&response.handle) else { return };
        let causes: Vec<_> = response.errors.iter().map(|cause| cause.code).collect();
        let changes = pool.answered(now, number, response, &self.config, &mut self.random);
        out.extend(changes.into_iter().map(Output::Change));
        if let (false, Some(target), Some(talk)) = (causes.is_empty(), target, pool.talks.get_mut(&number))
            && !std::mem::replace(&mut talk.refused, true)
        {
            out.push(Output::Event(Event::Refused(target, pool.handle.clone(), causes)));
        }
    }

    fn observe(
        &mut self,
        now: Time,
        handle: &PoolHandle,
        id: ElementId,
        latency: Option<Duration>,
        out: &mut Vec<Output>,
    ) {
        let interval = self.config.report_interval;
        let Some(pool) = self.pools.get_mut(handle) else { return };
        let (news, changes) = pool.observe(now, id, latency);
        out.extend(changes.into_iter().map(Output::Change));
        if !news {
            return;
        }
        // Registrars push when something changes for them. If it does not, asking is the only way to hear that the element is back.
        let again = now + self.config.vector.hold_down;
        pool.talks.values_mut().for_each(|talk| talk.ask = talk.ask.min(again));
        let Some(known) = pool.elements.get_mut(&id) else { return };
        let recent = known.reported.is_some_and(|at| now.since(at) < interval);
        if recent || !self.allowance.take(now, self.config.reports_per_second) {
            return;
        }
        known.reported = Some(now);
        let report = Message::EndpointUnreachable { handle: handle.clone(), id };
        for (_, connection) in self.links.open() {
            send(connection, &report, out);
        }
    }

    /// Does what is due.
    fn advance(&mut self, now: Time, out: &mut Vec<Output>) {
        for pool in self.pools.values_mut() {
            out.extend(pool.expire(now).into_iter().map(Output::Change));
        }
        let open: Vec<(usize, ConnectionId)> = self.links.open().collect();
        for (number, connection) in open {
            self.advance_one(now, number, connection, out);
        }
        let (steps, forgotten) = self.links.poll(now);
        for number in forgotten {
            self.peers.remove(&number);
            for pool in self.pools.values_mut() {
                if let Some(voice) = Voice::new(number) {
                    pool.vector.forget_voice(voice);
                }
            }
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
        let mut silent = None;
        for pool in self.pools.values_mut() {
            let talk = pool.talks.entry(number).or_insert_with(|| Talk::new(now));
            let sent = match talk.pending {
                Some((until, _)) if now < until => None,
                // RFC 5352 3.7.2: MAX-REQUEST-RETRANSMIT times, then the request is given up.
                Some((_, sent)) if sent > self.config.retransmit_max => {
                    silent = Some(sent);
                    break;
                }
                Some((_, sent)) => Some(sent),
                None if talk.ask <= now => Some(0),
                None => None,
            };
            if let Some(sent) = sent {
                talk.pending = Some((now + self.config.request, sent + 1));
                let limit = Some(u32::MAX);
                let handle = pool.handle.clone();
                send(
                    connection,
                    &Message::HandleResolution { handle, subscribe: true, limit, status: true },
                    out,
                );
            }
            // A stale answer, or a subscription, holds while it is renewed (RFC 5352 3.3 C3), but not if T1 is over.
            if sent.is_some_and(|sent| sent > 0) {
                pool.unheard(number);
            }
        }
        if let Some(times) = silent {
            if let Some(target) = self.target(number) {
                out.push(Output::Event(Event::Silent(target, times)));
            }
            out.push(Output::Close(connection));
            self.links.closed(now, connection);
            self.lose(number, out);
        }
    }

    /// The connection to a registrar is gone.
    fn lose(&mut self, number: usize, out: &mut Vec<Output>) {
        for pool in self.pools.values_mut() {
            pool.unheard(number);
            pool.talks.remove(&number);
        }
        let target = self.target(number);
        let peer = self.peers.entry(number).or_default();
        if !std::mem::replace(&mut peer.lost, true)
            && let Some(target) = target
        {
            out.push(Output::Event(Event::Lost(target)));
        }
    }

    fn target(&self, number: usize) -> Option<Target> {
        self.links.iter().find(|(at, _)| *at == number).map(|(_, link)| link.target.clone())
    }
}

impl Allowance {
    /// Two seconds' worth.
    const MOST: u64 = 2_000_000_000;

    fn take(&mut self, now: Time, per_second: u32) -> bool {
        let passed = u64::try_from(now.since(self.at).as_nanos()).unwrap_or(u64::MAX);
        (self.left, self.at) = (self.left.saturating_add(passed).min(Self::MOST), now);
        let Some(price) = 1_000_000_000_u64.checked_div(u64::from(per_second)) else { return false };
        let enough = self.left >= price;
        if enough {
            self.left -= price;
        }
        enough
    }
}

fn send(connection: ConnectionId, message: &Message, out: &mut Vec<Output>) {
    // Handles come from messages or from a configuration that was checked by writing one, so this always can be written.
    if let Ok(octets) = message.to_octets() {
        out.push(Output::Send(connection, octets));
    }
}

/// Tells a registrar what of its message is unknown here (RFC 5354 3).
fn send_error(connection: ConnectionId, report: Vec<Cause>, out: &mut Vec<Output>) {
    if !report.is_empty() {
        send(connection, &Message::Error(report), out);
    }
}
