//! Causes of an Operation Error parameter (RFC 5354 3.12).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |       Cause Code              |       Cause Length            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! :                       Cause-Specific Information, padded      :
//! ```

use std::fmt;

use super::DecodeError;
use super::parameter::{Cursor, PARAMETER_HEADER_LEN, ParameterType, Writer, padding};

/// What went wrong (RFC 5354 3.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of RFC 5354 3.12")]
pub enum CauseCode {
    Unspecified,
    UnrecognizedParameter,
    UnrecognizedMessage,
    InvalidValues,
    NonUniqueElementId,
    InconsistentPolicy,
    LackOfResources,
    InconsistentTransport,
    InconsistentControl,
    UnknownPoolHandle,
    Security,
    /// One from the future, or of another implementation.
    Other(u16),
}

impl CauseCode {
    /// Its number on the wire.
    pub const fn code(self) -> u16 {
        match self {
            Self::Unspecified => 0,
            Self::UnrecognizedParameter => 1,
            Self::UnrecognizedMessage => 2,
            Self::InvalidValues => 3,
            Self::NonUniqueElementId => 4,
            Self::InconsistentPolicy => 5,
            Self::LackOfResources => 6,
            Self::InconsistentTransport => 7,
            Self::InconsistentControl => 8,
            Self::UnknownPoolHandle => 9,
            Self::Security => 10,
            Self::Other(code) => code,
        }
    }

    /// From its number.
    pub const fn from_code(code: u16) -> Self {
        match code {
            0 => Self::Unspecified,
            1 => Self::UnrecognizedParameter,
            2 => Self::UnrecognizedMessage,
            3 => Self::InvalidValues,
            4 => Self::NonUniqueElementId,
            5 => Self::InconsistentPolicy,
            6 => Self::LackOfResources,
            7 => Self::InconsistentTransport,
            8 => Self::InconsistentControl,
            9 => Self::UnknownPoolHandle,
            10 => Self::Security,
            _ => Self::Other(code),
        }
    }
}

impl fmt::Display for CauseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Unspecified => "unspecified error",
            Self::UnrecognizedParameter => "unrecognized parameter",
            Self::UnrecognizedMessage => "unrecognized message",
            Self::InvalidValues => "invalid values",
            Self::NonUniqueElementId => "the element's identifier is in use",
            Self::InconsistentPolicy => "the pool has another selection policy",
            Self::LackOfResources => "the registrar lacks resources",
            Self::InconsistentTransport => "the pool has another transport",
            Self::InconsistentControl => "the pool uses the control channel otherwise",
            Self::UnknownPoolHandle => "there is no such pool",
            Self::Security => "rejected for security",
            Self::Other(code) => return write!(f, "error {code:#06x}"),
        };
        f.write_str(text)
    }
}

/// One cause of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// What went wrong.
    pub code: CauseCode,
    /// The offending or the right parameter or message, as the code says.
    pub information: Vec<u8>,
}

impl Cause {
    /// A cause with its information.
    pub fn new(code: CauseCode, information: &[u8]) -> Self {
        Self { code, information: information.to_vec() }
    }

    /// A cause that says all.
    pub const fn bare(code: CauseCode) -> Self {
        Self { code, information: Vec::new() }
    }

    /// All causes of an Operation Error; RFC 5354 3.12 wants one at least, none is taken for an unspecified one by the caller.
    pub(super) fn parse_all(mut cursor: Cursor<'_>) -> Result<Vec<Self>, DecodeError> {
        let mut causes = Vec::new();
        while !cursor.is_empty() {
            let code = cursor.u16()?;
            let said = cursor.u16()?;
            let wrong = DecodeError::CauseLength { code, said };
            let length = usize::from(said).checked_sub(PARAMETER_HEADER_LEN).ok_or(wrong.clone())?;
            let information = cursor.take(length).map_err(|_| wrong)?.to_vec();
            let left = padding(length).min(cursor.len());
            cursor.take(left)?;
            causes.push(Self { code: CauseCode::from_code(code), information });
        }
        Ok(causes)
    }

    /// Writes an Operation Error of these causes.
    pub(super) fn emit_all(causes: &[Self], out: &mut Writer<'_>) {
        out.nested(ParameterType::OPERATION_ERROR, |out| {
            for cause in causes {
                // A cause has the form of a parameter.
                out.nested(ParameterType(cause.code.code()), |out| out.octets(&cause.information));
            }
        });
    }
}
