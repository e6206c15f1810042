//! The status vector as a user holds it: what is known of each element, and how old it is.
//!
//! Several registrars and the user's own attempts say something about an element; the newest observation holds. Registrars send
//! ages, which become times of the own clock on receipt, so no clocks need to agree. An age is late by the time that the message
//! was under way: an observation is taken for newer than it is by that much.
//!
//! Each registrar has a *voice*. While it is heard, what it says last is true until it says otherwise: silence means that nothing
//! has changed. So an element that a heard voice calls up is as good as just seen, however long nothing was pushed.

mod rank;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use rank::strict;
pub use rank::{Group, Tier};

use crate::Time;
use crate::wire::{ElementId, RegistrarId, Source, State, StatusFlags, StatusVector};

/// Most voices at a time.
pub const VOICES_MAX: usize = 64;

/// Lives of a registrar that are remembered, so that a vector from an earlier one does not count.
const LIVES: usize = 4;

/// Registrars whose sequence is remembered. Above that, the one heard longest ago is forgotten.
const REGISTRARS_MAX: usize = VOICES_MAX;

/// Doublings of the hold-down beyond which it stands at its maximum anyway.
const DOUBLINGS_MAX: u32 = 16;

/// Limits and times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorConfig {
    /// Up, and seen at most that long ago: equals, among which the policy shares the load.
    ///
    /// By the model of [`crate::markov`], the chance of a success drops by at most fail rate × this time if an element of the bucket's
    /// old end is taken instead of the newest: 10 s cost one attempt in 8,640 of servers that fail once a day. Below a round of
    /// keep-alives (1.5 × interval + timeout) an age only says when the registrar happened to ask.
    pub fresh: Duration,
    /// After an own failure an element is behind others for that long, whatever registrars say: their path may work where this one
    /// does not. Doubles with each failure in a row.
    pub hold_down: Duration,
    /// Most that the hold-down grows to.
    pub hold_down_max: Duration,
    /// An element that is gone is remembered that long: as a last resort, and so that an older observation does not revive it.
    pub tombstone: Duration,
    /// Most elements.
    pub elements_max: usize,
}

impl Default for VectorConfig {
    fn default() -> Self {
        Self {
            fresh: Duration::from_secs(10),
            hold_down: Duration::from_secs(1),
            hold_down_max: Duration::from_secs(30),
            tombstone: Duration::from_secs(600),
            elements_max: 10_000,
        }
    }
}

/// Whose word it is: a number below [`VOICES_MAX`] that the owner gives to each registrar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Voice(u8);

impl Voice {
    /// The voice of that number; `None` from [`VOICES_MAX`] on.
    pub fn new(number: usize) -> Option<Self> {
        u8::try_from(number).ok().filter(|_| number < VOICES_MAX).map(Self)
    }

    /// Its number.
    pub const fn number(self) -> usize {
        self.0 as usize
    }

    const fn bit(self) -> u64 {
        1 << self.0
    }
}

/// Who saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// A registrar, and from what it knows.
    Registrar(RegistrarId, Source),
    /// A registrar that knows the RFCs alone: the element was in its answer.
    Listed,
    /// This user.
    Own,
}

impl std::fmt::Display for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registrar(registrar, source) => write!(f, "{} of {registrar}", source.name()),
            Self::Listed => f.write_str("listed"),
            Self::Own => f.write_str("own attempt"),
        }
    }
}

/// What is known of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Is it up?
    pub state: State,
    /// Who saw that.
    pub witness: Witness,
    /// What registrars say beyond it.
    pub flags: StatusFlags,
    /// Own failures since the last own success.
    pub failures: u32,
    /// Nanoseconds of the own clock; negative if before its origin, which an age of long ago may be.
    seen: i64,
    /// Behind others until then.
    held_until: Option<Time>,
    /// It said good-bye, or no registrar names it any more: that it answers nevertheless does not bring it back.
    left: bool,
    /// When a registrar last saw it; its flags are from then.
    told: i64,
    /// Voices that name it.
    named: u64,
    /// Voices that are heard and call it up.
    vouched: u64,
}

impl Status {
    /// Nobody has seen it.
    const NEW: Self = Self {
        state: State::Unknown,
        witness: Witness::Listed,
        flags: StatusFlags::NONE,
        failures: 0,
        seen: i64::MIN,
        held_until: None,
        left: false,
        told: i64::MIN,
        named: 0,
        vouched: 0,
    };

    /// How long ago it was seen so; `None` if never.
    pub fn age(&self, now: Time) -> Option<Duration> {
        (self.seen != i64::MIN)
            .then(|| Duration::from_nanos(u64::try_from(signed(now).saturating_sub(self.seen)).unwrap_or(0)))
    }

