//! Which server gets which router: rendezvous hashing over the able servers, weighted by free capacity, no server fuller than
//! another by a whole router. What is assigned stays, unless its server cannot serve it, or one move makes things better.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Time;
use crate::config::ServerId;
use crate::event::State;
use crate::machine::service::{Context, Service};
use crate::random::mix;
use crate::router::Router;

/// Distance of two moves that only make things better; and how long a server must have been there before it gets one.
const SETTLE: Duration = Duration::from_secs(10);

/// A server is congested this long before a router is taken from it …
const CONGESTED_HOLD: Duration = Duration::from_secs(3);

/// … by a server whose load would then be below this permille of its own …
const CONGESTED_MARGIN: f64 = 0.8;

/// … and no other such move follows within this time.
const CONGESTED_DISTANCE: Duration = Duration::from_secs(60);

/// Congested from this load on, permille, where this server's configuration says nothing.
const CONGESTED_ABOVE: u16 = 800;

/// What the owner of `*` remembers of the servers between two assignments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Balance {
    /// Since when each server can own routers.
    able: BTreeMap<ServerId, Time>,
    /// Since when each is congested.
    congested: BTreeMap<ServerId, Time>,
    /// No move that only makes things better before then.
    settled: Time,
    /// The last move for congestion.
    relieved: Option<Time>,
}

/// A server that can own routers.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// At the back of the queue: gets nothing if another can.
    last: bool,
    permille: u16,
    /// Queries per second, 0 if unknown.
    capacity: u32,
    rate: u32,
    /// Routers it owns.
    count: u32,
}

/// The servers that can own routers.
struct Candidates {
    all: BTreeMap<ServerId, Candidate>,
    mark: u16,
    /// Every capacity is known: otherwise all count alike.
    known: bool,
}

impl Candidates {
    fn share(&self, candidate: &Candidate) -> f64 {
        if self.known { f64::from(candidate.capacity) } else { 1.0 }
    }

    /// How full it would be with so many routers more.
    fn fullness(&self, candidate: &Candidate, more: i64) -> f64 {
        (i64::from(candidate.count) + more) as f64 / self.share(candidate)
    }

    /// Capacity that is not in use; never nothing, so that somebody always can.
    fn free(&self, candidate: &Candidate) -> f64 {
        let used = if self.known {
            f64::from(candidate.rate) / f64::from(candidate.capacity)
        } else {
            f64::from(candidate.permille) / 1000.0
        };
        self.share(candidate) * (1.0 - used).max(0.01)
    }

    fn congested(&self, candidate: &Candidate) -> bool {
        candidate.permille >= self.mark
    }

    /// Who gets an orphaned router: weighted rendezvous hashing among those that would not be fuller than another by a whole
    /// router then.
    fn choose(&self, router: Router) -> Option<ServerId> {
        let balanced = self.all.iter().filter(|(server, one)| {
            let others = self.all.iter().filter(|(other, _)| other != server);
            others.into_iter().all(|(_, other)| self.fullness(one, 0) < self.fullness(other, 1))
        });
        let best = balanced.min_by(|(a, one), (b, other)| {
            let rank = |one: &Candidate| (one.last, self.congested(one));
            let order = rank(one).cmp(&rank(other));
            order.then(distance(router, **a, self.free(one)).total_cmp(&distance(
                router,
                **b,
                self.free(other),
            )))
        });
        best.map(|(server, _)| *server)
    }

    fn add(&mut self, server: ServerId, by: i64) {
        if let Some(candidate) = self.all.get_mut(&server) {
            candidate.count = (i64::from(candidate.count) + by).max(0) as u32;
        }
    }
}

/// Weighted rendezvous hashing: the smallest of exponential variates with rates `weight` (Efraimidis and Spirakis 2006). A server
/// that goes gives up what it had, and no other router moves.
fn distance(router: Router, server: ServerId, weight: f64) -> f64 {
    let hash = mix(mix(router.interface_id()) ^ server.0);
    // In (0, 1): 53 bits and a half.
    let uniform = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -uniform.ln() / weight
}

