//! `anycast check`: the configuration, then the machine it is for. Nothing is changed; what can only be known by trying
//! (whether the driver takes the program) is left to the start.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use anycast_user::config::{self, Check, Checked, Config, Interface, ProcessTarget, XdpMode};
use anycast_user::control::{Answer, Command, client};
use anycast_user::datapath;
use anycast_user::monitor::link::{self, Report, Watched};
use tokio::sync::mpsc;

use crate::cli::Global;
use crate::output;

/// What was found, most harmless first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Ok,
    Warning,
    Failure,
}

/// Findings, printed as they come.
struct Findings {
    worst: Level,
}

impl Findings {
    fn add(&mut self, level: Level, text: &str) -> anyhow::Result<()> {
        self.worst = self.worst.max(level);
        let word = match level {
            Level::Ok => "ok",
            Level::Warning => "WARNING",
            Level::Failure => "FAIL",
        };
        output::print(&format!("{word:<8} {text}\n"))
    }
}

/// Checks and prints a line for each finding.
pub fn check(global: &Global) -> anyhow::Result<ExitCode> {
    // A wrong configuration ends it here, with exit code 2: what the machine must be follows from the configuration.
    let config = Config::load(&global.config_path())?;
    let mut findings = Findings { worst: Level::Ok };
    let text = format!(
        "configuration {}: {} services on {} interfaces",
        config.path.display(),
        config.services.len(),
        config.interfaces.len()
    );
    findings.add(Level::Ok, &text)?;
    for warning in &config.warnings {
        findings.add(Level::Warning, &warning.to_string())?;
    }
    keys(&config, &mut findings)?;
    capabilities(&mut findings)?;
    kernel(&mut findings)?;
    let running = daemon(&config, global, &mut findings)?;
    directories(&config, &mut findings)?;
    let report = super::runtime()?.block_on(picture(&config))?;
    for (number, interface) in config.interfaces.iter().enumerate() {
        self::interface(&config, number, interface, &report, running, &mut findings)?;
    }
    addresses(&config, &report, &mut findings)?;
    for service in &config.services {
        if let Checked::Own(check) = &service.check {
            targets(&service.name, check, &mut findings)?;
        }
    }
    programs(&config, &mut findings)?;
    Ok(match findings.worst {
        Level::Ok | Level::Warning => ExitCode::SUCCESS,
        Level::Failure => ExitCode::from(crate::FAILED),
    })
}

/// The farm's keys can be read, by the right people only.
fn keys(config: &Config, findings: &mut Findings) -> anyhow::Result<()> {
    let Some(auth) = &config.farm.auth else {
        return findings.add(
            Level::Ok,
            "heartbeats are not authenticated: whoever is on the link can take an address; farm.key_file changes that",
        );
    };
    match config::keys::load(&auth.key_file) {
        Ok(keys) => {
            let ids: Vec<String> = keys.ids().map(|id| id.to_string()).collect();
            let (file, ids) = (auth.key_file.display(), ids.join(", "));
            findings
                .add(Level::Ok, &format!("keys {ids} of {file}, the first signs; auth {}", auth.mode.name()))
        }
        Err(error) => findings.add(Level::Failure, &error.to_string()),
    }
}

/// Bits of the capability sets (linux/capability.h) that the daemon needs.
const NEEDED: [(u32, &str, &str); 4] = [
    (12, "CAP_NET_ADMIN", "to attach programs, add addresses and set sysctls"),
    (13, "CAP_NET_RAW", "to send advertisements"),
    (38, "CAP_PERFMON", "to load the program"),
    (39, "CAP_BPF", "to load the program"),
];

fn capabilities(findings: &mut Findings) -> anyhow::Result<()> {
    const SYS_ADMIN: u32 = 21;
    let effective = fs::read_to_string("/proc/self/status").ok().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    });
    let Some(effective) = effective else {
        return findings.add(Level::Warning, "cannot read /proc/self/status: capabilities unknown");
    };
    let has = |bit: u32| effective >> bit & 1 == 1;
    let mut missing = false;
    for (bit, name, purpose) in NEEDED {
        // CAP_SYS_ADMIN stands for the two that were split off it (capabilities(7)).
        if !has(bit) && (bit < 38 || !has(SYS_ADMIN)) {
            missing = true;
            findings.add(
                Level::Failure,
                &format!("{name} is missing, {purpose}: run as root or give it to the service unit"),
            )?;
        }
    }
    if !missing {
        findings.add(Level::Ok, "capabilities CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_NET_RAW")?;
    }
    Ok(())
}

