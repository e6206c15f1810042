//! One machine alone: events in, exactly these actions out.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use anycast_core::heartbeat::{Message, Report};
use anycast_core::status::Owner;
use anycast_core::{
    Action, Alarm, Cause, Config, ConfigError, Event, LinkId, Machine, Mode, Reason, ServerId, ServiceId,
    State, Time, sim,
};

const SERVICE: ServiceId = ServiceId(0);
const LINK: LinkId = LinkId(0);

fn ms(ms: u64) -> Time {
    Time::ZERO + Duration::from_millis(ms)
}

struct Harness {
    machine: Machine,
    sequence: u64,
}

impl Harness {
    fn new(config: Config) -> Self {
        Self { machine: Machine::new(config, 1, Time::ZERO).expect("valid configuration"), sequence: 0 }
    }

    /// A machine that is able at time 0 and has listened.
    fn owner() -> Self {
        let mut harness = Self::new(sim::config(0));
        harness.able(0);
        harness.until(150);
        assert_eq!(harness.state(), State::Owner);
        harness
    }

    fn able(&mut self, at: u64) {
        for event in [
            Event::Link { link: LINK, up: true },
            Event::Address { service: SERVICE, present: true },
            Event::Process { service: SERVICE, alive: true },
            Event::Check { service: SERVICE, check: 0, ok: true, latency: Duration::ZERO },
        ] {
            self.handle(at, event);
        }
    }

    fn handle(&mut self, at: u64, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.machine.handle(ms(at), event, &mut actions);
        actions
    }

    /// Ticks at each deadline up to a time; everything but heartbeats that came out.
    fn until(&mut self, end: u64) -> Vec<(u64, Action)> {
        let mut all = Vec::new();
        while let Some(deadline) = self.machine.deadline().filter(|deadline| *deadline <= ms(end)) {
            let mut actions = Vec::new();
            self.machine.handle(deadline, Event::Tick, &mut actions);
            let at = deadline.as_nanos() / 1_000_000;
            all.extend(actions.into_iter().map(|action| (at, action)));
            let moves = self.machine.deadline().is_none_or(|next| next > deadline);
            assert!(moves, "a deadline that does not move would spin");
        }
        all.retain(|(_, action)| !matches!(action, Action::Heartbeat { .. }));
        all
    }

    fn state(&self) -> State {
        self.machine.state(SERVICE).expect("there is one")
    }

    fn report(state: State, epoch: u64) -> Report {
        Report {
            address: sim::config(0).services[0].address,
            vlan: 0,
            state,
            suspect: false,
            last: false,
            epoch,
            owner: None,
            successors: Vec::new(),
            slice_left: None,
            load: None,
            priority: anycast_core::PRIORITY_DEFAULT,
            routers: None,
        }
    }

    fn message(&mut self, server: u64, report: Report) -> Message {
        self.sequence += 1;
        Message {
            farm: "sim".to_owned(),
            server: ServerId(server),
            incarnation: 7,
            sequence: self.sequence,
            interval: Duration::from_millis(50),
            leaving: false,
            mac: None,
            services: vec![report],
        }
    }

    fn hear(&mut self, at: u64, message: &Message) -> Vec<Action> {
        let source = IpAddr::V6(Ipv6Addr::LOCALHOST);
        self.handle(at, Event::Heartbeat { link: LINK, source, datagram: message.encode() })
    }

    fn peer(&mut self, at: u64, server: u64, state: State, epoch: u64) -> Vec<Action> {
        let message = self.message(server, Self::report(state, epoch));
        self.hear(at, &message)
    }
}

fn sent(actions: &[Action]) -> Vec<Message> {
    let datagrams = actions.iter().filter_map(|action| match action {
        Action::Heartbeat { datagram, .. } => {
            Some(Message::decode(datagram).expect("own heartbeats can be read"))
        }
        _ => None,
    });
    datagrams.collect()
}

fn gates(actions: &[Action]) -> Vec<Option<Time>> {
    let gates = actions.iter().filter_map(|action| match action {
        Action::Gate { open_until, .. } => Some(*open_until),
        _ => None,
    });
    gates.collect()
}

