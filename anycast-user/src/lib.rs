//! The library of the `anycast` daemon: all input and output of an anycast server.

pub mod advertise;
pub mod config;
pub mod control;
pub mod controller;
pub mod datapath;
pub mod host;
pub mod monitor;
pub mod pool;
pub mod program;
pub mod registrar;
pub mod routing;
mod sctp;
pub mod simulate;
pub mod telemetry;
pub mod tls;
