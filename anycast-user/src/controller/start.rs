//! Bringing up: attach → gates shut → addresses → groups → (lease → advertise, which are the core's). Whatever fails, what was
//! begun is undone in the opposite order.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;

use anycast_core::auth::{Authentication, KeyRing};
use anycast_core::cost::CostConfig;
use anycast_core::{
    CheckConfig, Config as CoreConfig, Event, FarmConfig, LinkId, LoadConfig, Machine, Mode, Restored,
    ServerId, ServiceConfig, ServiceId, StandbyConfig, Time,
};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::advertise::groups::{Groups, Membership};
use crate::config::{self, Config};
use crate::datapath;
use crate::host::address::{AddressOrigin, Addresses};
use crate::host::state::StateDir;
use crate::host::sysctl::Sysctls;
use crate::monitor::check::{self, CheckId, CheckOptions};
use crate::monitor::file;
use crate::monitor::link::{self as rtnetlink, Watched};
use crate::monitor::process::{self, Bus, ProcessId, Target};
use crate::monitor::router;
use crate::routing::{self, Routing};
use crate::{monitor, telemetry};

use super::drain::Drains;
use super::hooks::Hooks;
use super::link::Link;
use super::perform::Alarms;
use super::persist::Persister;
use super::pool::Elements;
use super::service::{self, CheckRun, Running, ServiceRun};
use super::{Controller, Error, will_retry};

/// From this load on a server without `[service.load]` would be congested, permille; it never is.
const CONGESTED_ABOVE: u16 = 800;

/// Where the monitors' reports go.
pub(super) struct Reports {
    pub(super) checks: mpsc::Sender<check::Report>,
    pub(super) processes: mpsc::Sender<process::Report>,
    pub(super) links: mpsc::Sender<rtnetlink::Report>,
    pub(super) routers: mpsc::Sender<router::Report>,
    pub(super) files: mpsc::Sender<file::Report>,
    pub(super) routing: mpsc::Sender<routing::Report>,
}

/// Brings everything up.
pub(super) async fn start(config: Config, reports: Reports) -> Result<Controller, Error> {
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let keys = config.farm.auth.as_ref().map(|auth| config::keys::load(&auth.key_file)).transpose()?;
    let mut state = StateDir::open(&config.daemon.state_dir)?;
    // Writes the state, so that a directory that cannot be written to is known before anything is changed.
    let incarnation = state.next_incarnation()?;
    let watched = watched(&config);
    let picture = rtnetlink::read_once(&watched).await?;
    let addresses = Addresses::open()?;
    let names: Vec<&str> = config.interfaces.iter().map(|interface| interface.name.as_str()).collect();
    for service in &config.services {
        addresses.check(service.address, &names).await?;
    }

    let mut links = Vec::new();
    let mut undo = Undo::default();
    let opened = open_links(&config, &picture, &mut links);
    let result = match opened {
        Ok(services) => {
            host(&config, &names, &addresses, &mut state, &mut undo).await.map(|groups| (services, groups))
        }
        Err(error) => Err(error),
    };
    let drains =
        Drains::new(&config, |name| state.state().services.get(name).is_some_and(|saved| saved.drained));
    let machine = result.and_then(|(services, groups)| {
        let auth = config.farm.auth.as_ref().zip(keys.clone());
        let auth = auth.map(|(auth, keys)| Authentication { keys, mode: auth.mode, incarnation });
        Ok((machine(&config, &links, &services, &state, &drains, auth)?, services, groups))
    });
    let checks = machine.and_then(|(machine, services, groups)| {
        let checks = checks(&config, reports.checks, reports.processes)?;
        let watch = rtnetlink::spawn(watched, reports.links)?;
        // Seconds of a clock, or one more than last time: the low half is enough to grow until 2106.
        let start = routing::Start {
            boot_count: incarnation as u32,
            services: config
                .services
                .iter()
                .filter(|service| service.advertise.ospf)
                .map(|service| (service.address, service.ospf_interface.clone()))
                .collect(),
        };
        let routing = config.ospf.as_ref().map(|ospf| Routing::start(ospf, &start, reports.routing));
        let routing = routing.transpose()?;
        let elements = Elements::start(&config, &mut state, entropy()).map_err(Error::Pool)?;
        Ok((machine, services, groups, checks, watch, routing, elements))
    });
    let (machine, services, groups, checks, watch, routing, elements) = match checks {
        Ok(everything) => everything,
        Err(error) => {
            undo.undo(&addresses, &mut state).await;
            links.into_iter().for_each(Link::undo);
            return Err(error);
        }
    };

    let names = config.interfaces.iter().map(|interface| interface.name.clone()).collect();
    let now = monitor::now();
    let mut controller = Controller {
        machine,
        links,
        services,
        checks,
        addresses,
        sysctls: Sysctls::default(),
        groups,
        persister: Persister::new(state),
        alarms: Alarms::default(),
        hooks: Hooks::new(&config),
        _files: file::spawn(drains.paths(), reports.files),
        drains,
        routing,
        routing_trouble: None,
        elements,
        loads_told: now,
        _watch: watch,
        _routers: router::spawn(names, reports.routers),
        started: now,
        seen: picture.addresses.clone(),
        keys: keys.iter().flat_map(KeyRing::ids).collect(),
        keys_error: None,
        routing_keys_error: None,
        done: None,
        actions: Vec::new(),
        watchdog: telemetry::notify::watchdog_interval(),
        sockets: will_retry(
            monitor::sockets::Sockets::open(),
            "drops of the services' sockets do not count as load",
        ),
        sockets_read: now,
        watchdog_sent: now,
        config,
    };
    for link in 0..controller.links.len() {
        if let Some(mac) = controller.links[link].interface.as_ref().and_then(|interface| interface.mac) {
            controller.handle(Event::Mac { link: link_id(link), mac });
        }
    }
    Ok(controller)
}

