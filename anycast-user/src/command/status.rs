//! `anycast status`.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anycast_user::control::{Answer, Command, client};
use anycast_user::telemetry::{status::Status, table};

use crate::cli::Global;
use crate::output;

/// How often `--watch` shows it again.
const INTERVAL: Duration = Duration::from_secs(1);

/// Asks the daemon for its status and prints it.
pub fn status(global: &Global, json: bool, watch: bool) -> anyhow::Result<ExitCode> {
    let socket = global.socket_path();
    let ask = || -> anyhow::Result<Box<Status>> {
        match client::request(&socket, &Command::Status)? {
            Answer::Status(status) => Ok(status),
            other => anyhow::bail!("the daemon answered {other:?} instead of its status"),
        }
    };
    if !watch {
        let status = ask()?;
        if json {
            output::print_json(&status)?;
        } else {
            output::print(&table::render(&status))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    // On a terminal each picture takes the place of the one before.
    let clear = if std::io::stdout().is_terminal() && !json { "\x1b[H\x1b[2J" } else { "" };
    loop {
        let text = match ask() {
            // One object a line: what reads it can tell where one ends.
            Ok(status) if json => serde_json::to_string(&status)? + "\n",
            Ok(status) => format!("{clear}{}\n", table::render(&status)),
            // It may be on its way up again; the first time it must be there.
            Err(error) if !json && !clear.is_empty() => format!("{clear}{}\n", output::chain(&error)),
            Err(error) => return Err(error),
        };
        output::print(&text)?;
        std::thread::sleep(INTERVAL);
    }
}
