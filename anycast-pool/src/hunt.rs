//! Server hunt (RFC 5352 3.6): connections to registrars, configured or announced, for elements and users alike.
//!
//! Unlike the RFC's endpoint, which has one home, this one keeps a connection to each registrar, up to a bound: what one does not
//! know or is not there to say, another says. A connection that fails makes room for one to another registrar and is tried again
//! after a pause that doubles, with jitter so that a registrar that comes back is not met by all at once.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::vector::VOICES_MAX;
use crate::wire::{PORT, RegistrarId, Transport, TransportUse};
use crate::{Random, Time};

/// Doublings after which a pause is at its maximum anyway.
const DOUBLINGS_MAX: u32 = 16;

/// A connection, from the attempt on. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A registrar to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The one with that index in the caller's configuration.
    Configured(usize),
    /// One that announced itself (RFC 5352 2.2.10). Announces are not authenticated: verify whom the connection reaches.
    Announced(Transport),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured(index) => write!(f, "registrar {}", index + 1),
            Self::Announced(transport) => write!(f, "announced {transport}"),
        }
    }
}

/// Limits and times of the hunt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HuntConfig {
    /// Most connections at a time. RFC 5352 3.6 SH1: three.
    pub parallel: usize,
    /// T5-Serverhunt: time for a connection to come about. Doubles while none does.
    pub hunt: Duration,
    /// RETRAN.max: most that T5 and pauses grow to.
    pub retransmit_max: Duration,
    /// First pause before a registrar that failed is tried again, ±50 %.
    pub pause: Duration,
    /// T7-ENRPoutdate: an announced registrar is forgotten if it is silent for that long and not connected.
    pub outdate: Duration,
    /// Most announced registrars.
    pub announced_max: usize,
}

impl Default for HuntConfig {
    fn default() -> Self {
        Self {
            parallel: 3,
            hunt: Duration::from_secs(10),
            retransmit_max: Duration::from_secs(60),
            pause: Duration::from_millis(500),
            outdate: Duration::from_secs(5),
            announced_max: 8,
        }
    }
}

/// What the I/O side is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Connect(ConnectionId, Target),
    /// T5 is over for that number's attempt.
    GiveUp(ConnectionId, usize),
}

/// State of a connection, for tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// None; tried again at that time.
    Idle(Time),
    /// Coming about; given up at that time.
    Connecting(ConnectionId, Time),
    /// Open since that time.
    Open(ConnectionId, Time),
}

/// A registrar and the connection to it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub target: Target,
    pub state: LinkState,
    /// Failures since it last worked.
    pub failures: u32,
    /// An announced one is outdated then.
    outdated: Option<Time>,
}

/// The registrars. A link's place is its number, and the number of its voice.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    config: HuntConfig,
    links: Vec<Option<Link>>,
    /// T5 now.
    hunt: Duration,
    next: u64,
    random: Random,
}

impl Links {
    /// `configured` registrars, to be connected to at once.
    pub fn new(config: HuntConfig, configured: usize, seed: u64) -> Self {
        let configured = configured.min(VOICES_MAX);
        let links = (0..configured).map(|index| Some(Link::new(Target::Configured(index), None))).collect();
        Self { config, links, hunt: config.hunt, next: 0, random: Random::new(seed) }
    }

