//! The builders against frames that another implementation (scapy 2) built, so that they are not their own witnesses.

use super::*;

const MAC: Mac = [2, 0, 0, 0, 0, 1];
const ROUTER: Mac = [2, 0, 0, 0, 0, 0xfe];

fn hex(frame: &[u8]) -> String {
    frame.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn target(network: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, network, 0, 0, 0, 0, 0x53)
}

fn link_local(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host)
}

fn answer(receiver_mac: Mac, receiver: Ipv6Addr, flags: u8) -> Vec<u8> {
    let mut na = Neighbor::advertisement(MAC, link_local(1), target(1));
    na.ether.destination = receiver_mac;
    na.ip.destination = receiver;
    na.flags = flags;
    na.frame()
}

fn behind(extension: Extension) -> Vec<u8> {
    let mut ns = Neighbor::solicitation(ROUTER, link_local(0xfe), target(1));
    ns.ip.extensions = vec![extension];
    ns.frame()
}

fn double_tagged() -> Vec<u8> {
    let mut ns = Neighbor::solicitation(ROUTER, link_local(0xfe), target(3));
    ns.ether.tags = vec![service(100), customer(7)];
    ns.frame()
}

#[test]
fn frames_are_what_another_implementation_builds() {
    let (router, address) = (link_local(0xfe), target(1));
    let client = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 0x99);
    let (router4, address4) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 53));
    let client4 = Ipv4Addr::new(198, 51, 100, 9);
    let rows = [
        (
            "multicast solicitation",
            Neighbor::solicitation(ROUTER, router, address).frame(),
            "3333ff0000530200000000fe86dd6000000000203afffe8000000000000000000000000000feff020000000000000000\
         0001ff000053870048c20000000020010db800010000000000000000005301010200000000fe",
        ),
        (
            "unicast probe",
            Neighbor::probe(ROUTER, router, address, MAC).frame(),
            "0200000000010200000000fe86dd6000000000183afffe8000000000000000000000000000fe20010db8000100000000\
         00000000005387001d140000000020010db8000100000000000000000053",
        ),
        (
            "duplicate address detection",
            Neighbor::duplicate_detection(ROUTER, address).frame(),
            "3333ff0000530200000000fe86dd6000000000183aff00000000000000000000000000000000ff020000000000000000\
         0001ff00005387004c480000000020010db8000100000000000000000053",
        ),
        (
            "unsolicited advertisement",
            Neighbor::advertisement(ROUTER, router, address).frame(),
            "3333000000010200000000fe86dd6000000000203afffe8000000000000000000000000000feff020000000000000000\
         000000000001880026162000000020010db800010000000000000000005302010200000000fe",
        ),
        (
            "answer",
            answer(ROUTER, router, FLAG_SOLICITED | FLAG_OVERRIDE),
            "0200000000fe02000000000186dd6000000000203afffe800000000000000000000000000001fe800000000000000000\
         0000000000fe8800e7946000000020010db80001000000000000000000530201020000000001",
        ),
        (
            "answer to duplicate address detection",
            answer(ALL_NODES_MAC, ALL_NODES, FLAG_OVERRIDE),
            "33330000000102000000000186dd6000000000203afffe800000000000000000000000000001ff020000000000000000\
         000000000001880028102000000020010db80001000000000000000000530201020000000001",
        ),
        (
            "solicitation behind a fragment header",
            behind(Extension::fragment(0, false)),
            "3333ff0000530200000000fe86dd6000000000282cfffe8000000000000000000000000000feff020000000000000000\
         0001ff0000533a00000012345678870048c20000000020010db800010000000000000000005301010200000000fe",
        ),
        (
            "solicitation behind hop-by-hop options",
            behind(Extension::padding(NEXT_HOP_BY_HOP)),
            "3333ff0000530200000000fe86dd60000000002800fffe8000000000000000000000000000feff020000000000000000\
         0001ff0000533a00010400000000870048c20000000020010db800010000000000000000005301010200000000fe",
        ),
        (
            "double-tagged solicitation",
            double_tagged(),
            "3333ff0000530200000000fe88a800648100000786dd6000000000203afffe8000000000000000000000000000feff02\
         00000000000000000001ff000053870048c00000000020010db800030000000000000000005301010200000000fe",
        ),
        (
            "ARP request",
            Arp::request(ROUTER, router4, address4).frame(),
            "ffffffffffff0200000000fe080600010800060400010200000000fec0000201000000000000c0000235",
        ),
        (
            "ARP reply",
            Arp::reply(MAC, address4, ROUTER, router4).frame(),
            "0200000000fe02000000000108060001080006040002020000000001c00002350200000000fec0000201",
        ),
        (
            "query over IPv6",
            Ether::new(MAC, ROUTER).frame(
                ETHERTYPE_IPV6,
                &Ipv6::new(client, address)
                    .packet(NEXT_UDP, &udp((client.into(), 40_000), (address.into(), 53), &dns(false), None)),
            ),
            "0200000000010200000000fe86dd60000000002111ff20010db8000c0000000000000000009920010db8000100000000\
         0000000000539c4000350021e63ebeef01000001000000000000076578616d706c650000060001",
        ),
        (
            "query over IPv4",
            Ether::new(MAC, ROUTER).frame(
                ETHERTYPE_IPV4,
                &Ipv4::new(client4, address4).packet(
                    NEXT_UDP,
                    &udp((client4.into(), 40_000), (address4.into(), 53), &dns(false), None),
                ),
            ),
            "0200000000010200000000fe0800450000354242400040110c04c6336409c00002359c40003500215637beef01000001\
         000000000000076578616d706c650000060001",
        ),
        (
            "TCP SYN",
            Ether::new(MAC, ROUTER).frame(
                ETHERTYPE_IPV6,
                &Ipv6::new(client, address)
                    .packet(NEXT_TCP, &tcp((client.into(), 40_000), (address.into(), 53), TCP_SYN, b"")),
            ),
            "0200000000010200000000fe86dd60000000001406ff20010db8000c0000000000000000009920010db8000100000000\
         0000000000539c40003501020304000000005002ffffb2fc0000",
        ),
    ];
    for (name, built, expected) in rows {
        assert_eq!(hex(&built), expected, "{name}");
    }
}

#[test]
fn a_faulty_checksum_is_the_only_difference() {
    let right = Neighbor::solicitation(ROUTER, link_local(0xfe), target(1));
    let wrong = Neighbor { checksum_fault: 1, ..right.clone() };
    let differing: Vec<usize> = (0..86).filter(|&i| right.frame()[i] != wrong.frame()[i]).collect();
    assert_eq!(differing, [57]);
}
