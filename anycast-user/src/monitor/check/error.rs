//! Why a check failed.

use std::{io, net::SocketAddr, time::Duration};

use hickory_proto::op::ResponseCode;
use thiserror::Error;

/// Why a run of a check failed. The text names the step, the peer and the reason: it is what `status` and the log show.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckError {
    /// Nothing acceptable came in time.
    #[error("timed out after {timeout:?} waiting for {waiting_for}")]
    TimedOut {
        /// The configured timeout.
        timeout: Duration,
        /// The step that did not end.
        waiting_for: String,
    },
    /// Everything was good, but not in time.
    #[error("took {after:?}, longer than the timeout of {timeout:?}")]
    Late {
        /// How long it took.
        after: Duration,
        /// The configured timeout.
        timeout: Duration,
    },
    /// A system call failed.
    #[error("{operation}: {source}")]
    Io {
        /// What was attempted, with the address or path.
        operation: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Nothing listens at the address.
    #[error("{transport} {server}: connection refused: nothing listens there")]
    Refused {
        /// "UDP" or "TCP".
        transport: &'static str,
        /// The address that was asked.
        server: SocketAddr,
    },
    /// The kernel would have sent the probe from a service address.
    #[error(
        "{transport} {server}: the route to it prefers the service address {source_address} as source, and a probe must \
         not be sent from a service address: give the interface another address, or check a local one"
    )]
    ServiceAddressAsSource {
        /// "UDP" or "TCP".
        transport: &'static str,
        /// The address that was asked.
        server: SocketAddr,
        /// The source that the kernel chose.
        source_address: std::net::IpAddr,
    },
    /// The server's answer carries an error.
    #[error("{transport} {server} answered {name} {record_type} with {}", response_code(*.code))]
    ResponseCode {
        /// "UDP" or "TCP".
        transport: &'static str,
        /// The address that was asked.
        server: SocketAddr,
        /// The name asked for.
        name: String,
        /// The type asked for.
        record_type: String,
        /// The answer's response code (RFC 1035 4.1.1, RFC 6895 2.3).
        code: ResponseCode,
    },
    /// The server's answer is not what was asked for.
    #[error("{transport} {server}: {reason}")]
    BadAnswer {
        /// "UDP" or "TCP".
        transport: &'static str,
        /// The address that was asked.
        server: SocketAddr,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The command ended, but not with success.
    #[error("{command} {status}{}{output}", if .output.is_empty() { "" } else { ": " })]
    Command {
        /// The command line.
        command: String,
        /// "exited with status 1", "was killed by SIGSEGV".
        status: String,
        /// The last line that it wrote, shortened.
        output: String,
    },
}

impl CheckError {
    /// Turns the error of a system call into [`CheckError::Io`].
    pub(super) fn io(operation: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Io { operation: operation.into(), source }
    }
}

/// The mnemonic of RFC 6895 2.3 where there is one, which is what operators search for.
fn response_code(code: ResponseCode) -> String {
    let mnemonic = match code {
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::NotAuth => "NOTAUTH",
        other => return format!("RCODE {} ({other})", u16::from(other)),
    };
    mnemonic.to_owned()
}
