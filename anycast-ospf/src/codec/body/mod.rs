//! What LSAs say: the bodies that this host originates, shows, or needs to understand.

mod external;
mod grace;
mod link;
mod load;
mod prefix;
mod router;

use std::sync::Arc;

pub use external::AsExternalLsa;
pub use grace::{GraceLsa, GraceReason};
pub use link::LinkLsa;
pub use load::{LoadLsa, ServiceState};
pub use prefix::{IntraAreaPrefixLsa, MetricPrefix, Prefix};
pub use router::{LinkKind, NetworkLsa, RouterLink, RouterLsa};

use super::{DecodeError, LsType, Lsa};

/// The body of an LSA, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LsaBody {
    /// The originator's links.
    Router(RouterLsa),
    /// The routers of a link.
    Network(NetworkLsa),
    /// The originator's address on a link.
    Link(LinkLsa),
    /// Prefixes of a router or link.
    IntraAreaPrefix(IntraAreaPrefixLsa),
    /// A route from elsewhere.
    AsExternal(AsExternalLsa),
    /// The originator restarts.
    Grace(GraceLsa),
    /// Anything else, verbatim: Inter-Area-Prefix, Inter-Area-Router, NSSA, and what is not known.
    Opaque(Arc<[u8]>),
}

impl LsaBody {
    /// Reads the body of an LSA. A load LSA is opaque here, because its type is configured: see [`LoadLsa::decode`].
    ///
    /// # Errors
    /// The body is not what the type promises.
    pub fn decode(lsa: &Lsa) -> Result<Self, DecodeError> {
        let body = &lsa.body;
        Ok(match lsa.header.key.ls_type {
            LsType::ROUTER => Self::Router(RouterLsa::decode(body)?),
            LsType::NETWORK => Self::Network(NetworkLsa::decode(body)?),
            LsType::LINK => Self::Link(LinkLsa::decode(body)?),
            LsType::INTRA_AREA_PREFIX => Self::IntraAreaPrefix(IntraAreaPrefixLsa::decode(body)?),
            LsType::AS_EXTERNAL => Self::AsExternal(AsExternalLsa::decode(body)?),
            LsType::GRACE => Self::Grace(GraceLsa::decode(body)?),
            _ => Self::Opaque(body.clone()),
        })
    }

    /// The body's octets.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Router(body) => body.encode(),
            Self::Network(body) => body.encode(),
            Self::Link(body) => body.encode(),
            Self::IntraAreaPrefix(body) => body.encode(),
            Self::AsExternal(body) => body.encode(),
            Self::Grace(body) => body.encode(),
            Self::Opaque(body) => body.to_vec(),
        }
    }
}
