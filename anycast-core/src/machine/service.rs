//! One service on one server: the state machine.
//!
//! ```text
//!          able             listened             contest or slice won
//!   Down ───────▶ Listening ────────▶ Ready ◀──────────────────────────▶ Owner
//!    ▲                                 ▲ │       another owner heard       │
//!    │ not able (from every phase)     │ ▼                                 │ drain, standby, stop
//!    │                               Standby ◀───────── HandingOver ◀──────┘
//!    └── lease over ── Adopting ──▶ Owner                    │
//!                                                            └──▶ Drained, Down
//! ```
//!
//! Where hooks stop the service in standby, the way from Standby to Ready leads through `Waking`, which shows as Standby.
//! `Listening` shows as state Down, `HandingOver` as the state it leads to, `Adopting` as Owner: phases are what this
//! server does, states are what it tells. The numbers of rules are those of `docs/scheduler.md`.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::{Mode, ServerId, ServiceConfig, ServiceId};
use crate::cost::{Cost, Figures};
use crate::event::{Action, Alarm, Cause, Command, CommandError, Hold, Reason, Solicitation, State};
use crate::health::Health;
use crate::heartbeat::Report;
use crate::machine::alarm::Alarms;
use crate::machine::answers::Answer;
use crate::machine::bucket::{Bucket, PERIOD};
use crate::machine::doubt::Doubt;
use crate::machine::link::Link;
use crate::machine::load::Gauge;
use crate::machine::meter::Meter;
use crate::machine::rogue::Rogue;
use crate::machine::routers::Routers;
use crate::machine::sleep::Sleep;
use crate::machine::timer::{Timer, Timers};
use crate::random::Random;
use crate::{Time, status};

/// Distance of two candidates in a contest: a datagram's way across the link and a loaded machine's time to act.
pub(crate) const STEP: Duration = Duration::from_millis(20);

/// Most steps a candidate waits.
pub(crate) const STEPS_MAX: usize = 8;

/// Moves are counted over this time: EVPN duplicate-MAC detection (RFC 7432 15.1).
const MOVES_WINDOW: Duration = Duration::from_secs(180);

/// Going down twice within this time is flapping.
const FLAP_WINDOW: Duration = Duration::from_secs(600);

/// The penalty of the first flap; it doubles with each.
const PENALTY: Duration = Duration::from_secs(1);

/// Longest penalty.
const PENALTY_MAX: Duration = Duration::from_secs(60);

/// What a service on this server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not able.
    Down,
    /// Able; listens for an owner before it takes part.
    Listening,
    /// Able and silent; or stopped by the hook, and able but for that.
    Standby,
    /// Out of standby, until the service that the hook stopped is able again.
    Waking,
    /// Able and in the rotation. Without an owner the contest timer runs.
    Ready,
    /// Owns the address.
    Owner,
    /// Goes on owning through a gate that the last controller left open, until the service is known to be able.
    Adopting,
    /// No owner any more, but answers until the next one is heard.
    HandingOver(Next),
    /// The operator took it out.
    Drained,
}

/// Where a hand-over leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Ready,
    Standby,
    Drained,
    Down,
}

/// What can happen to a service.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// It can be served.
    Able,
    /// It cannot.
    Unable,
    /// A timer.
    Timer(Timer),
    /// A peer says that it owns the address.
    OwnerHeard(Rival),
    /// A server of other software took the address.
    ForeignHeard([u8; 6]),
    /// There is no owner any more.
    OwnerLost(Reason),
    /// This process stood still for longer than its lease while there were peers.
    Stalled,
    /// Congested, and this peer would be less so.
    Congested(ServerId),
    /// Owner, and deaf to everything.
    NothingReceived,
    /// Too few queries.
    FewQueries,
    /// Something ends standby.
    Woken(Reason),
    /// The operator, already checked.
    Command(Command),
    /// The daemon stops.
    Stop,
}

/// A peer that owns the address, or says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rival {
    pub(crate) server: ServerId,
    pub(crate) epoch: u64,
}

/// What the machine lends a service for one step.
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) server: ServerId,
    /// The owner's heartbeat interval; `None` without a farm.
    pub(crate) heartbeat: Option<Duration>,
    pub(crate) lease: Duration,
    pub(crate) grace: Duration,
    pub(crate) link: &'a mut Link,
    pub(crate) random: &'a mut Random,
    pub(crate) alarms: &'a mut Alarms,
    pub(crate) actions: &'a mut Vec<Action>,
}

