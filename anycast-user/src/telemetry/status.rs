//! The status model: one snapshot of everything the daemon knows, as `anycast status --json` prints it.
//!
//! Of a service, the keys `name`, `address`, `interface`, `state`, `gate`, `owner`, `load`, `queries_total`,
//! `solicitations_answered_total` and `peers` are fixed; others may join them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anycast_common::abi;
use serde::{Deserialize, Serialize};

use super::ospf::Ospf;
use super::pool::Element;
use crate::control::Hold;

/// The daemon and all it looks after.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// One entry a `[[service]]`, in the order of the configuration.
    pub services: Vec<Service>,
    /// One entry an interface that carries services.
    pub interfaces: Vec<Interface>,
    /// What an operator should look at now; empty when all is well.
    pub alarms: Vec<String>,
    /// The daemon itself.
    pub daemon: Daemon,
    /// The routing protocol, without its database; `null` = none is configured, or it does not answer now.
    #[serde(default)]
    pub ospf: Option<Ospf>,
    /// The services that are elements of pools.
    #[serde(default)]
    pub pool: Vec<Element>,
}

/// The daemon itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Daemon {
    /// Version of the `anycast` binary.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: f64,
    /// Name of the farm.
    pub farm: String,
    /// This server's id in the farm, as peers show it.
    pub server: String,
    /// The configuration file in force.
    pub config: String,
    /// How heartbeats are authenticated: `off`, `receive-only`, `permissive` or `enforce`.
    #[serde(default)]
    pub auth: String,
    /// Numbers of the keys in force; the first signs.
    #[serde(default)]
    pub keys: Vec<u16>,
    /// How long an open gate answers after its last renewal, milliseconds.
    pub lease_ms: u64,
    /// The daemon is stopping.
    pub stopping: bool,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its name in the configuration.
    pub name: String,
    /// The service address.
    pub address: IpAddr,
    /// The interface it is announced on.
    pub interface: String,
    /// VLAN identifiers, outermost first; empty = untagged.
    pub vlan: Vec<u16>,
    /// `rotate`, `failover` or `solicited`.
    pub mode: String,
    /// This server's part.
    pub state: State,
    /// Seconds in that state.
    pub state_seconds: f64,
    /// Why it went there.
    pub state_reason: String,
    /// What it does within its state: `listening`, `contending`, `suspended` (in standby, the service process was stopped),
    /// `waking` (it is being started), `adopting`, `handing over`; empty = nothing in particular.
    #[serde(default)]
    pub state_detail: String,
    /// Whether this server could serve.
    pub able: bool,
    /// If not: each thing that stands in the way.
    pub not_able_because: Vec<String>,
    /// Whether the fast path answers.
    pub gate: Gate,
    /// The operator's word.
    pub hold: Hold,
    /// Milliseconds until the fast path falls silent by itself; `null` when the gate is shut.
    pub lease_ms_left: Option<u64>,
    /// Id of the server that owns the address as far as this one knows; `null` = nobody is heard.
    pub owner: Option<String>,
    /// Whether that is this server.
    pub owned_here: bool,
    /// Too few queries: the last able server keeps its gate, but sends no unsolicited advertisements.
    #[serde(default)]
    pub quiet: bool,
    /// Metric of the route that is advertised, 65535 = drained; `null` = none is.
    #[serde(default)]
    pub route: Option<u16>,
    /// Epoch of the ownership.
    pub epoch: u64,
    /// Load in permille of what this server can do; `null` = not measured.
    pub load: Option<u32>,
    /// Queries per second over the last few seconds.
    pub query_rate: f64,
    /// Queries that arrived, since the program was attached.
    pub queries_total: u64,
    /// Datagrams and connections that the service's sockets dropped, since those were opened; 0 without a `[service.load]`.
    #[serde(default)]
    pub socket_drops_total: u64,
    /// Solicitations answered, since the program was attached.
    pub solicitations_answered_total: u64,
    /// Unsolicited advertisements sent by this daemon.
    pub advertisements_sent_total: u64,
    /// Unsolicited advertisements that could not be sent.
    pub advertisements_failed_total: u64,
    /// Changes of owner seen in the last 180 seconds.
    pub moves_180s: u32,
    /// Changes of state since the daemon started.
    pub transitions_total: u64,
    /// All counters of the fast path, since the program was attached.
    pub counters: Counters,
    /// Each check and what it last said.
    pub checks: Vec<Check>,
    /// Other servers heard for this service.
    pub peers: Vec<Peer>,
    /// Different servers own different routers' entries.
    #[serde(default)]
    pub per_router: bool,
    /// Routers on the link.
    #[serde(default)]
    pub routers: Vec<Router>,
    /// Advertisements sent to single routers by this daemon.
    #[serde(default)]
    pub router_advertisements_total: u64,
}

