//! `anycast load`: the fast path alone, in the foreground.
//!
//! No decisions are made here: the gates are open while this runs, under a lease that it renews, and the kernel tells the
//! rest. Addresses are not touched.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::net::{IpAddr, Ipv6Addr};
use std::process::ExitCode;
use std::time::Duration;

use anycast_common::abi::{self, PORTS_MAX, SERVICES_MAX};
use anycast_user::advertise::groups::{Groups, Membership};
use anycast_user::config::{DEFAULT_LEASE, XdpMode, unfit_address};
use anycast_user::datapath::{self, Datapath, Mode, Options, Service};
use anycast_user::host::address::Addresses;
use anycast_user::monitor;
use anycast_user::monitor::link::{self, Interface, Watched};
use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use super::{Usage, stats};
use crate::cli::Load;
use crate::output;

/// How often the lease is renewed.
const RENEWAL: Duration = Duration::from_millis(100);
/// How often counters are printed.
const PRINT: Duration = Duration::from_secs(1);

/// Attaches, answers and prints until it is told to end, then detaches.
pub fn load(options: Load) -> anyhow::Result<ExitCode> {
    fits(&options)?;
    super::runtime()?.block_on(foreground(options))
}

/// Refuses what the configuration of the daemon would refuse.
fn fits(options: &Load) -> Result<(), Usage> {
    let mut seen = BTreeSet::new();
    for address in &options.address {
        if let Some(why) = unfit_address(*address) {
            return Err(Usage(format!(
                "{address} is {why}: a service address is a global or unique local unicast address"
            )));
        }
        if !seen.insert(address) {
            return Err(Usage(format!("{address} is given twice")));
        }
    }
    if options.address.len() > SERVICES_MAX {
        return Err(Usage(format!(
            "{} addresses: an interface carries at most {SERVICES_MAX}",
            options.address.len()
        )));
    }
    if options.port.len() > PORTS_MAX {
        return Err(Usage(format!("{} ports: a service has at most {PORTS_MAX}", options.port.len())));
    }
    if options.vlan.len() > 2 {
        return Err(Usage(format!("{} VLAN tags: at most two", options.vlan.len())));
    }
    Ok(())
}

async fn foreground(options: Load) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let (reports, mut links) = mpsc::channel(16);
    let watched = Watched {
        interfaces: [options.interface.clone()].into(),
        addresses: options.address.iter().copied().collect(),
    };
    let _monitor = link::spawn(watched, reports)?;
    let first = links.recv().await.context("the link monitor ended")?;
    let Some(mut interface) = snapshot(&first) else {
        return Err(datapath::Error::NoInterface { interface: options.interface }.into());
    };
    let addresses = Addresses::open()?;
    for address in &options.address {
        addresses.check(*address, &[&options.interface]).await?;
        if !first.addresses.iter().any(|seen| seen.address == *address) {
            warn!(%address, "not an address of this host: solicitations are answered, queries are not served; add it with `ip addr add {address} dev lo nodad preferred_lft 0`");
        }
    }
    if let Some(pinned) = datapath::inspect(&options.bpffs, &options.interface)? {
        anyhow::bail!(
            "{} has a fast path already (program {}): stop its daemon, or remove what a dead one left with `anycast detach {}`",
            options.interface,
            pinned.program_id,
            options.interface
        );
    }

    let mode = match options.mode {
        XdpMode::Native => Mode::Native,
        XdpMode::Generic => Mode::Generic,
    };
    let mut path = Datapath::open(&Options {
        interface: options.interface.clone(),
        mode,
        bpffs: options.bpffs.clone(),
        log: options.bpf_log,
        extra: false,
    })?;
    let mut groups = Groups::new();
    let result = serve(&options, &mut path, &mut groups, &mut interface, &mut links, async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
    .await;
    // Whatever happened: nothing stays behind.
    groups.clear();
    path.detach().context("cannot detach the fast path")?;
    result?;
    output::print(&format!("detached from {}\n", options.interface))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(
    options: &Load,
    path: &mut Datapath,
    groups: &mut Groups,
    interface: &mut Interface,
    links: &mut mpsc::Receiver<link::Report>,
    end: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let mut indexes = set_services(options, path, interface)?;
    let vlan = abi::vlan_key(&options.vlan);
    for address in &options.address {
        if let IpAddr::V6(address) = address
            && groups.join(&options.interface, vlan, *address)? == Membership::FilterOnly
        {
            warn!(%address, "there is no VLAN device for it: the NIC's filter is open, but no MLD report is sent; a snooping switch may keep solicitations away");
        }
    }
    renew(path, &indexes);
    output::print(&format!(
        "attached to {} ({}, program {}), gates open under a lease of {} ms; Ctrl-C detaches\n",
        options.interface,
        path.mode().name(),
        path.program_id(),
        DEFAULT_LEASE.as_millis()
    ))?;

    let mut renewal = interval(RENEWAL);
    renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut print = tokio::time::interval_at(Instant::now() + PRINT, PRINT);
    print.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut display = Display { terminal: std::io::stdout().is_terminal(), ..Display::default() };
    let mut peers = BTreeMap::new();
    let mut events = Vec::new();
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => return Ok(()),
            _ = renewal.tick() => renew(path, &indexes),
            _ = print.tick() => display.show(options, path, &indexes)?,
            () = path.events(&mut events) => {}
            report = links.recv() => {
                let report = report.context("the link monitor ended")?;
                let Some(now) = snapshot(&report) else {
                    anyhow::bail!("interface {} is gone, and the fast path with it", options.interface);
                };
                if now.index != interface.index {
                    anyhow::bail!("interface {} was made anew, and the fast path is gone", options.interface);
                }
                if now != *interface {
                    *interface = now;
                    indexes = set_services(options, path, interface)?;
                    groups.refresh(&options.interface)?;
                }
            }
        }
        for event in events.drain(..) {
            if event.kind == abi::EVENT_PEER_ADVERTISEMENT
                && peers.insert((event.index, event.mac), ()).is_none()
            {
                let address = indexes.iter().zip(&options.address).find(|(index, _)| **index == event.index);
                let mac = stats::mac(&event.mac);
                warn!(address = ?address.map(|(_, address)| address), %mac, "another server advertises this address");
            }
        }
    }
}

