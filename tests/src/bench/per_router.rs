//! What `per_router` is good for: two routers, each with a client; two servers, each limited far below what the machine can do.
//! With one owner the farm answers what one server can; with the routers shared out, what both can.
//!
//! A CPU quota also pays for what a server receives and cannot answer, so that one owner that is asked twice as much as it can answers
//! less than it could, and the gain may be more than the number of servers. Where both servers answer all, it is at least what is told.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use crate::lab::daemon::ServiceOptions;
use crate::lab::farm::SERVICE;
use crate::lab::quota::Quota;
use crate::lab::second_router::SecondRouter;
use crate::lab::{Client, Daemon, DaemonOptions, DnsResponder, Farm, FarmOptions, wait_until};

/// Distance of two queries of a client.
const INTERVAL: Duration = Duration::from_micros(500);

/// How long answers are counted.
const SPELL: Duration = Duration::from_secs(5);

/// The share of the processor that a server gets in each period; the period is what is varied.
const SHARE: Duration = Duration::from_millis(1);

/// Periods, shortest first: the first with which one server answers less than [`SCARCE`] of what is asked is taken.
const PERIODS_MS: [u64; 8] = [5, 10, 20, 40, 80, 160, 320, 640];

/// One server must be able to answer less than this share of all queries: both together still less than all.
const SCARCE: f64 = 0.4;

/// How long anything may take but what is measured.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came out.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Gain {
    /// Answers with `per_router` over answers with one owner.
    pub gain: f64,
    /// Queries a second that both clients together sent, the less of the spells.
    pub asked_per_s: f64,
    /// Answered a second by one owner.
    pub one_owner_per_s: f64,
    /// Answered a second with `per_router`.
    pub per_router_per_s: f64,
    /// Share of the queries answered when no server is limited: clients, routers and cores are not what limits.
    pub unlimited_answered: f64,
    /// The servers' share of a processor.
    pub processor_share: f64,
}

/// Two servers, two routers, two clients.
pub struct Bench {
    /// By server.
    pub daemons: Vec<Daemon>,
    quotas: Vec<Quota>,
    /// By server.
    pub responders: Vec<DnsResponder>,
    /// The other router.
    pub second: SecondRouter,
    /// The farm, with the one router.
    pub farm: Farm,
}

/// What the clients saw in one spell.
#[derive(Clone, Copy, Debug)]
struct Spell {
    asked: f64,
    answered: f64,
}

impl Bench {
    /// Sets it up, no server limited and no daemon started.
    ///
    /// # Errors
    /// The lab cannot run here.
    pub fn new(servers: usize) -> Result<Self> {
        let farm = Farm::new(&FarmOptions { servers, ..FarmOptions::default() })?;
        let second = SecondRouter::new(&farm)?;
        let responders = farm.servers.iter().map(DnsResponder::start).collect::<Result<Vec<_>>>()?;
        Ok(Self { daemons: Vec::new(), quotas: Vec::new(), responders, second, farm })
    }

    /// Starts a daemon on each server and waits until both clients are served: with `per_router`, by different servers.
    ///
    /// # Errors
    /// They are not in time.
    pub fn start(&mut self, per_router: bool) -> Result<()> {
        // No check: a server that is loaded to its limit answers late, and is to own all the same.
        let service = ServiceOptions {
            check: false,
            more: format!("per_router = {per_router}"),
            ..ServiceOptions::new("dns", SERVICE)
        };
        // Nothing is to move for want of processor time on a busy machine.
        let (heartbeat, lease) = (Duration::from_millis(250), Duration::from_secs(1));
        let options = DaemonOptions { heartbeat, lease, ..DaemonOptions::with(service) };
        for server in &self.farm.servers {
            self.daemons.push(Daemon::start(server, &options)?);
        }
        let clients = self.clients()?;
        let what = if per_router { "each router has its own server" } else { "both routers have one server" };
        let settled = wait_until(what, PATIENCE, || {
            let entries = self.entries().unwrap_or([None; 2]);
            let [Some(one), Some(other)] = entries else { return false };
            clients.iter().all(|client| client.counts().1 > 0) && (one != other) == per_router
        });
        drop(clients);
        settled.with_context(|| format!("{:#?}", self.daemons.iter().map(Daemon::status).collect::<Vec<_>>()))
    }

