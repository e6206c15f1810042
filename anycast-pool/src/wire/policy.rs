//! Pool Member Selection Policy parameter (RFC 5354 3.8, RFC 5356 3): as it is, known or not.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |       Type = 0x8              |       Length                  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                        Policy Type                            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                  Policy data: words of 32 bits …              |
//! ```

use super::DecodeError;
use super::parameter::{Cursor, ParameterType, Writer};

/// A policy's type and the words of its data. What they mean is in [`crate::policy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PolicyParameter {
    code: u32,
    words: [u32; Self::WORDS_MAX],
    count: u8,
}

impl PolicyParameter {
    /// Most words of data. RFC 5356 needs two, RSPLIB's own policies three.
    pub const WORDS_MAX: usize = 4;

    /// Round robin, which every implementation has (RFC 5356 4.1).
    pub const ROUND_ROBIN: Self = Self { code: 1, words: [0; Self::WORDS_MAX], count: 0 };

    /// A policy of type `code` with `words` of data; `None` if they are more than [`WORDS_MAX`](Self::WORDS_MAX).
    pub fn new(code: u32, words: &[u32]) -> Option<Self> {
        let mut all = [0; Self::WORDS_MAX];
        all.get_mut(..words.len())?.copy_from_slice(words);
        Some(Self { code, words: all, count: u8::try_from(words.len()).ok()? })
    }

    /// The policy's type (RFC 5356 3.2).
    pub const fn code(&self) -> u32 {
        self.code
    }

    /// The words of its data.
    pub fn words(&self) -> &[u32] {
        &self.words[..usize::from(self.count)]
    }

    /// The whole parameter, as answers and cause 5 show it (RFC 5354 3.12.6).
    pub(crate) fn to_octets(self) -> Vec<u8> {
        let mut octets = Vec::new();
        self.emit(&mut Writer::new(&mut octets));
        octets
    }

    pub(super) fn parse(mut cursor: Cursor<'_>) -> Result<Self, DecodeError> {
        let code = cursor.u32()?;
        let length = cursor.len();
        let mut words = [0; Self::WORDS_MAX];
        if !length.is_multiple_of(4) || length / 4 > Self::WORDS_MAX {
            return Err(DecodeError::PolicyLength { code, length });
        }
        for word in &mut words[..length / 4] {
            *word = cursor.u32()?;
        }
        Ok(Self { code, words, count: (length / 4) as u8 })
    }

    pub(super) fn emit(&self, out: &mut Writer<'_>) {
        out.nested(ParameterType::POLICY, |out| {
            out.u32(self.code);
            self.words().iter().for_each(|word| out.u32(*word));
        });
    }
}
