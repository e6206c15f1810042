//! Pool member selection policies (RFC 5356): how the load is shared among elements that all work.
//!
//! [`Policy`] is what an element registers, [`PolicyType`] what the pool as a whole has, [`Selector`] chooses. A registrar has one
//! selector for each pool; so has a user that knows the whole pool (see [`PolicyType::for_user`]).

mod draw;
mod select;

pub use select::Selector;

use crate::wire::PolicyParameter;

/// Bit X: the policy is private (RFC 5356 7.1).
const PRIVATE: u32 = 0x8000_0000;
/// Bit A: the policy follows a load (RFC 5356 7.1).
const ADAPTIVE: u32 = 0x4000_0000;

/// A load that means 100 % (RFC 5356 3.1).
pub const FULL_LOAD: u32 = u32::MAX;

/// Policy type of a pool. All elements of a pool have the same (RFC 5352 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyType {
    /// RFC 5356 4.1, the default, also of a pool of which no policy is said.
    #[default]
    RoundRobin,
    /// RFC 5356 4.2.
    WeightedRoundRobin,
    /// RFC 5356 4.3.
    Random,
    /// RFC 5356 4.4.
    WeightedRandom,
    /// RFC 5356 4.5.
    Priority,
    /// RFC 5356 5.1.
    LeastUsed,
    /// RFC 5356 5.2.
    LeastUsedDegradation,
    /// RFC 5356 5.3.
    PriorityLeastUsed,
    /// RFC 5356 5.4.
    RandomizedLeastUsed,
    /// A private type, or one assigned later. Chosen as by round robin, because that needs no value.
    Other(u32),
}

impl PolicyType {
    /// The types of RFC 5356.
    pub const ALL: [Self; 9] = [
        Self::RoundRobin,
        Self::WeightedRoundRobin,
        Self::Random,
        Self::WeightedRandom,
        Self::Priority,
        Self::LeastUsed,
        Self::LeastUsedDegradation,
        Self::PriorityLeastUsed,
        Self::RandomizedLeastUsed,
    ];

    /// From the wire (RFC 5356 7.1).
    pub const fn from_code(code: u32) -> Self {
        match code {
            0x0000_0001 => Self::RoundRobin,
            0x0000_0002 => Self::WeightedRoundRobin,
            0x0000_0003 => Self::Random,
            0x0000_0004 => Self::WeightedRandom,
            0x0000_0005 => Self::Priority,
            0x4000_0001 => Self::LeastUsed,
            0x4000_0002 => Self::LeastUsedDegradation,
            0x4000_0003 => Self::PriorityLeastUsed,
            0x4000_0004 => Self::RandomizedLeastUsed,
            other => Self::Other(other),
        }
    }

    /// Onto the wire (RFC 5356 7.1).
    pub const fn code(self) -> u32 {
        match self {
            Self::RoundRobin => 0x0000_0001,
            Self::WeightedRoundRobin => 0x0000_0002,
            Self::Random => 0x0000_0003,
            Self::WeightedRandom => 0x0000_0004,
            Self::Priority => 0x0000_0005,
            Self::LeastUsed => 0x4000_0001,
            Self::LeastUsedDegradation => 0x4000_0002,
            Self::PriorityLeastUsed => 0x4000_0003,
            Self::RandomizedLeastUsed => 0x4000_0004,
            Self::Other(code) => code,
        }
    }

    /// Is it private (bit X)?
    pub const fn is_private(self) -> bool {
        self.code() & PRIVATE != 0
    }

    /// Does it follow a load (bit A)?
    pub const fn is_adaptive(self) -> bool {
        self.code() & ADAPTIVE != 0
    }

    /// Is it one of the two values that RFC 5356 7.1 calls invalid?
    pub const fn is_invalid(self) -> bool {
        matches!(self.code(), 0 | ADAPTIVE)
    }

    /// Words of policy data.
    const fn words(self) -> usize {
        match self {
            Self::RoundRobin | Self::Random | Self::Other(_) => 0,
            Self::WeightedRoundRobin
            | Self::WeightedRandom
            | Self::Priority
            | Self::LeastUsed
            | Self::RandomizedLeastUsed => 1,
            Self::LeastUsedDegradation | Self::PriorityLeastUsed => 2,
        }
    }

