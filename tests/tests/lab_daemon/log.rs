//! The fast path's own log, from the program in the driver to the lines that the daemon prints.

use std::time::Duration;

use anycast_tests::lab::farm::SERVICE;
use anycast_tests::lab::{DaemonOptions, Solicitor, wait_until};

use anycast_user::control::{Command, Hold};

use crate::{DNS, PATIENCE, Rig, need_lab};

/// Between two solicitations.
const INTERVAL: Duration = Duration::from_millis(5);
/// How the daemon's log names the program.
const TARGET: &str = "anycast::fast_path";

#[test]
fn the_programs_log_reaches_the_daemons() {
    need_lab!("the_programs_log_reaches_the_daemons");
    let with_log = DaemonOptions { more: "bpf_log = true".to_owned(), ..DaemonOptions::default() };
    let rig = Rig::single(&with_log);
    let log = || rig.daemons[0].log();
    let solicitor = Solicitor::start(&rig.farm, SERVICE, INTERVAL).unwrap();
    wait_until("an answer is logged", PATIENCE, || lines(&log(), "answered") > 0).unwrap();
    rig.daemons[0].request(&Command::Hold { service: DNS.to_owned(), hold: Hold::Shut }).unwrap();
    wait_until("a drop is logged with its reason", PATIENCE, || lines(&log(), "reason=gate_held") > 0)
        .unwrap();
    solicitor.stop();
}

#[test]
fn without_being_asked_the_program_logs_nothing() {
    need_lab!("without_being_asked_the_program_logs_nothing");
    let rig = Rig::single(&DaemonOptions::default());
    let solicitor = Solicitor::start(&rig.farm, SERVICE, INTERVAL).unwrap();
    wait_until("it answers", PATIENCE, || solicitor.answers() >= 50).unwrap();
    solicitor.stop();
    assert_eq!(lines(&rig.daemons[0].log(), ""), 0);
}

fn lines(log: &str, containing: &str) -> usize {
    log.lines().filter(|line| line.contains(TARGET) && line.contains(containing)).count()
}
