//! A picture of a [`Machine`](crate::Machine) for `anycast status`, metrics and tests.

use std::net::IpAddr;
use std::time::Duration;

use crate::auth::Verdicts;
use crate::cost::Route;
use crate::health::{CheckStatus, Impediment};
use crate::router::{Router, Sighting};
use crate::{Hold, LinkId, ServerId, ServiceId, State, Time};

/// Everything about one server at one moment.
#[derive(Clone, Debug)]
pub struct Status {
    /// This server.
    pub server: ServerId,
    /// Its services, in [`ServiceId`] order.
    pub services: Vec<ServiceStatus>,
    /// The links its services are on.
    pub links: Vec<LinkStatus>,
    /// When the machine wants its next tick.
    pub deadline: Option<Time>,
    /// A stop was asked for.
    pub stopping: bool,
}

/// One service.
#[derive(Clone, Debug)]
pub struct ServiceStatus {
    /// Which.
    pub service: ServiceId,
    /// Its address.
    pub address: IpAddr,
    /// Its VLAN key.
    pub vlan: u32,
    /// Its link.
    pub link: LinkId,
    /// State of the service on this server.
    pub state: State,
    /// What it is doing within that state.
    pub detail: Detail,
    /// Since when it is in that state.
    pub since: Time,
    /// Can it be served?
    pub able: bool,
    /// If not, why not; empty if able.
    pub impediments: Vec<Impediment>,
    /// Its checks.
    pub checks: Vec<CheckStatus>,
    /// The watched process, if it is watched.
    pub process_alive: Option<bool>,
    /// The last gate lease issued; `None` = shut.
    pub open_until: Option<Time>,
    /// The operator's word, as last read.
    pub hold: Hold,
    /// The owner as far as this server knows.
    pub owner: Owner,
    /// The epoch of the current or last known owner, the highest heard.
    pub epoch: u64,
    /// The route that is advertised, where a routing protocol does.
    pub route: Option<Route>,
    /// Few queries: no unsolicited advertisements, gate still open.
    pub quiet: bool,
    /// Load in permille; 0 without a configured capacity.
    pub load: u16,
    /// Queries per second, smoothed over a second.
    pub rate: u32,
    /// Operator's drain in force.
    pub drained: bool,
    /// Until when a flap penalty keeps this server at the back of the queue.
    pub penalty_until: Option<Time>,
    /// What is left of the owner's slice (`rotate`).
    pub slice_left: Option<Duration>,
    /// Who takes over next, first to last, as the owner named them.
    pub successors: Vec<ServerId>,
    /// Routers on the link, seen by this server or named by the owner.
    pub routers: Vec<RouterStatus>,
    /// What the peers report about this service.
    pub peers: Vec<PeerStatus>,
    /// Changes of owner in the last 180 s (EVPN duplicate-MAC detection counts 5).
    pub moves: usize,
    /// State changes since the start.
    pub transitions_total: u64,
    /// Times this server became the owner.
    pub takeovers_total: u64,
    /// Advertisements sent.
    pub advertisements_total: u64,
    /// Advertisements sent to single routers.
    pub router_advertisements_total: u64,
    /// Advertisements held back by the token bucket; each was sent later, merged with another, or lapsed with ownership.
    pub advertisements_deferred_total: u64,
    /// Advertisements by servers that are no peers.
    pub rogue_total: u64,
    /// The last such server.
    pub rogue: Option<[u8; 6]>,
}

/// What a service does within its [`State`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Nothing but what the state says.
    None,
    /// Down: able, and listening for an owner.
    Listening,
    /// Ready: nobody owns; waiting for its turn to take over.
    Contending,
    /// Standby or drained: the hook has stopped the service.
    Suspended,
    /// Standby: the service is being started, to take part again.
    Waking,
    /// Owner: answering through an adopted gate until the service is known to be able.
    Adopting,
    /// Not owner any more: still answering until the next owner is heard.
    HandingOver,
}

impl Detail {
    /// The word for it in status and logs; empty for [`Detail::None`].
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Listening => "listening",
            Self::Contending => "contending",
            Self::Suspended => "suspended",
            Self::Waking => "waking",
            Self::Adopting => "adopting",
            Self::HandingOver => "handing over",
        }
    }
}

/// Who owns a service address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Nobody is known to.
    None,
    /// This server.
    This,
    /// A peer.
    Peer(ServerId),
    /// A server that runs other software.
    Foreign([u8; 6]),
}

/// One router on the link of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterStatus {
    /// The router.
    pub router: Router,
    /// How this server has seen it; `None` = it has not, others have.
    pub by: Option<Sighting>,
    /// When.
    pub seen: Option<Time>,
    /// Who owns its entry; `None` = whoever owns the address.
    pub owner: Option<ServerId>,
    /// This server does, and answers it.
    pub mine: bool,
}

/// One peer's report about a service.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// The peer.
    pub server: ServerId,
    /// Its MAC address, if it told.
    pub mac: Option<[u8; 6]>,
    /// The state it reports.
    pub state: State,
    /// The epoch it reports.
    pub epoch: u64,
    /// The load it reports, permille.
    pub load: Option<u16>,
    /// When it was last heard.
    pub heard: Time,
    /// Heard within three of its own intervals?
    pub alive: bool,
}

/// One link.
#[derive(Clone, Copy, Debug)]
pub struct LinkStatus {
    /// Which.
    pub link: LinkId,
    /// Up?
    pub up: bool,
    /// Its MAC address, once known.
    pub mac: Option<[u8; 6]>,
    /// Live peers.
    pub peers: usize,
    /// Heartbeats sent.
    pub heartbeats_sent_total: u64,
    /// Heartbeats accepted.
    pub heartbeats_received_total: u64,
    /// Refused: not readable.
    pub heartbeats_malformed_total: u64,
    /// Refused: another farm's.
    pub heartbeats_foreign_total: u64,
    /// Refused: older than one already heard (reordered, duplicated or replayed).
    pub heartbeats_stale_total: u64,
    /// What authentication made of the heartbeats of this farm; all zero without keys.
    pub heartbeats: Verdicts,
    /// … and of the advertisements of other servers.
    pub advertisements: Verdicts,
}
