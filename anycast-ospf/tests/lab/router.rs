//! A minimal router that can be Designated Router or Backup, since the speaker never is one. Written apart from the speaker's machines,
//! on the codec alone, so that a mistake must be made twice to go unseen.

mod receive;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv6Addr;
use std::time::Duration;

use anycast_ospf::codec::body::{NetworkLsa, RouterLink, RouterLsa};
use anycast_ospf::codec::{
    Body, DatabaseDescription, Hello, INITIAL_SEQUENCE, LinkKind, LsType, Lsa, LsaHeader, LsaKey, MAX_AGE,
    Options, Packet, checksum,
};
use anycast_ospf::{ALL_SPF_ROUTERS, AreaId, RouterId, Time};

const SECOND: Duration = Duration::from_secs(1);

/// What a router is on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Designated,
    Backup,
    /// The other end of a point-to-point link.
    Peer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Init,
    TwoWay,
    ExStart,
    Exchange,
    Loading,
    Full,
}

#[derive(Clone, Debug)]
pub struct Peer {
    pub state: State,
    address: Ipv6Addr,
    interface_id: u32,
    priority: u8,
    heard: Time,
    declares: (RouterId, RouterId),
    master: bool,
    sequence: u32,
    received: Option<(bool, bool, bool, u32)>,
    last: Option<DatabaseDescription>,
    summary: VecDeque<LsaKey>,
    described: bool,
    requests: BTreeMap<LsaKey, LsaHeader>,
    pub retransmit: BTreeSet<LsaKey>,
    again: Time,
}

#[derive(Clone, Debug)]
pub struct Held {
    pub lsa: Lsa,
    installed: Time,
    flooded: bool,
}

impl Held {
    pub fn age(&self, now: Time) -> u16 {
        (u64::from(self.lsa.header.age) + now.since(self.installed).as_secs()).min(MAX_AGE.into()) as u16
    }

    pub fn header(&self, now: Time) -> LsaHeader {
        LsaHeader { age: self.age(now), ..self.lsa.header }
    }
}

#[derive(Clone, Debug)]
pub struct Router {
    pub id: RouterId,
    pub address: Ipv6Addr,
    pub ifindex: u32,
    pub role: Role,
    pub mtu: u16,
    pub retransmit: Duration,
    pub intervals: (u16, u16),
    pub options: Options,
    pub area: AreaId,
    pub peers: BTreeMap<RouterId, Peer>,
    pub database: BTreeMap<LsaKey, Held>,
    /// Destination and payload.
    pub out: Vec<(Ipv6Addr, Vec<u8>)>,
    /// Waits to hear who is Designated Router: says hello, and no more.
    pub waiting: bool,
    /// LSAs that came too soon after the last instance.
    pub too_soon: u64,
    /// What a speaker must never do.
    pub complaints: Vec<String>,
    designated: RouterId,
    backup: RouterId,
    hello_at: Time,
    acks: Vec<LsaHeader>,
    acks_at: Option<Time>,
    dd: u32,
    swept: Time,
}

