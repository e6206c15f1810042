//! What a simulation showed: a table for people, 80 columns wide, and JSON for programs.

use std::fmt::Write as _;
use std::time::Duration;

use anycast_core::Mode;
use anycast_core::sim::figures::Kind;
use anycast_core::sim::{Figures, Scenario};
use serde::Serialize;

use crate::config::value::written;

/// The figures as JSON. Times are in milliseconds.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the keys say it")]
pub struct Report {
    pub servers: usize,
    pub mode: &'static str,
    pub runs: u32,
    pub seed: u64,
    pub seconds: f64,
    pub ownerless: Ownerless,
    pub owners_ms: f64,
    pub events: Vec<Event>,
    pub handovers: u64,
    pub moves_180s: usize,
    pub advertisements_per_second: f64,
    pub heartbeats_per_second: f64,
    pub bits_per_second: f64,
    pub questions_to_living_owners: u64,
    pub false_contests: u64,
    pub false_contests_per_hour: f64,
    pub false_takeovers: u64,
    pub queries: u64,
    pub queries_lost: u64,
    pub jain: f64,
    pub standby_mean: f64,
    pub violations: Vec<String>,
}

/// Time without an owner although a server could serve.
#[derive(Debug, Serialize)]
pub struct Ownerless {
    pub total_ms: f64,
    pub worst_ms: f64,
    pub unexplained: u32,
}

/// How all things of a kind went.
#[derive(Debug, Serialize)]
pub struct Event {
    pub event: &'static str,
    pub count: usize,
    pub ownerless_p50_ms: f64,
    pub ownerless_p99_ms: f64,
    pub ownerless_worst_ms: f64,
    pub advertisements_p99: u64,
    pub advertisements_most: u64,
}

fn ms(duration: Duration) -> f64 {
    // Microseconds are enough, and read better than seventeen digits.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn mode(scenario: &Scenario) -> &'static str {
    match scenario.farm.mode {
        Mode::Failover => "failover",
        Mode::Rotate { .. } => "rotate",
        Mode::Solicited => "solicited",
    }
}

fn per_hour(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 * 3600.0 / time.as_secs_f64() }
}

