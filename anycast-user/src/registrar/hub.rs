//! Where events meet: the machine, its log, and what waits for each connection.
//!
//! An event is handled at once by whoever has it. Of the actions, records are written first and what is to be sent is queued
//! after that; the connection's own task writes it to its socket. So nothing is on the wire before its record is in the log.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use anycast_pool::Time;
use anycast_pool::registrar::{Action, CloseReason, ConnectionId, ConnectionKind, Event, Registrar};
use anycast_pool::wire::MessageType;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::announce::Announcer;
use super::disk::Log;
use crate::monitor;

/// Octets read from a socket at once. The answers to that many octets of questions must fit into what may wait for a connection.
pub(super) const READ: usize = 2048;

/// A connection for which that much waits is not read from: who does not take answers gets no more questions in.
pub(super) const READ_BELOW: usize = 64 * 1024;

/// The machine and what belongs to it, for the tasks of one thread.
#[derive(Clone)]
pub(super) struct Hub(Rc<Shared>);

struct Shared {
    core: RefCell<Core>,
    /// What is read from a socket passes through here: connections that wait have no buffer of their own.
    buffer: RefCell<Box<[u8]>>,
    /// The timer's task must look again.
    timer: Notify,
    /// A connection's task has ended.
    ended: Notify,
    /// Nobody is accepted any more.
    stop: CancellationToken,
    /// For when the timer is set; `None` = it is not.
    armed: Cell<Option<Time>>,
}

/// The machine and its surroundings.
pub(super) struct Core {
    pub registrar: Registrar,
    pub log: Log,
    pub announcer: Option<Announcer>,
    /// Acknowledgements that were not sent, since their record could not be written.
    pub withheld: u64,
    /// Handshakes of TLS that came to nothing.
    pub handshakes_failed: u64,
    queues: HashMap<ConnectionId, Queue>,
    next: u64,
    actions: Vec<Action>,
}

/// What waits for a connection.
#[derive(Default)]
struct Queue {
    messages: VecDeque<Arc<[u8]>>,
    /// Octets of the first that are sent already.
    sent: usize,
    octets: usize,
    closing: Option<CloseReason>,
    waker: Option<Waker>,
}

/// The present, on the machine's clock.
pub(super) fn now() -> Time {
    Time::from_nanos(monitor::now().as_nanos())
}

impl Hub {
    pub fn new(registrar: Registrar, log: Log, announcer: Option<Announcer>) -> Self {
        let core = Core {
            registrar,
            log,
            announcer,
            withheld: 0,
            handshakes_failed: 0,
            queues: HashMap::new(),
            next: 0,
            actions: Vec::new(),
        };
        Self(Rc::new(Shared {
            core: RefCell::new(core),
            buffer: RefCell::new(vec![0; READ].into()),
            timer: Notify::new(),
            ended: Notify::new(),
            stop: CancellationToken::new(),
            armed: Cell::new(None),
        }))
    }

    /// A new connection's name. It is the task's duty to call [`closed`](Self::closed) at its end.
    pub fn connected(&self, peer: SocketAddr, kind: ConnectionKind, identity: Option<&str>) -> ConnectionId {
        let connection = {
            let mut core = self.0.core.borrow_mut();
            core.next += 1;
            let connection = ConnectionId(core.next);
            core.queues.insert(connection, Queue::default());
            connection
        };
        self.handle(Event::Connected { connection, peer, kind, identity });
        connection
    }

    /// The connection is over.
    pub fn closed(&self, connection: ConnectionId) {
        self.0.core.borrow_mut().queues.remove(&connection);
        self.handle(Event::Closed { connection });
        self.0.ended.notify_one();
    }

    /// The registrar stops: no more connections, and good-bye to those that are there.
    pub fn stop(&self) {
        self.0.stop.cancel();
        self.handle(Event::Shutdown);
    }

    /// Waits until the registrar stops.
    pub async fn stopping(&self) {
        self.0.stop.cancelled().await;
    }

    /// Waits until no connection has a task any more.
    pub async fn all_closed(&self) {
        while !self.0.core.borrow().queues.is_empty() {
            self.0.ended.notified().await;
        }
    }

    /// Takes an event in and performs what follows from it.
    pub fn handle(&self, event: Event<'_>) {
        let mut core = self.0.core.borrow_mut();
        core.registrar.handle(now(), event);
        core.perform();
        let deadline = core.registrar.next_deadline();
        drop(core);
        if deadline.is_some_and(|deadline| self.0.armed.get().is_none_or(|armed| deadline < armed)) {
            self.0.timer.notify_one();
        }
    }

