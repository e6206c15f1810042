//! The lab: network namespaces, routers, servers and clients; and the independent reference of the fast path.

pub mod frames;
pub mod lab;
pub mod skip;

pub use skip::skip;
