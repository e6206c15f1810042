//! One element.

use super::{PoolIndex, Stamp};
use crate::policy::{FULL_LOAD, Policy};
use crate::wire::{PolicyParameter, PoolElement, Source, State, StatusEntry, StatusFlags};
use crate::{ElementId, Time};

/// Where an element is; another element may have it after this one is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

impl Slot {
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

/// An element: what users are sent of it, and what is known of it.
#[derive(Debug)]
pub struct Element {
    pub(super) id: ElementId,
    pub(super) pool: PoolIndex,
    /// Its place among the pool's members.
    pub(super) place: u32,
    /// Is it in the pool's selector?
    pub(super) listed: bool,
    /// Does its policy's value let it be chosen at all?
    serves: bool,
    pub(super) state: State,
    pub(super) source: Source,
    pub(super) flags: StatusFlags,
    pub(super) observed: Stamp,
    /// The Pool Element parameter, as users get it.
    octets: Box<[u8]>,
    /// What the registrar keeps of it.
    pub(crate) upkeep: Upkeep,
}

/// Is an answer to a keep-alive awaited?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// No.
    #[default]
    No,
    /// Yes, to a periodic one.
    Periodic,
    /// Yes, to one that a user's report caused.
    Report,
}

/// What the registrar keeps of an element, for its timers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upkeep {
    /// The connection over which it registered, by its place; `u32::MAX` = none.
    pub connection: u32,
    /// Its place among the connection's elements.
    pub connection_place: u32,
    /// Who it is by its certificate, by number; 0 = nobody.
    pub identity: u32,
    /// Is an answer to a keep-alive awaited?
    pub waiting: Waiting,
    /// When the registration's life ends.
    pub expires: Time,
    /// When the next keep-alive is due, or the answer to the last one overdue.
    pub keep_alive: Time,
    /// When it is given up: down for too long, or not back after a restart.
    pub give_up: Time,
    /// Until when an answered keep-alive does not make it up again, because users reported otherwise.
    pub held_down: Time,
    /// Before when a report causes no further keep-alive.
    pub spare: Time,
    /// The earliest timer that is set for it.
    pub armed: Time,
}

/// A time that never comes.
pub(crate) const NEVER: Time = Time::from_nanos(u64::MAX);

/// No connection.
pub(crate) const NOWHERE: u32 = u32::MAX;

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            connection: NOWHERE,
            connection_place: 0,
            identity: 0,
            waiting: Waiting::No,
            expires: NEVER,
            keep_alive: NEVER,
            give_up: NEVER,
            held_down: Time::ZERO,
            spare: Time::ZERO,
            armed: NEVER,
        }
    }
}

impl Upkeep {
    /// The next moment at which something is to be done.
    pub fn due(&self) -> Time {
        self.expires.min(self.keep_alive).min(self.give_up)
    }
}

impl Element {
    pub(super) fn new(pool: PoolIndex, place: u32, element: &PoolElement, flags: StatusFlags) -> Self {
        Self {
            id: element.id,
            pool,
            place,
            listed: false,
            serves: serves(&element.policy),
            state: State::Unknown,
            source: Source::Registration,
            flags,
            observed: Stamp::default(),
            octets: element.to_parameter(),
            upkeep: Upkeep::default(),
        }
    }

    /// True if something is other than before.
    pub(super) fn set(&mut self, element: &PoolElement, flags: StatusFlags) -> bool {
        let octets = element.to_parameter();
        let changed = octets != self.octets || flags != self.flags;
        self.octets = octets;
        self.flags = flags;
        self.serves = serves(&element.policy);
        changed
    }

    /// Its identifier.
    pub const fn id(&self) -> ElementId {
        self.id
    }

    /// Its pool.
    pub const fn pool(&self) -> PoolIndex {
        self.pool
    }

    /// Is it up?
    pub const fn state(&self) -> State {
        self.state
    }

    /// From what that is known.
    pub const fn source(&self) -> Source {
        self.source
    }

    /// What it says of itself.
    pub const fn flags(&self) -> StatusFlags {
        self.flags
    }

    /// When its state was seen.
    pub const fn observed(&self) -> Stamp {
        self.observed
    }

    /// May users be told to use it? Standby elements may: they are up. One that drains wants nothing new, one of weight 0 cannot.
    pub const fn is_usable(&self) -> bool {
        matches!(self.state, State::Up) && !self.flags.contains(StatusFlags::DRAINING) && self.serves
    }

    /// The Pool Element parameter, as users get it.
    pub const fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// What it registered.
    pub fn decode(&self) -> Option<PoolElement> {
        PoolElement::from_parameter(&self.octets)
    }

    /// Its policy with its values.
    pub fn policy(&self) -> Option<Policy> {
        Policy::parse(&self.decode()?.policy).ok()
    }

    pub(super) fn entry(&self, now: Time) -> StatusEntry {
        StatusEntry {
            id: self.id,
            state: self.state,
            source: self.source,
            flags: self.flags,
            age_ms: self.observed.age_ms(now),
        }
    }
}

/// "A weight of 0 denotes that the pool element is not capable of providing any service" (RFC 5356 4.2.2, 4.4.2); of a randomized
/// least used element at 100 % the weight is 0 too (5.4.2).
fn serves(policy: &PolicyParameter) -> bool {
    !matches!(
        Policy::parse(policy),
        Ok(Policy::WeightedRoundRobin { weight: 0 }
            | Policy::WeightedRandom { weight: 0 }
            | Policy::RandomizedLeastUsed { load: FULL_LOAD })
    )
}
