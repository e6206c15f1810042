//! What came of the rings, counted and printed.

use std::time::Duration;

use anyhow::Result;

use super::{Ring, timed};

/// A case that did not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// Its name.
    pub name: String,
    /// Why it did not run.
    pub reason: String,
}

impl Skip {
    /// Reads a line that a test wrote: name, tab, reason.
    pub fn parse(line: &str) -> Self {
        let (name, reason) = line.split_once('\t').unwrap_or((line, "no reason given"));
        Self { name: name.to_owned(), reason: reason.to_owned() }
    }
}

/// What came of a ring or a part of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many cases passed.
    pub passed: usize,
    /// The cases that failed.
    pub failed: Vec<String>,
    /// The cases that did not run.
    pub skipped: Vec<Skip>,
    /// Why the ring did not run at all.
    pub not_run: Option<String>,
}

impl Outcome {
    /// A ring that could not start on this machine.
    pub fn not_run(reason: &str) -> Self {
        Self { not_run: Some(reason.to_owned()), ..Self::default() }
    }

    /// A ring that failed before its first case.
    pub fn failed_whole(reason: &str) -> Self {
        Self { failed: vec![reason.to_owned()], ..Self::default() }
    }

    /// Adds what came of another part.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
    }

    /// Adds a failure.
    pub fn fail(&mut self, name: String) {
        self.failed.push(name);
    }

    /// Whether no case ran, failed or was skipped.
    pub fn is_empty(&self) -> bool {
        self.passed == 0 && self.failed.is_empty() && self.skipped.is_empty()
    }
}

/// The outcomes of all rings.
pub struct Summary<'a> {
    allowed: &'a [String],
    rings: Vec<(Ring, Outcome, Duration)>,
}

impl<'a> Summary<'a> {
    /// A summary in which the rings and cases named in `allowed` may be skipped.
    pub fn new(allowed: &'a [String]) -> Self {
        Self { allowed, rings: Vec::new() }
    }

    /// Runs a ring and keeps what came of it; an error is a failure of the ring.
    pub fn ring(&mut self, ring: Ring, run: impl FnOnce() -> Result<Outcome>) {
        println!("\n=== {} ===", ring.name());
        let (outcome, time) = timed(run);
        let outcome = outcome.unwrap_or_else(|error| Outcome::failed_whole(&format!("{error:#}")));
        self.rings.push((ring, outcome, time));
    }

    /// Whether nothing failed and nothing was skipped that may not be.
    pub fn is_good(&self) -> bool {
        self.rings.iter().all(|(ring, outcome, _)| {
            outcome.failed.is_empty()
                && (outcome.not_run.is_none() || self.is_allowed(ring.name()))
                && outcome
                    .skipped
                    .iter()
                    .all(|skip| self.is_allowed(ring.name()) || self.is_allowed(&skip.name))
        })
    }

    /// Prints the table, what failed and what was skipped and why; the last line is the totals.
    pub fn print(&self) {
        println!("\n{}", self.render());
    }

    fn is_allowed(&self, name: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed == name)
    }

    fn render(&self) -> String {
        let mut lines =
            vec![format!("{:8}{:>8}{:>8}{:>9}{:>10}", "ring", "passed", "failed", "skipped", "seconds")];
        let (mut passed, mut failed, mut skipped) = (0, 0, 0);
        for (ring, outcome, time) in &self.rings {
            // A ring that did not run is one thing skipped, so that the totals show it.
            let skips = outcome.skipped.len() + usize::from(outcome.not_run.is_some());
            lines.push(format!(
                "{:8}{:>8}{:>8}{:>9}{:>10.1}",
                ring.name(),
                outcome.passed,
                outcome.failed.len(),
                skips,
                time.as_secs_f64()
            ));
            passed += outcome.passed;
            failed += outcome.failed.len();
            skipped += skips;
        }
        for (ring, outcome, _) in &self.rings {
            let ring = ring.name();
            lines.extend(outcome.failed.iter().map(|name| format!("failed   {ring}: {name}")));
            if let Some(reason) = &outcome.not_run {
                let verdict = self.verdict(self.is_allowed(ring), ring);
                lines.push(format!("skipped  {ring}: the whole ring: {reason}{verdict}"));
            }
            for Skip { name, reason } in &outcome.skipped {
                let verdict = self.verdict(self.is_allowed(ring) || self.is_allowed(name), name);
                lines.push(format!("skipped  {ring}: {name}: {reason}{verdict}"));
            }
        }
        let mut totals = format!("{passed} passed, {failed} failed");
        if skipped > 0 {
            totals.push_str(&format!(", {skipped} skipped"));
        }
        lines.push(totals);
        lines.join("\n")
    }

    fn verdict(&self, allowed: bool, name: &str) -> String {
        if allowed { String::new() } else { format!(" (a failure without `--allow-skip {name}`)") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipping() -> Outcome {
        Outcome {
            passed: 3,
            skipped: vec![Skip::parse("vlan_device\tno 8021q in this kernel")],
            ..Outcome::default()
        }
    }

    #[test]
    fn a_skipped_case_fails_the_run_unless_it_is_allowed() {
        for (allowed, good) in
            [(vec![], false), (vec!["vlan_device"], true), (vec!["lab"], true), (vec!["packet"], false)]
        {
            let allowed: Vec<String> = allowed.into_iter().map(str::to_owned).collect();
            let mut summary = Summary::new(&allowed);
            summary.ring(Ring::Lab, || Ok(skipping()));
            assert_eq!(summary.is_good(), good, "{allowed:?}");
        }
    }

    #[test]
    fn a_ring_that_did_not_run_fails_the_run_unless_it_is_allowed() {
        let allowed = [];
        let mut summary = Summary::new(&allowed);
        summary.ring(Ring::Packet, || Ok(Outcome::not_run("no root")));
        assert!(!summary.is_good());
        assert!(summary.render().ends_with("\n0 passed, 0 failed, 1 skipped"));

        let allowed = ["packet".to_owned()];
        let mut summary = Summary::new(&allowed);
        summary.ring(Ring::Packet, || Ok(Outcome::not_run("no root")));
        assert!(summary.is_good());
    }

    #[test]
    fn a_failure_is_never_allowed() {
        let allowed = ["unit".to_owned(), "case".to_owned()];
        let mut summary = Summary::new(&allowed);
        summary.ring(Ring::Unit, || Ok(Outcome::failed_whole("case")));
        assert!(!summary.is_good());
    }

    #[test]
    fn the_last_line_is_the_totals_alone() {
        let allowed = [];
        let mut summary = Summary::new(&allowed);
        summary.ring(Ring::Unit, || Ok(Outcome { passed: 7, ..Outcome::default() }));
        assert!(summary.is_good());
        assert_eq!(summary.render().lines().last(), Some("7 passed, 0 failed"));
        summary.ring(Ring::Lab, || Ok(skipping()));
        summary.ring(Ring::Packet, || anyhow::bail!("it broke"));
        let text = summary.render();
        assert_eq!(text.lines().last(), Some("10 passed, 1 failed, 1 skipped"));
        assert!(text.contains("vlan_device: no 8021q in this kernel"));
        assert!(text.contains("failed   packet: it broke"));
    }
}
