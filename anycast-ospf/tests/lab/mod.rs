//! A virtual network in virtual time: speakers and routers on links that lose, duplicate and reorder. Deterministic by seed; time jumps
//! to what happens next.

#![allow(dead_code, reason = "not every test binary uses all of it")]

pub mod pairs;
pub mod router;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::Ipv6Addr;
use std::time::Duration;

use anycast_ospf::codec::body::Prefix;
use anycast_ospf::{
    ALL_D_ROUTERS, ALL_SPF_ROUTERS, Config, Event, Input, InterfaceConfig, InterfaceId, Link, NeighborState,
    Output, RouterId, Speaker, Time,
};
pub use router::{Role, Router};

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

pub const fn seconds(seconds: u64) -> Time {
    Time::from_nanos(seconds * 1_000_000_000)
}

pub const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The service of all tests.
pub fn service() -> Prefix {
    Prefix::host(Ipv6Addr::new(0x2001, 0xdb8, 0x53, 0, 0, 0, 0, 0x53))
}

/// Another prefix.
pub fn router_prefix(number: u16) -> Prefix {
    Prefix::host(Ipv6Addr::new(0x2001, 0xdb8, 0x54, 0, 0, 0, 0, number))
}

/// What links do to packets, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    pub loss: u64,
    pub duplication: u64,
    pub reordering: u64,
}

/// An interface configured like a router's: Hello 1, dead 4, retransmit 2.
pub fn interface(name: &str) -> InterfaceConfig {
    InterfaceConfig {
        hello_interval: 1,
        dead_interval: 4,
        retransmit_interval: Duration::from_secs(2),
        ..InterfaceConfig::new(name)
    }
}

#[allow(clippy::large_enum_variant, reason = "a handful of nodes")]
pub enum Node {
    Speaker {
        /// `None` = not running.
        speaker: Option<Speaker>,
        config: Config,
        /// Link number and MTU of each interface.
        links: Vec<(usize, u16)>,
        started: u32,
    },
    Router {
        router: Option<Router>,
        link: usize,
    },
}

struct Flight {
    node: usize,
    interface: usize,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    payload: Vec<u8>,
}

pub struct Lab {
    pub now: Time,
    pub weather: Weather,
    pub random: Random,
    pub nodes: Vec<Node>,
    /// When, which node, what.
    pub events: Vec<(Time, usize, Event)>,
    /// Which speakers said that they are done, and when.
    pub stopped: Vec<(Time, usize)>,
    /// Packets sent by speakers: when, who, where, to whom, what.
    pub sent: Vec<(Time, usize, InterfaceId, Ipv6Addr, Vec<u8>)>,
    /// Keep `sent`.
    pub tap: bool,
    flights: BTreeMap<u64, Flight>,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    number: u64,
}

pub fn link_local(node: usize, interface: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 1, node as u16, interface as u16)
}

impl Lab {
    pub fn new(seed: u64) -> Self {
        Self {
            // A clock that has run for a while, as clocks have.
            now: seconds(1000),
            weather: Weather::default(),
            random: Random(seed),
            nodes: Vec::new(),
            events: Vec::new(),
            stopped: Vec::new(),
            sent: Vec::new(),
            tap: false,
            flights: BTreeMap::new(),
            queue: BinaryHeap::new(),
            number: 0,
        }
    }

    /// One speaker and one Designated Router on link 0: nodes 0 and 1.
    pub fn pair(seed: u64, speaker: u32, router: u32) -> Self {
        let mut lab = Self::new(seed);
        lab.speaker(Config::new(RouterId(speaker), vec![interface("eth0")]), &[0]);
        lab.router(router, Role::Designated, 0);
        lab
    }

    pub fn speaker(&mut self, config: Config, links: &[usize]) -> usize {
        let links = links.iter().map(|link| (*link, 1500)).collect();
        self.nodes.push(Node::Speaker { speaker: None, config, links, started: 0 });
        let node = self.nodes.len() - 1;
        self.start(node);
        node
    }

