//! What a router makes of packets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv6Addr;
use std::time::Duration;

use anycast_ospf::codec::{
    Body, DatabaseDescription, Hello, Lsa, LsaKey, MAX_AGE, Options, Packet, checksum,
};
use anycast_ospf::{ALL_SPF_ROUTERS, RouterId, Time};

use super::{Peer, Role, Router, SECOND, State};

impl Router {
    pub fn receive(&mut self, now: Time, source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) {
        let (packet, rest) = Packet::decode(payload).expect("a speaker sends OSPF");
        assert!(
            rest.is_empty() && checksum::packet_holds(source, destination, payload),
            "a speaker sends whole packets"
        );
        let id = packet.router_id;
        match packet.body {
            Body::Hello(hello) => self.hello(now, id, source, &hello),
            Body::DatabaseDescription(description) => self.description(now, id, &description),
            Body::LinkStateRequest(keys) => {
                if self.peers.get(&id).is_none_or(|peer| peer.state < State::Exchange) {
                    return;
                }
                if keys.iter().all(|key| self.database.contains_key(key)) {
                    self.send_lsas(now, source, &keys);
                } else {
                    self.enter(now, id, State::ExStart);
                }
            }
            Body::LinkStateUpdate(lsas) => self.update(now, id, source, destination, lsas),
            Body::LinkStateAck(headers) => {
                for header in headers {
                    let Some(held) = self.database.get(&header.key) else { continue };
                    if held.header(now).recency(&header).is_eq()
                        && let Some(peer) = self.peers.get_mut(&id)
                    {
                        peer.retransmit.remove(&header.key);
                    }
                }
                self.sweep(now);
            }
        }
    }

    fn hello(&mut self, now: Time, id: RouterId, source: Ipv6Addr, hello: &Hello) {
        if (hello.hello_interval, hello.dead_interval) != self.intervals {
            return;
        }
        if hello.priority == 0 && hello.options.contains(Options::R) {
            self.complaints.push("R-bit set".to_owned());
        }
        let new = !self.peers.contains_key(&id);
        let fresh = Peer {
            state: State::Init,
            address: source,
            interface_id: hello.interface_id,
            priority: hello.priority,
            heard: now,
            declares: Default::default(),
            master: true,
            sequence: 0,
            received: None,
            last: None,
            summary: VecDeque::new(),
            described: false,
            requests: BTreeMap::new(),
            retransmit: BTreeSet::new(),
            again: now + self.retransmit,
        };
        let peer = self.peers.entry(id).or_insert(fresh);
        (peer.heard, peer.address, peer.interface_id) = (now, source, hello.interface_id);
        peer.declares = (hello.designated_router, hello.backup_designated_router);
        let state = peer.state;
        if !hello.neighbors.contains(&self.id) {
            if state > State::Init {
                self.enter(now, id, State::Init);
            }
        } else if state == State::Init {
            self.enter(now, id, State::TwoWay);
        }
        self.elect(now);
        if !self.waiting && self.peers.get(&id).is_some_and(|peer| peer.state == State::TwoWay) {
            self.enter(now, id, State::ExStart);
        }
        if new {
            self.send_hello();
        }
    }

