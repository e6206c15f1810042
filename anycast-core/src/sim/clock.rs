//! A server's own clock: it runs a little fast or slow, and began to count at its own time.

use std::time::Duration;

use crate::Time;

/// How a server's clock stands to the simulation's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// What it shows when the simulation begins.
    pub(super) offset: Duration,
    /// Parts per million by which it runs fast; negative, slow.
    pub(super) ppm: i32,
}

impl Clock {
    const TRUE: i128 = 1_000_000;

    /// What the clock shows at a time of the simulation.
    pub(super) fn shows(self, at: Time) -> Time {
        if self.ppm == 0 {
            return at + self.offset;
        }
        let ns = i128::from(at.as_nanos()) * (Self::TRUE + i128::from(self.ppm)) / Self::TRUE;
        Time::from_nanos(u64::try_from(ns).unwrap_or_default()) + self.offset
    }

    /// The first time of the simulation at which the clock shows this or more.
    pub(super) fn when(self, shown: Time) -> Time {
        let ns = shown.since(Time::ZERO + self.offset).as_nanos() as i128;
        if self.ppm == 0 {
            return Time::from_nanos(ns as u64);
        }
        let rate = Self::TRUE + i128::from(self.ppm);
        let ns = (ns * Self::TRUE + rate - 1) / rate;
        Time::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn a_time_that_is_waited_for_has_come_when_it_comes() {
        let mut random = Random::new(3);
        for ppm in [-200, -1, 0, 1, 37, 200] {
            let clock = Clock { offset: random.up_to(Duration::from_secs(3600)), ppm };
            for _ in 0..1_000 {
                let shown = Time::ZERO + clock.offset + random.up_to(Duration::from_secs(86_400));
                let at = clock.when(shown);
                assert!(clock.shows(at) >= shown, "{clock:?} {shown}");
                assert!(
                    at == Time::ZERO || clock.shows(Time::from_nanos(at.as_nanos() - 1)) < shown,
                    "{clock:?} {shown}: too late"
                );
            }
        }
    }

    #[test]
    fn a_fast_clock_is_ahead() {
        let clock = Clock { offset: Duration::ZERO, ppm: 100 };
        assert_eq!(clock.shows(Time::from_nanos(10_000_000_000)), Time::from_nanos(10_001_000_000));
    }
}
