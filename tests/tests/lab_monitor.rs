//! The monitor against a real kernel: interfaces that come, change and go, addresses in the right place and the wrong
//! one, lost notifications; and probes that must never reach a peer.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as the tests do, by a panic")]

use std::collections::BTreeSet;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anycast_tests::lab::farm::{SERVER, SERVICE, SERVICE_V4};
use anycast_tests::lab::{self, DnsResponder, Farm, FarmOptions, Namespace};
use anycast_user::monitor::check::{self, CheckError, CheckKind, CheckOptions, DnsCheck};
use anycast_user::monitor::link::{self, Interface, LinkHandle, Report, Vlan, Watched};
use tokio::sync::mpsc;

/// Much longer than anything here takes: a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The watched interface, and the other end of its cable.
const LINK: &str = "acm0";
const FAR_END: &str = "acm1";
/// A service address, and one that is nobody's business.
const ADDRESS: &str = "2001:db8:53::53";
const OTHER: &str = "2001:db8:53::99";

/// Returns from the test if there is no root.
macro_rules! need_root {
    ($name:literal) => {
        if !nix::unistd::geteuid().is_root() {
            anycast_tests::skip($name, "needs root for network namespaces");
            return;
        }
    };
}

/// Returns from the test if the whole lab cannot run here.
macro_rules! need_lab {
    ($name:literal) => {
        if let Err(reason) = lab::available() {
            anycast_tests::skip($name, &reason);
            return;
        }
    };
}

fn watched() -> Watched {
    Watched { interfaces: BTreeSet::from([LINK.to_owned()]), addresses: BTreeSet::from([address(ADDRESS)]) }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A namespace with a monitor in it.
struct Monitor<'a> {
    namespace: &'a Namespace,
    handle: LinkHandle,
    reports: mpsc::Receiver<Report>,
}

impl Monitor<'_> {
    fn ip(&self, command: &str) {
        self.namespace.ip(&command.split_whitespace().collect::<Vec<_>>()).unwrap();
    }

    /// The first report that satisfies the condition.
    async fn until(&mut self, what: &str, condition: impl Fn(&Report) -> bool) -> Report {
        let mut last = None;
        let found = async {
            loop {
                let report = self.reports.recv().await.expect("the monitor ended");
                if condition(&report) {
                    return report;
                }
                last = Some(report);
            }
        };
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(report) => report,
            Err(_) => panic!("no report of {what}; the last was {last:#?}"),
        }
    }

    /// The first report in which the watched interface exists and satisfies the condition.
    async fn until_link(&mut self, what: &str, condition: impl Fn(&Interface) -> bool) -> Interface {
        let report = self.until(what, |report| link_of(report).is_some_and(&condition)).await;
        link_of(&report).unwrap().clone()
    }

    /// The next report, which must be there only because of what comes after a quiet time: `noise` changes nothing that
    /// is watched, then `change` does, and the first report must already be about that.
    async fn ignores(&mut self, noise: &[&str], change: &str, condition: impl Fn(&Interface) -> bool) {
        assert!(self.reports.try_recv().is_err(), "a report is waiting already");
        for command in noise {
            self.ip(command);
        }
        self.ip(change);
        let report = tokio::time::timeout(PATIENCE, self.reports.recv()).await.unwrap().unwrap();
        assert!(link_of(&report).is_some_and(condition), "{noise:?} was reported: {report:#?}");
    }
}

fn link_of(report: &Report) -> Option<&Interface> {
    assert_eq!(report.interfaces.len(), 1);
    assert_eq!(report.interfaces[0].name, LINK);
    report.interfaces[0].interface.as_ref()
}

fn places(report: &Report) -> Vec<(&str, bool)> {
    report.addresses.iter().map(|seen| (seen.interface.as_str(), seen.on_loopback)).collect()
}

/// Runs `test` in a runtime inside the namespace.
fn inside<F: Future<Output = ()>>(namespace: &Namespace, test: impl FnOnce() -> F + Send) {
    namespace.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
}

