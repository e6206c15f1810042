//! A status with everything in it, and what must hold of its JSON.

use super::*;
use crate::telemetry::ospf::{self, Neighbor, Rejected};
use crate::telemetry::pool::Registration;

/// A daemon with much to tell.
pub(crate) fn example() -> Status {
    let counters = Counters {
        solicitations_multicast: 1_234_000,
        solicitations_unicast: 567,
        answered: 1_234_567,
        refused_shut: 3,
        queries: 98_765_432,
        tcp_syns: 12,
        bytes: 9_876_543_210,
        ..Counters::default()
    };
    let dns = Service {
        vlan: vec![100, 7],
        mode: "failover".into(),
        state: State::Owner,
        state_seconds: 185.0,
        state_reason: "contest won".into(),
        able: true,
        gate: Gate::Open,
        lease_ms_left: Some(240),
        owner: Some("02005e0053000001".into()),
        owned_here: true,
        epoch: 7,
        load: Some(250),
        query_rate: 1234.4,
        queries_total: 98_765_432,
        socket_drops_total: 17,
        solicitations_answered_total: 1_234_567,
        advertisements_sent_total: 3,
        moves_180s: 2,
        transitions_total: 4,
        counters,
        checks: vec![Check {
            kind: "dns".into(),
            target: "[::1]:53 health.example. SOA".into(),
            up: true,
            latency_ms: Some(0.5),
            error: None,
            age_seconds: Some(0.3),
            successes_total: 100,
            failures_total: 0,
        }],
        peers: vec![Peer {
            id: "02005e0053000002".into(),
            address: "fe80::2".parse().ok(),
            state: State::Ready,
            epoch: 7,
            heard_ms: 41,
            load: Some(125),
        }],
        per_router: true,
        routers: vec![
            Router {
                address: "fe80::2ac:ff:fe00:fffe".parse().unwrap(),
                mac: "02:ac:00:00:ff:fe".into(),
                seen_by: Some("advertisement".into()),
                seen_seconds: Some(120.0),
                owner: Some("02005e0053000002".into()),
                owned_here: false,
            },
            Router {
                address: "fe80::1".parse().unwrap(),
                mac: "02:00:5e:00:53:fe".into(),
                seen_by: None,
                seen_seconds: None,
                owner: Some("02005e0053000001".into()),
                owned_here: true,
            },
        ],
        router_advertisements_total: 6,
        ..Service::unknown("dns", "2001:db8:1::53".parse().unwrap(), "eth0")
    };
    let dns6 = Service {
        mode: "failover".into(),
        state_seconds: 4.0,
        not_able_because: vec!["check dns is down".into(), "link is down".into()],
        gate: Gate::HeldOpen,
        hold: Hold::Open,
        checks: vec![Check {
            up: false,
            latency_ms: None,
            error: Some(
                "timed out after 300ms waiting for the UDP answer from [::1]:53; is it listening?".into(),
            ),
            failures_total: 3,
            ..dns.checks[0].clone()
        }],
        ..Service::unknown(
            "a-service-with-a-very-long-name",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap(),
            "eth0",
        )
    };
    Status {
        services: vec![dns, dns6],
        interfaces: vec![Interface {
            name: "eth0".into(),
            index: Some(2),
            up: true,
            mac: "02:00:5e:00:53:01".into(),
            mtu: 1500,
            link_local: "fe80::5eff:fe00:5301".parse().ok(),
            forwarding: false,
            xdp_mode: "native".into(),
            program: Some(17),
            adopted: true,
            drops: [("gate_shut", 3), ("ns_checksum", 1), ("na_invalid", 0)]
                .map(|(k, v)| (k.into(), v))
                .into(),
            heartbeats_sent_total: 1000,
            heartbeats_heard_total: 990,
            heartbeats_refused: [("foreign farm".to_owned(), 2)].into(),
            heartbeats_authentication: [("verified".to_owned(), 990), ("bad_signature".to_owned(), 4)].into(),
            advertisements_authentication: [("replayed".to_owned(), 1)].into(),
        }],
        alarms: vec!["gate of dns6 is held open".into()],
        pool: vec![Element {
            service: "dns".into(),
            pool: "dns".into(),
            id: "5f3a9c01".into(),
            address: "[2001:db8::11]:53".into(),
            policy: "randomized-least-used".into(),
            wanted: true,
            load: 0.25,
            registrations_sent_total: 7,
            keep_alives_answered_total: 31,
            registrations: vec![
                Registration {
                    registrar: "registrar [2001:db8::1]:3863".into(),
                    id: Some("1c0a7edd".into()),
                    state: "registered".into(),
                    registered: true,
                    renewal_seconds: Some(254.0),
                    keep_alive_seconds: Some(1.3),
                    ..Registration::default()
                },
                Registration {
                    registrar: "registrar [2001:db8::2]:3863".into(),
                    state: "none".into(),
                    error: Some("Connection refused (os error 111)".into()),
                    ..Registration::default()
                },
            ],
            ..Element::default()
        }],
        daemon: Daemon {
            version: "0.1.0".into(),
            pid: 4242,
            uptime_seconds: 11_530.0,
            farm: "dns-north".into(),
            server: "02005e0053000001".into(),
            config: "/etc/anycast/anycast.toml".into(),
            auth: "enforce".into(),
            keys: vec![2, 1],
            lease_ms: 300,
            stopping: false,
        },
        ospf: Some(Ospf {
            driver: "native".into(),
            router_id: Some("10.0.0.53".into()),
            neighbors: vec![
                Neighbor {
                    router_id: "10.0.0.1".into(),
                    interface: "eth0".into(),
                    state: "Full".into(),
                    role: "DR".into(),
                    ..Neighbor::default()
                },
                Neighbor {
                    router_id: "10.0.1.2".into(),
                    interface: "eth0".into(),
                    state: "2-Way".into(),
                    role: "other".into(),
                    ..Neighbor::default()
                },
            ],
            interfaces: vec![ospf::Interface {
                name: "eth0".into(),
                received_total: 800,
                sent_total: 400,
                retransmitted_total: 2,
                rejected: vec![Rejected { reason: "mtu_mismatch".into(), total: 5 }],
                ..ospf::Interface::default()
            }],
            database_lsas: 9,
            database_octets: 412,
            database_refused_total: 1,
            ..Ospf::default()
        }),
    }
}

