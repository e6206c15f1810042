//! What no virtual clock shows: a server beside FRR and BIRD for longer than LSRefreshTime and MaxAge (RFC 2328, appendix B), and
//! what a server that died without a word leaves in the routers meanwhile. The log is summarised in `docs/ospf.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anycast_user::control::{Answer, Command};
use anycast_user::telemetry::ospf::Ospf;
use anyhow::{Result, bail};
use serde::Serialize;

use super::control::resident_kb;
use super::{Machine, machine, write};
use crate::lab::farm::{ROUTER_LINK, SERVER, SERVICE};
use crate::lab::frr::{OspfInterface, ospf6d};
use crate::lab::route_watch::next_hops;
use crate::lab::routed::{self, Speaker};
use crate::lab::{Bird, Daemon, DnsResponder, Farm, FarmOptions, Frr, bird, wait_for};

/// Two servers, and BIRD as the second router in the third's place.
const SERVERS: usize = 3;
const LIVES: usize = 0;
const DIES: usize = 1;
const BIRD: usize = 2;

const PATIENCE: Duration = Duration::from_secs(60);

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Write what was seen as JSON.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// For how long.
    #[arg(long, default_value_t = 65)]
    pub minutes: u64,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 10)]
    pub every: u64,
}

/// Something changed.
#[derive(Debug, Serialize)]
struct Happened {
    minute: f64,
    place: &'static str,
    what: String,
}

/// What was seen.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    minutes: f64,
    looks: usize,
    /// Looks at which the router's next hop was not the living server alone.
    route_missing: usize,
    /// Seconds for which the living server's neighbours have been Full at the end, by router id.
    full_seconds: BTreeMap<String, f64>,
    /// Greatest age, seconds, that FRR showed of an LSA of the living server.
    oldest_own_age: u16,
    /// LSAs sent again by the living server.
    retransmitted: u64,
    rss_kb_begin: u64,
    rss_kb_end: u64,
    happened: Vec<Happened>,
}

/// An LSA as a router's command names it: type, id, originator.
type Name = (String, String, String);

/// What one database holds: sequence number and age.
type Database = BTreeMap<Name, (u32, u16)>;

/// Runs it.
///
/// # Errors
/// FRR or BIRD is not installed, something does not come up, or the living server's route or adjacency is lost.
pub fn run(options: &Options) -> Result<()> {
    let farm = Farm::new(&FarmOptions { servers: SERVERS, ..FarmOptions::default() })?;
    let link = OspfInterface { name: ROUTER_LINK, priority: 2, passive: false, cost: 10, more: "" };
    let files = farm.directory().join("router");
    let frr = Frr::start(&farm.router, &files, &[("ospf6d", ospf6d("10.0.0.1", &[link]))])?;
    let second = &farm.servers[BIRD];
    let bird = Bird::start(
        &second.namespace,
        &second.directory.join("routing"),
        &bird::router("10.0.0.2", &[bird::OspfInterface { name: SERVER, priority: 1, more: "" }]),
    )?;
    let mut responders = Vec::new();
    let mut daemons = Vec::new();
    let living = routed::link_local(&farm.servers[LIVES])?;
    for number in [LIVES, DIES] {
        let server = &farm.servers[number];
        responders.push(DnsResponder::start(server)?);
        let daemon =
            Daemon::start(server, &routed::daemon(Speaker::Native, number, server, "guard = false"))?;
        daemons.push(daemon);
        wait_for("the server's route", PATIENCE, || {
            (next_hops(&farm.router, SERVICE).ok()?.len() == number + 1).then_some(())
        })?;
    }
    daemons[DIES].kill()?;
    wait_for("one next hop", PATIENCE, || {
        (next_hops(&farm.router, SERVICE).ok()? == [living.clone()]).then_some(())
    })?;
    let pid = daemons[LIVES].child().pid();
    let (begin, rss_kb_begin) = (Instant::now(), resident_kb(pid)?);
    let mut seen = Seen::new(begin);
    let mut picture = Ospf::default();
    let (mut looks, mut route_missing) = (0, 0);
    while begin.elapsed() < Duration::from_secs(options.minutes * 60) {
        std::thread::sleep(Duration::from_secs(options.every));
        looks += 1;
        let hops = next_hops(&farm.router, SERVICE)?;
        route_missing += usize::from(hops != [living.clone()]);
        seen.text("FRR's kernel", format!("next hops {hops:?}"));
        let shown = frr.vtysh(&farm.router, &["show ipv6 ospf6 database"])?;
        seen.database("FRR", parse(&shown, [0, 1, 2, 3, 4]));
        let shown = bird.birdc("show ospf lsadb")?;
        seen.database("BIRD", parse(&shown, [0, 1, 2, 4, 3]));
        picture = ask(&daemons[LIVES])?;
        let own = picture.database.iter().map(|lsa| {
            let name = (lsa.ls_type.clone(), lsa.link_state_id.to_string(), lsa.advertising_router.clone());
            (name, (lsa.sequence, lsa.age))
        });
        seen.database("server", own.collect());
        let states = picture
            .neighbors
            .iter()
            .map(|neighbor| format!("neighbour {} {} {}", neighbor.router_id, neighbor.role, neighbor.state));
        seen.text("server", states.collect::<Vec<_>>().join(", "));
    }
    let minutes = (begin.elapsed().as_secs_f64() / 6.0).round() / 10.0;
    let own = routed::router_id(LIVES);
    let report = Report {
        machine: machine()?,
        minutes,
        looks,
        route_missing,
        full_seconds: picture
            .neighbors
            .iter()
            .filter(|neighbor| neighbor.state == "Full")
            .map(|neighbor| (neighbor.router_id.clone(), neighbor.state_seconds.round()))
            .collect(),
        oldest_own_age: seen.oldest.get(&("FRR", own)).copied().unwrap_or_default(),
        retransmitted: picture.interfaces.iter().map(|interface| interface.retransmitted_total).sum(),
        rss_kb_begin,
        rss_kb_end: resident_kb(pid)?,
        happened: seen.happened,
    };
    let json = serde_json::to_string_pretty(&report)? + "\n";
    match &options.report {
        Some(path) => write(path, &json)?,
        None => print!("{json}"),
    }
    if report.full_seconds.len() != 2 || report.route_missing > 0 {
        bail!(
            "the route was missing at {} of {looks} looks; Full: {:?}",
            report.route_missing,
            report.full_seconds
        );
    }
    Ok(())
}

