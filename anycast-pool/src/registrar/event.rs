//! What comes in and what goes out.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::journal::Record;
use crate::wire::{CauseCode, DecodeError, FrameError, Source, State};
use crate::{ElementId, PoolHandle};

/// A connection or association, named by the caller. A name is not used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectionKind {
    /// TCP. Elements over TCP are beyond RFC 5352 2.1, which wants SCTP for them.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// An SCTP association.
    Sctp,
}

impl ConnectionKind {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Sctp => "sctp",
        }
    }
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Somebody connected.
    Connected {
        /// The new connection.
        connection: ConnectionId,
        /// From where.
        peer: SocketAddr,
        /// By what.
        kind: ConnectionKind,
        /// Who it is by its certificate, if it showed one that is trusted.
        identity: Option<&'a str>,
    },
    /// Octets of a stream came (TCP, TLS), however cut.
    Received {
        /// Over which connection.
        connection: ConnectionId,
        /// The octets.
        octets: &'a [u8],
    },
    /// A message came as a whole (SCTP).
    Message {
        /// Over which connection.
        connection: ConnectionId,
        /// The message.
        octets: &'a [u8],
    },
    /// The other side, or the kernel for it, took octets that were sent by [`Action::Send`]. Tell it of all of them: what was not
    /// taken counts as backlog.
    Written {
        /// Over which connection.
        connection: ConnectionId,
        /// How many.
        octets: usize,
    },
    /// A connection ended, in whatever way. Not needed after [`Action::Close`], and harmless.
    Closed {
        /// Which.
        connection: ConnectionId,
    },
    /// Time passed.
    Tick,
    /// The registrar stops: all connections are closed, and nothing is taken for down by that.
    Shutdown,
}

/// What to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send a message; many connections may share its octets. Over SCTP it is one message with payload protocol 11.
    Send {
        /// Over which connection.
        connection: ConnectionId,
        /// The message.
        octets: Arc<[u8]>,
    },
    /// Close a connection, after what was sent if that goes quickly. It is forgotten here already.
    Close {
        /// Which.
        connection: ConnectionId,
        /// Why.
        reason: CloseReason,
    },
    /// Append a record to the journal, before what follows is sent: what was acknowledged must not be lost.
    Journal(Record),
    /// Send a message to the groups of announces.
    Announce(Arc<[u8]>),
    /// Tell somebody.
    Notice(Notice),
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloseReason {
    /// There are too many.
    TooMany,
    /// What it sends cannot be cut into messages.
    Framing,
    /// Too much of what it sent is malformed.
    Malformed,
    /// It takes nothing of what is sent to it.
    Stuck,
    /// It asks for more than it takes.
    Backlog,
    /// The registrar stops.
    Shutdown,
}

impl CloseReason {
    /// All of them, in order.
    pub const ALL: [Self; 6] =
        [Self::TooMany, Self::Framing, Self::Malformed, Self::Stuck, Self::Backlog, Self::Shutdown];

    /// Name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooMany => "too_many",
            Self::Framing => "framing",
            Self::Malformed => "malformed",
            Self::Stuck => "stuck",
            Self::Backlog => "backlog",
            Self::Shutdown => "shutdown",
        }
    }
}

/// What is worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An element is up or down now.
    Element {
        /// Its pool.
        handle: PoolHandle,
        /// Which.
        id: ElementId,
        /// State now.
        state: State,
        /// From what that is known.
        source: Source,
    },
    /// An element is no longer registered.
    Removed {
        /// Its pool.
        handle: PoolHandle,
        /// Which.
        id: ElementId,
        /// Why.
        source: Source,
    },
    /// A registration or deregistration was refused.
    Refused {
        /// From whom.
        peer: SocketAddr,
        /// Which pool.
        handle: PoolHandle,
        /// Which element.
        id: ElementId,
        /// Why.
        cause: CauseCode,
    },
    /// A message was not taken.
    Malformed {
        /// From whom.
        peer: SocketAddr,
        /// Why.
        error: DecodeError,
    },
    /// A stream cannot be cut into messages.
    Framing {
        /// From whom.
        peer: SocketAddr,
        /// Why.
        error: FrameError,
    },
    /// A connection was closed from here.
    Closed {
        /// To whom.
        peer: SocketAddr,
        /// Why.
        reason: CloseReason,
    },
}

impl Notice {
    /// Is it a problem, not a mere change?
    pub const fn is_problem(&self) -> bool {
        match self {
            Self::Element { state, .. } => matches!(state, State::Down),
            Self::Removed { .. } => false,
            Self::Closed { reason, .. } => !matches!(reason, CloseReason::Shutdown),
            _ => true,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Element { handle, id, state, source } => {
                write!(f, "element {id} of pool {handle} is {}: {}", state.name(), source.name())
            }
            Self::Removed { handle, id, source } => {
                write!(f, "element {id} of pool {handle} is no longer registered: {}", source.name())
            }
            Self::Refused { peer, handle, id, cause } => {
                write!(f, "refused element {id} of pool {handle} from {peer}: {cause}")
            }
            Self::Malformed { peer, error } => {
                write!(f, "not taken from {peer}: {error}: {}", error.advice())
            }
            Self::Framing { peer, error } => write!(
                f,
                "not taken from {peer}: {error}: something that is not ASAP speaks to this port: find the sender"
            ),
            Self::Closed { peer, reason } => {
                let advice = match reason {
                    CloseReason::TooMany => "raise the limit of connections, or look for who opens so many",
                    CloseReason::Framing | CloseReason::Malformed => "what it sends is not ASAP",
                    CloseReason::Stuck => "it takes nothing of what is sent to it: see whether it hangs",
                    CloseReason::Backlog => "it asks for more than it takes",
                    CloseReason::Shutdown => "the registrar stops",
                };
                write!(f, "closed the connection of {peer}: {advice}")
            }
        }
    }
}
