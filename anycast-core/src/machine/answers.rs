//! Mode `solicited` with a random delay (rule 4): several servers answer one solicitation, and the delay keeps their answers
//! apart (RFC 4861 7.2.7: between 0 and MAX_ANYCAST_DELAY_TIME).

use std::net::Ipv6Addr;

use crate::Time;
use crate::event::Action;
use crate::machine::service::{Context, Service};
use crate::machine::timer::Timer;

/// Answers that wait; more solicitations than that within a second are left to the other servers, or to the solicitor's next.
const WAITING_MAX: usize = 256;

/// An answer that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    at: Time,
    address: Ipv6Addr,
    mac: [u8; 6],
}

impl Service {
    /// A solicitation was left to the controller.
    pub(crate) fn delayed(&mut self, address: Ipv6Addr, mac: [u8; 6], cx: &mut Context<'_>) {
        self.received(cx.now);
        let Some(delay) = self.config.answer_delay else { return };
        let waits = self.answers.iter().any(|answer| answer.address == address);
        if waits || self.answers.len() >= WAITING_MAX {
            return;
        }
        self.answers.push(Answer { at: cx.now + cx.random.up_to(delay), address, mac });
        self.arm_answers();
    }

    /// Sends the answers that are due, if this server still answers.
    pub(crate) fn answer_delayed(&mut self, cx: &mut Context<'_>) {
        let (due, waiting) =
            std::mem::take(&mut self.answers).into_iter().partition(|answer| answer.at <= cx.now);
        self.answers = waiting;
        let due: Vec<Answer> = due;
        if self.answers_solicitations() {
            for Answer { address, mac, .. } in due {
                cx.actions.push(Action::Answer { service: self.id, address, mac });
            }
        }
        self.arm_answers();
    }

    fn arm_answers(&mut self) {
        match self.answers.iter().map(|answer| answer.at).min() {
            Some(at) => self.timers.arm(Timer::Answer, at),
            None => self.timers.disarm(Timer::Answer),
        }
    }
}
