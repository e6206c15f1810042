//! The same heartbeat again: most of what a large farm hears says what was said before, and changes nothing but when the
//! sender was last heard. Such heartbeats are kept aside, and a machine is told of them, each with its own time, before
//! anything else happens to it that could ask. What comes out is the same to the byte; a test compares.

use std::sync::Arc;
use std::time::Duration;

use super::{LINK, Sim};
use crate::Time;
use crate::config::ServerId;
use crate::event::State;
use crate::heartbeat::Message;

/// A sender not heard for this long may have been forgotten: what it says is read in full.
const FRESH: Duration = Duration::from_secs(30);

/// The end of a slice is this near.
const SLICE_ENDS: Duration = Duration::from_secs(1);

/// A heartbeat, read once for all who hear it.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) from: usize,
    pub(super) message: Message,
    /// Two heartbeats of one number say the same; 0 = to be read in full by everybody.
    content: u32,
    /// It says that the sender owns, and no more: nobody who does not own asks about others because of it.
    owns: bool,
}

/// What one server last heard from another, in full or again.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    content: u32,
    at: Time,
}

/// Heartbeats kept aside.
#[derive(Debug)]
pub(super) struct Again {
    servers: usize,
    /// By sender and receiver; empty = nothing is kept aside.
    cells: Vec<Cell>,
    /// Whom the machine of which server is not told yet: sender, sequence number, when.
    aside: Vec<Vec<(ServerId, u64, Time)>>,
    /// Servers to which a repetition means nothing more.
    calm: Vec<bool>,
    /// What each server said last.
    said: Vec<Option<Arc<Heard>>>,
    contents: u32,
}

impl Again {
    pub(super) fn new(servers: usize, on: bool) -> Self {
        let cells = if on { servers * servers } else { 0 };
        Self {
            servers,
            cells: vec![Cell::default(); cells],
            aside: vec![Vec::new(); servers],
            calm: vec![false; servers],
            said: vec![None; servers],
            contents: 0,
        }
    }

    /// Reads a heartbeat for all who will hear it.
    pub(super) fn read(&mut self, from: usize, message: Message) -> Arc<Heard> {
        let loud = message.leaving || message.services.iter().any(|report| report.suspect);
        // A slice that is all but over may end with this very heartbeat.
        let ends = |left: Option<Duration>| left.is_some_and(|left| left < SLICE_ENDS);
        let owns = !loud
            && message.services.iter().all(|report| report.state == State::Owner && !ends(report.slice_left));
        let mut content = 0;
        if !loud && message.services.iter().all(|report| report.state != State::Owner) {
            content = match &self.said[from] {
                Some(said) if same(&said.message, &message) => said.content,
                _ => 0,
            };
            if content == 0 {
                self.contents += 1;
                content = self.contents;
            }
        }
        let heard = Arc::new(Heard { from, message, content, owns });
        self.said[from] = Some(Arc::clone(&heard));
        heard
    }
}

fn same(a: &Message, b: &Message) -> bool {
    (a.incarnation, a.interval, a.leaving, a.mac) == (b.incarnation, b.interval, b.leaving, b.mac)
        && a.farm == b.farm
        && a.services == b.services
}

impl Sim {
    /// Keeps a heartbeat aside, if to this server it is only a repetition.
    pub(super) fn aside(&mut self, server: usize, heard: &Heard) -> bool {
        let again = &mut self.again;
        let Some(cell) = again.cells.get_mut(heard.from * again.servers + server) else { return false };
        let repeats = heard.content != 0
            && cell.content == heard.content
            && again.calm[server]
            && self.now.since(cell.at) < FRESH;
        if repeats {
            cell.at = self.now;
            again.aside[server].push((heard.message.server, heard.message.sequence, self.now));
        }
        repeats
    }

    /// A machine was told of a heartbeat in full.
    pub(super) fn told(&mut self, server: usize, heard: &Heard, accepted: bool) {
        let again = &mut self.again;
        if let Some(cell) = again.cells.get_mut(heard.from * again.servers + server)
            && accepted
        {
            *cell = Cell { content: heard.content, at: self.now };
        }
    }

    /// Before a machine is told of this heartbeat in full: does it have to know first what is kept aside?
    pub(super) fn asks_about_others(&self, server: usize, heard: &Heard) -> bool {
        !heard.owns
            || self.servers[server].machine.as_ref().is_none_or(|machine| !machine.only_notes_owners())
    }

    /// Tells a machine what is kept aside for it.
    pub(super) fn catch_up(&mut self, server: usize) {
        let aside = &mut self.again.aside[server];
        if aside.is_empty() {
            return;
        }
        let state = &mut self.servers[server];
        if let Some(machine) = &mut state.machine {
            for (from, sequence, at) in aside.drain(..) {
                machine.hear_again(LINK, from, sequence, state.clock.shows(at));
            }
        }
        aside.clear();
    }

    /// Tells all machines.
    pub(super) fn catch_up_all(&mut self) {
        for server in 0..self.servers.len() {
            self.catch_up(server);
        }
    }

    /// After anything that a machine was told: is a repetition still nothing but that?
    pub(super) fn calm(&mut self, server: usize) {
        if !self.again.cells.is_empty() {
            let machine = self.servers[server].machine.as_ref();
            self.again.calm[server] = machine.is_some_and(crate::Machine::calm);
        }
    }

    /// A daemon starts or dies: nobody remembers what it was told.
    pub(super) fn forget_told(&mut self, server: usize) {
        let again = &mut self.again;
        again.aside[server].clear();
        again.calm[server] = false;
        for cell in again.cells.iter_mut().skip(server).step_by(again.servers.max(1)) {
            cell.content = 0;
        }
    }

    /// From now on everything is told in full.
    pub(super) fn tell_all(&mut self) {
        self.catch_up_all();
        self.again.cells = Vec::new();
    }
}
