//! Parameters: type, length, value (RFC 5354 3), and what is done with unknown ones.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |       Parameter Type          |       Parameter Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! :                       Parameter Value, padded to four octets  :
//! ```

use super::{Cause, CauseCode, DecodeError};

/// Octets of a parameter's header.
pub(super) const PARAMETER_HEADER_LEN: usize = 4;

/// Most causes that are reported of one message: a message of nothing but unknown parameters must not be answered by a larger
/// one.
const REPORTS_MAX: usize = 4;

/// Type of a parameter (RFC 5354 3, table 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParameterType(pub u16);

#[expect(missing_docs, reason = "the names are those of RFC 5354 3")]
impl ParameterType {
    pub const IPV4_ADDRESS: Self = Self(0x0001);
    pub const IPV6_ADDRESS: Self = Self(0x0002);
    pub const DCCP_TRANSPORT: Self = Self(0x0003);
    pub const SCTP_TRANSPORT: Self = Self(0x0004);
    pub const TCP_TRANSPORT: Self = Self(0x0005);
    pub const UDP_TRANSPORT: Self = Self(0x0006);
    pub const UDP_LITE_TRANSPORT: Self = Self(0x0007);
    pub const POLICY: Self = Self(0x0008);
    pub const POOL_HANDLE: Self = Self(0x0009);
    pub const POOL_ELEMENT: Self = Self(0x000a);
    pub const SERVER_INFORMATION: Self = Self(0x000b);
    pub const OPERATION_ERROR: Self = Self(0x000c);
    pub const COOKIE: Self = Self(0x000d);
    pub const ELEMENT_ID: Self = Self(0x000e);
    pub const ELEMENT_CHECKSUM: Self = Self(0x000f);
    pub const OPAQUE_TRANSPORT: Self = Self(0x0010);
    /// How many elements a user wants (draft-dreibholz-rserpool-asap-hropt).
    pub const RESOLUTION_OPTION: Self = Self(0x803f);
    /// Ours: [`StatusVector`](super::StatusVector).
    pub const STATUS_VECTOR: Self = Self(0x8040);
    /// Ours: what an element says of itself beyond RFC 5354, behind the Pool Element of a registration.
    pub const ELEMENT_FLAGS: Self = Self(0x8041);
}

impl ParameterType {
    const fn is_known(self) -> bool {
        matches!(self.0, 0x0001..=0x0010) || self.is_extension()
    }

    /// Is it beyond the RFCs, so that it may stand where it means nothing?
    const fn is_extension(self) -> bool {
        matches!(self, Self::RESOLUTION_OPTION | Self::STATUS_VECTOR | Self::ELEMENT_FLAGS)
    }

    /// May it be skipped, though it is not expected? The two top bits say so of every type, known or not (RFC 5354 3).
    pub(super) const fn is_skippable(self) -> bool {
        self.0 & 0x8000 != 0
    }
}

/// What the sender of a message is to be told of it.
#[derive(Debug, Default)]
pub(super) struct Reports(Vec<Cause>);

impl Reports {
    fn unrecognized(&mut self, parameter: &[u8]) {
        if self.0.len() < REPORTS_MAX {
            self.0.push(Cause::new(CauseCode::UnrecognizedParameter, parameter));
        }
    }

    pub(super) fn into_causes(self) -> Vec<Cause> {
        self.0
    }
}

/// A parameter as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter<'a> {
    pub(super) kind: ParameterType,
    /// With its header, without its padding.
    pub(super) whole: &'a [u8],
}

impl<'a> Parameter<'a> {
    /// The next parameter that is known here. Unknown ones are skipped, reported or refused as their two top bits say.
    pub(super) fn next(cursor: &mut Cursor<'a>, reports: &mut Reports) -> Result<Option<Self>, DecodeError> {
        while !cursor.is_empty() {
            let parameter = Self::any(cursor)?;
            if parameter.kind.is_known() {
                return Ok(Some(parameter));
            }
            let kind = parameter.kind.0;
            match kind >> 14 {
                0b00 => return Err(DecodeError::UnknownParameter { kind }),
                0b01 => {
                    reports.unrecognized(parameter.whole);
                    return Err(DecodeError::UnknownParameter { kind });
                }
                0b10 => {}
                _ => reports.unrecognized(parameter.whole),
            }
        }
        Ok(None)
    }

    fn any(cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        let mut header = cursor.clone();
        let kind = ParameterType(header.u16()?);
        let said = header.u16()?;
        let length = usize::from(said);
        let wrong = DecodeError::ParameterLength { kind: kind.0, said, room: cursor.len() };
        if length < PARAMETER_HEADER_LEN || length > cursor.len() {
            return Err(wrong);
        }
        let whole = cursor.take(length)?;
        // The last parameter may come without its padding (RFC 5354 4).
        cursor.skip_at_most(padding(length));
        Ok(Self { kind, whole })
    }

    pub(super) fn value(&self) -> &'a [u8] {
        &self.whole[PARAMETER_HEADER_LEN..]
    }

    pub(super) fn cursor(&self) -> Cursor<'a> {
        Cursor::new(self.value())
    }

    /// The value as one word.
    pub(super) fn word(&self) -> Result<u32, DecodeError> {
        let wrong = DecodeError::ValueLength { kind: self.kind.0, length: self.value().len() };
        self.value().try_into().map(u32::from_be_bytes).map_err(|_| wrong)
    }
}

/// Zeros behind `length` octets.
pub(super) const fn padding(length: usize) -> usize {
    length.wrapping_neg() & 3
}

/// What is left to read.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) const fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let short = DecodeError::Short { need: count, got: self.0.len() };
        let (taken, rest) = self.0.split_at_checked(count).ok_or(short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn skip_at_most(&mut self, count: usize) {
        self.0 = self.0.get(count..).unwrap_or_default();
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let short = DecodeError::Short { need: N, got: self.0.len() };
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(short)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[octet]| octet)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }
}

/// Writes parameters at the end of a buffer.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    too_long: bool,
}

impl<'a> Writer<'a> {
    pub(crate) const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, too_long: false }
    }

    pub(crate) fn u8(&mut self, octet: u8) {
        self.out.push(octet);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn octets(&mut self, octets: &[u8]) {
        self.out.extend_from_slice(octets);
    }

    /// Octets in the buffer, with what was there before.
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// Something with a type of two octets, a length that is filled in behind it, and padding.
    pub(crate) fn nested(&mut self, kind: ParameterType, value: impl FnOnce(&mut Self)) {
        let start = self.out.len();
        self.u16(kind.0);
        self.u16(0);
        value(self);
        self.set_length(start);
        self.pad(start);
    }

    /// Puts the length of what began at `start` into its third and fourth octet.
    pub(super) fn set_length(&mut self, start: usize) {
        match u16::try_from(self.out.len() - start) {
            Ok(length) => self.out[start + 2..start + 4].copy_from_slice(&length.to_be_bytes()),
            Err(_) => self.too_long = true,
        }
    }

    fn pad(&mut self, start: usize) {
        let zeros = padding(self.out.len() - start);
        self.out.extend_from_slice(&[0; 3][..zeros]);
    }

    pub(super) const fn is_too_long(&self) -> bool {
        self.too_long
    }
}
