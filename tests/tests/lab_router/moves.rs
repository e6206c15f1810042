//! An unsolicited advertisement moves the entry in every live state, and repairs none that is dead.

use std::net::IpAddr;
use std::time::Duration;

use anycast_tests::lab::farm::{SERVER, SERVICE, SERVICE_B, SERVICE_V4};
use anycast_tests::lab::fast_path::link_local;
use anycast_tests::lab::{Client, Farm, Injector, Neighbour, Nud, Server, wait_until};
use anycast_user::advertise::frame::{ArpAnnouncement, ArpForm, NeighborAdvertisement, Recipient};

use crate::{PATIENCE, farm_of_two, need_lab, set_neighbour_parameter};

/// An entry in one of these is used or being made.
const SETTABLE: [Nud; 4] = [Nud::Reachable, Nud::Stale, Nud::Delay, Nud::Probe];

#[test]
fn an_ipv6_entry_moves_in_each_live_state() {
    need_lab!("an_ipv6_entry_moves_in_each_live_state");
    let (_responders, farm) = farm_of_two();
    for state in SETTABLE {
        assert!(moves(&farm, SERVICE, state, true), "{state:?}");
        // Control: without Override it stays (RFC 4861 7.2.5).
        assert!(!moves(&farm, SERVICE, state, false), "{state:?} without Override");
    }
    moves_while_incomplete(&farm, SERVICE);
}

#[test]
fn an_ipv4_entry_moves_in_each_live_state() {
    need_lab!("an_ipv4_entry_moves_in_each_live_state");
    let (_responders, farm) = farm_of_two();
    for state in SETTABLE {
        assert!(moves(&farm, SERVICE_V4, state, true), "{state:?}");
    }
    moves_while_incomplete(&farm, SERVICE_V4);
}

#[test]
fn a_failed_or_missing_ipv6_entry_is_not_repaired() {
    need_lab!("a_failed_or_missing_ipv6_entry_is_not_repaired");
    let (_responders, farm) = farm_of_two();
    fail_resolution(&farm, SERVICE);
    advertise_and_settle(&farm, SERVICE, true);
    let entry = farm.router_neighbour(SERVICE).unwrap();
    assert!(entry.is_none_or(|entry| entry.mac.is_none()), "{entry:?}");

    farm.forget_router_neighbour(SERVICE).unwrap();
    wait_until("the entry is gone", PATIENCE, || farm.router_neighbour(SERVICE).unwrap().is_none()).unwrap();
    advertise_and_settle(&farm, SERVICE, true);
    assert_eq!(farm.router_neighbour(SERVICE).unwrap(), None);
}

#[test]
fn a_missing_ipv4_entry_is_not_made() {
    need_lab!("a_missing_ipv4_entry_is_not_made");
    let (_responders, farm) = farm_of_two();
    // Linux does repair a failed ARP entry, unlike one of IPv6, so only the missing one is a control.
    assert_eq!(farm.router_neighbour(SERVICE_V4).unwrap(), None);
    advertise_and_settle(&farm, SERVICE_V4, true);
    assert_eq!(farm.router_neighbour(SERVICE_V4).unwrap(), None);
}

/// Puts the entry for the first server into `state`, lets the second one advertise, and tells whether the entry moved.
fn moves(farm: &Farm, service: IpAddr, state: Nud, override_entry: bool) -> bool {
    let (first, second) = (&farm.servers[0], &farm.servers[1]);
    let before = Neighbour { mac: Some(first.mac), state };
    if state == Nud::Delay {
        // Set by hand it is over at once: the kernel counts the delay from a use. So a stale entry is used.
        farm.set_router_neighbour(service, Some(first.mac), Nud::Stale).unwrap();
        let client = Client::start(&farm.client, service, PATIENCE).unwrap();
        let is_delay = || farm.router_neighbour(service).unwrap() == Some(before);
        wait_until("the entry is in state DELAY", PATIENCE, is_delay).unwrap();
        drop(client);
    } else {
        farm.set_router_neighbour(service, Some(first.mac), state).unwrap();
        assert_eq!(farm.router_neighbour(service).unwrap(), Some(before));
    }
    advertise_and_settle(farm, service, override_entry);
    let after = farm.router_neighbour(service).unwrap().and_then(|entry| entry.mac);
    assert!(after == Some(first.mac) || after == Some(second.mac), "{after:?}");
    after == Some(second.mac)
}

/// While the router still looks for somebody, the advertisement tells it.
fn moves_while_incomplete(farm: &Farm, service: IpAddr) {
    farm.forget_router_neighbour(service).unwrap();
    // The router asks for a minute before it gives up.
    set_neighbour_parameter(farm, service, "mcast_solicit", "60");
    let client = Client::start(&farm.client, service, Duration::from_millis(50)).unwrap();
    wait_until("the router looks for it", PATIENCE, || {
        farm.router_neighbour(service).unwrap().is_some_and(|entry| entry.state == Nud::Incomplete)
    })
    .unwrap();
    advertise(&farm.servers[1], service, true);
    wait_until("the entry is made", PATIENCE, || {
        farm.router_neighbour(service).unwrap().is_some_and(|entry| entry.mac == Some(farm.servers[1].mac))
    })
    .unwrap();
    drop(client);
}

/// Makes the router look for the address in vain. The failure stays: nobody uses the entry any more.
fn fail_resolution(farm: &Farm, service: IpAddr) {
    set_neighbour_parameter(farm, service, "retrans_time_ms", "100");
    let client = Client::start(&farm.client, service, Duration::from_millis(50)).unwrap();
    wait_until("the router looks for it", PATIENCE, || farm.router_neighbour(service).unwrap().is_some())
        .unwrap();
    drop(client);
    wait_until("the resolution fails", PATIENCE, || {
        farm.router_neighbour(service).unwrap().is_some_and(|entry| entry.state == Nud::Failed)
    })
    .unwrap();
}

/// Lets the second server advertise, and waits until the router has handled it: it handles frames in order, so another
/// address, advertised behind, has moved.
fn advertise_and_settle(farm: &Farm, service: IpAddr, override_entry: bool) {
    let (first, second) = (&farm.servers[0], &farm.servers[1]);
    farm.set_router_neighbour(SERVICE_B, Some(first.mac), Nud::Reachable).unwrap();
    advertise(second, service, override_entry);
    advertise(second, SERVICE_B, true);
    wait_until("the router has handled the advertisements", PATIENCE, || {
        farm.router_neighbour(SERVICE_B).unwrap().is_some_and(|entry| entry.mac == Some(second.mac))
    })
    .unwrap();
}

/// Sends what the daemon sends when it takes an address over.
fn advertise(server: &Server, service: IpAddr, override_entry: bool) {
    let frame = match service {
        IpAddr::V6(target) => NeighborAdvertisement {
            mac: server.mac.0,
            source: link_local(server.mac),
            target,
            router: false,
            override_entry,
            solicited: false,
            recipient: Recipient::Link,
            vlan: 0,
            options: &[],
        }
        .to_vec(),
        IpAddr::V4(address) => ArpAnnouncement {
            mac: server.mac.0,
            address,
            form: ArpForm::Request,
            recipient: Recipient::Link,
            vlan: 0,
        }
        .to_vec(),
    };
    Injector::new(&server.namespace, SERVER).unwrap().send(&frame).unwrap();
}