/// A router on a service's link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Router {
    /// Its link-local address.
    pub address: IpAddr,
    /// The MAC address it sends from.
    pub mac: String,
    /// How this server knows it: `solicitation`, `advertisement`, `neighbour` or `peer`; `null` = only the owner names it.
    pub seen_by: Option<String>,
    /// Seconds since it was last seen.
    pub seen_seconds: Option<f64>,
    /// Id of the server that owns its entry; `null` = whoever owns the address.
    pub owner: Option<String>,
    /// Whether that is this server.
    pub owned_here: bool,
}

/// A server's part in a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not able.
    #[default]
    Down,
    /// Able, silent.
    Standby,
    /// Able, a peer owns the address.
    Ready,
    /// Owns the address.
    Owner,
    /// Taken out by the operator.
    Drained,
}

/// Whether the fast path answers solicitations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// It does not.
    #[default]
    Shut,
    /// It does, under a lease.
    Open,
    /// It does not: the lease ran out.
    Stale,
    /// It does not: the operator holds the gate shut.
    HeldShut,
    /// It does: the operator holds the gate open.
    HeldOpen,
}

/// A check and what it last said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// `dns`, `tcp`, `exec` or `process`.
    pub kind: String,
    /// What it looks at, in words.
    pub target: String,
    /// Up after rise and fall.
    pub up: bool,
    /// Milliseconds the last success took; `null` before the first and for a process.
    pub latency_ms: Option<f64>,
    /// What the last failure said; `null` after a success.
    pub error: Option<String>,
    /// Seconds since the last result; `null` before the first.
    pub age_seconds: Option<f64>,
    /// Successes since the daemon started.
    pub successes_total: u64,
    /// Failures since the daemon started.
    pub failures_total: u64,
}

/// Another server of the farm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Its id.
    pub id: String,
    /// Where its heartbeats come from; `null` if not known.
    pub address: Option<IpAddr>,
    /// What it says of itself.
    pub state: State,
    /// The epoch it says.
    pub epoch: u64,
    /// Milliseconds since it was last heard.
    pub heard_ms: u64,
    /// Its load in permille; `null` = it does not say.
    pub load: Option<u32>,
}

/// An interface that carries services.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index; `null` = it is gone.
    pub index: Option<u32>,
    /// Whether it is up and has a carrier.
    pub up: bool,
    /// Its MAC address.
    pub mac: String,
    /// Its MTU.
    pub mtu: u32,
    /// Its link-local address, the source of advertisements; `null` = it has none.
    pub link_local: Option<IpAddr>,
    /// Whether it forwards IPv6: the R flag of advertisements.
    pub forwarding: bool,
    /// `native` or `generic`.
    pub xdp_mode: String,
    /// Number of the program in `bpftool prog`; `null` = not attached.
    pub program: Option<u32>,
    /// The program was there already, left by an earlier daemon.
    pub adopted: bool,
    /// Frames the fast path dropped and events it lost, by reason.
    pub drops: BTreeMap<String, u64>,
    /// Heartbeats sent.
    pub heartbeats_sent_total: u64,
    /// Heartbeats of this farm heard.
    pub heartbeats_heard_total: u64,
    /// Heartbeats refused, by reason.
    pub heartbeats_refused: BTreeMap<String, u64>,
    /// What authentication made of the farm's heartbeats, obeyed or not; empty without keys.
    #[serde(default)]
    pub heartbeats_authentication: BTreeMap<String, u64>,
    /// What authentication made of other servers' advertisements, obeyed or not; empty without keys.
    #[serde(default)]
    pub advertisements_authentication: BTreeMap<String, u64>,
}

