//! Servers whose service is advertised by a routing protocol: by the daemon itself, or by another daemon that it drives.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::bird::Bird;
use super::daemon::{DaemonOptions, ServiceOptions};
use super::farm::{SERVER, SERVICE, Server};
use super::frr::{Frr, OspfInterface, ospf6d};

/// The service's name.
pub const DNS: &str = "dns";

/// An interface for the service address, where FRR is driven.
const STUB: &str = "acany0";

/// Who speaks to the routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    /// The daemon itself.
    Native,
    /// FRR's ospf6d.
    FrrVtysh,
    /// BIRD.
    BirdBirdc,
    /// A kernel route, which BIRD redistributes by BGP.
    RouteBirdBgp,
    /// The same with FRR.
    RouteFrrBgp,
}

/// What runs on a server besides the daemon.
#[derive(Debug)]
pub enum Host {
    /// Nothing.
    Nothing,
    /// FRR.
    Frr(Frr),
    /// BIRD.
    Bird(Bird),
}

/// The autonomous system of the servers.
pub const SERVERS_AS: u32 = 65_001;
/// The autonomous system of the router.
pub const ROUTER_AS: u32 = 65_000;

fn directory(server: &Server) -> PathBuf {
    server.directory.join("routing")
}

impl Host {
    /// Starts on server `number`, counted from 0, what `speaker` needs.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn start(speaker: Speaker, number: usize, server: &Server) -> Result<Self> {
        let directory = directory(server);
        let router_id = router_id(number);
        let head = format!("log stderr all;\nrouter id {router_id};\nprotocol device {{ scan time 2; }}\n");
        Ok(match speaker {
            Speaker::Native => Self::Nothing,
            Speaker::FrrVtysh => {
                server.namespace.ip_batch(&format!(
                    "link add {STUB} type veth peer name {STUB}p\nlink set {STUB}p up\nlink set {STUB} up\n\
                     addr add {SERVICE}/128 dev {STUB}\n"
                ))?;
                let link = OspfInterface { name: SERVER, priority: 0, passive: false, cost: 10, more: "" };
                let configuration = ospf6d(&router_id, &[link]);
                Self::Frr(Frr::start(&server.namespace, &directory, &[("ospf6d", configuration)])?)
            }
            Speaker::BirdBirdc => {
                std::fs::create_dir_all(&directory)?;
                let include = directory.join("anycast.conf");
                std::fs::write(&include, "")?;
                let configuration = format!(
                    "{head}protocol ospf v3 o3 {{ tick 1; ipv6 {{ import none; export none; }}; area 0 {{\n\
                     interface \"{SERVER}\" {{ type broadcast; hello 1; dead 4; wait 2; priority 0; cost 10; }};\n\
                     include \"{}\";\n}}; }}\n",
                    include.display()
                );
                Self::Bird(Bird::start(&server.namespace, &directory, &configuration)?)
            }
            Speaker::RouteBirdBgp => {
                let configuration =
                    example(include_str!("../../../dist/examples/bird-bgp.conf"), &router_id, server);
                Self::Bird(Bird::start(&server.namespace, &directory, &configuration)?)
            }
            Speaker::RouteFrrBgp => {
                let configuration =
                    example(include_str!("../../../dist/examples/frr-bgp.conf"), &router_id, server);
                let idle = "hostname lab\nlog stdout\n".to_owned();
                let frr = Frr::start(&server.namespace, &directory, &[("bgpd", idle)])?;
                frr.load(&server.namespace, &configuration)?;
                Self::Frr(frr)
            }
        })
    }

    /// What it knows of routes, for a test that fails.
    pub fn describe(&self, server: &Server) -> String {
        let said = |said: Result<String>| said.unwrap_or_else(|error| format!("{error:#}"));
        match self {
            Self::Nothing => String::new(),
            Self::Frr(frr) => ["show ipv6 route", "show bgp ipv6 unicast", "show running-config"]
                .map(|line| said(frr.vtysh(&server.namespace, &[line])))
                .join("\n"),
            Self::Bird(bird) => said(bird.birdc("show route all")),
        }
    }

    /// Kills it without a farewell.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Frr(frr) => frr.kill(),
            Self::Bird(bird) => bird.kill(),
        }
    }
}

