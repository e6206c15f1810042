//! Advertising services by a routing protocol, for routers that are further away than the link, or that share among several servers.
//!
//! ```text
//!   controller ──Order──► task ──► native: OSPFv3 on raw sockets, the daemon's own speaker
//!       ▲                 │ │ └──► driven: FRR by vtysh │ BIRD by its control socket │ routes in the kernel's table
//!       └────Report───────┘ └─Word─► guard, a child process: what there is to do if the daemon is killed
//! ```
//!
//! What is advertised, and at which cost, the core has decided; here it only becomes so. Orders are wishes: the last one for
//! a service holds, and a driver that cannot fulfil it tries again until it can.

mod bird;
mod driven;
mod frr;
pub mod guard;
mod kernel_route;
mod native;

use std::net::IpAddr;
use std::time::Duration;

use anycast_core::cost::{Figures, Route};
use anycast_ospf::auth::KeyRing;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::config::ospf::{Driver, Ospf};
use crate::telemetry::ospf as picture;

use bird::Bird;
use driven::{Drive as _, Routes};
use frr::Frr;
use guard::{Guard, GuardError, Word};
use kernel_route::KernelRoute;

pub use driven::DriverError;
pub use native::keys::KeysError;
pub use native::{NativeError, Start, farewell, links, load_keys, speaker_config};

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
    /// Other keys, for a roll-over.
    Keys(KeyRing),
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
    /// The guard.
    #[error(transparent)]
    Guard(#[from] GuardError),
}

/// How often a task looks whether its guard is still there.
const LOOK_AFTER: Duration = Duration::from_secs(5);

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
        let mut guard = ospf.guard.then(Guard::start).transpose()?;
        let services = &start.services;
        if let Some(guard) = guard.as_mut().filter(|_| !matches!(ospf.driver, Driver::Native(_))) {
            guard.tell(Word::Withdraw { driver: ospf.driver.clone(), services: services.clone() });
        }
        let task = match &ospf.driver {
            Driver::Native(native) => native::spawn(native, start, inputs, guard)?,
            Driver::Frr(options) => driven::spawn(Frr::new(options, services), inputs, guard),
            Driver::Bird(options) => driven::spawn(Bird::new(options), inputs, guard),
            Driver::Route(options) => driven::spawn(KernelRoute::new(*options, services)?, inputs, guard),
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

/// Has another routing daemon withdraw what a daemon that was killed left with it. Nothing to do for the native speaker, whose routes
/// went with the adjacencies.
///
/// # Errors
/// It stays: the other daemon does not do as it is told.
pub async fn withdraw(driver: &Driver, services: &[(IpAddr, Option<String>)]) -> Result<(), DriverError> {
    let none = Routes::new();
    match driver {
        Driver::Native(_) => Ok(()),
        Driver::Frr(options) => Frr::new(options, services).apply(&none).await,
        Driver::Bird(options) => Bird::new(options).apply(&none).await,
        Driver::Route(options) => KernelRoute::new(*options, services)?.apply(&none).await,
    }
}
