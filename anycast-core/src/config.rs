//! What a [`Machine`](crate::Machine) is told at its start. Plain values; the file they come from is read elsewhere.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::Time;
use crate::auth::Authentication;
use crate::cost::CostConfig;

/// Smallest slice: advertisements are sent no faster than RetransTimer, 1 s (RFC 4861 7.2.6, 10).
pub const SLICE_MIN: Duration = Duration::from_secs(1);

/// Longest random delay of an answer: MAX_ANYCAST_DELAY_TIME (RFC 4861 10).
pub const ANSWER_DELAY_MAX: Duration = Duration::from_secs(1);

/// Priority of a server that was given none.
pub const PRIORITY_DEFAULT: u8 = 100;

/// Longest name of a farm on the wire, bytes.
pub const FARM_NAME_MAX: usize = 63;

/// Identifies a server within its farm, never zero. Random and kept, or made from a MAC address; two servers with one id on
/// a link raise an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub u64);

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A service: its position in [`Config::services`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u16);

impl ServiceId {
    /// The position as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A link (an interface): a small number that the caller chooses, used for everything that is heard or sent there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u16);

/// How ownership of an address moves between the able servers of a farm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The owner stays until it cannot serve, hands over or is taken over from.
    Failover,
    /// The owner hands over to the next server when its slice ends.
    Rotate {
        /// Length of this server's slice, at least [`SLICE_MIN`]. Multiply by the weight before it gets here.
        slice: Duration,
    },
    /// No owner: each able server answers solicitations, none advertises unasked (RFC 4861 7.2.7, first answer wins).
    Solicited,
}

/// The whole configuration of one server.
#[derive(Clone, Debug)]
pub struct Config {
    /// This server.
    pub server: ServerId,
    /// Its farm; without one no heartbeat is sent or heard and this server acts alone.
    pub farm: Option<FarmConfig>,
    /// How long a gate stays open without being renewed; at least [`LEASE_MIN`].
    pub lease: Duration,
    /// The lease that `stop --keep` leaves behind for the next controller to adopt.
    pub restart_lease: Duration,
    /// How long a stopping server goes on serving what still arrives, if a peer takes over.
    pub grace: Duration,
    /// The services, in [`ServiceId`] order.
    pub services: Vec<ServiceConfig>,
}

/// Shortest lease: renewed at a third, it leaves a loaded machine some 20 ms to come around.
pub const LEASE_MIN: Duration = Duration::from_millis(50);

/// The farm and its heartbeat.
#[derive(Clone, Debug)]
pub struct FarmConfig {
    /// Name, 1 to [`FARM_NAME_MAX`] bytes; heartbeats of another farm are refused and reported.
    pub name: String,
    /// Distance of an owner's heartbeats; an owner is dead after three. At least 5 ms and at most 10 s.
    pub heartbeat: Duration,
    /// Keys and what they are used for; `None` = nothing is signed or verified.
    pub auth: Option<Authentication>,
}

/// One service: an address on a link.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// The service address.
    pub address: IpAddr,
    /// Its VLAN as `anycast_common::abi::vlan_key` makes it; 0 = untagged.
    pub vlan: u32,
    /// The link it is served on.
    pub link: LinkId,
    /// How ownership moves.
    pub mode: Mode,
    /// `failover`: among servers that could own, the highest goes first. [`PRIORITY_DEFAULT`] unless the operator says otherwise.
    pub priority: u8,
    /// `failover`: take over from an owner of lower priority after having been ready for this long; `None` = never.
    pub preempt_delay: Option<Duration>,
    /// `solicited`: multicast solicitations are answered after a random time up to this one; `None` = at once, by the fast path.
    pub answer_delay: Option<Duration>,
    /// Different servers own different routers' entries at the same time; only where there is an owner.
    pub per_router: bool,
    /// Advertised by Neighbor Discovery. Without, no gate ever opens and nothing is advertised on the link: routers come by
    /// [`ServiceConfig::route`] alone. Only in [`Mode::Solicited`], in which nobody owns.
    pub neighbor_discovery: bool,
    /// Advertised by a routing protocol, at a cost that follows the load; `None` = not.
    pub route: Option<CostConfig>,
    /// The checks; all must be up. `Event::Check` names them by position.
    pub checks: Vec<CheckConfig>,
    /// Is the service process watched? Then `Event::Process` must say that it lives before the service can be able.
    pub process: bool,
    /// When to stand by; `None` = never.
    pub standby: Option<StandbyConfig>,
    /// How much it can serve; `None` = congestion is not looked at.
    pub load: Option<LoadConfig>,
    /// MACs of servers that run other software: their advertisements count as a peer's.
    pub foreign: Vec<[u8; 6]>,
    /// What the last run left.
    pub restored: Restored,
}

/// Damping of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckConfig {
    /// Successes in a row that make it up, at least 1. They apply at the start too: an unknown check is not up.
    pub rise: u32,
    /// Failures in a row that make it down, at least 1.
    pub fall: u32,
}

/// The standby rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandbyConfig {
    /// Fewer queries than this …
    pub queries: u64,
    /// … in this much *owned* time, and the service stands by.
    pub window: Duration,
    /// Hooks stop the service in standby and start it on waking, and it may take this long until it is able again. `None` =
    /// it runs all along.
    pub wake_timeout: Option<Duration>,
}

