//! Neighbor Advertisements: RFC 4861 7.1.2.

use std::net::Ipv6Addr;

use anycast_common::abi::{Counters, Drop, EVENT_PEER_ADVERTISEMENT, Event};

use super::*;
use crate::frames::{
    ALL_NODES, Extension, FLAG_OVERRIDE, FLAG_ROUTER, FLAG_SOLICITED, NEXT_HOP_BY_HOP, Neighbor, customer,
    group_mac, option, solicited_node, target_link_layer,
};

fn announcement() -> Neighbor {
    Neighbor::advertisement(PEER_MAC, PEER, PLAIN_ADDRESS)
}

/// A peer's answer to us: solicited, unicast.
fn solicited() -> Neighbor {
    let mut na = announcement();
    na.ether.destination = MAC;
    na.ip.destination = LINK_LOCAL;
    na.flags = FLAG_SOLICITED | FLAG_OVERRIDE | FLAG_ROUTER;
    na
}

fn event(flags: u8, announced: Mac) -> Event {
    Event {
        kind: EVENT_PEER_ADVERTISEMENT,
        index: PLAIN as u32,
        address: words(PEER),
        mac: PEER_MAC,
        announced,
        vlan: 0,
        flags: flags.into(),
        ..Event::default()
    }
}

/// An NA with `behind` behind its target link-layer address option, and the event that has the first `copied` octets of it.
fn with_option(behind: &[u8], copied: usize) -> (Neighbor, Event) {
    let mut na = announcement();
    na.options.extend_from_slice(behind);
    let mut told = event(FLAG_OVERRIDE, PEER_MAC);
    told.option_length = copied as u32;
    told.option.as_flattened_mut()[..copied].copy_from_slice(&behind[..copied]);
    (na, told)
}

/// An option of the farm's type, of so many units, with octets that tell their places.
fn farm_option(units: u8) -> Vec<u8> {
    let mut option: Vec<u8> = (0..8 * units).collect();
    option[..2].copy_from_slice(&[253, units]);
    option
}

/// What stands behind the target link-layer address option goes to the controller, up to the length of the farm's option.
fn options() -> Vec<Case> {
    let padding = option(254, &[9; 6]);
    let named = [
        ("na with the farm's option", farm_option(5), 40),
        ("na with the farm's option, signed", farm_option(10), 80),
        ("na with the farm's option and one more", [farm_option(5), padding.clone()].concat(), 40),
        ("na with the farm's option, signed, and one more", [farm_option(10), padding.clone()].concat(), 80),
        ("na with an option shorter than the farm's", farm_option(4), 0),
        ("na with two options of eight octets", [padding.clone(), padding].concat(), 0),
        ("na with an option longer than the farm's", farm_option(11), 80),
    ];
    let case = |(name, behind, copied): (&'static str, Vec<u8>, usize)| {
        let (na, event) = with_option(&behind, copied);
        let control = if copied == 0 { "na with the farm's option" } else { "na of a peer" };
        heard(name, control, na, event)
    };
    named.into_iter().map(case).collect()
}

fn heard(name: &'static str, control: &'static str, na: Neighbor, event: Event) -> Case {
    let counters = Counters { advertisements: 1, ..Counters::default() };
    let expect = reports(Drop::PeerAdvertisement, event.index as usize, counters, event);
    Case::new(name, control, na.frame(), expect)
}

fn drop(name: &'static str, control: &'static str, na: Neighbor, reason: Drop) -> Case {
    Case::new(name, control, na.frame(), drops(reason))
}

fn pass(name: &'static str, control: &'static str, na: Neighbor) -> Case {
    let frame = na.frame();
    let expect = passes(&frame);
    Case::new(name, control, frame, expect)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = peers();
    cases.extend(options());
    cases.extend(invalid());
    cases.extend(own());
    cases
}

