//! What a user knows now, for tables.

use std::time::Duration;

use super::User;
use crate::policy::PolicyType;
use crate::vector::{Tier, Witness};
use crate::wire::{ElementId, PoolElement, PoolHandle, State, StatusFlags};
use crate::{RegistrarSnapshot, Time};

/// An element as a user knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolElementSnapshot {
    /// Which.
    pub id: ElementId,
    /// How it registered; `None` if only its status is known.
    pub element: Option<PoolElement>,
    /// Is it up?
    pub state: State,
    /// Who saw that; `None` if nobody has seen it.
    pub witness: Option<Witness>,
    /// How long ago that was seen.
    pub age: Option<Duration>,
    /// Standby, draining, gone.
    pub flags: StatusFlags,
    /// How good its prospects are.
    pub tier: Tier,
    /// Own failures in a row.
    pub failures: u32,
    /// How often it was picked, and its successes and failures.
    pub used: (u64, u64, u64),
    /// Mean latency of late.
    pub latency: Option<Duration>,
}

/// A pool as a user knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSnapshot {
    /// Which.
    pub handle: PoolHandle,
    /// Its policy.
    pub policy: PolicyType,
    /// Registrars that are heard about it: their number in [`User::registrars`], and whether they push.
    pub heard: Vec<(usize, bool)>,
    /// Its elements, the best first.
    pub elements: Vec<PoolElementSnapshot>,
    /// Elements for which there was no room, and vectors that came late.
    pub dropped: (u64, u64),
}

impl User {
    /// The registrars, by number.
    pub fn registrars(&self) -> Vec<(usize, RegistrarSnapshot)> {
        let all = self.links().iter().map(|(number, link)| {
            let snapshot = RegistrarSnapshot {
                target: link.target.clone(),
                state: link.state,
                failures: link.failures,
                id: self.identity(number),
            };
            (number, snapshot)
        });
        all.collect()
    }

    /// A pool, if it is followed.
    pub fn snapshot(&self, now: Time, handle: &PoolHandle) -> Option<PoolSnapshot> {
        let pool = self.pool(handle)?;
        let elements = pool.vector.ranked(now).into_iter().filter_map(|(group, id)| {
            let (status, known) = (pool.vector.get(id)?, pool.elements.get(&id));
            Some(PoolElementSnapshot {
                id,
                element: known.map(|known| known.element.clone()),
                state: status.state,
                witness: (status.state != State::Unknown).then_some(status.witness),
                age: status.age(now),
                flags: status.flags,
                tier: group.tier,
                failures: status.failures,
                used: known.map_or((0, 0, 0), |known| (known.picked, known.succeeded, known.failed)),
                latency: known.and_then(|known| known.latency),
            })
        });
        let heard = pool.talks.iter().filter_map(|(number, talk)| Some((*number, talk.heard?.subscribed)));
        Some(PoolSnapshot {
            handle: pool.handle.clone(),
            policy: pool.policy,
            heard: heard.collect(),
            elements: elements.collect(),
            dropped: pool.vector.dropped(),
        })
    }
}
