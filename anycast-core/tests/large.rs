//! A large farm. From 80 servers on the heartbeats of all who do not own add up to the same rate, 400 a second, so 200 show
//! what a thousand would; `docs/simulate.md` has the figures of a thousand.

use std::time::Duration;

use anycast_core::Mode;
use anycast_core::sim::{self, Deed, Network, Scenario, Selector, Step};

#[test]
fn two_hundred_servers_survive_crashes_and_whisper() {
    let network = Network {
        delay: Duration::from_millis(1),
        jitter: Duration::from_micros(500),
        loss: 0.01,
        ..Network::default()
    };
    let mut scenario = Scenario { network, duration: Duration::from_secs(60), ..Scenario::default() };
    scenario.farm.servers = 200;
    scenario.farm.mode = Mode::Failover;
    let crash = Step::once(Duration::from_secs(3), Deed::Crash, Selector::Owner);
    let (every, lasts) = (Some(Duration::from_secs(6)), Some(Duration::from_secs(3)));
    scenario.steps.push(Step { every, lasts, ..crash });
    let figures = sim::run(&scenario).expect("valid configuration");

    let kinds = figures.kinds();
    let [crash] = kinds.as_slice() else { panic!("{kinds:?}") };
    println!("{:.0} bit/s, {crash:?}", figures.bit_rate());
    assert_eq!((crash.count, figures.handovers), (10, 10), "one hand-over for each crash, and no other");
    assert!(figures.bit_rate() <= 1e6, "{} bit/s", figures.bit_rate());
    let [_, p99, _] = crash.ownerless;
    assert!(Duration::from_millis(100) < p99 && p99 <= Duration::from_millis(400), "{crash:?}");
    assert_eq!(crash.advertisements, [3, 3], "for one take-over");
    assert_eq!((figures.traffic.false_takeovers, figures.unexplained), (0, 0));
}

/// A number from the environment, for longer runs.
fn given(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Nothing happens to a large farm on a link that loses one frame in a hundred: nobody contests the address.
/// `ANYCAST_QUIET=1800` watches a thousand servers for so many seconds, `ANYCAST_SEED` is another farm.
#[test]
fn a_large_farm_leaves_a_living_owner_alone() {
    let (seconds, seed) = (given("ANYCAST_QUIET", 0), given("ANYCAST_SEED", 1));
    let (servers, seconds) = if seconds > 0 { (1_000, seconds) } else { (200, 60) };
    let network = Network {
        delay: Duration::from_millis(1),
        jitter: Duration::from_micros(500),
        loss: 0.01,
        ..Network::default()
    };
    let duration = Duration::from_secs(seconds);
    let mut scenario = Scenario { network, duration, seed, ..Scenario::default() };
    scenario.farm.servers = servers;
    scenario.farm.mode = Mode::Failover;
    let figures = sim::run(&scenario).expect("valid configuration");
    println!("{servers} servers, {seconds} s: {:.0} bit/s, {:?}", figures.bit_rate(), figures.traffic);
    assert!(figures.bit_rate() <= 1e6, "{} bit/s", figures.bit_rate());
    assert_eq!((figures.handovers, figures.traffic.false_takeovers), (0, 0));
    assert!(figures.traffic.false_contests <= 1, "{:?}", figures.traffic);
}
