//! Routes in the kernel's table, for any routing daemon to redistribute, BGP included: `blackhole ADDRESS metric COST`, with a
//! protocol number of their own, by which the daemon recognises them.
//!
//! The route leads nowhere, because the address is this host's: the table `local` is looked up first. If the address is not there
//! what comes is dropped, instead of sent back to the router. A daemon that prefers the address's own, connected route to any of the
//! same prefix (FRR) is given a shorter one, `prefix_length`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType};
use rtnetlink::{Handle, RouteMessageBuilder};

use super::driven::{Drive, DriverError, Routes};
use crate::config::ospf::KernelRoute as Options;

/// The driver.
pub(super) struct KernelRoute {
    options: Options,
    handle: Handle,
    /// Where routes of services lead, and the services: routes of others with the same protocol number are left alone.
    services: BTreeMap<(IpAddr, u8), IpAddr>,
}

impl KernelRoute {
    /// # Errors
    /// No rtnetlink socket.
    pub(super) fn new(options: Options, services: &[(IpAddr, Option<String>)]) -> Result<Self, DriverError> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|error| failed("open an rtnetlink socket", error))?;
        // It ends when the last handle is dropped.
        tokio::spawn(connection);
        let services =
            services.iter().map(|(address, _)| (options.destination(*address), *address)).collect();
        Ok(Self { options, handle, services })
    }

    fn message(&self, address: IpAddr, metric: u32) -> Result<RouteMessage, DriverError> {
        let (destination, length) = self.options.destination(address);
        let builder = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(destination, length)
            .map_err(|error| failed(&format!("make a route to {address}"), error))?;
        Ok(builder
            .kind(RouteType::BlackHole)
            .protocol(RouteProtocol::from(self.options.protocol))
            .table_id(self.options.table)
            .priority(metric)
            .build())
    }

    /// Our routes, as the kernel has them.
    async fn there(&self) -> Result<Vec<(IpAddr, u32)>, DriverError> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet6, AddressFamily::Inet] {
            // Nothing but the family: the kernel would take anything else for a filter.
            let mut all = RouteMessage::default();
            all.header.address_family = family;
            let mut routes = self.handle.route().get(all).execute();
            while let Some(route) = routes.try_next().await.map_err(|error| failed("list routes", error))? {
                found.extend(self.ours(&route));
            }
        }
        Ok(found)
    }

    fn ours(&self, route: &RouteMessage) -> Option<(IpAddr, u32)> {
        let (mut address, mut metric, mut table) = (None, 0, u32::from(route.header.table));
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(v4)) => address = Some(IpAddr::V4(*v4)),
                RouteAttribute::Destination(RouteAddress::Inet6(v6)) => address = Some(IpAddr::V6(*v6)),
                RouteAttribute::Priority(priority) => metric = *priority,
                RouteAttribute::Table(number) => table = *number,
                _ => {}
            }
        }
        let mine = route.header.protocol == RouteProtocol::from(self.options.protocol)
            && table == self.options.table
            && route.header.kind == RouteType::BlackHole;
        let destination = (address.filter(|_| mine)?, route.header.destination_prefix_length);
        self.services.get(&destination).map(|service| (*service, metric))
    }
}

fn failed(operation: &str, error: impl ToString) -> DriverError {
    DriverError { driver: KernelRoute::NAME, operation: operation.to_owned(), why: error.to_string() }
}

impl Drive for KernelRoute {
    const NAME: &'static str = "route";

    /// The kernel's table is what counts, not what was done to it: somebody may have flushed it.
    async fn apply(&mut self, routes: &Routes) -> Result<(), DriverError> {
        let there = self.there().await?;
        // The new one first: a route of another metric is another route, and there is never none.
        for (address, metric) in routes {
            let wanted = (*address, u32::from(*metric));
            if !there.contains(&wanted) {
                let message = self.message(wanted.0, wanted.1)?;
                let added = self.handle.route().add(message).execute().await;
                added.map_err(|error| {
                    failed(&format!("add a route to {address} with metric {metric}"), error)
                })?;
            }
        }
        for (address, metric) in there {
            if routes.get(&address).copied().map(u32::from) != Some(metric) {
                let message = self.message(address, metric)?;
                let removed = self.handle.route().del(message).execute().await;
                removed.map_err(|error| failed(&format!("remove the route to {address}"), error))?;
            }
        }
        Ok(())
    }
}