impl Router {
    pub fn new(now: Time, id: u32, role: Role) -> Self {
        let id = RouterId(id);
        let none = RouterId::NONE;
        let (designated, backup) = match role {
            Role::Designated => (id, none),
            Role::Backup => (none, id),
            Role::Peer => (none, none),
        };
        Self {
            id,
            address: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, (id.0 >> 16) as u16, id.0 as u16),
            ifindex: 7,
            role,
            mtu: 1500,
            retransmit: 2 * SECOND,
            intervals: (1, 4),
            options: Options::V6 | Options::E | Options::R,
            area: AreaId::BACKBONE,
            peers: BTreeMap::new(),
            database: BTreeMap::new(),
            out: Vec::new(),
            waiting: false,
            too_soon: 0,
            complaints: Vec::new(),
            designated,
            backup,
            hello_at: now,
            acks: Vec::new(),
            acks_at: None,
            swept: now,
            dd: (now.as_nanos() / 1000) as u32 ^ id.0,
        }
    }

    /// Originates an LSA of its own, or flushes it (`None`).
    pub fn originate(&mut self, now: Time, ls_type: u16, link_state_id: u32, body: Option<&[u8]>) {
        let key = LsaKey { ls_type: LsType(ls_type), link_state_id, advertising_router: self.id };
        let old = self.database.get(&key).map(|held| held.lsa.clone());
        let lsa = match (body, old) {
            (None, None) => return,
            (None, Some(mut old)) => {
                old.header.age = MAX_AGE;
                old
            }
            (Some(body), old) => {
                Lsa::new(key, old.map_or(INITIAL_SEQUENCE, |old| old.header.sequence + 1), 0, body)
            }
        };
        self.install(now, lsa, false);
        self.flood(now, key, None);
    }

    /// Floods an LSA as if it had come from elsewhere in the area.
    pub fn inject(&mut self, now: Time, lsa: Lsa) {
        let key = lsa.header.key;
        self.install(now, lsa, false);
        self.flood(now, key, None);
    }

    /// An LSA of a type by a router, if it is not on its way out.
    pub fn held(&self, now: Time, ls_type: LsType, router: RouterId, link_state_id: u32) -> Option<&Lsa> {
        let held = self.database.get(&LsaKey { ls_type, link_state_id, advertising_router: router })?;
        (held.age(now) < MAX_AGE).then_some(&held.lsa)
    }

    pub fn is_full(&self, router: RouterId) -> bool {
        self.peers.get(&router).is_some_and(|peer| peer.state == State::Full)
    }

    /// Its neighbours, their states, and how much each has to acknowledge and to be asked for.
    pub fn states(&self) -> Vec<(RouterId, State, usize, usize)> {
        self.peers
            .iter()
            .map(|(id, peer)| (*id, peer.state, peer.retransmit.len(), peer.requests.len()))
            .collect()
    }

    fn install(&mut self, now: Time, lsa: Lsa, flooded: bool) {
        self.database.insert(lsa.header.key, Held { lsa, installed: now, flooded });
    }

    fn send(&mut self, destination: Ipv6Addr, body: Body) {
        let packet = Packet { router_id: self.id, area: self.area, instance: 0, checksum: 0, body };
        let mut payload = packet.encode();
        checksum::fill(self.address, destination, &mut payload);
        self.out.push((destination, payload));
    }

    fn send_to(&mut self, router: RouterId, body: Body) {
        if let Some(address) = self.peers.get(&router).map(|peer| peer.address) {
            self.send(if self.role == Role::Peer { ALL_SPF_ROUTERS } else { address }, body);
        }
    }

    fn send_lsas(&mut self, now: Time, destination: Ipv6Addr, keys: &[LsaKey]) {
        let (mut batch, mut length) = (Vec::new(), 60);
        for key in keys {
            let Some(held) = self.database.get(key) else { continue };
            let mut lsa = held.lsa.clone();
            lsa.header.age = (held.age(now) + 1).min(MAX_AGE);
            if !batch.is_empty() && length + lsa.len() > usize::from(self.mtu) {
                self.send(destination, Body::LinkStateUpdate(std::mem::take(&mut batch)));
                length = 60;
            }
            length += lsa.len();
            batch.push(lsa);
        }
        if !batch.is_empty() {
            self.send(destination, Body::LinkStateUpdate(batch));
        }
    }

    pub fn next_timeout(&self) -> Time {
        let peers = self.peers.values().flat_map(|peer| [peer.heard + self.dead(), peer.again]);
        let leaving = self
            .database
            .values()
            .filter(|held| held.lsa.header.age >= MAX_AGE)
            .map(|held| held.installed + SECOND);
        let peers = peers.chain(leaving.filter(|at| *at > self.swept));
        let aging = self.database.values().filter(|held| held.lsa.header.age < MAX_AGE).map(|held| {
            let own = held.lsa.header.key.advertising_router == self.id;
            let at = if own { 1800 } else { u64::from(MAX_AGE) };
            held.installed + SECOND * (at.saturating_sub(held.lsa.header.age.into()) as u32)
        });
        peers.chain(aging).chain(self.acks_at).fold(self.hello_at, Time::min)
    }

    fn dead(&self) -> Duration {
        SECOND * u32::from(self.intervals.1)
    }

    pub fn tick(&mut self, now: Time) {
        let dead = self.dead();
        let gone = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.heard + dead <= now)
            .map(|(id, _)| *id)
            .collect::<Vec<_>>();
        for id in gone {
            self.peers.remove(&id);
            self.links_changed(now);
        }
        self.elect(now);
        if self.hello_at <= now {
            self.hello_at = now + SECOND * u32::from(self.intervals.0);
            self.send_hello();
        }
        if self.acks_at.is_some_and(|at| at <= now) {
            self.acks_at = None;
            let acks = std::mem::take(&mut self.acks);
            self.send(ALL_SPF_ROUTERS, Body::LinkStateAck(acks));
        }
        let due =
            self.peers.iter().filter(|(_, peer)| peer.again <= now).map(|(id, _)| *id).collect::<Vec<_>>();
        for id in due {
            self.repeat(now, id);
        }
        let old =
            self.database.iter().filter(|(_, held)| held.lsa.header.age < MAX_AGE).filter(|(key, held)| {
                held.age(now) >= if key.advertising_router == self.id { 1800 } else { MAX_AGE }
            });
        for key in old.map(|(key, _)| *key).collect::<Vec<_>>() {
            if key.advertising_router == self.id {
                let body = self.database[&key].lsa.body.clone();
                self.originate(now, key.ls_type.0, key.link_state_id, Some(&body));
            } else if let Some(held) = self.database.get_mut(&key) {
                (held.lsa.header.age, held.installed) = (MAX_AGE, now);
                self.flood(now, key, None);
            }
        }
        self.sweep(now);
    }

    pub fn send_hello(&mut self) {
        let hello = Hello {
            interface_id: self.ifindex,
            priority: 1,
            options: self.options,
            hello_interval: self.intervals.0,
            dead_interval: self.intervals.1,
            designated_router: if self.waiting { RouterId::NONE } else { self.designated },
            backup_designated_router: self.backup,
            neighbors: self.peers.keys().copied().collect(),
        };
        self.send(ALL_SPF_ROUTERS, Body::Hello(hello));
    }

    fn repeat(&mut self, now: Time, id: RouterId) {
        let again = now + self.retransmit;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.again = again;
        match (peer.state, peer.last.clone()) {
            (State::ExStart, Some(last)) => self.send_to(id, Body::DatabaseDescription(last)),
            (State::Exchange, Some(last)) if peer.master => self.send_to(id, Body::DatabaseDescription(last)),
            _ => {}
        }
        self.ask(id);
        let Some(peer) = self.peers.get(&id) else { return };
        let keys = peer.retransmit.iter().take(20).copied().collect::<Vec<_>>();
        let address = if self.role == Role::Peer { ALL_SPF_ROUTERS } else { peer.address };
        self.send_lsas(now, address, &keys);
    }

    fn ask(&mut self, id: RouterId) {
        let Some(peer) = self.peers.get(&id) else { return };
        let keys = peer.requests.keys().take(20).copied().collect::<Vec<_>>();
        if peer.state >= State::Exchange && !keys.is_empty() {
            self.send_to(id, Body::LinkStateRequest(keys));
        }
    }

    /// The Backup follows a Designated Router that is gone; whoever is Designated takes the Backup that declares itself.
    fn elect(&mut self, now: Time) {
        let declared = |which: fn(&(RouterId, RouterId)) -> RouterId| {
            self.peers
                .iter()
                .find(|(id, peer)| peer.state >= State::TwoWay && which(&peer.declares) == **id)
                .map(|(id, _)| *id)
        };
        match self.role {
            Role::Designated => {
                // Two after a time in which they did not hear each other: the higher id stays (RFC 2328 9.4).
                if let Some(other) = declared(|declares| declares.0).filter(|other| *other > self.id) {
                    self.role = Role::Backup;
                    (self.designated, self.backup) = (other, self.id);
                    self.originate(now, 0x2002, self.ifindex, None);
                    self.links_changed(now);
                    self.send_hello();
                } else {
                    self.backup = declared(|declares| declares.1).unwrap_or(RouterId::NONE);
                }
            }
            Role::Backup => {
                let seen = declared(|declares| declares.0);
                if seen.is_none() && self.designated != RouterId::NONE {
                    self.role = Role::Designated;
                    (self.designated, self.backup) = (self.id, RouterId::NONE);
                    self.links_changed(now);
                    self.send_hello();
                } else {
                    self.designated = seen.unwrap_or(RouterId::NONE);
                }
            }
            Role::Peer => {}
        }
    }

    fn links_changed(&mut self, now: Time) {
        let full = self.peers.iter().filter(|(_, peer)| peer.state == State::Full).collect::<Vec<_>>();
        let interface_id = self.ifindex;
        let links = match self.role {
            Role::Peer => full
                .iter()
                .map(|(id, peer)| RouterLink {
                    kind: LinkKind::PointToPoint,
                    metric: 10,
                    interface_id,
                    neighbor_interface_id: peer.interface_id,
                    neighbor_router_id: **id,
                })
                .collect(),
            _ => vec![RouterLink {
                kind: LinkKind::Transit,
                metric: 10,
                interface_id,
                neighbor_interface_id: interface_id,
                neighbor_router_id: self.designated,
            }],
        };
        let attached = std::iter::once(self.id).chain(full.iter().map(|(id, _)| **id)).collect::<Vec<_>>();
        let router = RouterLsa { flags: 0, options: self.options, links }.encode();
        let network = NetworkLsa { options: self.options, attached: attached.clone() }.encode();
        self.originate(now, 0x2001, 0, Some(&router));
        if self.role == Role::Designated {
            self.originate(now, 0x2002, interface_id, (attached.len() > 1).then_some(network.as_slice()));
        }
    }

    fn enter(&mut self, now: Time, id: RouterId, state: State) {
        let again = now + self.retransmit;
        self.dd = self.dd.wrapping_add(1);
        let (dd, options, mtu) = (self.dd, self.options, self.mtu);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let was_full = peer.state == State::Full;
        peer.state = state;
        peer.again = again;
        if state < State::Exchange {
            (peer.received, peer.last, peer.described, peer.master) = (None, None, false, true);
            peer.summary.clear();
            peer.requests.clear();
            peer.retransmit.clear();
        }
        if state == State::ExStart {
            peer.sequence = dd;
            let first = DatabaseDescription {
                options,
                mtu,
                init: true,
                more: true,
                master: true,
                sequence: dd,
                headers: vec![],
            };
            peer.last = Some(first.clone());
            self.send_to(id, Body::DatabaseDescription(first));
        } else if state == State::Exchange {
            let (old, young) =
                self.database.iter().partition::<Vec<_>, _>(|(_, held)| held.age(now) == MAX_AGE);
            peer.summary = young.into_iter().map(|(key, _)| *key).collect();
            peer.retransmit = old.into_iter().map(|(key, _)| *key).collect();
        }
        if was_full != (state == State::Full) {
            self.links_changed(now);
        }
    }

    fn describe(&mut self, now: Time, id: RouterId) {
        let (options, mtu, again) = (self.options, self.mtu, now + self.retransmit);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let most = peer.summary.len().min(10);
        let keys = peer.summary.drain(..most).collect::<Vec<_>>();
        let headers =
            keys.iter().filter_map(|key| self.database.get(key).map(|held| held.header(now))).collect();
        let more = !peer.summary.is_empty();
        peer.described = !more;
        peer.again = again;
        let description = DatabaseDescription {
            options,
            mtu,
            init: false,
            more,
            master: peer.master,
            sequence: peer.sequence,
            headers,
        };
        peer.last = Some(description.clone());
        self.send_to(id, Body::DatabaseDescription(description));
    }
}
