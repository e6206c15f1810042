//! Router-LSA (RFC 5340 A.4.3) and Network-LSA (A.4.4).
//!
//! ```text
//! Router-LSA                                                       Network-LSA
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  +---------------+---------------+
//! |  0  |Nt|x|V|E|B|            Options                           |  |   0   |       Options         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  +---------------+---------------+
//! |     Type      |       0       |          Metric               |  |      Attached Router …        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                      Interface ID                             |
//! |                   Neighbor Interface ID                       |
//! |                     Neighbor Router ID                        |
//! |                             …                                 |
//! ```

use crate::RouterId;
use crate::codec::{Cursor, DecodeError, Options};

const LINK_LEN: usize = 16;
const ROUTER_LEN: usize = 4;

/// Kind of a link of a Router-LSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// To one router.
    PointToPoint,
    /// To a link with a Designated Router.
    Transit,
    /// Through an area.
    Virtual,
    /// Not known.
    Other(u8),
}

impl LinkKind {
    const fn code(self) -> u8 {
        match self {
            Self::PointToPoint => 1,
            Self::Transit => 2,
            Self::Virtual => 4,
            Self::Other(code) => code,
        }
    }

    const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::PointToPoint,
            2 => Self::Transit,
            4 => Self::Virtual,
            other => Self::Other(other),
        }
    }
}

/// A link of a Router-LSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterLink {
    /// What it leads to.
    pub kind: LinkKind,
    /// Cost of the originator's interface.
    pub metric: u16,
    /// The originator's interface.
    pub interface_id: u32,
    /// The other side's interface; the Designated Router's if there is one.
    pub neighbor_interface_id: u32,
    /// The other side, or the Designated Router.
    pub neighbor_router_id: RouterId,
}

/// The originator's links in an area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterLsa {
    /// Bits B = 0x01 area border router, E = 0x02 AS boundary router, V = 0x04 end of a virtual link.
    pub flags: u8,
    /// What the originator can; without R no route leads through it.
    pub options: Options,
    /// Links over which it has full adjacencies.
    pub links: Vec<RouterLink>,
}

impl RouterLsa {
    /// Flag E: the originator brings in routes from elsewhere.
    pub const FLAG_E: u8 = 0x02;

    /// Reads a body.
    ///
    /// # Errors
    /// It is cut, or ends within a link.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new("Router-LSA", body);
        let flags = cursor.u8()?;
        let options = Options::from_bits(cursor.u24()?);
        let links = cursor.all(LINK_LEN, |cursor| {
            let kind = LinkKind::from_code(cursor.u8()?);
            let _reserved = cursor.u8()?;
            Ok(RouterLink {
                kind,
                metric: cursor.u16()?,
                interface_id: cursor.u32()?,
                neighbor_interface_id: cursor.u32()?,
                neighbor_router_id: RouterId(cursor.u32()?),
            })
        })?;
        Ok(Self { flags, options, links })
    }

    /// The body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = (u32::from(self.flags) << 24 | self.options.bits()).to_be_bytes().to_vec();
        for link in &self.links {
            out.extend_from_slice(&[link.kind.code(), 0]);
            out.extend_from_slice(&link.metric.to_be_bytes());
            out.extend_from_slice(&link.interface_id.to_be_bytes());
            out.extend_from_slice(&link.neighbor_interface_id.to_be_bytes());
            out.extend_from_slice(&link.neighbor_router_id.0.to_be_bytes());
        }
        out
    }
}

/// The routers of a link, as its Designated Router says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkLsa {
    /// What any of the routers can.
    pub options: Options,
    /// Those that are fully adjacent to the Designated Router, and itself.
    pub attached: Vec<RouterId>,
}

impl NetworkLsa {
    /// Reads a body.
    ///
    /// # Errors
    /// It is cut, or ends within a router.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new("Network-LSA", body);
        let _reserved = cursor.u8()?;
        let options = Options::from_bits(cursor.u24()?);
        let attached = cursor.all(ROUTER_LEN, |cursor| cursor.u32().map(RouterId))?;
        Ok(Self { options, attached })
    }

    /// The body.
    pub fn encode(&self) -> Vec<u8> {
        let attached = self.attached.iter().flat_map(|router| router.0.to_be_bytes());
        self.options.bits().to_be_bytes().into_iter().chain(attached).collect()
    }
}
