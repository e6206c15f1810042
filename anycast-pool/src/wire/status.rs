//! Status vector parameter, type 0x8040: what a registrar knows of each element of a pool, and how old that is.
//!
//! The two top bits of the type are `10`: who does not know it skips it and goes on (RFC 5354 3). An empty one in a handle
//! resolution asks for it; then it stands behind the pool elements of the response, and of each pushed one.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |       Type = 0x8040           |       Length                  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    Registrar Identifier                       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    Epoch                                      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    Sequence                                   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    PE Identifier                              | \
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  |
//! |     State     |    Source     |          Flags          |T|D|S|  > once for each element
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  |
//! |                    Age, milliseconds                          | /
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use super::parameter::{Cursor, ParameterType, Writer};
use super::{DecodeError, ElementId, RegistrarId};

/// Octets of the parameter's header and of what stands before the entries.
pub(crate) const STATUS_HEADER_LEN: usize = 16;

/// Octets of an entry.
pub(crate) const ENTRY_LEN: usize = 12;

/// Is an element up?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Nobody has seen it yet.
    #[default]
    Unknown,
    /// It answered.
    Up,
    /// It did not answer, or went away.
    Down,
}

impl State {
    /// Its number on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Up => 1,
            Self::Down => 2,
        }
    }

    /// From its number; one from the future is [`Unknown`](Self::Unknown).
    pub const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Up,
            2 => Self::Down,
            _ => Self::Unknown,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// From what a state is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A keep-alive was answered, or not.
    KeepAlive,
    /// The element registered, or did so again.
    Registration,
    /// The element said good-bye, or its registration's life is over.
    Deregistration,
    /// The element's connection was lost.
    ConnectionLost,
    /// Users reported it unreachable.
    Report,
    /// Another registrar said so.
    Peer,
    /// Read from disk after a restart.
    Restored,
    /// One from the future.
    Other(u8),
}

impl Source {
    /// Its number on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::KeepAlive => 0,
            Self::Registration => 1,
            Self::Deregistration => 2,
            Self::ConnectionLost => 3,
            Self::Report => 4,
            Self::Peer => 5,
            Self::Restored => 6,
            Self::Other(code) => code,
        }
    }

    /// From its number.
    pub const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::KeepAlive,
            1 => Self::Registration,
            2 => Self::Deregistration,
            3 => Self::ConnectionLost,
            4 => Self::Report,
            5 => Self::Peer,
            6 => Self::Restored,
            _ => Self::Other(code),
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeepAlive => "keep-alive",
            Self::Registration => "registration",
            Self::Deregistration => "deregistration",
            Self::ConnectionLost => "connection lost",
            Self::Report => "report",
            Self::Peer => "peer",
            Self::Restored => "restored",
            Self::Other(_) => "other",
        }
    }
}

/// More about an element; unknown bits are kept and mean nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StatusFlags(pub u16);

impl StatusFlags {
    /// None.
    pub const NONE: Self = Self(0);

    /// The element is able to serve and waits: it is up, others are preferred.
    pub const STANDBY: Self = Self(0x0001);

    /// The element finishes what it has and wants nothing new.
    pub const DRAINING: Self = Self(0x0002);

    /// The element is no longer registered: the entry is a tombstone.
    pub const TOMBSTONE: Self = Self(0x0004);

    /// What an element may say of itself.
    pub const OWN: Self = Self(Self::STANDBY.0 | Self::DRAINING.0);

    /// Does it have all flags of `other`?
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With the flags of `other` too.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Only those that are in `other` too.
    pub const fn within(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// What is known of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusEntry {
    /// Which.
    pub id: ElementId,
    /// Is it up?
    pub state: State,
    /// From what that is known.
    pub source: Source,
    /// More.
    pub flags: StatusFlags,
    /// How long ago that was seen, milliseconds; `u32::MAX` = that long or longer.
    pub age_ms: u32,
}

/// What a registrar knows of a pool's elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusVector {
    /// Who says it.
    pub registrar: RegistrarId,
    /// Which life of the registrar: another one after each start.
    pub epoch: u32,
    /// Counts changes of the pool within the epoch: a vector with a smaller one than before came late.
    pub sequence: u32,
    /// One for each element, tombstones included.
    pub entries: Vec<StatusEntry>,
}

impl StatusVector {
    pub(super) fn parse(mut cursor: Cursor<'_>) -> Result<Self, DecodeError> {
        let registrar = RegistrarId(cursor.u32()?);
        let epoch = cursor.u32()?;
        let sequence = cursor.u32()?;
        if !cursor.len().is_multiple_of(ENTRY_LEN) {
            return Err(DecodeError::StatusLength(cursor.len()));
        }
        let mut entries = Vec::with_capacity(cursor.len() / ENTRY_LEN);
        while !cursor.is_empty() {
            entries.push(StatusEntry {
                id: ElementId(cursor.u32()?),
                state: State::from_code(cursor.u8()?),
                source: Source::from_code(cursor.u8()?),
                flags: StatusFlags(cursor.u16()?),
                age_ms: cursor.u32()?,
            });
        }
        Ok(Self { registrar, epoch, sequence, entries })
    }

    pub(crate) fn emit(&self, out: &mut Writer<'_>) {
        out.nested(ParameterType::STATUS_VECTOR, |out| {
            out.u32(self.registrar.0);
            out.u32(self.epoch);
            out.u32(self.sequence);
            for entry in &self.entries {
                out.u32(entry.id.0);
                out.u8(entry.state.code());
                out.u8(entry.source.code());
                out.u16(entry.flags.0);
                out.u32(entry.age_ms);
            }
        });
    }
}
