//! The binary from outside, without root: what it says and how it exits.
#![expect(clippy::unwrap_used, reason = "a test panics where something is not as it should be")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;

use assert_cmd::Command;

/// What the binary printed, and how it exited.
struct Outcome {
    code: i32,
    out: String,
    err: String,
}

fn anycast<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_anycast"))
        .args(arguments)
        .env_remove("ANYCAST_LOG")
        .output()
        .expect("the binary runs");
    Outcome {
        code: output.status.code().expect("it exits"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// Answers one connection's first request with a line, and returns the request.
fn daemon_that_says(socket: &Path, answer: &'static str) -> std::thread::JoinHandle<String> {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut request = String::new();
        BufReader::new(&stream).read_line(&mut request).unwrap();
        (&stream).write_all(answer.as_bytes()).unwrap();
        request
    })
}

#[test]
fn without_a_command_it_shows_how_and_exits_2() {
    let none: [&str; 0] = [];
    let outcome = anycast(&none);
    assert_eq!(outcome.code, 2);
    assert!(outcome.err.contains("Usage: anycast") && outcome.err.contains("Exit codes:"), "{}", outcome.err);
}

#[test]
fn help_is_no_failure_and_fits_100_columns() {
    for command in
        ["run", "load", "check", "status", "stats", "hold", "drain", "stop", "detach", "completions", "man"]
    {
        let outcome = anycast(&[command, "--help"]);
        assert_eq!(outcome.code, 0, "{command}");
        assert!(outcome.out.contains("Example"), "{command}");
        for line in outcome.out.lines() {
            assert!(line.chars().count() <= 120, "{command}: {line}");
        }
    }
}