fn kernel(findings: &mut Findings) -> anyhow::Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    if Path::new("/sys/kernel/btf/vmlinux").exists() {
        findings.add(Level::Ok, &format!("kernel {release} with BTF"))
    } else {
        let text = format!(
            "kernel {release} has no BTF (/sys/kernel/btf/vmlinux): use one built with CONFIG_DEBUG_INFO_BTF"
        );
        findings.add(Level::Failure, &text)
    }
}

/// Whether a daemon runs with this control socket.
fn daemon(config: &Config, global: &Global, findings: &mut Findings) -> anyhow::Result<bool> {
    let socket = global.socket.as_ref().unwrap_or(&config.daemon.control_socket);
    match client::request(socket, &Command::Status) {
        Ok(Answer::Status(status)) => {
            let text = format!("a daemon runs on {} (process {})", socket.display(), status.daemon.pid);
            findings.add(Level::Ok, &text)?;
            Ok(true)
        }
        Ok(_) => Ok(true),
        Err(client::Error::Connect { .. }) => Ok(false),
        Err(error) => {
            findings.add(Level::Warning, &error.to_string())?;
            Ok(false)
        }
    }
}

fn directories(config: &Config, findings: &mut Findings) -> anyhow::Result<()> {
    for (key, path) in [
        ("daemon.state_dir", config.daemon.state_dir.as_path()),
        (
            "the directory of daemon.control_socket",
            config.daemon.control_socket.parent().unwrap_or(Path::new("/")),
        ),
    ] {
        match writable(path) {
            Ok(()) => findings.add(Level::Ok, &format!("{key} {}", path.display()))?,
            Err(error) => {
                let text =
                    format!("{key} {} cannot be written ({error}): make it, or name another", path.display());
                findings.add(Level::Failure, &text)?;
            }
        }
    }
    Ok(())
}

/// Whether a directory, or the nearest one above it that exists, can be written by this process.
fn writable(path: &Path) -> io::Result<()> {
    let mut path = path;
    while !path.exists() {
        let Some(parent) = path.parent() else { break };
        path = parent;
    }
    if !path.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).map_err(io::Error::from)
}

/// The interfaces and addresses of the machine as they are now.
async fn picture(config: &Config) -> anyhow::Result<Report> {
    let (reports, mut pictures) = mpsc::channel(1);
    let watched = Watched {
        interfaces: config.interfaces.iter().map(|interface| interface.name.clone()).collect(),
        addresses: config.services.iter().map(|service| service.address).collect(),
    };
    let _monitor = link::spawn(watched, reports)?;
    pictures.recv().await.ok_or_else(|| anyhow::anyhow!("the link monitor ended without a picture"))
}

fn interface(
    config: &Config,
    number: usize,
    interface: &Interface,
    report: &Report,
    running: bool,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let name = &interface.name;
    let services = || config.services.iter().filter(|service| service.interface == number);
    let found = report.interfaces.iter().find(|snapshot| snapshot.name == *name);
    let Some(found) = found.and_then(|snapshot| snapshot.interface.as_ref()) else {
        return findings.add(
            Level::Failure,
            &format!("interface {name} does not exist; `ip link` lists those there are"),
        );
    };
    let Some(mac) = found.mac else {
        return findings.add(
            Level::Failure,
            &format!("interface {name} has no Ethernet address: services need Ethernet"),
        );
    };
    let text = format!("interface {name}, mac {}, mtu {}", super::stats::mac(&mac), found.mtu);
    findings.add(Level::Ok, &text)?;
    if !found.up {
        findings.add(
            Level::Warning,
            &format!("interface {name} is down or has no carrier: this server is not able until it is up"),
        )?;
    }
    if found.link_local().is_none() && services().any(|service| service.address.is_ipv6()) {
        let text = format!(
            "interface {name} has no usable link-local address: answers come from the service address itself"
        );
        findings.add(Level::Warning, &text)?;
    }
    if let Some(controller) = found.controller {
        let text = format!(
            "interface {name} is a port of a bridge or bond (index {controller}): frames that the fast path does not \
             answer go there; attach to the bond itself if it is one"
        );
        findings.add(Level::Warning, &text)?;
    }
    let options = datapath::Options {
        interface: name.clone(),
        mode: match interface.xdp_mode {
            XdpMode::Native => datapath::Mode::Native,
            XdpMode::Generic => datapath::Mode::Generic,
        },
        bpffs: config.daemon.bpffs.clone(),
        log: config.daemon.bpf_log,
        extra: services().any(|service| service.needs_extra()),
    };
    let vlan = services().any(|service| !service.vlan.is_empty());
    let problems = datapath::preflight(&options, vlan);
    for problem in &problems {
        // What a daemon that runs has taken is not in its own way.
        if !(running && matches!(problem, datapath::Error::InUse { .. })) {
            findings.add(Level::Failure, &problem.to_string())?;
        }
    }
    if problems.is_empty() {
        let mode = interface.xdp_mode.name();
        findings
            .add(Level::Ok, &format!("interface {name}: nothing stands in the way of XDP in {mode} mode"))?;
    }
    Ok(())
}