    /// Waits until the machine's next deadline, and runs it; never ends.
    pub async fn run_timers(&self) {
        loop {
            let deadline = self.0.core.borrow().registrar.next_deadline();
            self.0.armed.set(deadline);
            let wait = deadline.map(|deadline| deadline.since(now()));
            let sleep = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => self.handle(Event::Tick),
                () = self.0.timer.notified() => {}
            }
        }
    }

    /// Reads by `read` into the shared buffer and hands over what came.
    pub fn with_buffer<T>(&self, work: impl FnOnce(&mut [u8]) -> T) -> T {
        work(&mut self.0.buffer.borrow_mut())
    }

    /// Looks at or changes what is there.
    pub fn with<T>(&self, work: impl FnOnce(&mut Core) -> T) -> T {
        work(&mut self.0.core.borrow_mut())
    }

    /// Offers what waits for a connection to `write`, which says how many octets it took; the result is that.
    pub fn write<T>(&self, connection: ConnectionId, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> Option<T> {
        const SLICES: usize = 32;
        let core = self.0.core.borrow();
        let queue = core.queues.get(&connection).filter(|queue| !queue.messages.is_empty())?;
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        for (message, slice) in queue.messages.iter().zip(&mut slices) {
            let from = if count == 0 { queue.sent } else { 0 };
            *slice = IoSlice::new(&message[from..]);
            count += 1;
        }
        Some(write(&slices[..count]))
    }

    /// The socket took that many octets.
    pub fn written(&self, connection: ConnectionId, octets: usize) {
        if let Some(queue) = self.0.core.borrow_mut().queues.get_mut(&connection) {
            queue.octets = queue.octets.saturating_sub(octets);
            queue.sent += octets;
            while let Some(length) = queue.messages.front().map(|message| message.len())
                && queue.sent >= length
            {
                queue.sent -= length;
                queue.messages.pop_front();
            }
            if queue.messages.is_empty() {
                queue.messages = VecDeque::new();
            }
        }
        self.handle(Event::Written { connection, octets });
    }

    /// Octets that wait for a connection.
    pub fn waiting(&self, connection: ConnectionId) -> usize {
        self.0.core.borrow().queues.get(&connection).map_or(0, |queue| queue.octets)
    }

    /// Why the connection is to be closed, if it is.
    pub fn closing(&self, connection: ConnectionId) -> Option<CloseReason> {
        self.0.core.borrow().queues.get(&connection).and_then(|queue| queue.closing)
    }

    /// Whom to wake when something is to be written or the connection is to be closed.
    pub fn wake_by(&self, connection: ConnectionId, waker: &Waker) {
        if let Some(queue) = self.0.core.borrow_mut().queues.get_mut(&connection) {
            match &mut queue.waker {
                Some(own) => own.clone_from(waker),
                None => queue.waker = Some(waker.clone()),
            }
        }
    }
}

impl Core {
    fn perform(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        while let Some(action) = self.registrar.next_action() {
            if let Action::Journal(record) = &action {
                self.log.add(record);
            } else {
                actions.push(action);
            }
        }
        let written = self.log.commit();
        for action in actions.drain(..) {
            match action {
                Action::Send { connection, octets } if !written && is_acknowledgement(&octets) => {
                    self.withheld += 1;
                    self.registrar.handle(now(), Event::Written { connection, octets: octets.len() });
                }
                Action::Send { connection, octets } => self.send(connection, octets),
                Action::Close { connection, reason } => {
                    if let Some(queue) = self.queues.get_mut(&connection) {
                        queue.closing = Some(reason);
                        queue.waker.iter().for_each(Waker::wake_by_ref);
                    }
                }
                // Taken out above.
                Action::Journal(_) => {}
                Action::Announce(octets) => self.announcer.iter_mut().for_each(|own| own.send(&octets)),
                Action::Notice(notice) if notice.is_problem() => warn!("{notice}"),
                Action::Notice(notice) => info!("{notice}"),
            }
        }
        self.actions = actions;
    }

    fn send(&mut self, connection: ConnectionId, octets: Arc<[u8]>) {
        let Some(queue) = self.queues.get_mut(&connection) else { return };
        queue.octets += octets.len();
        queue.messages.push_back(octets);
        queue.waker.iter().for_each(Waker::wake_by_ref);
    }
}

/// Is it a message that acknowledges what must be in the log before?
fn is_acknowledgement(octets: &[u8]) -> bool {
    let kinds = [MessageType::RegistrationResponse, MessageType::DeregistrationResponse];
    octets.first().is_some_and(|code| kinds.iter().any(|kind| kind.code() == *code))
}

/// How long a connection that is closed from here may take what was sent to it before.
pub(super) const fn farewell(reason: CloseReason) -> Duration {
    match reason {
        // It takes nothing: there is no reason to wait.
        CloseReason::Stuck | CloseReason::Backlog => Duration::ZERO,
        _ => Duration::from_secs(1),
    }
}
