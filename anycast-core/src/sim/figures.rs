//! What a run showed, and what several runs showed together.

use std::time::Duration;

use super::bounds::Violation;
use super::{Spell, Traffic};

/// Octets in front of a heartbeat's payload: Ethernet, IPv6, UDP.
const HEARTBEAT_HEADERS: u64 = 14 + 40 + 8;
/// Octets of an unsolicited advertisement: Ethernet, IPv6, ICMPv6 with one option.
const ADVERTISEMENT: u64 = 14 + 40 + 32;

/// The figures of one run or of many.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Runs.
    pub runs: u32,
    /// Servers of each.
    pub servers: usize,
    /// Time watched, all runs together.
    pub time: Duration,
    /// Time without an open gate although a server could serve.
    pub ownerless: Duration,
    /// The longest such time at a stretch.
    pub ownerless_worst: Duration,
    /// The longest time with no gate open at all although a server that the router reaches could serve.
    pub ownerless_alone: Duration,
    /// The longest such time while two servers or more could serve and heard each other.
    pub ownerless_in_company: Duration,
    /// The longest time with more than one gate open on an unbroken link.
    pub owners: Duration,
    /// What happened, in order, and what followed.
    pub happened: Vec<Happened>,
    /// Ownerless spells that nothing explains.
    pub unexplained: u32,
    /// Changes of owner.
    pub handovers: u64,
    /// Most changes of owner in any 180 s.
    pub moves: usize,
    /// What the farm sent.
    pub traffic: Traffic,
    /// Queries sent by clients, and those that no server answered.
    pub queries: u64,
    /// Queries that reached no server that answers.
    pub lost: u64,
    /// For each server, its weight and the queries it answered, or without queries the milliseconds it owned.
    pub shares: Vec<(u32, u64)>,
    /// Server-seconds in standby.
    pub standby_seconds: u64,
    /// What must not be and was.
    pub violations: Vec<Violation>,
}

/// One thing that happened to the farm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// What.
    pub what: &'static str,
    /// Time without an open gate that followed.
    pub ownerless: Duration,
    /// Advertisements that followed.
    pub advertisements: u64,
    /// Changes of owner that followed.
    pub handovers: u64,
}

/// How all things of a kind went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// What.
    pub what: &'static str,
    /// How often.
    pub count: usize,
    /// Median, 99th percentile and worst of the ownerless time.
    pub ownerless: [Duration; 3],
    /// 99th percentile and most of the advertisements.
    pub advertisements: [u64; 2],
}

