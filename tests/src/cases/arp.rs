//! ARP: RFC 826; probes and announcements of RFC 5227.

use std::net::Ipv4Addr;

use anycast_common::abi::{
    Counters, Drop, EVENT_PEER_ADVERTISEMENT, EVENT_SOLICITED_DAD, EVENT_SOLICITED_MULTICAST,
    EVENT_SOLICITED_UNICAST, Event,
};

use super::*;
use crate::frames::{ALL_NODES_MAC, Arp, customer};

fn request() -> Arp {
    Arp::request(ROUTER_MAC, ROUTER4, PLAIN4_ADDRESS)
}

/// What Linux sends before it lets an entry go: a request to the neighbour itself.
fn unicast_request() -> Arp {
    let mut arp = request();
    arp.ether.destination = MAC;
    arp
}

/// RFC 5227 2.1.1: the sender's address is not yet its own.
fn probe() -> Arp {
    Arp { sender: Ipv4Addr::UNSPECIFIED, ..request() }
}

fn reply() -> Arp {
    Arp::reply(MAC, PLAIN4_ADDRESS, ROUTER_MAC, ROUTER4)
}

fn pass(name: &'static str, control: &'static str, arp: Arp) -> Case {
    let frame = arp.frame();
    let expect = passes(&frame);
    Case::new(name, control, frame, expect)
}

fn answer(name: &'static str, control: &'static str, arp: Arp, reply: Arp, kind: Counters) -> Case {
    Case::new(name, control, arp.frame(), answers(reply.frame(), PLAIN4, kind))
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = requests();
    cases.extend(invalid());
    cases.extend(gates());
    cases.extend(advertisements());
    cases
}

fn requests() -> Vec<Case> {
    let to = |mac: Mac| {
        let mut arp = request();
        arp.ether.destination = mac;
        arp
    };
    let padded = |padding: usize, mut arp: Arp| {
        arp.ether.padding = padding;
        arp
    };
    let tagged = |vid: u16, mut arp: Arp| {
        arp.ether.tags = vec![customer(vid)];
        arp
    };
    let cut = request().frame()[..41].to_vec();
    let cut_expect = passes(&cut);
    vec![
        answer("arp request", "arp request for a foreign address", request(), reply(), multicast()),
        pass(
            "arp request for a foreign address",
            "arp request",
            Arp { target: FOREIGN4_ADDRESS, ..request() },
        ),
        answer("arp unicast request", "arp unicast to another mac", unicast_request(), reply(), unicast()),
        pass("arp unicast to another mac", "arp unicast request", to(OTHER_MAC)),
        pass("arp request from a group of stations", "arp request", {
            let mut arp = request();
            arp.ether.source[0] |= 1;
            arp
        }),
        pass("arp in a multicast frame", "arp request", to(ALL_NODES_MAC)),
        answer(
            "arp probe",
            "arp request for a foreign address",
            probe(),
            Arp { target: Ipv4Addr::UNSPECIFIED, ..reply() },
            dad(),
        ),
        answer(
            "arp request padded to 60",
            "arp request cut short",
            padded(18, request()),
            padded(18, reply()),
            multicast(),
        ),
        Case::new("arp request cut short", "arp request padded to 60", cut, cut_expect),
        Case::new(
            "arp request on vlan 7",
            "arp request on vlan 8",
            tagged(7, request()).frame(),
            answers(tagged(7, reply()).frame(), TAGGED4, multicast()),
        ),
        pass("arp request on vlan 8", "arp request on vlan 7", tagged(8, request())),
        answer(
            "arp request with a priority tag",
            "arp request on vlan 8",
            tagged(0, request()),
            tagged(0, reply()),
            multicast(),
        ),
        // RFC 826 asks nobody to look at the target's hardware address of a request.
        answer(
            "arp request that fills in the target's mac",
            "arp request for a foreign address",
            Arp { target_mac: OTHER_MAC, ..request() },
            reply(),
            multicast(),
        ),
        pass(
            "arp request from the service address for another",
            "arp announcement of a peer",
            Arp::request(PEER_MAC, PLAIN4_ADDRESS, ROUTER4),
        ),
        pass(
            "arp reply for a foreign address",
            "arp reply of a peer",
            Arp::reply(PEER_MAC, FOREIGN4_ADDRESS, MAC, ROUTER4),
        ),
    ]
}

