//! When a service's route is advertised, drained and withdrawn, each with its negative control.

use std::time::Duration;

use anycast_core::cost::{CostConfig, DRAINED, Figures, Route};
use anycast_core::sim::{self, Network, Plan, Sim};
use anycast_core::{Action, Command, Config, ConfigError, Event, LoadConfig, Machine, Mode, ServiceId, Time};

const SECOND: Duration = Duration::from_secs(1);
const SERVICE: ServiceId = ServiceId(0);

const COST: CostConfig = CostConfig {
    min: 10,
    max: 80,
    levels: 8,
    up_hold: Duration::from_secs(5),
    down_hold: Duration::from_secs(30),
    jitter: Duration::from_secs(1),
    congested_above: 800,
};

fn routed(number: usize) -> Config {
    let mut config = sim::config(number);
    config.services[0].mode = Mode::Solicited;
    config.services[0].neighbor_discovery = false;
    config.services[0].route = Some(COST);
    config.services[0].load = Some(LoadConfig { capacity: 1_000, congested_above: 800, latency_limit: None });
    config
}

fn settled(servers: usize, config: fn(usize) -> Config) -> Sim {
    let mut sim = Sim::new(&Plan { servers, seed: 1, network: Network::default(), config });
    sim.start_all().expect("valid configuration");
    sim.run(10 * SECOND);
    sim
}

/// The routes of one server, in their order.
fn routes(sim: &Sim, server: usize) -> Vec<Route> {
    let of_server = sim.log().iter().filter(|entry| entry.server == server);
    let routes = of_server.filter_map(|entry| match &entry.action {
        Action::Route { route, .. } => Some(*route),
        _ => None,
    });
    routes.collect()
}

fn route(sim: &Sim, server: usize) -> Option<Route> {
    sim.status(server).expect("runs").services[0].route
}

#[test]
fn each_able_server_advertises_and_nobody_opens_a_gate() {
    let mut sim = settled(3, routed);
    for server in 0..3 {
        assert_eq!(routes(&sim, server), [Route::Cost(10)]);
    }
    sim.solicit();
    assert_eq!((sim.gates(), sim.advertisements().count()), (vec![], 0), "routers come by the route alone");
    // Control: the same servers with Neighbor Discovery open their gates.
    let sim = settled(3, |number| {
        let mut config = routed(number);
        config.services[0].neighbor_discovery = true;
        config
    });
    assert_eq!(sim.gates(), [0, 1, 2]);
    assert_eq!(route(&sim, 0), Some(Route::Cost(10)), "both at once");
}

#[test]
fn a_dead_service_is_withdrawn_in_the_same_moment() {
    let mut sim = settled(2, routed);
    sim.forget();
    let at = sim.now();
    sim.process(0, false);
    assert_eq!(routes(&sim, 0), [Route::Withdrawn]);
    assert_eq!(sim.now(), at, "no time passed");
    assert_eq!(routes(&sim, 1), [], "the other one's stays");
    sim.process(0, true);
    sim.run(10 * SECOND);
    assert_eq!(routes(&sim, 0), [Route::Withdrawn, Route::Cost(10)]);
}

#[test]
fn a_drain_leaves_the_last_resort_and_a_stop_leaves_nothing() {
    let mut sim = settled(2, routed);
    sim.command(0, Command::Drain).expect("runs").expect("obeyed");
    assert_eq!(route(&sim, 0), Some(Route::Drained));
    assert_eq!(Route::Drained.metric(), Some(DRAINED));
    sim.process(0, false);
    assert_eq!(route(&sim, 0), Some(Route::Withdrawn), "drained, and dead: nothing to resort to");
    sim.process(0, true);
    sim.run(10 * SECOND);
    sim.command(0, Command::Undrain).expect("runs").expect("obeyed");
    assert_eq!(route(&sim, 0), Some(Route::Cost(10)));
    sim.forget();
    sim.event(0, Event::Stop { keep: false });
    assert_eq!(routes(&sim, 0), [Route::Withdrawn]);
    // Whom another controller follows leaves its route to it.
    sim.forget();
    sim.event(1, Event::Stop { keep: true });
    assert_eq!(routes(&sim, 1), []);
}

#[test]
fn the_cost_follows_the_load() {
    let mut sim = settled(1, routed);
    assert_eq!(route(&sim, 0), Some(Route::Cost(10)));
    for _ in 0..10 {
        sim.run(SECOND);
        sim.event(0, Event::Counters { service: SERVICE, queries: 0, solicitations: 0 });
    }
    assert_eq!(route(&sim, 0), Some(Route::Cost(10)), "without queries nothing moves");
    let mut queries = 0;
    for _ in 0..20 {
        sim.run(SECOND);
        queries += 700;
        sim.event(0, Event::Counters { service: SERVICE, queries, solicitations: 0 });
    }
    // Seven tenths of seven steps above the first, whole ones.
    assert_eq!(route(&sim, 0), Some(Route::Cost(50)));
}

#[test]
fn peers_of_the_routing_protocol_make_a_farm() {
    let mut machine = Machine::new(routed(0), 1, Time::ZERO).expect("valid");
    let mut actions = Vec::new();
    let peer = Figures { load: 100, capacity: 1_000, rate: 100, route: Route::Cost(10) };
    machine.handle(Time::ZERO, Event::RoutePeers { service: SERVICE, peers: vec![peer] }, &mut actions);
    // An unknown service is ignored.
    machine.handle(Time::ZERO, Event::RoutePeers { service: ServiceId(7), peers: vec![] }, &mut actions);
    assert!(!actions.iter().any(|action| matches!(action, Action::Route { .. })), "not able yet");
}

#[test]
fn what_cannot_be_is_refused() {
    let with = |change: fn(&mut Config)| {
        let mut config = routed(0);
        change(&mut config);
        Machine::new(config, 1, Time::ZERO).map(drop)
    };
    assert!(with(|_| ()).is_ok());
    let owned = with(|config| config.services[0].mode = Mode::Failover);
    assert!(matches!(owned, Err(ConfigError::RouteAlone { .. })), "{owned:?}");
    for cost in [
        CostConfig { min: 0, ..COST },
        CostConfig { min: 90, ..COST },
        CostConfig { max: DRAINED, ..COST },
        CostConfig { levels: 1, ..COST },
        CostConfig { levels: 80, ..COST },
        CostConfig { up_hold: Duration::ZERO, ..COST },
    ] {
        let mut config = routed(0);
        config.services[0].route = Some(cost);
        let refused = Machine::new(config, 1, Time::ZERO).map(drop);
        assert!(matches!(refused, Err(ConfigError::Cost { .. })), "{cost:?}: {refused:?}");
    }
}
