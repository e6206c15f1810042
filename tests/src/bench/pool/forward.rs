//! What clients of a forwarder notice when servers fail all the time: `anycast pool forward` beside a plain forwarder, over the same
//! servers and the same faults at the same time, with a client each.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anycast_pool::Random;
use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde::Serialize;

use crate::lab::daemon::{DaemonOptions, ServiceOptions};
use crate::lab::farm::{ROUTER_ADDRESS, SERVICE};
use crate::lab::responder::pid_file;
use crate::lab::{
    Child, Client, Daemon, Farm, FarmOptions, Namespace, Nsd, Record, Registrar, Server, anycast_binary,
    wait_until,
};

/// How long the rig may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer that comes later is none.
const TIMELY: Duration = Duration::from_secs(1);

/// Stands for the wait of a query without an answer.
const NEVER: Duration = Duration::from_secs(5);

const PORT: u16 = 5301;
const PLAIN_PORT: u16 = 5302;
const REGISTRAR_PORT: u16 = 3863;

/// What to measure.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(id = "forward")]
pub struct Options {
    /// Servers.
    #[arg(long, default_value_t = 5)]
    pub servers: usize,
    /// Queries per second and forwarder.
    #[arg(long, default_value_t = 2_000)]
    pub rate: u32,
    /// How long, seconds.
    #[arg(long, default_value_t = 300)]
    pub seconds: u64,
    /// Mean time between two faults of a server, seconds.
    #[arg(long, default_value_t = 20)]
    pub fault_every: u64,
    /// The faults follow from it.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { servers: 5, rate: 2_000, seconds: 300, fault_every: 20, seed: 1 }
    }
}

/// What clients noticed.
#[derive(Clone, Debug, Serialize)]
pub struct Forward {
    /// Queries to the pool's forwarder.
    pub sent: usize,
    /// Those that were answered in time.
    pub answered_within_1s: usize,
    /// How long 99 of 100 waited at most; 5,000 stands for never.
    pub p99_ms: f64,
    /// Queries to the plain forwarder.
    pub plain_sent: usize,
    /// Those that were answered in time.
    pub plain_answered_within_1s: usize,
    /// As `p99_ms`.
    pub plain_p99_ms: f64,
    /// What the plain forwarder is.
    pub plain: String,
    /// Faults: servers killed, and stopped.
    pub faults: [usize; 2],
    /// Seed of the faults.
    pub seed: u64,
    /// What the forwarder counted.
    pub counted: BTreeMap<String, f64>,
}

/// A fault of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Killed,
    Stopped,
}

/// Processes go before what they run in.
struct Rig {
    plain: Child,
    forward: Child,
    daemons: Vec<Daemon>,
    nsds: Vec<Option<Nsd>>,
    _registrars: [Registrar; 2],
    farm: Farm,
}

/// Measures.
///
/// # Errors
/// The lab cannot be built, or something of it does not come up.
pub fn measure(options: &Options) -> Result<Forward> {
    ensure!(options.servers >= 2, "one server alone must not fail: give two at least");
    println!("forward: seed {}", options.seed);
    let mut rig = Rig::new(options.servers)?;
    let interval = Duration::from_secs(1) / options.rate;
    let client = |port| Client::start_at(&rig.farm.client, listen(port), interval);
    let (client, plain_client) = (client(PORT)?, client(PLAIN_PORT)?);
    let faults = rig.trouble(options);
    let (record, plain_record) = (client.stop(), plain_client.stop());
    let counted = rig.counted();
    let faults = faults?;
    let (answered, p99) = judged(&record);
    let (plain_answered, plain_p99) = judged(&plain_record);
    let figures = Forward {
        sent: record.sent(),
        answered_within_1s: answered,
        p99_ms: p99,
        plain_sent: plain_record.sent(),
        plain_answered_within_1s: plain_answered,
        plain_p99_ms: plain_p99,
        plain: "dnsmasq".to_owned(),
        faults,
        seed: options.seed,
        counted,
    };
    println!(
        "forward: {answered} of {} within 1 s, p99 {p99:.1} ms; dnsmasq {plain_answered} of {}, p99 {plain_p99:.1} ms; {} killed, {} stopped",
        figures.sent, figures.plain_sent, faults[0], faults[1]
    );
    Ok(figures)
}

