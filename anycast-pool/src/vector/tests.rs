use proptest::prelude::*;

use super::*;
use crate::markov::simulate::jain;
use crate::policy::{Policy, PolicyType, Selector};
use crate::wire::StatusEntry;

const A: Voice = Voice(0);
const B: Voice = Voice(1);

fn at(ms: u64) -> Time {
    // Well after the origin, so that ages reach back beyond none.
    Time::from_nanos((1_000_000 + ms) * 1_000_000)
}

fn id(number: u32) -> ElementId {
    ElementId(number)
}

fn entry(number: u32, state: State, age_ms: u32) -> StatusEntry {
    StatusEntry { id: id(number), state, source: Source::KeepAlive, flags: StatusFlags::NONE, age_ms }
}

fn said(registrar: u32, epoch: u32, sequence: u32, entries: &[StatusEntry]) -> StatusVector {
    StatusVector { registrar: RegistrarId(registrar), epoch, sequence, entries: entries.to_vec() }
}

fn order(vector: &Vector, now: Time) -> Vec<u32> {
    vector.ranked(now).iter().map(|(_, id)| id.0).collect()
}

fn tier(vector: &Vector, now: Time, number: u32) -> Tier {
    vector.group(now, id(number)).unwrap().tier
}

#[test]
fn ages_become_times_of_the_own_clock() {
    let mut vector = Vector::new(VectorConfig::default());
    vector.receive(at(0), A, &said(1, 1, 1, &[entry(1, State::Up, 1_500), entry(2, State::Down, u32::MAX)]));
    assert_eq!(vector.get(id(1)).unwrap().age(at(500)), Some(Duration::from_secs(2)));
    // 49 days reach back beyond the clock's origin.
    assert!(vector.get(id(2)).unwrap().age(at(0)).unwrap() >= Duration::from_millis(u64::from(u32::MAX)));
}

#[test]
fn the_newest_observation_holds_whoever_made_it() {
    let mut vector = Vector::new(VectorConfig::default());
    vector.receive(at(0), A, &said(1, 1, 1, &[entry(1, State::Up, 500)]));
    let older = said(2, 9, 1, &[entry(1, State::Down, 600)]);
    assert_eq!(vector.receive(at(0), B, &older), Received::Merged(vec![]));
    assert_eq!(vector.get(id(1)).unwrap().state, State::Up);
    let newer = said(2, 9, 2, &[entry(1, State::Down, 400)]);
    assert_eq!(vector.receive(at(0), B, &newer), Received::Merged(vec![id(1)]));
    assert_eq!(vector.get(id(1)).unwrap().state, State::Down);
    assert!(vector.observe(at(1), id(1), true));
    assert_eq!(vector.get(id(1)).unwrap().witness, Witness::Own);
    assert!(!vector.observe(at(2), id(1), true));
}

#[test]
fn unknown_tells_nothing_and_of_two_at_once_the_worse_holds() {
    let mut vector = Vector::new(VectorConfig::default());
    vector.receive(at(0), A, &said(1, 1, 1, &[entry(1, State::Up, 500)]));
    vector.receive(
        at(10_000),
        B,
        &said(2, 1, 1, &[entry(1, State::Unknown, 0), entry(2, State::Unknown, 0)]),
    );
    assert_eq!(vector.get(id(1)).unwrap().state, State::Up);
    assert_eq!(tier(&vector, at(10_000), 2), Tier::Unknown);
    vector.receive(at(10_000), B, &said(2, 1, 2, &[entry(1, State::Down, 10_500)]));
    assert_eq!(vector.get(id(1)).unwrap().state, State::Down);
}

