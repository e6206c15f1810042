//! Services: their cost, their load, and what peers say of theirs.

use super::Speaker;
use super::originate::prefix_options;
use crate::codec::body::{AsExternalLsa, LoadLsa, Prefix, ServiceState};
use crate::codec::{LsType, LsaKey};
use crate::config::{DRAIN_METRIC, DRAIN_METRIC_EXTERNAL, LoadConfig, SERVICES_MAX, Tag};
use crate::event::{Event, Load, ServiceError, is_load};
use crate::lsdb::{Scope, Slot};
use crate::{AreaId, RouterId, Time};

/// What a service is advertised with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metric {
    Cost(u16),
    Drain,
}

/// A service, or one that was: its Link State ID stays its own.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) link_state_id: u32,
    metric: Option<Metric>,
    latest: Option<Load>,
    /// What the load LSA says, and the metric when it was written.
    told: Option<(Load, u16, ServiceState)>,
}

impl Service {
    pub(super) const fn is_announced(&self) -> bool {
        self.metric.is_some()
    }

    pub(super) const fn metric(&self) -> u16 {
        match self.metric {
            Some(Metric::Cost(cost)) => cost,
            _ => DRAIN_METRIC,
        }
    }

    const fn state(&self) -> ServiceState {
        match self.metric {
            Some(Metric::Drain) => ServiceState::Draining,
            _ => ServiceState::Up,
        }
    }

    /// Takes the latest load into the load LSA.
    fn tell(&mut self) {
        self.told = self.latest.map(|load| (load, self.metric(), self.state()));
    }

    pub(super) fn load_lsa(
        &self,
        prefix: Prefix,
        config: Option<LoadConfig>,
    ) -> Option<(LoadLsa, LoadConfig)> {
        let config = config?;
        let (load, cost, state) = self.told?;
        let Load { permille, capacity, rate } = load;
        let lsa = LoadLsa {
            enterprise: config.enterprise,
            state,
            permille,
            capacity,
            rate,
            prefix,
            cost: cost.into(),
        };
        Some((lsa, config))
    }

    pub(super) fn external_lsa(&self, prefix: Prefix, type_2: bool, tag: Tag) -> AsExternalLsa {
        let metric = match self.metric {
            Some(Metric::Cost(cost)) => cost.into(),
            _ => DRAIN_METRIC_EXTERNAL,
        };
        let tag = match tag {
            Tag::None => None,
            Tag::Fixed(tag) => Some(tag),
            Tag::Load => Some(self.told.map_or(0, |(load, ..)| load.permille)),
        };
        AsExternalLsa {
            type_2,
            metric,
            prefix,
            options: prefix_options(&prefix),
            forwarding: None,
            tag,
            referenced: None,
        }
    }
}

/// What a peer says of a service of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLoad {
    /// Its area.
    pub area: AreaId,
    /// Who.
    pub router: RouterId,
    /// Which of its services.
    pub link_state_id: u32,
    /// Seconds since it said so.
    pub age: u16,
    /// What it says.
    pub load: LoadLsa,
}

impl Speaker {
    pub(super) fn announce(&mut self, prefix: Prefix, cost: u16) {
        self.set_metric(prefix, Metric::Cost(cost));
    }

    pub(super) fn drain(&mut self, prefix: Prefix) {
        self.set_metric(prefix, Metric::Drain);
    }

    fn set_metric(&mut self, prefix: Prefix, metric: Metric) {
        let used = self.services.len();
        if !self.services.contains_key(&prefix) && used >= SERVICES_MAX {
            self.tell(Event::Service { prefix, error: ServiceError::TooMany(used) });
            return;
        }
        // A place that is never given back: prefix and Link State ID belong together for this speaker's life.
        let fresh = Service { link_state_id: used as u32, metric: None, latest: None, told: None };
        let service = self.services.entry(prefix).or_insert(fresh);
        let state = service.state();
        service.metric = Some(metric);
        if service.state() != state {
            service.tell();
        }
        self.dirty = true;
    }

    pub(super) fn withdraw(&mut self, prefix: Prefix) {
        match self.services.get_mut(&prefix) {
            None => self.tell(Event::Service { prefix, error: ServiceError::Unknown }),
            Some(service) => {
                (service.metric, service.latest, service.told) = (None, None, None);
                self.dirty = true;
            }
        }
    }

    pub(super) fn load(&mut self, prefix: Prefix, load: Load) {
        let step = self.config.load.unwrap_or_default().step;
        let Some(service) = self.services.get_mut(&prefix).filter(|service| service.is_announced()) else {
            self.tell(Event::Service { prefix, error: ServiceError::Unknown });
            return;
        };
        service.latest = Some(load);
        if service.told.is_none_or(|(told, ..)| told.permille.abs_diff(load.permille) >= step) {
            service.tell();
            self.dirty = true;
        }
    }

    /// What peers say of their load. As old as the routing domain lets it become: whether a peer still serves, its route says.
    pub fn peer_loads(&self, now: Time) -> Vec<PeerLoad> {
        let Some(config) = self.config.load else { return Vec::new() };
        let mut areas = self.interfaces.iter().map(|own| own.config.area).collect::<Vec<_>>();
        areas.sort_unstable();
        areas.dedup();
        let mut loads = Vec::new();
        for area in areas {
            for (slot, entry) in self.database.of_type(Scope::Area(area), config.ls_type) {
                let (LsaKey { link_state_id, advertising_router: router, .. }, age) =
                    (slot.key, entry.age(now));
                if router == self.config.router_id || entry.header(now).is_max_age() {
                    continue;
                }
                if let Ok(load) = LoadLsa::decode(&entry.lsa().body, config.enterprise) {
                    loads.push(PeerLoad { area, router, link_state_id, age, load });
                }
            }
        }
        loads
    }

    /// Tells of a load LSA that came, or leaves.
    pub(super) fn note_load(&mut self, slot: Slot, now: Time) {
        let ls_type: Option<LsType> = self.config.load.map(|config| config.ls_type);
        let (Scope::Area(area), true) = (slot.scope, is_load(&slot.key, ls_type)) else { return };
        let LsaKey { link_state_id, advertising_router: router, .. } = slot.key;
        if router == self.config.router_id {
            return;
        }
        let enterprise = self.config.load.unwrap_or_default().enterprise;
        let entry = self.database.entry(&slot).filter(|entry| !entry.header(now).is_max_age());
        match entry.map(|entry| LoadLsa::decode(&entry.lsa().body, enterprise)).transpose() {
            Ok(load) => self.tell(Event::PeerLoad { area, router, link_state_id, load }),
            Err(error) => {
                // Router ids are cheap to forge.
                if self.unreadable.len() < SERVICES_MAX && self.unreadable.insert(router) {
                    self.tell(Event::PeerLoadUnreadable { key: slot.key, error });
                }
            }
        }
    }
}
