//! Reads the picture: links by name, all addresses, and the forwarding state.

use std::{collections::BTreeMap, future::Future, time::Duration};

use futures_util::TryStreamExt;
use nix::errno::Errno;
use rtnetlink::{
    Handle,
    packet_route::{
        AddressFamily,
        address::{AddressAttribute, AddressFlags as RouteAddressFlags, AddressHeaderFlags, AddressMessage},
        link::{InfoData, InfoVlan, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage},
    },
};
use tokio::task::AbortHandle;

use super::{
    AddressFlags, AddressSeen, Interface, InterfaceAddress, LinkError, Report, Snapshot, Vlan, Watched,
};

/// A connection for requests; dropping it closes it.
pub(super) struct Reader {
    handle: Handle,
    connection: AbortHandle,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Reader {
    /// Opens a connection in the network namespace of this thread.
    pub(super) fn connect() -> Result<Self, LinkError> {
        let (connection, handle, _no_notifications) = rtnetlink::new_connection().map_err(|source| {
            LinkError::Socket { operation: "open a netlink socket for requests", source }
        })?;
        Ok(Self { handle, connection: tokio::spawn(connection).abort_handle() })
    }

    /// Reads what is watched.
    pub(super) async fn read(&self, watched: &Watched) -> Result<Report, LinkError> {
        let mut links = BTreeMap::new();
        for name in &watched.interfaces {
            links.insert(name.clone(), self.link_by_name(name).await?);
        }
        let all_addresses = self.addresses().await?;

        let interfaces = links
            .iter()
            .map(|(name, link)| Snapshot {
                name: name.clone(),
                interface: link.as_ref().map(|link| interface(name, link, &all_addresses)),
            })
            .collect();

        let mut addresses = Vec::new();
        for (index, seen) in &all_addresses {
            if !watched.addresses.contains(&seen.address) {
                continue;
            }
            // An interface that was deleted since has taken its addresses along.
            let Some(link) = self.link_by_index(*index).await? else { continue };
            addresses.push(AddressSeen {
                address: seen.address,
                interface: name_of(&link).to_owned(),
                index: *index,
                on_loopback: link.header.flags.contains(LinkFlags::Loopback),
                prefix: seen.prefix,
                flags: seen.flags,
            });
        }
        addresses.sort();
        Ok(Report { interfaces, addresses, at: crate::monitor::now() })
    }

    async fn link_by_name(&self, name: &str) -> Result<Option<LinkMessage>, LinkError> {
        // The kernel answers ENODEV to a name that no interface can have, or ERANGE: either way there is none.
        if name.is_empty() || name.len() >= IFNAMSIZ {
            return Ok(None);
        }
        let request = self.handle.link().get().match_name(name.to_owned());
        let request = request.set_filter_mask(AddressFamily::Unspec, vec![LinkExtentMask::SkipStats]);
        one_link(format!("read interface {name}"), request.execute()).await
    }

    async fn link_by_index(&self, index: u32) -> Result<Option<LinkMessage>, LinkError> {
        let request = self.handle.link().get().match_index(index);
        let request = request.set_filter_mask(AddressFamily::Unspec, vec![LinkExtentMask::SkipStats]);
        one_link(format!("read interface {index}"), request.execute()).await
    }

    /// All addresses with the index of their interface, in the order of index and address.
    async fn addresses(&self) -> Result<Vec<(u32, InterfaceAddress)>, LinkError> {
        let dump = self.handle.address().get().execute();
        let messages: Vec<AddressMessage> = answered("read addresses", dump.try_collect()).await?;
        let mut addresses: Vec<_> = messages
            .iter()
            .filter_map(|message| Some((message.header.index, interface_address(message)?)))
            .collect();
        addresses.sort();
        Ok(addresses)
    }
}

/// Interface names are shorter than this (`<linux/if.h>`).
const IFNAMSIZ: usize = 16;

/// The kernel answers within milliseconds; this only keeps a lost answer from blinding the monitor.
const ANSWER: Duration = Duration::from_secs(2);

async fn answered<T>(
    operation: &str,
    answer: impl Future<Output = Result<T, rtnetlink::Error>>,
) -> Result<T, LinkError> {
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(LinkError::Request { operation: operation.to_owned(), source }),
        Err(_elapsed) => Err(LinkError::Unanswered { operation: operation.to_owned(), after: ANSWER }),
    }
}

