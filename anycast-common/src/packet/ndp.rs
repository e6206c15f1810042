//! Neighbor Solicitation (RFC 4861 4.3) and Advertisement (RFC 4861 4.4), which share their layout, and their options (RFC 4861 4.6).
//!
//! ```text
//! |     Type      |     Code      |          Checksum             |
//! |R|S|O|           Reserved (NS: all 32 bits)                    |
//! |                        Target Address                (4 × 32) |
//! |   Options ...
//! ```

use super::{MAC_LENGTH, address, checksum, ipv6, ne32, put, put_address};

/// Offset of the ICMPv6 type.
pub const TYPE: usize = 0;
/// Offset of the ICMPv6 code.
pub const CODE: usize = 1;
/// Offset of the checksum.
pub const CHECKSUM: usize = 2;
/// Offset of the flags (NA) or of the reserved word (NS).
pub const FLAGS: usize = 4;
/// Offset of the target address.
pub const TARGET: usize = 8;
/// Length in octets without options, the least that RFC 4861 7.1.1 and 7.1.2 accept.
pub const LENGTH: usize = 24;
/// Length in octets with one link-layer address option of Ethernet.
pub const LENGTH_WITH_OPTION: usize = LENGTH + LINK_LAYER_LENGTH;

/// Type of a Neighbor Solicitation.
pub const SOLICITATION: u8 = 135;
/// Type of a Neighbor Advertisement.
pub const ADVERTISEMENT: u8 = 136;

/// Flag of an NA: the sender is a router.
pub const ROUTER: u8 = 0x80;
/// Flag of an NA: it answers a solicitation.
pub const SOLICITED: u8 = 0x40;
/// Flag of an NA: it overrides what the neighbour cache holds.
pub const OVERRIDE: u8 = 0x20;

/// Hop limit of every Neighbor Discovery packet: none has crossed a router (RFC 4861 3.1).
pub const HOP_LIMIT: u8 = 255;

/// Offset of an option's type.
pub const OPTION_TYPE: usize = 0;
/// Offset of an option's length, which counts units of eight octets and is never 0 (RFC 4861 4.6).
pub const OPTION_LENGTH: usize = 1;
/// Offset of the address in a link-layer address option.
pub const OPTION_ADDRESS: usize = 2;
/// Octets of a unit of an option's length.
pub const OPTION_UNIT: usize = 8;
/// Option: source link-layer address.
pub const SOURCE_LINK_LAYER: u8 = 1;
/// Option: target link-layer address.
pub const TARGET_LINK_LAYER: u8 = 2;
/// Length in octets of a link-layer address option of Ethernet.
pub const LINK_LAYER_LENGTH: usize = OPTION_UNIT;

/// What the checksum of an NA for this service sums up that no destination and no S flag changes: pseudo-header without
/// destination, type, code, `flags`, `target` and the target link-layer address option with `mac`. Not folded.
///
/// Addresses are words in memory order; `flags` are R and O.
pub const fn checksum_base(source: [u32; 4], target: [u32; 4], mac: [u8; MAC_LENGTH], flags: u8) -> u32 {
    let icmp = advertisement(target, mac, flags);
    let mut sum = checksum::pseudo_header(source, ipv6::UNSPECIFIED, icmp.len() as u32, ipv6::ICMPV6);
    let mut at = 0;
    while at < icmp.len() {
        sum += ne32(&icmp, at) as u64;
        at += 4;
    }
    checksum::partial(sum)
}

/// An NA for `target` with the target link-layer address option, its checksum still zero: the ICMPv6 part, to go behind an
/// IPv6 header. `flags` are R, S and O.
pub const fn advertisement(target: [u32; 4], mac: [u8; MAC_LENGTH], flags: u8) -> [u8; LENGTH_WITH_OPTION] {
    let mut icmp = [0; LENGTH_WITH_OPTION];
    put(&mut icmp, TYPE, [ADVERTISEMENT]);
    put(&mut icmp, FLAGS, [flags]);
    put_address(&mut icmp, TARGET, target);
    put(&mut icmp, LENGTH + OPTION_TYPE, [TARGET_LINK_LAYER]);
    put(&mut icmp, LENGTH + OPTION_LENGTH, [1]);
    put(&mut icmp, LENGTH + OPTION_ADDRESS, mac);
    icmp
}