impl Service {
    /// Makes the table; when to look again.
    pub(super) fn assign(&mut self, cx: &mut Context<'_>) -> Option<Time> {
        if cx.now < self.caught_up {
            return Some(self.caught_up);
        }
        let mut candidates = self.candidates_for_routers(cx);
        let before = self.routers.table.clone();
        if std::mem::take(&mut self.routers.fresh) {
            self.inherit(&candidates, cx);
            self.routers.balance.settled = cx.now + SETTLE;
        }
        let named = self.named();
        let table = &mut self.routers.table;
        table.retain(|router, server| named.contains(router) && candidates.all.contains_key(server));
        for server in table.values() {
            candidates.add(*server, 1);
        }
        for router in &named {
            if !table.contains_key(router)
                && let Some(server) = candidates.choose(*router)
            {
                candidates.add(server, 1);
                table.insert(*router, server);
            }
        }
        let balance = &mut self.routers.balance;
        balance.note(&candidates, cx.now);
        if *table != before {
            balance.settled = cx.now + SETTLE;
        } else if cx.now >= balance.settled
            && let Some((from, to)) = balance.better(&candidates, cx.now)
            && let Some(router) = nearest(table, from, to)
        {
            table.insert(router, to);
            balance.settled = cx.now + SETTLE;
        }
        if *table != before {
            cx.link.news();
        }
        // An owner that falls silent has lost its routers at once; everything else may wait.
        let silent = table.values().filter_map(|server| cx.link.peer(*server)).map(|peer| peer.deadline());
        let look = (!table.is_empty()).then(|| self.routers.balance.settled.max(cx.now + SETTLE / 10));
        silent.chain(look).min()
    }

    /// Everybody who can own routers: this server, and the ready peers that know of such ownership.
    fn candidates_for_routers(&self, cx: &Context<'_>) -> Candidates {
        let told = self.gauge.told();
        let own = Candidate {
            last: self.last(cx.now),
            permille: told.permille,
            capacity: told.capacity,
            rate: told.rate,
            count: 0,
        };
        // The last owner of `*`, from whom a slice has just been taken, says for a moment more that it owns.
        let peers = cx.link.reports(cx.now, self.slot).filter(|(_, known)| {
            matches!(known.report.state, State::Ready | State::Owner) && known.report.routers.is_some()
        });
        let all: BTreeMap<ServerId, Candidate> = peers
            .map(|(server, known)| {
                let load = known.report.load;
                let candidate = Candidate {
                    last: known.report.last,
                    permille: load.map_or(0, |load| load.permille),
                    capacity: load.map_or(0, |load| load.capacity),
                    rate: load.map_or(0, |load| load.rate),
                    count: 0,
                };
                (server, candidate)
            })
            .chain([(cx.server, own)])
            .collect();
        let known = all.values().all(|candidate| candidate.capacity > 0);
        let mark = self.config.load.map_or(CONGESTED_ABOVE, |load| load.congested_above);
        Candidates { all, mark, known }
    }

    /// The first table of a reign: what each server says it owns, and for the rest what the last owner said.
    fn inherit(&mut self, candidates: &Candidates, cx: &Context<'_>) {
        let table = &mut self.routers.table;
        let before = table.clone();
        // In the order of ids, whatever the order in which peers are found.
        let reports: BTreeMap<_, _> = cx.link.reports(cx.now, self.slot).collect();
        for (server, known) in reports {
            if !candidates.all.contains_key(&server) {
                continue;
            }
            for claim in known.report.routers.iter().flatten().filter(|claim| claim.server == Some(server)) {
                // Two say so: the last table knows better, else the first.
                if before.get(&claim.router).is_none_or(|named| !candidates.all.contains_key(named)) {
                    table.insert(claim.router, server);
                }
            }
        }
    }

