//! ARP for IPv4 over Ethernet (RFC 826, RFC 5227).
//!
//! ```text
//! |        Hardware type          |        Protocol type          |
//! | HW length (6) | Proto len (4) |          Operation            |
//! |  sender hardware (6) | sender protocol (4) | target hardware (6) | target protocol (4) |
//! ```

use super::{MAC_LENGTH, put};

/// Offset of the hardware type.
pub const HARDWARE_TYPE: usize = 0;
/// Offset of the protocol type.
pub const PROTOCOL_TYPE: usize = 2;
/// Offset of the lengths of hardware and protocol address.
pub const LENGTHS: usize = 4;
/// Offset of the operation.
pub const OPERATION: usize = 6;
/// Offset of the sender's hardware address.
pub const SENDER_HARDWARE: usize = 8;
/// Offset of the sender's protocol address.
pub const SENDER_PROTOCOL: usize = 14;
/// Offset of the target's hardware address.
pub const TARGET_HARDWARE: usize = 18;
/// Offset of the target's protocol address.
pub const TARGET_PROTOCOL: usize = 24;
/// Length in octets.
pub const LENGTH: usize = 28;

/// The first six octets of every ARP packet for IPv4 over Ethernet: hardware type 1, protocol type 0x0800, lengths 6 and 4.
pub const ETHERNET_IPV4: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
/// Operation: request.
pub const REQUEST: u16 = 1;
/// Operation: reply.
pub const REPLY: u16 = 2;

/// An ARP packet. Protocol addresses are octets in network order.
pub const fn packet(
    operation: u16,
    sender: ([u8; MAC_LENGTH], [u8; 4]),
    target: ([u8; MAC_LENGTH], [u8; 4]),
) -> [u8; LENGTH] {
    let mut packet = [0; LENGTH];
    put(&mut packet, HARDWARE_TYPE, ETHERNET_IPV4);
    put(&mut packet, OPERATION, operation.to_be_bytes());
    put(&mut packet, SENDER_HARDWARE, sender.0);
    put(&mut packet, SENDER_PROTOCOL, sender.1);
    put(&mut packet, TARGET_HARDWARE, target.0);
    put(&mut packet, TARGET_PROTOCOL, target.1);
    packet
}

/// An ARP announcement (RFC 5227 2.3): a request whose sender and target protocol address are both the announced one.
pub const fn announcement(mac: [u8; MAC_LENGTH], address: [u8; 4]) -> [u8; LENGTH] {
    packet(REQUEST, (mac, address), ([0; MAC_LENGTH], address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcement_is_that_of_rfc_5227() {
        assert_eq!(
            announcement([2, 0, 0, 0, 0, 9], [192, 0, 2, 53]),
            [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 192, 0, 2, 53, 0, 0, 0, 0, 0, 0, 192, 0, 2, 53]
        );
    }
}
