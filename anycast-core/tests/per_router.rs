//! Different servers own different routers' entries, each rule with its negative control.

use std::time::Duration;

use anycast_core::random::Random;
use anycast_core::sim::{self, Network, Plan, Sim};
use anycast_core::{Command, Config, Mode, State, Time};

const MS: Duration = Duration::from_millis(1);

fn per_router(number: usize) -> Config {
    let mut config = sim::config(number);
    config.services[0].per_router = true;
    config
}

fn rotating(number: usize) -> Config {
    let mut config = per_router(number);
    config.services[0].mode = Mode::Rotate { slice: Duration::from_secs(5) };
    config
}

/// A farm that has settled, with so many routers, each seen by one server.
fn settled(servers: usize, routers: u64, config: fn(usize) -> Config) -> Sim {
    let mut sim = Sim::new(&Plan { servers, seed: 1, network: Network::default(), config });
    sim.start_all().expect("valid configuration");
    sim.run(Duration::from_secs(5));
    for router in 0..routers {
        sim.see_router(router as usize % servers, router);
    }
    sim.run(Duration::from_secs(30));
    sim.forget();
    sim.forget_routers();
    sim
}

/// How many routers each server owns, of which exactly one answers each, and the entry names it.
fn owned(sim: &Sim, servers: usize, routers: u64) -> Vec<usize> {
    let mut counts = vec![0; servers];
    for router in 0..routers {
        let gates = sim.gates_of(router);
        assert_eq!(gates.len(), 1, "router {router} is answered by {gates:?}");
        assert_eq!(sim.entry_of(router), Some(gates[0]), "router {router}");
        counts[gates[0]] += 1;
    }
    counts
}

#[test]
fn routers_are_spread_over_the_servers() {
    for (servers, routers) in [(1, 2), (2, 2), (2, 3), (3, 2), (3, 7), (4, 16)] {
        let sim = settled(servers, routers, per_router);
        let counts = owned(&sim, servers, routers);
        let (most, least) = (counts.iter().max(), counts.iter().min());
        assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{servers}: {counts:?}");
        assert_eq!(sim.gates().len(), 1, "one owner of `*`");
    }
}

/// Negative control: without `per_router` one server answers all.
#[test]
fn without_it_one_server_answers_every_router() {
    let sim = settled(3, 4, sim::config);
    let mut counts = owned(&sim, 3, 4);
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 4]);
    assert_eq!((0..4).map(|router| sim.advertisements_to(router).count()).sum::<usize>(), 0);
}

#[test]
fn a_settled_farm_moves_nothing() {
    let mut sim = settled(3, 5, per_router);
    let before = (0..5).map(|router| sim.gates_of(router)).collect::<Vec<_>>();
    sim.run(Duration::from_secs(300));
    assert_eq!((0..5).map(|router| sim.gates_of(router)).collect::<Vec<_>>(), before);
    for router in 0..5 {
        let sent = sim.advertisements_to(router).count();
        assert!((9..=11).contains(&sent), "one refresh in 30 s, router {router}: {sent}");
        let watch = sim.watch_of(router).expect("seen");
        assert_eq!((watch.none().length, watch.several().length), (Duration::ZERO, Duration::ZERO));
    }
}

#[test]
fn a_dead_servers_routers_are_taken_over_and_no_other_moves() {
    for (kill, limit) in [(0, 3 * MS), (1, 260 * MS)] {
        let mut sim = settled(3, 6, per_router);
        let owner = sim.in_state(State::Owner)[0];
        let victim = (0..3).find(|server| *server != owner).expect("three servers");
        let before = (0..6).map(|router| sim.gates_of(router)[0]).collect::<Vec<_>>();
        assert!(before.contains(&victim));
        if kill == 0 {
            sim.process(victim, false)
        } else {
            sim.crash_host(victim)
        }
        let took = sim
            .run_until(Duration::from_secs(2), MS, |sim| {
                (0..6).all(|router| sim.gates_of(router).iter().any(|server| *server != victim))
            })
            .expect("taken over");
        assert!(took <= limit, "{took:?} of {limit:?}");
        sim.run(Duration::from_secs(5));
        assert_eq!(owned(&sim, 3, 6)[victim], 0);
        for router in (0..6).filter(|router| before[*router as usize] != victim) {
            assert_eq!(sim.gates_of(router)[0], before[router as usize], "router {router} need not move");
        }
    }
}

