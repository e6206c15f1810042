//! The interface machine (RFC 2328 9), for a router of priority 0: it never waits and never is Designated Router or Backup.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::codec::LsaHeader;
use crate::config::{InterfaceConfig, LinkType};
use crate::election::{Candidate, elect};
use crate::event::Link;
use crate::lsdb::Slot;
use crate::neighbor::{Neighbor, NeighborState};
use crate::problem::{Counters, Reason};
use crate::{RouterId, Time};

/// State of an interface (RFC 2328 9.1). Waiting, DR and Backup are those of routers that may become Designated Router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceState {
    /// Nothing is sent or received.
    Down,
    /// Up, with one router on the other side.
    PointToPoint,
    /// Up, and another router is Designated Router, or none.
    DrOther,
}

impl fmt::Display for InterfaceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Down => "Down",
            Self::PointToPoint => "Point-to-Point",
            Self::DrOther => "DROther",
        })
    }
}

/// An interface.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    pub config: InterfaceConfig,
    /// `None` = down.
    pub link: Option<Link>,
    pub designated_router: RouterId,
    pub backup_designated_router: RouterId,
    pub neighbors: BTreeMap<RouterId, Neighbor>,
    pub hello_at: Option<Time>,
    /// When the last Hello out of turn went out, or will.
    pub hastened: Option<Time>,
    /// No Designated Router by then: tell it.
    pub alarm_at: Option<Time>,
    /// To be acknowledged by one packet.
    pub acks: Vec<LsaHeader>,
    pub acks_at: Option<Time>,
    /// To be flooded when the event is worked off.
    pub flood: BTreeSet<Slot>,
    pub counters: Counters,
    /// What was told already.
    pub told: BTreeSet<Reason>,
}

impl Interface {
    pub(crate) const fn new(config: InterfaceConfig) -> Self {
        Self {
            config,
            link: None,
            designated_router: RouterId::NONE,
            backup_designated_router: RouterId::NONE,
            neighbors: BTreeMap::new(),
            hello_at: None,
            hastened: None,
            alarm_at: None,
            acks: Vec::new(),
            acks_at: None,
            flood: BTreeSet::new(),
            counters: Counters::ZERO,
            told: BTreeSet::new(),
        }
    }

    pub(crate) const fn state(&self) -> InterfaceState {
        match (self.link, self.config.link_type) {
            (None, _) => InterfaceState::Down,
            (Some(_), LinkType::PointToPoint) => InterfaceState::PointToPoint,
            (Some(_), LinkType::Broadcast) => InterfaceState::DrOther,
        }
    }

    /// Is an adjacency with that router wanted (RFC 2328 10.4)?
    pub(crate) fn wants(&self, router: RouterId) -> bool {
        match self.config.link_type {
            LinkType::PointToPoint => true,
            LinkType::Broadcast => {
                router == self.designated_router || router == self.backup_designated_router
            }
        }
    }

    /// Designated Router and Backup, as the Hellos heard have it.
    pub(crate) fn elect(&self) -> (RouterId, RouterId) {
        let both_ways = self.neighbors.iter().filter(|(_, neighbor)| neighbor.state >= NeighborState::TwoWay);
        elect(both_ways.map(|(router, neighbor)| Candidate {
            router: *router,
            priority: neighbor.priority,
            designated_router: neighbor.designated_router,
            backup_designated_router: neighbor.backup_designated_router,
        }))
    }

    /// The earliest of its timers and its neighbours'.
    pub(crate) fn earliest(&self) -> Option<Time> {
        let own = [self.hello_at, self.alarm_at, self.acks_at].into_iter().flatten();
        own.chain(self.neighbors.values().map(Neighbor::earliest)).min()
    }
}
