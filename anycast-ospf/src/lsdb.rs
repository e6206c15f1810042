//! The link-state database (RFC 2328 12 to 14, RFC 5340 4.4.2): everything that was flooded here, under its scope, with its age.
//!
//! A stub host computes no routes, so the database is there for honest flooding: to describe and answer, to compare instances,
//! to pass on between two uplinks, and to show. It never grows over its [`Limits`]: an LSA for which there is no room is
//! refused, which the flooding procedure acknowledges all the same, since a neighbour that retransmits it for ever helps nobody.
//! Only what is originated here always has room: an LSA that merely claims to be ours is somebody else's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::codec::{FloodScope, LsType, Lsa, LsaHeader, LsaKey, MAX_AGE};
use crate::{AreaId, RouterId, Time};

/// An LSA is not replaced by flooding within this time (RFC 2328 B).
pub const MIN_LS_ARRIVAL: Duration = Duration::from_secs(1);

/// An own LSA is originated anew at this age (RFC 2328 B).
pub const LS_REFRESH: Duration = Duration::from_secs(1800);

/// Number of an interface of the speaker: its place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(pub usize);

/// Where an LSA belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// One link.
    Link(InterfaceId),
    /// One area.
    Area(AreaId),
    /// All but stub areas.
    As,
}

impl Scope {
    /// Where an LSA belongs that is received on an interface of an area; `None` if its scope is reserved.
    pub const fn of(key: &LsaKey, interface: InterfaceId, area: AreaId) -> Option<Self> {
        match key.ls_type.scope() {
            FloodScope::Link => Some(Self::Link(interface)),
            FloodScope::Area => Some(Self::Area(area)),
            FloodScope::As => Some(Self::As),
            FloodScope::Reserved => None,
        }
    }
}

/// Place of an LSA in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// Where it belongs.
    pub scope: Scope,
    /// Its name there.
    pub key: LsaKey,
}

/// What the database may hold of LSAs that it did not originate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// LSAs.
    pub count: usize,
    /// Octets of LSAs.
    pub octets: usize,
}

impl Default for Limits {
    /// A large area: 20,000 LSAs, 8 MiB.
    fn default() -> Self {
        Self { count: 20_000, octets: 8 << 20 }
    }
}

/// How an LSA came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From a neighbour.
    Flooded,
    /// Made here.
    Own,
}

/// An LSA in the database.
#[derive(Clone, Debug)]
pub struct Entry {
    lsa: Lsa,
    installed: Time,
    origin: Origin,
    sent: Option<Time>,
}

impl Entry {
    /// Age now, seconds, at most [`MAX_AGE`].
    pub fn age(&self, now: Time) -> u16 {
        let grown = now.since(self.installed).as_secs().saturating_add(self.lsa.header.age.into());
        u16::try_from(grown).unwrap_or(MAX_AGE).min(MAX_AGE)
    }

    /// Header with the age it has now.
    pub fn header(&self, now: Time) -> LsaHeader {
        LsaHeader { age: self.age(now), ..self.lsa.header }
    }

    /// The LSA as it is sent: `InfTransDelay`, one second, is added to its age (RFC 2328 13.3 step 5).
    pub fn to_send(&self, now: Time) -> Lsa {
        let age = (self.age(now) + 1).min(MAX_AGE);
        Lsa { header: LsaHeader { age, ..self.lsa.header }, body: self.lsa.body.clone() }
    }

    /// The LSA as it was installed.
    pub const fn lsa(&self) -> &Lsa {
        &self.lsa
    }

    /// When it was installed.
    pub const fn installed(&self) -> Time {
        self.installed
    }

    /// When it last went out in an Update (RFC 2328 13 step 8).
    pub const fn sent(&self) -> Option<Time> {
        self.sent
    }

    /// How it came.
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// May a newer instance not replace it yet (RFC 2328 13 step 5a)?
    pub fn is_fresh(&self, now: Time) -> bool {
        self.origin == Origin::Flooded && now.since(self.installed) < MIN_LS_ARRIVAL
    }
}

/// There is no room for an LSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The database.
#[derive(Clone, Debug)]
pub struct Database {
    limits: Limits,
    entries: BTreeMap<Slot, Entry>,
    /// When each entry that is younger than `MAX_AGE` reaches it.
    expiry: BTreeSet<(Time, Slot)>,
    /// Entries of `MAX_AGE`: on their way out.
    leaving: BTreeSet<Slot>,
    /// Of flooded LSAs.
    count: usize,
    octets: usize,
    refused: u64,
}

