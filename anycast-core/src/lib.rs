//! The decisions of an anycast server farm, sans-IO: [`time`] is an argument, effects are returned as data.
//!
//! ```text
//!              Event (what happened)             Action (what to do)
//!   checks ──┐                                                ┌──▶ Gate: lease in the BPF map
//!   netlink ─┤                                                ├──▶ Advertise: unsolicited NA
//!   rings ───┼──▶ Machine::handle(now, event, &mut actions) ──┼──▶ Heartbeat: datagram to the farm
//!   counters ┤            ▲                                   ├──▶ Persist…: state directory
//!   datagrams┘            └── Machine::deadline()             └──▶ StateChanged, Alarm: log, hooks
//! ```
//!
//! What is absent here: clocks, sockets, threads, files, randomness that does not come from a seed.

pub mod auth;
pub mod config;
pub mod cost;
pub mod event;
pub mod health;
pub mod heartbeat;
mod machine;
pub mod nd_option;
pub mod random;
pub mod router;
pub mod sim;
pub mod status;
pub mod time;

pub use auth::{Authentication, KeyRing};
pub use config::{
    ANSWER_DELAY_MAX, CheckConfig, Config, ConfigError, FarmConfig, LinkId, LoadConfig, Mode,
    PRIORITY_DEFAULT, Restored, ServerId, ServiceConfig, ServiceId, StandbyConfig,
};
pub use event::{Action, Alarm, Cause, Command, CommandError, Event, Hold, Reason, Solicitation, State};
pub use machine::Machine;
pub use router::{ROUTERS_MAX, Router, Sighting};
pub use status::Status;
pub use time::Time;
