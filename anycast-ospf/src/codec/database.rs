//! Packets by which databases become the same: Database Description, Link State Request, Update and Acknowledgment
//! (RFC 5340 A.3.3 to A.3.6), behind the packet's header.
//!
//! ```text
//! Database Description                                          Link State Request, repeated
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+--+  +---------------+---------------+
//! |       0       |               Options                          |  |       0       |    LS Type    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+--+  +---------------+---------------+
//! |        Interface MTU          |      0        |0|0|0|0|0|I|M|MS|  |         Link State ID         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+--+  +-------------------------------+
//! |                    DD sequence number                          |  |      Advertising Router       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+--+  +-------------------------------+
//! |                       LSA headers …                            |
//!
//! Link State Update: number of LSAs (32 bits), LSAs.    Link State Acknowledgment: LSA headers.
//! ```

use super::{Cursor, DecodeError, Lsa, LsaHeader, LsaKey, Options};

/// Octets of an LSA header.
pub const LSA_HEADER_LEN: usize = 20;

/// Octets of one request.
pub const REQUEST_LEN: usize = 12;

/// Octets of an Update before its LSAs, without the packet's header.
pub const UPDATE_OVERHEAD: usize = 4;

const INIT: u8 = 0b100;
const MORE: u8 = 0b010;
const MASTER: u8 = 0b001;

/// One packet of the exchange that describes a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseDescription {
    /// What the sender can.
    pub options: Options,
    /// Largest datagram of the sender's link.
    pub mtu: u16,
    /// The first of a sequence.
    pub init: bool,
    /// More follow.
    pub more: bool,
    /// The sender leads the exchange.
    pub master: bool,
    /// Ties answer to question.
    pub sequence: u32,
    /// A part of the database.
    pub headers: Vec<LsaHeader>,
}

impl DatabaseDescription {
    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.options.bits().to_be_bytes());
        out.extend_from_slice(&self.mtu.to_be_bytes());
        let bit = |set, bit| if set { bit } else { 0 };
        out.extend_from_slice(&[0, bit(self.init, INIT) | bit(self.more, MORE) | bit(self.master, MASTER)]);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        emit_headers(&self.headers, out);
    }

    pub(super) fn parse(octets: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new("Database Description", octets);
        let _reserved = cursor.u8()?;
        let options = Options::from_bits(cursor.u24()?);
        let mtu = cursor.u16()?;
        let _reserved = cursor.u8()?;
        let flags = cursor.u8()?;
        Ok(Self {
            options,
            mtu,
            init: flags & INIT != 0,
            more: flags & MORE != 0,
            master: flags & MASTER != 0,
            sequence: cursor.u32()?,
            headers: cursor.all(LSA_HEADER_LEN, LsaHeader::parse)?,
        })
    }
}

pub(super) fn emit_headers(headers: &[LsaHeader], out: &mut Vec<u8>) {
    for header in headers {
        header.emit(out);
    }
}

pub(super) fn parse_headers(octets: &[u8]) -> Result<Vec<LsaHeader>, DecodeError> {
    Cursor::new("Link State Acknowledgment", octets).all(LSA_HEADER_LEN, LsaHeader::parse)
}

pub(super) fn emit_requests(keys: &[LsaKey], out: &mut Vec<u8>) {
    for key in keys {
        out.extend_from_slice(&[0, 0]);
        key.emit(out);
    }
}

pub(super) fn parse_requests(octets: &[u8]) -> Result<Vec<LsaKey>, DecodeError> {
    Cursor::new("Link State Request", octets).all(REQUEST_LEN, |cursor| {
        let _reserved = cursor.u16()?;
        LsaKey::parse(cursor)
    })
}

pub(super) fn emit_update(lsas: &[Lsa], out: &mut Vec<u8>) {
    // A packet is shorter than 64 KiB, so its LSAs can be counted.
    out.extend_from_slice(&(lsas.len() as u32).to_be_bytes());
    for lsa in lsas {
        lsa.emit(out);
    }
}

pub(super) fn parse_update(octets: &[u8]) -> Result<Vec<Lsa>, DecodeError> {
    let mut cursor = Cursor::new("Link State Update", octets);
    let count = cursor.u32()?;
    let lsas = cursor.counted(count, LSA_HEADER_LEN, Lsa::parse)?;
    cursor.end()?;
    Ok(lsas)
}