fn listen(port: u16) -> SocketAddr {
    (Ipv6Addr::LOCALHOST, port).into()
}

/// Queries that were answered in time, and how long 99 of 100 waited, in milliseconds.
fn judged(record: &Record) -> (usize, f64) {
    let mut waits: Vec<Duration> = record
        .queries
        .iter()
        .map(|query| query.answered.as_ref().map_or(NEVER, |(at, _)| at.duration_since(query.sent)))
        .collect();
    waits.sort_unstable();
    let timely = waits.partition_point(|wait| *wait <= TIMELY);
    let p99 = waits.get((waits.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or(NEVER);
    (timely, p99.as_secs_f64() * 1e3)
}

impl Rig {
    fn new(servers: usize) -> Result<Self> {
        let farm = Farm::new(&FarmOptions { servers, ..FarmOptions::default() })?;
        let registrar = |number: u16| {
            let address = (ROUTER_ADDRESS, REGISTRAR_PORT + number).into();
            Registrar::start_in(&farm.router, address, "")
        };
        let registrars = [registrar(0)?, registrar(1)?];
        let names = registrars.iter().map(|registrar| registrar.address.to_string());
        let names: Vec<String> = names.collect();
        let nsds = farm.servers.iter().map(|server| nsd(server).map(Some)).collect::<Result<_>>()?;
        let mut daemons = Vec::new();
        for server in &farm.servers {
            let options = DaemonOptions {
                tables: format!(
                    "[pool]\nregistrars = [{}]\nname = \"dns\"\naddress = \"{}\"\n",
                    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", "),
                    server.address
                ),
                ..DaemonOptions::with(ServiceOptions::new("dns", SERVICE))
            };
            daemons.push(Daemon::start(server, &options)?);
        }
        for daemon in &daemons {
            wait_until("the server is registered", PATIENCE, || {
                daemon.status().is_ok_and(|status| {
                    status.pool.iter().any(|element| element.registrations.iter().all(|one| one.registered))
                })
            })?;
        }
        let forward = forwarder(&farm.client, farm.directory(), &names)?;
        let plain = plain_forwarder(&farm.client, farm.directory(), &farm.servers)?;
        for port in [PORT, PLAIN_PORT] {
            let client = Client::start_at(&farm.client, listen(port), Duration::from_millis(20))?;
            wait_until("the forwarder answers", PATIENCE, || client.counts().1 > 0)?;
        }
        Ok(Self { plain, forward, daemons, nsds, _registrars: registrars, farm })
    }

    /// Has servers fail and come back for the time of the options; at any time one is up. Returns how often they were killed, and
    /// stopped.
    fn trouble(&mut self, options: &Options) -> Result<[usize; 2]> {
        let mut random = Random::new(options.seed);
        let mean = Duration::from_secs(options.fault_every);
        let start = Instant::now();
        let end = start + Duration::from_secs(options.seconds);
        // When each fails, or comes back.
        let mut next: Vec<Instant> =
            self.nsds.iter().map(|_| start + exponential(&mut random, mean)).collect();
        let mut faults: Vec<Option<Fault>> = vec![None; self.nsds.len()];
        let mut counts = [0; 2];
        while let Some((number, at)) = next.iter().copied().enumerate().min_by_key(|(_, at)| *at)
            && at < end
        {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            let up = faults.iter().filter(|fault| fault.is_none()).count();
            match faults[number].take() {
                // Its turn comes when another is back.
                None if up == 1 => next[number] = at + exponential(&mut random, mean),
                None => {
                    let fault = if random.below(2) == 0 { Fault::Killed } else { Fault::Stopped };
                    self.fail(number, fault)?;
                    counts[fault as usize] += 1;
                    faults[number] = Some(fault);
                    next[number] = at + Duration::from_millis(1_000 + random.below(9_000));
                }
                Some(fault) => {
                    self.restore(number, fault)?;
                    next[number] = Instant::now().max(at) + exponential(&mut random, mean);
                }
            }
        }
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        for (number, fault) in faults.into_iter().enumerate() {
            if let Some(fault) = fault {
                self.restore(number, fault)?;
            }
        }
        Ok(counts)
    }

    fn fail(&mut self, number: usize, fault: Fault) -> Result<()> {
        let nsd = self.nsds[number].as_mut().context("a dead server cannot fail")?;
        match fault {
            Fault::Killed => {
                nsd.kill_all()?;
                self.nsds[number] = None;
                Ok(())
            }
            Fault::Stopped => nsd.signal(Signal::SIGSTOP),
        }
    }

    fn restore(&mut self, number: usize, fault: Fault) -> Result<()> {
        match fault {
            Fault::Killed => self.nsds[number] = Some(nsd(&self.farm.servers[number])?),
            Fault::Stopped => {
                self.nsds[number]
                    .as_ref()
                    .context("a dead server was not stopped")?
                    .signal(Signal::SIGCONT)?;
            }
        }
        Ok(())
    }

    /// The forwarder's counters, by name and outcome.
    fn counted(&mut self) -> BTreeMap<String, f64> {
        // They are in its log, which says them when it ends.
        let _ = self.forward.terminate(PATIENCE);
        let _ = self.plain.terminate(PATIENCE);
        let log = self.forward.log();
        let line = log.lines().rfind(|line| line.contains(" answered, ")).unwrap_or_default();
        println!("forward: {}", line.trim());
        self.daemons.clear();
        let numbers = line.split(", ").filter_map(|part| {
            let (number, name) =
                part.rsplit_once(": ").map_or(part, |(_, rest)| rest).trim().split_once(' ')?;
            Some((name.replace(' ', "_"), number.parse().ok()?))
        });
        numbers.collect()
    }
}

/// A time until the next of events that come after `mean` on average.
fn exponential(random: &mut Random, mean: Duration) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "53 bits are all that a float has")]
    let uniform = (random.next() >> 11) as f64 / (1_u64 << 53) as f64;
    mean.mul_f64(-(1.0 - uniform).ln())
}

