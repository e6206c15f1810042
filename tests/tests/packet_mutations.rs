//! Faults planted into copies of the program: each must be caught by the packet tests, or those tests prove little.
//!
//! A mutation whose text is no longer in the program fails the test, as does one that no longer builds or loads: it has to be
//! planted anew. Builds each by `cargo xtask build`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anycast_tests::cases::{self, MAC};
use anycast_tests::exercise;
use anycast_tests::subject::Subject;

/// File, text, and what takes its place.
struct Mutation {
    what: &'static str,
    file: &'static str,
    search: &'static str,
    replace: &'static str,
}

const fn mutation(
    what: &'static str,
    file: &'static str,
    search: &'static str,
    replace: &'static str,
) -> Mutation {
    Mutation { what, file, search, replace }
}

const NEIGHBOUR: &str = "anycast-ebpf/src/neighbour.rs";
const REPLY: &str = "anycast-ebpf/src/reply.rs";
const FRAME: &str = "anycast-ebpf/src/frame.rs";
const SERVICE: &str = "anycast-ebpf/src/service.rs";
const TRANSPORT: &str = "anycast-ebpf/src/transport.rs";
const NETWORK: &str = "anycast-ebpf/src/network.rs";
const ARP: &str = "anycast-ebpf/src/arp.rs";
const REPORT: &str = "anycast-ebpf/src/report.rs";

