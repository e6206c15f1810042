//! Start, stop, kill, adopt: what is there meanwhile and what stays.

use std::time::{Duration, SystemTime};

use anycast_tests::lab::daemon::anycast;
use anycast_tests::lab::farm::{SERVER, SERVICE, SERVICE_V4};
use anycast_tests::lab::{Daemon, DaemonOptions, Solicited, Solicitor, wait_until};
use anycast_user::telemetry::status::State;

use crate::{DNS, PATIENCE, Rig, arp_sysctls, attached, dual_stack, joined, local, need_lab, pins};

/// Between two solicitations of these tests.
const INTERVAL: Duration = Duration::from_millis(5);

#[test]
fn sigterm_leaves_nothing() {
    need_lab!("sigterm_leaves_nothing");
    let mut rig = Rig::without_daemons(1);
    let sysctls = arp_sysctls(rig.server());
    let daemon = Daemon::start(rig.server(), &dual_stack()).unwrap();
    daemon.wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
    daemon.wait_for_state("dns4", State::Owner, PATIENCE).unwrap();
    let server = rig.server();
    assert!(attached(server) && joined(server) && local(server));
    assert!(server.has_address("lo", SERVICE_V4).unwrap());
    assert!(!pins(server).is_empty());
    assert_ne!(arp_sysctls(server), sysctls);
    let program = daemon.status().unwrap().interfaces[0].program.unwrap();
    assert!(program_exists(program));

    let status = daemon.terminate().unwrap();
    assert!(status.success(), "{status}");
    assert!(!attached(server) && !joined(server) && !local(server));
    assert!(!server.has_address("lo", SERVICE_V4).unwrap());
    assert_eq!(pins(server), Vec::<String>::new());
    assert_eq!(arp_sysctls(server), sysctls);
    assert!(!server.directory.join("control.sock").exists());
    // The kernel frees a program a grace period after its last user.
    wait_until("the program is gone", PATIENCE, || !program_exists(program)).unwrap();
    rig.responders.clear();
}

#[test]
fn an_address_that_was_there_stays() {
    need_lab!("an_address_that_was_there_stays");
    let rig = Rig::without_daemons(1);
    rig.server().add_service_address(SERVICE).unwrap();
    let daemon = Daemon::start(rig.server(), &DaemonOptions::default()).unwrap();
    daemon.wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
    daemon.terminate().unwrap();
    assert!(local(rig.server()));
    assert!(!attached(rig.server()));
}

#[test]
fn after_sigkill_it_falls_silent_and_the_next_daemon_adopts() {
    need_lab!("after_sigkill_it_falls_silent_and_the_next_daemon_adopts");
    let options = DaemonOptions::default();
    let mut rig = Rig::single(&options);
    let program = rig.daemons[0].status().unwrap().interfaces[0].program;

    // Control: alive, it answers for many leases.
    let solicitor = Solicitor::start(&rig.farm, SERVICE, INTERVAL).unwrap();
    let alive = 5 * options.lease.as_millis() as usize / INTERVAL.as_millis() as usize;
    wait_until("answers for five leases", PATIENCE, || solicitor.answers() >= alive).unwrap();
    let answers = solicitor.stop();
    assert_eq!(unanswered(&answers), 0, "of {}", answers.len());

    let solicitor = Solicitor::start(&rig.farm, SERVICE, INTERVAL).unwrap();
    wait_until("it answers", PATIENCE, || solicitor.answers() > 0).unwrap();
    rig.daemons[0].kill().unwrap();
    let killed_at = SystemTime::now();
    // Silence is only seen by waiting: answers stop growing for longer than a lease.
    wait_until("the lease is over", PATIENCE, || {
        killed_at.elapsed().is_ok_and(|time| time > 3 * options.lease)
    })
    .unwrap();
    let answers = solicitor.stop();
    let last = answers.iter().filter_map(|solicited| solicited.answered).map(|(at, _)| at).max().unwrap();
    // Frames sent behind the lease are all unanswered: the program itself looks at the clock.
    let silent_since = killed_at + options.lease;
    assert!(last <= silent_since + Duration::from_millis(50), "{:?} late", last.duration_since(silent_since));
    assert!(unanswered(&answers) > 0);

    // What a killed daemon leaves is found and used.
    let server = rig.server();
    assert!(attached(server) && local(server) && !joined(server));
    let counted = answers.len() as u64;
    let daemon = Daemon::start(server, &options).unwrap();
    let service = daemon.wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
    let interface = daemon.status().unwrap().interfaces.remove(0);
    assert!(interface.adopted);
    assert_eq!(interface.program, program);
    let counters = service.counters;
    assert!(counters.solicitations_multicast >= counted && counters.refused_stale > 0, "{counters:?}");
    let solicitor = Solicitor::start(&rig.farm, SERVICE, INTERVAL).unwrap();
    wait_until("it answers again", PATIENCE, || solicitor.answers() >= 20).unwrap();
    assert_eq!(unanswered(&solicitor.stop()), 0);
    // The address was the killed daemon's, so it goes with this one.
    daemon.terminate().unwrap();
    assert!(!local(server) && !attached(server));
    assert_eq!(pins(server), Vec::<String>::new());
}