impl Context<'_> {
    /// Three heartbeats; nothing without a farm, where nobody could be heard.
    pub(crate) fn dead_interval(&self) -> Duration {
        self.heartbeat.unwrap_or_default() * 3
    }

    /// What is added to an owner's three intervals before it is missed: its third heartbeat, on its way since the end of the
    /// third, may take longer than the one that was heard last. Without this two lost heartbeats would be missed like
    /// three, every other time.
    pub(crate) fn tolerance(&self) -> Duration {
        self.heartbeat.unwrap_or_default() / 4
    }

    /// How long an old owner goes on answering while a new one takes over: the loss of a heartbeat and all steps of the
    /// contest fit.
    pub(crate) fn hand_over(&self) -> Duration {
        self.dead_interval() + self.tolerance() + STEP * (STEPS_MAX as u32 + 2)
    }

    pub(crate) fn alarm(&mut self, alarm: Alarm) {
        self.alarms.raise(self.now, alarm, self.actions);
    }
}

/// One service on this server.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) id: ServiceId,
    /// Its place in its link's tables.
    pub(crate) slot: usize,
    pub(crate) config: ServiceConfig,
    pub(crate) health: Health,
    pub(crate) able: bool,
    pub(crate) phase: Phase,
    pub(crate) since: Time,
    pub(crate) timers: Timers,
    /// The last lease issued.
    gate: Option<Time>,
    /// The gate map has been written at least once.
    gate_told: bool,

    /// The highest epoch heard or taken.
    pub(crate) epoch: u64,
    /// The epoch of this server's own reign.
    pub(crate) reign: u64,
    /// The peer that owns.
    pub(crate) owner: Option<Rival>,
    /// The server of other software that owns.
    pub(crate) foreign: Option<[u8; 6]>,
    /// Who takes over, as the last owner named them.
    pub(crate) successors: Vec<ServerId>,
    /// Contest: why there is no owner.
    pub(crate) contest: Option<Reason>,
    /// Contest after silence: when the owner was last heard.
    pub(crate) silence: Option<Time>,
    /// Contest after silence: this server heard nobody since, and waits.
    pub(crate) deaf: bool,
    /// When a frame for the service address was last seen.
    pub(crate) received: Option<Time>,
    /// Contest: a peer's advertisement has put it off already.
    pub(crate) put_off: bool,
    /// Ask whether the owner lives.
    pub(crate) suspect: bool,
    pub(crate) doubt: Doubt,
    /// When this process, had it stood still, has read what arrived meanwhile.
    pub(crate) caught_up: Time,
    /// End of this server's slice.
    pub(crate) slice_end: Option<Time>,
    /// Who shall take over, whatever the queue says.
    pub(crate) heir: Option<ServerId>,
    /// Queries per second the last owner got.
    pub(crate) owner_rate: u32,
    /// How long this server last stayed out after a reign in which it received nothing.
    pub(crate) hushed: Duration,
    pub(crate) gauge: Gauge,
    /// Woken from standby: behind those that were ready all along.
    pub(crate) woken: bool,
    pub(crate) sleep: Sleep,

    pub(crate) bucket: Bucket,
    pub(crate) pending: Option<Cause>,
    pub(crate) repeats: u8,
    /// When the address was last defended against a rival.
    defended: Option<Time>,
    pub(crate) rogue: Rogue,
    pub(crate) meter: Option<Meter>,
    pub(crate) quiet: bool,
    pub(crate) reading: Option<Reading>,

    pub(crate) drained: bool,
    stopped: bool,
    /// Stopped, and another controller will go on.
    pub(crate) kept: bool,
    pub(crate) route: Option<Cost>,
    pub(crate) route_peers: Vec<Figures>,
    flaps: u32,
    last_down: Option<Time>,
    pub(crate) penalty_until: Option<Time>,

    pub(crate) routers: Routers,
    /// Answers that wait for their random delay.
    pub(crate) answers: Vec<Answer>,

    /// The last known owner, and when it changed.
    held_by: status::Owner,
    moves: VecDeque<Time>,
    transitions: u64,
    pub(crate) takeovers: u64,
    pub(crate) advertisements: u64,
    pub(crate) deferred: u64,
}

/// The last reading of the counters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) at: Time,
    pub(crate) queries: u64,
    pub(crate) solicitations: u64,
}

