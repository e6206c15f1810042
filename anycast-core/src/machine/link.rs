//! One link: the peers heard on it and this server's own heartbeats.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use crate::Time;
use crate::auth::Verdicts;
use crate::auth::replay::Senders;
use crate::config::{LinkId, ServerId, ServiceId};
use crate::event::State;
use crate::heartbeat::{Message, Report};
use crate::random::mix;
use crate::status::{LinkStatus, PeerStatus};

/// Peers remembered on a link: nobody can fill the memory with invented ids.
const PEERS_MAX: usize = 4096;

/// A peer silent for this long is forgotten.
const FORGET: Duration = Duration::from_secs(60);

/// Longest interval believed: three of them are how long a dead owner could be waited for.
const INTERVAL_MAX: Duration = Duration::from_secs(10);

/// A server that was heard, on one link.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    incarnation: u64,
    /// The incarnation before: its late datagrams are stale.
    retired: Option<u64>,
    sequence: u64,
    /// When it was last heard.
    pub(crate) heard: Time,
    pub(crate) interval: Duration,
    /// The MAC address it serves from.
    pub(crate) mac: Option<[u8; 6]>,
    /// Its reports, by slot of this server's services on the link.
    reports: Vec<Option<Known>>,
}

/// A peer's last report about a service.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) report: Report,
    /// Order in which peers joined the queue; the smaller the earlier.
    pub(crate) queued: u64,
    /// Its load when it last owned.
    pub(crate) owned: Option<(Time, u16)>,
}

impl Peer {
    /// Silent from then on, it is dead.
    pub(crate) fn deadline(&self) -> Time {
        self.heard + self.interval * 3
    }

    pub(crate) fn alive(&self, now: Time) -> bool {
        now < self.deadline()
    }
}

/// Finds a peer by its id with few looks at memory: with a thousand peers that is what hearing one costs. Nothing depends
/// on the order in which peers are visited, and at most [`PEERS_MAX`] can be made to collide.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mixed(u64);

impl Hasher for Mixed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = mix(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = mix(self.0 ^ id);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What became of a datagram's message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// News: reports may have changed.
    Yes,
    /// Not newer than what is known.
    Stale,
}

/// One link and what is known there.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) up: bool,
    pub(crate) mac: Option<[u8; 6]>,
    /// This server's services on the link; a service's position is its slot.
    pub(crate) services: Vec<ServiceId>,
    slots: BTreeMap<(IpAddr, u32), usize>,
    peers: HashMap<ServerId, Peer, BuildHasherDefault<Mixed>>,
    joined: u64,
    /// When any peer was last heard.
    pub(crate) heard: Option<Time>,
    /// When the next heartbeat is due.
    pub(crate) next: Time,
    /// A heartbeat is due now.
    pub(crate) urgent: bool,
    /// Heartbeats yet to be sent at the owner's pace, so that news survive the loss of one datagram.
    pub(crate) repeats: u8,
    /// When a question or a rival was last answered out of turn.
    answered: Option<Time>,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) malformed: u64,
    pub(crate) foreign: u64,
    pub(crate) stale: u64,
    /// With keys: what each sender is known to have sent.
    pub(crate) senders: Senders,
    pub(crate) heartbeats: Verdicts,
    pub(crate) advertisements: Verdicts,
}

impl Link {
    pub(crate) fn new(id: LinkId, now: Time) -> Self {
        Self {
            id,
            up: false,
            mac: None,
            services: Vec::new(),
            slots: BTreeMap::new(),
            peers: HashMap::default(),
            joined: 0,
            heard: None,
            next: now,
            urgent: false,
            repeats: 0,
            answered: None,
            sent: 0,
            received: 0,
            malformed: 0,
            foreign: 0,
            stale: 0,
            senders: Senders::default(),
            heartbeats: Verdicts::default(),
            advertisements: Verdicts::default(),
        }
    }

    /// Adds one of this server's services; its slot.
    pub(crate) fn add(&mut self, service: ServiceId, address: IpAddr, vlan: u32) -> usize {
        let slot = self.services.len();
        self.services.push(service);
        self.slots.insert((address, vlan), slot);
        slot
    }

    /// The slot of a reported service, if this server has it too.
    pub(crate) fn slot(&self, report: &Report) -> Option<usize> {
        self.slots.get(&(report.address, report.vlan)).copied()
    }

    /// News: heartbeat now, and twice more soon.
    pub(crate) const fn news(&mut self) {
        self.urgent = true;
        self.repeats = 2;
    }

    /// Answers out of turn, at most once in `distance`.
    pub(crate) fn answer(&mut self, now: Time, distance: Duration) {
        if self.answered.is_none_or(|answered| now >= answered + distance) {
            self.answered = Some(now);
            self.urgent = true;
        }
    }

    /// The same, but what is asked sooner is answered when `distance` is over, because the last answer may have been lost.
    /// Not for what is asked in answers too: two would go on answering each other.
    pub(crate) fn answer_each(&mut self, now: Time, distance: Duration) {
        match self.answered {
            // That answer is yet to go.
            Some(answered) if answered > now => {}
            Some(answered) if now < answered + distance => {
                self.answered = Some(answered + distance);
                self.next = self.next.min(answered + distance);
            }
            _ => self.answer(now, distance),
        }
    }