    pub fn router(&mut self, id: u32, role: Role, link: usize) -> usize {
        self.nodes.push(Node::Router { router: Some(Router::new(self.now, id, role)), link });
        self.nodes.len() - 1
    }

    /// (Re)starts a speaker with nothing in its memory.
    pub fn start(&mut self, node: usize) {
        let Node::Speaker { speaker, config, links, started } = &mut self.nodes[node] else {
            panic!("a speaker")
        };
        *started += 1;
        *speaker = Some(
            Speaker::new(Config { boot_count: *started, ..config.clone() })
                .expect("a configuration that can be"),
        );
        for interface in 0..links.len() {
            self.up(node, interface);
        }
    }

    pub fn kill(&mut self, node: usize) {
        match &mut self.nodes[node] {
            Node::Speaker { speaker, .. } => *speaker = None,
            Node::Router { router, .. } => *router = None,
        }
    }

    pub fn up(&mut self, node: usize, interface: usize) {
        let Node::Speaker { links, .. } = &self.nodes[node] else { panic!("a speaker") };
        let link = Link {
            ifindex: 2 + interface as u32,
            mtu: links[interface].1,
            link_local: link_local(node, interface),
        };
        self.input(node, Input::Up(InterfaceId(interface), link));
    }

    pub fn the(&self, node: usize) -> &Speaker {
        match &self.nodes[node] {
            Node::Speaker { speaker: Some(speaker), .. } => speaker,
            _ => panic!("a speaker that runs"),
        }
    }

    pub fn peer(&self, node: usize) -> &Router {
        match &self.nodes[node] {
            Node::Router { router: Some(router), .. } => router,
            _ => panic!("a router that runs"),
        }
    }

    pub fn peer_mut(&mut self, node: usize) -> &mut Router {
        match &mut self.nodes[node] {
            Node::Router { router: Some(router), .. } => router,
            _ => panic!("a router that runs"),
        }
    }

    /// State of a speaker's neighbour.
    pub fn state(&self, node: usize, router: u32) -> NeighborState {
        let neighbors = self.the(node).neighbors(self.now);
        neighbors
            .iter()
            .find(|neighbor| neighbor.router == RouterId(router))
            .map_or(NeighborState::Down, |neighbor| neighbor.state)
    }

    pub fn input(&mut self, node: usize, input: Input<'_>) {
        let now = self.now;
        if let Node::Speaker { speaker: Some(speaker), .. } = &mut self.nodes[node] {
            let output = speaker.handle(now, input);
            self.perform(node, output);
        }
    }

    /// Lets a router do something.
    pub fn poke(&mut self, node: usize, act: impl FnOnce(&mut Router, Time)) {
        let now = self.now;
        act(self.peer_mut(node), now);
        self.drain(node);
    }

    fn perform(&mut self, node: usize, output: Vec<Output>) {
        for output in output {
            match output {
                Output::Send { interface, destination, payload } => {
                    let Node::Speaker { links, .. } = &self.nodes[node] else { continue };
                    let (link, mtu) = links[interface.0];
                    assert!(
                        payload.len() + 40 <= usize::from(mtu),
                        "{} octets on a link of {mtu}",
                        payload.len() + 40
                    );
                    if self.tap {
                        self.sent.push((self.now, node, interface, destination, payload.clone()));
                    }
                    self.carry(node, link_local(node, interface.0), link, destination, &payload);
                }
                Output::Event(event) => {
                    assert!(!event.to_string().is_empty());
                    self.events.push((self.now, node, event));
                }
                Output::Stopped => self.stopped.push((self.now, node)),
            }
        }
    }

    fn drain(&mut self, node: usize) {
        if let Node::Router { router: Some(router), link } = &mut self.nodes[node] {
            let (source, link) = (router.address, *link);
            for (destination, payload) in std::mem::take(&mut router.out) {
                self.carry(node, source, link, destination, &payload);
            }
        }
    }