fn ask(daemon: &Daemon) -> Result<Ospf> {
    match daemon.request(&Command::Ospf)? {
        Answer::Ospf(picture) => Ok(*picture),
        other => bail!("the daemon answered {other:?}"),
    }
}

/// What was seen last, and how it changed.
struct Seen {
    begin: Instant,
    texts: BTreeMap<&'static str, String>,
    databases: BTreeMap<&'static str, Database>,
    /// Greatest age by who showed it and who originated it; purged LSAs left out.
    oldest: BTreeMap<(&'static str, String), u16>,
    happened: Vec<Happened>,
}

impl Seen {
    fn new(begin: Instant) -> Self {
        Self {
            begin,
            texts: BTreeMap::new(),
            databases: BTreeMap::new(),
            oldest: BTreeMap::new(),
            happened: Vec::new(),
        }
    }

    fn happen(&mut self, place: &'static str, what: String) {
        let minute = (self.begin.elapsed().as_secs_f64() / 0.6).round() / 100.0;
        println!("  {minute:>6.2} min  {place:<12} {what}");
        self.happened.push(Happened { minute, place, what });
    }

    fn text(&mut self, place: &'static str, text: String) {
        if self.texts.get(place) != Some(&text) {
            self.happen(place, text.clone());
            self.texts.insert(place, text);
        }
    }

    fn database(&mut self, place: &'static str, now: Database) {
        let before = self.databases.remove(place).unwrap_or_default();
        let names: BTreeSet<&Name> = before.keys().chain(now.keys()).collect();
        for name in names {
            let label = format!("{} {} of {}", name.0, name.1, name.2);
            let what = match (before.get(name), now.get(name)) {
                (None, Some((sequence, age))) => format!("{label}: there, {sequence:#x}, age {age}"),
                (Some((sequence, age)), None) => {
                    format!("{label}: gone, was {sequence:#x}, age {age}")
                }
                (Some((old, age)), Some((new, _))) if old != new => {
                    format!("{label}: {old:#x} at age {age} -> {new:#x}")
                }
                _ => continue,
            };
            self.happen(place, what);
        }
        for (name, (_, age)) in now.iter().filter(|(_, (_, age))| *age < 3_600) {
            let oldest = self.oldest.entry((place, name.2.clone())).or_default();
            *oldest = (*oldest).max(*age);
        }
        self.databases.insert(place, now);
    }
}

/// Reads a table of which `columns` tell type, id, originator, age (decimal) and sequence number (hexadecimal); other lines are
/// passed over.
fn parse(table: &str, columns: [usize; 5]) -> Database {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let word = |column: usize| words.get(columns[column]).copied();
        let age = word(3)?.parse().ok()?;
        let sequence = u32::from_str_radix(word(4)?.trim_start_matches("0x"), 16).ok()?;
        Some(((word(0)?.to_owned(), word(1)?.to_owned(), word(2)?.to_owned()), (sequence, age)))
    };
    table.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn tables_of_frr_and_bird_are_read_and_their_heads_passed_over() {
        let frr = "        Area Scoped Link State Database (Area 0.0.0.0)\n\n\
                   Type LSId           AdvRouter       Age   SeqNum                        Payload\n\
                   Rtr  0.0.0.0        10.0.1.1         12 80000003              10.0.0.1/0.0.0.2\n";
        let bird = " Type   LS ID           Router          Sequence   Age  Checksum\n\
                    2001  0.0.0.0         10.0.1.1        80000003     12    3e1f\n";
        for (table, columns, ls_type) in [(frr, [0, 1, 2, 3, 4], "Rtr"), (bird, [0, 1, 2, 4, 3], "2001")] {
            let database = parse(table, columns);
            let name = (ls_type.to_owned(), "0.0.0.0".to_owned(), "10.0.1.1".to_owned());
            assert_eq!(database.into_iter().collect::<Vec<_>>(), [(name, (0x8000_0003, 12))]);
        }
    }
}
