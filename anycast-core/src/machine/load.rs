//! How loaded this server is, in permille: the worst of query rate to capacity, check latency to its limit, and drops of the
//! service's sockets. And what another server's load would be if it owned the address.

use std::time::Duration;

use crate::Time;
use crate::config::LoadConfig;
use crate::heartbeat::Load;

/// The query rate follows a change with this time constant.
const SMOOTHING: Duration = Duration::from_secs(1);

/// An owner's load is remembered this long: it is a better prediction than its idle capacity.
pub(crate) const MEMORY: Duration = Duration::from_secs(60);

/// Measured load of one service on this server.
#[derive(Clone, Debug)]
pub(crate) struct Gauge {
    config: Option<LoadConfig>,
    /// Smoothed queries per second.
    rate: f64,
    latency: Option<Duration>,
    drops: Option<u64>,
    dropping: bool,
    /// Since when it has been above the mark.
    congested_since: Option<Time>,
}

impl Gauge {
    pub(crate) const fn new(config: Option<LoadConfig>) -> Self {
        Self { config, rate: 0.0, latency: None, drops: None, dropping: false, congested_since: None }
    }

    /// A check took this long.
    pub(crate) const fn latency(&mut self, latency: Duration) {
        self.latency = Some(latency);
    }

    /// A reading of the drops of the service's sockets, cumulative.
    pub(crate) fn drops(&mut self, total: u64) {
        let before = self.drops.replace(total);
        self.dropping = before.is_some_and(|before| total > before);
    }

    /// `queries` arrived in `elapsed`.
    pub(crate) fn add(&mut self, now: Time, elapsed: Duration, queries: u64) {
        if elapsed.is_zero() {
            return;
        }
        let share = elapsed.as_secs_f64() / (elapsed + SMOOTHING).as_secs_f64();
        self.rate += (queries as f64 / elapsed.as_secs_f64() - self.rate) * share;
        let congested = self.config.is_some_and(|config| self.permille() >= config.congested_above);
        self.congested_since = congested.then(|| self.congested_since.unwrap_or(now));
    }

    /// Above the mark for at least `hold`?
    pub(crate) fn congested(&self, now: Time, hold: Duration) -> bool {
        self.congested_since.is_some_and(|since| now.since(since) >= hold)
    }

    /// Queries per second.
    pub(crate) fn rate(&self) -> u32 {
        self.rate.round() as u32
    }

    /// The load; 0 without a configured capacity.
    pub(crate) fn permille(&self) -> u16 {
        let Some(config) = self.config else { return 0 };
        let latency = match (self.latency, config.latency_limit) {
            (Some(latency), Some(limit)) if !limit.is_zero() => latency.as_secs_f64() / limit.as_secs_f64(),
            _ => 0.0,
        };
        let drops = if self.dropping { 1.0 } else { 0.0 };
        let worst = (self.rate / f64::from(config.capacity)).max(latency).max(drops);
        (worst * 1000.0).round() as u16
    }

    /// What the heartbeat says.
    pub(crate) fn told(&self) -> Load {
        let capacity = self.config.map_or(0, |config| config.capacity);
        Load { permille: self.permille(), capacity, rate: self.rate() }
    }

    /// The load of this server at a query rate; 0 if its capacity is unknown.
    pub(crate) fn predict_at(&self, rate: u32) -> u16 {
        let capacity = self.config.map_or(0, |config| config.capacity);
        if capacity == 0 {
            return 0;
        }
        u16::try_from(u64::from(rate) * 1000 / u64::from(capacity)).unwrap_or(u16::MAX)
    }

    /// The load of a server of this capacity at this gauge's query rate; of unknown capacity: one like this server.
    pub(crate) fn predict(&self, capacity: u32) -> u16 {
        let own = self.config.map_or(0, |config| config.capacity);
        let capacity = if capacity == 0 { own } else { capacity };
        if capacity == 0 { 0 } else { (self.rate * 1000.0 / f64::from(capacity)).round() as u16 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge() -> Gauge {
        let latency_limit = Some(Duration::from_millis(100));
        Gauge::new(Some(LoadConfig { capacity: 1_000, congested_above: 800, latency_limit }))
    }

    fn feed(gauge: &mut Gauge, from: u64, seconds: u64, rate: u64) {
        for tenth in from * 10..(from + seconds) * 10 {
            gauge.add(Time::ZERO + Duration::from_millis(tenth * 100), Duration::from_millis(100), rate / 10);
        }
    }

    #[test]
    fn load_is_the_worst_of_rate_latency_and_drops() {
        let mut gauge = gauge();
        feed(&mut gauge, 0, 20, 500);
        assert_eq!(gauge.permille(), 500);
        gauge.latency(Duration::from_millis(70));
        assert_eq!(gauge.permille(), 700);
        gauge.drops(5);
        assert_eq!(gauge.permille(), 700, "where counting begins");
        gauge.drops(6);
        assert_eq!(gauge.permille(), 1_000);
        gauge.drops(6);
        assert_eq!(gauge.permille(), 700);
    }

    #[test]
    fn a_burst_is_not_congestion() {
        let mut gauge = gauge();
        feed(&mut gauge, 0, 10, 500);
        feed(&mut gauge, 10, 1, 1_200);
        feed(&mut gauge, 11, 10, 500);
        assert!(!gauge.congested(Time::ZERO + Duration::from_secs(21), Duration::from_secs(3)));
        feed(&mut gauge, 21, 10, 1_200);
        assert!(gauge.congested(Time::ZERO + Duration::from_secs(31), Duration::from_secs(3)));
    }

    #[test]
    fn prediction_scales_with_the_others_capacity() {
        let mut gauge = gauge();
        feed(&mut gauge, 0, 30, 900);
        assert_eq!(gauge.predict(3_000), 300);
        assert_eq!(gauge.predict(0), 900, "one like this");
    }
}
