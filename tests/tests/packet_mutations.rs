//! Faults planted into copies of the program: each must be caught by the packet tests, or those tests prove little.
//!
//! A mutation whose text is no longer in the program fails the test, as does one that no longer builds or loads: it has to be
//! planted anew. Builds each by `cargo xtask build`.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as the tests do, by a panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anycast_tests::cases::{self, MAC};
use anycast_tests::exercise::{self, extra};
use anycast_tests::subject::Subject;

/// File, text, and what takes its place.
struct Mutation {
    what: &'static str,
    /// In code that only the program with extras has: that one is put through what is its own.
    extra: bool,
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
    Mutation { what, extra: false, file, search, replace }
}

const fn of_extra(
    what: &'static str,
    file: &'static str,
    search: &'static str,
    replace: &'static str,
) -> Mutation {
    Mutation { what, extra: true, file, search, replace }
}

const NEIGHBOUR: &str = "anycast-ebpf/src/neighbour.rs";
const REPLY: &str = "anycast-ebpf/src/reply.rs";
const FRAME: &str = "anycast-ebpf/src/frame.rs";
const SERVICE: &str = "anycast-ebpf/src/service.rs";
const TRANSPORT: &str = "anycast-ebpf/src/transport.rs";
const NETWORK: &str = "anycast-ebpf/src/network.rs";
const ARP: &str = "anycast-ebpf/src/arp.rs";
const REPORT: &str = "anycast-ebpf/src/report.rs";

const MUTATIONS: [Mutation; 36] = [
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
    mutation(
        "half of the checksum is verified",
        NEIGHBOUR,
        "checksum::fold(sum) != checksum::VALID",
        "checksum::fold(sum) as u8 != checksum::VALID as u8",
    ),
    mutation("the last octets are not summed", NEIGHBOUR, "_ => window >> above,", "_ => 0,"),
    mutation("a second target option counts", NEIGHBOUR, " & is_zero(target);", ";"),
    mutation(
        "reserved flags are told",
        NEIGHBOUR,
        "flags & (ndp::ROUTER | ndp::SOLICITED | ndp::OVERRIDE)",
        "flags & 0xff",
    ),
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
    mutation(
        "every answer is solicited",
        REPLY,
        "service.na_flags | if dad { 0 } else {",
        "service.na_flags | if dad && from[0] == 1 { 0 } else {",
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
        "if !frame.is_to_us(services) {",
        "if !frame.is_to_us(services) && port == Some(1) {",
    ),
    mutation(
        "the UDP length is not looked at",
        TRANSPORT,
        " && usize::from(be16(header, udp::DATAGRAM_LENGTH)) >= whole",
        "",
    ),
    mutation(
        "IPv4 fragments may be of any version",
        NETWORK,
        "if version >> 4 == 4 && version >= ipv4::PLAIN_VERSION {",
        "if version & 0x0f >= 5 {",
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
    mutation("ARP probes are requests", ARP, "if sender == 0 {", "if sender == 1 {"),
    mutation("peers have no budget", REPORT, "*sent < budget;", "*sent < budget.max(u32::MAX);"),
    mutation(
        "every refusal is an event",
        REPORT,
        "if now.wrapping_sub(*last) < EVENT_INTERVAL_NS {",
        "if now < *last {",
    ),
    of_extra("routers' gates are not asked", SERVICE, "router().unwrap_or(open_until)", "open_until"),
    of_extra(
        "a router's gate is every service's",
        SERVICE,
        "RouterKey { index, mac, pad: [0; 2] }",
        "RouterKey { index: 1, mac, pad: [0; 2] }",
    ),
    of_extra(
        "a stranger asks his own gate",
        NEIGHBOUR,
        "let gate = if EXTRA && kind != Kind::Dad {",
        "let gate = if EXTRA {",
    ),
    of_extra(
        "probes are left to the controller",
        NEIGHBOUR,
        "service.flags & SERVICE_DELAYED != 0 && kind == Kind::Multicast",
        "service.flags & SERVICE_DELAYED != 0",
    ),
    of_extra(
        "no answer is left to the controller",
        NEIGHBOUR,
        "if service.flags & SERVICE_DELAYED != 0 && kind",
        "if service.flags & SERVICE_DELAYED == 0xff && kind",
    ),
    of_extra(
        "strangers are told as routers",
        NEIGHBOUR,
        "        if kind != Kind::Dad {\n            report::answered",
        "        if kind == Kind::Dad {\n            report::answered",
    ),
    of_extra(
        "who asks by ARP is not told",
        ARP,
        "if EXTRA && kind != Kind::Dad {",
        "if EXTRA && kind == Kind::Dad {",
    ),
    of_extra(
        "answers left to the controller have no budget",
        REPORT,
        "&mut limits.delayed_sent, DELAYED_BUDGET);",
        "&mut limits.delayed_sent, u32::MAX);",
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

/// Builds the sources into a program. All builds share a target directory: only the first one compiles `core`.
fn build(sources: &Path, out: &Path) -> Result<(), String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packet-mutations");
    let built = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["run", "--quiet", "--package", "xtask", "--", "build", "--source"])
        .arg(sources)
        .arg("--out")
        .arg(out)
        .arg("--target-dir")
        .arg(target)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&built.stderr);
    built.status.success().then_some(()).ok_or_else(|| format!("does not build\n{text}"))
}

