//! Drives FRR's ospf6d by vtysh: the address is on an interface that FRR knows, and that interface's cost is the route's metric.
//!
//! FRR applies a changed cost of a passive interface as a new Intra-Area-Prefix-LSA, without a calculation of routes. Most of the
//! time a change takes is vtysh's own start.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::driven::{Drive, DriverError, Routes};
use crate::config::ospf::Frr as Options;
use crate::program;

/// How long vtysh may take; it waits while ospf6d is busy.
const LIMIT: Duration = Duration::from_secs(10);

/// The driver.
pub(super) struct Frr {
    options: Options,
    /// The interface of each service.
    interfaces: BTreeMap<IpAddr, String>,
    /// What FRR was told; `None` = not known.
    told: Option<Routes>,
}

impl Frr {
    /// `services`: with the interface of each.
    pub(super) fn new(options: &Options, services: &[(IpAddr, Option<String>)]) -> Self {
        let interfaces =
            services.iter().filter_map(|(address, interface)| Some((*address, interface.clone()?)));
        Self { options: options.clone(), interfaces: interfaces.collect(), told: None }
    }

    /// What brings FRR from what it was told to `routes`.
    fn commands(&self, routes: &Routes) -> Vec<String> {
        let area = self.options.area;
        let mut commands = Vec::new();
        for (address, interface) in &self.interfaces {
            let told = self.told.as_ref().map(|told| told.get(address));
            match routes.get(address) {
                metric if told == Some(metric) => {}
                Some(metric) => {
                    commands.push(format!("interface {interface}"));
                    commands.push(format!("ipv6 ospf6 cost {metric}"));
                    if told.is_none_or(|told| told.is_none()) {
                        commands.push("ipv6 ospf6 passive".to_owned());
                        commands.push(format!("ipv6 ospf6 area {area}"));
                    }
                    commands.push("exit".to_owned());
                }
                // What is not there cannot be taken away: nothing is asked of an interface that never had it.
                None => {
                    commands.push(format!("interface {interface}"));
                    commands.push(format!("no ipv6 ospf6 area {area}"));
                    commands.push("exit".to_owned());
                }
            }
        }
        commands
    }
}

impl Drive for Frr {
    const NAME: &'static str = "frr";

    async fn apply(&mut self, routes: &Routes) -> Result<(), DriverError> {
        let commands = self.commands(routes);
        if !commands.is_empty() {
            let text = |path: &std::path::Path| path.display().to_string();
            let mut line =
                vec![text(&self.options.vtysh), "--vty_socket".to_owned(), text(&self.options.vty_socket)];
            for command in std::iter::once("configure terminal".to_owned()).chain(commands) {
                line.extend(["-c".to_owned(), command]);
            }
            // Until it is known to be done, nothing is known.
            let before = self.told.take();
            program::run(&line, &[], Instant::now() + LIMIT, LIMIT).await.map_err(|error| DriverError {
                driver: Self::NAME,
                operation: "drive ospf6d".to_owned(),
                why: format!("{error}; are zebra and ospf6d up, and is ospf.frr.vty_socket theirs?"),
            })?;
            drop(before);
        }
        self.told = Some(routes.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn frr() -> Frr {
        let options = Options {
            vty_socket: PathBuf::from("/run/frr"),
            vtysh: PathBuf::from("/usr/bin/vtysh"),
            area: std::net::Ipv4Addr::UNSPECIFIED,
        };
        Frr::new(&options, &[("2001:db8::53".parse().unwrap(), Some("any0".to_owned()))])
    }

    #[test]
    fn only_what_changes_is_said() {
        let mut frr = frr();
        let with = |metric| Routes::from([("2001:db8::53".parse().unwrap(), metric)]);
        let cost = |frr: &Frr, routes: &Routes| frr.commands(routes).join("; ");
        assert_eq!(
            cost(&frr, &with(10)),
            "interface any0; ipv6 ospf6 cost 10; ipv6 ospf6 passive; ipv6 ospf6 area 0.0.0.0; exit",
            "nothing is known: all of it"
        );
        assert_eq!(cost(&frr, &Routes::new()), "interface any0; no ipv6 ospf6 area 0.0.0.0; exit");
        frr.told = Some(with(10));
        assert_eq!(cost(&frr, &with(10)), "");
        assert_eq!(cost(&frr, &with(20)), "interface any0; ipv6 ospf6 cost 20; exit");
        assert_eq!(cost(&frr, &Routes::new()), "interface any0; no ipv6 ospf6 area 0.0.0.0; exit");
    }
}
