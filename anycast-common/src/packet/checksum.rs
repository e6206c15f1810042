//! The Internet checksum (RFC 1071): one's-complement sums of 16-bit words.
//!
//! Words are taken as they stand in memory, whatever the machine's byte order, since the sum's byte order follows that of the
//! words (RFC 1071 1.B). 32-bit words are added as such: 2^16 ≡ 1 modulo 0xffff, so folding later gives the same.

/// What [`fold`] gives for a packet whose checksum field is right: the sum of everything, field included, is all ones.
pub const VALID: u16 = 0xffff;

/// Folds a sum to 16 bits with end-around carry. Not complemented.
#[inline(always)]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// Folds a sum to less than 2^18, to be added to others later.
#[inline(always)]
pub const fn partial(sum: u64) -> u32 {
    ((sum & 0xffff) + ((sum >> 16) & 0xffff) + ((sum >> 32) & 0xffff) + (sum >> 48)) as u32
}

/// The sum of the pseudo-header of RFC 8200 8.1: addresses as words in memory order, length in octets.
#[inline(always)]
pub const fn pseudo_header(source: [u32; 4], destination: [u32; 4], length: u32, next_header: u8) -> u64 {
    source[0] as u64
        + source[1] as u64
        + source[2] as u64
        + source[3] as u64
        + destination[0] as u64
        + destination[1] as u64
        + destination[2] as u64
        + destination[3] as u64
        + length.to_be() as u64
        + (next_header as u32).to_be() as u64
}

/// The sum of any octets, an odd last one padded with zero.
pub fn sum(octets: &[u8]) -> u64 {
    let mut words = octets.chunks_exact(2);
    let mut sum = 0;
    for word in &mut words {
        sum += u64::from(u16::from_ne_bytes([word[0], word[1]]));
    }
    if let [last] = words.remainder() {
        sum += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_of_rfc_1071() {
        let octets = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&octets)).to_ne_bytes(), [0xdd, 0xf2]);
        assert_eq!(fold(u64::from(partial(sum(&octets)))).to_ne_bytes(), [0xdd, 0xf2]);
    }

    #[test]
    fn every_sum_folds_with_end_around_carry() {
        for sum in [0, 1, 0xffff, 0x1_0000, 0x1_fffe, 0xffff_ffff, 0x1_0000_0000, 0xffff_ffff_ffff, u64::MAX]
        {
            let folded = u64::from(fold(sum));
            assert_eq!(folded % 0xffff, sum % 0xffff, "{sum:#x}");
            assert_eq!(folded == 0, sum == 0, "{sum:#x}");
            assert_eq!(fold(u64::from(partial(sum))), fold(sum), "{sum:#x}");
        }
    }
}
