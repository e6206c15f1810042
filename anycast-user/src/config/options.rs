//! The shape of the file, as it stands there: every key that may be written, with its place for error messages. What is
//! left out is filled in, and what does not fit is refused, by the validator.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::value::{Time, Vlan};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    pub daemon: Option<Daemon>,
    pub farm: Option<Spanned<Farm>>,
    pub ospf: Option<Spanned<Ospf>>,
    pub pool: Option<Spanned<Pool>>,
    #[serde(default)]
    pub interface: Vec<Spanned<Interface>>,
    #[serde(default)]
    pub service: Vec<Spanned<Service>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Daemon {
    pub control_socket: Option<Spanned<PathBuf>>,
    pub state_dir: Option<Spanned<PathBuf>>,
    pub bpffs: Option<Spanned<PathBuf>>,
    pub metrics: Option<Spanned<String>>,
    pub lease: Option<Spanned<Time>>,
    pub restart_lease: Option<Spanned<Time>>,
    pub grace: Option<Spanned<Time>>,
    pub bpf_log: Option<bool>,
    pub drain_file: Option<Spanned<PathBuf>>,
    pub notify: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Farm {
    pub name: Option<Spanned<String>>,
    pub heartbeat: Option<Spanned<Time>>,
    pub key_file: Option<Spanned<PathBuf>>,
    pub auth: Option<Spanned<String>>,
    pub foreign: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ospf {
    pub driver: Option<Spanned<String>>,
    pub router_id: Option<Spanned<String>>,
    pub lsa: Option<Spanned<String>>,
    pub tag: Option<Spanned<String>>,
    pub load_lsa: Option<Spanned<String>>,
    pub enterprise: Option<Spanned<i64>>,
    pub key_file: Option<Spanned<PathBuf>>,
    pub frr84_compat: Option<bool>,
    pub recalculate: Option<bool>,
    pub guard: Option<bool>,
    #[serde(default)]
    pub interface: Vec<Spanned<Uplink>>,
    pub frr: Option<Spanned<Frr>>,
    pub bird: Option<Spanned<Bird>>,
    pub route: Option<Spanned<KernelRoute>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uplink {
    pub name: Option<Spanned<String>>,
    #[serde(rename = "type")]
    pub link_type: Option<Spanned<String>>,
    pub area: Option<Spanned<String>>,
    pub stub: Option<bool>,
    pub instance: Option<Spanned<i64>>,
    pub hello: Option<Spanned<Time>>,
    pub dead: Option<Spanned<Time>>,
    pub retransmit: Option<Spanned<Time>>,
    pub cost: Option<Spanned<i64>>,
    pub mtu_ignore: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frr {
    pub vty_socket: Option<Spanned<PathBuf>>,
    pub vtysh: Option<Spanned<PathBuf>>,
    pub area: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bird {
    pub control_socket: Option<Spanned<PathBuf>>,
    pub include: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelRoute {
    pub protocol: Option<Spanned<i64>>,
    pub table: Option<Spanned<i64>>,
    pub prefix_length: Option<Spanned<i64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    pub min: Option<Spanned<i64>>,
    pub max: Option<Spanned<i64>>,
    pub levels: Option<Spanned<i64>>,
    pub up_hold: Option<Spanned<Time>>,
    pub down_hold: Option<Spanned<Time>>,
    pub jitter: Option<Spanned<Time>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    pub name: Option<Spanned<String>>,
    pub mode: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub name: Option<Spanned<String>>,
    pub interface: Option<Spanned<String>>,
    pub address: Option<Spanned<String>>,
    pub check_as: Option<Spanned<String>>,
    pub ports: Option<Spanned<Vec<i64>>>,
    pub mode: Option<Spanned<String>>,
    pub slice: Option<Spanned<Time>>,
    pub weight: Option<Spanned<i64>>,
    pub vlan: Option<Spanned<Vlan>>,
    #[serde(rename = "override")]
    pub override_flag: Option<Spanned<bool>>,
    pub source: Option<Spanned<String>>,
    pub priority: Option<Spanned<i64>>,
    pub preempt_delay: Option<Spanned<Time>>,
    pub per_router: Option<Spanned<bool>>,
    pub answer_delay: Option<Spanned<Time>>,
    pub drain_file: Option<Spanned<PathBuf>>,
    pub advertise: Option<Spanned<Vec<String>>>,
    pub ospf_interface: Option<Spanned<String>>,
    pub cost: Option<Spanned<Cost>>,
    pub check: Option<Spanned<Check>>,
    pub standby: Option<Spanned<Standby>>,
    pub load: Option<Spanned<Load>>,
    pub pool: Option<Spanned<ServicePool>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    pub registrars: Option<Spanned<Vec<String>>>,
    pub discover: Option<Spanned<Vec<Spanned<String>>>>,
    pub name: Option<Spanned<String>>,
    pub address: Option<Spanned<String>>,
    pub policy: Option<Spanned<String>>,
    pub weight: Option<Spanned<i64>>,
    pub priority: Option<Spanned<i64>>,
    pub tls: Option<Spanned<PoolTls>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolTls {
    pub ca: Option<Spanned<PathBuf>>,
    pub certificate: Option<Spanned<PathBuf>>,
    pub key: Option<Spanned<PathBuf>>,
    pub server_name: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicePool {
    pub enabled: Option<bool>,
    pub name: Option<Spanned<String>>,
    pub address: Option<Spanned<String>>,
    pub port: Option<Spanned<i64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    pub interval: Option<Spanned<Time>>,
    pub timeout: Option<Spanned<Time>>,
    pub rise: Option<Spanned<i64>>,
    pub fall: Option<Spanned<i64>>,
    pub dns: Option<Spanned<Dns>>,
    pub tcp: Option<Spanned<Tcp>>,
    pub exec: Option<Spanned<Exec>>,
    pub process: Option<Spanned<Process>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dns {
    pub server: Option<Spanned<String>>,
    pub name: Option<Spanned<String>>,
    #[serde(rename = "type")]
    pub rtype: Option<Spanned<String>>,
    pub udp: Option<bool>,
    pub tcp: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tcp {
    pub server: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    pub command: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    pub pid_file: Option<Spanned<PathBuf>>,
    pub unit: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standby {
    pub queries: Option<Spanned<i64>>,
    pub window: Option<Spanned<Time>>,
    pub on_standby: Option<Spanned<Vec<String>>>,
    pub on_wake: Option<Spanned<Vec<String>>>,
    pub wake_timeout: Option<Spanned<Time>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    pub capacity: Option<Spanned<i64>>,
    pub congested_above: Option<Spanned<f64>>,
}