    /// How a user chooses from what it was told ("Pool User Considerations" of RFC 5356).
    ///
    /// If that is a selection made by the registrar, the selection carries the weights already, and the user takes from it in
    /// turn or at random (RFC 5356 4.2.3, 4.4.3, 5.4.3). If it is the whole pool, nobody has applied the weights yet, so the user does.
    pub const fn for_user(self, whole_pool: bool) -> Self {
        match self {
            Self::WeightedRoundRobin if !whole_pool => Self::RoundRobin,
            Self::WeightedRandom | Self::RandomizedLeastUsed if !whole_pool => Self::Random,
            other => other,
        }
    }

    /// Name in configuration, tables and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::WeightedRoundRobin => "weighted-round-robin",
            Self::Random => "random",
            Self::WeightedRandom => "weighted-random",
            Self::Priority => "priority",
            Self::LeastUsed => "least-used",
            Self::LeastUsedDegradation => "least-used-degradation",
            Self::PriorityLeastUsed => "priority-least-used",
            Self::RandomizedLeastUsed => "randomized-least-used",
            Self::Other(code) if code & PRIVATE != 0 => "private",
            Self::Other(_) => "unknown",
        }
    }
}

impl core::fmt::Display for PolicyType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Other(code) => write!(f, "{} {code:#010x}", self.name()),
            _ => f.write_str(self.name()),
        }
    }
}

/// Policy of an element, with its values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// RFC 5356 4.1.
    #[default]
    RoundRobin,
    /// RFC 5356 4.2.
    WeightedRoundRobin {
        /// Capacity relative to the pool's other elements; 0 = gives no service.
        weight: u32,
    },
    /// RFC 5356 4.3.
    Random,
    /// RFC 5356 4.4.
    WeightedRandom {
        /// Capacity relative to the pool's other elements; 0 = gives no service.
        weight: u32,
    },
    /// RFC 5356 4.5.
    Priority {
        /// The larger number is the higher priority.
        priority: u32,
    },
    /// RFC 5356 5.1.
    LeastUsed {
        /// Load; [`FULL_LOAD`] = 100 %.
        load: u32,
    },
    /// RFC 5356 5.2.
    LeastUsedDegradation {
        /// Load; [`FULL_LOAD`] = 100 %.
        load: u32,
        /// Load that one more association adds.
        degradation: u32,
    },
    /// RFC 5356 5.3.
    PriorityLeastUsed {
        /// Load; [`FULL_LOAD`] = 100 %.
        load: u32,
        /// Load that one more association adds.
        degradation: u32,
    },
    /// RFC 5356 5.4.
    RandomizedLeastUsed {
        /// Load; [`FULL_LOAD`] = 100 %.
        load: u32,
    },
    /// A private type, or one assigned later: kept and passed on as it came.
    Other(PolicyParameter),
}

/// Policy data that does not fit its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy {kind} with {got} words of data, not {want}")]
pub struct DataLength {
    /// The type.
    pub kind: PolicyType,
    /// Words there are.
    pub got: usize,
    /// Words there should be.
    pub want: usize,
}

impl Policy {
    /// What a Pool Member Selection Policy parameter means (RFC 5354 3.8).
    pub fn parse(parameter: &PolicyParameter) -> Result<Self, DataLength> {
        let kind = PolicyType::from_code(parameter.code());
        Ok(match (kind, parameter.words()) {
            (PolicyType::RoundRobin, []) => Self::RoundRobin,
            (PolicyType::WeightedRoundRobin, &[weight]) => Self::WeightedRoundRobin { weight },
            (PolicyType::Random, []) => Self::Random,
            (PolicyType::WeightedRandom, &[weight]) => Self::WeightedRandom { weight },
            (PolicyType::Priority, &[priority]) => Self::Priority { priority },
            (PolicyType::LeastUsed, &[load]) => Self::LeastUsed { load },
            (PolicyType::LeastUsedDegradation, &[load, degradation]) => {
                Self::LeastUsedDegradation { load, degradation }
            }
            (PolicyType::PriorityLeastUsed, &[load, degradation]) => {
                Self::PriorityLeastUsed { load, degradation }
            }
            (PolicyType::RandomizedLeastUsed, &[load]) => Self::RandomizedLeastUsed { load },
            (PolicyType::Other(_), _) => Self::Other(*parameter),
            (kind, words) => return Err(DataLength { kind, got: words.len(), want: kind.words() }),
        })
    }

