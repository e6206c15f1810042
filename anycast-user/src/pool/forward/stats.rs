//! What a forwarder counts, and how it shows it.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How a query ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a good answer.
    Answered,
    /// With what a server said of its failure.
    Passed,
    /// Nobody answered in time: SERVFAIL.
    Exhausted,
    /// The pool has no element that is known here: SERVFAIL.
    NoElement,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Answered, Self::Passed, Self::Exhausted, Self::NoElement];

    const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Passed => "failure_passed_on",
            Self::Exhausted => "exhausted",
            Self::NoElement => "no_element",
        }
    }
}

/// Upper bounds of the histogram of how long clients waited.
const BOUNDS: [Duration; 9] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_millis(900),
    Duration::from_secs(2),
];

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Stats {
    outcomes: [AtomicU64; 4],
    retries: AtomicU64,
    retried: AtomicU64,
    failed: AtomicU64,
    timed_out: AtomicU64,
    refused: AtomicU64,
    ignored: AtomicU64,
    dropped: AtomicU64,
    waits: [AtomicU64; BOUNDS.len() + 1],
    waited_micros: AtomicU64,
}

impl Stats {
    /// A query is over.
    pub fn count(&self, outcome: Outcome, retries: usize, waited: Duration) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
        if retries > 0 {
            self.retried.fetch_add(1, Relaxed);
            self.retries.fetch_add(retries as u64, Relaxed);
        }
        let bucket = BOUNDS.iter().position(|bound| waited <= *bound).unwrap_or(BOUNDS.len());
        self.waits[bucket].fetch_add(1, Relaxed);
        self.waited_micros.fetch_add(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// An attempt at an element ended with an error, or was judged to have failed.
    pub fn attempt_failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// An element was silent for its time-out, and another is asked.
    pub fn attempt_timed_out(&self) {
        self.timed_out.fetch_add(1, Relaxed);
    }

    /// A message was answered without asking anybody: it is no query that can be forwarded.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// A message was not answered: it is an answer, or no DNS message.
    pub fn ignored(&self) {
        self.ignored.fetch_add(1, Relaxed);
    }

    /// A query was dropped because too many are under way.
    pub fn dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    /// Queries that were dropped.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// How many queries ended so.
    pub fn total(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Relaxed)
    }

    /// A line for the log.
    pub fn line(&self) -> String {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        format!(
            "{} answered, {} of all retried, {} failures passed on, {} without answer, {} without element, {} dropped",
            self.total(Outcome::Answered),
            get(&self.retried),
            self.total(Outcome::Passed),
            self.total(Outcome::Exhausted),
            self.total(Outcome::NoElement),
            self.dropped_total(),
        )
    }

    /// All of it as OpenMetrics text.
    pub fn metrics(&self, pool: &str) -> String {
        let mut text = String::new();
        let label = format!("pool=\"{}\"", pool.replace('\\', "\\\\").replace('"', "\\\""));
        // Writing into a string does not fail; so everywhere below.
        let _ = writeln!(
            text,
            "# HELP anycast_pool_forward_queries Queries, by how they ended\n# TYPE anycast_pool_forward_queries counter"
        );
        for outcome in Outcome::ALL {
            let (name, count) = (outcome.name(), self.total(outcome));
            let _ =
                writeln!(text, "anycast_pool_forward_queries_total{{{label},outcome=\"{name}\"}} {count}");
        }
        for (name, help, counter) in [
            ("retried", "Queries that took more than one attempt", &self.retried),
            ("retries", "Attempts beyond the first of a query", &self.retries),
            ("attempts_failed", "Attempts whose element failed", &self.failed),
            ("attempts_timed_out", "Attempts after which another element was asked", &self.timed_out),
            ("refused", "Messages that cannot be forwarded, answered with an error", &self.refused),
            ("ignored", "Messages that are no queries", &self.ignored),
            ("dropped", "Queries dropped because too many were under way", &self.dropped),
        ] {
            let count = counter.load(Relaxed);
            let _ = writeln!(
                text,
                "# HELP anycast_pool_forward_{name} {help}\n# TYPE anycast_pool_forward_{name} counter\n\
                 anycast_pool_forward_{name}_total{{{label}}} {count}"
            );
        }
        let name = "anycast_pool_forward_seconds";
        let _ = writeln!(text, "# HELP {name} How long clients waited\n# TYPE {name} histogram");
        let mut below = 0;
        for (bound, count) in BOUNDS.iter().zip(&self.waits) {
            below += count.load(Relaxed);
            let _ = writeln!(text, "{name}_bucket{{{label},le=\"{}\"}} {below}", bound.as_secs_f64());
        }
        below += self.waits[BOUNDS.len()].load(Relaxed);
        let sum = Duration::from_micros(self.waited_micros.load(Relaxed)).as_secs_f64();
        let _ = writeln!(
            text,
            "{name}_bucket{{{label},le=\"+Inf\"}} {below}\n{name}_sum{{{label}}} {sum}\n{name}_count{{{label}}} {below}\n# EOF"
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_tell_what_was_counted() {
        let stats = Stats::default();
        stats.count(Outcome::Answered, 0, Duration::from_millis(2));
        stats.count(Outcome::Answered, 2, Duration::from_millis(60));
        stats.count(Outcome::Exhausted, 7, Duration::from_secs(9));
        stats.dropped();
        let text = stats.metrics("d\"ns");
        for line in [
            "anycast_pool_forward_queries_total{pool=\"d\\\"ns\",outcome=\"answered\"} 2",
            "anycast_pool_forward_retries_total{pool=\"d\\\"ns\"} 9",
            "anycast_pool_forward_dropped_total{pool=\"d\\\"ns\"} 1",
            "anycast_pool_forward_seconds_bucket{pool=\"d\\\"ns\",le=\"0.1\"} 2",
            "anycast_pool_forward_seconds_bucket{pool=\"d\\\"ns\",le=\"+Inf\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(stats.line().starts_with("2 answered, 2 of all retried"));
    }
}