async fn monitor(namespace: &Namespace) -> Monitor<'_> {
    let (sender, reports) = mpsc::channel(64);
    let handle = link::spawn(watched(), sender).unwrap();
    Monitor { namespace, handle, reports }
}

fn cable(namespace: &Namespace) {
    namespace.ip(&["link", "add", LINK, "type", "veth", "peer", "name", FAR_END]).unwrap();
}

#[test]
fn the_link_goes_down_and_up_and_changes_its_mac_and_mtu() {
    need_root!("the_link_goes_down_and_up_and_changes_its_mac_and_mtu");
    let namespace = Namespace::new().unwrap();
    cable(&namespace);
    inside(&namespace, || async {
        let mut monitor = monitor(&namespace).await;
        let first = monitor.until_link("the link as it is", |_| true).await;
        assert!(!first.up && !first.admin_up);
        assert_eq!((first.mtu, first.controller, first.vlan), (1500, None, None));

        monitor.ip("link set acm0 up");
        monitor.until_link("no carrier", |link| link.admin_up && !link.up).await;
        monitor.ip("link set acm1 up");
        monitor.until_link("up", |link| link.up).await;
        monitor.ip("link set acm1 down");
        monitor.until_link("carrier lost", |link| link.admin_up && !link.up).await;
        monitor.ip("link set acm1 up");
        monitor.until_link("up again", |link| link.up).await;

        monitor.ip("link set acm0 address 02:00:00:00:00:07");
        let link = monitor.until_link("another MAC", |link| link.mac != first.mac).await;
        assert_eq!(link.mac, Some([2, 0, 0, 0, 0, 7]));
        assert_eq!(link.index, first.index);
        monitor.ip("link set acm0 mtu 1400");
        monitor.until_link("another MTU", |link| link.mtu == 1400).await;

        monitor.ip("link set acm0 down");
        monitor.until_link("down", |link| !link.admin_up && !link.up).await;
    });
}

#[test]
fn forwarding_is_followed() {
    need_root!("forwarding_is_followed");
    let namespace = Namespace::new().unwrap();
    cable(&namespace);
    inside(&namespace, || async {
        let mut monitor = monitor(&namespace).await;
        monitor.until_link("a host", |link| !link.forwarding6).await;
        namespace.sysctl("net/ipv6/conf/acm0/forwarding", "1").unwrap();
        monitor.until_link("a router", |link| link.forwarding6).await;
        namespace.sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
        namespace.sysctl("net/ipv6/conf/all/forwarding", "0").unwrap();
        monitor.until_link("a host again", |link| !link.forwarding6).await;
    });
}

#[test]
fn addresses_are_followed_wherever_they_are() {
    need_root!("addresses_are_followed_wherever_they_are");
    let namespace = Namespace::new().unwrap();
    cable(&namespace);
    inside(&namespace, || async {
        let mut monitor = monitor(&namespace).await;
        let report = monitor.until("the picture", |_| true).await;
        assert_eq!(report.addresses, []);

        // Where it belongs, as the daemon adds it.
        monitor.ip("addr add 2001:db8:53::53/128 dev lo nodad preferred_lft 0");
        let report = monitor.until("the address on lo", |report| !report.addresses.is_empty()).await;
        assert_eq!(places(&report), [("lo", true)]);
        let seen = &report.addresses[0];
        assert_eq!((seen.address, seen.prefix), (address(ADDRESS), 128));
        assert!(seen.flags.deprecated && seen.flags.nodad && seen.flags.usable());

        // On the link as well: both places are told.
        monitor.ip("addr add 2001:db8:53::53/64 dev acm0");
        let report = monitor.until("two places", |report| report.addresses.len() == 2).await;
        assert_eq!(places(&report), [("acm0", false), ("lo", true)]);

        // Lost from lo: only the wrong one is left.
        monitor.ip("addr del 2001:db8:53::53/128 dev lo");
        let report = monitor.until("one place", |report| report.addresses.len() == 1).await;
        assert_eq!(places(&report), [("acm0", false)]);
        monitor.ip("addr del 2001:db8:53::53/64 dev acm0");
        monitor.until("the address gone", |report| report.addresses.is_empty()).await;

        // An interface that is not watched does count for a service address, and does not for others.
        monitor.ip("addr add 2001:db8:53::53/64 dev acm1");
        let report = monitor.until("an unwatched place", |report| !report.addresses.is_empty()).await;
        assert_eq!(places(&report), [("acm1", false)]);
        monitor.ip("addr del 2001:db8:53::53/64 dev acm1");
        monitor.until("the address gone", |report| report.addresses.is_empty()).await;
        monitor
            .ignores(
                &[
                    "addr add 2001:db8:53::99/128 dev lo",
                    "addr add 2001:db8:53::99/64 dev acm1",
                    "link set acm1 mtu 1400",
                ],
                "addr add 2001:db8:53::99/64 dev acm0",
                |link| link.addresses.iter().any(|seen| seen.address == address(OTHER)),
            )
            .await;
    });
}