/// When a service is congested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadConfig {
    /// Queries per second this server can answer, at least 1.
    pub capacity: u32,
    /// Congested from this load on, permille of the capacity (or of the latency limit), at least 1.
    pub congested_above: u16,
    /// The check latency that counts as full load.
    pub latency_limit: Option<Duration>,
}

/// What a service's last controller left behind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Restored {
    /// The highest epoch heard or taken (`Action::PersistEpoch`).
    pub epoch: u64,
    /// The operator drained the service (`Action::PersistDrained`).
    pub drained: bool,
    /// A gate found open in the pinned map, and until when: it is adopted.
    pub gate_open_until: Option<Time>,
}

/// A configuration that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ConfigError {
    #[error("server id 0 is reserved for \"nobody\"; choose another")]
    ServerId,
    #[error("farm name {name:?} has {} bytes; 1 to {FARM_NAME_MAX} fit", name.len())]
    FarmName { name: String },
    #[error("heartbeat {0:?} is not between 5 ms and 10 s")]
    Heartbeat(Duration),
    #[error("lease {0:?} is shorter than {LEASE_MIN:?}")]
    Lease(Duration),
    #[error("restart_lease {0:?} is shorter than the lease")]
    RestartLease(Duration),
    #[error("more than 65535 services")]
    Services,
    #[error("{address} on VLAN key {vlan} is given twice on one link")]
    Duplicate { address: IpAddr, vlan: u32 },
    #[error("slice {slice:?} of {address} is shorter than {SLICE_MIN:?}")]
    Slice { address: IpAddr, slice: Duration },
    #[error("check {check} of {address}: rise and fall must be at least 1")]
    Damping { address: IpAddr, check: usize },
    #[error("standby of {address}: queries must be at least 1 and the window at least 100 ms")]
    Standby { address: IpAddr },
    #[error("preempt_delay of {address}: only in mode failover an owner stays until it is taken over from")]
    Preempt { address: IpAddr },
    #[error("answer_delay of {address}: only in mode solicited, for IPv6, and at most {ANSWER_DELAY_MAX:?}")]
    AnswerDelay { address: IpAddr },
    #[error(
        "{address} is advertised by a routing protocol alone: mode must be solicited, in which no server owns it"
    )]
    RouteAlone { address: IpAddr },
    #[error("cost of {address}: {why}")]
    Cost { address: IpAddr, why: &'static str },
    #[error("per_router of {address}: in mode solicited no server owns anything")]
    PerRouter { address: IpAddr },
    #[error("standby of {address}: wake_timeout must be longer than nothing")]
    Wake { address: IpAddr },
    #[error("load of {address}: capacity and congested_above must be at least 1")]
    Load { address: IpAddr },
}

impl Config {
    /// Is every value in its range?
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.server.0 == 0 {
            return Err(ConfigError::ServerId);
        }
        if let Some(farm) = &self.farm {
            if farm.name.is_empty() || farm.name.len() > FARM_NAME_MAX {
                return Err(ConfigError::FarmName { name: farm.name.clone() });
            }
            if !(Duration::from_millis(5)..=Duration::from_secs(10)).contains(&farm.heartbeat) {
                return Err(ConfigError::Heartbeat(farm.heartbeat));
            }
        }
        if self.lease < LEASE_MIN {
            return Err(ConfigError::Lease(self.lease));
        }
        if self.restart_lease < self.lease {
            return Err(ConfigError::RestartLease(self.restart_lease));
        }
        if self.services.len() > usize::from(u16::MAX) {
            return Err(ConfigError::Services);
        }
        let mut seen = BTreeSet::new();
        for service in &self.services {
            let address = service.address;
            if !seen.insert((service.link, address, service.vlan)) {
                return Err(ConfigError::Duplicate { address, vlan: service.vlan });
            }
            service.validate()?;
        }
        Ok(())
    }
}

impl ServiceConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        let address = self.address;
        if let Mode::Rotate { slice } = self.mode
            && slice < SLICE_MIN
        {
            return Err(ConfigError::Slice { address, slice });
        }
        if self.preempt_delay.is_some() && self.mode != Mode::Failover {
            return Err(ConfigError::Preempt { address });
        }
        if let Some(delay) = self.answer_delay
            && (self.mode != Mode::Solicited || address.is_ipv4() || delay > ANSWER_DELAY_MAX)
        {
            return Err(ConfigError::AnswerDelay { address });
        }
        if !self.neighbor_discovery && (self.mode != Mode::Solicited || self.answer_delay.is_some()) {
            return Err(ConfigError::RouteAlone { address });
        }
        if let Some(Err(why)) = self.route.map(|cost| cost.validate()) {
            return Err(ConfigError::Cost { address, why });
        }
        if self.per_router && self.mode == Mode::Solicited {
            return Err(ConfigError::PerRouter { address });
        }
        if let Some(check) = self.checks.iter().position(|check| check.rise == 0 || check.fall == 0) {
            return Err(ConfigError::Damping { address, check });
        }
        if let Some(standby) = self.standby
            && (standby.queries == 0 || standby.window < Duration::from_millis(100))
        {
            return Err(ConfigError::Standby { address });
        }
        if self.standby.and_then(|standby| standby.wake_timeout).is_some_and(|timeout| timeout.is_zero()) {
            return Err(ConfigError::Wake { address });
        }
        if self.load.is_some_and(|load| load.capacity == 0 || load.congested_above == 0) {
            return Err(ConfigError::Load { address });
        }
        Ok(())
    }
}
