//! The rules of ownership among several servers, each with its negative control.

use std::time::Duration;

use anycast_core::sim::{self, Network, Plan, Sim};
use anycast_core::{Alarm, Cause, Command, Config, Event, Mode, Reason, ServerId, ServiceId, State};

const MS: Duration = Duration::from_millis(1);

fn plan(servers: usize, config: fn(usize) -> Config) -> Plan {
    Plan { servers, seed: 1, network: Network::default(), config }
}

/// A farm that has come up and settled.
fn settled(servers: usize, config: fn(usize) -> Config) -> Sim {
    let mut sim = Sim::new(&plan(servers, config));
    sim.start_all().expect("valid configuration");
    sim.run(Duration::from_secs(10));
    sim.forget();
    sim
}

fn owner(sim: &Sim) -> usize {
    let owners = sim.in_state(State::Owner);
    assert_eq!(owners.len(), 1, "one owner");
    assert_eq!(sim.gates(), owners, "the owner's gate is the open one");
    owners[0]
}

/// How long until another server's gate is the open one.
fn moved_within(sim: &mut Sim, old: usize, limit: Duration) -> Duration {
    sim.run_until(limit, MS, |sim| {
        sim.in_state(State::Owner).iter().any(|server| *server != old && sim.open(*server))
    })
    .unwrap_or_else(|| panic!("nobody took over from {old} within {limit:?}"))
}

fn solicited(number: usize) -> Config {
    let mut config = sim::config(number);
    config.services[0].mode = Mode::Solicited;
    config
}

fn rotating(number: usize) -> Config {
    let mut config = sim::config(number);
    config.services[0].mode = Mode::Rotate { slice: Duration::from_secs(5) };
    config
}

fn standing_by(number: usize) -> Config {
    let mut config = sim::config(number);
    config.services[0].standby = Some(anycast_core::StandbyConfig {
        queries: 10,
        window: Duration::from_secs(60),
        wake_timeout: None,
    });
    config
}

#[test]
fn a_farm_settles_on_one_owner() {
    for servers in [1, 2, 3, 8, 30] {
        let mut sim = settled(servers, sim::config);
        owner(&sim);
        assert_eq!(sim.in_state(State::Ready).len(), servers - 1);
        sim.run(Duration::from_secs(60));
        assert_eq!(sim.changes().count(), 0, "{servers} servers are not quiet");
        assert_eq!(sim.watch().several().length, Duration::ZERO);
    }
}

#[test]
fn failover_owner_stays_when_a_better_ranked_server_comes() {
    let mut sim = Sim::new(&plan(5, sim::config));
    sim.start(2).expect("valid configuration");
    sim.run(Duration::from_secs(1));
    assert_eq!(owner(&sim), 2);
    for server in [0, 1, 3, 4] {
        sim.start(server).expect("valid configuration");
    }
    sim.run(Duration::from_secs(5));
    assert_eq!(owner(&sim), 2);
}

#[test]
fn coming_up_listens_for_a_dead_interval() {
    let mut sim = Sim::new(&plan(1, sim::config));
    sim.start(0).expect("valid configuration");
    sim.run(Duration::from_millis(149));
    assert_eq!(sim.gates(), [], "still listening");
    sim.run(Duration::from_millis(1));
    assert_eq!(sim.gates(), [0]);
}

#[test]
fn process_exit_hands_over_within_milliseconds() {
    let mut sim = settled(3, sim::config);
    let old = owner(&sim);
    sim.process(old, false);
    assert!(!sim.open(old), "shut in the same moment");
    let took = moved_within(&mut sim, old, Duration::from_secs(1));
    assert!(took <= 2 * MS, "{took:?}");
    sim.run(Duration::from_secs(3));
    let new = owner(&sim);
    let reasons = sim.changes().filter(|(_, server, ..)| *server == new).map(|(.., reason)| reason.clone());
    assert_eq!(reasons.collect::<Vec<_>>(), [Reason::OwnerYielded(ServerId(old as u64 + 1))]);
}

#[test]
fn takeover_advertises_three_times_a_second_apart_while_it_owns() {
    let mut sim = settled(3, sim::config);
    let old = owner(&sim);
    sim.process(old, false);
    sim.run(Duration::from_secs(10));
    let sent = sim.advertisements().collect::<Vec<_>>();
    assert_eq!(sent.len(), 3, "{sent:?}");
    assert_eq!(
        sent.iter().map(|(.., cause)| *cause).collect::<Vec<_>>(),
        [Cause::TakeOver, Cause::Repeat, Cause::Repeat]
    );
    assert_eq!(sent[1].0.since(sent[0].0), Duration::from_secs(1));
    assert_eq!(sent[2].0.since(sent[1].0), Duration::from_secs(1));

    // Negative control: an owner that loses the address within a second does not repeat.
    sim.forget();
    let second = owner(&sim);
    sim.process(second, false);
    sim.run(500 * MS);
    let third = owner(&sim);
    sim.process(third, false);
    sim.run(Duration::from_secs(5));
    assert_eq!(sim.advertisements().filter(|(_, server, _)| *server == third).count(), 1);
}

