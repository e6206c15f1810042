//! Distribution is judged by the chi-square statistic with a fixed seed and a wide limit: the tests say whether the weights are
//! right, not whether the generator is good.

use std::collections::BTreeMap;

use super::*;

const LOADS: [u32; 4] = [0, u32::MAX / 4, u32::MAX / 2, u32::MAX / 4 * 3];

fn pool(policies: &[Policy]) -> Selector<u32> {
    let mut selector = Selector::new(policies[0].kind(), 7);
    for (key, policy) in policies.iter().enumerate() {
        selector.insert(key as u32, policy);
    }
    selector
}

fn first_choices(selector: &mut Selector<u32>, times: usize) -> BTreeMap<u32, f64> {
    let mut counts = BTreeMap::new();
    for _ in 0..times {
        if let Some(key) = selector.select(1).first() {
            *counts.entry(*key).or_insert(0.0) += 1.0;
        }
    }
    counts
}

fn chi_square(counts: &BTreeMap<u32, f64>, shares: &[f64]) -> f64 {
    let (times, total) = (counts.values().sum::<f64>(), shares.iter().sum::<f64>());
    let terms = shares.iter().enumerate().filter(|(_, share)| **share > 0.0).map(|(key, share)| {
        let expected = times * share / total;
        (counts.get(&(key as u32)).copied().unwrap_or(0.0) - expected).powi(2) / expected
    });
    terms.sum()
}

#[test]
fn types_and_values_go_to_the_wire_and_back() {
    let policies = [
        Policy::RoundRobin,
        Policy::WeightedRoundRobin { weight: 0x0102_0304 },
        Policy::Random,
        Policy::WeightedRandom { weight: 5 },
        Policy::Priority { priority: u32::MAX },
        Policy::LeastUsed { load: 1 },
        Policy::LeastUsedDegradation { load: 2, degradation: 3 },
        Policy::PriorityLeastUsed { load: 4, degradation: 5 },
        Policy::RandomizedLeastUsed { load: 6 },
        Policy::Other(PolicyParameter::new(0xb000_2001, &[1, 2, 3]).unwrap()),
    ];
    for policy in policies {
        let parameter = policy.parameter();
        assert_eq!(parameter.code(), policy.kind().code());
        assert_eq!(Policy::parse(&parameter), Ok(policy));
    }
    let parameter = Policy::LeastUsedDegradation { load: 4, degradation: 5 }.parameter();
    assert_eq!((parameter.code(), parameter.words()), (0x4000_0002, &[4, 5][..]));
}

#[test]
fn data_of_the_wrong_length_is_told_with_both_lengths() {
    let parse = |code, words: &[u32]| Policy::parse(&PolicyParameter::new(code, words).unwrap());
    assert_eq!(parse(2, &[0; 2]), Err(DataLength { kind: PolicyType::WeightedRoundRobin, got: 2, want: 1 }));
    assert!(parse(1, &[0]).is_err());
    assert!(parse(0x4000_0002, &[0]).is_err());
}

#[test]
fn bits_of_the_type_are_read() {
    assert!(PolicyType::ALL.iter().all(|kind| !kind.is_private() && !kind.is_invalid()));
    assert_eq!(PolicyType::ALL.iter().filter(|kind| kind.is_adaptive()).count(), 4);
    assert!(PolicyType::from_code(0xc000_0001).is_private());
    assert!(PolicyType::from_code(0).is_invalid());
    assert!(PolicyType::from_code(0x4000_0000).is_invalid());
    assert_eq!(PolicyType::from_code(6).to_string(), "unknown 0x00000006");
}

#[test]
fn round_robin_moves_the_head_by_one() {
    let mut selector = pool(&[Policy::RoundRobin; 4]);
    assert_eq!(selector.select(3), [0, 1, 2]);
    assert_eq!(selector.select(3), [1, 2, 3]);
    assert_eq!(selector.select(9), [2, 3, 0, 1]);
    assert_eq!(selector.select(0), [0_u32; 0]);
    assert_eq!(selector.select(1), [3]);
}

#[test]
fn an_unknown_type_goes_round() {
    let mut selector = pool(&[Policy::Other(PolicyParameter::new(0xc000_0040, &[1]).unwrap()); 3]);
    assert_eq!((0..4).flat_map(|_| selector.select(1)).collect::<Vec<_>>(), [0, 1, 2, 0]);
}

