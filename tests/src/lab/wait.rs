//! Waiting for a condition with a deadline; nothing in the lab sleeps for a fixed time and hopes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(5);

/// Set by the first SIGINT or SIGTERM after [`end_waits_on_signals`].
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Looks until `condition` yields a value.
///
/// # Errors
/// `what` did not happen within `timeout`, or the process was told to end.
pub fn wait_for<T>(what: &str, timeout: Duration, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if interrupted() {
            bail!("interrupted while waiting: {what}");
        }
        if Instant::now() >= deadline {
            bail!("waited {timeout:?} in vain: {what}");
        }
        std::thread::sleep(POLL);
    }
}

/// Looks until `condition` holds.
///
/// # Errors
/// `what` did not happen within `timeout`, or the process was told to end.
pub fn wait_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    wait_for(what, timeout, || condition().then_some(()))
}

/// Runs a future on a runtime of its own.
///
/// # Errors
/// It is not ready within `timeout`.
pub fn run_within<T>(timeout: Duration, future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { tokio::time::timeout(timeout, future).await }).context("it hangs")
}

/// As [`wait_until`], among other tasks of a runtime.
///
/// # Errors
/// `what` did not happen within `timeout`.
pub async fn becomes(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + timeout;
    while !condition() {
        if Instant::now() >= deadline {
            bail!("waited {timeout:?} in vain: {what}");
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// From now on SIGINT and SIGTERM end every wait instead of the process, so that what was built is taken down.
///
/// # Errors
/// The handlers cannot be set.
pub fn end_waits_on_signals() -> Result<()> {
    let action = SigAction::new(SigHandler::Handler(interrupt), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler stores to one atomic, which is async-signal-safe.
        unsafe { sigaction(signal, &action) }.with_context(|| format!("handle {signal}"))?;
    }
    Ok(())
}

/// Whether the process was told to end.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

extern "C" fn interrupt(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}
