//! The memberships of solicited-node multicast groups (RFC 4291 2.7.1) that make solicitations arrive.
//!
//! The service address is on `lo`, so the kernel joins its group on no link; without the join the NIC's filter and a
//! snooping switch (RFC 4541) keep the solicitations away. The join is a real one, by a UDP socket: the kernel programs the
//! filter, sends the MLD reports (RFC 3810) and leaves the group when the process dies. IPv4 needs nothing: ARP requests are
//! broadcast.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::{fs, io};

use socket2::{Domain, Socket, Type};
use tracing::{debug, warn};

use super::sender::{add_filter_membership, packet_socket};
use super::{interface_index, interface_is_gone};

/// Why a membership could not be had.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// There is no interface of that name. [`Groups::refresh`] joins when it is back.
    #[error("cannot join {group} on {interface}: the interface does not exist")]
    Gone {
        /// The interface's name.
        interface: String,
        /// The multicast group.
        group: Ipv6Addr,
    },
    /// The kernel refused.
    #[error("cannot join {group} on {interface}: {source}")]
    Join {
        /// The interface's name.
        interface: String,
        /// The multicast group.
        group: Ipv6Addr,
        /// What the kernel said.
        source: io::Error,
    },
}

/// How the link learns of a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// The kernel reports it by MLD on the service's link.
    Reported,
    /// The service is on a VLAN for which there is no device: only the NIC's filter is open, and no MLD report is sent. A
    /// snooping switch may then keep multicast solicitations away.
    FilterOnly,
}

/// The solicited-node group of an address: ff02::1:ff00:0/104 and its low 24 bits (RFC 4291 2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from(b) << 8 | u16::from(c))
}

/// The MAC address of a multicast group (RFC 2464 7).
pub fn multicast_mac(group: Ipv6Addr) -> [u8; 6] {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

/// Where a group is joined: the interface of the service and its VLAN, as
/// [`vlan_key`](anycast_common::abi::vlan_key).
type Link = (String, u32);

/// All memberships of the daemon. Two addresses that share their low 24 bits share one membership.
#[derive(Debug, Default)]
pub struct Groups {
    groups: BTreeMap<(Link, Ipv6Addr), Group>,
}

/// One group on one link.
#[derive(Debug)]
struct Group {
    /// The addresses that want it.
    addresses: Vec<Ipv6Addr>,
    /// The membership; `None` while the interface does not exist or the kernel refuses.
    joined: Option<Joined>,
}

/// A membership, left by dropping its socket.
#[derive(Debug)]
struct Joined {
    /// Each group has its own socket: a socket's memberships are limited by its option memory (`optmem_max`), sockets are not.
    _socket: Socket,
    /// The interface it is on: the service's, or its VLAN device.
    interface: String,
    index: u32,
    membership: Membership,
}

impl Groups {
    /// No memberships.
    pub fn new() -> Self {
        Self::default()
    }

    /// Joins the solicited-node group of `address` on the link of `interface` and `vlan`
    /// ([`vlan_key`](anycast_common::abi::vlan_key); 0 = untagged). Where the VLAN has a device, the join goes there.
    /// Doing it twice is harmless.
    ///
    /// # Errors
    /// See [`GroupError`]. The wish is remembered all the same: [`refresh`](Self::refresh) tries again.
    pub fn join(&mut self, interface: &str, vlan: u32, address: Ipv6Addr) -> Result<Membership, GroupError> {
        let link = (interface.to_owned(), vlan);
        let address_group = solicited_node(address);
        let group = self
            .groups
            .entry((link.clone(), address_group))
            .or_insert_with(|| Group { addresses: Vec::new(), joined: None });
        if !group.addresses.contains(&address) {
            group.addresses.push(address);
        }
        match &group.joined {
            Some(joined) => Ok(joined.membership),
            None => {
                let joined = Joined::join(&link, address_group)?;
                let membership = joined.membership;
                group.joined = Some(joined);
                Ok(membership)
            }
        }
    }

    /// Ends what [`join`](Self::join) began; the group is left with its last address. Harmless if there was none.
    pub fn leave(&mut self, interface: &str, vlan: u32, address: Ipv6Addr) {
        let key = ((interface.to_owned(), vlan), solicited_node(address));
        if let Some(group) = self.groups.get_mut(&key) {
            group.addresses.retain(|other| *other != address);
            if group.addresses.is_empty() {
                self.groups.remove(&key);
            }
        }
    }

    /// Makes the memberships on `interface` what they should be: joins again where the interface was gone and is back, where
    /// IPv6 was switched off and on, where a VLAN device came or went, and where a join failed. To be called on every change
    /// of the interface's state; costs a look at `/proc/net/igmp6` when nothing is to do.
    ///
    /// # Errors
    /// The first join that failed; the others are done all the same.
    pub fn refresh(&mut self, interface: &str) -> Result<(), GroupError> {
        let members = kernel_members();
        let mut result = Ok(());
        for ((link, group_address), group) in &mut self.groups {
            if link.0 != interface
                || group.joined.as_ref().is_some_and(|joined| joined.holds(link, *group_address, &members))
            {
                continue;
            }
            // Leave first: the kernel does not join twice.
            group.joined = None;
            match Joined::join(link, *group_address) {
                Ok(joined) => {
                    debug!(interface, group = %group_address, "joined the solicited-node group again");
                    group.joined = Some(joined);
                }
                Err(error) if result.is_ok() => result = Err(error),
                Err(_) => {}
            }
        }
        result
    }

    /// Leaves every group.
    pub fn clear(&mut self) {
        self.groups.clear();
    }

    /// Memberships held now.
    pub fn len(&self) -> usize {
        self.groups.values().filter(|group| group.joined.is_some()).count()
    }

    /// Whether no membership is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Joined {
    fn join(link: &Link, group: Ipv6Addr) -> Result<Self, GroupError> {
        let (interface, membership) = place(link);
        let failed = |source: io::Error| {
            let interface = interface.clone();
            if interface_is_gone(&source) {
                GroupError::Gone { interface, group }
            } else {
                GroupError::Join { interface, group, source }
            }
        };
        let index = interface_index(&interface).map_err(failed)?;
        let socket = match membership {
            Membership::Reported => Socket::new(Domain::IPV6, Type::DGRAM, None)
                .and_then(|socket| socket.join_multicast_v6(&group, index).map(|()| socket)),
            Membership::FilterOnly => packet_socket(index).and_then(|socket| {
                add_filter_membership(&socket, index, multicast_mac(group)).map(|()| socket)
            }),
        }
        .map_err(failed)?;
        if membership == Membership::FilterOnly {
            warn!(
                interface,
                vlan = link.1,
                %group,
                "no device for the VLAN: the NIC's filter is open for the group, but no MLD report is sent; a switch with MLD \
                 snooping needs the VLAN device (ip link add link {interface} name {interface}.N type vlan id N) or a static entry"
            );
        }
        Ok(Self { _socket: socket, interface, index, membership })
    }

    /// Whether this membership is still the right one: at the right place, on the interface that bears the name now, and
    /// known to the kernel (`members`; not for [`Membership::FilterOnly`], which IPv6 knows nothing of).
    fn holds(&self, link: &Link, group: Ipv6Addr, members: &[(u32, Ipv6Addr)]) -> bool {
        place(link) == (self.interface.clone(), self.membership)
            && interface_index(&self.interface).is_ok_and(|index| index == self.index)
            && (self.membership == Membership::FilterOnly || members.contains(&(self.index, group)))
    }
}

/// The interface on which the group of a service on `link` is joined, and how.
fn place((interface, vlan): &Link) -> (String, Membership) {
    if *vlan == 0 {
        return (interface.clone(), Membership::Reported);
    }
    // Absent where the kernel has no VLAN support or no VLAN device.
    let devices = fs::read_to_string("/proc/thread-self/net/vlan/config").unwrap_or_default();
    match vlan_device(&devices, interface, *vlan) {
        Some(device) => (device.to_owned(), Membership::Reported),
        None => (interface.clone(), Membership::FilterOnly),
    }
}

/// The device of the VLANs `vlan` on `interface`, from the text of `/proc/net/vlan/config`: lines of name, identifier and
/// parent, divided by bars.
fn vlan_device<'a>(devices: &'a str, interface: &str, vlan: u32) -> Option<&'a str> {
    let device = |parent: &str, vid: u32| {
        devices.lines().find_map(|line| {
            let mut fields = line.split('|').map(str::trim);
            let (name, id, of) = (fields.next()?, fields.next()?, fields.next()?);
            (of == parent && id.parse() == Ok(vid)).then_some(name)
        })
    };
    match (vlan >> 12, vlan & 0x0fff) {
        (0, vid) => device(interface, vid),
        (outer, inner) => device(device(interface, outer)?, inner),
    }
}

