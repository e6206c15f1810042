//! Why octets are no ASAP, and what to change so that they are.

use super::Cause;

/// Why something cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum DecodeError {
    #[error("{got} octets where {need} are needed")]
    Short { need: usize, got: usize },
    #[error("the message says that it has {said} octets, {got} are there")]
    MessageLength { said: u16, got: usize },
    #[error("message type {0:#04x} is unknown")]
    UnknownMessage(u8),
    #[error("parameter type {kind:#06x} is unknown")]
    UnknownParameter { kind: u16 },
    #[error("parameter {kind:#06x} says that it has {said} octets, {room} are there")]
    ParameterLength { kind: u16, said: u16, room: usize },
    #[error("the value of parameter {kind:#06x} cannot have {length} octets")]
    ValueLength { kind: u16, length: usize },
    #[error("parameter {kind:#06x} has no place in {within}")]
    Unexpected { kind: u16, within: &'static str },
    #[error("no {0}")]
    Missing(&'static str),
    #[error("registration life {0:#010x} is neither infinite nor a time")]
    Lifetime(u32),
    #[error("policy {code:#010x} cannot have {length} octets of data")]
    PolicyLength { code: u32, length: usize },
    #[error("error cause {code} cannot have {said} octets")]
    CauseLength { code: u16, said: u16 },
    #[error("{0} octets are no entries of a status vector")]
    StatusLength(usize),
}

/// Kind of a [`DecodeError`], to count by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum MalformedReason {
    Length,
    UnknownMessage,
    UnknownParameter,
    ParameterLength,
    UnexpectedParameter,
    MissingParameter,
    Value,
}

impl MalformedReason {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::Length,
        Self::UnknownMessage,
        Self::UnknownParameter,
        Self::ParameterLength,
        Self::UnexpectedParameter,
        Self::MissingParameter,
        Self::Value,
    ];

    /// Name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::UnknownMessage => "unknown_message",
            Self::UnknownParameter => "unknown_parameter",
            Self::ParameterLength => "parameter_length",
            Self::UnexpectedParameter => "unexpected_parameter",
            Self::MissingParameter => "missing_parameter",
            Self::Value => "value",
        }
    }
}

impl DecodeError {
    /// Its kind.
    pub const fn reason(&self) -> MalformedReason {
        match self {
            Self::Short { .. } | Self::MessageLength { .. } => MalformedReason::Length,
            Self::UnknownMessage(_) => MalformedReason::UnknownMessage,
            Self::UnknownParameter { .. } => MalformedReason::UnknownParameter,
            Self::ParameterLength { .. } => MalformedReason::ParameterLength,
            Self::Unexpected { .. } => MalformedReason::UnexpectedParameter,
            Self::Missing(_) => MalformedReason::MissingParameter,
            Self::ValueLength { .. }
            | Self::Lifetime(_)
            | Self::PolicyLength { .. }
            | Self::CauseLength { .. }
            | Self::StatusLength(_) => MalformedReason::Value,
        }
    }

    /// Is a value wrong rather than the form, so that the sender is told by cause 3, Invalid Values (RFC 5354 3.12.4)?
    pub(super) const fn is_value(&self) -> bool {
        matches!(self.reason(), MalformedReason::Value)
    }

    /// What to change.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::UnknownMessage(_) => {
                "something that is not ASAP, or a newer ASAP, speaks to this port: find the sender"
            }
            Self::UnknownParameter { .. } => {
                "the sender uses an extension that it does not allow to be skipped: switch it off there"
            }
            Self::Short { .. } | Self::MessageLength { .. } | Self::ParameterLength { .. } => {
                "the sender builds wrong messages, or something that is not ASAP speaks to this port: find the sender"
            }
            Self::Lifetime(_) => "set a registration life of 0 to 2147483647 seconds, or -1",
            _ => "the sender builds wrong messages: update or report its software",
        }
    }
}

/// A message that cannot be taken, and what its sender is to be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Malformed {
    /// Why.
    pub error: DecodeError,
    /// What to send back in an ASAP_ERROR; empty means silence.
    pub report: Vec<Cause>,
}

/// Why something cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// It has more octets than the length of a message can say.
    #[error("the message would have {0} octets, at most 65532 can be said")]
    TooLong(usize),
}
