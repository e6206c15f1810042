//! The frame around a solicitation: tags, padding, lengths.

use super::*;

/// VLAN tags: none, one, two; priority tags.
pub(super) fn tags() -> Vec<Case> {
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

/// Frame lengths, and fields that must not matter.
pub(super) fn shapes() -> Vec<Case> {
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
