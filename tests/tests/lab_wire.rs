//! The table of packet cases again, on a wire: through a real interface, in both modes, byte for byte.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as the tests do, by a panic")]

use std::time::Duration;

use anycast_common::abi::{Counters, Drop, Gate};
use anycast_tests::cases::{self, Case};
use anycast_tests::lab::farm::SERVER;
use anycast_tests::lab::{self, Capture, Captured, Farm, FarmOptions, FastPath, Injector, Mac};
use anycast_tests::reference::Verdict;
use anycast_user::datapath::{Mode, Service};

const PATIENCE: Duration = Duration::from_secs(2);

/// IEEE 802 local experimental EtherType: a frame of the test's own, which passes and shows that those before it are through.
const MARKER_TYPE: [u8; 2] = [0x88, 0xb5];

#[test]
fn every_case_ends_on_the_wire_as_in_the_table_native() {
    if let Err(reason) = lab::available() {
        return anycast_tests::skip("every_case_ends_on_the_wire_as_in_the_table_native", &reason);
    }
    replay(Mode::Native);
}

#[test]
fn every_case_ends_on_the_wire_as_in_the_table_generic() {
    if let Err(reason) = lab::available() {
        return anycast_tests::skip("every_case_ends_on_the_wire_as_in_the_table_generic", &reason);
    }
    replay(Mode::Generic);
}

fn replay(mode: Mode) {
    let mut wire = Wire::new(mode);
    let cases = cases::all();
    assert!(cases.len() > 50, "{} cases", cases.len());
    let failures: Vec<String> = cases.iter().filter_map(|case| wire.play(case).err()).collect();
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
    assert_eq!((wire.arrived.lost(), wire.returned.lost()), (0, 0), "the captures lost frames");
}

/// A server on one end, the test on the switch's port at the other.
struct Wire {
    path: FastPath,
    injector: Injector,
    /// What the server's kernel gets to see.
    arrived: Capture,
    /// What comes back.
    returned: Capture,
    markers: u32,
    _farm: Farm,
}

impl Wire {
    fn new(mode: Mode) -> Self {
        let mut farm = Farm::new(&FarmOptions { servers: 1, ..FarmOptions::default() }).unwrap();
        let server = &mut farm.servers[0];
        // Neither kernel says a word: what comes back comes from the fast path.
        for namespace in [&server.namespace, &farm.switch] {
            for interface in ["all", "default"] {
                namespace.sysctl(&format!("net/ipv6/conf/{interface}/disable_ipv6"), "1").unwrap();
            }
        }
        farm.switch.ip(&["link", "set", &server.port, "nomaster"]).unwrap();
        server.namespace.ip(&["-4", "addr", "flush", "dev", SERVER]).unwrap();
        server.mac = Mac(cases::MAC);
        server.namespace.ip(&["link", "set", SERVER, "address", &server.mac.to_string()]).unwrap();
        // The fast path must see the tags: it refuses services on VLANs otherwise.
        let offloads =
            server.namespace.command("ethtool").args(["-K", SERVER, "rxvlan", "off"]).output().unwrap();
        assert!(offloads.status.success(), "ethtool: {}", String::from_utf8_lossy(&offloads.stderr));
        // The longest case is a jumbo frame.
        for (namespace, interface) in [(&server.namespace, SERVER), (&farm.switch, server.port.as_str())] {
            namespace.ip(&["link", "set", interface, "mtu", "9100"]).unwrap();
        }
        let services: Vec<Service> = cases::services()
            .into_iter()
            .map(|service| Service {
                address: service.address,
                vlan: service.vlan,
                ports: service.ports,
                override_flag: service.override_flag,
                router: service.router,
                source: service.source,
                delayed: false,
            })
            .collect();
        let path = FastPath::attach_services(server, mode, &services).unwrap();
        let injector = Injector::new(&farm.switch, &server.port).unwrap();
        let arrived = Capture::start(&server.namespace, SERVER).unwrap();
        let returned = Capture::start(&farm.switch, &server.port).unwrap();
        Self { path, injector, arrived, returned, markers: 0, _farm: farm }
    }