#[test]
fn the_first_event_shuts_the_gate_and_the_start_of_ownership_is_in_order() {
    let mut harness = Harness::new(sim::config(0));
    assert_eq!(harness.handle(0, Event::Tick), [Action::Gate { service: SERVICE, open_until: None }]);
    harness.able(0);
    let actions = harness.until(150).into_iter().map(|(_, action)| action).collect::<Vec<_>>();
    assert_eq!(
        actions,
        [
            Action::Gate { service: SERVICE, open_until: Some(ms(450)) },
            Action::Advertise { service: SERVICE, cause: Cause::TakeOver },
            Action::StateChanged {
                service: SERVICE,
                from: State::Down,
                to: State::Ready,
                reason: Reason::Able
            },
            Action::StateChanged {
                service: SERVICE,
                from: State::Ready,
                to: State::Owner,
                reason: Reason::Able
            },
            Action::PersistEpoch { service: SERVICE, epoch: 1 },
        ]
    );
}

#[test]
fn the_lease_is_renewed_at_each_third_and_not_when_not_owning() {
    let mut harness = Harness::owner();
    let renewals = harness.until(1_150).into_iter().filter_map(|(at, action)| match action {
        Action::Gate { open_until, .. } => Some((at, open_until)),
        _ => None,
    });
    let expected = (1..=10).map(|third| (150 + third * 100, Some(ms(450 + third * 100))));
    assert_eq!(renewals.collect::<Vec<_>>(), expected.collect::<Vec<_>>());

    harness.handle(1_160, Event::Process { service: SERVICE, alive: false });
    assert_eq!(gates(&harness.until(5_000).into_iter().map(|(_, action)| action).collect::<Vec<_>>()), []);
}

#[test]
fn process_exit_shuts_and_yields_in_one_pass() {
    let mut harness = Harness::owner();
    let actions = harness.handle(200, Event::Process { service: SERVICE, alive: false });
    assert_eq!(actions[0], Action::Gate { service: SERVICE, open_until: None });
    let heartbeats = sent(&actions);
    assert_eq!(heartbeats.len(), 1);
    assert_eq!(heartbeats[0].services[0].state, State::Down);
    // Twice more at the owner's pace, in case it was lost.
    let mut repeats = 0;
    for at in [250, 300] {
        repeats += sent(&harness.handle(at, Event::Tick)).len();
    }
    assert_eq!(repeats, 2);
    assert!(sent(&harness.handle(350, Event::Tick)).is_empty(), "then slowly");
}

#[test]
fn a_reordered_or_replayed_yield_does_not_undo_a_take_over() {
    let mut harness = Harness::new(sim::config(0));
    harness.able(0);
    let early = harness.message(5, Harness::report(State::Down, 3));
    harness.peer(10, 5, State::Owner, 3);
    harness.hear(20, &early);
    let status = harness.machine.status(ms(20));
    assert_eq!(status.services[0].owner, Owner::Peer(ServerId(5)));
    assert_eq!(status.links[0].heartbeats_stale_total, 1);
    // A datagram of the incarnation before is stale too, whatever its number.
    let mut new = harness.message(5, Harness::report(State::Owner, 3));
    new.incarnation = 8;
    new.sequence = 1;
    harness.hear(30, &new);
    harness.peer(40, 5, State::Down, 3);
    assert_eq!(harness.machine.status(ms(40)).services[0].owner, Owner::Peer(ServerId(5)));
    assert_eq!(harness.machine.status(ms(40)).links[0].heartbeats_stale_total, 2);
}

#[test]
fn an_owner_that_leaves_is_replaced_at_once_and_forgotten() {
    let mut harness = Harness::new(sim::config(0));
    harness.able(0);
    harness.peer(10, 5, State::Owner, 3);
    harness.until(155);
    harness.peer(155, 5, State::Owner, 3);
    assert_eq!(harness.state(), State::Ready);
    let mut leaving = harness.message(5, Harness::report(State::Down, 3));
    leaving.leaving = true;
    let actions = harness.hear(200, &leaving);
    assert_eq!(harness.state(), State::Owner);
    assert!(actions.contains(&Action::PersistEpoch { service: SERVICE, epoch: 4 }), "highest heard + 1");
    assert_eq!(harness.machine.status(ms(200)).links[0].peers, 0);
}