impl Service {
    /// A service of which nothing is known yet. An open gate left by the last controller is adopted.
    pub(crate) fn new(
        id: ServiceId,
        slot: usize,
        config: ServiceConfig,
        dead_interval: Duration,
        now: Time,
    ) -> Self {
        let restored = config.restored;
        let mut service = Self {
            id,
            slot,
            health: Health::new(&config),
            able: false,
            phase: Phase::Down,
            since: now,
            timers: Timers::default(),
            gate: None,
            gate_told: false,
            epoch: restored.epoch,
            reign: restored.epoch,
            owner: None,
            foreign: None,
            successors: Vec::new(),
            contest: None,
            silence: None,
            deaf: false,
            received: None,
            suspect: false,
            doubt: Doubt::default(),
            put_off: false,
            caught_up: now,
            slice_end: None,
            heir: None,
            owner_rate: 0,
            hushed: Duration::ZERO,
            gauge: Gauge::new(config.load),
            woken: false,
            sleep: Sleep::default(),
            bucket: Bucket::default(),
            pending: None,
            repeats: 0,
            defended: None,
            rogue: Rogue::default(),
            meter: config.standby.map(Meter::new),
            quiet: false,
            reading: None,
            drained: restored.drained,
            stopped: false,
            kept: false,
            route: config.route.map(Cost::new),
            route_peers: Vec::new(),
            flaps: 0,
            last_down: None,
            penalty_until: None,
            routers: Routers::default(),
            answers: Vec::new(),
            held_by: status::Owner::None,
            moves: VecDeque::new(),
            transitions: 0,
            takeovers: 0,
            advertisements: 0,
            deferred: 0,
            config,
        };
        if let Some(open_until) = restored.gate_open_until.filter(|until| *until > now && !restored.drained) {
            service.phase = Phase::Adopting;
            // The gate is open because the service runs.
            service.health.started();
            service.gate = Some(open_until);
            service.gate_told = true;
            service.timers.arm(Timer::Listen, now + dead_interval);
            // The lease may be stretched by one dead interval, so that there is time to listen.
            service.timers.arm(Timer::Adoption, open_until.max(now + dead_interval));
        }
        service
    }

