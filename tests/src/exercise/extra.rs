//! What the program with extras must go through besides: gates of single routers, and answers left to the controller.

use anycast_common::abi::{DELAYED_BUDGET, Drop, EVENT_INTERVAL_NS};
use anyhow::Result;

use super::random;
use crate::cases::{self, MAC, OTHER_MAC, PLAIN, PLAIN_ADDRESS, PLAIN4, ROUTER, ROUTER_MAC, TAGGED, TWIN};
use crate::frames::Neighbor;
use crate::reference::{RouterGate, Service};
use crate::subject::{Subject, monotonic_ns};

/// Open for as long as anybody will wait.
pub const OPEN: u64 = u64::MAX;

/// Random frames of each seed in [`all`].
const FRAMES: u64 = 5_000;

/// Routers that are ours, another server's, or not named. No two services have the same.
pub const ROUTERS: [RouterGate; 4] =
    [(PLAIN, ROUTER_MAC, OPEN), (TWIN, ROUTER_MAC, 0), (TAGGED, OTHER_MAC, OPEN), (PLAIN4, ROUTER_MAC, 0)];

/// The same the other way about.
pub const OTHERS: [RouterGate; 4] =
    [(PLAIN, ROUTER_MAC, 0), (TWIN, ROUTER_MAC, OPEN), (TAGGED, OTHER_MAC, 1), (PLAIN4, ROUTER_MAC, OPEN)];

/// The services of the cases, whose answers are left to the controller.
pub fn delayed_services() -> Vec<Service> {
    cases::services().into_iter().map(|service| Service { delayed: true, ..service }).collect()
}

/// All of it on two programs with extras, the second with [`delayed_services`]. None: nothing found; else the first fault.
///
/// # Errors
/// If the kernel refuses a run.
pub fn all(subject: &mut Subject, delayed: &mut Subject, seed: u64) -> Result<Option<String>> {
    for routers in [&ROUTERS[..], &OTHERS, &[]] {
        for subject in [&mut *subject, &mut *delayed] {
            subject.set_router_gates(routers)?;
            if let Some(fault) = cases(subject)? {
                return Ok(Some(format!("routers {routers:?}: {fault}")));
            }
            if let Some(fault) = random(subject, seed, FRAMES, |_| ())? {
                return Ok(Some(format!("routers {routers:?}: {fault}")));
            }
        }
    }
    budget(delayed)
}

/// Each case, in which the model knows what extras change.
fn cases(subject: &mut Subject) -> Result<Option<String>> {
    for case in cases::all() {
        subject.set_gates(&case.gates);
        if let Some(difference) = subject.differs(&case.frame)? {
            return Ok(Some(format!("{}\n{difference}", case.name)));
        }
    }
    Ok(None)
}

/// A flood of solicitations left to the controller costs the ring no more than their budget, and no less; what is over it is
/// counted.
///
/// # Errors
/// If the kernel refuses a run.
pub fn budget(delayed: &mut Subject) -> Result<Option<String>> {
    delayed.set_gates(&[cases::OPEN; 6]);
    delayed.set_router_gates(&[])?;
    delayed.lift_limits(PLAIN)?;
    let frame = Neighbor::solicitation(ROUTER_MAC, ROUTER, PLAIN_ADDRESS).frame();
    let (flood, budget) = (20 * u64::from(DELAYED_BUDGET), u64::from(DELAYED_BUDGET));
    let started = monotonic_ns();
    let mut lost = 0;
    for _ in 0..flood {
        let drops = delayed.run_without_reading(&frame)?;
        lost += drops.iter().filter(|drop| drop.0 == Drop::SolicitedRingFull).map(|drop| drop.1).sum::<u64>();
    }
    // The program's clock may be a tick behind, and a window may have begun just before.
    let windows = (monotonic_ns() - started) / EVENT_INTERVAL_NS + 2;
    let sent = flood - lost;
    let fits = (budget..=windows * budget).contains(&sent);
    Ok((!fits)
        .then(|| format!("{sent} of {flood} were left to the controller in {windows} windows of {budget}")))
}

/// The program with extras that the `anycast` binary carries, twice: as [`all`] wants it.
///
/// # Errors
/// As [`Subject::extra`].
pub fn embedded() -> Result<(Subject, Subject)> {
    Ok((Subject::extra(MAC, &cases::services())?, Subject::extra(MAC, &delayed_services())?))
}
