//! Reading what Rust's test harness prints.

use super::{
    stream::Ended,
    summary::{Outcome, Skip},
};

/// What the lines of one test binary said so far.
#[derive(Debug, Default)]
pub struct Report {
    passed: usize,
    failed: usize,
    ignored: usize,
    results: usize,
    passed_names: Vec<String>,
    failed_names: Vec<String>,
    skips: Vec<Skip>,
}

impl Report {
    /// Takes in one line.
    pub fn line(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.results += 1;
            self.passed += count(result, "passed");
            self.failed += count(result, "failed");
            self.ignored += count(result, "ignored");
        } else if let Some((name, result)) =
            line.strip_prefix("test ").and_then(|test| test.split_once(" ... "))
        {
            // A test for a panic has its expectation behind its name.
            let name = name.split(" - should panic").next().unwrap_or(name).to_owned();
            // What a child process of the test wrote to the terminal may stand before the result.
            if let Some(reason) = result.strip_prefix("ignored") {
                let reason = reason.trim_start_matches(", ");
                let reason = if reason.is_empty() { "marked as ignored" } else { reason };
                self.skips.push(Skip { name, reason: reason.to_owned() });
            } else if result.ends_with("FAILED") {
                self.failed_names.push(name);
            } else if result.ends_with("ok") {
                self.passed_names.push(name);
            }
        }
    }

    /// What came of the binary `target`, given how its process ended and which of its cases said that they were
    /// skipped: those the harness counted as passed.
    pub fn into_outcome(self, target: &str, ended: &Ended, said: Vec<Skip>) -> Outcome {
        let mut outcome = Outcome { passed: self.passed, ..Outcome::default() };
        let named = |name: &str| format!("{target}: {name}");
        outcome.failed.extend(self.failed_names.iter().map(|name| named(name)));
        // The harness's own count is the one that holds; names can be lost among other output.
        for number in outcome.failed.len()..self.failed {
            outcome.fail(named(&format!("a case whose name was not seen ({number})")));
        }
        match ended {
            Ended::Exited(status) if self.results == 0 => {
                outcome.fail(named(&format!("ended without a result: {status}")));
            }
            Ended::Exited(status) if !status.success() && self.failed == 0 => {
                outcome.fail(named(&format!("no case failed, but the program did: {status}")));
            }
            Ended::Exited(_) => {}
            Ended::TimedOut(limit) => {
                outcome.fail(named(&format!("still running after {} s, ended", limit.as_secs())));
            }
        }
        for number in self.skips.len()..self.ignored {
            outcome
                .skipped
                .push(Skip { name: named(&format!("({number})")), reason: "marked as ignored".into() });
        }
        outcome.skipped.extend(self.skips);
        for skip in said {
            // A case may skip as a whole, under its own name, or only a part of it under another.
            let is_whole = |name: &String| *name == skip.name || name.ends_with(&format!("::{}", skip.name));
            if self.passed_names.iter().any(is_whole) && !outcome.skipped.contains(&skip) {
                outcome.passed = outcome.passed.saturating_sub(1);
            }
            outcome.skipped.push(skip);
        }
        outcome
    }
}

/// The number before `what` in `ok. 11 passed; 0 failed; …`.
fn count(result: &str, what: &str) -> usize {
    let mut words = result.split([' ', ';']).filter(|word| !word.is_empty());
    let mut before = None;
    words
        .find_map(|word| {
            let number = (word == what).then_some(before).flatten();
            before = word.parse().ok();
            number
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus, time::Duration};

    use super::*;

    fn report(text: &str) -> Report {
        let mut report = Report::default();
        text.lines().for_each(|line| report.line(line));
        report
    }

    fn exited(code: i32) -> Ended {
        Ended::Exited(ExitStatus::from_raw(code << 8))
    }

    #[test]
    fn cases_are_counted_and_failures_named() {
        let report = report(
            "running 4 tests\ntest a::one ... ok\ntest b - should panic ... ok\n\
             test c ... FAILED\ntest d ... ignored, needs a second disk\n\n\
             test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        );
        let outcome = report.into_outcome("lab", &exited(101), Vec::new());
        assert_eq!(outcome.passed, 2);
        assert_eq!(outcome.failed, ["lab: c"]);
        assert_eq!(outcome.skipped, [Skip { name: "d".into(), reason: "needs a second disk".into() }]);
    }

    #[test]
    fn a_case_that_says_it_was_skipped_has_not_passed() {
        let text = "test a::one ... ok\ntest two ... ok\n\
                    test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        let outcome = report(text).into_outcome("lab", &exited(0), vec![Skip::parse("one\tno veth")]);
        assert_eq!((outcome.passed, outcome.skipped.len()), (1, 1));
        // A part of a case is skipped: the case itself ran.
        let outcome = report(text).into_outcome("lab", &exited(0), vec![Skip::parse("third row\tno veth")]);
        assert_eq!((outcome.passed, outcome.skipped.len()), (2, 1));
    }

    #[test]
    fn a_binary_that_ends_without_a_result_has_failed() {
        let outcome = report("running 2 tests\ntest a ... ok").into_outcome("lab", &exited(101), Vec::new());
        assert_eq!(outcome.failed.len(), 1);
        let hanging = Ended::TimedOut(Duration::from_secs(600));
        let outcome = report("running 2 tests\ntest a ... ok").into_outcome("lab", &hanging, Vec::new());
        assert_eq!(outcome.failed, ["lab: still running after 600 s, ended"]);
        let passed = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert!(report(passed).into_outcome("lab", &exited(0), Vec::new()).failed.is_empty());
        assert_eq!(report(passed).into_outcome("lab", &exited(1), Vec::new()).failed.len(), 1);
    }

    #[test]
    fn a_failure_whose_name_was_lost_still_counts() {
        let text = "test a ... child says hello\nFAILED\n\
                    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(report(text).into_outcome("lab", &exited(101), Vec::new()).failed.len(), 1);
    }
}
