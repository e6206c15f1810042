//! Services advertised by OSPFv3: the daemon's own speaker, and other daemons that it drives, with real routers.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as the tests do, by a panic")]

mod deaths;
mod dissected;
mod driven;
mod keys;
mod native;

use std::time::Duration;

use anycast_tests::lab::farm::{ROUTER_LINK, SERVICE};
use anycast_tests::lab::frr::{OspfInterface, ospf6d};
use anycast_tests::lab::route_watch::next_hops;
use anycast_tests::lab::routed::{self, Host, Speaker};
use anycast_tests::lab::{
    Bird, Client, Daemon, DnsResponder, Farm, FarmOptions, Frr, bird, wait_for, wait_until,
};

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

/// Who is the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// FRR's ospf6d.
    Frr,
    /// BIRD, by OSPFv3, with these further lines of its interface.
    Bird(&'static str),
    /// BIRD, by BGP.
    Bgp,
}

/// The router's daemon.
enum Router {
    Frr(Frr),
    Bird(Bird),
}

impl Router {
    /// One that is Designated Router of the servers' link, or their BGP neighbour.
    fn start(kind: Kind, farm: &Farm) -> Self {
        let directory = farm.directory().join("router");
        let bird =
            |configuration: &str| Self::Bird(Bird::start(&farm.router, &directory, configuration).unwrap());
        match kind {
            Kind::Frr => {
                let link =
                    OspfInterface { name: ROUTER_LINK, priority: 1, passive: false, cost: 10, more: "" };
                let configuration = ospf6d("10.0.0.1", &[link]);
                Self::Frr(Frr::start(&farm.router, &directory, &[("ospf6d", configuration)]).unwrap())
            }
            Kind::Bird(more) => bird(&bird::router("10.0.0.1", ROUTER_LINK, 1, more)),
            Kind::Bgp => bird(&routed::bgp_router(ROUTER_LINK, &farm.servers)),
        }
    }

    /// What it knows, for a test that fails.
    fn describe(&self, farm: &Farm) -> String {
        match self {
            Self::Frr(frr) => {
                let show = ["show ipv6 ospf6 neighbor", "show ipv6 ospf6 route detail"];
                frr.vtysh(&farm.router, &show)
            }
            Self::Bird(bird) => bird.birdc("show route all"),
        }
        .unwrap_or_else(|error| format!("{error:#}"))
    }
}

/// Servers with a DNS service and a daemon each. Processes go before what they run in.
struct Rig {
    daemons: Vec<Daemon>,
    responders: Vec<DnsResponder>,
    hosts: Vec<Host>,
    router: Router,
    farm: Farm,
}

impl Rig {
    /// `more`: more lines of `[ospf]` on each server.
    fn new(kind: Kind, speaker: Speaker, servers: usize, more: &str) -> Self {
        Self::start(kind, speaker, servers, more, true)
    }

    /// The same, of servers that no route will come from.
    fn unrouted(kind: Kind, speaker: Speaker, servers: usize, more: &str) -> Self {
        Self::start(kind, speaker, servers, more, false)
    }

    fn start(kind: Kind, speaker: Speaker, servers: usize, more: &str, wait: bool) -> Self {
        let farm = Farm::new(&FarmOptions { servers, ..FarmOptions::default() }).unwrap();
        // By flow, not by address: one client is many.
        farm.router.sysctl("net/ipv6/fib_multipath_hash_policy", "1").unwrap();
        let router = Router::start(kind, &farm);
        let each = || farm.servers.iter().enumerate();
        let hosts = each().map(|(number, server)| Host::start(speaker, number, server).unwrap()).collect();
        let responders = farm.servers.iter().map(|server| DnsResponder::start(server).unwrap()).collect();
        let mut rig = Self { daemons: Vec::new(), responders, hosts, router, farm };
        for (number, server) in rig.farm.servers.iter().enumerate() {
            let options = routed::daemon(speaker, number, server, more);
            rig.daemons.push(Daemon::start(server, &options).unwrap());
            // One after the other: FRR 8.4 keeps next hops for good if two servers of one address become Full within one of its
            // calculations.
            if wait {
                rig.wait_for_next_hops(&(0..=number).collect::<Vec<_>>());
            }
        }
        rig
    }

    /// The addresses that the router's kernel has as next hops of the service.
    fn next_hops(&self) -> Vec<String> {
        next_hops(&self.farm.router, SERVICE).unwrap()
    }

    /// Waits until the router's kernel has these servers as next hops, and no others.
    fn wait_for_next_hops(&self, servers: &[usize]) {
        let of = |address: fn(&Self, usize) -> String| {
            let mut hops: Vec<String> = servers.iter().map(|server| address(self, *server)).collect();
            hops.sort_unstable();
            hops
        };
        // OSPF's are link-local addresses, BGP's those of the sessions.
        let expected = [of(Self::link_local), of(|rig, server| rig.farm.servers[server].address.to_string())];
        let arrived = wait_for(&format!("next hops {expected:?}"), PATIENCE, || {
            expected.contains(&self.next_hops()).then_some(())
        });
        arrived.unwrap_or_else(|error| {
            let show = ["-6", "route", "show", "table", "all", "proto", "172"];
            let own: Vec<String> =
                self.farm.servers.iter().map(|server| server.namespace.ip(&show).unwrap()).collect();
            let router = self.router.describe(&self.farm);
            panic!(
                "{error:#}; they are {:?}\n{router}\nkernel routes of servers: {own:?}\n{:?}",
                self.next_hops(),
                self.hosts
            )
        });
    }

    fn link_local(&self, server: usize) -> String {
        routed::link_local(&self.farm.servers[server]).unwrap()
    }

    /// The servers that answer many flows.
    fn answering(&self) -> Vec<String> {
        let mut servers: Vec<String> = Vec::new();
        for _ in 0..16 {
            let client = Client::start(&self.farm.client, SERVICE, Duration::from_millis(5)).unwrap();
            wait_until("some queries are answered", PATIENCE, || client.counts().1 >= 3).unwrap();
            servers.extend(client.stop().by_server().into_keys());
        }
        servers.sort_unstable();
        servers.dedup();
        servers
    }
}
