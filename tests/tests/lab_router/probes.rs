//! The entry comes by solicitation and survives the router's doubts.

use std::net::IpAddr;
use std::time::Duration;

use anycast_tests::lab::farm::{ROUTER_LINK, SERVICE, SERVICE_V4};
use anycast_tests::lab::{Capture, Captured, Client, FastPath, Frame, wait_until};
use anycast_user::datapath::Mode;

use crate::{PATIENCE, farm_of_two, need_lab, set_neighbour_parameter};

/// Probes that the entry must survive.
const PROBES: usize = 20;

#[test]
fn an_ipv6_entry_comes_by_solicitation_and_survives_probes() {
    need_lab!("an_ipv6_entry_comes_by_solicitation_and_survives_probes");
    entry_comes_and_survives(SERVICE, Mode::Native);
}

#[test]
fn an_ipv4_entry_comes_by_solicitation_and_survives_probes() {
    need_lab!("an_ipv4_entry_comes_by_solicitation_and_survives_probes");
    entry_comes_and_survives(SERVICE_V4, Mode::Native);
}

#[test]
fn so_it_does_in_generic_mode() {
    need_lab!("so_it_does_in_generic_mode");
    entry_comes_and_survives(SERVICE, Mode::Generic);
}

fn entry_comes_and_survives(service: IpAddr, mode: Mode) {
    let (_responders, farm) = farm_of_two();
    let mut paths: Vec<FastPath> =
        farm.servers.iter().map(|server| FastPath::attach(server, mode, &[service]).unwrap()).collect();
    // The router doubts an entry after 100 to 300 ms, and then asks at once.
    set_neighbour_parameter(&farm, service, "base_reachable_time_ms", "200");
    set_neighbour_parameter(&farm, service, "delay_first_probe_time", "0");
    set_neighbour_parameter(&farm, service, "retrans_time_ms", "200");

    // Control: both gates shut, so nobody answers, and the router finds nobody.
    let client = Client::start(&farm.client, service, Duration::from_millis(5)).unwrap();
    for path in &mut paths {
        wait_until("the router asks in vain", PATIENCE, || path.counters(service).unwrap().refused_shut >= 3)
            .unwrap();
        assert_eq!(path.counters(service).unwrap().answered, 0);
    }
    assert!(farm.router_neighbour(service).unwrap().is_some_and(|entry| entry.mac.is_none()));
    assert_eq!(client.stop().answered(), 0);

    let capture = Capture::start(&farm.router, ROUTER_LINK).unwrap();
    paths[0].open(service);
    farm.forget_router_neighbour(service).unwrap();
    let client = Client::start(&farm.client, service, Duration::from_millis(5)).unwrap();
    let probes = || capture.count(|frame| is_probe(frame, service));
    wait_until("the router has probed often enough", 6 * PATIENCE, || probes() >= PROBES).unwrap();
    let record = client.stop();
    assert_eq!((record.lost(), record.duplicates), (0, 0), "of {} queries", record.sent());
    assert_eq!(record.by_server().into_keys().collect::<Vec<_>>(), ["s1"]);
    let believed = farm.router_neighbour(service).unwrap().unwrap();
    assert_eq!(believed.mac, Some(farm.servers[0].mac));

    let counters = paths[0].counters(service).unwrap();
    assert!(counters.solicitations_unicast >= PROBES as u64, "{counters:?}");
    assert!(counters.queries >= record.sent() as u64, "{counters:?}");
    let answered = counters.solicitations_unicast + counters.solicitations_multicast - counters.refused_shut;
    assert_eq!(counters.answered, answered, "{counters:?}");
    // The other server heard the resolution, and nothing else.
    let silent = paths[1].counters(service).unwrap();
    assert_eq!((silent.answered, silent.solicitations_unicast, silent.queries), (0, 0, 0), "{silent:?}");

    // Control: with the gate shut the next probes are not answered, and the entry goes.
    paths[0].shut(service);
    let client = Client::start(&farm.client, service, Duration::from_millis(5)).unwrap();
    wait_until("the entry goes", PATIENCE, || {
        farm.router_neighbour(service).unwrap().is_none_or(|entry| entry.mac.is_none())
    })
    .unwrap();
    // Queries that are sent from then on find nobody.
    let sent = client.counts().0;
    wait_until("more queries are sent", PATIENCE, || client.counts().0 >= sent + 50).unwrap();
    assert!(client.stop().lost() > 0);
}

/// Whether the router asks its neighbour, not everybody.
fn is_probe(captured: &Captured, service: IpAddr) -> bool {
    captured.outgoing
        && match captured.parse() {
            Frame::NeighborSolicitation(ns) => IpAddr::from(ns.target) == service && !ns.to.is_multicast(),
            Frame::Arp(arp) => {
                arp.operation == 1 && IpAddr::from(arp.target_address) == service && !arp.to.is_multicast()
            }
            _ => false,
        }
}
