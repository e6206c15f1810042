//! The lab: network namespaces, routers, servers and clients; and the independent reference of the fast path.

pub mod bench;
pub mod cases;
pub mod demo;
pub mod exercise;
pub mod frames;
pub mod guest;
pub mod lab;
pub mod random;
pub mod reference;
pub mod skip;
pub mod subject;

pub use skip::skip;