    /// Plays one case; the error says how it ended otherwise.
    fn play(&mut self, case: &Case) -> Result<(), String> {
        let explain = |error: anyhow::Error| format!("{}: {error:#}", case.name);
        for (number, Gate { open_until_ns, hold, .. }) in case.gates.iter().enumerate() {
            self.path.set_gate(number, *open_until_ns, *hold);
        }
        let counters = self.path.all_counters().map_err(explain)?;
        let drops = self.path.drops().map_err(explain)?;
        self.arrived.clear();
        self.returned.clear();
        let marker = self.marker();
        self.injector.send(&case.frame).map_err(explain)?;
        self.injector.send(&marker).map_err(explain)?;
        self.arrived
            .wait_for("the marker behind it", PATIENCE, |seen| seen.bytes == marker)
            .map_err(explain)?;
        if case.expect.verdict == Verdict::Tx {
            self.returned.wait_for("the answer", PATIENCE, incoming).map_err(explain)?;
        }

        let received = |capture: &Capture| -> Vec<Vec<u8>> {
            let frames = capture.frames().into_iter().filter(incoming);
            frames.map(|seen| seen.bytes).filter(|bytes| *bytes != marker).collect()
        };
        let expected = |verdict| -> Vec<Vec<u8>> {
            let ends_so = case.expect.verdict == verdict;
            case.expect.bytes.iter().filter(|_| ends_so).cloned().collect()
        };
        compare(case, "the kernel got", received(&self.arrived), expected(Verdict::Pass))?;
        compare(case, "what came back was", received(&self.returned), expected(Verdict::Tx))?;

        let mut expected_counters = counters;
        if let Some((number, added)) = case.expect.counted {
            expected_counters[number] = sum(expected_counters[number], added);
        }
        compare(case, "the counters are", self.path.all_counters().map_err(explain)?, expected_counters)?;
        let mut expected_drops = drops;
        if let Some(reason) = case.expect.drop {
            expected_drops[reason as usize] += 1;
        }
        // An event may be lost on a ring that nobody reads, or not sent for coming too soon: not this table's business.
        let mut seen_drops = self.path.drops().map_err(explain)?;
        for ring in [Drop::SolicitedRingFull, Drop::PeersRingFull] {
            seen_drops[ring as usize] = 0;
            expected_drops[ring as usize] = 0;
        }
        compare(case, "the drops are", seen_drops, expected_drops)
    }

    /// A frame that passes and that no other is like.
    fn marker(&mut self) -> Vec<u8> {
        self.markers += 1;
        let mut marker = [cases::MAC, cases::ROUTER_MAC].concat();
        marker.extend(MARKER_TYPE);
        marker.extend(self.markers.to_be_bytes());
        marker.resize(60, 0);
        marker
    }
}

fn incoming(seen: &Captured) -> bool {
    !seen.outgoing
}

fn compare<T: PartialEq + std::fmt::Debug>(
    case: &Case,
    what: &str,
    seen: T,
    expected: T,
) -> Result<(), String> {
    if seen == expected {
        Ok(())
    } else {
        Err(format!("{}: {what}\n  {seen:02x?}, not\n  {expected:02x?}", case.name))
    }
}

fn sum(one: Counters, other: Counters) -> Counters {
    Counters {
        solicitations_multicast: one.solicitations_multicast + other.solicitations_multicast,
        solicitations_unicast: one.solicitations_unicast + other.solicitations_unicast,
        solicitations_dad: one.solicitations_dad + other.solicitations_dad,
        answered: one.answered + other.answered,
        refused_shut: one.refused_shut + other.refused_shut,
        refused_stale: one.refused_stale + other.refused_stale,
        refused_held: one.refused_held + other.refused_held,
        advertisements: one.advertisements + other.advertisements,
        queries: one.queries + other.queries,
        responses: one.responses + other.responses,
        tcp_syns: one.tcp_syns + other.tcp_syns,
        bytes: one.bytes + other.bytes,
        malformed: one.malformed + other.malformed,
        fragments: one.fragments + other.fragments,
    }
}