#[test]
fn an_announced_interval_is_what_an_owner_is_waited_for() {
    let silent_for = |interval: u64| {
        let mut harness = Harness::new(sim::config(0));
        harness.able(0);
        harness.until(140);
        let mut message = harness.message(5, Harness::report(State::Owner, 3));
        message.interval = Duration::from_millis(interval);
        harness.hear(140, &message);
        harness.until(100_000);
        assert_eq!(harness.state(), State::Owner);
        harness.machine.status(ms(100_000)).services[0].since.since(ms(140)).as_millis()
    };
    // Three intervals, a quarter of a heartbeat for the third to be late, and a step for the owner to answer.
    assert_eq!(silent_for(50), 182);
    assert_eq!(silent_for(1_000), 3_032);
    assert_eq!(silent_for(100_000), 30_032, "no owner is waited for longer than 30 s");
}

/// Ready behind server 5, which was last heard at 155 ms and is missed from 317.5 ms on.
fn ready() -> Harness {
    let mut harness = Harness::new(sim::config(0));
    harness.able(0);
    harness.peer(10, 5, State::Owner, 3);
    harness.until(155);
    harness.peer(155, 5, State::Owner, 3);
    assert_eq!(harness.state(), State::Ready);
    harness
}

#[test]
fn silence_that_this_process_slept_through_is_not_the_owners() {
    let owner = |harness: &Harness, at: u64| harness.machine.status(ms(at)).services[0].owner;
    let asks = |actions: &[Action]| sent(actions).iter().any(|message| message.services[0].suspect);
    let mut harness = ready();
    let actions = harness.handle(1_000, Event::Tick);
    assert_eq!(owner(&harness, 1_000), Owner::Peer(ServerId(5)), "what waits in the socket is heard first");
    assert!(!asks(&actions), "no question");
    harness.peer(1_000, 5, State::Owner, 3);
    assert_eq!(harness.until(1_149), []);
    assert_eq!(owner(&harness, 1_149), Owner::Peer(ServerId(5)));

    // Negative control: nothing waited, and a step later the owner is missed.
    let mut harness = ready();
    harness.handle(1_000, Event::Tick);
    harness.until(1_019);
    assert_eq!(owner(&harness, 1_019), Owner::Peer(ServerId(5)));
    assert!(asks(&harness.handle(1_020, Event::Tick)));
    assert_eq!(owner(&harness, 1_020), Owner::None);

    // Negative control: awake all along, silence is silence.
    let mut harness = ready();
    harness.until(317);
    assert_eq!(owner(&harness, 317), Owner::Peer(ServerId(5)));
    assert!(asks(&harness.handle(318, Event::Tick)));
    assert_eq!(owner(&harness, 318), Owner::None);
}

#[test]
fn an_advertisement_is_not_repeated_while_the_successor_takes_over() {
    let repeated = |slice: u64, peer: bool| -> Vec<u64> {
        let mut config = sim::config(0);
        config.services[0].mode = Mode::Rotate { slice: Duration::from_millis(slice) };
        let mut harness = Harness::new(config);
        harness.able(0);
        let mut repeats = Vec::new();
        for at in (10..3_000).step_by(50) {
            // After the first contest, which it would delay.
            if peer && at >= 200 {
                harness.peer(at, 5, State::Ready, 0);
            }
            let repeat = Action::Advertise { service: SERVICE, cause: Cause::Repeat };
            let all = harness.until(at + 49);
            repeats.extend(all.into_iter().filter(|(_, action)| *action == repeat).map(|(at, _)| at));
        }
        assert_eq!(harness.state(), State::Owner);
        repeats
    };
    // The slice ends with the first repetition; nobody takes over, and a second later it is repeated after all.
    assert_eq!(repeated(1_000, true), [2_150]);
    // Negative controls: a longer slice, and nobody there to take over.
    assert_eq!(repeated(5_000, true), [1_150, 2_150]);
    assert_eq!(repeated(1_000, false), [1_150, 2_150]);
}

