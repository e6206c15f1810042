//! Programs of the operator's that the daemon runs: `notify`, `on_standby`, `on_wake`.
//!
//! The loop never waits for them. Each has a queue and a task of its own that runs one program at a time, in order, each
//! within a limit of time; what fails is logged with its status and its last line. Only the end of `on_wake` is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anycast_core::{Reason, ServiceId, State};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::config::{Config, StandbyHooks};
use crate::program::{self, ProgramError};

/// How long a notification may take.
const NOTIFY_LIMIT: Duration = Duration::from_secs(10);

/// Notifications that wait; more drop the oldest.
const NOTIFICATIONS: usize = 64;

/// Variables for a program's environment.
type Environment = Vec<(&'static str, String)>;

/// The programs of this configuration.
pub(super) struct Hooks {
    farm: String,
    /// What is said of each service.
    about: Vec<Environment>,
    notifications: Option<Arc<Notifications>>,
    /// By `ServiceId`.
    standby: Vec<Option<mpsc::UnboundedSender<Change>>>,
    started: mpsc::UnboundedReceiver<ServiceId>,
    tasks: JoinSet<()>,
}

/// What is to be done with a service process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Stop,
    Start,
}

impl Hooks {
    /// Starts the tasks that wait for something to run.
    pub(super) fn new(config: &Config) -> Self {
        let mut tasks = JoinSet::new();
        let about: Vec<Environment> = config
            .services
            .iter()
            .map(|service| {
                vec![
                    ("ANYCAST_FARM", config.farm.name.clone()),
                    ("ANYCAST_SERVICE", service.name.clone()),
                    ("ANYCAST_ADDRESS", service.address.to_string()),
                    ("ANYCAST_INTERFACE", config.interfaces[service.interface].name.clone()),
                ]
            })
            .collect();
        let notifications = config.daemon.notify.as_ref().map(|path| {
            let notifications = Arc::new(Notifications::default());
            let command = vec![path.display().to_string()];
            tasks.spawn(notify(command, Arc::clone(&notifications)));
            notifications
        });
        let (started_in, started) = mpsc::unbounded_channel();
        let standby = config.services.iter().zip(&about).enumerate().map(|(number, (service, about))| {
            let hooks = service.standby.as_ref()?.hooks.clone()?;
            // The core asks for a start only after a stop, so that there are never more than two.
            let (changes, wanted) = mpsc::unbounded_channel();
            let id = super::start::service_id(number);
            tasks.spawn(change(id, hooks, about.clone(), wanted, started_in.clone()));
            Some(changes)
        });
        let standby = standby.collect();
        Self { farm: config.farm.name.clone(), about, notifications, standby, started, tasks }
    }

    /// The state of a service has changed.
    pub(super) fn changed(&self, service: ServiceId, from: State, to: State, reason: &Reason) {
        self.notify(Some(service), || {
            vec![
                ("ANYCAST_EVENT", "state".to_owned()),
                ("ANYCAST_FROM", from.name().to_owned()),
                ("ANYCAST_TO", to.name().to_owned()),
                ("ANYCAST_REASON", reason.to_string()),
            ]
        });
    }

    /// An alarm was raised.
    pub(super) fn alarm(&self, service: Option<ServiceId>, text: &str) {
        self.notify(service, || {
            vec![("ANYCAST_EVENT", "alarm".to_owned()), ("ANYCAST_ALARM", text.to_owned())]
        });
    }

    /// Stops a service's process.
    pub(super) fn stop(&self, service: ServiceId) {
        self.change(service, Change::Stop);
    }

    /// Starts a service's process; [`Hooks::started`] tells when that is done.
    pub(super) fn start(&self, service: ServiceId) {
        self.change(service, Change::Start);
    }

    /// Waits until a service's process was started, as far as its hook could do it.
    pub(super) async fn started(&mut self) -> ServiceId {
        match self.started.recv().await {
            Some(service) => service,
            // No service has hooks.
            None => std::future::pending().await,
        }
    }

