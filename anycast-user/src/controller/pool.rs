//! Services as elements of pools: what registrars are told of them, and how it stands.

use std::collections::BTreeSet;

use anycast_core::State;
use anycast_core::status::Detail;
use anycast_pool::element::{ElementConfig, RegistrationState};
use anycast_pool::{ElementId, Random};

use crate::config::Config;
use crate::host::state::{StateDir, StateError};
use crate::monitor;
use crate::pool::element::{Condition, PoolElement};
use crate::telemetry::pool as picture;
use crate::tls;

use super::Controller;

/// The elements of this host, by service.
#[derive(Default)]
pub(super) struct Elements {
    elements: Vec<(usize, PoolElement)>,
    /// What was told of their registrations.
    alarms: BTreeSet<String>,
}

/// Why services cannot be elements.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// Identifiers must survive a restart.
    #[error(transparent)]
    State(#[from] StateError),
    /// The certificates.
    #[error("pool.tls: {0}")]
    Tls(#[from] tls::Error),
}

impl Elements {
    /// Starts one for each service that is in a pool; none is able yet.
    pub(super) fn start(config: &Config, state: &mut StateDir, seed: u64) -> Result<Self, PoolError> {
        let Some(pool) = &config.pool else { return Ok(Self::default()) };
        let registrars = pool.registrars()?;
        let mut random = Random::new(seed);
        state.update(|state| {
            for service in config.services.iter().filter(|service| service.element.is_some()) {
                state.elements.entry(service.name.clone()).or_insert_with(|| random.next() as u32);
            }
        })?;
        let mut elements = Vec::new();
        for (number, service) in config.services.iter().enumerate() {
            let Some(element) = &service.element else { continue };
            let id = ElementId(state.state().elements.get(&service.name).copied().unwrap_or_default());
            let handle = element.pool.as_str().into();
            // DNS is asked by UDP and by TCP at one address; UDP is what most queries come by.
            let transport = anycast_pool::wire::Transport::Udp(element.address);
            let options =
                ElementConfig::new(handle, id, transport, element.policy, pool.registrars.len(), seed);
            elements.push((number, PoolElement::start(options, registrars.clone(), &service.name)));
        }
        Ok(Self { elements, alarms: BTreeSet::new() })
    }

    /// How each stands.
    pub(super) fn pictures(&self, config: &Config) -> Vec<picture::Element> {
        let all = self.elements.iter().filter_map(|(number, element)| {
            let service = config.services.get(*number)?;
            let (snapshot, standings) = element.snapshot();
            let at = service.element.as_ref()?;
            let registrations =
                snapshot.registrations.iter().zip(standings).map(|(registration, standing)| {
                    let problem = registration.problem.as_ref();
                    picture::Registration {
                        registrar: standing.registrar,
                        id: registration.registrar.map(|id| id.to_string()),
                        state: registration.state.name().to_owned(),
                        registered: registration.state == RegistrationState::Registered,
                        renewal_seconds: registration.renewal.map(|time| time.as_secs_f64()),
                        keep_alive_seconds: registration.keep_alive.map(|time| time.as_secs_f64()),
                        error: standing.error,
                        problem: problem.map(ToString::to_string),
                        advice: problem.map(|problem| problem.advice().to_owned()),
                    }
                });
            Some(picture::Element {
                service: service.name.clone(),
                pool: snapshot.handle.to_string(),
                id: snapshot.id.to_string(),
                address: at.address.to_string(),
                policy: at.policy.kind().name().to_owned(),
                wanted: snapshot.wanted,
                standby: snapshot.standby,
                load: (f64::from(snapshot.load) / f64::from(u32::MAX) * 1000.0).round() / 1000.0,
                registrations_sent_total: snapshot.sent,
                keep_alives_answered_total: snapshot.keep_alives,
                registrations: registrations.collect(),
            })
        });
        all.collect()
    }

    /// Ends them: with a good-bye, or as they are, for the next daemon to go on with.
    pub(super) async fn stop(self, keep: bool) {
        if keep {
            return;
        }
        // All at once: each may have to wait for the same registrar.
        futures_util::future::join_all(self.elements.into_iter().map(|(_, element)| element.stop())).await;
    }
}

impl Controller {
    /// Tells registrars what is the matter with the services; what they know already costs nothing.
    pub(super) fn tell_pools(&mut self) {
        if self.elements.elements.is_empty() {
            return;
        }
        let core = self.machine.status(monitor::now());
        for (number, element) in &mut self.elements.elements {
            let Some(service) = core.services.get(*number) else { continue };
            // A service that its hook has stopped cannot answer anybody, whatever its state is called.
            let stopped = matches!(service.detail, Detail::Suspended | Detail::Waking);
            element.tell(Condition {
                able: service.able && !stopped,
                standby: service.state == State::Standby,
                draining: core.stopping || service.drained,
                load: service.load,
            });
        }
    }

    /// Raises alarms for what has come to be wrong with registrations.
    pub(super) fn watch_pools(&mut self) {
        if self.elements.elements.is_empty() {
            return;
        }
        let now: BTreeSet<String> =
            self.elements.pictures(&self.config).iter().flat_map(picture::Element::alarms).collect();
        for text in now.difference(&self.elements.alarms) {
            self.hooks.alarm(None, text);
        }
        self.elements.alarms = now;
    }
}
