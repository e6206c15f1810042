//! When to advertise: on take-over and twice more, in defence, after a change of MAC; never faster than the bucket allows,
//! and not at all while few queries come.

use crate::config::{Mode, ServerId};
use crate::event::{Action, Alarm, Cause, Reason};
use crate::machine::bucket::PERIOD;
use crate::machine::service::{Context, Input, Phase, Reading, STEP, Service};
use crate::machine::timer::Timer;

/// Advertisements after the first one of a take-over (RFC 4861 7.2.6: up to MAX_NEIGHBOR_ADVERTISEMENT = 3 in all).
const REPEATS: u8 = 2;

/// Who sent an advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// A server of this farm, by a signed option.
    Peer {
        /// Which.
        server: ServerId,
        /// Its epoch.
        epoch: u64,
    },
    /// Nothing is proven, or need be: its MAC address decides.
    Mac,
    /// Somebody who should have proven that he is a peer, and has not.
    Rogue,
    /// Nobody who matters to the services.
    Nobody,
}

impl Service {
    /// Advertises, now or when the bucket allows. Advertisements that wait merge into one.
    pub(crate) fn announce(&mut self, cause: Cause, cx: &mut Context<'_>) {
        if self.phase != Phase::Owner || self.config.mode == Mode::Solicited {
            return;
        }
        if self.bucket.take(cx.now) {
            self.pending = None;
            self.timers.disarm(Timer::Announce);
            self.advertisements += 1;
            cx.actions.push(Action::Advertise { service: self.id, cause });
        } else {
            self.deferred += u64::from(self.pending.is_none());
            self.pending = Some(cause);
            self.timers.arm(Timer::Announce, self.bucket.next());
        }
    }

    /// The advertisements of a new owner.
    pub(crate) fn begin_advertising(&mut self, cx: &mut Context<'_>) {
        self.announce(Cause::TakeOver, cx);
        self.repeats = REPEATS;
        self.timers.arm(Timer::Repeat, cx.now + PERIOD);
    }

    /// Again, if it still owns: which it does, or the timer would have been disarmed.
    pub(crate) fn repeat(&mut self, cx: &mut Context<'_>) {
        let Some(left) = self.repeats.checked_sub(1) else { return };
        if self.is_being_relieved(cx) {
            // Behind the successor's own this advertisement would take the routers back, and leave them here for its slice.
            self.timers.arm(Timer::Repeat, cx.now + PERIOD);
            return;
        }
        self.repeats = left;
        self.announce(Cause::Repeat, cx);
        if left > 0 {
            self.timers.arm(Timer::Repeat, cx.now + PERIOD);
        }
    }

    /// Around the end of the slice: the successor takes over, and this server may not yet have heard it.
    fn is_being_relieved(&self, cx: &Context<'_>) -> bool {
        self.candidates(cx)
            && self
                .slice_end
                .is_some_and(|end| cx.now + STEP >= end && cx.now.since(end) < cx.dead_interval())
    }

    /// The link's MAC address changed: routers' entries point nowhere.
    pub(crate) fn mac_changed(&mut self, cx: &mut Context<'_>) {
        self.defend_routers(Cause::MacChanged, cx.now);
        if self.phase == Phase::Owner && self.config.mode != Mode::Solicited {
            self.announce(Cause::MacChanged, cx);
            self.repeats = REPEATS;
            self.timers.arm(Timer::Repeat, cx.now + PERIOD);
        }
    }