/// What rtnetlink is to watch.
fn watched(config: &Config) -> Watched {
    Watched {
        interfaces: config.interfaces.iter().map(|interface| interface.name.clone()).collect::<BTreeSet<_>>(),
        addresses: config.services.iter().map(|service| service.address).collect(),
    }
}

/// Attaches to each interface, or adopts what is there, and fills the tables; gates that are not adopted stay shut.
fn open_links(
    config: &Config,
    picture: &rtnetlink::Report,
    links: &mut Vec<Link>,
) -> Result<Vec<ServiceRun>, Error> {
    let mut runs: Vec<Option<ServiceRun>> = config.services.iter().map(|_| None).collect();
    for (number, options) in config.interfaces.iter().enumerate() {
        let name = &options.name;
        let snapshot = picture.interfaces.iter().find(|snapshot| snapshot.name == *name);
        let Some(interface) = snapshot.and_then(|snapshot| snapshot.interface.clone()) else {
            return Err(Error::NoInterface { interface: name.clone() });
        };
        let services: Vec<ServiceId> = (0..config.services.len())
            .filter(|&service| config.services[service].interface == number)
            .map(service_id)
            .collect();
        let mode = match options.xdp_mode {
            config::XdpMode::Native => datapath::Mode::Native,
            config::XdpMode::Generic => datapath::Mode::Generic,
        };
        let options = datapath::Options {
            interface: name.clone(),
            mode,
            bpffs: config.daemon.bpffs.clone(),
            log: config.daemon.bpf_log,
            extra: services.iter().any(|service| config.services[service.index()].needs_extra()),
        };
        links.push(Link::open(name, options, services, interface)?);
        let link = &mut links[number];
        let indexes = link.configure(config)?;
        for (service, index) in link.services.iter().zip(indexes) {
            runs[service.index()] = Some(ServiceRun::new(index));
        }
    }
    // Every service is on an interface of the configuration: the validator has made the one list from the other.
    Ok(runs.into_iter().flatten().collect())
}

/// What was changed on the host by this start.
#[derive(Default)]
struct Undo {
    addresses: Vec<IpAddr>,
    sysctls: Vec<String>,
}

impl Undo {
    async fn undo(self, addresses: &Addresses, state: &mut StateDir) {
        for address in self.addresses {
            if let Err(error) = addresses.remove(state, address).await {
                warn!(%error, "cannot undo");
            }
        }
        for interface in self.sysctls {
            if let Err(error) = Sysctls::default().restore(state, &interface) {
                warn!(%error, "cannot undo");
            }
        }
    }
}

