//! Services that a routing protocol advertises: orders to it, what it tells of the other servers, and its picture.

use std::time::Duration;

use anycast_core::cost::Route;
use anycast_core::{Event, ServiceId};
use tokio::sync::oneshot;
use tracing::{error, info};

use crate::config::ospf::Driver;
use crate::control::Answer;
use crate::routing::{Load, Order, Report};
use crate::telemetry::ospf::Ospf;
use crate::{monitor, routing};

use super::Controller;
use super::start::service_id;

/// How long a status waits for the routing protocol.
const PATIENCE: Duration = Duration::from_millis(200);

impl Controller {
    /// The core has decided what is advertised of a service.
    pub(super) fn advertise_route(&mut self, service: ServiceId, route: Route) {
        let (name, address) = (self.name(service), self.config.services[service.index()].address);
        match route {
            Route::Cost(cost) => info!(service = name, cost, "route"),
            Route::Drained => info!(service = name, "route of the last resort"),
            Route::Withdrawn => info!(service = name, "route withdrawn"),
        }
        if let Some(routing) = &self.routing {
            routing.order(Order::Route { address, route });
        }
    }

    /// Tells the routing protocol the loads; it passes on what is worth it.
    pub(super) fn tell_loads(&self) {
        let Some(routing) = &self.routing else { return };
        for (service, config) in
            self.machine.status(monitor::now()).services.iter().zip(&self.config.services)
        {
            if config.advertise.ospf {
                let capacity = config.load.as_ref().map_or(0, |load| load.capacity);
                let load = Load {
                    permille: service.load,
                    capacity: u32::try_from(capacity).unwrap_or(u32::MAX),
                    rate: service.rate,
                };
                routing.order(Order::Load { address: config.address, load });
            }
        }
    }

    /// The routing protocol has something to say.
    pub(super) fn routing_reported(&mut self, report: Report) {
        match report {
            Report::Peers { address, peers } => {
                let of = self.config.services.iter().position(|service| service.address == address);
                if let Some(number) = of {
                    self.handle(Event::RoutePeers { service: service_id(number), peers });
                }
            }
            Report::Trouble(trouble) => {
                if let Some(text) = &trouble {
                    self.hooks.alarm(None, text);
                }
                self.routing_trouble = trouble;
            }
        }
    }

    /// Reads the routing protocol's keys again; false if there are none.
    pub(super) fn reload_routing_keys(&mut self) -> bool {
        let Some(routing) = &self.routing else { return false };
        let Some(Driver::Native(native)) = self.config.ospf.as_ref().map(|ospf| &ospf.driver) else {
            return false;
        };
        match routing::load_keys(native) {
            Ok(None) => return false,
            Ok(Some(keys)) => {
                info!(?keys, "OSPF: keys read again; the first signs");
                routing.order(Order::Keys(keys));
                self.routing_keys_error = None;
            }
            Err(error) => {
                error!(%error, "OSPF: keys not read again: those in force stay");
                self.hooks.alarm(None, &format!("keys not read again: {error}"));
                self.routing_keys_error = Some(error.to_string());
            }
        }
        true
    }

    /// Answers with the status, which the routing protocol completes.
    pub(super) fn show_status(&self, reply: oneshot::Sender<Result<Answer, String>>) {
        let mut status = Box::new(self.status());
        let Some(routing) = &self.routing else {
            let _ = reply.send(Ok(Answer::Status(status)));
            return;
        };
        let (picture_in, picture) = oneshot::channel();
        routing.look(picture_in);
        tokio::spawn(async move {
            // A driver answers nobody while it waits for its daemon: then the status goes without.
            if let Ok(Ok(picture)) = tokio::time::timeout(PATIENCE, picture).await {
                status.ospf = Some(Ospf { database: Vec::new(), ..picture });
            }
            // The client may have gone.
            let _ = reply.send(Ok(Answer::Status(status)));
        });
    }

    /// Has the picture sent to whoever asked for it.
    pub(super) fn show_routing(&self, reply: oneshot::Sender<Result<Answer, String>>) {
        let Some(routing) = &self.routing else {
            let _ = reply.send(Err("no routing protocol is configured: there is no table [ospf]".to_owned()));
            return;
        };
        let (picture_in, picture) = oneshot::channel();
        routing.look(picture_in);
        tokio::spawn(async move {
            let answer = picture.await.map(|picture| Answer::Ospf(Box::new(picture)));
            // The client may have gone.
            let _ = reply.send(answer.map_err(|_| "the routing protocol has ended".to_owned()));
        });
    }
}
