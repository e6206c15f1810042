//! Kernel routes that a routing daemon on the server redistributes by BGP, as the examples in `dist/examples` have it.

use anycast_tests::lab::routed::Speaker;
use anycast_user::control::Command;

use crate::router::Kind;
use crate::{Rig, need_lab};

fn kernel_routes_arrive(kind: Kind, speaker: Speaker) {
    let mut rig = Rig::new(kind, speaker, 2, "");
    assert_eq!(rig.answering(), ["s1", "s2"], "equal metrics share");
    // The metric arrives as MED: the last resort is not used beside another …
    rig.daemons[1].request(&Command::Drain { service: None }).unwrap();
    rig.wait_for_next_hops(&[0]);
    assert_eq!(rig.answering(), ["s1"]);
    // … but is when the other has gone, with its routing daemon …
    rig.hosts[0].kill().unwrap();
    rig.wait_for_next_hops(&[1]);
    rig.daemons[1].request(&Command::Undrain { service: None }).unwrap();
    assert_eq!(rig.answering(), ["s2"]);
    // … and a service that died while the daemon was dead is withdrawn by the next.
    rig.daemons[1].kill().unwrap();
    rig.responders[1].kill().unwrap();
    rig.start(1);
    rig.wait_for_next_hops(&[]);
    // Control: the session is still there. It takes the route when there is one.
    rig.responders[1] = anycast_tests::lab::DnsResponder::start(&rig.farm.servers[1]).unwrap();
    rig.wait_for_next_hops(&[1]);
    let daemon = rig.daemons.remove(1);
    assert!(daemon.terminate().unwrap().success());
    rig.wait_for_next_hops(&[]);
}

#[test]
fn kernel_routes_reach_a_bgp_router_through_bird() {
    need_lab!("kernel_routes_reach_a_bgp_router_through_bird");
    kernel_routes_arrive(Kind::BirdBgp, Speaker::RouteBirdBgp);
}

#[test]
fn kernel_routes_reach_a_bgp_router_through_frr() {
    need_lab!("kernel_routes_reach_a_bgp_router_through_frr");
    kernel_routes_arrive(Kind::FrrBgp, Speaker::RouteFrrBgp);
}
