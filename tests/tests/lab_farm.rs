//! The lab itself: what it says is there, is there, and nothing of it stays.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as the tests do, by a panic")]

use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use anycast_tests::lab::farm::{CLIENT, ROUTER_LINK, SERVER, SERVICE, SERVICE_V4};
use anycast_tests::lab::{
    self, Capture, Client, DnsResponder, Farm, FarmOptions, Frame, Injector, Namespace, Nud, wait_until,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// Returns from the test if the lab cannot run here.
macro_rules! need_lab {
    ($name:literal) => {
        if let Err(reason) = lab::available() {
            anycast_tests::skip($name, &reason);
            return;
        }
    };
}

#[test]
fn a_client_reaches_a_server_through_the_router_in_both_families() {
    need_lab!("a_client_reaches_a_server_through_the_router_in_both_families");
    let farm = Farm::new(&FarmOptions { servers: 2, ..FarmOptions::default() }).unwrap();
    let responders: Vec<DnsResponder> =
        farm.servers.iter().map(|server| DnsResponder::start(server).unwrap()).collect();
    for service in [SERVICE, SERVICE_V4] {
        // Nobody has the address: nobody answers.
        let record = ask(&farm, service, 20);
        assert_eq!(record.answered(), 0, "{record:?}");
        // The second server's kernel has it on the link and answers for it.
        let prefix = if service.is_ipv6() { 128 } else { 32 };
        let second = &farm.servers[1];
        second.namespace.ip(&["addr", "add", &format!("{service}/{prefix}"), "dev", SERVER]).unwrap();
        farm.forget_router_neighbour(service).unwrap();
        let record = ask(&farm, service, 20);
        assert_eq!((record.lost(), record.duplicates), (0, 0), "{record:?}");
        assert_eq!(record.by_server().into_keys().collect::<Vec<_>>(), ["s2"]);
        let believed = farm.router_neighbour(service).unwrap().unwrap();
        assert_eq!(believed.mac, Some(second.mac));
    }
    drop(responders);
}

/// Asks a number of times at 200 a second.
fn ask(farm: &Farm, service: IpAddr, times: usize) -> lab::Record {
    let client = Client::start(&farm.client, service, Duration::from_millis(5)).unwrap();
    wait_until("the queries are sent", PATIENCE, || client.counts().0 >= times).unwrap();
    client.stop()
}

#[test]
fn a_killed_responder_answers_no_more() {
    need_lab!("a_killed_responder_answers_no_more");
    let farm = Farm::new(&FarmOptions { servers: 1, ..FarmOptions::default() }).unwrap();
    let server = &farm.servers[0];
    let mut responder = DnsResponder::start(server).unwrap();
    let own = (Ipv6Addr::LOCALHOST, 53).into();
    assert!(lab::responder::answers(&server.namespace, own));
    responder.kill().unwrap();
    assert!(!lab::responder::answers(&server.namespace, own));
    // It starts again on the same port.
    let _again = DnsResponder::start(server).unwrap();
    assert!(lab::responder::answers(&server.namespace, own));
}

#[test]
fn a_capture_sees_what_is_injected_tag_and_all() {
    need_lab!("a_capture_sees_what_is_injected_tag_and_all");
    let farm = Farm::new(&FarmOptions { servers: 1, ..FarmOptions::default() }).unwrap();
    let capture = Capture::start(&farm.router, ROUTER_LINK).unwrap();
    let injector = Injector::new(&farm.servers[0].namespace, SERVER).unwrap();
    let mut frame = vec![0xff; 6];
    frame.extend(farm.servers[0].mac.0);
    // Two tags, then ARP: a request of 192.0.2.101 for 192.0.2.7.
    frame.extend([0x88, 0xa8, 0, 100, 0x81, 0, 0, 7, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(farm.servers[0].mac.0);
    frame.extend([192, 0, 2, 101, 0, 0, 0, 0, 0, 0, 192, 0, 2, 7]);
    injector.send(&frame).unwrap();
    let seen = capture.wait_for("the frame", PATIENCE, |seen| seen.bytes == frame).unwrap();
    assert!(!seen.outgoing);
    assert!(matches!(seen.parse(), Frame::Arp(arp) if arp.operation == 1), "{seen:?}");
    assert_eq!(capture.lost(), 0);
}

#[test]
fn the_routers_mind_can_be_read_and_set() {
    need_lab!("the_routers_mind_can_be_read_and_set");
    let farm = Farm::new(&FarmOptions { servers: 1, ..FarmOptions::default() }).unwrap();
    let mac = farm.servers[0].mac;
    for service in [SERVICE, SERVICE_V4] {
        assert_eq!(farm.router_neighbour(service).unwrap(), None);
        for state in [Nud::Reachable, Nud::Stale] {
            farm.set_router_neighbour(service, Some(mac), state).unwrap();
            let believed = farm.router_neighbour(service).unwrap().unwrap();
            assert_eq!((believed.mac, believed.state), (Some(mac), state));
        }
        farm.forget_router_neighbour(service).unwrap();
        farm.forget_router_neighbour(service).unwrap();
        let believed = farm.router_neighbour(service).unwrap();
        assert!(believed.is_none_or(|entry| entry.mac.is_none()), "{believed:?}");
    }
}

#[test]
fn a_link_can_be_cut_and_mended() {
    need_lab!("a_link_can_be_cut_and_mended");
    let farm = Farm::new(&FarmOptions { servers: 1, ..FarmOptions::default() }).unwrap();
    let carrier = || farm.servers[0].namespace.ip(&["link", "show", SERVER]).unwrap().contains("LOWER_UP");
    assert!(carrier());
    farm.set_port(0, false).unwrap();
    wait_until("the carrier goes", PATIENCE, || !carrier()).unwrap();
    farm.set_port(0, true).unwrap();
    wait_until("the carrier comes", PATIENCE, carrier).unwrap();
}

#[test]
fn nothing_of_a_farm_stays() {
    need_lab!("nothing_of_a_farm_stays");
    let farm = Farm::new(&FarmOptions { servers: 1, ..FarmOptions::default() }).unwrap();
    let directory = farm.directory().to_owned();
    let namespaces: Vec<String> =
        [&farm.client, &farm.router, &farm.switch].map(|namespace| namespace.name().to_owned()).into();
    let there = |name: &String| Path::new("/run/netns").join(name).exists();
    assert!(namespaces.iter().all(there) && directory.exists());
    let mounted = || std::fs::read_to_string("/proc/mounts").unwrap().contains(directory.to_str().unwrap());
    assert!(mounted());
    // Also when a test fails.
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _farm = farm;
        std::panic::resume_unwind(Box::new("as a failing test does"));
    }));
    assert!(failed.is_err());
    assert!(!namespaces.iter().any(there) && !directory.exists() && !mounted());
}

#[test]
fn no_interface_of_the_lab_is_ever_the_hosts() {
    need_lab!("no_interface_of_the_lab_is_ever_the_hosts");
    let farm = Farm::new(&FarmOptions { servers: 1, ..FarmOptions::default() }).unwrap();
    assert!(farm.client.interface_index(CLIENT).is_some());
    let host = std::fs::read_to_string("/proc/net/dev").unwrap();
    let names = host.lines().filter_map(|line| Some(line.split_once(':')?.0.trim()));
    for name in names {
        assert!(!name.starts_with("ac"), "{name} is on the host");
    }
}

#[test]
fn a_sysctl_is_that_of_the_namespace() {
    need_lab!("a_sysctl_is_that_of_the_namespace");
    let (one, other) = (Namespace::new().unwrap(), Namespace::new().unwrap());
    one.sysctl("net/ipv6/conf/lo/hop_limit", "77").unwrap();
    assert_eq!(one.read_sysctl("net/ipv6/conf/lo/hop_limit").unwrap(), "77");
    assert_ne!(other.read_sysctl("net/ipv6/conf/lo/hop_limit").unwrap(), "77");
}
