//! The picture for `anycast registrar status` and metrics.

use std::collections::BTreeMap;

use anycast_pool::PoolHandle;
use anycast_pool::registrar::{CloseReason, DropReason, ElementSnapshot, PoolSnapshot};
use anycast_pool::wire::{CauseCode, MalformedReason, MessageType, StatusFlags};
use serde::{Deserialize, Serialize};

use super::hub::{Core, now};

/// The registrar.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Its identifier, eight hexadecimal digits.
    pub identifier: String,
    /// Which life of it.
    pub epoch: u32,
    /// Time since it started.
    pub uptime_seconds: f64,
    /// What it holds and counts.
    pub totals: Totals,
    /// Where it listens, `tcp [::]:3863`.
    pub listeners: Vec<String>,
    /// Things an operator should look at now.
    pub alarms: Vec<String>,
    /// The handlespace on disk.
    pub disk: Disk,
    /// What happened since its start.
    pub counters: Counters,
    /// The pools, by handle.
    pub pools: Vec<Pool>,
    /// The elements of the pool that was asked for.
    pub elements: Vec<Element>,
}

/// What it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Totals {
    pub pools: u64,
    pub elements: u64,
    pub elements_up: u64,
    pub elements_down: u64,
    pub elements_unknown: u64,
    pub connections: u64,
    pub subscriptions: u64,
    pub backlog_octets: u64,
}

/// The handlespace on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Octets of the log.
    pub octets: u64,
    /// Elements that were there at the start.
    pub restored: u64,
    /// Records written since.
    pub records_total: u64,
    /// Snapshots that took the log's place.
    pub snapshots_total: u64,
    /// Writes that failed.
    pub failures_total: u64,
    /// Acknowledgements withheld meanwhile.
    pub withheld_total: u64,
}

/// What happened, by kind. What did not happen is 0 and there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Messages received, by type.
    pub received: BTreeMap<String, u64>,
    /// Messages sent, by type.
    pub sent: BTreeMap<String, u64>,
    /// Messages that could not be read, by reason.
    pub malformed: BTreeMap<String, u64>,
    /// Messages not acted upon, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Connections closed from here, by reason.
    pub closed: BTreeMap<String, u64>,
    /// Registrations and deregistrations refused, by cause.
    pub refused: BTreeMap<String, u64>,
    /// All else.
    pub other: BTreeMap<String, u64>,
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its handle, with escapes where it is not readable.
    pub handle: String,
    /// Its policy.
    pub policy: String,
    /// Its elements' transport.
    pub transport: String,
    /// Elements.
    pub elements: u64,
    /// Elements that users are told to use.
    pub usable: u64,
    /// Users that hear of changes.
    pub subscribers: u64,
}

/// An element.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Element {
    /// Its identifier, eight hexadecimal digits.
    pub id: String,
    /// Up, down, unknown.
    pub state: String,
    /// From what that is known.
    pub source: String,
    /// How long ago.
    pub age_seconds: f64,
    /// Are users told to use it?
    pub usable: bool,
    /// What it says of itself: standby, draining.
    pub flags: Vec<String>,
    /// Where its service is.
    pub address: String,
    /// Until its registration ends; none = it does not.
    pub expires_seconds: Option<f64>,
    /// Is the connection there over which it registered?
    pub connected: bool,
    /// Who it is by its certificate.
    pub identity: Option<String>,
}

/// What does not change while it runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Fixed {
    pub listeners: Vec<String>,
    pub restored: u64,
}

