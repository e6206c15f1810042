//! The LSA header (RFC 5340 A.4.2), and an LSA with its body as it came.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |           LS Age              |U|S2|S1|  LSA function code    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                       Link State ID                           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    Advertising Router                         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    LS Sequence Number                         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |        LS Checksum            |            Length             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::database::LSA_HEADER_LEN;
use super::{Cursor, DecodeError, checksum};
use crate::RouterId;

/// Age at which an LSA leaves the database, seconds (RFC 2328 B).
pub const MAX_AGE: u16 = 3600;

/// Ages that differ by more are two instances, seconds (RFC 2328 B).
pub const MAX_AGE_DIFF: u16 = 900;

/// First sequence number of an LSA (RFC 2328 12.1.6). Sequence numbers are signed.
pub const INITIAL_SEQUENCE: i32 = i32::MIN + 1;

/// Last one: the LSA must be flushed before it begins anew.
pub const MAX_SEQUENCE: i32 = i32::MAX;

/// What kind of LSA: its function, how far it is flooded, and what to do with it where it is not known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LsType(pub u16);

/// How far an LSA is flooded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloodScope {
    /// On its link.
    Link,
    /// In its area.
    Area,
    /// Everywhere but in stub areas.
    As,
    /// Not assigned: such an LSA is discarded.
    Reserved,
}

impl LsType {
    /// Router-LSA.
    pub const ROUTER: Self = Self(0x2001);
    /// Network-LSA.
    pub const NETWORK: Self = Self(0x2002);
    /// Inter-Area-Prefix-LSA.
    pub const INTER_AREA_PREFIX: Self = Self(0x2003);
    /// Inter-Area-Router-LSA.
    pub const INTER_AREA_ROUTER: Self = Self(0x2004);
    /// AS-External-LSA.
    pub const AS_EXTERNAL: Self = Self(0x4005);
    /// NSSA-LSA.
    pub const NSSA: Self = Self(0x2007);
    /// Link-LSA.
    pub const LINK: Self = Self(0x0008);
    /// Intra-Area-Prefix-LSA.
    pub const INTRA_AREA_PREFIX: Self = Self(0x2009);
    /// Grace-LSA (RFC 5187 2.2).
    pub const GRACE: Self = Self(0x000b);
    /// Load LSA, area scope, flooded where it is not known, function code for experiments (RFC 5340 7).
    pub const LOAD_EXPERIMENTAL: Self = Self(0xbff0);
    /// Load LSA with the function code for vendors; its body begins with an enterprise number.
    pub const LOAD_VENDOR: Self = Self(0xbff8);

    /// The scope that the bits S2 and S1 name.
    pub const fn coded_scope(self) -> FloodScope {
        match self.0 >> 13 & 0b11 {
            0 => FloodScope::Link,
            1 => FloodScope::Area,
            2 => FloodScope::As,
            _ => FloodScope::Reserved,
        }
    }

    /// The scope here: an LSA that is not known and has the U-bit clear stays on its link (RFC 5340 4.5.2 case 2).
    pub const fn scope(self) -> FloodScope {
        match self.coded_scope() {
            FloodScope::Reserved => FloodScope::Reserved,
            _ if !self.known() && self.0 & 0x8000 == 0 => FloodScope::Link,
            scope => scope,
        }
    }

    /// Is it one of those of RFC 5340, or the Grace-LSA?
    pub const fn known(self) -> bool {
        matches!(self.0, 0x2001..=0x2004 | 0x4005 | 0x2007 | 0x0008 | 0x2009 | 0x000b)
    }
}

impl fmt::Display for LsType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ROUTER => f.write_str("Router"),
            Self::NETWORK => f.write_str("Network"),
            Self::INTER_AREA_PREFIX => f.write_str("Inter-Area-Prefix"),
            Self::INTER_AREA_ROUTER => f.write_str("Inter-Area-Router"),
            Self::AS_EXTERNAL => f.write_str("AS-External"),
            Self::NSSA => f.write_str("NSSA"),
            Self::LINK => f.write_str("Link"),
            Self::INTRA_AREA_PREFIX => f.write_str("Intra-Area-Prefix"),
            Self::GRACE => f.write_str("Grace"),
            Self(other) => write!(f, "{other:#06x}"),
        }
    }
}

impl fmt::Debug for LsType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What names an LSA; its instances share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LsaKey {
    /// Kind and scope.
    pub ls_type: LsType,
    /// Tells LSAs of one type and originator apart; an interface for Network- and Link-LSAs.
    pub link_state_id: u32,
    /// Originator.
    pub advertising_router: RouterId,
}

impl LsaKey {
    pub(in crate::codec) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.ls_type.0.to_be_bytes());
        out.extend_from_slice(&self.link_state_id.to_be_bytes());
        out.extend_from_slice(&self.advertising_router.0.to_be_bytes());
    }

    pub(in crate::codec) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            ls_type: LsType(cursor.u16()?),
            link_state_id: cursor.u32()?,
            advertising_router: RouterId(cursor.u32()?),
        })
    }
}

impl fmt::Display for LsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-LSA {} of {}", self.ls_type, self.link_state_id, self.advertising_router)
    }
}

/// An LSA without its body: what tells its instances apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LsaHeader {
    /// Seconds since it was originated, as counted on the way.
    pub age: u16,
    /// Its name.
    pub key: LsaKey,
    /// Grows with each instance.
    pub sequence: i32,
    /// Fletcher's, over all but the age.
    pub checksum: u16,
    /// Octets with the header.
    pub length: u16,
}

