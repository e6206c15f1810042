//! Everything the speaker sends, read by a dissector that is not ours.

use std::collections::BTreeSet;

use anycast_tests::lab::farm::{ROUTER_LINK, SERVICE};
use anycast_tests::lab::routed::{self, Speaker};
use anycast_tests::lab::tshark::dissect;
use anycast_tests::lab::{Capture, Daemon, wait_until};
use anycast_user::control::Command;

use crate::router::FRR;
use crate::{PATIENCE, Rig, need_lab};

/// Of Ethernet, IPv6 without extension headers, and OSPF.
const NEXT_HEADER: usize = 14 + 6;
const OSPF: u8 = 89;
const LSA_LENGTH_IN_UPDATE: usize = 14 + 40 + 16 + 4 + 18;

/// Of the load LSA, whose type (0xbff0) is one for experiments.
const NO_SUCH_TYPE: &str = "Unknown LSA Type 8176";

const FIELDS: [&str; 5] =
    ["ospf.srcrouter", "ospf.msg", "ospf.v3.lsa", "ospf.metric", "ospf.v3.address_prefix.ipv6"];

#[test]
fn every_packet_is_read_by_wireshark_as_it_is_meant() {
    need_lab!("every_packet_is_read_by_wireshark_as_it_is_meant");
    let mut rig = Rig::new(FRR, Speaker::Native, 1, "");
    // A whole life: the adjacency, a change, death and return of the service, a restart.
    rig.daemons.remove(0).terminate().unwrap();
    rig.wait_for_next_hops(&[]);
    let capture = Capture::start(&rig.farm.router, ROUTER_LINK).unwrap();
    let server = &rig.farm.servers[0];
    rig.daemons.push(Daemon::start(server, &routed::daemon(Speaker::Native, 0, server, "")).unwrap());
    rig.wait_for_next_hops(&[0]);
    rig.daemons[0].request(&Command::Drain { service: None }).unwrap();
    wait_until("the change is sent", PATIENCE, || updates_of_us(&capture).contains(&"65535".to_owned()))
        .unwrap();
    rig.daemons.remove(0).terminate().unwrap();
    rig.wait_for_next_hops(&[]);
    assert_eq!(capture.lost(), 0);

    let frames: Vec<Vec<u8>> = ospf(&capture);
    let read = dissect(frames.iter().map(Vec::as_slice), &FIELDS).unwrap();
    assert_eq!(read.len(), frames.len());
    let (mut kinds, mut types) = (BTreeSet::new(), BTreeSet::new());
    let mut update = None;
    for (frame, dissected) in frames.iter().zip(&read) {
        let complaints = dissected.complaints.iter().filter(|complaint| *complaint != NO_SUCH_TYPE);
        assert_eq!(complaints.count(), 0, "{dissected:?}");
        if dissected.fields[0] == ["10.0.1.1"] {
            kinds.extend(dissected.fields[1].clone());
            if dissected.fields[1] == ["4"] {
                types.extend(dissected.fields[2].clone());
                if dissected.fields[3].contains(&"65535".to_owned()) {
                    assert!(dissected.fields[4].contains(&SERVICE.to_string()), "{dissected:?}");
                    update = Some(frame.clone());
                }
            }
        }
    }
    // Hello, Database Description, Link State Request, Update and Acknowledgment.
    assert_eq!(kinds, ["1", "2", "3", "4", "5"].map(str::to_owned).into());
    // Link, Router, Intra-Area-Prefix, load.
    let expected: BTreeSet<String> = ["0x0008", "0x2001", "0x2009", "0xbff0"].map(str::to_owned).into();
    assert_eq!(types, expected);

    // Control: the dissector does object to a packet that lies of its length.
    let mut lie = update.unwrap();
    lie[LSA_LENGTH_IN_UPDATE..LSA_LENGTH_IN_UPDATE + 2].copy_from_slice(&2_000_u16.to_be_bytes());
    let read = dissect([lie.as_slice()], &FIELDS).unwrap();
    assert_ne!(read[0].complaints, Vec::<String>::new());
}

fn ospf(capture: &Capture) -> Vec<Vec<u8>> {
    let frames = capture.frames().into_iter().map(|frame| frame.bytes);
    frames.filter(|bytes| bytes.get(NEXT_HEADER) == Some(&OSPF)).collect()
}

/// The metrics in updates from the server.
fn updates_of_us(capture: &Capture) -> Vec<String> {
    let read = dissect(ospf(capture).iter().map(Vec::as_slice), &FIELDS).unwrap();
    let ours = read.into_iter().filter(|dissected| dissected.fields[0] == ["10.0.1.1"]);
    ours.flat_map(|dissected| dissected.fields[3].clone()).collect()
}