#[test]
fn crashed_owner_is_replaced_after_three_heartbeats() {
    let mut sim = settled(3, sim::config);
    let old = owner(&sim);
    sim.crash_host(old);
    let took = moved_within(&mut sim, old, Duration::from_secs(1));
    assert!((100 * MS..=151 * MS).contains(&took), "{took:?}");
    sim.run(Duration::from_secs(5));
    assert_eq!(sim.changes().count(), 1, "nobody else moved");
    assert_eq!(sim.advertisements().count(), 3);
}

#[test]
fn crashed_daemon_leaves_its_gate_open_for_one_lease_only() {
    let mut sim = settled(2, sim::config);
    let old = owner(&sim);
    sim.crash(old);
    let shut = sim.run_until(Duration::from_secs(1), MS, |sim| !sim.open(old)).expect("the lease runs out");
    assert!((200 * MS..=300 * MS).contains(&shut), "{shut:?}");
}

#[test]
fn two_servers_suffice_to_survive_a_crash() {
    let mut sim = settled(2, sim::config);
    let old = owner(&sim);
    sim.crash_host(old);
    let took = moved_within(&mut sim, old, Duration::from_secs(1));
    assert!(took <= 151 * MS, "{took:?}");
}

#[test]
fn two_owners_settle_by_epoch_and_id() {
    let mut sim = settled(4, sim::config);
    let old = owner(&sim);
    // Each half elects its own owner while the link is cut in two.
    let half = |server: usize| server == old;
    for from in 0..4 {
        for to in 0..4 {
            sim.cut(from, to, half(from) != half(to));
        }
    }
    sim.run(Duration::from_secs(3));
    assert_eq!(sim.in_state(State::Owner).len(), 2);
    sim.forget();
    for from in 0..4 {
        for to in 0..4 {
            sim.cut(from, to, false);
        }
    }
    sim.run(60 * MS);
    let new = owner(&sim);
    assert_ne!(new, old, "the later epoch stays");
    assert_eq!(sim.state(old), State::Ready);
    sim.run(Duration::from_secs(5));
    let causes = sim.advertisements().map(|(_, server, cause)| (server, cause)).collect::<Vec<_>>();
    assert_eq!(causes, [(new, Cause::Defence)], "the one that stays repairs the routers' entries, once");
}

#[test]
fn a_deaf_server_does_not_take_over() {
    let mut sim = settled(4, sim::config);
    let old = owner(&sim);
    let deaf = sim.status(old).expect("runs").services[0].successors[0].0 as usize - 1;
    for other in (0..4).filter(|other| *other != deaf) {
        sim.cut(other, deaf, true);
    }
    sim.run(Duration::from_millis(5_000));
    assert_eq!(owner(&sim), old, "deaf first successor waits");
    for other in (0..4).filter(|other| *other != deaf) {
        sim.cut(other, deaf, false);
    }
    sim.run(Duration::from_secs(1));
    assert_eq!(owner(&sim), old);
    assert_eq!(sim.changes().count(), 0);
}

#[test]
fn a_server_left_alone_takes_over_in_the_end_or_when_a_router_asks() {
    let mut sim = settled(4, sim::config);
    let last = (owner(&sim) + 1) % 4;
    for other in (0..4).filter(|other| *other != last) {
        sim.crash_host(other);
    }
    let took = sim.run_until(Duration::from_secs(10), MS, |sim| sim.open(last)).expect("somebody serves");
    assert!((5_100 * MS..=5_180 * MS).contains(&took), "{took:?}");

    let mut sim = settled(4, sim::config);
    for other in (0..4).filter(|other| *other != last) {
        sim.crash_host(other);
    }
    sim.run(Duration::from_secs(2));
    assert_eq!(sim.gates(), [], "it may be deaf");
    sim.solicit();
    sim.run(Duration::ZERO);
    assert_eq!(sim.gates(), [last], "it is not");
}

#[test]
fn when_the_first_successors_are_dead_too_the_next_takes_over_a_step_later() {
    let mut sim = settled(6, sim::config);
    let old = owner(&sim);
    let successors = sim.status(old).expect("runs").services[0].successors.clone();
    let number = |place: usize| successors[place].0 as usize - 1;
    for server in [old, number(0), number(1)] {
        sim.crash_host(server);
    }
    let took = moved_within(&mut sim, old, Duration::from_secs(1));
    assert!((155 * MS..=225 * MS).contains(&took), "{took:?}");
    assert_eq!(owner(&sim), number(2));
}

#[test]
fn stop_yields_and_loses_no_solicitation() {
    let mut sim = settled(3, sim::config);
    let old = owner(&sim);
    sim.stop(old, false);
    sim.run(Duration::from_secs(1));
    assert_ne!(owner(&sim), old);
    assert_eq!(
        sim.watch().none().length,
        Duration::ZERO,
        "the gate stayed open until the next owner was heard"
    );
    assert!(sim.watch().several().length <= MS);
    assert!(sim.status(old).is_some(), "still serving the tail");
    sim.run(Duration::from_millis(1_100));
    assert!(sim.status(old).is_none(), "grace is over");
}