#[test]
fn when_the_owner_of_the_rest_dies_its_routers_move_and_no_other() {
    let mut sim = settled(3, 6, per_router);
    let owner = sim.in_state(State::Owner)[0];
    let before = (0..6).map(|router| sim.gates_of(router)[0]).collect::<Vec<_>>();
    sim.crash_host(owner);
    sim.run(Duration::from_secs(5));
    assert_eq!(owned(&sim, 3, 6)[owner], 0);
    for router in 0..6 {
        let watch = sim.watch_of(router).expect("seen");
        if before[router as usize] == owner {
            assert!(watch.none().length <= 300 * MS, "{:?}", watch.none());
        } else {
            assert_eq!(sim.gates_of(router)[0], before[router as usize], "router {router} need not move");
            assert_eq!(watch.none().length, Duration::ZERO);
        }
    }
}

#[test]
fn rotation_leaves_the_routers_where_they_are() {
    let mut sim = settled(3, 4, rotating);
    let before = (0..4).map(|router| sim.gates_of(router)).collect::<Vec<_>>();
    sim.run(Duration::from_secs(60));
    for router in 0..4 {
        let watch = sim.watch_of(router).expect("seen");
        assert_eq!((watch.none().length, watch.several().length), (Duration::ZERO, Duration::ZERO));
    }
    assert!(sim.changes().filter(|(_, _, to, _)| *to == State::Owner).count() > 8, "slices end");
    assert_eq!((0..4).map(|router| sim.gates_of(router)).collect::<Vec<_>>(), before);
    // An advertisement of the new owner to all nodes moves every entry; its own server moves it back.
    sim.run(Duration::from_secs(1));
    owned(&sim, 3, 4);
}

#[test]
fn a_server_that_joins_gets_its_share_one_by_one() {
    let mut sim = Sim::new(&Plan { servers: 2, seed: 1, network: Network::default(), config: per_router });
    sim.start(0).expect("valid configuration");
    sim.run(Duration::from_secs(5));
    for router in 0..6 {
        sim.see_router(0, router);
    }
    sim.run(Duration::from_secs(5));
    assert_eq!(owned(&sim, 2, 6), [6, 0]);
    sim.start(1).expect("valid configuration");
    sim.run(Duration::from_secs(9));
    assert_eq!(owned(&sim, 2, 6), [6, 0], "it has to be there for a while first");
    sim.run(Duration::from_secs(4));
    assert_eq!(owned(&sim, 2, 6), [5, 1]);
    sim.run(Duration::from_secs(60));
    assert_eq!(owned(&sim, 2, 6), [3, 3]);
}

#[test]
fn a_drained_server_owns_no_router() {
    let mut sim = settled(3, 6, per_router);
    sim.command(1, Command::Drain).expect("runs").expect("obeys");
    sim.run(Duration::from_secs(2));
    assert_eq!(owned(&sim, 3, 6)[1], 0);
}

/// A server of the farm without the function gets no router.
#[test]
fn only_who_knows_the_function_owns_routers() {
    fn mixed(number: usize) -> Config {
        if number == 1 { sim::config(number) } else { per_router(number) }
    }
    let mut sim = Sim::new(&Plan { servers: 3, seed: 1, network: Network::default(), config: mixed });
    sim.start(0).expect("valid configuration");
    sim.run(Duration::from_secs(1));
    for server in [1, 2] {
        sim.start(server).expect("valid configuration");
    }
    for router in 0..4 {
        sim.see_router(0, router);
    }
    sim.run(Duration::from_secs(60));
    assert_eq!(owned(&sim, 3, 4), [2, 0, 2]);
}

