//! Advertisements, group memberships and heartbeats on a wire between two namespaces, with the kernel on both ends.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as the tests do, by a panic")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anycast_common::abi::vlan_key;
use anycast_tests::frames::{self, Ether, Ipv6, Neighbor};
use anycast_tests::lab::namespace::veth;
use anycast_tests::lab::{Capture, Captured, Injector, Mac, Namespace, Nud, neighbour, wait_until};
use anycast_tests::skip;
use anycast_user::advertise::frame::{ArpAnnouncement, ArpForm, NeighborAdvertisement, Recipient};
use anycast_user::advertise::groups::{GroupError, Groups, Membership, multicast_mac, solicited_node};
use anycast_user::advertise::heartbeat::{GROUP, HEARTBEAT_MAX, Heartbeat, HeartbeatError, PORT};
use anycast_user::advertise::sender::{SendError, Sender};

const NEAR: &str = "acn0";
const FAR: &str = "acf0";
const NEAR_MAC: [u8; 6] = [2, 0, 0x5e, 0, 0x53, 1];
const FAR_MAC: [u8; 6] = [2, 0, 0x5e, 0, 0x53, 2];
const OLD_MAC: [u8; 6] = [2, 0, 0x5e, 0, 0x53, 0x99];
/// Of [`NEAR_MAC`], by EUI-64 (RFC 4291 appendix A).
const NEAR_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x5eff, 0xfe00, 0x5301);
const FAR_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x5eff, 0xfe00, 0x5302);
const TARGET: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x53);
const TARGET_IPV4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);
const SOON: Duration = Duration::from_secs(10);

/// Two namespaces and the wire between them.
struct Wire {
    near: Namespace,
    far: Namespace,
}

impl Wire {
    /// A wire, or `None` if the test was reported as skipped.
    fn new(test: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            skip(test, "needs root for network namespaces");
            return None;
        }
        let wire = Self { near: Namespace::new().unwrap(), far: Namespace::new().unwrap() };
        wire.plug();
        Some(wire)
    }

    /// Makes the interfaces, up and with addresses.
    fn plug(&self) {
        veth(&self.near, NEAR, &self.far, FAR).unwrap();
        for (namespace, interface, mac) in [(&self.near, NEAR, NEAR_MAC), (&self.far, FAR, FAR_MAC)] {
            namespace
                .ip_batch(&format!("link set {interface} address {}\nlink set {interface} up\n", Mac(mac)))
                .unwrap();
        }
        // A link-local address comes with the carrier.
        for (namespace, interface) in [(&self.near, NEAR), (&self.far, FAR)] {
            wait_until("a link-local address", SOON, || {
                namespace
                    .ip(&["-6", "address", "show", "dev", interface, "scope", "link"])
                    .unwrap()
                    .contains("fe80::")
            })
            .unwrap();
        }
    }

    fn unplug(&self) {
        self.near.ip(&["link", "del", NEAR]).unwrap();
    }

    fn sender(&self) -> Sender {
        self.near.run(|| Sender::open(NEAR)).unwrap()
    }
}

fn na() -> NeighborAdvertisement<'static> {
    NeighborAdvertisement {
        mac: NEAR_MAC,
        source: NEAR_LINK_LOCAL,
        target: TARGET,
        router: false,
        override_entry: true,
        solicited: false,
        recipient: Recipient::Link,
        vlan: 0,
        options: &[],
    }
}

fn announcement(form: ArpForm) -> ArpAnnouncement {
    ArpAnnouncement { mac: NEAR_MAC, address: TARGET_IPV4, form, recipient: Recipient::Link, vlan: 0 }
}

fn is(expected: &[u8]) -> impl FnMut(&Captured) -> bool {
    let expected = expected.to_vec();
    move |frame| frame.bytes == expected
}

