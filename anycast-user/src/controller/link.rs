//! Everything that belongs to one interface, through its going and coming back.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use anycast_common::abi;
use anycast_core::{ServiceId, Time};
use futures_util::FutureExt;
use futures_util::future::select_all;
use tracing::{error, info, warn};

use crate::advertise::heartbeat::{self, HEARTBEAT_MAX, Heartbeat};
use crate::advertise::sender::Sender;
use crate::config::{Config, Source};
use crate::datapath::{self, Datapath};
use crate::monitor;
use crate::monitor::link::Interface;

use super::will_retry;

/// Some drivers take the link down to attach a program. A down within this time of our own attachment is not told to the core
/// unless it lasts longer.
const SETTLE: Duration = Duration::from_secs(3);

/// Distance of attempts to attach to an interface that is there but refuses.
const RETRY: Duration = Duration::from_secs(1);

/// Heartbeats taken in one pass: a flood must not keep the loop from renewing leases.
const HEARTBEATS_A_PASS: usize = 64;

/// An interface that carries services.
pub(super) struct Link {
    pub(super) name: String,
    options: datapath::Options,
    /// `None` while the interface is away, or cannot be attached to.
    pub(super) datapath: Option<Datapath>,
    pub(super) sender: Sender,
    pub(super) heartbeat: Heartbeat,
    /// As last reported; `None` while it is away.
    pub(super) interface: Option<Interface>,
    /// The services on it, in the order in which the fast path was told.
    pub(super) services: Vec<ServiceId>,
    /// What the fast path reported.
    pub(super) events: Vec<abi::Event>,
    /// What peers sent.
    pub(super) datagrams: Vec<(Ipv6Addr, Vec<u8>)>,
    buffer: Box<[u8; HEARTBEAT_MAX]>,
    settle_until: Time,
    /// When attaching was last tried again.
    tried: Time,
    /// What the core was last told.
    pub(super) told_up: Option<bool>,
    /// Heartbeats cannot be sent at present: said once.
    pub(super) mute: bool,
}

impl Link {
    /// Attaches the fast path, or adopts the one that is there, and opens the sockets. Whoever drops an unfinished start calls
    /// [`Link::undo`].
    pub(super) fn open(
        name: &str,
        options: datapath::Options,
        services: Vec<ServiceId>,
        interface: Interface,
    ) -> Result<Self, super::Error> {
        let sender = Sender::open(name)?;
        let heartbeat = Heartbeat::open(name, heartbeat::GROUP, heartbeat::PORT)?;
        let datapath = Datapath::open(&options)?;
        let mut link = Self {
            name: name.to_owned(),
            options,
            datapath: None,
            sender,
            heartbeat,
            interface: Some(interface),
            services,
            events: Vec::new(),
            datagrams: Vec::new(),
            buffer: Box::new([0; HEARTBEAT_MAX]),
            settle_until: Time::ZERO,
            tried: Time::ZERO,
            told_up: None,
            mute: false,
        };
        link.attached(datapath);
        Ok(link)
    }

    fn attached(&mut self, datapath: Datapath) {
        let (program, mode, adopted) = (datapath.program_id(), datapath.mode(), datapath.adopted());
        info!(interface = self.name, program, mode = mode.name(), adopted, "fast path attached");
        if !adopted {
            self.settle_until = monitor::now() + SETTLE;
        }
        self.datapath = Some(datapath);
    }

    /// Takes back what [`Link::open`] did, unless it was there before.
    pub(super) fn undo(self) {
        if let Some(datapath) = self.datapath {
            if datapath.adopted() {
                datapath.keep();
            } else if let Err(error) = datapath.detach() {
                error!(%error, interface = self.name, "cannot detach");
            }
        }
    }

    /// Is it time for another attempt to attach? At most one a second.
    pub(super) fn may_try_again(&mut self, now: Time) -> bool {
        let due = now.since(self.tried) >= RETRY;
        if due {
            self.tried = now;
        }
        due
    }