/// An example's text, which is that of the lab's first server, for any of them.
fn example(text: &str, router_id: &str, server: &Server) -> String {
    let first = ("10.0.1.1", "2001:db8:53:1::1:1");
    text.replace(first.0, router_id).replace(first.1, &server.address.to_string())
}

/// The router id of server `number`, counted from 0.
pub fn router_id(number: usize) -> String {
    format!("10.0.1.{}", number + 1)
}

/// Configuration of server `number`, counted from 0. `more`: more lines of `[ospf]`.
pub fn daemon(speaker: Speaker, number: usize, server: &Server, more: &str) -> DaemonOptions {
    let directory = directory(server);
    let directory = directory.display();
    let mut service = ServiceOptions::new(DNS, SERVICE);
    service.mode = "solicited".to_owned();
    service.more = "advertise = [\"ospf\"]".to_owned();
    let tables = match speaker {
        Speaker::Native => format!(
            "[ospf]\nrouter_id = \"{}\"\n{more}\n[[ospf.interface]]\nname = \"{SERVER}\"\nhello = \"1s\"\ndead = \"4s\"\n",
            router_id(number)
        ),
        Speaker::FrrVtysh => {
            service.more += &format!("\nospf_interface = \"{STUB}\"");
            format!("[ospf]\ndriver = \"frr\"\n{more}\n[ospf.frr]\nvty_socket = \"{directory}\"\n")
        }
        Speaker::BirdBirdc => format!(
            "[ospf]\ndriver = \"bird\"\n{more}\n[ospf.bird]\ncontrol_socket = \"{directory}/bird.ctl\"\n\
             include = \"{directory}/anycast.conf\"\n"
        ),
        Speaker::RouteBirdBgp => format!("[ospf]\ndriver = \"route\"\n{more}\n"),
        Speaker::RouteFrrBgp => {
            format!("[ospf]\ndriver = \"route\"\n{more}\n[ospf.route]\nprefix_length = 127\n")
        }
    };
    DaemonOptions { tables, ..DaemonOptions::with(service) }
}

/// BIRD as the router of servers that speak BGP.
pub fn bgp_router(link: &str, servers: &[Server]) -> String {
    let mut text = format!(
        "log stderr all;\nrouter id 10.0.0.1;\nprotocol device {{ scan time 2; }}\nprotocol direct {{ ipv6; interface \"{link}\"; }}\n\
         protocol kernel {{ ipv6 {{ export where source = RTS_BGP; }}; merge paths yes limit 16; }}\n"
    );
    for server in servers {
        text += &format!(
            "protocol bgp {{ local {} as {ROUTER_AS}; neighbor {} as {SERVERS_AS}; hold time 9; passive; \
             ipv6 {{ import all; export none; }}; }}\n",
            super::farm::ROUTER_ADDRESS,
            server.address
        );
    }
    text
}

/// FRR as the router of servers that speak BGP.
pub fn frr_bgp_router(servers: &[Server]) -> String {
    let mut text = format!(
        "hostname lab\nlog stdout\n!\nrouter bgp {ROUTER_AS}\n bgp router-id 10.0.0.1\n no bgp ebgp-requires-policy\n \
         no bgp default ipv4-unicast\n timers bgp 3 9\n"
    );
    for server in servers {
        text += &format!(" neighbor {0} remote-as {SERVERS_AS}\n neighbor {0} passive\n", server.address);
    }
    text += " address-family ipv6 unicast\n  maximum-paths 16\n";
    for server in servers {
        text += &format!("  neighbor {} activate\n", server.address);
    }
    text + " exit-address-family\n"
}

/// The address by which routers on the link reach a server.
///
/// # Errors
/// It has none.
pub fn link_local(server: &Server) -> Result<String> {
    let listed = server.namespace.ip(&["-6", "-o", "addr", "show", "dev", SERVER])?;
    let words = listed.split_whitespace().filter_map(|word| word.split('/').next());
    let mut addresses = words.filter_map(|word| word.parse::<Ipv6Addr>().ok());
    let address = addresses.find(Ipv6Addr::is_unicast_link_local).context("no link-local address")?;
    Ok(address.to_string())
}