    /// Another server advertises the address, or somebody who says so.
    pub(crate) fn peer_advertisement(
        &mut self,
        by: By,
        mac: [u8; 6],
        override_flag: bool,
        cx: &mut Context<'_>,
    ) {
        let foreign = self.config.foreign.contains(&mac);
        let peer = match by {
            By::Nobody => return,
            By::Rogue => return self.rogue(mac, override_flag, cx),
            By::Peer { server, epoch } => {
                self.note_epoch(server, epoch, cx);
                true
            }
            By::Mac => cx.link.peer_of(mac).is_some(),
        };
        self.received(cx.now);
        if self.config.mode == Mode::Solicited && !foreign {
            if !peer {
                self.rogue(mac, override_flag, cx);
            }
            return;
        }
        if peer {
            // It thinks that it owns, and its heartbeat will say so or was lost. Give way in what this server was about
            // to send, and tell it who owns. In a contest once: a stream of them must not put it off for ever.
            if override_flag {
                self.defend_routers(Cause::Defence, cx.now);
                if self.timers.at(Timer::Contest).is_some() && !std::mem::replace(&mut self.put_off, true) {
                    self.timers.arm(Timer::Contest, cx.now + cx.dead_interval());
                }
                if self.suspect && self.owner.is_some() {
                    self.dispel();
                }
                if self.timers.at(Timer::Repeat).is_some() {
                    self.timers.arm(Timer::Repeat, cx.now + PERIOD);
                }
                if self.phase == Phase::Owner {
                    cx.link.answer(cx.now, STEP);
                }
            }
        } else if foreign {
            // With O=0 no router's entry moved.
            if override_flag && self.config.mode != Mode::Solicited {
                self.step(Input::ForeignHeard(mac), cx);
            }
        } else {
            self.rogue(mac, override_flag, cx);
        }
    }

    /// Nobody's peer: counted, shown, and countered with growing distance if it moved routers' entries.
    fn rogue(&mut self, mac: [u8; 6], override_flag: bool, cx: &mut Context<'_>) {
        self.rogue.note(mac);
        cx.alarm(Alarm::Rogue { service: self.id, mac });
        let owns = self.phase == Phase::Owner || self.owns_routers();
        if override_flag && owns && self.rogue.counter(cx.now) {
            self.defend_routers(Cause::Defence, cx.now);
            self.announce(Cause::Defence, cx);
        }
    }

    /// A reading of the counters: feeds the standby rule and its end.
    pub(crate) fn counters(&mut self, queries: u64, solicitations: u64, cx: &mut Context<'_>) {
        let reading = Reading { at: cx.now, queries, solicitations };
        // The first reading is only where counting begins.
        let Some(before) = self.reading.replace(reading) else { return };
        // A smaller value: the counters were reset, and what they show came since.
        let since = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        let new_queries = since(queries, before.queries);
        let new_solicitations = since(solicitations, before.solicitations);
        if new_queries > 0 || new_solicitations > 0 {
            self.received(cx.now);
        }
        let elapsed = cx.now.since(before.at.max(self.since));
        self.gauge.add(cx.now, elapsed, new_queries);
        self.judge(cx);
        let answers =
            self.phase == Phase::Owner || (self.phase == Phase::Ready && self.config.mode == Mode::Solicited);
        let stands_by = self.phase == Phase::Standby;
        let Some(meter) = self.meter.as_mut().filter(|_| answers || stands_by) else {
            if stands_by && new_solicitations > 0 {
                self.step(Input::Woken(Reason::Solicitation), cx);
            }
            return;
        };
        meter.add(elapsed, new_queries);
        let (few, enough) = (meter.few(), meter.enough());
        if self.quiet || stands_by {
            if new_solicitations > 0 {
                self.step(Input::Woken(Reason::Solicitation), cx);
            } else if enough {
                self.step(Input::Woken(Reason::Queries), cx);
            }
        } else if few {
            self.step(Input::FewQueries, cx);
        }
    }

    /// The last able server stops advertising; its gate stays open.
    pub(crate) fn fall_quiet(&mut self, reason: Reason, cx: &mut Context<'_>) {
        if self.quiet || self.phase != Phase::Owner {
            return;
        }
        self.quiet = true;
        self.pending = None;
        self.repeats = 0;
        self.timers.disarm(Timer::Announce);
        self.timers.disarm(Timer::Repeat);
        if let Some(meter) = &mut self.meter {
            meter.reset();
        }
        cx.actions.push(Action::Quiet { service: self.id, quiet: true, reason });
    }

    /// Advertises again after quiet.
    pub(crate) fn wake(&mut self, reason: Reason, cx: &mut Context<'_>) {
        if !std::mem::take(&mut self.quiet) {
            return;
        }
        if let Some(meter) = &mut self.meter {
            meter.reset();
        }
        cx.actions.push(Action::Quiet { service: self.id, quiet: false, reason });
        self.announce(Cause::Wake, cx);
    }
}
