//! IPv4 header (RFC 791 3.1).
//!
//! ```text
//! |Version|  IHL  |Type of Service|          Total Length         |
//! |         Identification        |Flags|      Fragment Offset    |
//! |  Time to Live |    Protocol   |         Header Checksum       |
//! |                       Source Address                          |
//! |                    Destination Address                        |
//! |   Options ...
//! ```

/// Offset of version and header length.
pub const VERSION: usize = 0;
/// Offset of the total length.
pub const TOTAL_LENGTH: usize = 2;
/// Offset of flags and fragment offset.
pub const FRAGMENT_OFFSET: usize = 6;
/// Offset of the protocol.
pub const PROTOCOL: usize = 9;
/// Offset of the source address.
pub const SOURCE: usize = 12;
/// Offset of the destination address.
pub const DESTINATION: usize = 16;
/// Length of a header without options in octets.
pub const LENGTH: usize = 20;

/// Version and header length of a header without options.
pub const PLAIN_VERSION: u8 = 0x45;
/// The header length's bits in the first octet; it counts units of four octets.
pub const HEADER_LENGTH_MASK: u8 = 0x0f;
/// Octets of a unit of the header length.
pub const HEADER_LENGTH_UNIT: usize = 4;

/// More-fragments flag and fragment offset: not zero in every fragment.
pub const FRAGMENT_MASK: u16 = 0x3fff;

/// Protocol: TCP.
pub const TCP: u8 = 6;
/// Protocol: UDP.
pub const UDP: u8 = 17;