    /// The machine: what each input means in each phase. Pairs that are not listed mean nothing.
    pub(crate) fn step(&mut self, input: Input, cx: &mut Context<'_>) {
        match (self.phase, input) {
            // Able or not (rules 1, 2): listen first; a service that fails is shut at once and says so.
            (Phase::Down, Input::Able) if !self.stopped => self.enter(Phase::Listening, Reason::Able, cx),
            (Phase::Listening, Input::Timer(Timer::Listen)) => {
                let phase = if self.drained { Phase::Drained } else { Phase::Ready };
                self.enter(phase, Reason::Able, cx);
            }
            (Phase::Down, Input::Unable) => {}
            (_, Input::Unable) => {
                self.flap(cx.now);
                self.enter(Phase::Down, Reason::NotAble(self.health.impediments()), cx);
            }

            // Adoption (rule 13): own on once able and nobody else was heard for a dead interval.
            (Phase::Adopting, Input::Able) if self.timers.at(Timer::Listen).is_none() => self.adopted(cx),
            (Phase::Adopting, Input::Timer(Timer::Listen)) if self.able => self.adopted(cx),
            (Phase::Adopting, Input::Timer(Timer::Adoption)) => {
                self.enter(Phase::Down, Reason::AdoptionEnded, cx);
            }
            (Phase::Adopting, Input::OwnerHeard(rival)) => {
                self.note_owner(rival, cx);
                let phase = if self.able { Phase::Ready } else { Phase::Down };
                self.enter(phase, Reason::OtherOwner(rival.server), cx);
            }

            // Another owner (rules 5, 10): the higher (epoch, id) stays and says so, the other gives way.
            (Phase::Owner, Input::OwnerHeard(rival)) => {
                if (rival.epoch, rival.server) > (self.reign, cx.server) {
                    let phase = if self.quiet { Phase::Standby } else { Phase::Ready };
                    self.note_owner(rival, cx);
                    self.enter(phase, Reason::OtherOwner(rival.server), cx);
                } else {
                    cx.link.answer(cx.now, STEP);
                    // Once a second: the rival needs the heartbeat, the routers one advertisement.
                    if self.defended.is_none_or(|at| cx.now >= at + PERIOD) {
                        self.defended = Some(cx.now);
                        self.announce(Cause::Defence, cx);
                    }
                }
            }
            (Phase::HandingOver(next), Input::OwnerHeard(rival)) => {
                self.note_owner(rival, cx);
                self.enter(next.into(), Reason::OtherOwner(rival.server), cx);
            }
            (_, Input::OwnerHeard(rival)) => self.note_owner(rival, cx),
            (Phase::Owner | Phase::Adopting | Phase::HandingOver(_), Input::ForeignHeard(mac)) => {
                self.note_foreign(mac, cx);
                let phase = match self.phase {
                    Phase::HandingOver(next) => next.into(),
                    _ if !self.able => Phase::Down,
                    _ if self.quiet => Phase::Standby,
                    _ => Phase::Ready,
                };
                self.enter(phase, Reason::ForeignOwner(mac), cx);
            }
            (_, Input::ForeignHeard(mac)) => self.note_foreign(mac, cx),

            // No owner (rules 3, 9): contest it; standby ends.
            (Phase::Ready, Input::Timer(Timer::Doubt)) => self.doubted(cx),
            (_, Input::Timer(Timer::Silent)) => self.owner_silent(cx),
            (_, Input::Timer(Timer::Foreign)) => {
                self.foreign = None;
                self.step(Input::OwnerLost(Reason::NoOwner), cx);
            }
            (Phase::Ready, Input::OwnerLost(reason)) => self.contend(reason, cx),
            (Phase::Standby, Input::OwnerLost(reason)) => self.leave_standby(reason, cx),
            (Phase::Ready, Input::Timer(Timer::Contest)) => self.contest_over(cx),
            (Phase::Ready, Input::Timer(Timer::Slice)) => self.take_over(Reason::SliceOver, cx),
            (Phase::Ready, Input::Timer(Timer::Preempt)) => self.preempt(cx),
            (Phase::Owner, Input::Stalled) => {
                self.enter(Phase::Ready, Reason::Stalled, cx);
                self.timers.arm(Timer::Contest, cx.now + cx.dead_interval());
            }

            // Congested (rule 7): to the server that is predicted to be least so. Deaf (rule 9): to anybody.
            (Phase::Owner, Input::Congested(heir)) => {
                self.heir = Some(heir);
                self.enter(Phase::HandingOver(Next::Ready), Reason::Congested, cx);
            }
            (Phase::Owner, Input::NothingReceived) => {
                self.enter(Phase::Ready, Reason::NothingReceived, cx);
                self.hush(cx);
            }

            // Advertising (rules 3, 11).
            (Phase::Owner, Input::Timer(Timer::Announce)) => {
                if let Some(cause) = self.pending.take() {
                    self.announce(cause, cx);
                }
            }
            (Phase::Owner, Input::Timer(Timer::Repeat)) => self.repeat(cx),

            // Standby (rule 8).
            (Phase::Owner, Input::FewQueries) => self.fall_quiet(Reason::FewQueries, cx),
            (Phase::Ready, Input::FewQueries) if self.dispensable(cx) => {
                self.enter(Phase::Standby, Reason::FewQueries, cx);
            }
            (Phase::Owner, Input::Woken(reason)) => self.wake(reason, cx),
            (Phase::Standby, Input::Woken(reason)) => self.leave_standby(reason, cx),
            (Phase::Standby, Input::Timer(Timer::Suspend)) => self.suspend(cx),
            (Phase::Waking, Input::Able) => self.awake(cx),
            (Phase::Waking, Input::Timer(Timer::Wake)) => {
                self.flap(cx.now);
                self.enter(Phase::Down, Reason::NotAwake(self.health.impediments()), cx);
            }

            // The operator.
            (Phase::Owner, Input::Command(command @ Command::Drain)) => {
                self.hand_over(Next::Drained, Reason::Command(command), cx);
            }
            (Phase::HandingOver(Next::Ready | Next::Standby), Input::Command(Command::Drain)) => {
                self.enter(Phase::HandingOver(Next::Drained), Reason::Command(Command::Drain), cx);
            }
            (Phase::Ready | Phase::Standby | Phase::Adopting, Input::Command(command @ Command::Drain)) => {
                if !self.candidates(cx) {
                    cx.alarm(Alarm::LastServerDrained { service: self.id });
                }
                self.enter(Phase::Drained, Reason::Command(command), cx);
            }
            (Phase::Drained, Input::Command(command @ Command::Undrain)) if self.sleep.suspended => {
                self.leave_standby(Reason::Command(command), cx);
            }
            (Phase::Drained, Input::Command(command @ Command::Undrain)) => {
                self.enter(Phase::Ready, Reason::Command(command), cx);
            }
            (Phase::HandingOver(Next::Drained), Input::Command(command @ Command::Undrain)) => {
                self.take_over(Reason::Command(command), cx);
            }
            (Phase::Owner, Input::Command(command @ Command::Standby)) => {
                if self.candidates(cx) {
                    self.hand_over(Next::Standby, Reason::Command(command), cx);
                } else {
                    self.fall_quiet(Reason::Command(command), cx);
                }
            }
            (Phase::Ready | Phase::Waking, Input::Command(command @ Command::Standby))
                if self.config.mode != Mode::Solicited || self.others_answer(cx) =>
            {
                self.enter(Phase::Standby, Reason::Command(command), cx);
            }
            (Phase::Standby, Input::Command(command @ Command::TakeOver)) if self.asleep() => {
                self.leave_standby(Reason::Command(command), cx);
            }
            (Phase::Waking, Input::Command(command @ Command::TakeOver)) => {
                self.sleep.woken_by = Some(Reason::Command(command));
            }
            (
                Phase::Ready | Phase::Standby | Phase::HandingOver(Next::Ready | Next::Standby),
                Input::Command(command @ Command::TakeOver),
            ) => self.take_over(Reason::Command(command), cx),
            (Phase::Owner, Input::Command(command @ Command::TakeOver)) => {
                self.wake(Reason::Command(command), cx);
            }
            (Phase::Owner, Input::Command(Command::Announce)) => self.announce(Cause::Command, cx),

            // Stop (rule 13): yield, and answer until the next owner is heard.
            (Phase::Owner | Phase::Adopting, Input::Stop) => self.hand_over(Next::Down, Reason::Stop, cx),
            (Phase::HandingOver(_), Input::Stop) => {
                self.enter(Phase::HandingOver(Next::Down), Reason::Stop, cx);
            }
            (Phase::Down, Input::Stop) => {}
            (_, Input::Stop) => self.enter(Phase::Down, Reason::Stop, cx),
            (Phase::HandingOver(next), Input::Timer(Timer::HandOver)) => match next {
                Next::Ready => self.take_over(Reason::NobodyTookOver, cx),
                // The last able server keeps the gate.
                Next::Standby => {
                    self.take_over(Reason::NobodyTookOver, cx);
                    self.fall_quiet(Reason::NobodyTookOver, cx);
                }
                Next::Drained => {
                    cx.alarm(Alarm::LastServerDrained { service: self.id });
                    self.enter(Phase::Drained, Reason::NobodyTookOver, cx);
                }
                Next::Down => self.enter(Phase::Down, Reason::Stop, cx),
            },

            // The lease is renewed behind every event; its timer only sees to it that there is one.
            (_, Input::Timer(Timer::Lease | Timer::Routers | Timer::Route)) => {}
            (_, Input::Timer(Timer::Answer)) => self.answer_delayed(cx),
            // What has no meaning in this phase.
            (
                _,
                Input::Able
                | Input::Timer(_)
                | Input::OwnerLost(_)
                | Input::Stalled
                | Input::Congested(_)
                | Input::NothingReceived
                | Input::FewQueries
                | Input::Woken(_)
                | Input::Command(_),
            ) => {}
        }
    }

