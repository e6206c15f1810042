//! From options to a configuration: fills in what was left out, refuses what does not fit, all problems at once.

mod check;
mod ospf;
mod pool;
pub mod registrar;
mod standby;
mod values;

pub use values::unfit;

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use anycast_common::abi::SERVICES_MAX;
use anycast_core::PRIORITY_DEFAULT;
use toml::Spanned;

use super::value::{Time, written};
use super::{
    Auth, AuthMode, Checked, Config, Daemon, Error, Farm, Interface, Load, Mode, Problem, Service, Source,
    XdpMode, options,
};
use super::{DEFAULT_BPFFS, DEFAULT_CONTROL_SOCKET, DEFAULT_LEASE, DEFAULT_STATE_DIR};

/// Heartbeats of an owner when the file does not say.
const DEFAULT_HEARTBEAT: Duration = Duration::from_millis(50);

/// A server's turn when the file does not say.
const DEFAULT_SLICE: Duration = Duration::from_secs(60);

/// Checks the whole file.
pub fn validate(path: &Path, text: &str, options: options::Options) -> Result<Config, Error> {
    let mut v = Validator { path, text, problems: Vec::new(), warnings: Vec::new() };
    let farm = v.farm(options.farm);
    let daemon = v.daemon(options.daemon.unwrap_or_default(), &farm);
    let modes = v.interfaces(&options.interface);
    let ospf_span = options.ospf.as_ref().map(Spanned::span);
    let ospf = options.ospf.map(|ospf| v.ospf(ospf));
    let (pool, defaults) = options.pool.map(|pool| v.pool(pool)).unzip();
    let mut options = options.service;
    let elements: Vec<_> = options.iter_mut().map(|service| service.get_mut().pool.take()).collect();
    let (mut services, interfaces) = v.services(options, modes);
    // Services that are wrong are left out; then the two lists do not go together.
    if v.problems.is_empty() {
        v.elements(defaults.as_ref(), elements, &mut services);
    }
    v.advertised(ospf.as_ref(), ospf_span, &services);
    v.warnings.sort_by_key(|warning| warning.line);
    if v.problems.is_empty() {
        Ok(Config {
            path: path.to_owned(),
            daemon,
            farm,
            ospf,
            pool,
            interfaces,
            services,
            warnings: v.warnings,
        })
    } else {
        v.problems.sort_by_key(|problem| problem.line);
        Err(Error::Wrong { problems: v.problems })
    }
}

struct Validator<'a> {
    path: &'a Path,
    text: &'a str,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

/// An `[[interface]]` table: where it stands, and the mode it asks for.
type Modes = HashMap<String, (Range<usize>, XdpMode)>;