#[test]
fn a_service_address_in_ipv4_is_found_on_lo() {
    need_root!("a_service_address_in_ipv4_is_found_on_lo");
    let namespace = Namespace::new().unwrap();
    cable(&namespace);
    inside(&namespace, || async {
        let mut monitor = monitor(&namespace).await;
        let v4 = address("192.0.2.53");
        monitor.handle.watch(Watched { addresses: BTreeSet::from([v4]), ..watched() });
        monitor.ip("addr add 192.0.2.53/32 dev lo");
        let report = monitor.until("the address", |report| !report.addresses.is_empty()).await;
        assert_eq!((places(&report), report.addresses[0].address), (vec![("lo", true)], v4));
        // The control: the address that is not watched any more is not told.
        monitor.ip("addr add 2001:db8:53::53/128 dev lo");
        monitor.ip("addr del 192.0.2.53/32 dev lo");
        monitor.until("no address", |report| report.addresses.is_empty()).await;
    });
}

#[test]
fn the_link_local_address_counts_once_its_duplicate_detection_is_over() {
    need_root!("the_link_local_address_counts_once_its_duplicate_detection_is_over");
    let namespace = Namespace::new().unwrap();
    cable(&namespace);
    for (key, value) in [("accept_dad", "1"), ("dad_transmits", "1")] {
        namespace.sysctl(&format!("net/ipv6/conf/{LINK}/{key}"), value).unwrap();
    }
    inside(&namespace, || async {
        let mut monitor = monitor(&namespace).await;
        monitor.ip("link set acm1 up");
        monitor.ip("link set acm0 up");
        let link = monitor
            .until_link("a tentative address", |link| link.addresses.iter().any(|seen| seen.flags.tentative))
            .await;
        assert_eq!(link.link_local(), None);
        let link = monitor.until_link("a link-local address", |link| link.link_local().is_some()).await;
        assert!(link.link_local().unwrap().is_unicast_link_local());
        assert!(link.addresses.iter().all(|seen| seen.flags.usable()));
    });
}

#[test]
fn an_interface_that_goes_comes_back_with_another_index() {
    need_root!("an_interface_that_goes_comes_back_with_another_index");
    let namespace = Namespace::new().unwrap();
    inside(&namespace, || async {
        let mut monitor = monitor(&namespace).await;
        monitor.until("no interface", |report| link_of(report).is_none()).await;
        cable(&namespace);
        let first = monitor.until_link("the interface", |_| true).await;
        monitor.ip("link del acm0");
        monitor.until("the interface gone", |report| link_of(report).is_none()).await;
        cable(&namespace);
        let second = monitor.until_link("the interface back", |_| true).await;
        assert_ne!(first.index, second.index);

        // Gone and back by name, as udev does it.
        monitor.ip("link set acm0 name acm9");
        monitor.until("the name gone", |report| link_of(report).is_none()).await;
        monitor.ip("link set acm1 name acm0");
        let renamed = monitor.until_link("another interface of that name", |_| true).await;
        assert_ne!(renamed.index, second.index);
    });
}