    /// Enters a phase: all side effects of a change are here.
    pub(crate) fn enter(&mut self, phase: Phase, reason: Reason, cx: &mut Context<'_>) {
        let from = self.state();
        let was = std::mem::replace(&mut self.phase, phase);
        self.timers.enter(phase);
        self.sleep_through(was, cx);
        if !matches!(phase, Phase::HandingOver(_)) {
            self.heir = None;
        }
        self.suspect = false;
        self.silence = None;
        self.deaf = false;
        self.contest = None;
        if was == Phase::Owner {
            self.quiet = false;
            self.pending = None;
            self.repeats = 0;
            self.slice_end = None;
        }
        // Owned time adds up over reigns, but not over a standby or a failure.
        if let (Some(meter), Phase::Standby | Phase::Down, _) | (Some(meter), _, Phase::Standby) =
            (&mut self.meter, phase, was)
        {
            meter.reset();
        }
        match phase {
            Phase::Listening => {
                self.timers.arm(Timer::Listen, cx.now + cx.dead_interval());
                // The first failure in a while is free, the penalty of the others doubles.
                if let Some(doublings) = self.flaps.checked_sub(2) {
                    let penalty = PENALTY.saturating_mul(2u32.saturating_pow(doublings)).min(PENALTY_MAX);
                    self.penalty_until = Some(cx.now + penalty);
                }
            }
            Phase::Ready if self.owner.is_none() && self.foreign.is_none() => {
                self.contend(reason.clone(), cx)
            }
            Phase::Owner => self.reign(cx),
            Phase::HandingOver(_) => {
                let wait = self.hand_over_wait(cx);
                self.timers.arm(Timer::HandOver, cx.now + wait);
            }
            // Somebody else is to own; if nobody does, standby ends.
            Phase::Standby
                if self.owner.is_none() && self.foreign.is_none() && self.config.mode != Mode::Solicited =>
            {
                self.timers.arm(Timer::Silent, cx.now + cx.hand_over());
            }
            Phase::Down
            | Phase::Standby
            | Phase::Waking
            | Phase::Ready
            | Phase::Adopting
            | Phase::Drained => {}
        }
        self.gate(true, cx);
        cx.link.news();
        let to = self.state();
        if from != to {
            self.since = cx.now;
            self.transitions += 1;
            cx.actions.push(Action::StateChanged { service: self.id, from, to, reason });
        }
    }

