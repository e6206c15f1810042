//! VLAN tag (IEEE 802.1Q 9), counted from behind the EtherType that announced it.
//!
//! ```text
//! | priority (3 bits) | drop eligible (1) | VLAN identifier (12) | EtherType (16) |
//! ```

/// Offset of the tag control information.
pub const CONTROL: usize = 0;
/// Offset of the EtherType of what follows.
pub const ETHER_TYPE: usize = 2;
/// Length of a tag in octets.
pub const LENGTH: usize = 4;

/// Tags that are looked behind: a customer tag, or a service tag and a customer tag.
pub const TAGS_MAX: usize = 2;

/// EtherType: customer tag.
pub const CUSTOMER: u16 = 0x8100;
/// EtherType: service tag.
pub const SERVICE: u16 = 0x88a8;

/// The VLAN identifier's bits of the tag control information; 0 is a priority tag.
pub const IDENTIFIER_MASK: u16 = 0x0fff;