#[test]
fn stop_without_anybody_else_is_done_at_once() {
    let mut sim = settled(1, sim::config);
    sim.stop(0, false);
    assert!(sim.status(0).is_none());
    assert_eq!(sim.gates(), []);
}

#[test]
fn stop_keep_and_start_keep_the_gate_open_and_the_peers_waiting() {
    let mut sim = settled(3, sim::config);
    let old = owner(&sim);
    let epoch = sim.status(old).expect("runs").services[0].epoch;
    sim.stop(old, true);
    sim.run(Duration::from_secs(2));
    sim.start(old).expect("valid configuration");
    sim.run(Duration::from_secs(5));
    assert_eq!(owner(&sim), old);
    assert_eq!(sim.watch().none().length, Duration::ZERO, "never shut");
    assert_eq!(sim.watch().several().length, Duration::ZERO, "nobody took over");
    assert_eq!(sim.status(old).expect("runs").services[0].epoch, epoch, "one reign");

    // Negative control: if nothing starts again the lease runs out and a peer takes over.
    sim.forget();
    sim.stop(old, true);
    sim.run(Duration::from_millis(9_900));
    assert!(sim.open(old));
    sim.run(Duration::from_millis(300));
    assert_ne!(owner(&sim), old);
    assert!(sim.watch().none().length <= 200 * MS, "{:?}", sim.watch().none());
}

#[test]
fn an_adopter_that_hears_an_owner_shuts() {
    let mut sim = settled(3, sim::config);
    let old = owner(&sim);
    sim.stop(old, true);
    sim.command((old + 1) % 3, Command::TakeOver).expect("runs").expect("able");
    sim.run(Duration::from_secs(1));
    assert_eq!(sim.gates().len(), 2, "the kept gate, and the new owner's");
    sim.start(old).expect("valid configuration");
    sim.run(60 * MS);
    assert_eq!(owner(&sim), (old + 1) % 3);
}

#[test]
fn an_adopter_whose_service_is_dead_shuts_at_once() {
    let mut sim = settled(2, sim::config);
    let old = owner(&sim);
    sim.stop(old, true);
    sim.run(Duration::from_secs(1));
    sim.process(old, false);
    sim.start(old).expect("valid configuration");
    assert!(!sim.open(old));
    sim.run(20 * MS);
    assert_ne!(owner(&sim), old);
}

#[test]
fn a_stalled_owner_gives_way_after_its_lease() {
    let mut sim = settled(3, sim::config);
    let old = owner(&sim);
    sim.pause(old, Duration::from_secs(2));
    sim.run(Duration::from_secs(4));
    let new = owner(&sim);
    assert_ne!(new, old);
    assert!(sim.watch().several().length <= 150 * MS, "{:?}", sim.watch().several());
    assert!(
        sim.changes()
            .any(|(_, server, to, reason)| { (server, to, reason) == (old, State::Ready, &Reason::Stalled) })
    );

    // Negative control: alone, nobody can have taken over, and it goes on.
    let mut alone = settled(1, sim::config);
    alone.pause(0, Duration::from_secs(2));
    alone.run(Duration::from_secs(4));
    assert_eq!(owner(&alone), 0);
    assert_eq!(alone.changes().count(), 0);
}

#[test]
fn a_stall_of_a_ready_server_is_not_the_owners_silence() {
    let mut sim = settled(3, sim::config);
    let old = owner(&sim);
    let first = sim.status(old).expect("runs").services[0].successors[0].0 as usize - 1;
    sim.pause(first, Duration::from_secs(1));
    sim.run(Duration::from_secs(3));
    assert_eq!(owner(&sim), old);
    assert_eq!(sim.changes().count(), 0);
}

#[test]
fn drain_hands_over_without_a_gap_and_lasts_over_a_restart() {
    let mut sim = settled(3, sim::config);
    let old = owner(&sim);
    sim.command(old, Command::Drain).expect("runs").expect("obeyed");
    sim.run(Duration::from_secs(1));
    assert_ne!(owner(&sim), old);
    assert_eq!(sim.state(old), State::Drained);
    assert_eq!(sim.watch().none().length, Duration::ZERO);
    sim.stop(old, false);
    sim.run(Duration::from_secs(3));
    sim.start(old).expect("valid configuration");
    sim.run(Duration::from_secs(1));
    assert_eq!(sim.state(old), State::Drained);
    for other in (0..3).filter(|other| *other != old) {
        sim.crash_host(other);
    }
    sim.run(Duration::from_secs(3));
    assert_eq!(sim.gates(), [], "drained is drained");
    sim.command(old, Command::Undrain).expect("runs").expect("obeyed");
    sim.run(100 * MS);
    assert_eq!(owner(&sim), old);
}

