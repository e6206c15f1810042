//! What the guest prints: its tests' lines, and what its first process says of them.

use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus};

use crate::rings::{
    libtest::Report,
    stream::Ended,
    summary::{Outcome, Skip},
};

/// What stands before a word of the guest's first process. The rest is in `tests/src/guest.rs`.
const MARK: &str = "@vm ";

/// What was printed so far.
#[derive(Default)]
pub struct Console {
    running: Option<Running>,
    outcome: Outcome,
    ended: Vec<String>,
    done: bool,
}

/// A test binary that runs.
struct Running {
    name: String,
    report: Report,
    skips: Vec<Skip>,
}

impl Console {
    /// Takes in one line.
    pub fn line(&mut self, line: &str) {
        let line = line.trim_end_matches('\r');
        let Some((_, words)) = line.split_once(MARK) else {
            if let Some(running) = &mut self.running {
                running.report.line(line);
            }
            return;
        };
        match (words.split_once(' ').unwrap_or((words, "")), &mut self.running) {
            (("begin", name), running) => {
                let report = Report::default();
                *running = Some(Running { name: name.to_owned(), report, skips: Vec::new() });
            }
            (("skipped", skip), Some(running)) => running.skips.push(Skip::parse(skip)),
            (("end", status), running @ Some(_)) => {
                // A status that cannot be read is that of no success.
                let status = ExitStatus::from_raw(status.parse().unwrap_or(-1));
                if let Some(Running { name, report, skips }) = running.take() {
                    self.outcome.add(report.into_outcome(&name, &Ended::Exited(status), skips));
                    self.ended.push(name);
                }
            }
            (("done", _), _) => self.done = true,
            _ => self.outcome.fail(format!("the guest said: {words}")),
        }
    }

    /// What came of `targets`, given how QEMU ended: whatever has not said how it ended has failed.
    pub fn into_outcome(mut self, targets: &[&str], ended: &Ended) -> Outcome {
        let how = match ended {
            Ended::Exited(status) => format!("QEMU ended, {status}"),
            Ended::TimedOut(limit) => format!("it still ran after {} s", limit.as_secs()),
        };
        if let Some(Running { name, .. }) = self.running.take() {
            self.outcome.fail(format!("{name}: the guest ended before it: {how}"));
        } else if !self.done {
            self.outcome.fail(format!("the guest did not come to its end: {how}"));
        }
        for target in targets.iter().filter(|target| !self.ended.iter().any(|ended| ended == *target)) {
            self.outcome.fail(format!("{target}: no result"));
        }
        self.outcome
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PASSED: &str =
        "test a ... ok\r\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\r\n";

    fn outcome(text: &str, targets: &[&str]) -> Outcome {
        let mut console = Console::default();
        text.lines().for_each(|line| console.line(line));
        console.into_outcome(targets, &Ended::Exited(ExitStatus::from_raw(0)))
    }

    #[test]
    fn results_are_counted_by_binary() {
        let text = format!(
            "[    1.0] noise\r\n@vm begin one\r\n{PASSED}@vm skipped a\tno veth\r\n@vm end 0\r\n@vm begin two\r\n{PASSED}@vm end 0\r\n@vm done\r\n"
        );
        let outcome = outcome(&text, &["one", "two"]);
        assert_eq!((outcome.passed, outcome.skipped.len()), (1, 1));
        assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
    }

    #[test]
    fn a_guest_that_ends_early_has_failed_whatever_passed_before() {
        let panics = format!("@vm begin one\n{PASSED}[    9.0] Kernel panic - not syncing: no\n");
        assert_eq!(outcome(&panics, &["one"]).failed.len(), 2);
        assert_eq!(outcome("", &["one"]).failed.len(), 2, "no word at all");
        let forgets = format!("@vm begin one\n{PASSED}@vm end 0\n@vm done\n");
        assert_eq!(outcome(&forgets, &["one", "two"]).failed, ["two: no result"]);
        let fails = format!("@vm begin one\n{PASSED}@vm end 256\n@vm done\n");
        assert_eq!(outcome(&fails, &["one"]).failed.len(), 1);
        let error = "@vm error mount proc on /proc: EPERM\n";
        assert!(outcome(error, &[]).failed[0].contains("EPERM"));
    }

    #[test]
    fn a_guest_that_hangs_has_failed() {
        let mut console = Console::default();
        console.line("@vm begin one");
        let ended = Ended::TimedOut(Duration::from_secs(9));
        assert!(console.into_outcome(&["one"], &ended).failed[0].contains("after 9 s"));
    }
}
