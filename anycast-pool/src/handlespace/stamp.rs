//! When something was seen.

use std::time::Duration;

use crate::Time;

/// Milliseconds on the machine's clock, which may lie before its origin: what is read from disk is older than the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(i64);

impl Stamp {
    /// Now.
    pub const fn now(now: Time) -> Self {
        // 2^64 ns are 2^44.1 ms: never more than 63 bits.
        Self((now.as_nanos() / 1_000_000) as i64)
    }

    /// That long before now.
    pub fn before(now: Time, age: Duration) -> Self {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        Self(Self::now(now).0.saturating_sub(age))
    }

    /// How old it is, as the status vector has it: milliseconds, `u32::MAX` for that long or longer.
    pub fn age_ms(self, now: Time) -> u32 {
        u32::try_from(Self::now(now).0.saturating_sub(self.0).max(0)).unwrap_or(u32::MAX)
    }

    /// How old it is.
    pub fn age(self, now: Time) -> Duration {
        Duration::from_millis(u64::try_from(Self::now(now).0.saturating_sub(self.0)).unwrap_or(0))
    }
}
