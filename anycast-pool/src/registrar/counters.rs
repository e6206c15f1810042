//! What happened, counted by kind.

use super::CloseReason;
use crate::wire::{CauseCode, MalformedReason, MessageType};

/// Why a message that can be read is not acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// It is not for a registrar, or not from whom it comes: cookies, business cards, answers.
    NotForRegistrar,
    /// More resolutions than the connection may make.
    ResolutionRate,
    /// More registrations than the connection may make; they are rejected.
    RegistrationRate,
    /// More reports than the connection may make.
    ReportRate,
    /// An error that would have been sent, but too many were.
    ErrorRate,
    /// A report on an element that there is not.
    ReportUnknown,
    /// A report on an element that is down already.
    ReportDown,
    /// A keep-alive is not sent for a report, because one was sent just before, or too many are sent.
    ReportSpacing,
    /// An answer to a keep-alive from who is not the element.
    AckNotOwner,
    /// Notices suppressed.
    NoticeRate,
    /// Something for a connection that there is not.
    NoConnection,
}

impl DropReason {
    /// All of them, in order.
    pub const ALL: [Self; 11] = [
        Self::NotForRegistrar,
        Self::ResolutionRate,
        Self::RegistrationRate,
        Self::ReportRate,
        Self::ErrorRate,
        Self::ReportUnknown,
        Self::ReportDown,
        Self::ReportSpacing,
        Self::AckNotOwner,
        Self::NoticeRate,
        Self::NoConnection,
    ];

    /// Name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotForRegistrar => "not_for_registrar",
            Self::ResolutionRate => "resolution_rate",
            Self::RegistrationRate => "registration_rate",
            Self::ReportRate => "report_rate",
            Self::ErrorRate => "error_rate",
            Self::ReportUnknown => "report_unknown",
            Self::ReportDown => "report_down",
            Self::ReportSpacing => "report_spacing",
            Self::AckNotOwner => "ack_not_owner",
            Self::NoticeRate => "notice_rate",
            Self::NoConnection => "no_connection",
        }
    }
}

/// Codes of causes that are counted apart: those of RFC 5354 3.12.
const CAUSES: usize = 11;

/// All counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    received: [u64; MessageType::ALL.len()],
    sent: [u64; MessageType::ALL.len()],
    malformed: [u64; MalformedReason::ALL.len()],
    dropped: [u64; DropReason::ALL.len()],
    closed: [u64; CloseReason::ALL.len()],
    refused: [u64; CAUSES],
    /// Streams that cannot be cut into messages.
    pub framing: u64,
    /// Pools pushed to their subscribers.
    pub pushes: u64,
    /// Changes that went out with an earlier or later one.
    pub coalesced: u64,
    /// Pushes that a newer one replaced, because the connection took nothing.
    pub held: u64,
    /// Answers that no pool has the handle.
    pub unknown_handles: u64,
    /// Subscriptions not accepted, because there are too many.
    pub subscriptions_refused: u64,
    /// Keep-alives without answer in time.
    pub keep_alive_timeouts: u64,
    /// Registrations whose life ended.
    pub expired: u64,
}

impl Counters {
    /// Messages received and read.
    pub const fn received(&self, kind: MessageType) -> u64 {
        self.received[kind as usize]
    }

    /// Messages sent.
    pub const fn sent(&self, kind: MessageType) -> u64 {
        self.sent[kind as usize]
    }

    /// Messages that could not be read.
    pub const fn malformed(&self, reason: MalformedReason) -> u64 {
        self.malformed[reason as usize]
    }

    /// Messages that were read and not acted upon.
    pub const fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Connections closed from here.
    pub const fn closed(&self, reason: CloseReason) -> u64 {
        self.closed[reason as usize]
    }

    /// Registrations and deregistrations refused.
    pub const fn refused(&self, cause: CauseCode) -> u64 {
        let code = cause.code() as usize;
        if code < CAUSES { self.refused[code] } else { 0 }
    }

    pub(super) const fn count_received(&mut self, kind: MessageType) {
        self.received[kind as usize] += 1;
    }

    pub(super) const fn count_sent(&mut self, kind: MessageType) {
        self.sent[kind as usize] += 1;
    }

    pub(super) const fn count_malformed(&mut self, reason: MalformedReason) {
        self.malformed[reason as usize] += 1;
    }

    pub(super) const fn count_dropped(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }

    pub(super) const fn count_closed(&mut self, reason: CloseReason) {
        self.closed[reason as usize] += 1;
    }

    pub(super) const fn count_refused(&mut self, cause: CauseCode) {
        let code = cause.code() as usize;
        if code < CAUSES {
            self.refused[code] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_its_place_and_name() {
        assert!(DropReason::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
        assert!(CloseReason::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
        assert!(MalformedReason::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
        assert!(MessageType::ALL.iter().enumerate().all(|(at, kind)| *kind as usize == at));
        let names = DropReason::ALL.map(DropReason::name).into_iter().collect::<BTreeSet<_>>();
        assert_eq!(names.len(), DropReason::ALL.len());
    }
}
