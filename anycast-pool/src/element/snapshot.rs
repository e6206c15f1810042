//! What the element looks like now, for the status.

use std::time::Duration;

use super::Problem;
use crate::wire::{ElementId, PoolHandle, RegistrarId};
use crate::{LinkState, Target};

/// What a registrar knows of the element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationState {
    /// Not registered.
    None,
    /// A registration waits for its answer.
    Registering,
    /// Registered.
    Registered,
    /// A deregistration waits for its answer.
    Deregistering,
    /// Rejected; tried again later.
    Rejected,
}

impl RegistrationState {
    /// Name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Registering => "registering",
            Self::Registered => "registered",
            Self::Deregistering => "deregistering",
            Self::Rejected => "rejected",
        }
    }
}

/// The registration with one registrar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationSnapshot {
    /// Which registrar.
    pub target: Target,
    /// Its identifier, once a keep-alive said it.
    pub registrar: Option<RegistrarId>,
    /// The connection.
    pub link: LinkState,
    /// What it knows of the element.
    pub state: RegistrationState,
    /// Time until the registration is renewed.
    pub renewal: Option<Duration>,
    /// How long ago it sent a keep-alive.
    pub keep_alive: Option<Duration>,
    /// What is wrong.
    pub problem: Option<Problem>,
}

/// The element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementSnapshot {
    /// Its pool.
    pub handle: PoolHandle,
    /// Its identifier.
    pub id: ElementId,
    /// Its home.
    pub home: RegistrarId,
    /// Should it be registered?
    pub wanted: bool,
    /// Does it wait until others cannot serve?
    pub standby: bool,
    /// Its load; [`FULL_LOAD`](crate::policy::FULL_LOAD) = 100 %.
    pub load: u32,
    /// Its registrations.
    pub registrations: Vec<RegistrationSnapshot>,
    /// Registrations sent.
    pub sent: u64,
    /// Keep-alives answered.
    pub keep_alives: u64,
}
