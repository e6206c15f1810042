//! What stands behind a solicitation, and before it: options and extension headers.

use super::*;

/// RFC 4861 4.3, 4.6: options known and unknown, whole and broken.
pub(super) fn options() -> Vec<Case> {
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
pub(super) fn extensions() -> Vec<Case> {
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
