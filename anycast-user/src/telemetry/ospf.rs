//! What `anycast ospf neighbors | database | interfaces` shows: as JSON, and as tables for a terminal of 80 columns.

use std::fmt::Write as _;

use prometheus_client::metrics::counter::Counter;
use serde::{Deserialize, Serialize};

use super::scrape::{Scrape, float};
use super::table::seconds;

/// The whole picture.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ospf {
    /// `native`, `frr`, `bird`, `route`.
    pub driver: String,
    /// What this host is called; `null` where another daemon speaks.
    pub router_id: Option<String>,
    /// What keeps services from being advertised.
    pub trouble: Option<String>,
    /// Services that have a route, and its metric.
    pub routes: Vec<Route>,
    /// The speaker's interfaces; empty where another daemon speaks, as what follows.
    pub interfaces: Vec<Interface>,
    /// Its neighbours.
    pub neighbors: Vec<Neighbor>,
    /// Its database.
    pub database: Vec<Lsa>,
    /// LSAs in the database, and their octets.
    #[serde(default)]
    pub database_lsas: usize,
    /// See `database_lsas`.
    #[serde(default)]
    pub database_octets: usize,
    /// LSAs for which there was no room.
    pub database_refused_total: u64,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The service address.
    pub address: String,
    /// Its metric; 65535 = drained.
    pub metric: u32,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// `broadcast`, `point-to-point`.
    pub link_type: String,
    /// Its area.
    pub area: String,
    /// Its instance.
    pub instance: u8,
    /// Its state.
    pub state: String,
    /// The address that packets come from; `null` while it is down.
    pub address: Option<String>,
    /// Its MTU.
    pub mtu: Option<u16>,
    /// Cost of the link.
    pub cost: u16,
    /// Seconds between Hellos.
    pub hello_seconds: u16,
    /// Seconds until a silent router is dead.
    pub dead_seconds: u16,
    /// Designated Router.
    pub designated_router: Option<String>,
    /// Backup.
    pub backup_designated_router: Option<String>,
    /// Neighbours, and those of them that are Full.
    pub neighbors: usize,
    /// Adjacent and synchronised.
    pub full: usize,
    /// Are packets authenticated?
    pub authenticated: bool,
    /// Packets received.
    pub received_total: u64,
    /// Packets sent.
    pub sent_total: u64,
    /// LSAs sent again.
    pub retransmitted_total: u64,
    /// What was not taken, by reason; reasons that never occurred are left out.
    pub rejected: Vec<Rejected>,
}

/// What was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Why.
    pub reason: String,
    /// How often.
    pub total: u64,
}

/// A neighbour.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Neighbor {
    /// Its router id.
    pub router_id: String,
    /// Its address on the link.
    pub address: String,
    /// The link.
    pub interface: String,
    /// Its priority.
    pub priority: u8,
    /// State.
    pub state: String,
    /// For how long, seconds.
    pub state_seconds: f64,
    /// Seconds until it is dead if it stays silent.
    pub dead_in_seconds: f64,
    /// `DR`, `BDR`, `other`.
    pub role: String,
    /// LSAs to be fetched from it.
    pub requested: usize,
    /// LSAs that it has not acknowledged.
    pub unacknowledged: usize,
}

/// An LSA.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lsa {
    /// `link NAME`, `area A`, `as`.
    pub scope: String,
    /// Its type in words, or in hexadecimal.
    pub ls_type: String,
    /// Link State ID.
    pub link_state_id: u32,
    /// Who originated it.
    pub advertising_router: String,
    /// Age, seconds.
    pub age: u16,
    /// Sequence number.
    pub sequence: u32,
    /// Checksum.
    pub checksum: u16,
    /// Octets.
    pub length: u16,
    /// Ours?
    pub own: bool,
    /// What it says, in a line.
    pub says: String,
}

/// The neighbours as a table.
pub fn neighbors(picture: &Ospf) -> String {
    let mut text = head(picture);
    // Writing into a string does not fail; so everywhere below.
    let _ = writeln!(
        text,
        "{:<15} {:<5} {:<8} {:>7} {:>6}  {:<10} ADDRESS",
        "ROUTER", "ROLE", "STATE", "FOR", "DEAD", "INTERFACE"
    );
    for neighbor in &picture.neighbors {
        let _ = writeln!(
            text,
            "{:<15} {:<5} {:<8} {:>7} {:>6}  {:<10} {}",
            neighbor.router_id,
            neighbor.role,
            neighbor.state,
            seconds(neighbor.state_seconds),
            seconds(neighbor.dead_in_seconds),
            neighbor.interface,
            neighbor.address
        );
        if neighbor.requested + neighbor.unacknowledged > 0 {
            let (requested, unacknowledged) = (neighbor.requested, neighbor.unacknowledged);
            let _ = writeln!(text, "  {requested} LSAs to fetch, {unacknowledged} not acknowledged");
        }
    }
    text
}

