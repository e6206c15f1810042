//! The machine of one server: events in, actions out, a deadline.

use crate::config::{Config, ConfigError};
use crate::status::Status;
use crate::{Action, Command, CommandError, Event, ServiceId, Time};

/// The decisions of one server. Deterministic: the same configuration, seed and events give the same actions.
#[derive(Debug)]
pub struct Machine {
    config: Config,
    stopping: bool,
}

impl Machine {
    /// A machine that knows nothing yet: no service is able until events say so. The first call of [`handle`](Self::handle)
    /// shuts every gate that is not adopted.
    pub fn new(config: Config, _seed: u64, _now: Time) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self { config, stopping: false })
    }

    /// Takes an event and appends what is to be done. Total: any event in any state. Time must not run backwards; if it
    /// does, it is taken to stand still.
    pub fn handle(&mut self, _now: Time, event: Event, _actions: &mut Vec<Action>) {
        self.stopping |= matches!(event, Event::Stop { .. });
    }

    /// Obeys the operator, or says why not.
    pub fn command(
        &mut self,
        _now: Time,
        service: ServiceId,
        _command: Command,
        _actions: &mut Vec<Action>,
    ) -> Result<(), CommandError> {
        if service.index() >= self.config.services.len() {
            return Err(CommandError::NoSuchService(service));
        }
        Ok(())
    }

    /// When [`Event::Tick`] is wanted at the latest; `None` = only other events can change anything.
    pub fn deadline(&self) -> Option<Time> {
        None
    }

    /// A picture of everything.
    pub fn status(&self, _now: Time) -> Status {
        Status {
            server: self.config.server,
            services: Vec::new(),
            links: Vec::new(),
            deadline: self.deadline(),
            stopping: self.stopping,
        }
    }
}
