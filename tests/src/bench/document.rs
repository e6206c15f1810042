//! The figures as a table, a page and a chart.

use std::fmt::Write as _;

use super::Report;
use super::chart::{self, Bar, Panel};

/// Budgets, nanoseconds over an empty program.
const BUDGETS: [(&str, f64); 3] = [("solicitation", 60.0), ("dns_pass", 20.0), ("other_pass", 10.0)];

/// The figures for a terminal.
pub fn table(report: &Report) -> String {
    let mut text = String::new();
    for (name, value, wanted) in rows(report) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<44} {value:>14}   {wanted}");
    }
    text
}

/// Name, figure, what was aimed at.
fn rows(report: &Report) -> Vec<(String, String, String)> {
    let mut rows = Vec::new();
    let mut row =
        |name: &str, value: String, wanted: &str| rows.push((name.to_owned(), value, wanted.to_owned()));
    for (key, name) in RESPONDERS {
        let rate = report.ns_answered_per_s.get(key).copied().unwrap_or(f64::NAN);
        row(&format!("solicitations/s, {name}"), thousands(rate), "");
    }
    row("ratio to the kernel", format!("{:.1}", report.ratio_to_kernel), "at least 10");
    row("ratio to ndppd", format!("{:.0}", report.ratio_to_ndppd), "");
    row("ratio to the reflector", format!("{:.2}", report.ratio_to_reflector), "at least 0.8, aim 0.9");
    for (key, budget) in BUDGETS {
        let cost = report.ns_per_run.get(key).copied().unwrap_or(f64::NAN);
        row(&format!("ns a packet, {key}"), format!("{cost:.1}"), &format!("at most {budget}"));
    }
    for (key, ratio) in &report.dns_under_flood {
        row(
            &format!("DNS answers under flood, {key}"),
            format!("{:.0} %", ratio * 100.0),
            "of those without",
        );
    }
    let gate = &report.gate_shut_ms;
    row(
        "process exit to gate shut, p50 / p99 ms",
        format!("{:.2} / {:.2}", gate.p50, gate.p99),
        "p99 at most 20",
    );
    let lease = &report.lease_loss_ms;
    row(
        "SIGKILL to silent, p50 / max ms",
        format!("{:.0} / {:.0}", lease.p50, lease.max),
        "at most lease + 20 = 320",
    );
    let restart = &report.restart;
    row(
        "restart, unanswered of solicitations",
        format!("{} of {}", restart.unanswered, restart.solicitations),
        "0",
    );
    row("idle, percent of a core", format!("{:.2}", report.idle.cpu_percent), "at most 1");
    row("idle, resident MB", format!("{:.1}", report.idle.rss_mb), "at most 25");
    row("instructions verified", report.program.verified_instructions.to_string(), "");
    row("instructions translated", (report.program.translated_bytes / 8).to_string(), "");
    row("machine code, bytes", report.program.jited_bytes.to_string(), "");
    rows
}

const RESPONDERS: [(&str, &str); 5] = [
    ("reflector", "bare reflector (the limit)"),
    ("xdp_native", "fast path, native"),
    ("xdp_generic", "fast path, generic"),
    ("kernel_ndisc", "kernel"),
    ("ndppd", "ndppd"),
];

