//! The figures of a demo.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::lab::Record;

/// A query that has no answer after this time is lost; one sent no longer before the kill was still under way.
const UNDER_WAY: Duration = Duration::from_secs(1);

/// What the demo found; serialises to the report file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Report {
    queries_sent: usize,
    queries_answered: usize,
    /// From the kill to the first answer of another server; none if there was none.
    takeover_ms: Option<f64>,
    /// By the fast paths of all servers.
    solicitations_answered: u64,
    /// Answers by server.
    per_server: BTreeMap<String, u64>,
    /// Queries lost that the event does not explain.
    #[serde(skip)]
    lost_in_peace: usize,
}

impl Report {
    /// Judges a record: `victim` lost its DNS service at `killed_at`.
    pub(super) fn new(
        record: &Record,
        victim: &str,
        killed_at: Instant,
        solicitations_answered: u64,
    ) -> Self {
        let takeover = record.first_answer_of_another(victim, killed_at).map(|(at, _)| at);
        // Without a takeover the event has no end, and the report is bad anyway.
        let within_event =
            |sent: Instant| sent + UNDER_WAY >= killed_at && takeover.is_none_or(|takeover| sent < takeover);
        let lost = record.queries.iter().filter(|query| query.answered.is_none());
        Self {
            queries_sent: record.sent(),
            queries_answered: record.answered(),
            takeover_ms: takeover.map(|at| (at - killed_at).as_secs_f64() * 1e3),
            solicitations_answered,
            per_server: record.by_server(),
            lost_in_peace: lost.filter(|query| !within_event(query.sent)).count(),
        }
    }

    /// Whether the next server took over and nothing was lost in peace.
    pub(super) fn is_good(&self) -> bool {
        self.takeover_ms.is_some() && self.lost_in_peace == 0
    }

    /// Writes it as JSON.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).context("write the report as JSON")?;
        text.push('\n');
        std::fs::write(path, text).with_context(|| format!("write the report {}", path.display()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = self.queries_sent - self.queries_answered;
        writeln!(f, "Queries sent            {:>8}", self.queries_sent)?;
        writeln!(f, "Queries answered        {:>8}", self.queries_answered)?;
        writeln!(f, "Lost by the event       {:>8}", lost - self.lost_in_peace)?;
        writeln!(f, "Lost besides            {:>8}", self.lost_in_peace)?;
        match self.takeover_ms {
            Some(time) => {
                writeln!(f, "Takeover                {time:>8.1} ms from kill to the next server's answer")?
            }
            None => writeln!(f, "Takeover                    none")?,
        }
        writeln!(f, "Solicitations answered  {:>8} by the fast paths", self.solicitations_answered)?;
        for (server, answers) in &self.per_server {
            writeln!(f, "Answers of {server:<12} {answers:>8}")?;
        }
        f.write_str(match (self.takeover_ms, self.lost_in_peace) {
            (None, _) => "FAILED: no other server answered.",
            (Some(_), 0) => "Good: the next server took over, and nothing else was lost.",
            (Some(_), _) => "FAILED: queries were lost without a cause.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::client::Asked;

    /// A query every 10 ms; the kill is at 1,500 ms, from then on the victim is silent, and `s2` answers from 1,700 ms on.
    fn record(lost_in_peace: Option<u64>, next: Option<&str>) -> (Record, Instant) {
        let start = Instant::now();
        let queries = (0..300).map(|number| {
            let sent_ms = number * 10;
            let server = match sent_ms {
                _ if Some(sent_ms) == lost_in_peace => None,
                0..1500 => Some("s1"),
                1500..1700 => None,
                _ => next,
            };
            let sent = start + Duration::from_millis(sent_ms);
            Asked {
                sent,
                answered: server.map(|server| (sent + Duration::from_millis(1), server.to_owned())),
            }
        });
        (Record { queries: queries.collect(), duplicates: 0 }, start + Duration::from_millis(1500))
    }

    #[test]
    fn the_event_excuses_what_it_cost() {
        let (record, killed_at) = record(None, Some("s2"));
        let report = Report::new(&record, "s1", killed_at, 7);
        assert!(report.is_good(), "{report}");
        assert_eq!((report.queries_sent, report.queries_answered), (300, 280));
        assert!((report.takeover_ms.unwrap() - 201.0).abs() < 1e-6);
        assert_eq!(report.per_server, BTreeMap::from([("s1".into(), 150), ("s2".into(), 130)]));
    }

    #[test]
    fn a_query_lost_in_peace_fails_it() {
        for at in [200, 2500] {
            let (record, killed_at) = record(Some(at), Some("s2"));
            let report = Report::new(&record, "s1", killed_at, 7);
            assert_eq!(report.lost_in_peace, 1, "{at}");
            assert!(!report.is_good());
        }
    }

    #[test]
    fn no_takeover_fails_it() {
        for next in [None, Some("s1")] {
            let (record, killed_at) = record(None, next);
            let report = Report::new(&record, "s1", killed_at, 7);
            assert_eq!(report.takeover_ms, None);
            assert!(!report.is_good());
        }
    }

    #[test]
    fn the_file_has_the_promised_keys_and_no_others() {
        let (record, killed_at) = record(None, Some("s2"));
        let json = serde_json::to_value(Report::new(&record, "s1", killed_at, 7)).unwrap();
        let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        let mut promised =
            ["queries_sent", "queries_answered", "takeover_ms", "solicitations_answered", "per_server"];
        promised.sort_unstable();
        assert_eq!(keys, promised);
    }
}
