//! Pushes: at once, gathered, and never more than a subscriber takes.

use anycast_pool::ElementId;
use anycast_pool::registrar::*;
use anycast_pool::wire::*;

use crate::lab::*;

#[test]
fn a_change_is_pushed_at_once_to_who_subscribed_and_to_nobody_else() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    lab.element(2, "dns", 2);
    lab.connect(3);
    lab.connect(4);
    lab.connect(5);
    lab.resolve(3, "dns", true, true);
    lab.resolve(4, "dns", false, true);
    lab.resolve(5, "dns", true, false);
    lab.pass(seconds(1));
    lab.close(1);
    let [pushed] = &lab.responses(3)[..] else { panic!() };
    assert!(pushed.accepted);
    assert_eq!(ids(pushed), [2]);
    assert_eq!(states(pushed)[&1], (State::Down, Source::ConnectionLost));
    assert_eq!(states(pushed)[&2].0, State::Up);
    assert!(lab.responses(4).is_empty());
    let [plain] = &lab.responses(5)[..] else { panic!() };
    assert_eq!((ids(plain), &plain.status), (vec![2], &None));
}

#[test]
fn what_follows_soon_is_gathered() {
    let mut lab = Lab::new();
    for id in 1..=10 {
        lab.element(id, "dns", id as u32);
    }
    lab.connect(20);
    lab.resolve(20, "dns", true, true);
    lab.pass(seconds(1));
    for id in 1..=9 {
        lab.close(id);
        lab.pass(ms(1));
    }
    let [first] = &lab.responses(20)[..] else { panic!() };
    assert_eq!(ids(first).len(), 8, "the first goes out alone");
    assert_eq!(
        first.status.as_ref().unwrap().entries.iter().filter(|entry| entry.state == State::Down).count(),
        1
    );
    lab.pass(ms(20));
    let [rest] = &lab.responses(20)[..] else { panic!() };
    assert_eq!(ids(rest), [10]);
    let (before, after) = (first.status.as_ref().unwrap().sequence, rest.status.as_ref().unwrap().sequence);
    assert!(after > before);
    assert_eq!(lab.registrar.counters().coalesced, 7);
    // The control: what changes nothing is not pushed.
    lab.pass(seconds(10));
    assert!(lab.responses(20).is_empty());
}

#[test]
fn all_changes_are_pushed_registration_load_return_and_removal() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    lab.connect(9);
    lab.resolve(9, "dns", true, true);
    let changed = |lab: &mut Lab, what: &str| {
        lab.pass(ms(50));
        let mut pushed = lab.responses(9);
        assert_eq!(pushed.len(), 1, "{what}");
        pushed.remove(0)
    };
    lab.element(2, "dns", 2);
    assert_eq!(changed(&mut lab, "a new element").elements.len(), 2);
    lab.register_with(2, "dns", &element(2), StatusFlags::STANDBY).unwrap();
    changed(&mut lab, "standby");
    lab.register_with(2, "dns", &element(2), StatusFlags::STANDBY).unwrap();
    lab.pass(ms(50));
    assert!(lab.responses(9).is_empty(), "the same again");
    lab.send(2, &Message::Deregistration { handle: handle("dns"), id: ElementId(2) });
    let pushed = changed(&mut lab, "deregistration");
    assert_eq!(states(&pushed)[&2], (State::Down, Source::Deregistration));
    lab.close(1);
    assert!(changed(&mut lab, "all are gone").elements.is_empty());
    lab.connect(3);
    lab.register(3, "dns", &element(1)).unwrap();
    assert_eq!(ids(&changed(&mut lab, "the return")), [1]);
}

#[test]
fn without_usable_elements_a_plain_subscription_ends_with_a_negative_answer() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    lab.connect(2);
    lab.resolve(2, "dns", true, false);
    lab.close(1);
    let [pushed] = &lab.responses(2)[..] else { panic!() };
    assert_eq!(pushed.errors, [Cause::bare(CauseCode::UnknownPoolHandle)]);
    assert!(!pushed.accepted);
    lab.connect(3);
    lab.register(3, "dns", &element(1)).unwrap();
    lab.pass(seconds(60));
    assert!(lab.responses(2).is_empty());
}

#[test]
fn a_subscription_with_the_vector_outlives_the_pools_elements() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    lab.connect(2);
    lab.resolve(2, "dns", true, true);
    lab.close(1);
    lab.pass(seconds(1000));
    assert_eq!(lab.registrar.snapshot(lab.now).elements, 0);
    assert_eq!(lab.registrar.snapshot(lab.now).pools, 1);
    lab.take(2);
    lab.connect(3);
    lab.register(3, "dns", &element(5)).unwrap();
    assert_eq!(ids(&lab.responses(2)[0]), [5]);
    lab.send(3, &Message::Deregistration { handle: handle("dns"), id: ElementId(5) });
    lab.pass(seconds(1000));
    lab.close(2);
    assert_eq!(lab.registrar.snapshot(lab.now).pools, 0);
}

