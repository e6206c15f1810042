//! A service that is advertised by a routing protocol: whether there is a route, and its cost ([`crate::cost`]).
//!
//! Every server that could serve advertises; routers choose among them by cost. Nobody owns a route, so that this does not look at
//! who owns the address on the link.

use crate::cost::{Figures, Situation};
use crate::event::Action;
use crate::machine::service::{Context, Next, Phase, Service};
use crate::machine::timer::Timer;

impl Service {
    /// What the other servers' load advertisements say.
    pub(crate) fn route_peers(&mut self, peers: Vec<Figures>) {
        self.route_peers = peers;
    }

    /// Behind every event: brings the route to what is so now.
    pub(crate) fn settle_route(&mut self, cx: &mut Context<'_>) {
        let situation = self.route_situation();
        let (load, told) = (self.gauge.permille(), self.gauge.told());
        // The next controller takes the route over.
        let Some(cost) = self.route.as_mut().filter(|_| !self.kept) else { return };
        let own = Figures { load, capacity: told.capacity, rate: told.rate, route: cost.advertised() };
        if let Some(route) = cost.update(cx.now, situation, own, &self.route_peers, cx.random) {
            cx.actions.push(Action::Route { service: self.id, route });
        }
        match cost.deadline() {
            Some(at) => self.timers.arm(Timer::Route, at),
            None => self.timers.disarm(Timer::Route),
        }
    }

    fn route_situation(&self) -> Situation {
        match self.phase {
            Phase::Ready | Phase::Owner | Phase::HandingOver(Next::Ready) => Situation::Serving,
            // The last controller's route; what is known to be bad ends the phase.
            Phase::Adopting => Situation::Serving,
            Phase::Drained | Phase::HandingOver(Next::Drained) if self.able => Situation::Drained,
            Phase::Down
            | Phase::Listening
            | Phase::Standby
            | Phase::Waking
            | Phase::Drained
            | Phase::HandingOver(_) => Situation::Out,
        }
    }
}
