//! Route cost on a virtual network of equal servers: routers use the lowest cost alone, and share among equals.

use std::time::Duration;

use anycast_core::Time;
use anycast_core::cost::{Cost, CostConfig, Figures, Route, Situation};
use anycast_core::random::Random;

const SECOND: Duration = Duration::from_secs(1);
/// How often servers look at their figures.
const STEP: Duration = Duration::from_millis(100);
const CAPACITY: u32 = 1_000;
/// A server tells its load when it has changed by a twentieth, and no sooner than this after the last time; or with its cost.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// From a server to all others.
const FLOODING: Duration = Duration::from_millis(100);

fn config() -> CostConfig {
    CostConfig {
        min: 10,
        max: 80,
        levels: 8,
        up_hold: 10 * SECOND,
        down_hold: 30 * SECOND,
        jitter: SECOND,
        congested_above: 800,
    }
}

struct Server {
    cost: Cost,
    situation: Situation,
    capacity: u32,
    /// What it could really answer, share of `capacity`.
    health: f64,
    rate: f64,
    told: Figures,
    told_at: Option<Time>,
    /// On its way to the others.
    telling: Vec<(Time, Figures)>,
    changes: Vec<Time>,
}

struct Farm {
    now: Time,
    servers: Vec<Server>,
    random: Random,
    /// For each server: since when it has had more than two fifths of the traffic.
    above: Vec<Option<Time>>,
    longest_above: Duration,
}

impl Farm {
    fn new(servers: usize, seed: u64) -> Self {
        let server = || Server {
            cost: Cost::new(config()),
            situation: Situation::Serving,
            capacity: CAPACITY,
            health: 1.0,
            rate: 0.0,
            told: Figures { load: 0, capacity: CAPACITY, rate: 0, route: Route::Withdrawn },
            told_at: None,
            telling: Vec::new(),
            changes: Vec::new(),
        };
        Self {
            now: Time::from_nanos(1_000_000_000),
            servers: (0..servers).map(|_| server()).collect(),
            random: Random::new(seed),
            above: vec![None; servers],
            longest_above: Duration::ZERO,
        }
    }

    /// How much of the traffic each server gets.
    fn shares(&self) -> Vec<f64> {
        let metrics: Vec<_> = self.servers.iter().map(|server| server.cost.advertised().metric()).collect();
        let best = metrics.iter().flatten().min().copied();
        let users = metrics.iter().filter(|metric| metric.is_some() && **metric == best).count();
        let share =
            |metric: &Option<u16>| if metric.is_some() && *metric == best { 1.0 / users as f64 } else { 0.0 };
        metrics.iter().map(share).collect()
    }

    /// `traffic`: queries a second of all clients.
    fn step(&mut self, traffic: f64) {
        self.now = self.now + STEP;
        let now = self.now;
        for (number, share) in self.shares().into_iter().enumerate() {
            if share > 0.4 {
                let since = *self.above[number].get_or_insert(now);
                self.longest_above = self.longest_above.max(now.since(since));
            } else {
                self.above[number] = None;
            }
            let server = &mut self.servers[number];
            let noise = 0.95 + self.random.below(1000) as f64 / 10_000.0;
            // Smoothed over a second, as the machine does.
            server.rate += (traffic * share * noise - server.rate) * 0.1;
            server.telling.retain(|(at, figures)| {
                let arrived = now.since(*at) >= FLOODING;
                if arrived {
                    server.told = *figures;
                }
                !arrived
            });
        }
        let told: Vec<Figures> = self.servers.iter().map(|server| server.told).collect();
        for number in 0..self.servers.len() {
            let peers: Vec<Figures> = told
                .iter()
                .enumerate()
                .filter(|(other, figures)| *other != number && figures.route != Route::Withdrawn)
                .map(|(_, figures)| *figures)
                .collect();
            let server = &mut self.servers[number];
            let load = server.rate * 1000.0 / f64::from(server.capacity) / server.health;
            let own = Figures {
                load: load.min(60_000.0) as u16,
                capacity: server.capacity,
                rate: server.rate as u32,
                route: server.cost.advertised(),
            };
            let changed = server.cost.update(now, server.situation, own, &peers, &mut self.random);
            if changed.is_some() {
                server.changes.push(now);
            }
            let due = server.told_at.is_none_or(|at| now.since(at) >= TOLD_EVERY);
            let told = server.telling.last().map_or(server.told, |(_, figures)| *figures);
            let moved = own.load.abs_diff(told.load) > told.load / 20;
            if changed.is_some() || (due && moved) {
                server.told_at = Some(now);
                server.telling.push((now, Figures { route: server.cost.advertised(), ..own }));
            }
        }
    }

