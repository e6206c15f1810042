//! Running a program with its output on the terminal and read at the same time.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::process;

/// How often the program is looked at while it prints nothing.
const POLL: Duration = Duration::from_millis(50);

/// How long output is waited for after the program has ended: a process that it left behind may hold the pipe.
const DRAIN: Duration = Duration::from_secs(1);

/// How a program ended.
#[derive(Debug)]
pub enum Ended {
    /// By itself.
    Exited(ExitStatus),
    /// By us, after this time.
    TimedOut(Duration),
}

/// Runs `command`, passing each line of its standard output to the terminal and to `on_line`; ends it after `limit`.
pub fn lines(command: &mut Command, limit: Duration, mut on_line: impl FnMut(&str)) -> Result<Ended> {
    quiet_lines(command, limit, |line| {
        // A closed terminal must not end the tests half-way.
        let _ = writeln!(std::io::stdout(), "{line}");
        on_line(line);
    })
}

/// Runs `command`, passing each line of its standard output to `on_line` alone; ends it after `limit`.
pub fn quiet_lines(command: &mut Command, limit: Duration, mut on_line: impl FnMut(&str)) -> Result<Ended> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start `{}`", process::line(command)))?;
    let output = child.stdout.take().context("the program has no standard output")?;
    let (sender, receiver) = mpsc::channel();
    // The thread ends with the pipe; if a process that was left behind holds it, it ends with this program.
    std::thread::spawn(move || {
        let mut reader = BufReader::new(output);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            if sender.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });

    let deadline = Instant::now() + limit;
    let mut ended = None;
    let mut drained = deadline + DRAIN;
    loop {
        match receiver.recv_timeout(POLL) {
            Ok(line) => on_line(&line),
            Err(RecvTimeoutError::Disconnected) if ended.is_some() => break,
            // Standard output was closed by a program that goes on.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(POLL),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if ended.is_none() {
            ended = end(&mut child, deadline, limit)?;
            if ended.is_some() {
                drained = Instant::now() + DRAIN;
            }
        } else if Instant::now() >= drained {
            break;
        }
    }
    ended.context("the program's end was not seen")
}

/// How the program ended, if it has; it is killed when it is past the deadline.
fn end(child: &mut Child, deadline: Instant, limit: Duration) -> Result<Option<Ended>> {
    if let Some(status) = child.try_wait().context("wait for the program")? {
        return Ok(Some(Ended::Exited(status)));
    }
    if Instant::now() < deadline {
        return Ok(None);
    }
    child.kill().context("end the program")?;
    child.wait().context("wait for the program")?;
    Ok(Some(Ended::TimedOut(limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> (Ended, Vec<String>) {
        let mut seen = Vec::new();
        let ended =
            lines(process::command("sh").args(["-c", script]), limit, |line| seen.push(line.to_owned()));
        (ended.unwrap(), seen)
    }

    #[test]
    fn every_line_is_seen_and_the_exit_code() {
        let (ended, seen) = shell("echo one; printf two; exit 3", Duration::from_secs(60));
        assert_eq!(seen, ["one", "two"]);
        assert!(matches!(ended, Ended::Exited(status) if status.code() == Some(3)));
    }

    #[test]
    fn a_program_past_its_limit_is_ended() {
        let (ended, seen) = shell("echo one; exec sleep 60", Duration::from_millis(200));
        assert_eq!(seen, ["one"]);
        assert!(matches!(ended, Ended::TimedOut(_)));
    }

    #[test]
    fn a_process_left_behind_with_the_pipe_does_not_hold_the_run_up() {
        let start = Instant::now();
        let (ended, seen) = shell("sleep 30 & echo $!", Duration::from_secs(60));
        assert!(matches!(ended, Ended::Exited(status) if status.success()));
        assert!(start.elapsed() < Duration::from_secs(30), "it waited for the process that was left behind");
        process::run(process::command("kill").arg(&seen[0])).unwrap();
    }
}
