//! Random frames: the program and the model must agree on each in verdict, octets, counters, drop reason and event.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anycast_common::abi::DROPS;
use anycast_tests::reference::Verdict;
use anycast_tests::{cases, exercise};

/// Frames of a run, unless `ANYCAST_FRAMES` says otherwise.
const FRAMES: u64 = 200_000;

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|error| panic!("{name}={value}: {error}")))
}

#[test]
fn program_and_model_agree_on_random_frames() {
    let frames = setting("ANYCAST_FRAMES").unwrap_or(FRAMES);
    let seed = setting("ANYCAST_SEED").unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
    });
    println!("{frames} frames, ANYCAST_SEED={seed}");

    let mut verdicts: BTreeMap<String, u64> = BTreeMap::new();
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut counted, mut events) = (0u64, 0u64);
    super::agreed(exercise::random(&mut super::subject(), seed, frames, |expected| {
        *verdicts.entry(format!("{:?}", expected.verdict)).or_default() += 1;
        for reason in &expected.reasons {
            *reasons.entry(reason.name()).or_default() += 1;
        }
        counted += u64::from(expected.verdict == Verdict::Pass && expected.counted.is_some());
        events += u64::from(expected.event.is_some());
    }));
    println!("{verdicts:?}, {counted} passed and counted, {events} events, {reasons:?}");
    if frames >= FRAMES {
        // All but what a single frame cannot cause here: no room in the driver, a full ring, another one, a delay.
        assert_eq!(reasons.len(), DROPS - 4, "not every reason was reached: {reasons:?}");
        assert!(counted > frames / 200 && events > frames / 200, "{counted} counted, {events} events");
        let answered = verdicts.get("Tx").copied().unwrap_or(0);
        assert!(answered > frames / 50, "only {answered} answers");
    }
}

/// The comparison itself can fail: a model with another gate is contradicted.
#[test]
fn a_wrong_expectation_is_noticed() {
    let mut subject = super::subject();
    let case = cases::all().into_iter().find(|case| case.name == "ns multicast").unwrap();
    subject.set_gates(&case.gates);
    let right = subject.expect(&case.frame);
    let observed = subject.run(&case.frame).unwrap();
    assert_eq!(anycast_tests::subject::difference(&right, &observed), None);

    let mut frame = right.clone();
    frame.frame[60] ^= 1;
    let mut counters = right.clone();
    counters.counted = None;
    let mut reason = right.clone();
    reason.reasons = vec![anycast_common::abi::Drop::NsCode];
    let mut event = right.clone();
    event.event = Some(anycast_common::abi::Event::default());
    let mut verdict = right;
    verdict.verdict = Verdict::Pass;
    for wrong in [frame, counters, reason, event, verdict] {
        assert!(anycast_tests::subject::difference(&wrong, &observed).is_some(), "{wrong:?}");
    }
}
