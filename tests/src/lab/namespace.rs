//! A network namespace and what runs in it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::sweep::{NETNS_DIRECTORY, unique_name};
use super::wait::wait_until;

/// A network namespace of this process, with `lo` up and without duplicate address detection; deleted on drop.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Makes one.
    ///
    /// # Errors
    /// `ip netns add` failed, most likely for want of root.
    pub fn new() -> Result<Self> {
        let name = unique_name();
        // `ip` first makes its directory a shared mount; two that do so at once can fail, and the second try then works.
        wait_until(&format!("ip netns add {name}"), Duration::from_secs(5), || {
            Command::new("ip")
                .args(["netns", "add", &name])
                .output()
                .is_ok_and(|output| output.status.success())
        })?;
        let path = Path::new(NETNS_DIRECTORY).join(&name);
        let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        let namespace = Self { name, file };
        for scope in ["default", "all"] {
            // Addresses are usable at once, and nothing but what a test sends is on the wire.
            namespace.sysctl(&format!("net/ipv6/conf/{scope}/accept_dad"), "0")?;
            namespace.sysctl(&format!("net/ipv6/conf/{scope}/dad_transmits"), "0")?;
            namespace.sysctl(&format!("net/ipv6/conf/{scope}/accept_ra"), "0")?;
            namespace.sysctl(&format!("net/ipv6/conf/{scope}/router_solicitations"), "0")?;
        }
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// The name under which `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` on a thread of its own inside the namespace. Sockets that it makes stay there for good.
    ///
    /// # Panics
    /// As `work` does.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                if let Err(error) = setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET) {
                    panic!("enter namespace {}: {error}", self.name);
                }
                work()
            });
            match thread.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// A command that will run inside the namespace, in a process group of its own, and that dies with the thread that
    /// spawned it: spawn it on a thread that lives as long as it should.
    ///
    /// Only the network namespace changes: `/sys` and the BPF file system stay the host's, unlike with `ip netns exec`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).process_group(0);
        let namespace = self.file.as_raw_fd();
        let enter = move || {
            // SAFETY: two system calls on integers; both are async-signal-safe, and nothing is allocated between fork and
            // exec. The descriptor is open: `command` is spawned while the namespace lives, and fork copied the table.
            let result = unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::setns(namespace, libc::CLONE_NEWNET)
            };
            if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        };
        // SAFETY: `enter` does nothing but async-signal-safe system calls, see there.
        unsafe { command.pre_exec(enter) };
        command
    }

    /// Runs `ip -n NAME …` and returns what it printed.
    ///
    /// # Errors
    /// With the arguments and what `ip` said.
    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("ip")
            .args(["-n", &self.name])
            .args(arguments)
            .output()
            .context("run ip (package iproute2)")?;
        if !output.status.success() {
            bail!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs many `ip` commands, one a line, in one process. Empty lines are fine.
    ///
    /// # Errors
    /// What `ip` said of the first that failed; the rest was not run.
    pub fn ip_batch(&self, commands: &str) -> Result<()> {
        let mut child = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("run ip (package iproute2)")?;
        child.stdin.take().context("ip has no standard input")?.write_all(commands.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("ip -batch: {}\nin:\n{commands}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Sets a sysctl of the namespace: `key` as a path below `/proc/sys`, such as `net/ipv6/conf/all/forwarding`.
    ///
    /// # Errors
    /// The key or value is not the kernel's.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        // /proc/sys/net is that of the thread that opens it.
        self.run(|| std::fs::write(Path::new("/proc/sys").join(key), value))
            .with_context(|| format!("set sysctl {key} to {value}"))
    }

    /// Reads a sysctl, without the trailing newline.
    ///
    /// # Errors
    /// The key is not the kernel's.
    pub fn read_sysctl(&self, key: &str) -> Result<String> {
        self.run(|| std::fs::read_to_string(Path::new("/proc/sys").join(key)))
            .map(|text| text.trim_end().to_owned())
            .with_context(|| format!("read sysctl {key}"))
    }

    /// Kills every process in it: those too that a program of the test left in the background.
    pub fn kill_all(&self) {
        // Fails if the namespace is gone, and with it what ran there.
        let Ok(pids) = Command::new("ip").args(["netns", "pids", &self.name]).output() else { return };
        let own = std::process::id() as i32;
        let pids = String::from_utf8_lossy(&pids.stdout).into_owned();
        for pid in pids.lines().filter_map(|line| line.trim().parse().ok()).filter(|pid| *pid != own) {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Index of an interface; `None` if it does not exist.
    pub fn interface_index(&self, interface: &str) -> Option<u32> {
        self.run(|| nix::net::if_::if_nametoindex(interface).ok())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Interfaces go with it, and with them whatever was attached to them. Should it fail, the next sweep does it.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// Makes a veth pair, each end directly in its namespace.
///
/// # Errors
/// As [`Namespace::ip`].
pub fn veth(one: &Namespace, one_name: &str, other: &Namespace, other_name: &str) -> Result<()> {
    one.ip(&["link", "add", one_name, "type", "veth", "peer", "name", other_name, "netns", other.name()])
        .map(drop)
}

/// A wire between two namespaces, with an address of a /64 at each end: names and addresses in the order of the namespaces.
///
/// # Errors
/// As [`Namespace::ip`].
pub fn cable(ends: [&Namespace; 2], names: [&str; 2], addresses: [Ipv6Addr; 2]) -> Result<()> {
    veth(ends[0], names[0], ends[1], names[1])?;
    for ((end, name), address) in ends.into_iter().zip(names).zip(addresses) {
        end.ip_batch(&format!("link set {name} up\naddr add {address}/64 dev {name}\n"))?;
    }
    Ok(())
}
