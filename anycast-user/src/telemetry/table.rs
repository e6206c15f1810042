//! The status as a table for a terminal of 80 columns.

use std::fmt::Write as _;

use super::ospf::Ospf;
use super::pool::Element;
use super::status::{Check, Interface, Peer, Router, Service, Status};

/// Columns of the narrowest terminal anybody uses.
const WIDTH: usize = 80;

/// Indentation of what belongs to the line above.
const INDENT: &str = "  ";

/// Writes a status for people.
pub fn render(status: &Status) -> String {
    let mut text = String::new();
    let daemon = &status.daemon;
    wrapped(
        &mut text,
        "",
        &[
            format!("farm {}", daemon.farm),
            format!("server {}", daemon.server),
            format!("auth {}", daemon.auth),
            format!("up {}", seconds(daemon.uptime_seconds)),
            format!("anycast {}", daemon.version),
            format!("pid {}{}", daemon.pid, if daemon.stopping { " (stopping)" } else { "" }),
        ],
    );
    for alarm in &status.alarms {
        wrapped(&mut text, "", &words(&format!("ALARM {alarm}")));
    }
    text.push('\n');
    row(&mut text, ["SERVICE", "STATE", "GATE", "OWNER", "QUERIES/S", "ANSWERED"]);
    for service in &status.services {
        self::service(&mut text, service);
    }
    text.push('\n');
    for interface in &status.interfaces {
        self::interface(&mut text, interface);
    }
    if let Some(ospf) = &status.ospf {
        self::ospf(&mut text, ospf);
    }
    for element in &status.pool {
        self::element(&mut text, element);
    }
    text
}

fn element(text: &mut String, element: &Element) {
    wrapped(text, "", &element.parts());
    for registration in &element.registrations {
        let mut parts = vec![format!("{} {}", registration.registrar, registration.state)];
        if let Some(renewal) = registration.renewal_seconds {
            parts.push(format!("renewed in {}", seconds(renewal)));
        }
        if let Some(keep_alive) = registration.keep_alive_seconds {
            parts.push(format!("keep-alive {} ago", seconds(keep_alive)));
        }
        wrapped(text, INDENT, &parts);
    }
}

/// A duration in its two largest units.
pub fn seconds(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.1}s");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float casts to the nearest integer there is"
    )]
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => format!("{}m {}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h {}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d {}h", whole / 86_400, whole / 3600 % 24),
    }
}

/// A count short enough for a column: exact up to seven digits.
pub fn count(count: u64) -> String {
    match count {
        0..10_000_000 => count.to_string(),
        10_000_000..10_000_000_000 => format!("{}M", count / 1_000_000),
        _ => format!("{}G", count / 1_000_000_000),
    }
}

/// VLAN identifiers as they stand on the wire.
pub fn vlan(vids: &[u16]) -> String {
    vids.iter().map(u16::to_string).collect::<Vec<_>>().join(".")
}

fn row(text: &mut String, [service, state, gate, owner, rate, answered]: [&str; 6]) {
    // Writing into a string does not fail; so everywhere below.
    let _ = writeln!(text, "{service:<20} {state:<8} {gate:<9} {owner:<16} {rate:>9} {answered:>12}");
}

fn service(text: &mut String, service: &Service) {
    let owner = match &service.owner {
        _ if service.owned_here => "here",
        Some(id) => id,
        None => "-",
    };
    let rate = if service.query_rate < 9.95 && service.query_rate > 0.0 {
        format!("{:.1}", service.query_rate)
    } else {
        format!("{:.0}", service.query_rate)
    };
    // A name too long for its column has a line of its own.
    let mut name = service.name.as_str();
    if name.len() > 20 {
        let _ = writeln!(text, "{name}");
        name = "";
    }
    let answered = count(service.solicitations_answered_total);
    row(text, [name, service.state.name(), service.gate.name(), owner, &rate, &answered]);

    let mut place = format!("{} on {}", service.address, service.interface);
    if !service.vlan.is_empty() {
        let _ = write!(place, " vlan {}", vlan(&service.vlan));
    }
    let mut parts = vec![place, service.mode.clone()];
    let reason =
        if service.state_reason.is_empty() { String::new() } else { format!(": {}", service.state_reason) };
    parts.push(format!("{} for {}{reason}", service.state.name(), seconds(service.state_seconds)));
    if !service.state_detail.is_empty() {
        parts.push(service.state_detail.clone());
    }
    if service.quiet {
        parts.push("quiet".to_owned());
    }
    match service.route {
        Some(u16::MAX) => parts.push("route of the last resort".to_owned()),
        Some(metric) => parts.push(format!("route {metric}")),
        None => {}
    }
    parts.push(format!("epoch {}", service.epoch));
    if let Some(left) = service.lease_ms_left {
        parts.push(format!("lease {left} ms"));
    }
    if let Some(load) = service.load {
        parts.push(format!("load {}.{} %", load / 10, load % 10));
    }
    if service.moves_180s > 0 {
        parts.push(format!("{} moves in 180 s", service.moves_180s));
    }
    wrapped(text, INDENT, &parts);
    if !service.able && !service.not_able_because.is_empty() {
        wrapped(text, INDENT, &words(&format!("not able: {}", service.not_able_because.join("; "))));
    }
    traffic(text, service);
    for check in &service.checks {
        self::check(text, check);
    }
    for peer in &service.peers {
        self::peer(text, peer);
    }
    for router in &service.routers {
        self::router(text, router, service.per_router);
    }
}

