//! What goes into a [`Machine`](crate::Machine) and what comes out: both are closed sets of data.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::auth::Verdict;
use crate::cost::{Figures, Route};
use crate::health::Impediment;
use crate::router::{Router, Sighting};
use crate::{LinkId, ServerId, ServiceId, Time, heartbeat};

/// Something happened. Any event is legal in any state.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time passed; a tick before the deadline changes nothing.
    Tick,
    /// One run of a check ended.
    Check {
        /// The service checked.
        service: ServiceId,
        /// Which of its checks.
        check: usize,
        /// Did it succeed?
        ok: bool,
        /// How long it took.
        latency: Duration,
    },
    /// The watched process was found alive, or exited. An exit acts at once.
    Process {
        /// The service it serves.
        service: ServiceId,
        /// Does it live?
        alive: bool,
    },
    /// The service address was found local, or was removed.
    Address {
        /// The service.
        service: ServiceId,
        /// Is it there?
        present: bool,
    },
    /// The link came up (carrier, administrative state, a fast path attached) or went down or away.
    Link {
        /// The link.
        link: LinkId,
        /// Can frames pass?
        up: bool,
    },
    /// The link's MAC address is this (at the start) or became this.
    Mac {
        /// The link.
        link: LinkId,
        /// The address.
        mac: [u8; 6],
    },
    /// What [`Action::StartService`] asked for has been done, or has failed: checks count from now on.
    Started {
        /// The service.
        service: ServiceId,
    },
    /// A reading of the fast path's counters; cumulative, a smaller value than before means they were reset.
    Counters {
        /// The service.
        service: ServiceId,
        /// Queries that arrived: UDP queries and TCP SYNs.
        queries: u64,
        /// Multicast and unicast solicitations seen, answered or not; **not** duplicate address detection.
        solicitations: u64,
    },
    /// A reading of the drops of the service's sockets; cumulative.
    Drops {
        /// The service.
        service: ServiceId,
        /// Datagrams and connections dropped since the sockets were opened.
        total: u64,
    },
    /// The routing protocol has heard what the other servers of a service advertise, and their loads: all of them.
    RoutePeers {
        /// The service.
        service: ServiceId,
        /// One for each other server.
        peers: Vec<Figures>,
    },
    /// The fast path refused a solicitation (`SOLICITED` ring).
    Solicited {
        /// The service.
        service: ServiceId,
        /// Which kind.
        kind: Solicitation,
    },
    /// The fast path left a multicast solicitation to the controller, to be answered after a random delay.
    Delayed {
        /// The service.
        service: ServiceId,
        /// Who solicits.
        address: Ipv6Addr,
        /// From which MAC address.
        mac: [u8; 6],
    },
    /// A router was seen on the service's link.
    Router {
        /// The service.
        service: ServiceId,
        /// The router.
        router: Router,
        /// How it was seen.
        by: Sighting,
    },
    /// The fast path saw a valid advertisement from another MAC (`PEERS` ring).
    PeerAdvertisement {
        /// The service.
        service: ServiceId,
        /// The link-layer address it announces; the frame's source if it announces none.
        mac: [u8; 6],
        /// The Override flag: only such an advertisement moves a router's entry (RFC 4861 7.2.5). True for ARP.
        override_flag: bool,
        /// All its flags, as they stand in the advertisement: R 0x80, S 0x40, O 0x20. 0 for ARP.
        flags: u8,
        /// What stands behind its target link-layer address option; empty if nothing does.
        option: Vec<u8>,
    },
    /// A heartbeat datagram arrived on the link with hop limit 255. Decoded, judged and counted here.
    Heartbeat {
        /// The link it arrived on.
        link: LinkId,
        /// Where it came from, for alarms.
        source: IpAddr,
        /// The UDP payload.
        datagram: Vec<u8>,
    },
    /// The operator's word in the gate map (`hold`), as read.
    Hold {
        /// The service.
        service: ServiceId,
        /// The word.
        hold: Hold,
    },
    /// The daemon is to stop. [`Action::StopDone`] follows, at once or after the grace time.
    Stop {
        /// `stop --keep`: leave gates open under the restart lease for the next controller.
        keep: bool,
    },
}

