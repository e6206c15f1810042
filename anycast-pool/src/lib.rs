//! Reliable server pooling (RFC 5351, RFC 5352): a service is provided by a pool of elements, a registrar knows which of them
//! are up and says so to the users.
//!
//! Three machines, all sans-IO: no socket, no clock, no randomness but that of a seed. Octets come in, octets go out, time is an
//! argument, and each machine says when it wants to be called again.
//!
//! ```text
//!   element ── registration, keep-alive ack ──► registrar ── resolution, pushed status vector ──► user
//!      ▲                                           ▲                                              │
//!      │                                           └────────── endpoint unreachable ──────────────┤
//!      └───────────────────────────────── the service itself ─────────────────────────────────────┘
//! ```
//!
//! What is absent: ENRP (RFC 5353) between registrars. Elements register with each registrar and users subscribe to each; a
//! user merges what they say by the newest observation.

#![forbid(unsafe_code)]

pub mod wire;

pub mod policy;
pub mod vector;

pub mod element;
pub mod handlespace;
pub mod journal;
pub mod markov;
pub mod registrar;
pub mod user;

mod hunt;
mod random;
mod time;

pub use hunt::{ConnectionId, HuntConfig, LinkState, RegistrarSnapshot, Target};
pub use random::Random;
pub use time::Time;
pub use wire::{ElementId, PoolHandle, RegistrarId};