    /// Opens, renews or shuts the gate as the phase asks. Called behind every event; `changed` renews regardless of age.
    pub(crate) fn gate(&mut self, changed: bool, cx: &mut Context<'_>) {
        let lease = cx.now + cx.lease;
        let wanted = match self.phase {
            // Routers come by another way.
            _ if !self.config.neighbor_discovery => None,
            Phase::Owner => Some(lease),
            Phase::Ready if self.config.mode == Mode::Solicited => Some(lease),
            Phase::HandingOver(_) => {
                Some(self.timers.at(Timer::HandOver).map_or(lease, |end| end.min(lease)))
            }
            // The last controller's lease runs on; at its start it may be stretched to listen.
            Phase::Adopting => self.gate.max(self.timers.at(Timer::Listen)),
            _ => None,
        };
        let due = match (self.gate, wanted) {
            (Some(_), Some(wanted)) if self.phase == Phase::Adopting => self.gate != Some(wanted),
            (Some(open), Some(wanted)) => changed || wanted.since(open) >= cx.lease / 3,
            (None, None) => !self.gate_told,
            (None, Some(_)) | (Some(_), None) => true,
        };
        if !due {
            return;
        }
        self.gate = wanted;
        self.gate_told = true;
        cx.actions.push(Action::Gate { service: self.id, open_until: wanted });
        match wanted {
            Some(_) if self.phase != Phase::Adopting => self.timers.arm(Timer::Lease, cx.now + cx.lease / 3),
            _ => self.timers.disarm(Timer::Lease),
        }
    }

    /// Runs the timers that are due.
    pub(crate) fn expire(&mut self, cx: &mut Context<'_>) {
        while let Some(timer) = self.timers.expire(cx.now) {
            self.step(Input::Timer(timer), cx);
        }
    }

    /// After anything that may have changed the health.
    pub(crate) fn health_changed(&mut self, cx: &mut Context<'_>) {
        let was_able = std::mem::replace(&mut self.able, self.health.able());
        // An adopter knows nothing at first: only what is known to be bad counts.
        let unable = match self.phase {
            Phase::Adopting => self.health.failed(),
            Phase::Waking => self.health.unreachable(),
            _ => was_able && !self.able,
        };
        if unable {
            self.step(Input::Unable, cx);
        } else if self.able && !was_able {
            self.step(Input::Able, cx);
        }
    }

    /// The operator's word in the gate map.
    pub(crate) fn hold(&mut self, hold: Hold, cx: &mut Context<'_>) {
        if hold == Hold::Open && self.health.held() != Hold::Open {
            cx.alarm(Alarm::HeldOpen { service: self.id });
        }
        self.health.hold(hold);
        self.health_changed(cx);
    }

    /// The fast path refused a solicitation.
    pub(crate) fn solicited(&mut self, kind: Solicitation, cx: &mut Context<'_>) {
        self.received(cx.now);
        match kind {
            Solicitation::Multicast | Solicitation::Unicast => {
                self.step(Input::Woken(Reason::Solicitation), cx);
            }
            // A stranger that tests the address is no router that looks for a server.
            Solicitation::DuplicateAddressDetection => {}
        }
    }

