//! Other shapes of links and advertisements: two uplinks, point-to-point, AS-External-LSAs, Neighbor Discovery besides.

use std::net::Ipv6Addr;

use anycast_tests::lab::farm::{CLIENT, ROUTER_CLIENT, ROUTER_LINK, SERVICE};
use anycast_tests::lab::namespace::{Namespace, cable};
use anycast_tests::lab::route_watch::next_hops;
use anycast_tests::lab::routed::Speaker;
use anycast_tests::lab::second_router::SecondRouter;
use anycast_tests::lab::{Farm, FarmOptions, wait_until};
use anycast_user::control::Command;

use crate::router::{BIRD, FRR, Kind, Link, Router};
use crate::{PATIENCE, Rig, flows_of, need_lab, wait_until_full};

/// The second router's and the server's end of the second uplink.
const UPLINK: [&str; 2] = ["acx0", "acs1"];

/// Behind which the service address is, so that it does not go with an uplink.
const STUB: &str = "acany0";

const fn address(wire: u16, end: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x53, wire, 0, 0, 0, end)
}

/// A server at two routers: on a link with a Designated Router, and on one from point to point.
fn two_uplinks(first: Kind, second: Kind) {
    let farm = Farm::new(&FarmOptions { servers: 1, ..FarmOptions::default() }).unwrap();
    let server = &farm.servers[0].namespace;
    let (other, client) = (Namespace::new().unwrap(), Namespace::new().unwrap());
    other.sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
    cable([&other, server], UPLINK, [address(4, 1), address(4, 2)]).unwrap();
    cable([&other, &client], [ROUTER_CLIENT, CLIENT], [address(5, 1), address(5, 2)]).unwrap();
    client.ip(&["route", "add", "default", "via", &address(5, 1).to_string()]).unwrap();
    server
        .ip_batch(&format!(
            "route add {}/64 via {}\nlink add {STUB} type veth peer name acany1\nlink set acany1 up\nlink set {STUB} up\n",
            address(5, 0),
            address(4, 1)
        ))
        .unwrap();
    let links = [Link::broadcast(ROUTER_LINK, 1), Link::stub(ROUTER_CLIENT)];
    let router = Router::ospf(first, &farm.router, &farm.directory().join("router"), "10.0.0.1", &links);
    let links = [Link::point_to_point(UPLINK[0]), Link::stub(ROUTER_CLIENT)];
    let second = Router::ospf(second, &other, &farm.directory().join("second"), "10.0.0.2", &links);
    let mut rig = Rig::with_router(farm, router, Speaker::Native, "");
    rig.options[0].services[0].interface = STUB.to_owned();
    rig.options[0].tables += &format!(
        "[[ospf.interface]]\nname = \"{}\"\ntype = \"point-to-point\"\nhello = \"1s\"\ndead = \"4s\"\n",
        UPLINK[1]
    );
    rig.start(0);
    rig.wait_for_next_hops(&[0]);
    wait_until_full(&rig.daemons[0], &[("10.0.0.1", "DR"), ("10.0.0.2", "other")]);
    let far = || next_hops(&other, SERVICE).unwrap().len();
    wait_until("the second router has the route", PATIENCE, || far() == 1).unwrap();
    flows_of(&rig.farm.client, 8);
    flows_of(&client, 8);
    // What one router says the other hears, but no route leads through the server.
    wait_until("each hears of the other", PATIENCE, || {
        second.holds(&other, 0x2009, "10.0.0.1") && rig.router.holds(&rig.farm.router, 0x2009, "10.0.0.2")
    })
    .unwrap();
    let reaches = |router: &Namespace, network: Ipv6Addr| {
        !router.ip(&["-6", "route", "show", &format!("{network}/64")]).unwrap().is_empty()
    };
    assert!(!reaches(&other, address(2, 0)) && !reaches(&rig.farm.router, address(5, 0)));
    assert!(reaches(&other, address(5, 0)) && reaches(&rig.farm.router, address(2, 0)), "control");
    // One uplink goes, and its router alone has the route no longer.
    rig.farm.set_port(0, false).unwrap();
    rig.wait_for_next_hops(&[]);
    assert_eq!(far(), 1);
    flows_of(&client, 8);
    rig.farm.set_port(0, true).unwrap();
    rig.wait_for_next_hops(&[0]);
    rig.responders[0].kill().unwrap();
    rig.wait_for_next_hops(&[]);
    wait_until("the second router has it no longer", PATIENCE, || far() == 0).unwrap();
}

