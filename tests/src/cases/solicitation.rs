//! Neighbor Solicitations: RFC 4861 7.1.1 and 7.2.3–7.2.4, RFC 4862 5.4.3, RFC 6980.

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
    cases.extend(invalid());
    cases.extend(destinations());
    cases.extend(options());
    cases.extend(extensions());
    cases.extend(tags());
    cases.extend(gates());
    cases.extend(shapes());
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
    ]
}

/// RFC 4861 7.1.1, rule by rule.
fn invalid() -> Vec<Case> {
    let hop_limit = |hop_limit: u8, mut ns: Neighbor| {
        ns.ip.hop_limit = hop_limit;
        ns
    };
    let short = |length: usize| {
        // The rest of the target stands behind the packet's end, where a careless program would still find it.
        let mut ns = Neighbor { options: vec![], cut: Some(length), ..resolution() };
        ns.ether.padding = 0;
        let mut frame = ns.frame();
        let whole = Neighbor { cut: None, ..ns.clone() }.message();
        frame.extend(&whole[length..]);
        (ns, frame)
    };
    let mut dad_elsewhere = detection();
    dad_elsewhere.ip.destination = ALL_NODES;
    dad_elsewhere.ether.destination = ALL_NODES_MAC;
    let mut dad_unicast = detection();
    dad_unicast.ip.destination = PLAIN_ADDRESS;
    dad_unicast.ether.destination = MAC;
    let mut dad_other_group = detection();
    dad_other_group.ip.destination = solicited_node(DOUBLE_ADDRESS);
    vec![
        drop("ns hop limit 254", "ns multicast", hop_limit(254, resolution()), Drop::NsHopLimit),
        drop("ns hop limit 0", "ns multicast", hop_limit(0, resolution()), Drop::NsHopLimit),
        drop("ns probe hop limit 254", "ns unicast probe", hop_limit(254, probe()), Drop::NsHopLimit),
        drop("ns dad hop limit 254", "ns dad", hop_limit(254, detection()), Drop::NsHopLimit),
        drop(
            "ns checksum",
            "ns multicast",
            Neighbor { checksum_fault: 0x0100, ..resolution() },
            Drop::NsChecksum,
        ),
        drop(
            "ns checksum in the last bit",
            "ns multicast",
            Neighbor { checksum_fault: 1, ..resolution() },
            Drop::NsChecksum,
        ),
        drop(
            "ns checksum without option",
            "ns unicast probe",
            Neighbor { checksum_fault: 0x8000, ..probe() },
            Drop::NsChecksum,
        ),
        drop(
            "ns checksum with three options",
            "ns with nonce and unknown option",
            {
                let mut ns = many_options();
                ns.checksum_fault = 0x0010;
                ns
            },
            Drop::NsChecksum,
        ),
        drop("ns code 1", "ns multicast", Neighbor { code: 1, ..resolution() }, Drop::NsCode),
        Case::new("ns of 20 octets", "ns multicast without option", short(20).1, drops(Drop::NsLength)),
        Case::new("ns of 23 octets", "ns multicast without option", short(23).1, drops(Drop::NsLength)),
        pass("ns cut off inside the target", "ns of 20 octets", short(20).0),
        drop(
            "ns dad with source option",
            "ns dad",
            Neighbor { options: source_link_layer(ROUTER_MAC), ..detection() },
            Drop::NsDadOption,
        ),
        drop(
            "ns dad with nonce and source option",
            "ns dad with nonce",
            Neighbor {
                options: [nonce([1, 2, 3, 4, 5, 6]), source_link_layer(ROUTER_MAC)].concat(),
                ..detection()
            },
            Drop::NsDadOption,
        ),
        drop("ns dad to all nodes", "ns dad", dad_elsewhere, Drop::NsDadDestination),
        drop("ns dad to the target itself", "ns dad", dad_unicast, Drop::NsDadDestination),
        drop("ns dad to another group", "ns dad", dad_other_group, Drop::NsDadDestination),
        answer(
            "ns with reserved bits",
            "ns checksum",
            Neighbor { flags: 0xe0, ..resolution() },
            solicited(),
            multicast(),
        ),
    ]
}

