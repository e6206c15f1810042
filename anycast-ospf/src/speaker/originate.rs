//! Own LSAs (RFC 2328 12.4, 13.4, 14.1; RFC 5340 4.4.3): what they should be, and when they may become so.
//!
//! Declarative: [`Speaker::desired`] says what the database should hold of ours now, and [`Speaker::originate`] brings it there.
//!
//! Three rules on when, each for a measured reason:
//! * The first change after a pause goes out at once, the next ones gather for `min_ls_interval`: a receiver drops a second instance
//!   within a second of the first without acknowledging it (`MinLSArrival`), which then costs a whole retransmit interval.
//! * Nothing is originated before a neighbour is Full. A restarted speaker would else send its Router-LSA twice, once as it begins and
//!   once with the link, and lose the second; and an instance of an earlier life that turns up during the exchange is only remembered
//!   and overtaken once, when all is loaded.
//! * A Router-LSA without links is no first word: Backup and Designated Router become Full one after the other.
//!
//! With every change of a service's prefix the Router-LSA changes too: the metric of its links goes up and down by one. No route leads
//! through this host, so nobody uses it; but routers calculate anew. FRR's ospf6d (8.4.4, and its source of August 2026) applies a
//! changed prefix by itself, and knows of the first of several equal paths not which next hops are its own, until it has calculated
//! once more (`ospf6_intra_prefix_lsa_add` copies the list of `route->path`, which is empty). If that path leaves, its next hops stay:
//! a dead server keeps its share of the traffic. The calculation builds them from what is there.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Speaker;
use super::services::Service;
use crate::codec::body::{IntraAreaPrefixLsa, LinkLsa, MetricPrefix, RouterLink, RouterLsa};
use crate::codec::{INITIAL_SEQUENCE, LinkKind, LsType, Lsa, LsaHeader, LsaKey, MAX_SEQUENCE, PrefixOptions};
use crate::config::{Advertise, LinkType};
use crate::event::Event;
use crate::interface::Interface;
use crate::lsdb::{InterfaceId, LS_REFRESH, MIN_LS_ARRIVAL, Origin, Scope, Slot};
use crate::neighbor::NeighborState;
use crate::{AreaId, RouterId, Time};

/// Added to every wait for `MinLSArrival`: what is sent a second apart may arrive a little closer.
const MARGIN: Duration = Duration::from_millis(50);

/// For so long at most an instance of an earlier life waits for a neighbour to load.
const STALE_WAIT: Duration = Duration::from_secs(10);

/// So many newer instances of one LSA from somebody else within [`FIGHT_WINDOW`] are no echo of an earlier life.
const FIGHTS: usize = 5;

/// See [`FIGHTS`].
const FIGHT_WINDOW: Duration = Duration::from_secs(60);

/// What is known of an LSA under our router id.
#[derive(Clone, Debug, Default)]
pub(super) struct Own {
    /// When this speaker last originated or flushed it.
    sent: Option<Time>,
    /// This speaker originated it.
    originated: bool,
    /// The highest sequence number seen: a place that is taken again goes on from there, because others keep what was flushed a while.
    highest: Option<i32>,
    /// An instance that this speaker did not originate is in the database, since then.
    stale: Option<Time>,
    /// Of a Router-LSA: which of two equivalent ones it is.
    odd: bool,
    /// When newer instances came, newest last.
    fights: VecDeque<Time>,
}

/// What an LSA should be.
struct Desired {
    body: Vec<u8>,
    spacing: Duration,
    /// Not to be originated for the first time.
    only_again: bool,
}

impl Speaker {
    /// Brings own LSAs to what they should be, as far as it is time.
    pub(super) fn originate(&mut self, now: Time) {
        if !self.dirty && self.originate_at.is_none_or(|at| at > now) {
            return;
        }
        self.dirty = false;
        self.originate_at = None;
        if self.bring(now) && self.config.recalculate && self.phase.advertises() {
            self.recalculate = self.interfaces.iter().map(|own| own.config.area).collect();
            self.bring(now);
        }
    }

    /// Brings own LSAs to what they should be, as far as it is time. True if a service's prefix changed by that.
    fn bring(&mut self, now: Time) -> bool {
        let mut moved = false;
        let desired = self.desired();
        for (slot, wanted) in &desired {
            match self.due(now, slot, wanted) {
                Some(at) if at <= now => {
                    moved |= slot.key.ls_type == LsType::INTRA_AREA_PREFIX && self.changes(now, slot, wanted);
                    self.originate_one(now, *slot, &wanted.body);
                }
                Some(at) => self.wake(at),
                None => {}
            }
        }
        let unwanted =
            self.own.keys().filter(|slot| !desired.contains_key(slot)).copied().collect::<Vec<_>>();
        for slot in unwanted {
            match self.flush_due(now, &slot) {
                Some(at) if at <= now => {
                    moved |= slot.key.ls_type == LsType::INTRA_AREA_PREFIX;
                    self.flush_own(now, slot);
                }
                Some(at) => self.wake(at),
                None => {}
            }
        }
        moved
    }

