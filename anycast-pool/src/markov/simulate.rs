//! The same by simulation: servers that fail and are repaired, a registrar that looks at each of them now and then, a user with
//! requests.

use std::time::Duration;

use super::Model;
use crate::policy::{Policy, PolicyType, Selector};
use crate::vector::{Received, Vector, VectorConfig, Voice, strict};
use crate::wire::{ElementId, RegistrarId, Source, State, StatusEntry, StatusFlags, StatusVector};
use crate::{Random, Time};

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Farm {
    /// How a server fails and is repaired.
    pub model: Model,
    /// Servers.
    pub servers: u32,
    /// The registrar sees each server once in about that many seconds. Intervals differ by 0.4 %, so that phases drift past each
    /// other: the formulas take them for independent.
    pub interval: f64,
    /// Requests per second, at random times.
    pub rate: f64,
    /// Requests.
    pub requests: u32,
    /// What the history follows from.
    pub seed: u64,
}

/// How a user chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// One after the other; each request starts one further than the last.
    RoundRobin,
    /// In random order.
    Random,
    /// By the registrar's observations: most recently up, longest down.
    Newest,
    /// The same by the registrar's observations and the user's own: the rule to the letter.
    Letter,
    /// By the registrar's observations: those up in random order, longest down.
    Fresh,
    /// [`Vector`] with the policy round robin, as the product has it: the registrar's observations and the user's own.
    Product,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Simulation {
    /// Mean attempts until success, over the requests for which a server was up.
    pub attempts: f64,
    /// Requests for which none was up.
    pub hopeless: u32,
    /// How evenly successes are spread over the servers within 20 in a row: Jain's index, 1 = perfectly. The mean of all twenties.
    pub jain: f64,
}

/// Successes over which evenness is judged.
const WINDOW: u32 = 20;

/// Relative difference between the intervals of two servers.
const DRIFT: f64 = 0.004;

struct Server {
    up: bool,
    until: f64,
    seen_up: bool,
    seen_at: f64,
    next_look: f64,
    interval: f64,
}

/// Plays a farm's history under a rule.
pub fn simulate(farm: &Farm, rule: Rule) -> Simulation {
    let mut random = Random::new(farm.seed);
    let mut servers = start(farm, &mut random);
    let mut user = User::new(farm, rule);
    let (mut clock, mut tries, mut answered) = (0.0, 0_u64, 0_u32);
    let (mut successes, mut evenness, mut windows) = (vec![0.0; servers.len()], 0.0, 0_u32);
    for _ in 0..farm.requests {
        clock += exponential(&mut random, farm.rate);
        for server in &mut servers {
            server.advance(clock, farm, &mut random);
        }
        if !servers.iter().any(|server| server.up) {
            continue;
        }
        let (server, attempts) = user.request(clock, &servers);
        successes[server] += 1.0;
        tries += u64::from(attempts);
        answered += 1;
        if answered.is_multiple_of(WINDOW) {
            evenness += jain(&successes);
            windows += 1;
            successes.fill(0.0);
        }
    }
    Simulation {
        attempts: tries as f64 / f64::from(answered.max(1)),
        hopeless: farm.requests - answered,
        jain: evenness / f64::from(windows.max(1)),
    }
}

/// Jain's index of fairness: 1 if all are equal, 1/n if one has everything.
pub(crate) fn jain(shares: &[f64]) -> f64 {
    let (sum, squares) = shares.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    sum * sum / (shares.len() as f64 * squares)
}

fn start(farm: &Farm, random: &mut Random) -> Vec<Server> {
    let all = (0..farm.servers).map(|number| {
        let up = uniform(random) < farm.model.availability();
        let rate = if up { farm.model.fail } else { farm.model.repair };
        let middle = f64::from(farm.servers - 1) / 2.0;
        let interval = farm.interval * (1.0 + DRIFT * (f64::from(number) - middle));
        let next_look = uniform(random) * interval;
        // The first look is in the past, so that all were seen once.
        Server {
            up,
            until: exponential(random, rate),
            seen_up: up,
            seen_at: next_look - interval,
            next_look,
            interval,
        }
    });
    all.collect()
}

