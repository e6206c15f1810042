//! How fast and how quietly the controller does its part: a dead service shuts the gate, a dead controller falls silent, a
//! restart loses nothing, an idle daemon costs nothing.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anycast_common::abi::Gate;
use anycast_user::telemetry::status::State;
use anyhow::{Context as _, Result, bail};
use aya::maps::{Array, Map, MapData};
use nix::sys::signal::Signal;

use super::stats::{Samples, round};
use crate::frames::Neighbor;
use crate::lab::daemon::ServiceOptions;
use crate::lab::farm::{SERVER, SERVICE};
use crate::lab::{
    Capture, Child, Daemon, DaemonOptions, DnsResponder, Farm, FarmOptions, Frame, Injector, Mac, Server,
    anycast_binary, wait_until,
};

/// Services of the daemon whose services' processes are killed one by one: a flap penalty grows by the service.
const VICTIMS: usize = 50;

/// Distance of the solicitations that tell whether a server still answers.
const ASK_EVERY: Duration = Duration::from_millis(1);

const PATIENCE: Duration = Duration::from_secs(20);

/// Solicitations of a run of restarts, and those that nobody answered.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Restart {
    /// Restarts.
    pub runs: usize,
    /// Solicitations sent meanwhile.
    pub solicitations: u64,
    /// Not answered.
    pub unanswered: u64,
}

/// What an idle owner costs.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Idle {
    /// Of one core.
    pub cpu_percent: f64,
    /// Resident memory, MB.
    pub rss_mb: f64,
}

/// From the kill of a service's process to its gate in the map being shut, milliseconds; `runs` of them.
///
/// # Errors
/// The lab or the daemon cannot be had, or a gate does not shut within a second.
pub fn gate_shut(runs: usize, mut progress: impl FnMut(&str)) -> Result<Samples> {
    let mut samples = Samples::default();
    while samples.len() < runs {
        let farm = Farm::new(&FarmOptions { servers: 1, ..FarmOptions::default() })?;
        let server = &farm.servers[0];
        let mut victims = Vec::new();
        let mut config = daemon_table(server);
        for number in 0..VICTIMS {
            let mut command = server.namespace.command("sleep");
            command.arg("3600");
            let log = server.directory.join(format!("victim{number}.log"));
            let victim = Child::spawn("sleep", command, &log)?;
            let pid_file = server.directory.join(format!("victim{number}.pid"));
            fs::write(&pid_file, victim.pid().to_string())?;
            let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x5353, number as u16 + 1);
            // Writing to a string does not fail.
            let _ = write!(
                config,
                "\n[[service]]\nname = \"v{number}\"\ninterface = \"{SERVER}\"\naddress = \"{address}\"\nmode = \"failover\"\n\
                 [service.check]\nprocess = {{ pid_file = \"{}\" }}\n",
                pid_file.display()
            );
            victims.push(victim);
        }
        let daemon = RawDaemon::start(server, &config)?;
        let gates = gates(server)?;
        let open =
            |number: usize| -> Result<bool> { Ok(gates.get(&u32::try_from(number)?, 0)?.open_until_ns != 0) };
        wait_until("all gates open", PATIENCE, || (0..VICTIMS).all(|number| open(number).unwrap_or(false)))
            .with_context(|| daemon.child.log())?;
        for (number, victim) in victims.iter_mut().enumerate() {
            let killed = Instant::now();
            victim.kill()?;
            // Polled without a pause: a look takes a microsecond, a sleep would be what is measured.
            while open(number)? {
                if killed.elapsed() > Duration::from_secs(1) {
                    bail!("the gate of victim {number} is still open after a second: {}", daemon.child.log());
                }
            }
            samples.push(killed.elapsed().as_secs_f64() * 1e3);
        }
        progress(&format!("gate_shut: {} of {runs}", samples.len()));
        daemon.stop()?;
    }
    Ok(samples)
}

