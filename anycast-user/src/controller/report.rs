//! The picture for `anycast status` and metrics.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anycast_common::abi::Drop as DropReason;
use anycast_core::auth::Verdicts;
use anycast_core::health::CheckState;
use anycast_core::status::{Owner, PeerStatus, RouterStatus, ServiceStatus};
use anycast_core::{Hold, ServerId, ServiceId, State, Time};

use crate::config::Mode;
use crate::telemetry::status;
use crate::{control, monitor};

use super::Controller;
use super::link::Link;

impl Controller {
    /// The alarm that stands as long as the state cannot be written.
    pub(super) fn state_alarm(&self) -> Option<String> {
        let directory = self.config.daemon.state_dir.display();
        self.persister.failing().then(|| {
            format!("state cannot be written to {directory}: epochs and drains would not survive a restart")
        })
    }

    /// Everything, as of now.
    pub(super) fn status(&self) -> status::Status {
        let now = monitor::now();
        let core = self.machine.status(now);
        let mut alarms: Vec<String> = self
            .alarms
            .standing(now)
            .map(|(service, text)| match service {
                Some(service) => format!("{}: {text}", self.name(service)),
                None => text.to_owned(),
            })
            .collect();
        let keys = self.keys_error.iter().chain(&self.routing_keys_error);
        alarms.extend(keys.map(|error| format!("keys not read again: {error}")));
        alarms.extend(self.state_alarm());
        alarms.extend(self.routing_trouble.clone());
        let pool = self.elements.pictures(&self.config);
        alarms.extend(pool.iter().flat_map(crate::telemetry::pool::Element::alarms));
        status::Status {
            ospf: None,
            pool,
            services: core.services.iter().map(|service| self.service(now, core.server, service)).collect(),
            interfaces: self
                .links
                .iter()
                .enumerate()
                .map(|(position, link)| interface(link, core.links.get(position), !self.keys.is_empty()))
                .collect(),
            alarms,
            daemon: status::Daemon {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                uptime_seconds: now.since(self.started).as_secs_f64(),
                farm: self.config.farm.name.clone(),
                server: core.server.to_string(),
                config: self.config.path.display().to_string(),
                auth: self.config.farm.auth.as_ref().map_or("off", |auth| auth.mode.name()).to_owned(),
                keys: self.keys.iter().map(|key| key.0).collect(),
                lease_ms: u64::try_from(self.config.daemon.lease.as_millis()).unwrap_or(u64::MAX),
                stopping: core.stopping,
            },
        }
    }

    fn service(&self, now: Time, server: ServerId, core: &ServiceStatus) -> status::Service {
        let number = core.service.index();
        let (config, run) = (&self.config.services[number], &self.services[number]);
        let link = &self.links[config.interface];
        let gate = link.datapath.as_ref().map(|datapath| datapath.gate(run.index)).unwrap_or_default();
        let left = gate.open_until_ns.saturating_sub(now.as_nanos()) / 1_000_000;
        status::Service {
            vlan: config.vlan.clone(),
            mode: match config.mode {
                Mode::Rotate => "rotate",
                Mode::Failover => "failover",
                Mode::Solicited => "solicited",
            }
            .to_owned(),
            state: state(core.state),
            state_seconds: now.since(core.since).as_secs_f64(),
            state_reason: match self.drains.file(number) {
                Some(path) if core.state == State::Drained => format!("{} is there", path.display()),
                _ => run.reason.clone(),
            },
            state_detail: core.detail.name().to_owned(),
            able: core.able,
            not_able_because: core.impediments.iter().map(ToString::to_string).collect(),
            gate: status::Gate::of(&gate, now.as_nanos()),
            hold: match run.hold {
                Hold::Automatic => control::Hold::Automatic,
                Hold::Shut => control::Hold::Shut,
                Hold::Open => control::Hold::Open,
            },
            lease_ms_left: (left > 0).then_some(left),
            owner: match core.owner {
                Owner::None => None,
                Owner::This => Some(server.to_string()),
                Owner::Peer(id) => Some(id.to_string()),
                Owner::Foreign(mac) => Some(words(mac)),
            },
            owned_here: core.owner == Owner::This,
            epoch: core.epoch,
            load: config.load.as_ref().map(|_| u32::from(core.load)),
            quiet: core.quiet,
            route: core.route.and_then(anycast_core::cost::Route::metric),
            query_rate: run.rate.per_second(),
            queries_total: run.counters.queries + run.counters.tcp_syns,
            socket_drops_total: run.socket_drops,
            solicitations_answered_total: run.counters.answered,
            advertisements_sent_total: run.advertisements_sent,
            advertisements_failed_total: run.advertisements_failed,
            moves_180s: u32::try_from(core.moves).unwrap_or(u32::MAX),
            transitions_total: core.transitions_total,
            counters: run.counters.into(),
            checks: self.checks_of(core.service, now, core),
            peers: core.peers.iter().map(|other| peer(now, other)).collect(),
            per_router: config.per_router,
            routers: core.routers.iter().map(|known| router(now, known)).collect(),
            router_advertisements_total: core.router_advertisements_total,
            ..status::Service::unknown(&config.name, config.address, &link.name)
        }
    }

