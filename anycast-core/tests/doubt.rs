//! The first successor asks before it takes over (rule 9): how soon a dead owner is replaced, and that a living one is not.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use anycast_core::heartbeat::{Message, Report};
use anycast_core::sim::{self, Network, Plan, Sim};
use anycast_core::status::Owner;
use anycast_core::{Action, Event, LinkId, Machine, Mode, Reason, ServerId, ServiceId, State, Time};

const SERVICE: ServiceId = ServiceId(0);
const LINK: LinkId = LinkId(0);
const MS: Duration = Duration::from_millis(1);
/// The owner, and another that could follow it.
const OLD: u64 = 5;
const OTHER: u64 = 6;
/// When the owner is last heard.
const HEARD: u64 = 400_000;

/// Microseconds: a quarter of a heartbeat has a fraction of a millisecond.
fn us(us: u64) -> Time {
    Time::ZERO + Duration::from_micros(us)
}

/// One machine, behind an owner that was last heard at [`HEARD`].
struct Successor {
    machine: Machine,
    sequence: u64,
    interval: u64,
    successors: Vec<ServerId>,
    /// When it asked.
    asked: Vec<u64>,
    owns_from: Option<u64>,
}

impl Successor {
    /// `place` among the successors, which are this server and another.
    fn new(place: usize, interval: u64) -> Self {
        let config = sim::config(0);
        let mut successors = vec![ServerId(OTHER)];
        successors.insert(place, config.server);
        let machine = Machine::new(config, 1, Time::ZERO).expect("valid configuration");
        let (asked, owns_from) = (Vec::new(), None);
        let mut all = Self { machine, sequence: 0, interval, successors, asked, owns_from };
        for event in [
            Event::Link { link: LINK, up: true },
            Event::Address { service: SERVICE, present: true },
            Event::Process { service: SERVICE, alive: true },
            Event::Check { service: SERVICE, check: 0, ok: true, latency: Duration::ZERO },
        ] {
            all.handle(0, event);
        }
        for at in (0..=HEARD).step_by(interval as usize * 1_000) {
            all.until(at);
            all.hear(at, OLD, State::Owner);
        }
        all.hear(HEARD, OTHER, State::Ready);
        all.hear(HEARD, OLD, State::Owner);
        assert_eq!(all.machine.state(SERVICE), Some(State::Ready));
        assert_eq!(all.asked, [0; 0]);
        all
    }

    fn handle(&mut self, at: u64, event: Event) {
        let mut actions = Vec::new();
        self.machine.handle(us(at), event, &mut actions);
        for action in actions {
            match action {
                Action::Heartbeat { datagram, .. } => {
                    let message = Message::decode(&datagram).expect("own heartbeats can be read");
                    if message.services[0].suspect {
                        self.asked.push(at);
                    }
                }
                Action::StateChanged { to: State::Owner, .. } => self.owns_from = Some(at),
                _ => {}
            }
        }
    }

    fn until(&mut self, end: u64) {
        while let Some(deadline) = self.machine.deadline().filter(|deadline| *deadline <= us(end)) {
            self.handle(deadline.as_nanos().div_ceil(1_000), Event::Tick);
        }
    }

    fn message(&mut self, server: u64, state: State) -> Message {
        self.sequence += 1;
        let owns = state == State::Owner;
        let report = Report {
            address: sim::config(0).services[0].address,
            vlan: 0,
            state,
            suspect: false,
            last: false,
            epoch: 3,
            owner: None,
            successors: if owns { self.successors.clone() } else { Vec::new() },
            slice_left: None,
            load: None,
            priority: anycast_core::PRIORITY_DEFAULT,
            routers: None,
        };
        Message {
            farm: "sim".to_owned(),
            server: ServerId(server),
            incarnation: 7,
            sequence: self.sequence,
            interval: if owns { self.interval as u32 * MS } else { 220 * MS },
            leaving: false,
            mac: Some([2, 0, 0, 0, 0, server as u8]),
            services: vec![report],
        }
    }

    fn hear(&mut self, at: u64, server: u64, state: State) {
        self.until(at);
        let message = self.message(server, state);
        let source = IpAddr::V6(Ipv6Addr::LOCALHOST);
        self.handle(at, Event::Heartbeat { link: LINK, source, datagram: message.encode() });
    }

    fn owner(&self) -> Owner {
        self.machine.status(us(HEARD)).services[0].owner
    }
}

