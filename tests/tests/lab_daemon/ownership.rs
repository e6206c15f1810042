//! Who owns: failover when the service dies, dual stack, two services and two farms on one link.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anycast_tests::lab::daemon::ServiceOptions;
use anycast_tests::lab::farm::{SERVICE, SERVICE_B, SERVICE_V4};
use anycast_tests::lab::{Client, Daemon, DaemonOptions, Snooping, wait_until};
use anycast_user::telemetry::status::State;

use crate::{DNS, PATIENCE, Rig, announces, dual_stack, need_lab};

/// Between two queries of these tests.
const INTERVAL: Duration = Duration::from_millis(5);

#[test]
fn the_next_server_takes_over_when_the_service_dies() {
    need_lab!("the_next_server_takes_over_when_the_service_dies");
    let mut rig = Rig::new(3, &DaemonOptions::default());
    let owner = rig.owner();
    let capture = rig.capture();
    let client = Client::start(&rig.farm.client, SERVICE, INTERVAL).unwrap();
    wait_until("the client is served", PATIENCE, || client.counts().1 >= 100).unwrap();
    let before = client.record();
    assert_eq!(before.by_server().len(), 1);
    assert_eq!(before.last_server(), Some(rig.farm.servers[owner].name.as_str()));

    let killed_at = Instant::now();
    rig.responders[owner].kill().unwrap();
    let victim = rig.farm.servers[owner].name.clone();
    wait_until("another server answers", PATIENCE, || {
        client.record().first_answer_of_another(&victim, killed_at).is_some()
    })
    .unwrap();
    rig.daemons[owner].wait_for_state(DNS, State::Down, PATIENCE).unwrap();
    let next =
        rig.daemons.iter().position(|daemon| daemon.service(DNS).unwrap().state == State::Owner).unwrap();
    assert_ne!(next, owner);
    let mac = rig.farm.servers[next].mac;
    capture.wait_for("the new owner's announcement", PATIENCE, |seen| announces(seen, SERVICE, mac)).unwrap();
    assert_eq!(rig.farm.router_neighbour(SERVICE).unwrap().unwrap().mac, Some(mac));

    // From then on nothing is lost.
    let moved_at = Instant::now();
    let sent = client.counts().0;
    wait_until("more queries are sent", PATIENCE, || client.counts().0 >= sent + 200).unwrap();
    let record = client.stop();
    let after = record.between(Some(moved_at), None);
    assert_eq!(after.lost(), 0, "of {}", after.sent());
    assert_eq!(after.by_server().into_keys().collect::<Vec<_>>(), [rig.farm.servers[next].name.clone()]);
    // Control: before the kill nobody else answered and nothing was lost.
    assert_eq!(record.between(None, Some(killed_at - Duration::from_secs(1))).lost(), 0);
}

#[test]
fn both_families_move_together() {
    need_lab!("both_families_move_together");
    let mut rig = Rig::new(2, &dual_stack());
    let services: [(&str, IpAddr); 2] = [(DNS, SERVICE), ("dns4", SERVICE_V4)];
    let owners = services.map(|(name, _)| rig.owner_of(name));
    let clients = services.map(|(_, address)| Client::start(&rig.farm.client, address, INTERVAL).unwrap());
    for client in &clients {
        wait_until("the client is served", PATIENCE, || client.counts().1 >= 100).unwrap();
    }
    for ((_, address), owner) in services.iter().zip(owners) {
        assert_eq!(
            rig.farm.router_neighbour(*address).unwrap().unwrap().mac,
            Some(rig.farm.servers[owner].mac)
        );
    }
    // The service of the first server dies; whatever it owned moves to the second.
    rig.responders[0].kill().unwrap();
    for ((name, address), client) in services.iter().zip(&clients) {
        rig.daemons[1].wait_for_state(name, State::Owner, PATIENCE).unwrap();
        wait_until("the second server answers", PATIENCE, || client.record().last_server() == Some("s2"))
            .unwrap();
        assert_eq!(rig.farm.router_neighbour(*address).unwrap().unwrap().mac, Some(rig.farm.servers[1].mac));
    }
}

