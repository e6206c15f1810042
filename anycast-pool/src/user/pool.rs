//! What a user knows of one pool, and how it stands with each registrar about it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::change::What;
use super::{Change, UserConfig};
use crate::policy::{Policy, PolicyType, Selector};
use crate::vector::{Received, Vector, Voice};
use crate::wire::{CauseCode, ElementId, PoolElement, PoolHandle, ResolutionResponse, State, StatusFlags};
use crate::{Random, Time};

/// Share of a new latency in the mean.
const LATENCY_SHARE: u32 = 8;

/// A pool.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub handle: PoolHandle,
    pub vector: Vector,
    pub elements: BTreeMap<ElementId, Known>,
    pub selector: Selector<ElementId>,
    /// As registrars have it; the selector's follows from it.
    pub policy: PolicyType,
    /// By the registrar's number.
    pub talks: BTreeMap<usize, Talk>,
    seed: u64,
}

/// An element and what came of using it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub element: PoolElement,
    pub picked: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub latency: Option<Duration>,
    pub reported: Option<Time>,
}

/// How it stands with one registrar. Gone with its connection.
#[derive(Clone, Debug)]
pub(super) struct Talk {
    /// A request waits until then, sent this often.
    pub pending: Option<(Time, u32)>,
    /// When to ask next.
    pub ask: Time,
    pub heard: Option<Heard>,
    pub refused: bool,
}

/// A registrar's last answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// It pushes.
    pub subscribed: bool,
    /// It told of the whole pool, with a vector.
    pub whole: bool,
}

impl Pool {
    pub fn new(handle: PoolHandle, config: &UserConfig, seed: u64) -> Self {
        Self {
            handle,
            vector: Vector::new(config.vector),
            elements: BTreeMap::new(),
            selector: Selector::new(PolicyType::RoundRobin, seed),
            policy: PolicyType::RoundRobin,
            talks: BTreeMap::new(),
            seed,
        }
    }

    /// Is any registrar heard about it?
    pub fn is_heard(&self) -> bool {
        self.talks.values().any(|talk| talk.heard.is_some())
    }

    /// A registrar answered or pushed.
    pub fn answered(
        &mut self,
        now: Time,
        number: usize,
        response: ResolutionResponse,
        config: &UserConfig,
        random: &mut Random,
    ) -> Vec<Change> {
        let Some(voice) = Voice::new(number) else { return Vec::new() };
        let before = self.states();
        let whole = response.status.is_some();
        let talk = self.talks.entry(number).or_insert_with(|| Talk::new(now));
        talk.pending = None;
        if response.errors.is_empty() {
            talk.heard = Some(Heard { subscribed: response.accepted, whole });
            talk.ask = now + if response.accepted { random.around(config.refresh) } else { config.stale };
            talk.refused = false;
        } else {
            // A negative answer ends the subscription (RFC 5352 3.3).
            talk.heard = None;
            talk.ask = now + random.around(config.unknown);
        }
        let ids = || response.elements.iter().map(|element| element.id);
        let unknown = response.errors.iter().any(|cause| cause.code == CauseCode::UnknownPoolHandle);
        let late = match &response.status {
            Some(status) => self.vector.receive(now, voice, status) == Received::Late,
            None if response.errors.is_empty() || unknown => {
                self.vector.listed(now, voice, ids());
                false
            }
            // It cannot say, which says nothing about the elements.
            None => {
                self.vector.unheard(voice);
                false
            }
        };
        let mut changes = Vec::new();
        if !late {
            if response.errors.is_empty() {
                self.set_policy(
                    response
                        .policy
                        .map_or(PolicyType::RoundRobin, |policy| PolicyType::from_code(policy.code())),
                );
            }
            for element in response.elements {
                changes.extend(self.set_element(element));
            }
        }
        changes.extend(self.changes_since(&before));
        changes
    }

    /// A registrar is heard no longer.
    pub fn unheard(&mut self, number: usize) {
        if let Some(talk) = self.talks.get_mut(&number) {
            talk.heard = None;
        }
        if let Some(voice) = Voice::new(number) {
            self.vector.unheard(voice);
        }
    }

