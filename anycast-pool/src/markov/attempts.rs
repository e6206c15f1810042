//! How many servers are tried until one works, in the mean, by formula.
//!
//! `N` servers, each up with probability `A`, independent of each other; `q = 1 - A`. During one request nothing changes, and no server is
//! tried twice. Let `S(i)` be the probability that the first `i` of the order are all down. The number of attempts is above `i` just then,
//! so over all requests for which a server is up at all,
//!
//! ```text
//! mean = sum over i = 0 .. N-1 of (S(i) - q^N) / (1 - q^N)
//! ```
//!
//! *Without memory* (round robin, random), each server of the order is down with `q`: `S(i) = q^i`, and the sum is
//!
//! ```text
//! mean = 1/A - N q^N / (1 - q^N)
//! ```
//!
//! *With the vector*, the registrar saw each server at some time within the last `T`, uniformly distributed. With probability
//! `C(N,K) A^K q^(N-K)`, it saw `K` up and the others down. With `r = L + U`, a server seen up `a` ago is down with
//! `f(a) = q (1 - e^(-r a))`, one seen down with `g(a) = q + A e^(-r a)`. The `i` most recent of `K` times are, given the next one at
//! `x T`, uniform below it; `x` has the density of the order statistic, `Beta(i+1, K-i)`. So
//!
//! ```text
//! P(i most recent of K ups are down)  = E[ (mean of f over 0 .. xT)^i ],    x ~ Beta(i+1, K-i), for i < K
//! P(m oldest of n downs are down)     = E[ (mean of g over xT .. T)^m ],    x ~ Beta(n-m, m+1), for m < n
//! ```
//!
//! and with all of them the mean is over `0 .. T`. In a fresh bucket the ups are equals, so that `i` of them are down with the `i`-th power
//! of the mean of `f` over `0 .. T`.

use super::Model;

/// Steps of the numeric integration (Simpson's rule; even).
const STEPS: u32 = 400;

/// In which order servers are tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// Round robin or random.
    NoMemory,
    /// Most recently up, then longest down, where each server was seen within the last so many seconds.
    Newest(f64),
    /// All that were seen up as equals, then longest down.
    Fresh(f64),
}

/// Mean number of attempts until success, over the requests for which one of `servers` is up.
pub fn mean_attempts(model: &Model, servers: u32, order: Order) -> f64 {
    let availability = model.availability();
    let all_down = (1.0 - availability).powi(servers.cast_signed());
    let first_down = |tried: u32| -> f64 {
        if order == Order::NoMemory {
            return (1.0 - availability).powi(tried.cast_signed());
        }
        let cases = (0..=servers).map(|up| {
            let weight = choose(servers, up)
                * availability.powi(up.cast_signed())
                * (1.0 - availability).powi((servers - up).cast_signed());
            weight * first_down_given(model, order, up, servers - up, tried)
        });
        cases.sum()
    };
    (0..servers).map(|tried| (first_down(tried) - all_down) / (1.0 - all_down)).sum()
}

/// Probability that the first `tried` are down, if `up` were seen up and `down` down.
fn first_down_given(model: &Model, order: Order, up: u32, down: u32, tried: u32) -> f64 {
    let (window, bucket) = match order {
        Order::NoMemory => return f64::NAN,
        Order::Newest(window) => (window, false),
        Order::Fresh(window) => (window, true),
    };
    let ups = tried.min(up);
    let among_up = if bucket || ups == up {
        down_of_up(model, window).powi(ups.cast_signed())
    } else {
        expect(ups + 1, up - ups, |x| down_of_up(model, x * window).powi(ups.cast_signed()))
    };
    let downs = tried - ups;
    let among_down = if downs == down {
        down_of_down(model, 0.0, window).powi(downs.cast_signed())
    } else {
        expect(down - downs, downs + 1, |x| down_of_down(model, x * window, window).powi(downs.cast_signed()))
    };
    among_up * among_down
}

