//! Several routers on the link (rule 14): who they are, and, with `per_router`, which server owns which router's entry.
//!
//! The owner of the address, which is the owner of `*` then, assigns the routers and tells the table in its heartbeats; a server
//! that the table names owns that router's entry: its fast path answers the router, and it advertises to the router alone. One
//! server decides, so that no two views of the farm can give one router to two servers; when it fails, the others go on with
//! the last table, and the next owner of `*` begins with what they say they own.

mod assign;

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::time::Duration;

use crate::Time;
use crate::config::ServerId;
use crate::event::{Action, Cause, State};
use crate::heartbeat::{Claim, Report};
use crate::machine::bucket::{Bucket, PERIOD};
use crate::machine::service::{Context, Phase, Service};
use crate::machine::timer::Timer;
use crate::router::{ROUTERS_MAX, Router, Sighting};
use crate::status::RouterStatus;

pub(crate) use assign::Balance;

/// A router not seen for this long is forgotten: the longest lifetime that it can advertise (RFC 4861 6.2.1).
const FORGET: Duration = Duration::from_secs(9_000);

/// Advertisements after the first one of a take-over.
const REPEATS: u8 = 2;

/// An owned router is told again at this distance: an advertisement to all nodes may have moved its entry, and the answer to
/// that may have been lost.
const REFRESH: Duration = Duration::from_secs(30);

/// What one server knows of the routers of a service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routers {
    /// Seen by this server itself or by a peer.
    known: BTreeMap<Ipv6Addr, Known>,
    /// Who owns which router's entry: from the owner of `*`, or made by this server if it is that.
    table: BTreeMap<Router, ServerId>,
    /// What this server owns.
    mine: BTreeMap<Router, Mine>,
    /// One token bucket a router, kept while it is not full.
    buckets: BTreeMap<Router, Bucket>,
    /// The table was made by another owner, and is to be compared with what the servers say.
    fresh: bool,
    balance: Balance,
    /// The last gates issued: lease, and which routers are whose. `None` = none yet.
    told: Option<Told>,
    advertisements: u64,
}

/// The gates of the routers as last issued.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    open_until: Option<Time>,
    gates: Vec<(Router, bool)>,
}

/// A router that was seen.
#[derive(Clone, Copy, Debug)]
struct Known {
    mac: [u8; 6],
    by: Sighting,
    seen: Time,
}

/// A router whose entry this server owns.
#[derive(Clone, Copy, Debug)]
struct Mine {
    /// When it is to be told next, and why.
    next: Time,
    cause: Cause,
    repeats: u8,
}

impl Routers {
    /// Routers seen by this server itself.
    fn first_hand(&self) -> impl Iterator<Item = Router> {
        let own = self.known.iter().filter(|(_, known)| known.by > Sighting::Peer);
        own.map(|(address, known)| Router { address: *address, mac: known.mac })
    }

    fn forget(&mut self, now: Time) {
        self.known.retain(|_, known| now.since(known.seen) < FORGET);
        self.buckets.retain(|_, bucket| bucket.next() + PERIOD > now);
    }
}

impl Service {
    /// A router was seen on the link.
    pub(crate) fn router_seen(&mut self, router: Router, by: Sighting, now: Time) {
        let known = &mut self.routers.known;
        let room = known.len() < ROUTERS_MAX;
        if let Some(other) = known.iter_mut().find(|(_, known)| known.mac == router.mac)
            && *other.0 != router.address
        {
            // One router with several link-local addresses: one entry in its cache.
            if by >= other.1.by {
                other.1.seen = now;
            }
            return;
        }
        match known.get_mut(&router.address) {
            // Peers that have seen it themselves must not remind each other for ever.
            Some(before) if by == Sighting::Peer && before.by > by => {}
            Some(before) => {
                before.seen = now;
                if by >= before.by {
                    before.by = by;
                    before.mac = router.mac;
                }
            }
            None if room => {
                known.insert(router.address, Known { mac: router.mac, by, seen: now });
            }
            // Under `*`.
            None => {}
        }
    }