    /// A request came to a result. True if it is a failure that is news.
    pub fn observe(&mut self, now: Time, id: ElementId, latency: Option<Duration>) -> (bool, Vec<Change>) {
        let Some(known) = self.elements.get_mut(&id) else { return (false, Vec::new()) };
        match latency {
            Some(latency) => {
                known.succeeded += 1;
                let mean = known.latency.unwrap_or(latency);
                known.latency = Some((mean * (LATENCY_SHARE - 1) + latency) / LATENCY_SHARE);
            }
            None => known.failed += 1,
        }
        let held = self.vector.get(id).is_some_and(|status| status.is_held(now));
        let changed = self.vector.observe(now, id, latency.is_some());
        let status = self.vector.get(id).filter(|_| changed);
        let change = status.map(|status| self.change(id, What::State(status.state, status.witness)));
        (latency.is_none() && !held, change.into_iter().collect())
    }

    /// Forgets what has been gone for long.
    pub fn expire(&mut self, now: Time) -> Vec<Change> {
        let gone = self.vector.expire(now);
        for id in &gone {
            self.elements.remove(id);
            self.selector.remove(*id);
        }
        gone.into_iter().map(|id| self.change(id, What::Forgotten)).collect()
    }

    /// The pool's policy, applied by the user as far as registrars have not.
    fn set_policy(&mut self, policy: PolicyType) {
        self.policy = policy;
        let whole = self.talks.values().filter_map(|talk| talk.heard).any(|heard| heard.whole);
        let kind = policy.for_user(whole);
        if kind != self.selector.kind() {
            self.selector = Selector::new(kind, self.seed);
            for (id, known) in &self.elements {
                self.selector.insert(*id, &policy_of(&known.element, kind));
            }
        }
    }

    fn set_element(&mut self, element: PoolElement) -> Option<Change> {
        let id = element.id;
        // The vector is bounded, so what it has no room for is not kept here either.
        self.vector.get(id)?;
        let policy = policy_of(&element, self.selector.kind());
        let Some(known) = self.elements.get_mut(&id) else {
            let transport = element.user_transport.clone();
            self.selector.insert(id, &policy);
            self.elements.insert(id, Known::new(element));
            return Some(self.change(id, What::Appeared(transport)));
        };
        let moved = known.element.user_transport != element.user_transport;
        // Registering again starts the degradation anew (RFC 5356 5.2.2); being told the same again does not.
        if known.element.policy != element.policy {
            self.selector.insert(id, &policy);
        }
        known.element = element;
        moved.then(|| known.element.user_transport.clone()).map(|to| self.change(id, What::Moved(to)))
    }

    fn states(&self) -> BTreeMap<ElementId, (State, StatusFlags)> {
        self.vector.iter().map(|(id, status)| (id, (status.state, status.flags))).collect()
    }

    fn changes_since(&self, before: &BTreeMap<ElementId, (State, StatusFlags)>) -> Vec<Change> {
        let mut changes = Vec::new();
        for (id, status) in self.vector.iter() {
            let (state, flags) = before.get(&id).copied().unwrap_or_default();
            if status.state != state {
                changes.push(self.change(id, What::State(status.state, status.witness)));
            }
            if status.flags != flags {
                changes.push(self.change(id, What::Flags(status.flags)));
            }
        }
        changes
    }

    fn change(&self, id: ElementId, what: What) -> Change {
        Change { handle: self.handle.clone(), id, what }
    }
}

impl Talk {
    pub const fn new(now: Time) -> Self {
        Self { pending: None, ask: now, heard: None, refused: false }
    }
}

impl Known {
    const fn new(element: PoolElement) -> Self {
        Self { element, picked: 0, succeeded: 0, failed: 0, latency: None, reported: None }
    }
}

/// An element's policy as a selector of a type takes it. One that cannot be read counts as neutral.
fn policy_of(element: &PoolElement, kind: PolicyType) -> Policy {
    Policy::parse(&element.policy)
        .ok()
        .filter(|policy| policy.kind() == kind)
        .unwrap_or(Policy::neutral(kind))
}