fn snapshot(report: &link::Report) -> Option<Interface> {
    report.interfaces.first().and_then(|snapshot| snapshot.interface.clone())
}

/// Puts the services into the maps as the interface is now.
fn set_services(options: &Load, path: &mut Datapath, interface: &Interface) -> anyhow::Result<Vec<u32>> {
    let Some(mac) = interface.mac else {
        anyhow::bail!(
            "{} has no Ethernet address: only Ethernet interfaces have neighbours",
            options.interface
        );
    };
    let source = interface.link_local();
    if source.is_none() && options.address.iter().any(IpAddr::is_ipv6) {
        warn!(
            interface = options.interface,
            "no link-local address: answers come from the service address itself"
        );
    }
    let services: Vec<_> = options
        .address
        .iter()
        .map(|address| Service {
            vlan: options.vlan.clone(),
            ports: options.port.clone(),
            router: interface.forwarding6,
            source: source.filter(|_: &Ipv6Addr| address.is_ipv6()),
            ..Service::new(*address)
        })
        .collect();
    Ok(path.set_services(mac, &services)?)
}

fn renew(path: &mut Datapath, indexes: &[u32]) {
    let until = monitor::now() + DEFAULT_LEASE;
    for index in indexes {
        path.set_lease(*index, until.as_nanos());
    }
}

/// What is printed each second: on a terminal one table that is written over, else lines.
#[derive(Default)]
struct Display {
    terminal: bool,
    lines: usize,
    before: Vec<abi::Counters>,
}

impl Display {
    fn show(&mut self, options: &Load, path: &Datapath, indexes: &[u32]) -> anyhow::Result<()> {
        let now = indexes.iter().map(|index| path.counters(*index)).collect::<Result<Vec<_>, _>>()?;
        let zero = abi::Counters::default();
        let rows = options.address.iter().zip(indexes).zip(&now).enumerate().map(
            |(n, ((address, index), counters))| {
                let gate = stats::gate(&path.gate(*index));
                (*address, gate, *counters, *self.before.get(n).unwrap_or(&zero))
            },
        );
        let mut text = String::new();
        if self.terminal && self.lines > 0 {
            text = format!("\x1b[{}A\x1b[J", self.lines);
        }
        let table = if self.terminal { stats::live_table(rows) } else { stats::live_lines(rows) };
        self.lines = table.lines().count();
        text.push_str(&table);
        self.before = now;
        output::print(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(addresses: &[&str]) -> Load {
        Load {
            interface: "eth0".into(),
            address: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            mode: XdpMode::Native,
            port: vec![53],
            vlan: Vec::new(),
            bpffs: "/sys/fs/bpf/anycast".into(),
            bpf_log: false,
        }
    }

    #[test]
    fn what_the_daemon_would_refuse_is_refused() {
        assert!(fits(&options(&["2001:db8::53", "192.0.2.53"])).is_ok());
        for address in ["ff02::1", "::1", "::", "fe80::1", "127.0.0.1", "224.0.0.1", "0.0.0.0"] {
            assert!(fits(&options(&[address])).is_err(), "{address}");
        }
        assert!(
            fits(&options(&["2001:db8::53", "2001:db8:0::53"]))
                .unwrap_err()
                .to_string()
                .contains("given twice")
        );
        let many: Vec<String> = (0..65).map(|n| format!("2001:db8::{n:x}:1")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(fits(&options(&many[..64])).is_ok());
        assert!(fits(&options(&many)).is_err());
        assert!(fits(&Load { port: vec![1, 2, 3, 4, 5], ..options(&["2001:db8::53"]) }).is_err());
        assert!(fits(&Load { vlan: vec![1, 2, 3], ..options(&["2001:db8::53"]) }).is_err());
    }
}
