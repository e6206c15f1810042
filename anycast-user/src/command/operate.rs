//! The commands that ask the daemon to do something and print what it says: hold, drain, undrain, standby, takeover,
//! announce.

use std::process::ExitCode;

use anycast_user::control::{self, Answer, client};

use crate::cli::{Command, Global};
use crate::output;

/// Puts the operator's command to the daemon.
pub fn operate(global: &Global, command: Command) -> anyhow::Result<ExitCode> {
    let command = match command {
        Command::Hold { service, hold } => control::Command::Hold { service, hold },
        Command::Drain(which) => control::Command::Drain { service: which.service },
        Command::Undrain(which) => control::Command::Undrain { service: which.service },
        Command::Standby { service } => control::Command::Standby { service },
        Command::Takeover { service } => control::Command::Takeover { service },
        Command::Announce(which) => control::Command::Announce { service: which.service },
        other => anyhow::bail!("{other:?} is not for the daemon"),
    };
    match client::request(&global.socket_path(), &command)? {
        Answer::Done(said) => output::print(&format!("{said}\n"))?,
        _ => anyhow::bail!("the daemon answered with its status"),
    }
    Ok(ExitCode::SUCCESS)
}