#[test]
fn a_slice_is_not_taken_on_news_that_waited_while_this_process_stood_still() {
    let following = || {
        let mut config = sim::config(0);
        config.services[0].mode = Mode::Rotate { slice: Duration::from_secs(5) };
        let mut harness = Harness::new(config);
        harness.able(0);
        slice_left(&mut harness, 10, 4_990);
        harness.until(150);
        slice_left(&mut harness, 150, 4_850);
        assert_eq!(harness.state(), State::Ready);
        harness
    };
    fn slice_left(harness: &mut Harness, at: u64, left: u64) {
        let mut report = Harness::report(State::Owner, 3);
        report.successors = vec![ServerId(1)];
        report.slice_left = Some(Duration::from_millis(left));
        let message = harness.message(5, report);
        harness.hear(at, &message);
    }
    for left in [0, 1, 4] {
        let mut harness = following();
        harness.handle(5_500, Event::Tick);
        slice_left(&mut harness, 5_500, left);
        harness.until(5_505);
        assert_eq!(harness.state(), State::Ready, "the datagrams behind this one come first");
        harness.peer(5_505, 6, State::Owner, 4);
        harness.until(5_600);
        assert_eq!(harness.state(), State::Ready);
        assert_eq!(harness.machine.status(ms(5_600)).services[0].owner, Owner::Peer(ServerId(6)));

        // Negative control: nothing was behind it.
        let mut harness = following();
        harness.handle(5_500, Event::Tick);
        slice_left(&mut harness, 5_500, left);
        harness.until(5_519);
        assert_eq!(harness.state(), State::Ready);
        harness.until(5_520);
        assert_eq!(harness.state(), State::Owner, "a step later");

        // Negative control: awake all along, the end of the slice is the end.
        let mut harness = following();
        harness.until(200);
        slice_left(&mut harness, 200, left);
        harness.until(200 + left);
        assert_eq!(harness.state(), State::Owner);
    }
}

#[test]
fn the_first_failure_is_free_and_the_penalty_of_the_others_doubles_to_a_minute() {
    let mut harness = Harness::owner();
    let mut fail = |at: u64| {
        harness.until(at);
        harness.handle(at, Event::Process { service: SERVICE, alive: false });
        harness.handle(at, Event::Process { service: SERVICE, alive: true });
        let until = harness.machine.status(ms(at)).services[0].penalty_until;
        until.map(|until| until.since(ms(at)).as_secs())
    };
    let penalties = (1..=9).map(|second| fail(second * 1_000)).collect::<Vec<_>>();
    assert_eq!(penalties[0], None);
    assert_eq!(penalties[1..], [1, 2, 4, 8, 16, 32, 60, 60].map(Some));
    // Negative control: ten minutes later it is the first again.
    assert_eq!(fail(9_000 + 600_000), None);
}

#[test]
fn an_epoch_far_away_is_followed_in_bounded_steps() {
    let mut harness = Harness::owner();
    let actions = harness.peer(200, 5, State::Ready, u64::MAX);
    assert!(actions.iter().any(|action| matches!(action, Action::Alarm(Alarm::EpochJump { .. }))));
    let epoch = harness.machine.status(ms(200)).services[0].epoch;
    assert!(epoch < 1 << 25, "{epoch}");
    // Negative control: a step within the bound is taken, silently.
    let mut harness = Harness::owner();
    let actions = harness.peer(200, 5, State::Ready, 1_000);
    assert!(!actions.iter().any(|action| matches!(action, Action::Alarm(_))));
    assert_eq!(harness.machine.status(ms(200)).services[0].epoch, 1_000);
}

