//! The word to systemd (sd_notify(3)). Without `NOTIFY_SOCKET` nothing is sent and nothing is wrong.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

/// The daemon has attached, checked and taken up its part: units ordered after it may start.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// One line for `systemctl status`.
pub fn status(status: &str) {
    send(&[NotifyState::Status(status)]);
}

/// The daemon is on its way out.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Still alive: to be sent by the decision loop itself after a full pass, at least twice each [`watchdog_interval`].
pub fn watchdog() {
    send(&[NotifyState::Watchdog]);
}

/// `WatchdogSec=` of the unit; `None` = systemd does not watch this process.
pub fn watchdog_interval() -> Option<Duration> {
    let mut micros = 0;
    sd_notify::watchdog_enabled(false, &mut micros).then(|| Duration::from_micros(micros))
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, state) {
        warn!(%error, "cannot notify systemd");
    }
}