#[test]
fn the_first_successor_asks_three_times_and_takes_over_after_three_heartbeats() {
    let mut first = Successor::new(0, 50);
    first.until(HEARD + 113_000);
    // The other one answers: this server is not deaf.
    first.hear(HEARD + 114_000, OTHER, State::Ready);
    first.until(HEARD + 1_000_000);
    assert_eq!(first.asked, [112_500, 125_000, 137_500].map(|after| HEARD + after));
    assert_eq!(first.owns_from, Some(HEARD + 150_000));

    // Negative control: the second neither asks nor hurries.
    let mut second = Successor::new(1, 50);
    second.until(HEARD + 130_000);
    second.hear(HEARD + 130_000, OTHER, State::Ready);
    second.until(HEARD + 1_000_000);
    assert_eq!(second.asked, [0; 0]);
    let turn = second.owns_from.expect("the first did not take over");
    assert!((HEARD + 202_500..=HEARD + 212_500).contains(&turn), "{turn}");
}

#[test]
fn a_living_owner_that_lost_two_heartbeats_is_not_contested() {
    // Whenever its answer or its next heartbeat comes, to the last millisecond.
    for after in [100_000, 113_500, 126_000, 138_000, 149_900] {
        let mut first = Successor::new(0, 50);
        if after > 114_000 {
            first.hear(HEARD + 114_000, OTHER, State::Ready);
        }
        first.hear(HEARD + after, OLD, State::Owner);
        let last = HEARD + after;
        first.until(last + 112_000);
        assert_eq!(first.owner(), Owner::Peer(ServerId(OLD)));
        assert_eq!(first.owns_from, None);
        assert!(first.asked.iter().all(|at| *at < last), "no more questions: {:?}", first.asked);
        // And from then on as before.
        first.hear(last + 114_000, OTHER, State::Ready);
        first.until(last + 1_000_000);
        assert_eq!(first.owns_from, Some(last + 150_000));
    }
}

#[test]
fn a_server_that_hears_nobody_does_not_hurry() {
    // The other one is alive and unheard: this server may be the deaf one.
    let mut first = Successor::new(0, 50);
    first.until(HEARD + 182_000);
    assert_eq!(first.owns_from, None);
    // It is heard when it misses the owner itself, while this server asks again.
    first.hear(HEARD + 182_200, OTHER, State::Ready);
    first.until(HEARD + 1_000_000);
    assert_eq!(first.owns_from, Some(HEARD + 182_500));
}

#[test]
fn an_advertisement_of_the_owner_ends_the_questions() {
    let mut first = Successor::new(0, 50);
    first.hear(HEARD + 114_000, OTHER, State::Ready);
    let (mac, flags, option) = ([2, 0, 0, 0, 0, OLD as u8], 0x20, Vec::new());
    let event = Event::PeerAdvertisement { service: SERVICE, mac, override_flag: true, flags, option };
    first.until(HEARD + 130_000);
    first.handle(HEARD + 130_000, event);
    first.until(HEARD + 162_000);
    assert_eq!(first.asked.len(), 2);
    assert_eq!((first.owner(), first.owns_from), (Owner::Peer(ServerId(OLD)), None));
    first.until(HEARD + 1_000_000);
    assert_eq!(first.owns_from, Some(HEARD + 182_500), "three heartbeats and a quarter, and a step");
}

#[test]
fn an_answer_that_waits_in_the_socket_is_read_before_the_owner_is_missed() {
    let late = |tick: u64| {
        let mut first = Successor::new(0, 50);
        first.hear(HEARD + 114_000, OTHER, State::Ready);
        first.until(HEARD + 149_000);
        // Timers come before what is to be read.
        first.handle(HEARD + tick, Event::Tick);
        first
    };
    // On time, there was time to read.
    assert_eq!(late(150_000).owns_from, Some(HEARD + 150_000));
    assert_eq!(late(159_000).owns_from, Some(HEARD + 159_000));
    // This process stood still since the last question or the better part of that time.
    let mut first = late(175_000);
    assert_eq!(first.owns_from, None);
    first.hear(HEARD + 175_100, OLD, State::Owner);
    first.until(HEARD + 280_000);
    assert_eq!((first.owner(), first.owns_from), (Owner::Peer(ServerId(OLD)), None));
    // Negative control: nothing waited.
    let mut first = late(175_000);
    first.until(HEARD + 1_000_000);
    assert!(first.owns_from.is_some_and(|at| at <= HEARD + 195_000), "{:?}", first.owns_from);
}

