//! Reliable server pooling over SCTP, with itself and with RSPLIB: in the guest of `cargo xtask test vm`, whose kernel has SCTP.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as the tests do, by a panic")]

mod own;
mod rsplib;
mod rsplib_element;
mod rsplib_registrar;
mod support;
