//! The daemon's own OSPFv3 speaker: `anycast-ospf` on raw sockets.

pub mod farewell;
pub(super) mod keys;
mod show;
mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::task::Poll;
use std::time::Duration;

use anycast_core::cost::{DRAINED, Figures, Route};
use anycast_ospf::auth::KeyRing;
use anycast_ospf::codec::LsType;
use anycast_ospf::codec::body::{Prefix, ServiceState};
use anycast_ospf::{
    Advertise, AreaId, Config, Event, Input, InterfaceConfig, InterfaceId, Link, LinkType, LoadConfig,
    Output, RouterId, Speaker, Tag, Time,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::guard::{Guard, Word};
use super::{Ending, Inputs, LOOK_AFTER, Load, Order, Report};
use crate::config::ospf::{self as options, Native, Uplink};
use crate::monitor::link::{self, LinkError, LinkHandle, Watched};
use crate::{monitor, telemetry};

use farewell::farewells;
use socket::{Socket, SocketError};

/// Reports of interfaces that may wait.
const CHANNEL: usize = 16;

/// An interface is looked for and opened again after this time if that failed.
const REOPEN: Duration = Duration::from_secs(1);

/// What the speaker must know beside its configuration.
#[derive(Clone, Debug)]
pub struct Start {
    /// Counts starts over restarts.
    pub boot_count: u32,
    /// The services that are advertised, and the interface on which another routing daemon knows each, where it needs one.
    pub services: Vec<(IpAddr, Option<String>)>,
}

/// Why the speaker could not begin.
#[derive(Debug, thiserror::Error)]
pub enum NativeError {
    /// The configuration.
    #[error("ospf: {0}")]
    Config(#[from] anycast_ospf::ConfigError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] keys::KeysError),
    /// rtnetlink.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Starts the speaker.
///
/// # Errors
/// See [`NativeError`]. Interfaces that are not there are waited for.
pub(super) fn spawn(
    native: &Native,
    start: &Start,
    inputs: Inputs,
    guard: Option<Guard>,
) -> Result<JoinHandle<()>, NativeError> {
    let config = speaker_config(native, start)?;
    let speaker = Speaker::new(config.clone())?;
    let (links_in, links) = mpsc::channel(CHANNEL);
    let names: BTreeSet<String> = native.interfaces.iter().map(|uplink| uplink.name.clone()).collect();
    let watch = link::spawn(Watched { interfaces: names, addresses: BTreeSet::new() }, links_in)?;
    let uplinks: Vec<Port> =
        config.interfaces.iter().map(|interface| Port { name: interface.name.clone(), open: None }).collect();
    let task = Task {
        uplinks,
        speaker,
        config,
        routes: BTreeMap::new(),
        guard,
        guarded: Vec::new(),
        stopped: false,
        trouble: None,
        reports: inputs.reports.clone(),
        _watch: watch,
    };
    Ok(tokio::spawn(task.run(inputs, links)))
}

/// The speaker's configuration.
///
/// # Errors
/// The key file cannot be read.
pub fn speaker_config(native: &Native, start: &Start) -> Result<Config, NativeError> {
    Ok(config(native, load_keys(native)?, start.boot_count))
}

/// The keys of a speaker; `None` = packets are not authenticated.
///
/// # Errors
/// The key file cannot be read.
pub fn load_keys(native: &Native) -> Result<Option<KeyRing>, keys::KeysError> {
    let keys = native.key_file.as_deref().map(keys::load).transpose()?;
    Ok(keys.map(|keys| keys.frr84_compat(native.frr84_compat)))
}

/// The interfaces of a speaker as rtnetlink sees them; `None` = it cannot be spoken on.
pub fn links(config: &Config, picture: &[link::Snapshot]) -> Vec<Option<Link>> {
    let link = |name: &str| {
        let seen = picture.iter().find(|seen| seen.name == name)?;
        let interface = seen.interface.as_ref().filter(|interface| interface.up)?;
        Some(Link {
            ifindex: interface.index,
            mtu: u16::try_from(interface.mtu).unwrap_or(u16::MAX),
            link_local: interface.link_local()?,
        })
    };
    config.interfaces.iter().map(|interface| link(&interface.name)).collect()
}

fn config(native: &Native, keys: Option<KeyRing>, boot_count: u32) -> Config {
    let area = |uplink: &Uplink| AreaId(uplink.area.to_bits());
    let interfaces = native.interfaces.iter().map(|uplink| InterfaceConfig {
        link_type: if uplink.point_to_point { LinkType::PointToPoint } else { LinkType::Broadcast },
        area: area(uplink),
        instance: uplink.instance,
        hello_interval: uplink.hello,
        dead_interval: uplink.dead,
        retransmit_interval: uplink.retransmit,
        cost: uplink.cost,
        mtu_ignore: uplink.mtu_ignore,
        // The kernel would count the trailer in.
        kernel_checksum: keys.is_none(),
        auth: keys.clone(),
        ..InterfaceConfig::new(&uplink.name)
    });
    let mut config = Config::new(RouterId(native.router_id.to_bits()), interfaces.collect());
    config.boot_count = boot_count;
    config.recalculate = native.recalculate;
    config.stub_areas = native.interfaces.iter().filter(|uplink| uplink.stub).map(area).collect();
    if let Some(external) = native.external {
        let tag = match external.tag {
            options::Tag::None => Tag::None,
            options::Tag::Fixed(tag) => Tag::Fixed(tag),
            options::Tag::Load => Tag::Load,
        };
        config.advertise = Advertise::External { type_2: external.type_2, tag };
    }
    config.load = native.load.map(|load| LoadConfig {
        ls_type: LsType(load.ls_type),
        enterprise: load.enterprise,
        ..LoadConfig::default()
    });
    config
}

/// An interface and its socket.
struct Port {
    name: String,
    open: Option<(Socket, Link)>,
}

struct Task {
    speaker: Speaker,
    uplinks: Vec<Port>,
    config: Config,
    /// What is advertised.
    routes: BTreeMap<IpAddr, Route>,
    guard: Option<Guard>,
    /// The interfaces that the guard was told of.
    guarded: Vec<Option<Link>>,
    stopped: bool,
    trouble: Option<String>,
    reports: mpsc::Sender<Report>,
    /// Ends the watching of interfaces with the task.
    _watch: LinkHandle,
}

impl Task {
    async fn run(mut self, mut inputs: Inputs, mut links: mpsc::Receiver<link::Report>) {
        let mut picture: Vec<link::Snapshot> = Vec::new();
        let mut reopen = tokio::time::interval(REOPEN);
        reopen.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut look_after = tokio::time::interval(LOOK_AFTER);
        let mut buffer = vec![0; socket::PACKET_MAX];
        let mut stopping = false;
        while !self.stopped {
            let deadline = self.speaker.next_timeout();
            let timeout = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(instant_of(at)).await,
                    None => std::future::pending().await,
                }
            };
            // Biased: what withdraws a route comes before what refreshes one.
            let outputs = tokio::select! {
                biased;
                ending = &mut inputs.stop, if !stopping => {
                    stopping = true;
                    match ending.unwrap_or(Ending::Withdraw) {
                        Ending::Withdraw => self.speaker.handle(now(), Input::Stop),
                        Ending::Keep => break,
                    }
                }
                Some(order) = inputs.orders.recv() => self.order(order),
                received = receive(&self.uplinks, &mut buffer) => match received {
                    Ok((interface, packet)) => self.speaker.handle(now(), Input::Packet {
                        interface,
                        source: packet.source,
                        destination: packet.destination,
                        payload: &buffer[..packet.length],
                    }),
                    Err((interface, error)) => self.lost(interface, &error),
                },
                Some(report) = links.recv() => {
                    picture = report.interfaces;
                    self.links(&picture)
                }
                Some(reply) = inputs.looks.recv() => {
                    let _ = reply.send(self.picture());
                    Vec::new()
                }
                _ = look_after.tick() => {
                    if let Some(guard) = &mut self.guard {
                        guard.keep();
                    }
                    Vec::new()
                }
                _ = reopen.tick(), if self.uplinks.iter().any(|port| port.open.is_none()) => self.links(&picture),
                () = timeout => self.speaker.handle_timeout(now()),
            };
            self.perform(outputs).await;
        }
        // Killed before this, the guard says good-bye; from here on it must not.
        if let Some(guard) = self.guard.take() {
            guard.dismiss();
        }
    }

    fn order(&mut self, order: Order) -> Vec<Output> {
        // The configuration refuses IPv4 addresses with this driver.
        let prefix = |address| match address {
            IpAddr::V6(address) => Some(Prefix::host(address)),
            IpAddr::V4(_) => None,
        };
        let input = match order {
            Order::Keys(keys) => {
                self.set_keys(&keys);
                return Vec::new();
            }
            Order::Route { address, route } => {
                let Some(prefix) = prefix(address) else { return Vec::new() };
                self.routes.insert(address, route);
                match route {
                    Route::Cost(cost) => Input::Announce(prefix, cost),
                    Route::Drained => Input::Drain(prefix),
                    Route::Withdrawn => Input::Withdraw(prefix),
                }
            }
            Order::Load { address, load: Load { permille, capacity, rate } } => {
                let Some(prefix) = prefix(address) else { return Vec::new() };
                Input::Load(prefix, anycast_ospf::Load { permille: permille.into(), capacity, rate })
            }
        };
        self.speaker.handle(now(), input)
    }

    /// A roll-over: what is signed from now on, and what the guard would send.
    fn set_keys(&mut self, keys: &KeyRing) {
        for (number, interface) in self.config.interfaces.iter_mut().enumerate() {
            interface.auth = Some(keys.clone());
            self.speaker.set_keys(InterfaceId(number), Some(keys.clone()));
        }
        self.tell_guard();
    }

    fn tell_guard(&mut self) {
        if let Some(guard) = &mut self.guard {
            guard.tell(Word::Farewells(farewells(&self.config, &self.guarded, 0)));
        }
    }

    fn picture(&self) -> telemetry::ospf::Ospf {
        let routes = self.routes.iter().filter_map(|(address, route)| {
            let metric = route.metric()?.into();
            Some(telemetry::ospf::Route { address: address.to_string(), metric })
        });
        let load = self.config.load.map(|load| (load.ls_type, load.enterprise));
        show::picture(&self.speaker, now(), load, routes.collect(), self.trouble.clone())
    }

    /// Brings each interface to what rtnetlink says of it.
    fn links(&mut self, picture: &[link::Snapshot]) -> Vec<Output> {
        let mut outputs = Vec::new();
        let links = links(&self.config, picture);
        for (number, (port, link)) in self.uplinks.iter_mut().zip(links).enumerate() {
            let interface = InterfaceId(number);
            match (&port.open, link) {
                (None, None) => {}
                (Some((_, open)), Some(link)) if *open == link => {}
                (Some(_), None) => {
                    port.open = None;
                    outputs.extend(self.speaker.handle(now(), Input::Down(interface)));
                }
                (_, Some(link)) => {
                    let kernel_checksum = self.config.interfaces[number].kernel_checksum;
                    match Socket::open(&port.name, link.ifindex, link.link_local, kernel_checksum) {
                        Ok(socket) => {
                            port.open = Some((socket, link));
                            outputs.extend(self.speaker.handle(now(), Input::Up(interface, link)));
                        }
                        Err(error) => warn!("{error}; trying again"),
                    }
                }
            }
        }
        let open: Vec<Option<Link>> =
            self.uplinks.iter().map(|port| port.open.as_ref().map(|(_, link)| *link)).collect();
        if self.guarded != open {
            self.guarded = open;
            self.tell_guard();
        }
        outputs
    }

    /// A socket is of no use any more; it is opened anew with the interface.
    fn lost(&mut self, interface: InterfaceId, error: &SocketError) -> Vec<Output> {
        warn!("{error}");
        self.uplinks[interface.0].open = None;
        self.speaker.handle(now(), Input::Down(interface))
    }

    async fn perform(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send { interface, destination, payload } => {
                    let Some((socket, _)) = &self.uplinks[interface.0].open else { continue };
                    // What is lost here is repeated as what is lost on the wire.
                    if let Err(error) = socket.send(destination, &payload) {
                        warn!("{error}");
                    }
                }
                Output::Event(event) => self.tell(event).await,
                Output::Stopped => self.stopped = true,
            }
        }
    }

    async fn tell(&mut self, event: Event) {
        let interface = match &event {
            Event::Interface { interface, .. }
            | Event::DesignatedRouter { interface, .. }
            | Event::NoDesignatedRouter { interface, .. }
            | Event::Neighbor { interface, .. }
            | Event::Stuck { interface, .. }
            | Event::Rejected { interface, .. } => Some(self.uplinks[interface.0].name.as_str()),
            _ => None,
        };
        match &event {
            _ if event.is_problem() => warn!(interface, "OSPF: {event}"),
            Event::Originated { .. } | Event::PeerLoad { .. } => tracing::debug!(interface, "OSPF: {event}"),
            _ => info!(interface, "OSPF: {event}"),
        }
        if let Event::DuplicateRouterId { .. } = &event {
            self.trouble = Some(format!("OSPF: {event}"));
            let _ = self.reports.send(Report::Trouble(self.trouble.clone())).await;
        }
        if let Event::PeerLoad { .. } = event {
            self.peers_changed().await;
        }
    }

    /// Tells the controller what all others say of each service.
    async fn peers_changed(&self) {
        let mut peers: BTreeMap<IpAddr, BTreeMap<RouterId, Figures>> = BTreeMap::new();
        for address in self.routes.keys() {
            peers.insert(*address, BTreeMap::new());
        }
        for told in self.speaker.peer_loads(now()) {
            let load = told.load;
            if load.prefix.length() != 128 {
                continue;
            }
            let Some(of_service) = peers.get_mut(&IpAddr::V6(load.prefix.address())) else { continue };
            // A router in two areas says the same in both.
            of_service.insert(
                told.router,
                Figures {
                    load: u16::try_from(load.permille).unwrap_or(u16::MAX),
                    capacity: load.capacity,
                    rate: load.rate,
                    route: match (load.state, u16::try_from(load.cost)) {
                        (ServiceState::Draining, _) => Route::Drained,
                        (_, Ok(cost)) if cost != DRAINED => Route::Cost(cost),
                        _ => Route::Drained,
                    },
                },
            );
        }
        for (address, peers) in peers {
            let peers = peers.into_values().collect();
            let _ = self.reports.send(Report::Peers { address, peers }).await;
        }
    }
}

/// The next packet of any interface.
async fn receive(
    uplinks: &[Port],
    buffer: &mut [u8],
) -> Result<(InterfaceId, socket::Received), (InterfaceId, SocketError)> {
    std::future::poll_fn(|cx| {
        for (number, port) in uplinks.iter().enumerate() {
            let Some((socket, _)) = &port.open else { continue };
            if let Poll::Ready(received) = socket.poll_receive(cx, buffer) {
                let interface = InterfaceId(number);
                return Poll::Ready(
                    received.map(|packet| (interface, packet)).map_err(|error| (interface, error)),
                );
            }
        }
        Poll::Pending
    })
    .await
}

/// The present, on the daemon's clock.
fn now() -> Time {
    Time::from_nanos(monitor::now().as_nanos())
}

fn instant_of(at: Time) -> tokio::time::Instant {
    tokio::time::Instant::now() + at.since(now())
}
