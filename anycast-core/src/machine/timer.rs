//! The timers of one service: one enum, one table, and one rule for which of them outlive a change of phase.

use crate::Time;
use crate::machine::service::Phase;

/// What one service waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Coming up or adopting: long enough listened for an owner.
    Listen,
    /// The lease of an adopted gate runs out.
    Adoption,
    /// The owner may be dead: its first successor asks.
    Doubt,
    /// The owner has been silent for three of its intervals.
    Silent,
    /// A foreign owner, which sends no heartbeats, has not advertised for long.
    Foreign,
    /// This server's turn to take over.
    Contest,
    /// The owner's slice is over and this server follows.
    Slice,
    /// Ready for long enough to take over from an owner of lower priority.
    Preempt,
    /// An advertisement held back by the token bucket may go.
    Announce,
    /// The advertisement of a take-over is sent again.
    Repeat,
    /// A hand-over that nobody took.
    HandOver,
    /// Standing by: what still arrived has been answered, and the service may be stopped.
    Suspend,
    /// Waking: the service should be able by now.
    Wake,
    /// The lease is to be renewed.
    Lease,
    /// An answer's random delay is over.
    Answer,
    /// Something of single routers is due.
    Routers,
    /// A route's cost is to change.
    Route,
}

impl Timer {
    const ALL: [Self; 17] = [
        Self::Listen,
        Self::Adoption,
        Self::Doubt,
        Self::Silent,
        Self::Foreign,
        Self::Contest,
        Self::Slice,
        Self::Preempt,
        Self::Announce,
        Self::Repeat,
        Self::HandOver,
        Self::Suspend,
        Self::Wake,
        Self::Lease,
        Self::Answer,
        Self::Routers,
        Self::Route,
    ];

    /// Does it mean anything in that phase? If not, entering the phase disarms it.
    const fn lives_in(self, phase: Phase) -> bool {
        match self {
            Self::Listen => matches!(phase, Phase::Listening | Phase::Adopting),
            Self::Adoption => matches!(phase, Phase::Adopting),
            Self::Silent | Self::Foreign => !matches!(phase, Phase::Owner),
            Self::Doubt | Self::Contest | Self::Slice | Self::Preempt => matches!(phase, Phase::Ready),
            Self::Announce | Self::Repeat => matches!(phase, Phase::Owner),
            Self::HandOver => matches!(phase, Phase::HandingOver(_)),
            Self::Suspend => matches!(phase, Phase::Standby),
            Self::Wake => matches!(phase, Phase::Waking),
            // Goes with the gate, not with the phase.
            Self::Lease => true,
            // Whoever may not answer any more lets it lapse.
            Self::Answer => true,
            // What is due is seen to behind every event, whatever the phase.
            Self::Routers | Self::Route => true,
        }
    }
}

/// The table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers([Option<Time>; Timer::ALL.len()]);

impl Timers {
    pub(crate) const fn arm(&mut self, timer: Timer, at: Time) {
        self.0[timer as usize] = Some(at);
    }

    pub(crate) const fn disarm(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    pub(crate) const fn at(&self, timer: Timer) -> Option<Time> {
        self.0[timer as usize]
    }

    /// Disarms what means nothing in the phase.
    pub(crate) fn enter(&mut self, phase: Phase) {
        for timer in Timer::ALL {
            if !timer.lives_in(phase) {
                self.disarm(timer);
            }
        }
    }

    /// The earliest.
    pub(crate) fn earliest(&self) -> Option<Time> {
        self.0.iter().flatten().min().copied()
    }

    /// Disarms and returns the earliest timer that is due, if one is.
    pub(crate) fn expire(&mut self, now: Time) -> Option<Timer> {
        let due = Timer::ALL.into_iter().filter_map(|timer| Some((self.at(timer)?, timer)));
        let (_, timer) = due.filter(|(at, _)| *at <= now).min_by_key(|(at, _)| *at)?;
        self.disarm(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_expire_earliest_first_and_once() {
        let mut timers = Timers::default();
        timers.arm(Timer::Lease, Time::from_nanos(5));
        timers.arm(Timer::Silent, Time::from_nanos(3));
        assert_eq!(timers.earliest(), Some(Time::from_nanos(3)));
        assert_eq!(timers.expire(Time::from_nanos(2)), None);
        assert_eq!(timers.expire(Time::from_nanos(9)), Some(Timer::Silent));
        assert_eq!(timers.expire(Time::from_nanos(9)), Some(Timer::Lease));
        assert_eq!(timers.expire(Time::from_nanos(9)), None);
    }

    #[test]
    fn entering_a_phase_keeps_only_its_timers() {
        let mut timers = Timers::default();
        for timer in Timer::ALL {
            timers.arm(timer, Time::ZERO);
        }
        timers.enter(Phase::Owner);
        let left = Timer::ALL.into_iter().filter(|timer| timers.at(*timer).is_some()).collect::<Vec<_>>();
        let expected =
            [Timer::Announce, Timer::Repeat, Timer::Lease, Timer::Answer, Timer::Routers, Timer::Route];
        assert_eq!(left, expected);
    }
}