    fn description(&mut self, now: Time, id: RouterId, description: &DatabaseDescription) {
        let own = self.id;
        if description.mtu != self.mtu || self.waiting {
            return;
        }
        if self.peers.get(&id).is_some_and(|peer| peer.state == State::Init) {
            self.enter(now, id, State::ExStart);
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let fields = (description.init, description.more, description.master, description.sequence);
        match peer.state {
            State::Init | State::TwoWay => return,
            State::ExStart => {
                if description.init && description.master && description.more && id > own {
                    (peer.master, peer.sequence) = (false, description.sequence);
                } else if description.init
                    || description.master
                    || description.sequence != peer.sequence
                    || id > own
                {
                    return;
                }
                self.enter(now, id, State::Exchange);
            }
            _ if peer.received == Some(fields) => {
                if let (false, Some(last)) = (peer.master, peer.last.clone()) {
                    self.send_to(id, Body::DatabaseDescription(last));
                }
                return;
            }
            State::Exchange => {
                let expected = if peer.master { peer.sequence } else { peer.sequence.wrapping_add(1) };
                if description.init || description.master == peer.master || description.sequence != expected {
                    return self.enter(now, id, State::ExStart);
                }
            }
            State::Loading | State::Full => return self.enter(now, id, State::ExStart),
        }
        for header in &description.headers {
            let newer =
                self.database.get(&header.key).is_none_or(|held| header.recency(&held.header(now)).is_gt());
            if let Some(peer) = self.peers.get_mut(&id).filter(|_| newer) {
                peer.requests.insert(header.key, *header);
            }
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.received = Some(fields);
        let done;
        if peer.master {
            peer.sequence = peer.sequence.wrapping_add(1);
            done = peer.described && !description.more;
            if !done {
                self.describe(now, id);
            }
        } else {
            peer.sequence = description.sequence;
            self.describe(now, id);
            done = self.peers[&id].described && !description.more;
        }
        if done {
            self.enter(now, id, State::Loading);
            self.loaded(now, id);
        }
        self.ask(id);
    }

    fn loaded(&mut self, now: Time, id: RouterId) {
        if self.peers.get(&id).is_some_and(|peer| peer.state == State::Loading && peer.requests.is_empty()) {
            self.enter(now, id, State::Full);
        }
    }

    fn update(&mut self, now: Time, id: RouterId, source: Ipv6Addr, destination: Ipv6Addr, lsas: Vec<Lsa>) {
        if self.peers.get(&id).is_none_or(|peer| peer.state < State::Exchange) {
            return;
        }
        let stub = self.peers.get(&id).is_some_and(|peer| peer.priority == 0);
        if self.role == Role::Designated && destination == ALL_SPF_ROUTERS && stub {
            self.complaints.push(format!("{id} floods to all routers"));
        }
        let before = self.peers.get(&id).map_or(0, |peer| peer.requests.len());
        let mut direct = Vec::new();
        for lsa in lsas {
            assert!(lsa.is_intact());
            let (key, header) = (lsa.header.key, lsa.header);
            let copy = self.database.get(&key).cloned();
            let busy = self.peers.values().any(|peer| matches!(peer.state, State::Exchange | State::Loading));
            if header.age >= MAX_AGE && copy.is_none() && !busy {
                direct.push(header);
                continue;
            }
            let recency = copy.as_ref().map(|held| header.recency(&held.header(now)));
            match recency {
                None | Some(std::cmp::Ordering::Greater) => {
                    if copy.is_some_and(|held| held.flooded && now.since(held.installed) < SECOND) {
                        self.too_soon += 1;
                        continue;
                    }
                    if key.advertising_router == self.id {
                        // Somebody kept what an earlier life originated: overtake it, or flush what is not ours any more.
                        let body = self.database.get(&key).map(|held| held.lsa.body.clone());
                        self.install(now, lsa, false);
                        let keep = body.filter(|_| header.sequence < i32::MAX);
                        self.originate(now, key.ls_type.0, key.link_state_id, keep.as_deref());
                        for peer in self.peers.values_mut() {
                            peer.requests.remove(&key);
                        }
                        direct.push(header);
                        continue;
                    }
                    self.install(now, lsa, true);
                    if !self.flood(now, key, Some(id)) {
                        self.acks.push(header);
                        self.acks_at.get_or_insert(now + Duration::from_millis(100));
                    }
                }
                Some(std::cmp::Ordering::Equal) => {
                    let peer = self.peers.get_mut(&id).expect("it is there");
                    if peer.requests.contains_key(&key) {
                        return self.enter(now, id, State::ExStart);
                    }
                    if !peer.retransmit.remove(&key) {
                        direct.push(header);
                    }
                }
                Some(std::cmp::Ordering::Less) => {
                    let wraps = copy
                        .is_some_and(|held| held.age(now) == MAX_AGE && held.lsa.header.sequence == i32::MAX);
                    if !wraps {
                        self.send_lsas(now, source, &[key]);
                    }
                }
            }
        }
        if !direct.is_empty() {
            self.send_to(id, Body::LinkStateAck(direct));
        }
        // What was asked of one may have come from another.
        for peer in self.peers.keys().copied().collect::<Vec<_>>() {
            self.loaded(now, peer);
        }
        // Only on progress: an answer that helps nothing would be asked for without end.
        let asks = self
            .peers
            .get(&id)
            .is_some_and(|peer| peer.state == State::Loading && peer.requests.len() < before);
        if asks {
            self.ask(id);
        }
        self.sweep(now);
    }

    /// True if it went back out to the link.
    pub(super) fn flood(&mut self, now: Time, key: LsaKey, from: Option<RouterId>) -> bool {
        let Some(header) = self.database.get(&key).map(|held| held.header(now)) else { return false };
        let again = now + self.retransmit;
        let mut waiting = false;
        for (id, peer) in &mut self.peers {
            peer.retransmit.remove(&key);
            if peer.state < State::Exchange {
                continue;
            }
            if let Some(wanted) = peer.requests.get(&key) {
                let recency = header.recency(wanted);
                if recency.is_lt() {
                    continue;
                }
                peer.requests.remove(&key);
                if recency.is_eq() {
                    continue;
                }
            }
            if from == Some(*id) {
                continue;
            }
            if peer.retransmit.is_empty() && peer.state == State::Full {
                peer.again = again;
            }
            peer.retransmit.insert(key);
            waiting = true;
        }
        let quiet = from
            .is_some_and(|from| from == self.designated || from == self.backup || self.role == Role::Backup);
        if waiting && !quiet {
            self.send_lsas(now, ALL_SPF_ROUTERS, &[key]);
        }
        waiting && !quiet
    }

    pub(super) fn sweep(&mut self, now: Time) {
        self.swept = now;
        if self.peers.values().any(|peer| matches!(peer.state, State::Exchange | State::Loading)) {
            return;
        }
        // A second longer than the RFC says, as FRR does too: what was overtaken on the way must not come in again.
        let peers = &self.peers;
        self.database.retain(|key, held| {
            held.age(now) < MAX_AGE
                || now.since(held.installed) < SECOND
                || peers.values().any(|peer| peer.retransmit.contains(key))
        });
    }
}