fn traffic(text: &mut String, service: &Service) {
    let counters = &service.counters;
    let refused = counters.refused_shut + counters.refused_stale + counters.refused_held;
    let arrived =
        counters.solicitations_multicast + counters.solicitations_unicast + counters.solicitations_dad;
    let mut parts = vec![format!("queries {}", counters.queries), format!("tcp {}", counters.tcp_syns)];
    parts.push(format!("solicitations {arrived}"));
    if refused > 0 {
        parts.push(format!("refused {refused}"));
    }
    if service.advertisements_sent_total > 0 {
        parts.push(format!("advertised {}", service.advertisements_sent_total));
    }
    for (what, count) in [
        ("not advertised", service.advertisements_failed_total),
        ("others' advertisements", counters.advertisements),
        ("malformed", counters.malformed),
        ("responses", counters.responses),
        ("fragments", counters.fragments),
    ] {
        if count > 0 {
            parts.push(format!("{what} {count}"));
        }
    }
    wrapped(text, INDENT, &parts);
}

fn check(text: &mut String, check: &Check) {
    let mut parts =
        vec![format!("check {} {} {}", check.kind, check.target, if check.up { "up" } else { "DOWN" })];
    if let Some(latency) = check.latency_ms {
        parts.push(format!("{latency:.1} ms"));
    }
    if check.age_seconds.is_none() {
        parts.push("no result yet".to_owned());
    }
    if check.failures_total > 0 {
        parts.push(format!("{} failures", check.failures_total));
    }
    if let Some(error) = &check.error {
        wrapped(text, INDENT, &parts);
        wrapped(text, "    ", &words(error));
    } else {
        wrapped(text, INDENT, &parts);
    }
}

fn peer(text: &mut String, peer: &Peer) {
    let mut parts =
        vec![format!("peer {} {}", peer.id, peer.state.name()), format!("heard {} ms ago", peer.heard_ms)];
    if let Some(load) = peer.load {
        parts.push(format!("load {}.{} %", load / 10, load % 10));
    }
    if let Some(address) = peer.address {
        parts.push(address.to_string());
    }
    wrapped(text, INDENT, &parts);
}

fn router(text: &mut String, router: &Router, per_router: bool) {
    let mut parts = vec![format!("router {}", router.address), router.mac.clone()];
    match &router.owner {
        _ if router.owned_here => parts.push("owned here".to_owned()),
        Some(owner) => parts.push(format!("owned by {owner}")),
        None if per_router => parts.push("under *".to_owned()),
        None => {}
    }
    if let (Some(by), Some(ago)) = (&router.seen_by, router.seen_seconds) {
        parts.push(format!("{by} {} ago", seconds(ago)));
    }
    wrapped(text, INDENT, &parts);
}

fn interface(text: &mut String, interface: &Interface) {
    let mut parts = vec![format!(
        "interface {} {}",
        interface.name,
        match (interface.index, interface.up) {
            (None, _) => "GONE",
            (Some(_), false) => "DOWN",
            (Some(_), true) => "up",
        }
    )];
    match interface.program {
        Some(program) => {
            let adopted = if interface.adopted { " (taken over)" } else { "" };
            parts.push(format!("xdp {} program {program}{adopted}", interface.xdp_mode));
        }
        None => parts.push("fast path NOT ATTACHED".to_owned()),
    }
    parts.push(format!("mac {}", interface.mac));
    parts.push(format!("mtu {}", interface.mtu));
    match interface.link_local {
        Some(address) => parts.push(address.to_string()),
        None => parts.push("no link-local address".to_owned()),
    }
    if interface.forwarding {
        parts.push("router".to_owned());
    }
    wrapped(text, "", &parts);
    let heartbeats = [
        format!("heartbeats sent {}", interface.heartbeats_sent_total),
        format!("heard {}", interface.heartbeats_heard_total),
    ];
    let refused = interface.heartbeats_refused.iter().filter(|(_, count)| **count > 0);
    let refused = refused.map(|(reason, count)| format!("refused {reason} {count}"));
    wrapped(text, INDENT, &heartbeats.into_iter().chain(refused).collect::<Vec<_>>());
    for (what, counts) in [
        ("heartbeats", &interface.heartbeats_authentication),
        ("advertisements", &interface.advertisements_authentication),
        ("drops", &interface.drops),
    ] {
        let counts: Vec<_> = counts
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        if !counts.is_empty() {
            wrapped(text, INDENT, &[&[what.to_owned()], counts.as_slice()].concat());
        }
    }
}

