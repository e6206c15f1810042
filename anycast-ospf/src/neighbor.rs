//! The neighbour machine (RFC 2328 10): what a state and an event make, and what is known of a neighbour.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::Ipv6Addr;

use crate::auth::Replay;
use crate::codec::{DatabaseDescription, LsaHeader, Options};
use crate::lsdb::Slot;
use crate::{RouterId, Time};

/// State of a conversation with a neighbour (RFC 2328 10.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NeighborState {
    /// Not heard.
    Down,
    /// Heard; it has not heard us.
    Init,
    /// Both have heard each other; no adjacency is wanted.
    TwoWay,
    /// Who leads the exchange?
    ExStart,
    /// Describing databases to each other.
    Exchange,
    /// Fetching what the other has newer.
    Loading,
    /// Adjacent: the databases are the same.
    Full,
}

impl fmt::Display for NeighborState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Down => "Down",
            Self::Init => "Init",
            Self::TwoWay => "2-Way",
            Self::ExStart => "ExStart",
            Self::Exchange => "Exchange",
            Self::Loading => "Loading",
            Self::Full => "Full",
        })
    }
}

/// What happens to a conversation (RFC 2328 10.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighborEvent {
    /// A Hello came.
    HelloReceived,
    /// A Hello came that names us.
    TwoWayReceived,
    /// A Hello came that does not name us.
    OneWayReceived,
    /// It is clear who leads.
    NegotiationDone,
    /// Both have described all.
    ExchangeDone,
    /// Everything requested has come.
    LoadingDone,
    /// Is an adjacency still wanted, or no longer?
    AdjacencyCheck,
    /// Something was requested that is not there, or came that was requested newer.
    BadRequest,
    /// A description out of order.
    SequenceMismatch,
    /// Silent for the dead interval.
    InactivityTimer,
    /// The interface went down, or the speaker stops.
    Kill,
}

impl fmt::Display for NeighborEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HelloReceived => "a Hello was received",
            Self::TwoWayReceived => "its Hello names us",
            Self::OneWayReceived => "its Hello does not name us",
            Self::NegotiationDone => "it is clear who leads the exchange",
            Self::ExchangeDone => "both databases are described",
            Self::LoadingDone => "everything requested has come",
            Self::AdjacencyCheck => "the Designated Router or its Backup changed",
            Self::BadRequest => {
                "an LSA was requested that is not there, or one came that is older than requested"
            }
            Self::SequenceMismatch => "a Database Description came out of order",
            Self::InactivityTimer => "it was silent for the dead interval",
            Self::Kill => "the interface went down",
        })
    }
}

/// The state after an event (RFC 2328 10.3); `None` = nothing changes. `adjacent`: an adjacency is wanted (10.4). `complete`: nothing
/// is left to request.
///
/// `Some` of the same state does not occur but for the events that begin the exchange anew.
pub fn next(
    state: NeighborState,
    event: NeighborEvent,
    adjacent: bool,
    complete: bool,
) -> Option<NeighborState> {
    use NeighborEvent as E;
    use NeighborState as S;
    match (state, event) {
        (S::Down, E::HelloReceived) => Some(S::Init),
        (S::Init, E::TwoWayReceived) | (S::TwoWay, E::AdjacencyCheck) if adjacent => Some(S::ExStart),
        (S::Init, E::TwoWayReceived) => Some(S::TwoWay),
        (S::ExStart, E::NegotiationDone) => Some(S::Exchange),
        (S::Exchange, E::ExchangeDone) if complete => Some(S::Full),
        (S::Exchange, E::ExchangeDone) => Some(S::Loading),
        (S::Loading, E::LoadingDone) => Some(S::Full),
        (S::ExStart | S::Exchange | S::Loading | S::Full, E::AdjacencyCheck) if !adjacent => Some(S::TwoWay),
        (S::Exchange | S::Loading | S::Full, E::SequenceMismatch | E::BadRequest) => Some(S::ExStart),
        (S::TwoWay | S::ExStart | S::Exchange | S::Loading | S::Full, E::OneWayReceived) => Some(S::Init),
        (
            S::Init | S::TwoWay | S::ExStart | S::Exchange | S::Loading | S::Full,
            E::InactivityTimer | E::Kill,
        ) => Some(S::Down),
        _ => None,
    }
}

/// The fields of a Database Description by which duplicates are told (RFC 2328 10.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub init: bool,
    pub more: bool,
    pub master: bool,
    pub options: Options,
    pub sequence: u32,
}

impl Received {
    pub(crate) const fn of(description: &DatabaseDescription) -> Self {
        let DatabaseDescription { options, init, more, master, sequence, .. } = *description;
        Self { init, more, master, options, sequence }
    }
}

