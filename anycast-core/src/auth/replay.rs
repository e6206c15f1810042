//! Is an authentic message new? What each sender is known to have sent, and the question to a sender of whom nothing is known.
//!
//! A sender that has been heard is held to numbers that only grow. Of one that has not (this server has just started, or the
//! sender has, or it was silent for long) a recording cannot be told from the sender itself, so it must repeat a sequence
//! number of this server that is higher than any sent before the question arose. Whoever recorded its messages did so before
//! that number existed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::Time;
use crate::auth::Verdict;
use crate::auth::trailer::{HEARD_MAX, Heard, Trailer};
use crate::config::ServerId;

/// Senders remembered. Only the holder of a key can add one, and none is ever forgotten: a number that was forgotten could be
/// used again.
const SENDERS_MAX: usize = 4096;

/// A sender silent for this long must show again that it is new.
const SILENCE: Duration = Duration::from_secs(60);

/// This long after an unproven message this server asks to be heard.
const ASKING: Duration = Duration::from_secs(3);

/// An advertisement may be this many numbers behind the sender's newest heartbeat: both ways take their own time.
const WINDOW: u64 = 256;

/// A frame that arrives twice within this time was doubled by the link.
const DOUBLE: Duration = Duration::from_millis(200);

/// This server, as its peers know it.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Its id.
    pub server: ServerId,
    /// Its incarnation.
    pub incarnation: u64,
    /// The sequence number it used last.
    pub sequence: u64,
}

/// The numbers of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// Its sender.
    pub server: ServerId,
    /// The sender's incarnation.
    pub incarnation: u64,
    /// Its number in that incarnation.
    pub sequence: u64,
}

/// What one sender is known to have sent.
#[derive(Clone, Copy, Debug)]
struct Sender {
    incarnation: u64,
    /// Highest number of a heartbeat.
    sequence: u64,
    /// Highest number of an advertisement, and when it came.
    advertised: Option<(u64, Time)>,
    /// It has shown that its messages of this incarnation are new.
    proven: bool,
    /// Until then: it must repeat a number of this server greater than this one.
    question: u64,
    heard: Time,
    /// It waits to be told that it is heard.
    queued: bool,
}

/// All senders of a link.
#[derive(Clone, Debug, Default)]
pub struct Senders {
    known: BTreeMap<ServerId, Sender>,
    /// Who is to be told that it is heard, in the order in which they asked.
    queue: VecDeque<ServerId>,
    /// When an unproven message last came.
    unproven: Option<Time>,
}

impl Senders {
    /// Judges an authentic heartbeat and notes it.
    pub fn judge(&mut self, now: Time, own: Identity, message: Numbers, trailer: &Trailer) -> Verdict {
        let full = self.known.len() >= SENDERS_MAX;
        let sender = match self.known.get_mut(&message.server) {
            Some(sender) => sender,
            None if full => return Verdict::Unproven,
            None => self.known.entry(message.server).or_insert(Sender {
                incarnation: message.incarnation,
                sequence: 0,
                advertised: None,
                proven: false,
                question: own.sequence,
                heard: now,
                queued: false,
            }),
        };
        if message.incarnation > sender.incarnation {
            *sender = Sender {
                incarnation: message.incarnation,
                sequence: 0,
                advertised: None,
                proven: false,
                question: own.sequence,
                ..*sender
            };
        } else if message.incarnation < sender.incarnation || message.sequence <= sender.sequence {
            return Verdict::Replayed;
        }
        if sender.proven && now.since(sender.heard) > SILENCE {
            sender.proven = false;
            sender.question = own.sequence;
        }
        sender.sequence = message.sequence;
        sender.heard = now;
        if trailer.asks && !sender.queued {
            sender.queued = true;
            self.queue.push_back(message.server);
        }
        sender.proven |= trailer.heard.iter().any(|heard| {
            (heard.server, heard.incarnation) == (own.server, own.incarnation)
                && heard.sequence > sender.question
                && heard.sequence <= own.sequence
        });
        if sender.proven {
            return Verdict::Verified;
        }
        self.unproven = Some(now);
        Verdict::Unproven
    }

    /// Judges an authentic advertisement and notes it. Its sender must be known from heartbeats.
    pub fn judge_advertisement(&mut self, now: Time, message: Numbers) -> Verdict {
        let Some(sender) = self.known.get_mut(&message.server) else { return Verdict::Unproven };
        if message.incarnation < sender.incarnation {
            return Verdict::Replayed;
        }
        if message.incarnation > sender.incarnation || !sender.proven {
            return Verdict::Unproven;
        }
        match sender.advertised {
            Some((last, at)) if message.sequence == last && now.since(at) < DOUBLE => Verdict::Verified,
            Some((last, _)) if message.sequence <= last => Verdict::Replayed,
            _ if message.sequence.saturating_add(WINDOW) < sender.sequence => Verdict::Replayed,
            _ => {
                sender.advertised = Some((message.sequence, now));
                Verdict::Verified
            }
        }
    }

