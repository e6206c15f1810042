//! Invariants over random histories. A failing one names its seed; the same seed gives the same history.
//!
//! The bounds, for heartbeat `h` = 50 ms (dead interval `3 h`), step 20 ms, lease 300 ms, delay + jitter `d`, on a link that
//! never loses three frames in a row between two servers:
//!
//! * **B2**, more than one gate open: an old owner hears the new one's first or one of its two repeats, 50 ms apart: `2 h + d`.
//!   One that stands still answers until its lease ends, 300 ms after a renewal, while a peer can take over no earlier than
//!   `3 h + step` after its last heartbeat, which left within `h` before: 300 − 150 − 20 + 50 = 180 ms. B2 = 180 ms + 2 d.
//!   With planned moves (slices, commands) the peer need not wait for silence: the whole lease, 300 ms + 2 d.
//! * **B1**, none although a server is able: coming up `3 h`; missing the owner `3 h + 2 h`; nine steps and a half; and, if all
//!   the others died together, five seconds of doubt about one's own ears.

use std::time::Duration;

use anycast_core::random::Random;
use anycast_core::sim::{self, Network, Plan, Sim};
use anycast_core::{Command, Config, Event, LinkId, Mode, ServiceId, State, Time};

const DELAY: Duration = Duration::from_millis(2);
const JITTER: Duration = Duration::from_millis(3);
const B2: Duration = Duration::from_millis(180 + 2 * 5);
/// With pauses and planned moves.
const B2_PLANNED: Duration = Duration::from_millis(300 + 2 * 5);
const B1: Duration = Duration::from_millis(150 + 250 + 190 + 200 + 5_000 + 2 * 5);

fn rotating(number: usize) -> Config {
    let mut config = sim::config(number);
    config.services[0].mode = Mode::Rotate { slice: Duration::from_secs(1) };
    config
}

/// What may happen in a history.
#[derive(Clone, Copy)]
struct Kinds {
    crashes: bool,
    pauses: bool,
    cuts: bool,
    commands: bool,
}

struct Worst {
    none: Duration,
    several: Duration,
    advertisements: usize,
}

fn history(seed: u64, config: fn(usize) -> Config, kinds: Kinds) -> Worst {
    let mut random = Random::new(seed);
    let servers = 2 + random.below(4) as usize;
    let network = Network { delay: DELAY, jitter: JITTER, loss: 0.05, loss_run: 2, duplication: 0.02 };
    let mut sim = Sim::new(&Plan { servers, seed, network, config });
    for server in 0..servers {
        sim.run(random.up_to(Duration::from_millis(100)));
        sim.start(server).expect("valid configuration");
    }
    let mut alive = vec![true; servers];
    for _ in 0..20 {
        sim.run(random.up_to(Duration::from_secs(2)));
        let server = random.below(servers as u64) as usize;
        match random.below(9) {
            0 | 1 => {
                alive[server] = !alive[server];
                sim.process(server, alive[server]);
            }
            2 if kinds.crashes => sim.crash(server),
            3 if kinds.crashes => sim.crash_host(server),
            4 | 5 if sim.status(server).is_none() => sim.start(server).expect("valid configuration"),
            6 if kinds.pauses => sim.pause(server, random.up_to(Duration::from_secs(1))),
            7 if kinds.cuts => sim.isolate(server, random.chance(0.5)),
            7 if kinds.crashes => sim.stop(server, false),
            8 if kinds.commands => {
                let commands =
                    [Command::Drain, Command::Undrain, Command::Undrain, Command::Standby, Command::TakeOver];
                let command = commands[random.below(5) as usize];
                let _ = sim.command(server, command);
            }
            _ => sim.event(server, Event::Tick),
        }
        check(&sim, seed);
    }
    sim.run(Duration::from_secs(8));
    check(&sim, seed);
    let watch = sim.watch();
    bucket(&sim, servers, kinds.crashes, seed);
    Worst {
        none: watch.none().length,
        several: watch.several().length,
        advertisements: sim.advertisements().count(),
    }
}

/// What must hold at every moment.
fn check(sim: &Sim, seed: u64) {
    for server in sim.in_state(State::Owner) {
        let status = sim.status(server).expect("runs");
        assert!(status.services[0].able, "seed {seed}: server {server} owns and is not able");
        assert!(
            status.deadline.is_some(),
            "seed {seed}: an owner without a deadline would let its lease run out"
        );
    }
}

/// No daemon ever sends more advertisements than its bucket holds: any four span two seconds. Across a restart, which begins
/// with a full bucket, any six do.
fn bucket(sim: &Sim, servers: usize, restarts: bool, seed: u64) {
    let any = if restarts { 6 } else { 4 };
    for server in 0..servers {
        let sent =
            sim.advertisements().filter(|(_, by, _)| *by == server).map(|(at, ..)| at).collect::<Vec<Time>>();
        for window in sent.windows(any) {
            let span = window[any - 1].since(window[0]);
            assert!(
                span >= Duration::from_secs(2),
                "seed {seed}: server {server} advertised {any} times in {span:?}"
            );
        }
    }
}

fn histories(count: u64, config: fn(usize) -> Config, kinds: Kinds, b2: Option<Duration>) {
    let mut worst = Worst { none: Duration::ZERO, several: Duration::ZERO, advertisements: 0 };
    for seed in 0..count {
        let one = history(seed, config, kinds);
        assert!(one.none <= B1, "seed {seed}: no gate open for {:?}, bound {B1:?}", one.none);
        if let Some(b2) = b2 {
            assert!(one.several <= b2, "seed {seed}: several gates open for {:?}, bound {b2:?}", one.several);
        }
        worst.none = worst.none.max(one.none);
        worst.several = worst.several.max(one.several);
        worst.advertisements += one.advertisements;
    }
    println!("{count} histories: none {:?} (B1 {B1:?}), several {:?} (B2 {b2:?})", worst.none, worst.several);
    assert!(worst.advertisements > 0 && worst.none > Duration::ZERO, "the histories did nothing");
}

const COUNT: u64 = 300;

#[test]
fn failover_on_an_unbroken_link() {
    let kinds = Kinds { crashes: true, pauses: false, cuts: false, commands: true };
    histories(COUNT, sim::config, kinds, Some(B2));
}

#[test]
fn failover_with_pauses() {
    let kinds = Kinds { crashes: true, pauses: true, cuts: false, commands: false };
    histories(COUNT, sim::config, kinds, Some(B2));
}

#[test]
fn rotation_on_an_unbroken_link() {
    let kinds = Kinds { crashes: true, pauses: true, cuts: false, commands: true };
    histories(COUNT, rotating, kinds, Some(B2_PLANNED));
}

/// A cut link has an owner on each side, so only B1 holds.
#[test]
fn failover_with_partitions() {
    let kinds = Kinds { crashes: true, pauses: true, cuts: true, commands: true };
    histories(COUNT, sim::config, kinds, None);
}

/// Negative control: on a link that is cut, several gates stay open far longer than B2.
#[test]
fn a_cut_link_breaks_the_bound() {
    let kinds = Kinds { crashes: false, pauses: false, cuts: true, commands: false };
    let worst = (0..20).map(|seed| history(seed, sim::config, kinds).several).max();
    assert!(worst > Some(B2 * 2), "{worst:?}");
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
            let event = match random.below(12) {
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
        }],
    }
    .encode()
}