    /// A policy of a type, with neutral values: weight 1, priority 0, no load.
    pub fn neutral(kind: PolicyType) -> Self {
        match kind {
            PolicyType::RoundRobin => Self::RoundRobin,
            PolicyType::WeightedRoundRobin => Self::WeightedRoundRobin { weight: 1 },
            PolicyType::Random => Self::Random,
            PolicyType::WeightedRandom => Self::WeightedRandom { weight: 1 },
            PolicyType::Priority => Self::Priority { priority: 0 },
            PolicyType::LeastUsed => Self::LeastUsed { load: 0 },
            PolicyType::LeastUsedDegradation => Self::LeastUsedDegradation { load: 0, degradation: 0 },
            PolicyType::PriorityLeastUsed => Self::PriorityLeastUsed { load: 0, degradation: 0 },
            PolicyType::RandomizedLeastUsed => Self::RandomizedLeastUsed { load: 0 },
            PolicyType::Other(code) => {
                Self::Other(PolicyParameter::new(code, &[]).unwrap_or(PolicyParameter::ROUND_ROBIN))
            }
        }
    }

    /// Its type.
    pub const fn kind(&self) -> PolicyType {
        match self {
            Self::RoundRobin => PolicyType::RoundRobin,
            Self::WeightedRoundRobin { .. } => PolicyType::WeightedRoundRobin,
            Self::Random => PolicyType::Random,
            Self::WeightedRandom { .. } => PolicyType::WeightedRandom,
            Self::Priority { .. } => PolicyType::Priority,
            Self::LeastUsed { .. } => PolicyType::LeastUsed,
            Self::LeastUsedDegradation { .. } => PolicyType::LeastUsedDegradation,
            Self::PriorityLeastUsed { .. } => PolicyType::PriorityLeastUsed,
            Self::RandomizedLeastUsed { .. } => PolicyType::RandomizedLeastUsed,
            Self::Other(parameter) => PolicyType::Other(parameter.code()),
        }
    }

    /// As a Pool Member Selection Policy parameter (RFC 5354 3.8).
    pub fn parameter(&self) -> PolicyParameter {
        let words: &[u32] = match self {
            Self::RoundRobin | Self::Random => &[],
            Self::WeightedRoundRobin { weight: word }
            | Self::WeightedRandom { weight: word }
            | Self::Priority { priority: word }
            | Self::LeastUsed { load: word }
            | Self::RandomizedLeastUsed { load: word } => &[*word],
            Self::LeastUsedDegradation { load, degradation }
            | Self::PriorityLeastUsed { load, degradation } => &[*load, *degradation],
            Self::Other(parameter) => return *parameter,
        };
        // Two words at most, so there is always room.
        PolicyParameter::new(self.kind().code(), words).unwrap_or(PolicyParameter::ROUND_ROBIN)
    }

    /// Its load, if its type has one; [`FULL_LOAD`] = 100 %.
    pub const fn load(&self) -> Option<u32> {
        match self {
            Self::LeastUsed { load }
            | Self::LeastUsedDegradation { load, .. }
            | Self::PriorityLeastUsed { load, .. }
            | Self::RandomizedLeastUsed { load } => Some(*load),
            _ => None,
        }
    }

    /// The same with another load, if its type has one.
    #[must_use]
    pub fn with_load(mut self, to: u32) -> Self {
        match &mut self {
            Self::LeastUsed { load }
            | Self::LeastUsedDegradation { load, .. }
            | Self::PriorityLeastUsed { load, .. }
            | Self::RandomizedLeastUsed { load } => *load = to,
            _ => {}
        }
        self
    }

    /// Its weight: 1 where the type has none, what is left of the capacity for [`Self::RandomizedLeastUsed`].
    const fn weight(&self) -> u32 {
        match self {
            Self::WeightedRoundRobin { weight } | Self::WeightedRandom { weight } => *weight,
            Self::RandomizedLeastUsed { load } => FULL_LOAD - *load,
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests;