impl Server {
    /// Lets it fail, be repaired and be looked at until `clock`.
    fn advance(&mut self, clock: f64, farm: &Farm, random: &mut Random) {
        loop {
            let next = self.until.min(self.next_look);
            if next > clock {
                return;
            }
            if self.next_look <= self.until {
                (self.seen_up, self.seen_at) = (self.up, self.next_look);
                self.next_look += self.interval;
            } else {
                self.up = !self.up;
                self.until += exponential(random, if self.up { farm.model.fail } else { farm.model.repair });
            }
        }
    }
}

/// The user, with what it keeps from request to request.
struct User {
    rule: Rule,
    random: Random,
    head: usize,
    sequence: u32,
    /// What it saw itself, and when.
    own: Vec<(bool, f64)>,
    vector: Vector,
    selector: Selector<ElementId>,
}

impl User {
    fn new(farm: &Farm, rule: Rule) -> Self {
        let fresh = Duration::from_secs_f64(farm.interval);
        // A hold-down would make the user pass over servers that the registrar saw repaired: in this model every failure is seen
        // alike by all, so there is nothing to hold against a server.
        let config = VectorConfig { fresh, hold_down: Duration::ZERO, ..VectorConfig::default() };
        let mut selector = Selector::new(PolicyType::RoundRobin, farm.seed);
        (0..farm.servers).for_each(|id| selector.insert(ElementId(id), &Policy::RoundRobin));
        Self {
            rule,
            random: Random::new(farm.seed ^ 1),
            head: 0,
            sequence: 0,
            own: vec![(false, f64::NEG_INFINITY); farm.servers as usize],
            vector: Vector::new(config),
            selector,
        }
    }

    /// Tries until one works; which, and after how many attempts. One is up.
    fn request(&mut self, clock: f64, servers: &[Server]) -> (usize, u32) {
        if self.rule == Rule::Product {
            return self.by_vector(clock, servers);
        }
        let mut order: Vec<usize> = (0..servers.len()).collect();
        match self.rule {
            Rule::RoundRobin => {
                order.rotate_left(self.head % servers.len());
                self.head += 1;
            }
            Rule::Random => self.shuffle(&mut order),
            Rule::Newest => order.sort_by_key(|at| servers[*at].place(clock)),
            Rule::Letter => order.sort_by_key(|at| match self.own[*at] {
                (up, seen) if seen > servers[*at].seen_at => place(up, clock - seen),
                _ => servers[*at].place(clock),
            }),
            Rule::Fresh | Rule::Product => {
                self.shuffle(&mut order);
                // The sort is stable: those up stay shuffled.
                order.sort_by_key(|at| if servers[*at].seen_up { (0, 0) } else { servers[*at].place(clock) });
            }
        }
        let attempts = order.iter().take_while(|at| !servers[**at].up).count();
        order[..=attempts].iter().for_each(|at| self.own[*at] = (servers[*at].up, clock));
        (order[attempts], attempts as u32 + 1)
    }

    fn by_vector(&mut self, clock: f64, servers: &[Server]) -> (usize, u32) {
        // Some time after the origin, so that looks before the start have a time too.
        let now = Time::from_nanos(((clock + 1_000.0) * 1e9) as u64);
        self.sequence = self.sequence.wrapping_add(1);
        let entries = servers.iter().enumerate().map(|(at, server)| StatusEntry {
            id: ElementId(at as u32),
            state: if server.seen_up { State::Up } else { State::Down },
            source: Source::KeepAlive,
            flags: StatusFlags::NONE,
            age_ms: ((clock - server.seen_at) * 1e3) as u32,
        });
        let status = StatusVector {
            registrar: RegistrarId(1),
            epoch: 1,
            sequence: self.sequence,
            entries: entries.collect(),
        };
        if let Some(voice) = Voice::new(0) {
            let received = self.vector.receive(now, voice, &status);
            debug_assert!(received != Received::Late);
        }
        let mut tried = vec![false; servers.len()];
        let mut attempts = 0;
        loop {
            attempts += 1;
            let open = self.vector.ranked(now).into_iter().filter(|(_, id)| !tried[id.0 as usize]);
            let open: Vec<_> = open.collect();
            let best = open.first().map(|(group, _)| *group);
            let equals = |id| open.iter().any(|(group, other)| Some(*group) == best && *other == id);
            let Some(id) = self.selector.select_where(1, equals).first().copied() else {
                return (0, attempts);
            };
            let at = id.0 as usize;
            tried[at] = true;
            self.vector.observe(now, id, servers[at].up);
            if servers[at].up {
                return (at, attempts);
            }
        }
    }

