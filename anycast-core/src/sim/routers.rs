//! Several routers on the virtual link: each with a neighbour cache entry of its own, and with the gates that hold for it.

use std::collections::BTreeMap;

use super::queue::Happening;
use super::{SERVICE, Sim, Watch};
use crate::event::Event;
use crate::router::{Router, Sighting};
use crate::{Action, Time};

/// Router `number` of the virtual link.
pub fn router(number: u64) -> Router {
    Router { address: Router::address_of(number + 1), mac: [2, 0, 0, 1, 0, number as u8] }
}

/// One router.
#[derive(Debug)]
struct State {
    router: Router,
    /// The server that its neighbour cache entry names.
    entry: Option<usize>,
    watch: Watch,
}

/// All routers, and the gates for single ones in each server's map.
#[derive(Debug)]
pub(super) struct Routers {
    routers: Vec<State>,
    /// By server; they outlive the daemon.
    gates: Vec<BTreeMap<Router, Option<Time>>>,
    able: Vec<bool>,
    /// Advertisements to single routers, by whom to whom.
    sent: Vec<(usize, Router)>,
}

impl Routers {
    pub(super) fn new(servers: usize) -> Self {
        Self {
            routers: Vec::new(),
            gates: vec![BTreeMap::new(); servers],
            able: vec![false; servers],
            sent: Vec::new(),
        }
    }

    pub(super) fn crash_host(&mut self, server: usize) {
        self.gates[server].clear();
    }

    pub(super) fn pass(&mut self, now: Time) {
        self.routers.iter_mut().for_each(|state| state.watch.pass(now));
    }

    pub(super) fn able(&mut self, now: Time, server: usize, able: bool) {
        self.able[server] = able;
        self.routers.iter_mut().for_each(|state| state.watch.able(now, server, able));
    }

    /// An advertisement to one router has arrived.
    pub(super) fn arrived(&mut self, number: usize) {
        if let Some((server, router)) = self.sent.get(number).copied() {
            self.advertised(server, Some(router));
        }
    }

    /// An advertisement reached every router, or one.
    pub(super) fn advertised(&mut self, server: usize, to: Option<Router>) {
        for state in &mut self.routers {
            if to.is_none_or(|to| to == state.router) {
                state.entry = Some(server);
            }
        }
    }
}

impl Sim {
    /// Router `number` is on the link, and `server` sees it.
    pub fn see_router(&mut self, server: usize, number: u64) {
        let router = router(number);
        if !self.routers.routers.iter().any(|state| state.router == router) {
            let mut watch = Watch::new(self.servers.len());
            for (server, able) in self.routers.able.iter().enumerate() {
                watch.able(self.now, server, *able);
            }
            self.routers.routers.push(State { router, entry: self.entry, watch });
            self.watch_routers();
        }
        self.handle(server, Event::Router { service: SERVICE, router, by: Sighting::Solicitation });
    }

    /// Would the server answer router `number` now?
    pub fn open_to(&self, server: usize, number: u64) -> bool {
        self.answers(server, router(number))
    }

    /// Servers that would answer router `number` now.
    pub fn gates_of(&self, number: u64) -> Vec<usize> {
        (0..self.servers.len()).filter(|server| self.open_to(*server, number)).collect()
    }

    /// The server that router `number`'s entry names.
    pub fn entry_of(&self, number: u64) -> Option<usize> {
        self.routers.routers.iter().find(|state| state.router == router(number))?.entry
    }

    /// What was seen of the gates for router `number`.
    pub fn watch_of(&self, number: u64) -> Option<&Watch> {
        self.routers.routers.iter().find(|state| state.router == router(number)).map(|state| &state.watch)
    }

    /// Forgets the worst spells of all routers.
    pub fn forget_routers(&mut self) {
        self.routers.routers.iter_mut().for_each(|state| state.watch.forget(self.now));
    }

    /// Advertisements to single routers in the log.
    pub fn advertisements_to(&self, number: u64) -> impl Iterator<Item = (Time, usize)> + '_ {
        self.log.iter().filter_map(move |entry| match entry.action {
            Action::AdvertiseTo { router: to, .. } if to == router(number) => Some((entry.at, entry.server)),
            _ => None,
        })
    }

    /// Stores what a machine asks for, by the simulation's clock.
    pub(super) fn router_gates(&mut self, server: usize, gates: &[(Router, Option<Time>)]) {
        let clock = &self.servers[server].clock;
        let gates: BTreeMap<_, _> =
            gates.iter().map(|(router, until)| (*router, until.map(|until| clock.when(until)))).collect();
        for until in gates.values().flatten() {
            self.queue.push(*until, Happening::Lapse(server));
        }
        self.routers.gates[server] = gates;
        self.watch_routers();
    }

    /// An advertisement to one router, which the link may lose.
    pub(super) fn advertise_to(&mut self, server: usize, router: Router) {
        if let Some(delay) = self.link.carry_to_router(&self.network, &mut self.random, server) {
            self.routers.sent.push((server, router));
            self.queue.push(self.now + delay, Happening::OneRouter(self.routers.sent.len() - 1));
        }
    }

    fn answers(&self, server: usize, router: Router) -> bool {
        match self.routers.gates[server].get(&router) {
            Some(until) => until.is_some_and(|until| until > self.now),
            None => self.open(server),
        }
    }

    pub(super) fn watch_routers(&mut self) {
        for index in 0..self.routers.routers.len() {
            let router = self.routers.routers[index].router;
            for server in 0..self.servers.len() {
                let open = self.answers(server, router);
                self.routers.routers[index].watch.gate(self.now, server, open);
            }
        }
    }
}