#[test]
fn a_short_heartbeat_leaves_time_to_answer_and_a_long_one_is_waited_for() {
    let takes = |interval: u64| {
        let mut first = Successor::new(0, interval);
        let asks = HEARD + interval * 9 / 4 * 1_000;
        first.hear(asks.max(HEARD + 101_000), OTHER, State::Ready);
        first.until(HEARD + 10_000_000);
        (first.asked[0].saturating_sub(HEARD), first.owns_from.expect("takes over") - HEARD)
    };
    assert_eq!(takes(100), (225_000, 300_000));
    assert_eq!(takes(1_000), (2_250_000, 3_000_000));
}

/// A settled farm of `servers` and its owner and first successor.
fn farm(servers: usize, seed: u64, network: Network) -> (Sim, usize, usize) {
    let mut sim = Sim::new(&Plan { servers, seed, network, config: sim::config });
    sim.start_all().expect("valid configuration");
    sim.run(Duration::from_secs(5) + Duration::from_micros(seed * 997 % 50_000));
    let old = sim.in_state(State::Owner)[0];
    let first = sim.status(old).expect("runs").services[0].successors[0].0 as usize - 1;
    sim.forget();
    (sim, old, first)
}

/// Runs until the first successor has just heard the owner.
fn heard(sim: &mut Sim, old: usize, first: usize) {
    let at = |sim: &Sim| {
        let status = sim.status(first).expect("runs");
        let peer = status.services[0].peers.iter().find(|peer| peer.server == ServerId(old as u64 + 1));
        peer.map(|peer| peer.heard)
    };
    let before = at(sim);
    sim.run_until(100 * MS, MS / 10, |sim| at(sim) != before).expect("heartbeats come");
}

#[test]
fn suspicion_ends_when_the_owner_answers() {
    let mut moved = 0;
    for lost in [110, 120, 133] {
        let (mut sim, old, first) = farm(3, 1, Network::default());
        heard(&mut sim, old, first);
        // The first successor loses two heartbeats; a question reaches the owner, and its answer comes through.
        sim.cut(old, first, true);
        sim.run(lost * MS);
        let asked = sim.traffic().heartbeats;
        sim.cut(old, first, false);
        sim.run(10 * MS);
        assert!(sim.traffic().heartbeats > asked, "answered within milliseconds");
        sim.run(Duration::from_secs(2));
        assert_eq!((sim.in_state(State::Owner), sim.changes().count()), (vec![old], 0));

        // Negative control: without an answer it takes over.
        heard(&mut sim, old, first);
        sim.cut(old, first, true);
        sim.run(151 * MS);
        assert_eq!(sim.state(first), State::Owner);
        let reasons = sim.changes().filter(|(_, server, ..)| *server == first).map(|(.., reason)| reason);
        assert_eq!(reasons.collect::<Vec<_>>(), [&Reason::OwnerSilent(ServerId(old as u64 + 1))]);
        moved += 1;
    }
    assert_eq!(moved, 3);
}

/// From the moment of the cut to the successor's gate: three heartbeats since the last one heard, which at a random moment
/// is half a heartbeat ago.
#[test]
fn a_cut_owner_is_replaced_after_two_and_a_half_heartbeats_in_the_median() {
    let network = Network { delay: MS, jitter: MS / 2, loss: 0.01, ..Network::default() };
    for servers in [2, 4, 12] {
        let took = |seed| {
            let (mut sim, old, _) = farm(servers, seed, network);
            sim.isolate(old, true);
            let took = sim.run_until(Duration::from_secs(1), MS / 5, |sim| {
                sim.in_state(State::Owner).iter().any(|server| *server != old)
            });
            took.expect("somebody takes over")
        };
        let mut took = (0..101).map(took).collect::<Vec<_>>();
        took.sort_unstable();
        println!("{servers} servers: p50 {:?}, worst {:?}", took[50], took[100]);
        assert!((115 * MS..=135 * MS).contains(&took[50]), "{servers} servers: p50 {:?}", took[50]);
        assert!(took[99] <= 155 * MS, "{servers} servers: p99 {:?}", took[99]);
    }
}

/// On a link so bad that an owner is often asked, it goes on owning.
#[test]
fn questions_are_answered_on_a_lossy_link() {
    let network = Network { delay: MS, jitter: MS / 2, loss: 0.03, ..Network::default() };
    let (mut sim, old, _) = farm(12, 1, network);
    let before = sim.traffic();
    sim.run(Duration::from_secs(900));
    let (questions, contests) = {
        let now = sim.traffic();
        (now.false_questions - before.false_questions, now.false_contests - before.false_contests)
    };
    println!("{questions} questions, {contests} contests");
    // 18,000 heartbeats, two in a row lost nine times in ten thousand.
    assert!((5..=40).contains(&questions), "{questions}");
    assert_eq!((contests, sim.changes().count(), sim.in_state(State::Owner)), (0, 0, vec![old]));
}

