//! Loading, attaching, pinning and adopting the fast path on a veth pair; every refusal beside what makes it go away.

use std::net::IpAddr;

use anycast_user::datapath::{Datapath, Service};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const XDP_DROP: u32 = 1;
const XDP_TX: u32 = 3;

fn service() -> Service {
    Service { ports: vec![53], ..Service::new("2001:db8::53".parse().unwrap()) }
}

/// A solicitation for the service address from fe80::2, to the solicited-node group.
fn solicitation() -> Vec<u8> {
    use anycast_common::packet::checksum;
    let mut frame = vec![0x33, 0x33, 0xff, 0, 0, 0x53];
    frame.extend(PEER_MAC);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]);
    frame.extend("fe80::2".parse::<std::net::Ipv6Addr>().unwrap().octets());
    frame.extend("ff02::1:ff00:53".parse::<std::net::Ipv6Addr>().unwrap().octets());
    frame.extend([135, 0, 0, 0, 0, 0, 0, 0]);
    let IpAddr::V6(target) = service().address else { unreachable!() };
    frame.extend(target.octets());
    frame.extend([1, 1]);
    frame.extend(PEER_MAC);
    let sum = checksum::sum(&frame[22..]) + checksum::sum(&[0, 32, 0, 58]);
    let checksum = (!checksum::fold(sum)).to_ne_bytes();
    frame[56..58].copy_from_slice(&checksum);
    frame
}

fn later() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    (now.tv_sec() as u64 + 60) * 1_000_000_000
}

#[test]
fn an_unattached_program_answers_while_the_gate_is_open() {
    let mut datapath = Datapath::unattached().unwrap();
    println!("instructions: {:?}", datapath.instructions().unwrap());
    let index = datapath.set_services(MAC, &[service()]).unwrap()[0];
    assert_eq!(datapath.run(&solicitation()).unwrap().0, XDP_DROP);
    datapath.set_lease(index, later());
    let (verdict, answer) = datapath.run(&solicitation()).unwrap();
    assert_eq!(verdict, XDP_TX);
    assert_eq!(answer[..6], PEER_MAC);
    assert_eq!(answer[6..12], MAC);
    let counters = datapath.counters(index).unwrap();
    assert_eq!((counters.solicitations_multicast, counters.answered, counters.refused_shut), (2, 1, 1));
    let mut events = Vec::new();
    datapath.drain_events(&mut events);
    assert_eq!(events.len(), 1);
}
