//! Services advertised by OSPFv3: the daemon's own speaker, and other daemons that it drives, with real routers.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as the tests do, by a panic")]

mod bgp;
mod deaths;
mod dissected;
mod driven;
mod hops;
mod keys;
mod many;
mod modes;
mod native;
mod restart;
mod rollover;
mod router;
mod succession;

use std::collections::BTreeMap;
use std::time::Duration;

use anycast_tests::lab::client::flows;
use anycast_tests::lab::daemon::DaemonOptions;
use anycast_tests::lab::farm::{ROUTER_LINK, SERVICE};
use anycast_tests::lab::namespace::Namespace;
use anycast_tests::lab::route_watch::next_hops;
use anycast_tests::lab::routed::{self, Host, Speaker};
use anycast_tests::lab::{Daemon, DnsResponder, Farm, FarmOptions, wait_for, wait_until};
use anycast_user::control::{Answer, Command};
use anycast_user::telemetry::ospf::{Lsa, Ospf};

use router::{Kind, Link, Router};

/// How long anything may take but what is measured: OSPF waits for whole seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns from the test if the lab cannot run here.
#[macro_export]
macro_rules! need_lab {
    ($name:literal) => {
        if let Err(reason) = anycast_tests::lab::available() {
            anycast_tests::skip($name, &reason);
            return;
        }
    };
}

/// Servers with a DNS service and a daemon each. Processes go before what they run in.
struct Rig {
    daemons: Vec<Daemon>,
    options: Vec<DaemonOptions>,
    responders: Vec<DnsResponder>,
    hosts: Vec<Host>,
    router: Router,
    farm: Farm,
}

impl Rig {
    /// `more`: more lines of `[ospf]` on each server.
    fn new(kind: Kind, speaker: Speaker, servers: usize, more: &str) -> Self {
        let mut rig = Self::idle(kind, speaker, servers, more);
        for number in 0..servers {
            rig.start(number);
            // One after the other, see `frr_uses_no_next_hop_of_a_route_that_left`: drivers do not make routers calculate.
            rig.wait_for_next_hops(&(0..=number).collect::<Vec<_>>());
        }
        rig
    }

    /// The same, with all daemons started at once, and nothing waited for.
    fn at_once(kind: Kind, speaker: Speaker, servers: usize, more: &str) -> Self {
        let mut rig = Self::idle(kind, speaker, servers, more);
        (0..servers).for_each(|number| rig.start(number));
        rig
    }

    /// The same before any daemon was started.
    fn idle(kind: Kind, speaker: Speaker, servers: usize, more: &str) -> Self {
        let farm = Farm::new(&FarmOptions { servers, ..FarmOptions::default() }).unwrap();
        let router = Router::start(kind, &farm);
        Self::with_router(farm, router, speaker, more)
    }

    /// The same with a router that runs already.
    fn with_router(farm: Farm, router: Router, speaker: Speaker, more: &str) -> Self {
        // By flow, not by address: one client is many.
        farm.router.sysctl("net/ipv6/fib_multipath_hash_policy", "1").unwrap();
        let each = || farm.servers.iter().enumerate();
        let hosts = each().map(|(number, server)| Host::start(speaker, number, server).unwrap()).collect();
        let responders = farm.servers.iter().map(|server| DnsResponder::start(server).unwrap()).collect();
        let options = each().map(|(number, server)| routed::daemon(speaker, number, server, more)).collect();
        Self { daemons: Vec::new(), options, responders, hosts, router, farm }
    }

    /// Starts the next daemon, or again one that has ended.
    fn start(&mut self, number: usize) {
        let daemon = Daemon::start(&self.farm.servers[number], &self.options[number]).unwrap();
        if number < self.daemons.len() {
            self.daemons[number] = daemon;
        } else {
            self.daemons.push(daemon);
        }
    }

    /// The addresses that the router's kernel has as next hops of the service.
    fn next_hops(&self) -> Vec<String> {
        next_hops(&self.farm.router, SERVICE).unwrap()
    }

    /// Waits until the router's kernel has these servers as next hops, and no others.
    fn wait_for_next_hops(&self, servers: &[usize]) {
        self.wait_for_next_hops_of(&self.farm.router, servers);
    }

