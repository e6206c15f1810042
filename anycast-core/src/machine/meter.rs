//! The standby rule's query meter: a sliding window over *owned* time. A server whose peer owns the address gets no
//! queries because of that, not because there are none, so time without ownership does not count.

use std::time::Duration;

use crate::config::StandbyConfig;

const SECTIONS: usize = 10;

/// Queries of the last window of owned time, in ten sections.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    config: StandbyConfig,
    /// Finished sections, oldest overwritten first.
    sections: [u64; SECTIONS],
    oldest: usize,
    finished: usize,
    /// The section that runs.
    current: u64,
    elapsed: Duration,
}

impl Meter {
    pub(crate) const fn new(config: StandbyConfig) -> Self {
        Self { config, sections: [0; SECTIONS], oldest: 0, finished: 0, current: 0, elapsed: Duration::ZERO }
    }

    /// Forgets everything: a whole window must pass before [`few`](Self::few) can be true.
    pub(crate) const fn reset(&mut self) {
        *self = Self::new(self.config);
    }

    /// `queries` arrived in `elapsed` of owned time.
    pub(crate) fn add(&mut self, elapsed: Duration, queries: u64) {
        let section = self.config.window / SECTIONS as u32;
        self.current = self.current.saturating_add(queries);
        self.elapsed += elapsed;
        // A reading longer than the window finishes them all: more turns would only write zeros again.
        for _ in 0..SECTIONS {
            if self.elapsed < section {
                return;
            }
            self.elapsed -= section;
            self.sections[self.oldest] = std::mem::take(&mut self.current);
            self.oldest = (self.oldest + 1) % SECTIONS;
            self.finished = (self.finished + 1).min(SECTIONS);
        }
        self.elapsed = self.elapsed.min(section);
    }

    /// A whole window has passed with fewer queries than the rule asks for.
    pub(crate) fn few(&self) -> bool {
        self.finished == SECTIONS && !self.enough()
    }

    /// As many queries as the rule asks for arrived within the window.
    pub(crate) fn enough(&self) -> bool {
        self.sections.iter().copied().fold(self.current, u64::saturating_add) >= self.config.queries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter() -> Meter {
        Meter::new(StandbyConfig { queries: 10, window: Duration::from_secs(60), wake_timeout: None })
    }

    #[test]
    fn few_needs_a_whole_window() {
        let mut meter = meter();
        meter.add(Duration::from_secs(59), 9);
        assert!(!meter.few());
        meter.add(Duration::from_secs(1), 0);
        assert!(meter.few());
    }

    #[test]
    fn as_many_queries_as_asked_for_are_not_few() {
        let mut meter = meter();
        for _ in 0..600 {
            meter.add(Duration::from_secs(6), 1);
            assert!(!meter.enough() || !meter.few());
        }
        assert!(meter.enough() && !meter.few(), "one query in six seconds is ten in a minute");
    }

    #[test]
    fn old_queries_leave_the_window() {
        let mut meter = meter();
        meter.add(Duration::from_secs(1), 1_000);
        for second in 1..70 {
            assert!(!meter.few() || second >= 60, "second {second}");
            meter.add(Duration::from_secs(1), 0);
        }
        assert!(meter.few());
    }

    #[test]
    fn a_long_reading_counts_once() {
        let mut meter = meter();
        meter.add(Duration::from_secs(86_400), 10);
        assert!(meter.enough(), "ten in one reading are in its first section");
        meter.add(Duration::from_secs(60), 0);
        assert!(meter.few());
    }
}
