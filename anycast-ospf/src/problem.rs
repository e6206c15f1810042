//! Why a received packet, or a part of it, is not taken: counted by reason, and told once with what to change.

use std::net::Ipv6Addr;

use crate::auth::AuthError;
use crate::codec::DecodeError;
use crate::{AreaId, RouterId};

/// Why something was not taken, with the values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Rejection {
    #[error("{0}")]
    Decode(#[from] DecodeError),
    #[error("wrong checksum")]
    Checksum,
    #[error("no checksum, but an authentication trailer")]
    UnexpectedTrailer,
    #[error("area {got}, not {want}")]
    Area { got: AreaId, want: AreaId },
    #[error("instance id {got}, not {want}")]
    Instance { got: u8, want: u8 },
    #[error("source {0} is no link-local address")]
    Source(Ipv6Addr),
    #[error("destination {0} is not for this router")]
    Destination(Ipv6Addr),
    #[error("router id 0.0.0.0")]
    NoRouterId,
    #[error("our own router id from another host")]
    OwnRouterId,
    #[error("no neighbour of that router id, or not yet one that may send this")]
    NoNeighbor(RouterId),
    #[error("hello interval {got} s, not {want} s")]
    HelloInterval { got: u16, want: u16 },
    #[error("dead interval {got} s, not {want} s")]
    DeadInterval { got: u16, want: u16 },
    #[error("the sender takes the area for {}", if *stub { "a stub, here it is a normal one" } else { "a normal one, here it is a stub" })]
    AreaType { stub: bool },
    #[error("the sender takes the area for a not-so-stubby one")]
    Nssa,
    #[error("MTU {got}, not {want}")]
    Mtu { got: u16, want: u16 },
    #[error("{0}")]
    Auth(#[from] AuthError),
    #[error("already {0} neighbours on the interface")]
    TooManyNeighbors(usize),
    #[error("an LSA with a wrong checksum")]
    LsaChecksum,
    #[error("an LSA of a scope that does not belong here")]
    LsaScope,
    #[error("no room in the database")]
    DatabaseFull,
}

/// Kind of a [`Rejection`], to count by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Reason {
    Length,
    Count,
    Version,
    Kind,
    Checksum,
    Area,
    Instance,
    Source,
    Destination,
    RouterId,
    NoNeighbor,
    HelloMismatch,
    Mtu,
    Auth,
    TooManyNeighbors,
    LsaChecksum,
    LsaScope,
    DatabaseFull,
}

impl Reason {
    /// All of them, in order.
    pub const ALL: [Self; 18] = [
        Self::Length,
        Self::Count,
        Self::Version,
        Self::Kind,
        Self::Checksum,
        Self::Area,
        Self::Instance,
        Self::Source,
        Self::Destination,
        Self::RouterId,
        Self::NoNeighbor,
        Self::HelloMismatch,
        Self::Mtu,
        Self::Auth,
        Self::TooManyNeighbors,
        Self::LsaChecksum,
        Self::LsaScope,
        Self::DatabaseFull,
    ];

    /// Name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Count => "count",
            Self::Version => "version",
            Self::Kind => "type",
            Self::Checksum => "checksum",
            Self::Area => "area",
            Self::Instance => "instance",
            Self::Source => "source",
            Self::Destination => "destination",
            Self::RouterId => "router_id",
            Self::NoNeighbor => "no_neighbor",
            Self::HelloMismatch => "hello_mismatch",
            Self::Mtu => "mtu",
            Self::Auth => "auth",
            Self::TooManyNeighbors => "too_many_neighbors",
            Self::LsaChecksum => "lsa_checksum",
            Self::LsaScope => "lsa_scope",
            Self::DatabaseFull => "database_full",
        }
    }
}

