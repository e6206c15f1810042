//! Reading and writing a neighbour cache.

use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::frame::Mac;
use super::namespace::Namespace;

/// State of a neighbour cache entry (RFC 4861 7.3.2, and Linux's `FAILED` for one whose resolution found nobody).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 4861 7.3.2")]
pub enum Nud {
    Incomplete,
    Reachable,
    Stale,
    Delay,
    Probe,
    Failed,
}

impl Nud {
    /// The name that `ip neigh` takes and, in capitals, prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Reachable => "reachable",
            Self::Stale => "stale",
            Self::Delay => "delay",
            Self::Probe => "probe",
            Self::Failed => "failed",
        }
    }

    const ALL: [Self; 6] =
        [Self::Incomplete, Self::Reachable, Self::Stale, Self::Delay, Self::Probe, Self::Failed];

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name().eq_ignore_ascii_case(name))
    }
}

/// An entry of a neighbour cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Where frames go; none while it is being resolved or after that failed.
    pub mac: Option<Mac>,
    /// How sure the owner of the cache is.
    pub state: Nud,
}

#[derive(Deserialize)]
struct Listed {
    dst: IpAddr,
    lladdr: Option<String>,
    state: Vec<String>,
}

/// The entry of `address` on `interface`; `None` if there is none.
///
/// # Errors
/// The cache cannot be read.
pub fn read(namespace: &Namespace, interface: &str, address: IpAddr) -> Result<Option<Neighbour>> {
    // `to ADDR` prints nothing for an entry in state NOARP or for none at all.
    let listed =
        namespace.ip(&["-j", "neigh", "show", "to", &address.to_string(), "dev", interface, "nud", "all"])?;
    let entries: Vec<Listed> =
        serde_json::from_str(listed.trim()).with_context(|| format!("ip neigh printed {listed:?}"))?;
    let Some(entry) = entries.into_iter().find(|entry| entry.dst == address) else { return Ok(None) };
    let state = entry
        .state
        .iter()
        .find_map(|name| Nud::parse(name))
        .with_context(|| format!("unknown neighbour state {:?}", entry.state))?;
    let mac = entry.lladdr.as_deref().map(str::parse).transpose()?;
    Ok(Some(Neighbour { mac, state }))
}

/// Sets the entry of `address`.
///
/// # Errors
/// The cache cannot be written.
pub fn write(
    namespace: &Namespace,
    interface: &str,
    address: IpAddr,
    mac: Option<Mac>,
    state: Nud,
) -> Result<()> {
    let address = address.to_string();
    let mac = mac.map(|mac| mac.to_string());
    let mut arguments = vec!["neigh", "replace", &address, "dev", interface, "nud", state.name()];
    if let Some(mac) = &mac {
        arguments.extend(["lladdr", mac]);
    }
    namespace.ip(&arguments).map(drop)
}

/// Removes the entry of `address`, if there is one.
///
/// # Errors
/// The cache cannot be written.
pub fn forget(namespace: &Namespace, interface: &str, address: IpAddr) -> Result<()> {
    let output = Command::new("ip")
        .args(["-n", namespace.name(), "neigh", "del", &address.to_string(), "dev", interface])
        .output()
        .context("run ip (package iproute2)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && !said.contains("No such file") {
        bail!("ip neigh del {address}: {}", said.trim());
    }
    Ok(())
}