    fn run(&mut self, duration: Duration, traffic: impl Fn(f64) -> f64) {
        let start = self.now;
        while self.now.since(start) < duration {
            let progress = self.now.since(start).as_secs_f64() / duration.as_secs_f64();
            self.step(traffic(progress));
        }
    }

    /// The most changes that any server made within a minute.
    fn busiest_minute(&self) -> usize {
        let most = |changes: &Vec<Time>| {
            let within = |from: &Time| {
                changes.iter().filter(|at| *at >= from && at.since(*from) < 60 * SECOND).count()
            };
            changes.iter().map(within).max().unwrap_or(0)
        };
        self.servers.iter().map(|server| most(&server.changes)).max().unwrap_or(0)
    }

    fn levels(&self) -> Vec<u16> {
        self.servers.iter().filter_map(|server| server.cost.advertised().metric()).collect()
    }
}

/// Up to more than they can carry and down again: slowly, fast, and at once.
fn ramps(farm: &mut Farm) {
    let full = farm.servers.len() as f64 * f64::from(CAPACITY);
    farm.run(60 * SECOND, |_| 0.1 * full);
    for ramp in [600, 60, 10, 1] {
        farm.run(ramp * SECOND, |progress| (0.1 + 1.1 * progress) * full);
        farm.run(120 * SECOND, |_| 1.2 * full);
        farm.run(ramp * SECOND, |progress| (1.2 - 1.1 * progress) * full);
        farm.run(180 * SECOND, |_| 0.1 * full);
    }
}

#[test]
fn fifty_equal_servers_under_ramps_stay_calm_and_share() {
    // `ANYCAST_COST_SEEDS=50 cargo test -p anycast-core --test cost -- --nocapture` for the figures of docs/ospf.md.
    let seeds = std::env::var("ANYCAST_COST_SEEDS").map_or(2, |seeds| seeds.parse().expect("a number"));
    for seed in 0..seeds {
        let mut farm = Farm::new(50, seed);
        ramps(&mut farm);
        let changes: usize = farm.servers.iter().map(|server| server.changes.len()).sum();
        println!(
            "seed {seed}: {} changes in the busiest minute, {changes} in all, above 40 % for at most {:?}",
            farm.busiest_minute(),
            farm.longest_above
        );
        assert!(farm.busiest_minute() <= 6, "seed {seed}");
        assert!(farm.longest_above <= 30 * SECOND, "seed {seed}: {:?}", farm.longest_above);
        // They come to rest together.
        let levels = farm.levels();
        assert!(levels.iter().all(|level| *level == levels[0]), "seed {seed}: {levels:?}");
    }
}

#[test]
fn farms_of_few_servers_stay_calm_and_come_to_rest_together() {
    for servers in [1, 2, 3, 8] {
        for seed in 0..10 {
            let mut farm = Farm::new(servers, seed);
            ramps(&mut farm);
            assert!(farm.busiest_minute() <= 6, "{servers} servers, seed {seed}");
            let levels = farm.levels();
            assert!(
                levels.iter().all(|level| *level == levels[0]),
                "{servers} servers, seed {seed}: {levels:?}"
            );
        }
    }
}