    /// Lets what waits run, but not for longer than `limit`; what runs then is killed.
    pub(super) async fn finish(mut self, limit: Duration) {
        if let Some(notifications) = &self.notifications {
            notifications.close();
        }
        self.standby.clear();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(limit, all).await.is_err() {
            warn!(?limit, "a hook or notification is not over; it is killed");
        }
    }

    fn change(&self, service: ServiceId, change: Change) {
        if let Some(Some(changes)) = self.standby.get(service.index()) {
            // The task ends only with its sender.
            let _ = changes.send(change);
        }
    }

    fn notify(&self, service: Option<ServiceId>, what: impl FnOnce() -> Environment) {
        let Some(notifications) = &self.notifications else { return };
        let about = service.and_then(|service| self.about.get(service.index()));
        let farm = || vec![("ANYCAST_FARM", self.farm.clone())];
        let mut environment = about.cloned().unwrap_or_else(farm);
        environment.extend(what());
        if let Some(dropped) = notifications.push(environment) {
            let of = |name| value(&dropped, name);
            warn!(
                service = of("ANYCAST_SERVICE"),
                to = of("ANYCAST_TO"),
                alarm = of("ANYCAST_ALARM"),
                "{NOTIFICATIONS} notifications wait: the oldest was dropped; the program is too slow"
            );
        }
    }
}

/// The value of a variable, if it is set.
fn value(environment: &Environment, name: &str) -> Option<String> {
    environment.iter().find(|(other, _)| *other == name).map(|(_, value)| value.clone())
}

/// Notifications that wait, oldest first.
#[derive(Default)]
struct Notifications {
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Environment>,
    closed: bool,
}

impl Notifications {
    /// Appends one. If the queue is full the oldest is dropped and returned.
    fn push(&self, environment: Environment) -> Option<Environment> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let dropped = if queue.waiting.len() >= NOTIFICATIONS { queue.waiting.pop_front() } else { None };
        queue.waiting.push_back(environment);
        drop(queue);
        self.changed.notify_one();
        dropped
    }

    /// No more will come.
    fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.changed.notify_one();
    }

    /// The next one, when there is one; `None` when no more will come.
    async fn next(&self) -> Option<Environment> {
        loop {
            {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(next) = queue.waiting.pop_front() {
                    return Some(next);
                }
                if queue.closed {
                    return None;
                }
            }
            // A permit is kept for whoever comes late: nothing is missed between the look and the wait.
            self.changed.notified().await;
        }
    }
}

/// Runs the program of `daemon.notify` once for each notification.
async fn notify(command: Vec<String>, notifications: Arc<Notifications>) {
    while let Some(environment) = notifications.next().await {
        match run(&command, &environment, NOTIFY_LIMIT).await {
            Ok(()) => debug!(to = value(&environment, "ANYCAST_TO"), "notified"),
            Err(error) => warn!(%error, service = value(&environment, "ANYCAST_SERVICE"), "not notified"),
        }
    }
}

/// Runs the hooks of one service.
async fn change(
    service: ServiceId,
    hooks: StandbyHooks,
    about: Environment,
    mut wanted: mpsc::UnboundedReceiver<Change>,
    started: mpsc::UnboundedSender<ServiceId>,
) {
    let name = value(&about, "ANYCAST_SERVICE");
    while let Some(change) = wanted.recv().await {
        let (hook, command) = match change {
            Change::Stop => ("on_standby", &hooks.on_standby),
            Change::Start => ("on_wake", &hooks.on_wake),
        };
        let mut environment = about.clone();
        environment.push(("ANYCAST_EVENT", hook.to_owned()));
        match run(command, &environment, hooks.wake_timeout).await {
            Ok(()) => info!(service = name, hook, "hook has run"),
            Err(error) => warn!(%error, service = name, hook, "hook failed"),
        }
        if change == Change::Start {
            // The loop may have ended.
            let _ = started.send(service);
        }
    }
}

async fn run(command: &[String], environment: &Environment, limit: Duration) -> Result<(), ProgramError> {
    program::run(command, environment, Instant::now() + limit, limit).await
}

#[cfg(test)]
mod tests;
