//! Watches the gates of a simulated farm: how long was more than one open, how long none although a server could serve?

use std::time::Duration;

use crate::Time;

/// A stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spell {
    /// Its beginning.
    pub start: Time,
    /// Its length.
    pub length: Duration,
}

/// The worst that was seen.
#[derive(Clone, Debug)]
pub struct Watch {
    open: Vec<bool>,
    gates: usize,
    able_since: Vec<Option<Time>>,
    /// Since when some server has been able without a break, each change of the set aside.
    any_able: Option<Time>,
    none_since: Option<Time>,
    several_since: Option<Time>,
    none: Spell,
    several: Spell,
    ownerless: Duration,
}

impl Watch {
    pub(super) fn new(servers: usize) -> Self {
        Self {
            open: vec![false; servers],
            gates: 0,
            able_since: vec![None; servers],
            any_able: None,
            none_since: None,
            several_since: None,
            none: Spell::default(),
            several: Spell::default(),
            ownerless: Duration::ZERO,
        }
    }

    /// The longest time without an open gate while one and the same server or another could serve, counted from when the
    /// longest able one became so.
    pub const fn none(&self) -> Spell {
        self.none
    }

    /// The longest time with more than one gate open.
    pub const fn several(&self) -> Spell {
        self.several
    }

    /// All time without an open gate while a server could serve.
    pub const fn ownerless(&self) -> Duration {
        self.ownerless
    }

    pub(super) fn forget(&mut self, now: Time) {
        self.pass(now);
        self.none = Spell::default();
        self.several = Spell::default();
        self.ownerless = Duration::ZERO;
        self.none_since = self.none_since.map(|_| now);
        self.several_since = self.several_since.map(|_| now);
    }

    pub(super) fn gate(&mut self, now: Time, server: usize, open: bool) {
        if std::mem::replace(&mut self.open[server], open) == open {
            return;
        }
        self.gates = self.open.iter().filter(|open| **open).count();
        self.look(now);
    }

    pub(super) fn able(&mut self, now: Time, server: usize, able: bool) {
        if able == self.able_since[server].is_some() {
            return;
        }
        self.able_since[server] = able.then_some(now);
        let earliest = self.able_since.iter().flatten().min().copied();
        if earliest != self.any_able {
            // A server that became able later has had less time to act: the spell begins anew with it.
            if let Some(since) = self.none_since.take() {
                self.end_none(since, now);
            }
            self.any_able = earliest;
        }
        self.look(now);
    }

    /// Closes the books at `now`; spells that last are counted so far.
    pub(super) fn pass(&mut self, now: Time) {
        if let Some(since) = self.none_since {
            self.none = self.none.max(since, now);
        }
        if let Some(since) = self.several_since {
            self.several = self.several.max(since, now);
        }
    }

    fn look(&mut self, now: Time) {
        let none = self.gates == 0 && self.any_able.is_some();
        match (none, self.none_since) {
            (true, None) => self.none_since = Some(now),
            (false, Some(since)) => {
                self.none_since = None;
                self.end_none(since, now);
            }
            _ => {}
        }
        let several = self.gates > 1;
        match (several, self.several_since) {
            (true, None) => self.several_since = Some(now),
            (false, Some(since)) => {
                self.several_since = None;
                self.several = self.several.max(since, now);
            }
            _ => {}
        }
    }

    fn end_none(&mut self, since: Time, now: Time) {
        self.none = self.none.max(since, now);
        self.ownerless += now.since(since);
    }
}

impl Spell {
    fn max(self, start: Time, end: Time) -> Self {
        let length = end.since(start);
        if length > self.length { Self { start, length } } else { self }
    }
}
