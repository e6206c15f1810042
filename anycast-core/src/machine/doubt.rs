//! Before an owner is missed (rule 9): the first successor asks whether it lives while its next heartbeat may still come,
//! so that the answer, or the want of one, is there when three heartbeats are over.

use crate::Time;
use crate::config::ServerId;
use crate::machine::service::{Context, STEP, Service};
use crate::machine::timer::Timer;

/// How often it asks. On a link that loses one frame in a hundred a question or its answer is lost one time in fifty: three
/// go without an answer eight times in a million.
const QUESTIONS: u32 = 3;

/// What the first successor has asked since it last heard the owner.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Doubt {
    asked: u32,
    /// When the timer was to expire: one that is late says that this process stood still.
    due: Time,
    /// When the last question has had its time.
    until: Option<Time>,
}

impl Service {
    /// The owner was heard: it is doubted when two of its intervals and a quarter are over and nothing was heard again.
    pub(crate) fn trust(&mut self, cx: &Context<'_>) {
        self.dispel();
        let peer = self.owner.and_then(|owner| cx.link.peer(owner.server));
        if let Some(peer) = peer.filter(|_| self.successors.contains(&cx.server)) {
            self.doubt.due = peer.heard + peer.interval * 9 / 4;
            self.timers.arm(Timer::Doubt, self.doubt.due);
        }
    }

    /// No more doubt, or no longer by questions.
    pub(crate) fn dispel(&mut self) {
        self.doubt = Doubt::default();
        self.suspect = false;
        self.timers.disarm(Timer::Doubt);
    }

    /// The owner's second heartbeat is late: asks, a quarter of an interval apart, and contests the address when nobody has
    /// answered the last question in that time.
    pub(crate) fn doubted(&mut self, cx: &mut Context<'_>) {
        let Some(owner) = self.owner.map(|owner| owner.server) else { return };
        let Some((heard, interval)) = cx.link.peer(owner).map(|peer| (peer.heard, peer.interval)) else {
            return;
        };
        // Whoever is not the first waits until the owner is missed, and then for its turn.
        if self.rank(Some(owner), cx).0 > 0 {
            return self.dispel();
        }
        // Time for a busy machine to answer, however short the interval is.
        let pace = (interval / 4).max(STEP / 2);
        // The answer to the last question may wait in the socket.
        let late = cx.now >= self.doubt.due + STEP / 2;
        if self.doubt.asked < QUESTIONS || late {
            let planned = heard + interval * 9 / 4 + pace * (self.doubt.asked + 1);
            self.doubt.asked = (self.doubt.asked + 1).min(QUESTIONS);
            self.doubt.due = planned.max(cx.now + STEP / 2);
            self.doubt.until = Some(self.doubt.due + pace * (QUESTIONS - self.doubt.asked));
            self.timers.arm(Timer::Doubt, self.doubt.due);
            self.suspect = true;
            cx.link.urgent = true;
        } else if self.cut_off(heard, owner, cx) {
            // The others may just have had nothing to say: they will when they miss the owner too.
            self.dispel();
        } else {
            self.owner_silent(cx);
        }
    }

    /// Until when the questions asked so far are to be answered; a contest begins, and doubt ends.
    pub(crate) fn questioned(&mut self) -> Option<Time> {
        self.timers.disarm(Timer::Doubt);
        std::mem::take(&mut self.doubt).until
    }

    /// Has this server heard nobody since the silent owner missed a heartbeat, though there are others to hear? Before that
    /// both may have gone unheard together.
    pub(crate) fn cut_off(&self, silence: Time, owner: ServerId, cx: &Context<'_>) -> bool {
        let heard = cx.link.heard.is_some_and(|heard| heard >= silence + cx.dead_interval() * 2 / 3);
        !heard && cx.link.expects(cx.now, owner)
    }
}