/// Takes the picture.
pub(super) fn take(core: &Core, fixed: &Fixed, pool: Option<&str>) -> Status {
    let now = now();
    let all = core.registrar.snapshot(now);
    let [unknown, up, down] = all.states.map(|count| count as u64);
    let counts = core.log.counts();
    let handle = pool.map(PoolHandle::from);
    let elements = handle.map(|handle| core.registrar.element_snapshots(&handle, now)).unwrap_or_default();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        identifier: all.identifier.to_string(),
        epoch: all.epoch,
        uptime_seconds: all.uptime.as_secs_f64(),
        totals: Totals {
            pools: all.pools as u64,
            elements: all.elements as u64,
            elements_up: up,
            elements_down: down,
            elements_unknown: unknown,
            connections: all.connections as u64,
            subscriptions: all.subscriptions as u64,
            backlog_octets: all.backlog as u64,
        },
        listeners: fixed.listeners.clone(),
        alarms: core.log.failure().into_iter().map(str::to_owned).collect(),
        disk: Disk {
            octets: core.log.length(),
            restored: fixed.restored,
            records_total: counts.records,
            snapshots_total: counts.snapshots,
            failures_total: counts.failures,
            withheld_total: core.withheld,
        },
        counters: counters(core),
        pools: core.registrar.pool_snapshots().into_iter().map(Pool::from).collect(),
        elements: elements.into_iter().map(Element::from).collect(),
    }
}

fn counters(core: &Core) -> Counters {
    let own = core.registrar.counters();
    let name = str::to_owned;
    Counters {
        received: MessageType::ALL.map(|kind| (name(kind.name()), own.received(kind))).into(),
        sent: MessageType::ALL.map(|kind| (name(kind.name()), own.sent(kind))).into(),
        malformed: MalformedReason::ALL.map(|reason| (name(reason.name()), own.malformed(reason))).into(),
        dropped: DropReason::ALL.map(|reason| (name(reason.name()), own.dropped(reason))).into(),
        closed: CloseReason::ALL.map(|reason| (name(reason.name()), own.closed(reason))).into(),
        refused: (1..=10)
            .map(CauseCode::from_code)
            .map(|cause| (name(cause_name(cause)), own.refused(cause)))
            .collect(),
        other: [
            ("framing", own.framing),
            ("pushes", own.pushes),
            ("coalesced", own.coalesced),
            ("held", own.held),
            ("unknown_handles", own.unknown_handles),
            ("subscriptions_refused", own.subscriptions_refused),
            ("keep_alive_timeouts", own.keep_alive_timeouts),
            ("expired", own.expired),
            ("handshakes_failed", core.handshakes_failed),
        ]
        .map(|(key, count)| (name(key), count))
        .into(),
    }
}

/// Name of a cause in metrics.
const fn cause_name(cause: CauseCode) -> &'static str {
    match cause {
        CauseCode::Unspecified => "unspecified",
        CauseCode::UnrecognizedParameter => "unrecognized_parameter",
        CauseCode::UnrecognizedMessage => "unrecognized_message",
        CauseCode::InvalidValues => "invalid_values",
        CauseCode::NonUniqueElementId => "non_unique_element_id",
        CauseCode::InconsistentPolicy => "inconsistent_policy",
        CauseCode::LackOfResources => "lack_of_resources",
        CauseCode::InconsistentTransport => "inconsistent_transport",
        CauseCode::InconsistentControl => "inconsistent_control",
        CauseCode::UnknownPoolHandle => "unknown_pool_handle",
        CauseCode::Security => "security",
        CauseCode::Other(_) => "other",
    }
}

impl From<PoolSnapshot> for Pool {
    fn from(pool: PoolSnapshot) -> Self {
        Self {
            handle: pool.handle.to_string(),
            policy: pool.policy.to_string(),
            transport: pool.transport.name().to_owned(),
            elements: pool.elements as u64,
            usable: pool.usable as u64,
            subscribers: pool.subscribers as u64,
        }
    }
}

impl From<ElementSnapshot> for Element {
    fn from(own: ElementSnapshot) -> Self {
        let flags = [(StatusFlags::STANDBY, "standby"), (StatusFlags::DRAINING, "draining")];
        let flags = flags.into_iter().filter(|(flag, _)| own.flags.contains(*flag));
        Self {
            id: own.id.to_string(),
            state: own.state.name().to_owned(),
            source: own.source.name().to_owned(),
            age_seconds: own.age.as_secs_f64(),
            usable: own.usable,
            flags: flags.map(|(_, name)| name.to_owned()).collect(),
            address: own.user_transport.to_string(),
            expires_seconds: own.expires_in.map(|left| left.as_secs_f64()),
            connected: own.connection.is_some(),
            identity: own.identity.map(|identity| identity.to_string()),
        }
    }
}
