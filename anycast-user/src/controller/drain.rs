//! Who has drained a service: the operator's command, which is kept over restarts, or a file that is there.
//!
//! The core knows one `drained` only. A service is drained as long as either wants it so; what a file wants is not kept, since
//! the file itself is there after a restart, or is not.

use std::path::{Path, PathBuf};

use anycast_core::{Command, ServiceId};
use tracing::{error, info};

use crate::config::Config;
use crate::monitor::{self, file};

use super::Controller;
use super::start::service_id;

/// What wants services drained.
pub(super) struct Drains {
    files: Vec<DrainFile>,
    /// By `ServiceId`: the operator's command.
    commanded: Vec<bool>,
}

struct DrainFile {
    path: PathBuf,
    /// The services that it drains; none = all.
    service: Option<usize>,
    present: bool,
}

impl Drains {
    /// Looks for the files, and takes over what was commanded before a restart.
    pub(super) fn new(config: &Config, commanded: impl Fn(&str) -> bool) -> Self {
        let of_host = config.daemon.drain_file.iter().map(|path| (path, None));
        let of_services = config.services.iter().enumerate();
        let of_services = of_services
            .filter_map(|(number, service)| service.drain_file.as_ref().map(|path| (path, Some(number))));
        let files = of_host.chain(of_services).map(|(path, service)| {
            let present = path.try_exists().unwrap_or_else(|error| {
                // Nobody can have put it there, most likely.
                error!(%error, path = %path.display(), "cannot look for the drain file: taken as absent");
                false
            });
            if present {
                info!(path = %path.display(), "the drain file is there: starting drained");
            }
            DrainFile { path: path.clone(), service, present }
        });
        Self {
            files: files.collect(),
            commanded: config.services.iter().map(|service| commanded(&service.name)).collect(),
        }
    }

    /// The files to watch.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|file| file.path.clone()).collect()
    }

    /// Is it to be drained?
    pub(super) fn wanted(&self, service: usize) -> bool {
        self.commanded[service] || self.file(service).is_some()
    }

    /// A file that is there and drains the service.
    pub(super) fn file(&self, service: usize) -> Option<&Path> {
        let mut present = self.files.iter().filter(|file| file.present);
        present.find(|file| file.service.is_none_or(|of| of == service)).map(|file| file.path.as_path())
    }
}

impl Controller {
    /// Why a command cannot end a drain: a file wants it too. What was commanded before is forgotten all the same.
    pub(super) fn undrain_refused(&mut self, service: ServiceId) -> Option<String> {
        let path = self.drains.file(service.index())?.display().to_string();
        self.note_drain(service, false);
        Some(format!("{path} is there and drains it: remove it"))
    }

    /// The operator has drained or undrained the service.
    pub(super) fn note_drain(&mut self, service: ServiceId, drained: bool) {
        self.drains.commanded[service.index()] = drained;
        self.keep_drained(service);
    }

    /// Remembers over a restart what was commanded.
    pub(super) fn keep_drained(&mut self, service: ServiceId) {
        let name = self.config.services[service.index()].name.clone();
        let drained = self.drains.commanded[service.index()];
        self.persister.change(&name, |state| state.drained = drained);
    }

    /// A drain file came or went.
    pub(super) fn drain_file_reported(&mut self, report: file::Report) {
        let Some(file) = self.drains.files.get_mut(report.file) else { return };
        let present = match report.present {
            Ok(present) => present,
            Err(error) => {
                error!(%error, path = %file.path.display(), "cannot look for the drain file: what was is taken to be");
                return;
            }
        };
        if file.present == present {
            return;
        }
        file.present = present;
        let (path, of) = (file.path.display().to_string(), file.service);
        info!(path, present, "drain file");
        for number in (0..self.services.len()).filter(|number| of.is_none_or(|of| of == *number)) {
            let command = if self.drains.wanted(number) { Command::Drain } else { Command::Undrain };
            let asked = self.machine.command(monitor::now(), service_id(number), command, &mut self.actions);
            if let Err(error) = asked {
                info!(service = self.config.services[number].name, %error, "nothing to do");
            }
        }
    }
}
