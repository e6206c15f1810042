//! The load LSA: what a server says about the load of one of its services.
//!
//! Flooded in its area by routers that do not know it, because its type has the U-bit (RFC 5340 A.4.2.1). The type is
//! configured: an experimental function code (enterprise number 0), or a vendor's with the vendor's number. Link State ID and
//! originator are those of the service's Intra-Area-Prefix-LSA, so the two LSAs of a service find each other, and change at
//! rates of their own.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                     Enterprise number                         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |             Type              |             Length            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Value, padded with zeros to a multiple of 4 octets           |
//! |                             …                                 |
//! ```
//!
//! | type | value |
//! |---|---|
//! | 1 | version = 1 (8 bits), state (8 bits), zero (16 bits); mandatory |
//! | 2 | load in permille (32 bits); mandatory |
//! | 3 | capacity, queries per second (32 bits); 0 = unknown |
//! | 4 | current queries per second (32 bits) |
//! | 5 | prefix: length (8 bits), zero (24 bits), address (128 bits); mandatory |
//! | 6 | cost advertised when this was written (32 bits) |
//!
//! Other types are skipped.

use super::Prefix;
use crate::codec::{Cursor, DecodeError};

const VERSION: u8 = 1;
const STATE: u16 = 1;
const PERMILLE: u16 = 2;
const CAPACITY: u16 = 3;
const RATE: u16 = 4;
const PREFIX: u16 = 5;
const COST: u16 = 6;

/// State of a service, as its server tells others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceState {
    /// Serves.
    #[default]
    Up,
    /// Serves what still comes and wants no more.
    Draining,
    /// A code without meaning here.
    Other(u8),
}

impl ServiceState {
    const fn code(self) -> u8 {
        match self {
            Self::Up => 1,
            Self::Draining => 2,
            Self::Other(code) => code,
        }
    }

    const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Up,
            2 => Self::Draining,
            other => Self::Other(other),
        }
    }
}

/// Load of one service of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadLsa {
    /// Whose function code; 0 with an experimental one.
    pub enterprise: u32,
    /// State of the service.
    pub state: ServiceState,
    /// Permille of what the server can serve.
    pub permille: u32,
    /// Queries per second it can serve; 0 = unknown.
    pub capacity: u32,
    /// Queries per second it gets.
    pub rate: u32,
    /// The service.
    pub prefix: Prefix,
    /// The service's cost when this was written.
    pub cost: u32,
}

impl LoadLsa {
    /// Reads a body.
    ///
    /// # Errors
    /// It is not a load LSA of that enterprise, or what must be there is missing or of a wrong length.
    pub fn decode(body: &[u8], enterprise: u32) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new("load LSA", body);
        let got = cursor.u32()?;
        if got != enterprise {
            return Err(DecodeError::Enterprise { got, want: enterprise });
        }
        let (mut state, mut permille, mut capacity, mut rate, mut prefix, mut cost) =
            (None, None, 0, 0, None, 0);
        for tlv in tlvs("load LSA", cursor.rest()) {
            let (kind, value) = tlv?;
            let length = DecodeError::TlvLength { kind, length: value.len() };
            let number = || value.try_into().map(u32::from_be_bytes).map_err(|_| length.clone());
            match kind {
                STATE => {
                    let [version, code, ..] = number()?.to_be_bytes();
                    if version == 0 {
                        return Err(length);
                    }
                    state = Some(ServiceState::from_code(code));
                }
                PERMILLE => permille = Some(number()?),
                CAPACITY => capacity = number()?,
                RATE => rate = number()?,
                PREFIX => {
                    let Some((&[bits, _, _, _], address)) = value.split_first_chunk::<4>() else {
                        return Err(length);
                    };
                    let address: [u8; 16] = address.try_into().map_err(|_| length)?;
                    prefix = Some(Prefix::new(address.into(), bits).ok_or(DecodeError::PrefixLength(bits))?);
                }
                COST => cost = number()?,
                _ => {}
            }
        }
        let missing = DecodeError::TlvMissing;
        Ok(Self {
            enterprise,
            state: state.ok_or(missing(STATE))?,
            permille: permille.ok_or(missing(PERMILLE))?,
            capacity,
            rate,
            prefix: prefix.ok_or(missing(PREFIX))?,
            cost,
        })
    }

    /// The body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.enterprise.to_be_bytes().to_vec();
        emit_tlv(&mut out, STATE, &[VERSION, self.state.code(), 0, 0]);
        for (kind, number) in [(PERMILLE, self.permille), (CAPACITY, self.capacity), (RATE, self.rate)] {
            emit_tlv(&mut out, kind, &number.to_be_bytes());
        }
        let mut prefix = vec![self.prefix.length(), 0, 0, 0];
        prefix.extend_from_slice(&self.prefix.address().octets());
        emit_tlv(&mut out, PREFIX, &prefix);
        emit_tlv(&mut out, COST, &self.cost.to_be_bytes());
        out
    }
}

/// Appends a TLV (RFC 7770 2.3): the length does not count the padding.
pub(super) fn emit_tlv(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// The TLVs of a body. Ends behind the first error.
pub(super) fn tlvs<'a>(
    what: &'static str,
    body: &'a [u8],
) -> impl Iterator<Item = Result<(u16, &'a [u8]), DecodeError>> {
    let mut cursor = Cursor::new(what, body);
    let mut failed = false;
    let mut one = move || {
        let (kind, length) = (cursor.u16()?, usize::from(cursor.u16()?));
        let value = cursor.take(length)?;
        // The last one's padding may be missing: nothing is lost with it.
        let padding = (length.next_multiple_of(4) - length).min(cursor.len());
        cursor.take(padding)?;
        Ok((kind, value, cursor.is_empty()))
    };
    let mut over = body.is_empty();
    std::iter::from_fn(move || {
        if over || failed {
            return None;
        }
        Some(
            one()
                .map(|(kind, value, last)| {
                    over = last;
                    (kind, value)
                })
                .inspect_err(|_| failed = true),
        )
    })
}
