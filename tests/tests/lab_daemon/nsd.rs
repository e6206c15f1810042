//! A real DNS server as the service.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use anycast_tests::lab::farm::SERVICE;
use anycast_tests::lab::responder::pid_file;
use anycast_tests::lab::{Client, Daemon, DaemonOptions, Farm, FarmOptions, Nsd, Server};
use anycast_user::telemetry::status::State;

use crate::{DNS, PATIENCE, need_lab};

#[test]
fn nsd_is_watched_served_and_replaced_when_it_dies() {
    need_lab!("nsd_is_watched_served_and_replaced_when_it_dies");
    let farm = Farm::new(&FarmOptions { servers: 2, ..FarmOptions::default() }).unwrap();
    let addresses = [IpAddr::V6(Ipv6Addr::LOCALHOST), SERVICE];
    let mut servers: Vec<Nsd> = farm
        .servers
        .iter()
        .map(|server| {
            let Server { namespace, name, directory, .. } = server;
            Nsd::start(namespace, name, directory, &pid_file(server), &addresses, None).unwrap()
        })
        .collect();
    let options = DaemonOptions::default();
    let first = Daemon::start(&farm.servers[0], &options).unwrap();
    first.wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
    let second = Daemon::start(&farm.servers[1], &options).unwrap();
    second.wait_for_state(DNS, State::Ready, PATIENCE).unwrap();

    let client = Client::start(&farm.client, SERVICE, Duration::from_millis(10)).unwrap();
    first.wait_for_service(DNS, "queries", PATIENCE, |service| service.queries_total > 20).unwrap();
    // Control: as long as it lives, nothing is lost and nothing moves.
    assert_eq!(second.service(DNS).unwrap().state, State::Ready);
    servers[0].kill().unwrap();
    second.wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
    let down = first.wait_for_state(DNS, State::Down, PATIENCE).unwrap();
    assert!(!down.able && !down.gate.answers(), "{down:?}");
    second.wait_for_service(DNS, "queries", PATIENCE, |service| service.queries_total > 20).unwrap();
    let record = client.stop();
    assert!(record.answered() > 40 && record.lost() < 20, "{} of {}", record.answered(), record.sent());
    first.terminate().unwrap();
    second.terminate().unwrap();
}
