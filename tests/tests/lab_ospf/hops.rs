//! Farms of more than one link: servers behind the first and behind the second router.

use std::net::Ipv6Addr;

use anycast_tests::lab::farm::{ROUTER_CLIENT, ROUTER_LINK};
use anycast_tests::lab::namespace::{Namespace, cable};
use anycast_tests::lab::routed::Speaker;
use anycast_tests::lab::{Daemon, Farm, FarmOptions, wait_until};

use crate::router::{BIRD, FRR, Kind, Link, Router};
use crate::{PATIENCE, Rig, flows_of, loads, need_lab, wait_until_full};

/// First router's and second router's end of the wire between them.
const BETWEEN: [&str; 2] = ["acx1", "acx2"];
/// Second router's and second server's end of the wire between them.
const BEHIND: [&str; 2] = ["acd0", "acs1"];

const fn address(wire: u16, end: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x53, wire, 0, 0, 0, end)
}

/// The load LSA.
const LOAD: u16 = 0xbff0;

/// One server at each of two routers in a row.
fn servers_at_two_routers(near: Kind, far: Kind) {
    let farm = Farm::new(&FarmOptions { servers: 2, ..FarmOptions::default() }).unwrap();
    let second = Namespace::new().unwrap();
    second.sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
    cable([&farm.router, &second], BETWEEN, [address(4, 1), address(4, 2)]).unwrap();
    let of_server = [&second, &farm.servers[1].namespace];
    cable(of_server, BEHIND, [address(5, 1), address(5, 2)]).unwrap();
    // The second server is behind the second router, and nowhere else.
    farm.set_port(1, false).unwrap();
    farm.servers[1]
        .namespace
        .ip(&["-6", "route", "replace", "default", "via", &address(5, 1).to_string()])
        .unwrap();
    let links = [Link::broadcast(ROUTER_LINK, 1), Link::broadcast(BETWEEN[0], 1), Link::stub(ROUTER_CLIENT)];
    let router = Router::ospf(near, &farm.router, &farm.directory().join("router"), "10.0.0.1", &links);
    let links = [Link::broadcast(BETWEEN[1], 1), Link::broadcast(BEHIND[0], 1)];
    let behind = Router::ospf(far, &second, &farm.directory().join("second"), "10.0.0.2", &links);
    let mut rig = Rig::with_router(farm, router, Speaker::Native, "");
    let uplink = &mut rig.options[1];
    uplink.services[0].interface = BEHIND[1].to_owned();
    uplink.tables = uplink.tables.replace("acs0", BEHIND[1]);

    rig.start(0);
    rig.wait_for_next_hops(&[0]);
    // Over the first router to the second.
    wait_until("the second router has the route and the load", PATIENCE, || {
        behind.holds(&second, LOAD, "10.0.1.1") && behind.holds(&second, 0x2009, "10.0.1.1")
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", behind.database(&second)));
    // Control: one that does not tell its load has a route all the same, nobody reads what is not told, and it reads nothing.
    let mut silent = rig.options[1].clone();
    silent.tables = silent.tables.replace("[ospf]\n", "[ospf]\nload_lsa = \"off\"\n");
    let daemon = Daemon::start(&rig.farm.servers[1], &silent).unwrap();
    wait_until_full(&daemon, &[("10.0.0.2", "DR")]);
    wait_until("the route is told over two hops", PATIENCE, || {
        rig.router.holds(&rig.farm.router, 0x2009, "10.0.1.2")
    })
    .unwrap();
    assert_eq!(loads(&rig.daemons[0]), ["10.0.1.1"]);
    assert_eq!(loads(&daemon), [""; 0]);
    assert!(daemon.terminate().unwrap().success());
    rig.start(1);
    for daemon in &rig.daemons {
        wait_until("each reads both loads", PATIENCE, || loads(daemon) == ["10.0.1.1", "10.0.1.2"]).unwrap();
    }
    // The near one is used; the far one when that is gone, over two hops.
    assert_eq!(rig.answering(), ["s1"]);
    rig.responders[0].kill().unwrap();
    wait_until("the far server answers", PATIENCE, || {
        flows_of(&rig.farm.client, 8).into_keys().collect::<Vec<_>>() == ["s2"]
    })
    .unwrap();
}

#[test]
fn load_passes_frr_and_bird() {
    need_lab!("load_passes_frr_and_bird");
    servers_at_two_routers(FRR, BIRD);
}

#[test]
fn load_passes_bird_and_frr() {
    need_lab!("load_passes_bird_and_frr");
    servers_at_two_routers(BIRD, FRR);
}
