//! Medians and percentiles of what was measured.

use serde::Serialize;

/// Several measurements of one thing.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds a measurement.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The value below which `permille` of the measurements lie, by the nearest-rank method; NaN if there are none.
    pub fn quantile(&self, permille: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * permille).div_ceil(1000).max(1);
        sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
    }

    /// The median.
    pub fn median(&self) -> f64 {
        self.quantile(500)
    }

    /// Median, 99th percentile and number, as a report has them.
    pub fn summary(&self) -> Summary {
        Summary {
            p50: round(self.median()),
            p99: round(self.quantile(990)),
            max: round(self.quantile(1000)),
            runs: self.len(),
        }
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

/// A distribution in a report.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Summary {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
    /// Number of measurements.
    pub runs: usize,
}

/// Three decimals: more is noise.
pub fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let samples: Samples = (1..=100).map(f64::from).collect();
        assert_eq!(samples.median(), 50.0);
        assert_eq!(samples.quantile(990), 99.0);
        assert_eq!(samples.quantile(1000), 100.0);
        assert!(Samples::default().median().is_nan());
    }
}
