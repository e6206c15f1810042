//! AS-External-LSA (RFC 5340 A.4.7).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |         |E|F|T|                Metric                         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | PrefixLength  | PrefixOptions |     Referenced LS Type        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                     Address Prefix …                          |
//! |        Forwarding Address, 128 bits, if F is set              |
//! |        External Route Tag, 32 bits, if T is set               |
//! |  Referenced Link State ID, 32 bits, if there is an LS type    |
//! ```

use std::net::Ipv6Addr;

use super::Prefix;
use crate::codec::{Cursor, DecodeError, LsType, PrefixOptions};

const E: u8 = 0x04;
const F: u8 = 0x02;
const T: u8 = 0x01;

/// A route from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsExternalLsa {
    /// Type 2: the metric counts before every distance within the AS. Type 1: it is added to it.
    pub type_2: bool,
    /// 24 bits; all ones = unreachable.
    pub metric: u32,
    /// Where to.
    pub prefix: Prefix,
    /// Its options.
    pub options: PrefixOptions,
    /// Where to send traffic, if not to the originator.
    pub forwarding: Option<Ipv6Addr>,
    /// For filters and other AS boundary routers.
    pub tag: Option<u32>,
    /// LS type and Link State ID of an LSA that says more.
    pub referenced: Option<(LsType, u32)>,
}

impl AsExternalLsa {
    /// Metric of what cannot be reached (RFC 2328 B, LSInfinity).
    pub const INFINITY: u32 = 0x00ff_ffff;

    /// Reads a body.
    ///
    /// # Errors
    /// It is cut, has something behind its end, or a prefix that cannot be.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new("AS-External-LSA", body);
        let flags = cursor.u8()?;
        let metric = cursor.u24()?;
        let length = cursor.u8()?;
        let options = PrefixOptions(cursor.u8()?);
        let referenced = LsType(cursor.u16()?);
        let prefix = Prefix::parse(&mut cursor, length)?;
        let lsa = Self {
            type_2: flags & E != 0,
            metric,
            prefix,
            options,
            forwarding: if flags & F == 0 { None } else { Some(cursor.address()?) },
            tag: if flags & T == 0 { None } else { Some(cursor.u32()?) },
            referenced: if referenced.0 == 0 { None } else { Some((referenced, cursor.u32()?)) },
        };
        cursor.end()?;
        Ok(lsa)
    }

    /// The body.
    pub fn encode(&self) -> Vec<u8> {
        let bit = |set, bit| if set { bit } else { 0 };
        let flags = bit(self.type_2, E) | bit(self.forwarding.is_some(), F) | bit(self.tag.is_some(), T);
        let metric = self.metric.min(Self::INFINITY);
        let mut out = (u32::from(flags) << 24 | metric).to_be_bytes().to_vec();
        out.extend_from_slice(&[self.prefix.length(), self.options.0]);
        out.extend_from_slice(&self.referenced.map_or(0, |(ls_type, _)| ls_type.0).to_be_bytes());
        self.prefix.emit(&mut out);
        if let Some(address) = self.forwarding {
            out.extend_from_slice(&address.octets());
        }
        if let Some(tag) = self.tag {
            out.extend_from_slice(&tag.to_be_bytes());
        }
        if let Some((_, link_state_id)) = self.referenced {
            out.extend_from_slice(&link_state_id.to_be_bytes());
        }
        out
    }
}