/// `docs/performance.md`.
pub fn page(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = format!(
        "# Performance\n\nMeasured by `cargo xtask bench --docs docs` on {}: {}, {} cores, Linux {}, veth. Medians of {} interleaved rounds;\n\
         ratios are taken within a round. This page is written by the command.\n\n![Chart](performance.svg)\n\n| what | figure | aim |\n|---|---:|---|\n",
        machine.date, machine.processor, machine.cores, machine.kernel, report.rounds
    );
    for (name, value, wanted) in rows(report) {
        let _ = writeln!(text, "| {name} | {value} | {wanted} |");
    }
    let kinds: Vec<String> = ["tcp_established", "udp_other_port", "ipv4_tcp"]
        .iter()
        .map(|key| format!("{key} {:.1}", report.ns_per_run.get(key).copied().unwrap_or(f64::NAN)))
        .collect();
    let offered = report.ns_offered_per_s.get("xdp_native").copied().unwrap_or(f64::NAN);
    let flood = |key: &str| {
        let [quiet, flooded, offered] =
            report.dns_under_flood_rates.get(key).copied().unwrap_or([f64::NAN; 3]);
        format!(
            "{} → {} answers/s under {} solicitations/s",
            thousands(quiet),
            thousands(flooded),
            thousands(offered)
        )
    };
    let _ = write!(
        text,
        "\n## How to read it\n\n\
         * **Solicitations a second**: one core makes the solicitations in the kernel (`BPF_PROG_TEST_RUN`, live frames), answers them and counts\n  \
         the answers, for every responder but ndppd, which is a process and has the other cores too. So the generator is part of every figure and the\n  \
         limit of the fastest: the fast path was offered {} a second and the reflector shows what the rest of that core's work costs. For ndppd the\n  \
         figure is the highest rate at which it answered 99 of 100.\n\
         * **Ratios travel, rates do not**: they swing by half with the machine's load. A NIC's driver costs other nanoseconds than veth's.\n\
         * **ns a packet** are the kernel's own statistics, over an empty program's {:.0} ns (most of which is the clock of the statistics), with 64\n  \
         addresses loaded, the two programs in turn, seven times a round. `other_pass` is the worst of: {}.\n\
         * **DNS under flood**: NSD and the thread that serves the server's receive queue on one core; the generator, dnsperf and the peer's\n  \
         receive queue on another. Queries come through the queue that the flood comes through. Whoever answers solicitations, the thread that\n  \
         serves the queue has its fair share of the core and no more, so that who answers makes little difference here. dnsperf shares its core with the generator, which is part of both figures. Fast path: {}; kernel: {}.\n\
         * **SIGKILL to silent** has a floor of two thirds of the lease (300 ms), which is renewed at a third.\n\
         * **Idle**: an owner with the intervals of the example configuration: heartbeat 50 ms, a DNS query over UDP and over TCP each second.\n\
         * **Control** figures: {} runs each.\n",
        thousands(offered),
        report.ns_per_run_empty,
        kinds.join(", "),
        flood("fast_path"),
        flood("kernel"),
        report.gate_shut_ms.runs.min(report.lease_loss_ms.runs).min(report.restart.runs),
    );
    text
}

/// `docs/performance.svg`.
pub fn chart(report: &Report) -> String {
    let rates = RESPONDERS
        .iter()
        .map(|(key, name)| {
            let value = report.ns_answered_per_s.get(key).copied().unwrap_or(0.0);
            Bar { label: (*name).to_owned(), value, text: thousands(value), ours: key.starts_with("xdp") }
        })
        .collect();
    let costs = BUDGETS
        .iter()
        .map(|(key, budget)| {
            let value = report.ns_per_run.get(key).copied().unwrap_or(0.0);
            Bar {
                label: key.replace('_', " "),
                value,
                text: format!("{value:.1} ns (budget {budget})"),
                ours: true,
            }
        })
        .collect();
    let flood = report
        .dns_under_flood
        .iter()
        .map(|(key, ratio)| Bar {
            label: key.replace('_', " "),
            value: ratio * 100.0,
            text: format!("{:.0} %", ratio * 100.0),
            ours: *key == "fast_path",
        })
        .collect();
    let machine = &report.machine;
    chart::draw(
        &[
            Panel {
                title: "Neighbor Solicitations answered per second, one core (log scale)".into(),
                logarithmic: true,
                bars: rates,
            },
            Panel {
                title: "Cost of a packet over an empty program, ns".into(),
                logarithmic: false,
                bars: costs,
            },
            Panel {
                title: "DNS answers under a flood of solicitations, % of those without".into(),
                logarithmic: false,
                bars: flood,
            },
        ],
        &format!(
            "{}, {} cores, Linux {}, veth, {}",
            machine.processor, machine.cores, machine.kernel, machine.date
        ),
    )
}

/// An integer with its thousands apart.
fn thousands(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(thousands(f64::NAN), "-");
    }
}
