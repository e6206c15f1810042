//! What was seen, as events for the core.

use std::net::IpAddr;
use std::time::Duration;

use anycast_common::abi;
use anycast_core::{Event, Hold, Router, Sighting, Solicitation};
use tracing::{debug, info, warn};

use crate::control;
use crate::monitor::{self, check, link as rtnetlink, process, router};

use super::link::address_of;
use super::start::{link_id, service_id};
use super::{Controller, will_retry};

/// How often the routing protocol is told the loads.
const LOADS_TOLD: Duration = Duration::from_secs(1);

/// How long a removed service address is left missing before it is put back: whoever removed it to put it elsewhere has had
/// his time, and a start-up script that flushes addresses is over.
const ADDRESS_REPAIR: Duration = Duration::from_secs(1);

impl Controller {
    /// A check has run.
    pub(super) fn check_reported(&mut self, report: check::Report) {
        let Some(run) = self.checks.get_mut(report.id.0 as usize) else { return };
        run.at = Some(report.at);
        let (ok, latency) = match report.outcome {
            Ok(latency) => {
                run.successes += 1;
                run.latency = Some(latency);
                run.error = None;
                (true, latency)
            }
            Err(error) => {
                run.failures += 1;
                run.error = Some(error.to_string());
                (false, Duration::ZERO)
            }
        };
        if run.good.replace(ok) != Some(ok) {
            match &run.error {
                None => info!(check = run.kind, target = run.target, ?latency, "check succeeded"),
                Some(error) => warn!(check = run.kind, target = run.target, error, "check failed"),
            }
        }
        for (service, check) in run.services.clone() {
            self.handle(Event::Check { service, check, ok, latency });
        }
    }

    /// A watched process was found or has ended.
    pub(super) fn process_reported(&mut self, report: &process::Report) {
        let Some(run) = self.checks.get_mut(report.id.0 as usize) else { return };
        run.at = Some(report.at);
        let alive = match &report.state {
            process::State::Running { pid } => {
                info!(pid, target = run.target, "service process lives");
                run.successes += 1;
                run.error = None;
                true
            }
            process::State::Exited { pid } => {
                warn!(pid, target = run.target, "service process has ended");
                run.failures += 1;
                run.error = Some(format!("process {pid} has ended"));
                false
            }
            process::State::Absent { why } => {
                warn!(%why, "service process not found");
                run.error = Some(why.to_string());
                false
            }
        };
        run.good = Some(alive);
        for (service, _) in run.services.clone() {
            self.handle(Event::Process { service, alive });
        }
    }

    /// The hook that starts a service's process has ended: what came of it, the checks say, at once.
    pub(super) fn service_started(&mut self, service: anycast_core::ServiceId) {
        self.handle(Event::Started { service });
        for run in &self.checks {
            if run.services.iter().any(|(of, _)| *of == service) {
                run.run_now();
            }
        }
    }

    /// Interfaces or addresses have changed.
    pub(super) async fn link_reported(&mut self, report: rtnetlink::Report) {
        for position in 0..self.links.len() {
            let snapshot =
                report.interfaces.iter().find(|snapshot| snapshot.name == self.links[position].name);
            self.interface_reported(position, snapshot.and_then(|snapshot| snapshot.interface.clone()));
        }
        self.seen = report.addresses;
        self.look_for_addresses().await;
    }

    /// A router was seen: it is one of all untagged services of the interface.
    pub(super) fn router_reported(&mut self, report: &router::Report) {
        let Some(link) = self.links.iter().find(|link| link.name == report.interface) else { return };
        for service in link.services.clone() {
            if self.config.services[service.index()].vlan.is_empty() {
                self.handle(Event::Router { service, router: report.router, by: report.by });
            }
        }
    }

    fn interface_reported(&mut self, position: usize, now: Option<rtnetlink::Interface>) {
        let link = &mut self.links[position];
        let before = link.interface.take();
        let name = link.name.clone();
        let Some(now) = now else {
            if before.is_some() {
                warn!(interface = name, "interface is gone");
            }
            link.gone();
            self.tell_up(position);
            return;
        };
        let other = before.as_ref().is_none_or(|before| before.index != now.index);
        if other && before.is_some() {
            // Gone and back between two pictures: program, sockets and memberships belonged to the other one.
            link.gone();
        }
        let changed = before.as_ref().is_none_or(|before| {
            before.mac != now.mac
                || before.forwarding6 != now.forwarding6
                || before.link_local() != now.link_local()
        });
        let mac = now.mac;
        let mac_changed = before.as_ref().is_none_or(|before| before.mac != mac);
        link.interface = Some(now);
        if other {
            info!(interface = name, "interface is back");
            link.reattach();
        }
        if (changed || other)
            && let Some(indexes) =
                will_retry(link.configure(&self.config), "fast path not told of the interface's change")
        {
            for (service, index) in link.services.clone().into_iter().zip(indexes) {
                self.services[service.index()].index = index;
            }
        }
        if mac_changed && let Some(mac) = mac {
            self.handle(Event::Mac { link: link_id(position), mac });
        }
        self.settle_host(position);
        self.tell_up(position);
    }

