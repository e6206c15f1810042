//! Hello (RFC 5340 A.3.2), behind the packet's header.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                        Interface ID                           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Rtr Priority  |             Options                           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |        HelloInterval          |       RouterDeadInterval      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                   Designated Router ID                        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                Backup Designated Router ID                    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                        Neighbor ID …                          |
//! ```

use super::{Cursor, DecodeError, Options};
use crate::RouterId;

/// Octets of a Hello with header and without neighbours.
pub const HELLO_LEN: usize = super::HEADER_LEN + 20;

/// Octets of one neighbour.
const NEIGHBOR_LEN: usize = 4;

/// What a router says periodically on each link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The sender's interface.
    pub interface_id: u32,
    /// 0 = never Designated Router.
    pub priority: u8,
    /// What the sender can.
    pub options: Options,
    /// Seconds between Hellos.
    pub hello_interval: u16,
    /// Seconds of silence after which the sender is dead.
    pub dead_interval: u16,
    /// Whom the sender takes for the Designated Router.
    pub designated_router: RouterId,
    /// Whom the sender takes for the Backup.
    pub backup_designated_router: RouterId,
    /// Whom the sender has heard of late.
    pub neighbors: Vec<RouterId>,
}

impl Hello {
    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.interface_id.to_be_bytes());
        out.extend_from_slice(&(u32::from(self.priority) << 24 | self.options.bits()).to_be_bytes());
        out.extend_from_slice(&self.hello_interval.to_be_bytes());
        out.extend_from_slice(&self.dead_interval.to_be_bytes());
        out.extend_from_slice(&self.designated_router.0.to_be_bytes());
        out.extend_from_slice(&self.backup_designated_router.0.to_be_bytes());
        for neighbor in &self.neighbors {
            out.extend_from_slice(&neighbor.0.to_be_bytes());
        }
    }

    pub(super) fn parse(octets: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new("Hello", octets);
        Ok(Self {
            interface_id: cursor.u32()?,
            priority: cursor.u8()?,
            options: Options::from_bits(cursor.u24()?),
            hello_interval: cursor.u16()?,
            dead_interval: cursor.u16()?,
            designated_router: RouterId(cursor.u32()?),
            backup_designated_router: RouterId(cursor.u32()?),
            neighbors: cursor.all(NEIGHBOR_LEN, |cursor| cursor.u32().map(RouterId))?,
        })
    }
}