#[test]
fn two_uplinks_to_frr_and_from_point_to_point_to_bird() {
    need_lab!("two_uplinks_to_frr_and_from_point_to_point_to_bird");
    two_uplinks(FRR, BIRD);
}

#[test]
fn two_uplinks_to_bird_and_from_point_to_point_to_frr() {
    need_lab!("two_uplinks_to_bird_and_from_point_to_point_to_frr");
    two_uplinks(BIRD, FRR);
}

/// AS-External-LSAs instead of prefixes of the area.
fn external(kind: Kind) {
    let mut rig = Rig::new(kind, Speaker::Native, 2, "lsa = \"external-2\"\ntag = \"77\"");
    assert_eq!(rig.answering(), ["s1", "s2"]);
    for (server, own) in [(0, rig.own(0)), (1, rig.own(1))] {
        let types: Vec<&str> = own.keys().map(|(ls_type, _)| ls_type.as_str()).collect();
        assert!(types.contains(&"AS-External"), "s{}: {types:?}", server + 1);
        assert!(!types.contains(&"Intra-Area-Prefix"), "s{}: {types:?}", server + 1);
    }
    assert!(rig.picture(0).database.iter().any(|lsa| lsa.own && lsa.says.ends_with("tag 77")));
    assert!(rig.router.tags(&rig.farm.router, 77), "the router has the tag");
    assert!(!rig.router.tags(&rig.farm.router, 78), "control");
    rig.daemons[1].request(&Command::Drain { service: None }).unwrap();
    rig.wait_for_next_hops(&[0]);
    rig.responders[0].kill().unwrap();
    rig.wait_for_next_hops(&[1]);
    rig.responders[1].kill().unwrap();
    rig.wait_for_next_hops(&[]);
}

#[test]
fn frr_takes_external_routes() {
    need_lab!("frr_takes_external_routes");
    external(FRR);
}

#[test]
fn bird_takes_external_routes() {
    need_lab!("bird_takes_external_routes");
    external(BIRD);
}

/// A service with both: a router that speaks OSPF shares among all servers, and one that does not finds the owner on the link.
#[test]
fn by_neighbour_discovery_one_server_answers_and_by_ospf_all_do() {
    need_lab!("by_neighbour_discovery_one_server_answers_and_by_ospf_all_do");
    let mut rig = Rig::idle(FRR, Speaker::Native, 2, "");
    let plain = SecondRouter::new(&rig.farm).unwrap();
    plain.router.sysctl("net/ipv6/fib_multipath_hash_policy", "1").unwrap();
    for options in &mut rig.options {
        options.services[0].mode = "failover".to_owned();
        options.services[0].more = "advertise = [\"ndp\", \"ospf\"]".to_owned();
    }
    for server in [0, 1] {
        rig.start(server);
        rig.wait_for_next_hops(&[0, 1][..=server]);
    }
    assert_eq!(rig.answering(), ["s1", "s2"]);
    let owners = flows_of(&plain.client, 64);
    assert_eq!(owners.len(), 1, "{owners:?}");
    // The owner's service dies: the other one is both owner and route.
    let owner = usize::from(owners.contains_key("s2"));
    rig.responders[owner].kill().unwrap();
    rig.wait_for_next_hops(&[1 - owner]);
    let left = format!("s{}", 2 - owner);
    for client in [&rig.farm.client, &plain.client] {
        assert_eq!(flows_of(client, 16).into_keys().collect::<Vec<_>>(), [left.as_str()]);
    }
}
