//! The lab: a farm in network namespaces, with the real kernel on every side.
//!
//! ```text
//!  client ──── router ──── switch ─┬─ server 1   acs0, service address on lo, fast path on acs0
//!  acc0     acc1  acr0      acbr   ├─ server 2
//!                                  └─ server 3
//! ```
//!
//! Each box is a [`Namespace`] of its own; every interface is made inside one and exists nowhere else. Bridge ports carry
//! an XDP program that passes everything, without which a frame that a server transmits from XDP never arrives
//! ([`programs`]). Everything is named after the process that made it (`ac<pid>-<n>`), removed when its owner is dropped,
//! and swept by the next lab if that process was killed first (`sweep`).

mod sweep;

pub mod bird;
pub mod capture;
pub mod child;
pub mod client;
pub mod cluster;
pub mod daemon;
pub mod dns;
pub mod farm;
pub mod fast_path;
pub mod frame;
pub mod frr;
pub mod keepalived;
pub mod member;
pub mod namespace;
pub mod neighbour;
pub mod nsd;
pub mod programs;
pub mod quota;
pub mod registrar;
pub mod responder;
pub mod route_watch;
pub mod routed;
pub mod second_router;
pub mod solicitor;
pub mod tshark;
pub mod wait;

pub use bird::Bird;
pub use capture::{Capture, Captured, Injector};
pub use child::{Child, anycast_binary, lab_binary};
pub use client::{Client, Record};
pub use cluster::{Cluster, Event};
pub use daemon::{Daemon, DaemonOptions};
pub use farm::{Farm, FarmOptions, Server, Snooping};
pub use fast_path::FastPath;
pub use frame::{Frame, Mac};
pub use frr::Frr;
pub use keepalived::Keepalived;
pub use namespace::Namespace;
pub use neighbour::{Neighbour, Nud};
pub use nsd::Nsd;
pub use registrar::{Asap, Certificates, Registrar};
pub use responder::DnsResponder;
pub use route_watch::RouteWatch;
pub use solicitor::{Solicited, Solicitor};
pub use wait::{wait_for, wait_until};

/// Whether the lab can run here: `Err` says what is missing, for [`crate::skip()`].
///
/// It needs root (namespaces, raw sockets, BPF) and the BPF programs built by `cargo xtask build`.
///
/// # Errors
/// What is missing, as the reason of a skipped test.
pub fn available() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root for network namespaces and BPF".into());
    }
    if !programs::built() {
        return Err("the lab's BPF programs are not built: run `cargo xtask build`".into());
    }
    Ok(())
}
