//! From options to a configuration: fills in what was left out, refuses what does not fit, all problems at once.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anycast_common::abi::{PORTS_MAX, SERVICES_MAX};
use toml::Spanned;

use super::value::{Time, Vlan, written};
use super::{
    Check, Checked, Config, Daemon, Error, Farm, Interface, Load, Mode, Problem, ProcessTarget, Service,
    Source, Standby, XdpMode, options,
};
use super::{DEFAULT_BPFFS, DEFAULT_CONTROL_SOCKET, DEFAULT_LEASE, DEFAULT_STATE_DIR};

/// Heartbeats of an owner when the file does not say.
const DEFAULT_HEARTBEAT: Duration = Duration::from_millis(50);

/// Checks the whole file.
pub fn validate(path: &Path, text: &str, options: options::Options) -> Result<Config, Error> {
    let mut v = Validator { path, text, problems: Vec::new(), warnings: Vec::new() };
    let farm = v.farm(options.farm);
    let daemon = v.daemon(options.daemon.unwrap_or_default(), &farm);
    let modes = v.interfaces(&options.interface);
    let (services, interfaces) = v.services(options.service, modes);
    v.warnings.sort_by_key(|warning| warning.line);
    if v.problems.is_empty() {
        Ok(Config { path: path.to_owned(), daemon, farm, interfaces, services, warnings: v.warnings })
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

    /// A key of the format whose function this version does not have: refused, never ignored.
    fn not_yet<T>(&mut self, value: Option<&Spanned<T>>, key: &str, instead: &str) {
        if let Some(value) = value {
            self.problem(value.span(), key, format!("this version cannot do that yet: {instead}"));
        }
    }

    fn farm(&mut self, farm: Option<Spanned<options::Farm>>) -> Farm {
        let Some(farm) = farm else {
            self.problem(
                0..0,
                "farm",
                "the table is missing: add [farm] with name = \"…\", the same on every server",
            );
            return Farm { name: String::new(), heartbeat: DEFAULT_HEARTBEAT };
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
        self.not_yet(
            farm.key_file.as_ref(),
            "farm.key_file",
            "heartbeats are not authenticated; remove the key",
        );
        self.not_yet(farm.auth.as_ref(), "farm.auth", "heartbeats are not authenticated; remove the key");
        if let Some(foreign) = &farm.foreign
            && !foreign.get_ref().is_empty()
        {
            self.not_yet(farm.foreign.as_ref(), "farm.foreign", "leave the list empty or remove the key");
        }
        Farm { name, heartbeat }
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
        for (service, link) in services.into_iter().zip(links) {
            let span = service.span();
            let options = service.into_inner();
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
        let mode = mode.unwrap_or(Mode::Failover);
        if mode == Mode::Rotate {
            self.not_yet(options.mode.as_ref(), "service.mode", "choose \"failover\" or \"solicited\"");
        }
        self.not_yet(options.slice.as_ref(), "service.slice", "there is no mode \"rotate\"; remove the key");
        self.not_yet(
            options.priority.as_ref(),
            "service.priority",
            "the owner stays until it fails; remove the key",
        );
        self.not_yet(
            options.preempt_delay.as_ref(),
            "service.preempt_delay",
            "the owner stays until it fails; remove the key",
        );
        if let Some(per_router) = &options.per_router
            && *per_router.get_ref()
        {
            self.not_yet(
                options.per_router.as_ref(),
                "service.per_router",
                "set it to false or remove the key",
            );
        }
        if let Some(weight) = &options.weight
            && *weight.get_ref() != 1
        {
            self.not_yet(
                options.weight.as_ref(),
                "service.weight",
                "there is no mode \"rotate\"; leave it at 1",
            );
        }
        let check = match (options.check, link) {
            (Some(check), None) => Checked::Own(self.check(check, address)),
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
        Some(Service {
            name,
            interface,
            address: address?,
            vlan: options.vlan.map(|vlan| self.vlan(&vlan)).unwrap_or_default(),
            ports: options.ports.map_or_else(|| vec![53], |ports| self.ports(&ports)),
            mode,
            slice: Duration::from_secs(60),
            weight: 1,
            override_flag: options.override_flag.map_or(mode != Mode::Solicited, Spanned::into_inner),
            source: source.unwrap_or(Source::LinkLocal),
            check,
            standby: options.standby.map(|standby| self.standby(standby)),
            load: options.load.and_then(|load| self.load(load)),
        })
    }

    fn service_address(&mut self, address: Option<&Spanned<String>>, span: Range<usize>) -> Option<IpAddr> {
        const KEY: &str = "service.address";
        let Some(address) = address else {
            self.problem(span, KEY, "is missing: give the service address, without a prefix length");
            return None;
        };
        let text = address.get_ref();
        let Ok(parsed) = text.parse::<IpAddr>() else {
            let what = match text.split_once('/') {
                Some((bare, _)) if bare.parse::<IpAddr>().is_ok() => {
                    format!(
                        "{text:?} has a prefix length: write {bare:?}, a service address is always a single one"
                    )
                }
                _ => format!("{text:?} is not an IPv6 or IPv4 address"),
            };
            self.problem(address.span(), KEY, what);
            return None;
        };
        match unfit(parsed) {
            None => Some(parsed),
            Some(why) => {
                self.problem(
                    address.span(),
                    KEY,
                    format!(
                        "{parsed} is {why}: a service address is a global or unique local unicast address"
                    ),
                );
                None
            }
        }
    }

    fn vlan(&mut self, vlan: &Spanned<Vlan>) -> Vec<u16> {
        let vids = &vlan.get_ref().0;
        if vids.len() > 2 || vids.is_empty() {
            let what = format!(
                "has {} identifiers: one, or two with the outermost first; leave the key out for untagged",
                vids.len()
            );
            self.problem(vlan.span(), "service.vlan", what);
        }
        let mut fitting = Vec::new();
        for vid in vids {
            match u16::try_from(*vid) {
                Ok(vid @ 1..=4094) => fitting.push(vid),
                _ => self.problem(
                    vlan.span(),
                    "service.vlan",
                    format!("{vid} is not a VLAN identifier: 1 to 4094 are"),
                ),
            }
        }
        fitting
    }

    fn ports(&mut self, ports: &Spanned<Vec<i64>>) -> Vec<u16> {
        const KEY: &str = "service.ports";
        if ports.get_ref().is_empty() || ports.get_ref().len() > PORTS_MAX {
            let what = format!("has {} ports: a service has 1 to {PORTS_MAX}", ports.get_ref().len());
            self.problem(ports.span(), KEY, what);
        }
        let mut fitting = Vec::new();
        for port in ports.get_ref() {
            match u16::try_from(*port) {
                Ok(port) if port != 0 && !fitting.contains(&port) => fitting.push(port),
                Ok(port) if port != 0 => {
                    self.problem(ports.span(), KEY, format!("{port} stands there twice"))
                }
                _ => self.problem(ports.span(), KEY, format!("{port} is not a port: 1 to 65535 are")),
            }
        }
        fitting
    }

    fn check(&mut self, check: Spanned<options::Check>, service_address: Option<IpAddr>) -> Check {
        let span = check.span();
        let check = check.into_inner();
        let timeout_span = check.timeout.as_ref().map_or(span.clone(), Spanned::span);
        let interval =
            self.time(check.interval, "service.check.interval", Duration::from_secs(1), "10ms", "1h");
        let timeout = self.time(
            check.timeout,
            "service.check.timeout",
            Duration::from_millis(300).min(interval),
            "1ms",
            "1h",
        );
        if timeout > interval {
            let what = format!(
                "{} is longer than the interval of {}: checks do not overlap",
                written(timeout),
                written(interval)
            );
            self.problem(timeout_span, "service.check.timeout", what);
        }
        if check.dns.is_none() && check.tcp.is_none() && check.exec.is_none() && check.process.is_none() {
            let what = "checks nothing: add dns = { … }, tcp = { … }, exec = { … } or process = { … }";
            self.problem(span, "service.check", what);
        }
        Check {
            interval,
            timeout,
            rise: self.count(check.rise, "service.check.rise", 2),
            fall: self.count(check.fall, "service.check.fall", 3),
            dns: check.dns.and_then(|dns| self.dns(dns, service_address)),
            tcp: check.tcp.and_then(|tcp| {
                let span = tcp.span();
                self.target(tcp.into_inner().server, span, "service.check.tcp.server", service_address)
            }),
            exec: check.exec.and_then(|exec| self.exec(exec)),
            process: check.process.and_then(|process| self.process(process)),
        }
    }

    fn dns(
        &mut self,
        dns: Spanned<options::Dns>,
        service_address: Option<IpAddr>,
    ) -> Option<super::DnsCheck> {
        let span = dns.span();
        let dns = dns.into_inner();
        let server = self.target(dns.server, span.clone(), "service.check.dns.server", service_address);
        let name = match dns.name {
            None => {
                let what = "is missing: a name this server must answer for, as in \"health.example.\"";
                self.problem(span.clone(), "service.check.dns.name", what);
                None
            }
            Some(name) => match hickory_proto::rr::Name::from_ascii(name.get_ref()) {
                Ok(mut parsed) => {
                    parsed.set_fqdn(true);
                    Some(parsed.to_ascii())
                }
                Err(error) => {
                    let what = format!("{:?} is not a domain name ({error})", name.get_ref());
                    self.problem(name.span(), "service.check.dns.name", what);
                    None
                }
            },
        };
        let rtype = match dns.rtype {
            None => Some("SOA".to_owned()),
            Some(rtype) => {
                let upper = rtype.get_ref().to_ascii_uppercase();
                use hickory_proto::rr::RecordType;
                match upper.parse::<RecordType>() {
                    Ok(known)
                        if !matches!(
                            known,
                            RecordType::ANY
                                | RecordType::AXFR
                                | RecordType::IXFR
                                | RecordType::OPT
                                | RecordType::TSIG
                                | RecordType::ZERO
                        ) =>
                    {
                        Some(upper)
                    }
                    _ => {
                        let what = format!(
                            "{:?} is not a type to ask for: SOA, NS, A, AAAA, TXT and others are",
                            rtype.get_ref()
                        );
                        self.problem(rtype.span(), "service.check.dns.type", what);
                        None
                    }
                }
            }
        };
        let (udp, tcp) = (dns.udp.unwrap_or(true), dns.tcp.unwrap_or(true));
        if !udp && !tcp {
            self.problem(span, "service.check.dns", "asks over neither UDP nor TCP: leave at least one on");
        }
        Some(super::DnsCheck { server: server?, name: name?, rtype: rtype?, udp, tcp })
    }

    fn target(
        &mut self,
        server: Option<Spanned<String>>,
        span: Range<usize>,
        key: &str,
        service_address: Option<IpAddr>,
    ) -> Option<SocketAddr> {
        let Some(server) = server else {
            self.problem(
                span,
                key,
                "is missing: the address and port this server itself listens on, as in \"[::1]:53\"",
            );
            return None;
        };
        let parsed = self.socket_address(&server, key, "[::1]:53")?;
        if parsed.ip().is_unspecified() || parsed.ip().is_multicast() {
            self.problem(server.span(), key, format!("{} is not an address to connect to", parsed.ip()));
            return None;
        }
        if Some(parsed.ip()) == service_address {
            let what = format!(
                "{} is the service address: when it is missing here the check may reach another server; an address of this \
                 server alone, as [::1], is better",
                parsed.ip()
            );
            self.warning(server.span(), key, what);
        }
        Some(parsed)
    }

    fn exec(&mut self, exec: Spanned<options::Exec>) -> Option<Vec<String>> {
        const KEY: &str = "service.check.exec.command";
        let span = exec.span();
        let Some(command) = exec.into_inner().command else {
            self.problem(
                span,
                KEY,
                "is missing: the program and its arguments, as in [\"/usr/bin/check\", \"-q\"]",
            );
            return None;
        };
        match command.get_ref().first() {
            None => {
                self.problem(command.span(), KEY, "is empty: name a program");
                None
            }
            Some(program) if !Path::new(program).is_absolute() => {
                let what =
                    format!("{program:?} is relative: write the whole path, the daemon has no PATH to trust");
                self.problem(command.span(), KEY, what);
                None
            }
            Some(_) => Some(command.into_inner()),
        }
    }

    fn process(&mut self, process: Spanned<options::Process>) -> Option<ProcessTarget> {
        const KEY: &str = "service.check.process";
        let span = process.span();
        let process = process.into_inner();
        match (process.pid_file, process.unit) {
            (Some(pid_file), None) => {
                self.absolute(&pid_file, "service.check.process.pid_file");
                Some(ProcessTarget::PidFile(pid_file.into_inner()))
            }
            (None, Some(unit)) => {
                let name = unit.get_ref();
                if !name.ends_with(".service") || name.contains(['/', ' ']) {
                    let what = format!("{name:?} is not the name of a service unit, as in \"nsd.service\"");
                    self.problem(unit.span(), "service.check.process.unit", what);
                }
                Some(ProcessTarget::Unit(unit.into_inner()))
            }
            (Some(_), Some(_)) => {
                self.problem(span, KEY, "has both pid_file and unit: one of them");
                None
            }
            (None, None) => {
                self.problem(
                    span,
                    KEY,
                    "watches nothing: give pid_file = \"/run/….pid\" or unit = \"….service\"",
                );
                None
            }
        }
    }

    fn standby(&mut self, standby: Spanned<options::Standby>) -> Standby {
        let standby = standby.into_inner();
        let queries = standby.queries.map_or(10, |queries| match u64::try_from(*queries.get_ref()) {
            Ok(fitting) if fitting > 0 => fitting,
            _ => {
                let what = format!(
                    "{} must be at least 1: leave [service.standby] out to never stand by",
                    queries.get_ref()
                );
                self.problem(queries.span(), "service.standby.queries", what);
                1
            }
        });
        let window =
            self.time(standby.window, "service.standby.window", Duration::from_secs(60), "1s", "24h");
        Standby { queries, window }
    }

    fn load(&mut self, load: Spanned<options::Load>) -> Option<Load> {
        let what = "load does not decide anything; remove [service.load]";
        self.not_yet(Some(&load), "service.load", what);
        let load = load.into_inner();
        let capacity =
            load.capacity.map(Spanned::into_inner).and_then(|capacity| u64::try_from(capacity).ok())?;
        let above = load.congested_above.map_or(0.8, Spanned::into_inner);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to 0..=1000 first"
        )]
        let congested_above = (above * 1000.0).clamp(0.0, 1000.0) as u32;
        Some(Load { capacity, congested_above })
    }

    fn interface_name(
        &mut self,
        name: Option<&Spanned<String>>,
        span: Range<usize>,
        key: &str,
    ) -> Option<String> {
        let Some(name) = name else {
            self.problem(span, key, "is missing: name a network interface, as `ip link` shows it");
            return None;
        };
        let text = name.get_ref();
        // The kernel's rule, dev_valid_name(): shorter than IFNAMSIZ, no '/', ':' or space, neither "." nor "..".
        let fits = (1..16).contains(&text.len())
            && !text.contains(['/', ':'])
            && !text.contains(char::is_whitespace)
            && !matches!(text.as_str(), "." | "..");
        if !fits {
            self.problem(
                name.span(),
                key,
                format!("{text:?} is not an interface name: 1 to 15 bytes, as `ip link` shows it"),
            );
            return None;
        }
        if text == "lo" {
            self.problem(
                name.span(),
                key,
                "lo has no neighbours: name the interface that the routers are on",
            );
            return None;
        }
        Some(text.clone())
    }

    fn socket_address(&mut self, address: &Spanned<String>, key: &str, example: &str) -> Option<SocketAddr> {
        match address.get_ref().parse::<SocketAddr>() {
            Ok(parsed) if parsed.port() != 0 => Some(parsed),
            _ => {
                let what =
                    format!("{:?} is not an address with a port: write it as {example:?}", address.get_ref());
                self.problem(address.span(), key, what);
                None
            }
        }
    }

    /// A time between two bounds, both allowed, written as they stand in the message.
    fn time(
        &mut self,
        time: Option<Spanned<Time>>,
        key: &str,
        default: Duration,
        least: &str,
        most: &str,
    ) -> Duration {
        let Some(time) = time else { return default };
        let value = time.get_ref().0;
        let bound = |text| super::value::duration(text).unwrap_or(default);
        if value < bound(least) || value > bound(most) {
            self.problem(time.span(), key, format!("{} is out of range: {least} to {most}", written(value)));
            return default;
        }
        value
    }

    fn count(&mut self, count: Option<Spanned<i64>>, key: &str, default: u32) -> u32 {
        let Some(count) = count else { return default };
        match u32::try_from(*count.get_ref()) {
            Ok(fitting @ 1..=1000) => fitting,
            _ => {
                self.problem(count.span(), key, format!("{} is out of range: 1 to 1000", count.get_ref()));
                default
            }
        }
    }

    fn path(&mut self, path: Option<Spanned<PathBuf>>, key: &str, default: &str) -> PathBuf {
        let Some(path) = path else { return PathBuf::from(default) };
        self.absolute(&path, key);
        path.into_inner()
    }

    fn absolute(&mut self, path: &Spanned<PathBuf>, key: &str) {
        if !path.get_ref().is_absolute() {
            let what = format!(
                "{:?} is relative: write the whole path from /",
                path.get_ref().display().to_string()
            );
            self.problem(path.span(), key, what);
        }
    }

    /// One of a few words.
    fn word<T: Copy>(&mut self, word: Option<&Spanned<String>>, key: &str, words: &[(&str, T)]) -> Option<T> {
        let word = word?;
        let found = words.iter().find(|(known, _)| known == word.get_ref());
        if found.is_none() {
            let known: Vec<String> = words.iter().map(|(known, _)| format!("{known:?}")).collect();
            self.problem(word.span(), key, format!("{:?} is none of {}", word.get_ref(), known.join(", ")));
        }
        found.map(|(_, value)| *value)
    }
}

/// Why an address cannot be a service address.
pub fn unfit(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("the unspecified address"),
        _ if address.is_loopback() => Some("a loopback address"),
        _ if address.is_multicast() => Some("a multicast address"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("an IPv4-mapped address; write it as IPv4"),
        IpAddr::V4(v4) if v4.is_link_local() => Some("a link-local address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.octets()[0] >= 240 => Some("a reserved address"),
        _ => None,
    }
}
