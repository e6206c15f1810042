//! Interfaces and addresses, by rtnetlink.
//!
//! Level-triggered: notifications of the kernel only say *that* something changed; what holds is then read anew, and
//! sent as a whole if it differs from what was sent before. So a lost notification (the socket's buffer was full), an
//! interface that comes back with another index, or a rename cannot leave a stale picture behind.

mod dump;
mod notification;

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use anycast_core::time::Time;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

use super::TaskGuard;
use dump::Reader;
use notification::{Notifications, Relevance};

/// What is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Names of interfaces.
    pub interfaces: BTreeSet<String>,
    /// Service addresses, which are looked for on every interface.
    pub addresses: BTreeSet<IpAddr>,
}

/// The whole picture of what is watched. Sent at once, and then whenever it differs from the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Every watched interface, in the order of names.
    pub interfaces: Vec<Snapshot>,
    /// Every place where a service address is. One that is nowhere is not here.
    pub addresses: Vec<AddressSeen>,
    /// When it was read.
    pub at: Time,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name, as configured.
    pub name: String,
    /// What it is now; `None` if there is no interface of this name.
    pub interface: Option<Interface>,
}

/// An interface that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index. Another one than before means another interface: sockets, memberships and programs are gone.
    pub index: u32,
    /// Whether it can send and receive: administratively up, with carrier, and operational (`IFF_UP`, `IFF_LOWER_UP`,
    /// `IFF_RUNNING`).
    pub up: bool,
    /// Whether it is administratively up (`IFF_UP`).
    pub admin_up: bool,
    /// Its link-layer address, if it has one of six bytes.
    pub mac: Option<[u8; 6]>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// All its addresses.
    pub addresses: Vec<InterfaceAddress>,
    /// Whether it forwards IPv6 (sysctl `net.ipv6.conf.IF.forwarding`): the R flag of its advertisements (RFC 4861
    /// 6.2.5).
    pub forwarding6: bool,
    /// The bridge, bond or VRF that it is a port of, by index.
    pub controller: Option<u32>,
    /// For a VLAN interface: its tag and what it is on.
    pub vlan: Option<Vlan>,
}

impl Interface {
    /// A link-local address (`fe80::/10`) that may be used as a source: neither tentative nor failed (RFC 4862 5.4).
    pub fn link_local(&self) -> Option<Ipv6Addr> {
        self.addresses.iter().filter(|seen| seen.flags.usable()).find_map(|seen| match seen.address {
            IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
            _ => None,
        })
    }
}

/// A VLAN interface's tag (802.1Q) and lower interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// The VLAN identifier, 1 to 4094.
    pub vid: u16,
    /// The index of the interface it is on, if that is in this network namespace.
    pub parent: Option<u32>,
}

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length.
    pub prefix: u8,
    /// Its state.
    pub flags: AddressFlags,
}

/// A service address, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressSeen {
    /// The address.
    pub address: IpAddr,
    /// The interface's name.
    pub interface: String,
    /// The interface's index.
    pub index: u32,
    /// Whether that is the loopback interface, where a service address belongs.
    pub on_loopback: bool,
    /// Its prefix length.
    pub prefix: u8,
    /// Its state.
    pub flags: AddressFlags,
}

/// The state of an address (RFC 4862 5.4, 5.5.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressFlags {
    /// Duplicate address detection is not over.
    pub tentative: bool,
    /// Duplicate address detection found another owner.
    pub dad_failed: bool,
    /// Its preferred lifetime is over: it is not chosen as a source.
    pub deprecated: bool,
    /// It never goes through duplicate address detection.
    pub nodad: bool,
}

impl AddressFlags {
    /// Whether the kernel receives at this address, and may send from it.
    pub fn usable(self) -> bool {
        !self.tentative && !self.dad_failed
    }
}

/// Why rtnetlink cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// A netlink socket cannot be made or used.
    #[error("{operation}: {source}")]
    Socket {
        /// What was attempted.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused a request.
    #[error("{operation}: {source}")]
    Request {
        /// What was asked for.
        operation: String,
        /// What the kernel said.
        source: rtnetlink::Error,
    },
    /// A request was not answered.
    #[error("{operation}: no answer from the kernel within {after:?}")]
    Unanswered {
        /// What was asked for.
        operation: String,
        /// How long was waited.
        after: Duration,
    },
}

/// Reads the present picture once, without watching.
///
/// # Errors
/// If rtnetlink cannot be used.
pub async fn read_once(watched: &Watched) -> Result<Report, LinkError> {
    Reader::connect()?.read(watched).await
}

/// The running monitor; dropping it ends it.
#[derive(Debug)]
#[must_use = "dropping the handle ends the monitor"]
pub struct LinkHandle {
    watched: watch::Sender<Watched>,
    task: TaskGuard,
}

impl LinkHandle {
    /// Watches something else from now on; a report follows if the picture is another one.
    pub fn watch(&self, watched: Watched) {
        self.watched.send_replace(watched);
    }

    /// Whether the monitor has ended because nobody listens to its reports any more.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

/// Starts the monitor in the network namespace of this thread.
///
/// # Errors
/// If the netlink sockets cannot be made. Later errors are logged and retried: the sockets are made anew.
pub fn spawn(watched: Watched, reports: mpsc::Sender<Report>) -> Result<LinkHandle, LinkError> {
    let notifications = Notifications::subscribe()?;
    let reader = Reader::connect()?;
    let (sender, receiver) = watch::channel(watched);
    let task = TaskGuard::spawn(run(notifications, reader, receiver, reports));
    Ok(LinkHandle { watched: sender, task })
}

/// How often the picture is read although nothing was notified: some changes have no notification on every kernel.
const REREAD: Duration = Duration::from_secs(10);
/// How long after a failure of a netlink socket it is made anew.
const RETRY: Duration = Duration::from_secs(1);

async fn run(
    mut notifications: Notifications,
    mut reader: Reader,
    mut watched: watch::Receiver<Watched>,
    reports: mpsc::Sender<Report>,
) {
    let mut sent: Option<Report> = None;
    loop {
        let wanted = watched.borrow_and_update().clone();
        let reread = match reader.read(&wanted).await {
            Ok(report) => {
                let differs = sent.as_ref().is_none_or(|sent| !sent.same_picture(&report));
                if differs {
                    if reports.send(report.clone()).await.is_err() {
                        return;
                    }
                    sent = Some(report);
                }
                REREAD
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read interfaces and addresses; trying again");
                match (Notifications::subscribe(), Reader::connect()) {
                    (Ok(new_notifications), Ok(new_reader)) => {
                        (notifications, reader) = (new_notifications, new_reader)
                    }
                    (Err(error), _) | (_, Err(error)) => {
                        tracing::warn!(%error, "cannot make a netlink socket anew")
                    }
                }
                RETRY
            }
        };
        let relevance = Relevance::new(&wanted, sent.as_ref());
        tokio::select! {
            changed = notifications.relevant(&relevance) => if let Err(error) = changed {
                tracing::warn!(%error, "cannot receive netlink notifications; trying again");
                tokio::time::sleep(RETRY).await;
                match Notifications::subscribe() {
                    Ok(new) => notifications = new,
                    Err(error) => tracing::warn!(%error, "cannot make a netlink socket anew"),
                }
            },
            () = tokio::time::sleep(reread) => {}
            changed = watched.changed() => if changed.is_err() { return },
            () = reports.closed() => return,
        }
    }
}

impl Report {
    /// Whether `other` says the same, at whatever time.
    fn same_picture(&self, other: &Self) -> bool {
        self.interfaces == other.interfaces && self.addresses == other.addresses
    }
}
