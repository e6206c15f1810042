//! A task that ends with its guard.

use std::future::Future;

use tokio::task::{AbortHandle, JoinHandle};

/// Keeps a task of the monitor running; dropping it ends the task at its next suspension, and with it the task's
/// sockets, descriptors and child processes.
#[derive(Debug)]
#[must_use = "dropping the guard ends the task"]
pub struct TaskGuard(AbortHandle);

impl TaskGuard {
    /// Starts `task` on the current runtime.
    pub(super) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        let handle: JoinHandle<()> = tokio::spawn(task);
        Self(handle.abort_handle())
    }

    /// Whether the task has ended, by itself or through an abort.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.abort();
    }
}
