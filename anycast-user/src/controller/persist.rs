//! What must survive a restart, written by a thread of its own: a disk may take longer than a lease.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tracing::{error, warn};

use crate::host::state::{ServiceState, StateDir};

/// The state directory and the writes on their way to it. Later values of a service replace earlier ones that wait.
pub(super) struct Persister {
    state: Arc<Mutex<StateDir>>,
    /// What the disk should hold, by service name.
    wanted: BTreeMap<String, ServiceState>,
    /// Is `wanted` newer than what the job under way writes?
    dirty: bool,
    job: Option<JoinHandle<bool>>,
    /// Has the last write failed? Shown as an alarm until one succeeds.
    failing: bool,
}

impl Persister {
    pub(super) fn new(state: StateDir) -> Self {
        let wanted = state.state().services.clone();
        Self { state: Arc::new(Mutex::new(state)), wanted, dirty: false, job: None, failing: false }
    }

    /// The directory itself, for what waits anyway.
    pub(super) fn state(&self) -> Arc<Mutex<StateDir>> {
        Arc::clone(&self.state)
    }

    /// Changes what is remembered of a service; [`Persister::advance`] brings it to the disk.
    pub(super) fn change(&mut self, service: &str, change: impl FnOnce(&mut ServiceState)) {
        let entry = self.wanted.entry(service.to_owned()).or_default();
        let before = entry.clone();
        change(entry);
        self.dirty |= *entry != before;
    }

    /// Could the last change not be written?
    pub(super) const fn failing(&self) -> bool {
        self.failing
    }

    /// Starts the next write if one is due and none is under way. Never waits. A write that failed is tried again by the
    /// next call, which the loop makes ten times a second at the most.
    pub(super) async fn advance(&mut self) {
        if let Some(job) = self.job.take_if(|job| job.is_finished()) {
            let written = job.await.unwrap_or(false);
            if written && self.failing {
                warn!("state can be written again");
            }
            self.failing = !written;
            self.dirty |= !written;
        }
        if self.job.is_none() && self.dirty {
            self.dirty = false;
            let (state, wanted, quiet) = (self.state(), self.wanted.clone(), self.failing);
            self.job = Some(tokio::task::spawn_blocking(move || write(&state, wanted, quiet)));
        }
    }

    /// Waits until the disk has everything, or has refused it.
    pub(super) async fn finish(&mut self) {
        if let Some(job) = self.job.take() {
            self.dirty |= !job.await.unwrap_or(false);
        }
        if self.dirty {
            let (state, wanted) = (self.state(), self.wanted.clone());
            let _ = tokio::task::spawn_blocking(move || write(&state, wanted, false)).await;
        }
    }
}

fn write(state: &Mutex<StateDir>, wanted: BTreeMap<String, ServiceState>, quiet: bool) -> bool {
    match state.blocking_lock().update(|state| state.services = wanted) {
        Ok(()) => true,
        Err(error) => {
            if !quiet {
                error!(%error, "state not saved; trying again until it is");
            }
            false
        }
    }
}
