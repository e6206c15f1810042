//! Reliable server pooling, on the side of those who use a registrar: pool users and pool elements.
//!
//! ```text
//!   registrar ◄──TCP, TLS, SCTP──► links ──Report──► Side: anycast_pool's User or Element, behind a lock
//!                                    ▲                  │          ▲
//!                                    └── connect, send, close      └── pick, succeeded, failed │ able, standby, load, drain
//! ```
//!
//! What to say and when is decided in `anycast_pool`, which knows no sockets. Here are the sockets and the clock: [`user`] is
//! the library for programs that use pools, [`element`] a service of this host in its pool, [`forward`] a DNS forwarder.

mod discover;
mod links;
mod side;

pub mod address;
pub mod element;
pub mod forward;
pub mod user;

pub use address::{RegistrarAddress, RegistrarProtocol};
pub use links::{NoTlsOverSctp, Registrars, Tls};
pub use user::{PoolUser, PoolUserOptions};
