//! BIRD, as a process of the lab: the other router that networks have.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::child::Child;
use super::namespace::Namespace;
use super::wait::wait_until;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(15);

/// A running BIRD; killed when dropped.
#[derive(Debug)]
pub struct Bird {
    child: Child,
    socket: PathBuf,
}

impl Bird {
    /// Whether it is installed.
    pub fn installed() -> bool {
        ["/usr/sbin/bird", "/usr/bin/bird", "/usr/local/sbin/bird"]
            .iter()
            .any(|path| Path::new(path).exists())
    }

    /// Starts one in `namespace` with everything of its own in `directory`.
    ///
    /// # Errors
    /// It is not installed, or ends.
    pub fn start(namespace: &Namespace, directory: &Path, configuration: &str) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let (file, socket) = (directory.join("bird.conf"), directory.join("bird.ctl"));
        fs::write(&file, configuration).with_context(|| format!("write {}", file.display()))?;
        let mut command = namespace.command("bird");
        command
            .arg("-f")
            .arg("-c")
            .arg(&file)
            .arg("-s")
            .arg(&socket)
            .arg("-P")
            .arg(directory.join("bird.pid"));
        let mut child = Child::spawn("bird", command, &directory.join("bird.log"))?;
        let answers = |child: &mut Child| {
            matches!(child.ended(), Ok(Some(_))) || std::os::unix::net::UnixStream::connect(&socket).is_ok()
        };
        wait_until("BIRD answers", PATIENCE, || answers(&mut child)).with_context(|| child.log())?;
        if child.ended()?.is_some() {
            bail!("BIRD has ended: {}", child.log());
        }
        Ok(Self { child, socket })
    }

    /// Its control socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Runs a command by birdc and returns what it prints.
    ///
    /// # Errors
    /// birdc cannot connect.
    pub fn birdc(&self, command: &str) -> Result<String> {
        let mut birdc = std::process::Command::new("birdc");
        let output =
            birdc.arg("-s").arg(&self.socket).args(command.split(' ')).output().context("run birdc")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("birdc {command}: {text}{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(text)
    }

    /// Kills it without a farewell.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()
    }

    /// What it printed.
    pub fn log(&self) -> String {
        self.child.log()
    }
}

/// An interface of BIRD's OSPFv3.
#[derive(Clone, Copy, Debug)]
pub struct OspfInterface<'a> {
    /// Its name.
    pub name: &'a str,
    /// Priority to become Designated Router; 0 = never.
    pub priority: u8,
    /// More within its braces; what is said here holds.
    pub more: &'a str,
}

/// A router's configuration: OSPFv3 in the backbone with Hello 1 s, dead 4 s, and all routes into the kernel, several next hops in
/// one.
pub fn router(router_id: &str, interfaces: &[OspfInterface<'_>]) -> String {
    let mut text = format!(
        "log stderr all;\nrouter id {router_id};\nprotocol device {{ scan time 2; }}\n\
         protocol kernel {{ ipv6 {{ export all; }}; merge paths yes limit 16; }}\n\
         protocol ospf v3 {{ tick 1; ecmp yes limit 16; merge external yes; ipv6 {{ import all; export none; }}; area 0 {{\n"
    );
    for OspfInterface { name, priority, more } in interfaces {
        text += &format!(
            "interface \"{name}\" {{ type broadcast; hello 1; dead 4; wait 2; priority {priority}; cost 10; check link yes; {more} }};\n"
        );
    }
    text + "}; }\n"
}
