//! What is to be done, done.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use anycast_common::packet::ndp;
use anycast_core::{Action, Alarm, Router, ServiceId, Time};
use tracing::{debug, error, info, warn};

use crate::advertise::frame::{ArpAnnouncement, ArpForm, NeighborAdvertisement, Recipient};
use crate::advertise::heartbeat::HeartbeatError;
use crate::monitor;

use super::hooks::Hooks;
use super::link::source;
use super::{Controller, will_retry};

/// How long an alarm stands in status after it was last raised.
const ALARM_STANDS: Duration = Duration::from_secs(60);

/// Alarms kept for status.
const ALARMS: usize = 16;

/// The alarms of the last minute.
#[derive(Default)]
pub(super) struct Alarms {
    raised: VecDeque<(Time, Option<ServiceId>, String)>,
}

impl Alarms {
    /// Raises an alarm: logged and notified of if it is not standing already.
    pub(super) fn raise(&mut self, now: Time, hooks: &Hooks, service: Option<ServiceId>, text: String) {
        let standing = self.raised.iter_mut().find(|(_, other, words)| *other == service && *words == text);
        if let Some((at, ..)) = standing {
            *at = now;
            return;
        }
        error!(service = service.map(|service| service.0), "{text}");
        hooks.alarm(service, &text);
        self.raised.push_back((now, service, text));
        if self.raised.len() > ALARMS {
            self.raised.pop_front();
        }
    }

    /// Those that stand.
    pub(super) fn standing(&self, now: Time) -> impl Iterator<Item = (Option<ServiceId>, &str)> {
        self.raised
            .iter()
            .filter(move |(at, ..)| now.since(*at) < ALARM_STANDS)
            .map(|(_, service, text)| (*service, text.as_str()))
    }
}

impl Controller {
    /// Performs the actions of a pass, in their order.
    pub(super) fn perform(&mut self) {
        for action in std::mem::take(&mut self.actions) {
            self.perform_one(action);
        }
    }

    fn perform_one(&mut self, action: Action) {
        match action {
            Action::Gate { service, open_until } => {
                let index = self.services[service.index()].index;
                let link = self.config.services[service.index()].interface;
                if let Some(datapath) = &mut self.links[link].datapath {
                    datapath.set_lease(index, open_until.map_or(0, Time::as_nanos));
                }
            }
            Action::RouterGates { service, gates } => {
                let index = self.services[service.index()].index;
                let link = self.config.services[service.index()].interface;
                let gates: Vec<_> = gates
                    .iter()
                    .map(|(router, until)| (router.mac, until.map_or(0, Time::as_nanos)))
                    .collect();
                if let Some(datapath) = &mut self.links[link].datapath {
                    will_retry(datapath.set_router_gates(index, &gates), "gates of routers not stored");
                }
            }
            Action::Advertise { service, cause } => self.advertise(service, To::Link, cause),
            Action::AdvertiseTo { service, router, cause } => {
                debug!(service = self.name(service), %router, %cause, "advertising to one router");
                self.advertise(service, To::Router(router), cause);
            }
            Action::Answer { service, address, mac } => {
                self.advertise(service, To::Solicitor { address, mac }, "answer");
            }
            Action::Heartbeat { link, datagram } => self.send_heartbeat(usize::from(link.0), &datagram),
            Action::StateChanged { service, from, to, reason } => {
                info!(service = self.name(service), %from, %to, %reason, "state");
                self.hooks.changed(service, from, to, &reason);
                let run = &mut self.services[service.index()];
                run.state = to;
                run.reason = reason.to_string();
            }
            Action::Quiet { service, quiet, reason } => {
                info!(service = self.name(service), quiet, %reason, "unsolicited advertisements");
            }
            Action::StopService { service } => {
                info!(service = self.name(service), "stands by: the service is stopped");
                self.hooks.stop(service);
            }
            Action::StartService { service } => {
                info!(service = self.name(service), "the service is started");
                self.hooks.start(service);
            }
            Action::Route { service, route } => self.advertise_route(service, route),
            Action::PersistEpoch { service, epoch } => {
                let name = self.config.services[service.index()].name.clone();
                self.persister.change(&name, |state| state.epoch = epoch);
            }
            // Whose word it is, the core does not know.
            Action::PersistDrained { service, .. } => self.keep_drained(service),
            Action::Alarm(alarm) => {
                let (service, text) = (service_of(&alarm), alarm.to_string());
                self.alarms.raise(monitor::now(), &self.hooks, service, text);
            }
            Action::StopDone { keep } => self.done = Some(keep),
        }
    }

