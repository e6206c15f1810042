//! The messages of ASAP (RFC 5352 2.2).

use super::{
    Cause, ElementId, PolicyParameter, PoolElement, PoolHandle, RegistrarId, StatusFlags, StatusVector,
    Transport,
};

/// Type of a message (RFC 5352 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of RFC 5352 2.2")]
pub enum MessageType {
    Registration,
    Deregistration,
    RegistrationResponse,
    DeregistrationResponse,
    HandleResolution,
    HandleResolutionResponse,
    EndpointKeepAlive,
    EndpointKeepAliveAck,
    EndpointUnreachable,
    ServerAnnounce,
    Cookie,
    CookieEcho,
    BusinessCard,
    Error,
}

impl MessageType {
    /// All of them, in order of their codes.
    pub const ALL: [Self; 14] = [
        Self::Registration,
        Self::Deregistration,
        Self::RegistrationResponse,
        Self::DeregistrationResponse,
        Self::HandleResolution,
        Self::HandleResolutionResponse,
        Self::EndpointKeepAlive,
        Self::EndpointKeepAliveAck,
        Self::EndpointUnreachable,
        Self::ServerAnnounce,
        Self::Cookie,
        Self::CookieEcho,
        Self::BusinessCard,
        Self::Error,
    ];

    /// Its number on the wire: 0x01 to 0x0e.
    pub const fn code(self) -> u8 {
        self as u8 + 1
    }

    /// From its number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// Name in metrics: that of RFC 5352 in small letters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::Deregistration => "deregistration",
            Self::RegistrationResponse => "registration_response",
            Self::DeregistrationResponse => "deregistration_response",
            Self::HandleResolution => "handle_resolution",
            Self::HandleResolutionResponse => "handle_resolution_response",
            Self::EndpointKeepAlive => "endpoint_keep_alive",
            Self::EndpointKeepAliveAck => "endpoint_keep_alive_ack",
            Self::EndpointUnreachable => "endpoint_unreachable",
            Self::ServerAnnounce => "server_announce",
            Self::Cookie => "cookie",
            Self::CookieEcho => "cookie_echo",
            Self::BusinessCard => "business_card",
            Self::Error => "error",
        }
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// 0x01, element to registrar (RFC 5352 2.2.1).
    Registration {
        /// Which pool.
        handle: PoolHandle,
        /// The element.
        element: PoolElement,
        /// What it says of itself beyond the RFC: [`StatusFlags::OWN`], in a parameter that others skip; none = no parameter.
        flags: StatusFlags,
    },
    /// 0x02, element to registrar (2.2.2).
    Deregistration {
        /// Which pool.
        handle: PoolHandle,
        /// Which element: the sender itself.
        id: ElementId,
    },
    /// 0x03, registrar to element (2.2.3).
    RegistrationResponse {
        /// Which pool.
        handle: PoolHandle,
        /// Which element.
        id: ElementId,
        /// Not registered: flag R.
        rejected: bool,
        /// Why; without [`rejected`](Self::RegistrationResponse::rejected) a warning.
        errors: Vec<Cause>,
    },
    /// 0x04, registrar to element (2.2.4); also when the registration's life is over.
    DeregistrationResponse {
        /// Which pool.
        handle: PoolHandle,
        /// Which element.
        id: ElementId,
        /// What went wrong.
        errors: Vec<Cause>,
    },
    /// 0x05, user to registrar (2.2.5).
    HandleResolution {
        /// Which pool.
        handle: PoolHandle,
        /// Send updates: flag S.
        subscribe: bool,
        /// How many elements are wanted at most; `u32::MAX` = as many as there are. In a parameter that others skip.
        limit: Option<u32>,
        /// The sender understands the status vector and wants it: an empty one stands in the request, which others skip. Who does
        /// not ask gets nothing but what the RFCs have.
        status: bool,
    },
    /// 0x06, registrar to user (2.2.6).
    HandleResolutionResponse(ResolutionResponse),
    /// 0x07, registrar to element (2.2.7).
    EndpointKeepAlive {
        /// Who asks.
        registrar: RegistrarId,
        /// Which pool.
        handle: PoolHandle,
        /// Take the asking registrar for the home: flag H.
        adopt: bool,
    },
    /// 0x08, element to registrar (2.2.8).
    EndpointKeepAliveAck {
        /// Which pool.
        handle: PoolHandle,
        /// Which element.
        id: ElementId,
    },
    /// 0x09, user to registrar (2.2.9).
    EndpointUnreachable {
        /// Which pool.
        handle: PoolHandle,
        /// Which element.
        id: ElementId,
    },
    /// 0x0a, registrar to all (2.2.10).
    ServerAnnounce {
        /// Who.
        registrar: RegistrarId,
        /// Where it listens; none = SCTP at the source's address and port 3863.
        transports: Vec<Transport>,
    },
    /// 0x0b, element to user (2.2.11).
    Cookie(Vec<u8>),
    /// 0x0c, user to element (2.2.12).
    CookieEcho(Vec<u8>),
    /// 0x0d, between user and element (2.2.13).
    BusinessCard {
        /// Pool of the sender.
        handle: PoolHandle,
        /// Whom to ask if the sender fails, in this order.
        elements: Vec<PoolElement>,
    },
    /// 0x0e, anybody (2.2.14).
    Error(Vec<Cause>),
}

/// What a registrar answers about a pool (RFC 5352 2.2.6), and pushes to whoever subscribed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolutionResponse {
    /// Which pool.
    pub handle: PoolHandle,
    /// Updates will come: flag A.
    pub accepted: bool,
    /// The pool's policy; none = round robin.
    pub policy: Option<PolicyParameter>,
    /// Elements that can be used now.
    pub elements: Vec<PoolElement>,
    /// Why there is no answer. With errors there are no elements.
    pub errors: Vec<Cause>,
    /// Status of all elements, usable or not: for those who asked, from registrars that know it.
    pub status: Option<StatusVector>,
}

impl Message {
    /// Its type.
    pub const fn kind(&self) -> MessageType {
        match self {
            Self::Registration { .. } => MessageType::Registration,
            Self::Deregistration { .. } => MessageType::Deregistration,
            Self::RegistrationResponse { .. } => MessageType::RegistrationResponse,
            Self::DeregistrationResponse { .. } => MessageType::DeregistrationResponse,
            Self::HandleResolution { .. } => MessageType::HandleResolution,
            Self::HandleResolutionResponse(_) => MessageType::HandleResolutionResponse,
            Self::EndpointKeepAlive { .. } => MessageType::EndpointKeepAlive,
            Self::EndpointKeepAliveAck { .. } => MessageType::EndpointKeepAliveAck,
            Self::EndpointUnreachable { .. } => MessageType::EndpointUnreachable,
            Self::ServerAnnounce { .. } => MessageType::ServerAnnounce,
            Self::Cookie(_) => MessageType::Cookie,
            Self::CookieEcho(_) => MessageType::CookieEcho,
            Self::BusinessCard { .. } => MessageType::BusinessCard,
            Self::Error(_) => MessageType::Error,
        }
    }
}
