//! The table of packet cases: a frame in, what must become of it, and the case beside it that shows the difference is the
//! one the name speaks of.
//!
//! The packet tests run the table through `BPF_PROG_TEST_RUN`, the lab sends it over a wire.

mod advertisement;
mod arp;
mod solicitation;
mod transport;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anycast_common::abi::{Counters, Drop, Event, Gate, HOLD_AUTOMATIC, HOLD_OPEN, HOLD_SHUT};

use crate::frames::Mac;
use crate::reference::{Outcome, Service, Verdict};

/// The server's MAC address.
pub const MAC: Mac = [2, 0, 0, 0, 0, 1];
/// The router's.
pub const ROUTER_MAC: Mac = [2, 0, 0, 0, 0, 0xfe];
/// Another server of the farm.
pub const PEER_MAC: Mac = [2, 0, 0, 0, 0, 2];
/// A MAC address that is nobody's here.
pub const OTHER_MAC: Mac = [2, 0, 0, 0, 0, 0x99];

/// The server's link-local address.
pub const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// The router's.
pub const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xfe);
/// Another server's.
pub const PEER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
/// A client behind the router.
pub const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 0x99);
/// The router's IPv4 address.
pub const ROUTER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// An IPv4 client behind the router.
pub const CLIENT4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);

/// Index of the plain service: untagged, Override, advertised from the link-local address.
pub const PLAIN: usize = 0;
/// Index of the service that shares its last 24 bits with the plain one: Router, no Override, advertised from itself.
pub const TWIN: usize = 1;
/// Index of the service with the plain one's address on VLAN 7, and with two ports.
pub const TAGGED: usize = 2;
/// Index of the service behind two tags, 100 and 7.
pub const DOUBLE: usize = 3;
/// Index of the IPv4 service.
pub const PLAIN4: usize = 4;
/// Index of the service with the IPv4 one's address on VLAN 7.
pub const TAGGED4: usize = 5;

/// Address of [`PLAIN`] and [`TAGGED`].
pub const PLAIN_ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x53);
/// Address of [`TWIN`].
pub const TWIN_ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x53);
/// Address of [`DOUBLE`].
pub const DOUBLE_ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 0x35);
/// Address of [`PLAIN4`] and [`TAGGED4`].
pub const PLAIN4_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);
/// An address that is no service's and shares the last 24 bits with one.
pub const FOREIGN_ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 0x53);
/// An IPv4 address that is no service's.
pub const FOREIGN4_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 54);

/// The lease runs for as long as anybody will wait.
pub const OPEN: Gate = Gate { open_until_ns: u64::MAX, hold: HOLD_AUTOMATIC, pad: 0 };
/// The controller shut the gate.
pub const SHUT: Gate = Gate { open_until_ns: 0, hold: HOLD_AUTOMATIC, pad: 0 };
/// The lease ran out a nanosecond after the machine was started.
pub const STALE: Gate = Gate { open_until_ns: 1, hold: HOLD_AUTOMATIC, pad: 0 };
/// The operator holds shut what the controller opened.
pub const HELD_SHUT: Gate = Gate { open_until_ns: u64::MAX, hold: HOLD_SHUT, pad: 0 };
/// The operator holds open what the controller shut.
pub const HELD_OPEN: Gate = Gate { open_until_ns: 0, hold: HOLD_OPEN, pad: 0 };
/// The operator holds open what the controller left behind.
pub const HELD_OPEN_STALE: Gate = Gate { open_until_ns: 1, hold: HOLD_OPEN, pad: 0 };

/// The services of every case.
pub fn services() -> Vec<Service> {
    let plain = Service {
        address: PLAIN_ADDRESS.into(),
        vlan: vec![],
        ports: vec![53],
        override_flag: true,
        router: false,
        source: Some(LINK_LOCAL),
        delayed: false,
    };
    vec![
        plain.clone(),
        Service {
            address: TWIN_ADDRESS.into(),
            override_flag: false,
            router: true,
            source: None,
            ..plain.clone()
        },
        Service { vlan: vec![7], ports: vec![53, 853], ..plain.clone() },
        Service { address: DOUBLE_ADDRESS.into(), vlan: vec![100, 7], ..plain.clone() },
        Service { address: PLAIN4_ADDRESS.into(), source: None, ..plain.clone() },
        Service { address: PLAIN4_ADDRESS.into(), vlan: vec![7], source: None, ..plain },
    ]
}

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Case {
    /// What the case is about.
    pub name: &'static str,
    /// Its negative control: the case that differs in the one thing the name speaks of, and ends otherwise.
    pub control: &'static str,
    /// The services, by index.
    pub services: Vec<Service>,
    /// Their gates.
    pub gates: Vec<Gate>,
    /// The frame.
    pub frame: Vec<u8>,
    /// What must become of it.
    pub expect: Expect,
}

