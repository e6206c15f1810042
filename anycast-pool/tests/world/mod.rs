//! Registrars, elements and users in one virtual network with a jumping clock: the machines themselves, and between them messages
//! that take a millisecond each way. Everything follows from a seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::time::Duration;

use anycast_pool::element::{self, Element, ElementConfig};
use anycast_pool::journal;
use anycast_pool::policy::Policy;
use anycast_pool::registrar::{Action, Config, ConnectionId as Served, ConnectionKind, Event, Registrar};
use anycast_pool::user::{self, Change, Pick, User, UserConfig};
use anycast_pool::vector::Tier;
use anycast_pool::wire::{Frames, State, Transport};
use anycast_pool::{ConnectionId, ElementId, PoolHandle, Random, RegistrarId, Target, Time};

/// One way.
pub const LATENCY: Duration = Duration::from_millis(1);

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Client {
    Element(usize),
    User(usize),
}

/// A connection: whose, to which registrar, with the registrar's name for it.
type Key = (Client, ConnectionId);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Delivery {
    Connect(Key, usize),
    Connected(Key),
    ToRegistrar(Key, Vec<u8>),
    ToClient(Key, Vec<u8>),
    ClosedByClient(Key),
    ClosedByRegistrar(Key),
}

pub struct ElementHost {
    pub machine: Option<Element>,
    config: ElementConfig,
    /// Stopped: takes nothing and says nothing, its connections stay, and what comes waits.
    pub hung: bool,
    waiting: Vec<Delivery>,
    /// Neither its messages nor those to it arrive.
    pub cut_off: bool,
}

pub struct RegistrarHost {
    pub machine: Option<Registrar>,
    journal: Vec<u8>,
    starts: u64,
}

pub struct World {
    pub now: Time,
    pub registrars: Vec<RegistrarHost>,
    pub elements: Vec<ElementHost>,
    pub users: Vec<User>,
    /// What users were told, with the time.
    pub changes: Vec<(usize, Time, Change)>,
    pub handle: PoolHandle,
    pub keeps_journal: bool,
    connections: BTreeMap<Key, (usize, Served, Frames)>,
    served: BTreeMap<Served, Key>,
    queue: BinaryHeap<Reverse<(Time, u64, Delivery)>>,
    next: u64,
    seed: u64,
}

impl World {
    pub fn new(registrars: usize, elements: usize, users: usize, seed: u64) -> Self {
        let handle = PoolHandle::from("dns");
        let mut random = Random::new(seed);
        let mut world = Self {
            // An hour after the clock's origin: ages reach back.
            now: Time::ZERO + Duration::from_secs(3_600),
            registrars: (0..registrars)
                .map(|_| RegistrarHost { machine: None, journal: journal::header().to_vec(), starts: 0 })
                .collect(),
            elements: (0..elements)
                .map(|number| {
                    let transport = Transport::Udp(SocketAddr::from(([192, 0, 2, number as u8], 53)));
                    let id = ElementId(number as u32 + 1);
                    let config = ElementConfig::new(
                        handle.clone(),
                        id,
                        transport,
                        Policy::RoundRobin,
                        registrars,
                        random.next(),
                    );
                    ElementHost { machine: None, config, hung: false, waiting: Vec::new(), cut_off: false }
                })
                .collect(),
            users: (0..users).map(|_| User::new(UserConfig::new(registrars, random.next()))).collect(),
            changes: Vec::new(),
            handle: handle.clone(),
            keeps_journal: true,
            connections: BTreeMap::new(),
            served: BTreeMap::new(),
            queue: BinaryHeap::new(),
            next: 0,
            seed,
        };
        (0..registrars).for_each(|number| world.start_registrar(number));
        (0..elements).for_each(|number| world.start_element(number));
        (0..users).for_each(|number| world.user(number, user::Input::Open(&handle)));
        world
    }

    // What happens to hosts.

