//! Token buckets: how often somebody may do something.

use std::time::Duration;

use super::Rate;
use crate::Time;

/// Tokens that come back with time. Kept as the moment at which the bucket is full again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    full: Time,
}

impl Bucket {
    /// Takes a token, if there is one.
    pub fn take(&mut self, rate: Rate, now: Time) -> bool {
        if rate.per_second == 0 {
            return false;
        }
        let token = Duration::from_secs(1) / rate.per_second;
        let full = self.full.max(now) + token;
        // With n tokens missing the bucket is full n tokens' time from now.
        if full.since(now) > token.saturating_mul(rate.burst) {
            return false;
        }
        self.full = full;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let rate = Rate { per_second: 10, burst: 5 };
        let mut bucket = Bucket::default();
        let start = Time::ZERO + Duration::from_secs(100);
        assert_eq!((0..100).filter(|_| bucket.take(rate, start)).count(), 5);
        let later = |ms| start + Duration::from_millis(ms);
        assert_eq!((1..=1000).filter(|ms| bucket.take(rate, later(*ms))).count(), 10);
        assert_eq!((0..100).filter(|_| bucket.take(rate, later(60_000))).count(), 5);
    }

    #[test]
    fn nothing_at_all_with_rate_0() {
        assert!(!Bucket::default().take(Rate { per_second: 0, burst: 5 }, Time::ZERO));
    }
}
