//! The token bucket of unsolicited advertisements: one a second, two at once (RFC 4861 7.2.6: RetransTimer apart).

use std::time::Duration;

use crate::Time;

/// Advertisements sent at once after a silence.
pub(crate) const DEPTH: u32 = 2;
/// One more is allowed after this time.
pub(crate) const PERIOD: Duration = Duration::from_secs(1);

/// Generic cell rate algorithm: `full` is when the bucket would be full again, so no clock has to add tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bucket {
    full: Time,
}

impl Bucket {
    /// When the next token is there.
    pub(crate) fn next(&self) -> Time {
        let ahead = PERIOD * (DEPTH - 1);
        Time::ZERO + self.full.since(Time::ZERO + ahead)
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: Time) -> bool {
        if now < self.next() {
            return false;
        }
        self.full = self.full.max(now) + PERIOD;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const fn at(ms: u64) -> Time {
        Time::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn two_at_once_then_one_a_second() {
        let mut bucket = Bucket::default();
        assert!(bucket.take(at(5_000)));
        assert!(bucket.take(at(5_000)));
        assert!(!bucket.take(at(5_000)));
        assert!(!bucket.take(at(5_999)));
        assert_eq!(bucket.next(), at(6_000));
        assert!(bucket.take(at(6_000)));
        assert!(!bucket.take(at(6_999)));
        assert!(bucket.take(at(9_000)));
        assert!(bucket.take(at(9_000)), "depth 2 again after a pause");
        assert!(!bucket.take(at(9_000)));
    }

    #[test]
    fn never_more_than_seconds_plus_depth() {
        let mut random = Random::new(1);
        let mut bucket = Bucket::default();
        let mut taken = Vec::new();
        let mut now = Time::ZERO;
        for _ in 0..20_000 {
            now = now + random.up_to(Duration::from_millis(400));
            if bucket.take(now) {
                taken.push(now);
            }
        }
        for window in taken.windows(4) {
            // Any four lie at least two periods apart: two at once, then one a period.
            assert!(window[3].since(window[0]) >= PERIOD * 2, "{window:?}");
        }
        assert!(taken.len() > 1_000);
    }
}
