//! How fast a server's route changes in the kernel of an FRR router: the daemon's own speaker, beside FRR driven by vtysh and BIRD
//! by its control socket, in the same lab and in turn. The figures stand in `docs/ospf.md`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anycast_core::random::Random;
use anycast_user::control::Command;
use anyhow::{Context as _, Result};
use serde::Serialize;

use super::stats::{Samples, Summary};
use super::{Machine, machine, write};
use crate::lab::farm::{ROUTER_LINK, SERVICE};
use crate::lab::frr::{OspfInterface, ospf6d};
use crate::lab::route_watch::next_hops;
use crate::lab::routed::{self, Host, Speaker};
use crate::lab::{Daemon, DaemonOptions, DnsResponder, Farm, FarmOptions, Frr, RouteWatch, wait_for};

/// Servers: one changes, the other stays.
const SERVERS: usize = 2;
const STAYS: usize = 0;
const CHANGED: usize = 1;

/// What OSPF takes at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// Least time between two changes: no receiver takes two within a second, and BIRD works once in it.
const PAUSE: Duration = Duration::from_millis(2_500);
/// The same for BIRD on the servers, which lets 5 s pass between two instances of an LSA (`MinLSInterval`, RFC 2328 B).
const PAUSE_OF_BIRD: Duration = Duration::from_millis(5_500);
/// And so much more, at random.
const PHASE: Duration = Duration::from_millis(1_000);

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Runs of each change of a cost.
    #[arg(long, default_value_t = 30)]
    pub runs: usize,
    /// Runs of each death.
    #[arg(long, default_value_t = 15)]
    pub deaths: usize,
}

/// The figures.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    /// From the command to the router's kernel.
    cost_change_ms: BTreeMap<Speaker, Summary>,
    /// From the death of the DNS process.
    flush_ms: Summary,
    /// From the death of the daemon, with a guard.
    sigkill_guard_ms: Summary,
    /// Without.
    sigkill_plain_ms: Summary,
}

/// What dies.
#[derive(Clone, Copy)]
enum Victim {
    Service,
    Daemon,
}

/// Servers with a speaker, and the router. Processes go before what they run in.
struct Lab {
    pause: Duration,
    daemons: Vec<Option<Daemon>>,
    options: Vec<DaemonOptions>,
    responders: Vec<Option<DnsResponder>>,
    hosts: Vec<Host>,
    _router: Frr,
    farm: Farm,
}

/// Runs it.
///
/// # Errors
/// FRR or BIRD is not installed, or something does not come up.
pub fn run(options: &Options) -> Result<()> {
    let mut cost_change_ms = BTreeMap::new();
    let mut random = Random::new(1);
    for speaker in [Speaker::Native, Speaker::FrrVtysh, Speaker::BirdBirdc] {
        let lab = Lab::new(speaker, true)?;
        let summary = lab.cost_changes(options.runs, &mut random)?;
        println!("  {speaker:?}: cost change {:.1} / {:.1} ms", summary.p50, summary.p99);
        cost_change_ms.insert(speaker, summary);
    }
    let mut lab = Lab::new(Speaker::Native, true)?;
    let flush_ms = lab.deaths(Victim::Service, options.deaths, &mut random)?;
    println!("  flush {:.1} / {:.1} ms", flush_ms.p50, flush_ms.p99);
    let sigkill_guard_ms = lab.deaths(Victim::Daemon, options.deaths, &mut random)?;
    println!("  SIGKILL with guard {:.1} / {:.1} ms", sigkill_guard_ms.p50, sigkill_guard_ms.p99);
    drop(lab);
    let mut lab = Lab::new(Speaker::Native, false)?;
    let sigkill_plain_ms = lab.deaths(Victim::Daemon, options.deaths, &mut random)?;
    println!("  SIGKILL without {:.1} / {:.1} ms", sigkill_plain_ms.p50, sigkill_plain_ms.p99);
    let report = Report { machine: machine()?, cost_change_ms, flush_ms, sigkill_guard_ms, sigkill_plain_ms };
    let json = serde_json::to_string_pretty(&report)? + "\n";
    match &options.report {
        Some(path) => write(path, &json),
        None => {
            print!("{json}");
            Ok(())
        }
    }
}

