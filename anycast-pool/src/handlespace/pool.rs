//! One pool.

use std::collections::VecDeque;

use super::{Slot, Stamp};
use crate::policy::{Policy, PolicyType, Selector};
use crate::wire::{PoolElement, Source, TransportKind, TransportUse};
use crate::{ElementId, PoolHandle, Time};

/// Where a pool is; another pool may have it after this one is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolIndex(u32);

impl PoolIndex {
    pub(super) const fn new(at: usize) -> Self {
        Self(at as u32)
    }

    pub(crate) const fn from_word(word: u32) -> Self {
        Self(word)
    }

    pub(crate) const fn word(self) -> u32 {
        self.0
    }

    pub(super) const fn at(self) -> usize {
        self.0 as usize
    }
}

/// An element that is no longer registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// Which.
    pub id: ElementId,
    /// Why.
    pub source: Source,
    /// Since when.
    pub at: Stamp,
}

/// A pool: what its elements have in common, and which they are.
#[derive(Debug)]
pub struct Pool {
    pub(super) handle: PoolHandle,
    pub(super) policy: PolicyType,
    pub(super) transport: TransportKind,
    pub(super) control: TransportUse,
    pub(super) selector: Selector<u32>,
    members: Vec<Slot>,
    pub(crate) tombstones: VecDeque<Tombstone>,
    /// Counts changes.
    pub(crate) sequence: u32,
    pub(crate) push: Push,
}

/// Who is to be told of changes, and when.
#[derive(Debug)]
pub(crate) struct Push {
    pub subscribers: Vec<Subscriber>,
    /// When what changed and was not yet pushed is to be pushed.
    pub due: Time,
    /// Before when no push goes out: changes are gathered until then.
    pub not_before: Time,
    /// The same for changes of loads alone.
    pub loads_not_before: Time,
    /// When a push goes out though nothing changed.
    pub refresh: Time,
    /// The earliest timer that is set for the pool.
    pub armed: Time,
}

/// A connection that subscribed to a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscriber {
    /// The connection, by its place.
    pub connection: u32,
    /// How many elements it wants at most.
    pub limit: u16,
    /// Does it want the status vector?
    pub status: bool,
    /// A push waits until the connection takes octets again.
    pub pending: bool,
}

impl Pool {
    pub(super) fn new(handle: PoolHandle, seed: u64) -> Self {
        Self {
            handle,
            policy: PolicyType::RoundRobin,
            transport: TransportKind::Udp,
            control: TransportUse::Data,
            selector: Selector::new(PolicyType::RoundRobin, seed),
            members: Vec::new(),
            tombstones: VecDeque::new(),
            sequence: 0,
            push: Push {
                subscribers: Vec::new(),
                due: super::element::NEVER,
                not_before: Time::ZERO,
                loads_not_before: Time::ZERO,
                refresh: super::element::NEVER,
                armed: super::element::NEVER,
            },
        }
    }

    /// Its handle.
    pub const fn handle(&self) -> &PoolHandle {
        &self.handle
    }

    /// Its policy.
    pub const fn policy(&self) -> PolicyType {
        self.policy
    }

    /// Its elements' transport.
    pub const fn transport(&self) -> TransportKind {
        self.transport
    }

    /// Its elements, usable or not, in no order.
    pub fn members(&self) -> &[Slot] {
        &self.members
    }

    /// How many of them are usable.
    pub fn usable(&self) -> usize {
        self.selector.len()
    }

    /// How many connections subscribed to it.
    pub fn subscribers(&self) -> usize {
        self.push.subscribers.len()
    }

    /// What is remembered of elements that are no longer registered, the oldest first.
    pub fn tombstones(&self) -> impl Iterator<Item = &Tombstone> {
        self.tombstones.iter()
    }

    /// Counts changes that users see.
    pub const fn sequence(&self) -> u32 {
        self.sequence
    }

    /// The overall policy, as answers have it.
    pub(super) fn policy_parameter(&self) -> Vec<u8> {
        Policy::neutral(self.policy).parameter().to_octets()
    }

    pub(super) fn is_other_kind(&self, element: &PoolElement) -> bool {
        self.policy != PolicyType::from_code(element.policy.code())
            || self.transport != element.user_transport.kind()
            || self.control != element.user_transport.transport_use()
    }

    /// The first element decides what the pool is (RFC 5352 3.1, rule 1).
    pub(super) fn set_kind(&mut self, element: &PoolElement, seed: u64) {
        self.policy = PolicyType::from_code(element.policy.code());
        self.transport = element.user_transport.kind();
        self.control = element.user_transport.transport_use();
        self.selector = Selector::new(self.policy, seed);
    }

    pub(super) fn add(&mut self, slot: Slot) -> u32 {
        self.members.push(slot);
        (self.members.len() - 1) as u32
    }

    /// Takes a member away; the result is the one that has its place now.
    pub(super) fn take(&mut self, place: u32) -> Option<Slot> {
        let place = place as usize;
        if place < self.members.len() {
            self.members.swap_remove(place);
        }
        self.members.get(place).copied()
    }
}
