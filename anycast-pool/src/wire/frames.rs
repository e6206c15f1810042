//! A stream of octets (TCP, TLS) cut into messages.
//!
//! The RFCs give no framing for TCP beyond the header's length (RFC 5354 4): a message takes its length rounded up to four
//! octets, since it is sent padded. Messages hold at most 64 KiB, so that is what is kept of an unfinished one.

use super::parameter::padding;
use super::{HEADER_LEN, MESSAGE_MAX};

/// Why a stream cannot be cut any further: there is no way to find the next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A message is at least its header.
    #[error("a message says that it has {0} octets, its header alone has 4")]
    Length(u16),
    /// A message is at most what is taken here.
    #[error("a message says that it has {0} octets, that is too long")]
    TooLong(u16),
}

/// Octets of a stream that are not yet a message.
#[derive(Clone, Debug)]
pub struct Frames {
    buffer: Vec<u8>,
    /// Octets of the buffer that were given out.
    taken: usize,
    most: usize,
    failed: Option<FrameError>,
}

impl Default for Frames {
    fn default() -> Self {
        Self::new(MESSAGE_MAX)
    }
}

impl Frames {
    /// A stream whose messages have at most `most` octets.
    pub const fn new(most: usize) -> Self {
        Self { buffer: Vec::new(), taken: 0, most, failed: None }
    }

    /// Takes in what was received. Take all messages out by [`next_message`](Self::next_message) before the next call.
    pub fn push(&mut self, octets: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(octets);
    }

    /// The next message, with its padding; `None` until it is complete.
    ///
    /// # Errors
    /// The stream is broken, for good: what comes is ignored, and the connection is to be closed.
    pub fn next_message(&mut self) -> Result<Option<&[u8]>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let rest = &self.buffer[self.taken..];
        let Some(&[_, _, high, low]) = rest.first_chunk::<HEADER_LEN>() else {
            self.settle();
            return Ok(None);
        };
        let said = u16::from_be_bytes([high, low]);
        let length = usize::from(said);
        let error = if length < HEADER_LEN {
            Some(FrameError::Length(said))
        } else if length > self.most {
            Some(FrameError::TooLong(said))
        } else {
            None
        };
        if let Some(error) = error {
            self.failed = Some(error);
            self.buffer = Vec::new();
            self.taken = 0;
            return Err(error);
        }
        let whole = length + padding(length);
        if rest.len() < whole {
            self.settle();
            return Ok(None);
        }
        let start = self.taken;
        self.taken += whole;
        Ok(Some(&self.buffer[start..start + whole]))
    }

    /// Octets that are kept.
    pub fn len(&self) -> usize {
        self.buffer.len() - self.taken
    }

    /// Is nothing kept?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives memory back when all was taken: a connection that waits costs nothing.
    fn settle(&mut self) {
        if self.taken == self.buffer.len() {
            self.buffer = Vec::new();
            self.taken = 0;
        }
    }
}