    /// Stops the daemons, and makes the routers forget whom they knew.
    ///
    /// # Errors
    /// A daemon does not stop.
    pub fn stop(&mut self) -> Result<()> {
        for daemon in self.daemons.drain(..) {
            daemon.terminate()?;
        }
        for router in [&self.farm.router, &self.second.router] {
            crate::lab::neighbour::forget(router, crate::lab::farm::ROUTER_LINK, SERVICE)?;
        }
        Ok(())
    }

    /// The MAC address that each router's entry names.
    ///
    /// # Errors
    /// A neighbour cache cannot be read.
    pub fn entries(&self) -> Result<[Option<crate::lab::Mac>; 2]> {
        let one = self.farm.router_neighbour(SERVICE)?;
        let other = self.second.neighbour(SERVICE)?;
        Ok([one, other].map(|entry| entry.and_then(|entry| entry.mac)))
    }

    /// A client behind each router.
    ///
    /// # Errors
    /// No socket.
    pub fn clients(&self) -> Result<[Client; 2]> {
        let start = |namespace| Client::start_at(namespace, SocketAddr::from((SERVICE, 53)), INTERVAL);
        Ok([start(&self.farm.client)?, start(&self.second.client)?])
    }

    /// Limits each server; `None`: no more.
    fn limit(&mut self, period: Option<Duration>) -> Result<()> {
        if self.quotas.is_empty() {
            for responder in &self.responders {
                let quota = Quota::new()?;
                let file = responder.pid_file();
                let text =
                    std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
                quota.add(text.trim().parse().context("the responder's process id")?)?;
                self.quotas.push(quota);
            }
        }
        for quota in &self.quotas {
            match period {
                Some(period) => quota.set(SHARE, period)?,
                None => quota.lift()?,
            }
        }
        Ok(())
    }

    fn spell(&self) -> Result<Spell> {
        let clients = self.clients()?;
        let started = Instant::now();
        wait_until("the spell is over", SPELL + PATIENCE, || started.elapsed() >= SPELL)?;
        let end = Instant::now();
        let (mut asked, mut answered) = (0, 0);
        for client in clients {
            let record = client.stop().between(None, Some(end));
            asked += record.sent();
            // What waits in a queue at the end has been asked too early to be answered in time.
            answered += record
                .queries
                .iter()
                .filter(|query| query.answered.as_ref().is_some_and(|(at, _)| *at < end))
                .count();
        }
        let seconds = (end - started).as_secs_f64();
        Ok(Spell { asked: asked as f64 / seconds, answered: answered as f64 / seconds })
    }
}

/// Measures the gain. Some 40 s.
///
/// # Errors
/// The lab cannot run here, or what is measured is not what limits.
pub fn measure() -> Result<Gain> {
    let mut bench = Bench::new(2)?;
    bench.start(false)?;
    let unlimited = bench.spell()?;
    let unlimited_answered = unlimited.answered / unlimited.asked;
    ensure!(
        unlimited_answered > 0.98,
        "without limits only {unlimited_answered:.3} of the queries were answered: the machine is too busy"
    );
    let mut chosen = None;
    for period in PERIODS_MS.map(Duration::from_millis) {
        bench.limit(Some(period))?;
        let spell = bench.spell()?;
        if spell.answered < SCARCE * spell.asked {
            chosen = Some((period, spell));
            break;
        }
    }
    let (period, one) = chosen.context("the smallest quota does not limit a server")?;
    bench.limit(None)?;
    bench.stop()?;
    bench.start(true)?;
    bench.limit(Some(period))?;
    let shared = bench.spell()?;
    bench.limit(None)?;
    bench.stop()?;
    Ok(Gain {
        gain: shared.answered / one.answered,
        asked_per_s: one.asked.min(shared.asked),
        one_owner_per_s: one.answered,
        per_router_per_s: shared.answered,
        unlimited_answered,
        processor_share: SHARE.as_secs_f64() / period.as_secs_f64(),
    })
}