#[test]
fn a_port_tells_what_it_is_on() {
    need_root!("a_port_tells_what_it_is_on");
    let namespace = Namespace::new().unwrap();
    cable(&namespace);
    inside(&namespace, || async {
        let mut monitor = monitor(&namespace).await;
        monitor.until_link("no port", |link| link.controller.is_none()).await;
        monitor.ip("link add acmbr type bridge");
        monitor.ip("link set acm0 master acmbr");
        let bridge = namespace.interface_index("acmbr").unwrap();
        monitor.until_link("a port", |link| link.controller == Some(bridge)).await;
        monitor.ip("link set acm0 nomaster");
        monitor.until_link("no port again", |link| link.controller.is_none()).await;
    });
}

#[test]
fn a_vlan_interface_tells_what_it_is_on() {
    need_root!("a_vlan_interface_tells_what_it_is_on");
    let namespace = Namespace::new().unwrap();
    cable(&namespace);
    inside(&namespace, || async {
        let mut monitor = monitor(&namespace).await;
        let vlan = ["link", "add", "link", FAR_END, "name", "acm1.7", "type", "vlan", "id", "7"];
        if let Err(error) = namespace.ip(&vlan) {
            let reason = format!("the kernel has no VLAN devices (8021q): {error}");
            return anycast_tests::skip("a_vlan_interface_tells_what_it_is_on", &reason);
        }
        let watched = Watched { interfaces: BTreeSet::from(["acm1.7".to_owned()]), ..watched() };
        let parent = namespace.interface_index(FAR_END);
        monitor.handle.watch(watched);
        let told =
            |report: &Report| report.interfaces[0].interface.as_ref().and_then(|interface| interface.vlan);
        let report = monitor.until("the VLAN interface", |report| told(report).is_some()).await;
        assert_eq!(told(&report), Some(Vlan { vid: 7, parent }));
    });
}

#[test]
fn lost_notifications_cost_nothing_but_a_reading() {
    need_root!("lost_notifications_cost_nothing_but_a_reading");
    let namespace = Namespace::new().unwrap();
    cable(&namespace);
    inside(&namespace, || async {
        let mut monitor = monitor(&namespace).await;
        monitor.ip("link set acm1 up");
        monitor.ip("link set acm0 up");
        monitor.until_link("up", |link| link.up).await;
        while monitor.reports.try_recv().is_ok() {}

        // This thread is the monitor's: while it is busy here, the notifications pile up, until they no longer fit.
        let storm: String = (0..2000)
            .map(|n| {
                format!("addr add 2001:db8:{n:x}::1/128 dev acm0\naddr del 2001:db8:{n:x}::1/128 dev acm0\n")
            })
            .collect();
        namespace.ip_batch(&storm).unwrap();
        monitor.ip("link set acm1 down");
        monitor.ip("addr add 2001:db8:53::53/128 dev lo");
        assert!(notifications_lost() > 0, "the storm was too small to show anything");

        // The first report may be half from before the storm, if a reading was under way; one that is whole follows.
        let after = |report: &Report| {
            !report.addresses.is_empty() && link_of(report).is_some_and(|link| link.admin_up && !link.up)
        };
        let report = monitor.until("the state after the storm", after).await;
        let link = link_of(&report).unwrap();
        assert!(link.addresses.iter().all(|seen| seen.prefix != 128), "{link:#?}");
        // And the monitor goes on.
        monitor.ip("link set acm1 up");
        monitor.until_link("up", |link| link.up).await;
    });
}

/// How many notifications the netlink sockets of this network namespace have lost (column `Drops`).
fn notifications_lost() -> u64 {
    let table = std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
    let column = table.lines().next().unwrap().split_whitespace().position(|name| name == "Drops").unwrap();
    table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().nth(column).unwrap().parse::<u64>().unwrap())
        .sum()
}

fn probe(server: IpAddr, service_addresses: &[IpAddr]) -> CheckOptions {
    let server = SocketAddr::new(server, 53);
    CheckOptions {
        interval: Duration::from_secs(3600),
        timeout: Duration::from_secs(2),
        kind: CheckKind::Dns(DnsCheck::new(server, "health.example.", "SOA").unwrap()),
        service_addresses: service_addresses.to_vec(),
    }
}