#[test]
fn joining_leaving_and_registering_again_do_not_disturb_the_round() {
    let mut selector = pool(&[Policy::RoundRobin; 3]);
    assert_eq!(selector.select(1), [0]);
    selector.insert(9, &Policy::RoundRobin);
    selector.insert(1, &Policy::RoundRobin);
    assert!(selector.remove(2));
    assert!(!selector.remove(2));
    assert_eq!(selector.select(9), [1, 0, 9]);
    let counts = first_choices(&mut selector, 300);
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [100.0; 3]);
}

#[test]
fn who_was_out_is_not_served_for_what_it_missed() {
    let mut selector = pool(&[Policy::RoundRobin; 2]);
    for _ in 0..100 {
        assert_eq!(selector.select_where(1, |key| key == 1), [1]);
    }
    let after: Vec<u32> = (0..6).flat_map(|_| selector.select(1)).collect();
    assert!(after.iter().filter(|key| **key == 0).count() <= 4, "{after:?}");
}

#[test]
fn weights_decide_how_often_and_turns_are_spread() {
    let weights = [1, 2, 5];
    let mut selector = pool(&weights.map(|weight| Policy::WeightedRoundRobin { weight }));
    let turns: Vec<u32> = (0..80).flat_map(|_| selector.select(1)).collect();
    for (key, weight) in weights.iter().enumerate() {
        let at: Vec<usize> = (0..80).filter(|turn| turns[*turn] == key as u32).collect();
        assert!(at.len().abs_diff(10 * *weight as usize) <= 1, "{key}: {}", at.len());
        let gaps = at.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.max().unwrap() <= 8usize.div_ceil(*weight as usize) + 2, "{turns:?}");
    }
}

#[test]
fn large_weights_keep_their_ratio() {
    let mut selector = pool(&[u32::MAX, u32::MAX / 2, 1].map(|weight| Policy::WeightedRoundRobin { weight }));
    let counts = first_choices(&mut selector, 3_000);
    assert!((counts[&0] / counts[&1] - 2.0).abs() < 0.01, "{counts:?}");
}

#[test]
fn a_weight_may_change_at_any_time() {
    let mut selector = pool(&[Policy::WeightedRoundRobin { weight: 1 }; 2]);
    selector.select(1);
    selector.insert(0, &Policy::WeightedRoundRobin { weight: 3 });
    let counts = first_choices(&mut selector, 400);
    assert!((counts[&0] - 300.0).abs() <= 2.0, "{counts:?}");
    selector.insert(1, &Policy::WeightedRoundRobin { weight: 0 });
    assert_eq!(selector.select(5), [0]);
    selector.insert(1, &Policy::WeightedRoundRobin { weight: 3 });
    let counts = first_choices(&mut selector, 400);
    assert!((counts[&1] - 200.0).abs() <= 2.0, "{counts:?}");
}

#[test]
fn weight_0_gives_no_service() {
    for policies in [
        [0, 1].map(|weight| Policy::WeightedRoundRobin { weight }),
        [0, 1].map(|weight| Policy::WeightedRandom { weight }),
        [u32::MAX, 0].map(|load| Policy::RandomizedLeastUsed { load }),
    ] {
        let mut selector = pool(&policies);
        for _ in 0..50 {
            assert_eq!(selector.select(2), [1]);
        }
        selector.remove(1);
        assert!(selector.select(2).is_empty());
        assert_eq!(selector.len(), 1);
    }
}

#[test]
fn random_is_uniform_and_repeats_nothing_in_one_answer() {
    let mut selector = pool(&[Policy::Random; 10]);
    let counts = first_choices(&mut selector, 10_000);
    // Nine degrees of freedom: 27.9 at one in a thousand.
    assert!(chi_square(&counts, &[1.0; 10]) < 28.0, "{counts:?}");
    for _ in 0..100 {
        let mut answer = selector.select(8);
        assert_eq!(answer.len(), 8);
        answer.sort_unstable();
        answer.dedup();
        assert_eq!(answer.len(), 8);
    }
}

#[test]
fn weighted_random_follows_the_weights() {
    let weights = [1, 2, 3, 0, 10];
    let mut selector = pool(&weights.map(|weight| Policy::WeightedRandom { weight }));
    let counts = first_choices(&mut selector, 16_000);
    assert!(chi_square(&counts, &weights.map(f64::from)) < 20.0, "{counts:?}");
    assert!(!counts.contains_key(&3));
    // The control: against equal shares the same counts fail by far.
    assert!(chi_square(&counts, &[1.0; 5]) > 1_000.0);
}