/// Destination MAC and IP addresses.
fn destinations() -> Vec<Case> {
    let to = |mac: Mac, ip: Ipv6Addr| {
        let mut ns = resolution();
        ns.ether.destination = mac;
        ns.ip.destination = ip;
        ns
    };
    let group = solicited_node(PLAIN_ADDRESS);
    let other_group = solicited_node(DOUBLE_ADDRESS);
    let all_routers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    vec![
        answer(
            "ns to all nodes",
            "ns to all routers",
            to(ALL_NODES_MAC, ALL_NODES),
            solicited(),
            multicast(),
        ),
        pass("ns to all routers", "ns to all nodes", to(group_mac(all_routers), all_routers)),
        answer(
            "ns to the group in a unicast frame",
            "ns unicast to another mac",
            to(MAC, group),
            solicited(),
            unicast(),
        ),
        pass("ns from a group of stations", "ns multicast", {
            let mut ns = resolution();
            ns.ether.source = ALL_NODES_MAC;
            ns
        }),
        pass("ns from a multicast address", "ns multicast", {
            let mut ns = resolution();
            ns.ip.source = ALL_NODES;
            ns
        }),
        pass("ns unicast to another mac", "ns unicast probe", {
            let mut ns = probe();
            ns.ether.destination = OTHER_MAC;
            ns
        }),
        pass("ns in a broadcast frame", "ns multicast", to(BROADCAST, group)),
        pass("ns in another group's frame", "ns multicast", to(group_mac(other_group), group)),
        pass("ns to another group", "ns multicast", to(group_mac(other_group), other_group)),
        drop(
            "ns to another group in our group's frame",
            "ns multicast",
            to(group_mac(group), other_group),
            Drop::NsDestination,
        ),
        drop("ns to all routers in our frame", "ns unicast probe", to(MAC, all_routers), Drop::NsDestination),
        drop("ns to another unicast address", "ns unicast probe", to(MAC, TWIN_ADDRESS), Drop::NsDestination),
        drop("ns to our link-local address", "ns unicast probe", to(MAC, LINK_LOCAL), Drop::NsDestination),
    ]
}

fn many_options() -> Neighbor {
    let options =
        [option(200, &[0xab; 22]), nonce([1, 2, 3, 4, 5, 6]), source_link_layer(ROUTER_MAC)].concat();
    Neighbor { options, ..resolution() }
}

/// RFC 4861 4.3, 4.6: options known and unknown, whole and broken.
fn options() -> Vec<Case> {
    let with = |options: Vec<u8>| Neighbor { options, ..resolution() };
    let of_length = |units: u8| {
        let mut option = option(200, &[0xab; 6]);
        option[1] = units;
        option
    };
    vec![
        answer(
            "ns with nonce",
            "ns with an option of length 0",
            with([source_link_layer(ROUTER_MAC), nonce([1, 2, 3, 4, 5, 6])].concat()),
            solicited(),
            multicast(),
        ),
        answer(
            "ns with nonce and unknown option",
            "ns with an option of length 0",
            many_options(),
            solicited(),
            multicast(),
        ),
        answer(
            "ns dad with nonce",
            "ns dad with source option",
            Neighbor { options: nonce([1, 2, 3, 4, 5, 6]), ..detection() },
            unsolicited(),
            dad(),
        ),
        answer(
            "ns with a long option",
            "ns with a long option cut short",
            with(option(14, &[0x5c; 1022])),
            solicited(),
            multicast(),
        ),
        drop(
            "ns with a long option cut short",
            "ns with a long option",
            Neighbor { cut: Some(24 + 1016), ..with(option(14, &[0x5c; 1022])) },
            Drop::NsOption,
        ),
        // The longest message that an Ethernet without jumbo frames carries.
        answer(
            "ns of 1456 octets",
            "ns of 1464 octets",
            with(option(14, &[0x5c; 1430])),
            solicited(),
            multicast(),
        ),
        pass("ns of 1464 octets", "ns of 1456 octets", with(option(14, &[0x5c; 1438]))),
        answer(
            "ns with an option of length 1",
            "ns with an option of length 0",
            with(of_length(1)),
            solicited(),
            multicast(),
        ),
        drop(
            "ns with an option of length 0",
            "ns with an option of length 1",
            with(of_length(0)),
            Drop::NsOption,
        ),
        drop(
            "ns with an option that runs past the end",
            "ns with an option of length 1",
            with(of_length(2)),
            Drop::NsOption,
        ),
        drop(
            "ns with a second option of length 0",
            "ns with nonce",
            with([source_link_layer(ROUTER_MAC), of_length(0)].concat()),
            Drop::NsOption,
        ),
        drop(
            "ns with half an option",
            "ns multicast",
            with([source_link_layer(ROUTER_MAC), vec![1, 1, 2, 0]].concat()),
            Drop::NsOption,
        ),
        drop("ns with one octet of an option", "ns multicast without option", with(vec![1]), Drop::NsOption),
        drop(
            "ns probe with an option of length 0",
            "ns unicast probe",
            Neighbor { options: of_length(0), ..probe() },
            Drop::NsOption,
        ),
        // Its last octets are padding that would make the option whole: the IPv6 header says where the packet ends.
        drop(
            "ns with an option that ends in the padding",
            "ns with an option of length 1",
            {
                let mut ns = with(of_length(2));
                ns.ether.padding = 8;
                ns
            },
            Drop::NsOption,
        ),
    ]
}

