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
    able: usize,
    /// The router reaches the server and hears it.
    reachable: Vec<bool>,
    /// No way of the link is worse than the network says.
    unbroken: bool,
    /// Since when some server has been able without a break, each change of the set aside.
    any_able: Option<Time>,
    none_since: Option<Time>,
    /// Since when no gate is open although the same servers, two at least, can hear each other.
    company_since: Option<Time>,
    several_since: Option<Time>,
    none: Spell,
    company: Spell,
    several: Spell,
    /// Since when no gate is open that the router reaches, while somebody could serve it, whoever it is.
    ownerless_since: Option<Time>,
    spells: Vec<Spell>,
    ownerless: Duration,
}

impl Watch {
    pub(super) fn new(servers: usize) -> Self {
        Self {
            open: vec![false; servers],
            gates: 0,
            able_since: vec![None; servers],
            able: 0,
            reachable: vec![true; servers],
            unbroken: true,
            any_able: None,
            none_since: None,
            company_since: None,
            several_since: None,
            none: Spell::default(),
            company: Spell::default(),
            several: Spell::default(),
            ownerless_since: None,
            spells: Vec::new(),
            ownerless: Duration::ZERO,
        }
    }

    /// The longest time without an open gate while one and the same server or another could serve, counted from when the
    /// longest able one became so.
    pub const fn none(&self) -> Spell {
        self.none
    }

    /// The longest time without an open gate while the same servers could serve, two or more, on an unbroken link.
    pub const fn none_in_company(&self) -> Spell {
        self.company
    }

    /// The longest time with more than one gate open while the link was unbroken.
    pub const fn several(&self) -> Spell {
        self.several
    }

    /// All time without an open gate that the router reaches while a server could serve it.
    pub const fn ownerless(&self) -> Duration {
        self.ownerless
    }

    /// Each time without an open gate that the router reaches while a server could serve it, oldest first.
    pub fn spells(&self) -> &[Spell] {
        &self.spells
    }

    /// Does the router reach the server, and hear it?
    pub fn reaches(&self, server: usize) -> bool {
        self.reachable[server]
    }

    pub(super) fn forget(&mut self, now: Time) {
        self.pass(now);
        self.none = Spell::default();
        self.company = Spell::default();
        self.several = Spell::default();
        self.ownerless = Duration::ZERO;
        self.spells.clear();
        for since in [
            &mut self.none_since,
            &mut self.company_since,
            &mut self.several_since,
            &mut self.ownerless_since,
        ] {
            *since = since.map(|_| now);
        }
    }

    pub(super) fn gate(&mut self, now: Time, server: usize, open: bool) {
        if std::mem::replace(&mut self.open[server], open) == open {
            return;
        }
        if open {
            self.gates += 1;
        } else {
            self.gates -= 1;
        }
        self.look(now);
    }

    pub(super) fn able(&mut self, now: Time, server: usize, able: bool) {
        if able == self.able_since[server].is_some() {
            return;
        }
        self.able_since[server] = able.then_some(now);
        if able {
            self.able += 1;
        } else {
            self.able -= 1;
        }
        let earliest = self.able_since.iter().flatten().min().copied();
        if earliest != self.any_able {
            // A server that became able later has had less time to act: the spell begins anew with it.
            end(&mut self.none_since, &mut self.none, now);
            self.any_able = earliest;
        }
        end(&mut self.company_since, &mut self.company, now);
        self.look(now);
    }

    /// The way between a server and the router was cut or mended.
    pub(super) fn reachable(&mut self, now: Time, server: usize, reachable: bool) {
        if std::mem::replace(&mut self.reachable[server], reachable) != reachable {
            self.look(now);
        }
    }

    /// Is there no open gate that the router reaches, and a server that could serve it?
    fn unserved(&self) -> bool {
        let open = || self.open.iter().zip(&self.reachable).any(|(open, reachable)| *open && *reachable);
        self.any_able.is_some() && (self.gates == 0 || !open())
    }

    /// The link was broken or mended.
    pub(super) fn unbroken(&mut self, now: Time, unbroken: bool) {
        if std::mem::replace(&mut self.unbroken, unbroken) != unbroken {
            end(&mut self.company_since, &mut self.company, now);
            self.look(now);
        }
    }

    /// Closes the books at `now`; spells that last are counted so far.
    pub(super) fn pass(&mut self, now: Time) {
        for (since, worst) in [
            (self.none_since, &mut self.none),
            (self.company_since, &mut self.company),
            (self.several_since, &mut self.several),
        ] {
            if let Some(since) = since {
                *worst = worst.max(since, now);
            }
        }
    }

    fn look(&mut self, now: Time) {
        let none = self.gates == 0 && self.any_able.is_some();
        turn(none, &mut self.none_since, &mut self.none, now);
        turn(none && self.able > 1 && self.unbroken, &mut self.company_since, &mut self.company, now);
        turn(self.gates > 1 && self.unbroken, &mut self.several_since, &mut self.several, now);
        match (self.unserved(), self.ownerless_since) {
            (true, None) => self.ownerless_since = Some(now),
            (false, Some(start)) => {
                self.ownerless_since = None;
                let length = now.since(start);
                self.ownerless += length;
                if !length.is_zero() {
                    self.spells.push(Spell { start, length });
                }
            }
            _ => {}
        }
    }
}

/// Begins a spell, or ends it, as it should be.
fn turn(lasts: bool, since: &mut Option<Time>, worst: &mut Spell, now: Time) {
    match (lasts, &since) {
        (true, None) => *since = Some(now),
        (false, Some(_)) => end(since, worst, now),
        _ => {}
    }
}

fn end(since: &mut Option<Time>, worst: &mut Spell, now: Time) {
    if let Some(start) = since.take() {
        *worst = worst.max(start, now);
    }
}

impl Spell {
    fn max(self, start: Time, end: Time) -> Self {
        let length = end.since(start);
        if length > self.length { Self { start, length } } else { self }
    }
}