/// Addresses, sysctls, groups.
async fn host(
    config: &Config,
    names: &[&str],
    addresses: &Addresses,
    state: &mut StateDir,
    undo: &mut Undo,
) -> Result<Groups, Error> {
    let wanted: Vec<IpAddr> = config.services.iter().map(|service| service.address).collect();
    // An earlier run with another configuration may have ended by SIGKILL.
    addresses.remove_all_but(state, &wanted).await?;
    let mut groups = Groups::new();
    for service in &config.services {
        let interface = config.interfaces[service.interface].name.as_str();
        if service.address.is_ipv4() {
            Sysctls::default().set_arp(state, interface)?;
            undo.sysctls.push(interface.to_owned());
        }
        let ours_before = state.state().addresses.contains(&service.address);
        if addresses.add(state, service.address, names).await? == AddressOrigin::Ours && !ours_before {
            undo.addresses.push(service.address);
        }
        if let IpAddr::V6(address) = service.address {
            join(&mut groups, interface, anycast_common::abi::vlan_key(&service.vlan), address);
        }
    }
    Ok(groups)
}

/// Joins a solicited-node group. A failure is not the end: it is tried again whenever the interface changes, and unicast
/// solicitations arrive without it.
fn join(groups: &mut Groups, interface: &str, vlan: u32, address: std::net::Ipv6Addr) {
    match groups.join(interface, vlan, address) {
        Ok(Membership::FilterOnly) => warn!(
            interface,
            %address,
            "no device for this VLAN: the NIC's filter is open, but no MLD report is sent, and a snooping switch may keep solicitations away"
        ),
        Ok(_) => {}
        Err(error) => {
            warn!(%error, interface, %address, "solicited-node group not joined; trying again when the interface changes")
        }
    }
}

/// The core, with what the last run left.
fn machine(
    config: &Config,
    links: &[Link],
    services: &[ServiceRun],
    state: &StateDir,
    drains: &Drains,
    auth: Option<Authentication>,
) -> Result<Machine, Error> {
    let now = monitor::now();
    let restored = |number: usize, name: &str| {
        let saved = state.state().services.get(name).cloned().unwrap_or_default();
        let link = &links[config.services[number].interface];
        let gate_open_until = link
            .datapath
            .as_ref()
            .filter(|datapath| datapath.adopted())
            .map(|datapath| Time::from_nanos(datapath.gate(services[number].index).open_until_ns))
            .filter(|until| *until > now);
        if gate_open_until.is_some() {
            info!(service = name, "adopting an open gate");
        }
        Restored { epoch: saved.epoch, drained: drains.wanted(number), gate_open_until }
    };
    let core = CoreConfig {
        server: server_id(links),
        farm: Some(FarmConfig { name: config.farm.name.clone(), heartbeat: config.farm.heartbeat, auth }),
        lease: config.daemon.lease,
        restart_lease: config.daemon.restart_lease,
        grace: config.daemon.grace,
        services: config
            .services
            .iter()
            .enumerate()
            .map(|(number, service)| core_service(config, number, service, restored(number, &service.name)))
            .collect(),
    };
    Machine::new(core, entropy(), now).map_err(|source| Error::Core { path: config.path.clone(), source })
}

