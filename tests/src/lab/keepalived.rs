//! keepalived, VRRP's usual implementation, as a process of the lab: what servers without a load balancer use today.

use std::fs;
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use super::child::{Child, lab_binary};
use super::daemon::PATIENCE;
use super::farm::{SERVER, Server};

/// What a VRRP router does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VrrpState {
    /// Has the address.
    Master,
    /// Could take it.
    Backup,
    /// Could not: a tracked process, script or interface is down.
    Fault,
}

/// How keepalived is configured.
#[derive(Clone, Copy, Debug)]
pub struct KeepalivedOptions {
    /// The address it moves.
    pub address: IpAddr,
    /// Distance of the master's advertisements; whole hundredths of a second (RFC 5798 5.2.7).
    pub interval: Duration,
    /// 1 to 254; the highest becomes master.
    pub priority: u8,
}

/// A running keepalived in a server's network namespace; killed when dropped.
#[derive(Debug)]
pub struct Keepalived {
    child: Child,
}

impl Keepalived {
    /// Starts one, which watches the server's NSD by its process and by asking it. It is not waited for.
    ///
    /// # Errors
    /// keepalived is not installed, or its configuration cannot be written.
    pub fn start(server: &Server, options: &KeepalivedOptions) -> Result<Self> {
        let file = server.directory.join("keepalived.conf");
        fs::write(&file, configuration(server, options)?)
            .with_context(|| format!("write {}", file.display()))?;
        // The states in it shall be those of this process.
        let log = server.directory.join("keepalived.log");
        fs::write(&log, "").with_context(|| format!("write {}", log.display()))?;
        // A killed one leaves its pid files, and a process id that nobody has waited for yet looks like a running keepalived.
        let pid_files = ["keepalived.pid", "keepalived-vrrp.pid"].map(|name| server.directory.join(name));
        for file in &pid_files {
            match fs::remove_file(file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("remove {}", file.display()));
                }
                _ => {}
            }
        }
        // It enters the network namespace itself, after it has asked the kernel for the events of processes, which are told in the
        // initial namespace alone.
        let mut command = Command::new("keepalived");
        command.args(["--vrrp", "--dont-fork", "--log-console", "--no-syslog", "--use-file"]).arg(&file);
        command.arg("--pid").arg(&pid_files[0]).arg("--vrrp_pid").arg(&pid_files[1]);
        command.stdin(Stdio::null()).process_group(0);
        // SAFETY: one system call on integers, async-signal-safe.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let child = Child::spawn(&format!("keepalived of {}", server.name), command, &log)?;
        Ok(Self { child })
    }

    /// The state that it logged last; none before the first.
    pub fn state(&self) -> Option<VrrpState> {
        state_of(&self.child.log())
    }

    /// What it printed.
    pub fn log(&self) -> String {
        self.child.log()
    }

    /// SIGKILL to all its processes at once: the address stays where it is.
    ///
    /// # Errors
    /// They have ended already.
    pub fn kill(&mut self) -> Result<()> {
        self.child.signal_group(Signal::SIGKILL)?;
        self.child.kill()
    }

    /// SIGTERM: it gives the address up.
    ///
    /// # Errors
    /// It has ended already.
    pub fn ask_to_stop(&self) -> Result<()> {
        self.child.signal(Signal::SIGTERM)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// It still runs after [`PATIENCE`].
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait(PATIENCE)
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        // An error means that all of them are gone.
        let _ = self.child.signal_group(Signal::SIGKILL);
    }
}

fn configuration(server: &Server, options: &KeepalivedOptions) -> Result<String> {
    let KeepalivedOptions { address, interval, priority } = options;
    let prefix = if address.is_ipv6() { 128 } else { 32 };
    let (name, directory) = (server.namespace.name(), server.directory.display());
    // `weight 0`: without the process or the answer the router is at fault, rather than a worse choice. The least interval of a
    // script is a second. A link-local address must come first (keepalived.conf(5)).
    Ok(format!(
        "net_namespace {name}\n\
         global_defs {{\n  router_id {server}\n  vrrp_version 3\n  script_user root\n}}\n\
         vrrp_track_process nsd {{\n  process nsd -d -c {directory}/nsd.conf\n  quorum 1\n  weight 0\n}}\n\
         vrrp_script answers {{\n  script \"{lab} dns-ask [::1]:53\"\n  interval 1\n  timeout 1\n  rise 2\n  fall 3\n}}\n\
         vrrp_instance dns {{\n  state BACKUP\n  nopreempt\n  interface {SERVER}\n  virtual_router_id 53\n  priority {priority}\n  \
           advert_int {interval}\n  virtual_ipaddress {{\n    fe80::53\n    {address}/{prefix}\n  }}\n  \
           track_process {{\n    nsd\n  }}\n  track_script {{\n    answers\n  }}\n}}\n",
        server = server.name,
        lab = lab_binary()?.display(),
        interval = interval.as_secs_f64(),
    ))
}

fn state_of(log: &str) -> Option<VrrpState> {
    log.lines().rev().find_map(|line| {
        let word = line.split_once("Entering ")?.1.split(' ').next()?;
        match word {
            "MASTER" => Some(VrrpState::Master),
            "BACKUP" => Some(VrrpState::Backup),
            "FAULT" => Some(VrrpState::Fault),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_state_counts() {
        let log = "Thu Nov 26 01:00:00 2026: (dns) Entering BACKUP STATE (init)\n\
                   Thu Nov 26 01:00:01 2026: (dns) Entering MASTER STATE\n\
                   Thu Nov 26 01:00:01 2026: something else\n";
        assert_eq!(state_of(log), Some(VrrpState::Master));
        assert_eq!(state_of(&format!("{log}(dns) Entering FAULT STATE\n")), Some(VrrpState::Fault));
        assert_eq!(state_of("Starting VRRP child process\n"), None);
    }
}