    /// Number and link of each registrar.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Link)> {
        self.links.iter().enumerate().filter_map(|(number, link)| Some((number, link.as_ref()?)))
    }

    /// Number and connection of those that are open.
    pub fn open(&self) -> impl Iterator<Item = (usize, ConnectionId)> {
        self.iter().filter_map(|(number, link)| match link.state {
            LinkState::Open(id, _) => Some((number, id)),
            _ => None,
        })
    }

    /// The registrar of an open connection.
    pub fn number(&self, connection: ConnectionId) -> Option<usize> {
        self.open().find(|(_, id)| *id == connection).map(|(number, _)| number)
    }

    /// A registrar announced itself, from that address.
    pub fn announced(&mut self, now: Time, from: SocketAddr, transports: &[Transport]) {
        let outdated = Some(now + self.config.outdate);
        // None said: SCTP at the source's address (RFC 5352 3.6).
        let implied =
            [Transport::Sctp { port: PORT, transport_use: TransportUse::Data, addresses: vec![from.ip()] }];
        let transports = if transports.is_empty() { &implied } else { transports };
        for transport in transports {
            let target = Target::Announced(transport.clone());
            if let Some(known) = self.links.iter_mut().flatten().find(|link| link.target == target) {
                known.outdated = outdated;
                continue;
            }
            let announced = self.iter().filter(|(_, link)| link.outdated.is_some()).count();
            if announced >= self.config.announced_max {
                return;
            }
            let link = Some(Link::new(target, outdated));
            match self.links.iter().position(Option::is_none) {
                Some(free) => self.links[free] = link,
                None if self.links.len() < VOICES_MAX => self.links.push(link),
                None => return,
            }
        }
    }

    /// A connection came about; which registrar's. `None` if it is not wanted any more: close it.
    pub fn connected(&mut self, now: Time, connection: ConnectionId) -> Option<usize> {
        let number = self.iter().find_map(|(number, link)| match link.state {
            LinkState::Connecting(id, _) if id == connection => Some(number),
            _ => None,
        })?;
        if let Some(Some(link)) = self.links.get_mut(number) {
            link.state = LinkState::Open(connection, now);
        }
        self.hunt = self.config.hunt;
        Some(number)
    }

    /// A registrar answered as it should: its failures are over.
    pub fn worked(&mut self, number: usize) {
        if let Some(Some(link)) = self.links.get_mut(number) {
            link.failures = 0;
        }
    }

    /// A connection is lost or did not come about; which registrar's, and whether it was open.
    pub fn closed(&mut self, now: Time, connection: ConnectionId) -> Option<(usize, bool)> {
        let (number, open) = self.iter().find_map(|(number, link)| match link.state {
            LinkState::Connecting(id, _) if id == connection => Some((number, false)),
            LinkState::Open(id, _) if id == connection => Some((number, true)),
            _ => None,
        })?;
        self.pause(now, number);
        Some((number, open))
    }

    /// What is due: connections to open and to give up; and numbers of registrars that are forgotten.
    pub fn poll(&mut self, now: Time) -> (Vec<Step>, Vec<usize>) {
        let mut steps = Vec::new();
        let mut forgotten = Vec::new();
        let mut expired = false;
        for number in 0..self.links.len() {
            let Some(link) = &self.links[number] else { continue };
            match link.state {
                LinkState::Connecting(id, until) if until <= now => {
                    steps.push(Step::GiveUp(id, number));
                    self.pause(now, number);
                    expired = true;
                }
                LinkState::Idle(_) if link.outdated.is_some_and(|outdated| outdated <= now) => {
                    self.links[number] = None;
                    forgotten.push(number);
                }
                _ => {}
            }
        }
        if expired {
            self.hunt = (self.hunt * 2).min(self.config.retransmit_max);
        }
        while let Some(number) = self.candidate(now) {
            let id = ConnectionId(self.next);
            self.next += 1;
            let until = now + self.hunt;
            let Some(link) = &mut self.links[number] else { break };
            link.state = LinkState::Connecting(id, until);
            steps.push(Step::Connect(id, link.target.clone()));
        }
        (steps, forgotten)
    }

    /// When [`poll`](Self::poll) has something to do.
    pub fn next_timeout(&self) -> Option<Time> {
        let room = self.active() < self.config.parallel;
        let times = self.iter().filter_map(|(_, link)| match (link.state, link.outdated) {
            (LinkState::Connecting(_, until), _) => Some(until),
            (LinkState::Idle(at), Some(outdated)) if room => Some(at.min(outdated)),
            (LinkState::Idle(at), None) if room => Some(at),
            (LinkState::Idle(_), outdated) => outdated,
            (LinkState::Open(..), _) => None,
        });
        times.min()
    }

    fn active(&self) -> usize {
        self.iter().filter(|(_, link)| !matches!(link.state, LinkState::Idle(_))).count()
    }

    /// Whom to connect to next: who has failed least, and among those the one that waits longest.
    fn candidate(&self, now: Time) -> Option<usize> {
        if self.active() >= self.config.parallel {
            return None;
        }
        let due = self.iter().filter_map(|(number, link)| match link.state {
            LinkState::Idle(at) if at <= now => Some((link.failures, at, number)),
            _ => None,
        });
        due.min().map(|(_, _, number)| number)
    }

    fn pause(&mut self, now: Time, number: usize) {
        let Some(Some(link)) = self.links.get_mut(number) else { return };
        let pause = self.config.pause.saturating_mul(1 << link.failures.min(DOUBLINGS_MAX));
        link.failures = link.failures.saturating_add(1);
        link.state = LinkState::Idle(now + self.random.around(pause.min(self.config.retransmit_max)));
    }
}

impl Link {
    /// The connection, open or coming about.
    pub const fn connection(&self) -> Option<ConnectionId> {
        match self.state {
            LinkState::Idle(_) => None,
            LinkState::Connecting(id, _) | LinkState::Open(id, _) => Some(id),
        }
    }

    const fn new(target: Target, outdated: Option<Time>) -> Self {
        Self { target, state: LinkState::Idle(Time::ZERO), failures: 0, outdated }
    }
}