impl Figures {
    /// Adds another run of the same farm.
    pub fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.servers = other.servers;
        self.time += other.time;
        self.ownerless += other.ownerless;
        self.ownerless_worst = self.ownerless_worst.max(other.ownerless_worst);
        self.ownerless_alone = self.ownerless_alone.max(other.ownerless_alone);
        self.ownerless_in_company = self.ownerless_in_company.max(other.ownerless_in_company);
        self.owners = self.owners.max(other.owners);
        self.happened.extend(other.happened);
        self.unexplained += other.unexplained;
        self.handovers += other.handovers;
        self.moves = self.moves.max(other.moves);
        self.traffic.add(other.traffic);
        self.queries += other.queries;
        self.lost += other.lost;
        self.shares.resize(other.shares.len().max(self.shares.len()), (1, 0));
        for (mine, other) in self.shares.iter_mut().zip(other.shares) {
            *mine = (other.0, mine.1 + other.1);
        }
        self.standby_seconds += other.standby_seconds;
        self.violations.extend(other.violations);
    }

    /// How each kind of thing went, in the order in which they first happened.
    pub fn kinds(&self) -> Vec<Kind> {
        let mut names: Vec<&'static str> = Vec::new();
        for happened in &self.happened {
            if !names.contains(&happened.what) {
                names.push(happened.what);
            }
        }
        names.into_iter().map(|what| self.kind(what)).collect()
    }

    fn kind(&self, what: &'static str) -> Kind {
        let of_kind = || self.happened.iter().filter(|happened| happened.what == what);
        let mut ownerless = of_kind().map(|happened| happened.ownerless).collect::<Vec<_>>();
        let mut advertisements = of_kind().map(|happened| happened.advertisements).collect::<Vec<_>>();
        ownerless.sort_unstable();
        advertisements.sort_unstable();
        Kind {
            what,
            count: ownerless.len(),
            ownerless: [0.5, 0.99, 1.0].map(|share| percentile(&ownerless, share)),
            advertisements: [0.99, 1.0].map(|share| percentile(&advertisements, share)),
        }
    }

    /// Heartbeats a second.
    pub fn heartbeat_rate(&self) -> f64 {
        self.per_second(self.traffic.heartbeats)
    }

    /// Unsolicited advertisements a second.
    pub fn advertisement_rate(&self) -> f64 {
        self.per_second(self.traffic.advertisements)
    }

    /// All that the farm sends, bits a second, Ethernet headers included.
    pub fn bit_rate(&self) -> f64 {
        let octets = self.traffic.heartbeat_octets
            + self.traffic.heartbeats * HEARTBEAT_HEADERS
            + self.traffic.advertisements * ADVERTISEMENT;
        self.per_second(octets * 8)
    }

    /// Jain's index of what the servers did to their weights: 1 = exactly so, 1/n = one did everything.
    pub fn jain(&self) -> f64 {
        let shares = self.shares.iter().map(|(weight, done)| *done as f64 / f64::from((*weight).max(1)));
        let (sum, squares) = shares.fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
        if squares > 0.0 { sum * sum / (self.shares.len() as f64 * squares) } else { 1.0 }
    }

    /// The share of servers in standby, over time.
    pub fn standby(&self) -> f64 {
        let seconds = self.time.as_secs_f64();
        if seconds > 0.0 { self.standby_seconds as f64 / seconds } else { 0.0 }
    }

    fn per_second(&self, count: u64) -> f64 {
        let seconds = self.time.as_secs_f64();
        if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
    }
}

impl Traffic {
    /// What was sent since `before`.
    pub(super) const fn since(self, before: Self) -> Self {
        Self {
            heartbeats: self.heartbeats - before.heartbeats,
            heartbeat_octets: self.heartbeat_octets - before.heartbeat_octets,
            advertisements: self.advertisements - before.advertisements,
            false_questions: self.false_questions - before.false_questions,
            false_contests: self.false_contests - before.false_contests,
            false_takeovers: self.false_takeovers - before.false_takeovers,
        }
    }

    const fn add(&mut self, other: Self) {
        self.heartbeats += other.heartbeats;
        self.heartbeat_octets += other.heartbeat_octets;
        self.advertisements += other.advertisements;
        self.false_questions += other.false_questions;
        self.false_contests += other.false_contests;
        self.false_takeovers += other.false_takeovers;
    }
}

/// The smallest value that at least this share of the sorted values does not exceed; zero of none.
pub(super) fn percentile<T: Copy + Default>(sorted: &[T], share: f64) -> T {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
}

/// The longest.
pub(super) fn longest(spells: &[Spell]) -> Duration {
    spells.iter().map(|spell| spell.length).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let values = (1..=200).collect::<Vec<u64>>();
        assert_eq!(percentile(&values, 0.5), 100);
        assert_eq!(percentile(&values, 0.99), 198);
        assert_eq!(percentile(&values, 1.0), 200);
        assert_eq!(percentile::<u64>(&[], 0.99), 0);
        assert_eq!(percentile(&[7], 0.5), 7);
    }

    #[test]
    fn jain_is_one_when_shares_follow_weights_and_one_over_n_when_one_does_all() {
        let figures = |shares| Figures { shares, ..Figures::default() };
        assert!((figures(vec![(1, 100), (2, 200), (3, 300)]).jain() - 1.0).abs() < 1e-9);
        assert!((figures(vec![(1, 100), (1, 0), (1, 0), (1, 0)]).jain() - 0.25).abs() < 1e-9);
    }
}