fn addresses(config: &Config, report: &Report, findings: &mut Findings) -> anyhow::Result<()> {
    let links: BTreeSet<&str> = config.interfaces.iter().map(|interface| interface.name.as_str()).collect();
    let addresses: BTreeSet<IpAddr> = config.services.iter().map(|service| service.address).collect();
    for address in addresses {
        let places: Vec<_> = report.addresses.iter().filter(|seen| seen.address == address).collect();
        if let Some(wrong) = places.iter().find(|seen| links.contains(seen.interface.as_str())) {
            let text = format!(
                "service address {address} is on the link {}: there the kernel undoes what the fast path does; remove it \
                 with `ip addr del {address}/{} dev {}`, it belongs on lo",
                wrong.interface, wrong.prefix, wrong.interface
            );
            findings.add(Level::Failure, &text)?;
        } else if let Some(place) = places.first() {
            findings.add(Level::Ok, &format!("service address {address} is on {}", place.interface))?;
        } else {
            findings.add(Level::Ok, &format!("service address {address} will be added to lo"))?;
        }
    }
    Ok(())
}

/// What a check looks at need not be there yet: the service may start after this.
fn targets(service: &str, check: &Check, findings: &mut Findings) -> anyhow::Result<()> {
    if let Some(ProcessTarget::PidFile(path)) = &check.process
        && !path.exists()
    {
        let text = format!(
            "service {service}: pid file {} is not there: the service is not running, or writes another",
            path.display()
        );
        findings.add(Level::Warning, &text)?;
    }
    if let Some(program) = check.exec.as_ref().and_then(|command| command.first()) {
        runnable(&format!("service {service}: check program"), Path::new(program), findings)?;
    }
    Ok(())
}

/// The operator's programs that the daemon runs.
fn programs(config: &Config, findings: &mut Findings) -> anyhow::Result<()> {
    if let Some(notify) = &config.daemon.notify {
        runnable("daemon.notify:", notify, findings)?;
    }
    for service in &config.services {
        let Some(hooks) = service.standby.as_ref().and_then(|standby| standby.hooks.as_ref()) else {
            continue;
        };
        for (key, command) in [("on_standby", &hooks.on_standby), ("on_wake", &hooks.on_wake)] {
            if let Some(program) = command.first() {
                runnable(&format!("service {}: {key}:", service.name), Path::new(program), findings)?;
            }
        }
    }
    Ok(())
}

fn runnable(what: &str, program: &Path, findings: &mut Findings) -> anyhow::Result<()> {
    if let Err(error) = nix::unistd::access(program, nix::unistd::AccessFlags::X_OK) {
        let text = format!("{what} {} cannot be run: {}", program.display(), io::Error::from(error));
        findings.add(Level::Failure, &text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_to_be_made_is_judged_by_the_one_above() {
        let directory = tempfile::tempdir().unwrap();
        assert!(writable(&directory.path().join("a/b")).is_ok());
        fs::write(directory.path().join("file"), "").unwrap();
        assert!(writable(&directory.path().join("file/b")).is_err());
    }
}
