//! Invariants over random histories, at every step: never more than one gate open for longer than B2 on an unbroken link;
//! never none for longer than B1 while a server could serve, those that stand by included; no daemon advertises more than
//! its token bucket holds; an owner is able and keeps its lease. `anycast_core::sim::Bounds` derives the bounds.
//!
//! `ANYCAST_HISTORIES=10000` runs so many. A failing history is shrunk and written to a file, for
//! `anycast simulate --scenario FILE`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anycast_core::random::Random;
use anycast_core::sim::{self, Bounds, Network, Plan, Scenario, Sim, history};
use anycast_core::{Command, Config, Event, LinkId, Mode, ServiceId, State, Time};

const JITTER: Duration = Duration::from_millis(3);

/// The worst that was seen of one thing, as a share of its bound.
#[derive(Clone, Copy, Default)]
struct Worst {
    seen: Duration,
    bound: Duration,
    seed: u64,
}

impl Worst {
    fn note(&mut self, seen: Duration, bound: Option<Duration>, seed: u64) {
        let Some(bound) = bound else { return };
        if seen.as_secs_f64() * self.bound.as_secs_f64() >= self.seen.as_secs_f64() * bound.as_secs_f64() {
            *self = Self { seen, bound, seed };
        }
    }
}

fn mode(scenario: &Scenario) -> usize {
    match scenario.farm.mode {
        Mode::Failover => 0,
        Mode::Rotate { .. } => 1,
        Mode::Solicited => 2,
    }
}

/// Writes a failing history, the shorter the better.
fn written(scenario: &Scenario) -> PathBuf {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("history-{}.toml", scenario.seed));
    let shrunk = history::shrink(scenario).expect("valid configuration");
    std::fs::write(&file, shrunk.to_string()).expect("the build directory can be written");
    file
}

/// Runs the histories of some seeds; the worst of each bound by mode, and what failed.
fn run(seeds: impl Iterator<Item = u64>) -> ([[Worst; 3]; 3], Vec<String>, u64) {
    let mut worst = [[Worst::default(); 3]; 3];
    let (mut failed, mut handovers) = (Vec::new(), 0);
    for seed in seeds {
        let scenario = history::random(seed);
        let figures = sim::run(&scenario).expect("valid configuration");
        let bounds = scenario.bounds;
        let [company, alone, owners] = &mut worst[mode(&scenario)];
        company.note(figures.ownerless_in_company, bounds.ownerless, seed);
        alone.note(figures.ownerless_alone, bounds.ownerless_alone, seed);
        owners.note(figures.owners, bounds.owners, seed);
        handovers += figures.handovers;
        if let Some(violation) = figures.violations.first() {
            failed.push(format!("seed {seed}, {}: {violation}", written(&scenario).display()));
        }
    }
    (worst, failed, handovers)
}

#[test]
fn invariants_hold_over_random_histories() {
    let count = std::env::var("ANYCAST_HISTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(1_000);
    let next = AtomicU64::new(0);
    let seeds =
        || std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < count));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let parts = std::thread::scope(|scope| {
        let threads = (0..threads).map(|_| scope.spawn(|| run(seeds()))).collect::<Vec<_>>();
        threads.into_iter().map(|thread| thread.join().expect("no history panics")).collect::<Vec<_>>()
    });
    let mut all = [[Worst::default(); 3]; 3];
    let (mut failed, mut handovers) = (Vec::new(), 0);
    for (worst, failures, moved) in parts {
        for (all, worst) in all.iter_mut().flatten().zip(worst.into_iter().flatten()) {
            all.note(worst.seen, Some(worst.bound), worst.seed);
        }
        failed.extend(failures);
        handovers += moved;
    }
    println!(
        "{count} histories, {handovers} changes of owner; the worst by mode, and the bound of that history:"
    );
    for (name, worst) in ["failover", "rotate", "solicited"].into_iter().zip(all) {
        let figure =
            |worst: Worst| format!("{:.2?} of {:.2?} (seed {})", worst.seen, worst.bound, worst.seed);
        let [company, alone, owners] = worst.map(figure);
        println!("{name:<10} B1 {company}; B1 of the last survivor {alone}; B2 {owners}");
    }
    assert!(failed.is_empty(), "{} of {count} histories failed:\n{}", failed.len(), failed.join("\n"));
    assert!(handovers > count, "the histories did nothing");
    for [company, alone, owners] in [all[0], all[1]] {
        let seen = company.seen.min(alone.seen).min(owners.seen);
        assert!(seen > Duration::from_millis(50), "the histories did nothing to the gates");
    }
}