impl Report {
    /// The figures of a scenario.
    pub fn new(scenario: &Scenario, figures: &Figures) -> Self {
        let event = |kind: Kind| {
            let [p50, p99, worst] = kind.ownerless.map(ms);
            Event {
                event: kind.what,
                count: kind.count,
                ownerless_p50_ms: p50,
                ownerless_p99_ms: p99,
                ownerless_worst_ms: worst,
                advertisements_p99: kind.advertisements[0],
                advertisements_most: kind.advertisements[1],
            }
        };
        Self {
            servers: figures.servers,
            mode: mode(scenario),
            runs: figures.runs,
            seed: scenario.seed,
            seconds: figures.time.as_secs_f64(),
            ownerless: Ownerless {
                total_ms: ms(figures.ownerless),
                worst_ms: ms(figures.ownerless_worst),
                unexplained: figures.unexplained,
            },
            owners_ms: ms(figures.owners),
            events: figures.kinds().into_iter().map(event).collect(),
            handovers: figures.handovers,
            moves_180s: figures.moves,
            advertisements_per_second: rounded(figures.advertisement_rate()),
            heartbeats_per_second: rounded(figures.heartbeat_rate()),
            bits_per_second: figures.bit_rate().round(),
            questions_to_living_owners: figures.traffic.false_questions,
            false_contests: figures.traffic.false_contests,
            false_contests_per_hour: rounded(per_hour(figures.traffic.false_contests, figures.time)),
            false_takeovers: figures.traffic.false_takeovers,
            queries: figures.queries,
            queries_lost: figures.lost,
            jain: rounded(figures.jain()),
            standby_mean: rounded(figures.standby()),
            violations: figures.violations.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The table.
pub fn render(scenario: &Scenario, figures: &Figures) -> String {
    let mut text = String::new();
    head(&mut text, scenario, figures);
    events(&mut text, figures);
    rows(&mut text, scenario, figures);
    for violation in &figures.violations {
        line(&mut text, &format!("BROKEN {violation}"));
    }
    text
}

/// Writing into a string does not fail.
fn line(text: &mut String, line: &str) {
    let _ = writeln!(text, "{line}");
}

fn head(text: &mut String, scenario: &Scenario, figures: &Figures) {
    let farm = &scenario.farm;
    let slice = match farm.mode {
        Mode::Rotate { slice } => format!(" {}", written(slice)),
        _ => String::new(),
    };
    let link = &scenario.network;
    line(
        text,
        &format!(
            "{} servers, {}{slice}, heartbeat {}, lease {}{}",
            figures.servers,
            mode(scenario),
            written(farm.heartbeat),
            written(farm.lease),
            if farm.keys { ", signed" } else { "" }
        ),
    );
    line(
        text,
        &format!(
            "link: latency {}, jitter {}, loss {} %",
            written(link.delay),
            written(link.jitter),
            rounded(link.loss * 100.0)
        ),
    );
    let runs = if figures.runs == 1 { String::new() } else { format!("{} runs, ", figures.runs) };
    line(text, &format!("{runs}seed {}, watched for {}", scenario.seed, span(figures.time)));
}

/// A time as people say it.
fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        _ if seconds < 10.0 => format!("{:.1} ms", seconds * 1e3),
        _ if seconds < 600.0 => format!("{seconds:.1} s"),
        _ if seconds < 36_000.0 => format!("{:.1} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

fn events(text: &mut String, figures: &Figures) {
    let kinds = figures.kinds();
    if kinds.is_empty() {
        return;
    }
    line(text, "");
    line(text, "                     without an owner, ms      advertisements");
    line(text, "event       count     p50     p99   worst        p99   most");
    for kind in kinds {
        let [p50, p99, worst] = kind.ownerless.map(|time| time.as_secs_f64() * 1e3);
        let [share, most] = kind.advertisements;
        line(
            text,
            &format!(
                "{:<10} {:>6} {p50:>7.1} {p99:>7.1} {worst:>7.1} {share:>10} {most:>6}",
                kind.what, kind.count
            ),
        );
    }
}

fn rows(text: &mut String, scenario: &Scenario, figures: &Figures) {
    let share =
        |part: Duration| 100.0 * part.as_secs_f64() / figures.time.as_secs_f64().max(f64::MIN_POSITIVE);
    line(text, "");
    let mut row = |name: &str, value: String| line(text, &format!("{name:<20} {value}"));
    row(
        "without an owner",
        format!(
            "{} in all ({:.4} %), {} at worst",
            span(figures.ownerless),
            share(figures.ownerless),
            span(figures.ownerless_worst)
        ),
    );
    if scenario.farm.mode != Mode::Solicited {
        row("more than one", format!("{} at worst", span(figures.owners)));
    }
    row("changes of owner", format!("{}, at most {} in 180 s", figures.handovers, figures.moves));
    row("advertisements", format!("{:.3} a second", figures.advertisement_rate()));
    row(
        "heartbeats",
        format!(
            "{:.1} a second; all traffic {:.1} kbit/s",
            figures.heartbeat_rate(),
            figures.bit_rate() / 1e3
        ),
    );
    row(
        "false contests",
        format!(
            "{} ({:.2} an hour), {} took the address; {} questions",
            figures.traffic.false_contests,
            per_hour(figures.traffic.false_contests, figures.time),
            figures.traffic.false_takeovers,
            figures.traffic.false_questions
        ),
    );
    if figures.queries > 0 {
        row("queries", format!("{} sent, {} found no server", figures.queries, figures.lost));
    }
    let of = if figures.queries > 0 { "queries" } else { "owned time" };
    row("fairness", format!("{:.4} (Jain's index of {of} over weight)", figures.jain()));
    if scenario.farm.standby.is_some() || figures.standby_seconds > 0 {
        row("in standby", format!("{:.1} servers on average", figures.standby()));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use anycast_core::sim::{self, Deed, Selector, Step};

    use super::*;

    fn shown(seed: u64) -> (String, String) {
        let mut scenario =
            Scenario { seed, duration: Duration::from_secs(60), rate: 100, ..Scenario::default() };
        scenario.network.loss = 0.01;
        let crash = Step::once(Duration::from_secs(5), Deed::Crash, Selector::Owner);
        scenario.steps.push(Step {
            every: Some(Duration::from_secs(20)),
            lasts: Some(Duration::from_secs(9)),
            ..crash
        });
        let figures = sim::run(&scenario).expect("valid");
        let json = serde_json::to_string(&Report::new(&scenario, &figures)).expect("JSON");
        (render(&scenario, &figures), json)
    }

    #[test]
    fn a_table_fits_80_columns_and_says_what_happened() {
        let (table, json) = shown(1);
        assert!(table.lines().all(|line| line.chars().count() <= 80 && line.trim_end() == line), "{table}");
        assert!(table.lines().any(|line| line.starts_with("crash           3")), "{table}");
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["events"][0]["count"], 3);
        assert!(
            json["events"][0]["ownerless_p99_ms"].as_f64().is_some_and(|ms| (50.0..400.0).contains(&ms)),
            "{json}"
        );
    }

    #[test]
    fn one_seed_gives_the_same_bytes_and_another_others() {
        assert_eq!(shown(1), shown(1));
        let different = (1..5).map(|seed| shown(seed).1).collect::<HashSet<_>>();
        assert_eq!(different.len(), 4);
    }
}
