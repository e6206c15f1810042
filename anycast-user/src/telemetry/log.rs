//! Logs on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// Environment variable with a filter of its own, as `anycast_user::monitor=trace`; it wins over `-v`.
pub const FILTER_VARIABLE: &str = "ANYCAST_LOG";

/// Starts logging to standard error. `verbosity`: 0 = what happens, 1 = why, 2 and more = everything.
///
/// Under systemd (`JOURNAL_STREAM` is set) the journal has the time already and colours would be noise.
///
/// # Errors
/// `ANYCAST_LOG` is not a filter.
pub fn start(verbosity: u8) -> Result<(), String> {
    let filter = match std::env::var(FILTER_VARIABLE) {
        Ok(filter) => EnvFilter::try_new(&filter).map_err(|error| {
            format!("{FILTER_VARIABLE}={filter}: {error}; write a level, as debug, or target=level, as anycast_user::monitor=trace")
        })?,
        Err(_) => EnvFilter::new(match verbosity {
            0 => "info,netlink_packet_route=error",
            1 => "info,netlink_packet_route=error,anycast=debug,anycast_user=debug,anycast_core=debug",
            _ => "debug,anycast=trace,anycast_user=trace,anycast_core=trace",
        }),
    };
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(!journal && std::io::stderr().is_terminal())
        .with_target(verbosity > 0)
        .with_timer(Timer { journal })
        .try_init()
        .map_err(|error| error.to_string())
}

/// The time of day as the log writes it, in UTC.
pub fn time_of_day() -> String {
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// The time of day, unless the journal writes it.
struct Timer {
    journal: bool,
}

impl FormatTime for Timer {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        if self.journal { Ok(()) } else { SystemTime.format_time(w) }
    }
}