#[test]
fn advertisements_arrive_byte_for_byte() {
    let Some(wire) = Wire::new("advertisements_arrive_byte_for_byte") else { return };
    let capture = Capture::start(&wire.far, FAR).unwrap();
    let mut sender = wire.sender();

    // The expected frames are made by the tests' own builders.
    let plain = Neighbor::advertisement(NEAR_MAC, NEAR_LINK_LOCAL, TARGET);
    let mut tagged = plain.clone();
    tagged.ether.tags = vec![frames::customer(7)];
    let mut stacked = plain.clone();
    stacked.ether.tags = vec![frames::service(100), frames::customer(7)];
    stacked.ether.destination = FAR_MAC;
    stacked.ip.destination = FAR_LINK_LOCAL;
    stacked.flags = frames::FLAG_ROUTER;
    let to_far = Recipient::Neighbor { address: FAR_LINK_LOCAL, mac: FAR_MAC };
    let mut reply = frames::Arp::reply(NEAR_MAC, TARGET_IPV4, NEAR_MAC, TARGET_IPV4);
    reply.ether.destination = frames::BROADCAST;

    let cases = [
        (na().to_vec(), plain.frame()),
        (NeighborAdvertisement { vlan: vlan_key(&[7]), ..na() }.to_vec(), tagged.frame()),
        (
            NeighborAdvertisement {
                vlan: vlan_key(&[100, 7]),
                recipient: to_far,
                router: true,
                override_entry: false,
                ..na()
            }
            .to_vec(),
            stacked.frame(),
        ),
        (announcement(ArpForm::Request).to_vec(), frames::Arp::announcement(NEAR_MAC, TARGET_IPV4).frame()),
        (announcement(ArpForm::Reply).to_vec(), reply.frame()),
    ];
    for (number, (frame, expected)) in cases.iter().enumerate() {
        // The control: it is not there before it is sent.
        assert_eq!(capture.count(is(expected)), 0, "case {number}");
        sender.send(frame).unwrap();
        capture.wait_for(&format!("case {number}"), SOON, is(expected)).unwrap();
        assert_eq!(capture.count(is(expected)), 1, "case {number}");
    }
    assert_eq!(sender.counters().sent, 5);
}

#[test]
fn a_sender_says_what_is_wrong_and_recovers() {
    let Some(wire) = Wire::new("a_sender_says_what_is_wrong_and_recovers") else { return };
    let mut sender = wire.sender();
    let frame = na().to_vec();
    // Sends in the namespace, where a new socket must be opened.
    let mut send = || wire.near.run(|| sender.send(&frame));

    wire.near.ip(&["link", "set", NEAR, "down"]).unwrap();
    assert!(matches!(send(), Err(SendError::Down { .. })));
    wire.near.ip(&["link", "set", NEAR, "up"]).unwrap();
    wait_until("the interface takes frames again", SOON, || send().is_ok()).unwrap();

    wire.unplug();
    assert!(matches!(send(), Err(SendError::Gone { .. })));
    assert!(matches!(send(), Err(SendError::Gone { .. })));
    wire.plug();
    let capture = Capture::start(&wire.far, FAR).unwrap();
    send().unwrap();
    capture.wait_for("the NA on the new wire", SOON, is(&frame)).unwrap();

    let counters = sender.counters();
    assert_eq!((counters.down, counters.gone, counters.other), (1, 2, 0), "{counters:?}");
    let error = wire.near.run(|| Sender::open("acn9")).unwrap_err();
    assert!(matches!(error, SendError::Gone { .. }), "{error}");
    assert_eq!(error.to_string(), "interface acn9 does not exist");
}

