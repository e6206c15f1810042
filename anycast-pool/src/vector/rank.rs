//! The order in which elements are to be tried.
//!
//! For servers that fail and are repaired all alike, the chance that one is up falls with the age of an observation of it up, and
//! rises with the age of one down; unknown lies between ([`crate::markov`]). So: most recently up first, then unknown, then longest
//! down.
//!
//! Taken to the letter, that rule would send everything to the server just used, because its success is the newest observation.
//! So it decides between [`Group`]s only, and within a group the pool's policy shares the load. All fresh ones are one group; who is
//! not fresh is worth the order of the rule.

use super::{Status, Vector, signed};
use crate::Time;
use crate::wire::{ElementId, State, StatusFlags};

/// How good an element's prospects are, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Up, and that is fresh, or a registrar that is heard says so.
    Fresh,
    /// Up when last seen: most recent first.
    Older,
    /// Up, and waits until others cannot.
    Standby,
    /// Never seen.
    Unknown,
    /// A registrar saw it up, but an own attempt failed a short time ago.
    Suspect,
    /// Finishes what it has, or said good-bye: wants nothing new.
    Leaving,
    /// Down when last seen: longest ago first.
    Down,
}

impl Tier {
    /// Name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Older => "older",
            Self::Standby => "standby",
            Self::Unknown => "unknown",
            Self::Suspect => "suspect",
            Self::Leaving => "leaving",
            Self::Down => "down",
        }
    }
}

/// Elements of one group are equals: the smallest group is to be tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    /// The tier.
    pub tier: Tier,
    /// Place within the tier, the smallest first.
    place: i64,
}

impl Vector {
    /// The group of an element; `None` if nothing is known of it.
    pub fn group(&self, now: Time, id: ElementId) -> Option<Group> {
        self.get(id).map(|status| self.group_of(now, status))
    }

    /// All elements with their groups, the best first, equals by identifier.
    pub fn ranked(&self, now: Time) -> Vec<(Group, ElementId)> {
        let mut ranked: Vec<_> = self.iter().map(|(id, status)| (self.group_of(now, status), id)).collect();
        ranked.sort_unstable();
        ranked
    }

    pub(super) fn group_of(&self, now: Time, status: &Status) -> Group {
        let fresh = status.is_vouched() || status.age(now).is_some_and(|age| age <= self.config.fresh);
        // Most recent first.
        let recent = status.seen.saturating_neg();
        let (tier, place) = match status.state {
            State::Down => (Tier::Down, status.seen),
            _ if status.left || status.flags.contains(StatusFlags::DRAINING) => {
                (Tier::Leaving, if fresh { i64::MIN } else { recent })
            }
            _ if status.is_held(now) => (Tier::Suspect, status.held_until.map_or(0, signed)),
            State::Unknown => (Tier::Unknown, 0),
            State::Up if status.flags.contains(StatusFlags::STANDBY) => {
                (Tier::Standby, if fresh { i64::MIN } else { recent })
            }
            State::Up if fresh => (Tier::Fresh, 0),
            State::Up => (Tier::Older, recent),
        };
        Group { tier, place }
    }
}

/// The rule for one observation, `age` nanoseconds old: smaller is to be tried first. This is what [`Tier::Fresh`] softens.
pub(crate) const fn strict(state: State, age: u64) -> (u8, u64) {
    match state {
        State::Up => (0, age),
        State::Unknown => (1, 0),
        State::Down => (2, u64::MAX - age),
    }
}