/// What must become of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// The verdict.
    pub verdict: Verdict,
    /// The frame afterwards; none for a dropped one.
    pub bytes: Option<Vec<u8>>,
    /// What is added to a service's counters.
    pub counted: Option<(usize, Counters)>,
    /// What is counted in `DROPS`.
    pub drop: Option<Drop>,
    /// What the controller hears.
    pub event: Option<Event>,
}

impl Expect {
    /// Whether the model's outcome is this one.
    pub fn is_met_by(&self, outcome: &Outcome) -> bool {
        self.verdict == outcome.verdict
            && self.bytes.as_ref().is_none_or(|bytes| *bytes == outcome.frame)
            && self.counted == outcome.counted
            && self.drop.into_iter().eq(outcome.reasons.iter().copied())
            && self.event == outcome.event
    }
}

/// All cases.
pub fn all() -> Vec<Case> {
    let mut cases = solicitation::cases();
    cases.extend(advertisement::cases());
    cases.extend(arp::cases());
    cases.extend(transport::cases());
    cases
}

impl Case {
    /// A case in which every gate is open.
    fn new(name: &'static str, control: &'static str, frame: Vec<u8>, expect: Expect) -> Self {
        let services = services();
        let gates = vec![OPEN; services.len()];
        Self { name, control, services, gates, frame, expect }
    }

    /// The case with another gate for one service.
    fn with_gate(mut self, index: usize, gate: Gate) -> Self {
        self.gates[index] = gate;
        self
    }
}

/// The frame passes unchanged and leaves no trace.
fn passes(frame: &[u8]) -> Expect {
    Expect { verdict: Verdict::Pass, bytes: Some(frame.to_vec()), counted: None, drop: None, event: None }
}

/// The frame passes unchanged and is counted.
fn counts(frame: &[u8], index: usize, counters: Counters) -> Expect {
    Expect { counted: Some((index, counters)), ..passes(frame) }
}

/// The frame is dropped for this reason.
fn drops(reason: Drop) -> Expect {
    Expect { verdict: Verdict::Drop, bytes: None, counted: None, drop: Some(reason), event: None }
}

/// The frame is dropped, counted for its service and told to the controller.
fn reports(reason: Drop, index: usize, counters: Counters, event: Event) -> Expect {
    Expect { counted: Some((index, counters)), event: Some(event), ..drops(reason) }
}

/// The frame becomes the answer.
fn answers(answer: Vec<u8>, index: usize, counters: Counters) -> Expect {
    Expect {
        verdict: Verdict::Tx,
        bytes: Some(answer),
        counted: Some((index, Counters { answered: 1, ..counters })),
        drop: None,
        event: None,
    }
}

/// Octets of an address as the words that stand in an event.
fn words(address: impl Into<IpAddr>) -> [u32; 4] {
    let octets: [u8; 16] = match address.into() {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
    };
    let word = |at: usize| u32::from_ne_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]]);
    [word(0), word(4), word(8), word(12)]
}

/// A multicast (or broadcast) solicitation.
fn multicast() -> Counters {
    Counters { solicitations_multicast: 1, ..Counters::default() }
}

/// A reachability probe.
fn unicast() -> Counters {
    Counters { solicitations_unicast: 1, ..Counters::default() }
}

/// A stranger's duplicate address detection.
fn dad() -> Counters {
    Counters { solicitations_dad: 1, ..Counters::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::World;

    #[test]
    fn every_case_has_a_control_that_ends_otherwise() {
        let cases = all();
        for case in &cases {
            assert_eq!(cases.iter().filter(|other| other.name == case.name).count(), 1, "{}", case.name);
            let control = cases.iter().find(|other| other.name == case.control);
            let control = control.unwrap_or_else(|| panic!("{}: no case {}", case.name, case.control));
            let end = |expect: &Expect| (expect.verdict, expect.counted, expect.drop, expect.event);
            assert_ne!(end(&case.expect), end(&control.expect), "{} and {}", case.name, control.name);
        }
    }

    #[test]
    fn the_reference_meets_every_case() {
        for case in all() {
            let world = World {
                mac: MAC,
                services: &case.services,
                gates: &case.gates,
                now_ns: 1 << 40,
                extra: None,
            };
            let outcome = world.handle(&case.frame);
            assert!(case.expect.is_met_by(&outcome), "{}\n{:#?}\n{outcome:#?}", case.name, case.expect);
        }
    }
}
