//! Choosing elements by the pool's policy: "ENRP Server Considerations" of RFC 5356.
//!
//! Two ways cover all types. *By rank*: an ordered set, whose first elements are the answer. *By draw*: weights in a tree, drawn
//! without putting back. Each selection of k out of n costs about k log n; nothing is sorted or scanned.
//!
//! Round robin's circular list is the set ordered by the turn that an element has next: who was at the head takes a later turn. An
//! element of weight w has a turn every 1/w, which spreads its turns evenly, as RFC 5356 4.2.2 wants it.

use std::collections::{BTreeMap, BTreeSet};

use super::draw::Draw;
use super::{Policy, PolicyType};
use crate::Random;

/// Distance between turns of an element of weight 1. 2^64 turns of it fit 128 bits.
const TURN: u128 = 1 << 64;

/// The elements of one pool, ready to be chosen from.
#[derive(Clone, Debug)]
pub struct Selector<K> {
    kind: PolicyType,
    random: Random,
    order: Order<K>,
}

#[derive(Clone, Debug)]
enum Order<K> {
    Rank { members: BTreeMap<K, Member>, queue: BTreeSet<Place<K>>, now: u128, last: u64 },
    Draw { slots: BTreeMap<K, usize>, keys: Vec<K>, draw: Draw },
}

/// What ranks an element.
#[derive(Clone, Copy, Debug)]
struct Member {
    value: Value,
    rank: u128,
    /// Who has waited longest comes first among equal ranks.
    since: u64,
}

#[derive(Clone, Copy, Debug)]
enum Value {
    /// Turns, by weight.
    Turns(u32),
    /// A rank that choosing does not change.
    Fixed(u128),
    /// A load that grows by a degradation with each choice.
    Degrading { load: u32, degradation: u32, counter: u32 },
}

type Place<K> = (u128, u64, K);

impl<K: Copy + Ord> Selector<K> {
    /// A pool of a policy without elements. The seed decides what is drawn.
    pub fn new(kind: PolicyType, seed: u64) -> Self {
        let order = match kind {
            PolicyType::Random | PolicyType::WeightedRandom | PolicyType::RandomizedLeastUsed => {
                Order::Draw { slots: BTreeMap::new(), keys: Vec::new(), draw: Draw::default() }
            }
            _ => Order::Rank { members: BTreeMap::new(), queue: BTreeSet::new(), now: 0, last: 0 },
        };
        Self { kind, random: Random::new(seed), order }
    }

    /// The pool's policy.
    pub const fn kind(&self) -> PolicyType {
        self.kind
    }

    /// How many elements it has, those of weight 0 included.
    pub fn len(&self) -> usize {
        match &self.order {
            Order::Rank { members, .. } => members.len(),
            Order::Draw { slots, .. } => slots.len(),
        }
    }

    /// Has it none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Is that element one of them?
    pub fn contains(&self, key: K) -> bool {
        match &self.order {
            Order::Rank { members, .. } => members.contains_key(&key),
            Order::Draw { slots, .. } => slots.contains_key(&key),
        }
    }

    /// Adds an element, or gives it other values: a registration or re-registration. Its degradation counter starts at 0 (RFC 5356
    /// 5.2.2); its turn stays, so that a re-registration neither favours nor delays it.
    ///
    /// A policy of another type than the pool's has no say: the element counts with neutral values.
    pub fn insert(&mut self, key: K, policy: &Policy) {
        let policy = &if policy.kind() == self.kind { *policy } else { Policy::neutral(self.kind) };
        match &mut self.order {
            Order::Rank { members, queue, now, last } => {
                let value = Value::of(policy);
                let before = members.get(&key).copied();
                if let Some(before) = before {
                    queue.remove(&before.place(key));
                }
                let since = before.map_or_else(|| next(last), |before| before.since);
                let rank = value.first_rank(before, *now);
                let member = Member { value, rank, since };
                members.insert(key, member);
                if value.serves() {
                    queue.insert(member.place(key));
                }
            }
            Order::Draw { slots, keys, draw } => match slots.get(&key) {
                Some(slot) => draw.set(*slot, policy.weight()),
                None => {
                    slots.insert(key, keys.len());
                    keys.push(key);
                    draw.push(policy.weight());
                }
            },
        }
    }

    /// Takes an element away; false if there was none.
    pub fn remove(&mut self, key: K) -> bool {
        match &mut self.order {
            Order::Rank { members, queue, .. } => {
                let Some(member) = members.remove(&key) else { return false };
                queue.remove(&member.place(key));
            }
            Order::Draw { slots, keys, draw } => {
                let Some(slot) = slots.remove(&key) else { return false };
                // The last one moves into the gap.
                let end = keys.len() - 1;
                let moved = keys[end];
                if slot != end {
                    keys[slot] = moved;
                    let weight = draw.weight(end);
                    draw.set(slot, weight);
                    slots.insert(moved, slot);
                }
                keys.pop();
                draw.pop();
            }
        }
        true
    }