    /// Sends one advertisement for a service.
    fn advertise(&mut self, service: ServiceId, to: To, cause: impl std::fmt::Display) {
        let config = &self.config.services[service.index()];
        let link = &mut self.links[config.interface];
        let Some(interface) = &link.interface else { return };
        let Some(mac) = interface.mac else { return };
        let vlan = anycast_common::abi::vlan_key(&config.vlan);
        let router = interface.forwarding6;
        let solicited = matches!(to, To::Solicitor { .. });
        let flags = if router { ndp::ROUTER } else { 0 }
            | if solicited { ndp::SOLICITED } else { 0 }
            | if config.override_flag { ndp::OVERRIDE } else { 0 };
        let options = self.machine.advertisement_option(service, mac, flags).unwrap_or_default();
        let frames = match config.address {
            IpAddr::V6(target) => vec![
                NeighborAdvertisement {
                    mac,
                    source: source(config.source, interface).unwrap_or(target),
                    target,
                    router,
                    override_entry: config.override_flag,
                    solicited,
                    recipient: to.recipient(|address| address),
                    vlan,
                    options: &options,
                }
                .to_vec(),
            ],
            // Both forms: RFC 5227 asks for the request, and some hosts update only on a reply.
            IpAddr::V4(address) => [ArpForm::Request, ArpForm::Reply]
                .map(|form| {
                    let recipient = to.recipient(|_| address);
                    ArpAnnouncement { mac, address, form, recipient, vlan }.to_vec()
                })
                .to_vec(),
        };
        let run = &mut self.services[service.index()];
        for frame in frames {
            match link.sender.send(&frame) {
                Ok(()) => {
                    debug!(service = config.name, %cause, "advertised");
                    run.advertisements_sent += 1;
                }
                Err(error) => {
                    warn!(%error, service = config.name, %cause, "not advertised");
                    run.advertisements_failed += 1;
                }
            }
        }
    }

    fn send_heartbeat(&mut self, position: usize, datagram: &[u8]) {
        let Some(link) = self.links.get_mut(position) else { return };
        match link.heartbeat.send(datagram) {
            Ok(()) => {
                if std::mem::take(&mut link.mute) {
                    info!(interface = link.name, "heartbeats are sent again");
                }
            }
            // Counted by the socket; said once, for there are twenty a second.
            Err(error) => {
                if !std::mem::replace(&mut link.mute, true) {
                    match error {
                        HeartbeatError::NoSource { .. } => info!(%error, "heartbeats wait"),
                        _ => warn!(%error, "heartbeats are not sent"),
                    }
                }
            }
        }
    }

    /// A service's name.
    pub(super) fn name(&self, service: ServiceId) -> &str {
        &self.config.services[service.index()].name
    }
}

/// To whom an advertisement goes.
#[derive(Clone, Copy)]
enum To {
    /// All nodes.
    Link,
    /// The owner of one router's entry tells it so.
    Router(Router),
    /// Who solicited gets the answer.
    Solicitor { address: Ipv6Addr, mac: [u8; 6] },
}

impl To {
    /// In a frame's words; `address` makes a neighbour's protocol address.
    fn recipient<Address>(self, address: impl Fn(Ipv6Addr) -> Address) -> Recipient<Address> {
        match self {
            Self::Link => Recipient::Link,
            Self::Router(Router { address: of, mac }) | Self::Solicitor { address: of, mac } => {
                Recipient::Neighbor { address: address(of), mac }
            }
        }
    }
}

/// The service that an alarm is about.
const fn service_of(alarm: &Alarm) -> Option<ServiceId> {
    match alarm {
        Alarm::Rogue { service, .. }
        | Alarm::EpochJump { service, .. }
        | Alarm::HeldOpen { service }
        | Alarm::SecondFarm { service, .. }
        | Alarm::LastServerDrained { service } => Some(*service),
        Alarm::Unauthentic { .. }
        | Alarm::ForeignFarm { .. }
        | Alarm::BadHeartbeat { .. }
        | Alarm::DuplicateServer { .. } => None,
    }
}
