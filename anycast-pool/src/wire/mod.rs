//! ASAP on the wire (RFC 5352 2, RFC 5354): octets to meaning and back.
//!
//! [`Message::parse`] reads one message and says, beside its meaning, what the sender must be told of the parts that are
//! unknown here ([`Parsed::report`], [`Malformed::report`]). [`Frames`] cuts a stream of octets into messages.
//! [`Message::emit`] writes; everything is padded with zeros to four octets, and the length of a message counts the padding of
//! its last parameter, as RSPLIB writes it. Both that length and the unpadded one of RFC 5354 4 are read.
//!
//! Parameters are read through a cursor that cannot leave its slice, and only headers of fixed form by named offsets. Reserved
//! fields are zero when sent and ignored when received.
//!
//! Beyond the RFCs: [`HandleResolution::limit`](Message::HandleResolution) as RSPLIB has it, and the [`StatusVector`], both in
//! parameters that others skip.

mod cause;
mod element;
mod emit;
mod error;
mod frames;
mod id;
mod message;
mod parameter;
mod parse;
mod policy;
mod status;
mod transport;

pub use cause::{Cause, CauseCode};
pub use element::{Lifetime, PoolElement};
pub use error::{DecodeError, EmitError, Malformed, MalformedReason};
pub use frames::{FrameError, Frames};
pub use id::{ElementId, PoolHandle, RegistrarId};
pub use message::{Message, MessageType, ResolutionResponse};
pub use parameter::ParameterType;
pub use parse::Parsed;
pub use policy::PolicyParameter;
pub use status::{Source, State, StatusEntry, StatusFlags, StatusVector};
pub use transport::{Transport, TransportKind, TransportUse};

pub(crate) use emit::{emit_handle, emit_message};
pub(crate) use status::{ENTRY_LEN, STATUS_HEADER_LEN};

/// Port of ASAP over TCP, UDP and SCTP (RFC 5352 8.2).
pub const PORT: u16 = 3863;

/// Port of ASAP over TLS (RFC 5352 8.2).
pub const PORT_TLS: u16 = 3864;

/// SCTP payload protocol identifier of ASAP (RFC 5352 8.3).
pub const SCTP_PAYLOAD_PROTOCOL: u32 = 11;

/// IPv4 group of registrars' announces (RFC 5352 8.4).
pub const GROUP_V4: std::net::Ipv4Addr = std::net::Ipv4Addr::new(224, 0, 1, 185);

/// IPv6 group of registrars' announces, link-local scope (RFC 5352 8.4: `ff0X::133`).
pub const GROUP_V6: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x133);

/// Octets of a message's header: type, flags, length.
pub const HEADER_LEN: usize = 4;

/// Most octets of a message: its length has 16 bits, and the last multiple of four below is what can be padded.
pub const MESSAGE_MAX: usize = 0xfffc;