#[test]
fn a_late_vector_is_dropped() {
    let mut vector = Vector::new(VectorConfig::default());
    let up = [entry(1, State::Up, 0)];
    vector.receive(at(0), A, &said(1, 7, 5, &up));
    assert_eq!(vector.receive(at(1), A, &said(1, 7, 4, &[])), Received::Late);
    assert!(matches!(vector.receive(at(1), A, &said(1, 7, 5, &up)), Received::Merged(_)));
    // The registrar starts anew; what was under way from its earlier life is late.
    assert!(matches!(vector.receive(at(2), A, &said(1, 8, 0, &up)), Received::Merged(_)));
    assert_eq!(vector.receive(at(3), A, &said(1, 7, 6, &[])), Received::Late);
    assert_eq!(vector.dropped().1, 2);
    // The sequence may wrap, and another registrar has its own.
    assert!(matches!(vector.receive(at(4), A, &said(1, 8, u32::MAX / 2, &up)), Received::Merged(_)));
    assert!(matches!(vector.receive(at(4), A, &said(1, 8, u32::MAX - 9, &up)), Received::Merged(_)));
    assert!(matches!(vector.receive(at(4), A, &said(1, 8, 3, &up)), Received::Merged(_)));
    assert!(matches!(vector.receive(at(4), B, &said(2, 7, 0, &up)), Received::Merged(_)));
}

#[test]
fn the_order_is_fresh_older_unknown_longest_down() {
    let mut vector = Vector::new(VectorConfig::default());
    let entries = [
        entry(1, State::Down, 1_000),
        entry(2, State::Down, 9_000),
        entry(3, State::Unknown, 0),
        entry(4, State::Up, 40_000),
        entry(5, State::Up, 30_000),
        entry(6, State::Up, 9_000),
        entry(7, State::Up, 10),
    ];
    vector.receive(at(0), A, &said(1, 1, 1, &entries));
    vector.unheard(A);
    assert_eq!(order(&vector, at(0)), [6, 7, 5, 4, 3, 2, 1]);
    assert_eq!(vector.group(at(0), id(6)), vector.group(at(0), id(7)));
    // Without its registrar, the bucket empties in time.
    assert_eq!(order(&vector, at(1_500)), [7, 6, 5, 4, 3, 2, 1]);
}

#[test]
fn a_voice_that_is_heard_keeps_its_elements_fresh() {
    let mut vector = Vector::new(VectorConfig::default());
    vector.receive(at(0), A, &said(1, 1, 1, &[entry(1, State::Up, 10), entry(2, State::Up, 20)]));
    vector.observe(at(3_600_000), id(1), true);
    assert_eq!(vector.group(at(3_600_000), id(1)), vector.group(at(3_600_000), id(2)));
    // The control: unheard, who was just used is alone in front.
    vector.unheard(A);
    assert_eq!(tier(&vector, at(3_600_000), 1), Tier::Fresh);
    assert_eq!(tier(&vector, at(3_600_000), 2), Tier::Older);
}

#[test]
fn an_own_failure_puts_an_element_behind_whatever_registrars_say() {
    let mut vector = Vector::new(VectorConfig::default());
    vector.receive(at(0), A, &said(1, 1, 1, &[entry(1, State::Up, 0), entry(2, State::Up, 0)]));
    vector.observe(at(100), id(1), false);
    assert_eq!(order(&vector, at(100)), [2, 1]);
    assert_eq!(tier(&vector, at(100), 1), Tier::Down);
    vector.receive(at(200), A, &said(1, 1, 2, &[entry(1, State::Up, 0), entry(2, State::Up, 0)]));
    assert_eq!(tier(&vector, at(200), 1), Tier::Suspect);
    assert_eq!(tier(&vector, at(1_100), 1), Tier::Fresh);
    // The second failure in a row holds for twice as long, and a success ends it.
    vector.observe(at(2_000), id(1), false);
    vector.receive(at(2_100), A, &said(1, 1, 3, &[entry(1, State::Up, 0)]));
    assert_eq!(tier(&vector, at(3_900), 1), Tier::Suspect);
    assert_eq!(tier(&vector, at(4_000), 1), Tier::Fresh);
    vector.observe(at(5_000), id(1), false);
    vector.observe(at(5_001), id(1), true);
    assert_eq!(tier(&vector, at(5_001), 1), Tier::Fresh);
    assert_eq!(vector.get(id(1)).unwrap().failures, 0);
}

