//! A descriptor of a process.

use std::{
    io,
    os::fd::{AsFd, FromRawFd, OwnedFd, RawFd},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::{Interest, unix::AsyncFd};

/// A process, held by a pidfd (pidfd_open(2)): it stays this process when its id is used anew.
#[derive(Debug)]
pub(super) struct Pidfd {
    pid: i32,
    fd: AsyncFd<OwnedFd>,
}

impl Pidfd {
    /// Opens the process that has the id now. `ESRCH` if there is none; a zombie still can be opened.
    pub(super) fn open(pid: i32) -> io::Result<Self> {
        const NO_FLAGS: u32 = 0;
        // SAFETY: pidfd_open takes two integers and touches no memory of ours.
        let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, NO_FLAGS) };
        let fd = match RawFd::try_from(result) {
            Ok(fd) if fd >= 0 => fd,
            _ => return Err(io::Error::last_os_error()),
        };
        // SAFETY: the call succeeded, so `fd` is a new descriptor (close-on-exec) that nothing else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: an `OwnedFd` answers with the descriptor it owns, open, until it is dropped with the `AsyncFd`.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        Ok(Self { pid, fd })
    }

    /// The process's id.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it has ended (a zombie has).
    pub(super) fn has_exited(&self) -> bool {
        let mut fds = [PollFd::new(self.fd.get_ref().as_fd(), PollFlags::POLLIN)];
        // An error here is EINTR at most: then the readiness event tells, as it does anyway.
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Waits until it has ended.
    pub(super) async fn exited(&self) {
        loop {
            match self.fd.readable().await {
                Ok(_) if self.has_exited() => return,
                Ok(mut spurious) => spurious.clear_ready(),
                // Only when the runtime shuts down, and this task with it.
                Err(_shutdown) => std::future::pending().await,
            }
        }
    }
}