/// Negative control: with bounds that are too strict histories fail, and what is left of one after shrinking fails too.
#[test]
fn too_strict_bounds_are_found_broken_and_the_history_shrinks() {
    let strict = |seed| {
        let mut scenario = history::random(seed);
        scenario.bounds = Bounds { ownerless: Some(Duration::from_millis(100)), ..Bounds::default() };
        scenario
    };
    let failing = (0..100)
        .map(strict)
        .find(|scenario| !history::violations(scenario).expect("valid configuration").is_empty());
    let failing = failing.expect("some owner fell silent");
    let shrunk = history::shrink(&failing).expect("valid configuration");
    assert!(shrunk.steps.len() < failing.steps.len() / 2, "{} steps are left", shrunk.steps.len());
    let violations = history::violations(&shrunk).expect("valid configuration");
    assert!(!violations.is_empty());
    assert_eq!(violations, history::violations(&shrunk).expect("valid configuration"), "the same each time");
}

/// Negative control: on a link that is cut, several gates stay open far longer than B2.
#[test]
fn a_cut_link_breaks_the_bound() {
    let mut sim = Sim::new(&Plan { servers: 3, seed: 1, network: Network::default(), config: sim::config });
    sim.start_all().expect("valid configuration");
    sim.run(Duration::from_secs(2));
    let owner = sim.in_state(State::Owner)[0];
    sim.forget();
    sim.isolate(owner, true);
    sim.run(Duration::from_secs(2));
    assert_eq!(sim.gates().len(), 2);
    assert_eq!(sim.watch().several().length, Duration::ZERO, "not counted while the link is broken");
    // Mended, it settles.
    sim.isolate(owner, false);
    sim.run(Duration::from_secs(2));
    assert_eq!(sim.gates().len(), 1);
    assert!(sim.watch().several().length > Duration::ZERO);
    assert!(sim.watch().several().length <= Duration::from_millis(160), "{:?}", sim.watch().several());
}

/// Negative control: a daemon that never gives its gate up is seen.
#[test]
fn two_owners_that_do_not_hear_each_other_are_a_violation() {
    let mut scenario = Scenario { duration: Duration::from_secs(5), ..Scenario::default() };
    scenario.farm.mode = Mode::Failover;
    scenario.bounds = Bounds::of(&scenario);
    // Two farms of different names do not hear each other: as if the machine obeyed nobody.
    let violations = |other: bool| {
        let mut configs = scenario.farm.configs();
        if let (true, Some(farm)) = (other, &mut configs[0].farm) {
            "elsewhere".clone_into(&mut farm.name);
        }
        let mut sim = Sim::of(configs, 1, scenario.network);
        sim.start_all().expect("valid configuration");
        sim.run(Duration::from_secs(5));
        sim.watch().several().length > scenario.bounds.owners.expect("failover has one")
    };
    assert!(violations(true));
    assert!(!violations(false));
}

/// Ticks that nobody asked for change nothing that anybody can see.
#[test]
fn spurious_ticks_are_harmless() {
    let run = |spurious: bool| {
        let mut sim =
            Sim::new(&Plan { servers: 3, seed: 9, network: Network::default(), config: sim::config });
        sim.start_all().expect("valid configuration");
        for round in 0..400u64 {
            sim.run(Duration::from_millis(7));
            for server in (0..3).filter(|_| spurious) {
                sim.event(server, Event::Tick);
            }
            if round == 200 {
                let owner = sim.in_state(State::Owner)[0];
                sim.process(owner, false);
            }
        }
        let log = sim.log().iter().map(|entry| format!("{} {} {:?}", entry.at, entry.server, entry.action));
        (log.collect::<Vec<_>>(), sim.traffic())
    };
    assert_eq!(run(true).0, run(false).0);
}

