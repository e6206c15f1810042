//! Servers that fail and are repaired: the model against which the order of [`crate::vector`] is judged.
//!
//! A server is up or down; while up it fails at a rate `L`, while down it is repaired at a rate `U`, whatever happened before (a
//! two-state Markov process). In the long run it is up for a share `A = U / (L + U)` of the time. Of one that was seen a time `a` ago,
//!
//! ```text
//! P(up now | seen up)   = A + (1 - A) e^(-(L + U) a)    falls with a, never below A
//! P(up now | seen down) = A (1 - e^(-(L + U) a))        rises with a, never above A
//! P(up now | unknown)   = A                             between the two
//! ```
//!
//! So among servers of one kind, the most recently up is the best bet, then the unknown, then the one that has been down longest.

mod attempts;
pub(crate) mod simulate;

pub use attempts::{Order, mean_attempts};
pub use simulate::{Farm, Rule, Simulation, simulate};

use crate::wire::State;

/// Rates of a server, per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Model {
    /// Failures per second of being up.
    pub fail: f64,
    /// Repairs per second of being down.
    pub repair: f64,
}

impl Model {
    /// The model of servers that are up for a share `availability` of the time and take `repair_time` seconds to come back, in the
    /// mean.
    pub fn new(availability: f64, repair_time: f64) -> Self {
        let repair = 1.0 / repair_time;
        Self { fail: repair * (1.0 - availability) / availability, repair }
    }

    /// Share of the time that a server is up.
    pub fn availability(&self) -> f64 {
        self.repair / (self.fail + self.repair)
    }

    /// Probability that a server is up, `age` seconds after it was seen in a state.
    pub fn up_after(&self, state: State, age: f64) -> f64 {
        let (availability, memory) = (self.availability(), self.memory(age));
        match state {
            State::Up => availability + (1.0 - availability) * memory,
            State::Unknown => availability,
            State::Down => availability * (1.0 - memory),
        }
    }

    /// How much of an observation is left after `age` seconds: 1 = all, 0 = nothing.
    fn memory(&self, age: f64) -> f64 {
        (-(self.fail + self.repair) * age).exp()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vector::strict;

    fn state() -> impl Strategy<Value = State> {
        prop_oneof![Just(State::Up), Just(State::Unknown), Just(State::Down)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Whatever the rates: the rule's order never puts a server before one with a better chance.
        #[test]
        fn the_rule_is_the_order_of_the_chances(
            availability in 0.01..0.999f64,
            repair_time in 0.1..10_000.0f64,
            seen in proptest::collection::vec((state(), 0u64..1_000_000_000_000), 2..20),
        ) {
            let model = Model::new(availability, repair_time);
            let mut seen = seen;
            seen.sort_by_key(|(state, age)| strict(*state, *age));
            let chances: Vec<f64> =
                seen.iter().map(|(state, age)| model.up_after(*state, *age as f64 / 1e9)).collect();
            for pair in chances.windows(2) {
                prop_assert!(pair[0] >= pair[1] - 1e-12, "{chances:?} of {seen:?}");
            }
        }

        /// The control: "the most recent failure first" is not that order as soon as two servers are down.
        #[test]
        fn the_shortest_downtime_first_would_be_wrong(
            availability in 0.1..0.9f64,
            repair_time in 1.0..100.0f64,
            ages in (0.0..50.0f64, 51.0..100.0f64),
        ) {
            let model = Model::new(availability, repair_time);
            prop_assert!(model.up_after(State::Down, ages.0) <= model.up_after(State::Down, ages.1));
        }

        /// What a fresh bucket costs is at most the fail rate times its width, as [`crate::vector::VectorConfig::fresh`] says.
        #[test]
        fn a_bucket_costs_at_most_its_width(
            availability in 0.01..0.999f64,
            repair_time in 0.1..10_000.0f64,
            fresh in 0.0..100.0f64,
        ) {
            let model = Model::new(availability, repair_time);
            let cost = model.up_after(State::Up, 0.0) - model.up_after(State::Up, fresh);
            prop_assert!(cost <= model.fail * fresh + 1e-12);
        }
    }

    #[test]
    fn rates_give_the_availability_back() {
        let model = Model::new(0.9, 10.0);
        assert!((model.availability() - 0.9).abs() < 1e-12);
        assert!((1.0 / model.fail - 90.0).abs() < 1e-9);
        assert_eq!(model.up_after(State::Up, 0.0), 1.0);
        assert_eq!(model.up_after(State::Down, 0.0), 0.0);
    }
}