#[test]
fn a_short_adopted_lease_is_stretched_for_one_dead_interval() {
    let adopting = |open_until: u64| {
        let mut config = sim::config(0);
        config.services[0].restored.gate_open_until = Some(ms(open_until));
        config.services[0].restored.epoch = 6;
        Harness::new(config)
    };
    let mut harness = adopting(20);
    assert_eq!(gates(&harness.handle(0, Event::Tick)), [Some(ms(150))], "time to listen");
    harness.able(10);
    assert!(harness.until(149).is_empty());
    let actions = harness.until(150).into_iter().map(|(_, action)| action).collect::<Vec<_>>();
    assert_eq!(gates(&actions), [Some(ms(450))], "never shut");
    assert_eq!(harness.machine.status(ms(150)).services[0].epoch, 6, "the same reign");

    // A long one is left as it is, and ends if the service does not become able.
    let mut harness = adopting(10_000);
    assert!(gates(&harness.handle(0, Event::Tick)).is_empty());
    let actions = harness.until(10_000);
    assert_eq!(
        actions
            .iter()
            .filter(|(_, action)| matches!(action, Action::Gate { .. }))
            .cloned()
            .collect::<Vec<_>>(),
        [(10_000, Action::Gate { service: SERVICE, open_until: None })]
    );

    // A lapsed one is not adopted.
    let mut config = sim::config(0);
    config.services[0].restored.gate_open_until = Some(Time::ZERO);
    let mut harness = Harness::new(config);
    assert_eq!(gates(&harness.handle(0, Event::Tick)), [None]);
}

#[test]
fn two_services_on_two_links_do_not_mix() {
    let mut config = sim::config(0);
    let mut second = config.services[0].clone();
    second.link = LinkId(9);
    config.services.push(second);
    let mut harness = Harness::new(config);
    harness.able(0);
    harness.until(1_000);
    assert_eq!(harness.machine.state(ServiceId(1)), Some(State::Down));
    for event in [
        Event::Link { link: LinkId(9), up: true },
        Event::Address { service: ServiceId(1), present: true },
        Event::Process { service: ServiceId(1), alive: true },
        Event::Check { service: ServiceId(1), check: 0, ok: true, latency: Duration::ZERO },
    ] {
        harness.handle(1_000, event);
    }
    // An owner heard on one link is nobody on the other.
    harness.peer(1_010, 5, State::Owner, 99);
    harness.until(1_155);
    harness.peer(1_155, 5, State::Owner, 99);
    assert_eq!(harness.state(), State::Ready);
    assert_eq!(harness.machine.state(ServiceId(1)), Some(State::Owner));
    let actions = harness.handle(1_160, Event::Link { link: LINK, up: false });
    assert!(sent(&actions).is_empty(), "nothing can be sent on a link that is down");
    assert_eq!(harness.machine.state(ServiceId(1)), Some(State::Owner));
}

#[test]
fn sixty_four_services_take_several_datagrams_that_all_fit() {
    let mut config = sim::config(0);
    let service = config.services[0].clone();
    config.services = (0..64)
        .map(|number| {
            let mut service = service.clone();
            service.address = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number));
            service
        })
        .collect();
    let mut harness = Harness::new(config);
    let actions = harness.handle(0, Event::Link { link: LINK, up: true });
    let messages = sent(&actions);
    assert!(messages.len() >= 2);
    assert_eq!(messages.iter().map(|message| message.services.len()).sum::<usize>(), 64);
    assert!(messages.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
    for action in &actions {
        if let Action::Heartbeat { datagram, .. } = action {
            assert!(datagram.len() <= anycast_core::heartbeat::DATAGRAM_MAX);
        }
    }
}

#[test]
fn own_datagrams_looped_back_are_nobody_and_a_twin_is_alarmed() {
    let mut harness = Harness::owner();
    let own = harness.handle(200, Event::Tick).into_iter().find_map(|action| match action {
        Action::Heartbeat { datagram, .. } => Some(datagram),
        _ => None,
    });
    let datagram = own.expect("an owner heartbeats each 50 ms");
    let source = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let actions = harness.handle(201, Event::Heartbeat { link: LINK, source, datagram });
    assert_eq!(actions, []);
    let twin = harness.message(1, Harness::report(State::Owner, 50));
    let actions = harness.hear(202, &twin);
    assert_eq!(actions, [Action::Alarm(Alarm::DuplicateServer { link: LINK, source })]);
    assert_eq!(harness.state(), State::Owner);
}

