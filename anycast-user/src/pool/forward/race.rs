//! What becomes of one query: attempts at one element after the other, of which the first good answer wins.
//!
//! ```text
//!   0        t        3t              patience
//!   ├─ one ───────────────────────────────┤     an attempt that was given up by its time-out still listens
//!            ├─ other ────────────────────┤
//!                     ├─ …                       → SERVFAIL
//! ```
//!
//! When is an element to blame? A closed port says so at once. Silence may be the query's fault, as when a resolver waits for somebody
//! else. So an element that was silent for its time-out, or answered that it failed, counts as failed only when another gave a good
//! answer to the same query or nobody did, and only if it answered nothing else since.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anycast_pool::{ElementId, PoolHandle};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use tracing::debug;

use super::message::{self, rcode};
use super::pace::Pace;
use super::stats::{Outcome, Stats};
use super::upstream::{Ids, Query, ask};
use crate::pool::PoolUser;

/// Attempts at one query. Bounds what a query that nobody answers costs.
const ATTEMPTS_MAX: usize = 8;

/// What all queries share.
pub(super) struct Shared {
    pub user: PoolUser,
    pub pool: PoolHandle,
    pub ids: Ids,
    pub pace: Pace,
    pub stats: Stats,
    pub patience: Duration,
}

/// An element that was tried.
struct Tried {
    id: ElementId,
    begun: Instant,
    blame: Blame,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    /// Nothing speaks against it yet.
    None,
    /// It was silent for its time-out, or said that it failed.
    Weak,
    /// It is settled: failed and reported, or it answered.
    Settled,
}

/// Answers a query that came at `arrived`.
pub(super) async fn answer(shared: &Arc<Shared>, query: &Query, arrived: Instant) -> Vec<u8> {
    let mut race = Race { shared, query, tried: Vec::new(), round: 0, fallback: None };
    let patience = tokio::time::sleep_until(arrived + shared.patience);
    let (answer, outcome) = tokio::select! {
        found = race.run() => found,
        () = patience => (None, Outcome::Exhausted),
    };
    if let (None, Outcome::Exhausted) = (&answer, outcome) {
        // Nobody answered, or nobody well.
        race.conclude();
    }
    let retries = race.tried.len().saturating_sub(1);
    let (answer, outcome) = match (answer, race.fallback.take()) {
        (Some(answer), _) => (answer, outcome),
        (None, Some(fallback)) => (fallback, Outcome::Passed),
        (None, None) => (message::refusal(&query.octets, Some(query.question_end), rcode::SERVFAIL), outcome),
    };
    shared.stats.count(outcome, retries, arrived.elapsed());
    answer
}

struct Race<'a> {
    shared: &'a Arc<Shared>,
    query: &'a Query,
    tried: Vec<Tried>,
    /// The first attempt since all elements were tried.
    round: usize,
    /// An answer that says that it failed: better than none.
    fallback: Option<Vec<u8>>,
}

impl Race<'_> {
    async fn run(&mut self) -> (Option<Vec<u8>>, Outcome) {
        let mut attempts = FuturesUnordered::new();
        let mut next = true;
        let mut timeout = self.shared.pace.timeout(self.query.tcp);
        let mut until = Instant::now();
        loop {
            if std::mem::take(&mut next) {
                match self.pick() {
                    Some((id, server)) => {
                        let number = self.tried.len();
                        self.tried.push(Tried { id, begun: Instant::now(), blame: Blame::None });
                        let (query, ids) = (self.query, &self.shared.ids);
                        attempts.push(async move {
                            let answer = match ids.next() {
                                Ok(identifier) => ask(query, server, identifier).await,
                                Err(error) => Err(error),
                            };
                            (number, answer)
                        });
                        until = Instant::now() + timeout;
                        timeout = (timeout * 2).min(Pace::MOST);
                    }
                    None if self.tried.is_empty() => return (None, Outcome::NoElement),
                    None if attempts.is_empty() => return (None, Outcome::Exhausted),
                    // Those under way are all there are.
                    None => until = Instant::now() + self.shared.patience,
                }
            }
            tokio::select! {
                Some((number, answer)) = attempts.next() => match answer {
                    Ok(answer) if matches!(rcode(&answer), rcode::SERVFAIL | rcode::REFUSED) => {
                        self.tried[number].blame = Blame::Weak;
                        // The second that says so is believed.
                        if self.fallback.replace(answer).is_some() {
                            return (self.fallback.take(), Outcome::Passed);
                        }
                        next = true;
                    }
                    Ok(answer) => {
                        self.succeeded(number);
                        self.conclude();
                        return (Some(answer), Outcome::Answered);
                    }
                    Err(error) => {
                        let tried = &mut self.tried[number];
                        debug!(element = %tried.id, %error, "attempt failed");
                        tried.blame = Blame::Settled;
                        self.shared.stats.attempt_failed();
                        self.shared.user.failed(self.shared.pool.clone(), tried.id);
                        next = true;
                    }
                },
                () = tokio::time::sleep_until(until) => {
                    if let Some(last) = self.tried.last_mut()
                        && last.blame == Blame::None
                    {
                        last.blame = Blame::Weak;
                        self.shared.stats.attempt_timed_out();
                    }
                    next = true;
                }
            }
        }
    }

    /// Whom to ask next: none that was tried, until all were.
    fn pick(&mut self) -> Option<(ElementId, SocketAddr)> {
        if self.tried.len() >= ATTEMPTS_MAX {
            return None;
        }
        loop {
            let tried: Vec<ElementId> = self.tried[self.round..].iter().map(|tried| tried.id).collect();
            if let Some(pick) = self.shared.user.pick(self.shared.pool.clone(), &tried) {
                // An element of another transport than one with an address is in the wrong pool.
                return Some((pick.id, pick.transport.address()?));
            }
            if tried.is_empty() {
                return None;
            }
            self.round = self.tried.len();
        }
    }

    fn succeeded(&mut self, number: usize) {
        let tried = &mut self.tried[number];
        tried.blame = Blame::Settled;
        let latency = tried.begun.elapsed();
        self.shared.pace.succeeded(tried.id, latency, self.query.tcp);
        self.shared.user.succeeded(self.shared.pool.clone(), tried.id, latency);
    }

    /// Blames those that were weak; see above.
    fn conclude(&mut self) {
        for tried in &mut self.tried {
            if tried.blame == Blame::Weak && !self.shared.pace.answered_since(tried.id, tried.begun) {
                tried.blame = Blame::Settled;
                self.shared.stats.attempt_failed();
                self.shared.user.failed(self.shared.pool.clone(), tried.id);
            }
        }
    }
}
