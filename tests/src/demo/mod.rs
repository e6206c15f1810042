//! The demo: a farm in namespaces loses the DNS service of its owner, and the next server answers.
//!
//! Everything is real but the network cable: the kernel's bridge and router, the fast path in each server's interface,
//! `anycast run` in each server, and a DNS server process that is killed for good.

mod report;
mod screen;

use std::path::Path;
use std::time::{Duration, Instant};

use anycast_user::telemetry::status::{Service, State};
use anyhow::{Context as _, Result, bail};

use crate::lab::farm::{ROUTER_LINK, SERVICE};
use crate::lab::wait::{end_waits_on_signals, interrupted};
use crate::lab::{Client, Daemon, DaemonOptions, DnsResponder, Farm, FarmOptions, Mac, wait_for};
use report::Report;
use screen::{Row, Screen};

/// The name of the service in the configurations.
const NAME: &str = "dns";
/// Between two queries of the client.
const QUERY_INTERVAL: Duration = Duration::from_millis(5);
/// Between two looks at the farm.
const LOOK: Duration = Duration::from_millis(250);
/// How long the farm serves in peace before the event, and again after it.
const PEACE: Duration = Duration::from_secs(6);
/// How long the demo waits for an owner, or for the next server's first answer.
const PATIENCE: Duration = Duration::from_secs(12);

/// How the demo ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The next server took over, and nothing was lost but what the event itself cost.
    Good,
    /// It did not, or queries were lost without reason.
    Failed,
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

/// Runs the demo; `report` is where its figures go as JSON.
///
/// # Errors
/// The lab cannot be built here, or the farm did not come up.
pub fn run(report: Option<&Path>) -> Result<Outcome> {
    crate::lab::available().map_err(anyhow::Error::msg)?;
    end_waits_on_signals()?;
    match play(report) {
        Err(_) if interrupted() => {
            println!("\nInterrupted; the farm has been taken down.");
            Ok(Outcome::Interrupted)
        }
        other => other,
    }
}

fn play(report_file: Option<&Path>) -> Result<Outcome> {
    let mut screen = Screen::new();
    screen.say("Building a farm: a switch, a router, three servers, a client behind the router.");
    let farm = Farm::new(&FarmOptions::default())?;
    // A router that doubts its neighbours every few seconds shows more of its work in half a minute.
    for family in ["ipv6", "ipv4"] {
        let neighbours = format!("net/{family}/neigh/{ROUTER_LINK}");
        farm.router.sysctl(&format!("{neighbours}/base_reachable_time_ms"), "2000")?;
        farm.router.sysctl(&format!("{neighbours}/delay_first_probe_time"), "1")?;
    }
    let mut stage = Stage::new(&farm)?;
    let owner = wait_for("a server owns the service address", PATIENCE, || stage.owner())?;
    screen.say(&format!("Server s{} owns {SERVICE}. The client asks {} times a second.", owner + 1, 200));
    stage.ask()?;
    stage.watch(&mut screen, PEACE)?;

    let Some(owner) = stage.owner() else { bail!("the farm lost its owner without a cause") };
    let pid = stage.responders[owner].child().pid();
    screen.say(&format!("Killing the DNS service of s{} (process {pid}, SIGKILL).", owner + 1));
    let killed_at = Instant::now();
    stage.responders[owner].kill()?;
    let victim = farm.servers[owner].name.as_str();
    let next = stage.watch_for_another(&mut screen, victim, killed_at)?;
    match &next {
        Some((name, after)) => {
            screen.say(&format!("Server {name} answers {} ms after it.", after.as_millis()))
        }
        None => screen.say("No other server answers."),
    }
    stage.watch(&mut screen, PEACE)?;

    let solicitations = stage.solicitations_answered();
    let record = stage.client.take().context("the client is gone")?.stop();
    let report = Report::new(&record, victim, killed_at, solicitations);
    if let Some(path) = report_file {
        report.write(path)?;
    }
    println!("\n{report}");
    Ok(if report.is_good() { Outcome::Good } else { Outcome::Failed })
}

/// The farm with everything that runs in it. Processes go before the farm they run in.
struct Stage<'farm> {
    client: Option<Client>,
    daemons: Vec<Daemon>,
    responders: Vec<DnsResponder>,
    farm: &'farm Farm,
    started: Instant,
}

impl<'farm> Stage<'farm> {
    /// Starts DNS services and daemons.
    fn new(farm: &'farm Farm) -> Result<Self> {
        let responders = farm.servers.iter().map(DnsResponder::start).collect::<Result<Vec<_>>>()?;
        let options = DaemonOptions::default();
        let daemons =
            farm.servers.iter().map(|server| Daemon::start(server, &options)).collect::<Result<Vec<_>>>()?;
        Ok(Self { client: None, daemons, responders, farm, started: Instant::now() })
    }

    fn ask(&mut self) -> Result<()> {
        self.client = Some(Client::start(&self.farm.client, SERVICE, QUERY_INTERVAL)?);
        Ok(())
    }

    fn services(&self) -> Vec<Option<Service>> {
        self.daemons.iter().map(|daemon| daemon.service(NAME).ok()).collect()
    }

    /// The server that owns the address and answers for it.
    fn owner(&self) -> Option<usize> {
        self.services()
            .iter()
            .position(|service| service.as_ref().is_some_and(|s| s.state == State::Owner && s.gate.answers()))
    }

    fn solicitations_answered(&self) -> u64 {
        self.services().iter().flatten().map(|service| service.solicitations_answered_total).sum()
    }

    /// Shows the farm for a while.
    fn watch(&mut self, screen: &mut Screen, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.show(screen)?;
            self.pause()?;
        }
        Ok(())
    }

    /// Shows the farm until a server other than `victim` has answered a query; yields its name and the time it took.
    fn watch_for_another(
        &mut self,
        screen: &mut Screen,
        victim: &str,
        since: Instant,
    ) -> Result<Option<(String, Duration)>> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            self.show(screen)?;
            let record = self.client.as_ref().map(Client::record).unwrap_or_default();
            if let Some((at, name)) = record.first_answer_of_another(victim, since) {
                return Ok(Some((name.to_owned(), at - since)));
            }
            self.pause()?;
        }
        Ok(None)
    }

    fn show(&mut self, screen: &mut Screen) -> Result<()> {
        let record = self.client.as_ref().map(Client::record).unwrap_or_default();
        let by_server = record.by_server();
        let believed: Option<Mac> = self.farm.router_neighbour(SERVICE)?.and_then(|entry| entry.mac);
        let rows: Vec<Row> = self
            .farm
            .servers
            .iter()
            .zip(self.services())
            .zip(&mut self.responders)
            .map(|((server, service), responder)| Row {
                name: server.name.clone(),
                dns_runs: responder.runs(),
                answered: by_server.get(&server.name).copied().unwrap_or(0),
                routed: believed == Some(server.mac),
                service,
            })
            .collect();
        screen.show(self.started.elapsed(), &rows, record.sent(), record.answered());
        Ok(())
    }

    fn pause(&self) -> Result<()> {
        if interrupted() {
            bail!("interrupted");
        }
        std::thread::sleep(LOOK);
        Ok(())
    }
}