fn peers() -> Vec<Case> {
    let all = FLAG_SOLICITED | FLAG_OVERRIDE | FLAG_ROUTER;
    let mut on_vlan = announcement();
    on_vlan.ether.tags = vec![customer(7)];
    let mut on_vlan_8 = announcement();
    on_vlan_8.ether.tags = vec![customer(8)];
    let mut to_other = solicited();
    to_other.ether.destination = OTHER_MAC;
    let with_experiment =
        Neighbor { options: [option(253, &[7; 14]), target_link_layer(PEER_MAC)].concat(), ..announcement() };
    let mut to_group = announcement();
    to_group.ether.destination = group_mac(solicited_node(PLAIN_ADDRESS));
    to_group.ip.destination = solicited_node(PLAIN_ADDRESS);
    let mut from_group = announcement();
    from_group.ether.source[0] |= 1;
    let mut from_multicast = announcement();
    from_multicast.ip.source = ALL_NODES;
    let mut padded = announcement();
    padded.ether.padding = 6;
    vec![
        heard("na of a peer", "na for a foreign address", announcement(), event(FLAG_OVERRIDE, PEER_MAC)),
        pass(
            "na for a foreign address",
            "na of a peer",
            Neighbor { target: FOREIGN_ADDRESS, ..announcement() },
        ),
        heard(
            "na without override",
            "na of a peer",
            Neighbor { flags: 0, ..announcement() },
            event(0, PEER_MAC),
        ),
        heard(
            "na with reserved bits",
            "na for a foreign address",
            Neighbor { flags: 0x1f | FLAG_OVERRIDE, ..announcement() },
            event(FLAG_OVERRIDE, PEER_MAC),
        ),
        heard(
            "na to the solicited-node group",
            "na to all routers",
            to_group,
            event(FLAG_OVERRIDE, PEER_MAC),
        ),
        pass("na from a group of stations", "na of a peer", from_group),
        pass("na from a multicast address", "na of a peer", from_multicast),
        heard("na solicited by us", "na solicited by another", solicited(), event(all, PEER_MAC)),
        pass("na solicited by another", "na solicited by us", to_other),
        heard(
            "na without option",
            "na of a peer",
            Neighbor { options: vec![], ..announcement() },
            event(FLAG_OVERRIDE, [0; 6]),
        ),
        heard(
            "na that announces a third mac",
            "na of a peer",
            Neighbor { options: target_link_layer(OTHER_MAC), ..announcement() },
            event(FLAG_OVERRIDE, OTHER_MAC),
        ),
        heard(
            "na with two target options",
            "na that announces a third mac",
            Neighbor {
                options: [target_link_layer(PEER_MAC), target_link_layer(OTHER_MAC)].concat(),
                ..announcement()
            },
            event(FLAG_OVERRIDE, PEER_MAC),
        ),
        heard(
            "na with an experimental option",
            "na with an option of length 0",
            with_experiment,
            event(FLAG_OVERRIDE, PEER_MAC),
        ),
        heard("na padded", "na for a foreign address", padded, event(FLAG_OVERRIDE, PEER_MAC)),
        heard(
            "na on vlan 7",
            "na on vlan 8",
            on_vlan,
            Event { index: TAGGED as u32, vlan: 7, ..event(FLAG_OVERRIDE, PEER_MAC) },
        ),
        pass("na on vlan 8", "na on vlan 7", on_vlan_8),
        heard(
            "na of a peer, gate shut",
            "na for a foreign address",
            announcement(),
            event(FLAG_OVERRIDE, PEER_MAC),
        )
        .with_gate(PLAIN, SHUT),
    ]
}

fn invalid() -> Vec<Case> {
    let behind = |extension: Extension| {
        let mut na = announcement();
        na.ip.extensions = vec![extension];
        na
    };
    let mut hop_limit = announcement();
    hop_limit.ip.hop_limit = 254;
    let mut broken = target_link_layer(PEER_MAC);
    broken[1] = 0;
    let mut past_the_end = target_link_layer(PEER_MAC);
    past_the_end[1] = 2;
    let mut short = Neighbor { options: vec![], cut: Some(20), ..announcement() }.frame();
    short.extend(&PLAIN_ADDRESS.octets()[12..]);
    let all_routers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    let mut to_routers = announcement();
    to_routers.ip.destination = all_routers;
    to_routers.ether.destination = group_mac(all_routers);
    vec![
        drop("na hop limit 254", "na of a peer", hop_limit, Drop::NaInvalid),
        drop(
            "na checksum",
            "na of a peer",
            Neighbor { checksum_fault: 1, ..announcement() },
            Drop::NaInvalid,
        ),
        drop("na code 1", "na of a peer", Neighbor { code: 1, ..announcement() }, Drop::NaInvalid),
        Case::new("na of 20 octets", "na without option", short, drops(Drop::NaInvalid)),
        drop(
            "na with an option of length 0",
            "na of a peer",
            Neighbor { options: broken, ..announcement() },
            Drop::NaInvalid,
        ),
        drop(
            "na with an option that runs past the end",
            "na of a peer",
            Neighbor { options: past_the_end, ..announcement() },
            Drop::NaInvalid,
        ),
        drop(
            "na solicited and multicast",
            "na of a peer",
            Neighbor { flags: FLAG_SOLICITED | FLAG_OVERRIDE, ..announcement() },
            Drop::NaInvalid,
        ),
        drop(
            "na in an atomic fragment",
            "na of a peer",
            behind(Extension::fragment(0, false)),
            Drop::NaInvalid,
        ),
        drop("na in a first fragment", "na of a peer", behind(Extension::fragment(0, true)), Drop::NaInvalid),
        pass("na in a later fragment", "na in a first fragment", behind(Extension::fragment(1, false))),
        pass("na behind hop-by-hop options", "na of a peer", behind(Extension::padding(NEXT_HOP_BY_HOP))),
        pass("na to all routers", "na of a peer", to_routers),
    ]
}

fn own() -> Vec<Case> {
    vec![
        drop(
            "na of ours, looped back",
            "na of a peer",
            Neighbor::advertisement(MAC, LINK_LOCAL, PLAIN_ADDRESS),
            Drop::OwnAdvertisement,
        ),
        drop(
            "na of ours, looped back without option",
            "na without option",
            Neighbor { options: vec![], ..Neighbor::advertisement(MAC, LINK_LOCAL, PLAIN_ADDRESS) },
            Drop::OwnAdvertisement,
        ),
    ]
}
