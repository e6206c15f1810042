//! NSD, a real DNS server, as a process of the lab.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use super::child::Child;
use super::namespace::Namespace;
use super::responder::HEALTH_NAME;
use super::wait::wait_until;

/// A running NSD, serving the zone that the daemon's check asks for and the names that the lab's client asks for; killed when dropped.
#[derive(Debug)]
pub struct Nsd {
    child: Child,
    pid_file: PathBuf,
}

impl Nsd {
    /// Starts it in `namespace` on port 53 of `addresses`, with all its files in `directory` and its process id in `pid_file`, and
    /// waits until it runs. `identity` is what it tells who asks for a TXT record. `core`: the core it is to stay on.
    ///
    /// # Errors
    /// NSD is not installed, or does not start; with what it logged.
    pub fn start(
        namespace: &Namespace,
        identity: &str,
        directory: &Path,
        pid_file: &Path,
        addresses: &[IpAddr],
        core: Option<usize>,
    ) -> Result<Self> {
        let file = Self::configure(identity, directory, pid_file, addresses)?;
        let mut command: Command = match core {
            Some(core) => {
                let mut command = namespace.command("taskset");
                command.args(["-c", &core.to_string(), "nsd"]);
                command
            }
            None => namespace.command("nsd"),
        };
        command.arg("-d").arg("-c").arg(&file);
        let mut child = Child::spawn("nsd", command, &directory.join("nsd.log"))?;
        wait_until("NSD runs", Duration::from_secs(10), || {
            pid_file.exists() || child.ended().is_ok_and(|ended| ended.is_some())
        })?;
        if child.ended()?.is_some() {
            bail!("NSD has ended: {}", child.log());
        }
        Ok(Self { child, pid_file: pid_file.to_owned() })
    }

    /// Writes its configuration and zones into `directory`, as [`Nsd::start`] does, for who starts it himself; returns the
    /// configuration's path.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn configure(
        identity: &str,
        directory: &Path,
        pid_file: &Path,
        addresses: &[IpAddr],
    ) -> Result<PathBuf> {
        let path = directory.display();
        let listen: String = addresses.iter().map(|address| format!("  ip-address: {address}\n")).collect();
        // By address and not by wildcard: only so does NSD answer from the address that was asked, and `ip-freebind` lets it listen on
        // a service address that is not there yet.
        // Everything that has a default in /etc or /var is given, so that nothing of the host's own NSD is touched; the buffers are
        // for the bench, which asks in bursts.
        let config = format!(
            "server:\n{listen}  ip-freebind: yes\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{path}\"\n  database: \"\"\n  \
             pidfile: \"{}\"\n  xfrdfile: \"{path}/xfrd\"\n  zonelistfile: \"{path}/zones\"\n  xfrdir: \"{path}\"\n  \
             server-count: 1\n  receive-buffer-size: 8388608\n  send-buffer-size: 8388608\n  rrl-ratelimit: 0\n\
             remote-control:\n  control-enable: no\n\
             zone:\n  name: example.\n  zonefile: example.zone\n\
             zone:\n  name: {HEALTH_NAME}\n  zonefile: health.zone\n",
            pid_file.display()
        );
        let file = directory.join("nsd.conf");
        fs::write(&file, config).with_context(|| format!("write {}", file.display()))?;
        let apex = "$TTL 60\n@ SOA ns.example. hostmaster.example. 1 3600 900 604800 60\n@ NS ns.example.\n";
        // The lab's client asks names below `whoami`.
        let whoami = format!("ns AAAA 2001:db8::1\n*.whoami TXT \"{identity}\"\n");
        for (zone, text) in [("example.zone", format!("{apex}{whoami}")), ("health.zone", apex.to_owned())] {
            fs::write(directory.join(zone), text).with_context(|| format!("write NSD's {zone}"))?;
        }
        Ok(file)
    }

    /// Sends a signal to all its processes at once.
    ///
    /// # Errors
    /// They have ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.child.signal_group(signal)
    }

    /// Kills all its processes with SIGKILL at once, and waits for the end of the main one.
    ///
    /// # Errors
    /// They have ended already.
    pub fn kill_all(&mut self) -> Result<()> {
        self.child.signal_group(Signal::SIGKILL)?;
        self.child.kill()
    }

    /// Kills its main process with SIGKILL.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()
    }
}

impl Drop for Nsd {
    fn drop(&mut self) {
        // Its children outlive a killed parent by a moment, and hold the port. An error means that all are gone.
        let _ = self.child.signal_group(Signal::SIGKILL);
        // Killed, it leaves the file behind.
        let _ = fs::remove_file(&self.pid_file);
    }
}