/// The checksum of an NA made from [`checksum_base`]: adds the S flag if `solicited`, and the destination.
#[inline(always)]
pub const fn checksum_of_answer(base: u32, solicited: bool, destination: [u32; 4]) -> u16 {
    let flag = if solicited { u16::from_ne_bytes([SOLICITED, 0]) } else { 0 };
    let sum = base as u64
        + flag as u64
        + destination[0] as u64
        + destination[1] as u64
        + destination[2] as u64
        + destination[3] as u64;
    !checksum::fold(sum)
}

/// IPv6 header and NA, ready to be sent: `source` and `destination` as in the pseudo-header, `flags` with S as wanted.
pub const fn advertisement_packet(
    source: [u32; 4],
    destination: [u32; 4],
    target: [u32; 4],
    mac: [u8; MAC_LENGTH],
    flags: u8,
) -> [u8; ipv6::LENGTH + LENGTH_WITH_OPTION] {
    let base = checksum_base(source, target, mac, flags & !SOLICITED);
    let mut icmp = advertisement(target, mac, flags);
    put(&mut icmp, CHECKSUM, checksum_of_answer(base, flags & SOLICITED != 0, destination).to_ne_bytes());
    let mut packet = [0; ipv6::LENGTH + LENGTH_WITH_OPTION];
    put(&mut packet, ipv6::VERSION, ipv6::PLAIN_VERSION);
    put(&mut packet, ipv6::PAYLOAD_LENGTH, (LENGTH_WITH_OPTION as u16).to_be_bytes());
    put(&mut packet, ipv6::NEXT_HEADER, [ipv6::ICMPV6, HOP_LIMIT]);
    put_address(&mut packet, ipv6::SOURCE, source);
    put_address(&mut packet, ipv6::DESTINATION, destination);
    put(&mut packet, ipv6::LENGTH, icmp);
    packet
}

/// The target of a packet whose fixed part is `icmp`.
#[inline(always)]
pub const fn target(icmp: &[u8; LENGTH]) -> [u32; 4] {
    address(icmp, TARGET)
}

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;

    use super::*;

    /// An NA as Linux 6.18's own ndisc sent it (S=1, O=1), from its IPv6 header on.
    const FROM_THE_KERNEL: [u8; 72] = [
        0x60, 0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff, // header
        0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, // source fe80::2
        0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, // destination fe80::1
        0x88, 0x00, 0x18, 0x1a, 0x60, 0, 0, 0, // NA, S and O
        0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, // target fe80::2
        0x02, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x02, // target link-layer address 02:00:00:00:00:02
    ];

    fn words(text: &str) -> [u32; 4] {
        address(&text.parse::<Ipv6Addr>().unwrap().octets(), 0)
    }

    #[test]
    fn advertisement_packet_is_byte_for_byte_that_of_another_implementation() {
        let packet = advertisement_packet(
            words("fe80::2"),
            words("fe80::1"),
            words("fe80::2"),
            [2, 0, 0, 0, 0, 2],
            SOLICITED | OVERRIDE,
        );
        assert_eq!(packet, FROM_THE_KERNEL);
    }

    #[test]
    fn a_changed_octet_breaks_the_checksum() {
        let valid = |packet: &[u8; 72]| {
            let sum = checksum::pseudo_header(
                address(packet, ipv6::SOURCE),
                address(packet, ipv6::DESTINATION),
                32,
                ipv6::ICMPV6,
            ) + checksum::sum(&packet[ipv6::LENGTH..]);
            checksum::fold(sum) == checksum::VALID
        };
        assert!(valid(&FROM_THE_KERNEL));
        for at in ipv6::SOURCE..FROM_THE_KERNEL.len() {
            let mut packet = FROM_THE_KERNEL;
            packet[at] ^= 0x04;
            assert!(!valid(&packet), "octet {at}");
        }
    }
}