#[test]
fn one_token_bucket_a_router() {
    let mut sim = settled(2, 2, per_router);
    for _ in 0..40 {
        sim.command(sim.in_state(State::Ready)[0], Command::TakeOver).expect("runs").expect("obeys");
        sim.run(Duration::from_millis(100));
    }
    for router in 0..2 {
        for server in 0..2 {
            let sent = sim.advertisements_to(router).filter(|(_, by)| *by == server).map(|(at, _)| at);
            for window in sent.collect::<Vec<Time>>().windows(4) {
                assert!(window[3].since(window[0]) >= Duration::from_secs(2), "{window:?}");
            }
        }
    }
    assert!(sim.advertisements_to(0).count() > 2);
}

/// A router that only the dead server had seen is still named.
#[test]
fn what_only_a_dead_server_had_seen_is_remembered() {
    let mut sim = settled(3, 3, per_router);
    let owner = sim.in_state(State::Owner)[0];
    let victim = (0..3).find(|server| *server != owner).expect("three servers");
    sim.crash_host(victim);
    sim.run(Duration::from_secs(5));
    // Router n was seen by server n alone.
    assert_eq!(owned(&sim, 3, 3)[victim], 0);
    let named = &sim.status(owner).expect("runs").services[0].routers;
    assert_eq!(named.iter().filter(|router| router.owner.is_some()).count(), 3, "{named:?}");
}

/// B1 and B2 of `histories.rs` hold for each router. A table is heard one datagram later than an owner: a server that is told by
/// the first heartbeat of a new owner shuts or opens within two repeats and the delay. What a daemon that died left open lasts its
/// lease, 300 ms, while a peer may take its routers after 150 ms less the heartbeat before.
#[test]
fn the_bounds_hold_for_each_router_in_random_histories() {
    const B1: Duration = Duration::from_millis(150 + 250 + 190 + 200 + 5_000 + 2 * 5 + 150);
    const B2: Duration = Duration::from_millis(300 + 100 + 2 * 5);
    let mut worst = (Duration::ZERO, Duration::ZERO);
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let servers = 2 + random.below(4) as usize;
        let delay = Duration::from_millis(2);
        let jitter = Duration::from_millis(3);
        let network =
            Network { delay, jitter, loss: 0.05, loss_run: 2, duplication: 0.02, ..Network::default() };
        let config = if random.chance(0.5) { per_router } else { rotating };
        let mut sim = Sim::new(&Plan { servers, seed, network, config });
        for server in 0..servers {
            sim.run(random.up_to(Duration::from_millis(100)));
            sim.start(server).expect("valid configuration");
        }
        sim.run(Duration::from_secs(2));
        let routers = 1 + random.below(5);
        for router in 0..routers {
            for server in 0..servers {
                sim.see_router(server, router);
            }
        }
        let mut alive = vec![true; servers];
        for _ in 0..20 {
            sim.run(random.up_to(Duration::from_secs(2)));
            let server = random.below(servers as u64) as usize;
            match random.below(8) {
                0 | 1 => {
                    alive[server] = !alive[server];
                    sim.process(server, alive[server]);
                }
                2 => sim.crash(server),
                3 => sim.crash_host(server),
                4 | 5 if sim.status(server).is_none() => {
                    sim.start(server).expect("valid configuration");
                    for router in 0..routers {
                        sim.see_router(server, router);
                    }
                }
                6 => sim.pause(server, random.up_to(Duration::from_secs(1))),
                _ => {
                    let commands = [Command::Drain, Command::Undrain, Command::TakeOver];
                    let _ = sim.command(server, commands[random.below(3) as usize]);
                }
            }
        }
        sim.run(Duration::from_secs(8));
        for router in 0..routers {
            let watch = sim.watch_of(router).expect("seen");
            let (none, several) = (watch.none(), watch.several());
            assert!(none.length <= B1, "seed {seed}: nobody answers router {router}: {none:?}");
            assert!(several.length <= B2, "seed {seed}: several answer router {router}: {several:?}");
            worst = (worst.0.max(none.length), worst.1.max(several.length));
        }
    }
    println!("300 histories: none {:?} (B1 {B1:?}), several {:?} (B2 {B2:?})", worst.0, worst.1);
    assert!(worst.0 > Duration::ZERO && worst.1 > Duration::ZERO, "the histories did nothing");
}
