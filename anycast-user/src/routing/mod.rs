//! Advertising services by a routing protocol, for routers that are further away than the link, or that share among several servers.
//!
//! ```text
//!   controller ──Order──► task ──► native: OSPFv3 on raw sockets, the daemon's own speaker
//!       ▲                  │  └──► driven: FRR by vtysh │ BIRD by its control socket │ routes in the kernel's table
//!       └────Report────────┘
//! ```
//!
//! What is advertised, and at which cost, the core has decided; here it only becomes so. Orders are wishes: the last one for
//! a service holds, and a driver that cannot fulfil it tries again until it can.

mod bird;
mod driven;
mod frr;
mod kernel_route;
mod native;

use std::net::IpAddr;
use std::time::Duration;

use anycast_core::cost::{Figures, Route};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::config::ospf::{Driver, Ospf};
use crate::telemetry::ospf as picture;

use bird::Bird;
use frr::Frr;
use kernel_route::KernelRoute;

pub use driven::DriverError;
pub use native::{NativeError, Start, guard, links, speaker_config};

/// How long withdrawing everything may take when the daemon stops.
const STOP: Duration = Duration::from_secs(3);

/// What the controller wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// A service's route.
    Route {
        /// The service address.
        address: IpAddr,
        /// What is advertised from now on.
        route: Route,
    },
    /// A service's load, where it can be told.
    Load {
        /// The service address.
        address: IpAddr,
        /// The figures.
        load: Load,
    },
}

/// Load of a service on this server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Permille of what it can serve.
    pub permille: u16,
    /// Queries a second it can serve; 0 = unknown.
    pub capacity: u32,
    /// Queries a second it gets.
    pub rate: u32,
}

/// What the controller should know.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// What the other servers of a service tell of themselves: all of them.
    Peers {
        /// The service address.
        address: IpAddr,
        /// One for each.
        peers: Vec<Figures>,
    },
    /// Something keeps services from being advertised; `None` = nothing any more.
    Trouble(Option<String>),
}

/// Why advertising could not begin.
#[derive(Debug, thiserror::Error)]
pub enum RoutingError {
    /// The native speaker.
    #[error(transparent)]
    Native(#[from] NativeError),
    /// A driver.
    #[error(transparent)]
    Driver(#[from] DriverError),
}

/// The task that advertises.
pub struct Routing {
    orders: mpsc::UnboundedSender<Order>,
    looks: mpsc::UnboundedSender<oneshot::Sender<picture::Ospf>>,
    /// Dropped: stop, and withdraw everything or leave it.
    stop: oneshot::Sender<Ending>,
    task: JoinHandle<()>,
}

/// How the task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Withdraw everything.
    Withdraw,
    /// Leave it to the next daemon.
    Keep,
}

/// The task's end of it.
struct Inputs {
    orders: mpsc::UnboundedReceiver<Order>,
    looks: mpsc::UnboundedReceiver<oneshot::Sender<picture::Ospf>>,
    stop: oneshot::Receiver<Ending>,
    reports: mpsc::Sender<Report>,
}

impl Routing {
    /// Starts the driver that the configuration names. Must be called in a Tokio runtime, in the network namespace to serve.
    ///
    /// # Errors
    /// It cannot even begin: a socket, a key file, a program that is not there. What may still come is waited for.
    pub fn start(ospf: &Ospf, start: &Start, reports: mpsc::Sender<Report>) -> Result<Self, RoutingError> {
        let (orders, orders_out) = mpsc::unbounded_channel();
        let (looks, looks_out) = mpsc::unbounded_channel();
        let (stop, stop_out) = oneshot::channel();
        let inputs = Inputs { orders: orders_out, looks: looks_out, stop: stop_out, reports };
        let task = match &ospf.driver {
            Driver::Native(native) => native::spawn(native, start, inputs)?,
            Driver::Frr(options) => {
                let services = start.services.iter();
                let interfaces =
                    services.filter_map(|(address, interface)| Some((*address, interface.clone()?)));
                driven::spawn(Frr::new(options, interfaces.collect()), inputs)
            }
            Driver::Bird(options) => driven::spawn(Bird::new(options), inputs),
            Driver::Route(options) => {
                let addresses = start.services.iter().map(|(address, _)| *address).collect();
                driven::spawn(KernelRoute::new(*options, addresses)?, inputs)
            }
        };
        Ok(Self { orders, looks, stop, task })
    }

    /// Gives an order; never waits.
    pub fn order(&self, order: Order) {
        // The task ends with its sender only.
        let _ = self.orders.send(order);
    }

    /// Asks for the picture; whoever waits at the other end of `reply` gets it.
    pub fn look(&self, reply: oneshot::Sender<picture::Ospf>) {
        let _ = self.looks.send(reply);
    }

    /// Ends it, and waits for what must be said.
    pub async fn finish(self, ending: Ending) {
        let Self { orders, looks, stop, mut task } = self;
        let _ = stop.send(ending);
        drop((orders, looks));
        if tokio::time::timeout(STOP, &mut task).await.is_err() {
            tracing::warn!(limit = ?STOP, "routes are not withdrawn in time; routers notice by themselves");
            task.abort();
        }
    }
}