#[test]
fn draining_the_last_server_is_obeyed_and_alarmed() {
    let mut sim = settled(1, sim::config);
    sim.command(0, Command::Drain).expect("runs").expect("obeyed");
    assert_eq!(sim.gates(), []);
    assert!(sim.alarms().any(|(_, alarm)| matches!(alarm, Alarm::LastServerDrained { .. })));

    // Negative control: no alarm when another takes over.
    let mut sim = settled(2, sim::config);
    let old = owner(&sim);
    sim.command(old, Command::Drain).expect("runs").expect("obeyed");
    sim.run(Duration::from_secs(1));
    assert_eq!(sim.alarms().count(), 0);
}

#[test]
fn takeover_moves_the_address_now() {
    let mut sim = settled(3, sim::config);
    let old = owner(&sim);
    let new = (old + 1) % 3;
    sim.command(new, Command::TakeOver).expect("runs").expect("able");
    assert!(sim.open(new));
    sim.run(MS);
    assert_eq!(owner(&sim), new);
    assert_eq!(sim.watch().none().length, Duration::ZERO);
    sim.run(Duration::from_secs(5));
    assert_eq!(owner(&sim), new);
}

#[test]
fn commands_that_cannot_be_obeyed_say_why() {
    let mut sim = settled(2, sim::config);
    let ready = sim.in_state(State::Ready)[0];
    let refusal =
        |sim: &mut Sim, command| sim.command(ready, command).expect("runs").expect_err("refused").to_string();
    assert_eq!(refusal(&mut sim, Command::Announce), "only the owner announces; this server is ready");
    sim.process(ready, false);
    assert_eq!(
        refusal(&mut sim, Command::TakeOver),
        "the service cannot be served now: check 0 is down, service process is dead"
    );
    let mut sim = settled(2, solicited);
    let error = sim.command(0, Command::TakeOver).expect("runs").expect_err("refused");
    assert!(error.to_string().contains("solicited"), "{error}");
}

#[test]
fn rotate_hands_over_at_the_end_of_each_slice_fairly_and_without_a_gap() {
    let mut sim = settled(4, rotating);
    let mut owned = [0u32; 4];
    let slices = 40;
    for _ in 0..slices * 50 {
        sim.run(100 * MS);
        for server in sim.in_state(State::Owner) {
            owned[server] += 1;
        }
    }
    let squares = owned.iter().map(|time| f64::from(*time).powi(2)).sum::<f64>();
    let jain = f64::from(owned.iter().sum::<u32>()).powi(2) / (4.0 * squares);
    assert!(jain >= 0.99, "Jain index {jain} of {owned:?}");
    assert_eq!(sim.watch().none().length, Duration::ZERO);
    assert!(sim.watch().several().length <= MS, "{:?}", sim.watch().several());
    assert!(sim.changes().filter(|(_, _, to, _)| *to == State::Owner).count() >= 38);

    // Negative control: failover does not rotate.
    let mut sim = settled(4, sim::config);
    sim.run(Duration::from_secs(200));
    assert_eq!(sim.changes().count(), 0);
}

#[test]
fn rotate_passes_over_a_first_successor_that_does_not_take_over() {
    let mut sim = settled(4, rotating);
    sim.run(Duration::from_secs(1));
    let old = owner(&sim);
    let successors = sim.status(old).expect("runs").services[0].successors.clone();
    let first = successors[0].0 as usize - 1;
    // It hears nobody, so it does not know that the slice ends.
    for other in (0..4).filter(|other| *other != first) {
        sim.cut(other, first, true);
    }
    sim.run_until(Duration::from_secs(6), MS, |sim| sim.state(old) != State::Owner).expect("the slice ends");
    assert_eq!(owner(&sim), successors[1].0 as usize - 1);
}

#[test]
fn rotate_alone_stays_owner() {
    let mut sim = settled(1, rotating);
    sim.run(Duration::from_secs(60));
    assert_eq!(owner(&sim), 0);
    assert_eq!(sim.changes().count(), 0);
}

#[test]
fn solicited_opens_every_able_gate_and_never_advertises() {
    let mut sim = Sim::new(&plan(3, solicited));
    sim.start_all().expect("valid configuration");
    sim.run(Duration::from_secs(5));
    assert_eq!(sim.gates(), [0, 1, 2]);
    sim.process(1, false);
    assert_eq!(sim.gates(), [0, 2]);
    sim.solicit();
    sim.run(Duration::from_secs(5));
    assert_eq!(sim.advertisements().count(), 0);
    assert_eq!(sim.in_state(State::Owner), []);
}

#[test]
fn standby_of_the_last_server_is_quiet_with_its_gate_open_and_ends_by_a_solicitation() {
    let mut sim = settled(1, standing_by);
    for _ in 0..70 {
        sim.run(Duration::from_secs(1));
        sim.read_counters();
    }
    assert!(sim.status(0).expect("runs").services[0].quiet);
    assert_eq!(sim.gates(), [0], "the last able server keeps the gate");
    sim.forget();
    // A stranger's duplicate address detection wakes nobody.
    let kind = anycast_core::Solicitation::DuplicateAddressDetection;
    sim.event(0, Event::Solicited { service: ServiceId(0), kind });
    sim.read_counters();
    assert!(sim.status(0).expect("runs").services[0].quiet);
    sim.solicit();
    assert!(!sim.status(0).expect("runs").services[0].quiet);
    assert_eq!(sim.advertisements().map(|(.., cause)| cause).collect::<Vec<_>>(), [Cause::Wake]);
}

