//! Which element to use: the vector's best group, and in it the pool's policy.

use std::time::Duration;

use super::pool::Pool;
use crate::Time;
use crate::vector::{Group, Tier, Witness};
use crate::wire::{ElementId, State, Transport};

/// An element to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Which. Say how it went by [`Input::Succeeded`](super::Input::Succeeded) or [`Input::Failed`](super::Input::Failed).
    pub id: ElementId,
    /// Where it serves.
    pub transport: Transport,
    /// How good its prospects are.
    pub tier: Tier,
    /// Is it up, as far as is known?
    pub state: State,
    /// How long ago it was seen so.
    pub age: Option<Duration>,
}

impl Pool {
    /// The element to use now; none of those in `exclude`.
    pub fn pick(&mut self, now: Time, exclude: &[ElementId]) -> Option<Pick> {
        let id = self.trial(now, exclude).or_else(|| self.best(now, exclude))?;
        let (known, status) = (self.elements.get_mut(&id)?, self.vector.get(id)?);
        known.picked += 1;
        let tier = self.vector.group(now, id)?.tier;
        let transport = known.element.user_transport.clone();
        Some(Pick { id, transport, tier, state: status.state, age: status.age(now) })
    }

    fn best(&mut self, now: Time, exclude: &[ElementId]) -> Option<ElementId> {
        let groups =
            self.vector.iter().filter(|(id, _)| self.elements.contains_key(id) && !exclude.contains(id));
        let mut groups: Vec<(ElementId, Group)> =
            groups.filter_map(|(id, _)| Some((id, self.vector.group(now, id)?))).collect();
        while let Some(best) = groups.iter().map(|(_, group)| *group).min() {
            // By identifier, as the vector has them.
            let member = |id: ElementId| {
                groups.binary_search_by_key(&id, |(id, _)| *id).is_ok_and(|at| groups[at].1 == best)
            };
            if let Some(id) = self.selector.select_where(1, member).first() {
                return Some(*id);
            }
            // A group whose elements all have weight 0.
            groups.retain(|(_, group)| *group != best);
        }
        None
    }

    /// Without a registrar nobody says when a failed element is back, so it is tried once in each hold-down.
    fn trial(&mut self, now: Time, exclude: &[ElementId]) -> Option<ElementId> {
        if self.is_heard() {
            return None;
        }
        let failed = self.vector.iter().filter(|(id, status)| {
            status.state == State::Down
                && status.witness == Witness::Own
                && !status.is_held(now)
                && self.elements.contains_key(id)
                && !exclude.contains(id)
        });
        let id = failed.map(|(id, _)| id).next()?;
        self.vector.try_again(now, id);
        Some(id)
    }
}
