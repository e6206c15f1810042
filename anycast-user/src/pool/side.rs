//! A machine of `anycast_pool` with its connections and its clock, shared between a task and whoever calls.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anycast_pool::wire::Transport;
use anycast_pool::{ConnectionId, Time};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::links::{Links, Registrars, Report};
use crate::monitor;

/// What a connection or the clock has to say to a machine.
#[derive(Clone, Copy, Debug)]
pub(super) enum Word<'a> {
    Connected(ConnectionId),
    Message(ConnectionId, &'a [u8]),
    Closed(ConnectionId),
    Announced(SocketAddr, &'a [Transport]),
    Tick,
}

/// A machine that does what it decides by [`Links`].
pub(super) trait Machine: Send + 'static {
    /// Takes what happened and does what follows.
    fn take(&mut self, now: Time, word: Word<'_>, links: &mut Links);

    /// When it wants a tick.
    fn next_timeout(&self) -> Option<Time>;

    /// All is done: no more is to be waited for.
    fn ended(&self) -> bool {
        false
    }
}

/// A machine and its connections, behind a lock that is held for no longer than a decision takes.
pub(super) struct Side<M> {
    state: Mutex<State<M>>,
    /// The next timeout is sooner than the task believes.
    sooner: Notify,
}

struct State<M> {
    machine: M,
    links: Links,
    /// What the task waits for.
    armed: Option<Time>,
}

impl<M: Machine> Side<M> {
    /// A machine that has done nothing yet. Its reports go to [`run`](Self::run). Must be called in a Tokio runtime.
    pub fn new(machine: M, registrars: Registrars) -> (Arc<Self>, mpsc::Receiver<Report>) {
        let (links, reports) = Links::new(registrars);
        let state = Mutex::new(State { machine, links, armed: None });
        (Arc::new(Self { state, sooner: Notify::new() }), reports)
    }

    /// Has something done with the machine now. Must be called in a Tokio runtime.
    pub fn with<T>(&self, work: impl FnOnce(&mut M, &mut Links, Time) -> T) -> T {
        let mut state = self.lock();
        let State { machine, links, armed } = &mut *state;
        let value = work(machine, links, now());
        let next = machine.next_timeout();
        let sooner = match (next, *armed) {
            (Some(next), Some(armed)) => next < armed,
            (Some(_), None) => true,
            (None, _) => machine.ended(),
        };
        if sooner {
            self.sooner.notify_one();
        }
        value
    }

    /// Runs the machine until it has ended.
    pub async fn run(self: Arc<Self>, mut reports: mpsc::Receiver<Report>) {
        loop {
            let deadline = {
                let mut state = self.lock();
                if state.machine.ended() {
                    return;
                }
                state.armed = state.machine.next_timeout();
                state.armed
            };
            let sleep = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(instant_of(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(report) = reports.recv() => self.report(report),
                () = self.sooner.notified() => {}
                () = sleep => {
                    self.with(|machine, links, now| machine.take(now, Word::Tick, links));
                }
            }
        }
    }

    fn report(&self, report: Report) {
        let mut state = self.lock();
        let State { machine, links, .. } = &mut *state;
        links.note(&report);
        let word = match &report {
            Report::Connected(id) => Word::Connected(*id),
            Report::Message(id, octets) => Word::Message(*id, octets),
            Report::Closed(id, _) => Word::Closed(*id),
            Report::Announced(from, transports) => Word::Announced(*from, transports),
        };
        machine.take(now(), word, links);
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        // A panic of another caller leaves a machine as sound as between two events: it is only told what happened.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clock of this host, as the machines read it.
pub(super) fn now() -> Time {
    Time::from_nanos(monitor::now().as_nanos())
}

/// The runtime's name for a point of that clock.
fn instant_of(at: Time) -> Instant {
    // Timers of the runtime have a grain of a millisecond: without it, a tick could come a moment too early, again and again.
    Instant::now() + at.since(now()) + Duration::from_micros(100)
}

/// A seed from the operating system's entropy, which is where the standard library's hash keys come from.
pub(super) fn seed() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    RandomState::new().build_hasher().finish()
}
