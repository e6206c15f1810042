//! What the speaker is told before it begins, and what cannot be.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::auth::KeyRing;
use crate::codec::{FloodScope, LsType};
use crate::lsdb::Limits;
use crate::{AreaId, RouterId};

/// Most interfaces.
pub const INTERFACES_MAX: usize = 256;

/// Most services.
pub const SERVICES_MAX: usize = 1024;

/// Metric of a service that drains: the last resort, still reachable.
pub const DRAIN_METRIC: u16 = u16::MAX;

/// The same in an AS-External-LSA, where all ones mean "unreachable" (RFC 2328 B, LSInfinity).
pub const DRAIN_METRIC_EXTERNAL: u32 = 0x00ff_fffe;

/// Configuration of a speaker.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of this host in OSPF: unique in the network, and the same after a restart.
    pub router_id: RouterId,
    /// Counts starts over restarts: sequence numbers of authentication grow with it (RFC 7166 4.1).
    pub boot_count: u32,
    /// Interfaces; their places are their [`InterfaceId`](crate::InterfaceId)s.
    pub interfaces: Vec<InterfaceConfig>,
    /// Areas that are stubs.
    pub stub_areas: BTreeSet<AreaId>,
    /// How services are advertised.
    pub advertise: Advertise,
    /// The load LSA, if there is to be one.
    pub load: Option<LoadConfig>,
    /// What the database may hold.
    pub limits: Limits,
    /// Least time between two instances of an LSA. The RFC's `MinLSInterval` is 5 s (RFC 2328 B); the default here is 1 s, the
    /// least that receivers take (`MinLSArrival`), so that a second change soon after the first is there within two seconds.
    pub min_ls_interval: Duration,
    /// Have routers calculate all routes anew when a service's prefix changed or left: FRR's keep dead next hops else.
    pub recalculate: bool,
}

impl Config {
    /// One with defaults.
    pub fn new(router_id: RouterId, interfaces: Vec<InterfaceConfig>) -> Self {
        Self {
            router_id,
            boot_count: 0,
            interfaces,
            stub_areas: BTreeSet::new(),
            advertise: Advertise::IntraArea,
            load: None,
            limits: Limits::default(),
            min_ls_interval: Duration::from_secs(1),
            recalculate: true,
        }
    }

    /// Can it be?
    ///
    /// # Errors
    /// Why not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.router_id == RouterId::NONE {
            return Err(ConfigError::RouterId);
        }
        if self.interfaces.is_empty() || self.interfaces.len() > INTERFACES_MAX {
            return Err(ConfigError::Interfaces(self.interfaces.len()));
        }
        if self.stub_areas.contains(&AreaId::BACKBONE) {
            return Err(ConfigError::StubBackbone);
        }
        if self.min_ls_interval < Duration::from_secs(1) {
            return Err(ConfigError::MinLsInterval(self.min_ls_interval));
        }
        for interface in &self.interfaces {
            interface.validate()?;
            if matches!(self.advertise, Advertise::External { .. })
                && self.stub_areas.contains(&interface.area)
            {
                return Err(ConfigError::ExternalInStub(interface.area));
            }
        }
        self.load.as_ref().map_or(Ok(()), LoadConfig::validate)
    }
}

/// How services are advertised; the same on all servers, or those that advertise within the area win always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advertise {
    /// One Intra-Area-Prefix-LSA each.
    IntraArea,
    /// One AS-External-LSA each. Routers take them only from a router: the R-bit is set, and routes might lead through this host.
    External {
        /// The metric counts before every distance within the AS.
        type_2: bool,
        /// Route tag.
        tag: Tag,
    },
}

/// Route tag of an AS-External-LSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// None.
    None,
    /// Always this.
    Fixed(u32),
    /// The service's load in permille. FRR deletes and adds the route whenever it changes.
    Load,
}

/// The load LSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadConfig {
    /// U-bit, area scope, function code for experiments or vendors.
    pub ls_type: LsType,
    /// The vendor's number; 0 for experiments.
    pub enterprise: u32,
    /// Load must change by so much before it is told again, permille.
    pub step: u32,
    /// Least time between two instances.
    pub interval: Duration,
}

impl Default for LoadConfig {
    fn default() -> Self {
        Self {
            ls_type: LsType::LOAD_EXPERIMENTAL,
            enterprise: 0,
            step: 50,
            interval: Duration::from_secs(10),
        }
    }
}

impl LoadConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        // RFC 5340 7: 8176 to 8183 are for experiments, 8184 to 8190 for vendors.
        let experimental = match self.ls_type.0 & 0x1fff {
            8176..=8183 => true,
            8184..=8190 => false,
            _ => return Err(ConfigError::LoadType(self.ls_type)),
        };
        if self.ls_type.0 & 0x8000 == 0 || self.ls_type.coded_scope() != FloodScope::Area {
            return Err(ConfigError::LoadType(self.ls_type));
        }
        if experimental != (self.enterprise == 0) {
            return Err(ConfigError::Enterprise(self.ls_type, self.enterprise));
        }
        Ok(())
    }
}

/// Kind of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// With a Designated Router, which this host never is.
    Broadcast,
    /// With one other router.
    PointToPoint,
}

