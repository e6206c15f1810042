//! How long to wait for an element before another is asked: three times what answers of the pool take of late.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anycast_pool::ElementId;
use tokio::time::Instant;

/// Latency of a pool of which nothing is known yet.
const FIRST: Duration = Duration::from_millis(30);

/// Share of a new latency in the mean, as in TCP's (RFC 6298 2).
const SHARE: u32 = 8;

/// Elements whose last answer is remembered. Above that, all are forgotten: it only makes a failure quicker to tell.
const ELEMENTS_MAX: usize = 10_000;

/// What answers take, and when each element gave its last.
#[derive(Debug)]
pub(super) struct Pace {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    mean: Duration,
    answered: HashMap<ElementId, Instant>,
}

impl Pace {
    /// A shorter time-out would ask twice because of a scheduler's delay.
    pub const LEAST: Duration = Duration::from_millis(20);
    /// A longer one would leave no time for a third element.
    pub const MOST: Duration = Duration::from_millis(300);

    pub fn new() -> Self {
        Self { state: Mutex::new(State { mean: FIRST, answered: HashMap::new() }) }
    }

    /// How long to wait for an answer. TCP takes another round trip.
    pub fn timeout(&self, tcp: bool) -> Duration {
        let mean = self.lock().mean;
        let round_trips = if tcp { 2 } else { 1 };
        (mean * 3 * round_trips).clamp(Self::LEAST, Self::MOST)
    }

    /// An element has answered, after that long.
    pub fn succeeded(&self, id: ElementId, latency: Duration, tcp: bool) {
        let mut state = self.lock();
        if !tcp {
            state.mean = (state.mean * (SHARE - 1) + latency.min(Self::MOST)) / SHARE;
        }
        if state.answered.len() >= ELEMENTS_MAX && !state.answered.contains_key(&id) {
            state.answered.clear();
        }
        state.answered.insert(id, Instant::now());
    }

    /// Has an element answered anything since then?
    pub fn answered_since(&self, id: ElementId, since: Instant) -> bool {
        self.lock().answered.get(&id).is_some_and(|at| *at > since)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_the_latency_between_its_bounds() {
        let pace = Pace::new();
        assert_eq!(pace.timeout(false), FIRST * 3);
        let id = ElementId(1);
        for _ in 0..100 {
            pace.succeeded(id, Duration::from_micros(100), false);
        }
        assert_eq!(pace.timeout(false), Pace::LEAST);
        for _ in 0..100 {
            pace.succeeded(id, Duration::from_secs(5), false);
        }
        assert_eq!(pace.timeout(false), Pace::MOST);
    }

    #[test]
    fn an_element_that_answered_since_is_known() {
        let pace = Pace::new();
        let before = Instant::now();
        assert!(!pace.answered_since(ElementId(1), before));
        pace.succeeded(ElementId(1), Duration::ZERO, true);
        assert!(pace.answered_since(ElementId(1), before));
        assert!(!pace.answered_since(ElementId(2), before));
        assert!(!pace.answered_since(ElementId(1), Instant::now() + Duration::from_secs(1)));
    }
}