const MUTATIONS: [Mutation; 20] = [
    mutation(
        "hop limits from 128 on are accepted",
        NEIGHBOUR,
        "octet(header, ipv6::HOP_LIMIT) != ndp::HOP_LIMIT",
        "octet(header, ipv6::HOP_LIMIT) < 128",
    ),
    mutation(
        "the code is not looked at",
        NEIGHBOUR,
        "octet(icmp, ndp::CODE) != 0",
        "octet(icmp, ndp::CODE) == 77",
    ),
    mutation("checksums are not verified", NEIGHBOUR, "checksum::fold(sum) != checksum::VALID", "sum == 0"),
    mutation(
        "a single option may have any length",
        NEIGHBOUR,
        "options_fit = octet(option, ndp::OPTION_LENGTH) == 1;",
        "options_fit = octet(option, ndp::OPTION_LENGTH) != 0;",
    ),
    mutation(
        "duplicate address detection may go anywhere",
        NEIGHBOUR,
        "if !to_solicited_node {",
        "if !to_solicited_node && unicast {",
    ),
    mutation(
        "duplicate address detection may have a source option",
        NEIGHBOUR,
        "if option.source {",
        "if option.source && unicast {",
    ),
    mutation(
        "solicited and multicast is accepted",
        NEIGHBOUR,
        "if flags & ndp::SOLICITED != 0 && octet(header, ipv6::DESTINATION) == ipv6::MULTICAST_PREFIX {",
        "if flags & ndp::SOLICITED != 0 && octet(header, ipv6::DESTINATION) == 0xfd {",
    ),
    mutation(
        "our own advertisement is a peer's",
        NEIGHBOUR,
        "if same_mac(&from, &service.mac) || same_mac(&announced, &service.mac) {",
        "if same_mac(&from, &service.mac) && octet(icmp, ndp::CODE) == 1 {",
    ),
    mutation(
        "the answer to duplicate address detection goes to the stranger",
        REPLY,
        "(ethernet::ALL_NODES, ipv6::ALL_NODES)",
        "(from, ipv6::ALL_NODES)",
    ),
    mutation(
        "the class and flow label of the solicitation stay",
        REPLY,
        "    put(packet, ipv6::VERSION, ipv6::PLAIN_VERSION);\n",
        "",
    ),
    mutation("longer frames are not cut", FRAME, "if by == 0 {", "if by <= 0 {"),
    mutation("priority bits are part of the VLAN", FRAME, "& vlan::IDENTIFIER_MASK", "& 0xffff"),
    mutation("the VLAN is not compared", SERVICE, " && service.vlan == vlan", ""),
    mutation(
        "the lease is not looked at",
        SERVICE,
        "if open_until <= now() {",
        "if open_until > u64::MAX - 1 && hold == 9 {",
    ),
    mutation("held open is not looked at", SERVICE, "if hold == HOLD_OPEN {", "if hold == HOLD_OPEN + 1 {"),
    mutation(
        "SYN and ACK counts as SYN",
        TRANSPORT,
        "(tcp::SYN | tcp::ACK) != tcp::SYN",
        "tcp::SYN != tcp::SYN",
    ),
    mutation(
        "other stations' frames count",
        TRANSPORT,
        "if !frame.is_to(&meta.mac) {",
        "if !frame.is_to(&meta.mac) && port == Some(1) {",
    ),
    mutation(
        "fragments are taken for the first",
        NETWORK,
        "& ipv6::FRAGMENT_OFFSET_MASK == 0 =>",
        "& 1 == 0 =>",
    ),
    mutation(
        "announcements are taken for requests",
        ARP,
        "if operation == arp::REPLY || sender == target {",
        "if operation == arp::REPLY {",
    ),
    mutation(
        "every refusal is an event",
        REPORT,
        "if now.wrapping_sub(*last) < EVENT_INTERVAL_NS {",
        "if now < *last {",
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace is there")
}

/// A copy of what the program is built from: a workspace of two members.
fn copy_sources(to: &Path) {
    let root = root();
    for member in ["anycast-common", "anycast-ebpf"] {
        copy(&root.join(member), &to.join(member));
    }
    fs::copy(root.join("Cargo.lock"), to.join("Cargo.lock")).unwrap();
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let members = r#"members = ["anycast-common", "anycast-ebpf"]"#;
    let lines = manifest.lines().map(|line| match line {
        line if line.starts_with("members = ") => members,
        line if line.starts_with("default-members = ") => "",
        line => line,
    });
    fs::write(to.join("Cargo.toml"), lines.collect::<Vec<_>>().join("\n")).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            if entry.file_name() != "target" {
                copy(&entry.path(), &to);
            }
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Builds the sources and puts the program through everything: none, or what was found.
fn fault_of(sources: &Path, what: &str) -> Option<String> {
    let out = sources.join("out");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packet-mutations");
    let built = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["run", "--quiet", "--package", "xtask", "--", "build", "--source"])
        .arg(sources)
        .arg("--out")
        .arg(&out)
        .arg("--target-dir")
        .arg(target)
        .output()
        .unwrap();
    assert!(built.status.success(), "{what}: does not build\n{}", String::from_utf8_lossy(&built.stderr));
    let mut subject = Subject::from_file(&out.join("anycast-fast-path"), MAC, &cases::services())
        .unwrap_or_else(|error| panic!("{what}: {error:#}"));
    exercise::all(&mut subject, 1).unwrap()
}

#[test]
fn every_planted_fault_is_caught() {
    exercise::stay_on_one_cpu().unwrap();
    let sources = tempfile::tempdir().unwrap();
    copy_sources(sources.path());
    assert_eq!(fault_of(sources.path(), "without a fault"), None);
    let mut survivors = Vec::new();
    for mutation in &MUTATIONS {
        let path = sources.path().join(mutation.file);
        let original = fs::read_to_string(&path).unwrap();
        let places = original.matches(mutation.search).count();
        assert_eq!(places, 1, "{}: the text is in {} {places} times", mutation.what, mutation.file);
        fs::write(&path, original.replace(mutation.search, mutation.replace)).unwrap();
        match fault_of(sources.path(), mutation.what) {
            Some(fault) => {
                println!("caught: {}: {}", mutation.what, fault.lines().next().unwrap_or_default());
            }
            None => survivors.push(mutation.what),
        }
        fs::write(&path, original).unwrap();
    }
    assert!(survivors.is_empty(), "not caught: {survivors:?}");
}
