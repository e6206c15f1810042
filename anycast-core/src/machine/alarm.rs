//! Alarms, each kind and place at most once in ten seconds.

use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use crate::Time;
use crate::event::{Action, Alarm};

const DISTANCE: Duration = Duration::from_secs(10);

/// What was raised lately.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alarms(Vec<(Discriminant<Alarm>, u16, Time)>);

impl Alarms {
    pub(crate) fn raise(&mut self, now: Time, alarm: Alarm, actions: &mut Vec<Action>) {
        let kind = discriminant(&alarm);
        let place = match alarm {
            Alarm::Rogue { service, .. }
            | Alarm::SecondFarm { service, .. }
            | Alarm::EpochJump { service, .. }
            | Alarm::HeldOpen { service }
            | Alarm::LastServerDrained { service } => service.0,
            Alarm::ForeignFarm { link, .. }
            | Alarm::Unauthentic { link, .. }
            | Alarm::BadHeartbeat { link, .. }
            | Alarm::DuplicateServer { link, .. } => link.0,
        };
        self.0.retain(|(_, _, at)| now.since(*at) < DISTANCE);
        if self.0.iter().any(|raised| (raised.0, raised.1) == (kind, place)) {
            return;
        }
        self.0.push((kind, place, now));
        actions.push(Action::Alarm(alarm));
    }
}