    /// Does a registrar that is heard call it up?
    pub const fn is_vouched(&self) -> bool {
        self.vouched != 0
    }

    /// Is it held behind others after an own failure?
    pub fn is_held(&self, now: Time) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }

    fn saw(&mut self, state: State, witness: Witness, seen: i64) {
        // Of two at the same time the worse one: to pass over a server that works costs less than to try one that does not.
        if state != State::Unknown && (seen > self.seen || seen == self.seen && state == State::Down) {
            (self.state, self.witness, self.seen) = (state, witness, seen);
        }
    }
}

/// What came of a vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// It was merged; elements whose state or flags changed.
    Merged(Vec<ElementId>),
    /// It is older than one already received, or of an earlier life of its registrar: dropped.
    Late,
}

/// The last word of a registrar.
#[derive(Clone, Copy, Debug)]
struct Life {
    epoch: u32,
    sequence: u32,
    /// Earlier epochs, the latest first.
    past: [Option<u32>; LIVES],
    heard: Time,
}

/// Status of the elements of one pool.
#[derive(Clone, Debug)]
pub struct Vector {
    config: VectorConfig,
    elements: BTreeMap<ElementId, Status>,
    lives: BTreeMap<RegistrarId, Life>,
    refused: u64,
    late: u64,
}

impl Vector {
    /// A vector that knows nothing.
    pub const fn new(config: VectorConfig) -> Self {
        Self { config, elements: BTreeMap::new(), lives: BTreeMap::new(), refused: 0, late: 0 }
    }

    /// What is known of an element.
    pub fn get(&self, id: ElementId) -> Option<&Status> {
        self.elements.get(&id)
    }

    /// What is known of all, by identifier.
    pub fn iter(&self) -> impl Iterator<Item = (ElementId, &Status)> {
        self.elements.iter().map(|(id, status)| (*id, status))
    }

    /// How many elements it knows, those that are gone included.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Does it know none?
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// Elements for which there was no room, and vectors that came late.
    pub const fn dropped(&self) -> (u64, u64) {
        (self.refused, self.late)
    }

    /// A registrar sent its vector: all that it knows of the pool.
    pub fn receive(&mut self, now: Time, voice: Voice, vector: &StatusVector) -> Received {
        if !self.advance(now, vector) {
            self.late += 1;
            return Received::Late;
        }
        let before = self.withdraw(voice);
        let mut changed = Vec::new();
        for entry in &vector.entries {
            let Some(status) = self.entry(entry.id) else { continue };
            let before = (status.state, status.flags);
            let seen = signed(now).saturating_sub(i64::from(entry.age_ms) * 1_000_000);
            status.saw(entry.state, Witness::Registrar(vector.registrar, entry.source), seen);
            if seen >= status.told {
                status.told = seen;
                status.flags = entry.flags;
                status.left =
                    entry.flags.contains(StatusFlags::TOMBSTONE) && entry.source == Source::Deregistration;
            }
            status.named |= voice.bit();
            if entry.state == State::Up {
                status.vouched |= voice.bit();
            }
            if before != (status.state, status.flags) {
                changed.push(entry.id);
            }
        }
        self.miss(before);
        Received::Merged(changed)
    }

    /// A registrar that sends no vector listed these elements. That is weak evidence: it says that they are registered, not when
    /// anybody saw them. They count as seen up now, but an own failure holds them behind all the same.
    pub fn listed(
        &mut self,
        now: Time,
        voice: Voice,
        ids: impl IntoIterator<Item = ElementId>,
    ) -> Vec<ElementId> {
        let before = self.withdraw(voice);
        let mut changed = Vec::new();
        for id in ids {
            let Some(status) = self.entry(id) else { continue };
            let before = status.state;
            status.saw(State::Up, Witness::Listed, signed(now));
            status.left = false;
            status.flags = status.flags.within(StatusFlags::OWN);
            status.named |= voice.bit();
            status.vouched |= voice.bit();
            if before != status.state {
                changed.push(id);
            }
        }
        self.miss(before);
        changed
    }

    /// A registrar is no longer heard: its connection is lost, or its answer is stale. What it said stays, with its age.
    pub fn unheard(&mut self, voice: Voice) {
        self.elements.values_mut().for_each(|status| status.vouched &= !voice.bit());
    }

    /// A registrar is not one of ours any more; the voice's number may be given to another.
    pub fn forget_voice(&mut self, voice: Voice) {
        self.withdraw(voice);
    }

