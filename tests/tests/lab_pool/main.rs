//! Reliable server pooling: the registrar as a process, by its sockets.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as the tests do, by a panic")]

mod dissected;
mod registrar;
