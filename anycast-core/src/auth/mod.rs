//! Authentication of what the servers of a farm tell each other: keys, HMAC-SHA256, and the proof that a message is new.
//!
//! ```text
//!   heartbeat ──▶ trailer::verify ──▶ replay::Senders::judge ──▶ obeyed, or counted under its reason
//!   option 253 ─▶ option::verify  ──▶ replay::Senders::judge_advertisement ─┘
//! ```
//!
//! Nothing here trusts a clock. A sender numbers its starts (its **incarnation**, kept over restarts) and what it sends in
//! each; a receiver that does not know a sender's incarnation yet asks it to repeat a number that the receiver has just sent.
//! `docs/heartbeat.md` has the argument.

pub mod key;
pub mod replay;
pub mod trailer;

use std::fmt;

pub use key::{KeyFileError, KeyId, KeyRing};

/// How far authentication is switched on. A farm goes from one to the next, all servers before the next step, and loses no
/// heartbeat on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Sign nothing, verify and count what is signed, obey everything: the step at which all servers get the key.
    ReceiveOnly,
    /// Sign; obey what is not signed, refuse what is signed wrongly: the step at which all servers begin to sign.
    Permissive,
    /// Sign; obey only what is signed with a key of the ring and proven to be new.
    Enforce,
}

impl Mode {
    /// The word in the configuration and in status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReceiveOnly => "receive-only",
            Self::Permissive => "permissive",
            Self::Enforce => "enforce",
        }
    }

    /// Is what this server sends signed?
    pub const fn signs(self) -> bool {
        !matches!(self, Self::ReceiveOnly)
    }

    /// Is a message with this verdict obeyed?
    pub const fn obeys(self, verdict: Verdict) -> bool {
        match (self, verdict) {
            (_, Verdict::Verified) => true,
            // Old is old: without authentication such a message is refused too.
            (_, Verdict::Replayed) => false,
            (Self::ReceiveOnly, _) => true,
            (Self::Permissive, Verdict::Unsigned | Verdict::Unproven) => true,
            (Self::Permissive | Self::Enforce, _) => false,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Authentication as one server is told to do it.
#[derive(Clone, Debug)]
pub struct Authentication {
    /// The keys; the first signs.
    pub keys: KeyRing,
    /// How far it is switched on.
    pub mode: Mode,
    /// Number of this start: greater than that of every start before, over restarts and reboots. Not from a clock alone, which
    /// may be set back.
    pub incarnation: u64,
}

/// What a message's authentication came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Signed with a key of the ring, and new.
    Verified,
    /// Not signed.
    Unsigned,
    /// The element or option of the signature cannot be read.
    Malformed,
    /// Signed with a key that is not in the ring.
    UnknownKey,
    /// The signature does not fit: another key under this number, or other octets.
    BadSignature,
    /// Signed well, and not newer than what this sender is known to have sent.
    Replayed,
    /// Signed well, but nothing shows yet that it was not recorded before this server listened. It is asked for.
    Unproven,
}

impl Verdict {
    /// All verdicts.
    pub const ALL: [Self; 7] = [
        Self::Verified,
        Self::Unsigned,
        Self::Malformed,
        Self::UnknownKey,
        Self::BadSignature,
        Self::Replayed,
        Self::Unproven,
    ];

    /// The word in status and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Unsigned => "unsigned",
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::Replayed => "replayed",
            Self::Unproven => "unproven",
        }
    }

    /// Signed by somebody who has another key: a second farm, or a wrong key.
    pub const fn is_foreign(self) -> bool {
        matches!(self, Self::UnknownKey | Self::BadSignature)
    }
}

/// How often each verdict was reached, obeyed or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdicts([u64; Verdict::ALL.len()]);

impl Verdicts {
    /// Counts one.
    pub const fn count(&mut self, verdict: Verdict) {
        self.0[verdict as usize] += 1;
    }

    /// How often this one.
    pub const fn of(&self, verdict: Verdict) -> u64 {
        self.0[verdict as usize]
    }

    /// Each verdict with its number.
    pub fn iter(&self) -> impl Iterator<Item = (Verdict, u64)> + '_ {
        Verdict::ALL.into_iter().map(|verdict| (verdict, self.of(verdict)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enforce_obeys_only_what_is_verified_and_each_step_before_it_more() {
        for verdict in Verdict::ALL {
            assert_eq!(Mode::Enforce.obeys(verdict), verdict == Verdict::Verified, "{verdict:?}");
            assert!(Mode::Permissive.obeys(verdict) || !Mode::Enforce.obeys(verdict));
            assert!(Mode::ReceiveOnly.obeys(verdict) || !Mode::Permissive.obeys(verdict));
        }
        assert!(Mode::Permissive.obeys(Verdict::Unsigned) && !Mode::Permissive.obeys(Verdict::BadSignature));
        assert!(
            Mode::ReceiveOnly.obeys(Verdict::BadSignature) && !Mode::ReceiveOnly.obeys(Verdict::Replayed)
        );
    }

    #[test]
    fn verdicts_are_numbered_in_order() {
        let mut verdicts = Verdicts::default();
        for (number, verdict) in Verdict::ALL.into_iter().enumerate() {
            assert_eq!(verdict as usize, number);
            (0..=number).for_each(|_| verdicts.count(verdict));
        }
        assert!(verdicts.iter().map(|(_, count)| count).eq(1..=7));
    }
}