/// From SIGKILL of the controller to the last answer of its fast path, milliseconds; `runs` of them.
///
/// # Errors
/// The lab or the daemon cannot be had, or the fast path never falls silent.
pub fn lease_loss(runs: usize, mut progress: impl FnMut(&str)) -> Result<Samples> {
    let mut samples = Samples::default();
    let farm = Farm::new(&FarmOptions { servers: 1, ..FarmOptions::default() })?;
    let server = &farm.servers[0];
    let options = alone();
    let asker = Asker::new(&farm)?;
    while samples.len() < runs {
        let mut daemon = Daemon::start(server, &options)?;
        daemon.wait_for_state("dns", State::Owner, PATIENCE)?;
        asker.capture.clear();
        let stop = AtomicBool::new(false);
        let killed = std::thread::scope(|scope| -> Result<SystemTime> {
            let asking = scope.spawn(|| asker.ask_until(&stop));
            wait_until("the first answers", PATIENCE, || asker.answers() > 20)?;
            let killed = SystemTime::now();
            daemon.kill()?;
            // Silent: nothing answered for as long as a lease.
            let mut seen = (asker.answers(), Instant::now());
            wait_until("silence", PATIENCE, || {
                let now = asker.answers();
                if now != seen.0 {
                    seen = (now, Instant::now());
                }
                seen.1.elapsed() > options.lease
            })?;
            stop.store(true, Ordering::Relaxed);
            asking.join().map_err(|_| anyhow::anyhow!("the asking thread panicked"))??;
            Ok(killed)
        })?;
        let last = asker.last_answer().context("nothing was answered")?;
        samples.push(last.duration_since(killed).unwrap_or_default().as_secs_f64() * 1e3);
        if samples.len().is_multiple_of(50) {
            progress(&format!("lease_loss: {} of {runs}", samples.len()));
        }
    }
    // Leaves nothing pinned behind.
    let daemon = Daemon::start(server, &options)?;
    daemon.terminate()?;
    Ok(samples)
}

/// `anycast stop --keep` and start again, `runs` times, under a thousand solicitations a second.
///
/// # Errors
/// The lab or the daemon cannot be had.
pub fn restart(runs: usize, mut progress: impl FnMut(&str)) -> Result<Restart> {
    let farm = Farm::new(&FarmOptions { servers: 1, ..FarmOptions::default() })?;
    let server = &farm.servers[0];
    let options = alone();
    let asker = Asker::new(&farm)?;
    let mut daemon = Daemon::start(server, &options)?;
    daemon.wait_for_state("dns", State::Owner, PATIENCE)?;
    let mut result = Restart::default();
    let stop = AtomicBool::new(false);
    let daemon = std::thread::scope(|scope| -> Result<Daemon> {
        let asking = scope.spawn(|| asker.ask_until(&stop));
        for run in 1..=runs {
            daemon.stop_keep()?;
            daemon = Daemon::start(server, &options)?;
            daemon.wait_for_state("dns", State::Owner, PATIENCE)?;
            result.runs = run;
            if run.is_multiple_of(50) {
                progress(&format!("restart: {run} of {runs}"));
            }
        }
        stop.store(true, Ordering::Relaxed);
        result.solicitations = asking.join().map_err(|_| anyhow::anyhow!("the asking thread panicked"))??;
        Ok(daemon)
    })?;
    // The last answers are on their way: a deadline, not a guess, decides that they are lost.
    let _ =
        wait_until("the last answers", Duration::from_secs(1), || asker.answers() >= result.solicitations);
    result.unanswered = result.solicitations.saturating_sub(asker.answers());
    if asker.capture.lost() > 0 {
        bail!("the capture lost {} frames: the count is not valid", asker.capture.lost());
    }
    daemon.terminate()?;
    Ok(result)
}

/// An owner with a real DNS check once a second and nothing to do, watched for `duration`.
///
/// # Errors
/// The lab or the daemon cannot be had.
pub fn idle(duration: Duration) -> Result<Idle> {
    let farm = Farm::new(&FarmOptions { servers: 1, ..FarmOptions::default() })?;
    let server = &farm.servers[0];
    let responder = DnsResponder::start(server)?;
    // The intervals of the example configuration; the lab's own checks are ten times as frequent.
    let options = DaemonOptions { check_interval: Duration::from_secs(1), ..DaemonOptions::default() };
    let mut daemon = Daemon::start(server, &options)?;
    daemon.wait_for_state("dns", State::Owner, PATIENCE)?;
    let pid = daemon.child().pid();
    let (before, started) = (cpu_ticks(pid)?, Instant::now());
    // The measurement itself: nothing is waited for but the end of the time to watch.
    std::thread::sleep(duration);
    let ticks = cpu_ticks(pid)? - before;
    let seconds = started.elapsed().as_secs_f64();
    // SAFETY: no pointers.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    let idle = Idle {
        cpu_percent: round(100.0 * ticks as f64 / ticks_per_second / seconds),
        rss_mb: round(resident_kb(pid)? as f64 / 1024.0),
    };
    daemon.terminate()?;
    drop(responder);
    Ok(idle)
}

