//! A registrar killed and restarted: what was acknowledged must be there.

use std::collections::BTreeSet;

use anycast_pool::wire::Message;
use anyhow::Result;
use serde::Serialize;

use crate::lab::Registrar;
use crate::lab::registrar::registration;

/// Registrations on their way when it dies, and how many of them are acknowledged before.
const SENT: u32 = 50;
const AWAITED: usize = 10;

/// What was lost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Restarts {
    runs: usize,
    /// Registrations that were acknowledged, in all.
    acknowledged: usize,
    /// Those of them that were not there after a restart.
    lost: usize,
}

/// Kills and restarts a registrar `runs` times, each time in the middle of registrations.
pub fn measure(runs: usize) -> Result<Restarts> {
    let mut registrar = Registrar::start(None, "")?;
    let (mut acknowledged, mut lost) = (BTreeSet::new(), BTreeSet::new());
    for run in 0..runs as u32 {
        let mut element = registrar.connect()?;
        let mut all = Vec::new();
        for id in run * SENT..(run + 1) * SENT {
            registration("dns", id).emit(&mut all)?;
        }
        element.send_octets(&all)?;
        for _ in 0..AWAITED {
            if let Some(Message::RegistrationResponse { id, rejected: false, .. }) = element.receive()? {
                acknowledged.insert(format!("{id}"));
            }
        }
        registrar.kill()?;
        while let Ok(Some(Message::RegistrationResponse { id, rejected: false, .. })) = element.receive() {
            acknowledged.insert(format!("{id}"));
        }
        registrar.restart()?;
        let there: BTreeSet<_> =
            registrar.status(Some("dns"))?.elements.into_iter().map(|element| element.id).collect();
        lost.extend(acknowledged.difference(&there).cloned());
    }
    Ok(Restarts { runs, acknowledged: acknowledged.len(), lost: lost.len() })
}