    pub fn start_registrar(&mut self, number: usize) {
        let host = &mut self.registrars[number];
        host.starts += 1;
        let seed = self.seed ^ (number as u64 + 1) << 32 ^ host.starts << 48;
        let mut machine = Registrar::new(Config::new(RegistrarId(number as u32 + 1)), seed, self.now)
            .expect("a good configuration");
        if self.keeps_journal {
            let read = journal::read(&host.journal, wall(self.now)).expect("a whole journal");
            machine.restore(self.now, read.records);
        }
        host.machine = Some(machine);
        self.run_registrar(number);
    }

    /// SIGKILL: the kernel closes its connections.
    pub fn kill_registrar(&mut self, number: usize) {
        self.registrars[number].machine = None;
        let keys: Vec<Key> =
            self.connections.iter().filter(|(_, (to, ..))| *to == number).map(|(key, _)| *key).collect();
        for key in keys {
            self.disconnect(key);
            self.deliver(Delivery::ClosedByRegistrar(key));
        }
    }

    pub fn start_element(&mut self, number: usize) {
        let host = &mut self.elements[number];
        host.machine = Some(Element::new(host.config.clone()));
        host.hung = false;
        self.element(number, element::Input::Able(true));
    }

    pub fn kill_element(&mut self, number: usize) {
        self.elements[number].machine = None;
        self.elements[number].hung = false;
        self.elements[number].waiting.clear();
        let keys: Vec<Key> = self
            .connections
            .keys()
            .filter(|(client, _)| *client == Client::Element(number))
            .copied()
            .collect();
        for key in keys {
            self.deliver(Delivery::ClosedByClient(key));
        }
    }

    pub fn hang_element(&mut self, number: usize, hung: bool) {
        self.elements[number].hung = hung;
        if !hung {
            for delivery in std::mem::take(&mut self.elements[number].waiting) {
                self.arrive(delivery);
            }
            self.element(number, element::Input::Tick);
        }
    }