#[test]
fn standby_ends_by_queries_and_does_not_begin_while_they_come() {
    let mut sim = settled(1, standing_by);
    for _ in 0..200 {
        sim.run(Duration::from_secs(1));
        sim.queries(1);
    }
    assert!(!sim.status(0).expect("runs").services[0].quiet, "60 in a minute are enough");
    for _ in 0..70 {
        sim.run(Duration::from_secs(1));
        sim.read_counters();
    }
    assert!(sim.status(0).expect("runs").services[0].quiet);
    sim.queries(9);
    assert!(sim.status(0).expect("runs").services[0].quiet, "nine are too few");
    sim.queries(1);
    assert!(!sim.status(0).expect("runs").services[0].quiet);
}

#[test]
fn servers_that_do_not_own_do_not_stand_by_for_want_of_queries() {
    let mut sim = settled(3, standing_by);
    for _ in 0..200 {
        sim.run(Duration::from_secs(1));
        sim.queries(100);
    }
    assert_eq!(sim.in_state(State::Standby), [], "the owner's peers get no queries because they do not own");
    assert_eq!(sim.changes().count(), 0);
}

fn rotating_standing_by(number: usize) -> Config {
    let mut config = standing_by(number);
    config.services[0].mode = Mode::Rotate { slice: Duration::from_secs(5) };
    config.services[0].standby = Some(anycast_core::StandbyConfig {
        queries: 10,
        window: Duration::from_secs(20),
        wake_timeout: None,
    });
    config
}

#[test]
fn an_idle_rotation_shrinks_to_one_server_and_a_solicitation_brings_it_back() {
    let mut sim = settled(3, rotating_standing_by);
    for _ in 0..200 {
        sim.run(Duration::from_secs(1));
        sim.read_counters();
    }
    assert_eq!(sim.in_state(State::Standby).len(), 2);
    let last = owner(&sim);
    sim.forget();
    sim.solicit();
    assert_eq!(sim.entry(), Some(last), "the last server's gate answered");
    assert_eq!(sim.in_state(State::Standby), []);
    sim.run(MS);
    assert_eq!(sim.advertisements().count(), 1, "its own, and no storm of the woken");
    sim.run(Duration::from_secs(10));
    assert!(sim.changes().any(|(_, _, to, _)| to == State::Owner), "rotates again");
}

#[test]
fn a_lost_owner_ends_standby() {
    let mut sim = settled(3, rotating_standing_by);
    for _ in 0..200 {
        sim.run(Duration::from_secs(1));
        sim.read_counters();
    }
    let last = owner(&sim);
    sim.process(last, false);
    let took = moved_within(&mut sim, last, Duration::from_secs(1));
    assert!(took <= 40 * MS, "{took:?}");
}

fn solicited_standing_by(number: usize) -> Config {
    let mut config = standing_by(number);
    config.services[0].mode = Mode::Solicited;
    config
}

#[test]
fn solicited_servers_stand_by_but_for_the_last() {
    let mut sim = settled(3, solicited_standing_by);
    for _ in 0..200 {
        sim.run(Duration::from_secs(1));
        sim.read_counters();
    }
    assert_eq!(sim.gates().len(), 1, "all but one stand by");
    let last = sim.gates()[0];
    sim.process(last, false);
    sim.run(500 * MS);
    assert!(!sim.gates().is_empty(), "the last one's failure wakes others");
}

#[test]
fn a_rogue_is_countered_and_alarmed_but_a_peer_is_not() {
    let mut sim = settled(2, sim::config);
    let old = owner(&sim);
    let rogue = Event::PeerAdvertisement {
        service: ServiceId(0),
        mac: [2, 0, 0, 9, 9, 9],
        override_flag: true,
        flags: 0x20,
        option: Vec::new(),
    };
    for _ in 0..100 {
        sim.event(old, rogue.clone());
        sim.run(100 * MS);
    }
    assert_eq!(owner(&sim), old, "nobody gives way to a stranger");
    let defences = sim.advertisements().filter(|(.., cause)| *cause == Cause::Defence).count();
    assert_eq!(defences, 1, "one counter in ten seconds");
    assert_eq!(sim.alarms().filter(|(_, alarm)| matches!(alarm, Alarm::Rogue { .. })).count(), 1);
    assert_eq!(sim.status(old).expect("runs").services[0].rogue_total, 100);

    sim.forget();
    let peer = Event::PeerAdvertisement {
        service: ServiceId(0),
        mac: sim::mac(1 - old),
        override_flag: true,
        flags: 0x20,
        option: Vec::new(),
    };
    sim.event(old, peer);
    sim.run(Duration::from_secs(20));
    assert_eq!(sim.advertisements().count(), 0);
    assert_eq!(sim.alarms().count(), 0);
}

