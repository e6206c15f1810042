//! A service of this host as an element of its pool: one machine and its connections to the registrars.
//!
//! The owner says what is the matter with the service, at once and without waiting; that registrars hear of it is this side's
//! business.

use std::sync::Arc;
use std::time::Duration;

use anycast_pool::element::{Element, ElementConfig, ElementSnapshot, Event, Input, Output};
use anycast_pool::policy::FULL_LOAD;
use anycast_pool::{LinkState, Time};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::links::{Links, Registrars};
use super::side::{Machine, Side, Word, seed};

/// How much longer than the machine's own bound its end may take.
const STOP_MARGIN: Duration = Duration::from_millis(500);

/// What the owner knows of its service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// It works.
    pub able: bool,
    /// It waits until others cannot serve: up, but last.
    pub standby: bool,
    /// It takes no new requests.
    pub draining: bool,
    /// Load in permille of what it can serve.
    pub load: u16,
}

/// A service in its pool.
pub struct PoolElement {
    side: Arc<Side<ElementSide>>,
    told: Option<Condition>,
    stop: Duration,
    task: JoinHandle<()>,
}

/// How it stands with one registrar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The registrar in words.
    pub registrar: String,
    /// Why it cannot be reached.
    pub error: Option<String>,
}

impl PoolElement {
    /// An element that is not able yet, and begins to connect. Must be called in a Tokio runtime.
    pub fn start(mut config: ElementConfig, registrars: Registrars, name: &str) -> Self {
        config.registrars = registrars.addresses.len();
        // Each is registered with, those that announce themselves too.
        config.hunt.parallel = registrars.expected(&config.hunt);
        config.seed = seed();
        let stop = config.stop;
        let machine = ElementSide { element: Element::new(config), name: name.to_owned(), stopped: false };
        let (side, reports) = Side::new(machine, registrars);
        side.with(|machine, links, now| machine.take(now, Word::Tick, links));
        let task = tokio::spawn(Arc::clone(&side).run(reports));
        Self { side, told: None, stop, task }
    }

    /// Says what is the matter with the service; what was said before costs nothing.
    pub fn tell(&mut self, condition: Condition) {
        if self.told.replace(condition) == Some(condition) {
            return;
        }
        let load = u64::from(FULL_LOAD) * u64::from(condition.load.min(1000)) / 1000;
        let load = u32::try_from(load).unwrap_or(FULL_LOAD);
        self.side.with(|machine, links, now| {
            let mut inputs = [
                Input::Load(load),
                Input::Standby(condition.standby),
                Input::Drain(condition.draining),
                Input::Able(condition.able),
            ];
            // What takes it out of the pool comes first and what brings it in last: one message says all.
            if !condition.able || condition.draining {
                inputs.reverse();
            }
            for input in inputs {
                machine.input(now, input, links);
            }
        });
    }

    /// What it looks like, and by name and in the same order how it stands with each registrar.
    pub fn snapshot(&self) -> (ElementSnapshot, Vec<Standing>) {
        self.side.with(|machine, links, now| {
            let snapshot = machine.element.snapshot(now);
            let standing = |registration: &anycast_pool::element::RegistrationSnapshot| Standing {
                registrar: links.registrars().name(&registration.target),
                error: match registration.link {
                    LinkState::Open(..) => None,
                    _ => links.error(&registration.target).map(str::to_owned),
                },
            };
            let standings = snapshot.registrations.iter().map(standing).collect();
            (snapshot, standings)
        })
    }

    /// Says good-bye to all registrars and ends; bounded, for one of them may not answer.
    pub async fn stop(mut self) {
        self.side.with(|machine, links, now| machine.input(now, Input::Stop, links));
        if tokio::time::timeout(self.stop + STOP_MARGIN, &mut self.task).await.is_err() {
            warn!("no good-bye to the registrars in time: the registration ends with its life");
        }
    }
}

impl Drop for PoolElement {
    fn drop(&mut self) {
        // Without a good-bye: registrars see the connections end, and keep the registration.
        self.task.abort();
        self.side.with(|_, links, _| links.close_all());
    }
}

struct ElementSide {
    element: Element,
    /// Of the service, for the log.
    name: String,
    stopped: bool,
}

impl ElementSide {
    fn input(&mut self, now: Time, input: Input<'_>, links: &mut Links) {
        let mut outputs = self.element.handle(now, input);
        // What cannot be sent closes its connection, which has consequences of its own.
        while !outputs.is_empty() {
            let mut failed = Vec::new();
            for output in outputs {
                match output {
                    Output::Connect(id, target) => links.connect(id, target),
                    Output::Send(id, octets) => {
                        if !links.send(id, octets) {
                            failed.push(id);
                        }
                    }
                    Output::Close(id) => links.close(id),
                    Output::Event(event) => self.event(&event, links),
                    Output::Stopped => self.stopped = true,
                }
            }
            let closed = failed.into_iter().flat_map(|id| self.element.handle(now, Input::Closed(id)));
            outputs = closed.collect();
        }
    }

    fn event(&self, event: &Event, links: &Links) {
        let service = self.name.as_str();
        let name = |target| links.registrars().name(target);
        match event {
            Event::Registered(target) => info!(service, "registered with {}", name(target)),
            Event::Deregistered(target) => info!(service, "deregistered from {}", name(target)),
            Event::Removed(target) => {
                warn!(service, "{} took this element out of its pool; registering again", name(target));
            }
            Event::Lost(target) => {
                let why = links.error(target).unwrap_or("it does not answer");
                warn!(service, "no connection to {} ({why}); trying again", name(target));
            }
            Event::Home(registrar) => info!(service, "registrar {registrar} is the home now"),
            Event::Problem(target, problem) => {
                warn!(service, "{}: {problem}: {}", name(target), problem.advice());
            }
        }
    }
}

impl Machine for ElementSide {
    fn take(&mut self, now: Time, word: Word<'_>, links: &mut Links) {
        let input = match word {
            Word::Connected(id) => Input::Connected(id),
            Word::Message(id, octets) => Input::Message(id, octets),
            Word::Closed(id) => Input::Closed(id),
            Word::Announced(from, transports) => Input::Announced(from, transports),
            Word::Tick => Input::Tick,
        };
        self.input(now, input, links);
    }

    fn next_timeout(&self) -> Option<Time> {
        self.element.next_timeout()
    }

    fn ended(&self) -> bool {
        self.stopped
    }
}
