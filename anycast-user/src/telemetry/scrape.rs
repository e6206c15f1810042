//! The metrics of one scrape, as they are gathered.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub(crate) type Labels = Vec<(&'static str, String)>;
pub(crate) type Counters = Family<Labels, Counter>;
pub(crate) type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;

/// The registry of one scrape.
#[derive(Default)]
pub(crate) struct Scrape {
    pub(crate) registry: Registry,
}

impl Scrape {
    /// A metric that only grows; `_total` is added to its name.
    pub(crate) fn counter(&mut self, name: &str, help: &str) -> Counters {
        let family = Counters::default();
        self.registry.register(name, help, family.clone());
        family
    }

    pub(crate) fn gauge(&mut self, name: &str, help: &str) -> Gauges {
        let family = Gauges::default();
        self.registry.register(name, help, family.clone());
        family
    }

    /// A single value.
    pub(crate) fn plain(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        self.registry.register(name, help, gauge);
    }

    /// The page.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

/// How a truth is written.
pub(crate) fn flag(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge of Prometheus is a float; epochs and moves stay far below 2^53"
)]
pub(crate) fn float(value: u64) -> f64 {
    value as f64
}
