//! Solicitations at a gate that is not open, or held.

use super::*;

/// The gate: shut, stale, held.
pub(super) fn gates() -> Vec<Case> {
    let event = |kind: u32, index: usize, source: Ipv6Addr, vlan: u32| Event {
        kind,
        index: index as u32,
        address: words(source),
        mac: ROUTER_MAC,
        announced: [0; 6],
        vlan,
        ..Event::default()
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
