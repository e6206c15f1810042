//! Link-LSA (RFC 5340 A.4.9): from it the other routers of a link take the next hop.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Rtr Priority  |                Options                        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |           Link-local Interface Address (128 bits)             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                         # prefixes                            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  PrefixLength | PrefixOptions |             0                 |
//! |                     Address Prefix …                          |
//! ```

use std::net::Ipv6Addr;

use super::MetricPrefix;
use crate::codec::{Cursor, DecodeError, Options};

/// What a router says about itself on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkLsa {
    /// Its Router Priority.
    pub priority: u8,
    /// What it can.
    pub options: Options,
    /// Its address, the others' next hop.
    pub link_local: Ipv6Addr,
    /// The link's prefixes, with metric 0. A stub host names none.
    pub prefixes: Vec<MetricPrefix>,
}

impl LinkLsa {
    /// Reads a body.
    ///
    /// # Errors
    /// It is cut, counts wrong, or has a prefix that cannot be.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new("Link-LSA", body);
        let priority = cursor.u8()?;
        let options = Options::from_bits(cursor.u24()?);
        let link_local = cursor.address()?;
        let count = cursor.u32()?;
        let prefixes = MetricPrefix::parse_many(&mut cursor, count)?;
        cursor.end()?;
        Ok(Self { priority, options, link_local, prefixes })
    }

    /// The body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = (u32::from(self.priority) << 24 | self.options.bits()).to_be_bytes().to_vec();
        out.extend_from_slice(&self.link_local.octets());
        out.extend_from_slice(&(self.prefixes.len() as u32).to_be_bytes());
        for prefix in &self.prefixes {
            prefix.emit(&mut out);
        }
        out
    }
}