    fn checks_of(&self, service: ServiceId, now: Time, core: &ServiceStatus) -> Vec<status::Check> {
        self.checks
            .iter()
            .filter_map(|run| {
                let (_, position) = run.services.iter().find(|(of, _)| *of == service)?;
                let up = match core.checks.get(*position) {
                    Some(check) => check.state == CheckState::Up,
                    None => core.process_alive == Some(true),
                };
                Some(status::Check {
                    kind: run.kind.to_owned(),
                    target: run.target.clone(),
                    up,
                    latency_ms: run.latency.map(|latency| latency.as_secs_f64() * 1e3),
                    error: run.error.clone(),
                    age_seconds: run.at.map(|at| now.since(at).as_secs_f64()),
                    successes_total: run.successes,
                    failures_total: run.failures,
                })
            })
            .collect()
    }
}

fn interface(
    link: &Link,
    core: Option<&anycast_core::status::LinkStatus>,
    authenticated: bool,
) -> status::Interface {
    let now = link.interface.as_ref();
    let drops = link.datapath.as_ref().and_then(|datapath| datapath.drops().ok()).unwrap_or_default();
    let socket = link.heartbeat.counters();
    let mut refused = BTreeMap::from([
        ("hop_limit".to_owned(), socket.refused_hop_limit),
        ("source".to_owned(), socket.refused_source),
        ("length".to_owned(), socket.refused_length),
    ]);
    if let Some(core) = core {
        refused.insert("malformed".to_owned(), core.heartbeats_malformed_total);
        refused.insert("foreign_farm".to_owned(), core.heartbeats_foreign_total);
        refused.insert("stale".to_owned(), core.heartbeats_stale_total);
    }
    let verdicts = |of: fn(&anycast_core::status::LinkStatus) -> &Verdicts| match core {
        Some(core) if authenticated => {
            of(core).iter().map(|(verdict, count)| (verdict.name().to_owned(), count)).collect()
        }
        _ => BTreeMap::new(),
    };
    status::Interface {
        name: link.name.clone(),
        index: now.map(|interface| interface.index),
        up: now.is_some_and(|interface| interface.up),
        mac: now.and_then(|interface| interface.mac).map(words).unwrap_or_default(),
        mtu: now.map_or(0, |interface| interface.mtu),
        link_local: now.and_then(|interface| interface.link_local()).map(IpAddr::V6),
        forwarding: now.is_some_and(|interface| interface.forwarding6),
        xdp_mode: link
            .datapath
            .as_ref()
            .map_or_else(String::new, |datapath| datapath.mode().name().to_owned()),
        program: link.datapath.as_ref().map(|datapath| datapath.program_id()),
        adopted: link.datapath.as_ref().is_some_and(|datapath| datapath.adopted()),
        drops: DropReason::ALL
            .iter()
            .map(|reason| (reason.name().to_owned(), drops[*reason as usize]))
            .collect(),
        heartbeats_sent_total: socket.sent,
        heartbeats_heard_total: core.map_or(0, |core| core.heartbeats_received_total),
        heartbeats_refused: refused,
        heartbeats_authentication: verdicts(|core| &core.heartbeats),
        advertisements_authentication: verdicts(|core| &core.advertisements),
    }
}

fn peer(now: Time, core: &PeerStatus) -> status::Peer {
    status::Peer {
        id: core.server.to_string(),
        address: None,
        state: state(core.state),
        epoch: core.epoch,
        heard_ms: u64::try_from(now.since(core.heard).as_millis()).unwrap_or(u64::MAX),
        load: core.load.map(u32::from),
    }
}

fn router(now: Time, core: &RouterStatus) -> status::Router {
    status::Router {
        address: IpAddr::V6(core.router.address),
        mac: words(core.router.mac),
        seen_by: core.by.map(|by| by.name().to_owned()),
        seen_seconds: core.seen.map(|seen| now.since(seen).as_secs_f64()),
        owner: core.owner.map(|owner| owner.to_string()),
        owned_here: core.mine,
    }
}

const fn state(core: State) -> status::State {
    match core {
        State::Down => status::State::Down,
        State::Standby => status::State::Standby,
        State::Ready => status::State::Ready,
        State::Owner => status::State::Owner,
        State::Drained => status::State::Drained,
    }
}

/// A MAC address in words.
fn words(mac: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}
