//! What the daemon changes on its host and must undo: the service address on `lo` ([`address`]), the ARP sysctls
//! ([`sysctl`]), and the state directory ([`state`]) that remembers both across a SIGKILL.
//!
//! The rule of this module: first the record on disk, then the change; first undo, then forget. Whatever happens between,
//! the next run (or `anycast detach`) finds a record of everything that is not as it was.

pub mod address;
pub mod descriptors;
pub mod state;
pub mod sysctl;