/// Extension headers and fragments.
fn extensions() -> Vec<Case> {
    let behind = |extensions: Vec<Extension>| {
        let mut ns = resolution();
        ns.ip.extensions = extensions;
        ns
    };
    let fragment = |offset: u16, more: bool| behind(vec![Extension::fragment(offset, more)]);
    let mut foreign = fragment(0, true);
    foreign.target = FOREIGN_ADDRESS;
    let mut other_mac = fragment(0, true);
    other_mac.ether.destination = OTHER_MAC;
    vec![
        pass(
            "ns behind hop-by-hop options",
            "ns multicast",
            behind(vec![Extension::padding(NEXT_HOP_BY_HOP)]),
        ),
        pass(
            "ns behind destination options",
            "ns multicast",
            behind(vec![Extension::padding(NEXT_DESTINATION_OPTIONS)]),
        ),
        pass("ns behind a routing header", "ns multicast", behind(vec![Extension::padding(NEXT_ROUTING)])),
        drop("ns in an atomic fragment", "ns multicast", fragment(0, false), Drop::NsFragment),
        drop("ns in a first fragment", "ns in a later fragment", fragment(0, true), Drop::NsFragment),
        pass("ns in a later fragment", "ns in a first fragment", fragment(1, false)),
        pass("ns for a foreign address in a fragment", "ns in a first fragment", foreign),
        pass("ns in a fragment to another mac", "ns in a first fragment", other_mac),
    ]
}