/// A registrar, for tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrarSnapshot {
    /// Which.
    pub target: Target,
    /// The connection to it.
    pub state: LinkState,
    /// Failures since it last worked.
    pub failures: u32,
    /// Its identifier, once it said it.
    pub id: Option<RegistrarId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_nanos(ms * 1_000_000)
    }

    fn connects(steps: &[Step]) -> Vec<(ConnectionId, Target)> {
        let connects = steps.iter().filter_map(|step| match step {
            Step::Connect(id, target) => Some((*id, target.clone())),
            Step::GiveUp(..) => None,
        });
        connects.collect()
    }

    #[test]
    fn at_most_three_are_sought_and_a_failed_one_makes_room_for_another() {
        let mut links = Links::new(HuntConfig::default(), 5, 1);
        let first = connects(&links.poll(at(0)).0);
        assert_eq!(
            first.iter().map(|(_, target)| target.clone()).collect::<Vec<_>>(),
            [0, 1, 2].map(Target::Configured)
        );
        assert!(links.poll(at(1)).0.is_empty());
        assert_eq!(links.connected(at(2), first[0].0), Some(0));
        assert_eq!(links.closed(at(3), first[1].0), Some((1, false)));
        assert_eq!(connects(&links.poll(at(3)).0)[0].1, Target::Configured(3));
        // An event of a connection that is over changes nothing.
        assert_eq!(links.closed(at(4), first[1].0), None);
        assert_eq!(links.connected(at(4), first[1].0), None);
    }

    #[test]
    fn the_hunt_timer_doubles_up_to_its_maximum_until_one_is_found() {
        let mut links = Links::new(HuntConfig { parallel: 1, ..HuntConfig::default() }, 1, 1);
        let (mut now, mut waits) = (at(0), Vec::new());
        for _ in 0..5 {
            while connects(&links.poll(now).0).is_empty() {
                now = links.next_timeout().unwrap();
            }
            let until = links.next_timeout().unwrap();
            waits.push(until.since(now).as_secs());
            now = until;
        }
        assert_eq!(waits, [10, 20, 40, 60, 60]);
        let id = loop {
            now = links.next_timeout().unwrap();
            if let Some((id, _)) = connects(&links.poll(now).0).first() {
                break *id;
            }
        };
        links.connected(now, id);
        links.closed(now, id);
        now = links.next_timeout().unwrap();
        links.poll(now);
        assert_eq!(links.next_timeout().unwrap().since(now).as_secs(), 10);
    }

    #[test]
    fn pauses_double_with_jitter_until_it_works() {
        let mut links = Links::new(HuntConfig::default(), 1, 3);
        let mut now = at(0);
        for round in 0..12 {
            let id = connects(&links.poll(now).0)[0].0;
            links.connected(now, id);
            links.closed(now, id);
            let pause = links.next_timeout().unwrap().since(now).as_millis() as u64;
            let mean = (500 << round).min(60_000);
            assert!((mean / 2..=mean * 3 / 2).contains(&pause), "{round}: {pause}");
            now = links.next_timeout().unwrap();
        }
        links.worked(0);
        let id = connects(&links.poll(now).0)[0].0;
        links.closed(now, id);
        assert!(links.next_timeout().unwrap().since(now).as_millis() <= 750);
    }

    #[test]
    fn announced_registrars_are_learnt_bounded_and_outdated() {
        let mut links =
            Links::new(HuntConfig { parallel: 1, announced_max: 2, ..HuntConfig::default() }, 0, 1);
        assert!(links.poll(at(0)).0.is_empty());
        let from: SocketAddr = "[fe80::1]:3863".parse().unwrap();
        let tcp = |port: u16| Transport::Tcp(SocketAddr::new(from.ip(), port));
        links.announced(at(0), from, &[tcp(1), tcp(2), tcp(3)]);
        assert_eq!(links.iter().count(), 2);
        let (id, target) = connects(&links.poll(at(0)).0)[0].clone();
        assert_eq!(target, Target::Announced(tcp(1)));
        links.connected(at(0), id);
        links.announced(at(4_000), from, &[tcp(2)]);
        assert_eq!(links.poll(at(8_999)).1, []);
        assert_eq!(links.poll(at(9_000)).1, [1]);
        // The connected one stays, until its connection is lost.
        links.closed(at(9_001), id);
        assert_eq!(links.poll(at(9_001)).1, [0]);
        links.announced(at(9_002), from, &[]);
        assert!(matches!(
            links.iter().next().unwrap().1.target,
            Target::Announced(Transport::Sctp { port: PORT, .. })
        ));
    }
}