/// The fast path's counters of a service; see `anycast_common::abi::Counters` for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented where the fast path defines them")]
pub struct Counters {
    pub solicitations_multicast: u64,
    pub solicitations_unicast: u64,
    pub solicitations_dad: u64,
    pub answered: u64,
    pub refused_shut: u64,
    pub refused_stale: u64,
    pub refused_held: u64,
    pub advertisements: u64,
    pub queries: u64,
    pub responses: u64,
    pub tcp_syns: u64,
    pub bytes: u64,
    pub malformed: u64,
    pub fragments: u64,
}

impl State {
    /// All states, from useless to useful, then drained.
    pub const ALL: [Self; 5] = [Self::Down, Self::Standby, Self::Ready, Self::Owner, Self::Drained];

    /// The word in status, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Standby => "standby",
            Self::Ready => "ready",
            Self::Owner => "owner",
            Self::Drained => "drained",
        }
    }
}

impl Gate {
    /// What the fast path makes of a gate at `now_ns` of `CLOCK_MONOTONIC`.
    pub const fn of(gate: &abi::Gate, now_ns: u64) -> Self {
        match gate.hold {
            abi::HOLD_SHUT => Self::HeldShut,
            abi::HOLD_OPEN => Self::HeldOpen,
            _ if gate.open_until_ns == 0 => Self::Shut,
            _ if gate.open_until_ns < now_ns => Self::Stale,
            _ => Self::Open,
        }
    }

    /// Whether the fast path answers.
    pub const fn answers(self) -> bool {
        matches!(self, Self::Open | Self::HeldOpen)
    }

    /// The word in status and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shut => "shut",
            Self::Open => "open",
            Self::Stale => "stale",
            Self::HeldShut => "held shut",
            Self::HeldOpen => "held open",
        }
    }
}

impl From<abi::Counters> for Counters {
    fn from(counters: abi::Counters) -> Self {
        let abi::Counters {
            solicitations_multicast,
            solicitations_unicast,
            solicitations_dad,
            answered,
            refused_shut,
            refused_stale,
            refused_held,
            advertisements,
            queries,
            responses,
            tcp_syns,
            bytes,
            malformed,
            fragments,
        } = counters;
        Self {
            solicitations_multicast,
            solicitations_unicast,
            solicitations_dad,
            answered,
            refused_shut,
            refused_stale,
            refused_held,
            advertisements,
            queries,
            responses,
            tcp_syns,
            bytes,
            malformed,
            fragments,
        }
    }
}

impl Service {
    /// A service before anything is known of it.
    pub fn unknown(name: &str, address: IpAddr, interface: &str) -> Self {
        Self {
            name: name.to_owned(),
            address,
            interface: interface.to_owned(),
            vlan: Vec::new(),
            mode: String::new(),
            state: State::Down,
            state_seconds: 0.0,
            state_reason: String::new(),
            state_detail: String::new(),
            able: false,
            not_able_because: Vec::new(),
            gate: Gate::Shut,
            hold: Hold::Automatic,
            lease_ms_left: None,
            owner: None,
            owned_here: false,
            quiet: false,
            route: None,
            epoch: 0,
            load: None,
            query_rate: 0.0,
            queries_total: 0,
            socket_drops_total: 0,
            solicitations_answered_total: 0,
            advertisements_sent_total: 0,
            advertisements_failed_total: 0,
            moves_180s: 0,
            transitions_total: 0,
            counters: Counters::default(),
            checks: Vec::new(),
            peers: Vec::new(),
            per_router: false,
            routers: Vec::new(),
            router_advertisements_total: 0,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