    /// Chooses at most `count` different elements, the one to be used first in front.
    pub fn select(&mut self, count: usize) -> Vec<K> {
        self.select_where(count, |_| true)
    }

    /// The same among those that `may` be chosen. Who may not keeps its place: it is not served later for turns that it missed.
    pub fn select_where(&mut self, count: usize, mut may: impl FnMut(K) -> bool) -> Vec<K> {
        match &mut self.order {
            Order::Rank { members, queue, now, last } => {
                let open = queue.iter().map(|place| place.2).filter(|key| may(*key));
                let chosen: Vec<K> = open.take(count).collect();
                for (at, key) in chosen.iter().enumerate() {
                    let Some(member) = members.get_mut(key) else { continue };
                    // The head moves by one element, so that the next list starts with another; degradation counts for all that
                    // are returned (RFC 5356 4.1.2, 5.2.2).
                    if at > 0 && !member.value.degrades() {
                        break;
                    }
                    queue.remove(&member.place(*key));
                    *now = member.value.chosen(&mut member.rank, *now);
                    member.since = next(last);
                    queue.insert(member.place(*key));
                }
                chosen
            }
            Order::Draw { keys, draw, .. } => {
                let mut chosen = Vec::with_capacity(count.min(keys.len()));
                let mut drawn = Vec::new();
                let mut left = draw.total();
                while chosen.len() < count && left > 0 {
                    let slot = draw.slot(self.random.below(left));
                    let weight = draw.weight(slot);
                    draw.set(slot, 0);
                    left -= u64::from(weight);
                    drawn.push((slot, weight));
                    if may(keys[slot]) {
                        chosen.push(keys[slot]);
                    }
                }
                for (slot, weight) in drawn {
                    draw.set(slot, weight);
                }
                chosen
            }
        }
    }
}

impl Member {
    const fn place<K: Copy>(&self, key: K) -> Place<K> {
        (self.rank, self.since, key)
    }
}

impl Value {
    const fn of(policy: &Policy) -> Self {
        match policy {
            // The set is in rising order, so the highest priority has the lowest rank.
            Policy::Priority { priority } => Self::Fixed((u32::MAX - *priority) as u128),
            Policy::LeastUsed { load } => Self::Fixed(*load as u128),
            Policy::PriorityLeastUsed { load, degradation } => {
                Self::Fixed(*load as u128 + *degradation as u128)
            }
            Policy::LeastUsedDegradation { load, degradation } => {
                Self::Degrading { load: *load, degradation: *degradation, counter: 0 }
            }
            other => Self::Turns(other.weight()),
        }
    }

    /// May it be chosen at all? "A weight of 0 denotes that the pool element is not capable of providing any service" (RFC 5356 3.2).
    const fn serves(self) -> bool {
        !matches!(self, Self::Turns(0))
    }

    const fn degrades(self) -> bool {
        matches!(self, Self::Degrading { .. })
    }

    /// Rank when added or changed.
    fn first_rank(self, before: Option<Member>, now: u128) -> u128 {
        match (self, before.map(|before| (before.value, before.rank))) {
            (Self::Fixed(rank), _) => rank,
            (Self::Degrading { load, .. }, _) => u128::from(load),
            // What is left until its turn is stretched to the new distance, so that a heavier weight works at once.
            (Self::Turns(weight @ 1..), Some((Self::Turns(earlier @ 1..), rank))) => {
                let left = rank.saturating_sub(now).min(distance(earlier));
                now + (left / u128::from(weight)).saturating_mul(u128::from(earlier)).min(distance(weight))
            }
            (Self::Turns(weight), _) => now + distance(weight),
        }
    }

    /// Gives the rank after a choice; the result is the turn that it is now.
    fn chosen(&mut self, rank: &mut u128, now: u128) -> u128 {
        match self {
            Self::Turns(weight) => {
                // A turn missed while it was not to be chosen is not made up for.
                let now = now.max(*rank);
                *rank = now + distance(*weight);
                now
            }
            Self::Fixed(_) => now,
            Self::Degrading { load, degradation, counter } => {
                *counter = counter.saturating_add(1);
                // 64 bits by 64: cannot overflow 128.
                *rank = u128::from(*load) + u128::from(*counter) * u128::from(*degradation);
                now
            }
        }
    }
}

fn distance(weight: u32) -> u128 {
    TURN / u128::from(weight.max(1))
}

const fn next(last: &mut u64) -> u64 {
    *last += 1;
    *last
}
