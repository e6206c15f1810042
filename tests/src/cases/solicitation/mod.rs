//! Neighbor Solicitations: RFC 4861 7.1.1 and 7.2.3–7.2.4, RFC 4862 5.4.3, RFC 6980.

mod gates;
mod link;
mod options;
mod validity;

use std::net::Ipv6Addr;

use anycast_common::abi::{
    Counters, Drop, EVENT_SOLICITED_DAD, EVENT_SOLICITED_MULTICAST, EVENT_SOLICITED_UNICAST, Event,
};

use super::*;
use crate::frames::{
    ALL_NODES, ALL_NODES_MAC, BROADCAST, Extension, FLAG_OVERRIDE, FLAG_ROUTER, FLAG_SOLICITED,
    NEXT_DESTINATION_OPTIONS, NEXT_HOP_BY_HOP, NEXT_ROUTING, Neighbor, Tag, customer, group_mac, nonce,
    option, service, solicited_node, source_link_layer,
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = kinds();
    cases.extend(validity::invalid());
    cases.extend(validity::destinations());
    cases.extend(options::options());
    cases.extend(options::extensions());
    cases.extend(link::tags());
    cases.extend(link::shapes());
    cases.extend(gates::gates());
    cases
}

fn resolution() -> Neighbor {
    Neighbor::solicitation(ROUTER_MAC, ROUTER, PLAIN_ADDRESS)
}

fn probe() -> Neighbor {
    Neighbor::probe(ROUTER_MAC, ROUTER, PLAIN_ADDRESS, MAC)
}

fn detection() -> Neighbor {
    Neighbor::duplicate_detection(ROUTER_MAC, PLAIN_ADDRESS)
}

/// The answer to the router's solicitation for the plain service.
fn solicited() -> Neighbor {
    let mut na = Neighbor::advertisement(MAC, LINK_LOCAL, PLAIN_ADDRESS);
    na.ether.destination = ROUTER_MAC;
    na.ip.destination = ROUTER;
    na.flags = FLAG_SOLICITED | FLAG_OVERRIDE;
    na
}

/// The answer to a stranger's duplicate address detection.
fn unsolicited() -> Neighbor {
    Neighbor::advertisement(MAC, LINK_LOCAL, PLAIN_ADDRESS)
}

fn pass(name: &'static str, control: &'static str, ns: Neighbor) -> Case {
    let frame = ns.frame();
    let expect = passes(&frame);
    Case::new(name, control, frame, expect)
}

fn drop(name: &'static str, control: &'static str, ns: Neighbor, reason: Drop) -> Case {
    Case::new(name, control, ns.frame(), drops(reason))
}

fn answer(name: &'static str, control: &'static str, ns: Neighbor, na: Neighbor, kind: Counters) -> Case {
    Case::new(name, control, ns.frame(), answers(na.frame(), PLAIN, kind))
}

fn many_options() -> Neighbor {
    let options =
        [option(200, &[0xab; 22]), nonce([1, 2, 3, 4, 5, 6]), source_link_layer(ROUTER_MAC)].concat();
    Neighbor { options, ..resolution() }
}

/// Resolution, reachability probe, duplicate address detection; whose address it is.
fn kinds() -> Vec<Case> {
    let mut foreign = resolution();
    foreign.target = FOREIGN_ADDRESS;
    let twin = Neighbor::solicitation(ROUTER_MAC, ROUTER, TWIN_ADDRESS);
    let mut from_twin = Neighbor { flags: FLAG_SOLICITED | FLAG_ROUTER, target: TWIN_ADDRESS, ..solicited() };
    from_twin.ip.source = TWIN_ADDRESS;
    let mut twin_detection = detection();
    twin_detection.target = TWIN_ADDRESS;
    let mut twin_unsolicited = Neighbor { flags: FLAG_ROUTER, target: TWIN_ADDRESS, ..unsolicited() };
    twin_unsolicited.ip.source = TWIN_ADDRESS;
    let global = |mut message: Neighbor, source: bool| {
        if source {
            message.ip.source = CLIENT;
        } else {
            message.ip.destination = CLIENT;
        }
        message
    };
    vec![
        answer("ns multicast", "ns for a foreign address", resolution(), solicited(), multicast()),
        // Shares the group, so the frame differs in the upper bits of the target alone.
        pass("ns for a foreign address", "ns multicast", foreign),
        answer(
            "ns multicast without option",
            "ns for a foreign address",
            Neighbor { options: vec![], ..resolution() },
            solicited(),
            multicast(),
        ),
        answer("ns unicast probe", "ns unicast to another mac", probe(), solicited(), unicast()),
        answer(
            "ns unicast with option",
            "ns unicast to another mac",
            Neighbor { options: source_link_layer(ROUTER_MAC), ..probe() },
            solicited(),
            unicast(),
        ),
        answer("ns dad", "ns dad with source option", detection(), unsolicited(), dad()),
        answer(
            "ns from a global address",
            "ns for a foreign address",
            global(resolution(), true),
            global(solicited(), false),
            multicast(),
        ),
        Case::new(
            "ns for the twin that shares 24 bits",
            "ns multicast",
            twin.frame(),
            answers(from_twin.frame(), TWIN, multicast()),
        ),
        Case::new(
            "ns dad for the twin",
            "ns dad",
            twin_detection.frame(),
            answers(twin_unsolicited.frame(), TWIN, dad()),
        ),
        pass(
            "ns for a multicast target",
            "ns multicast",
            Neighbor { target: solicited_node(PLAIN_ADDRESS), ..resolution() },
        ),
        // Empty slots of a table have this address: neither a valid nor an invalid solicitation may find one.
        pass("ns unicast for the unspecified target", "ns to another unicast address", {
            let mut ns = probe();
            ns.target = Ipv6Addr::UNSPECIFIED;
            ns
        }),
        pass("ns for the unspecified target", "ns multicast", {
            let mut ns = resolution();
            ns.target = Ipv6Addr::UNSPECIFIED;
            ns
        }),
        // The tables hold IPv4 addresses in this form; no packet may carry it (RFC 4291 2.5.5.2).
        pass("ns for the IPv4 service's mapped address", "ns to another unicast address", {
            let mut ns = probe();
            ns.target = PLAIN4_ADDRESS.to_ipv6_mapped();
            ns
        }),
    ]
}
