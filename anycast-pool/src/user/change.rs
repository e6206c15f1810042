//! What changes in a pool, as data: for a watcher, a log, a metric.

use std::fmt;

use crate::vector::Witness;
use crate::wire::{ElementId, PoolHandle, State, StatusFlags, Transport};

/// A change of one element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of which pool.
    pub handle: PoolHandle,
    /// Of which element.
    pub id: ElementId,
    /// What.
    pub what: What,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It is new, and serves there.
    Appeared(Transport),
    /// It serves elsewhere now.
    Moved(Transport),
    /// It is in another state, as somebody saw.
    State(State, Witness),
    /// It is on standby, draining or gone, or no longer.
    Flags(StatusFlags),
    /// It has been gone for so long that it is forgotten.
    Forgotten,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.handle, self.id)?;
        match &self.what {
            What::Appeared(transport) => write!(f, "appeared at {transport}"),
            What::Moved(transport) => write!(f, "moved to {transport}"),
            What::State(state, witness) => write!(f, "is {}: {witness}", state.name()),
            What::Flags(flags) => {
                let names = [
                    (StatusFlags::STANDBY, "standby"),
                    (StatusFlags::DRAINING, "draining"),
                    (StatusFlags::TOMBSTONE, "gone"),
                ];
                let set = names.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| *name);
                let set: Vec<&str> = set.collect();
                if set.is_empty() { f.write_str("is active") } else { f.write_str(&set.join(", ")) }
            }
            What::Forgotten => f.write_str("is forgotten"),
        }
    }
}