/// Heartbeats that say nothing new are told to the machines later: nothing that happens is different.
#[test]
fn repetitions_kept_aside_change_nothing() {
    let run = |seed, in_full: bool| {
        let mode = [Mode::Failover, Mode::Rotate { slice: Duration::from_secs(3) }, Mode::Solicited];
        let mut farm = sim::Farm { servers: 30, mode: mode[seed as usize % 3], ..sim::Farm::default() };
        if seed % 2 == 0 {
            farm.standby = Some(anycast_core::StandbyConfig {
                queries: 100,
                window: Duration::from_secs(4),
                wake_timeout: None,
            });
        }
        let network =
            Network { loss: 0.05, jitter: JITTER, duplication: 0.02, reordering: 0.05, ..Network::default() };
        let mut sim = Sim::of(farm.configs(), seed, network);
        if in_full {
            sim.in_full();
        }
        let mut random = Random::new(seed);
        sim.start_all().expect("valid configuration");
        for _ in 0..25 {
            sim.run(random.up_to(Duration::from_secs(3)));
            sim.queries(random.below(60));
            let server = random.below(30) as usize;
            match random.below(7) {
                0 => sim.crash_host(server),
                1 => sim.pause(server, random.up_to(Duration::from_secs(1))),
                2 => sim.process(server, random.chance(0.5)),
                3 => drop(sim.command(server, Command::TakeOver)),
                4 => sim.solicit(),
                5 => sim.stop(server, random.chance(0.5)),
                _ => {
                    if let Some(owner) = sim.in_state(State::Owner).first() {
                        sim.crash_host(*owner);
                    }
                }
            }
            if !sim.running(server) && random.chance(0.5) {
                sim.start(server).expect("valid configuration");
            }
        }
        let status = (0..30).map(|server| format!("{:?}", sim.status(server).map(|status| status.services)));
        (format!("{:#?}", sim.log()), sim.traffic(), status.collect::<Vec<_>>())
    };
    for seed in 0..30 {
        let (quick, full) = (run(seed, false), run(seed, true));
        for (quick, full) in quick.0.lines().zip(full.0.lines()) {
            assert_eq!(quick, full, "seed {seed}");
        }
        assert_eq!(quick.1, full.1, "seed {seed}");
        for (quick, full) in quick.2.iter().zip(&full.2) {
            assert_eq!(quick, full, "seed {seed}");
        }
        assert_eq!(quick.0.len(), full.0.len(), "seed {seed}");
    }
}

/// One seed, one history.
#[test]
fn histories_are_deterministic() {
    let run = || {
        let network = Network { loss: 0.1, jitter: JITTER, ..Network::default() };
        let mut sim = Sim::new(&Plan { servers: 4, seed: 4, network, config: sim::config });
        sim.start_all().expect("valid configuration");
        sim.run(Duration::from_secs(20));
        (format!("{:?}", sim.log()), sim.traffic())
    };
    assert_eq!(run(), run());
}