    /// Loses the connection of a client to a registrar, for both.
    pub fn lose_connection(&mut self, client: Client, registrar: usize) {
        let keys: Vec<Key> = self
            .connections
            .iter()
            .filter(|((whose, _), (to, ..))| *whose == client && *to == registrar)
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            self.deliver(Delivery::ClosedByClient(key));
            self.deliver(Delivery::ClosedByRegistrar(key));
        }
    }

    pub fn element(&mut self, number: usize, input: element::Input<'_>) {
        let host = &mut self.elements[number];
        let Some(machine) = host.machine.as_mut().filter(|_| !host.hung) else { return };
        let outputs = machine.handle(self.now, input);
        for output in outputs {
            let client = Client::Element(number);
            match output {
                element::Output::Connect(id, target) => self.connect((client, id), &target),
                element::Output::Send(id, octets) => {
                    self.deliver(Delivery::ToRegistrar((client, id), octets))
                }
                element::Output::Close(id) => self.deliver(Delivery::ClosedByClient((client, id))),
                element::Output::Event(_) => {}
                element::Output::Stopped => self.kill_element(number),
            }
        }
    }

    pub fn user(&mut self, number: usize, input: user::Input<'_>) {
        let outputs = self.users[number].handle(self.now, input);
        for output in outputs {
            let client = Client::User(number);
            match output {
                user::Output::Connect(id, target) => self.connect((client, id), &target),
                user::Output::Send(id, octets) => self.deliver(Delivery::ToRegistrar((client, id), octets)),
                user::Output::Close(id) => self.deliver(Delivery::ClosedByClient((client, id))),
                user::Output::Change(change) => self.changes.push((number, self.now, change)),
                user::Output::Event(_) => {}
            }
        }
    }

    /// One request of a user: tries until an element works; how many it tried, and `None` if none works.
    pub fn request(&mut self, number: usize) -> Option<usize> {
        let mut tried = Vec::new();
        while let Some(Pick { id, .. }) = self.users[number].pick(self.now, &self.handle, &tried) {
            tried.push(id);
            let handle = self.handle.clone();
            if self.works(id.0 as usize - 1) {
                self.user(number, user::Input::Succeeded(&handle, id, LATENCY));
                return Some(tried.len());
            }
            self.user(number, user::Input::Failed(&handle, id));
        }
        None
    }

    // What can be seen.

    pub fn works(&self, number: usize) -> bool {
        let host = &self.elements[number];
        host.machine.is_some() && !host.hung && !host.cut_off
    }

    /// The elements that a registrar calls up.
    pub fn up_at(&self, registrar: usize) -> BTreeSet<u32> {
        let Some(machine) = &self.registrars[registrar].machine else { return BTreeSet::new() };
        let elements = machine.element_snapshots(&self.handle, self.now);
        elements.iter().filter(|element| element.state == State::Up).map(|element| element.id.0).collect()
    }

    /// The elements that are fresh for a user.
    pub fn fresh_for(&self, user: usize) -> BTreeSet<u32> {
        let Some(snapshot) = self.users[user].snapshot(self.now, &self.handle) else {
            return BTreeSet::new();
        };
        snapshot
            .elements
            .iter()
            .filter(|element| element.tier == Tier::Fresh)
            .map(|element| element.id.0)
            .collect()
    }

    pub fn working(&self) -> BTreeSet<u32> {
        (0..self.elements.len())
            .filter(|number| self.works(*number))
            .map(|number| number as u32 + 1)
            .collect()
    }

    // Time.

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        for steps in 0.. {
            assert!(steps < 5_000_000, "time stands still at {}", self.now);
            let Some(next) = self.next().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            while self.queue.peek().is_some_and(|Reverse((at, ..))| *at <= self.now) {
                if let Some(Reverse((_, _, delivery))) = self.queue.pop() {
                    self.arrive(delivery);
                }
            }
            self.tick();
        }
        self.now = end;
    }

    fn next(&self) -> Option<Time> {
        let queue = self.queue.peek().map(|Reverse((at, ..))| *at);
        let registrars = self.registrars.iter().filter_map(|host| host.machine.as_ref()?.next_deadline());
        let elements = self
            .elements
            .iter()
            .filter(|host| !host.hung)
            .filter_map(|host| host.machine.as_ref()?.next_timeout());
        let users = self.users.iter().filter_map(User::next_timeout);
        queue.into_iter().chain(registrars).chain(elements).chain(users).min()
    }

    fn tick(&mut self) {
        for number in 0..self.registrars.len() {
            if let Some(machine) = &mut self.registrars[number].machine
                && machine.next_deadline().is_some_and(|at| at <= self.now)
            {
                machine.handle(self.now, Event::Tick);
                self.run_registrar(number);
            }
        }
        for number in 0..self.elements.len() {
            let due = self.elements[number].machine.as_ref().and_then(Element::next_timeout);
            if due.is_some_and(|at| at <= self.now) {
                self.element(number, element::Input::Tick);
            }
        }
        for number in 0..self.users.len() {
            if self.users[number].next_timeout().is_some_and(|at| at <= self.now) {
                self.user(number, user::Input::Tick);
            }
        }
    }

    // The network.

    fn connect(&mut self, key: Key, target: &Target) {
        let Target::Configured(registrar) = target else { return };
        self.deliver(Delivery::Connect(key, *registrar));
    }

    fn deliver(&mut self, delivery: Delivery) {
        self.next += 1;
        self.queue.push(Reverse((self.now + LATENCY, self.next, delivery)));
    }

    fn is_cut(&self, client: Client) -> bool {
        matches!(client, Client::Element(number) if self.elements[number].cut_off)
    }

    /// The element that a delivery is for.
    fn element_of(delivery: &Delivery) -> Option<usize> {
        match delivery {
            Delivery::Connected((Client::Element(number), _))
            | Delivery::ToClient((Client::Element(number), _), _)
            | Delivery::ClosedByRegistrar((Client::Element(number), _)) => Some(*number),
            _ => None,
        }
    }

    fn arrive(&mut self, delivery: Delivery) {
        if let Some(host) = Self::element_of(&delivery).map(|number| &mut self.elements[number])
            && host.hung
            && !host.cut_off
        {
            host.waiting.push(delivery);
            return;
        }
        match delivery {
            Delivery::Connect(key, registrar) => {
                if self.is_cut(key.0) {
                    return;
                }
                let Some(machine) = &mut self.registrars[registrar].machine else {
                    self.deliver(Delivery::ClosedByRegistrar(key));
                    return;
                };
                self.next += 1;
                let served = Served(self.next);
                let peer = SocketAddr::from(([198, 51, 100, self.next as u8], 40_000));
                let (connection, kind, identity) = (served, ConnectionKind::Tcp, None);
                machine.handle(self.now, Event::Connected { connection, peer, kind, identity });
                self.connections.insert(key, (registrar, served, Frames::default()));
                self.served.insert(served, key);
                self.deliver(Delivery::Connected(key));
                self.run_registrar(registrar);
            }
            Delivery::Connected(key) if self.is_cut(key.0) => {}
            Delivery::Connected(key) => match key.0 {
                Client::Element(number) => self.element(number, element::Input::Connected(key.1)),
                Client::User(number) => self.user(number, user::Input::Connected(key.1)),
            },
            Delivery::ToRegistrar(key, octets) => {
                if self.is_cut(key.0) {
                    return;
                }
                let Some((registrar, served, _)) = self.connections.get(&key) else {
                    // The registrar's host knows nothing of such a connection, and says so.
                    self.deliver(Delivery::ClosedByRegistrar(key));
                    return;
                };
                let (registrar, connection) = (*registrar, *served);
                if let Some(machine) = &mut self.registrars[registrar].machine {
                    machine.handle(self.now, Event::Received { connection, octets: &octets });
                }
                self.run_registrar(registrar);
            }
            Delivery::ToClient(key, octets) => {
                if self.is_cut(key.0) {
                    return;
                }
                let Some((_, _, frames)) = self.connections.get_mut(&key) else { return };
                frames.push(&octets);
                let mut messages = Vec::new();
                while let Some(message) = frames.next_message().expect("messages of a registrar can be cut") {
                    messages.push(message.to_vec());
                }
                for message in messages {
                    match key.0 {
                        Client::Element(number) => {
                            self.element(number, element::Input::Message(key.1, &message))
                        }
                        Client::User(number) => self.user(number, user::Input::Message(key.1, &message)),
                    }
                }
            }
            // Nobody tells the other side: it must find out.
            Delivery::ClosedByClient(key) | Delivery::ClosedByRegistrar(key) if self.is_cut(key.0) => {}
            Delivery::ClosedByClient(key) => {
                let Some((registrar, connection)) = self.disconnect(key) else { return };
                if let Some(machine) = &mut self.registrars[registrar].machine {
                    machine.handle(self.now, Event::Closed { connection });
                }
                self.run_registrar(registrar);
            }
            Delivery::ClosedByRegistrar(key) => {
                self.disconnect(key);
                match key.0 {
                    Client::Element(number) => self.element(number, element::Input::Closed(key.1)),
                    Client::User(number) => self.user(number, user::Input::Closed(key.1)),
                }
            }
        }
    }

    fn disconnect(&mut self, key: Key) -> Option<(usize, Served)> {
        let (registrar, served, _) = self.connections.remove(&key)?;
        self.served.remove(&served);
        Some((registrar, served))
    }

    fn run_registrar(&mut self, number: usize) {
        while let Some(action) = self.registrars[number].machine.as_mut().and_then(Registrar::next_action) {
            match action {
                Action::Send { connection, octets } => {
                    if let Some(machine) = &mut self.registrars[number].machine {
                        machine.handle(self.now, Event::Written { connection, octets: octets.len() });
                    }
                    if let Some(key) = self.served.get(&connection) {
                        self.deliver(Delivery::ToClient(*key, octets.to_vec()));
                    }
                }
                Action::Close { connection, .. } => {
                    if let Some(key) = self.served.get(&connection).copied() {
                        self.deliver(Delivery::ClosedByRegistrar(key));
                    }
                }
                Action::Journal(record) => {
                    journal::append(&record, wall(self.now), &mut self.registrars[number].journal);
                }
                Action::Announce(_) | Action::Notice(_) => {}
            }
        }
    }
}

fn wall(now: Time) -> Duration {
    Duration::from_nanos(now.as_nanos())
}