/// VLAN tags: none, one, two; priority tags.
fn tags() -> Vec<Case> {
    let tagged = |tags: &[Tag], mut message: Neighbor| {
        message.ether.tags = tags.to_vec();
        message
    };
    let double = Neighbor::solicitation(ROUTER_MAC, ROUTER, DOUBLE_ADDRESS);
    let from_double = Neighbor { target: DOUBLE_ADDRESS, ..solicited() };
    let answered = |name, control, tags: &[Tag], ns: Neighbor, na: Neighbor, index, kind| {
        Case::new(name, control, tagged(tags, ns).frame(), answers(tagged(tags, na).frame(), index, kind))
    };
    let urgent = Tag { tci: 0xe000 | 7, ..customer(7) };
    let no_option = |ns: Neighbor| Neighbor { options: vec![], ..ns };
    vec![
        answered(
            "ns on vlan 7",
            "ns on vlan 8",
            &[customer(7)],
            resolution(),
            solicited(),
            TAGGED,
            multicast(),
        ),
        pass("ns on vlan 8", "ns on vlan 7", tagged(&[customer(8)], resolution())),
        answered(
            "ns on vlan 7 with priority",
            "ns on vlan 8",
            &[urgent],
            resolution(),
            solicited(),
            TAGGED,
            multicast(),
        ),
        answered(
            "ns on vlan 7 without option",
            "ns on vlan 8",
            &[customer(7)],
            probe(),
            solicited(),
            TAGGED,
            unicast(),
        ),
        answered(
            "ns on vlan 7 in a service tag",
            "ns on vlan 8",
            &[service(7)],
            resolution(),
            solicited(),
            TAGGED,
            multicast(),
        ),
        answered("ns dad on vlan 7", "ns dad", &[customer(7)], detection(), unsolicited(), TAGGED, dad()),
        answered(
            "ns with a priority tag",
            "ns on vlan 8",
            &[customer(0)],
            resolution(),
            solicited(),
            PLAIN,
            multicast(),
        ),
        answered(
            "ns on vlan 7 behind a priority tag",
            "ns with a priority tag",
            &[customer(0), customer(7)],
            resolution(),
            solicited(),
            TAGGED,
            multicast(),
        ),
        answered(
            "ns on vlan 7 before a priority tag",
            "ns on vlan 8",
            &[service(7), customer(0)],
            resolution(),
            solicited(),
            TAGGED,
            multicast(),
        ),
        pass("ns untagged for a tagged service", "ns with two tags", double.clone()),
        answered(
            "ns with two tags",
            "ns with two tags in the other order",
            &[service(100), customer(7)],
            double.clone(),
            from_double.clone(),
            DOUBLE,
            multicast(),
        ),
        answered(
            "ns with two tags without option",
            "ns with two tags in the other order",
            &[customer(100), customer(7)],
            no_option(double.clone()),
            from_double,
            DOUBLE,
            multicast(),
        ),
        pass(
            "ns with two tags in the other order",
            "ns with two tags",
            tagged(&[service(7), customer(100)], double.clone()),
        ),
        pass(
            "ns with three tags",
            "ns with two tags",
            tagged(&[service(100), customer(7), customer(7)], double),
        ),
        pass(
            "ns with three priority tags",
            "ns with a priority tag",
            tagged(&[customer(0), customer(0), customer(0)], resolution()),
        ),
        drop(
            "ns on vlan 7 hop limit 254",
            "ns on vlan 7",
            {
                let mut ns = tagged(&[customer(7)], resolution());
                ns.ip.hop_limit = 254;
                ns
            },
            Drop::NsHopLimit,
        ),
    ]
}