#[test]
fn failures_of_one_moment_are_one() {
    let mut vector = Vector::new(VectorConfig::default());
    (0..100).for_each(|ms| {
        vector.observe(at(ms), id(1), false);
    });
    assert_eq!(vector.get(id(1)).unwrap().failures, 1);
    assert!(!vector.get(id(1)).unwrap().is_held(at(1_000)));
}

#[test]
fn who_said_good_bye_is_not_brought_back_by_answering() {
    let mut vector = Vector::new(VectorConfig::default());
    let gone = |source| StatusEntry { source, flags: StatusFlags::TOMBSTONE, ..entry(1, State::Down, 0) };
    vector.receive(at(0), A, &said(1, 1, 1, &[gone(Source::Deregistration)]));
    vector.observe(at(10), id(1), true);
    assert_eq!(tier(&vector, at(10), 1), Tier::Leaving);
    // The control: one that the registrar merely lost sight of is as good as its answer.
    vector.receive(at(20), A, &said(1, 1, 2, &[gone(Source::KeepAlive)]));
    vector.observe(at(30), id(1), true);
    assert_eq!(tier(&vector, at(30), 1), Tier::Fresh);
}

#[test]
fn who_is_no_longer_named_has_left() {
    let mut vector = Vector::new(VectorConfig::default());
    vector.listed(at(0), A, [id(1), id(2)]);
    vector.listed(at(0), B, [id(1)]);
    vector.listed(at(10), A, [id(2)]);
    assert_eq!(tier(&vector, at(10), 1), Tier::Fresh);
    vector.listed(at(20), B, [id(2)]);
    assert_eq!(tier(&vector, at(20), 1), Tier::Leaving);
    vector.listed(at(30), B, [id(1)]);
    assert_eq!(tier(&vector, at(30), 1), Tier::Fresh);
    // A registrar that goes away itself says nothing of its elements.
    vector.forget_voice(A);
    vector.forget_voice(B);
    assert_eq!(tier(&vector, at(30), 1), Tier::Fresh);
}

#[test]
fn standby_and_draining_are_up_but_behind() {
    let mut vector = Vector::new(VectorConfig::default());
    let flagged = |number, flags| StatusEntry { flags, ..entry(number, State::Up, 0) };
    let entries = [
        flagged(1, StatusFlags::STANDBY),
        flagged(2, StatusFlags::DRAINING),
        entry(3, State::Unknown, 0),
        entry(4, State::Up, 0),
        entry(5, State::Down, 0),
    ];
    vector.receive(at(0), A, &said(1, 1, 1, &entries));
    assert_eq!(order(&vector, at(0)), [4, 1, 3, 2, 5]);
}

#[test]
fn tombstones_are_forgotten_in_time_and_elements_never() {
    let mut vector = Vector::new(VectorConfig::default());
    let gone = StatusEntry { flags: StatusFlags::TOMBSTONE, ..entry(1, State::Down, 0) };
    vector.receive(at(0), A, &said(1, 1, 1, &[gone, entry(2, State::Up, 0)]));
    assert_eq!(vector.next_timeout(), Some(at(600_000)));
    assert_eq!(vector.expire(at(599_999)), []);
    assert_eq!(vector.expire(at(600_000)), [id(1)]);
    // Losing the registrar is no reason to forget what it said, a later word without the element is.
    vector.unheard(A);
    assert_eq!(vector.expire(at(9_000_000)), []);
    vector.receive(at(9_000_000), A, &said(1, 1, 2, &[]));
    assert_eq!(vector.expire(at(9_000_000)), [id(2)]);
}

#[test]
fn its_size_is_bounded_and_what_is_gone_makes_room() {
    let mut vector = Vector::new(VectorConfig { elements_max: 3, ..VectorConfig::default() });
    let all: Vec<_> = (0..5).map(|number| entry(number, State::Up, 0)).collect();
    vector.receive(at(0), A, &said(1, 1, 1, &all));
    assert_eq!((vector.len(), vector.dropped().0), (3, 2));
    vector.receive(at(1), A, &said(1, 1, 2, &all[3..]));
    assert_eq!(order(&vector, at(1))[..2], [3, 4]);
    assert_eq!(vector.len(), 3);
}

