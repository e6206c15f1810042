//! Packet formats: the name of every offset, the constants of the RFCs, and the checksum.
//!
//! Offsets count from the first byte of the header that the module is named after. A header is held as an array of its
//! fixed length, bounds-checked once by whoever made it; reading a field at a named offset then compiles to one load, in
//! the BPF program as in user space, without a panic path.

pub mod ethernet;
pub mod vlan;

pub mod ipv6;
pub mod ndp;

pub mod arp;
pub mod ipv4;

pub mod dns;
pub mod tcp;
pub mod udp;

pub mod checksum;

/// Length of a MAC address in octets.
pub const MAC_LENGTH: usize = 6;

/// The octet at `at`.
#[inline(always)]
pub const fn octet<const N: usize>(header: &[u8; N], at: usize) -> u8 {
    header[at]
}

/// `K` octets from `at` on.
///
/// # Panics
///
/// If they do not lie within the header: all callers pass named offsets, with which the check is decided at compile time.
#[inline(always)]
pub const fn octets<const K: usize, const N: usize>(header: &[u8; N], at: usize) -> [u8; K] {
    match header.split_at(at).1.first_chunk::<K>() {
        Some(octets) => *octets,
        None => panic!("offset outside of the header"),
    }
}

/// The 16-bit field at `at`, in host byte order.
#[inline(always)]
pub const fn be16<const N: usize>(header: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes(octets(header, at))
}

/// The 16-bit word at `at` as it stands in memory, for comparing with another such word or for summing.
#[inline(always)]
pub const fn ne16<const N: usize>(header: &[u8; N], at: usize) -> u16 {
    u16::from_ne_bytes(octets(header, at))
}

/// The 32-bit word at `at` as it stands in memory, for comparing with another such word or for summing.
#[inline(always)]
pub const fn ne32<const N: usize>(header: &[u8; N], at: usize) -> u32 {
    u32::from_ne_bytes(octets(header, at))
}

/// The IPv6 address at `at` as four words in memory order.
#[inline(always)]
pub const fn address<const N: usize>(header: &[u8; N], at: usize) -> [u32; 4] {
    [ne32(header, at), ne32(header, at + 4), ne32(header, at + 8), ne32(header, at + 12)]
}

/// The 64-bit word at `at` as it stands in memory.
#[inline(always)]
pub const fn ne64<const N: usize>(header: &[u8; N], at: usize) -> u64 {
    u64::from_ne_bytes(octets(header, at))
}

/// The IPv6 address at `at` as two words in memory order: half as many to hash and to compare.
#[inline(always)]
pub const fn address_halves<const N: usize>(header: &[u8; N], at: usize) -> [u64; 2] {
    [ne64(header, at), ne64(header, at + 8)]
}

/// An address of four words in memory order as [`address_halves`] gives it.
#[inline(always)]
pub const fn halves(address: [u32; 4]) -> [u64; 2] {
    let [a, b, c, d] = address;
    if cfg!(target_endian = "little") {
        [a as u64 | (b as u64) << 32, c as u64 | (d as u64) << 32]
    } else {
        [b as u64 | (a as u64) << 32, d as u64 | (c as u64) << 32]
    }
}

/// Writes `octets` from `at` on.
///
/// # Panics
///
/// As [`octets`].
#[inline(always)]
pub const fn put<const K: usize, const N: usize>(header: &mut [u8; N], at: usize, octets: [u8; K]) {
    match header.split_at_mut(at).1.first_chunk_mut::<K>() {
        Some(field) => *field = octets,
        None => panic!("offset outside of the header"),
    }
}

/// Writes four words in memory order, an IPv6 address, from `at` on.
#[inline(always)]
pub const fn put_address<const N: usize>(header: &mut [u8; N], at: usize, address: [u32; 4]) {
    put(header, at, address[0].to_ne_bytes());
    put(header, at + 4, address[1].to_ne_bytes());
    put(header, at + 8, address[2].to_ne_bytes());
    put(header, at + 12, address[3].to_ne_bytes());
}

/// An IPv4 address (one word in memory order) as the IPv4-mapped IPv6 address `::ffff:a.b.c.d` (RFC 4291 2.5.5.2).
#[inline(always)]
pub const fn mapped(ipv4: u32) -> [u32; 4] {
    [0, 0, u32::from_ne_bytes([0, 0, 0xff, 0xff]), ipv4]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_where_they_were_put() {
        let mut header = [0x2a; 20];
        put(&mut header, 2, [0x12, 0x34]);
        put_address(&mut header, 4, [1, 2, 3, 4]);
        assert_eq!(be16(&header, 2), 0x1234);
        assert_eq!(ne16(&header, 2), u16::from_ne_bytes([0x12, 0x34]));
        assert_eq!(address(&header, 4), [1, 2, 3, 4]);
        assert_eq!(address_halves(&header, 4), halves([1, 2, 3, 4]));
        assert_eq!(header[..2], [0x2a; 2]);
    }

    #[test]
    fn ipv4_addresses_are_mapped() {
        let octets: [u8; 16] = core::net::Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().octets();
        assert_eq!(mapped(u32::from_ne_bytes([192, 0, 2, 1])), address(&octets, 0));
    }
}
