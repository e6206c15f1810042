//! Runs a program to its end, within a limit of time: an `exec` check, a hook, a notification.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// How much of a program's output is kept.
const OUTPUT_LIMIT: usize = 4096;
/// How much of it is shown.
const DETAIL_LIMIT: usize = 200;

/// Why a program did not succeed. The last line of what it wrote stands in the text.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// There is nothing to run.
    #[error("(empty command) cannot be run")]
    Empty,
    /// It could not be started, or not be waited for.
    #[error("{operation}: {source}")]
    Io {
        /// What was attempted.
        operation: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// It did not end in time.
    #[error("`{command}` did not end within {limit:?} and was killed{}", quoted(.output))]
    TimedOut {
        /// The command line.
        command: String,
        /// How long it was given.
        limit: Duration,
        /// The last line that it wrote, shortened.
        output: String,
    },
    /// It ended, but not with success.
    #[error("`{command}` {status}{}{output}", if .output.is_empty() { "" } else { ": " })]
    Failed {
        /// The command line.
        command: String,
        /// "exited with status 1", "was killed by SIGSEGV".
        status: String,
        /// The last line that it wrote, shortened.
        output: String,
    },
}

/// The last line of an output, as part of a sentence.
pub(crate) fn quoted(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!("; its last line: {output}") }
}

/// Runs `command` with additional variables in its environment, in a process group of its own. At `deadline`, `limit` from
/// its start, and when the future is dropped, the whole group is killed: a shell script's children too. What it leaves in the
/// background when it ends by itself lives on.
///
/// # Errors
/// It could not be run, or its exit status was not 0, or it was not over in time.
pub async fn run(
    command: &[String],
    environment: &[(&str, String)],
    deadline: Instant,
    limit: Duration,
) -> Result<(), ProgramError> {
    let line = command.join(" ");
    let Some((program, arguments)) = command.split_first() else { return Err(ProgramError::Empty) };
    let io = |operation: String| move |source| ProgramError::Io { operation, source };
    let child = Command::new(program)
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // The service manager's socket is the daemon's: a command that writes there would be taken for it.
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(io(format!("run `{line}`")))?;
    let mut group = Group { child };

    let mut stdout = group.child.stdout.take();
    let mut stderr = group.child.stderr.take();
    let mut output = Output::default();
    let ended = async {
        // A grandchild may keep the pipes open for ever: the command is over when its own process is.
        loop {
            let (mut from_stdout, mut from_stderr) = ([0; 512], [0; 512]);
            tokio::select! {
                biased;
                length = read(&mut stdout, &mut from_stdout) => output.take(&mut stdout, &from_stdout, length),
                length = read(&mut stderr, &mut from_stderr) => output.take(&mut stderr, &from_stderr, length),
                status = group.child.wait() => return status,
            }
        }
    };
    let status = match tokio::time::timeout_at(deadline, ended).await {
        Ok(status) => status.map_err(io(format!("wait for `{line}`")))?,
        Err(_elapsed) => {
            return Err(ProgramError::TimedOut { command: line, limit, output: output.last_line() });
        }
    };
    if status.success() {
        return Ok(());
    }
    Err(ProgramError::Failed { command: line, status: describe(status), output: output.last_line() })
}

/// A child that takes its process group with it.
struct Group {
    child: Child,
}

impl Drop for Group {
    fn drop(&mut self) {
        // `id` is there only until the child was waited for: until then its id, and so its group's, cannot be used anew.
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            // The only error is ESRCH: all have ended, which is what was wanted. The child itself is reaped by Tokio.
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

/// Reads from a pipe; never ready once the pipe is at its end, so that the other branches decide.
async fn read(pipe: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> usize {
    match pipe {
        // An error ends the reading as the end does: only the detail is lost.
        Some(pipe) => pipe.read(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

/// The end of what a command wrote.
#[derive(Default)]
struct Output(Vec<u8>);

impl Output {
    fn take<P>(&mut self, pipe: &mut Option<P>, buffer: &[u8], length: usize) {
        if length == 0 {
            *pipe = None;
        }
        self.0.extend_from_slice(&buffer[..length]);
        let excess = self.0.len().saturating_sub(OUTPUT_LIMIT);
        self.0.drain(..excess);
    }

    /// The last line that says something, made fit for a log.
    fn last_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        line.chars().filter(|c| !c.is_control()).take(DETAIL_LIMIT).collect()
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(signal) => format!("was killed by {signal}"),
            Err(_) => format!("was killed by signal {signal}"),
        },
        (None, None) => "ended in an unknown way".to_owned(),
    }
}
