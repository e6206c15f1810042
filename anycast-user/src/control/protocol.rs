//! What goes over the control socket: `{"version":1,"command":…}` → `{"ok":…}` or `{"error":"…"}`.
//!
//! A command without arguments is a string, `"status"`; one with arguments is an object of one key,
//! `{"hold":{"service":"dns","hold":"shut"}}`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::registrar;
use crate::telemetry::ospf::Ospf;
use crate::telemetry::status::Status;

/// Version of the protocol. A daemon refuses others and says which one it speaks.
pub const VERSION: u32 = 1;

/// Longest line either side accepts from a client, in bytes, with its line feed.
pub const LINE_MAX: usize = 64 * 1024;

/// What a client asks of the daemon. A service is named by its name or its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Everything the daemon knows about itself, its services and its peers.
    Status,
    /// What the routing protocol looks like: interfaces, neighbours, database.
    Ospf,
    /// Everything a registrar knows about itself and its pools.
    Registrar {
        /// The elements of this pool too.
        pool: Option<String>,
    },
    /// Sets the operator's word over the gate.
    Hold {
        /// Name or address.
        service: String,
        /// The word.
        hold: Hold,
    },
    /// Ends the daemon.
    Stop {
        /// Leave gate, pins and addresses for the next daemon, under one lease of `restart_lease`.
        keep: bool,
    },
    /// Gives ownership up and stays out of the rotation, over restarts, until `Undrain`.
    Drain {
        /// Name or address; none = all.
        service: Option<String>,
    },
    /// Ends `Drain`.
    Undrain {
        /// Name or address; none = all.
        service: Option<String>,
    },
    /// Falls silent until woken by a solicitation, queries, or the loss of the owner.
    Standby {
        /// Name or address.
        service: String,
    },
    /// Takes ownership now.
    Takeover {
        /// Name or address.
        service: String,
    },
    /// Sends an advertisement now, if this server owns the address and its budget allows.
    Announce {
        /// Name or address; none = all that are owned.
        service: Option<String>,
    },
}

/// The operator's word over the controller's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// The controller decides.
    #[default]
    Automatic,
    /// The gate is shut whatever the controller says.
    Shut,
    /// The gate is open whatever the controller says, even when its lease has run out.
    Open,
}

/// What the daemon answers when nothing is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done, or on its way; a sentence for the operator.
    Done(String),
    /// The answer to [`Command::Status`].
    Status(Box<Status>),
    /// The answer to [`Command::Ospf`].
    Ospf(Box<Ospf>),
    /// The answer to [`Command::Registrar`].
    Registrar(Box<registrar::Status>),
}

impl Command {
    /// Whether it only looks: everybody who can reach the socket may look.
    pub const fn only_looks(&self) -> bool {
        matches!(self, Self::Status | Self::Ospf | Self::Registrar { .. })
    }
}

impl Hold {
    /// The word on the command line, in status and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Shut => "shut",
            Self::Open => "open",
        }
    }

    /// The value of `anycast_common::abi::Gate::hold`.
    pub const fn to_abi(self) -> u32 {
        match self {
            Self::Automatic => anycast_common::abi::HOLD_AUTOMATIC,
            Self::Shut => anycast_common::abi::HOLD_SHUT,
            Self::Open => anycast_common::abi::HOLD_OPEN,
        }
    }

    /// From the value of `anycast_common::abi::Gate::hold`; any value but the two words is automatic to the fast path too.
    pub const fn from_abi(hold: u32) -> Self {
        match hold {
            anycast_common::abi::HOLD_SHUT => Self::Shut,
            anycast_common::abi::HOLD_OPEN => Self::Open,
            _ => Self::Automatic,
        }
    }
}

/// A request line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestLine {
    version: u32,
    command: Value,
}

/// An answer line: one of the two.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AnswerLine {
    Ok(Answer),
    Error(String),
}

/// Writes a request as one line.
pub fn encode_request(command: &Command) -> String {
    let command = serde_json::to_value(command).unwrap_or(Value::Null);
    line(&RequestLine { version: VERSION, command })
}

/// Reads a request line.
///
/// # Errors
/// A sentence for the client: not JSON, another version, or no command of this version.
pub fn decode_request(text: &[u8]) -> Result<Command, String> {
    let request: RequestLine = serde_json::from_slice(text).map_err(|error| {
        format!(
            "not a request: {error}; write {{\"version\":{VERSION},\"command\":\"status\"}} and a line feed"
        )
    })?;
    if request.version != VERSION {
        return Err(format!("version {} is not spoken here, only {VERSION}", request.version));
    }
    serde_json::from_value(request.command).map_err(|error| format!("not a command: {error}"))
}

/// Writes an answer as one line.
pub fn encode_answer(answer: Result<Answer, String>) -> String {
    line(&match answer {
        Ok(answer) => AnswerLine::Ok(answer),
        Err(error) => AnswerLine::Error(error),
    })
}

/// Reads an answer line: the daemon's answer, or its refusal.
///
/// # Errors
/// The line is not an answer of this version.
pub fn decode_answer(text: &[u8]) -> Result<Result<Answer, String>, serde_json::Error> {
    Ok(match serde_json::from_slice(text)? {
        AnswerLine::Ok(answer) => Ok(answer),
        AnswerLine::Error(error) => Err(error),
    })
}

/// Serialisation of these types cannot fail: no map has a key that is not a string, and floats that JSON lacks become null.
fn line<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
    text.push('\n');
    text
}