/// Configuration of an interface.
#[derive(Clone, Debug)]
pub struct InterfaceConfig {
    /// For people.
    pub name: String,
    /// Kind of its link.
    pub link_type: LinkType,
    /// Its area.
    pub area: AreaId,
    /// Which of several OSPFs on the link; 0 to 31 are for IPv6 unicast (RFC 5838 2.1).
    pub instance: u8,
    /// Seconds between Hellos; all routers of the link agree.
    pub hello_interval: u16,
    /// Seconds of silence after which a router is dead; all routers of the link agree.
    pub dead_interval: u16,
    /// Time after which what was not acknowledged is sent again.
    pub retransmit_interval: Duration,
    /// Cost of the link in the Router-LSA. What steers traffic is the service's metric, not this.
    pub cost: u16,
    /// Do not compare MTUs.
    pub mtu_ignore: bool,
    /// Keys, if packets are authenticated.
    pub auth: Option<KeyRing>,
    /// The kernel fills and verifies checksums (`IPV6_CHECKSUM` = 12): packets go out with none and are not checked again. Must
    /// be off with `auth`, because the kernel would count the trailer in.
    pub kernel_checksum: bool,
}

impl InterfaceConfig {
    /// A broadcast interface of the backbone with the RFC's timers (RFC 2328 C.3).
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            link_type: LinkType::Broadcast,
            area: AreaId::BACKBONE,
            instance: 0,
            hello_interval: 10,
            dead_interval: 40,
            retransmit_interval: Duration::from_secs(5),
            cost: 10,
            mtu_ignore: false,
            auth: None,
            kernel_checksum: false,
        }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let name = || self.name.clone();
        if self.instance > 31 {
            return Err(ConfigError::Instance(name(), self.instance));
        }
        if self.hello_interval == 0 || self.dead_interval <= self.hello_interval {
            return Err(ConfigError::Intervals(name(), self.hello_interval, self.dead_interval));
        }
        if self.retransmit_interval < Duration::from_secs(1) {
            return Err(ConfigError::Retransmit(name(), self.retransmit_interval));
        }
        if self.cost == 0 {
            return Err(ConfigError::Cost(name()));
        }
        if self.kernel_checksum && self.auth.is_some() {
            return Err(ConfigError::KernelChecksum(name()));
        }
        Ok(())
    }
}

/// Why a configuration cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ConfigError {
    #[error("router id 0.0.0.0 names no router: give one that is unique in the network")]
    RouterId,
    #[error("{0} interfaces: give 1 to {INTERFACES_MAX}")]
    Interfaces(usize),
    #[error("the backbone cannot be a stub area (RFC 2328 3.6)")]
    StubBackbone,
    #[error("no AS-External-LSA reaches stub area {0}: advertise within the area, or make it a normal one")]
    ExternalInStub(AreaId),
    #[error(
        "a minimum of {0:?} between two instances of an LSA is too short: receivers take no two within a second"
    )]
    MinLsInterval(Duration),
    #[error(
        "load LSA type {0} must have the U-bit, area scope and a function code from 8176 to 8190, such as 0xbff0"
    )]
    LoadType(LsType),
    #[error(
        "load LSA type {0} does not go with enterprise number {1}: experiments have 0, vendors their own"
    )]
    Enterprise(LsType, u32),
    #[error("interface {0}: instance id {1} is not for IPv6 unicast: use 0 to 31")]
    Instance(String, u8),
    #[error(
        "interface {0}: hello interval {1} s and dead interval {2} s: the second must be greater, the first not zero"
    )]
    Intervals(String, u16, u16),
    #[error("interface {0}: retransmit interval {1:?} is below one second")]
    Retransmit(String, Duration),
    #[error("interface {0}: cost 0")]
    Cost(String),
    #[error(
        "interface {0}: the kernel's checksum would count the authentication trailer in: switch one of them off"
    )]
    KernelChecksum(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Config)) -> Result<(), ConfigError> {
        let mut config = Config::new(RouterId(1), vec![InterfaceConfig::new("eth0")]);
        change(&mut config);
        config.validate()
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_reason() {
        let eth0 = || "eth0".to_owned();
        assert_eq!(with(|_| {}), Ok(()));
        assert_eq!(with(|config| config.router_id = RouterId::NONE), Err(ConfigError::RouterId));
        assert_eq!(with(|config| config.interfaces.clear()), Err(ConfigError::Interfaces(0)));
        assert_eq!(with(|config| config.stub_areas = [AreaId(0)].into()), Err(ConfigError::StubBackbone));
        let short = Duration::from_millis(999);
        assert_eq!(with(|config| config.min_ls_interval = short), Err(ConfigError::MinLsInterval(short)));
        assert_eq!(with(|config| config.interfaces[0].instance = 32), Err(ConfigError::Instance(eth0(), 32)));
        assert_eq!(
            with(|config| config.interfaces[0].dead_interval = 10),
            Err(ConfigError::Intervals(eth0(), 10, 10))
        );
        assert_eq!(with(|config| config.interfaces[0].cost = 0), Err(ConfigError::Cost(eth0())));
        let external = Advertise::External { type_2: true, tag: Tag::None };
        let stub = with(|config| {
            config.advertise = external;
            config.interfaces[0].area = AreaId(7);
            config.stub_areas = [AreaId(7)].into();
        });
        assert_eq!(stub, Err(ConfigError::ExternalInStub(AreaId(7))));
        for (ls_type, enterprise, fits) in [
            (0xbff0, 0, true),
            (0xbff8, 32473, true),
            (0xbff0, 32473, false),
            (0xbff8, 0, false),
            (0x3ff0, 0, false),
            (0xdff0, 0, false),
            (0xa009, 0, false),
        ] {
            let load = LoadConfig { ls_type: LsType(ls_type), enterprise, ..LoadConfig::default() };
            assert_eq!(with(|config| config.load = Some(load)).is_ok(), fits, "{ls_type:#06x} {enterprise}");
        }
    }
}