/// Plants a mutation, builds, and takes it out again.
fn plant(sources: &Path, mutation: &Mutation, out: &Path) -> Result<(), String> {
    let path = sources.join(mutation.file);
    let original = fs::read_to_string(&path).unwrap();
    let places = original.matches(mutation.search).count();
    if places != 1 {
        return Err(format!("its text is in {} {places} times", mutation.file));
    }
    fs::write(&path, original.replace(mutation.search, mutation.replace)).unwrap();
    let built = build(sources, out);
    fs::write(&path, original).unwrap();
    built
}

/// Puts the program through everything: none, or what was found.
fn fault_of(out: &Path, extra: bool) -> Result<Option<String>, String> {
    let object = out.join("anycast-fast-path");
    let load =
        |subject: anyhow::Result<Subject>| subject.map_err(|error| format!("does not load: {error:#}"));
    let fault = if extra {
        let mut subject = load(Subject::extra_from_file(&object, MAC, &cases::services()))?;
        let mut delayed = load(Subject::extra_from_file(&object, MAC, &extra::delayed_services()))?;
        extra::all(&mut subject, &mut delayed, 1)
    } else {
        exercise::all(&mut load(Subject::from_file(&object, MAC, &cases::services()))?, 1)
    };
    fault.map_err(|error| format!("does not run: {error:#}"))
}

#[test]
fn every_planted_fault_is_caught() {
    let directory = tempfile::tempdir().unwrap();
    let sources = directory.path().join("sources");
    copy_sources(&sources);
    let sound = directory.path().join("sound");
    build(&sources, &sound).unwrap();
    let mut failures = Vec::new();
    // One is built while the one before it is run.
    std::thread::scope(|scope| {
        let (built, ready) = std::sync::mpsc::channel();
        let (sources, directory) = (&sources, directory.path());
        scope.spawn(move || {
            for (number, mutation) in MUTATIONS.iter().enumerate() {
                let out = directory.join(number.to_string());
                let result = plant(sources, mutation, &out).map(|()| out);
                built.send((mutation, result)).unwrap();
            }
        });
        exercise::stay_on_one_cpu().unwrap();
        for extra in [false, true] {
            assert_eq!(fault_of(&sound, extra), Ok(None), "without a fault; with extras: {extra}");
        }
        for (Mutation { what, extra, .. }, out) in ready {
            match out.and_then(|out| fault_of(&out, *extra)) {
                Ok(Some(fault)) => println!("caught: {what}: {}", fault.lines().next().unwrap_or_default()),
                Ok(None) => failures.push(format!("{what}: not caught")),
                Err(error) => failures.push(format!("{what}: {error}")),
            }
        }
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
