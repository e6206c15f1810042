//! OSPFv3 (RFC 5340) for a host that serves addresses and forwards nothing.
//!
//! The host is a leaf of the network: Router Priority 0, so it is never Designated Router; R-bit clear, so no route leads through
//! it; no shortest paths of its own. It forms adjacencies, keeps the database that they need, and originates what steers traffic
//! to it: one Intra-Area-Prefix-LSA for each service address, whose metric is the service's cost, and beside it an LSA that
//! carries the service's load.
//!
//! Sans-IO: no socket, no clock. Packets come in by [`Speaker::handle`], which returns packets to send and events to log; time
//! is an argument, and [`Speaker::next_timeout`] says when to call again.
//!
//! ```text
//!   packet, link, service, load ──► Speaker::handle(now, input) ──► Output::Send, Output::Event, Output::Stopped
//!                                        │
//!        receive ─► hello ─► election, neighbour machine ─► exchange ─► flood ◄─► lsdb ◄─ originate ◄─ services
//! ```
//!
//! What is absent: priorities above 0, NBMA and virtual links, NSSA, demand circuits, address families other than IPv6 unicast,
//! route computation.

#![forbid(unsafe_code)]

pub mod auth;
pub mod codec;
mod config;
mod election;
mod event;
mod guard;
mod id;
mod interface;
pub mod lsdb;
mod neighbor;
mod problem;
mod snapshot;
mod speaker;
mod time;

pub use config::{
    Advertise, Config, ConfigError, DRAIN_METRIC, DRAIN_METRIC_EXTERNAL, INTERFACES_MAX, InterfaceConfig,
    LinkType, LoadConfig, SERVICES_MAX, Tag,
};
pub use election::{Candidate, elect};
pub use event::{ALL_D_ROUTERS, ALL_SPF_ROUTERS, Event, Input, Link, Load, Output, ServiceError};
pub use guard::Guard;
pub use id::{AreaId, RouterId};
pub use interface::InterfaceState;
pub use lsdb::InterfaceId;
pub use neighbor::{NeighborEvent, NeighborState};
pub use problem::{Counters, Reason, Rejection};
pub use snapshot::{DatabaseSize, InterfaceSnapshot, LsaSnapshot, NeighborSnapshot};
pub use speaker::{NEIGHBORS_MAX, PeerLoad, Speaker};
pub use time::Time;
