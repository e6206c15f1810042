//! Pools by handle, elements by identifier (RFC 5351 2: the handlespace).
//!
//! Made for many: elements lie in one table and are named by their [`Slot`], each keeps the octets that users are sent of it, so
//! that an answer is copied together and nothing is encoded, sorted or scanned for it. Which elements an answer has is up to the
//! pool's [`Selector`](crate::policy::Selector), in which only usable elements are.
//!
//! An element that is not up stays, and stays in the status vector; users of the RFCs alone get only usable ones, because for
//! them "registered" and "usable" are one (RFC 5352 3.5). Removed ones leave tombstones in the vector for a time.

mod answer;
mod element;
mod index;
mod pool;
mod stamp;

pub use answer::{Asked, Status};
pub use element::{Element, Slot};
pub use pool::{Pool, PoolIndex, Tombstone};
pub use stamp::Stamp;

pub(crate) use element::{NEVER, NOWHERE, Waiting};
pub(crate) use pool::Subscriber;

use std::collections::HashMap;

use crate::policy::{Policy, PolicyType};
use crate::wire::{Cause, CauseCode, PoolElement, Source, State, StatusFlags};
use crate::{ElementId, PoolHandle, Random};
use index::Seeded;

/// Most tombstones of one pool: the oldest make room.
pub const TOMBSTONES_MAX: usize = 256;

/// All pools and elements.
#[derive(Debug)]
pub struct Handlespace {
    pools: Vec<Option<Pool>>,
    free_pools: Vec<u32>,
    by_handle: HashMap<PoolHandle, PoolIndex, Seeded>,
    elements: Vec<Option<Element>>,
    free_slots: Vec<u32>,
    by_id: HashMap<(PoolIndex, ElementId), Slot, Seeded>,
    random: Random,
}