impl Lab {
    fn new(speaker: Speaker, guard: bool) -> Result<Self> {
        let farm = Farm::new(&FarmOptions { servers: SERVERS, ..FarmOptions::default() })?;
        let link = OspfInterface { name: ROUTER_LINK, priority: 1, passive: false, cost: 10, more: "" };
        let configuration = ospf6d("10.0.0.1", &[link]);
        let router =
            Frr::start(&farm.router, &farm.directory().join("router"), &[("ospf6d", configuration)])?;
        let servers = || farm.servers.iter().enumerate();
        let responders =
            farm.servers.iter().map(|server| DnsResponder::start(server).map(Some)).collect::<Result<_>>()?;
        let options: Vec<DaemonOptions> = servers()
            .map(|(number, server)| {
                let more =
                    if speaker == Speaker::Native { format!("guard = {guard}") } else { String::new() };
                routed::daemon(speaker, number, server, &more)
            })
            .collect();
        let pause = if speaker == Speaker::BirdBirdc { PAUSE_OF_BIRD } else { PAUSE };
        let mut lab = Self {
            pause,
            daemons: Vec::new(),
            options,
            responders,
            hosts: Vec::new(),
            _router: router,
            farm,
        };
        for (number, server) in lab.farm.servers.iter().enumerate() {
            lab.hosts.push(Host::start(speaker, number, server)?);
            lab.daemons.push(Some(Daemon::start(server, &lab.options[number])?));
            // One after the other: of servers that FRR or BIRD advertises, and that become Full within one calculation of an FRR
            // router, it keeps next hops for good.
            lab.wait_for(&(0..=number).collect::<Vec<_>>())?;
        }
        Ok(lab)
    }

    /// Waits until these servers are next hops, and no others.
    fn wait_for(&self, servers: &[usize]) -> Result<()> {
        let router = &self.farm.router;
        let wanted = self.hops(servers)?;
        wait_for(&format!("next hops {wanted:?}"), PATIENCE, || {
            (next_hops(router, SERVICE).ok()? == wanted).then_some(())
        })
        .with_context(|| format!("they are {:?}", next_hops(router, SERVICE)))
    }

    /// The next hops by which servers are reached.
    fn hops(&self, servers: &[usize]) -> Result<Vec<String>> {
        let mut hops: Vec<String> = servers
            .iter()
            .map(|server| routed::link_local(&self.farm.servers[*server]))
            .collect::<Result<_>>()?;
        hops.sort_unstable();
        Ok(hops)
    }

    fn pause(&self, random: &mut Random) {
        std::thread::sleep(self.pause + random.up_to(PHASE));
    }

    /// Drained and undrained: the cost changes, and the router uses one server, or both.
    fn cost_changes(&self, runs: usize, random: &mut Random) -> Result<Summary> {
        let watch = RouteWatch::new(&self.farm.router)?;
        let (both, one) = (self.hops(&[0, 1])?, self.hops(&[STAYS])?);
        let daemon = self.daemons[CHANGED].as_ref().context("it runs")?;
        let mut times = Vec::new();
        for run in 0..runs {
            self.pause(random);
            let (command, expected) = if run % 2 == 0 {
                (Command::Drain { service: None }, &one)
            } else {
                (Command::Undrain { service: None }, &both)
            };
            watch.clear();
            let start = Instant::now();
            daemon.request(&command)?;
            times.push(watch.wait_for(SERVICE, expected, PATIENCE)?.duration_since(start));
        }
        Ok(summary(&times))
    }

    /// Something of one server dies: the router uses the other.
    fn deaths(&mut self, victim: Victim, runs: usize, random: &mut Random) -> Result<Summary> {
        let mut times = Vec::new();
        for _ in 0..runs {
            self.wait_for(&[STAYS, CHANGED])?;
            self.pause(random);
            let watch = RouteWatch::new(&self.farm.router)?;
            let one = self.hops(&[STAYS])?;
            let start = Instant::now();
            match victim {
                Victim::Service => self.responders[CHANGED].as_mut().context("it runs")?.kill()?,
                Victim::Daemon => self.daemons[CHANGED].as_mut().context("it runs")?.kill()?,
            }
            times.push(watch.wait_for(SERVICE, &one, PATIENCE)?.duration_since(start));
            // The old one goes first: what it leaves behind is the new one's.
            let (server, options) = (&self.farm.servers[CHANGED], &self.options[CHANGED]);
            match victim {
                Victim::Service => {
                    self.responders[CHANGED] = None;
                    self.responders[CHANGED] = Some(DnsResponder::start(server)?);
                }
                Victim::Daemon => {
                    self.daemons[CHANGED] = None;
                    self.daemons[CHANGED] = Some(Daemon::start(server, options)?);
                }
            }
        }
        Ok(summary(&times))
    }
}

fn summary(times: &[Duration]) -> Summary {
    times.iter().map(|time| time.as_secs_f64() * 1e3).collect::<Samples>().summary()
}