async fn one_link(
    operation: String,
    mut links: impl futures_util::Stream<Item = Result<LinkMessage, rtnetlink::Error>> + Unpin,
) -> Result<Option<LinkMessage>, LinkError> {
    match answered(&operation, links.try_next()).await {
        Err(LinkError::Request { source: rtnetlink::Error::NetlinkError(error), .. })
            if error.raw_code() == -(Errno::ENODEV as i32) =>
        {
            Ok(None)
        }
        result => result,
    }
}

fn name_of(link: &LinkMessage) -> &str {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.as_str()),
            _ => None,
        })
        .unwrap_or_default()
}

fn interface(name: &str, link: &LinkMessage, addresses: &[(u32, InterfaceAddress)]) -> Interface {
    let index = link.header.index;
    let flags = link.header.flags;
    let mut interface = Interface {
        index,
        up: flags.contains(LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Running),
        admin_up: flags.contains(LinkFlags::Up),
        mac: None,
        mtu: 0,
        addresses: addresses.iter().filter(|(on, _)| *on == index).map(|(_, seen)| *seen).collect(),
        forwarding6: forwards(name),
        controller: None,
        vlan: None,
    };
    let (mut lower, mut lower_is_elsewhere, mut vid) = (None, false, None);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => interface.mac = bytes.as_slice().try_into().ok(),
            LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
            LinkAttribute::Controller(index) => interface.controller = Some(*index),
            LinkAttribute::Link(index) => lower = Some(*index),
            LinkAttribute::LinkNetNsId(_) => lower_is_elsewhere = true,
            LinkAttribute::LinkInfo(info) => vid = vlan_id(info),
            _ => {}
        }
    }
    interface.vlan = vid.map(|vid| Vlan { vid, parent: lower.filter(|_| !lower_is_elsewhere) });
    interface
}

fn vlan_id(info: &[LinkInfo]) -> Option<u16> {
    let data = info.iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vlan(data)) => Some(data),
        _ => None,
    })?;
    data.iter().find_map(|info| match info {
        InfoVlan::Id(vid) => Some(*vid),
        _ => None,
    })
}

/// `/proc/sys/net` shows the network namespace of the reading thread. No file means no IPv6 on the interface, and such an
/// interface forwards none.
fn forwards(name: &str) -> bool {
    std::fs::read(format!("/proc/sys/net/ipv6/conf/{name}/forwarding"))
        .is_ok_and(|value| value.first().is_some_and(|digit| *digit != b'0'))
}

fn interface_address(message: &AddressMessage) -> Option<InterfaceAddress> {
    let (mut address, mut local, mut flags) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(value) => address = Some(*value),
            // On a point-to-point link IFA_ADDRESS is the peer's and IFA_LOCAL ours.
            AddressAttribute::Local(value) => local = Some(*value),
            AddressAttribute::Flags(value) => flags = Some(*value),
            _ => {}
        }
    }
    let has = |whole: RouteAddressFlags, eight_bits: AddressHeaderFlags| match flags {
        Some(flags) => flags.contains(whole),
        None => message.header.flags.contains(eight_bits),
    };
    Some(InterfaceAddress {
        address: local.or(address)?,
        prefix: message.header.prefix_len,
        flags: AddressFlags {
            tentative: has(RouteAddressFlags::Tentative, AddressHeaderFlags::Tentative)
                && !has(RouteAddressFlags::Optimistic, AddressHeaderFlags::Optimistic),
            dad_failed: has(RouteAddressFlags::Dadfailed, AddressHeaderFlags::Dadfailed),
            deprecated: has(RouteAddressFlags::Deprecated, AddressHeaderFlags::Deprecated),
            nodad: has(RouteAddressFlags::Nodad, AddressHeaderFlags::Nodad),
        },
    })
}
