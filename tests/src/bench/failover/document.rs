//! The figures as a table, a page and a chart.

use std::fmt::Write as _;

use super::{Figures, Report, targets};
use crate::bench::chart::{self, Bar, Panel};
use crate::bench::stats::Summary;

/// An event's name and its figures.
type Row = (&'static str, fn(&Figures) -> &Summary);

const EVENTS: [Row; 5] = [
    ("DNS process killed", |figures| &figures.process_killed_ms),
    ("DNS process hung", |figures| &figures.service_hung_ms),
    ("link cut", |figures| &figures.link_cut_ms),
    ("daemon killed", |figures| &figures.daemon_killed_ms),
    ("planned stop", |figures| &figures.planned_ms),
];

fn contenders(report: &Report) -> [(&'static str, &Figures); 4] {
    [
        ("anycast", &report.ours),
        ("keepalived, 50 ms", &report.keepalived_50ms),
        ("keepalived, 100 ms", &report.keepalived_100ms),
        ("keepalived, 1 s", &report.keepalived_1s),
    ]
}

/// The figures for a terminal.
pub(super) fn table(report: &Report) -> String {
    let mut text = format!("{:<20}", "p50 / p99 ms (runs)");
    // Writing to a string does not fail.
    for (name, _) in contenders(report) {
        let _ = write!(text, " {name:>24}");
    }
    text.push('\n');
    for (event, figures) in EVENTS {
        let _ = write!(text, "{event:<20}");
        for (_, contender) in contenders(report) {
            let _ = write!(text, " {:>24}", cell(figures(contender)));
        }
        text.push('\n');
    }
    let _ = write!(text, "{:<20}", "lost, planned stop");
    for (_, contender) in contenders(report) {
        let planned = contender.planned;
        let _ = write!(text, " {:>24}", format!("{} of {}", planned.lost, planned.sent));
    }
    let _ = write!(text, "\n{:<20}", "lost in peace");
    for (_, contender) in contenders(report) {
        let _ = write!(text, " {:>24}", contender.lost_in_peace);
    }
    text.push_str("\n\n");
    for target in targets::all(report) {
        let verdict = if target.met { "" } else { "MISSED" };
        let _ = writeln!(text, "{:<56} {:>14}   {:<40} {verdict}", target.name, target.figure, target.aim);
    }
    text
}

fn cell(summary: &Summary) -> String {
    format!("{:.1} / {:.1} ({})", summary.p50, summary.p99, summary.runs)
}

/// `docs/failover.md`.
pub(super) fn page(report: &Report) -> String {
    let (machine, settings) = (&report.machine, &report.settings);
    let mut text = format!(
        "# Failover\n\nMeasured by `cargo xtask bench failover --docs docs` on {}: {}, {} cores, Linux {}, veth. This page is written by the \
         command.\n\n![Chart](failover.svg)\n\n## From the event to the first answer of another server\n\n\
         Milliseconds, median / 99th percentile (runs).\n\n| event |",
        machine.date, machine.processor, machine.cores, machine.kernel
    );
    for (name, _) in contenders(report) {
        let _ = write!(text, " {name} |");
    }
    text.push_str("\n|---|---:|---:|---:|---:|\n");
    for (event, figures) in EVENTS {
        let _ = write!(text, "| {event} |");
        for (_, contender) in contenders(report) {
            let _ = write!(text, " {} |", cell(figures(contender)));
        }
        text.push('\n');
    }
    text.push_str("| queries lost by planned stops |");
    for (_, contender) in contenders(report) {
        let _ = write!(text, " {} of {} |", contender.planned.lost, contender.planned.sent);
    }
    text.push_str("\n\n## Aims\n\n| what | figure | aim | |\n|---|---:|---|---|\n");
    for target in targets::all(report) {
        let verdict = if target.met { "met" } else { "**missed**" };
        let _ = writeln!(text, "| {} | {} | {} | {verdict} |", target.name, target.figure, target.aim);
    }
    let _ = write!(
        text,
        "\n## How to read it\n\n\
         * **Lab**: {} servers on one bridge, each with NSD; a router of the same kernel between them and a client that sends a numbered query \
         every {} ms\n  and learns from the answer which server gave it. All in network namespaces of one machine, so that everybody competes \
         for its cores.\n\
         * **Events**, always to the server that answers, at a random phase of all timers. *Killed*: SIGKILL to all processes of NSD. *Hung*: SIGSTOP \
         to them. *Link\n  cut*: its port of the bridge goes down. *Daemon killed*: SIGKILL to all processes of `anycast run` or keepalived; \
         NSD goes on, and so does\n  the service until another server takes over. *Planned stop*: SIGTERM to the same.\n\
         * **anycast**: heartbeat {} ms and lease {} ms, the defaults. The check is faster than the default: every {} ms, {} ms timeout, {} \
         failures; it decides\n  over *hung* alone.\n\
         * **keepalived** 2.2 of Debian 12: VRRPv3, `advert_int` as named, default priorities, `nopreempt`, NSD tracked by `track_process` \
         and by a script every\n  second (its least interval), 3 failures, which decides over *hung* alone. Its configuration stands in \
         `tests/src/lab/keepalived.rs`.\n\
         * The contenders run in turn, in the same servers. In front of each block nothing happens for 2 s; a query lost then makes the whole \
         report invalid.\n  Lost without an event to explain it, over all: anycast {}, keepalived {} (50 ms), {} (100 ms), {} (1 s).\n",
        settings.servers,
        settings.query_interval_ms,
        settings.heartbeat_ms,
        settings.lease_ms,
        settings.check_interval_ms,
        settings.check_timeout_ms,
        settings.check_fall,
        report.ours.lost_in_peace,
        report.keepalived_50ms.lost_in_peace,
        report.keepalived_100ms.lost_in_peace,
        report.keepalived_1s.lost_in_peace,
    );
    text
}

/// `docs/failover.svg`.
pub(super) fn chart(report: &Report) -> String {
    let panels: Vec<Panel> = EVENTS
        .iter()
        .map(|(event, figures)| {
            let bars = contenders(report).into_iter().map(|(name, contender)| {
                let summary = figures(contender);
                Bar {
                    label: name.to_owned(),
                    value: if summary.p50.is_finite() { summary.p50 } else { 0.0 },
                    text: format!("{:.0} ms (p99 {:.0})", summary.p50, summary.p99),
                    ours: name == "anycast",
                }
            });
            Panel {
                title: format!("{event}: to the first answer of another server, ms (log scale)"),
                logarithmic: true,
                bars: bars.collect(),
            }
        })
        .collect();
    let machine = &report.machine;
    let caption = format!(
        "{}, {} cores, Linux {}, veth, {}",
        machine.processor, machine.cores, machine.kernel, machine.date
    );
    chart::draw(&panels, &caption)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Machine;
    use crate::bench::failover::continuous::Shares;
    use crate::bench::failover::silence::Silence;
    use crate::bench::failover::{Count, SETTINGS};

    fn report() -> Report {
        let summary = |p50| Summary { p50, p99: p50 * 2.0, max: p50 * 2.0, runs: 50 };
        let figures = |scale: f64| Figures {
            process_killed_ms: summary(9.0 * scale),
            service_hung_ms: summary(200.0 * scale),
            link_cut_ms: summary(100.0 * scale),
            daemon_killed_ms: summary(100.0 * scale),
            planned_ms: summary(5.0 * scale),
            planned: Count { sent: 1000, lost: 0 },
            quiet: Count { sent: 1000, lost: 0 },
            lost_in_peace: 0,
        };
        let nothing = Count { sent: 100_000, lost: 0 };
        let text = || "x".to_owned();
        Report {
            machine: Machine { processor: text(), cores: 2, kernel: text(), date: text() },
            settings: SETTINGS,
            ours: figures(1.0),
            daemon_killed_silence: Silence {
                runs: 1,
                solicitations: 20,
                answered_by_victim: 0,
                answered_by_others: 20,
            },
            keepalived_1s: figures(30.0),
            keepalived_100ms: figures(3.0),
            keepalived_50ms: figures(1.5),
            drain: nothing,
            rotation: nothing,
            restart: nothing,
            rotate: Shares { jain: 1.0, weighted_error: 0.01, slices: 20, weighted_slices: 18 },
            per_router_gain: None,
            valid: true,
            failures: Vec::new(),
        }
    }

    #[test]
    fn good_figures_meet_every_aim_and_each_bad_one_misses_its_own() {
        let missed =
            |report: &Report| -> usize { targets::all(report).iter().filter(|target| !target.met).count() };
        assert_eq!(missed(&report()), 0, "{}", table(&report()));
        let spoil: [fn(&mut Report); 8] = [
            |report| report.ours.process_killed_ms.p99 = 51.0,
            |report| report.ours.link_cut_ms.p99 = 251.0,
            |report| report.keepalived_100ms.planned_ms.p50 = 9.0,
            |report| report.daemon_killed_silence.answered_by_victim = 1,
            |report| report.daemon_killed_silence.answered_by_others = 19,
            |report| report.drain.lost = 1,
            |report| report.rotate.jain = 0.98,
            // No measurement is no success.
            |report| report.ours.service_hung_ms.p99 = f64::NAN,
        ];
        for (number, spoil) in spoil.iter().enumerate() {
            let mut report = report();
            spoil(&mut report);
            assert_eq!(missed(&report), 1, "{number}: {}", table(&report));
        }
    }

    #[test]
    fn the_json_has_the_promised_keys() {
        let json = serde_json::to_value(report()).unwrap();
        for event in ["process_killed_ms", "service_hung_ms", "link_cut_ms", "daemon_killed_ms"] {
            for contender in
                [&json, &json["keepalived_1s"], &json["keepalived_100ms"], &json["keepalived_50ms"]]
            {
                for key in ["p50", "p99", "runs"] {
                    assert!(contender[event][key].is_number(), "{event} {key}");
                }
            }
        }
        for count in ["planned", "drain", "rotation", "restart"] {
            assert!(json[count]["sent"].is_u64() && json[count]["lost"].is_u64(), "{count}");
        }
        assert!(json["rotate"]["jain"].is_number() && json["rotate"]["weighted_error"].is_number());
        assert!(json.get("per_router_gain").is_some());
    }

    #[test]
    fn page_and_chart_name_every_event_and_contender() {
        let (page, chart) = (page(&report()), chart(&report()));
        for (event, _) in EVENTS {
            assert!(page.contains(event) && chart.contains(event), "{event}");
        }
        for (name, _) in contenders(&report()) {
            assert!(page.contains(name) && chart.contains(name), "{name}");
        }
    }
}
