//! The demo as whoever tries the project runs it: to its end, and interrupted.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as the tests do, by a panic")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anycast_tests::lab::{self, Child, lab_binary, wait_until};
use nix::sys::signal::Signal;

/// The demo promises to end within this.
const A_MINUTE: Duration = Duration::from_secs(60);

#[test]
fn the_demo_ends_by_itself_with_a_report_and_leaves_nothing() {
    if let Err(reason) = lab::available() {
        anycast_tests::skip("the_demo_ends_by_itself_with_a_report_and_leaves_nothing", &reason);
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report.json");
    let mut demo = start(directory.path(), &["--report", report.to_str().unwrap()]);
    let status = demo.wait(A_MINUTE).unwrap();
    let said = demo.log();
    assert!(status.success(), "{status}: {said}");
    // Nothing is wider than a terminal of eighty columns.
    let widest = said.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    assert!(widest <= 80, "{widest} columns: {said}");
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
    let number = |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("no {key} in {report}"));
    assert!(number("queries_sent") >= number("queries_answered") && number("queries_answered") > 0.0);
    assert!(number("takeover_ms") > 0.0 && number("solicitations_answered") > 0.0);
    // The owner before and the owner after: two servers have answered.
    let answered = report["per_server"].as_object().unwrap().values().filter_map(serde_json::Value::as_u64);
    assert!(answered.filter(|answers| *answers > 0).count() >= 2, "{report}");
    assert_eq!(left_by(demo.pid()), Vec::<String>::new());
}

#[test]
fn the_demo_takes_its_farm_down_when_it_is_interrupted() {
    if let Err(reason) = lab::available() {
        anycast_tests::skip("the_demo_takes_its_farm_down_when_it_is_interrupted", &reason);
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut demo = start(directory.path(), &[]);
    wait_until("the demo's farm serves", A_MINUTE, || demo.log().contains("The client asks")).unwrap();
    // Control: there is something to take down.
    assert!(!left_by(demo.pid()).is_empty());
    demo.signal(Signal::SIGINT).unwrap();
    let status = demo.wait(A_MINUTE).unwrap();
    assert_eq!(status.code(), Some(130), "{}", demo.log());
    assert!(demo.log().contains("Interrupted"), "{}", demo.log());
    assert_eq!(left_by(demo.pid()), Vec::<String>::new());
}

fn start(directory: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(lab_binary().unwrap());
    command.arg("demo").args(arguments);
    Child::spawn("the demo", command, &directory.join("demo.log")).unwrap()
}

/// Namespaces and scratch directories of a process, by their names.
fn left_by(pid: u32) -> Vec<String> {
    let prefix = format!("ac{pid}-");
    let names = ["/run/netns".into(), std::env::temp_dir()];
    names
        .iter()
        .filter_map(|directory| std::fs::read_dir(directory).ok())
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(&prefix))
        .collect()
}