/// A seed from the operating system's entropy, which is where the standard library's hash keys come from.
fn entropy() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn core_service(
    config: &Config,
    number: usize,
    service: &config::Service,
    restored: Restored,
) -> ServiceConfig {
    let check = config.check_of(number);
    let damping = check.map(|check| CheckConfig { rise: check.rise, fall: check.fall });
    let count = check.map_or(0, |check| {
        usize::from(check.dns.is_some())
            + usize::from(check.tcp.is_some())
            + usize::from(check.exec.is_some())
    });
    ServiceConfig {
        address: service.address,
        vlan: anycast_common::abi::vlan_key(&service.vlan),
        link: link_id(service.interface),
        mode: match service.mode {
            config::Mode::Failover => Mode::Failover,
            config::Mode::Rotate => Mode::Rotate { slice: service.slice.saturating_mul(service.weight) },
            config::Mode::Solicited => Mode::Solicited,
        },
        priority: service.priority,
        preempt_delay: service.preempt_delay,
        answer_delay: service.answer_delay,
        per_router: service.per_router,
        neighbor_discovery: service.advertise.ndp,
        route: service.advertise.ospf.then(|| CostConfig {
            min: service.cost.min,
            max: service.cost.max,
            levels: service.cost.levels,
            up_hold: service.cost.up_hold,
            down_hold: service.cost.down_hold,
            jitter: service.cost.jitter,
            congested_above: service
                .load
                .as_ref()
                .map_or(CONGESTED_ABOVE, |load| u16::try_from(load.congested_above).unwrap_or(u16::MAX)),
        }),
        checks: damping.into_iter().cycle().take(count).collect(),
        process: check.is_some_and(|check| check.process.is_some()),
        standby: service.standby.as_ref().map(|standby| StandbyConfig {
            queries: standby.queries,
            window: standby.window,
            wake_timeout: standby.hooks.as_ref().map(|hooks| hooks.wake_timeout),
        }),
        load: service.load.as_ref().map(|load| LoadConfig {
            capacity: u32::try_from(load.capacity).unwrap_or(u32::MAX),
            congested_above: u16::try_from(load.congested_above).unwrap_or(u16::MAX),
            latency_limit: check.map(|check| check.timeout),
        }),
        foreign: config.farm.foreign.clone(),
        restored,
    }
}

/// This server's id: the MAC address of its first interface, which is unique on the link and which operators know.
fn server_id(links: &[Link]) -> ServerId {
    let mac = links.first().and_then(|link| link.interface.as_ref()).and_then(|interface| interface.mac);
    let mac = mac.unwrap_or_default();
    ServerId(mac.iter().fold(0, |id, octet| id << 8 | u64::from(*octet)).max(1))
}

/// Starts the checks and the watching of processes. One that several services share runs once.
fn checks(
    config: &Config,
    checks_in: mpsc::Sender<check::Report>,
    processes_in: mpsc::Sender<process::Report>,
) -> Result<Vec<CheckRun>, Error> {
    let service_addresses: Vec<IpAddr> = config.services.iter().map(|service| service.address).collect();
    let mut runs: Vec<CheckRun> = Vec::new();
    for (number, service) in config.services.iter().enumerate() {
        let config::Checked::Own(check) = &service.check else { continue };
        let sharers = service::sharers(config, number);
        for (position, (kind, target, job)) in service::jobs(&service.name, check)?.into_iter().enumerate() {
            let id = CheckId(u32::try_from(runs.len()).unwrap_or(u32::MAX));
            let options = CheckOptions {
                interval: check.interval,
                timeout: check.timeout,
                kind: job,
                service_addresses: service_addresses.clone(),
            };
            let services = sharers.iter().map(|service| (*service, position)).collect();
            let running = Running::Check { handle: check::spawn(id, options, checks_in.clone()) };
            runs.push(CheckRun::new(services, kind, target, running));
        }
        if let Some(process) = &check.process {
            let id = ProcessId(u32::try_from(runs.len()).unwrap_or(u32::MAX));
            let target = match process {
                config::ProcessTarget::PidFile(path) => Target::PidFile(path.clone()),
                config::ProcessTarget::Unit(name) => Target::Unit { name: name.clone(), bus: Bus::System },
            };
            let services = sharers.iter().map(|service| (*service, usize::MAX)).collect();
            let words = service::process_target(process);
            let running = Running::Process { _guard: process::spawn(id, target, processes_in.clone()) };
            runs.push(CheckRun::new(services, "process", words, running));
        }
    }
    Ok(runs)
}

/// A position among the links, as the core names it.
pub(super) fn link_id(position: usize) -> LinkId {
    LinkId(u16::try_from(position).unwrap_or(u16::MAX))
}

/// A position among the services, as the core names it.
pub(super) fn service_id(position: usize) -> ServiceId {
    ServiceId(u16::try_from(position).unwrap_or(u16::MAX))
}
