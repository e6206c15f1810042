//! The daemon in a farm: who owns, who answers, what the link gets to see, and what is left behind.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as the tests do, by a panic")]

mod authentication;
mod drain;
mod hold;
mod hooks;
mod lifecycle;
mod link;
mod log;
mod nsd;
mod ownership;
mod refusals;
mod standby;

use std::net::IpAddr;
use std::time::Duration;

use anycast_tests::lab::daemon::ServiceOptions;
use anycast_tests::lab::farm::{ROUTER_LINK, SERVER, SERVICE};
use anycast_tests::lab::{
    Capture, Captured, Daemon, DaemonOptions, DnsResponder, Farm, FarmOptions, Mac, Server, wait_for,
};
use anycast_user::telemetry::status::State;

/// How long anything may take but what is measured.
const PATIENCE: Duration = Duration::from_secs(15);

/// Name of the one service.
const DNS: &str = "dns";

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

/// A farm with a DNS service and a daemon in each server. Processes go before what they run in.
struct Rig {
    daemons: Vec<Daemon>,
    responders: Vec<DnsResponder>,
    farm: Farm,
}

impl Rig {
    /// Starts everything; whoever wins the first contest wins it.
    fn new(servers: usize, options: &DaemonOptions) -> Self {
        let mut rig = Self::without_daemons(servers);
        rig.daemons = rig.farm.servers.iter().map(|server| Daemon::start(server, options).unwrap()).collect();
        rig
    }

    /// Starts the DNS services alone.
    fn without_daemons(servers: usize) -> Self {
        let farm = Farm::new(&FarmOptions { servers, ..FarmOptions::default() }).unwrap();
        let responders = farm.servers.iter().map(|server| DnsResponder::start(server).unwrap()).collect();
        Self { daemons: Vec::new(), responders, farm }
    }

    /// One server that owns the service address.
    fn single(options: &DaemonOptions) -> Self {
        let rig = Self::new(1, options);
        rig.daemons[0].wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
        rig
    }

    /// Waits for one owner and tells which server it is; the others must be ready.
    fn owner(&self) -> usize {
        self.owner_of(DNS)
    }

    fn owner_of(&self, service: &str) -> usize {
        wait_for(&format!("one owner of {service}, the others ready"), PATIENCE, || {
            let states: Vec<State> = self
                .daemons
                .iter()
                .map(|daemon| daemon.service(service).map(|s| s.state))
                .collect::<Result<_, _>>()
                .ok()?;
            let owner = states.iter().position(|state| *state == State::Owner)?;
            let ready = |(number, state): (usize, &State)| number == owner || *state == State::Ready;
            states.iter().enumerate().all(ready).then_some(owner)
        })
        .unwrap()
    }

    fn server(&self) -> &Server {
        &self.farm.servers[0]
    }

    /// What passes the router's end of the link.
    fn capture(&self) -> Capture {
        Capture::start(&self.farm.router, ROUTER_LINK).unwrap()
    }
}

/// Whether a frame is an unsolicited advertisement of `address` by `mac` that moves entries.
fn announces(seen: &Captured, address: IpAddr, mac: Mac) -> bool {
    let parsed = seen.parse();
    if let Some(na) = parsed.advertisement() {
        return IpAddr::from(na.target) == address
            && na.from == mac
            && na.target_link_layer == Some(mac)
            && na.to == Mac::ALL_NODES
            && na.override_flag
            && !na.solicited;
    }
    parsed.arp().is_some_and(|arp| {
        arp.sender == mac
            && IpAddr::from(arp.sender_address) == address
            && arp.sender_address == arp.target_address
    })
}

/// Whether a frame is any unsolicited advertisement of `address`.
fn unsolicited(seen: &Captured, address: IpAddr) -> bool {
    seen.parse().advertisement().is_some_and(|na| IpAddr::from(na.target) == address && !na.solicited)
}

/// Whether an XDP program is attached to the server's interface.
fn attached(server: &Server) -> bool {
    server.namespace.ip(&["-d", "link", "show", SERVER]).unwrap().contains("prog/xdp")
}

/// Whether the server has joined the solicited-node group of [`SERVICE`].
fn joined(server: &Server) -> bool {
    let groups = server.namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/igmp6")).unwrap();
    // ff02::1:ff00:53 on the server's interface.
    groups.lines().any(|line| line.contains(SERVER) && line.contains("ff0200000000000000000001ff000053"))
}

/// The sysctls by which the kernel would speak for an IPv4 service address.
fn arp_sysctls(server: &Server) -> Vec<String> {
    let scopes = ["all", SERVER];
    let names = ["arp_ignore", "arp_announce"];
    let keys = scopes.iter().flat_map(|scope| names.map(|name| format!("net/ipv4/conf/{scope}/{name}")));
    keys.map(|key| server.namespace.read_sysctl(&key).unwrap()).collect()
}

/// The entries of the directory where a server pins.
fn pins(server: &Server) -> Vec<String> {
    let entries = std::fs::read_dir(&server.bpffs).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// Whether the service address is on `lo`.
fn local(server: &Server) -> bool {
    server.has_address("lo", SERVICE).unwrap()
}

/// Dual stack: the IPv4 service address shares the check.
fn dual_stack() -> DaemonOptions {
    let mut options = DaemonOptions::default();
    options.services.push(ServiceOptions::new("dns4", anycast_tests::lab::farm::SERVICE_V4));
    options
}
