//! What the daemon tells about itself: [`status`] as JSON or a [`table`], Prometheus [`metrics`], logs ([`log`]), and the word
//! to the service manager ([`notify`]).

pub mod endpoint;
pub mod log;
pub mod metrics;
pub mod notify;
pub mod ospf;
pub mod pool;
pub(crate) mod scrape;
pub mod status;
pub mod table;