fn with_foreign(number: usize) -> Config {
    let mut config = sim::config(number);
    config.services[0].foreign = vec![[2, 0, 0, 9, 9, 9]];
    config
}

#[test]
fn a_foreign_server_suppresses_while_it_advertises() {
    let mut sim = settled(2, with_foreign);
    let foreign = Event::PeerAdvertisement {
        service: ServiceId(0),
        mac: [2, 0, 0, 9, 9, 9],
        override_flag: true,
        flags: 0x20,
        option: Vec::new(),
    };
    for server in 0..2 {
        sim.event(server, foreign.clone());
    }
    sim.run(Duration::from_secs(50));
    assert_eq!(sim.gates(), []);
    assert_eq!(sim.advertisements().count(), 0);
    sim.run(Duration::from_secs(11));
    owner(&sim);
}

#[test]
fn another_farms_heartbeats_are_refused_and_reported() {
    fn other_farm(number: usize) -> Config {
        let mut config = sim::config(number);
        if number == 1 {
            config.farm.as_mut().expect("has one").name = "other".to_owned();
        }
        config
    }
    let sim = {
        let mut sim = Sim::new(&plan(2, other_farm));
        sim.start_all().expect("valid configuration");
        sim.run(Duration::from_secs(5));
        sim
    };
    assert_eq!(sim.in_state(State::Owner), [0, 1], "two farms do not hear each other");
    assert!(sim.alarms().any(|(server, alarm)| {
        server == 0 && matches!(alarm, Alarm::ForeignFarm { farm, .. } if farm == "other")
    }));
    assert!(sim.status(0).expect("runs").links[0].heartbeats_foreign_total > 10);
}

#[test]
fn a_flapping_server_goes_to_the_back_of_the_queue_but_serves_if_it_must() {
    let mut sim = settled(3, sim::config);
    let old = owner(&sim);
    let first = sim.status(old).expect("runs").services[0].successors[0].0 as usize - 1;
    for _ in 0..5 {
        sim.process(first, false);
        sim.run(300 * MS);
        sim.process(first, true);
        sim.run(300 * MS);
    }
    let successors = sim.status(old).expect("runs").services[0].successors.clone();
    assert_eq!(successors.last().map(|id| id.0 as usize - 1), Some(first));
    assert!(sim.status(first).expect("runs").services[0].penalty_until.is_some());
    for other in (0..3).filter(|other| *other != first) {
        sim.process(other, false);
    }
    sim.run(300 * MS);
    assert_eq!(owner(&sim), first, "better a flapping server than none");
}

fn successors(sim: &Sim) -> Vec<usize> {
    let successors = sim.status(owner(sim)).expect("runs").services[0].successors.clone();
    successors.into_iter().map(|id| id.0 as usize - 1).collect()
}

#[test]
fn a_penalty_keeps_a_flapping_server_behind_one_that_came_up_after_it() {
    let mut sim = settled(3, sim::config);
    let [flapping, other] = successors(&sim)[..] else { panic!("two follow") };
    let fail = |sim: &mut Sim, server: usize| {
        sim.process(server, false);
        sim.run(300 * MS);
        sim.process(server, true);
        sim.run(500 * MS);
    };
    // Negative control: a first failure costs the place in the queue, and nothing more.
    fail(&mut sim, flapping);
    assert_eq!(successors(&sim), [other, flapping]);
    fail(&mut sim, other);
    assert_eq!(successors(&sim), [flapping, other], "the queue alone puts the later one last");

    for _ in 0..4 {
        fail(&mut sim, flapping);
    }
    // Its second failure; that penalty of a second is over soon, the other's eight are not.
    fail(&mut sim, other);
    sim.run(Duration::from_secs(1));
    assert_eq!(successors(&sim), [other, flapping], "a penalty outweighs the queue");
    sim.run(Duration::from_secs(8));
    assert_eq!(successors(&sim), [flapping, other], "and ends");
}

#[test]
fn a_server_that_comes_up_joins_at_the_back_of_the_queue() {
    let mut sim = settled(4, sim::config);
    let [first, second, third] = successors(&sim)[..] else { panic!("three follow") };
    sim.process(first, false);
    sim.run(300 * MS);
    assert_eq!(successors(&sim), [second, third]);
    sim.process(first, true);
    sim.run(500 * MS);
    assert_eq!(sim.status(first).expect("runs").services[0].penalty_until, None, "one failure is free");
    assert_eq!(successors(&sim), [second, third, first]);

    // Negative control: who is only unheard for a while keeps its place.
    sim.isolate(second, true);
    sim.run(400 * MS);
    sim.isolate(second, false);
    sim.run(500 * MS);
    assert_eq!(successors(&sim), [second, third, first]);
}