/// The interfaces as a table.
pub fn interfaces(picture: &Ospf) -> String {
    let mut text = head(picture);
    let _ = writeln!(
        text,
        "{:<12} {:<15} {:<9} {:<15} {:<15} {:>7}",
        "INTERFACE", "STATE", "AREA", "DR", "BDR", "FULL"
    );
    for interface in &picture.interfaces {
        let or_none = |router: &Option<String>| router.clone().unwrap_or_else(|| "-".to_owned());
        let _ = writeln!(
            text,
            "{:<12} {:<15} {:<9} {:<15} {:<15} {:>7}",
            interface.name,
            interface.state,
            interface.area,
            or_none(&interface.designated_router),
            or_none(&interface.backup_designated_router),
            format!("{}/{}", interface.full, interface.neighbors)
        );
        let address = interface.address.as_deref().unwrap_or("no address");
        let mtu = interface.mtu.map_or_else(|| "-".to_owned(), |mtu| mtu.to_string());
        let auth = if interface.authenticated { "  authenticated" } else { "" };
        let _ = writeln!(
            text,
            "  {}  {address}  mtu {mtu}  instance {}  cost {}  hello {}s  dead {}s{auth}",
            interface.link_type,
            interface.instance,
            interface.cost,
            interface.hello_seconds,
            interface.dead_seconds
        );
        let _ = writeln!(
            text,
            "  received {}  sent {}  retransmitted {}",
            interface.received_total, interface.sent_total, interface.retransmitted_total
        );
        for rejected in &interface.rejected {
            let _ = writeln!(text, "  not taken: {} {}", rejected.total, rejected.reason);
        }
    }
    text
}

/// The database as a table.
pub fn database(picture: &Ospf) -> String {
    let mut text = head(picture);
    let mut scope = "";
    for lsa in &picture.database {
        if lsa.scope != scope {
            scope = &lsa.scope;
            let _ = writeln!(text, "\n{scope}");
            let _ = writeln!(
                text,
                "  {:<18} {:>10} {:<15} {:>5} {:>10} {:>6} {:>6}",
                "TYPE", "ID", "ROUTER", "AGE", "SEQUENCE", "SUM", "LENGTH"
            );
        }
        let own = if lsa.own { "*" } else { " " };
        let _ = writeln!(
            text,
            "{own} {:<18} {:>10} {:<15} {:>5} {:>#10x} {:>#6x} {:>6}",
            lsa.ls_type,
            lsa.link_state_id,
            lsa.advertising_router,
            lsa.age,
            lsa.sequence,
            lsa.checksum,
            lsa.length
        );
        if !lsa.says.is_empty() {
            let _ = writeln!(text, "    {}", lsa.says);
        }
    }
    if picture.database_refused_total > 0 {
        let _ = writeln!(text, "\nno room for {} LSAs", picture.database_refused_total);
    }
    text
}

fn head(picture: &Ospf) -> String {
    let mut text = format!("driver {}", picture.driver);
    if let Some(router_id) = &picture.router_id {
        let _ = write!(text, "  router id {router_id}");
    }
    for route in &picture.routes {
        let drained = if route.metric == 65_535 { " (drained)" } else { "" };
        let _ = write!(text, "\nroute {} metric {}{drained}", route.address, route.metric);
    }
    if let Some(trouble) = &picture.trouble {
        let _ = write!(text, "\nALARM {trouble}");
    }
    text.push('\n');
    text
}

/// Writes it as metrics.
pub(super) fn metrics(scrape: &mut Scrape, ospf: &Ospf) {
    let neighbors = scrape.gauge("anycast_ospf_neighbors", "OSPF neighbours, by state");
    let changed =
        scrape.gauge("anycast_ospf_neighbor_state_seconds", "How long the neighbour is in its state");
    for neighbor in &ospf.neighbors {
        let interface = ("interface", neighbor.interface.clone());
        let state = ("state", neighbor.state.clone());
        neighbors.get_or_create(&vec![interface.clone(), state.clone()]).inc();
        let router = ("router", neighbor.router_id.clone());
        changed.get_or_create(&vec![interface, router, state]).set(neighbor.state_seconds);
    }
    let received = scrape.counter("anycast_ospf_packets_received", "OSPF packets received");
    let sent = scrape.counter("anycast_ospf_packets_sent", "OSPF packets sent");
    let again =
        scrape.counter("anycast_ospf_lsas_retransmitted", "LSAs sent again for want of an acknowledgement");
    let rejected = scrape.counter("anycast_ospf_rejected", "OSPF packets and LSAs that were not taken");
    for interface in &ospf.interfaces {
        let of = vec![("interface", interface.name.clone())];
        received.get_or_create(&of).inc_by(interface.received_total);
        sent.get_or_create(&of).inc_by(interface.sent_total);
        again.get_or_create(&of).inc_by(interface.retransmitted_total);
        for Rejected { reason, total } in &interface.rejected {
            let labels = vec![("interface", interface.name.clone()), ("reason", reason.clone())];
            rejected.get_or_create(&labels).inc_by(*total);
        }
    }
    if ospf.router_id.is_some() {
        scrape.plain("anycast_ospf_database_lsas", "LSAs in the database", float(ospf.database_lsas as u64));
        scrape.plain("anycast_ospf_database_bytes", "Their size", float(ospf.database_octets as u64));
        let refused: Counter = Counter::default();
        refused.inc_by(ospf.database_refused_total);
        scrape.registry.register(
            "anycast_ospf_database_refused",
            "LSAs for which there was no room",
            refused,
        );
    }
}
