//! FRR's zebra, ospf6d and bgpd, as processes of the lab: a router as networks have it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::unistd::{Group, User};

use super::child::Child;
use super::namespace::Namespace;
use super::wait::wait_until;

/// Where Debian has the daemons.
const PROGRAMS: &str = "/usr/lib/frr";

/// How long a daemon may take to start.
const PATIENCE: Duration = Duration::from_secs(15);

/// Running daemons of one router; killed when dropped, the last one first.
#[derive(Debug)]
pub struct Frr {
    daemons: Vec<Child>,
    directory: PathBuf,
}

impl Frr {
    /// Whether FRR is installed.
    pub fn installed() -> bool {
        Path::new(PROGRAMS).join("ospf6d").exists()
    }

    /// Starts zebra and then each of `daemons` (`ospf6d`, `bgpd`) with its configuration, in `namespace`, with everything of theirs in
    /// `directory`.
    ///
    /// # Errors
    /// FRR is not installed, or one of them ends.
    pub fn start(namespace: &Namespace, directory: &Path, daemons: &[(&str, String)]) -> Result<Self> {
        prepare(directory)?;
        let mut frr = Self { daemons: Vec::new(), directory: directory.to_owned() };
        frr.daemon(namespace, "zebra", "hostname lab\nlog stdout\n")?;
        for (name, configuration) in daemons {
            frr.daemon(namespace, name, configuration)?;
        }
        Ok(frr)
    }

    fn daemon(&mut self, namespace: &Namespace, name: &str, configuration: &str) -> Result<()> {
        let directory = &self.directory;
        let file = directory.join(format!("{name}.conf"));
        fs::write(&file, configuration).with_context(|| format!("write {}", file.display()))?;
        own(&file)?;
        let mut command = namespace.command(Path::new(PROGRAMS).join(name));
        command.arg("-f").arg(&file).arg("-i").arg(directory.join(format!("{name}.pid")));
        command.arg("-z").arg(directory.join("zserv.api")).arg("--vty_socket").arg(directory);
        command.args(["-P", "0", "-u", "frr", "-g", "frr", "--log", "stdout"]);
        self.daemons.push(Child::spawn(name, command, &directory.join(format!("{name}.log")))?);
        // The socket's file is there before somebody listens. Who connects too early tries again 10 s later.
        wait_until(&format!("{name} answers"), PATIENCE, || {
            self.vtysh_of(namespace, name, &["show version"]).is_ok()
                || self.daemons.last_mut().is_some_and(|daemon| matches!(daemon.ended(), Ok(Some(_))))
        })
        .with_context(|| self.log())?;
        if self.daemons.last_mut().map(Child::ended).transpose()?.flatten().is_some() {
            bail!("{name} has ended: {}", self.log());
        }
        Ok(())
    }

    /// Runs commands by vtysh and returns what they print.
    ///
    /// # Errors
    /// One of them is refused.
    pub fn vtysh(&self, namespace: &Namespace, commands: &[&str]) -> Result<String> {
        self.run(namespace, &[], commands)
    }

    fn vtysh_of(&self, namespace: &Namespace, daemon: &str, commands: &[&str]) -> Result<String> {
        self.run(namespace, &["-d", daemon], commands)
    }

    fn run(&self, namespace: &Namespace, more: &[&str], commands: &[&str]) -> Result<String> {
        let mut command: Command = namespace.command("vtysh");
        command.arg("--vty_socket").arg(&self.directory).args(more);
        for line in commands {
            command.args(["-c", line]);
        }
        let output = command.output().context("run vtysh (package frr)")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("vtysh {}: {text}{}", commands.join("; "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(text)
    }

    /// Gives all daemons a configuration, as `vtysh -b` does with `frr.conf`: each takes what it knows.
    ///
    /// # Errors
    /// One of them refuses a line.
    pub fn load(&self, namespace: &Namespace, configuration: &str) -> Result<()> {
        let file = self.directory.join("frr.conf");
        fs::write(&file, configuration).with_context(|| format!("write {}", file.display()))?;
        let mut command: Command = namespace.command("vtysh");
        command.arg("--vty_socket").arg(&self.directory).arg("-f").arg(&file);
        let output = command.output().context("run vtysh (package frr)")?;
        let said =
            [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        if !output.status.success() || said.contains("% ") {
            bail!("vtysh -f {}: {said}", file.display());
        }
        Ok(())
    }

    /// Where its vty sockets are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Kills all of them without a farewell.
    ///
    /// # Errors
    /// They cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.daemons.iter_mut().rev().try_for_each(Child::kill)
    }

    /// What they printed.
    pub fn log(&self) -> String {
        self.daemons.iter().map(Child::log).collect::<Vec<_>>().join("\n")
    }
}

/// A directory that user frr may write to, and reach.
fn prepare(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    own(directory)?;
    let temporary = std::env::temp_dir();
    for above in directory.ancestors().take_while(|above| **above != *temporary) {
        let mode = fs::metadata(above)?.permissions().mode();
        fs::set_permissions(above, fs::Permissions::from_mode(mode | 0o011))?;
    }
    Ok(())
}

fn own(path: &Path) -> Result<()> {
    let user = User::from_name("frr")?.context("no user frr (package frr)")?;
    let group = Group::from_name("frr")?.context("no group frr (package frr)")?;
    std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(group.gid.as_raw()))
        .with_context(|| format!("chown {}", path.display()))
}

/// An interface of ospf6d.
#[derive(Clone, Copy, Debug)]
pub struct OspfInterface<'a> {
    /// Its name.
    pub name: &'a str,
    /// Priority to become Designated Router; 0 = never.
    pub priority: u8,
    /// No Hellos are sent on it.
    pub passive: bool,
    /// Its cost.
    pub cost: u16,
    /// More lines.
    pub more: &'a str,
}

/// A configuration of ospf6d in the backbone, Hello 1 s, dead 4 s.
pub fn ospf6d(router_id: &str, interfaces: &[OspfInterface<'_>]) -> String {
    let mut text = "hostname lab\nlog stdout\n!\n".to_owned();
    for interface in interfaces {
        let passive = if interface.passive { " ipv6 ospf6 passive\n" } else { "" };
        text += &format!(
            "interface {}\n ipv6 ospf6 area 0.0.0.0\n ipv6 ospf6 hello-interval 1\n ipv6 ospf6 dead-interval 4\n \
             ipv6 ospf6 priority {}\n ipv6 ospf6 cost {}\n{passive}{}!\n",
            interface.name, interface.priority, interface.cost, interface.more
        );
    }
    text + &format!("router ospf6\n ospf6 router-id {router_id}\n timers throttle spf 0 50 5000\n")
}
