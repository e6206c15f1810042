//! The operator's programs and files: `notify`, `on_standby`, `on_wake`, `drain_file`.

use super::*;

const HOOKS: &str = "on_standby = [\"/bin/stop-dns\"]\non_wake = [\"/bin/start-dns\", \"now\"]\n";

fn standby(lines: &str) -> String {
    with("", "") + "[service.standby]\n" + lines
}

#[test]
fn hooks_of_standby_come_in_pairs_with_time_enough() {
    let config = parse(&standby(HOOKS)).unwrap();
    assert!(config.warnings[0].to_string().contains("on `anycast standby` only"), "{:?}", config.warnings);
    let rotating = standby(HOOKS).replace("\"failover\"", "\"rotate\"");
    assert_eq!(parse(&rotating).unwrap().warnings, []);
    let hooks = config.services[0].standby.clone().unwrap().hooks.unwrap();
    assert_eq!(hooks.on_standby, ["/bin/stop-dns"]);
    assert_eq!(hooks.on_wake, ["/bin/start-dns", "now"]);
    assert_eq!(hooks.wake_timeout, Duration::from_secs(10), "when nothing is said");
    let refused = [
        ("on_standby = [\"/bin/stop-dns\"]\n", "what on_standby stops must be started again"),
        ("on_wake = [\"/bin/start-dns\"]\n", "without it nothing is stopped"),
        ("wake_timeout = \"5s\"\n", "has no meaning without on_standby and on_wake"),
        ("on_standby = []\non_wake = [\"/bin/start-dns\"]\n", "is empty: name a program"),
        ("on_standby = [\"stop-dns\"]\non_wake = [\"/bin/start-dns\"]\n", "write the whole path"),
        // The check of the sound file runs once a second, and must succeed twice.
        (&format!("{HOOKS}wake_timeout = \"1s\"\n"), "the checks alone need 2s (2 runs, 1s apart)"),
    ];
    for (lines, what) in refused {
        let problems = problems(&standby(lines));
        assert_eq!(problems.len(), 1, "{lines}: {problems:#?}");
        assert!(problems[0].contains(what), "{}\ndoes not say {what}", problems[0]);
    }
}

#[test]
fn a_process_that_serves_two_addresses_is_not_stopped_for_one() {
    let other = |more: &str| {
        standby(HOOKS)
            + "[[service]]\nname = \"dns4\"\ninterface = \"eth0\"\naddress = \"192.0.2.53\"\n"
            + more
    };
    let problems = problems(&other("check_as = \"dns\"\n"));
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].contains("cannot be stopped for one"), "{problems:#?}");
    // With a check of its own it is another process.
    parse(&other("[service.check]\nexec = { command = [\"/bin/true\"] }\n")).unwrap();
}

#[test]
fn a_program_to_notify_has_a_whole_path() {
    let notify = |path: &str| with("lease = \"300ms\"", &format!("notify = \"{path}\""));
    let config = parse(&notify("/usr/local/bin/notify")).unwrap();
    assert_eq!(config.daemon.notify.as_deref(), Some(Path::new("/usr/local/bin/notify")));
    assert_eq!(parse(&with("", "")).unwrap().daemon.notify, None);
    let problems = problems(&notify("bin/notify"));
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].contains("daemon.notify"), "{problems:#?}");
}

#[test]
fn drain_files_are_the_hosts_or_one_services() {
    let text = with("lease = \"300ms\"", "drain_file = \"/run/drain\"");
    let text = text.replace("ports = [53]", "drain_file = \"/run/drain-dns\"");
    let config = parse(&text).unwrap();
    assert_eq!(config.daemon.drain_file.as_deref(), Some(Path::new("/run/drain")));
    assert_eq!(config.services[0].drain_file.as_deref(), Some(Path::new("/run/drain-dns")));
    for key in ["daemon", "service"] {
        let relative = if key == "daemon" {
            text.replace("/run/drain\"", "drain\"")
        } else {
            text.replace("/run/drain-dns", "drain")
        };
        let problems = problems(&relative);
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(problems[0].contains(&format!("{key}.drain_file")), "{problems:#?}");
    }
}