    /// Attaches again after the interface was away.
    pub(super) fn reattach(&mut self) {
        self.tried = monitor::now();
        if self.datapath.is_none()
            && let Some(datapath) =
                will_retry(Datapath::open(&self.options), "fast path not attached; trying again")
        {
            self.attached(datapath);
        }
        if let Err(error) = self.heartbeat.reopen() {
            warn!(%error, "heartbeat socket not reopened; trying again");
        }
    }

    /// The interface is away: the kernel has detached the program; what is pinned is of no use.
    pub(super) fn gone(&mut self) {
        self.interface = None;
        if let Some(datapath) = self.datapath.take()
            && let Err(error) = datapath.detach()
        {
            warn!(%error, interface = self.name, "cannot remove the pins of an interface that is gone");
        }
    }

    /// Tells the fast path its services; returns their numbers there in the order of [`Link::services`].
    pub(super) fn configure(&mut self, config: &Config) -> Result<Vec<u32>, super::Error> {
        let (Some(datapath), Some(interface)) = (&mut self.datapath, &self.interface) else {
            return Ok(Vec::new());
        };
        let Some(mac) = interface.mac else {
            return Err(super::Error::NoMac { interface: self.name.clone() });
        };
        let services: Vec<_> = self
            .services
            .iter()
            .map(|service| {
                let service = &config.services[service.index()];
                datapath::Service {
                    address: service.address,
                    vlan: service.vlan.clone(),
                    ports: service.ports.clone(),
                    override_flag: service.override_flag,
                    router: interface.forwarding6,
                    source: source(service.source, interface),
                    delayed: service.answer_delay.is_some(),
                }
            })
            .collect();
        Ok(datapath.set_services(mac, &services)?)
    }

    /// Can frames pass, as far as the core is to know? `None` = ask again later.
    pub(super) fn up(&self, now: Time) -> Option<bool> {
        match &self.interface {
            Some(interface) if interface.up && self.datapath.is_some() => Some(true),
            Some(_) if self.datapath.is_some() && now < self.settle_until && self.told_up.is_some() => None,
            _ => Some(false),
        }
    }

    /// Waits for something from the fast path or from a peer, and takes all that is there.
    async fn readable(&mut self) {
        let events = async {
            match &mut self.datapath {
                Some(datapath) => datapath.events(&mut self.events).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = events => {}
            received = self.heartbeat.receive(self.buffer.as_mut_slice()) => {
                let mut received = Some(received);
                // An error is counted by the socket and repeats only if the interface is away, which rtnetlink tells.
                while let Some(Ok(heartbeat)) = received {
                    self.datagrams.push((heartbeat.source, self.buffer[..heartbeat.length].to_vec()));
                    if self.datagrams.len() == HEARTBEATS_A_PASS {
                        break;
                    }
                    received = self.heartbeat.receive(self.buffer.as_mut_slice()).now_or_never();
                }
            }
        }
    }
}

/// The source of a service's advertisements; `None` = the service address itself.
pub(super) fn source(wanted: Source, interface: &Interface) -> Option<Ipv6Addr> {
    match wanted {
        // Without a usable link-local address (it is tentative for the first second or two of an interface) the target is
        // the only address of this host that is sure to be good.
        Source::LinkLocal => interface.link_local(),
        Source::Target => None,
    }
}

/// Waits until any link has something.
pub(super) async fn readable(links: &mut [Link]) {
    if links.is_empty() {
        return std::future::pending().await;
    }
    select_all(links.iter_mut().map(|link| Box::pin(link.readable()))).await;
}

/// An address as it stands in the maps, for people.
pub(super) fn address_of(words: [u32; 4]) -> IpAddr {
    let mut octets = [0; 16];
    for (four, word) in octets.chunks_exact_mut(4).zip(words) {
        four.copy_from_slice(&word.to_ne_bytes());
    }
    let address = Ipv6Addr::from(octets);
    address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)
}
