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
