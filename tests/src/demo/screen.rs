//! The demo's live table: redrawn in place on a terminal, a line a second elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anycast_user::telemetry::status::Service;

/// Between two lines where there is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(1);

/// A server as the table shows it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) dns_runs: bool,
    /// Queries it answered.
    pub(super) answered: u64,
    /// Whether the router sends to it.
    pub(super) routed: bool,
    /// What its daemon says; none if it says nothing.
    pub(super) service: Option<Service>,
}

/// Where the table goes.
pub(super) struct Screen {
    terminal: bool,
    /// Lines of the table that stand below the last text, to be drawn over.
    drawn: usize,
    last_plain: Option<Instant>,
}

impl Screen {
    /// Standard output.
    pub(super) fn new() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), drawn: 0, last_plain: None }
    }

    /// Says something that stays.
    pub(super) fn say(&mut self, text: &str) {
        self.erase();
        println!("{text}");
        // What happens next is shown at once.
        self.last_plain = None;
    }

    /// Shows the farm.
    pub(super) fn show(&mut self, time: Duration, rows: &[Row], sent: usize, answered: usize) {
        if self.terminal {
            self.erase();
            let lines = table(time, rows, sent, answered);
            self.drawn = lines.len();
            println!("{}", lines.join("\n"));
        } else if self.last_plain.is_none_or(|last| last.elapsed() >= PLAIN_INTERVAL) {
            self.last_plain = Some(Instant::now());
            println!("{}", line(time, rows, sent, answered));
        }
        // Nobody to tell if standard output is gone.
        let _ = std::io::stdout().flush();
    }

    fn erase(&mut self) {
        if self.drawn > 0 {
            // Up to the table's first line, then clear to the end of the screen.
            print!("\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }
}

fn table(time: Duration, rows: &[Row], sent: usize, answered: usize) -> Vec<String> {
    let mut lines = vec![
        String::new(),
        format!(
            "{:<8}{:<9}{:<11}{:<9}{:>10}{:>15}   {}",
            "server", "state", "gate", "dns", "answers", "solicitations", "router"
        ),
    ];
    for row in rows {
        let (state, gate, solicitations) = words(row);
        lines.push(format!(
            "{:<8}{state:<9}{gate:<11}{:<9}{:>10}{solicitations:>15}   {}",
            row.name,
            if row.dns_runs { "runs" } else { "killed" },
            row.answered,
            if row.routed { "<- sends here" } else { "" },
        ));
    }
    lines.push(format!("{:>6.1} s   queries sent {sent}, answered {answered}", time.as_secs_f64()));
    lines
}

fn line(time: Duration, rows: &[Row], sent: usize, answered: usize) -> String {
    let servers: Vec<String> = rows
        .iter()
        .map(|row| {
            let (state, _, _) = words(row);
            let mark = if row.routed { "*" } else { "" };
            format!("{}{mark} {state} {}", row.name, row.answered)
        })
        .collect();
    format!("{:>4.1} s  {answered} of {sent}  {}", time.as_secs_f64(), servers.join("  "))
}

fn words(row: &Row) -> (&'static str, &'static str, String) {
    row.service.as_ref().map_or(("silent", "?", "?".to_owned()), |service| {
        (service.state.name(), service.gate.name(), service.solicitations_answered_total.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::farm::SERVICE;
    use anycast_user::telemetry::status::{Gate, State};

    #[test]
    fn everything_fits_in_eighty_columns() {
        let mut service = Service::unknown("dns", SERVICE, "acs0");
        service.state = State::Standby;
        service.gate = Gate::HeldOpen;
        service.solicitations_answered_total = 12_345_678;
        let row = Row {
            name: "s1".into(),
            dns_runs: false,
            answered: 12_345,
            routed: true,
            service: Some(service),
        };
        let silent = Row { service: None, name: "s2".into(), ..row.clone() };
        let rows = [row.clone(), silent, row];
        let lines = table(Duration::from_secs(59), &rows, 12_345, 12_345);
        for line in lines.iter().chain([&line(Duration::from_secs(59), &rows, 12_345, 12_345)]) {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        }
    }
}
