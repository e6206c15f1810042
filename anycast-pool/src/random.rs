//! Randomness from a seed: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). Two machines with one seed draw the same numbers, so
//! a history can be played again.

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

    /// A time between half and one and a half of `mean`: the spread that keeps timers of many from falling together (RFC 5352
    /// 3.4, ±50 %).
    pub fn around(&mut self, mean: Duration) -> Duration {
        let mean = u64::try_from(mean.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos((mean / 2).saturating_add(self.below(mean)))
    }
}

/// SplitMix64's finalizer: every bit of `x` moves about half the bits of the result.
pub(crate) const fn mix(mut x: u64) -> u64 {
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
    fn the_spread_is_half_to_one_and_a_half() {
        let mut random = Random::new(1);
        let mean = Duration::from_secs(5);
        let drawn: Vec<_> = (0..1000).map(|_| random.around(mean)).collect();
        assert!(drawn.iter().all(|time| (mean / 2..mean * 3 / 2).contains(time)));
        assert!(drawn.iter().any(|time| *time < mean * 6 / 10));
        assert!(drawn.iter().any(|time| *time > mean * 14 / 10));
    }
}
