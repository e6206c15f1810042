//! Priority and preemption in mode `failover`, each rule with its negative control.

use std::time::Duration;

use anycast_core::sim::{self, Network, Plan, Sim};
use anycast_core::{Config, Event, LoadConfig, Reason, ServerId, ServiceId, State, Time};

const DELAY: Duration = Duration::from_secs(5);

/// Server 2 has the highest priority, server 1 the next; both preempt.
fn preempting(number: usize) -> Config {
    let mut config = sim::config(number);
    config.services[0].priority = [100, 150, 200][number.min(2)];
    config.services[0].preempt_delay = (number > 0).then_some(DELAY);
    config
}

/// The same priorities, and nobody preempts.
fn patient(number: usize) -> Config {
    let mut config = preempting(number);
    config.services[0].preempt_delay = None;
    config
}

fn plan(servers: usize, config: fn(usize) -> Config) -> Plan {
    Plan { servers, seed: 1, network: Network::default(), config }
}

/// Server 0 owns alone; then the others start.
fn joined(config: fn(usize) -> Config, joining: &[usize]) -> Sim {
    let mut sim = Sim::new(&plan(3, config));
    sim.start(0).expect("valid configuration");
    sim.run(Duration::from_secs(10));
    assert_eq!(sim.in_state(State::Owner), [0]);
    sim.forget();
    for server in joining {
        sim.start(*server).expect("valid configuration");
    }
    sim
}

/// When a server took over, counted from `start`, and why.
fn takeovers(sim: &Sim, start: Time) -> Vec<(Duration, usize, Reason)> {
    sim.changes()
        .filter(|(_, _, to, _)| *to == State::Owner)
        .map(|(at, server, _, reason)| (at.since(start), server, reason.clone()))
        .collect()
}

#[test]
fn a_higher_priority_preempts_after_the_delay() {
    let mut sim = joined(preempting, &[2]);
    let start = sim.now();
    sim.run(DELAY);
    assert_eq!(sim.in_state(State::Owner), [0], "not before it has been ready for the whole delay");
    sim.run(Duration::from_secs(1));
    assert_eq!(sim.in_state(State::Owner), [2]);
    let changes = takeovers(&sim, start);
    // Ready after a dead interval of listening.
    assert_eq!(changes, [(DELAY + Duration::from_millis(150), 2, Reason::Preempted(ServerId(1)))]);
    // A planned hand-over: at no moment is no gate open, and the router's entry names the new owner.
    assert_eq!(sim.watch().none().length, Duration::ZERO);
    assert!(sim.watch().several().length <= Duration::from_millis(2), "{:?}", sim.watch().several());
    assert_eq!(sim.entry(), Some(2));
    sim.run(Duration::from_secs(60));
    assert_eq!(takeovers(&sim, start).len(), 1, "and stays");
}

#[test]
fn without_a_delay_nobody_preempts() {
    let mut sim = joined(patient, &[1, 2]);
    sim.run(Duration::from_secs(120));
    assert_eq!(sim.in_state(State::Owner), [0]);
    assert_eq!(takeovers(&sim, Time::ZERO), []);
}

#[test]
fn equal_priority_does_not_preempt() {
    fn equal(number: usize) -> Config {
        let mut config = preempting(number);
        config.services[0].priority = 100;
        config
    }
    let mut sim = joined(equal, &[1, 2]);
    sim.run(Duration::from_secs(60));
    assert_eq!(sim.in_state(State::Owner), [0]);
}

#[test]
fn of_several_the_highest_priority_goes_first() {
    let mut sim = joined(preempting, &[1, 2]);
    let start = sim.now();
    sim.run(Duration::from_secs(60));
    let moves = takeovers(&sim, start);
    assert_eq!(moves.iter().map(|(_, server, _)| *server).collect::<Vec<_>>(), [2], "one move: {moves:?}");
}

#[test]
fn the_delay_begins_anew_when_the_candidate_fails() {
    let mut sim = joined(preempting, &[2]);
    let start = sim.now();
    sim.run(Duration::from_secs(4));
    sim.process(2, false);
    sim.run(Duration::from_secs(1));
    sim.process(2, true);
    sim.run(Duration::from_secs(60));
    let moves = takeovers(&sim, start);
    assert_eq!(moves.len(), 1, "{moves:?}");
    assert!(moves[0].0 >= Duration::from_secs(5) + DELAY, "{moves:?}");
}

#[test]
fn a_failed_owner_is_followed_by_the_highest_priority_at_once() {
    for seed in 0..20 {
        let mut sim = Sim::new(&Plan { servers: 3, seed, network: Network::default(), config: patient });
        sim.start(0).expect("valid configuration");
        sim.run(Duration::from_secs(1));
        for server in [1, 2] {
            sim.start(server).expect("valid configuration");
        }
        sim.run(Duration::from_secs(5));
        sim.forget();
        sim.crash_host(0);
        sim.run(Duration::from_secs(1));
        assert_eq!(sim.in_state(State::Owner), [2], "seed {seed}");
    }
}

/// A preempted owner that was preempted because it is congested would be so again at once.
#[test]
fn who_would_be_congested_does_not_preempt() {
    fn small(number: usize) -> Config {
        let mut config = preempting(number);
        let capacity = if number == 2 { 100 } else { 10_000 };
        config.services[0].load = Some(LoadConfig { capacity, congested_above: 800, latency_limit: None });
        config
    }
    let run = |queries_a_second: u64| {
        let mut sim = joined(small, &[2]);
        for tick in 0..200 {
            sim.run(Duration::from_millis(100));
            let queries = queries_a_second * tick / 10;
            // The owner alone is measured; the candidate reads what does not change.
            for server in sim.in_state(State::Owner) {
                sim.event(server, Event::Counters { service: ServiceId(0), queries, solicitations: 1 });
            }
        }
        sim.in_state(State::Owner)
    };
    assert_eq!(run(500), [0], "five times what server 2 can do");
    assert_eq!(run(50), [2], "half of it");
}
