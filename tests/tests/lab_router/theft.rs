//! The theft: a server that lost the address must still answer what arrives, and for that resolve its gateway. If it asks
//! in the name of the service address, the router's entry comes back to it.

use std::net::{IpAddr, SocketAddr};

use anycast_tests::frames::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ether, Ipv4, Ipv6, NEXT_UDP, upper_checksum};
use anycast_tests::lab::dns::{Query, kind};
use anycast_tests::lab::farm::{ROUTER_LINK, SERVER, SERVICE, SERVICE_V4};
use anycast_tests::lab::{
    Capture, DnsResponder, Farm, FarmOptions, Frame, Injector, Mac, Nud, Server, neighbour,
};

use crate::{PATIENCE, farm_of_two, need_lab};

/// The router's MAC address on the servers' link.
const ROUTER_MAC: Mac = Mac([0x02, 0xac, 0, 0, 0, 1]);
/// The port that the query in flight came from.
const CLIENT_PORT: u16 = 40_053;

#[test]
fn an_ex_owner_does_not_steal_the_ipv6_entry_back() {
    need_lab!("an_ex_owner_does_not_steal_the_ipv6_entry_back");
    let (_responders, farm) = farm_of_two();
    assert_eq!(owner_after_late_query(&farm, SERVICE), farm.servers[1].mac);
}

#[test]
fn with_the_address_on_the_link_it_does() {
    need_lab!("with_the_address_on_the_link_it_does");
    let farm = Farm::new(&FarmOptions { servers: 2, ..FarmOptions::default() }).unwrap();
    let first = &farm.servers[0];
    first.namespace.ip(&["addr", "add", &format!("{SERVICE}/128"), "dev", SERVER, "nodad"]).unwrap();
    let _responder = DnsResponder::start(first).unwrap();
    assert_eq!(owner_after_late_query(&farm, SERVICE), first.mac);
}

#[test]
fn an_ex_owner_does_not_steal_the_ipv4_entry_back() {
    need_lab!("an_ex_owner_does_not_steal_the_ipv4_entry_back");
    let (_responders, farm) = farm_of_two();
    assert_eq!(owner_after_late_query(&farm, SERVICE_V4), farm.servers[1].mac);
}

#[test]
fn without_arp_announce_it_does() {
    need_lab!("without_arp_announce_it_does");
    let (_responders, farm) = farm_of_two();
    let first = &farm.servers[0];
    first.namespace.sysctl("net/ipv4/conf/all/arp_announce", "0").unwrap();
    assert_eq!(owner_after_late_query(&farm, SERVICE_V4), first.mac);
}

/// The router believes in the second server when a query that it sent before arrives at the first one, which knows no
/// neighbour. Tells in whom the router believes when the answer has come through.
fn owner_after_late_query(farm: &Farm, service: IpAddr) -> Mac {
    let (first, second) = (&farm.servers[0], &farm.servers[1]);
    farm.set_router_neighbour(service, Some(second.mac), Nud::Reachable).unwrap();
    first.namespace.ip(&["neigh", "flush", "dev", SERVER]).unwrap();
    assert!(
        neighbour::read(&first.namespace, SERVER, gateway(service)).unwrap().is_none_or(|n| n.mac.is_none())
    );

    let capture = Capture::start(&farm.router, ROUTER_LINK).unwrap();
    Injector::new(&farm.router, ROUTER_LINK).unwrap().send(&query(first, service)).unwrap();
    let resolution = capture.wait_for("the ex-owner asks for its gateway", PATIENCE, |seen| {
        !seen.outgoing
            && match seen.parse() {
                Frame::NeighborSolicitation(ns) => {
                    ns.from == first.mac && IpAddr::from(ns.target) == gateway(service)
                }
                Frame::Arp(arp) => {
                    arp.from == first.mac && IpAddr::from(arp.target_address) == gateway(service)
                }
                _ => false,
            }
    });
    resolution.unwrap();
    let answer = capture.wait_for("the ex-owner's answer", PATIENCE, |seen| {
        seen.parse().udp().is_some_and(|udp| {
            udp.from == first.mac
                && udp.source == SocketAddr::from((service, 53))
                && udp.destination.port() == CLIENT_PORT
        })
    });
    answer.unwrap();
    farm.router_neighbour(service).unwrap().and_then(|entry| entry.mac).unwrap()
}

fn gateway(service: IpAddr) -> IpAddr {
    use anycast_tests::lab::farm::{ROUTER_ADDRESS, ROUTER_ADDRESS_V4};
    if service.is_ipv6() { ROUTER_ADDRESS.into() } else { ROUTER_ADDRESS_V4.into() }
}

/// The client's query as the router sends it to `server`.
fn query(server: &Server, service: IpAddr) -> Vec<u8> {
    let message = Query::new(1, "late.whoami.example.", kind::TXT).unwrap().emit();
    let client: IpAddr =
        if service.is_ipv6() { "2001:db8:53:2::2".parse().unwrap() } else { "198.51.100.2".parse().unwrap() };
    let mut datagram = Vec::new();
    for field in [CLIENT_PORT, 53, 8 + message.len() as u16, 0] {
        datagram.extend(field.to_be_bytes());
    }
    datagram.extend(&message);
    let checksum = upper_checksum(client, service, NEXT_UDP, &datagram);
    datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
    let ether = Ether::new(server.mac.0, ROUTER_MAC.0);
    match (client, service) {
        (IpAddr::V6(client), IpAddr::V6(service)) => {
            ether.frame(ETHERTYPE_IPV6, &Ipv6::new(client, service).packet(NEXT_UDP, &datagram))
        }
        (IpAddr::V4(client), IpAddr::V4(service)) => {
            ether.frame(ETHERTYPE_IPV4, &Ipv4::new(client, service).packet(NEXT_UDP, &datagram))
        }
        _ => unreachable!("client and service are of one family"),
    }
}