#[test]
fn the_next_owner_goes_on_with_the_queue_of_the_last() {
    for seed in 0..8 {
        let mut sim = Sim::new(&Plan { seed, ..plan(6, sim::config) });
        sim.start_all().expect("valid configuration");
        sim.run(Duration::from_secs(5));
        let old = owner(&sim);
        let mut queue = successors(&sim);
        let new = queue.remove(0);
        queue.push(old);
        sim.command(new, Command::TakeOver).expect("runs").expect("able");
        sim.run(500 * MS);
        assert_eq!(owner(&sim), new);
        assert_eq!(successors(&sim), queue, "seed {seed}");
    }
}

#[test]
fn mac_change_advertises_again() {
    let mut sim = settled(1, sim::config);
    sim.event(0, Event::Mac { link: anycast_core::LinkId(0), mac: [2, 0, 0, 7, 7, 7] });
    sim.run(Duration::from_secs(5));
    let causes = sim.advertisements().map(|(.., cause)| cause).collect::<Vec<_>>();
    assert_eq!(causes, [Cause::MacChanged, Cause::Repeat, Cause::Repeat]);

    // Negative control: the same MAC again is no change.
    sim.forget();
    sim.event(0, Event::Mac { link: anycast_core::LinkId(0), mac: [2, 0, 0, 7, 7, 7] });
    sim.run(Duration::from_secs(5));
    assert_eq!(sim.advertisements().count(), 0);
}

#[test]
fn link_down_shuts_and_link_up_takes_over_again_with_advertisements() {
    let mut sim = settled(1, sim::config);
    let link = anycast_core::LinkId(0);
    sim.event(0, Event::Link { link, up: false });
    assert_eq!(sim.gates(), []);
    sim.run(Duration::from_secs(5));
    assert_eq!(sim.advertisements().count(), 0);
    sim.event(0, Event::Link { link, up: true });
    sim.run(Duration::from_secs(5));
    assert_eq!(owner(&sim), 0);
    assert_eq!(sim.advertisements().count(), 3);
}

#[test]
fn held_shut_cannot_own_and_held_open_is_only_alarmed() {
    use anycast_core::Hold;
    let mut sim = settled(2, sim::config);
    let old = owner(&sim);
    sim.event(old, Event::Hold { service: ServiceId(0), hold: Hold::Shut });
    sim.run(10 * MS);
    assert_eq!(owner(&sim), 1 - old);
    sim.event(old, Event::Hold { service: ServiceId(0), hold: Hold::Automatic });
    sim.run(Duration::from_secs(1));
    assert_eq!(sim.state(old), State::Ready);
    sim.forget();
    sim.event(old, Event::Hold { service: ServiceId(0), hold: Hold::Open });
    sim.run(Duration::from_secs(1));
    assert_eq!(sim.state(old), State::Ready);
    assert!(sim.alarms().any(|(server, alarm)| server == old && matches!(alarm, Alarm::HeldOpen { .. })));
}

#[test]
fn without_a_farm_a_server_serves_alone_and_sends_nothing() {
    fn lonely(number: usize) -> Config {
        Config { farm: None, ..sim::config(number) }
    }
    let mut sim = Sim::new(&plan(1, lonely));
    sim.start(0).expect("valid configuration");
    assert_eq!(owner(&sim), 0, "nobody to listen for");
    sim.run(Duration::from_secs(60));
    assert_eq!(sim.traffic().heartbeats, 0);
    assert_eq!(sim.gates(), [0]);
    sim.process(0, false);
    assert_eq!(sim.gates(), []);
    sim.process(0, true);
    assert_eq!(sim.gates(), [0]);
}

/// Server 0 can answer 1,000 queries a second, server 1 twice and server 2 three times as many.
fn unequal(number: usize) -> Config {
    let mut config = sim::config(number);
    let capacity = 1_000 * (number as u32 + 1);
    config.services[0].load =
        Some(anycast_core::LoadConfig { capacity, congested_above: 800, latency_limit: None });
    config
}

/// So many queries a second for so many seconds.
fn traffic(sim: &mut Sim, rate: u64, seconds: u64) {
    for _ in 0..seconds * 10 {
        sim.run(100 * MS);
        sim.queries(rate / 10);
    }
}

fn owned_by(server: usize, servers: usize, config: fn(usize) -> Config) -> Sim {
    let mut sim = settled(servers, config);
    sim.command(server, Command::TakeOver).expect("runs").expect("able");
    sim.run(Duration::from_secs(5));
    assert_eq!(owner(&sim), server);
    sim.forget();
    sim
}

#[test]
fn a_congested_owner_hands_over_to_the_server_with_the_best_prediction() {
    let mut sim = owned_by(0, 3, unequal);
    traffic(&mut sim, 700, 20);
    assert_eq!(owner(&sim), 0, "not congested");
    traffic(&mut sim, 1_500, 2);
    assert_eq!(owner(&sim), 0, "not yet for long enough");
    traffic(&mut sim, 1_500, 10);
    assert_eq!(owner(&sim), 2, "the widest");
    assert_eq!(sim.watch().none().length, Duration::ZERO);
    assert!(sim.changes().any(|(_, server, _, reason)| (server, reason) == (0, &Reason::Congested)));
    traffic(&mut sim, 1_500, 60);
    assert_eq!(owner(&sim), 2);
    assert_eq!(sim.status(2).expect("runs").services[0].load, 500);
}

