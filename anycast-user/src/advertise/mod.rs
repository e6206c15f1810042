//! What the fast path cannot send: unsolicited advertisements ([`frame`], [`sender`]), the group memberships that make
//! solicitations arrive ([`groups`]) and the heartbeats between the servers of a farm ([`heartbeat`]).
//!
//! Nothing here decides when to send: that is the core's, token bucket included. All sockets are non-blocking, belong to
//! the network namespace of the thread that opened them, and follow their interface by name: after the interface was
//! gone and is back, the caller says so (`reopen`, `refresh`) and the name is looked up again.

pub mod frame;
pub mod groups;
pub mod heartbeat;
pub mod sender;

use std::io;

/// `TC_PRIO_CONTROL` (linux/pkt_sched.h), the `SO_PRIORITY` of what is sent here: the queueing disciplines that know classes
/// put it before the answers of a busy service.
const PRIORITY_CONTROL: u32 = 7;

/// The index of the interface called `name` in this thread's network namespace.
fn interface_index(name: &str) -> io::Result<u32> {
    nix::net::if_::if_nametoindex(name).map_err(io::Error::from)
}

/// Whether `error` says that the interface a socket was bound to does not exist (any more).
fn interface_is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENXIO | libc::ENODEV))
}
