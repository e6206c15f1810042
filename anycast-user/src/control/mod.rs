//! The control socket: how `anycast status`, `hold`, `stop` and the others reach a running daemon.
//!
//! One JSON object a line in both directions over a Unix stream socket ([`protocol`]). The [`server`] checks who asks and
//! hands each [`Request`] to the controller; [`client`] is the other end.

pub mod client;
pub mod protocol;
pub mod server;

pub use protocol::{Answer, Command, Hold};

use tokio::sync::oneshot;

/// A command on its way to the controller, with the way back.
#[derive(Debug)]
pub struct Request {
    /// What is asked.
    pub command: Command,
    /// Where the answer goes; an `Err` is a sentence for the operator. Dropped unanswered when the controller stops.
    pub reply: oneshot::Sender<Result<Answer, String>>,
}

#[cfg(test)]
mod tests;
