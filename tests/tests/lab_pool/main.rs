//! Reliable server pooling: registrars, elements, users and the forwarder, over real sockets.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as the tests do, by a panic")]

mod dissected;
mod element;
mod forward;
mod registrar;
mod support;
mod user;
