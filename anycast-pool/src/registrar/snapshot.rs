//! What the registrar looks like now, for `status` and metrics. Names are those of the objects of RFC 5525 where it has some.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{ConnectionId, ConnectionKind, Registrar};
use crate::handlespace::{Element, Pool, PoolIndex};
use crate::policy::PolicyType;
use crate::wire::{Lifetime, PolicyParameter, Source, State, StatusFlags, Transport, TransportKind};
use crate::{ElementId, PoolHandle, RegistrarId, Time};

/// The registrar as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// rserpoolENRPIdentifier.
    pub identifier: RegistrarId,
    /// Which life of it.
    pub epoch: u32,
    /// rserpoolENRPUptime.
    pub uptime: Duration,
    /// Pools there are.
    pub pools: usize,
    /// Elements there are.
    pub elements: usize,
    /// Elements by state: unknown, up, down.
    pub states: [usize; 3],
    /// Connections there are.
    pub connections: usize,
    /// Subscriptions there are.
    pub subscriptions: usize,
    /// Octets sent and not taken, of all connections.
    pub backlog: usize,
    /// Timers that are set.
    pub timers: usize,
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSnapshot {
    /// rserpoolENRPPoolHandle.
    pub handle: PoolHandle,
    /// Its policy.
    pub policy: PolicyType,
    /// Its elements' transport.
    pub transport: TransportKind,
    /// Elements, usable or not.
    pub elements: usize,
    /// Elements that users are told to use.
    pub usable: usize,
    /// Tombstones.
    pub tombstones: usize,
    /// Subscribers.
    pub subscribers: usize,
    /// Counts changes.
    pub sequence: u32,
}

/// An element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementSnapshot {
    /// Its pool.
    pub handle: PoolHandle,
    /// rserpoolENRPPoolElementID.
    pub id: ElementId,
    /// Is it up?
    pub state: State,
    /// From what that is known.
    pub source: Source,
    /// Are users told to use it?
    pub usable: bool,
    /// What it says of itself.
    pub flags: StatusFlags,
    /// How long ago its state was seen.
    pub age: Duration,
    /// rserpoolENRPUserTransportProto, -Port, -Use and rserpoolENRPUserAddrTable.
    pub user_transport: Transport,
    /// rserpoolENRPPolicyID, -Weight, -Load, -LoadDeg.
    pub policy: PolicyParameter,
    /// rserpoolENRPRegistrationLife, as registered.
    pub registration_life: Lifetime,
    /// Time until the registration ends, if it does.
    pub expires_in: Option<Duration>,
    /// rserpoolENRPHomeENRPServer.
    pub home: RegistrarId,
    /// The connection over which it registered, if that is there.
    pub connection: Option<ConnectionId>,
    /// Who it is by its certificate.
    pub identity: Option<Arc<str>>,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionSnapshot {
    /// Which.
    pub connection: ConnectionId,
    /// From where.
    pub peer: SocketAddr,
    /// By what.
    pub kind: ConnectionKind,
    /// Who it is by its certificate.
    pub identity: Option<Arc<str>>,
    /// Elements that registered over it.
    pub elements: usize,
    /// Pools it subscribed to.
    pub subscriptions: usize,
    /// How many of these wait until it takes octets.
    pub pending: usize,
    /// Octets sent and not taken.
    pub backlog: usize,
    /// Malformed messages from it.
    pub malformed: u32,
}

impl Registrar {
    /// The registrar as a whole.
    pub fn snapshot(&self, now: Time) -> Snapshot {
        let mut states = [0; 3];
        for (_, element) in self.space.elements() {
            states[usize::from(element.state().code())] += 1;
        }
        Snapshot {
            identifier: self.config.id,
            epoch: self.epoch,
            uptime: now.since(self.started),
            pools: self.space.pool_count(),
            elements: self.space.element_count(),
            states,
            connections: self.connections.len(),
            subscriptions: self.subscriptions,
            backlog: self.connections.iter().map(|connection| connection.backlog).sum(),
            timers: self.timers.len(),
        }
    }

    /// The pools, by handle.
    pub fn pool_snapshots(&self) -> Vec<PoolSnapshot> {
        let mut pools: Vec<_> = self.space.pools().map(|(_, pool)| pool_snapshot(pool)).collect();
        pools.sort_by(|a, b| a.handle.cmp(&b.handle));
        pools
    }

    /// The elements of a pool, by identifier; none if there is no such pool.
    pub fn element_snapshots(&self, handle: &PoolHandle, now: Time) -> Vec<ElementSnapshot> {
        let Some(index) = self.space.find_pool(handle.as_bytes()) else { return Vec::new() };
        let mut elements = self.elements_of(index, now);
        elements.sort_by_key(|element| element.id);
        elements
    }

    /// The connections, by name.
    pub fn connection_snapshots(&self) -> Vec<ConnectionSnapshot> {
        let all = self.connections.iter();
        let mut connections: Vec<_> = all
            .map(|connection| ConnectionSnapshot {
                connection: connection.id,
                peer: connection.peer,
                kind: connection.kind,
                identity: self.identities.name(connection.identity),
                elements: connection.elements.len(),
                subscriptions: connection.subscriptions.len(),
                pending: connection.pending,
                backlog: connection.backlog,
                malformed: connection.malformed,
            })
            .collect();
        connections.sort_by_key(|connection| connection.connection);
        connections
    }

    fn elements_of(&self, index: PoolIndex, now: Time) -> Vec<ElementSnapshot> {
        let Some(pool) = self.space.pool(index) else { return Vec::new() };
        let elements = pool.members().iter().filter_map(|slot| self.space.element(*slot));
        elements.filter_map(|element| self.element_snapshot(pool, element, now)).collect()
    }

    fn element_snapshot(&self, pool: &Pool, own: &Element, now: Time) -> Option<ElementSnapshot> {
        let element = own.decode()?;
        let ends = own.upkeep.expires != crate::handlespace::NEVER;
        Some(ElementSnapshot {
            handle: pool.handle().clone(),
            id: own.id(),
            state: own.state(),
            source: own.source(),
            usable: own.is_usable(),
            flags: own.flags(),
            age: own.observed().age(now),
            user_transport: element.user_transport,
            policy: element.policy,
            registration_life: element.life,
            expires_in: ends.then(|| own.upkeep.expires.since(now)),
            home: element.home,
            connection: self.connections.at(own.upkeep.connection).map(|connection| connection.id),
            identity: self.identities.name(own.upkeep.identity),
        })
    }
}

fn pool_snapshot(pool: &Pool) -> PoolSnapshot {
    PoolSnapshot {
        handle: pool.handle().clone(),
        policy: pool.policy(),
        transport: pool.transport(),
        elements: pool.members().len(),
        usable: pool.usable(),
        tombstones: pool.tombstones().count(),
        subscribers: pool.subscribers(),
        sequence: pool.sequence(),
    }
}