impl Validator<'_> {
    fn problem(&mut self, span: Range<usize>, key: &str, what: impl Into<String>) {
        self.problems.push(Problem::at(self.path, self.text, span, key, what));
    }

    fn warning(&mut self, span: Range<usize>, key: &str, what: impl Into<String>) {
        self.warnings.push(Problem::at(self.path, self.text, span, key, what));
    }

    fn farm(&mut self, farm: Option<Spanned<options::Farm>>) -> Farm {
        let Some(farm) = farm else {
            self.problem(
                0..0,
                "farm",
                "the table is missing: add [farm] with name = \"…\", the same on every server",
            );
            return Farm {
                name: String::new(),
                heartbeat: DEFAULT_HEARTBEAT,
                foreign: Vec::new(),
                auth: None,
            };
        };
        let span = farm.span();
        let farm = farm.into_inner();
        let name = match farm.name {
            None => {
                self.problem(span, "farm.name", "is missing: give all servers of the farm the same name");
                String::new()
            }
            Some(name) => {
                let length = name.get_ref().len();
                if length == 0
                    || length > 63
                    || name.get_ref().chars().any(|c| c.is_control() || c.is_whitespace())
                {
                    self.problem(name.span(), "farm.name", "must be 1 to 63 bytes without spaces");
                }
                name.into_inner()
            }
        };
        let heartbeat = self.time(farm.heartbeat, "farm.heartbeat", DEFAULT_HEARTBEAT, "10ms", "10s");
        let mode = self.word(
            farm.auth.as_ref(),
            "farm.auth",
            &[
                ("receive-only", AuthMode::ReceiveOnly),
                ("permissive", AuthMode::Permissive),
                ("enforce", AuthMode::Enforce),
            ],
        );
        let auth = match (farm.key_file, farm.auth) {
            (None, None) => None,
            (None, Some(auth)) => {
                self.problem(
                    auth.span(),
                    "farm.auth",
                    "needs farm.key_file: without a key nothing can be signed or verified",
                );
                None
            }
            // Whoever has a key and says nothing more wants to be protected by it.
            (key_file, _) => Some(Auth {
                key_file: self.path(key_file, "farm.key_file", ""),
                mode: mode.unwrap_or(AuthMode::Enforce),
            }),
        };
        let foreign = farm.foreign.map(|foreign| self.macs(&foreign, "farm.foreign")).unwrap_or_default();
        Farm { name, heartbeat, foreign, auth }
    }

    fn daemon(&mut self, daemon: options::Daemon, farm: &Farm) -> Daemon {
        let metrics =
            daemon.metrics.and_then(|address| self.socket_address(&address, "daemon.metrics", "[::1]:9531"));
        let lease_span = daemon.lease.as_ref().map_or(0..0, Spanned::span);
        let lease = self.time(daemon.lease, "daemon.lease", DEFAULT_LEASE, "100ms", "10s");
        if lease < farm.heartbeat * 2 {
            let what = format!(
                "{} is less than two heartbeats of {}: the gate would shut between renewals; raise it or lower farm.heartbeat",
                written(lease),
                written(farm.heartbeat)
            );
            self.problem(lease_span.clone(), "daemon.lease", what);
        }
        // Peers notice after three heartbeats and the slowest of them waits eight steps of 20 ms more.
        let takeover = farm.heartbeat * 3 + Duration::from_millis(160);
        if lease > takeover {
            let what = format!(
                "{} is longer than peers need to take over ({}): a dead controller's server and its successor both answer until it ends",
                written(lease),
                written(takeover)
            );
            self.warning(lease_span, "daemon.lease", what);
        }
        Daemon {
            control_socket: self.path(daemon.control_socket, "daemon.control_socket", DEFAULT_CONTROL_SOCKET),
            state_dir: self.path(daemon.state_dir, "daemon.state_dir", DEFAULT_STATE_DIR),
            bpffs: self.path(daemon.bpffs, "daemon.bpffs", DEFAULT_BPFFS),
            metrics,
            lease,
            restart_lease: self.time(
                daemon.restart_lease,
                "daemon.restart_lease",
                Duration::from_secs(10),
                "1s",
                "10m",
            ),
            grace: self.time(daemon.grace, "daemon.grace", Duration::from_secs(2), "0s", "10m"),
            bpf_log: daemon.bpf_log.unwrap_or(false),
            drain_file: daemon.drain_file.map(|path| self.absolute_path(path, "daemon.drain_file")),
            notify: daemon.notify.map(|path| self.absolute_path(path, "daemon.notify")),
        }
    }

    fn interfaces(&mut self, interfaces: &[Spanned<options::Interface>]) -> Modes {
        let mut modes = Modes::new();
        for interface in interfaces {
            let span = interface.span();
            let interface = interface.get_ref();
            let Some(name) = self.interface_name(interface.name.as_ref(), span, "interface.name") else {
                continue;
            };
            let mode = self.word(
                interface.mode.as_ref(),
                "interface.mode",
                &[("native", XdpMode::Native), ("generic", XdpMode::Generic)],
            );
            let span = interface.name.as_ref().map_or(0..0, Spanned::span);
            if modes.insert(name.clone(), (span.clone(), mode.unwrap_or(XdpMode::Native))).is_some() {
                self.problem(
                    span,
                    "interface.name",
                    format!("{name} has two [[interface]] tables: join them"),
                );
            }
        }
        modes
    }

    fn services(
        &mut self,
        services: Vec<Spanned<options::Service>>,
        mut modes: Modes,
    ) -> (Vec<Service>, Vec<Interface>) {
        if services.is_empty() {
            self.problem(
                0..0,
                "service",
                "there is none: add a [[service]] with name, interface, address and a check",
            );
        }
        let links = self.check_links(&services);
        let mut interfaces: Vec<Interface> = Vec::new();
        let mut addresses_of: Vec<usize> = Vec::new();
        let mut seen = HashMap::new();
        let mut done = Vec::new();
        let mut standbys = Vec::new();
        for (service, link) in services.into_iter().zip(links) {
            let span = service.span();
            let options = service.into_inner();
            standbys.push(options.standby.as_ref().map_or(0..0, Spanned::span));
            let at = options.address.as_ref().map_or(span.clone(), Spanned::span);
            let name = options.interface.as_ref();
            let interface = self.interface_name(name, span.clone(), "service.interface").unwrap_or_default();
            let index = match interfaces.iter().position(|known| known.name == interface) {
                Some(index) => index,
                None => {
                    let xdp_mode = modes.get(&interface).map_or(XdpMode::Native, |(_, mode)| *mode);
                    interfaces.push(Interface { name: interface.clone(), xdp_mode });
                    addresses_of.push(0);
                    interfaces.len() - 1
                }
            };
            addresses_of[index] += 1;
            if addresses_of[index] == SERVICES_MAX + 1 {
                let what = format!(
                    "{interface} would carry more than {SERVICES_MAX} service addresses: that is the most"
                );
                self.problem(at.clone(), "service.address", what);
            }
            let Some(service) = self.service(options, span, index, link) else { continue };
            let key = (index, service.vlan.clone(), service.address);
            if let Some(other) = seen.insert(key, service.name.clone()) {
                let what = format!(
                    "{} is already the address of service {other:?} on {interface}: one [[service]] an address",
                    service.address
                );
                self.problem(at, "service.address", what);
            }
            done.push(service);
        }
        if self.problems.is_empty() {
            self.hooks_of_shared_checks(&done, &standbys);
        }
        for interface in &interfaces {
            modes.remove(&interface.name);
        }
        for (name, (span, _)) in modes {
            self.problem(
                span,
                "interface.name",
                format!("no service is on {name}: remove the table or correct the name"),
            );
        }
        (done, interfaces)
    }

    /// Names and `check_as` of all services: for each, the index of the service whose check it shares.
    fn check_links(&mut self, services: &[Spanned<options::Service>]) -> Vec<Option<usize>> {
        let mut names: HashMap<&str, usize> = HashMap::new();
        for (index, service) in services.iter().enumerate() {
            if let Some(name) = &service.get_ref().name
                && let Some(other) = names.insert(name.get_ref(), index)
            {
                names.insert(name.get_ref(), other);
                let what =
                    format!("{:?} is already the name of another service: names are unique", name.get_ref());
                self.problem(name.span(), "service.name", what);
            }
        }
        let target = |index: usize| {
            let name = services.get(index)?.get_ref().check_as.as_ref()?;
            names.get(name.get_ref().as_str()).copied()
        };
        let mut links = Vec::new();
        for (index, service) in services.iter().enumerate() {
            let Some(check_as) = &service.get_ref().check_as else {
                links.push(None);
                continue;
            };
            let missing = |v: &mut Self, name: &str| {
                let mut known: Vec<&str> = names.keys().copied().collect();
                known.sort_unstable();
                let what = format!("no service is called {name:?}; there are: {}", known.join(", "));
                v.problem(check_as.span(), "service.check_as", what);
            };
            let mut end = index;
            let mut steps = 0;
            while services[end].get_ref().check_as.is_some() {
                let Some(next) = target(end) else {
                    if end == index {
                        missing(self, check_as.get_ref());
                    }
                    break;
                };
                end = next;
                steps += 1;
                if steps > services.len() {
                    let what = format!(
                        "{:?} leads in a circle: one of these services needs its own [service.check]",
                        check_as.get_ref()
                    );
                    self.problem(check_as.span(), "service.check_as", what);
                    break;
                }
            }
            links.push(Some(end));
        }
        links
    }

    fn service(
        &mut self,
        options: options::Service,
        span: Range<usize>,
        interface: usize,
        link: Option<usize>,
    ) -> Option<Service> {
        let name = match &options.name {
            None => {
                self.problem(span.clone(), "service.name", "is missing: commands, logs and metrics need it");
                String::new()
            }
            Some(name) => {
                let text = name.get_ref();
                let fits = !text.is_empty()
                    && text.len() <= 32
                    && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
                    && text.parse::<IpAddr>().is_err();
                if !fits {
                    let what =
                        format!("{text:?} must be 1 to 32 letters, digits, '-', '_' or '.', and no address");
                    self.problem(name.span(), "service.name", what);
                }
                text.clone()
            }
        };
        let address = self.service_address(options.address.as_ref(), span.clone());
        let mode = self.word(
            options.mode.as_ref(),
            "service.mode",
            &[("rotate", Mode::Rotate), ("failover", Mode::Failover), ("solicited", Mode::Solicited)],
        );
        let advertise = self.advertise(options.advertise.as_ref());
        let mode = self.mode_of(advertise, mode, options.mode.as_ref().map(Spanned::span));
        let (slice, weight) = self.turns(mode, options.slice, options.weight);
        let (priority, preempt_delay) = self.preemption(mode, options.priority, options.preempt_delay);
        let per_router = self.per_router(mode, options.per_router.as_ref(), options.standby.is_some());
        let answer_delay = self.answer_delay(mode, address, options.answer_delay);
        let check = match (options.check, link) {
            (Some(check), None) => Checked::Own(Box::new(self.check(check, address))),
            (None, Some(other)) => Checked::As(other),
            (Some(check), Some(_)) => {
                let what = "has its own [service.check] and check_as: remove one of them";
                self.problem(check.span(), "service.check", what);
                return None;
            }
            (None, None) => {
                let what = "has no check, and a server that is not checked attracts queries it cannot answer: add \
                            [service.check] or check_as = \"SERVICE\"";
                self.problem(span, "service", what);
                return None;
            }
        };
        let source = self.word(
            options.source.as_ref(),
            "service.source",
            &[("link-local", Source::LinkLocal), ("target", Source::Target)],
        );
        let vlan = options.vlan.map(|vlan| self.vlan(&vlan)).unwrap_or_default();
        let ports = options.ports.map_or_else(|| vec![53], |ports| self.ports(&ports));
        let standby = options.standby.map(|standby| self.standby(standby, mode, &check));
        let load = options.load.and_then(|load| self.load(load));
        let cost = self.cost(options.cost, advertise);
        let ospf_interface = options
            .ospf_interface
            .as_ref()
            .and_then(|name| self.interface_name(Some(name), span.clone(), "service.ospf_interface"));
        Some(Service {
            name,
            interface,
            address: address?,
            vlan,
            ports,
            mode,
            slice,
            weight,
            priority,
            preempt_delay,
            per_router,
            answer_delay,
            advertise,
            cost,
            ospf_interface,
            drain_file: options.drain_file.map(|path| self.absolute_path(path, "service.drain_file")),
            override_flag: options.override_flag.map_or(mode != Mode::Solicited, Spanned::into_inner),
            source: source.unwrap_or(Source::LinkLocal),
            check,
            standby,
            load,
            element: None,
        })
    }

    /// `slice` and `weight`: only servers that take turns have them.
    fn turns(
        &mut self,
        mode: Mode,
        slice: Option<Spanned<Time>>,
        weight: Option<Spanned<i64>>,
    ) -> (Duration, u32) {
        const RECOMMENDED: Duration = Duration::from_secs(45);
        if mode != Mode::Rotate {
            let told = [
                ("service.slice", slice.map(|slice| slice.span())),
                ("service.weight", weight.map(|w| w.span())),
            ];
            for (key, span) in told {
                if let Some(span) = span {
                    let what = format!(
                        "has no meaning in mode {:?}: only servers in \"rotate\" take turns",
                        mode.name()
                    );
                    self.problem(span, key, what);
                }
            }
            return (DEFAULT_SLICE, 1);
        }
        let span = slice.as_ref().map_or(0..0, Spanned::span);
        let slice = self.time(slice, "service.slice", DEFAULT_SLICE, "1s", "24h");
        if slice < RECOMMENDED {
            let what = format!(
                "{} moves the address often: switches with EVPN duplicate-MAC detection block it after 5 moves in 180s; \
                 {} and more are safe",
                written(slice),
                written(RECOMMENDED)
            );
            self.warning(span, "service.slice", what);
        }
        (slice, self.count(weight, "service.weight", 1))
    }

    /// `priority` and `preempt_delay`: only where an owner stays can another take its place before it fails.
    fn preemption(
        &mut self,
        mode: Mode,
        priority: Option<Spanned<i64>>,
        delay: Option<Spanned<Time>>,
    ) -> (u8, Option<Duration>) {
        if mode != Mode::Failover {
            let told = [
                ("service.priority", priority.map(|priority| priority.span())),
                ("service.preempt_delay", delay.map(|delay| delay.span())),
            ];
            for (key, span) in told {
                if let Some(span) = span {
                    let what = format!(
                        "has no meaning in mode {:?}: only in \"failover\" an owner stays until it fails or is preempted",
                        mode.name()
                    );
                    self.problem(span, key, what);
                }
            }
            return (PRIORITY_DEFAULT, None);
        }
        let priority = priority.map_or(PRIORITY_DEFAULT, |priority| {
            u8::try_from(*priority.get_ref()).unwrap_or_else(|_| {
                let what = format!("{} is out of range: 0 to 255", priority.get_ref());
                self.problem(priority.span(), "service.priority", what);
                PRIORITY_DEFAULT
            })
        });
        let delay =
            delay.map(|delay| self.time(Some(delay), "service.preempt_delay", Duration::ZERO, "0s", "24h"));
        (priority, delay)
    }

    /// `per_router`: where a server can own something, and does not stand by because others get the queries.
    fn per_router(&mut self, mode: Mode, per_router: Option<&Spanned<bool>>, standby: bool) -> bool {
        let Some(per_router) = per_router.filter(|per_router| *per_router.get_ref()) else { return false };
        if mode == Mode::Solicited {
            let what = "has no meaning in mode \"solicited\", in which no server owns anything";
            self.problem(per_router.span(), "service.per_router", what);
        }
        if standby {
            let what = "does not go with [service.standby]: a server with few queries may be one with few routers; remove one";
            self.problem(per_router.span(), "service.per_router", what);
        }
        true
    }

    /// `answer_delay`: only where several servers answer one solicitation (RFC 4861 7.2.7).
    fn answer_delay(
        &mut self,
        mode: Mode,
        address: Option<IpAddr>,
        delay: Option<Spanned<Time>>,
    ) -> Option<Duration> {
        const KEY: &str = "service.answer_delay";
        let delay = delay?;
        let span = delay.span();
        if mode != Mode::Solicited {
            let what = format!(
                "has no meaning in mode {:?}: only in \"solicited\" do several servers answer one solicitation",
                mode.name()
            );
            self.problem(span, KEY, what);
            return None;
        }
        if address.is_some_and(|address| address.is_ipv4()) {
            self.problem(span, KEY, "is Neighbor Discovery's, and this is an IPv4 address: remove the key");
            return None;
        }
        Some(self.time(Some(delay), KEY, Duration::ZERO, "1ms", "1s"))
    }

    fn load(&mut self, load: Spanned<options::Load>) -> Option<Load> {
        let span = load.span();
        let load = load.into_inner();
        let capacity = match load.capacity {
            None => {
                self.problem(
                    span,
                    "service.load.capacity",
                    "is missing: queries per second this server can answer",
                );
                None
            }
            Some(capacity) => match u32::try_from(*capacity.get_ref()) {
                Ok(fitting) if fitting > 0 => Some(u64::from(fitting)),
                _ => {
                    let what = format!(
                        "{} is out of range: 1 to {} queries per second",
                        capacity.get_ref(),
                        u32::MAX
                    );
                    self.problem(capacity.span(), "service.load.capacity", what);
                    None
                }
            },
        };
        let above = load.congested_above.as_ref().map_or(0.8, |above| *above.get_ref());
        // Also refuses what is not a number.
        if !(0.001..=1.0).contains(&above) {
            let span = load.congested_above.map_or(0..0, |above| above.span());
            self.problem(
                span,
                "service.load.congested_above",
                format!("{above} is out of range: 0.001 to 1.0"),
            );
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 1000")]
        let congested_above = (above * 1000.0).round() as u32;
        Some(Load { capacity: capacity?, congested_above })
    }
}