#[test]
fn stop_keep_and_start_lose_no_solicitation() {
    need_lab!("stop_keep_and_start_lose_no_solicitation");
    let options = DaemonOptions::default();
    let mut rig = Rig::single(&options);
    let solicitor = Solicitor::start(&rig.farm, SERVICE, INTERVAL).unwrap();
    wait_until("it answers", PATIENCE, || solicitor.answers() >= 20).unwrap();
    let daemon = rig.daemons.remove(0);
    let status = daemon.stop_keep().unwrap();
    assert!(status.success(), "{status}");
    let server = rig.server();
    assert!(attached(server) && local(server));
    let between = solicitor.answers();
    wait_until("it answers without a daemon", PATIENCE, || solicitor.answers() > between + 50).unwrap();
    let daemon = Daemon::start(server, &options).unwrap();
    daemon.wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
    let after = solicitor.answers();
    wait_until("it answers with the next daemon", PATIENCE, || solicitor.answers() > after + 100).unwrap();
    let answers = solicitor.stop();
    assert_eq!(unanswered(&answers), 0, "of {}", answers.len());

    // Control: an ordinary stop and start loses some.
    let solicitor = Solicitor::start(&rig.farm, SERVICE, INTERVAL).unwrap();
    wait_until("it answers", PATIENCE, || solicitor.answers() >= 20).unwrap();
    daemon.terminate().unwrap();
    let daemon = Daemon::start(rig.server(), &options).unwrap();
    daemon.wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
    assert!(unanswered(&solicitor.stop()) > 0);
}

#[test]
fn the_gate_that_stop_keep_leaves_is_not_open_for_ever() {
    need_lab!("the_gate_that_stop_keep_leaves_is_not_open_for_ever");
    let restart_lease = Duration::from_secs(1);
    let mut rig = Rig::single(&DaemonOptions { restart_lease, ..DaemonOptions::default() });
    let solicitor = Solicitor::start(&rig.farm, SERVICE, INTERVAL).unwrap();
    wait_until("it answers", PATIENCE, || solicitor.answers() >= 20).unwrap();
    rig.daemons.remove(0).stop_keep().unwrap();
    let stopped_at = SystemTime::now();
    wait_until("the restart lease is over", PATIENCE, || {
        stopped_at.elapsed().is_ok_and(|time| time > restart_lease + Duration::from_millis(500))
    })
    .unwrap();
    let answers = solicitor.stop();
    let last = answers.iter().filter_map(|solicited| solicited.answered).map(|(at, _)| at).max().unwrap();
    assert!(last <= stopped_at + restart_lease + Duration::from_millis(50));
    assert!(answers.last().is_some_and(|solicited| solicited.answered.is_none()));
}

#[test]
fn detach_clears_what_a_killed_daemon_left() {
    need_lab!("detach_clears_what_a_killed_daemon_left");
    let mut rig = Rig::without_daemons(1);
    let sysctls = arp_sysctls(rig.server());
    let mut daemon = Daemon::start(rig.server(), &dual_stack()).unwrap();
    daemon.wait_for_state("dns4", State::Owner, PATIENCE).unwrap();
    let config = daemon.config().to_str().unwrap().to_owned();
    let detach = |rig: &Rig| {
        let output = anycast(rig.server(), &["--config", &config, "detach", SERVER]).unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    // Control: while the daemon lives, it is not robbed.
    let (code, said) = detach(&rig);
    assert!(code == Some(1) && said.contains("anycast stop"), "{code:?} {said}");
    assert!(attached(rig.server()));

    daemon.kill().unwrap();
    assert!(attached(rig.server()) && local(rig.server()) && !pins(rig.server()).is_empty());
    let (code, said) = detach(&rig);
    assert!(code == Some(0) && said.contains("detached"), "{code:?} {said}");
    let server = rig.server();
    assert!(!attached(server) && !local(server));
    assert!(!server.has_address("lo", SERVICE_V4).unwrap());
    assert_eq!(pins(server), Vec::<String>::new());
    assert_eq!(arp_sysctls(server), sysctls);
    let (code, said) = detach(&rig);
    assert!(code == Some(0) && said.contains("nothing of ours"), "{code:?} {said}");
    rig.responders.clear();
}

fn unanswered(solicited: &[Solicited]) -> usize {
    solicited.iter().filter(|solicited| solicited.answered.is_none()).count()
}

fn program_exists(id: u32) -> bool {
    let output = std::process::Command::new("bpftool").args(["prog", "show", "id", &id.to_string()]).output();
    output.unwrap().status.success()
}