#[test]
fn the_fixed_keys_are_there_in_json() {
    let json = serde_json::to_value(example()).unwrap();
    let service = &json["services"][0];
    for key in [
        "name",
        "address",
        "interface",
        "state",
        "gate",
        "owner",
        "load",
        "queries_total",
        "solicitations_answered_total",
        "peers",
    ] {
        assert!(service.get(key).is_some(), "{key} is missing");
    }
    assert_eq!(service["state"], "owner");
    assert_eq!(service["gate"], "open");
    assert_eq!(service["address"], "2001:db8:1::53");
    assert_eq!(json["services"][1]["gate"], "held_open");
    assert_eq!(json["services"][1]["owner"], serde_json::Value::Null);
    assert_eq!(serde_json::from_value::<Status>(json).unwrap(), example());
}

#[test]
fn a_gate_is_what_the_fast_path_makes_of_it() {
    let gate = |open_until_ns, hold| Gate::of(&abi::Gate { open_until_ns, hold, pad: 0 }, 1000);
    assert_eq!(gate(0, abi::HOLD_AUTOMATIC), Gate::Shut);
    assert_eq!(gate(999, abi::HOLD_AUTOMATIC), Gate::Stale);
    assert_eq!(gate(1000, abi::HOLD_AUTOMATIC), Gate::Open);
    assert_eq!(gate(2000, abi::HOLD_SHUT), Gate::HeldShut);
    assert_eq!(gate(0, abi::HOLD_OPEN), Gate::HeldOpen);
}
