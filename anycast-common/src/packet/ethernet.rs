//! Ethernet II header.
//!
//! ```text
//! | destination (6) | source (6) | EtherType (2) |
//! ```

use super::MAC_LENGTH;

/// Offset of the destination MAC address.
pub const DESTINATION: usize = 0;
/// Offset of the source MAC address.
pub const SOURCE: usize = MAC_LENGTH;
/// Offset of the EtherType.
pub const ETHER_TYPE: usize = 2 * MAC_LENGTH;
/// Length of the header in octets.
pub const LENGTH: usize = ETHER_TYPE + 2;

/// Shortest frame that is sent, without frame check sequence, in octets.
pub const FRAME_MIN: usize = 60;

/// EtherType: IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType: ARP.
pub const ARP: u16 = 0x0806;
/// EtherType: IPv6.
pub const IPV6: u16 = 0x86dd;

/// Broadcast address.
pub const BROADCAST: [u8; MAC_LENGTH] = [0xff; MAC_LENGTH];

/// Bit of the first octet of a MAC address that is set for group addresses, broadcast among them (IEEE 802 8.2).
pub const GROUP_BIT: u8 = 0x01;

/// The group MAC address of an IPv6 multicast address: 33:33 and its last four octets (RFC 2464 7).
#[inline(always)]
pub const fn ipv6_group(last_four: [u8; 4]) -> [u8; MAC_LENGTH] {
    let [a, b, c, d] = last_four;
    [0x33, 0x33, a, b, c, d]
}

/// Group MAC address of the all-nodes address ff02::1.
pub const ALL_NODES: [u8; MAC_LENGTH] = ipv6_group([0, 0, 0, 1]);

/// Group MAC address of a target's solicited-node address, which carries the target's last three octets (RFC 4291 2.7.1).
#[inline(always)]
pub const fn solicited_node(target: [u8; 16]) -> [u8; MAC_LENGTH] {
    ipv6_group([0xff, target[13], target[14], target[15]])
}