/// One service with a check that always succeeds.
fn alone() -> DaemonOptions {
    let mut service = ServiceOptions::new("dns", SERVICE);
    service.check = false;
    DaemonOptions::with(service)
}

/// Solicits a server's address from the router's end of the link, and counts the answers.
struct Asker {
    injector: Injector,
    capture: Capture,
    frame: Vec<u8>,
}

impl Asker {
    fn new(farm: &Farm) -> Result<Self> {
        let interface = crate::lab::farm::ROUTER_LINK;
        let IpAddr::V6(target) = SERVICE else { bail!("the lab's service address is not IPv6") };
        let mac = Mac([0x02, 0xac, 0, 0, 0xee, 0x01]);
        let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xee01);
        Ok(Self {
            injector: Injector::new(&farm.router, interface)?,
            capture: Capture::start(&farm.router, interface)?,
            frame: Neighbor::solicitation(mac.0, source, target).frame(),
        })
    }

    /// Asks every millisecond until told to stop; returns how often.
    fn ask_until(&self, stop: &AtomicBool) -> Result<u64> {
        let mut asked = 0;
        let started = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            self.injector.send(&self.frame)?;
            asked += 1;
            let next = started + ASK_EVERY * u32::try_from(asked).unwrap_or(u32::MAX);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok(asked)
    }

    fn answers(&self) -> u64 {
        self.capture.count(|captured| solicited_advertisement(&captured.parse())) as u64
    }

    fn last_answer(&self) -> Option<SystemTime> {
        self.capture
            .frames()
            .iter()
            .rev()
            .find(|captured| solicited_advertisement(&captured.parse()))
            .map(|captured| captured.at)
    }
}

fn solicited_advertisement(frame: &Frame) -> bool {
    frame.advertisement().is_some_and(|advertisement| advertisement.solicited)
}

/// A daemon with a configuration that the lab's options cannot say.
struct RawDaemon {
    child: Child,
}

impl RawDaemon {
    fn start(server: &Server, config: &str) -> Result<Self> {
        let path = server.directory.join("anycast.toml");
        fs::write(&path, config)?;
        let mut command: Command = server.namespace.command(anycast_binary()?);
        command.arg("--config").arg(&path).arg("run");
        Ok(Self { child: Child::spawn("anycast", command, &server.directory.join("anycast.log"))? })
    }

    fn stop(mut self) -> Result<()> {
        self.child.signal(Signal::SIGTERM)?;
        self.child.wait(PATIENCE).map(drop)
    }
}

fn daemon_table(server: &Server) -> String {
    let directory = server.directory.display();
    format!(
        "[daemon]\ncontrol_socket = \"{directory}/control.sock\"\nstate_dir = \"{directory}/state\"\nbpffs = \"{}\"\n\
         grace = \"100ms\"\n[farm]\nname = \"lab\"\n",
        server.bpffs.display()
    )
}

fn gates(server: &Server) -> Result<Array<MapData, Gate>> {
    let path: PathBuf = server.bpffs.join(SERVER).join("maps/GATES");
    let mut opened = None;
    wait_until("the pinned gates", PATIENCE, || {
        opened = MapData::from_pin(&path).ok();
        opened.is_some()
    })?;
    let map = opened.with_context(|| format!("open {}", path.display()))?;
    Ok(Array::try_from(Map::Array(map))?)
}

/// User and system time of a process, clock ticks (proc(5), /proc/pid/stat fields 14 and 15).
fn cpu_ticks(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // Behind the name begins field 3.
    let field = |number: usize| -> Result<u64> {
        Ok(fields.get(number - 3).context("a short /proc/pid/stat")?.parse()?)
    };
    Ok(field(14)? + field(15)?)
}

pub(super) fn resident_kb(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}