fn nsd(server: &Server) -> Result<Nsd> {
    let addresses = [IpAddr::V6(Ipv6Addr::LOCALHOST), server.address.into(), SERVICE];
    Nsd::start(&server.namespace, &server.name, &server.directory, &pid_file(server), &addresses, None)
}

fn forwarder(namespace: &Namespace, directory: &Path, registrars: &[String]) -> Result<Child> {
    let mut command = namespace.command(anycast_binary()?);
    command.args(["pool", "forward", "--pool", "dns", "--listen", &listen(PORT).to_string()]);
    for registrar in registrars {
        command.args(["--registrar", registrar]);
    }
    Child::spawn("anycast pool forward", command, &directory.join("forward.log"))
}

fn plain_forwarder(namespace: &Namespace, directory: &Path, servers: &[Server]) -> Result<Child> {
    let program = ["/usr/sbin/dnsmasq", "/usr/bin/dnsmasq"].into_iter().map(PathBuf::from);
    let program = program.clone().find(|path| path.is_file());
    let program = program.context("dnsmasq is not installed: `apt-get install dnsmasq-base`")?;
    let mut command = namespace.command(program);
    command.args([
        "--no-daemon",
        "--conf-file=/dev/null",
        "--pid-file=",
        "--user=root",
        "--no-resolv",
        "--no-hosts",
    ]);
    command.args(["--bind-interfaces", "--listen-address=::1", "--cache-size=0", "--dns-forward-max=10000"]);
    command.arg(format!("--port={PLAIN_PORT}"));
    for server in servers {
        command.arg(format!("--server={}", server.address));
    }
    Child::spawn("dnsmasq", command, &directory.join("dnsmasq.log"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::client::Asked;

    #[test]
    fn late_answers_and_none_are_not_in_time() {
        let sent = Instant::now();
        let asked = |wait: Option<u64>| Asked {
            sent,
            answered: wait.map(|wait| (sent + Duration::from_millis(wait), "one".to_owned())),
        };
        let queries =
            (0..97).map(|_| asked(Some(2))).chain([asked(Some(40)), asked(Some(1_500)), asked(None)]);
        let record = Record { queries: queries.collect(), duplicates: 0 };
        assert_eq!(judged(&record), (98, 1_500.0));
    }

    #[test]
    fn waits_for_faults_have_their_mean() {
        let mut random = Random::new(1);
        let mean = Duration::from_secs(20);
        let total: Duration = (0..10_000).map(|_| exponential(&mut random, mean)).sum();
        assert!((190_000..210_000).contains(&total.as_secs()), "{total:?}");
    }
}
