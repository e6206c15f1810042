//! Prefixes (RFC 5340 A.4.1) and the Intra-Area-Prefix-LSA (A.4.10).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |         # Prefixes            |     Referenced LS Type        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                  Referenced Link State ID                     |
//! |               Referenced Advertising Router                   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  PrefixLength | PrefixOptions |          Metric               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |           Address Prefix: as many 32-bit words as it takes    |
//! |                             …                                 |
//! ```

use std::fmt;
use std::net::Ipv6Addr;

use crate::codec::{Cursor, DecodeError, LsaKey, PrefixOptions};

/// Fewest octets of a prefix with its length, options and 16 bits more.
const LEAST: usize = 4;

/// An IPv6 prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: Ipv6Addr,
    length: u8,
}

impl Prefix {
    /// A prefix; bits of the address behind its length are cleared. `None` if it were longer than 128 bits.
    pub const fn new(address: Ipv6Addr, length: u8) -> Option<Self> {
        if length > 128 {
            return None;
        }
        let mask = if length == 0 { 0 } else { u128::MAX << (128 - length) };
        Some(Self { address: Ipv6Addr::from_bits(address.to_bits() & mask), length })
    }

    /// One address.
    pub const fn host(address: Ipv6Addr) -> Self {
        Self { address, length: 128 }
    }

    /// The first address.
    pub const fn address(&self) -> Ipv6Addr {
        self.address
    }

    /// Length in bits.
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// Octets that its address takes on the wire.
    const fn octets(length: u8) -> usize {
        (length as usize).div_ceil(32) * 4
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.address.octets()[..Self::octets(self.length)]);
    }

    /// Reads the address behind a length. Bits behind the length are kept as they came: what is read is written again the same.
    pub(super) fn parse(cursor: &mut Cursor<'_>, length: u8) -> Result<Self, DecodeError> {
        if length > 128 {
            return Err(DecodeError::PrefixLength(length));
        }
        let octets = cursor.take(Self::octets(length))?;
        let mut address = [0; 16];
        address[..octets.len()].copy_from_slice(octets);
        Ok(Self { address: address.into(), length })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// A prefix and what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricPrefix {
    /// The prefix.
    pub prefix: Prefix,
    /// Its options.
    pub options: PrefixOptions,
    /// Its cost; zero on the wire of a Link-LSA, where the field is reserved.
    pub metric: u16,
}

impl MetricPrefix {
    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.prefix.length, self.options.0]);
        out.extend_from_slice(&self.metric.to_be_bytes());
        self.prefix.emit(out);
    }

    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let length = cursor.u8()?;
        let options = PrefixOptions(cursor.u8()?);
        let metric = cursor.u16()?;
        Ok(Self { prefix: Prefix::parse(cursor, length)?, options, metric })
    }

    pub(super) fn parse_many(cursor: &mut Cursor<'_>, count: u32) -> Result<Vec<Self>, DecodeError> {
        cursor.counted(count, LEAST, Self::parse)
    }
}

/// Prefixes of a router or of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntraAreaPrefixLsa {
    /// The Router- or Network-LSA whose prefixes they are.
    pub referenced: LsaKey,
    /// The prefixes.
    pub prefixes: Vec<MetricPrefix>,
}

impl IntraAreaPrefixLsa {
    /// Reads a body.
    ///
    /// # Errors
    /// It is cut, counts wrong, or has a prefix that cannot be.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new("Intra-Area-Prefix-LSA", body);
        let count = cursor.u16()?;
        let referenced = LsaKey::parse(&mut cursor)?;
        let prefixes = MetricPrefix::parse_many(&mut cursor, count.into())?;
        cursor.end()?;
        Ok(Self { referenced, prefixes })
    }

    /// The body.
    pub fn encode(&self) -> Vec<u8> {
        // An LSA is shorter than 64 KiB, so its prefixes can be counted in 16 bits.
        let mut out = (self.prefixes.len() as u16).to_be_bytes().to_vec();
        self.referenced.emit(&mut out);
        for prefix in &self.prefixes {
            prefix.emit(&mut out);
        }
        out
    }
}
