//! The registrar's status as a table for a terminal of 80 columns.

use std::fmt::Write as _;

use super::status::{Element, Status};
use crate::telemetry::table::{count, seconds};

/// Columns.
const WIDTH: usize = 80;

/// Pools that are listed; `--json` has all.
const POOLS_MAX: usize = 50;

/// Writes a status for people; `pool` is the one whose elements were asked for.
pub fn render(status: &Status, pool: Option<&str>) -> String {
    let mut text = String::new();
    let totals = &status.totals;
    // Writing into a string does not fail; so everywhere below.
    let _ = writeln!(
        text,
        "registrar {}  up {}  anycast {}  pid {}",
        status.identifier,
        seconds(status.uptime_seconds),
        status.version,
        status.pid
    );
    status.listeners.iter().for_each(|listener| line(&mut text, &format!("listens on {listener}")));
    status.alarms.iter().for_each(|alarm| wrapped(&mut text, &format!("ALARM {alarm}")));
    line(
        &mut text,
        &format!(
            "elements: {} up, {} down, {} unknown, in pools: {}",
            totals.elements_up, totals.elements_down, totals.elements_unknown, totals.pools
        ),
    );
    line(
        &mut text,
        &format!(
            "connections: {}, subscriptions: {}, octets waiting: {}",
            totals.connections, totals.subscriptions, totals.backlog_octets
        ),
    );
    let counters = &status.counters;
    for (name, counts) in
        [("not taken", &counters.malformed), ("dropped", &counters.dropped), ("closed", &counters.closed)]
    {
        let some: Vec<String> = counts
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        if !some.is_empty() {
            wrapped(&mut text, &format!("{name}: {}", some.join(", ")));
        }
    }
    let _ = writeln!(
        text,
        "\n{:<24} {:<24} {:<7} {:>8} {:>6} {:>6}",
        "POOL", "POLICY", "PROTO", "ELEMENTS", "USABLE", "USERS"
    );
    for pool in status.pools.iter().take(POOLS_MAX) {
        let _ = writeln!(
            text,
            "{:<24} {:<24} {:<7} {:>8} {:>6} {:>6}",
            short(&pool.handle, 24),
            short(&pool.policy, 24),
            pool.transport,
            count(pool.elements),
            count(pool.usable),
            count(pool.subscribers)
        );
    }
    if let Some(more) = status.pools.len().checked_sub(POOLS_MAX).filter(|more| *more > 0) {
        let _ = writeln!(text, "and {more} more: --json lists all");
    }
    if let Some(pool) = pool {
        elements(&mut text, pool, &status.elements);
    }
    text
}

fn elements(text: &mut String, pool: &str, elements: &[Element]) {
    if elements.is_empty() {
        let _ = writeln!(text, "\nno pool is called {}", short(pool, 60));
        return;
    }
    let _ = writeln!(
        text,
        "\n{:<8} {:<8} {:<16} {:>8} {:<3} {:<32}",
        "ELEMENT", "STATE", "SOURCE", "AGE", "USE", "ADDRESS"
    );
    for element in elements {
        let _ = writeln!(
            text,
            "{:<8} {:<8} {:<16} {:>8} {:<3} {}",
            element.id,
            element.state,
            element.source,
            seconds(element.age_seconds),
            if element.usable { "yes" } else { "no" },
            short(&element.address, 32)
        );
        let mut more = element.flags.clone();
        if !element.connected {
            more.push("not connected".to_owned());
        }
        // Last: it may be long, and is cut then.
        more.extend(element.identity.iter().cloned());
        if !more.is_empty() {
            line(text, &format!("         {}", more.join(", ")));
        }
    }
}

/// A line, cut at the terminal's edge.
fn line(text: &mut String, content: &str) {
    let _ = writeln!(text, "{}", short(content, WIDTH));
}

/// A text that may be longer than a line, broken at spaces.
fn wrapped(text: &mut String, content: &str) {
    let mut column = 0;
    for word in content.split(' ') {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            text.push_str("\n  ");
            column = 2;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
    }
    text.push('\n');
}

/// The beginning of a text that is too long for its column.
fn short(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width - 1).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::super::status::{Counters, Disk, Pool, Totals};
    use super::*;

    fn example() -> Status {
        let long = "x".repeat(200);
        let pool = Pool {
            handle: long.clone(),
            policy: "least used with degradation".to_owned(),
            transport: "udplite".to_owned(),
            elements: 123_456,
            usable: 99_999,
            subscribers: 100_000,
        };
        let element = Element {
            id: "00000001".to_owned(),
            state: "unknown".to_owned(),
            source: "connection lost".to_owned(),
            age_seconds: 86_399.0,
            usable: false,
            flags: vec!["standby".to_owned(), "draining".to_owned()],
            address: "udplite:[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535".to_owned(),
            expires_seconds: None,
            connected: false,
            identity: Some(long),
        };
        let counters = Counters {
            dropped: (0..20).map(|at| (format!("a_long_reason_{at}"), u64::MAX)).collect(),
            ..Counters::default()
        };
        Status {
            version: "0.1.0".to_owned(),
            pid: 4_194_304,
            identifier: "deadbeef".to_owned(),
            epoch: 7,
            uptime_seconds: 1e6,
            totals: Totals { pools: 60, elements: 3, ..Totals::default() },
            listeners: vec!["tcp [::]:3863".to_owned()],
            alarms: vec![
                "cannot append to /var/lib/anycast-registrar/handlespace: No space left on device".to_owned(),
            ],
            disk: Disk::default(),
            counters,
            pools: vec![pool; 60],
            elements: vec![element],
        }
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let text = render(&example(), Some("dns"));
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{} columns: {line}", line.chars().count());
        }
        assert!(text.contains("and 10 more") && text.contains("ALARM") && text.contains("not connected"));
    }

    #[test]
    fn metrics_name_every_reason() {
        let text = super::super::metrics::render(&example());
        for expected in [
            "anycast_registrar_elements{state=\"up\"} 0",
            "anycast_registrar_dropped_total{reason=\"a_long_reason_3\"} 18446744073709551615",
            "anycast_registrar_alarms 1",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }
}