/// Which states of an entry an unsolicited advertisement moves, and which not, on the kernel of this machine.
#[test]
fn an_existing_entry_moves() {
    let Some(wire) = Wire::new("an_existing_entry_moves") else { return };
    wire.far.ip(&["address", "add", "192.0.2.1/24", "dev", FAR]).unwrap();
    wire.far.ip(&["address", "add", "2001:db8:1::1/64", "dev", FAR, "nodad"]).unwrap();
    let capture = Capture::start(&wire.far, FAR).unwrap();
    let mut sender = wire.sender();
    // Nobody at the far end listens to it; when it has arrived, what was sent before it has been dealt with.
    let marker = NeighborAdvertisement { vlan: vlan_key(&[4000]), ..na() }.to_vec();
    // The MAC address that the entry of `address` has after `frame` found it in `state`.
    let mut after = |address: IpAddr, state: Option<Nud>, frame: &[u8]| {
        neighbour::forget(&wire.far, FAR, address).unwrap();
        if let Some(state) = state {
            neighbour::write(&wire.far, FAR, address, Some(Mac(OLD_MAC)), state).unwrap();
        }
        capture.clear();
        sender.send(frame).unwrap();
        sender.send(&marker).unwrap();
        capture.wait_for("the marker", SOON, is(&marker)).unwrap();
        assert_eq!(capture.count(is(frame)), 1);
        neighbour::read(&wire.far, FAR, address).unwrap().and_then(|entry| entry.mac)
    };
    let live = [Nud::Reachable, Nud::Stale, Nud::Delay, Nud::Probe];

    let weak = NeighborAdvertisement { override_entry: false, ..na() }.to_vec();
    let ipv6 = IpAddr::from(TARGET);
    for state in live.map(Some) {
        assert_eq!(after(ipv6, state, &na().to_vec()), Some(Mac(NEAR_MAC)), "NA with O=1, {state:?}");
        // The control: without O the address stays.
        assert_eq!(after(ipv6, state, &weak), Some(Mac(OLD_MAC)), "NA with O=0, {state:?}");
    }
    // RFC 4861 7.2.5: no entry is made.
    assert_eq!(after(ipv6, None, &na().to_vec()), None);

    let ipv4 = IpAddr::from(TARGET_IPV4);
    for form in [ArpForm::Request, ArpForm::Reply] {
        let frame = announcement(form).to_vec();
        // The control: an announcement of another address.
        let other = ArpAnnouncement { address: Ipv4Addr::new(192, 0, 2, 54), ..announcement(form) }.to_vec();
        for state in live.map(Some) {
            assert_eq!(after(ipv4, state, &frame), Some(Mac(NEAR_MAC)), "{form:?}, {state:?}");
            assert_eq!(after(ipv4, state, &other), Some(Mac(OLD_MAC)), "{form:?}, {state:?}");
        }
        // None is made (arp_accept = 0).
        assert_eq!(after(ipv4, None, &frame), None);
    }
    // A reply to somebody else's MAC, as some software sends it, is not taken within a second of the entry's last change.
    let mut late = frames::Arp::reply(NEAR_MAC, TARGET_IPV4, frames::BROADCAST, TARGET_IPV4);
    late.ether.destination = frames::BROADCAST;
    assert_eq!(after(ipv4, Some(Nud::Reachable), &late.frame()), Some(Mac(OLD_MAC)));
}

/// The records of an MLDv2 report (RFC 3810 5.2) behind its hop-by-hop header: type and group.
fn mld_records(frame: &Captured) -> Vec<(u8, Ipv6Addr)> {
    const HOP_BY_HOP: usize = 14 + 40;
    const REPORT: usize = HOP_BY_HOP + 8;
    let bytes = &frame.bytes;
    if bytes.get(20) != Some(&0) || bytes.get(HOP_BY_HOP) != Some(&58) || bytes.get(REPORT) != Some(&143) {
        return Vec::new();
    }
    bytes[REPORT + 8..]
        .chunks_exact(20)
        .map(|record| (record[0], Ipv6Addr::from(<[u8; 16]>::try_from(&record[4..]).unwrap())))
        .collect()
}

const CHANGE_TO_INCLUDE: u8 = 3;
const CHANGE_TO_EXCLUDE: u8 = 4;

/// Whether the kernel of a namespace is a member of `group` on the near interface.
fn is_member(namespace: &Namespace, group: Ipv6Addr) -> bool {
    let members = namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/igmp6")).unwrap();
    let hex: String = group.octets().iter().map(|octet| format!("{octet:02x}")).collect();
    members.lines().any(|line| line.contains(NEAR) && line.contains(&hex))
}

/// Whether the receive filter of the near interface has the MAC address of `group`.
fn is_filtered_in(namespace: &Namespace, group: Ipv6Addr) -> bool {
    let filter = namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/dev_mcast")).unwrap();
    let hex: String = multicast_mac(group).iter().map(|octet| format!("{octet:02x}")).collect();
    filter.lines().any(|line| line.contains(NEAR) && line.contains(&hex))
}