impl Handlespace {
    /// An empty one. The seed decides what random policies draw, and where names lie in tables.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            pools: Vec::new(),
            free_pools: Vec::new(),
            by_handle: HashMap::with_hasher(Seeded(random.next())),
            elements: Vec::new(),
            free_slots: Vec::new(),
            by_id: HashMap::with_hasher(Seeded(random.next())),
            random,
        }
    }

    /// Which pool has the handle.
    pub fn find_pool(&self, handle: &[u8]) -> Option<PoolIndex> {
        self.by_handle.get(handle).copied()
    }

    /// Where an element of a pool is.
    pub fn find(&self, pool: PoolIndex, id: ElementId) -> Option<Slot> {
        self.by_id.get(&(pool, id)).copied()
    }

    /// A pool.
    pub fn pool(&self, pool: PoolIndex) -> Option<&Pool> {
        self.pools.get(pool.at())?.as_ref()
    }

    pub(crate) fn pool_mut(&mut self, pool: PoolIndex) -> Option<&mut Pool> {
        self.pools.get_mut(pool.at())?.as_mut()
    }

    /// An element.
    pub fn element(&self, slot: Slot) -> Option<&Element> {
        self.elements.get(slot.at())?.as_ref()
    }

    pub(crate) fn element_mut(&mut self, slot: Slot) -> Option<&mut Element> {
        self.elements.get_mut(slot.at())?.as_mut()
    }

    /// All pools.
    pub fn pools(&self) -> impl Iterator<Item = (PoolIndex, &Pool)> {
        let all = self.pools.iter().enumerate();
        all.filter_map(|(at, pool)| Some((PoolIndex::new(at), pool.as_ref()?)))
    }

    /// All elements.
    pub fn elements(&self) -> impl Iterator<Item = (Slot, &Element)> {
        let all = self.elements.iter().enumerate();
        all.filter_map(|(at, element)| Some((Slot::new(at), element.as_ref()?)))
    }

    /// How many pools there are.
    pub fn pool_count(&self) -> usize {
        self.pools.len() - self.free_pools.len()
    }

    /// How many elements there are, usable or not.
    pub fn element_count(&self) -> usize {
        self.elements.len() - self.free_slots.len()
    }

    /// May the element be of the pool (RFC 5352 3.1, rules 2 and 3)? The pool's first element decides for all. If all others are
    /// down, there is nobody with whom it could be inconsistent, and the pool becomes what the element is; else a pool whose
    /// elements were all restarted with another policy would have to wait until the old ones are forgotten.
    ///
    /// # Errors
    /// The cause to reject it with.
    pub fn is_consistent(&self, pool: PoolIndex, element: &PoolElement) -> Result<(), Cause> {
        let Some(pool) = self.pool(pool) else { return Ok(()) };
        if !pool.is_other_kind(element) || self.is_alone(pool, element.id) {
            return Ok(());
        }
        if pool.policy != PolicyType::from_code(element.policy.code()) {
            return Err(Cause::new(CauseCode::InconsistentPolicy, &pool.policy_parameter()));
        }
        if pool.transport != element.user_transport.kind() {
            let first = pool.members().first().and_then(|slot| self.element(*slot));
            let information =
                first.and_then(Element::decode).map(|first| first.user_transport.to_parameter());
            return Err(Cause::new(CauseCode::InconsistentTransport, &information.unwrap_or_default()));
        }
        if pool.control != element.user_transport.transport_use() {
            return Err(Cause::bare(CauseCode::InconsistentControl));
        }
        Ok(())
    }

    fn is_alone(&self, pool: &Pool, id: ElementId) -> bool {
        let mut others = pool.members().iter().filter_map(|slot| self.element(*slot));
        others.all(|other| other.id == id || other.state == State::Down)
    }

    /// Adds an element, and its pool if it is the first one. It is in no list until it was [observed](Self::observe) to be up.
    pub fn insert(&mut self, handle: &PoolHandle, element: &PoolElement, flags: StatusFlags) -> Slot {
        let index = match self.find_pool(handle.as_bytes()) {
            Some(index) => index,
            None => self.insert_pool(handle),
        };
        if let Some(slot) = self.find(index, element.id) {
            self.replace(slot, element, flags);
            return slot;
        }
        let free = self.free_slots.pop();
        let slot = free.map_or_else(|| Slot::new(self.elements.len()), Slot::from_word);
        self.by_id.insert((index, element.id), slot);
        if let Some(Some(pool)) = self.pools.get_mut(index.at()) {
            if pool.members().is_empty() || pool.is_other_kind(element) {
                pool.set_kind(element, self.random.next());
            }
            pool.tombstones.retain(|tombstone| tombstone.id != element.id);
            let place = pool.add(slot);
            let element = Element::new(index, place, element, flags);
            match self.elements.get_mut(slot.at()) {
                Some(empty) => *empty = Some(element),
                None => self.elements.push(Some(element)),
            }
        }
        slot
    }

    /// Gives an element other attributes (RFC 5352 3.1, rule 3). True if something changed that users see.
    pub fn replace(&mut self, slot: Slot, element: &PoolElement, flags: StatusFlags) -> bool {
        let Some(Some(own)) = self.elements.get_mut(slot.at()) else { return false };
        let Some(Some(pool)) = self.pools.get_mut(own.pool.at()) else { return false };
        let changed = own.set(element, flags);
        if pool.is_other_kind(element) {
            pool.set_kind(element, self.random.next());
            own.listed = false;
        }
        // Always, since a re-registration sets the counter of a degrading policy back (RFC 5356 5.2.2).
        enlist(pool, slot, own, Some(&element.policy));
        changed
    }

    /// Notes what was seen of an element. True if its state is another one now.
    pub fn observe(&mut self, slot: Slot, state: State, source: Source, at: Stamp) -> bool {
        let Some(Some(element)) = self.elements.get_mut(slot.at()) else { return false };
        let Some(Some(pool)) = self.pools.get_mut(element.pool.at()) else { return false };
        let changed = element.state != state;
        element.state = state;
        element.source = source;
        element.observed = at;
        enlist(pool, slot, element, None);
        changed
    }

    /// Takes an element away; a tombstone tells since when and why. The pool stays until it is forgotten.
    pub fn remove(&mut self, slot: Slot, source: Source, at: Stamp) -> Option<Element> {
        let element = self.elements.get_mut(slot.at())?.take()?;
        self.free_slots.push(slot.word());
        self.by_id.remove(&(element.pool, element.id));
        if let Some(Some(pool)) = self.pools.get_mut(element.pool.at()) {
            if element.listed {
                pool.selector.remove(slot.word());
            }
            if let Some(moved) = pool.take(element.place)
                && let Some(Some(moved)) = self.elements.get_mut(moved.at())
            {
                moved.place = element.place;
            }
            if pool.tombstones.len() == TOMBSTONES_MAX {
                pool.tombstones.pop_front();
            }
            pool.tombstones.push_back(Tombstone { id: element.id, source, at });
        }
        Some(element)
    }

    /// Forgets a pool that has neither elements nor tombstones nor subscribers; true if it did.
    pub(crate) fn forget_pool(&mut self, index: PoolIndex) -> bool {
        let Some(Some(pool)) = self.pools.get(index.at()) else { return false };
        if !pool.members().is_empty() || !pool.tombstones.is_empty() || !pool.push.subscribers.is_empty() {
            return false;
        }
        self.by_handle.remove(pool.handle.as_bytes());
        self.pools[index.at()] = None;
        self.free_pools.push(index.word());
        true
    }

    fn insert_pool(&mut self, handle: &PoolHandle) -> PoolIndex {
        let free = self.free_pools.pop();
        let index = free.map_or_else(|| PoolIndex::new(self.pools.len()), PoolIndex::from_word);
        let pool = Some(Pool::new(handle.clone(), self.random.next()));
        match self.pools.get_mut(index.at()) {
            Some(empty) => *empty = pool,
            None => self.pools.push(pool),
        }
        self.by_handle.insert(handle.clone(), index);
        index
    }
}

/// Puts an element into the selector or takes it out, as its state says.
fn enlist(pool: &mut Pool, slot: Slot, element: &mut Element, policy: Option<&crate::wire::PolicyParameter>) {
    let usable = element.is_usable();
    if usable && (policy.is_some() || !element.listed) {
        let decoded = element.decode().map(|element| element.policy);
        let policy = policy.copied().or(decoded).and_then(|policy| Policy::parse(&policy).ok());
        pool.selector.insert(slot.word(), &policy.unwrap_or_default());
    } else if !usable && element.listed {
        pool.selector.remove(slot.word());
    }
    element.listed = usable;
}
