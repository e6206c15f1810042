//! Hooks that stop the service in standby and start it on waking (rule 8).
//!
//! A service that was stopped on purpose fails its checks, which must not make the server `down`; and started again it must
//! not be asked before it answers. So between the two the checks say nothing, they count anew from the end of the hook that
//! started the service, and until they are up this server goes on telling that it stands by.

use std::time::Duration;

use crate::config::Mode;
use crate::event::{Action, Command, Reason, State};
use crate::machine::service::{Context, Next, Phase, STEP, Service};
use crate::machine::timer::Timer;

/// How long a server without hooks of its own gives a peer that must start its service first.
const WAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A stopped service is started when the owner's load has reached this share of the mark at which others wake, permille: by
/// the time it is able the mark itself may be reached.
const EARLY: u32 = 750;

/// What is remembered of a service that hooks stop and start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sleep {
    /// It was started at this controller's start.
    begun: bool,
    /// It was stopped and not started since.
    pub(crate) suspended: bool,
    /// Why it wakes.
    pub(crate) woken_by: Option<Reason>,
    /// Handing over, and all that could take over must start their service first.
    waits: bool,
}

impl Service {
    /// Does the service need time before it can serve?
    pub(crate) fn asleep(&self) -> bool {
        self.sleep.suspended || self.phase == Phase::Waking || (self.phase == Phase::Standby && !self.able)
    }

    /// Handing over at the end, and all that could take over must start their service first?
    pub(crate) fn waits_for_sleepers(&self) -> bool {
        self.phase == Phase::HandingOver(Next::Down) && self.sleep.waits
    }

    /// At the controller's start: who knows what the last one left, unless it left an open gate.
    pub(crate) fn start_at_first(&mut self, cx: &mut Context<'_>) {
        if !std::mem::replace(&mut self.sleep.begun, true) && self.health.is_starting() {
            cx.actions.push(Action::StartService { service: self.id });
        }
    }

    /// Standing by for the grace time: stops the service, if others serve.
    pub(crate) fn suspend(&mut self, cx: &mut Context<'_>) {
        let served = match self.config.mode {
            Mode::Solicited => self.others_answer(cx),
            _ => self.owner.is_some() || self.foreign.is_some(),
        };
        if !served || self.health.is_starting() {
            self.timers.arm(Timer::Suspend, cx.now + cx.grace.max(STEP));
            return;
        }
        self.sleep.suspended = true;
        self.health.suspend();
        self.able = self.health.able();
        // Others must know that this one cannot take over at once.
        cx.link.news();
        cx.actions.push(Action::StopService { service: self.id });
    }

    /// Out of standby, through the start of the service if it was stopped.
    pub(crate) fn leave_standby(&mut self, reason: Reason, cx: &mut Context<'_>) {
        if self.asleep() {
            self.sleep.woken_by = Some(reason.clone());
            self.enter(Phase::Waking, reason, cx);
        } else {
            self.woken = true;
            self.enter(Phase::Ready, reason, cx);
        }
    }

    /// What a change of phase means for a service that hooks stop and start.
    pub(crate) fn sleep_through(&mut self, was: Phase, cx: &mut Context<'_>) {
        let Some(timeout) = self.config.standby.and_then(|standby| standby.wake_timeout) else { return };
        match self.phase {
            // What still arrives is answered first.
            Phase::Standby if was != Phase::Standby => {
                self.timers.arm(Timer::Suspend, cx.now + cx.grace.max(STEP));
            }
            Phase::Standby | Phase::Drained => {}
            Phase::Waking => {
                self.timers.arm(Timer::Wake, cx.now + timeout);
                self.start_suspended(cx);
            }
            _ => self.start_suspended(cx),
        }
    }

    /// Starts the service if it was stopped.
    pub(crate) fn start_suspended(&mut self, cx: &mut Context<'_>) {
        if std::mem::take(&mut self.sleep.suspended) {
            self.health.start();
            self.able = false;
            cx.actions.push(Action::StartService { service: self.id });
        }
    }

    /// The hook that starts the service has ended, well or not: the checks say what came of it.
    pub(crate) fn started(&mut self, cx: &mut Context<'_>) {
        if self.health.is_starting() {
            self.health.started();
            self.health_changed(cx);
        }
    }

    /// Woken and able: takes part again.
    pub(crate) fn awake(&mut self, cx: &mut Context<'_>) {
        let reason = self.sleep.woken_by.take().unwrap_or(Reason::Able);
        if self.drained {
            self.enter(Phase::Drained, reason, cx);
        } else if reason == Reason::Command(Command::TakeOver) {
            self.take_over(reason, cx);
        } else {
            self.woken = true;
            self.enter(Phase::Ready, reason, cx);
        }
    }

    /// How long a hand-over waits for somebody to take over: longer if nobody can do so before its service is started.
    pub(crate) fn hand_over_wait(&mut self, cx: &Context<'_>) -> Duration {
        let mut reports = cx.link.reports(cx.now, self.slot);
        let awake = reports.any(|(_, known)| match known.report.state {
            State::Ready | State::Owner => true,
            State::Standby => !known.report.last,
            State::Down | State::Drained => false,
        });
        self.sleep.waits = !awake && self.candidates(cx);
        if !self.sleep.waits {
            return cx.hand_over();
        }
        let timeout = self.config.standby.and_then(|standby| standby.wake_timeout);
        cx.hand_over() + timeout.unwrap_or(WAKE_TIMEOUT)
    }

    /// From which load of the owner on, permille, this server ends its standby.
    pub(crate) fn wakes_above(&self, mark: u16) -> u16 {
        let early = u32::from(mark) * EARLY / 1000;
        if self.sleep.suspended { early.try_into().unwrap_or(mark) } else { mark }
    }
}