#[test]
fn a_group_is_joined_reported_and_left() {
    let Some(wire) = Wire::new("a_group_is_joined_reported_and_left") else { return };
    let capture = Capture::start(&wire.far, FAR).unwrap();
    let group = solicited_node(TARGET);
    // Shares the low 24 bits, and so the group.
    let sibling: Ipv6Addr = "2001:db8:2::53".parse().unwrap();
    let reported = |kind| move |frame: &Captured| mld_records(frame).contains(&(kind, group));
    let mut groups = Groups::new();

    assert!(!is_member(&wire.near, group));
    assert_eq!(capture.count(reported(CHANGE_TO_EXCLUDE)), 0);
    for address in [TARGET, TARGET, sibling] {
        let membership = wire.near.run(|| groups.join(NEAR, 0, address)).unwrap();
        assert_eq!(membership, Membership::Reported);
        assert_eq!(groups.len(), 1);
    }
    assert!(is_member(&wire.near, group) && is_filtered_in(&wire.near, group));
    capture.wait_for("the MLD report", SOON, reported(CHANGE_TO_EXCLUDE)).unwrap();

    groups.leave(NEAR, 0, TARGET);
    assert!(is_member(&wire.near, group), "the sibling still wants it");
    groups.leave(NEAR, 0, sibling);
    // A child that another test forks holds the socket too, until it executes its program.
    wait_until("the group is left", Duration::from_secs(5), || {
        !is_member(&wire.near, group) && !is_filtered_in(&wire.near, group)
    })
    .unwrap();
    assert!(groups.is_empty());
    capture.wait_for("the report of leaving", SOON, reported(CHANGE_TO_INCLUDE)).unwrap();
    groups.leave(NEAR, 0, sibling);
}

#[test]
fn sixty_four_groups_are_joined_and_left() {
    let Some(wire) = Wire::new("sixty_four_groups_are_joined_and_left") else { return };
    let mut groups = Groups::new();
    let addresses: Vec<Ipv6Addr> =
        (0..64).map(|number| Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, number, number)).collect();
    for address in &addresses {
        wire.near.run(|| groups.join(NEAR, 0, *address)).unwrap();
    }
    assert_eq!(groups.len(), 64);
    assert!(addresses.iter().all(|address| is_member(&wire.near, solicited_node(*address))));
    drop(groups);
    // A child that another test forks holds these sockets too, until it executes its program.
    wait_until("all groups are left", Duration::from_secs(5), || {
        !addresses.iter().any(|address| is_member(&wire.near, solicited_node(*address)))
    })
    .unwrap();
}

#[test]
fn a_group_is_joined_again_after_the_interface_was_gone() {
    let Some(wire) = Wire::new("a_group_is_joined_again_after_the_interface_was_gone") else { return };
    let group = solicited_node(TARGET);
    let mut groups = Groups::new();
    wire.near.run(|| groups.join(NEAR, 0, TARGET)).unwrap();

    wire.unplug();
    let error = wire.near.run(|| groups.refresh(NEAR)).unwrap_err();
    assert!(matches!(error, GroupError::Gone { .. }), "{error}");
    assert!(groups.is_empty());
    wire.plug();
    assert!(!is_member(&wire.near, group), "the control: nobody else joins it");
    wire.near.run(|| groups.refresh(NEAR)).unwrap();
    assert!(is_member(&wire.near, group));

    // Below IPv6's minimum MTU the kernel forgets all of the interface's IPv6, memberships among it.
    wire.near.ip(&["link", "set", NEAR, "mtu", "1200"]).unwrap();
    wire.near.ip(&["link", "set", NEAR, "mtu", "1500"]).unwrap();
    assert!(!is_member(&wire.near, group));
    wire.near.run(|| groups.refresh(NEAR)).unwrap();
    assert!(is_member(&wire.near, group));

    // Link down and up leaves it, and a refresh with nothing to do too.
    wire.near.ip(&["link", "set", NEAR, "down"]).unwrap();
    wire.near.ip(&["link", "set", NEAR, "up"]).unwrap();
    assert!(is_member(&wire.near, group));
    wire.near.run(|| groups.refresh(NEAR)).unwrap();
    assert!(is_member(&wire.near, group));
    assert_eq!(groups.len(), 1);

    // A join that failed is made good by the refresh.
    let error = wire.near.run(|| groups.join("acn9", 0, TARGET)).unwrap_err();
    assert_eq!(error.to_string(), "cannot join ff02::1:ff00:53 on acn9: the interface does not exist");
    wire.near.ip(&["link", "set", NEAR, "down"]).unwrap();
    wire.near.ip(&["link", "set", NEAR, "name", "acn9"]).unwrap();
    wire.near.run(|| groups.refresh("acn9")).unwrap();
    assert_eq!(groups.len(), 2);
}