/// The groups that the kernel is a member of in this thread's network namespace, with their interface.
fn kernel_members() -> Vec<(u32, Ipv6Addr)> {
    parse_members(&fs::read_to_string("/proc/thread-self/net/igmp6").unwrap_or_default())
}

/// Parses `/proc/net/igmp6`: lines of interface index, name, group as 32 hex digits, and what does not matter here.
fn parse_members(text: &str) -> Vec<(u32, Ipv6Addr)> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let index = fields.next()?.parse().ok()?;
            let group = u128::from_str_radix(fields.nth(1)?, 16).ok()?;
            Some((index, Ipv6Addr::from_bits(group)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solicited_node_group_and_its_mac() {
        // The example of RFC 4291 2.7.1.
        let group = solicited_node("4037::01:800:200e:8c6c".parse().unwrap());
        assert_eq!(group, "ff02::1:ff0e:8c6c".parse::<Ipv6Addr>().unwrap());
        assert_eq!(multicast_mac(group), [0x33, 0x33, 0xff, 0x0e, 0x8c, 0x6c]);
    }

    #[test]
    fn members_are_parsed() {
        let text = "1    lo              ff020000000000000000000000000001     1 0000000C 0\n\
                    12   eth0            ff0200000000000000000001ff000053     2 00000004 0\n\
                    13   eth1            no-address     1 00000004 0\n";
        assert_eq!(
            parse_members(text),
            [(1, "ff02::1".parse().unwrap()), (12, "ff02::1:ff00:53".parse().unwrap())]
        );
    }

    const VLAN_DEVICES: &str = "VLAN Dev name    | VLAN ID\n\
                                Name-Type: VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD\n\
                                eth0.7         | 7  | eth0\n\
                                service        | 100  | eth0\n\
                                inner          | 7  | service\n\
                                eth1.8         | 8  | eth1\n";

    #[test]
    fn vlan_devices_are_found_by_parent_and_identifier() {
        assert_eq!(vlan_device(VLAN_DEVICES, "eth0", 7), Some("eth0.7"));
        assert_eq!(vlan_device(VLAN_DEVICES, "eth0", 100 << 12 | 7), Some("inner"));
        assert_eq!(vlan_device(VLAN_DEVICES, "eth0", 8), None);
        assert_eq!(vlan_device(VLAN_DEVICES, "eth0", 8 << 12 | 7), None);
        assert_eq!(vlan_device("", "eth0", 7), None);
    }
}
