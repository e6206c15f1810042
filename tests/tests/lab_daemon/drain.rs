//! Drained by a command, by a file, by both, and over a restart.

use std::fs;

use anycast_tests::lab::{Daemon, DaemonOptions, Server, wait_until};
use anycast_user::control::Command;
use anycast_user::telemetry::status::State;

use crate::{DNS, PATIENCE, Rig, need_lab};

/// A daemon for one server, which looks for a file of this name in the server's directory.
fn options(server: &Server) -> DaemonOptions {
    let more = format!("drain_file = \"{}\"", server.directory.join("drain").display());
    DaemonOptions { more, ..DaemonOptions::default() }
}

#[test]
fn a_file_drains_until_it_is_gone_and_a_command_does_so_besides() {
    need_lab!("a_file_drains_until_it_is_gone_and_a_command_does_so_besides");
    let mut rig = Rig::without_daemons(2);
    rig.daemons =
        rig.farm.servers.iter().map(|server| Daemon::start(server, &options(server)).unwrap()).collect();
    let owner = rig.owner();
    let server = &rig.farm.servers[owner];
    let file = server.directory.join("drain");

    fs::write(&file, "").unwrap();
    let service = rig.daemons[owner].wait_for_state(DNS, State::Drained, PATIENCE).unwrap();
    assert!(service.state_reason.contains("drain is there"), "{service:#?}");
    rig.daemons[1 - owner].wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
    // A command does not end it, and says what does.
    let refused = rig.daemons[owner].request(&Command::Undrain { service: None }).unwrap_err();
    assert!(format!("{refused:#}").contains("remove it"), "{refused:#}");

    // It starts drained: not even for a moment does it take part.
    let daemon = rig.daemons.remove(owner);
    assert!(daemon.terminate().unwrap().success());
    rig.daemons.insert(owner, Daemon::start(server, &options(server)).unwrap());
    rig.daemons[owner]
        .wait_for_service(DNS, "able and drained", PATIENCE, |s| s.able && s.state == State::Drained)
        .unwrap();
    let log = rig.daemons[owner].log();
    let of_the_second = log.rsplit("the drain file is there: starting drained").next().unwrap_or_default();
    assert!(!of_the_second.contains("to=ready") && !of_the_second.contains("to=owner"), "{log}");

    // What the file wanted is not kept.
    fs::remove_file(&file).unwrap();
    rig.daemons[owner].wait_for_state(DNS, State::Ready, PATIENCE).unwrap();

    // What a command wants, is: the file's going does not end that.
    fs::write(&file, "").unwrap();
    rig.daemons[owner].wait_for_state(DNS, State::Drained, PATIENCE).unwrap();
    rig.daemons[owner].request(&Command::Drain { service: None }).unwrap();
    fs::remove_file(&file).unwrap();
    wait_until("the daemon has seen that the file is gone", PATIENCE, || {
        let service = rig.daemons[owner].service(DNS).unwrap();
        !service.state_reason.contains("is there")
    })
    .unwrap();
    assert_eq!(rig.daemons[owner].service(DNS).unwrap().state, State::Drained);
    let daemon = rig.daemons.remove(owner);
    assert!(daemon.terminate().unwrap().success());
    rig.daemons.insert(owner, Daemon::start(server, &options(server)).unwrap());
    rig.daemons[owner]
        .wait_for_service(DNS, "able and drained", PATIENCE, |s| s.able && s.state == State::Drained)
        .unwrap();
    rig.daemons[owner].request(&Command::Undrain { service: None }).unwrap();
    rig.daemons[owner].wait_for_state(DNS, State::Ready, PATIENCE).unwrap();
}