/// Nor do servers take turns too early.
#[test]
fn a_rotation_on_a_lossy_link_contests_nothing() {
    let mut configs = (0..8).map(sim::config).collect::<Vec<_>>();
    for config in &mut configs {
        config.services[0].mode = Mode::Rotate { slice: Duration::from_secs(5) };
    }
    let network = Network { delay: MS, jitter: MS / 2, loss: 0.01, ..Network::default() };
    let mut sim = Sim::of(configs, 3, network);
    sim.start_all().expect("valid configuration");
    sim.run(Duration::from_secs(10));
    sim.forget();
    let before = sim.traffic();
    sim.run(Duration::from_secs(1_800));
    assert_eq!(sim.traffic().false_contests, before.false_contests);
    assert!(!sim.changes().any(|(.., reason)| matches!(reason, Reason::OwnerSilent(_))));
    let turns = sim.changes().filter(|(_, _, to, _)| *to == State::Owner).count();
    assert!((350..=370).contains(&turns), "{turns} slices of 5 s");
}

/// Negative control: what is lost on a link that loses one frame in three is more than the questions make up for, and seen.
#[test]
fn contests_of_a_living_owner_are_counted() {
    let network = Network { delay: MS, jitter: MS / 2, loss: 0.33, ..Network::default() };
    let (mut sim, ..) = farm(12, 1, network);
    let before = sim.traffic();
    sim.run(Duration::from_secs(300));
    let now = sim.traffic();
    assert!(now.false_contests - before.false_contests >= 5, "{now:?}");
    assert!(now.false_takeovers > before.false_takeovers, "{now:?}");
    assert!(now.false_contests <= now.false_questions, "{now:?}");
}

/// Questions closer together than answers may be are answered all the same, later: the first answer may have been lost.
#[test]
fn the_last_of_many_questions_is_answered_too() {
    let (mut machine, mut sequence) = (Successor::new(0, 50).machine, 0);
    let tick = |machine: &mut Machine, at: u64, event: Event| {
        let mut actions = Vec::new();
        machine.handle(us(at), event, &mut actions);
        actions.iter().filter(|action| matches!(action, Action::Heartbeat { .. })).count()
    };
    // Named as a successor, it shows another that it is heard.
    let mut ask = |machine: &mut Machine, at: u64| {
        sequence += 1;
        let mut message = Successor::new(0, 50).message(OTHER, State::Ready);
        (message.sequence, message.services[0].suspect) = (1_000_000 + sequence, true);
        let source = IpAddr::V6(Ipv6Addr::LOCALHOST);
        tick(machine, at, Event::Heartbeat { link: LINK, source, datagram: message.encode() })
    };
    assert_eq!(ask(&mut machine, HEARD + 20_000), 1);
    assert_eq!(ask(&mut machine, HEARD + 24_000), 0, "too soon");
    assert_eq!(ask(&mut machine, HEARD + 28_000), 0, "one is on its way");
    assert!(machine.deadline() <= Some(us(HEARD + 30_000)));
    assert_eq!(ask(&mut machine, HEARD + 30_000), 1);
}

/// Keys change nothing about it, and what servers ask each other because of them does not multiply.
#[test]
fn a_farm_that_signs_replaces_crashed_owners_as_soon_and_with_as_few_heartbeats() {
    let figures = |keys| {
        let network = Network { delay: MS, jitter: MS / 2, loss: 0.01, ..Network::default() };
        let duration = Duration::from_secs(120);
        let mut scenario = sim::Scenario { network, duration, ..sim::Scenario::default() };
        (scenario.farm.mode, scenario.farm.keys, scenario.farm.servers) = (Mode::Failover, keys, 6);
        let crash = sim::Step::once(Duration::from_secs(3), sim::Deed::Crash, sim::Selector::Owner);
        let (every, lasts) = (Some(Duration::from_secs(10)), Some(Duration::from_secs(4)));
        scenario.steps.push(sim::Step { every, lasts, ..crash });
        sim::run(&scenario).expect("valid configuration")
    };
    let (unsigned, signed) = (figures(false), figures(true));
    let worst = signed.kinds()[0].ownerless[2];
    assert!(worst <= 155 * MS && signed.kinds()[0].count == 12, "{:?}", signed.kinds());
    assert_eq!((signed.traffic.false_contests, signed.handovers), (0, 12));
    let (signed, unsigned) = (signed.heartbeat_rate(), unsigned.heartbeat_rate());
    // A server that comes up asks and is asked, for a few milliseconds.
    assert!(signed <= unsigned * 2.0, "{signed} heartbeats a second, {unsigned} without keys");
}