    /// Notes what a peer says. `Accepted::Yes` asks the caller to look at the reports.
    pub(crate) fn hear(&mut self, now: Time, message: &Message) -> Accepted {
        if !self.peers.contains_key(&message.server) && (message.leaving || self.peers.len() >= PEERS_MAX) {
            return Accepted::Stale;
        }
        let slots = self.services.len();
        let peer = self.peers.entry(message.server).or_insert_with(|| Peer {
            incarnation: message.incarnation,
            retired: None,
            sequence: 0,
            heard: now,
            interval: message.interval,
            mac: None,
            reports: vec![None; slots],
        });
        if peer.incarnation != message.incarnation {
            if peer.retired == Some(message.incarnation) {
                return Accepted::Stale;
            }
            peer.retired = Some(peer.incarnation);
            peer.incarnation = message.incarnation;
        } else if peer.sequence >= message.sequence {
            return Accepted::Stale;
        }
        peer.sequence = message.sequence;
        peer.heard = now;
        peer.interval = message.interval.min(INTERVAL_MAX);
        peer.mac = message.mac.or(peer.mac);
        for report in &message.services {
            let Some(slot) = self.slots.get(&(report.address, report.vlan)) else { continue };
            let known = &mut peer.reports[*slot];
            let queued = match known {
                Some(known) if known.report.state == State::Ready => known.queued,
                _ => {
                    self.joined += 1;
                    self.joined
                }
            };
            let owned = match (report.state, report.load) {
                (State::Owner, Some(load)) => Some((now, load.permille)),
                _ => known.as_ref().and_then(|known| known.owned),
            };
            *known = Some(Known { report: report.clone(), queued, owned });
        }
        self.heard = Some(now);
        Accepted::Yes
    }

    /// Notes that a peer said at `at` what it had said before.
    pub(crate) fn hear_again(&mut self, server: ServerId, sequence: u64, at: Time) {
        let Some(peer) = self.peers.get_mut(&server).filter(|peer| peer.sequence < sequence) else {
            self.stale += 1;
            return;
        };
        peer.sequence = sequence;
        peer.heard = at;
        for known in peer.reports.iter_mut().flatten().filter(|known| known.report.state != State::Ready) {
            self.joined += 1;
            known.queued = self.joined;
        }
        self.heard = self.heard.max(Some(at));
        self.received += 1;
    }

    /// A peer said that it leaves.
    pub(crate) fn forget(&mut self, server: ServerId) {
        self.peers.remove(&server);
    }

    /// Forgets peers that have been silent for long.
    pub(crate) fn sweep(&mut self, now: Time) {
        self.peers.retain(|_, peer| now < peer.deadline().max(peer.heard + FORGET));
    }

    /// Is there anybody but `except` who should be heard?
    pub(crate) fn expects(&self, now: Time, except: ServerId) -> bool {
        self.live(now).any(|(server, _)| server != except)
    }

    pub(crate) fn peer(&self, server: ServerId) -> Option<&Peer> {
        self.peers.get(&server)
    }

    /// Live peers.
    pub(crate) fn live(&self, now: Time) -> impl Iterator<Item = (ServerId, &Peer)> {
        self.peers.iter().filter(move |(_, peer)| peer.alive(now)).map(|(server, peer)| (*server, peer))
    }

    /// Live peers' reports about the service in `slot`.
    pub(crate) fn reports(&self, now: Time, slot: usize) -> impl Iterator<Item = (ServerId, &Known)> {
        self.live(now).filter_map(move |(server, peer)| Some((server, peer.reports.get(slot)?.as_ref()?)))
    }

    /// One live peer's report about the service in `slot`.
    pub(crate) fn report(&self, now: Time, server: ServerId, slot: usize) -> Option<&Known> {
        let peer = self.peers.get(&server).filter(|peer| peer.alive(now))?;
        peer.reports.get(slot)?.as_ref()
    }

    /// Puts peers into this order in the queue of `slot`, before all that join later.
    pub(crate) fn requeue(&mut self, slot: usize, order: &[ServerId]) {
        for server in order {
            self.joined += 1;
            let peer = self.peers.get_mut(server);
            if let Some(known) = peer.and_then(|peer| peer.reports.get_mut(slot)?.as_mut()) {
                known.queued = self.joined;
            }
        }
    }

    /// The peer that serves from this MAC address.
    pub(crate) fn peer_of(&self, mac: [u8; 6]) -> Option<ServerId> {
        self.peers.iter().filter(|(_, peer)| peer.mac == Some(mac)).map(|(server, _)| *server).min()
    }

    pub(crate) fn status(&self, now: Time) -> LinkStatus {
        LinkStatus {
            link: self.id,
            up: self.up,
            mac: self.mac,
            peers: self.live(now).count(),
            heartbeats_sent_total: self.sent,
            heartbeats_received_total: self.received,
            heartbeats_malformed_total: self.malformed,
            heartbeats_foreign_total: self.foreign,
            heartbeats_stale_total: self.stale,
            heartbeats: self.heartbeats,
            advertisements: self.advertisements,
        }
    }

    /// What the peers say about the service in `slot`.
    pub(crate) fn peer_status(&self, now: Time, slot: usize) -> Vec<PeerStatus> {
        let known = self.peers.iter().filter_map(|(server, peer)| {
            let report = &peer.reports.get(slot)?.as_ref()?.report;
            Some(PeerStatus {
                server: *server,
                mac: peer.mac,
                state: report.state,
                epoch: report.epoch,
                load: report.load.map(|load| load.permille),
                heard: peer.heard,
                alive: peer.alive(now),
            })
        });
        let mut known = known.collect::<Vec<_>>();
        known.sort_unstable_by_key(|peer| peer.server);
        known
    }
}
