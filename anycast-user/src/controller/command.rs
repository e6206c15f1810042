//! The operator's commands.

use anycast_core::{Command as CoreCommand, Event, ServiceId};
use tracing::info;

use crate::control::{Answer, Command, Request};
use crate::monitor;

use super::Controller;
use super::start::service_id;

impl Controller {
    /// A command came through the control socket.
    pub(super) fn requested(&mut self, request: Request) {
        match request.command {
            Command::Ospf => return self.show_routing(request.reply),
            Command::Status => return self.show_status(request.reply),
            _ => {}
        }
        let answer = self.obey(request.command);
        // The client may have gone; what it asked is done all the same.
        let _ = request.reply.send(answer);
    }

    fn obey(&mut self, command: Command) -> Result<Answer, String> {
        if !command.only_looks() {
            info!(?command, "asked by the operator");
        }
        match command {
            // Answered by somebody else.
            Command::Ospf | Command::Status => Err("not answered here".to_owned()),
            Command::Registrar { .. } => {
                Err("this is `anycast run`, no registrar: name the registrar's socket with --socket"
                    .to_owned())
            }
            Command::Hold { service, hold } => {
                let number = self.config.service(&service)?;
                let index = self.services[number].index;
                let link = &mut self.links[self.config.services[number].interface];
                let Some(datapath) = &mut link.datapath else {
                    return Err(format!("the fast path is not attached: interface {} is away", link.name));
                };
                datapath.set_hold(index, hold.to_abi());
                self.read_service(number, monitor::now());
                Ok(done(format!("{}: hold {}", self.config.services[number].name, hold.name())))
            }
            Command::Stop { keep } => {
                self.handle(Event::Stop { keep });
                let lease = self.config.daemon.restart_lease;
                Ok(done(if keep {
                    format!("stopping; open gates answer for another {lease:?}")
                } else {
                    "stopping: handing over, then serving what still arrives".to_owned()
                }))
            }
            Command::Drain { service } => self.each(service, CoreCommand::Drain, "drained"),
            Command::Undrain { service } => self.each(service, CoreCommand::Undrain, "undrained"),
            Command::Standby { service } => self.each(Some(service), CoreCommand::Standby, "standing by"),
            Command::Takeover { service } => self.each(Some(service), CoreCommand::TakeOver, "taking over"),
            Command::Announce { service: None } => {
                let owned: Vec<_> = (0..self.services.len())
                    .map(service_id)
                    .filter(|service| self.services[service.index()].state == anycast_core::State::Owner)
                    .collect();
                if owned.is_empty() {
                    return Err("this server owns no service address now; nothing is announced".to_owned());
                }
                self.command(&owned, CoreCommand::Announce, "announced")
            }
            Command::Announce { service } => self.each(service, CoreCommand::Announce, "announced"),
        }
    }

    /// A command for one service, or for all.
    fn each(&mut self, service: Option<String>, command: CoreCommand, done: &str) -> Result<Answer, String> {
        let services = match service {
            Some(service) => vec![service_id(self.config.service(&service)?)],
            None => (0..self.services.len()).map(service_id).collect(),
        };
        self.command(&services, command, done)
    }

    fn command(
        &mut self,
        services: &[ServiceId],
        command: CoreCommand,
        word: &str,
    ) -> Result<Answer, String> {
        let mut names = Vec::new();
        let mut refused = Vec::new();
        for service in services {
            let name = self.name(*service).to_owned();
            if command == CoreCommand::Undrain
                && let Some(why) = self.undrain_refused(*service)
            {
                refused.push(format!("{name}: {why}"));
                continue;
            }
            let result = self.machine.command(monitor::now(), *service, command, &mut self.actions);
            match result {
                Ok(()) => {
                    if matches!(command, CoreCommand::Drain | CoreCommand::Undrain) {
                        self.note_drain(*service, command == CoreCommand::Drain);
                    }
                    names.push(name);
                }
                Err(error) => refused.push(format!("{name}: {error}")),
            }
        }
        if refused.is_empty() {
            Ok(done(format!("{}: {word}", names.join(", "))))
        } else {
            Err(refused.join("; "))
        }
    }
}

const fn done(text: String) -> Answer {
    Answer::Done(text)
}
