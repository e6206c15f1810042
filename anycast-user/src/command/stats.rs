//! `anycast stats`: the fast path's counters, read from the pinned maps.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use anycast_common::abi::{self, Drop};
use anycast_user::control::Hold;
use anycast_user::datapath::{self, Pinned, PinnedService};
use anycast_user::monitor;
use anycast_user::telemetry::status::{Counters, Gate};
use anycast_user::telemetry::table;
use anyhow::Context;
use serde::Serialize;

use crate::output;

/// An interface with a pinned fast path, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Interface {
    interface: String,
    program: u32,
    /// `null`: the interface is gone, the pins are left.
    xdp_mode: Option<&'static str>,
    services: Vec<Service>,
    drops: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Serialize)]
struct Service {
    index: u32,
    address: IpAddr,
    vlan: Vec<u16>,
    ports: Vec<u16>,
    gate: Gate,
    hold: Hold,
    counters: Counters,
}

/// Prints the counters of one interface or of all that have pins.
pub fn stats(bpffs: &Path, interface: Option<String>, json: bool) -> anyhow::Result<ExitCode> {
    let names = match interface {
        Some(name) => vec![name],
        None => pinned_interfaces(bpffs)?,
    };
    let mut interfaces = Vec::new();
    for name in names {
        match datapath::inspect(bpffs, &name)? {
            Some(pinned) => interfaces.push(Interface::new(name, pinned)),
            None => anyhow::bail!(
                "no fast path of {name} is pinned under {}; `ls {}` shows which are",
                bpffs.display(),
                bpffs.display()
            ),
        }
    }
    if json {
        output::print_json(&serde_json::json!({ "interfaces": interfaces }))?;
    } else if interfaces.is_empty() {
        output::print(&format!("no fast path is pinned under {}\n", bpffs.display()))?;
    } else {
        output::print(&interfaces.iter().map(Interface::to_text).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn pinned_interfaces(bpffs: &Path) -> anyhow::Result<Vec<String>> {
    let entries = match fs::read_dir(bpffs) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot list {}", bpffs.display())),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", bpffs.display()))?;
        if entry.path().join("link").exists() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

impl Interface {
    fn new(interface: String, pinned: Pinned) -> Self {
        Self {
            interface,
            program: pinned.program_id,
            xdp_mode: pinned.mode.map(datapath::Mode::name),
            services: pinned.services.into_iter().map(Service::new).collect(),
            drops: Drop::ALL.iter().map(|reason| (reason.name(), pinned.drops[*reason as usize])).collect(),
        }
    }

    fn to_text(&self) -> String {
        let mode = self.xdp_mode.unwrap_or("NOT ATTACHED");
        let mut text = format!("{}: xdp {mode}, program {}\n", self.interface, self.program);
        // Writing into a string does not fail; so everywhere below.
        for service in &self.services {
            let vlan = if service.vlan.is_empty() {
                String::new()
            } else {
                format!(" vlan {}", table::vlan(&service.vlan))
            };
            let ports = service.ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
            let _ =
                writeln!(text, "  {}{vlan}, ports {ports}, gate {}", service.address, service.gate.name());
            for (name, count) in service.counts() {
                let _ = writeln!(text, "    {name:<24} {count:>20}");
            }
        }
        let drops: Vec<_> = self.drops.iter().filter(|(_, count)| **count > 0).collect();
        if !drops.is_empty() {
            let _ = writeln!(text, "  dropped frames and lost events");
            for (reason, count) in drops {
                let _ = writeln!(text, "    {reason:<24} {count:>20}");
            }
        }
        text
    }
}

impl Service {
    fn new(service: PinnedService) -> Self {
        Self {
            index: service.index,
            address: service.address,
            vlan: service.vlan,
            ports: service.ports,
            gate: gate(&service.gate),
            hold: Hold::from_abi(service.gate.hold),
            counters: service.counters.into(),
        }
    }

    /// All counters with the names that the maps and JSON give them.
    fn counts(&self) -> [(&'static str, u64); 14] {
        let counters = &self.counters;
        [
            ("solicitations_multicast", counters.solicitations_multicast),
            ("solicitations_unicast", counters.solicitations_unicast),
            ("solicitations_dad", counters.solicitations_dad),
            ("answered", counters.answered),
            ("refused_shut", counters.refused_shut),
            ("refused_stale", counters.refused_stale),
            ("refused_held", counters.refused_held),
            ("advertisements", counters.advertisements),
            ("queries", counters.queries),
            ("responses", counters.responses),
            ("tcp_syns", counters.tcp_syns),
            ("bytes", counters.bytes),
            ("malformed", counters.malformed),
            ("fragments", counters.fragments),
        ]
    }
}

/// What the fast path makes of a gate now.
pub fn gate(gate: &abi::Gate) -> Gate {
    Gate::of(gate, monitor::now().as_nanos())
}

/// A MAC address as `ip link` writes it.
pub fn mac(mac: &[u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

/// A service in `anycast load`: address, gate, counters now and a second ago.
pub type Row = (IpAddr, Gate, abi::Counters, abi::Counters);

fn solicitations(counters: &abi::Counters) -> u64 {
    counters.solicitations_multicast + counters.solicitations_unicast + counters.solicitations_dad
}

/// A table of 80 columns; an address that is too long for its column has a line of its own.
pub fn live_table(rows: impl Iterator<Item = Row>) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:<24} {:<9} {:>9} {:>7} {:>9} {:>9} {:>7}",
        "ADDRESS", "GATE", "ANSWERED", "/S", "QUERIES", "/S", "TCP"
    );
    for (address, gate, now, before) in rows {
        let mut address = address.to_string();
        if address.len() > 24 {
            let _ = writeln!(text, "{address}");
            address.clear();
        }
        let _ = writeln!(
            text,
            "{address:<24} {:<9} {:>9} {:>7} {:>9} {:>9} {:>7}",
            gate.name(),
            table::count(now.answered),
            table::count(now.answered.saturating_sub(before.answered)),
            table::count(now.queries),
            table::count(now.queries.saturating_sub(before.queries)),
            table::count(now.tcp_syns),
        );
    }
    text
}

/// One line a service, for a log or a pipe.
pub fn live_lines(rows: impl Iterator<Item = Row>) -> String {
    let mut text = String::new();
    for (address, gate, now, before) in rows {
        let _ = writeln!(
            text,
            "{address} gate {} solicitations {} answered {} (+{}) queries {} (+{}) tcp {}",
            gate.name(),
            solicitations(&now),
            now.answered,
            now.answered.saturating_sub(before.answered),
            now.queries,
            now.queries.saturating_sub(before.queries),
            now.tcp_syns,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let before = abi::Counters { answered: 1_000_000, queries: 5_000_000, ..abi::Counters::default() };
        let now = abi::Counters {
            solicitations_multicast: 1_999_999,
            answered: 1_999_999,
            queries: 9_999_999,
            tcp_syns: 7,
            ..before
        };
        ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap(), Gate::HeldShut, now, before)
    }

    #[test]
    fn the_live_table_fits_80_columns() {
        let text =
            live_table([row(), ("2001:db8::53".parse().unwrap(), Gate::Open, row().2, row().3)].into_iter());
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        let last: Vec<_> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(last, ["2001:db8::53", "open", "1999999", "999999", "9999999", "4999999", "7"]);
    }

    #[test]
    fn a_live_line_says_it_all() {
        let text = live_lines([row()].into_iter());
        assert!(
            text.contains("gate held shut solicitations 1999999 answered 1999999 (+999999) queries"),
            "{text}"
        );
    }

    #[test]
    fn counters_have_the_names_of_the_map() {
        let service = PinnedService {
            index: 0,
            address: "2001:db8::53".parse().unwrap(),
            vlan: vec![7],
            ports: vec![53],
            gate: abi::Gate { open_until_ns: 0, hold: abi::HOLD_OPEN, pad: 0 },
            counters: row().2,
        };
        let pinned = Pinned {
            program_id: 3,
            mode: Some(datapath::Mode::Native),
            services: vec![service],
            drops: [0; abi::DROPS],
        };
        let mut interface = Interface::new("eth0".into(), pinned);
        interface.drops.insert("no_room", 2);
        let json = serde_json::to_value(&interface).unwrap();
        for (name, count) in interface.services[0].counts() {
            assert_eq!(json["services"][0]["counters"][name], count, "{name}");
        }
        assert_eq!(json["services"][0]["counters"].as_object().unwrap().len(), 14);
        assert_eq!(json["services"][0]["hold"], "open");
        let text = interface.to_text();
        assert!(
            text.starts_with(
                "eth0: xdp native, program 3\n  2001:db8::53 vlan 7, ports 53, gate held open\n"
            ),
            "{text}"
        );
        assert!(text.contains("no_room") && !text.contains("ns_checksum"), "{text}");
    }
}
