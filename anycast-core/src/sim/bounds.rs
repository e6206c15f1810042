//! What a farm must keep, derived from its configuration; `docs/scheduler.md` has the same in words.

use std::fmt;
use std::time::Duration;

use super::link::Network;
use super::scenario::{Farm, Scenario, written};
use crate::Time;
use crate::config::Mode;

/// A step of the contest, and how many there are at most.
const STEP: Duration = Duration::from_millis(20);
const STEPS: u32 = 8;
/// Candidates that wait all steps spread over this much more.
const SPREAD: Duration = Duration::from_millis(200);
/// How long a server that hears nobody at all waits for others before it takes over.
const STONE_DEAF: Duration = Duration::from_secs(5);

/// Limits of what may be seen. `None` = not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// B1: no gate open although the same servers, two or more, can serve and hear each other.
    pub ownerless: Option<Duration>,
    /// B1 for the last survivor: no gate open although some server can serve.
    pub ownerless_alone: Option<Duration>,
    /// B2: more than one gate open, on an unbroken link.
    pub owners: Option<Duration>,
}

/// What was seen and must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When it began.
    pub at: Time,
    /// What.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:.3} s: {}", self.at.since(Time::ZERO).as_secs_f64(), self.what)
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = [
            ("ownerless", self.ownerless),
            ("ownerless_alone", self.ownerless_alone),
            ("owners", self.owners),
        ];
        let lines = lines.into_iter().filter_map(|(key, bound)| Some(format!("{key} = {}", written(bound?))));
        f.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}

impl Bounds {
    /// The bounds of a scenario: on a link that loses at most `loss_run` frames in a row.
    pub fn of(scenario: &Scenario) -> Self {
        let ownerless = b1(&scenario.farm, &scenario.network);
        let alone = match scenario.farm.mode {
            Mode::Solicited => ownerless,
            _ => ownerless + STONE_DEAF,
        };
        let owners = (scenario.farm.mode != Mode::Solicited).then(|| b2(&scenario.farm, &scenario.network));
        Self { ownerless: Some(ownerless), ownerless_alone: Some(alone), owners }
    }
}

/// The longest pause of a sender's heartbeats that loss alone can make: so many are lost, the next one arrives.
fn unheard(interval: Duration, network: &Network) -> Duration {
    let lost = if network.loss > 0.0 { network.loss_run.min(1_000) } else { 0 };
    interval * (lost + 1) + network.longest()
}

/// How far apart two clocks may be after this time.
fn drift(time: Duration, network: &Network) -> Duration {
    let nanoseconds = (time * 2 * network.drift / 1_000_000).as_nanos() as u64;
    // A file has whole microseconds.
    Duration::from_micros(nanoseconds.div_ceil(1_000))
}

/// The interval of those that own nothing, at its longest.
fn slow(farm: &Farm) -> Duration {
    let slowness = (farm.servers / 20).max(4) as u32;
    farm.heartbeat * slowness * 11 / 10
}

/// B1.
fn b1(farm: &Farm, network: &Network) -> Duration {
    let dead = farm.heartbeat * 3;
    let slow = slow(farm);
    let spread = if farm.servers > STEPS as usize { SPREAD } else { Duration::ZERO };
    let contest = STEP * (STEPS + 1) + STEP / 2 + spread;
    let bound = if farm.mode == Mode::Solicited {
        // A server that stands by sees that the last one that answers is silent, at its next heartbeat. Coming up it
        // listens; nothing else keeps a gate shut.
        dead + slow * 3 + unheard(slow, network)
    } else {
        // It comes up and listens, or misses the owner, without or after questions of its own; it waits for its turn; unheard by all until then, because no
        // heartbeat of the others got through, it waits for one, and then for its turn again.
        dead + farm.heartbeat / 4 + network.longest() + contest + unheard(slow, network) + contest
    };
    bound + drift(bound, network)
}

/// B2.
fn b2(farm: &Farm, network: &Network) -> Duration {
    // The old owner hears one of the new one's heartbeats; or it hears nothing any more, because it is dead or stands
    // still, and then its gate shuts when its lease ends.
    let bound = unheard(farm.heartbeat, network).max(farm.lease) + network.longest();
    bound + drift(bound, network)
}