#[test]
fn a_pool_that_does_not_change_is_pushed_now_and_then() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    lab.connect(2);
    lab.resolve(2, "dns", true, true);
    lab.pass(seconds(600));
    let pushed = lab.responses(2);
    assert!((16..=25).contains(&pushed.len()), "every 30 s on average: {}", pushed.len());
    assert!(pushed.iter().all(|pushed| pushed.status.as_ref().unwrap().entries[0].age_ms < 7_500));
    let mut off = Lab::with(Config { push_refresh: std::time::Duration::ZERO, ..config() });
    off.element(1, "dns", 1);
    off.connect(2);
    off.resolve(2, "dns", true, true);
    off.pass(seconds(600));
    assert!(off.responses(2).is_empty());
}

#[test]
fn subscribers_start_with_different_elements() {
    let mut lab = Lab::new();
    for id in 1..=8 {
        lab.element(id, "dns", id as u32);
    }
    for user in 20..40 {
        lab.connect(user);
        lab.resolve(user, "dns", true, false);
    }
    lab.pass(seconds(1));
    lab.close(8);
    let first: std::collections::BTreeSet<u32> =
        (20..40).map(|user| ids(&lab.responses(user)[0])[0]).collect();
    assert_eq!(first.len(), 7, "{first:?}");
}

#[test]
fn who_takes_nothing_keeps_only_the_newest_and_others_are_not_disturbed() {
    let mut lab = Lab::with(Config { backlog_low: 200, stuck_after: seconds(1000), ..config() });
    lab.element(1, "dns", 1);
    lab.connect(2);
    lab.connect(3);
    lab.resolve(2, "dns", true, true);
    lab.resolve(3, "dns", true, true);
    lab.stuck.insert(2);
    for round in 0..200 {
        let flags = if round % 2 == 0 { StatusFlags::STANDBY } else { StatusFlags::NONE };
        lab.register_with(1, "dns", &element(1), flags).unwrap();
        lab.pass(ms(100));
    }
    let slow = lab.responses(2);
    assert!(slow.len() <= 3, "{}", slow.len());
    assert!(lab.responses(3).len() >= 200);
    let backlog = lab.registrar.connection_snapshots()[1].backlog;
    assert!(backlog < 400, "{backlog}");
    assert!(lab.registrar.counters().held > 150);
    // It wakes up: one vector, the newest.
    lab.stuck.clear();
    lab.written(2, backlog);
    let [newest] = &lab.responses(2)[..] else { panic!() };
    let sequence = lab.registrar.pool_snapshots()[0].sequence;
    assert_eq!(newest.status.as_ref().unwrap().sequence, sequence);
}

#[test]
fn who_takes_nothing_for_too_long_is_cut_off() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    for user in 2..=3 {
        lab.connect(user);
        lab.resolve(user, "dns", true, true);
    }
    lab.stuck.insert(2);
    lab.register_with(1, "dns", &element(1), StatusFlags::STANDBY).unwrap();
    lab.pass(ms(9_900));
    assert!(lab.closed.is_empty());
    lab.pass(ms(200));
    assert_eq!(lab.closed.get(&2), Some(&CloseReason::Stuck));
    assert_eq!(lab.registrar.snapshot(lab.now).subscriptions, 1);
    assert!(!lab.closed.contains_key(&3), "the control: who takes its octets stays");
    assert!(lab.is_up("dns", 1));
}

#[test]
fn who_asks_on_without_taking_answers_is_cut_off() {
    let mut lab = Lab::with(Config { backlog_low: 1000, backlog_max: 2000, ..config() });
    lab.element(1, "dns", 1);
    lab.connect(2);
    lab.stuck.insert(2);
    let ask =
        Message::HandleResolution { handle: handle("dns"), subscribe: false, limit: None, status: false };
    for _ in 0..100 {
        lab.send(2, &ask);
    }
    assert_eq!(lab.closed.get(&2), Some(&CloseReason::Backlog));
    assert!(lab.take(2).len() < 50);
}

#[test]
fn loads_are_gathered_for_longer_and_hold_nothing_else_up() {
    let used = |load| PoolElement { policy: policy(0x4000_0001, &[load]), ..element(1) };
    let mut lab = Lab::new();
    lab.connect(1);
    lab.answering.insert((1, 1));
    lab.register(1, "dns", &used(0)).unwrap();
    lab.connect(2);
    lab.resolve(2, "dns", true, true);
    lab.pass(seconds(2));
    for load in 1..=100 {
        lab.register(1, "dns", &used(load)).unwrap();
        lab.pass(ms(100));
    }
    let pushed = lab.responses(2);
    assert!((10..=12).contains(&pushed.len()), "10 s of loads: {}", pushed.len());
    lab.register(1, "dns", &used(101)).unwrap();
    lab.pass(ms(30));
    lab.take(2);
    lab.close(1);
    assert_eq!(lab.responses(2).len(), 1, "a loss waits for no load");
}
