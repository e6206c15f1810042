//! Random histories: farms to which random things happen, for the invariants. A failing one is a [`Scenario`] like any
//! other: it can be shrunk, written to a file and played again.

use std::time::Duration;

use super::bounds::{Bounds, Violation};
use super::link::Network;
use super::scenario::{Deed, Farm, Scenario, Selector, Step, Way};
use crate::config::{ConfigError, Mode, StandbyConfig};
use crate::event::Command;
use crate::random::Random;

/// Things that happen in a history.
const STEPS: usize = 20;
/// After the last of them it goes on for this long.
const SETTLE: Duration = Duration::from_secs(10);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A random history: a few servers in some mode on a link that loses, repeats and delays frames, with clocks that drift;
/// processes fail and hang, daemons die and stand still, hosts crash, links are cut one way or both, operators ask.
pub fn random(seed: u64) -> Scenario {
    let mut random = Random::new(seed ^ 0x0415_7021_E500_0000);
    let farm = farm(&mut random);
    let network = network(&mut random);
    // One history in three cuts the link; on the others B2 and the company's B1 hold throughout.
    let cuts = random.chance(1.0 / 3.0);
    let mut steps = Vec::new();
    let mut at = Duration::ZERO;
    for _ in 0..STEPS {
        at += ms(random.below(2_000));
        let server = random.below(farm.servers as u64) as usize;
        let deed = deed(&mut random, cuts);
        let on = if deed == Deed::Solicit { Selector::Owner } else { Selector::Numbers(server, server) };
        let mut step = Step::once(at, deed, on);
        if deed == Deed::Pause {
            step.lasts = Some(ms(1 + random.below(1_000)));
        }
        steps.push(step);
    }
    let rate = if farm.standby.is_some() || random.chance(0.2) { random.below(200) as u32 } else { 0 };
    let mut scenario = Scenario {
        seed,
        boot: ms(100) * farm.servers as u32,
        farm,
        network,
        warm_up: Duration::ZERO,
        duration: at + SETTLE,
        rate,
        bounds: Bounds::default(),
        steps,
    };
    scenario.bounds = Bounds::of(&scenario);
    scenario
}

fn farm(random: &mut Random) -> Farm {
    let servers = 2 + random.below(5) as usize;
    let mode = match random.below(5) {
        0 | 1 => Mode::Failover,
        2 | 3 => Mode::Rotate { slice: ms(1_000 + random.below(3) * 500) },
        _ => Mode::Solicited,
    };
    let weights = if random.chance(0.3) {
        (0..servers).map(|_| 1 + random.below(3) as u32).collect()
    } else {
        Vec::new()
    };
    let capacities = if random.chance(0.2) { vec![50 + random.below(200) as u32] } else { Vec::new() };
    let standby = random.chance(0.3).then(|| StandbyConfig {
        queries: 1 + random.below(50),
        window: ms(1_000),
        wake_timeout: None,
    });
    Farm { servers, mode, weights, capacities, standby, detection: ms(500), ..Farm::default() }
}

fn network(random: &mut Random) -> Network {
    let mut sometimes =
        |most: f64| if random.chance(0.7) { (random.below(1_000) as f64) * most / 1000.0 } else { 0.0 };
    let (loss, duplication, reordering) = (sometimes(0.2), sometimes(0.1), sometimes(0.1));
    Network {
        delay: Duration::from_micros(50 + random.below(3_000)),
        jitter: Duration::from_micros(1 + random.below(3_000)),
        loss,
        loss_run: 2,
        duplication,
        reordering,
        drift: if random.chance(0.5) { 200 } else { 0 },
    }
}

fn deed(random: &mut Random, cuts: bool) -> Deed {
    let way = |random: &mut Random| match random.below(4) {
        0 => Way::Out,
        1 => Way::In,
        _ => Way::Both,
    };
    match random.below(if cuts { 24 } else { 19 }) {
        0..3 => Deed::Fail,
        3..6 => Deed::Recover,
        6 => Deed::Hang,
        7 | 8 => Deed::Crash,
        9 => Deed::Kill,
        10..13 => Deed::Start,
        13 | 14 => Deed::Pause,
        15 => Deed::Stop,
        16 => Deed::Solicit,
        17 | 18 => Deed::Operator(match random.below(5) {
            0 => Command::Drain,
            1 | 2 => Command::Undrain,
            3 => Command::Standby,
            _ => Command::TakeOver,
        }),
        19..22 => Deed::Cut { way: way(random), loss: 1.0 },
        _ => Deed::Heal,
    }
}

/// Runs a history: what was seen and must not be.
///
/// # Errors
/// The farm's configuration is not valid.
pub fn violations(scenario: &Scenario) -> Result<Vec<Violation>, ConfigError> {
    super::run(scenario).map(|figures| figures.violations)
}

/// The same history without the steps that its failure does not need.
///
/// # Errors
/// The farm's configuration is not valid.
pub fn shrink(scenario: &Scenario) -> Result<Scenario, ConfigError> {
    let mut least = scenario.clone();
    let mut place = least.steps.len();
    while let Some(next) = place.checked_sub(1) {
        place = next;
        let mut fewer = least.clone();
        fewer.steps.remove(place);
        if !violations(&fewer)?.is_empty() {
            least = fewer;
        }
    }
    Ok(least)
}
