//! The packet header (RFC 5340 A.3.1), and a whole packet.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Version = 3  |     Type      |         Packet length         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                         Router ID                             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                          Area ID                              |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |          Checksum             |  Instance ID  |      0        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! What follows the packet's length, link-local signalling or an authentication trailer, is no part of the packet.

use super::{Cursor, DatabaseDescription, DecodeError, Hello, Lsa, LsaHeader, LsaKey, Options, database};
use crate::{AreaId, RouterId};

/// Octets of the header.
pub const HEADER_LEN: usize = 16;

const VERSION: u8 = 3;

/// Type of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Hello.
    Hello = 1,
    /// Database Description.
    DatabaseDescription = 2,
    /// Link State Request.
    LinkStateRequest = 3,
    /// Link State Update.
    LinkStateUpdate = 4,
    /// Link State Acknowledgment.
    LinkStateAck = 5,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [
        Self::Hello,
        Self::DatabaseDescription,
        Self::LinkStateRequest,
        Self::LinkStateUpdate,
        Self::LinkStateAck,
    ];
}

/// The header, which tells whether a packet is for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Type.
    pub kind: Kind,
    /// Octets of the packet, header included, trailer not.
    pub length: u16,
    /// Sender.
    pub router_id: RouterId,
    /// Area of the sender's interface.
    pub area: AreaId,
    /// Over pseudo-header and packet; 0 with authentication.
    pub checksum: u16,
    /// Which of several OSPFs on the link.
    pub instance: u8,
}

impl Header {
    /// Reads the header of a received payload.
    ///
    /// # Errors
    /// It is no OSPFv3, or the payload is shorter than the packet.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new("packet header", payload);
        let version = cursor.u8()?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let kind = cursor.u8()?;
        let kind = Kind::ALL.into_iter().find(|known| *known as u8 == kind).ok_or(DecodeError::Kind(kind))?;
        let header = Self {
            kind,
            length: cursor.u16()?,
            router_id: RouterId(cursor.u32()?),
            area: AreaId(cursor.u32()?),
            checksum: cursor.u16()?,
            instance: cursor.u8()?,
        };
        let _reserved = cursor.u8()?;
        let length = usize::from(header.length);
        if length < HEADER_LEN || length > payload.len() {
            return Err(DecodeError::Length { said: header.length, got: payload.len() });
        }
        Ok(header)
    }
}

/// What a packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// "I am here, and I hear these."
    Hello(Hello),
    /// "This is what I have."
    DatabaseDescription(DatabaseDescription),
    /// "Send me these."
    LinkStateRequest(Vec<LsaKey>),
    /// "Here they are."
    LinkStateUpdate(Vec<Lsa>),
    /// "I have got these."
    LinkStateAck(Vec<LsaHeader>),
}

impl Body {
    /// Type.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::Hello,
            Self::DatabaseDescription(_) => Kind::DatabaseDescription,
            Self::LinkStateRequest(_) => Kind::LinkStateRequest,
            Self::LinkStateUpdate(_) => Kind::LinkStateUpdate,
            Self::LinkStateAck(_) => Kind::LinkStateAck,
        }
    }

    /// The options, which only Hello and Database Description carry.
    pub const fn options(&self) -> Option<Options> {
        match self {
            Self::Hello(hello) => Some(hello.options),
            Self::DatabaseDescription(description) => Some(description.options),
            _ => None,
        }
    }
}

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Sender.
    pub router_id: RouterId,
    /// Area.
    pub area: AreaId,
    /// Instance.
    pub instance: u8,
    /// As it was received. To send, leave 0 and let [`fill`](super::checksum::fill) or the kernel do it.
    pub checksum: u16,
    /// The rest.
    pub body: Body,
}

impl Packet {
    /// Reads a received payload; returns the packet and what follows it.
    ///
    /// # Errors
    /// Why it is no OSPFv3 packet.
    pub fn decode(payload: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let header = Header::decode(payload)?;
        let (packet, trailer) = payload.split_at(usize::from(header.length));
        let octets = &packet[HEADER_LEN..];
        let body = match header.kind {
            Kind::Hello => Body::Hello(Hello::parse(octets)?),
            Kind::DatabaseDescription => Body::DatabaseDescription(DatabaseDescription::parse(octets)?),
            Kind::LinkStateRequest => Body::LinkStateRequest(database::parse_requests(octets)?),
            Kind::LinkStateUpdate => Body::LinkStateUpdate(database::parse_update(octets)?),
            Kind::LinkStateAck => Body::LinkStateAck(database::parse_headers(octets)?),
        };
        let Header { router_id, area, instance, checksum, .. } = header;
        Ok((Self { router_id, area, instance, checksum, body }, trailer))
    }

    /// The packet's octets. The caller keeps packets within the link's MTU, so the length field holds them.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(&[VERSION, self.body.kind() as u8, 0, 0]);
        out.extend_from_slice(&self.router_id.0.to_be_bytes());
        out.extend_from_slice(&self.area.0.to_be_bytes());
        out.extend_from_slice(&self.checksum.to_be_bytes());
        out.extend_from_slice(&[self.instance, 0]);
        match &self.body {
            Body::Hello(hello) => hello.emit(&mut out),
            Body::DatabaseDescription(description) => description.emit(&mut out),
            Body::LinkStateRequest(keys) => database::emit_requests(keys, &mut out),
            Body::LinkStateUpdate(lsas) => database::emit_update(lsas, &mut out),
            Body::LinkStateAck(headers) => database::emit_headers(headers, &mut out),
        }
        let length = u16::try_from(out.len()).unwrap_or(u16::MAX);
        out[2..4].copy_from_slice(&length.to_be_bytes());
        out
    }
}
