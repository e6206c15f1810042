//! Randomness from a seed: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). Two machines with one seed draw the same
//! numbers, so a simulated history can be played again.

use std::time::Duration;

/// A small generator of pseudo-random numbers; not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator whose numbers follow from `seed` alone.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `bound`; 0 if `bound` is 0. The bias of the multiplication is below 2^-32 for bounds in use here.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A time from zero up to, not including, `limit`.
    pub fn up_to(&mut self, limit: Duration) -> Duration {
        Duration::from_nanos(self.below(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// True with the given probability (0 = never, 1 = always).
    pub fn chance(&mut self, probability: f64) -> bool {
        // 53 bits: what a double holds exactly.
        ((self.next() >> 11) as f64) < probability * (1u64 << 53) as f64
    }
}

/// SplitMix64's finalizer: every bit of `x` moves about half the bits of the result. Part of the protocol (it orders
/// candidates of a contest), so it never changes.
pub const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference output of SplitMix64 with seed 1234567.
    #[test]
    fn numbers_are_those_of_splitmix64() {
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
        assert_eq!(random.next(), 9_817_491_932_198_370_423);
    }

    #[test]
    fn numbers_stay_within_their_limits() {
        let mut random = Random::new(7);
        let mut heads = 0;
        for _ in 0..10_000 {
            assert!(random.below(10) < 10);
            assert!(random.up_to(Duration::from_millis(20)) < Duration::from_millis(20));
            heads += u32::from(random.chance(0.25));
            assert!(!random.chance(0.0));
            assert!(random.chance(1.0));
        }
        assert_eq!(random.below(0), 0);
        assert!((2_300..2_700).contains(&heads), "{heads} of 10,000 at a quarter");
    }
}