/// Kinds of refused solicitations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Solicitation {
    /// To a group, or an ARP request: the router has no entry.
    Multicast,
    /// To this server's MAC: a router probes its entry (RFC 4861 7.3.3), which names this server.
    Unicast,
    /// From `::`, or an ARP probe: a stranger tests whether the address is free (RFC 4862 5.4).
    DuplicateAddressDetection,
}

/// The operator's word over the controller's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hold {
    /// The controller decides.
    #[default]
    Automatic,
    /// The gate is held shut: this server cannot own the address, whatever else is well.
    Shut,
    /// The gate is held open, owner or not, lease or not: reported as an alarm, changes no decision.
    Open,
}

/// What the operator asks of one service; see [`Machine::command`](crate::Machine::command).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Hand over and stay out until [`Command::Undrain`], over restarts too.
    Drain,
    /// Come back, at the end of the queue.
    Undrain,
    /// Stop advertising; give ownership up if another server can have it.
    Standby,
    /// Become the owner now.
    TakeOver,
    /// Advertise again.
    Announce,
}

/// Why a command was not obeyed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no such service.
    #[error("no service number {}", .0.0)]
    NoSuchService(ServiceId),
    /// The service is not able.
    #[error("the service cannot be served now: {}", list(.0))]
    NotAble(Vec<Impediment>),
    /// It is drained.
    #[error("the service is drained; undrain it first")]
    Drained,
    /// It is coming up and listens first.
    #[error("the service is just coming up and listens for an owner; try again in a moment")]
    Listening,
    /// Only an owner has something to announce.
    #[error("only the owner announces; this server is {0}")]
    NotOwner(State),
    /// In `solicited` mode nobody owns.
    #[error("in mode \"solicited\" there is no owner and nothing is advertised unasked")]
    Solicited,
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
}

fn list(impediments: &[Impediment]) -> String {
    impediments.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// State of a service on this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Not able, or coming up and still listening.
    Down,
    /// Able, silent, out of the rotation until something wakes it.
    Standby,
    /// Able and in the rotation; a peer owns. In `solicited` mode: able and answering.
    Ready,
    /// Answering and advertising.
    Owner,
    /// The operator took it out.
    Drained,
}

impl State {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Down, Self::Standby, Self::Ready, Self::Owner, Self::Drained];

    /// The word in status, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Standby => "standby",
            Self::Ready => "ready",
            Self::Owner => "owner",
            Self::Drained => "drained",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something to do. To be performed in the order given: the gate opens before the advertisement leaves, and what may be
/// slow (persisting, reporting) comes last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Store the lease in the gate map. Repeated at a third of the lease while the gate is to stay open.
    Gate {
        /// The service.
        service: ServiceId,
        /// Open until then; `None` = shut.
        open_until: Option<Time>,
    },
    /// Send one unsolicited NA (or gratuitous ARP) with the Override flag to all nodes.
    Advertise {
        /// The service.
        service: ServiceId,
        /// Why, for the log.
        cause: Cause,
    },
    /// Store the leases of single routers in the map of their gates, which go before the service's gate: open until then, or
    /// `None` = shut. All of the service's: a router that is not among them is under the service's gate. Repeated as
    /// [`Action::Gate`].
    RouterGates {
        /// The service.
        service: ServiceId,
        /// Each named router.
        gates: Vec<(Router, Option<Time>)>,
    },
    /// Send one unsolicited NA (or gratuitous ARP) with the Override flag to one router.
    AdvertiseTo {
        /// The service.
        service: ServiceId,
        /// The router.
        router: Router,
        /// Why, for the log.
        cause: Cause,
    },
    /// Advertise a route, or withdraw it.
    Route {
        /// The service.
        service: ServiceId,
        /// What is advertised from now on.
        route: Route,
    },
    /// Answer one solicitation: an NA to the solicitor with S=1, and with O=0 unless configured otherwise.
    Answer {
        /// The service.
        service: ServiceId,
        /// Who solicited.
        address: Ipv6Addr,
        /// From which MAC address.
        mac: [u8; 6],
    },
    /// Send the datagram to the farm's group on the link.
    Heartbeat {
        /// The link.
        link: LinkId,
        /// UDP payload, at most [`heartbeat::DATAGRAM_MAX`] bytes.
        datagram: Vec<u8>,
    },
    /// The state changed.
    StateChanged {
        /// The service.
        service: ServiceId,
        /// Old state.
        from: State,
        /// New state.
        to: State,
        /// Why.
        reason: Reason,
    },
    /// The last able server fell quiet (few queries: no more unsolicited advertisements, gate still open) or woke.
    Quiet {
        /// The service.
        service: ServiceId,
        /// Quiet now?
        quiet: bool,
        /// Why.
        reason: Reason,
    },
    /// Stop the service process: this server stands by, another one serves, and what still arrived has been answered.
    StopService {
        /// The service.
        service: ServiceId,
    },
    /// Start the service process, if it does not run, and tell with [`Event::Started`] when that is done. Only after that the
    /// gate can open. Asked for at the start too: who knows what the last controller left.
    StartService {
        /// The service.
        service: ServiceId,
    },
    /// Keep the epoch over a restart. Needed for nothing that happens in the same moment.
    PersistEpoch {
        /// The service.
        service: ServiceId,
        /// The epoch.
        epoch: u64,
    },
    /// Keep the operator's drain over a restart.
    PersistDrained {
        /// The service.
        service: ServiceId,
        /// Drained now?
        drained: bool,
    },
    /// Tell the operator. Each is limited to one in ten seconds.
    Alarm(Alarm),
    /// Stopping is over: detach, and unless `keep` remove everything.
    StopDone {
        /// As it was asked.
        keep: bool,
    },
}

