//! Connections: what each has, and what each may.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::bucket::Bucket;
use super::{ConnectionId, ConnectionKind};
use crate::Time;
use crate::handlespace::{NEVER, PoolIndex, Slot};
use crate::wire::Frames;

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub id: ConnectionId,
    pub peer: SocketAddr,
    pub kind: ConnectionKind,
    /// Who it is by its certificate, by number; 0 = nobody.
    pub identity: u32,
    pub frames: Frames,
    /// Elements that registered over it.
    pub elements: Vec<Slot>,
    /// Pools it subscribed to, each with its place among the pool's subscribers.
    pub subscriptions: Vec<(PoolIndex, u32)>,
    /// How many of these wait for it to take octets.
    pub pending: usize,
    /// Octets sent and not taken.
    pub backlog: usize,
    /// When it last took some, or had none.
    pub progress: Time,
    /// The earliest timer that is set for it.
    pub armed: Time,
    pub malformed: u32,
    pub resolutions: Bucket,
    pub registrations: Bucket,
    pub reports: Bucket,
    pub errors: Bucket,
}

/// All connections, by place and by name.
#[derive(Debug, Default)]
pub(super) struct Connections {
    table: Vec<Option<Box<Connection>>>,
    free: Vec<u32>,
    by_id: HashMap<ConnectionId, u32>,
}

impl Connections {
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn find(&self, id: ConnectionId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    pub fn at(&self, place: u32) -> Option<&Connection> {
        self.table.get(place as usize)?.as_deref()
    }

    pub fn at_mut(&mut self, place: u32) -> Option<&mut Connection> {
        self.table.get_mut(place as usize)?.as_deref_mut()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.table.iter().filter_map(Option::as_deref)
    }

    pub fn places(&self) -> Vec<u32> {
        let places = self.table.iter().zip(0..).filter(|(connection, _)| connection.is_some());
        places.map(|(_, place)| place).collect()
    }

    pub fn insert(&mut self, connection: Connection) -> u32 {
        let id = connection.id;
        let place = self.free.pop().unwrap_or(self.table.len() as u32);
        let connection = Some(Box::new(connection));
        match self.table.get_mut(place as usize) {
            Some(empty) => *empty = connection,
            None => self.table.push(connection),
        }
        self.by_id.insert(id, place);
        place
    }

    pub fn remove(&mut self, place: u32) -> Option<Box<Connection>> {
        let connection = self.table.get_mut(place as usize)?.take()?;
        self.by_id.remove(&connection.id);
        self.free.push(place);
        Some(connection)
    }
}

impl Connection {
    pub fn new(
        id: ConnectionId,
        peer: SocketAddr,
        kind: ConnectionKind,
        identity: u32,
        message_octets: usize,
        now: Time,
    ) -> Self {
        Self {
            id,
            peer,
            kind,
            identity,
            frames: Frames::new(message_octets),
            elements: Vec::new(),
            subscriptions: Vec::new(),
            pending: 0,
            backlog: 0,
            progress: now,
            armed: NEVER,
            malformed: 0,
            resolutions: Bucket::default(),
            registrations: Bucket::default(),
            reports: Bucket::default(),
            errors: Bucket::default(),
        }
    }
}

/// Identities by number, so that an element keeps four octets of whose it is.
#[derive(Debug, Default)]
pub(super) struct Identities {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Identities {
    /// The number of a name. Names come from certificates that are trusted, so they are not bounded here.
    pub fn number(&mut self, name: Option<&str>) -> u32 {
        let Some(name) = name else { return 0 };
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let name: Arc<str> = name.into();
        self.names.push(name.clone());
        let number = self.names.len() as u32;
        self.numbers.insert(name, number);
        number
    }

    pub fn name(&self, number: u32) -> Option<Arc<str>> {
        self.names.get((number as usize).checked_sub(1)?).cloned()
    }
}