/// What is known of a neighbour.
#[derive(Clone, Debug)]
pub(crate) struct Neighbor {
    pub state: NeighborState,
    /// When the state began.
    pub since: Time,
    pub address: Ipv6Addr,
    pub interface_id: u32,
    pub priority: u8,
    /// Whom it takes for the Designated Router.
    pub designated_router: RouterId,
    pub backup_designated_router: RouterId,
    /// Dead then, if it stays silent.
    pub inactivity: Time,
    /// Not Full by then: report it once.
    pub stuck_at: Option<Time>,
    pub stuck_told: bool,
    /// Its sequence numbers of authentication.
    pub replay: Replay,

    /// We lead the exchange.
    pub master: bool,
    pub dd_sequence: u32,
    /// Its options, as its descriptions say.
    pub options: Options,
    pub last_received: Option<Received>,
    /// What it may ask for again, or what we send again.
    pub last_sent: Option<DatabaseDescription>,
    /// We have nothing more to describe.
    pub described: bool,
    /// What is left to describe.
    pub summary: VecDeque<Slot>,
    pub description_at: Option<Time>,

    /// What it has newer.
    pub requests: BTreeMap<Slot, LsaHeader>,
    /// The requests that are under way.
    pub requested: BTreeSet<Slot>,
    pub request_at: Option<Time>,

    /// What it has not acknowledged.
    pub retransmit: BTreeMap<Slot, LsaHeader>,
    pub retransmit_at: Option<Time>,
}

impl Neighbor {
    pub(crate) fn new(now: Time, address: Ipv6Addr, dd_sequence: u32) -> Self {
        Self {
            state: NeighborState::Down,
            since: now,
            address,
            interface_id: 0,
            priority: 0,
            designated_router: RouterId::NONE,
            backup_designated_router: RouterId::NONE,
            inactivity: now,
            stuck_at: None,
            stuck_told: false,
            replay: Replay::default(),
            master: true,
            dd_sequence,
            options: Options::default(),
            last_received: None,
            last_sent: None,
            described: false,
            summary: VecDeque::new(),
            description_at: None,
            requests: BTreeMap::new(),
            requested: BTreeSet::new(),
            request_at: None,
            retransmit: BTreeMap::new(),
            retransmit_at: None,
        }
    }

    /// Forgets what belongs to an adjacency (RFC 2328 10.3: the three lists are cleared).
    pub(crate) fn clear(&mut self) {
        self.last_received = None;
        self.last_sent = None;
        self.described = false;
        self.summary.clear();
        self.description_at = None;
        self.requests.clear();
        self.requested.clear();
        self.request_at = None;
        self.retransmit.clear();
        self.retransmit_at = None;
    }

    /// Takes part in flooding.
    pub(crate) fn floods(&self) -> bool {
        self.state >= NeighborState::Exchange
    }

    /// Is its database not yet the same?
    pub(crate) const fn is_loading(&self) -> bool {
        matches!(self.state, NeighborState::Exchange | NeighborState::Loading)
    }

    /// The earliest of its timers.
    pub(crate) fn earliest(&self) -> Time {
        let timers = [self.stuck_at, self.description_at, self.request_at, self.retransmit_at];
        timers.into_iter().flatten().fold(self.inactivity, Time::min)
    }
}

#[cfg(test)]
mod tests {
    use NeighborEvent as E;
    use NeighborState as S;

    use super::*;

    const STATES: [S; 7] = [S::Down, S::Init, S::TwoWay, S::ExStart, S::Exchange, S::Loading, S::Full];

    /// RFC 2328 10.3, the whole table: one row an event, one column a state; `-` = nothing.
    #[test]
    fn the_table_is_that_of_the_rfc() {
        let columns = |adjacent, complete, event| {
            let letter = |state| match next(state, event, adjacent, complete) {
                None => '-',
                Some(S::Down) => 'd',
                Some(S::Init) => 'i',
                Some(S::TwoWay) => '2',
                Some(S::ExStart) => 's',
                Some(S::Exchange) => 'e',
                Some(S::Loading) => 'l',
                Some(S::Full) => 'f',
            };
            STATES.map(letter).iter().collect::<String>()
        };
        for (event, adjacent, complete, expected) in [
            (E::HelloReceived, true, true, "i------"),
            (E::TwoWayReceived, true, true, "-s-----"),
            (E::TwoWayReceived, false, true, "-2-----"),
            (E::OneWayReceived, true, true, "--iiiii"),
            (E::NegotiationDone, true, true, "---e---"),
            (E::ExchangeDone, true, true, "----f--"),
            (E::ExchangeDone, true, false, "----l--"),
            (E::LoadingDone, true, true, "-----f-"),
            (E::AdjacencyCheck, true, true, "--s----"),
            (E::AdjacencyCheck, false, true, "---2222"),
            (E::BadRequest, true, true, "----sss"),
            (E::SequenceMismatch, true, true, "----sss"),
            (E::InactivityTimer, true, true, "-dddddd"),
            (E::Kill, true, true, "-dddddd"),
        ] {
            assert_eq!(columns(adjacent, complete, event), expected, "{event:?} {adjacent} {complete}");
        }
    }
}