#[test]
fn a_vlan_without_a_device_opens_the_filter_only() {
    let Some(wire) = Wire::new("a_vlan_without_a_device_opens_the_filter_only") else { return };
    let group = solicited_node(TARGET);
    let mut groups = Groups::new();
    assert!(!is_filtered_in(&wire.near, group));
    let membership = wire.near.run(|| groups.join(NEAR, vlan_key(&[7]), TARGET)).unwrap();
    assert_eq!(membership, Membership::FilterOnly);
    assert!(is_filtered_in(&wire.near, group));
    assert!(!is_member(&wire.near, group), "no IPv6 membership on the wrong VLAN");
    wire.near.run(|| groups.refresh(NEAR)).unwrap();
    assert!(is_filtered_in(&wire.near, group));
    groups.leave(NEAR, vlan_key(&[7]), TARGET);
    assert!(!is_filtered_in(&wire.near, group));
}

/// Runs `work` in a namespace, on a runtime of its own like the daemon's.
fn within<T: Send>(namespace: &Namespace, work: impl AsyncFnOnce() -> T + Send) -> T {
    namespace.run(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(async { tokio::time::timeout(SOON, work()).await.expect("in time") })
    })
}

/// A heartbeat's frame as another host would send it.
fn heartbeat_frame(source: Ipv6Addr, group: Ipv6Addr, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let ip = Ipv6 { hop_limit, ..Ipv6::new(source, group) };
    let datagram = frames::udp((source.into(), PORT), (group.into(), PORT), payload, None);
    Ether::new(frames::group_mac(group), FAR_MAC)
        .frame(frames::ETHERTYPE_IPV6, &ip.packet(frames::NEXT_UDP, &datagram))
}

#[test]
fn a_heartbeat_leaves_as_it_should() {
    let Some(wire) = Wire::new("a_heartbeat_leaves_as_it_should") else { return };
    let capture = Capture::start(&wire.far, FAR).unwrap();
    let is_heartbeat = |frame: &Captured| {
        frame.parse().udp().is_some_and(|udp| udp.destination == (IpAddr::from(GROUP), PORT).into())
    };
    let frame = within(&wire.near, async || {
        let mut heartbeat = Heartbeat::open(NEAR, GROUP, PORT).unwrap();
        // The kernel reports the group within a second, if it is still joined then.
        capture
            .wait_for("the MLD report of the group", SOON, |frame| {
                mld_records(frame).contains(&(CHANGE_TO_EXCLUDE, GROUP))
            })
            .unwrap();
        assert_eq!(capture.count(is_heartbeat), 0);
        heartbeat.send(b"beat").unwrap();
        assert_eq!(heartbeat.counters().sent, 1);
        capture.wait_for("the heartbeat", SOON, is_heartbeat).unwrap()
    });
    let udp = frame.parse().udp().cloned().unwrap();
    assert_eq!(udp.source, (IpAddr::from(NEAR_LINK_LOCAL), PORT).into());
    assert_eq!((udp.from, udp.to), (Mac(NEAR_MAC), Mac([0x33, 0x33, 0x80, 0, 0x95, 0x30])));
    assert_eq!(frame.bytes[21], 255, "hop limit");
    assert_eq!(frame.bytes[14..16], [0x6c, 0], "version 6, traffic class CS6");
    assert!(frame.bytes.ends_with(b"beat"));
}

