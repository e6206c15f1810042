//! Daemons that are killed while another daemon advertises what it was told: the guard, or `anycast ospf goodbye`, takes it back.

use std::time::Duration;

use anycast_tests::lab::daemon::anycast;
use anycast_tests::lab::routed::Speaker;
use anycast_tests::lab::wait_until;

use crate::router::{BIRD, FRR, Kind};
use crate::{PATIENCE, Rig, need_lab};

fn killed(kind: Kind, speaker: Speaker) {
    let mut rig = Rig::new(kind, speaker, 1, "");
    rig.daemons[0].kill().unwrap();
    rig.wait_for_next_hops(&[]);
    drop(rig);
    // Control: without a guard the route stays, until somebody says good-bye.
    let mut rig = Rig::new(kind, speaker, 1, "guard = false");
    rig.daemons[0].kill().unwrap();
    let gone = wait_until("the route goes", Duration::from_secs(2), || rig.next_hops().is_empty());
    assert!(gone.is_err(), "nobody was told that the daemon is dead");
    let config = rig.daemons[0].config().display().to_string();
    let goodbye = anycast(&rig.farm.servers[0], &["--config", &config, "ospf", "goodbye"]).unwrap();
    assert!(goodbye.status.success(), "{goodbye:?}");
    rig.wait_for_next_hops(&[]);
}

#[test]
fn frr_withdraws_for_a_killed_daemon() {
    need_lab!("frr_withdraws_for_a_killed_daemon");
    killed(FRR, Speaker::FrrVtysh);
}

#[test]
fn bird_withdraws_for_a_killed_daemon() {
    need_lab!("bird_withdraws_for_a_killed_daemon");
    killed(BIRD, Speaker::BirdBirdc);
}

#[test]
fn kernel_routes_go_with_a_killed_daemon() {
    need_lab!("kernel_routes_go_with_a_killed_daemon");
    killed(Kind::BirdBgp, Speaker::RouteBirdBgp);
}

#[test]
fn a_killed_guard_is_replaced_and_does_its_work() {
    need_lab!("a_killed_guard_is_replaced_and_does_its_work");
    let mut rig = Rig::new(Kind::BirdBgp, Speaker::RouteBirdBgp, 1, "");
    let daemon = rig.daemons[0].child().pid();
    let children = || {
        let listed = std::fs::read_to_string(format!("/proc/{daemon}/task/{daemon}/children")).unwrap();
        listed.split_whitespace().map(|pid| pid.parse::<i32>().unwrap()).collect::<Vec<_>>()
    };
    let guard = |pid: &i32| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains("ospf-guard")
    };
    let first = children().into_iter().find(guard).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(first), nix::sys::signal::Signal::SIGKILL).unwrap();
    wait_until("another guard", PATIENCE, || children().iter().any(|pid| *pid != first && guard(pid)))
        .unwrap();
    rig.daemons[0].kill().unwrap();
    rig.wait_for_next_hops(&[]);
}