impl LsaHeader {
    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.age.to_be_bytes());
        self.key.emit(out);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.checksum.to_be_bytes());
        out.extend_from_slice(&self.length.to_be_bytes());
    }

    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let header = Self {
            age: cursor.u16()?,
            key: LsaKey::parse(cursor)?,
            sequence: cursor.u32()?.cast_signed(),
            checksum: cursor.u16()?,
            length: cursor.u16()?,
        };
        if usize::from(header.length) < LSA_HEADER_LEN {
            return Err(DecodeError::LsaLength { said: header.length, room: cursor.len() + LSA_HEADER_LEN });
        }
        Ok(header)
    }

    /// Greater = more recent, equal = the same instance (RFC 2328 13.1).
    pub fn recency(&self, other: &Self) -> Ordering {
        let (age, others) = (self.age.min(MAX_AGE), other.age.min(MAX_AGE));
        let by_content = self.sequence.cmp(&other.sequence).then(self.checksum.cmp(&other.checksum));
        by_content.then((age == MAX_AGE).cmp(&(others == MAX_AGE))).then_with(|| {
            if age.abs_diff(others) > MAX_AGE_DIFF { others.cmp(&age) } else { Ordering::Equal }
        })
    }

    /// Has it reached the age at which it leaves the database?
    pub const fn is_max_age(&self) -> bool {
        self.age >= MAX_AGE
    }
}

/// An LSA: header, and the body verbatim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lsa {
    /// Header; its length covers the body.
    pub header: LsaHeader,
    /// Body as it came or was built.
    pub body: Arc<[u8]>,
}

impl Lsa {
    /// A new instance: length and checksum are computed. A body that no length field can cover is cut, which no originator here
    /// comes near.
    pub fn new(key: LsaKey, sequence: i32, age: u16, body: &[u8]) -> Self {
        let body = &body[..body.len().min(usize::from(u16::MAX) - LSA_HEADER_LEN)];
        let length = (LSA_HEADER_LEN + body.len()) as u16;
        let header = LsaHeader { age, key, sequence, checksum: 0, length };
        let mut lsa = Self { header, body: body.into() };
        let mut octets = Vec::with_capacity(lsa.len());
        lsa.emit(&mut octets);
        lsa.header.checksum = checksum::fletcher(&octets);
        lsa
    }

    /// Octets on the wire.
    pub fn len(&self) -> usize {
        LSA_HEADER_LEN + self.body.len()
    }

    /// Never: a header is always there.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Does the checksum hold?
    pub fn is_intact(&self) -> bool {
        let mut octets = Vec::with_capacity(self.len());
        self.emit(&mut octets);
        checksum::fletcher_holds(&octets)
    }

    /// Appends the LSA.
    pub fn emit(&self, out: &mut Vec<u8>) {
        self.header.emit(out);
        out.extend_from_slice(&self.body);
    }

    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let header = LsaHeader::parse(cursor)?;
        let room = cursor.len() + LSA_HEADER_LEN;
        let body = usize::from(header.length) - LSA_HEADER_LEN;
        let body = cursor.take(body).map_err(|_| DecodeError::LsaLength { said: header.length, room })?;
        Ok(Self { header, body: body.into() })
    }

    /// Reads one LSA from its octets, as a fixture or a tool has them.
    ///
    /// # Errors
    /// The octets are not exactly one LSA.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new("LSA", octets);
        let lsa = Self::parse(&mut cursor)?;
        cursor.end()?;
        Ok(lsa)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(sequence: i32, checksum: u16, age: u16) -> LsaHeader {
        let key = LsaKey { ls_type: LsType::ROUTER, link_state_id: 0, advertising_router: RouterId(1) };
        LsaHeader { age, key, sequence, checksum, length: 20 }
    }

    /// RFC 2328 13.1, one row a rule.
    #[test]
    fn the_more_recent_instance_is_found() {
        let base = header(5, 100, 10);
        for (other, expected) in [
            (header(6, 1, 10), Ordering::Less),
            (header(-1, 500, 0), Ordering::Greater),
            (header(INITIAL_SEQUENCE, 0, 0), Ordering::Greater),
            (header(MAX_SEQUENCE, 0, 0), Ordering::Less),
            (header(5, 101, 10), Ordering::Less),
            (header(5, 100, MAX_AGE), Ordering::Less),
            (header(5, 100, u16::MAX), Ordering::Less),
            (header(5, 100, 910), Ordering::Equal),
            (header(5, 100, 911), Ordering::Greater),
            (header(5, 100, 0), Ordering::Equal),
        ] {
            assert_eq!(base.recency(&other), expected, "{other:?}");
            assert_eq!(other.recency(&base), expected.reverse(), "{other:?}");
        }
    }

    /// RFC 5340 A.4.2.1 and 4.5.2.
    #[test]
    fn an_unknown_type_without_u_bit_stays_on_its_link() {
        for (ls_type, scope) in [
            (0x2001, FloodScope::Area),
            (0x0008, FloodScope::Link),
            (0x4005, FloodScope::As),
            (0x000b, FloodScope::Link),
            (0xbff0, FloodScope::Area),
            (0x3ff0, FloodScope::Link),
            (0xdff0, FloodScope::As),
            (0x5ff0, FloodScope::Link),
            (0x9ff0, FloodScope::Link),
            (0xfff0, FloodScope::Reserved),
            (0x6001, FloodScope::Reserved),
        ] {
            assert_eq!(LsType(ls_type).scope(), scope, "{ls_type:#06x}");
        }
    }
}