/// Any event in any state, in any order, with any argument: no panic, and time that stands still or runs back is borne.
#[test]
fn every_event_is_legal_in_every_state() {
    let mut random = Random::new(11);
    for seed in 0..200 {
        let mut config = sim::config(0);
        let mode = random.below(3);
        config.services[0].mode = match mode {
            0 => Mode::Failover,
            1 => Mode::Rotate { slice: Duration::from_secs(1) },
            _ => Mode::Solicited,
        };
        config.services[0].per_router = mode != 2 && random.chance(0.5);
        config.services[0].answer_delay = (mode == 2).then_some(Duration::from_millis(500));
        let mut machine = anycast_core::Machine::new(config, seed, Time::ZERO).expect("valid configuration");
        let mut now = Time::ZERO;
        for _ in 0..300 {
            if random.chance(0.9) {
                now = now + random.up_to(Duration::from_millis(400));
            }
            let at = if random.chance(0.05) { Time::ZERO } else { now };
            let service = ServiceId(random.below(2) as u16);
            let link = LinkId(random.below(2) as u16);
            let yes = random.chance(0.7);
            let event = match random.below(14) {
                0 => Event::Check {
                    service,
                    check: random.below(2) as usize,
                    ok: yes,
                    latency: Duration::ZERO,
                },
                1 => Event::Process { service, alive: yes },
                2 => Event::Address { service, present: yes },
                3 => Event::Link { link, up: yes },
                4 => Event::Mac { link, mac: [2, 0, 0, 0, 0, random.below(3) as u8] },
                5 => Event::Counters { service, queries: random.below(50), solicitations: random.below(3) },
                6 => Event::Solicited { service, kind: anycast_core::Solicitation::Multicast },
                7 => Event::PeerAdvertisement {
                    service,
                    mac: [2, 0, 0, 0, 1, random.below(3) as u8],
                    override_flag: yes,
                    flags: 0x20,
                    option: Vec::new(),
                },
                8 | 9 => {
                    let mut peer = sim::config(1 + random.below(3) as usize);
                    peer.services[0].mode = Mode::Failover;
                    let datagram = peer_datagram(&peer, &mut random);
                    Event::Heartbeat { link, source: std::net::Ipv6Addr::LOCALHOST.into(), datagram }
                }
                10 => Event::Hold {
                    service,
                    hold: if yes { anycast_core::Hold::Automatic } else { anycast_core::Hold::Shut },
                },
                11 => Event::Router {
                    service,
                    router: sim::router(random.below(20)),
                    by: anycast_core::Sighting::Solicitation,
                },
                12 => Event::Delayed {
                    service,
                    address: sim::router(random.below(20)).address,
                    mac: [2, 0, 0, 0, 2, 1],
                },
                _ if random.chance(0.01) => Event::Stop { keep: yes },
                _ => Event::Tick,
            };
            let mut actions = Vec::new();
            machine.handle(at, event, &mut actions);
            if random.chance(0.1) {
                let commands = [
                    Command::Drain,
                    Command::Undrain,
                    Command::Standby,
                    Command::TakeOver,
                    Command::Announce,
                ];
                let _ = machine.command(at, service, commands[random.below(5) as usize], &mut actions);
            }
            let status = machine.status(now);
            for service in &status.services {
                let nobody = service.owner == anycast_core::status::Owner::None;
                if service.state == State::Ready && nobody && mode != 2 && !status.stopping {
                    assert_eq!(
                        service.detail,
                        anycast_core::status::Detail::Contending,
                        "ready, no owner, no contest"
                    );
                }
                assert_eq!(
                    service.open_until.is_some(),
                    service.state == State::Owner
                        || service.detail == anycast_core::status::Detail::HandingOver
                        || (mode == 2 && service.state == State::Ready),
                    "the gate is open if and only if it should be: {service:?}"
                );
            }
        }
    }
}

fn peer_datagram(config: &Config, random: &mut Random) -> Vec<u8> {
    use anycast_core::heartbeat::{Message, Report};
    let server = config.server;
    Message {
        farm: "sim".to_owned(),
        server,
        incarnation: random.below(2),
        sequence: random.below(1_000),
        interval: Duration::from_millis(1 + random.below(200)),
        leaving: random.chance(0.05),
        mac: Some([2, 0, 0, 0, 1, server.0 as u8]),
        services: vec![Report {
            address: config.services[0].address,
            vlan: 0,
            state: State::ALL[random.below(5) as usize],
            suspect: random.chance(0.1),
            last: random.chance(0.1),
            epoch: random.below(20),
            owner: None,
            successors: vec![anycast_core::ServerId(1 + random.below(4))],
            slice_left: random.chance(0.5).then(|| random.up_to(Duration::from_secs(1))),
            load: None,
            priority: anycast_core::PRIORITY_DEFAULT,
            routers: random.chance(0.5).then(|| {
                let claim = |random: &mut Random| anycast_core::heartbeat::Claim {
                    router: sim::router(random.below(20)),
                    server: random.chance(0.7).then(|| anycast_core::ServerId(1 + random.below(4))),
                    first_hand: random.chance(0.5),
                };
                (0..random.below(6)).map(|_| claim(random)).collect()
            }),
        }],
    }
    .encode()
}