    /// An own attempt came to a result. True if the state is another than before.
    pub fn observe(&mut self, now: Time, id: ElementId, up: bool) -> bool {
        let (first, most) = (self.config.hold_down, self.config.hold_down_max);
        let Some(status) = self.entry(id) else { return false };
        let before = status.state;
        status.saw(if up { State::Up } else { State::Down }, Witness::Own, signed(now));
        if up {
            (status.failures, status.held_until) = (0, None);
        } else {
            // Failures of requests that were under way together are one: only after the hold-down is another one a new trial.
            if !status.is_held(now) {
                let hold = first.saturating_mul(1 << status.failures.min(DOUBLINGS_MAX)).min(most);
                status.failures = status.failures.saturating_add(1);
                status.held_until = Some(now + hold);
            }
        }
        before != status.state
    }

    /// An element that is down by own experience is tried again: others shall not try it in the same hold-down.
    pub fn try_again(&mut self, now: Time, id: ElementId) {
        let most = self.config.hold_down_max;
        let first = self.config.hold_down;
        if let Some(status) = self.elements.get_mut(&id) {
            status.held_until =
                Some(now + first.saturating_mul(1 << status.failures.min(DOUBLINGS_MAX)).min(most));
        }
    }

    /// Forgets what has been gone for long; what was forgotten.
    pub fn expire(&mut self, now: Time) -> Vec<ElementId> {
        let life = self.config.tombstone;
        let gone = self.elements.iter().filter(|(_, status)| is_over(status, now, life)).map(|(id, _)| *id);
        let gone: Vec<ElementId> = gone.collect();
        for id in &gone {
            self.elements.remove(id);
        }
        gone
    }

    /// When the next tombstone is over.
    pub fn next_timeout(&self) -> Option<Time> {
        let gone = self.elements.values().filter(|status| is_gone(status));
        let over = gone
            .map(|status| Time::from_nanos(u64::try_from(status.seen).unwrap_or(0)) + self.config.tombstone);
        over.min()
    }

    /// Takes the registrar's sequence over; false if the vector is a late one.
    fn advance(&mut self, now: Time, vector: &StatusVector) -> bool {
        if let Some(life) = self.lives.get_mut(&vector.registrar) {
            if life.epoch == vector.epoch {
                // The same sequence again is no change, but its ages are newer.
                let late = vector.sequence.wrapping_sub(life.sequence).cast_signed() < 0;
                if !late {
                    (life.sequence, life.heard) = (vector.sequence, now);
                }
                return !late;
            }
            if life.past.contains(&Some(vector.epoch)) {
                return false;
            }
            life.past.rotate_right(1);
            life.past[0] = Some(life.epoch);
            (life.epoch, life.sequence, life.heard) = (vector.epoch, vector.sequence, now);
            return true;
        }
        if self.lives.len() >= REGISTRARS_MAX
            && let Some(oldest) = self.lives.iter().min_by_key(|(_, life)| life.heard).map(|(id, _)| *id)
        {
            self.lives.remove(&oldest);
        }
        let life = Life { epoch: vector.epoch, sequence: vector.sequence, past: [None; LIVES], heard: now };
        self.lives.insert(vector.registrar, life);
        true
    }

    /// Takes back what a voice said; the elements that it named.
    fn withdraw(&mut self, voice: Voice) -> Vec<ElementId> {
        let named = self.elements.iter_mut().filter(|(_, status)| status.named & voice.bit() != 0);
        let named = named.map(|(id, status)| {
            status.named &= !voice.bit();
            status.vouched &= !voice.bit();
            *id
        });
        named.collect()
    }

    /// Elements that were named have left if now nobody names them.
    fn miss(&mut self, before: Vec<ElementId>) {
        for id in before {
            if let Some(status) = self.elements.get_mut(&id) {
                status.left |= status.named == 0;
            }
        }
    }

    /// The element's entry; `None` if there is no room and nothing that is gone makes any.
    fn entry(&mut self, id: ElementId) -> Option<&mut Status> {
        if self.elements.len() >= self.config.elements_max && !self.elements.contains_key(&id) {
            let gone = self.elements.iter().filter(|(_, status)| is_gone(status));
            let Some(oldest) = gone.min_by_key(|(_, status)| status.seen).map(|(id, _)| *id) else {
                self.refused += 1;
                return None;
            };
            self.elements.remove(&oldest);
        }
        Some(self.elements.entry(id).or_insert(Status::NEW))
    }
}

/// Is it in the pool no more?
fn is_gone(status: &Status) -> bool {
    status.named == 0 || status.flags.contains(StatusFlags::TOMBSTONE)
}

fn is_over(status: &Status, now: Time, life: Duration) -> bool {
    is_gone(status) && status.age(now).is_none_or(|age| age >= life)
}

fn signed(time: Time) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