    fn carry(&mut self, from: usize, source: Ipv6Addr, link: usize, destination: Ipv6Addr, payload: &[u8]) {
        let mut to = Vec::new();
        for (at, node) in self.nodes.iter().enumerate() {
            match node {
                Node::Speaker { links, .. } => {
                    for (interface, _) in links.iter().enumerate().filter(|(_, (other, _))| *other == link) {
                        let hears =
                            destination == ALL_SPF_ROUTERS || destination == link_local(at, interface);
                        if at != from && hears {
                            to.push((at, interface));
                        }
                    }
                }
                Node::Router { router: Some(router), link: other } => {
                    let hears = destination == ALL_SPF_ROUTERS
                        || destination == ALL_D_ROUTERS
                        || destination == router.address;
                    if at != from && *other == link && hears {
                        to.push((at, 0));
                    }
                }
                Node::Router { router: None, .. } => {}
            }
        }
        assert!(
            self.flights.len() < 50_000,
            "a storm of packets at {}: {:?}",
            self.now,
            &payload[..payload.len().min(60)]
        );
        for (node, interface) in to {
            let copies = if self.random.chance(self.weather.loss) {
                0
            } else {
                1 + u64::from(self.random.chance(self.weather.duplication))
            };
            for _ in 0..copies {
                let late =
                    if self.random.chance(self.weather.reordering) { self.random.below(80_000) } else { 0 };
                // In good weather packets stay in order.
                let delay = Duration::from_micros(200 + late);
                self.number += 1;
                self.flights.insert(
                    self.number,
                    Flight { node, interface, source, destination, payload: payload.to_vec() },
                );
                self.queue.push(Reverse((self.now + delay, self.number)));
            }
        }
    }

    fn next(&self) -> Option<Time> {
        let nodes = self.nodes.iter().filter_map(|node| match node {
            Node::Speaker { speaker, .. } => speaker.as_ref()?.next_timeout(),
            Node::Router { router, .. } => router.as_ref().map(Router::next_timeout),
        });
        nodes.chain(self.queue.peek().map(|Reverse((at, _))| *at)).min()
    }

    /// Runs until then.
    pub fn run_until(&mut self, end: Time) {
        let mut idle = 0;
        while let Some(at) = self.next().filter(|at| *at <= end) {
            idle = if at > self.now { 0 } else { idle + 1 };
            assert!(idle < 100_000, "time stands still at {}", self.now);
            self.now = self.now.max(at);
            let now = self.now;
            if let Some(Reverse((_, number))) =
                self.queue.peek().copied().filter(|Reverse((at, _))| *at <= now)
            {
                self.queue.pop();
                let flight = self.flights.remove(&number).expect("it is under way");
                let Flight { node, interface, source, destination, payload } = flight;
                let interface = InterfaceId(interface);
                self.input(node, Input::Packet { interface, source, destination, payload: &payload });
                if let Node::Router { router: Some(router), .. } = &mut self.nodes[node] {
                    router.receive(now, source, destination, &payload);
                    self.drain(node);
                }
                continue;
            }
            for node in 0..self.nodes.len() {
                match &mut self.nodes[node] {
                    Node::Speaker { speaker: Some(speaker), .. }
                        if speaker.next_timeout().is_some_and(|at| at <= now) =>
                    {
                        let output = speaker.handle_timeout(now);
                        self.perform(node, output);
                    }
                    Node::Router { router: Some(router), .. } if router.next_timeout() <= now => {
                        router.tick(now);
                        self.drain(node);
                    }
                    _ => {}
                }
            }
        }
        self.now = self.now.max(end);
    }

    pub fn run(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Runs until something is so; panics if it is not in time.
    pub fn run_till(&mut self, what: &str, most: Duration, mut so: impl FnMut(&Self) -> bool) -> Duration {
        let (begin, end) = (self.now, self.now + most);
        while !so(self) {
            let Some(at) = self.next().filter(|at| *at <= end) else {
                panic!("not in {most:?}: {what}\n{}", self.history());
            };
            self.run_until(at);
        }
        self.now.since(begin)
    }

    /// The events, to be read.
    pub fn history(&self) -> String {
        self.events.iter().map(|(at, node, event)| format!("{at} {node}: {event}\n")).collect()
    }

    pub fn told(&self, node: usize, which: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|(_, at, event)| *at == node && which(event)).count()
    }
}