    /// Memberships and sysctls of an interface, as they should be.
    fn settle_host(&mut self, position: usize) {
        let name = &self.links[position].name;
        if let Err(error) = self.groups.refresh(name) {
            warn!(%error, "solicited-node group not joined; trying again when the interface changes");
        }
        let v4 =
            self.links[position].services.iter().any(|id| self.config.services[id.index()].address.is_ipv4());
        if v4 && let Ok(mut state) = self.persister.state().try_lock() {
            will_retry(self.sysctls.set_arp(&mut state, name), "ARP sysctls not set");
        }
    }

    /// Tells the core whether frames can pass on a link, if that has changed.
    fn tell_up(&mut self, position: usize) {
        let link = &mut self.links[position];
        let Some(up) = link.up(monitor::now()) else { return };
        if link.told_up != Some(up) {
            link.told_up = Some(up);
            info!(interface = link.name, up, "link");
            self.handle(Event::Link { link: link_id(position), up });
        }
    }

    /// Where is each service address? It must be local, and not on a link that carries services.
    async fn look_for_addresses(&mut self) {
        let now = monitor::now();
        let mut missing = Vec::new();
        for (number, service) in self.config.services.iter().enumerate() {
            let places: Vec<_> = self.seen.iter().filter(|seen| seen.address == service.address).collect();
            let on_link =
                places.iter().find(|seen| self.links.iter().any(|link| link.name == seen.interface));
            let present = on_link.is_none() && places.iter().any(|seen| seen.flags.usable());
            if let Some(seen) = on_link {
                let text = format!(
                    "{} was put on {}, where the kernel answers for it: `ip address del {}/{} dev {}`",
                    service.address, seen.interface, service.address, seen.prefix, seen.interface
                );
                self.alarms.raise(now, &self.hooks, Some(service_id(number)), text);
            }
            let run = &mut self.services[number];
            if places.is_empty() {
                if run.address_missing_since.is_none() {
                    warn!(service = service.name, address = %service.address, "service address was removed");
                    run.address_missing_since = Some(now);
                }
                missing.push(number);
            } else {
                run.address_missing_since = None;
            }
            self.machine.handle(
                now,
                Event::Address { service: service_id(number), present },
                &mut self.actions,
            );
        }
        for number in missing {
            self.put_back(number).await;
        }
    }

    /// Puts a removed service address back.
    async fn put_back(&mut self, number: usize) {
        let now = monitor::now();
        let run = &mut self.services[number];
        if run.address_missing_since.is_none_or(|since| now.since(since) < ADDRESS_REPAIR) {
            return;
        }
        // The next attempt is a second away, whatever comes of this one.
        run.address_missing_since = Some(now);
        let names: Vec<&str> = self.links.iter().map(|link| link.name.as_str()).collect();
        let address = self.config.services[number].address;
        // The record stands since the start, so that this does not wait for the disk; a write under way does not matter now.
        let state = self.persister.state();
        let Ok(mut state) = state.try_lock() else { return };
        if will_retry(
            self.addresses.add(&mut state, address, &names).await,
            "service address not put back; trying again",
        )
        .is_some()
        {
            info!(%address, "service address put back on lo");
        }
    }

    /// Reads what no event tells: counters, the operator's words; and tries again what failed.
    pub(super) async fn poll(&mut self) {
        let now = monitor::now();
        for number in 0..self.services.len() {
            self.read_service(number, now);
        }
        self.read_sockets(now);
        if now.since(self.loads_told) >= LOADS_TOLD {
            self.loads_told = now;
            self.tell_loads();
            self.watch_pools();
        }
        for position in 0..self.links.len() {
            if self.links[position].interface.is_some() && self.links[position].datapath.is_none() {
                self.try_again(position);
            }
            self.tell_up(position);
        }
        if self.services.iter().any(|run| run.address_missing_since.is_some()) {
            self.look_for_addresses().await;
        }
        let failing = self.persister.failing();
        self.persister.advance().await;
        if !failing && let Some(text) = self.state_alarm() {
            self.hooks.alarm(None, &text);
        }
    }