#[test]
fn a_snooping_switch_lets_the_solicitation_through() {
    need_lab!("a_snooping_switch_lets_the_solicitation_through");
    let farm = anycast_tests::lab::Farm::new(&anycast_tests::lab::FarmOptions {
        servers: 1,
        snooping: Snooping::Querier,
    })
    .unwrap();
    let server = &farm.servers[0];
    let _responder = anycast_tests::lab::DnsResponder::start(server).unwrap();
    let daemon = Daemon::start(server, &DaemonOptions::default()).unwrap();
    daemon.wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
    farm.forget_router_neighbour(SERVICE).unwrap();
    let client = Client::start(&farm.client, SERVICE, INTERVAL).unwrap();
    wait_until("the client is served", PATIENCE, || client.counts().1 >= 50).unwrap();
    drop(client);
    // The switch knows the group because the daemon joined it.
    let groups = std::process::Command::new("bridge")
        .args(["-n", farm.switch.name(), "mdb", "show"])
        .output()
        .unwrap();
    let groups = String::from_utf8_lossy(&groups.stdout).into_owned();
    assert!(groups.contains("ff02::1:ff00:53") && groups.contains(&server.port), "{groups}");
    drop(daemon);
}

#[test]
fn two_services_on_one_interface_are_two() {
    need_lab!("two_services_on_one_interface_are_two");
    let mut options = DaemonOptions::default();
    options.services.push(ServiceOptions::new("other", SERVICE_B));
    let rig = Rig::new(2, &options);
    let (first, second) = (rig.owner_of(DNS), rig.owner_of("other"));
    // Drain one on its owner: it moves, the other stays.
    rig.daemons[first]
        .request(&anycast_user::control::Command::Drain { service: Some(DNS.to_owned()) })
        .unwrap();
    rig.daemons[1 - first].wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
    rig.daemons[first].wait_for_state(DNS, State::Drained, PATIENCE).unwrap();
    assert_eq!(rig.owner_of("other"), second);
    for (address, owner) in [(SERVICE, 1 - first), (SERVICE_B, second)] {
        let client = Client::start(&rig.farm.client, address, INTERVAL).unwrap();
        wait_until("the client is served", PATIENCE, || client.counts().1 >= 50).unwrap();
        let record = client.stop();
        assert_eq!(
            record.by_server().into_keys().collect::<Vec<_>>(),
            [rig.farm.servers[owner].name.clone()]
        );
    }
}

#[test]
fn two_farms_on_one_link_do_not_meet() {
    need_lab!("two_farms_on_one_link_do_not_meet");
    let mut rig = Rig::without_daemons(4);
    let north = DaemonOptions { farm: "north".to_owned(), ..DaemonOptions::default() };
    let south = DaemonOptions {
        farm: "south".to_owned(),
        ..DaemonOptions::with(ServiceOptions::new(DNS, SERVICE_B))
    };
    let farms = [(SERVICE, [0, 1], &north), (SERVICE_B, [2, 3], &south)];
    for (_, servers, options) in farms {
        rig.daemons.extend(servers.map(|number| Daemon::start(&rig.farm.servers[number], options).unwrap()));
    }
    for (address, servers, _) in farms {
        wait_until("one owner in each farm", PATIENCE, || {
            servers
                .iter()
                .filter(|number| rig.daemons[**number].service(DNS).unwrap().state == State::Owner)
                .count()
                == 1
        })
        .unwrap();
        for number in servers {
            // Each has heard its one peer, and nobody of the other farm.
            rig.daemons[number]
                .wait_for_service(DNS, "one peer", PATIENCE, |service| service.peers.len() == 1)
                .unwrap();
        }
        let client = Client::start(&rig.farm.client, address, INTERVAL).unwrap();
        wait_until("the client is served", PATIENCE, || client.counts().1 >= 50).unwrap();
        let names = servers.map(|number| rig.farm.servers[number].name.clone());
        let by_server = client.stop().by_server();
        assert!(by_server.keys().all(|server| names.contains(server)), "{by_server:?}");
    }
}
