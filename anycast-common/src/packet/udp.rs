//! UDP header (RFC 768).
//!
//! ```text
//! |          Source Port          |        Destination Port       |
//! |            Length             |           Checksum            |
//! ```

/// Offset of the destination port.
pub const DESTINATION: usize = 2;
/// Offset of the length of header and data.
pub const DATAGRAM_LENGTH: usize = 4;
/// Length of the header in octets.
pub const LENGTH: usize = 8;
