//! `anycast simulate` from outside: the shipped scenarios, determinism, and a failing history played again from its file.
#![expect(clippy::unwrap_used, reason = "a test panics where something is not as it should be")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use anycast_core::sim::{Bounds, history};
use assert_cmd::Command;

/// Exit code and standard output.
fn simulate(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_anycast"))
        .arg("simulate")
        .args(arguments)
        .output()
        .expect("it runs");
    let error = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap() + &error)
}

fn scenarios() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scenarios");
    let mut files =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    files.sort();
    files
}

fn json(file: &Path) -> serde_json::Value {
    let (code, out) = simulate(&["--json", "--scenario", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{}: {out}", file.display());
    serde_json::from_str(&out).unwrap()
}

fn shipped(name: &str) -> serde_json::Value {
    json(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scenarios").join(name))
}

fn event<'a>(report: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    let mut events = report["events"].as_array().unwrap().iter();
    events.find(|event| event["event"] == name).unwrap_or_else(|| panic!("{name} did not happen: {report}"))
}

/// Every shipped scenario keeps its own bounds, and something happens in it.
#[test]
fn shipped_scenarios_keep_their_bounds() {
    let files = scenarios();
    assert!(files.len() >= 7, "{files:?}");
    for file in files {
        let report = json(&file);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("[bounds]"), "{} promises nothing", file.display());
        assert!(report["handovers"].as_u64().unwrap() > 0, "{}: {report}", file.display());
    }
}

#[test]
fn a_rolling_restart_loses_no_query() {
    let report = shipped("rolling-restart.toml");
    assert_eq!(report["queries_lost"], 0, "{report}");
    assert_eq!(event(&report, "restart")["ownerless_worst_ms"], 0.0, "{report}");
    // Negative control: crashes lose some.
    assert!(shipped("crash.toml")["queries_lost"].as_u64().unwrap() > 0);
}

#[test]
fn a_load_ramp_moves_the_address_to_larger_servers() {
    let report = shipped("load-ramp.toml");
    assert!((1..=6).contains(&report["handovers"].as_u64().unwrap()), "{report}");
    assert_eq!(report["queries_lost"], 0, "{report}");
}

#[test]
fn servers_stand_by_at_night() {
    let report = shipped("standby.toml");
    assert!(report["standby_mean"].as_f64().unwrap() > 1.0, "{report}");
}

#[test]
fn one_seed_gives_the_same_bytes() {
    let run = |seed| {
        simulate(&[
            "--servers",
            "20",
            "--loss",
            "0.02",
            "--duration",
            "1m",
            "--crash-every",
            "9s",
            "--seed",
            seed,
        ])
    };
    assert_eq!(run("7"), run("7"));
    assert_ne!(run("7"), run("8"));
    let runs = |runs| {
        simulate(&["--servers", "5", "--duration", "30s", "--crash-every", "9s", "--json", "--runs", runs])
    };
    assert_eq!(runs("4"), runs("4"), "whichever thread is first");
}

#[test]
fn what_cannot_be_exits_2_and_says_where() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("wrong.toml");
    std::fs::write(&file, "[farm]\nservers = 3\nslices = \"1s\"\n").unwrap();
    let (code, out) = simulate(&["--scenario", file.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(out.contains("wrong.toml:3: ") && out.contains("did you mean `slice`?"), "{out}");
    for wrong in [
        ["--loss", "1.5"],
        ["--mode", "roundabout"],
        ["--servers", "0"],
        ["--servers", "5000"],
        ["--heartbeat", "1ms"],
        ["--slice", "10ms"],
        ["--standby", "10"],
        ["--scenario", "/nowhere/at/all.toml"],
    ] {
        let (code, out) = simulate(&wrong);
        assert_eq!(code, 2, "{wrong:?}: {out}");
    }
}

/// A history that breaks a bound (here one that is too strict) is written to a file; the command that plays the file finds
/// the same violation at the same moment.
#[test]
fn a_failing_history_is_played_again_from_its_file() {
    let strict = |seed| {
        let mut scenario = history::random(seed);
        scenario.bounds = Bounds { ownerless: Some(Duration::from_millis(100)), ..Bounds::default() };
        scenario
    };
    let failing = (0..100).map(strict).find(|scenario| !history::violations(scenario).unwrap().is_empty());
    let shrunk = history::shrink(&failing.unwrap()).unwrap();
    let violation = history::violations(&shrunk).unwrap().remove(0);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("history.toml");
    std::fs::write(&file, shrunk.to_string()).unwrap();
    let (code, out) = simulate(&["--replay", file.to_str().unwrap()]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains(&format!("BROKEN {violation}")), "{violation}\n{out}");

    // Negative control: within the derived bounds it is no failure.
    let derived = anycast_core::sim::Scenario { bounds: Bounds::of(&shrunk), ..shrunk };
    std::fs::write(&file, derived.to_string()).unwrap();
    let (code, out) = simulate(&["--replay", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{out}");
}

/// What `--print` prints is the scenario itself.
#[test]
fn a_printed_scenario_runs_the_same() {
    let options =
        ["--servers", "7", "--weights", "1,2", "--loss", "0.01", "--duration", "30s", "--crash-every", "10s"];
    let (code, text) = simulate(&[options.as_slice(), &["--print"]].concat());
    assert_eq!(code, 0);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("printed.toml");
    std::fs::write(&file, text).unwrap();
    assert_eq!(simulate(&["--scenario", file.to_str().unwrap()]), simulate(&options));
}