#[test]
fn heartbeats_are_heard_by_the_others_only() {
    let Some(wire) = Wire::new("heartbeats_are_heard_by_the_others_only") else { return };
    let other_group: Ipv6Addr = "ff12::8000:9531".parse().unwrap();
    let sender = Injector::new(&wire.far, FAR).unwrap();
    within(&wire.near, async || {
        // Two daemons of one host, and one that listens to another group.
        let mut one = Heartbeat::open(NEAR, GROUP, PORT).unwrap();
        let mut two = Heartbeat::open(NEAR, GROUP, PORT).unwrap();
        let mut other = Heartbeat::open(NEAR, other_group, PORT).unwrap();
        // Not looped back: not to itself, not to the second socket.
        one.send(b"own").unwrap();
        sender.send(&heartbeat_frame(FAR_LINK_LOCAL, GROUP, 255, b"beat")).unwrap();
        sender.send(&heartbeat_frame(FAR_LINK_LOCAL, other_group, 255, b"other")).unwrap();
        let mut buffer = [0; HEARTBEAT_MAX];
        for heartbeat in [&mut one, &mut two] {
            let received = heartbeat.receive(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..received.length], b"beat");
            assert_eq!(received.source, FAR_LINK_LOCAL);
            assert_eq!(heartbeat.counters().received, 1);
        }
        let received = other.receive(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..received.length], b"other");
    });
}

#[test]
fn heartbeats_from_beyond_the_link_are_refused() {
    let Some(wire) = Wire::new("heartbeats_from_beyond_the_link_are_refused") else { return };
    let sender = Injector::new(&wire.far, FAR).unwrap();
    let global: Ipv6Addr = "2001:db8:1::2".parse().unwrap();
    let counters = within(&wire.near, async || {
        let mut heartbeat = Heartbeat::open(NEAR, GROUP, PORT).unwrap();
        for hop_limit in [254, 64, 1, 0] {
            sender.send(&heartbeat_frame(FAR_LINK_LOCAL, GROUP, hop_limit, b"forged")).unwrap();
        }
        sender.send(&heartbeat_frame(global, GROUP, 255, b"global")).unwrap();
        sender.send(&heartbeat_frame(FAR_LINK_LOCAL, GROUP, 255, &[0; HEARTBEAT_MAX + 1])).unwrap();
        // The control: the only one without a fault, and the longest there may be.
        sender.send(&heartbeat_frame(FAR_LINK_LOCAL, GROUP, 255, &[7; HEARTBEAT_MAX])).unwrap();
        let mut buffer = [0; HEARTBEAT_MAX];
        let received = heartbeat.receive(&mut buffer).await.unwrap();
        assert_eq!(received.length, HEARTBEAT_MAX);
        assert_eq!(buffer, [7; HEARTBEAT_MAX]);
        heartbeat.counters()
    });
    assert_eq!(counters.refused_hop_limit, 4, "{counters:?}");
    assert_eq!(counters.refused_source, 1, "{counters:?}");
    assert_eq!(counters.refused_length, 1, "{counters:?}");
    assert_eq!(counters.received, 1, "{counters:?}");
}

#[test]
fn a_heartbeat_socket_says_what_is_wrong_and_recovers() {
    let Some(wire) = Wire::new("a_heartbeat_socket_says_what_is_wrong_and_recovers") else { return };
    within(&wire.near, async || {
        let error = Heartbeat::open("acn9", GROUP, PORT).unwrap_err();
        assert!(matches!(error, HeartbeatError::Gone { .. }), "{error}");
        for group in ["ff05::1", "fe80::1", "::"] {
            let error = Heartbeat::open(NEAR, group.parse().unwrap(), PORT).unwrap_err();
            assert!(matches!(error, HeartbeatError::Group { .. }), "{error}");
        }

        let mut heartbeat = Heartbeat::open(NEAR, GROUP, PORT).unwrap();
        wire.unplug();
        let error = heartbeat.send(b"lost").unwrap_err();
        assert!(matches!(error, HeartbeatError::Gone { .. }), "{error}");
        assert!(matches!(heartbeat.reopen(), Err(HeartbeatError::Gone { .. })));
        wire.plug();
        heartbeat.reopen().unwrap();
        heartbeat.send(b"beat").unwrap();
        let sender = Injector::new(&wire.far, FAR).unwrap();
        sender.send(&heartbeat_frame(FAR_LINK_LOCAL, GROUP, 255, b"back")).unwrap();
        let mut buffer = [0; HEARTBEAT_MAX];
        let received = heartbeat.receive(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..received.length], b"back");

        wire.near.ip(&["-6", "address", "flush", "dev", NEAR]).unwrap();
        let error = heartbeat.send(b"lost").unwrap_err();
        assert!(matches!(error, HeartbeatError::NoSource { .. }), "{error}");
        assert_eq!(heartbeat.counters().send_errors, 2);
    });
}