    /// The operator.
    pub(crate) fn command(&mut self, command: Command, cx: &mut Context<'_>) -> Result<(), CommandError> {
        if self.stopped {
            return Err(CommandError::Stopping);
        }
        match command {
            Command::Drain | Command::Undrain => {
                let drained = command == Command::Drain;
                if self.drained != drained {
                    self.drained = drained;
                    self.step(Input::Command(command), cx);
                    cx.actions.push(Action::PersistDrained { service: self.id, drained });
                }
                return Ok(());
            }
            Command::TakeOver | Command::Announce if self.config.mode == Mode::Solicited => {
                return Err(CommandError::Solicited);
            }
            Command::Announce if !matches!(self.phase, Phase::Owner) => {
                return Err(CommandError::NotOwner(self.state()));
            }
            Command::Standby | Command::TakeOver | Command::Announce => {}
        }
        match self.phase {
            Phase::Down => return Err(CommandError::NotAble(self.health.impediments())),
            Phase::Listening | Phase::Adopting => return Err(CommandError::Listening),
            Phase::Drained | Phase::HandingOver(Next::Drained) => return Err(CommandError::Drained),
            _ => {}
        }
        self.step(Input::Command(command), cx);
        Ok(())
    }

    /// The daemon stops. True if there is a tail to serve: this server answered, and another can take over.
    pub(crate) fn stop(&mut self, cx: &mut Context<'_>) -> bool {
        self.stopped = true;
        let tail = (self.gate.is_some() || self.owns_routers()) && self.candidates(cx);
        self.step(Input::Stop, cx);
        tail
    }

    /// The daemon stops and another will adopt: leaves an open gate under `lease`. True if it was open.
    pub(crate) fn keep(&mut self, lease: Duration, cx: &mut Context<'_>) -> bool {
        self.stopped = true;
        self.kept = true;
        self.start_suspended(cx);
        let routers = self.keep_routers(lease, cx);
        if self.gate.is_none() {
            return routers;
        }
        self.gate = Some(cx.now + lease);
        cx.actions.push(Action::Gate { service: self.id, open_until: self.gate });
        true
    }

    /// Stopping is over, whatever was still open.
    pub(crate) fn shut(&mut self, cx: &mut Context<'_>) {
        if self.phase != Phase::Down {
            self.enter(Phase::Down, Reason::Stop, cx);
        }
    }

    /// Has this process stood still for longer than the lease it gave itself?
    pub(crate) fn lapsed(&self, now: Time) -> bool {
        self.phase == Phase::Owner && self.gate.is_some_and(|open_until| open_until < now)
    }

    /// The state that is told.
    pub(crate) fn state(&self) -> State {
        match self.phase {
            Phase::Down | Phase::Listening | Phase::HandingOver(Next::Down) => State::Down,
            Phase::Standby | Phase::Waking | Phase::HandingOver(Next::Standby) => State::Standby,
            Phase::Ready | Phase::HandingOver(Next::Ready) => State::Ready,
            Phase::Adopting if self.config.mode == Mode::Solicited => State::Ready,
            Phase::Owner | Phase::Adopting => State::Owner,
            Phase::Drained | Phase::HandingOver(Next::Drained) => State::Drained,
        }
    }

    /// `solicited`: does this server answer?
    pub(crate) fn answers_solicitations(&self) -> bool {
        self.config.mode == Mode::Solicited && self.phase == Phase::Ready
    }

    /// Heartbeats at the owner's pace?
    pub(crate) const fn owns(&self) -> bool {
        matches!(self.phase, Phase::Owner | Phase::Adopting | Phase::HandingOver(_))
    }

    /// At the back of the queue?
    pub(crate) fn last(&self, now: Time) -> bool {
        self.woken || self.asleep() || self.penalty_until.is_some_and(|until| now < until)
    }

    /// What the next heartbeat says about this service.
    pub(crate) fn report(&mut self, now: Time, server: ServerId, link: &Link) -> Report {
        if self.owns() {
            self.successors = self.name_successors(now, link);
        }
        Report {
            address: self.config.address,
            vlan: self.config.vlan,
            state: self.state(),
            suspect: self.suspect,
            last: self.last(now),
            epoch: if self.owns() { self.reign } else { self.epoch },
            owner: if self.state() == State::Owner {
                Some(server)
            } else {
                self.owner.map(|owner| owner.server)
            },
            successors: if self.owns() { self.successors.clone() } else { Vec::new() },
            slice_left: self.slice_end.map(|end| end.since(now)),
            load: Some(self.gauge.told()),
            priority: self.config.priority,
            routers: self.claims(server),
        }
    }

