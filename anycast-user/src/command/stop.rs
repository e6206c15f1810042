//! `anycast stop`: asks the daemon to end, and waits until it has.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anycast_user::control::{Answer, Command, client};
use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::cli::Global;
use crate::output;

/// The longest `daemon.grace` there is, and time to undo everything.
const PATIENCE: Duration = Duration::from_secs(630);

/// Stops the daemon.
pub fn stop(global: &Global, keep: bool) -> anyhow::Result<ExitCode> {
    let socket = global.socket_path();
    // Before it is asked: afterwards it may be gone. Without it (no daemon) the request below says what is wrong.
    let process = daemon(&socket).ok();
    match client::request(&socket, &Command::Stop { keep }) {
        Ok(Answer::Done(said)) => output::print(&format!("{said}\n"))?,
        Ok(_) => anyhow::bail!("the daemon answered with its status"),
        // It ended before its answer was out.
        Err(client::Error::Talk { source, .. }) if gone(&source) && process.is_some() => {}
        Err(error) => return Err(error.into()),
    }
    let Some(process) = process else { return Ok(ExitCode::SUCCESS) };
    let mut ended = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    if poll(&mut ended, patience).context("cannot wait for the daemon's end")? == 0 {
        anyhow::bail!("the daemon has not ended after {} s; look at its log", PATIENCE.as_secs());
    }
    Ok(ExitCode::SUCCESS)
}

fn gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

/// The process that listens on a socket, as a descriptor that becomes readable at its end.
fn daemon(socket: &Path) -> io::Result<OwnedFd> {
    let stream = UnixStream::connect(socket)?;
    let pid = getsockopt(&stream, PeerCredentials)?.pid();
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has it.
    let process = unsafe { OwnedFd::from_raw_fd(fd) };
    debug_assert_eq!(process.as_raw_fd(), fd);
    Ok(process)
}