    /// A peer has told what it knows of the routers; the owner of `*`: its table.
    pub(crate) fn claims_heard(&mut self, server: ServerId, report: &Report, now: Time) {
        if !self.config.per_router {
            return;
        }
        // An owner that is starting says nothing yet: the last table stands.
        let Some(claims) = &report.routers else { return };
        for claim in claims.iter().filter(|claim| claim.first_hand) {
            self.router_seen(claim.router, Sighting::Peer, now);
        }
        if report.state != State::Owner || self.owner.is_none_or(|owner| owner.server != server) {
            return;
        }
        self.routers.table = claims.iter().filter_map(|claim| Some((claim.router, claim.server?))).collect();
    }

    /// What the heartbeat says of the routers; `None` where no server owns any.
    pub(crate) fn claims(&self, server: ServerId) -> Option<Vec<Claim>> {
        if !self.config.per_router || self.phase == Phase::Adopting {
            return None;
        }
        let routers = &self.routers;
        let mut claims: BTreeMap<Router, Claim> = routers
            .first_hand()
            .map(|router| (router, Claim { router, server: None, first_hand: true }))
            .collect();
        let mut own = |router: Router, server: ServerId| {
            let claim = Claim { router, server: None, first_hand: false };
            claims.entry(router).or_insert(claim).server = Some(server);
        };
        if self.phase == Phase::Owner {
            routers.table.iter().for_each(|(router, server)| own(*router, *server));
        } else {
            routers.mine.keys().for_each(|router| own(*router, server));
        }
        let mut claims = claims.into_values().collect::<Vec<_>>();
        // What is owned goes first, should it be too many.
        claims.sort_by_key(|claim| claim.server.is_none());
        claims.truncate(ROUTERS_MAX);
        Some(claims)
    }

    /// Does this server own the entry of any router?
    pub(crate) fn owns_routers(&self) -> bool {
        !self.routers.mine.is_empty()
    }

    /// A reign begins: the table is to be compared with what the servers own.
    pub(crate) fn inherit_routers(&mut self) {
        self.routers.fresh = true;
    }

    /// An advertisement to all nodes has moved the routers' entries: moves this server's own back.
    pub(crate) fn defend_routers(&mut self, cause: Cause, now: Time) {
        for mine in self.routers.mine.values_mut() {
            if mine.next > now {
                mine.next = now;
                mine.cause = cause;
            }
        }
        if self.owns_routers() {
            self.timers.arm(Timer::Routers, now);
        }
    }

    /// Behind every event: the table, what of it is this server's, advertisements that are due, and the gates.
    pub(crate) fn settle_routers(&mut self, cx: &mut Context<'_>) {
        self.routers.forget(cx.now);
        if !self.config.per_router {
            return;
        }
        let mut next = None;
        if self.phase == Phase::Owner {
            next = self.assign(cx);
        }
        let serves = match self.phase {
            Phase::Owner | Phase::Ready | Phase::HandingOver(_) => true,
            // The last controller's gates stand until this one has listened.
            Phase::Adopting | Phase::Listening | Phase::Down if self.routers.told.is_none() => return,
            _ => false,
        };
        let owned = |server: &ServerId| serves && *server == cx.server;
        let table = &self.routers.table;
        let gates = table.iter().map(|(router, server)| (*router, owned(server))).collect::<Vec<_>>();
        self.take_routers(&gates, cx);
        self.tell_routers(cx);
        // This process stood still: what it read last may be old news, and a lease that ran out is not renewed on it.
        let lapsed =
            self.routers.told.as_ref().and_then(|told| told.open_until).is_some_and(|at| at < cx.now);
        let open = self.owns_routers() && !(lapsed && cx.now < self.caught_up);
        self.issue_gates(gates, open, cx);
        let due = self.routers.mine.values().map(|mine| mine.next).min();
        let renewal =
            self.owns_routers().then_some(if open { cx.now + cx.lease / 3 } else { self.caught_up });
        match next.into_iter().chain(due).chain(renewal).min() {
            Some(at) => self.timers.arm(Timer::Routers, at.max(cx.now)),
            None => self.timers.disarm(Timer::Routers),
        }
    }

