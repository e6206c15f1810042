//! Grace-LSA (RFC 5187 2.2): a router restarts and asks its neighbours to wait. Read and shown; this host neither sends one nor
//! helps, because it installs no routes that would outlive a restart.
//!
//! The body is a list of TLVs as those of RFC 3630 2.3.2, values padded to four octets: 1 = grace period in seconds (32 bits),
//! 2 = reason (8 bits).

use super::load::{emit_tlv, tlvs};
use crate::codec::DecodeError;

const PERIOD: u16 = 1;
const REASON: u16 = 2;

/// Why a router restarts (RFC 3623 A).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraceReason {
    /// It does not say.
    Unknown,
    /// Its software.
    SoftwareRestart,
    /// Its software gets newer.
    SoftwareUpgrade,
    /// To another control processor.
    ControlProcessorSwitch,
    /// A code without meaning here.
    Other(u8),
}

impl GraceReason {
    const fn code(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::SoftwareRestart => 1,
            Self::SoftwareUpgrade => 2,
            Self::ControlProcessorSwitch => 3,
            Self::Other(code) => code,
        }
    }

    const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Unknown,
            1 => Self::SoftwareRestart,
            2 => Self::SoftwareUpgrade,
            3 => Self::ControlProcessorSwitch,
            other => Self::Other(other),
        }
    }
}

/// "Wait for me."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraceLsa {
    /// Seconds for which to wait.
    pub period: u32,
    /// Why.
    pub reason: GraceReason,
}

impl GraceLsa {
    /// Reads a body.
    ///
    /// # Errors
    /// Period or reason is missing or of a wrong length.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let (mut period, mut reason) = (None, None);
        for tlv in tlvs("Grace-LSA", body) {
            let (kind, value) = tlv?;
            let length = DecodeError::TlvLength { kind, length: value.len() };
            match kind {
                PERIOD => period = Some(u32::from_be_bytes(value.try_into().map_err(|_| length)?)),
                REASON => {
                    let &[code] = value else { return Err(length) };
                    reason = Some(GraceReason::from_code(code));
                }
                _ => {}
            }
        }
        let missing = DecodeError::TlvMissing;
        Ok(Self { period: period.ok_or(missing(PERIOD))?, reason: reason.ok_or(missing(REASON))? })
    }

    /// The body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        emit_tlv(&mut out, PERIOD, &self.period.to_be_bytes());
        emit_tlv(&mut out, REASON, &[self.reason.code()]);
        out
    }
}
