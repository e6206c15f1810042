//! What the speaker looks like now, for `neighbors`, `database` and `interfaces`.

use std::net::Ipv6Addr;
use std::time::Duration;

use crate::codec::{LsaBody, LsaHeader};
use crate::config::LinkType;
use crate::event::Link;
use crate::interface::InterfaceState;
use crate::lsdb::{InterfaceId, Scope};
use crate::neighbor::NeighborState;
use crate::problem::Counters;
use crate::{AreaId, RouterId, Speaker, Time};

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceSnapshot {
    /// Which.
    pub interface: InterfaceId,
    /// Its name.
    pub name: String,
    /// Kind of its link.
    pub link_type: LinkType,
    /// Its area.
    pub area: AreaId,
    /// Its instance.
    pub instance: u8,
    /// Its state.
    pub state: InterfaceState,
    /// Index, MTU and address, if it is up.
    pub link: Option<Link>,
    /// Cost in the Router-LSA.
    pub cost: u16,
    /// Hello and dead interval, seconds.
    pub intervals: (u16, u16),
    /// Designated Router; [`RouterId::NONE`] if there is none.
    pub designated_router: RouterId,
    /// Backup.
    pub backup_designated_router: RouterId,
    /// Neighbours, and how many of them are Full.
    pub neighbors: (usize, usize),
    /// Are packets authenticated?
    pub authenticated: bool,
    /// Packets, and what was not taken.
    pub counters: Counters,
}

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighborSnapshot {
    /// Where.
    pub interface: InterfaceId,
    /// Who.
    pub router: RouterId,
    /// Its address.
    pub address: Ipv6Addr,
    /// Its interface.
    pub interface_id: u32,
    /// Its priority.
    pub priority: u8,
    /// State.
    pub state: NeighborState,
    /// For how long.
    pub in_state: Duration,
    /// Time until it is dead, if it stays silent.
    pub dead_in: Duration,
    /// Is it Designated Router?
    pub is_designated: bool,
    /// Is it Backup?
    pub is_backup: bool,
    /// LSAs to be fetched from it, and to be acknowledged by it.
    pub waiting: (usize, usize),
}

/// An LSA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LsaSnapshot {
    /// Where it belongs.
    pub scope: Scope,
    /// Its header, with the age of now.
    pub header: LsaHeader,
    /// Is it ours?
    pub own: bool,
    /// Its body; `Err` says why it cannot be read.
    pub body: Result<LsaBody, crate::codec::DecodeError>,
}

/// How full the database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseSize {
    /// LSAs from others.
    pub count: usize,
    /// Their octets.
    pub octets: usize,
    /// LSAs for which there was no room.
    pub refused: u64,
}

impl Speaker {
    /// The interfaces, in order of configuration.
    pub fn interfaces(&self) -> Vec<InterfaceSnapshot> {
        let all = self.interface_table().iter().enumerate();
        let snapshot = all.map(|(at, own)| {
            let full =
                own.neighbors.values().filter(|neighbor| neighbor.state == NeighborState::Full).count();
            InterfaceSnapshot {
                interface: InterfaceId(at),
                name: own.config.name.clone(),
                link_type: own.config.link_type,
                area: own.config.area,
                instance: own.config.instance,
                state: own.state(),
                link: own.link,
                cost: own.config.cost,
                intervals: (own.config.hello_interval, own.config.dead_interval),
                designated_router: own.designated_router,
                backup_designated_router: own.backup_designated_router,
                neighbors: (own.neighbors.len(), full),
                authenticated: own.config.auth.is_some(),
                counters: own.counters.clone(),
            }
        });
        snapshot.collect()
    }

    /// The neighbours, by interface and router id.
    pub fn neighbors(&self, now: Time) -> Vec<NeighborSnapshot> {
        let mut neighbors = Vec::new();
        for (at, own) in self.interface_table().iter().enumerate() {
            for (router, neighbor) in &own.neighbors {
                neighbors.push(NeighborSnapshot {
                    interface: InterfaceId(at),
                    router: *router,
                    address: neighbor.address,
                    interface_id: neighbor.interface_id,
                    priority: neighbor.priority,
                    state: neighbor.state,
                    in_state: now.since(neighbor.since),
                    dead_in: neighbor.inactivity.since(now),
                    is_designated: *router == own.designated_router,
                    is_backup: *router == own.backup_designated_router,
                    waiting: (neighbor.requests.len(), neighbor.retransmit.len()),
                });
            }
        }
        neighbors
    }

    /// The database, by scope, type, Link State ID and originator.
    pub fn database(&self, now: Time) -> Vec<LsaSnapshot> {
        let own = self.router_id();
        let all = self.database_table().iter();
        let snapshot = all.map(|(slot, entry)| LsaSnapshot {
            scope: slot.scope,
            header: entry.header(now),
            own: slot.key.advertising_router == own,
            body: LsaBody::decode(entry.lsa()),
        });
        snapshot.collect()
    }

    /// How full the database is.
    pub fn database_size(&self) -> DatabaseSize {
        let database = self.database_table();
        DatabaseSize { count: database.count(), octets: database.octets(), refused: database.refused() }
    }
}
