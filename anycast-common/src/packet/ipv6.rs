//! IPv6 header (RFC 8200 3) and fragment header (RFC 8200 4.5).
//!
//! ```text
//! |Version| Traffic Class |           Flow Label                  |
//! |         Payload Length        |  Next Header  |   Hop Limit   |
//! |                        Source Address                (4 × 32) |
//! |                     Destination Address              (4 × 32) |
//! ```

/// Offset of version, traffic class and flow label.
pub const VERSION: usize = 0;
/// Offset of the payload length.
pub const PAYLOAD_LENGTH: usize = 4;
/// Offset of the next header.
pub const NEXT_HEADER: usize = 6;
/// Offset of the hop limit.
pub const HOP_LIMIT: usize = 7;
/// Offset of the source address.
pub const SOURCE: usize = 8;
/// Offset of the destination address.
pub const DESTINATION: usize = 24;
/// Length of the header in octets.
pub const LENGTH: usize = 40;

/// First four octets of a header without traffic class and flow label.
pub const PLAIN_VERSION: [u8; 4] = [0x60, 0, 0, 0];

/// Next header: TCP.
pub const TCP: u8 = 6;
/// Next header: UDP.
pub const UDP: u8 = 17;
/// Next header: fragment header.
pub const FRAGMENT: u8 = 44;
/// Next header: ICMPv6.
pub const ICMPV6: u8 = 58;

/// Offset of the next header in a fragment header.
pub const FRAGMENT_NEXT_HEADER: usize = 0;
/// Offset of fragment offset, reserved bits and M flag in a fragment header.
pub const FRAGMENT_OFFSET: usize = 2;
/// The fragment offset's bits.
pub const FRAGMENT_OFFSET_MASK: u16 = 0xfff8;
/// Length of a fragment header in octets.
pub const FRAGMENT_LENGTH: usize = 8;

/// The unspecified address `::`.
pub const UNSPECIFIED: [u32; 4] = [0; 4];

/// All-nodes multicast address ff02::1 (RFC 4291 2.7.1), in memory order.
pub const ALL_NODES: [u32; 4] =
    [u32::from_ne_bytes([0xff, 0x02, 0, 0]), 0, 0, u32::from_ne_bytes([0, 0, 0, 1])];

/// First octet of every multicast address.
pub const MULTICAST_PREFIX: u8 = 0xff;

/// A target's solicited-node multicast address ff02::1:ffXX:XXXX (RFC 4291 2.7.1), in memory order.
#[inline(always)]
pub const fn solicited_node(target: [u32; 4]) -> [u32; 4] {
    let [_, a, b, c] = target[3].to_ne_bytes();
    [
        u32::from_ne_bytes([0xff, 0x02, 0, 0]),
        0,
        u32::from_ne_bytes([0, 0, 0, 1]),
        u32::from_ne_bytes([0xff, a, b, c]),
    ]
}

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;

    use super::*;
    use crate::packet::address;

    fn words(text: &str) -> [u32; 4] {
        address(&text.parse::<Ipv6Addr>().unwrap().octets(), 0)
    }

    #[test]
    fn groups_are_those_of_rfc_4291() {
        assert_eq!(ALL_NODES, words("ff02::1"));
        assert_eq!(solicited_node(words("2001:db8::1234:5678")), words("ff02::1:ff34:5678"));
    }
}
