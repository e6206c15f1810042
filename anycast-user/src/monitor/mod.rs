//! Watches what a service needs: that it answers, that its process lives, that the interface and the address are there.
//!
//! Nothing is decided here. Each task reports what it saw, with the time it saw it; rise and fall, and what a lost
//! address means, are decided in `anycast-core`.
//!
//! ```text
//!   DNS server ◄─UDP, TCP──┐
//!   command    ◄─fork──────┤ check::spawn    one task a check ───── check::Report ──────► mpsc ─┐
//!   TCP port   ◄─connect───┘                 (first at once, then every interval)               │
//!                                                                                               │
//!   pidfd, inotify, D-Bus ──► process::spawn one task a process ── process::Report ────► mpsc ──┼─► controller
//!                                            (exit is an event of the pidfd)                    │
//!                                                                                               │
//!   rtnetlink notifications ► link::spawn    one task in all ───── link::Report ───────► mpsc ──┘
//!        (hints) ─► dumps                    (the whole picture each time it changes)
//! ```
//!
//! `router` learns the link's routers, `file` watches for drain files, each in a task of its own.
//! `sockets` is asked instead: how much the service's sockets have dropped.
//!
//! Each `spawn` must be called in a Tokio runtime whose thread is in the network namespace to be watched, and returns a
//! guard: dropping it ends the task, its sockets and its child processes. Tasks also end when the receiver is gone.
//! The channels are bounded and the caller's; a full channel delays the next report, it never loses one.
//!
//! What is absent here: thresholds, retries that hide a failure, a report that was not caused by an observation.

pub mod check;
pub mod file;
pub mod link;
pub mod process;
pub mod router;
pub mod sockets;

mod task;

use anycast_core::time::Time;
use nix::time::{ClockId, clock_gettime};

pub use task::TaskGuard;

/// The present, on the clock of every report: `CLOCK_MONOTONIC`, which is also the clock of the gate's lease
/// (`bpf_ktime_get_ns`).
pub fn now() -> Time {
    // CLOCK_MONOTONIC cannot fail on Linux: clock_gettime(2) knows only EINVAL for an unknown clock and EFAULT.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| {
        u64::try_from(now.tv_sec()).unwrap_or(0).saturating_mul(1_000_000_000)
            + u64::try_from(now.tv_nsec()).unwrap_or(0)
    });
    Time::from_nanos(now)
}