    /// What the next heartbeat says: whether this server asks, and whom of those that asked it has heard.
    pub fn trailer(&mut self, now: Time) -> Trailer {
        let mut heard = Vec::new();
        while heard.len() < HEARD_MAX
            && let Some(server) = self.queue.pop_front()
        {
            if let Some(sender) = self.known.get_mut(&server) {
                sender.queued = false;
                let Sender { incarnation, sequence, .. } = *sender;
                heard.push(Heard { server, incarnation, sequence });
            }
        }
        Trailer { asks: self.unproven.is_some_and(|at| now.since(at) < ASKING), heard }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Identity = Identity { server: ServerId(1), incarnation: 9, sequence: 100 };

    fn at(ms: u64) -> Time {
        Time::ZERO + Duration::from_millis(ms)
    }

    fn numbers(incarnation: u64, sequence: u64) -> Numbers {
        Numbers { server: ServerId(2), incarnation, sequence }
    }

    fn heard(incarnation: u64, sequence: u64) -> Trailer {
        Trailer { asks: false, heard: vec![Heard { server: OWN.server, incarnation, sequence }] }
    }

    fn none() -> Trailer {
        Trailer::default()
    }

    /// A table in which server 2 is proven at (5, 11).
    fn proven() -> Senders {
        let mut senders = Senders::default();
        assert_eq!(senders.judge(at(0), OWN, numbers(5, 10), &none()), Verdict::Unproven);
        let own = Identity { sequence: 101, ..OWN };
        assert_eq!(senders.judge(at(1), own, numbers(5, 11), &heard(9, 101)), Verdict::Verified);
        senders
    }

    #[test]
    fn a_sender_proves_itself_by_repeating_a_number_sent_after_the_question() {
        for (trailer, verdict) in [
            (none(), Verdict::Unproven),
            (heard(8, 101), Verdict::Unproven),
            (heard(9, 100), Verdict::Unproven),
            (heard(9, 102), Verdict::Unproven),
            (heard(9, 101), Verdict::Verified),
        ] {
            let mut senders = Senders::default();
            senders.judge(at(0), OWN, numbers(5, 10), &none());
            let own = Identity { sequence: 101, ..OWN };
            assert_eq!(senders.judge(at(1), own, numbers(5, 11), &trailer), verdict, "{trailer:?}");
        }
    }

    #[test]
    fn once_proven_numbers_must_grow() {
        let mut senders = proven();
        assert_eq!(senders.judge(at(2), OWN, numbers(5, 11), &none()), Verdict::Replayed, "again");
        assert_eq!(senders.judge(at(2), OWN, numbers(5, 10), &none()), Verdict::Replayed, "older");
        assert_eq!(
            senders.judge(at(2), OWN, numbers(4, 99), &heard(9, 100)),
            Verdict::Replayed,
            "an earlier start"
        );
        assert_eq!(senders.judge(at(2), OWN, numbers(5, 12), &none()), Verdict::Verified);
    }

    #[test]
    fn a_new_start_and_a_long_silence_must_prove_themselves_again() {
        let mut senders = proven();
        assert_eq!(senders.judge(at(2), OWN, numbers(6, 1), &heard(9, 100)), Verdict::Unproven, "recorded");
        let own = Identity { sequence: 102, ..OWN };
        assert_eq!(senders.judge(at(3), own, numbers(6, 2), &heard(9, 102)), Verdict::Verified);
        assert_eq!(senders.judge(at(4), own, numbers(5, 99), &none()), Verdict::Replayed);

        let mut senders = proven();
        assert_eq!(senders.judge(at(60_001), OWN, numbers(5, 12), &none()), Verdict::Verified, "one minute");
        assert_eq!(senders.judge(at(120_002), OWN, numbers(5, 13), &heard(9, 100)), Verdict::Unproven);
    }

    #[test]
    fn who_asks_is_told_in_order_and_few_at_a_time() {
        let mut senders = Senders::default();
        for server in 2..30 {
            let message = Numbers { server: ServerId(server), incarnation: server, sequence: 1 };
            senders.judge(at(0), OWN, message, &Trailer { asks: true, heard: Vec::new() });
        }
        let first = senders.trailer(at(1));
        assert!(first.asks, "nobody is proven");
        assert!(first.heard.iter().map(|heard| heard.server.0).eq(2..18));
        assert!(senders.trailer(at(2)).heard.iter().map(|heard| heard.server.0).eq(18..30));
        assert_eq!(senders.trailer(at(3_001)), Trailer::default());
    }

    #[test]
    fn advertisements_have_numbers_of_their_own() {
        let mut senders = Senders::default();
        assert_eq!(senders.judge_advertisement(at(0), numbers(5, 12)), Verdict::Unproven, "unknown");
        let mut senders = proven();
        assert_eq!(senders.judge_advertisement(at(2), numbers(6, 1)), Verdict::Unproven);
        assert_eq!(senders.judge_advertisement(at(2), numbers(4, 13)), Verdict::Replayed);
        assert_eq!(senders.judge_advertisement(at(2), numbers(5, 12)), Verdict::Verified);
        assert_eq!(senders.judge(at(2), OWN, numbers(5, 12), &none()), Verdict::Verified, "not each other's");
        assert_eq!(
            senders.judge_advertisement(at(3), numbers(5, 12)),
            Verdict::Verified,
            "doubled by the link"
        );
        assert_eq!(senders.judge_advertisement(at(300), numbers(5, 12)), Verdict::Replayed);
        assert_eq!(senders.judge_advertisement(at(300), numbers(5, 11)), Verdict::Replayed);
        senders.judge(at(301), OWN, numbers(5, 1_000), &none());
        assert_eq!(senders.judge_advertisement(at(301), numbers(5, 743)), Verdict::Replayed, "long ago");
        assert_eq!(senders.judge_advertisement(at(301), numbers(5, 744)), Verdict::Verified);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut senders = Senders::default();
        for server in 0..SENDERS_MAX as u64 + 10 {
            let message = Numbers { server: ServerId(server + 2), incarnation: 1, sequence: 1 };
            senders.judge(at(0), OWN, message, &none());
        }
        assert_eq!(senders.known.len(), SENDERS_MAX);
    }
}
