//! The registrar's metrics, rendered from its [`Status`] at each scrape.

use std::collections::BTreeMap;

use prometheus_client::metrics::info::Info;

use super::status::Status;
use crate::telemetry::scrape::{Scrape, float};

/// Writes a status as OpenMetrics text.
pub fn render(status: &Status) -> String {
    let mut scrape = Scrape::default();
    let build = Info::new(vec![
        ("version", status.version.clone()),
        ("identifier", status.identifier.clone()),
        ("epoch", status.epoch.to_string()),
    ]);
    scrape.registry.register("anycast_registrar_build", "Version, identifier and epoch", build);
    let mut plain = |name: &str, help: &str, value: f64| {
        scrape.plain(&format!("anycast_registrar_{name}"), help, value);
    };
    plain("uptime_seconds", "Time since the registrar started", status.uptime_seconds);
    plain("alarms", "Things an operator should look at now", float(status.alarms.len() as u64));
    let totals = &status.totals;
    plain("pools", "Pools", float(totals.pools));
    plain("connections", "Connections", float(totals.connections));
    plain("subscriptions", "Subscriptions", float(totals.subscriptions));
    plain("backlog_bytes", "Octets sent and not taken, of all connections", float(totals.backlog_octets));
    plain("log_bytes", "Octets of the handlespace on disk", float(status.disk.octets));
    let elements = scrape.gauge("anycast_registrar_elements", "Elements by state");
    for (state, count) in
        [("up", totals.elements_up), ("down", totals.elements_down), ("unknown", totals.elements_unknown)]
    {
        elements.get_or_create(&vec![("state", state.to_owned())]).set(float(count));
    }
    let counters = &status.counters;
    by(&mut scrape, "messages_received", "Messages received and read", "type", &counters.received);
    by(&mut scrape, "messages_sent", "Messages sent", "type", &counters.sent);
    by(&mut scrape, "malformed", "Messages that could not be read", "reason", &counters.malformed);
    by(&mut scrape, "dropped", "Messages not acted upon", "reason", &counters.dropped);
    by(&mut scrape, "closed", "Connections closed by the registrar", "reason", &counters.closed);
    by(&mut scrape, "refused", "Registrations and deregistrations refused", "cause", &counters.refused);
    for (name, count) in &counters.other {
        single(&mut scrape, name, other_help(name), *count);
    }
    let disk = &status.disk;
    single(&mut scrape, "log_records", "Records written to disk", disk.records_total);
    single(&mut scrape, "log_snapshots", "Snapshots that took the log's place", disk.snapshots_total);
    single(&mut scrape, "log_failures", "Writes to disk that failed", disk.failures_total);
    let help = "Acknowledgements withheld because their record could not be written";
    single(&mut scrape, "acknowledgements_withheld", help, disk.withheld_total);
    scrape.text()
}

fn by(scrape: &mut Scrape, name: &str, help: &str, label: &'static str, counts: &BTreeMap<String, u64>) {
    let family = scrape.counter(&format!("anycast_registrar_{name}"), help);
    for (value, count) in counts {
        family.get_or_create(&vec![(label, value.clone())]).inc_by(*count);
    }
}

fn single(scrape: &mut Scrape, name: &str, help: &str, count: u64) {
    let family = scrape.counter(&format!("anycast_registrar_{name}"), help);
    family.get_or_create(&Vec::new()).inc_by(count);
}

fn other_help(name: &str) -> &'static str {
    match name {
        "framing" => "Streams that could not be cut into messages",
        "pushes" => "Pools pushed to their subscribers",
        "coalesced" => "Changes that went out with another one",
        "held" => "Pushes that a newer one replaced, because the connection took nothing",
        "unknown_handles" => "Resolutions of handles that no pool has",
        "subscriptions_refused" => "Subscriptions not accepted, because there are too many",
        "keep_alive_timeouts" => "Keep-alives without answer in time",
        "expired" => "Registrations whose life ended",
        "handshakes_failed" => "TLS handshakes that came to nothing",
        _ => "Counted since the start",
    }
}