    /// Begins to own what is new, and ends what is no more.
    fn take_routers(&mut self, gates: &[(Router, bool)], cx: &mut Context<'_>) {
        let mine = &mut self.routers.mine;
        let before = mine.len();
        mine.retain(|router, _| gates.contains(&(*router, true)));
        let mut changed = mine.len() != before;
        for (router, _) in gates.iter().filter(|(_, own)| *own) {
            mine.entry(*router).or_insert_with(|| {
                changed = true;
                Mine { next: cx.now, cause: Cause::TakeOver, repeats: REPEATS }
            });
        }
        if changed {
            cx.link.news();
        }
    }

    /// Advertises to each own router that is to be told now, as its bucket allows.
    fn tell_routers(&mut self, cx: &mut Context<'_>) {
        let Routers { mine, buckets, advertisements, .. } = &mut self.routers;
        for (router, mine) in mine.iter_mut().filter(|(_, mine)| mine.next <= cx.now) {
            let bucket = buckets.entry(*router).or_default();
            if !bucket.take(cx.now) {
                mine.next = bucket.next();
                continue;
            }
            *advertisements += 1;
            cx.actions.push(Action::AdvertiseTo { service: self.id, router: *router, cause: mine.cause });
            mine.cause = Cause::Repeat;
            mine.next = cx.now + if mine.repeats > 0 { PERIOD } else { REFRESH };
            mine.repeats = mine.repeats.saturating_sub(1);
        }
    }

    /// Issues the gates of the routers, if they are others than before or the lease is to be renewed.
    fn issue_gates(&mut self, gates: Vec<(Router, bool)>, open: bool, cx: &mut Context<'_>) {
        let open_until = open.then_some(cx.now + cx.lease);
        if let Some(told) = &self.routers.told
            && told.gates == gates
            && match (told.open_until, open_until) {
                (Some(told), Some(wanted)) => wanted.since(told) < cx.lease / 3,
                (None, None) => true,
                _ => false,
            }
        {
            return;
        }
        cx.actions.push(Action::RouterGates {
            service: self.id,
            gates: gates.iter().map(|(router, own)| (*router, open_until.filter(|_| *own))).collect(),
        });
        self.routers.told = Some(Told { open_until, gates });
    }

    /// `stop --keep`: the gates of the routers stay open under `lease`.
    pub(crate) fn keep_routers(&mut self, lease: Duration, cx: &mut Context<'_>) -> bool {
        let Some(told) = self.routers.told.take() else { return false };
        if !self.owns_routers() {
            return false;
        }
        let until = cx.now + lease;
        let gates = told.gates.iter().map(|(router, own)| (*router, own.then_some(until))).collect();
        cx.actions.push(Action::RouterGates { service: self.id, gates });
        true
    }

    /// The routers, for status.
    pub(crate) fn router_status(&self) -> Vec<RouterStatus> {
        let routers = &self.routers;
        let mut all: BTreeMap<Ipv6Addr, RouterStatus> = BTreeMap::new();
        for (address, known) in &routers.known {
            let router = Router { address: *address, mac: known.mac };
            let status =
                RouterStatus { router, by: Some(known.by), seen: Some(known.seen), owner: None, mine: false };
            all.insert(*address, status);
        }
        for (router, server) in routers.table.iter().filter(|_| self.config.per_router) {
            let status = all.entry(router.address).or_insert(RouterStatus {
                router: *router,
                by: None,
                seen: None,
                owner: None,
                mine: false,
            });
            status.router = *router;
            status.owner = Some(*server);
            status.mine = routers.mine.contains_key(router);
        }
        all.into_values().collect()
    }

    /// Advertisements sent to single routers.
    pub(crate) const fn router_advertisements(&self) -> u64 {
        self.routers.advertisements
    }
}