/// Every kind of probe of `server`, run in the namespace.
fn run_probes(
    namespace: &Namespace,
    server: IpAddr,
    service_addresses: &[IpAddr],
) -> Vec<Result<(), CheckError>> {
    let mut options = probe(server, service_addresses);
    let CheckKind::Dns(both) = options.kind.clone() else { panic!("not a DNS check") };
    let kinds = [
        CheckKind::Dns(both.clone().with_transports(true, false).unwrap()),
        CheckKind::Dns(both.with_transports(false, true).unwrap()),
        CheckKind::Tcp { address: SocketAddr::new(server, 53) },
    ];
    namespace.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut results = Vec::new();
            for kind in kinds {
                options.kind = kind;
                results.push(check::run_once(&options).await.map(drop));
            }
            results
        })
    })
}

#[test]
fn a_probe_of_the_service_address_never_reaches_a_peer() {
    need_lab!("a_probe_of_the_service_address_never_reaches_a_peer");
    let farm = Farm::new(&FarmOptions { servers: 2, ..FarmOptions::default() }).unwrap();
    let [ours, peer] = &farm.servers[..] else { panic!("two servers") };
    let _peer_service = DnsResponder::start(peer).unwrap();
    for service in [SERVICE, SERVICE_V4] {
        let on_link = format!("{service}/{}", if service.is_ipv6() { 64 } else { 24 });
        peer.namespace.ip(&["addr", "add", &on_link, "dev", SERVER]).unwrap();

        // The control: the trap is real. A probe that does not know it asks for a service address is answered by the peer.
        for result in run_probes(&ours.namespace, service, &[]) {
            result.unwrap();
        }
        // Our service is not there and our address is lost: not healthy, whoever answers elsewhere.
        for result in run_probes(&ours.namespace, service, &[service]) {
            result.unwrap_err();
        }
    }

    // And with the address on lo, our own service answers, though the peer has the address too.
    let mut service = DnsResponder::start(ours).unwrap();
    for address in [SERVICE, SERVICE_V4] {
        let on_lo = format!("{address}/{}", if address.is_ipv6() { 128 } else { 32 });
        ours.namespace.ip(&["addr", "add", &on_lo, "dev", "lo"]).unwrap();
        for result in run_probes(&ours.namespace, address, &[address]) {
            result.unwrap();
        }
    }
    // An address of our own that is on the link, and not a service's, can be asked as well.
    for address in [IpAddr::V6(ours.address), IpAddr::V4(ours.address_v4)] {
        for result in run_probes(&ours.namespace, address, &[SERVICE, SERVICE_V4]) {
            result.unwrap();
        }
    }
    service.kill().unwrap();
    for address in [SERVICE, SERVICE_V4, IpAddr::V6(ours.address), IpAddr::V4(ours.address_v4)] {
        for result in run_probes(&ours.namespace, address, &[SERVICE, SERVICE_V4]) {
            let error = result.unwrap_err();
            assert!(matches!(error, CheckError::Refused { .. }), "{address}: {error}");
        }
    }
}

#[test]
fn a_probe_is_not_sent_from_a_service_address() {
    need_lab!("a_probe_is_not_sent_from_a_service_address");
    let farm = Farm::new(&FarmOptions { servers: 2, ..FarmOptions::default() }).unwrap();
    let [ours, other] = &farm.servers[..] else { panic!("two servers") };
    let _service = DnsResponder::start(other).unwrap();
    // Two hosts on a prefix of their own, in which our only address is the service address.
    let (service, there) = (address("2001:db8:99::53"), address("2001:db8:99::1"));
    ours.namespace.ip(&["addr", "add", "2001:db8:99::53/64", "dev", SERVER]).unwrap();
    other.namespace.ip(&["addr", "add", "2001:db8:99::1/64", "dev", SERVER]).unwrap();
    for result in run_probes(&ours.namespace, there, &[service]) {
        let error = result.unwrap_err();
        assert!(
            matches!(error, CheckError::ServiceAddressAsSource { source_address, .. } if source_address == service),
            "{error}"
        );
    }
    // The control: the same probe from an address that is none of a service's.
    for result in run_probes(&ours.namespace, there, &[]) {
        result.unwrap();
    }
}