fn ospf(text: &mut String, ospf: &Ospf) {
    let mut parts = vec![format!("ospf {}", ospf.driver)];
    if let Some(router_id) = &ospf.router_id {
        let full = ospf.neighbors.iter().filter(|neighbor| neighbor.state == "Full").count();
        let refused: u64 = ospf
            .interfaces
            .iter()
            .flat_map(|interface| &interface.rejected)
            .map(|rejected| rejected.total)
            .sum();
        parts.push(format!("router id {router_id}"));
        parts.push(format!("full {full}/{} neighbours", ospf.neighbors.len()));
        parts.push(format!("{} LSAs", ospf.database_lsas));
        if refused > 0 {
            parts.push(format!("not taken {refused} (`anycast ospf interfaces`)"));
        }
    }
    wrapped(text, "", &parts);
}

/// Separates a sentence at its spaces.
fn words(sentence: &str) -> Vec<String> {
    sentence.split(' ').map(str::to_owned).collect()
}

/// Writes parts side by side, two spaces apart (words: one), and goes on in the next line, indented once more, where they
/// would run over. A part that is itself too long stands as it is.
fn wrapped(text: &mut String, indent: &str, parts: &[String]) {
    let gap = if parts.iter().any(|part| part.contains(' ')) { "  " } else { " " };
    let mut line = indent.to_owned();
    let mut empty = true;
    for part in parts {
        if !empty && line.chars().count() + gap.len() + part.chars().count() > WIDTH {
            let _ = writeln!(text, "{line}");
            line = format!("{indent}{INDENT}");
            empty = true;
        }
        if !empty {
            line.push_str(gap);
        }
        line.push_str(part);
        empty = false;
    }
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::status::tests::example;

    #[test]
    fn fits_80_columns_and_shows_what_matters() {
        let text = render(&example());
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{} columns: {line}", line.chars().count());
            assert_eq!(line, line.trim_end());
        }
        for what in [
            "farm dns-north  server 02005e0053000001",
            "ALARM gate of dns6 is held open",
            "dns                  owner    open      here                  1234      1234567",
            "2001:db8:1::53 on eth0 vlan 100.7  failover  owner for 3m 5s: contest won",
            "not able: check dns is down; link is down",
            "check dns [::1]:53 health.example. SOA DOWN  3 failures",
            "timed out after 300ms waiting for the UDP answer",
            "peer 02005e0053000002 ready  heard 41 ms ago  load 12.5 %  fe80::2",
            "router fe80::1  02:00:5e:00:53:fe  owned here",
            "owned by 02005e0053000002",
            "interface eth0 up  xdp native program 17 (taken over)  mac 02:00:5e:00:53:01",
            "  auth enforce",
            "heartbeats  bad_signature 4  verified 990",
            "advertisements  replayed 1",
            "drops  gate_shut 3  ns_checksum 1",
            "pool dns element 5f3a9c01  at [2001:db8::11]:53  registered with 1 of 2",
            "  registrar [2001:db8::1]:3863 registered  renewed in 4m 14s",
            "    keep-alive 1.3s ago",
            "  registrar [2001:db8::2]:3863 none",
        ] {
            assert!(text.contains(what), "{what:?} is not in\n{text}");
        }
        assert!(!text.contains("na_invalid"), "a reason without drops is noise");
    }

    #[test]
    fn a_stopped_world_is_shown_as_such() {
        let mut status = example();
        status.interfaces[0].index = None;
        status.interfaces[0].program = None;
        status.daemon.stopping = true;
        let text = render(&status);
        assert!(
            text.contains("(stopping)") && text.contains("interface eth0 GONE  fast path NOT ATTACHED"),
            "{text}"
        );
    }

    #[test]
    fn durations_and_counts_are_short() {
        for (value, short) in [
            (0.04, "0.0s"),
            (9.94, "9.9s"),
            (59.9, "59s"),
            (61.0, "1m 1s"),
            (7260.0, "2h 1m"),
            (90_000.0, "1d 1h"),
        ] {
            assert_eq!(seconds(value), short);
        }
        for (value, short) in [(0, "0"), (9_999_999, "9999999"), (10_000_000, "10M"), (20_000_000_000, "20G")]
        {
            assert_eq!(count(value), short);
        }
    }
}
