//! A large farm. From 80 servers on the heartbeats of all who do not own add up to the same rate, 400 a second, so 200 show
//! what a thousand would.

use std::time::Duration;

use anycast_core::State;
use anycast_core::sim::{self, Network, Plan, Sim};

#[test]
fn two_hundred_servers_survive_a_crash_and_whisper() {
    let network = Network { delay: Duration::from_millis(1), loss: 0.01, ..Network::default() };
    let mut sim = Sim::new(&Plan { servers: 200, seed: 1, network, config: sim::config });
    sim.start(0).expect("valid configuration");
    sim.run(Duration::from_secs(1));
    for server in 1..200 {
        sim.start(server).expect("valid configuration");
        sim.run(Duration::from_millis(2));
    }
    sim.run(Duration::from_secs(3));
    assert_eq!(sim.in_state(State::Owner), [0]);
    sim.forget();

    let before = sim.traffic();
    sim.run(Duration::from_secs(5));
    let after = sim.traffic();
    // Ethernet, IPv6 and UDP headers besides the payload.
    let bits = ((after.heartbeat_octets - before.heartbeat_octets)
        + (after.heartbeats - before.heartbeats) * (14 + 40 + 8))
        * 8
        / 5;
    assert!(bits <= 1_000_000, "{bits} bit/s");
    assert_eq!(sim.changes().count(), 0, "no false contest");

    sim.crash_host(0);
    let took = sim.run_until(Duration::from_secs(2), Duration::from_millis(1), |sim| {
        sim.in_state(State::Owner).len() == 1
    });
    assert!(took.expect("somebody takes over") <= Duration::from_millis(400), "{took:?}");
    sim.run(Duration::from_secs(3));
    let sent = sim.advertisements().count();
    assert!(sent <= 3, "{sent} advertisements for one take-over");
    println!("{bits} bit/s, {took:?}, {sent} advertisements");
}