    fn shuffle(&mut self, order: &mut [usize]) {
        for at in (1..order.len()).rev() {
            order.swap(at, self.random.below(at as u64 + 1) as usize);
        }
    }
}

impl Server {
    fn place(&self, clock: f64) -> (u8, u64) {
        place(self.seen_up, clock - self.seen_at)
    }
}

fn place(up: bool, age: f64) -> (u8, u64) {
    strict(if up { State::Up } else { State::Down }, (age * 1e9) as u64)
}

fn uniform(random: &mut Random) -> f64 {
    // 53 bits: what a double holds exactly.
    (random.next() >> 11) as f64 / (1u64 << 53) as f64
}

fn exponential(random: &mut Random, rate: f64) -> f64 {
    -(1.0 - uniform(random)).ln() / rate
}

#[cfg(test)]
mod tests {
    use super::super::{Order, mean_attempts};
    use super::*;

    fn farm(availability: f64) -> Farm {
        Farm {
            model: Model::new(availability, 10.0),
            servers: 5,
            interval: 2.0,
            rate: 2.0,
            requests: 120_000,
            seed: 5,
        }
    }

    #[test]
    fn simulation_and_formula_agree() {
        for availability in [0.5, 0.7, 0.9, 0.99] {
            let farm = farm(availability);
            for (rule, order) in [
                (Rule::RoundRobin, Order::NoMemory),
                (Rule::Random, Order::NoMemory),
                (Rule::Newest, Order::Newest(farm.interval)),
                (Rule::Fresh, Order::Fresh(farm.interval)),
            ] {
                let simulated = simulate(&farm, rule).attempts;
                let expected = mean_attempts(&farm.model, farm.servers, order);
                assert!(
                    (simulated - expected).abs() < 0.03 * expected,
                    "{rule:?} at {availability}: {simulated} simulated, {expected} by formula"
                );
            }
        }
    }

    #[test]
    fn the_vector_needs_fewer_attempts_and_the_product_none_more() {
        for availability in [0.5, 0.8, 0.95] {
            let farm = farm(availability);
            let rules = [Rule::RoundRobin, Rule::Newest, Rule::Letter, Rule::Fresh, Rule::Product];
            let [robin, newest, letter, fresh, product] = rules.map(|rule| simulate(&farm, rule));
            assert!(newest.attempts < robin.attempts);
            assert!(fresh.attempts < robin.attempts);
            // Own failures are news too, so it may even do better than the registrar's observations alone.
            assert!(product.attempts < fresh.attempts * 1.02, "{} {}", product.attempts, fresh.attempts);
            // It shares the load about as round robin does; the rule to the letter does not. Neither is 1, since who is down gets none.
            assert!(product.jain > robin.jain - 0.05, "{} {}", product.jain, robin.jain);
            assert!(product.jain > letter.jain, "{} {}", product.jain, letter.jain);
            assert!(letter.attempts <= newest.attempts);
        }
    }

    #[test]
    fn one_seed_is_one_history() {
        assert_eq!(simulate(&farm(0.8), Rule::Product), simulate(&farm(0.8), Rule::Product));
    }

    #[test]
    fn jain_is_one_for_equals_and_small_for_one() {
        assert_eq!(jain(&[3.0; 4]), 1.0);
        assert_eq!(jain(&[1.0, 0.0, 0.0, 0.0]), 0.25);
    }
}
