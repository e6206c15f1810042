//! Standby with hooks that stop the service and start it again (rule 8), each with its negative control.

use std::time::Duration;

use anycast_core::sim::{self, Network, Plan, Sim};
use anycast_core::status::Detail;
use anycast_core::{
    Action, Command, Config, ConfigError, Event, Hold, LoadConfig, Machine, Mode, ServiceId, StandbyConfig,
    State, Time,
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const SERVICE: ServiceId = ServiceId(0);

/// The simulation's hooks take a tenth of a second to stop a service and a second to start it.
const WAKE_TIMEOUT: Duration = Duration::from_secs(3);

fn without_hooks(number: usize) -> Config {
    let mut config = sim::config(number);
    config.grace = SECOND;
    config.services[0].standby = Some(StandbyConfig { queries: 10, window: 20 * SECOND, wake_timeout: None });
    config.services[0].load = Some(LoadConfig { capacity: 1_000, congested_above: 800, latency_limit: None });
    config
}

fn with_hooks(number: usize) -> Config {
    let mut config = without_hooks(number);
    config.services[0].standby.as_mut().expect("set above").wake_timeout = Some(WAKE_TIMEOUT);
    config
}

fn rotating(number: usize) -> Config {
    let mut config = with_hooks(number);
    config.services[0].mode = Mode::Rotate { slice: 5 * SECOND };
    config
}

fn solicited(number: usize) -> Config {
    let mut config = with_hooks(number);
    config.services[0].mode = Mode::Solicited;
    config
}

fn settled(servers: usize, config: fn(usize) -> Config) -> Sim {
    let mut sim = Sim::new(&Plan { servers, seed: 1, network: Network::default(), config });
    sim.start_all().expect("valid configuration");
    sim.run(10 * SECOND);
    sim.forget();
    sim
}

/// Two servers: the first was sent into standby and its service stopped, the second owns.
fn one_asleep(config: fn(usize) -> Config) -> (Sim, usize, usize) {
    let mut sim = settled(2, config);
    let sleeper = sim.in_state(State::Owner)[0];
    sim.command(sleeper, Command::Standby).expect("runs").expect("obeyed");
    sim.run(5 * SECOND);
    let owner = sim.in_state(State::Owner)[0];
    assert_ne!(owner, sleeper);
    sim.forget();
    (sim, sleeper, owner)
}

fn detail(sim: &Sim, server: usize) -> Detail {
    sim.status(server).expect("runs").services[0].detail
}

fn actions(sim: &Sim, wanted: fn(&Action) -> bool) -> Vec<(Duration, usize)> {
    let entries = sim.log().iter().filter(|entry| wanted(&entry.action));
    entries.map(|entry| (entry.at.since(Time::ZERO), entry.server)).collect()
}

fn starts(sim: &Sim) -> Vec<(Duration, usize)> {
    actions(sim, |action| matches!(action, Action::StartService { .. }))
}

fn stops(sim: &Sim) -> Vec<(Duration, usize)> {
    actions(sim, |action| matches!(action, Action::StopService { .. }))
}

#[test]
fn a_stopped_service_does_not_make_its_server_down() {
    let (sim, sleeper, _) = one_asleep(with_hooks);
    assert!(!sim.serves(sleeper), "the hook has stopped it");
    assert_eq!((sim.state(sleeper), detail(&sim, sleeper)), (State::Standby, Detail::Suspended));

    let (mut sim, sleeper, _) = one_asleep(without_hooks);
    assert!(sim.serves(sleeper), "nobody stops it");
    sim.process(sleeper, false);
    assert_eq!(sim.state(sleeper), State::Down, "without hooks a dead process counts");
}

#[test]
fn the_service_is_stopped_only_when_what_still_arrived_was_answered() {
    let mut sim = settled(2, with_hooks);
    let sleeper = sim.in_state(State::Owner)[0];
    let asked = sim.now().since(Time::ZERO);
    sim.command(sleeper, Command::Standby).expect("runs").expect("obeyed");
    sim.run(SECOND);
    assert_eq!((sim.state(sleeper), stops(&sim)), (State::Standby, vec![]));
    assert!(sim.serves(sleeper));
    // A process that ends by itself meanwhile is a failure as ever.
    let mut failing = settled(2, with_hooks);
    failing.command(sleeper, Command::Standby).expect("runs").expect("obeyed");
    failing.run(SECOND);
    failing.process(sleeper, false);
    assert_eq!(failing.state(sleeper), State::Down);

    sim.run(SECOND);
    let [(at, server)] = stops(&sim)[..] else { panic!("stopped once: {:?}", stops(&sim)) };
    assert_eq!(server, sleeper);
    assert!(at >= asked + SECOND, "{at:?}");
}

#[test]
fn link_address_and_hold_count_while_the_service_is_stopped() {
    let lost: [Event; 3] = [
        Event::Link { link: anycast_core::LinkId(0), up: false },
        Event::Address { service: SERVICE, present: false },
        Event::Hold { service: SERVICE, hold: Hold::Shut },
    ];
    for event in lost {
        let (mut sim, sleeper, _) = one_asleep(with_hooks);
        sim.event(sleeper, event.clone());
        assert_eq!(sim.state(sleeper), State::Down, "{event:?}");
        assert_eq!(starts(&sim).len(), 1, "down, it must be able by itself again: {event:?}");
    }
    let (mut sim, sleeper, _) = one_asleep(with_hooks);
    sim.event(sleeper, Event::Check { service: SERVICE, check: 0, ok: false, latency: Duration::ZERO });
    assert_eq!((sim.state(sleeper), starts(&sim)), (State::Standby, vec![]));
}

#[test]
fn a_lost_owner_starts_the_service_and_the_gate_opens_when_it_is_able() {
    let (mut sim, sleeper, owner) = one_asleep(with_hooks);
    let lost = sim.now();
    sim.process(owner, false);
    sim.run(500 * MS);
    assert_eq!((sim.state(sleeper), detail(&sim, sleeper)), (State::Standby, Detail::Waking));
    assert_eq!(sim.gates(), Vec::<usize>::new(), "nobody answers for a service that does not run yet");
    let took = sim.run_until(5 * SECOND, MS, |sim| sim.open(sleeper)).expect("wakes");
    let took = took + 500 * MS;
    assert!((SECOND..SECOND + 300 * MS).contains(&took), "{took:?}");
    assert!(sim.serves(sleeper));
    assert_eq!(starts(&sim)[0].1, sleeper);
    assert!(starts(&sim)[0].0 <= (lost + 300 * MS).since(Time::ZERO));
    assert_eq!(sim.broken(), []);

    // Without hooks it takes over at once.
    let (mut sim, sleeper, owner) = one_asleep(without_hooks);
    sim.process(owner, false);
    let took = sim.run_until(SECOND, MS, |sim| sim.open(sleeper)).expect("takes over");
    assert!(took < 100 * MS, "{took:?}");
}

#[test]
fn successes_from_before_the_start_do_not_count() {
    let (mut sim, sleeper, owner) = one_asleep(with_hooks);
    sim.process(owner, false);
    sim.run(100 * MS);
    // The last words of the process that was stopped.
    sim.event(sleeper, Event::Process { service: SERVICE, alive: true });
    sim.event(sleeper, Event::Check { service: SERVICE, check: 0, ok: true, latency: Duration::ZERO });
    assert_eq!((sim.state(sleeper), sim.gates()), (State::Standby, vec![]));
    sim.event(sleeper, Event::Started { service: SERVICE });
    assert_eq!(sim.state(sleeper), State::Standby, "and none from after it");
    sim.event(sleeper, Event::Check { service: SERVICE, check: 0, ok: true, latency: Duration::ZERO });
    assert_eq!((sim.state(sleeper), sim.gates()), (State::Owner, vec![sleeper]));
}

#[test]
fn a_service_that_does_not_come_up_in_time_is_down_with_the_reason() {
    let (mut sim, sleeper, _) = one_asleep(with_hooks);
    // What the hook will start hangs.
    sim.hang(sleeper, true, Duration::ZERO);
    sim.solicit();
    sim.run(2 * SECOND);
    assert_eq!((sim.state(sleeper), detail(&sim, sleeper)), (State::Standby, Detail::Waking));
    sim.run(WAKE_TIMEOUT - SECOND);
    assert_eq!(sim.state(sleeper), State::Down);
    let reason =
        sim.changes().find(|(_, server, ..)| *server == sleeper).map(|(.., reason)| reason.to_string());
    assert_eq!(
        reason.as_deref(),
        Some("woken from standby and not able within wake_timeout: check 0 is down")
    );
}

#[test]
fn the_last_able_server_falls_quiet_and_its_service_runs_on() {
    let mut sim = settled(3, rotating);
    for _ in 0..200 {
        sim.run(SECOND);
        sim.read_counters();
    }
    let last = sim.in_state(State::Owner)[0];
    assert_eq!(sim.in_state(State::Standby).len(), 2);
    assert!(sim.status(last).expect("runs").services[0].quiet);
    let mut stopped: Vec<usize> = stops(&sim).into_iter().map(|(_, server)| server).collect();
    stopped.sort_unstable();
    assert_eq!(stopped, sim.in_state(State::Standby), "each of the others once, the last never");
    assert!(sim.serves(last) && sim.open(last));
    // A solicitation brings all back.
    sim.forget();
    sim.solicit();
    sim.run(3 * SECOND);
    assert_eq!((sim.in_state(State::Standby), starts(&sim).len()), (vec![], 2));
    assert!((0..3).all(|server| sim.serves(server)));
}

#[test]
fn the_last_that_answers_solicitations_runs_on() {
    let mut sim = settled(3, solicited);
    for _ in 0..200 {
        sim.run(SECOND);
        sim.read_counters();
    }
    assert_eq!(sim.gates().len(), 1);
    assert_eq!(stops(&sim).len(), 2);
    let last = sim.gates()[0];
    assert!(sim.serves(last));
    sim.process(last, false);
    sim.run(3 * SECOND);
    assert_eq!(starts(&sim).len(), 2, "its failure starts the others");
    assert!(!sim.gates().is_empty() && sim.gates().iter().all(|server| sim.serves(*server)));
}

/// The owner gets `rate` queries a second for a while.
fn load(sim: &mut Sim, rate: u64, duration: Duration) {
    let end = sim.now() + duration;
    while sim.now() < end {
        sim.run(100 * MS);
        sim.queries(rate / 10);
    }
}

#[test]
fn a_rising_load_starts_the_service_before_the_mark_is_reached() {
    // The mark is 800 queries a second.
    for (config, rate, wakes) in [
        (with_hooks as fn(usize) -> Config, 700, true),
        (with_hooks, 500, false),
        (without_hooks, 700, false),
        (without_hooks, 900, true),
    ] {
        let (mut sim, sleeper, owner) = one_asleep(config);
        load(&mut sim, rate, 10 * SECOND);
        assert_eq!(sim.state(sleeper) == State::Ready, wakes, "at {rate}");
        assert_eq!(sim.state(owner), State::Owner, "and it never hands over to one that is not up");
    }
}

#[test]
fn a_congested_owner_hands_over_to_no_sleeper() {
    let (mut sim, sleeper, owner) = one_asleep(with_hooks);
    // Its hook fails: it wakes for good only when somebody mends it.
    sim.hang(sleeper, true, Duration::ZERO);
    load(&mut sim, 900, 2 * SECOND);
    assert_eq!(sim.state(owner), State::Owner);
    let moves = sim.changes().filter(|(_, server, ..)| *server == owner).count();
    assert_eq!(moves, 0);
}

#[test]
fn a_drain_waits_for_a_sleeper_to_start() {
    let (mut sim, sleeper, owner) = one_asleep(with_hooks);
    sim.command(owner, Command::Drain).expect("runs").expect("obeyed");
    let mut shut = Duration::ZERO;
    sim.run_until(5 * SECOND, MS, |sim| {
        shut += if sim.gates().is_empty() { MS } else { Duration::ZERO };
        sim.state(sleeper) == State::Owner
    })
    .expect("takes over");
    assert_eq!(shut, Duration::ZERO, "the old owner answered until the new one could");
    sim.run(SECOND);
    assert_eq!(sim.state(owner), State::Drained);
    assert_eq!(sim.alarms().count(), 0);

    // With nobody to wait for, the hand-over ends soon.
    let mut sim = settled(1, with_hooks);
    sim.command(0, Command::Drain).expect("runs").expect("obeyed");
    assert_eq!(sim.state(0), State::Drained);
}

#[test]
fn a_stop_waits_for_a_sleeper_to_start() {
    let (mut sim, sleeper, owner) = one_asleep(with_hooks);
    sim.stop(owner, false);
    let mut shut = Duration::ZERO;
    sim.run_until(5 * SECOND, MS, |sim| {
        shut += if sim.gates().is_empty() { MS } else { Duration::ZERO };
        sim.state(sleeper) == State::Owner
    })
    .expect("takes over");
    assert_eq!(shut, Duration::ZERO);
    assert!(sim.running(owner), "serves its tail");
    sim.run(2 * SECOND);
    assert!(!sim.running(owner));

    // The sleeper fails: the wait has an end.
    let (mut sim, sleeper, owner) = one_asleep(with_hooks);
    sim.crash(sleeper);
    sim.stop(owner, false);
    sim.run(WAKE_TIMEOUT + 3 * SECOND);
    assert!(!sim.running(owner));
}

#[test]
fn a_drained_sleeper_is_started_when_it_comes_back() {
    let (mut sim, sleeper, _) = one_asleep(with_hooks);
    sim.command(sleeper, Command::Drain).expect("runs").expect("obeyed");
    sim.run(SECOND);
    assert_eq!((sim.state(sleeper), starts(&sim)), (State::Drained, vec![]));
    sim.command(sleeper, Command::Undrain).expect("runs").expect("obeyed");
    assert_eq!((sim.state(sleeper), starts(&sim).len()), (State::Standby, 1));
    sim.run(2 * SECOND);
    assert_eq!(sim.state(sleeper), State::Ready);
}

#[test]
fn a_takeover_of_a_sleeper_waits_for_its_service() {
    let (mut sim, sleeper, owner) = one_asleep(with_hooks);
    sim.command(sleeper, Command::TakeOver).expect("runs").expect("obeyed");
    sim.run(500 * MS);
    assert_eq!((sim.state(sleeper), sim.state(owner)), (State::Standby, State::Owner));
    sim.run(SECOND);
    assert_eq!((sim.state(sleeper), sim.state(owner)), (State::Owner, State::Ready));
}

#[test]
fn a_stopping_daemon_leaves_no_stopped_service_behind() {
    for keep in [false, true] {
        let (mut sim, sleeper, _) = one_asleep(with_hooks);
        sim.stop(sleeper, keep);
        sim.run(2 * SECOND);
        assert_eq!(starts(&sim).len(), 1);
        assert!(sim.serves(sleeper));
    }
    let (mut sim, sleeper, _) = one_asleep(without_hooks);
    sim.stop(sleeper, false);
    sim.run(2 * SECOND);
    assert_eq!(starts(&sim), []);
}

#[test]
fn a_daemon_that_starts_starts_the_service() {
    let (mut sim, sleeper, _) = one_asleep(with_hooks);
    sim.crash(sleeper);
    assert!(!sim.serves(sleeper), "stopped when its daemon was killed");
    sim.start(sleeper).expect("valid configuration");
    sim.run(2 * SECOND);
    assert_eq!((sim.state(sleeper), sim.serves(sleeper)), (State::Ready, true));

    let (mut sim, sleeper, _) = one_asleep(without_hooks);
    sim.process(sleeper, false);
    sim.crash(sleeper);
    sim.start(sleeper).expect("valid configuration");
    sim.run(2 * SECOND);
    assert_eq!(sim.state(sleeper), State::Down, "nobody starts it");
}

#[test]
fn a_wake_timeout_of_nothing_is_refused() {
    let mut config = with_hooks(0);
    config.services[0].standby.as_mut().expect("set above").wake_timeout = Some(Duration::ZERO);
    assert!(matches!(Machine::new(config, 1, Time::ZERO), Err(ConfigError::Wake { .. })));
    assert!(Machine::new(with_hooks(0), 1, Time::ZERO).is_ok());
}
