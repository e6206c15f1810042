//! The `exec` check: a command whose exit status tells.

use super::{CheckError, Deadline};
use crate::program::{self, ProgramError, quoted};

/// Runs `command`. At the deadline, and when the check is dropped, its whole process group is killed.
pub(super) async fn run(command: &[String], deadline: Deadline) -> Result<(), CheckError> {
    program::run(command, &[], deadline.at, deadline.timeout).await.map_err(|error| match error {
        ProgramError::Empty => CheckError::Command {
            command: "(empty command)".to_owned(),
            status: "cannot be run".to_owned(),
            output: String::new(),
        },
        ProgramError::Io { operation, source } => CheckError::Io { operation, source },
        ProgramError::TimedOut { command, limit, output } => CheckError::TimedOut {
            timeout: limit,
            waiting_for: format!("`{command}` to end; it was killed{}", quoted(&output)),
        },
        ProgramError::Failed { command, status, output } => {
            CheckError::Command { command: format!("`{command}`"), status, output }
        }
    })
}