/// Why an advertisement is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// This server became the owner.
    TakeOver,
    /// Again after a take-over, a second apart: the first may have been lost.
    Repeat,
    /// Another server or a stranger advertised the address.
    Defence,
    /// The MAC address changed.
    MacChanged,
    /// The service woke from quiet.
    Wake,
    /// The operator asked.
    Command,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TakeOver => "take-over",
            Self::Repeat => "repeat",
            Self::Defence => "defence",
            Self::MacChanged => "mac changed",
            Self::Wake => "wake",
            Self::Command => "command",
        })
    }
}

/// Why a state changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The service can be served (again).
    Able,
    /// It cannot.
    NotAble(Vec<Impediment>),
    /// Nobody was heard owning the address.
    NoOwner,
    /// The owner fell silent.
    OwnerSilent(ServerId),
    /// The owner gave the address up.
    OwnerYielded(ServerId),
    /// Another server owns the address with a higher (epoch, id).
    OtherOwner(ServerId),
    /// A server that runs other software took the address.
    ForeignOwner([u8; 6]),
    /// The slice is over.
    SliceOver,
    /// The owner's priority is lower than this server's, which has been ready for the configured time.
    Preempted(ServerId),
    /// Fewer queries than the standby rule asks for.
    FewQueries,
    /// Queries arrive.
    Queries,
    /// A router solicits the address.
    Solicitation,
    /// Too loaded, and another server is predicted to be less so.
    Congested,
    /// The owner is too loaded: more servers are needed.
    OwnerCongested(ServerId),
    /// The last owner got many queries, this one nothing at all: its advertisement or its link does not work.
    NothingReceived,
    /// This process stood still for longer than its lease; peers may have taken over.
    Stalled,
    /// A gate left open by the last controller was adopted.
    Adopted,
    /// The adopted gate's lease ran out before the service was able.
    AdoptionEnded,
    /// Hand-over ended without another owner.
    NobodyTookOver,
    /// Woken from standby, the service was not able in time.
    NotAwake(Vec<Impediment>),
    /// The operator asked.
    Command(Command),
    /// The daemon stops.
    Stop,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Able => f.write_str("able"),
            Self::NotAble(impediments) => write!(f, "not able: {}", list(impediments)),
            Self::NoOwner => f.write_str("no owner heard"),
            Self::OwnerSilent(id) => write!(f, "owner {id} silent"),
            Self::OwnerYielded(id) => write!(f, "owner {id} yielded"),
            Self::OtherOwner(id) => write!(f, "{id} owns"),
            Self::ForeignOwner(mac) => write!(f, "foreign server {} owns", Mac(*mac)),
            Self::SliceOver => f.write_str("slice over"),
            Self::Preempted(id) => write!(f, "owner {id} has a lower priority"),
            Self::FewQueries => f.write_str("too few queries"),
            Self::Queries => f.write_str("queries arrive"),
            Self::Solicitation => f.write_str("solicitation"),
            Self::Congested => f.write_str("congested, another server less so"),
            Self::OwnerCongested(id) => write!(f, "owner {id} congested"),
            Self::NothingReceived => {
                f.write_str("owner, and received nothing where the last owner got many queries")
            }
            Self::Stalled => f.write_str("this process stood still longer than its lease"),
            Self::Adopted => f.write_str("open gate adopted"),
            Self::AdoptionEnded => f.write_str("adopted lease ran out before the service was able"),
            Self::NobodyTookOver => f.write_str("handed over, nobody took over"),
            Self::NotAwake(impediments) => {
                write!(f, "woken from standby and not able within wake_timeout: {}", list(impediments))
            }
            Self::Command(command) => write!(f, "command {command:?}"),
            Self::Stop => f.write_str("stopping"),
        }
    }
}

