//! Two routers on the link: known to the daemons, and with `per_router` served by different servers.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as the tests do, by a panic")]

use std::time::Duration;

use anycast_tests::bench::per_router::{Bench, measure};
use anycast_tests::lab::{self, Mac, wait_until};
use anycast_user::telemetry::status::Service;

const PATIENCE: Duration = Duration::from_secs(30);

/// Returns from the test if the lab cannot run here.
macro_rules! need_lab {
    ($name:literal) => {
        if let Err(reason) = lab::available() {
            anycast_tests::skip($name, &reason);
            return;
        }
    };
}

fn services(bench: &Bench) -> Vec<Service> {
    bench.daemons.iter().filter_map(|daemon| daemon.service("dns").ok()).collect()
}

/// Which server each router's entry names.
fn owners(bench: &Bench) -> [Option<usize>; 2] {
    let server = |mac: Mac| bench.farm.servers.iter().position(|server| server.mac == mac);
    bench.entries().unwrap().map(|mac| mac.and_then(server))
}

#[test]
fn each_router_has_a_server_of_its_own_and_a_dead_servers_router_moves() {
    need_lab!("each_router_has_a_server_of_its_own_and_a_dead_servers_router_moves");
    let mut bench = Bench::new(2).unwrap();
    bench.start(true).unwrap();
    let clients = bench.clients().unwrap();
    wait_until("both clients are served", PATIENCE, || clients.iter().all(|client| client.counts().1 > 200))
        .unwrap();
    let [Some(one), Some(other)] = owners(&bench) else { panic!("{:?}", owners(&bench)) };
    assert_ne!(one, other);
    for (client, server) in clients.iter().zip([one, other]) {
        let served = client.record().last_server().unwrap().to_owned();
        assert_eq!(served, bench.farm.servers[server].name);
    }
    // Both routers are in everybody's status, each with the server that owns it.
    wait_until("both routers are known everywhere", PATIENCE, || {
        services(&bench).iter().all(|service| {
            service.routers.len() == 2
                && service.routers.iter().filter(|router| router.owned_here).count() == 1
        })
    })
    .unwrap();
    // One server dies with all it has: its router's entry moves to the other one.
    bench.responders[one].kill().unwrap();
    bench.daemons[one].kill().unwrap();
    wait_until("one server has both routers", PATIENCE, || owners(&bench) == [Some(other); 2]).unwrap();
    let name = &bench.farm.servers[other].name;
    wait_until("the other server answers both clients", PATIENCE, || {
        clients.iter().all(|client| client.record().last_server() == Some(name))
    })
    .unwrap();
}

/// Negative control: without `per_router` both routers have one server; the routers are shown all the same.
#[test]
fn without_per_router_both_routers_have_one_server() {
    need_lab!("without_per_router_both_routers_have_one_server");
    let mut bench = Bench::new(2).unwrap();
    bench.start(false).unwrap();
    let [one, other] = owners(&bench);
    assert_eq!(one, other);
    assert!(
        services(&bench).iter().all(|service| service.routers.iter().all(|router| router.owner.is_none()))
    );
}

#[test]
fn two_limited_servers_answer_almost_twice_what_one_does() {
    need_lab!("two_limited_servers_answer_almost_twice_what_one_does");
    let gain = measure().unwrap();
    println!("{gain:?}");
    assert!(gain.gain >= 1.8, "{gain:?}");
}