/// Mean of `f` over ages up to `age`.
fn down_of_up(model: &Model, age: f64) -> f64 {
    let rate = model.fail + model.repair;
    if age * rate < 1e-9 {
        return 0.0;
    }
    (1.0 - model.availability()) * (1.0 - (1.0 - model.memory(age)) / (rate * age))
}

/// Mean of `g` over ages from `from` to `to`.
fn down_of_down(model: &Model, from: f64, to: f64) -> f64 {
    let (rate, availability) = (model.fail + model.repair, model.availability());
    if (to - from) * rate < 1e-9 {
        return 1.0 - availability + availability * model.memory(to);
    }
    1.0 - availability + availability * (model.memory(from) - model.memory(to)) / (rate * (to - from))
}

/// Expectation of a function of a Beta(a, b) distributed number, for whole a and b from 1 on.
fn expect(a: u32, b: u32, of: impl Fn(f64) -> f64) -> f64 {
    let scale = f64::from(a) * choose(a + b - 1, a);
    let density = |x: f64| scale * x.powi(a.cast_signed() - 1) * (1.0 - x).powi(b.cast_signed() - 1);
    let points = (0..=STEPS).map(|step| {
        let x = f64::from(step) / f64::from(STEPS);
        let weight = match step {
            0 | STEPS => 1.0,
            _ if step % 2 == 1 => 4.0,
            _ => 2.0,
        };
        weight * density(x) * of(x)
    });
    points.sum::<f64>() / (3.0 * f64::from(STEPS))
}

fn choose(n: u32, k: u32) -> f64 {
    (0..k).map(|i| f64::from(n - i) / f64::from(i + 1)).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_memory_the_sum_is_the_closed_form() {
        for availability in [0.5, 0.8, 0.99] {
            for servers in [1, 2, 5, 20] {
                let model = Model::new(availability, 10.0);
                let down = (1.0 - availability_of(&model)).powi(servers as i32);
                let closed = 1.0 / availability - f64::from(servers) * down / (1.0 - down);
                assert!((mean_attempts(&model, servers, Order::NoMemory) - closed).abs() < 1e-9);
            }
        }
    }

    fn availability_of(model: &Model) -> f64 {
        model.availability()
    }

    #[test]
    fn the_density_integrates_to_one() {
        for (a, b) in [(1, 1), (3, 2), (1, 5), (10, 10)] {
            assert!((expect(a, b, |_| 1.0) - 1.0).abs() < 1e-6);
            assert!((expect(a, b, |x| x) - f64::from(a) / f64::from(a + b)).abs() < 1e-6);
        }
    }

    #[test]
    fn all_down_is_all_down_in_any_order() {
        let model = Model::new(0.7, 10.0);
        for order in [Order::Newest(5.0), Order::Fresh(5.0)] {
            let all: f64 = (0..=4u32)
                .map(|up| {
                    let weight = choose(4, up) * 0.7f64.powi(up as i32) * 0.3f64.powi(4 - up as i32);
                    weight * first_down_given(&model, order, up, 4 - up, 4)
                })
                .sum();
            assert!((all - 0.3f64.powi(4)).abs() < 1e-9, "{all}");
        }
    }

    #[test]
    fn old_observations_are_worth_nothing_and_new_ones_all() {
        let model = Model::new(0.6, 10.0);
        let without = mean_attempts(&model, 5, Order::NoMemory);
        assert!((mean_attempts(&model, 5, Order::Fresh(1e7)) - without).abs() < 1e-3);
        assert!((mean_attempts(&model, 5, Order::Newest(1e-6)) - 1.0).abs() < 1e-3);
        assert!(mean_attempts(&model, 5, Order::Newest(2.0)) < mean_attempts(&model, 5, Order::Fresh(2.0)));
        assert!(mean_attempts(&model, 5, Order::Fresh(2.0)) < without);
    }
}