    pub(crate) fn status(&self, now: Time, link: &Link) -> status::ServiceStatus {
        let state = self.state();
        let slice_left = self.slice_end.or_else(|| self.timers.at(Timer::Slice)).map(|end| end.since(now));
        status::ServiceStatus {
            service: self.id,
            address: self.config.address,
            vlan: self.config.vlan,
            link: self.config.link,
            state,
            detail: match self.phase {
                Phase::Listening => status::Detail::Listening,
                Phase::Ready if self.timers.at(Timer::Contest).is_some() => status::Detail::Contending,
                Phase::Waking => status::Detail::Waking,
                Phase::Standby | Phase::Drained if self.sleep.suspended => status::Detail::Suspended,
                Phase::Adopting => status::Detail::Adopting,
                Phase::HandingOver(_) => status::Detail::HandingOver,
                _ => status::Detail::None,
            },
            since: self.since,
            able: self.able,
            impediments: self.health.impediments(),
            checks: self.health.checks(),
            process_alive: self.health.process_alive(),
            open_until: self.gate,
            hold: self.health.held(),
            owner: match (self.owner, self.foreign) {
                _ if state == State::Owner => status::Owner::This,
                (Some(owner), _) => status::Owner::Peer(owner.server),
                (None, Some(mac)) => status::Owner::Foreign(mac),
                (None, None) => status::Owner::None,
            },
            epoch: self.epoch,
            quiet: self.quiet,
            route: self.route.as_ref().map(Cost::advertised),
            load: self.gauge.permille(),
            rate: self.gauge.rate(),
            drained: self.drained,
            penalty_until: self.penalty_until.filter(|until| now < *until),
            slice_left,
            successors: self.successors.clone(),
            routers: self.router_status(),
            peers: link.peer_status(now, self.slot),
            moves: self.moves.iter().filter(|at| now.since(**at) < MOVES_WINDOW).count(),
            transitions_total: self.transitions,
            takeovers_total: self.takeovers,
            advertisements_total: self.advertisements,
            router_advertisements_total: self.router_advertisements(),
            advertisements_deferred_total: self.deferred,
            rogue_total: self.rogue.seen,
            rogue: self.rogue.last,
        }
    }

    /// Notes who owns now; a change counts as a move, the first owner heard does not.
    pub(crate) fn moved(&mut self, now: Time, owner: status::Owner) {
        let before = std::mem::replace(&mut self.held_by, owner);
        if before == owner || before == status::Owner::None {
            return;
        }
        while self.moves.front().is_some_and(|at| now.since(*at) >= MOVES_WINDOW) {
            self.moves.pop_front();
        }
        self.moves.push_back(now);
    }

    /// Ends an adoption well: the last controller's reign goes on.
    fn adopted(&mut self, cx: &mut Context<'_>) {
        let phase = if self.config.mode == Mode::Solicited { Phase::Ready } else { Phase::Owner };
        self.enter(phase, Reason::Adopted, cx);
    }

    /// Yields, and answers on until the next owner is heard; without a candidate there is nobody to wait for.
    fn hand_over(&mut self, next: Next, reason: Reason, cx: &mut Context<'_>) {
        if self.candidates(cx) && self.config.mode != Mode::Solicited {
            self.enter(Phase::HandingOver(next), reason, cx);
            return;
        }
        if next == Next::Drained {
            cx.alarm(Alarm::LastServerDrained { service: self.id });
        }
        self.enter(next.into(), reason, cx);
    }

    /// Went down after having been up.
    fn flap(&mut self, now: Time) {
        let flaps =
            if self.last_down.is_some_and(|last| now.since(last) < FLAP_WINDOW) { self.flaps } else { 0 };
        self.flaps = flaps.saturating_add(1);
        self.last_down = Some(now);
    }
}

impl From<Next> for Phase {
    fn from(next: Next) -> Self {
        match next {
            Next::Ready => Self::Ready,
            Next::Standby => Self::Standby,
            Next::Drained => Self::Drained,
            Next::Down => Self::Down,
        }
    }
}