    /// Attaches to an interface that is there but could not be attached to.
    fn try_again(&mut self, position: usize) {
        let link = &mut self.links[position];
        let now = monitor::now();
        if !link.may_try_again(now) {
            return;
        }
        link.reattach();
        if let Some(indexes) = will_retry(link.configure(&self.config), "fast path not told its services") {
            for (service, index) in link.services.clone().into_iter().zip(indexes) {
                self.services[service.index()].index = index;
            }
        }
    }

    /// What the sockets of services with a `[service.load]` have dropped: only there does it count.
    fn read_sockets(&mut self, now: anycast_core::Time) {
        if now.since(self.sockets_read) < super::SOCKETS_POLL {
            return;
        }
        self.sockets_read = now;
        let Some(mut sockets) = self.sockets.take() else { return };
        sockets.forget();
        for number in 0..self.services.len() {
            let service = &self.config.services[number];
            if service.load.is_none() {
                continue;
            }
            match sockets.drops(service.address, &service.ports) {
                Ok(total) => {
                    self.services[number].socket_drops = total;
                    self.handle(Event::Drops { service: service_id(number), total });
                }
                Err(error) => {
                    warn!(%error, "drops of the services' sockets do not count as load");
                    return;
                }
            }
        }
        self.sockets = Some(sockets);
    }

    pub(super) fn read_service(&mut self, number: usize, now: anycast_core::Time) {
        let service = service_id(number);
        let run = &mut self.services[number];
        let Some(datapath) = &self.links[self.config.services[number].interface].datapath else { return };
        let hold = match control::Hold::from_abi(datapath.gate(run.index).hold) {
            control::Hold::Automatic => Hold::Automatic,
            control::Hold::Shut => Hold::Shut,
            control::Hold::Open => Hold::Open,
        };
        let hold_changed = run.hold != hold;
        run.hold = hold;
        if let Some(counters) = will_retry(datapath.counters(run.index), "counters not read") {
            run.counters = counters;
            run.rate.read(now, counters.queries + counters.tcp_syns);
            let queries = counters.queries + counters.tcp_syns;
            let solicitations = counters.solicitations_multicast + counters.solicitations_unicast;
            self.handle(Event::Counters { service, queries, solicitations });
        }
        if hold_changed {
            info!(
                service = self.config.services[number].name,
                ?hold,
                "the operator's word over the gate has changed"
            );
            self.handle(Event::Hold { service, hold });
        }
    }

    /// What the fast path and the peers have sent.
    pub(super) fn links_readable(&mut self) {
        for position in 0..self.links.len() {
            for event in std::mem::take(&mut self.links[position].events) {
                self.fast_path_reported(position, &event);
            }
            for (source, datagram) in std::mem::take(&mut self.links[position].datagrams) {
                let source = IpAddr::V6(source);
                self.handle(Event::Heartbeat { link: link_id(position), source, datagram });
            }
        }
    }

    fn fast_path_reported(&mut self, position: usize, event: &abi::Event) {
        let service = self.links[position]
            .services
            .iter()
            .copied()
            .find(|service| self.services[service.index()].index == event.index);
        let Some(service) = service else { return };
        debug!(?service, kind = event.kind, from = %address_of(event.address), "fast path");
        let solicitor = match address_of(event.address) {
            IpAddr::V6(solicitor) if event.kind != abi::EVENT_PEER_ADVERTISEMENT => Some(solicitor),
            _ => None,
        };
        // A router solicits from its link-local address for what it forwards; a host on the link from the address it sends from.
        if let Some(router) = solicitor.and_then(|solicitor| Router::new(solicitor, event.mac)) {
            self.handle(Event::Router { service, router, by: Sighting::Solicitation });
        }
        let kind = match event.kind {
            abi::EVENT_SOLICITED_DELAYED => {
                if let Some(address) = solicitor {
                    self.handle(Event::Delayed { service, address, mac: event.mac });
                }
                return;
            }
            abi::EVENT_SOLICITED_MULTICAST => Solicitation::Multicast,
            abi::EVENT_SOLICITED_UNICAST => Solicitation::Unicast,
            abi::EVENT_SOLICITED_DAD => Solicitation::DuplicateAddressDetection,
            abi::EVENT_PEER_ADVERTISEMENT => {
                let mac = if event.announced == [0; 6] { event.mac } else { event.announced };
                let v4 = self.config.services[service.index()].address.is_ipv4();
                // The O flag as it stands in the first byte of the flags (RFC 4861 4.4); ARP has none and always overrides.
                let override_flag = v4 || event.flags & 0x20 != 0;
                let flags = event.flags as u8;
                let option = event.option().to_vec();
                return self.handle(Event::PeerAdvertisement { service, mac, override_flag, flags, option });
            }
            _ => return,
        };
        self.handle(Event::Solicited { service, kind });
    }
}