#[test]
fn when_all_are_congested_the_best_owns_and_nothing_flaps() {
    let mut sim = owned_by(0, 3, unequal);
    traffic(&mut sim, 9_000, 120);
    assert_eq!(owner(&sim), 2);
    assert_eq!(sim.changes().filter(|(_, _, to, _)| *to == State::Owner).count(), 1);

    // Equal servers have nothing to gain from a move.
    fn equal(number: usize) -> Config {
        let mut config = unequal(0);
        config.server = ServerId(number as u64 + 1);
        config
    }
    let mut sim = settled(3, equal);
    traffic(&mut sim, 9_000, 120);
    assert_eq!(sim.changes().count(), 0);
}

#[test]
fn an_owner_that_gets_nothing_where_the_last_got_many_queries_gives_way() {
    let mut sim = owned_by(0, 2, sim::config);
    traffic(&mut sim, 1_000, 10);
    // Server 1 hears nobody any more and wins; no query comes to it, and it hears no heartbeat.
    sim.cut(0, 1, true);
    sim.cut(1, 0, true);
    for _ in 0..50 {
        sim.run(100 * MS);
        sim.queries(0);
    }
    assert_eq!(sim.gates(), [0]);
    let reasons = sim.changes().filter(|(_, server, ..)| *server == 1).map(|(.., reason)| reason.clone());
    assert!(reasons.collect::<Vec<_>>().contains(&Reason::NothingReceived));
    // A router that asks ends its silence within a second.
    sim.crash_host(0);
    sim.solicit();
    sim.run(Duration::from_secs(1));
    assert_eq!(sim.gates(), [1]);

    // Negative control: where no queries came before, none are missed.
    let mut sim = owned_by(0, 2, sim::config);
    sim.crash_host(0);
    for _ in 0..100 {
        sim.run(100 * MS);
        sim.queries(0);
    }
    assert_eq!(sim.gates(), [1]);
    assert_eq!(sim.changes().count(), 1);
}

/// A rotation of three, eleven seconds old and one into a slice; its owner and its successors.
fn into_a_slice() -> (Sim, usize, usize, usize) {
    let mut sim = settled(3, rotating);
    sim.run(Duration::from_secs(1));
    sim.forget();
    let old = owner(&sim);
    let [first, second] = successors(&sim)[..] else { panic!("two follow") };
    (sim, old, first, second)
}

/// Who became owner, in order.
fn owners(sim: &Sim) -> Vec<usize> {
    sim.changes().filter(|(_, _, to, _)| *to == State::Owner).map(|(_, server, ..)| server).collect()
}

#[test]
fn a_successor_that_slept_through_the_end_of_a_slice_does_not_take_it_from_the_next() {
    let (mut sim, _, first, second) = into_a_slice();
    sim.pause(first, Duration::from_millis(4_500));
    sim.run(Duration::from_secs(5));
    assert_eq!(owner(&sim), second, "the slice went to the next");
    assert_eq!(owners(&sim), [second]);
    let turn = sim.run_until(Duration::from_secs(5), 10 * MS, |sim| sim.state(first) == State::Owner);
    assert!(turn.is_some(), "its own comes when that ends");
    assert_eq!(sim.watch().none().length, Duration::ZERO, "a planned move has no gap");
    assert!(sim.watch().several().length <= MS, "{:?}", sim.watch().several());

    // Negative control: awake again before the end, it is the first that follows.
    let (mut sim, _, first, _) = into_a_slice();
    sim.pause(first, Duration::from_millis(3_500));
    sim.run(Duration::from_secs(5));
    assert_eq!(owners(&sim), [first]);
}

#[test]
fn whenever_a_successor_wakes_around_the_end_of_a_slice_the_address_has_an_owner() {
    let mut taken = [0; 3];
    let mut ties = 0;
    for sleep in (4_000..4_400).step_by(7) {
        let (mut sim, _, first, _) = into_a_slice();
        sim.pause(first, Duration::from_millis(sleep));
        sim.run(Duration::from_secs(6));
        assert_eq!(sim.watch().none().length, Duration::ZERO, "asleep for {sleep} ms");
        assert!(sim.watch().several().length <= MS, "asleep for {sleep} ms: {:?}", sim.watch().several());
        assert_eq!(sim.entry(), Some(owner(&sim)), "asleep for {sleep} ms: routers have the one that stays");
        taken[owner(&sim)] += 1;
        // Heard again less than a heartbeat before the end, the owner had no occasion to tell the second that it is the second:
        // both take over, and that is settled like any two owners.
        let owners = owners(&sim).len();
        assert!((1..=2).contains(&owners), "asleep for {sleep} ms: {owners} took over");
        ties += usize::from(owners == 2);
    }
    assert_eq!(taken.iter().filter(|times| **times > 0).count(), 2, "the first or the second: {taken:?}");
    // A heartbeat is 50 ms long, which is seven of these sleeps and a fraction.
    assert!(ties <= 8, "{ties} ties");
}