impl Database {
    /// An empty one.
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: BTreeMap::new(),
            expiry: BTreeSet::new(),
            leaving: BTreeSet::new(),
            count: 0,
            octets: 0,
            refused: 0,
        }
    }

    /// The LSA in a place.
    pub fn entry(&self, slot: &Slot) -> Option<&Entry> {
        self.entries.get(slot)
    }

    /// Notes that the LSA in a place went out in an Update.
    pub fn note_sent(&mut self, now: Time, slot: &Slot) {
        if let Some(entry) = self.entries.get_mut(slot) {
            entry.sent = Some(now);
        }
    }

    /// All LSAs, by scope and name.
    pub fn iter(&self) -> impl Iterator<Item = (&Slot, &Entry)> {
        self.entries.iter()
    }

    /// The LSAs of one scope.
    pub fn of_scope(&self, scope: Scope) -> impl Iterator<Item = (&Slot, &Entry)> {
        let least = LsaKey { ls_type: LsType(0), link_state_id: 0, advertising_router: RouterId::NONE };
        self.entries.range(Slot { scope, key: least }..).take_while(move |(slot, _)| slot.scope == scope)
    }

    /// The LSAs of one scope and type.
    pub fn of_type(&self, scope: Scope, ls_type: LsType) -> impl Iterator<Item = (&Slot, &Entry)> {
        let least = LsaKey { ls_type, link_state_id: 0, advertising_router: RouterId::NONE };
        let from = self.entries.range(Slot { scope, key: least }..);
        from.take_while(move |(slot, _)| slot.scope == scope && slot.key.ls_type == ls_type)
    }

    /// Number of LSAs that were flooded here.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Their octets.
    pub const fn octets(&self) -> usize {
        self.octets
    }

    /// How many LSAs found no room.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Puts an LSA in its place, instead of an older instance.
    ///
    /// # Errors
    /// It was flooded and there is no room; the older instance stays.
    pub fn install(&mut self, now: Time, slot: Slot, lsa: Lsa, origin: Origin) -> Result<(), Full> {
        if origin == Origin::Flooded {
            let flooded = self.entries.get(&slot).filter(|old| old.origin == Origin::Flooded);
            let (old_count, old_octets) = flooded.map_or((0, 0), |old| (1, old.lsa.len()));
            let (count, octets) = (self.count + 1 - old_count, self.octets + lsa.len() - old_octets);
            // What replaces an instance that is no shorter always fits: a full database still follows its routers' changes.
            let grows = count > self.count || octets > self.octets;
            if grows && (count > self.limits.count || octets > self.limits.octets) {
                self.refused += 1;
                return Err(Full);
            }
        }
        let sent = None;
        self.remove(&slot);
        let age = lsa.header.age.min(MAX_AGE);
        if age == MAX_AGE {
            self.leaving.insert(slot);
        } else {
            self.expiry.insert((now + Duration::from_secs(u64::from(MAX_AGE - age)), slot));
        }
        if origin == Origin::Flooded {
            self.count += 1;
            self.octets += lsa.len();
        }
        self.entries.insert(slot, Entry { lsa, installed: now, origin, sent });
        Ok(())
    }

    /// Takes an LSA out.
    pub fn remove(&mut self, slot: &Slot) -> Option<Entry> {
        let entry = self.entries.remove(slot)?;
        self.leaving.remove(slot);
        let rest = Duration::from_secs(u64::from(MAX_AGE - entry.lsa.header.age.min(MAX_AGE)));
        self.expiry.remove(&(entry.installed + rest, *slot));
        if entry.origin == Origin::Flooded {
            self.count -= 1;
            self.octets -= entry.lsa.len();
        }
        Some(entry)
    }

    /// Takes out all LSAs of a scope.
    pub fn remove_scope(&mut self, scope: Scope) {
        for slot in self.of_scope(scope).map(|(slot, _)| *slot).collect::<Vec<_>>() {
            self.remove(&slot);
        }
    }

    /// When the next LSA reaches `MAX_AGE`.
    pub fn next_expiry(&self) -> Option<Time> {
        self.expiry.first().map(|(at, _)| *at)
    }

    /// Sets an LSA that is old enough to `MAX_AGE`, for flooding it out (RFC 2328 14), and returns its place.
    pub fn expire(&mut self, now: Time) -> Option<Slot> {
        let (_, slot) = self.expiry.first().copied().filter(|(at, _)| *at <= now)?;
        self.flush(now, &slot);
        Some(slot)
    }

    /// Sets an LSA to `MAX_AGE` (RFC 2328 14.1). False if it is not there or has that age already.
    pub fn flush(&mut self, now: Time, slot: &Slot) -> bool {
        let Some(entry) = self.entries.get_mut(slot).filter(|entry| !entry.lsa.header.is_max_age()) else {
            return false;
        };
        let rest = Duration::from_secs(u64::from(MAX_AGE - entry.lsa.header.age));
        self.expiry.remove(&(entry.installed + rest, *slot));
        entry.lsa.header.age = MAX_AGE;
        entry.installed = now;
        entry.sent = None;
        self.leaving.insert(*slot);
        true
    }

    /// LSAs of `MAX_AGE`, which leave as soon as all neighbours have acknowledged them.
    pub fn leaving(&self) -> impl Iterator<Item = &Slot> {
        self.leaving.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::INITIAL_SEQUENCE;

    fn at(seconds: u64) -> Time {
        Time::from_nanos(seconds * 1_000_000_000)
    }

    fn slot(router: u32, link_state_id: u32) -> Slot {
        let key = LsaKey { ls_type: LsType::ROUTER, link_state_id, advertising_router: RouterId(router) };
        Slot { scope: Scope::Area(AreaId::BACKBONE), key }
    }

    fn lsa(slot: Slot, age: u16, octets: usize) -> Lsa {
        Lsa::new(slot.key, INITIAL_SEQUENCE, age, &vec![0; octets - 20])
    }

    fn database(count: usize, octets: usize) -> Database {
        Database::new(Limits { count, octets })
    }

    #[test]
    fn an_lsa_ages_reaches_max_age_and_is_sent_a_second_older() {
        let mut database = database(10, 1000);
        let slot = slot(2, 0);
        database.install(at(100), slot, lsa(slot, 10, 24), Origin::Flooded).unwrap();
        let entry = database.entry(&slot).unwrap();
        assert_eq!((entry.age(at(100)), entry.age(at(150)), entry.age(at(100_000))), (10, 60, MAX_AGE));
        assert_eq!(entry.to_send(at(150)).header.age, 61);
        assert_eq!(entry.to_send(at(100_000)).header.age, MAX_AGE);
        assert!(entry.to_send(at(150)).is_intact(), "the age is not part of the checksum");
        assert_eq!(database.next_expiry(), Some(at(100 + 3590)));
        assert_eq!(database.expire(at(3689)), None);
        assert_eq!(database.expire(at(3690)), Some(slot));
        assert_eq!(database.expire(at(3690)), None);
        assert_eq!(database.leaving().collect::<Vec<_>>(), [&slot]);
        assert!(database.remove(&slot).is_some());
        assert_eq!((database.count(), database.octets(), database.leaving().count()), (0, 0, 0));
    }

    #[test]
    fn an_lsa_that_was_flooded_is_fresh_for_a_second_and_an_own_one_never() {
        let mut database = database(10, 1000);
        let (theirs, ours) = (slot(2, 0), slot(1, 0));
        database.install(at(0), theirs, lsa(theirs, 0, 24), Origin::Flooded).unwrap();
        database.install(at(0), ours, lsa(ours, 0, 24), Origin::Own).unwrap();
        assert!(database.entry(&theirs).unwrap().is_fresh(Time::from_nanos(999_999_999)));
        assert!(!database.entry(&theirs).unwrap().is_fresh(at(1)));
        assert!(!database.entry(&ours).unwrap().is_fresh(at(0)));
    }

    #[test]
    fn a_flood_is_bounded_by_count_and_by_octets_and_never_keeps_an_own_lsa_out() {
        for (count, octets, fit) in [(5, 1_000_000, 5), (1_000_000, 240, 10)] {
            let mut database = database(count, octets);
            for id in 0..1_000 {
                let slot = slot(2, id);
                let installed = database.install(at(0), slot, lsa(slot, 0, 24), Origin::Flooded);
                assert_eq!(installed.is_ok(), (id as usize) < fit);
            }
            assert_eq!((database.count(), database.refused()), (fit, 1_000 - fit as u64));
            assert!(database.octets() <= octets);
            // A newer instance of one that is there still fits, a longer one does not.
            assert_eq!(database.install(at(2), slot(2, 0), lsa(slot(2, 0), 0, 24), Origin::Flooded), Ok(()));
            let longer = database.install(at(2), slot(2, 0), lsa(slot(2, 0), 0, 240), Origin::Flooded);
            assert_eq!(longer.is_ok(), octets > 240);
            let ours = slot(1, 7);
            assert_eq!(database.install(at(2), ours, lsa(ours, 0, 240), Origin::Own), Ok(()));
            assert_eq!(database.count(), fit);
        }
    }

    #[test]
    fn scopes_are_kept_apart() {
        let mut database = database(100, 10_000);
        let scopes =
            [Scope::Link(InterfaceId(0)), Scope::Link(InterfaceId(1)), Scope::Area(AreaId(0)), Scope::As];
        for scope in scopes {
            for id in 0..3 {
                let slot = Slot { scope, ..slot(2, id) };
                database.install(at(0), slot, lsa(slot, 0, 24), Origin::Flooded).unwrap();
            }
        }
        assert!(scopes.iter().all(|scope| database.of_scope(*scope).count() == 3));
        database.remove_scope(Scope::Link(InterfaceId(0)));
        assert_eq!(scopes.map(|scope| database.of_scope(scope).count()), [0, 3, 3, 3]);
        assert_eq!(database.count(), 9);
    }

    #[test]
    fn a_flush_keeps_the_sequence_and_happens_once() {
        let mut database = database(10, 1000);
        let slot = slot(1, 0);
        database.install(at(0), slot, lsa(slot, 0, 24), Origin::Own).unwrap();
        assert!(database.flush(at(5), &slot));
        assert!(!database.flush(at(6), &slot));
        let entry = database.entry(&slot).unwrap();
        assert_eq!((entry.header(at(6)).sequence, entry.header(at(6)).age), (INITIAL_SEQUENCE, MAX_AGE));
        assert_eq!(database.next_expiry(), None);
    }
}