/// The gate: shut, stale, held.
fn gates() -> Vec<Case> {
    let event = |kind: u32, index: usize, source: Ipv6Addr, vlan: u32| Event {
        kind,
        index: index as u32,
        address: words(source),
        mac: ROUTER_MAC,
        announced: [0; 6],
        vlan,
        flags: 0,
    };
    let refused = |name, control, ns: Neighbor, gate: Gate, kind: u32| {
        let (counters, source) = match kind {
            EVENT_SOLICITED_DAD => (dad(), Ipv6Addr::UNSPECIFIED),
            EVENT_SOLICITED_UNICAST => (unicast(), ROUTER),
            _ => (multicast(), ROUTER),
        };
        let (reason, counters) = if gate == SHUT {
            (Drop::GateShut, Counters { refused_shut: 1, ..counters })
        } else if gate == STALE {
            (Drop::LeaseStale, Counters { refused_stale: 1, ..counters })
        } else {
            (Drop::GateHeld, Counters { refused_held: 1, ..counters })
        };
        let event = event(kind, PLAIN, source, 0);
        Case::new(name, control, ns.frame(), reports(reason, PLAIN, counters, event)).with_gate(PLAIN, gate)
    };
    let mut on_vlan = resolution();
    on_vlan.ether.tags = vec![customer(7)];
    let no_option = Neighbor { options: vec![], ..resolution() };
    vec![
        refused("ns multicast, gate shut", "ns multicast", resolution(), SHUT, EVENT_SOLICITED_MULTICAST),
        refused("ns probe, gate shut", "ns unicast probe", probe(), SHUT, EVENT_SOLICITED_UNICAST),
        refused("ns dad, gate shut", "ns dad", detection(), SHUT, EVENT_SOLICITED_DAD),
        refused(
            "ns without option, gate shut",
            "ns multicast without option",
            no_option,
            SHUT,
            EVENT_SOLICITED_MULTICAST,
        ),
        refused("ns multicast, lease stale", "ns multicast", resolution(), STALE, EVENT_SOLICITED_MULTICAST),
        refused("ns probe, lease stale", "ns unicast probe", probe(), STALE, EVENT_SOLICITED_UNICAST),
        refused("ns dad, lease stale", "ns dad", detection(), STALE, EVENT_SOLICITED_DAD),
        refused(
            "ns multicast, held shut",
            "ns multicast",
            resolution(),
            HELD_SHUT,
            EVENT_SOLICITED_MULTICAST,
        ),
        refused("ns probe, held shut", "ns unicast probe", probe(), HELD_SHUT, EVENT_SOLICITED_UNICAST),
        refused("ns dad, held shut", "ns dad", detection(), HELD_SHUT, EVENT_SOLICITED_DAD),
        answer("ns multicast, held open", "ns multicast, gate shut", resolution(), solicited(), multicast())
            .with_gate(PLAIN, HELD_OPEN),
        answer(
            "ns multicast, held open, stale",
            "ns multicast, lease stale",
            resolution(),
            solicited(),
            multicast(),
        )
        .with_gate(PLAIN, HELD_OPEN_STALE),
        answer(
            "ns multicast, the twin's gate shut",
            "ns multicast, gate shut",
            resolution(),
            solicited(),
            multicast(),
        )
        .with_gate(TWIN, SHUT)
        .with_gate(TAGGED, SHUT),
        Case::new(
            "ns on vlan 7, gate shut",
            "ns on vlan 7",
            on_vlan.frame(),
            reports(
                Drop::GateShut,
                TAGGED,
                Counters { refused_shut: 1, ..multicast() },
                event(EVENT_SOLICITED_MULTICAST, TAGGED, ROUTER, 7),
            ),
        )
        .with_gate(TAGGED, SHUT),
        drop(
            "ns hop limit 254, gate shut",
            "ns multicast, gate shut",
            {
                let mut ns = resolution();
                ns.ip.hop_limit = 254;
                ns
            },
            Drop::NsHopLimit,
        )
        .with_gate(PLAIN, SHUT),
    ]
}

/// Frame lengths, and fields that must not matter.
fn shapes() -> Vec<Case> {
    let padded = |padding: usize, mut ns: Neighbor| {
        ns.ether.padding = padding;
        ns
    };
    let declared = |length: u16, mut ns: Neighbor| {
        ns.ip.payload_length = Some(length);
        ns
    };
    let mut labelled = resolution();
    labelled.ip.class_and_flow = 0x0e01_2345;
    let mut version = resolution().frame();
    version[14] = 0x46;
    let version_expect = passes(&version);
    vec![
        answer("ns padded", "ns for a foreign address", padded(4, resolution()), solicited(), multicast()),
        answer(
            "ns without option, padded by 4",
            "ns for a foreign address",
            padded(4, Neighbor { options: vec![], ..resolution() }),
            solicited(),
            multicast(),
        ),
        answer(
            "ns without option, padded by 8",
            "ns for a foreign address",
            padded(8, probe()),
            solicited(),
            unicast(),
        ),
        answer(
            "ns padded to a jumbo frame",
            "ns for a foreign address",
            padded(3_000, resolution()),
            solicited(),
            multicast(),
        ),
        answer(
            "ns with class and flow label",
            "ns for a foreign address",
            labelled,
            solicited(),
            multicast(),
        ),
        pass("ns longer than its frame", "ns multicast", declared(33, resolution())),
        pass(
            "ns of payload length 0",
            "ns multicast",
            declared(0, {
                let mut ns = resolution();
                ns.target = FOREIGN_ADDRESS;
                ns
            }),
        ),
        Case::new("ns in a packet of another version", "ns multicast", version, version_expect),
    ]
}
