//! DNS header (RFC 1035 4.1.1), as far as its flags.

/// Offset of QR, opcode and flags.
pub const FLAGS: usize = 2;
/// Length of the header in octets.
pub const LENGTH: usize = 12;

/// The QR bit in the octet at [`FLAGS`]: set in a response.
pub const RESPONSE: u8 = 0x80;