#[test]
fn a_list_without_a_vector_shares_the_load_but_forgives_no_failure() {
    let mut vector = Vector::new(VectorConfig::default());
    vector.listed(at(0), A, [id(1), id(2)]);
    vector.observe(at(10), id(1), false);
    vector.listed(at(20), A, [id(1), id(2)]);
    assert_eq!(tier(&vector, at(20), 1), Tier::Suspect);
    vector.listed(at(1_500), A, [id(1), id(2)]);
    assert_eq!(tier(&vector, at(1_500), 1), Tier::Fresh);
    vector.listed(at(1_600), A, [id(2)]);
    assert!(!vector.get(id(1)).unwrap().is_vouched());
}

/// Successes per element, if each pick succeeds.
fn shares(mut choose: impl FnMut(&Vector, Time) -> ElementId) -> Vec<f64> {
    let mut vector = Vector::new(VectorConfig::default());
    let all: Vec<_> = (0..10).map(|number| entry(number, State::Up, number * 100)).collect();
    vector.receive(at(0), A, &said(1, 1, 1, &all));
    let mut shares = vec![0.0; 10];
    for step in 0..10_000 {
        let now = at(step * 10);
        let chosen = choose(&vector, now);
        vector.observe(now, chosen, true);
        shares[chosen.0 as usize] += 1.0;
    }
    shares
}

#[test]
fn the_load_is_even_while_nothing_fails_and_a_failure_is_avoided_at_once() {
    for kind in [PolicyType::RoundRobin, PolicyType::Random, PolicyType::LeastUsed] {
        let mut selector = Selector::new(kind, 3);
        (0..10).for_each(|number| selector.insert(id(number), &Policy::neutral(kind)));
        let mut pick = |vector: &Vector, now| {
            let ranked = vector.ranked(now);
            selector.select_where(1, |id| vector.group(now, id) == Some(ranked[0].0))[0]
        };
        let index = jain(&shares(&mut pick));
        assert!(index > 0.99, "{kind}: {index}");

        let mut vector = Vector::new(VectorConfig::default());
        let all: Vec<_> = (0..10).map(|number| entry(number, State::Up, 0)).collect();
        vector.receive(at(0), A, &said(1, 1, 1, &all));
        let failed = pick(&vector, at(1));
        vector.observe(at(1), failed, false);
        (0..100).for_each(|_| assert_ne!(pick(&vector, at(2)), failed));
    }
    // The control: the rule to the letter gives everything to one.
    let herd = shares(|vector, now| vector.iter().min_by_key(|(_, status)| status.age(now)).unwrap().0);
    assert!(jain(&herd) < 0.11, "{herd:?}");
}

proptest! {
    /// Whatever is said in whatever order by two registrars: what holds is the newest of it.
    #[test]
    fn merging_does_not_depend_on_the_order(
        said_of_it in proptest::collection::vec((0usize..2, any::<bool>(), 0u32..1_000_000), 1..30),
        turn in 0usize..30,
    ) {
        let merge = |all: &[(usize, bool, u32)]| {
            let mut vector = Vector::new(VectorConfig::default());
            for (step, (voice, up, age)) in all.iter().enumerate() {
                let state = if *up { State::Up } else { State::Down };
                let word = said(*voice as u32, 1, step as u32, &[entry(1, state, *age)]);
                vector.receive(at(0), Voice::new(*voice).unwrap(), &word);
            }
            let status = vector.get(id(1)).unwrap();
            (status.state, status.age(at(0)))
        };
        let mut turned = said_of_it.clone();
        turned.rotate_left(turn % said_of_it.len());
        prop_assert_eq!(merge(&said_of_it), merge(&turned));
        let newest = said_of_it.iter().map(|(_, up, age)| (*age, *up)).min().unwrap();
        prop_assert_eq!(merge(&said_of_it).0, if newest.1 { State::Up } else { State::Down });
    }
}