impl Rejection {
    /// Its kind.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Decode(DecodeError::Version(_)) => Reason::Version,
            Self::Decode(DecodeError::Kind(_)) => Reason::Kind,
            Self::Decode(DecodeError::Count { .. }) => Reason::Count,
            Self::Decode(_) => Reason::Length,
            Self::Checksum => Reason::Checksum,
            Self::UnexpectedTrailer | Self::Auth(_) => Reason::Auth,
            Self::Area { .. } => Reason::Area,
            Self::Instance { .. } => Reason::Instance,
            Self::Source(_) => Reason::Source,
            Self::Destination(_) => Reason::Destination,
            Self::NoRouterId | Self::OwnRouterId => Reason::RouterId,
            Self::NoNeighbor(_) => Reason::NoNeighbor,
            Self::HelloInterval { .. } | Self::DeadInterval { .. } | Self::AreaType { .. } | Self::Nssa => {
                Reason::HelloMismatch
            }
            Self::Mtu { .. } => Reason::Mtu,
            Self::TooManyNeighbors(_) => Reason::TooManyNeighbors,
            Self::LsaChecksum => Reason::LsaChecksum,
            Self::LsaScope => Reason::LsaScope,
            Self::DatabaseFull => Reason::DatabaseFull,
        }
    }

    /// May it happen in good order too, so that it is counted but not told? A packet that was under way when its sender's
    /// neighbour state changed is no problem of anybody's.
    pub const fn is_ordinary(&self) -> bool {
        matches!(self, Self::NoNeighbor(_) | Self::Destination(_))
    }

    /// What to change.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Decode(error) => error.advice(),
            Self::Checksum => "look for a broken link, NIC offload or tunnel between the sender and here",
            Self::UnexpectedTrailer => "the sender uses RFC 7166 authentication: configure its key here",
            Self::Area { .. } => "give both sides of the link the same area",
            Self::Instance { .. } => "give both sides of the link the same instance id",
            Self::Source(_) => {
                "OSPFv3 comes from link-local addresses (RFC 5340 2.5): look for a forged or tunnelled packet"
            }
            Self::Destination(_) => "none: it is for the Designated Router",
            Self::NoRouterId => "give the sender a router id",
            Self::OwnRouterId => "two hosts have this router id: give each its own",
            Self::NoNeighbor(_) => "none, unless it goes on: then the sender does not hear our Hellos",
            Self::HelloInterval { .. } | Self::DeadInterval { .. } => {
                "give all routers of the link the same hello and dead intervals"
            }
            Self::AreaType { .. } => "make the area a stub on all its routers, or on none",
            Self::Nssa => "not-so-stubby areas are not spoken here: make the area normal or a stub",
            Self::Mtu { .. } => "give both sides of the link the same MTU, or set mtu-ignore on both",
            Self::Auth(error) => error.advice(),
            Self::TooManyNeighbors(_) => {
                "more routers on a link than a Hello can name: look for a forger, else split the link"
            }
            Self::LsaChecksum => {
                "the LSA's checksum is wrong though the packet's is right: the originator or a router on the way is broken"
            }
            Self::LsaScope => {
                "an AS-External-LSA in a stub area, or a reserved scope: the neighbour's configuration or software is wrong"
            }
            Self::DatabaseFull => "raise the limits of the database, or look for the router that floods",
        }
    }
}

/// Packets, and what was not taken, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets received.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// LSAs sent again.
    pub retransmitted: u64,
    rejected: [u64; Reason::ALL.len()],
}

impl Counters {
    /// Nothing counted yet.
    pub const ZERO: Self = Self { received: 0, sent: 0, retransmitted: 0, rejected: [0; Reason::ALL.len()] };

    /// How many were not taken for a reason.
    pub const fn rejected(&self, reason: Reason) -> u64 {
        self.rejected[reason as usize]
    }

    pub(crate) const fn count(&mut self, reason: Reason) {
        self.rejected[reason as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_its_place_and_name() {
        assert!(Reason::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
        assert_eq!(
            Reason::ALL.map(Reason::name).into_iter().collect::<BTreeSet<_>>().len(),
            Reason::ALL.len()
        );
    }
}
