//! What comes in and what goes out.

use std::fmt;
use std::net::Ipv6Addr;

use crate::codec::body::{LoadLsa, Prefix};
use crate::codec::{LsType, LsaKey};
use crate::interface::InterfaceState;
use crate::lsdb::{InterfaceId, Slot};
use crate::neighbor::{NeighborEvent, NeighborState};
use crate::problem::Rejection;
use crate::{AreaId, RouterId};

/// All OSPF routers of a link. Join it on every interface.
pub const ALL_SPF_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 5);

/// Designated Router and Backup. This host sends to it and never joins it.
pub const ALL_D_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 6);

/// An interface that is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's interface index: OSPF's Interface ID.
    pub ifindex: u32,
    /// Largest datagram, octets.
    pub mtu: u16,
    /// The address from which packets go out; not before duplicate address detection is done.
    pub link_local: Ipv6Addr,
}

/// Load of a service of this host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Permille of what it can serve.
    pub permille: u32,
    /// Queries per second it can serve; 0 = unknown.
    pub capacity: u32,
    /// Queries per second it gets.
    pub rate: u32,
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A packet came in.
    Packet {
        /// Where.
        interface: InterfaceId,
        /// IPv6 source.
        source: Ipv6Addr,
        /// IPv6 destination.
        destination: Ipv6Addr,
        /// IPv6 payload.
        payload: &'a [u8],
    },
    /// An interface is up, or has another MTU, address or index than before.
    Up(InterfaceId, Link),
    /// An interface is down.
    Down(InterfaceId),
    /// Advertise a service at a cost; again with another cost. A drain ends.
    Announce(Prefix, u16),
    /// Advertise a service as the last resort.
    Drain(Prefix),
    /// Advertise a service no longer.
    Withdraw(Prefix),
    /// A service has a load.
    Load(Prefix, Load),
    /// Say good-bye: flush all, wait for acknowledgments for at most a second, drop all adjacencies.
    Stop,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a packet from the interface's link-local address, hop limit 1.
    Send {
        /// Where.
        interface: InterfaceId,
        /// To whom.
        destination: Ipv6Addr,
        /// IPv6 payload.
        payload: Vec<u8>,
    },
    /// Tell somebody.
    Event(Event),
    /// All is said; no more will come.
    Stopped,
}

/// Why a prefix cannot be advertised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ServiceError {
    #[error("already {0} services")]
    TooMany(usize),
    #[error("it was not announced")]
    Unknown,
}

/// What is worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An interface changed its state.
    Interface {
        /// Which.
        interface: InterfaceId,
        /// State now.
        state: InterfaceState,
    },
    /// The link's Designated Router or Backup changed.
    DesignatedRouter {
        /// Where.
        interface: InterfaceId,
        /// Designated Router; [`RouterId::NONE`] if there is none.
        designated: RouterId,
        /// Backup.
        backup: RouterId,
    },
    /// For a dead interval there has been no Designated Router: nothing comes up, because this host never is one. Told once until
    /// there is one.
    NoDesignatedRouter {
        /// Where.
        interface: InterfaceId,
        /// Routers heard there.
        neighbors: usize,
    },
    /// A neighbour changed its state.
    Neighbor {
        /// Where.
        interface: InterfaceId,
        /// Who.
        router: RouterId,
        /// State before.
        from: NeighborState,
        /// State now.
        to: NeighborState,
        /// Why.
        cause: NeighborEvent,
    },
    /// A neighbour has not become Full in good time. Told once until it is, or is gone.
    Stuck {
        /// Where.
        interface: InterfaceId,
        /// Who.
        router: RouterId,
        /// State in which it is.
        state: NeighborState,
    },
    /// Something received was not taken. Told once for each interface and reason, until the interface goes down; all are counted.
    Rejected {
        /// Where.
        interface: InterfaceId,
        /// From whom.
        source: Ipv6Addr,
        /// Why.
        rejection: Rejection,
    },
    /// An own LSA went out.
    Originated {
        /// Which.
        slot: Slot,
        /// Its sequence number.
        sequence: i32,
    },
    /// An own LSA, or one that was ours in an earlier life, is withdrawn.
    Flushed {
        /// Which.
        slot: Slot,
    },
    /// A peer's load changed.
    PeerLoad {
        /// Its area.
        area: AreaId,
        /// Who.
        router: RouterId,
        /// Which of its services.
        link_state_id: u32,
        /// What it says; `None` = no more.
        load: Option<LoadLsa>,
    },
    /// A load LSA cannot be read. Told once for each router.
    PeerLoadUnreadable {
        /// Which.
        key: LsaKey,
        /// Why, and what to change.
        error: crate::codec::DecodeError,
    },
    /// Another router originates LSAs under our router id. All adjacencies are dropped and nothing is sent any more: two that
    /// fight would shake the whole area.
    DuplicateRouterId {
        /// About which LSA they fought.
        slot: Slot,
    },
    /// A service cannot be advertised.
    Service {
        /// Which.
        prefix: Prefix,
        /// Why.
        error: ServiceError,
    },
}

impl Event {
    /// Is it a problem, not a mere change?
    pub const fn is_problem(&self) -> bool {
        matches!(
            self,
            Self::NoDesignatedRouter { .. }
                | Self::Stuck { .. }
                | Self::Rejected { .. }
                | Self::PeerLoadUnreadable { .. }
                | Self::DuplicateRouterId { .. }
                | Self::Service { .. }
        )
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface { state, .. } => write!(f, "interface is {state}"),
            Self::DesignatedRouter { designated, backup, .. } => {
                write!(f, "Designated Router is {designated}, Backup {backup}")
            }
            Self::NoDesignatedRouter { neighbors, .. } => write!(
                f,
                "no Designated Router for a dead interval, {neighbors} routers heard: give a router of the link a priority above 0"
            ),
            Self::Neighbor { router, from, to, cause, .. } => {
                write!(f, "neighbour {router} went from {from} to {to}: {cause}")
            }
            Self::Stuck { router, state, .. } => {
                let advice = match state {
                    NeighborState::ExStart | NeighborState::Exchange => {
                        "compare MTUs on both sides, and see whether unicast passes both ways"
                    }
                    _ => "see whether large packets pass both ways, and what the neighbour logs",
                };
                write!(f, "neighbour {router} does not get beyond {state}: {advice}")
            }
            Self::Rejected { source, rejection, .. } => {
                write!(f, "not taken from {source}: {rejection}: {}", rejection.advice())
            }
            Self::Originated { slot, sequence } => {
                write!(f, "originated {} with sequence {sequence:#x}", slot.key)
            }
            Self::Flushed { slot } => write!(f, "withdrew {}", slot.key),
            Self::PeerLoad { router, load: Some(load), .. } => {
                write!(f, "{router} serves {} with load {} permille", load.prefix, load.permille)
            }
            Self::PeerLoad { router, load: None, .. } => write!(f, "{router} says its load no more"),
            Self::PeerLoadUnreadable { key, error } => {
                write!(f, "cannot read {key}: {error}: {}", error.advice())
            }
            Self::DuplicateRouterId { slot } => write!(
                f,
                "another router originates {}: two have this router id; stopped, give each its own and start again",
                slot.key
            ),
            Self::Service { prefix, error } => write!(f, "{prefix}: {error}"),
        }
    }
}

/// Does an LSA have the type of the load LSA?
pub(crate) fn is_load(key: &LsaKey, ls_type: Option<LsType>) -> bool {
    ls_type == Some(key.ls_type)
}