    /// The routers that are named: those that any server has seen.
    fn named(&self) -> Vec<Router> {
        let known = self.routers.known.iter();
        known.map(|(address, known)| Router { address: *address, mac: known.mac }).collect()
    }
}

/// Of the routers of `from` the one that `to` would have got first.
fn nearest(table: &BTreeMap<Router, ServerId>, from: ServerId, to: ServerId) -> Option<Router> {
    let owned = table.iter().filter(|(_, server)| **server == from).map(|(router, _)| *router);
    owned.min_by(|a, b| distance(*a, to, 1.0).total_cmp(&distance(*b, to, 1.0)))
}

impl Balance {
    /// Notes who is there and who is congested.
    fn note(&mut self, candidates: &Candidates, now: Time) {
        self.able.retain(|server, _| candidates.all.contains_key(server));
        self.congested.retain(|server, _| candidates.all.contains_key(server));
        for (server, candidate) in &candidates.all {
            self.able.entry(*server).or_insert(now);
            if candidates.congested(candidate) {
                self.congested.entry(*server).or_insert(now);
            } else {
                self.congested.remove(server);
            }
        }
    }

    /// One move that makes things better: from whom, to whom.
    fn better(&mut self, candidates: &Candidates, now: Time) -> Option<(ServerId, ServerId)> {
        let settled = |server: &ServerId| {
            self.able.get(server).is_some_and(|since| now.since(*since) >= SETTLE)
                && !self.congested.contains_key(server)
        };
        let takers = || candidates.all.iter().filter(|(server, one)| settled(server) && !one.last);
        // Fuller than another by a whole router.
        let fullest = candidates
            .all
            .iter()
            .max_by(|(_, a), (_, b)| candidates.fullness(a, 0).total_cmp(&candidates.fullness(b, 0)));
        let emptiest =
            takers().min_by(|(_, a), (_, b)| candidates.fullness(a, 1).total_cmp(&candidates.fullness(b, 1)));
        if let (Some((from, full)), Some((to, empty))) = (fullest, emptiest)
            && from != to
            && full.count > 0
            && candidates.fullness(full, -1) >= candidates.fullness(empty, 1)
        {
            return Some((*from, *to));
        }
        // Congested for long, and there are several routers to share.
        if self.relieved.is_some_and(|at| now.since(at) < CONGESTED_DISTANCE) {
            return None;
        }
        let hot = self.congested.iter().filter(|(_, since)| now.since(**since) >= CONGESTED_HOLD);
        let (from, hottest) = hot
            .filter_map(|(server, _)| Some((*server, candidates.all.get(server)?)))
            .filter(|(_, one)| one.count > 1)
            .max_by_key(|(_, one)| one.permille)?;
        let with_one_more = |one: &Candidate| {
            let each = f64::from(hottest.rate) / f64::from(hottest.count);
            let more = if one.capacity == 0 {
                f64::from(hottest.permille) / f64::from(hottest.count)
            } else {
                each * 1000.0 / f64::from(one.capacity)
            };
            f64::from(one.permille) + more
        };
        let (to, best) = takers()
            .filter(|(server, _)| **server != from)
            .min_by(|(_, a), (_, b)| with_one_more(a).total_cmp(&with_one_more(b)))?;
        if with_one_more(best) >= f64::from(hottest.permille) * CONGESTED_MARGIN {
            return None;
        }
        self.relieved = Some(now);
        Some((from, *to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(number: u64) -> Router {
        Router { address: Router::address_of(number), mac: [2, 0, 0, 0, 1, number as u8] }
    }

    fn candidates(capacities: &[u32]) -> Candidates {
        let all = capacities.iter().zip(1..).map(|(capacity, server)| {
            let one = Candidate { last: false, permille: 0, capacity: *capacity, rate: 0, count: 0 };
            (ServerId(server), one)
        });
        Candidates { all: all.collect(), mark: 800, known: capacities.iter().all(|capacity| *capacity > 0) }
    }

    fn assign(candidates: &mut Candidates, routers: u64) -> Vec<u32> {
        for number in 1..=routers {
            let server = candidates.choose(router(number)).expect("somebody can");
            candidates.add(server, 1);
        }
        candidates.all.values().map(|one| one.count).collect()
    }

    #[test]
    fn routers_spread_evenly_over_equal_servers() {
        for servers in 1..=5 {
            for routers in 0..=16 {
                let counts = assign(&mut candidates(&vec![0; servers]), routers);
                let (most, least) = (counts.iter().max(), counts.iter().min());
                assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{counts:?}");
            }
        }
    }

    #[test]
    fn routers_spread_by_capacity() {
        assert_eq!(assign(&mut candidates(&[100, 300]), 4), [1, 3]);
        assert_eq!(assign(&mut candidates(&[100, 200, 300]), 12), [2, 4, 6]);
    }

    #[test]
    fn hashing_decides_among_equals_and_by_weight() {
        let wins = |weights: [f64; 2]| {
            let first = (1..=10_000).filter(|number| {
                distance(router(*number), ServerId(1), weights[0])
                    < distance(router(*number), ServerId(2), weights[1])
            });
            first.count()
        };
        assert!((4_800..5_200).contains(&wins([1.0, 1.0])), "{}", wins([1.0, 1.0]));
        assert!((2_300..2_700).contains(&wins([1.0, 3.0])), "{}", wins([1.0, 3.0]));
    }

    #[test]
    fn who_is_congested_or_last_gets_nothing_while_another_can() {
        let mut all = candidates(&[0, 0]);
        all.all.get_mut(&ServerId(1)).expect("there").permille = 900;
        assert_eq!(all.choose(router(1)), Some(ServerId(2)));
        let mut all = candidates(&[0, 0]);
        all.all.get_mut(&ServerId(2)).expect("there").last = true;
        assert_eq!(all.choose(router(1)), Some(ServerId(1)));
    }

    #[test]
    fn one_move_makes_an_uneven_farm_even_and_then_none_does() {
        let second = Duration::from_secs(1);
        let mut all = candidates(&[0, 0]);
        all.all.get_mut(&ServerId(1)).expect("there").count = 2;
        let mut balance = Balance::default();
        balance.note(&all, Time::ZERO);
        assert_eq!(balance.better(&all, Time::ZERO + second), None, "too new");
        assert_eq!(balance.better(&all, Time::ZERO + SETTLE), Some((ServerId(1), ServerId(2))));
        all.add(ServerId(1), -1);
        all.add(ServerId(2), 1);
        assert_eq!(balance.better(&all, Time::ZERO + SETTLE * 2), None);
        all.add(ServerId(1), 1);
        assert_eq!(balance.better(&all, Time::ZERO + SETTLE * 3), None, "three over two servers is even");
    }

    #[test]
    fn a_congested_server_gives_one_router_to_one_that_has_room() {
        let mut all = candidates(&[1_000, 1_000]);
        for (server, (permille, count)) in [(1, (900, 2)), (2, (100, 1))] {
            let one = all.all.get_mut(&ServerId(server)).expect("there");
            (one.permille, one.rate, one.count) = (permille, u32::from(permille), count);
        }
        let mut balance = Balance::default();
        balance.note(&all, Time::ZERO);
        let later = Time::ZERO + SETTLE;
        assert_eq!(balance.better(&all, later), Some((ServerId(1), ServerId(2))));
        assert_eq!(balance.better(&all, later + SETTLE), None, "not twice in a minute");
        let mut full = Balance::default();
        all.all.get_mut(&ServerId(2)).expect("there").permille = 500;
        full.note(&all, Time::ZERO);
        assert_eq!(full.better(&all, later), None, "500 and 450 more are not well below 900");
    }

    #[test]
    fn nobody_is_there() {
        assert_eq!(candidates(&[]).choose(router(1)), None);
    }
}
