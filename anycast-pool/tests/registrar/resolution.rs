//! Handle resolution and subscription (RFC 5352 3.3).

use anycast_pool::registrar::*;
use anycast_pool::wire::*;

use crate::lab::*;

fn is_negative(response: &ResolutionResponse) -> bool {
    let unknown = response.errors == [Cause::bare(CauseCode::UnknownPoolHandle)];
    assert_eq!(unknown, !response.errors.is_empty());
    assert!(!unknown || response.elements.is_empty() && response.policy.is_none() && !response.accepted);
    unknown
}

#[test]
fn nobody_knows_the_handle() {
    let mut lab = Lab::new();
    lab.connect(1);
    for (subscribe, status) in [(false, false), (true, false), (false, true), (true, true)] {
        assert!(is_negative(&lab.resolve(1, "dns", subscribe, status)));
    }
    assert_eq!(lab.registrar.snapshot(lab.now).subscriptions, 0);
    // The pool comes to be, and nobody is told: the subscriptions were refused (RFC 5352 2.2.5).
    lab.element(2, "dns", 1);
    lab.pass(seconds(1));
    assert!(lab.take(1).is_empty());
}

#[test]
fn an_answer_has_as_many_elements_as_are_wanted() {
    let mut lab = Lab::new();
    lab.connect(1);
    for id in 1..=200 {
        lab.register(1, "dns", &element(id)).unwrap();
    }
    let mut count = |limit| lab.resolve_some(1, "dns", false, false, limit).elements.len();
    assert_eq!([count(None), count(Some(3)), count(Some(0)), count(Some(u32::MAX))], [8, 3, 1, 128]);
}

#[test]
fn round_robin_goes_round() {
    let mut lab = Lab::new();
    lab.connect(1);
    for id in 1..=3 {
        lab.register(1, "dns", &element(id)).unwrap();
    }
    let mut first = || ids(&lab.resolve(1, "dns", false, false));
    assert_eq!([first(), first(), first()], [[1, 2, 3], [2, 3, 1], [3, 1, 2]]);
}

#[test]
fn users_of_the_rfcs_alone_get_nothing_but_what_they_know() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    lab.element(2, "dns", 2);
    lab.close(2);
    let answer = lab.resolve(1, "dns", true, false);
    assert_eq!((ids(&answer), answer.status, answer.accepted), (vec![1], None, true));
    // When nothing is usable the pool is as gone for them, and so is their subscription.
    lab.connect(3);
    lab.close(1);
    assert!(is_negative(&lab.resolve(3, "dns", false, false)));
    assert!(is_negative(&lab.resolve(3, "dns", true, false)));
    assert_eq!(lab.registrar.snapshot(lab.now).subscriptions, 0);
}

#[test]
fn who_asks_for_the_vector_gets_it_though_all_are_down() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    lab.close(1);
    lab.pass(seconds(3));
    lab.connect(2);
    let answer = lab.resolve(2, "dns", true, true);
    assert!(!is_negative(&answer) && answer.accepted && answer.elements.is_empty());
    let vector = answer.status.unwrap();
    assert_eq!((vector.registrar, vector.epoch), (REGISTRAR, lab.registrar.epoch()));
    let [entry] = vector.entries[..] else { panic!() };
    assert_eq!(
        (entry.id.0, entry.state, entry.source, entry.age_ms),
        (1, State::Down, Source::ConnectionLost, 3000)
    );
}

#[test]
fn subscriptions_are_bounded_and_the_answer_says_so() {
    let limits = Limits { subscriptions: 3, subscriptions_per_connection: 2, ..Limits::default() };
    let mut lab = Lab::with(Config { limits, ..config() });
    for id in 1..=3 {
        lab.element(id, &format!("pool{id}"), id as u32);
    }
    let mut accepted = |connection, pool| lab.resolve(connection, pool, true, true).accepted;
    assert!(accepted(1, "pool1") && accepted(1, "pool2"));
    assert!(!accepted(1, "pool3"), "one has two");
    assert!(accepted(1, "pool1"), "again is no other one");
    assert!(accepted(2, "pool1"));
    assert!(!accepted(3, "pool1"), "all have three");
    assert_eq!(lab.registrar.counters().subscriptions_refused, 2);
    lab.close(1);
    assert!(lab.resolve(3, "pool1", true, true).accepted);
    assert_eq!(lab.registrar.snapshot(lab.now).subscriptions, 2);
}

#[test]
fn resolutions_are_limited_for_each_connection() {
    let rates = Rates { resolutions: Rate { per_second: 10, burst: 5 }, ..Rates::default() };
    let mut lab = Lab::with(Config { rates, ..config() });
    lab.element(1, "dns", 1);
    lab.connect(2);
    let ask =
        Message::HandleResolution { handle: handle("dns"), subscribe: false, limit: None, status: false };
    for _ in 0..20 {
        lab.send(2, &ask);
    }
    assert_eq!(lab.responses(2).len(), 5);
    assert_eq!(lab.registrar.counters().dropped(DropReason::ResolutionRate), 15);
    assert_eq!(ids(&lab.resolve(1, "dns", false, false)), [1]);
}

#[test]
fn a_vector_of_a_large_pool_fits_into_a_message() {
    let limits = Limits { elements_per_connection: 10_000, ..Limits::default() };
    let registrations = Rate { per_second: 1, burst: 10_000 };
    let rates = Rates { registrations, ..Rates::default() };
    let mut lab = Lab::with(Config { limits, rates, ..config() });
    lab.connect(1);
    for id in 1..=6000 {
        lab.register(1, "dns", &element(id)).unwrap();
    }
    let answer = lab.resolve_some(1, "dns", false, true, Some(u32::MAX));
    assert_eq!(answer.elements.len(), 128);
    let entries = answer.status.unwrap().entries.len();
    assert!((4500..6000).contains(&entries), "{entries}");
}

#[test]
fn weight_0_gives_no_service() {
    let weighted = |weight| PoolElement { policy: PolicyParameter::new(4, &[weight]).unwrap(), ..element(1) };
    let mut lab = Lab::new();
    lab.connect(1);
    lab.register(1, "dns", &weighted(0)).unwrap();
    assert!(is_negative(&lab.resolve(1, "dns", false, false)));
    let answer = lab.resolve(1, "dns", false, true);
    assert_eq!(states(&answer)[&1].0, State::Up);
    lab.register(1, "dns", &weighted(1)).unwrap();
    assert_eq!(ids(&lab.resolve(1, "dns", false, false)), [1]);
}
