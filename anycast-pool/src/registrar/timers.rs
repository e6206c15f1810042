//! When something is due, of many things.
//!
//! A thing has one entry that counts: the earliest that was set for it, which it knows itself. Later ones are not looked for; the
//! entry comes up, the thing looks what is due, and sets the next. So a timer that is mostly put off costs nothing when it is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::Time;
use crate::handlespace::{PoolIndex, Slot};

/// What has timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Element(Slot),
    Pool(PoolIndex),
    Connection(u32),
}

#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Time, Target)>>);

impl Timers {
    /// Sets a timer, if it is earlier than the one that the thing has.
    pub fn arm(&mut self, armed: &mut Time, due: Time, target: Target) {
        if due < *armed {
            *armed = due;
            self.0.push(Reverse((due, target)));
        }
    }

    /// The next that may be due.
    pub fn next(&self) -> Option<Time> {
        self.0.peek().map(|Reverse((due, _))| *due)
    }

    /// One that came up.
    pub fn pop(&mut self, now: Time) -> Option<(Time, Target)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse(entry)| entry)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}