    /// The same for another router on the link.
    fn wait_for_next_hops_of(&self, namespace: &Namespace, servers: &[usize]) {
        let of = |address: fn(&Self, usize) -> String| {
            let mut hops: Vec<String> = servers.iter().map(|server| address(self, *server)).collect();
            hops.sort_unstable();
            hops
        };
        // OSPF's are link-local addresses, BGP's those of the sessions.
        let expected = [of(Self::link_local), of(|rig, server| rig.farm.servers[server].address.to_string())];
        let arrived = wait_for(&format!("next hops {expected:?}"), PATIENCE, || {
            expected.contains(&next_hops(namespace, SERVICE).unwrap()).then_some(())
        });
        arrived.unwrap_or_else(|error| {
            let show = ["-6", "route", "show", "table", "all", "proto", "172"];
            let own: Vec<String> =
                self.farm.servers.iter().map(|server| server.namespace.ip(&show).unwrap()).collect();
            let router = self.router.describe(&self.farm);
            let hosts: Vec<String> = self
                .hosts
                .iter()
                .zip(&self.farm.servers)
                .map(|(host, server)| host.describe(server))
                .collect();
            panic!(
                "{error:#}; they are {:?}\n{router}\nkernel routes of servers: {own:?}\n{}",
                next_hops(namespace, SERVICE),
                hosts.join("\n")
            )
        });
    }

    fn link_local(&self, server: usize) -> String {
        routed::link_local(&self.farm.servers[server]).unwrap()
    }

    /// How many of so many flows each server answers, once all are answered.
    fn flows(&self, number: u16) -> BTreeMap<String, u64> {
        flows_of(&self.farm.client, number)
    }

    /// The servers that answer many flows.
    fn answering(&self) -> Vec<String> {
        self.flows(64).into_keys().collect()
    }

    /// What a server knows of OSPF.
    fn picture(&self, server: usize) -> Ospf {
        picture(&self.daemons[server])
    }

    /// Waits until a server is Full with these routers, in this order of their ids, and these are all of its neighbours but other
    /// servers.
    fn wait_until_full(&self, server: usize, routers: &[(&str, &str)]) {
        wait_until_full(&self.daemons[server], routers);
    }

    /// What a server's daemon logged of OSPF.
    fn log(&self, server: usize) -> String {
        let log = self.daemons[server].log();
        log.lines().filter(|line| line.contains("routing")).collect::<Vec<_>>().join("\n")
    }

    /// Own LSAs that are not on their way out, by type and Link State ID.
    fn own(&self, server: usize) -> BTreeMap<(String, u32), u32> {
        let own = self.picture(server).database.into_iter().filter(|lsa| lsa.own && lsa.age < MAX_AGE);
        own.map(|lsa| ((lsa.ls_type, lsa.link_state_id), lsa.sequence)).collect()
    }
}

/// Age of what is on its way out (RFC 2328 B).
const MAX_AGE: u16 = 3600;

fn picture(daemon: &Daemon) -> Ospf {
    match daemon.request(&Command::Ospf).unwrap() {
        Answer::Ospf(picture) => *picture,
        other => panic!("{other:?}"),
    }
}

fn wait_until_full(daemon: &Daemon, routers: &[(&str, &str)]) {
    let mut last = Vec::new();
    let full = wait_until(&format!("Full with {routers:?}"), PATIENCE, || {
        last = picture(daemon).neighbors;
        let full = last.iter().filter(|neighbor| neighbor.state == "Full");
        let mut full: Vec<(&str, &str)> =
            full.map(|neighbor| (neighbor.router_id.as_str(), neighbor.role.as_str())).collect();
        full.sort_unstable();
        full == routers
    });
    full.unwrap_or_else(|error| panic!("{error:#}; neighbours {last:#?}"));
}

/// Loads that a server has read, its own among them: advertising routers.
fn loads(daemon: &Daemon) -> Vec<String> {
    let told = |lsa: &Lsa| lsa.ls_type == "load" && lsa.says.contains("load") && lsa.age < MAX_AGE;
    let database = picture(daemon).database;
    let mut loads: Vec<String> =
        database.into_iter().filter(told).map(|lsa| lsa.advertising_router).collect();
    loads.sort_unstable();
    loads
}

/// How many of so many flows of a client each server answers, once all are answered.
fn flows_of(client: &Namespace, number: u16) -> BTreeMap<String, u64> {
    let answered = wait_for(&format!("answers to {number} flows"), PATIENCE, || {
        let servers = flows(client, SERVICE, number).unwrap();
        (servers.values().sum::<u64>() == u64::from(number)).then_some(servers)
    });
    answered.unwrap()
}

/// The link of all servers.
fn servers_link(priority: u8) -> Link<'static> {
    Link::broadcast(ROUTER_LINK, priority)
}
