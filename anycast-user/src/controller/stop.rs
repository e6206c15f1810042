//! The way out. Ownership has been handed over and the tail served when this begins; the address goes last, so that nothing
//! that still arrives is refused by a host that no longer knows its address.

use tracing::{error, info};

use crate::routing::Ending;

use super::{Controller, Error, LAST_HOOKS};

impl Controller {
    /// Takes everything down, or leaves it for the next daemon. Goes on after an error; returns the first.
    pub(super) async fn stop(mut self, keep: bool) -> Result<(), Error> {
        std::mem::take(&mut self.elements).stop(keep).await;
        if let Some(routing) = self.routing.take() {
            routing.finish(if keep { Ending::Keep } else { Ending::Withdraw }).await;
        }
        self.persister.finish().await;
        if keep {
            for datapath in self.links.iter_mut().filter_map(|link| link.datapath.take()) {
                datapath.keep();
            }
            self.hooks.finish(LAST_HOOKS.min(self.config.daemon.restart_lease / 4)).await;
            info!(lease = ?self.config.daemon.restart_lease, "stopped; the fast path answers until its lease ends");
            return Ok(());
        }
        let mut first = None;
        let mut note = |error: Error| {
            error!(%error, "not undone");
            first.get_or_insert(error);
        };
        for datapath in self.links.iter_mut().filter_map(|link| link.datapath.take()) {
            if let Err(error) = datapath.detach() {
                note(error.into());
            }
        }
        self.groups.clear();
        let state = self.persister.state();
        let mut state = state.lock().await;
        if let Err(error) = self.addresses.remove_all_but(&mut state, &[]).await {
            note(error.into());
        }
        if let Err(error) = self.sysctls.restore_all(&mut state) {
            note(error.into());
        }
        self.hooks.finish(LAST_HOOKS).await;
        info!("stopped");
        first.map_or(Ok(()), Err)
    }
}
