//! Advertisements by servers that are no peers.

use std::time::Duration;

use crate::Time;

/// One counter-advertisement in this time, at first (RFC 5227 2.4: DEFEND_INTERVAL).
const DISTANCE: Duration = Duration::from_secs(10);

/// Farthest distance of two counter-advertisements.
const DISTANCE_MAX: Duration = Duration::from_secs(3600);

/// A rogue not seen for this many distances is forgotten.
const FORGET: u32 = 4;

/// What is known of rogues, and when they were last countered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rogue {
    /// Their advertisements.
    pub(crate) seen: u64,
    /// The last of them.
    pub(crate) last: Option<[u8; 6]>,
    /// When it was countered, and how long not to do it again.
    countered: Option<(Time, Duration)>,
}

impl Rogue {
    pub(crate) const fn note(&mut self, mac: [u8; 6]) {
        self.seen += 1;
        self.last = Some(mac);
    }

    /// May it be countered now? Each time the distance doubles: two that defend one address must not fight forever.
    pub(crate) fn counter(&mut self, now: Time) -> bool {
        let distance = match self.countered {
            Some((at, distance)) if now < at + distance => return false,
            Some((at, distance)) if now < at + distance * FORGET => (distance * 2).min(DISTANCE_MAX),
            Some(_) | None => DISTANCE,
        };
        self.countered = Some((now, distance));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rogue_that_goes_on_is_countered_ever_more_rarely() {
        let mut rogue = Rogue::default();
        let seconds = (0..400).filter(|second| rogue.counter(Time::ZERO + Duration::from_secs(*second)));
        assert_eq!(seconds.collect::<Vec<_>>(), [0, 10, 30, 70, 150, 310]);
    }

    #[test]
    fn one_that_comes_back_much_later_is_countered_at_once() {
        let mut rogue = Rogue::default();
        assert!(rogue.counter(Time::ZERO));
        assert!(!rogue.counter(Time::ZERO + Duration::from_secs(9)));
        assert!(rogue.counter(Time::ZERO + Duration::from_secs(600)));
        assert!(rogue.counter(Time::ZERO + Duration::from_secs(610)), "distance is ten seconds again");
    }
}