#[test]
fn wrong_usage_exits_2() {
    for arguments in [
        vec!["explode"],
        vec!["hold", "dns"],
        vec!["hold", "dns", "ajar"],
        vec!["drain"],
        vec!["load", "--interface", "x"],
        vec!["load", "--interface", "x", "--address", "dns.example"],
        vec!["load", "--interface", "x", "--address", "ff02::1"],
        vec!["load", "--interface", "x", "--address", "::1"],
        vec!["load", "--interface", "x", "--address", "2001:db8::1", "--address", "2001:db8::1"],
        vec!["load", "--interface", "x", "--address", "2001:db8::1", "--mode", "offload"],
    ] {
        let outcome = anycast(&arguments);
        assert_eq!(outcome.code, 2, "{arguments:?}: {}", outcome.err);
        assert!(!outcome.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_configuration_that_is_missing_or_wrong_exits_2_and_names_the_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.toml");
    fs::write(&file, "[farm]\nname = \"f\"\nhartbeat = \"50ms\"\n").unwrap();
    let file = file.to_str().unwrap();
    for command in ["run", "check"] {
        let missing = anycast(&[command, "--config", "/nonexistent.toml"]);
        assert_eq!(missing.code, 2);
        assert!(missing.err.contains("cannot read the configuration /nonexistent.toml"), "{}", missing.err);
        let wrong = anycast(&[command, "--config", file]);
        assert_eq!(wrong.code, 2);
        let told = format!("anycast: {file}:3: farm: unknown key `hartbeat`: did you mean `heartbeat`?\n");
        assert_eq!(wrong.err, told);
    }
}

#[test]
fn the_example_of_the_distribution_is_checked_on_a_machine_it_is_not_for() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../dist/anycast.toml");
    let directory = tempfile::tempdir().unwrap();
    // Renamed, so that no machine has it.
    let text = fs::read_to_string(example).unwrap().replace("\"eth0\"", "\"nosuchif0\"");
    let file = directory.path().join("a.toml");
    fs::write(&file, text).unwrap();
    let outcome = anycast(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(outcome.code, 1, "{}{}", outcome.out, outcome.err);
    assert!(outcome.out.starts_with("ok       configuration "), "{}", outcome.out);
    assert!(outcome.out.contains("FAIL     interface nosuchif0 does not exist"), "{}", outcome.out);
}

#[test]
fn without_a_daemon_each_command_for_it_says_so_and_exits_1() {
    for arguments in [
        vec!["status"],
        vec!["hold", "dns", "shut"],
        vec!["drain", "dns"],
        vec!["undrain", "--all"],
        vec!["standby", "dns"],
        vec!["takeover", "dns"],
        vec!["announce", "--all"],
        vec!["stop"],
    ] {
        let outcome = anycast(&[&["--socket", "/nonexistent/control.sock"], arguments.as_slice()].concat());
        assert_eq!(outcome.code, 1, "{arguments:?}");
        assert!(outcome.err.contains("no daemon listens on /nonexistent/control.sock"), "{}", outcome.err);
        assert_eq!(outcome.err.lines().count(), 1, "{}", outcome.err);
    }
}

#[test]
fn commands_say_to_the_daemon_what_the_operator_said() {
    for (arguments, request) in [
        (vec!["hold", "dns", "shut"], r#"{"hold":{"service":"dns","hold":"shut"}}"#),
        (vec!["drain", "--all"], r#"{"drain":{"service":null}}"#),
        (vec!["undrain", "dns"], r#"{"undrain":{"service":"dns"}}"#),
        (vec!["standby", "dns"], r#"{"standby":{"service":"dns"}}"#),
        (vec!["takeover", "2001:db8::53"], r#"{"takeover":{"service":"2001:db8::53"}}"#),
        (vec!["announce", "dns"], r#"{"announce":{"service":"dns"}}"#),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let daemon = daemon_that_says(&socket, "{\"ok\":{\"done\":\"as you wish\"}}\n");
        let outcome = anycast(&[&["--socket", socket.to_str().unwrap()], arguments.as_slice()].concat());
        assert_eq!((outcome.code, outcome.out.as_str()), (0, "as you wish\n"), "{}", outcome.err);
        // The order of keys means nothing in JSON.
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let expected = format!("{{\"version\":1,\"command\":{request}}}");
        assert_eq!(json(&daemon.join().unwrap()), json(&expected));
    }
}

#[test]
fn a_refusal_of_the_daemon_is_passed_on_with_exit_code_1() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let daemon = daemon_that_says(&socket, "{\"error\":\"no service is called \\\"dsn\\\"\"}\n");
    let outcome = anycast(&["--socket", socket.to_str().unwrap(), "takeover", "dsn"]);
    daemon.join().unwrap();
    assert_eq!(outcome.code, 1);
    assert_eq!(outcome.err, "anycast: the daemon refused: no service is called \"dsn\"\n");
}

#[test]
fn an_answer_that_cannot_be_read_is_told() {
    for answer in ["{\"maybe\":1}\n", "ok\n", "{\"ok\":{\"done\":\"half"] {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let daemon = daemon_that_says(&socket, answer);
        let outcome = anycast(&["--socket", socket.to_str().unwrap(), "status"]);
        daemon.join().unwrap();
        assert_eq!(outcome.code, 1);
        assert!(outcome.err.contains("answer"), "{}", outcome.err);
    }
}

#[test]
fn without_pins_there_are_no_stats() {
    let directory = tempfile::tempdir().unwrap();
    let bpffs = directory.path().to_str().unwrap();
    let all = anycast(&["stats", "--bpffs", bpffs]);
    assert_eq!((all.code, all.out), (0, format!("no fast path is pinned under {bpffs}\n")));
    let json = anycast(&["stats", "--bpffs", bpffs, "--json"]);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&json.out).unwrap(),
        serde_json::json!({"interfaces": []})
    );
    let one = anycast(&["stats", "--bpffs", bpffs, "--interface", "nosuchif0"]);
    assert_eq!(one.code, 1);
    assert!(one.err.contains("no fast path of nosuchif0 is pinned"), "{}", one.err);
}

#[test]
fn a_log_filter_that_is_none_exits_2() {
    let output = Command::new(env!("CARGO_BIN_EXE_anycast"))
        .args(["run", "--config", "/nonexistent.toml"])
        .env("ANYCAST_LOG", "a=b=c")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("ANYCAST_LOG=a=b=c"));
}

#[test]
fn completions_and_manual_pages_come_out() {
    for shell in ["bash", "zsh", "fish"] {
        let outcome = anycast(&["completions", shell]);
        assert_eq!(outcome.code, 0);
        assert!(outcome.out.contains("takeover"), "{shell}");
    }
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(anycast(&["man", directory.path().to_str().unwrap()]).code, 0);
    let page = fs::read_to_string(directory.path().join("anycast-hold.8")).unwrap();
    assert!(page.contains("anycast hold dns shut"), "{page}");
    assert!(directory.path().join("anycast.8").exists());
    // Pages that other pages name are there, and what is not for people has none.
    assert!(directory.path().join("anycast-pool-forward.8").exists());
    assert!(!directory.path().join("anycast-ospf-guard.8").exists());
    assert!(anycast(&["man"]).out.starts_with(".ie"));
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let output = std::process::Command::new("sh")
        .args([
            "-c",
            &format!(
                "{} man | head -c 10 > /dev/null; echo ${{PIPESTATUS:-ok}}",
                env!("CARGO_BIN_EXE_anycast")
            ),
        ])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
