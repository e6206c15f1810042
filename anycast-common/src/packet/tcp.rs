//! TCP header (RFC 9293 3.1), as far as its flags.

/// Offset of the destination port.
pub const DESTINATION: usize = 2;
/// Offset of the flags.
pub const FLAGS: usize = 13;
/// Length of the header without options in octets.
pub const LENGTH: usize = 20;

/// Flag: synchronize sequence numbers.
pub const SYN: u8 = 0x02;
/// Flag: acknowledgment field significant.
pub const ACK: u8 = 0x10;
