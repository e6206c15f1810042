//! The random delay of mode `solicited` (RFC 4861 7.2.7).

use std::net::Ipv6Addr;
use std::time::Duration;

use anycast_core::{Action, Config, Event, Machine, Mode, ServiceId, State, Time, sim};

const SERVICE: ServiceId = ServiceId(0);
const DELAY: Duration = Duration::from_secs(1);

fn delaying() -> Config {
    let mut config = sim::config(0);
    config.services[0].mode = Mode::Solicited;
    config.services[0].answer_delay = Some(DELAY);
    config
}

/// A machine that answers, and the time.
fn answering(seed: u64, config: Config) -> (Machine, Time) {
    let mut machine = Machine::new(config, seed, Time::ZERO).expect("valid configuration");
    let mut actions = Vec::new();
    let link = anycast_core::LinkId(0);
    for event in [
        Event::Mac { link, mac: [2, 0, 0, 0, 0, 1] },
        Event::Link { link, up: true },
        Event::Address { service: SERVICE, present: true },
        Event::Process { service: SERVICE, alive: true },
        Event::Check { service: SERVICE, check: 0, ok: true, latency: Duration::ZERO },
    ] {
        machine.handle(Time::ZERO, event, &mut actions);
    }
    let now = Time::ZERO + Duration::from_secs(1);
    machine.handle(now, Event::Tick, &mut actions);
    assert_eq!(machine.state(SERVICE), Some(State::Ready));
    (machine, now)
}

fn solicitor(number: u16) -> (Ipv6Addr, [u8; 6]) {
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number), [2, 0, 0, 1, 0, number as u8])
}

/// Lets time pass to `end`; the answers, with their times.
fn answers(machine: &mut Machine, end: Time) -> Vec<(Time, Ipv6Addr)> {
    let mut found = Vec::new();
    while let Some(at) = machine.deadline().filter(|at| *at <= end) {
        let mut actions = Vec::new();
        machine.handle(at, Event::Tick, &mut actions);
        found.extend(actions.iter().filter_map(|action| match action {
            Action::Answer { address, .. } => Some((at, *address)),
            _ => None,
        }));
    }
    found
}

fn delayed(machine: &mut Machine, now: Time, number: u16) {
    let (address, mac) = solicitor(number);
    machine.handle(now, Event::Delayed { service: SERVICE, address, mac }, &mut Vec::new());
}

#[test]
fn answers_spread_over_the_delay() {
    let mut sum = Duration::ZERO;
    for seed in 0..200 {
        let (mut machine, now) = answering(seed, delaying());
        delayed(&mut machine, now, 1);
        let answers = answers(&mut machine, now + DELAY * 2);
        assert_eq!(answers.len(), 1, "one solicitation, one answer");
        let took = answers[0].0.since(now);
        assert!(took < DELAY, "{took:?}");
        sum += took;
    }
    assert!(
        (Duration::from_millis(430)..Duration::from_millis(570)).contains(&(sum / 200)),
        "{:?}",
        sum / 200
    );
}

#[test]
fn each_solicitor_is_answered_once() {
    let (mut machine, now) = answering(1, delaying());
    for number in [1, 2, 1, 3, 2] {
        delayed(&mut machine, now, number);
    }
    let mut seen: Vec<_> =
        answers(&mut machine, now + DELAY * 2).into_iter().map(|(_, address)| address).collect();
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3].map(|number| solicitor(number).0));
    // Its next solicitation is another one.
    delayed(&mut machine, now + DELAY * 2, 1);
    assert_eq!(answers(&mut machine, now + DELAY * 4).len(), 1);
}

#[test]
fn a_server_that_cannot_serve_any_more_does_not_answer() {
    let (mut machine, now) = answering(1, delaying());
    delayed(&mut machine, now, 1);
    machine.handle(now, Event::Process { service: SERVICE, alive: false }, &mut Vec::new());
    assert_eq!(answers(&mut machine, now + DELAY * 2), []);
}

#[test]
fn a_flood_of_solicitors_is_bounded() {
    let (mut machine, now) = answering(1, delaying());
    for number in 0..1_000 {
        delayed(&mut machine, now, number + 1);
    }
    assert_eq!(answers(&mut machine, now + DELAY * 2).len(), 256);
}

/// Negative control: without the delay there is nothing to answer here, and the configuration knows where it belongs.
#[test]
fn without_a_delay_the_fast_path_answers() {
    let mut config = delaying();
    config.services[0].answer_delay = None;
    let (mut machine, now) = answering(1, config);
    delayed(&mut machine, now, 1);
    assert_eq!(answers(&mut machine, now + DELAY * 2), []);
    let mut failover = delaying();
    failover.services[0].mode = Mode::Failover;
    assert!(failover.validate().is_err());
    let mut long = delaying();
    long.services[0].answer_delay = Some(DELAY * 2);
    assert!(long.validate().is_err());
}
