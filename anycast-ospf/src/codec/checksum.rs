//! Two checksums: Fletcher's over each LSA, the Internet's over each packet.

use std::net::Ipv6Addr;

/// IP protocol number of OSPF.
pub const PROTOCOL: u8 = 89;

/// Octets of an LSA that its checksum skips: the age, which changes on the way.
const AGE_LEN: usize = 2;

/// Where the checksum stands, counted behind the age.
const FLETCHER_AT: usize = 14;

/// Where a packet's header keeps its checksum.
const INTERNET_AT: usize = 12;

/// The two sums of Fletcher's checksum.
fn sums(octets: impl Iterator<Item = u8>) -> (u32, u32) {
    octets.fold((0, 0), |(low, high), octet| {
        let low = (low + u32::from(octet)) % 255;
        (low, (high + low) % 255)
    })
}

/// LS checksum of an LSA (RFC 2328 12.1.7, RFC 905 annex B). The octets of the checksum itself do not count.
pub fn fletcher(lsa: &[u8]) -> u16 {
    let covered = lsa.get(AGE_LEN..).unwrap_or_default();
    let zeroed = covered.iter().enumerate().map(|(at, octet)| {
        let own = at == FLETCHER_AT || at == FLETCHER_AT + 1;
        if own { 0 } else { *octet }
    });
    let (low, high) = sums(zeroed);
    // Both octets are chosen such that both sums over the whole come out as zero; 255 stands for 0, which means "no checksum".
    let weight = (covered.len().saturating_sub(FLETCHER_AT + 1) % 255) as u32;
    let first = match (weight * low + 255 - high) % 255 {
        0 => 255,
        other => other,
    };
    let second = match (510 - low - first) % 255 {
        0 => 255,
        other => other,
    };
    (first << 8 | second) as u16
}

/// Is an LSA's checksum right? Zero is not (RFC 2328 12.1.7).
pub fn fletcher_holds(lsa: &[u8]) -> bool {
    let Some(covered) = lsa.get(AGE_LEN..) else { return false };
    let zero = covered.get(FLETCHER_AT..FLETCHER_AT + 2).is_none_or(|own| own == [0, 0]);
    !zero && sums(covered.iter().copied()) == (0, 0)
}

/// Ones' complement sum over pseudo-header and packet (RFC 8200 8.1). Zero in a receiver's hands means: right.
fn internet(source: Ipv6Addr, destination: Ipv6Addr, packet: &[u8]) -> u16 {
    let words = |octets: &[u8]| -> u64 {
        let (pairs, odd) = octets.as_chunks::<2>();
        let last = odd.first().map_or(0, |octet| u64::from(*octet) << 8);
        pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum::<u64>() + last
    };
    let mut sum = words(&source.octets()) + words(&destination.octets()) + words(packet);
    sum += packet.len() as u64 + u64::from(PROTOCOL);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Is the packet's checksum right? `packet` is without trailer: as long as its header says.
pub fn packet_holds(source: Ipv6Addr, destination: Ipv6Addr, packet: &[u8]) -> bool {
    internet(source, destination, packet) == 0
}

/// Fills in the packet's checksum. `packet` is without trailer.
pub fn fill(source: Ipv6Addr, destination: Ipv6Addr, packet: &mut [u8]) {
    if let Some(own) = packet.get_mut(INTERNET_AT..INTERNET_AT + 2) {
        own.fill(0);
    }
    let sum = internet(source, destination, packet);
    if let Some(own) = packet.get_mut(INTERNET_AT..INTERNET_AT + 2) {
        own.copy_from_slice(&sum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule of RFC 905 in its own words: with the checksum in place both sums are zero.
    #[test]
    fn a_fletcher_checksum_makes_both_sums_zero() {
        for length in 20..600_usize {
            let mut lsa = (0..length).map(|at| (at * 31 % 256) as u8).collect::<Vec<_>>();
            let sum = fletcher(&lsa);
            lsa[16..18].copy_from_slice(&sum.to_be_bytes());
            assert!(fletcher_holds(&lsa), "{length}");
            assert!(lsa[16] != 0 && lsa[17] != 0, "{length}");
            lsa[0] ^= 0x40;
            assert!(fletcher_holds(&lsa), "the age does not count");
            lsa[length - 1] ^= 0x40;
            assert!(!fletcher_holds(&lsa), "{length}");
        }
    }

    #[test]
    fn no_fletcher_checksum_is_a_wrong_one() {
        assert!(!fletcher_holds(&[0; 20]));
        assert!(!fletcher_holds(&[]));
        assert!(!fletcher_holds(&[0; 3]));
        let _ = fletcher(&[]);
    }

    #[test]
    fn the_internet_checksum_is_found_right_and_wrong() {
        let (a, b) = ("fe80::1".parse().unwrap(), "ff02::5".parse().unwrap());
        for length in [16, 17, 36, 37] {
            let mut packet = (0..length).collect::<Vec<u8>>();
            fill(a, b, &mut packet);
            assert!(packet_holds(a, b, &packet));
            assert!(!packet_holds(b, "ff02::6".parse().unwrap(), &packet));
            packet[3] ^= 1;
            assert!(!packet_holds(a, b, &packet));
        }
        fill(a, b, &mut [0; 3]);
    }
}