#[test]
fn unreadable_heartbeats_are_counted_and_alarmed_once_in_ten_seconds() {
    let mut harness = Harness::owner();
    let mut alarms = 0;
    for number in 0..100 {
        let source = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let event = Event::Heartbeat { link: LINK, source, datagram: vec![0; number] };
        let actions = harness.handle(200 + number as u64, event);
        alarms += actions
            .iter()
            .filter(|action| matches!(action, Action::Alarm(Alarm::BadHeartbeat { .. })))
            .count();
    }
    assert_eq!(alarms, 1);
    assert_eq!(harness.machine.status(ms(300)).links[0].heartbeats_malformed_total, 100);
}

#[test]
fn quiet_stops_what_was_still_to_be_sent() {
    let mut config = sim::config(0);
    config.services[0].standby = Some(anycast_core::StandbyConfig {
        queries: 1,
        window: Duration::from_millis(100),
        wake_timeout: None,
    });
    let mut harness = Harness::new(config);
    harness.able(0);
    harness.until(150);
    harness.handle(150, Event::Counters { service: SERVICE, queries: 0, solicitations: 0 });
    let actions = harness.handle(300, Event::Counters { service: SERVICE, queries: 0, solicitations: 0 });
    assert!(actions.contains(&Action::Quiet { service: SERVICE, quiet: true, reason: Reason::FewQueries }));
    let later = harness.until(10_000);
    assert!(!later.iter().any(|(_, action)| matches!(action, Action::Advertise { .. })), "{later:?}");
    assert_eq!(harness.state(), State::Owner);
}

#[test]
fn after_stop_nothing_is_done_any_more() {
    for keep in [true, false] {
        let mut harness = Harness::owner();
        let actions = harness.handle(200, Event::Stop { keep });
        assert_eq!(actions.last(), Some(&Action::StopDone { keep }));
        let gate = if keep { Some(ms(10_200)) } else { None };
        assert_eq!(gates(&actions), [gate]);
        assert_eq!(sent(&actions)[0].leaving, !keep);
        assert_eq!(harness.machine.deadline(), None);
        assert_eq!(harness.handle(300, Event::Process { service: SERVICE, alive: false }), []);
        assert_eq!(harness.handle(301, Event::Tick), []);
    }
}

#[test]
fn what_cannot_work_is_refused_with_the_reason() {
    let refuse = |change: fn(&mut Config)| {
        let mut config = sim::config(0);
        change(&mut config);
        Machine::new(config, 1, Time::ZERO).expect_err("refused")
    };
    assert_eq!(refuse(|config| config.server = ServerId(0)), ConfigError::ServerId);
    assert!(matches!(refuse(|c| c.farm.as_mut().unwrap().name.clear()), ConfigError::FarmName { .. }));
    assert!(matches!(
        refuse(|c| c.farm.as_mut().unwrap().heartbeat = Duration::from_millis(1)),
        ConfigError::Heartbeat(_)
    ));
    assert!(matches!(refuse(|c| c.lease = Duration::from_millis(10)), ConfigError::Lease(_)));
    assert!(matches!(refuse(|c| c.restart_lease = Duration::from_millis(100)), ConfigError::RestartLease(_)));
    assert!(matches!(refuse(|c| c.services.push(c.services[0].clone())), ConfigError::Duplicate { .. }));
    assert!(matches!(
        refuse(|c| c.services[0].mode = Mode::Rotate { slice: Duration::from_millis(999) }),
        ConfigError::Slice { .. }
    ));
    assert!(matches!(refuse(|c| c.services[0].checks[0].fall = 0), ConfigError::Damping { check: 0, .. }));
}
