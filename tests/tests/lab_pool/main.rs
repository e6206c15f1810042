//! Reliable server pooling: registrars, elements, users and the forwarder, over real sockets.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as the tests do, by a panic")]

mod element;
mod forward;
mod support;
mod user;
