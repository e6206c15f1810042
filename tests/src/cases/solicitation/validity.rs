//! What makes a solicitation invalid (RFC 4861 7.1.1), and to whom a valid one is addressed.

use super::*;

/// RFC 4861 7.1.1, rule by rule.
pub(super) fn invalid() -> Vec<Case> {
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
pub(super) fn destinations() -> Vec<Case> {
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