    /// Is it more than a refresh?
    fn changes(&self, now: Time, slot: &Slot, wanted: &Desired) -> bool {
        self.database
            .entry(slot)
            .is_none_or(|entry| entry.header(now).is_max_age() || *entry.lsa().body != *wanted.body)
    }

    fn wake(&mut self, at: Time) {
        self.originate_at = Some(self.originate_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// When an LSA is to be originated; `None` = not before something changes.
    fn due(&self, now: Time, slot: &Slot, wanted: &Desired) -> Option<Time> {
        if !self.is_audible(slot.scope) {
            return None;
        }
        let own = self.own.get(slot);
        let due = match self.database.entry(slot) {
            None if wanted.only_again => return None,
            None => now,
            Some(entry) => {
                let header = entry.header(now);
                let stale = own.and_then(|own| own.stale);
                if header.is_max_age() {
                    // A wrapped sequence number must be gone everywhere before it begins anew (RFC 2328 12.1.6).
                    if header.sequence == MAX_SEQUENCE {
                        return None;
                    }
                    now
                } else if let Some(since) = stale {
                    if wanted.only_again || self.is_loading(slot.scope) { since + STALE_WAIT } else { now }
                } else if *entry.lsa().body == *wanted.body {
                    entry.installed() + LS_REFRESH
                } else {
                    now
                }
            }
        };
        let spaced = own.and_then(|own| own.sent).map_or(now, |sent| sent + wanted.spacing + MARGIN);
        Some(due.max(spaced))
    }

    /// When an LSA that is not wanted is to be flushed. Sooner after its last instance than `MinLSArrival` it would be dropped.
    fn flush_due(&self, now: Time, slot: &Slot) -> Option<Time> {
        let entry = self.database.entry(slot).filter(|entry| !entry.header(now).is_max_age())?;
        if !self.is_audible(slot.scope) {
            return None;
        }
        let own = self.own.get(slot)?;
        if let Some(since) = own.stale {
            return Some(if self.is_loading(slot.scope) { since + STALE_WAIT } else { now });
        }
        let sent = own.sent.unwrap_or(entry.installed());
        Some(sent + MIN_LS_ARRIVAL + MARGIN)
    }

    fn originate_one(&mut self, now: Time, slot: Slot, body: &[u8]) {
        let header = self.database.entry(&slot).map(|entry| entry.header(now));
        let highest =
            header.map(|header| header.sequence).max(self.own.get(&slot).and_then(|own| own.highest));
        if header.is_some_and(|header| header.sequence == MAX_SEQUENCE) {
            self.flush_own(now, slot);
            return;
        }
        let sequence = match highest {
            None | Some(MAX_SEQUENCE) => INITIAL_SEQUENCE,
            Some(highest) => highest + 1,
        };
        let lsa = Lsa::new(slot.key, sequence, 0, body);
        // What is originated here always has room.
        if self.database.install(now, slot, lsa, Origin::Own).is_ok() {
            let odd = match (slot.key.ls_type, slot.scope) {
                (LsType::ROUTER, Scope::Area(area)) => self.recalculate.remove(&area),
                _ => false,
            };
            let own = self.own.entry(slot).or_default();
            (own.sent, own.highest, own.stale, own.originated) = (Some(now), Some(sequence), None, true);
            own.odd ^= odd;
            self.tell(Event::Originated { slot, sequence });
            self.flood(now, slot, None);
            self.wake(now + LS_REFRESH);
        }
    }

    pub(super) fn flush_own(&mut self, now: Time, slot: Slot) {
        if self.database.flush(now, &slot) {
            let own = self.own.entry(slot).or_default();
            (own.sent, own.stale) = (Some(now), None);
            self.tell(Event::Flushed { slot });
            self.flood(now, slot, None);
        }
    }

    /// An instance under our router id came that is newer than ours (RFC 2328 13.4). False if that was one too many.
    pub(super) fn note_own(&mut self, now: Time, slot: Slot, header: &LsaHeader) -> bool {
        let settled = !self.is_any_loading();
        let own = self.own.entry(slot).or_default();
        own.highest = own.highest.max(Some(header.sequence));
        own.stale = Some(now);
        self.dirty = true;
        if settled && own.originated {
            own.fights.push_back(now);
            while own.fights.front().is_some_and(|first| now.since(*first) > FIGHT_WINDOW) {
                own.fights.pop_front();
            }
            if own.fights.len() >= FIGHTS {
                self.halt(now, slot);
                return false;
            }
        }
        true
    }

    /// An LSA left the database. True if it was under our router id.
    pub(super) fn forget_own(&mut self, slot: &Slot) -> bool {
        let Some(own) = self.own.get_mut(slot) else { return false };
        own.stale = None;
        if own.highest == Some(MAX_SEQUENCE) {
            own.highest = None;
        }
        // What only an earlier life had is forgotten, or whoever forges such LSAs would fill the memory.
        if !own.originated {
            self.own.remove(slot);
        }
        self.dirty = true;
        true
    }

    /// Would somebody hear it?
    fn is_audible(&self, scope: Scope) -> bool {
        self.neighbors_of(scope).any(|neighbor| neighbor.state == NeighborState::Full)
    }

    /// May older instances of ours still come?
    fn is_loading(&self, scope: Scope) -> bool {
        self.neighbors_of(scope).any(crate::neighbor::Neighbor::is_loading)
    }

    /// All that the database should hold of ours.
    fn desired(&self) -> BTreeMap<Slot, Desired> {
        let mut desired = BTreeMap::new();
        let advertising_router = self.config.router_id;
        let (services, host) = (self.phase.advertises(), self.phase.is_host());
        let mut add = |scope, ls_type, link_state_id, body, spacing, only_again| {
            let key = LsaKey { ls_type, link_state_id, advertising_router };
            desired.insert(Slot { scope, key }, Desired { body, spacing, only_again });
        };
        let spacing = self.config.min_ls_interval;
        let mut areas = BTreeMap::<AreaId, Vec<&Interface>>::new();
        for (at, own) in self.interfaces.iter().enumerate() {
            areas.entry(own.config.area).or_default().push(own);
            if let Some(link) = own.link.filter(|_| host) {
                let options = self.options(&own.config);
                let body =
                    LinkLsa { priority: 0, options, link_local: link.link_local, prefixes: Vec::new() }
                        .encode();
                add(Scope::Link(InterfaceId(at)), LsType::LINK, link.ifindex, body, spacing, false);
            }
        }
        for (area, interfaces) in areas {
            let scope = Scope::Area(area);
            if host && let Some(first) = interfaces.first() {
                let key = LsaKey { ls_type: LsType::ROUTER, link_state_id: 0, advertising_router };
                let odd = self.own.get(&Slot { scope, key }).is_some_and(|own| own.odd)
                    != self.recalculate.contains(&area);
                let links = interfaces.iter().flat_map(|own| links(own, odd)).collect::<Vec<_>>();
                let external = matches!(self.config.advertise, Advertise::External { .. });
                let flags = if external { RouterLsa::FLAG_E } else { 0 };
                let only_again = links.is_empty();
                let body = RouterLsa { flags, options: self.options(&first.config), links }.encode();
                add(scope, LsType::ROUTER, 0, body, spacing, only_again);
            }
            for (prefix, service) in
                self.services.iter().filter(|(_, service)| services && service.is_announced())
            {
                let id = service.link_state_id;
                if self.config.advertise == Advertise::IntraArea {
                    let prefix = MetricPrefix {
                        prefix: *prefix,
                        options: prefix_options(prefix),
                        metric: service.metric(),
                    };
                    let referenced = LsaKey { ls_type: LsType::ROUTER, link_state_id: 0, advertising_router };
                    let body = IntraAreaPrefixLsa { referenced, prefixes: vec![prefix] }.encode();
                    add(scope, LsType::INTRA_AREA_PREFIX, id, body, spacing, false);
                }
                if let Some((load, config)) = service.load_lsa(*prefix, self.config.load) {
                    add(scope, config.ls_type, id, load.encode(), spacing.max(config.interval), false);
                }
            }
        }
        if let Advertise::External { type_2, tag } = self.config.advertise {
            for (prefix, service) in
                self.services.iter().filter(|(_, service)| services && service.is_announced())
            {
                let body = Service::external_lsa(service, *prefix, type_2, tag).encode();
                add(Scope::As, LsType::AS_EXTERNAL, service.link_state_id, body, spacing, false);
            }
        }
        desired
    }
}

/// Options of a service's prefix: an address of this host itself.
pub(super) const fn prefix_options(prefix: &crate::codec::body::Prefix) -> PrefixOptions {
    if prefix.length() == 128 { PrefixOptions::LA } else { PrefixOptions(0) }
}

/// The links of an interface in the Router-LSA (RFC 5340 4.4.3.2): to whom the adjacency is full.
fn links(own: &Interface, odd: bool) -> Vec<RouterLink> {
    let Some(link) = own.link else { return Vec::new() };
    let to = |kind, router: &RouterId| {
        let neighbor = own.neighbors.get(router).filter(|neighbor| neighbor.state == NeighborState::Full)?;
        Some(RouterLink {
            kind,
            metric: own.config.cost.saturating_add(odd.into()),
            interface_id: link.ifindex,
            neighbor_interface_id: neighbor.interface_id,
            neighbor_router_id: *router,
        })
    };
    match own.config.link_type {
        LinkType::PointToPoint => {
            own.neighbors.keys().filter_map(|router| to(LinkKind::PointToPoint, router)).collect()
        }
        LinkType::Broadcast => to(LinkKind::Transit, &own.designated_router).into_iter().collect(),
    }
}
