//! Who is Designated Router, as seen by a router that cannot be (RFC 2328 9.4 without the steps about oneself).

use crate::RouterId;

/// A router of the link with which communication goes both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub router: RouterId,
    /// 0 = not eligible.
    pub priority: u8,
    /// Whom it declares Designated Router.
    pub designated_router: RouterId,
    /// Whom it declares Backup.
    pub backup_designated_router: RouterId,
}

/// Designated Router and Backup; [`RouterId::NONE`] if there is none.
pub fn elect(candidates: impl Iterator<Item = Candidate> + Clone) -> (RouterId, RouterId) {
    let eligible = candidates.filter(|candidate| candidate.priority > 0);
    // Highest priority, then highest router id.
    let best = |among: &mut dyn Iterator<Item = Candidate>| {
        among.max_by_key(|candidate| (candidate.priority, candidate.router)).map(|candidate| candidate.router)
    };
    // Step 2: whoever declares itself Designated Router cannot be Backup; among the rest, those that declare themselves Backup
    // go first.
    let not_designated = eligible.clone().filter(|candidate| candidate.designated_router != candidate.router);
    let mut declared =
        not_designated.clone().filter(|candidate| candidate.backup_designated_router == candidate.router);
    let backup = best(&mut declared).or_else(|| best(&mut not_designated.clone()));
    // Step 3: among those that declare themselves; nobody does: the Backup.
    let mut declared = eligible.filter(|candidate| candidate.designated_router == candidate.router);
    let designated = best(&mut declared).or(backup);
    (designated.unwrap_or(RouterId::NONE), backup.unwrap_or(RouterId::NONE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(router: u32, priority: u8, dr: u32, bdr: u32) -> Candidate {
        let (designated_router, backup_designated_router) = (RouterId(dr), RouterId(bdr));
        Candidate { router: RouterId(router), priority, designated_router, backup_designated_router }
    }

    #[test]
    fn the_election_is_that_of_the_rfc() {
        for (candidates, expected) in [
            (vec![], (0, 0)),
            (vec![candidate(1, 0, 0, 0), candidate(2, 0, 2, 0)], (0, 0)),
            (vec![candidate(1, 1, 1, 0)], (1, 0)),
            (vec![candidate(1, 1, 1, 2), candidate(2, 1, 1, 2)], (1, 2)),
            // A better newcomer that declares nobody displaces no one.
            (vec![candidate(1, 1, 1, 2), candidate(2, 1, 1, 2), candidate(3, 9, 0, 0)], (1, 2)),
            // Two declare themselves, after a partition: priority, then id.
            (vec![candidate(1, 5, 1, 0), candidate(2, 4, 2, 0)], (1, 0)),
            (vec![candidate(1, 5, 1, 0), candidate(2, 5, 2, 0)], (2, 0)),
            // The Designated Router is gone: its Backup follows.
            (vec![candidate(2, 1, 1, 2)], (2, 2)),
            // Nobody has declared anything.
            (vec![candidate(1, 1, 0, 0), candidate(2, 1, 0, 0)], (2, 2)),
        ] {
            let (dr, bdr) = elect(candidates.iter().copied());
            assert_eq!((dr.0, bdr.0), expected, "{candidates:?}");
        }
    }
}