#[test]
fn randomized_least_used_follows_what_is_left() {
    let mut selector = pool(&LOADS.map(|load| Policy::RandomizedLeastUsed { load }));
    let counts = first_choices(&mut selector, 10_000);
    assert!(chi_square(&counts, &[4.0, 3.0, 2.0, 1.0]) < 17.0, "{counts:?}");
}

#[test]
fn who_may_not_be_drawn_leaves_the_others_their_shares() {
    let mut selector = pool(&[1, 2, 4].map(|weight| Policy::WeightedRandom { weight }));
    let mut counts = BTreeMap::new();
    for _ in 0..9_000 {
        *counts.entry(selector.select_where(1, |key| key != 2)[0]).or_insert(0.0) += 1.0;
    }
    assert!(chi_square(&counts, &[1.0, 2.0]) < 11.0, "{counts:?}");
}

#[test]
fn the_highest_priority_comes_first_and_equals_take_turns() {
    let mut selector = pool(&[1, 9, 9, u32::MAX, 0].map(|priority| Policy::Priority { priority }));
    assert_eq!(selector.select(9), [3, 1, 2, 0, 4]);
    selector.remove(3);
    assert_eq!(selector.select(3), [1, 2, 0]);
    assert_eq!(selector.select(3), [2, 1, 0]);
}

#[test]
fn the_least_used_comes_first_and_equals_take_turns() {
    let mut selector = pool(&[50, 10, 10, 99].map(|load| Policy::LeastUsed { load }));
    assert_eq!(selector.select(9), [1, 2, 0, 3]);
    assert_eq!(selector.select(9), [2, 1, 0, 3]);
    selector.insert(3, &Policy::LeastUsed { load: 0 });
    assert_eq!(selector.select(1), [3]);
}

#[test]
fn priority_least_used_counts_what_one_more_would_cost() {
    // The example of RFC 5356 5.3.1.
    let half = u32::MAX / 2;
    let mut selector = pool(&[
        Policy::PriorityLeastUsed { load: half, degradation: half },
        Policy::PriorityLeastUsed { load: half, degradation: u32::MAX / 10 },
        // 32 bits would wrap to a small sum here.
        Policy::PriorityLeastUsed { load: u32::MAX, degradation: u32::MAX },
    ]);
    assert_eq!(selector.select(3), [1, 0, 2]);
    assert_eq!(selector.select(3), [1, 0, 2]);
}

#[test]
fn degradation_counts_all_that_were_returned_until_the_next_registration() {
    let mut selector = pool(
        &[(0, 10), (5, 10), (100, 0)]
            .map(|(load, degradation)| Policy::LeastUsedDegradation { load, degradation }),
    );
    // Sums 0, 5, 100; then 10, 15, 100; then 20, 15, 100.
    assert_eq!(selector.select(2), [0, 1]);
    assert_eq!(selector.select(1), [0]);
    assert_eq!(selector.select(1), [1]);
    for _ in 0..100 {
        selector.select(2);
    }
    assert_eq!(selector.select(1), [2]);
    selector.insert(1, &Policy::LeastUsedDegradation { load: 5, degradation: 10 });
    assert_eq!(selector.select(1), [1]);
}

#[test]
fn degradation_does_not_wrap() {
    let mut selector = pool(&[Policy::LeastUsedDegradation { load: u32::MAX, degradation: u32::MAX }; 2]);
    let counts = first_choices(&mut selector, 1_000);
    assert_eq!(counts[&0], 500.0);
}

#[test]
fn another_type_than_the_pools_counts_as_neutral() {
    let mut selector = pool(&[Policy::LeastUsed { load: 5 }]);
    selector.insert(1, &Policy::WeightedRandom { weight: 0 });
    assert_eq!(selector.select(2), [1, 0]);
}

#[test]
fn a_user_applies_weights_only_where_nobody_has() {
    assert_eq!(PolicyType::WeightedRandom.for_user(false), PolicyType::Random);
    assert_eq!(PolicyType::WeightedRandom.for_user(true), PolicyType::WeightedRandom);
    assert_eq!(PolicyType::WeightedRoundRobin.for_user(false), PolicyType::RoundRobin);
    assert_eq!(PolicyType::RandomizedLeastUsed.for_user(false), PolicyType::Random);
    assert_eq!(PolicyType::Priority.for_user(false), PolicyType::Priority);
}

#[test]
fn one_seed_draws_one_history() {
    let draw = || {
        let mut selector = pool(&[Policy::Random; 20]);
        (0..50).flat_map(|_| selector.select(3)).collect::<Vec<_>>()
    };
    assert_eq!(draw(), draw());
}
