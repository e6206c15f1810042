//! Why an element is not registered, and what to change.

use crate::wire::{Cause, CauseCode};

/// Why an element is not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A registrar rejected the registration.
    #[error("the registration is rejected: {}", names(.0))]
    Rejected(Vec<CauseCode>),
    /// A registrar took it with a warning.
    #[error("registered with a warning: {}", names(.0))]
    Warning(Vec<CauseCode>),
    /// A registrar did not answer in time.
    #[error("no answer to {0} registrations")]
    Silent(u32),
    /// What a registrar sent cannot be read.
    #[error("not understood: {0}")]
    Malformed(String),
    /// The registration cannot be written.
    #[error("it cannot be written: {0}")]
    Unwritable(String),
}

impl Problem {
    pub(super) fn rejected(errors: &[Cause]) -> Self {
        Self::Rejected(codes(errors))
    }

    pub(super) fn warning(errors: &[Cause]) -> Self {
        Self::Warning(codes(errors))
    }

    /// What to change.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Rejected(causes) | Self::Warning(causes) => match causes.first() {
                Some(CauseCode::InconsistentPolicy) => {
                    "give all elements of the pool the same policy type; the pool has that of the first to register"
                }
                Some(CauseCode::InconsistentTransport) => {
                    "give all elements of the pool the same transport; the pool has that of the first to register"
                }
                Some(CauseCode::InconsistentControl) => {
                    "let all elements of the pool use the control channel, or none"
                }
                Some(CauseCode::NonUniqueElementId) => {
                    "two elements have this identifier: remove the stored one of either, a new one is drawn"
                }
                Some(CauseCode::LackOfResources) => {
                    "raise the limits of the registrar, or look for who fills it"
                }
                Some(CauseCode::Security) => {
                    "see whether the registrar wants TLS and a client certificate, and whether it may register in this pool"
                }
                Some(CauseCode::InvalidValues) => "see the pool's name, the element's address and its life",
                Some(CauseCode::UnrecognizedParameter | CauseCode::UnrecognizedMessage) => {
                    "the registrar does not know what this version sends: update it"
                }
                _ => "see the registrar's log",
            },
            Self::Silent(_) => {
                "the registrar is connected and does not answer: see whether it hangs or is overloaded"
            }
            Self::Malformed(_) => "see whether that port belongs to a registrar, and its version",
            Self::Unwritable(_) => "shorten the pool's name",
        }
    }
}

fn codes(errors: &[Cause]) -> Vec<CauseCode> {
    // RFC 5352 3.1: causes SHOULD be there, so they may not.
    if errors.is_empty() {
        vec![CauseCode::Unspecified]
    } else {
        errors.iter().map(|cause| cause.code).collect()
    }
}

fn names(causes: &[CauseCode]) -> String {
    causes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