fn invalid() -> Vec<Case> {
    let drop = |name, arp: Arp| Case::new(name, "arp request", arp.frame(), drops(Drop::ArpInvalid));
    vec![
        drop("arp of another hardware type", Arp { hardware: 6, ..request() }),
        drop("arp of another protocol type", Arp { protocol: 0x86dd, ..request() }),
        drop("arp of another hardware length", Arp { hardware_length: 8, ..request() }),
        drop("arp of another protocol length", Arp { protocol_length: 16, ..request() }),
        drop("arp operation 0", Arp { operation: 0, ..request() }),
        drop("arp operation 3", Arp { operation: 3, ..request() }),
        drop("arp operation 257", Arp { operation: 0x0101, ..request() }),
        {
            let foreign = Arp { hardware: 6, target: FOREIGN4_ADDRESS, ..request() };
            pass(
                "arp of another hardware type for a foreign address",
                "arp of another hardware type",
                foreign,
            )
        },
    ]
}

fn gates() -> Vec<Case> {
    let refused = |name, control, arp: Arp, gate: Gate, kind: u32| {
        let counters = match kind {
            EVENT_SOLICITED_DAD => dad(),
            EVENT_SOLICITED_UNICAST => unicast(),
            _ => multicast(),
        };
        let (reason, counters) = if gate == SHUT {
            (Drop::GateShut, Counters { refused_shut: 1, ..counters })
        } else if gate == STALE {
            (Drop::LeaseStale, Counters { refused_stale: 1, ..counters })
        } else {
            (Drop::GateHeld, Counters { refused_held: 1, ..counters })
        };
        let event = Event {
            kind,
            index: PLAIN4 as u32,
            address: words(arp.sender),
            mac: ROUTER_MAC,
            announced: [0; 6],
            vlan: 0,
            ..Event::default()
        };
        Case::new(name, control, arp.frame(), reports(reason, PLAIN4, counters, event))
            .with_gate(PLAIN4, gate)
    };
    vec![
        refused("arp request, gate shut", "arp request", request(), SHUT, EVENT_SOLICITED_MULTICAST),
        refused("arp request, lease stale", "arp request", request(), STALE, EVENT_SOLICITED_MULTICAST),
        refused("arp request, held shut", "arp request", request(), HELD_SHUT, EVENT_SOLICITED_MULTICAST),
        refused(
            "arp unicast request, gate shut",
            "arp unicast request",
            unicast_request(),
            SHUT,
            EVENT_SOLICITED_UNICAST,
        ),
        refused("arp probe, gate shut", "arp probe", probe(), SHUT, EVENT_SOLICITED_DAD),
        answer("arp request, held open", "arp request, gate shut", request(), reply(), multicast())
            .with_gate(PLAIN4, HELD_OPEN),
    ]
}

fn advertisements() -> Vec<Case> {
    let heard = |name, control, arp: Arp, index: usize, vlan: u32| {
        let event = Event {
            kind: EVENT_PEER_ADVERTISEMENT,
            index: index as u32,
            address: words(arp.sender),
            mac: PEER_MAC,
            announced: arp.sender_mac,
            vlan,
            ..Event::default()
        };
        let counters = Counters { advertisements: 1, ..Counters::default() };
        Case::new(name, control, arp.frame(), reports(Drop::PeerAdvertisement, index, counters, event))
    };
    let own = |name, control, arp: Arp| Case::new(name, control, arp.frame(), drops(Drop::OwnAdvertisement));
    let announcement = Arp::announcement(PEER_MAC, PLAIN4_ADDRESS);
    let reply = Arp::reply(PEER_MAC, PLAIN4_ADDRESS, MAC, ROUTER4);
    let mut broadcast_reply = Arp::reply(PEER_MAC, PLAIN4_ADDRESS, MAC, PLAIN4_ADDRESS);
    broadcast_reply.ether.destination = crate::frames::BROADCAST;
    let mut on_vlan = announcement.clone();
    on_vlan.ether.tags = vec![customer(7)];
    let mut on_vlan_8 = announcement.clone();
    on_vlan_8.ether.tags = vec![customer(8)];
    vec![
        heard("arp announcement of a peer", "arp announcement on vlan 8", announcement.clone(), PLAIN4, 0),
        heard("arp announcement on vlan 7", "arp announcement on vlan 8", on_vlan, TAGGED4, 7),
        pass("arp announcement on vlan 8", "arp announcement on vlan 7", on_vlan_8),
        heard("arp reply of a peer", "arp reply for a foreign address", reply, PLAIN4, 0),
        heard("arp broadcast reply of a peer", "arp reply for a foreign address", broadcast_reply, PLAIN4, 0),
        own(
            "arp announcement of ours, looped back",
            "arp announcement of a peer",
            Arp::announcement(MAC, PLAIN4_ADDRESS),
        ),
        {
            let arp = announcement;
            heard("arp announcement of a peer, gate shut", "arp announcement on vlan 8", arp, PLAIN4, 0)
                .with_gate(PLAIN4, SHUT)
        },
    ]
}
