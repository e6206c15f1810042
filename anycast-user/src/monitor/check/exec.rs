//! The `exec` check: a command whose exit status tells.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus, process::Stdio};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};

use super::{CheckError, Deadline};

/// How much of a command's output is kept.
const OUTPUT_LIMIT: usize = 4096;
/// How much of it is shown.
const DETAIL_LIMIT: usize = 200;

/// Runs `command` in a process group of its own. At the deadline, and when the check is dropped, the whole group is
/// killed: a shell script's children too.
pub(super) async fn run(command: &[String], deadline: Deadline) -> Result<(), CheckError> {
    let line = command.join(" ");
    let Some((program, arguments)) = command.split_first() else {
        return Err(CheckError::Command {
            command: "(empty command)".to_owned(),
            status: "cannot be run".to_owned(),
            output: String::new(),
        });
    };
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // The service manager's socket is the daemon's: a command that writes there would be taken for it.
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(CheckError::io(format!("run `{line}`")))?;
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
    let status = match tokio::time::timeout_at(deadline.at, ended).await {
        Ok(status) => status.map_err(CheckError::io(format!("wait for `{line}`")))?,
        Err(_elapsed) => {
            return Err(CheckError::TimedOut {
                timeout: deadline.timeout,
                waiting_for: format!("`{line}` to end; it was killed{}", output.quoted()),
            });
        }
    };
    if status.success() {
        return Ok(());
    }
    Err(CheckError::Command {
        command: format!("`{line}`"),
        status: describe(status),
        output: output.last_line(),
    })
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

    fn quoted(&self) -> String {
        let line = self.last_line();
        if line.is_empty() { line } else { format!("; its last line: {line}") }
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
