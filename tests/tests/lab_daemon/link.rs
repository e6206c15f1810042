//! What happens to the link and to the address under the daemon's feet.

use anycast_tests::lab::farm::{SERVER, SERVICE};
use anycast_tests::lab::{DaemonOptions, Mac, Solicitor, wait_until};
use anycast_user::telemetry::status::State;
use std::time::Duration;

use crate::{DNS, PATIENCE, Rig, announces, local, need_lab};

#[test]
fn a_cut_link_moves_the_address_and_a_mended_one_brings_a_peer_back() {
    need_lab!("a_cut_link_moves_the_address_and_a_mended_one_brings_a_peer_back");
    let rig = Rig::new(2, &DaemonOptions::default());
    let owner = rig.owner();
    let other = 1 - owner;
    rig.farm.set_port(owner, false).unwrap();
    let down = rig.daemons[owner].wait_for_state(DNS, State::Down, PATIENCE).unwrap();
    assert!(!down.able && !down.gate.answers() && !down.not_able_because.is_empty(), "{down:?}");
    // The address survives: it is on lo.
    assert!(local(&rig.farm.servers[owner]));
    rig.daemons[other].wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
    rig.farm.set_port(owner, true).unwrap();
    rig.daemons[owner].wait_for_state(DNS, State::Ready, PATIENCE).unwrap();
    assert_eq!(rig.owner(), other);
}

#[test]
fn a_lone_owner_announces_itself_again_when_the_link_is_mended() {
    need_lab!("a_lone_owner_announces_itself_again_when_the_link_is_mended");
    let rig = Rig::single(&DaemonOptions::default());
    rig.farm.set_port(0, false).unwrap();
    rig.daemons[0].wait_for_state(DNS, State::Down, PATIENCE).unwrap();
    let capture = rig.capture();
    rig.farm.set_port(0, true).unwrap();
    rig.daemons[0].wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
    let mac = rig.server().mac;
    capture.wait_for("an announcement", PATIENCE, |seen| announces(seen, SERVICE, mac)).unwrap();
}

#[test]
fn a_new_mac_is_announced_and_answered_with() {
    need_lab!("a_new_mac_is_announced_and_answered_with");
    let rig = Rig::single(&DaemonOptions::default());
    let capture = rig.capture();
    let mac = Mac([0x02, 0xac, 0, 0, 9, 9]);
    rig.server().namespace.ip(&["link", "set", SERVER, "address", &mac.to_string()]).unwrap();
    capture.wait_for("the new MAC's announcement", PATIENCE, |seen| announces(seen, SERVICE, mac)).unwrap();
    let solicitor = Solicitor::start(&rig.farm, SERVICE, Duration::from_millis(5)).unwrap();
    wait_until("it answers", PATIENCE, || solicitor.answers() >= 20).unwrap();
    let answers = solicitor.stop();
    let by: Vec<Mac> = answers.iter().filter_map(|solicited| solicited.answered).map(|(_, by)| by).collect();
    assert!(by.len() >= 20 && by.iter().all(|by| *by == mac), "{by:?}");
}

#[test]
fn a_removed_address_ends_the_service_until_it_is_back() {
    need_lab!("a_removed_address_ends_the_service_until_it_is_back");
    let rig = Rig::new(2, &DaemonOptions::default());
    let owner = rig.owner();
    let server = &rig.farm.servers[owner];
    server.namespace.ip(&["addr", "del", &format!("{SERVICE}/128"), "dev", "lo"]).unwrap();
    // Whoever serves from now on has the address: the other server, or this one with the address put back.
    let other = &rig.daemons[1 - owner];
    other.wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
    if !local(server) {
        server.add_service_address(SERVICE).unwrap();
    }
    rig.daemons[owner].wait_for_state(DNS, State::Ready, PATIENCE).unwrap();
}

#[test]
fn an_interface_that_is_gone_and_back_serves_again() {
    need_lab!("an_interface_that_is_gone_and_back_serves_again");
    let rig = Rig::single(&DaemonOptions::default());
    let server = rig.server();
    server.namespace.ip(&["link", "set", SERVER, "name", "acaway"]).unwrap_or_default();
    let renamed = server.namespace.interface_index("acaway").is_some();
    if renamed {
        rig.daemons[0].wait_for_state(DNS, State::Down, PATIENCE).unwrap();
        server.namespace.ip(&["link", "set", "acaway", "name", SERVER]).unwrap();
    } else {
        // The kernel does not rename an interface that is up on this machine: take it down first.
        server.namespace.ip(&["link", "set", SERVER, "down"]).unwrap();
        rig.daemons[0].wait_for_state(DNS, State::Down, PATIENCE).unwrap();
        server.namespace.ip(&["link", "set", SERVER, "up"]).unwrap();
    }
    rig.daemons[0].wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
    let solicitor = Solicitor::start(&rig.farm, SERVICE, Duration::from_millis(5)).unwrap();
    wait_until("it answers", PATIENCE, || solicitor.answers() >= 20).unwrap();
}