/// Something an operator must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// Somebody who is no peer advertises the service address.
    Rogue {
        /// The service.
        service: ServiceId,
        /// The MAC it announces.
        mac: [u8; 6],
    },
    /// Heartbeats of another farm that serves the same link.
    ForeignFarm {
        /// The link.
        link: LinkId,
        /// Sender.
        source: IpAddr,
        /// The name it gives.
        farm: String,
    },
    /// A heartbeat that cannot be read.
    BadHeartbeat {
        /// The link.
        link: LinkId,
        /// Sender.
        source: IpAddr,
        /// What is wrong with it.
        error: heartbeat::DecodeError,
    },
    /// Heartbeats that are not authentic.
    Unauthentic {
        /// The link.
        link: LinkId,
        /// Sender.
        source: IpAddr,
        /// What is wrong with them.
        verdict: Verdict,
    },
    /// Advertisements for the service address that are signed with another key. They are not countered: two farms that did so
    /// would fight for ever.
    SecondFarm {
        /// The service.
        service: ServiceId,
        /// The MAC they announce.
        mac: [u8; 6],
    },
    /// Another server uses this server's id.
    DuplicateServer {
        /// The link.
        link: LinkId,
        /// Sender.
        source: IpAddr,
    },
    /// An epoch far above the highest known one: obeyed only in bounded steps.
    EpochJump {
        /// The service.
        service: ServiceId,
        /// Who announced it.
        server: ServerId,
        /// What it announced.
        epoch: u64,
    },
    /// The operator holds a gate open: it answers though this server may not own the address.
    HeldOpen {
        /// The service.
        service: ServiceId,
    },
    /// The service was drained although no other server can take it.
    LastServerDrained {
        /// The service.
        service: ServiceId,
    },
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rogue { mac, .. } => {
                write!(f, "{} advertises the service address and is no peer", Mac(*mac))
            }
            Self::ForeignFarm { source, farm, .. } => {
                write!(
                    f,
                    "{source} sends heartbeats of farm {farm:?}: a second farm on this link, or a wrong name"
                )
            }
            Self::BadHeartbeat { source, error, .. } => write!(f, "heartbeat from {source} refused: {error}"),
            Self::Unauthentic { source, verdict, .. } => match verdict {
                Verdict::UnknownKey | Verdict::BadSignature => write!(
                    f,
                    "{source} sends heartbeats signed with another key ({}): a second farm on this link, or a wrong key file",
                    verdict.name()
                ),
                _ => write!(
                    f,
                    "{source} sends heartbeats that are {}: not obeyed; give that server the key, or set auth = \"permissive\" here meanwhile",
                    verdict.name()
                ),
            },
            Self::SecondFarm { mac, .. } => write!(
                f,
                "{} advertises the service address, signed with another key: a second farm on this link, or a wrong key file",
                Mac(*mac)
            ),
            Self::DuplicateServer { source, .. } => {
                write!(f, "{source} uses this server's id; give each server of the farm its own")
            }
            Self::EpochJump { server, epoch, .. } => {
                write!(
                    f,
                    "{server} announces epoch {epoch}, far above the highest known; obeyed in bounded steps"
                )
            }
            Self::HeldOpen { .. } => {
                f.write_str("the gate is held open by hand: this server answers, owner or not")
            }
            Self::LastServerDrained { .. } => f.write_str("drained, and no other server can take over"),
        }
    }
}

/// A MAC address for people.
struct Mac([u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
