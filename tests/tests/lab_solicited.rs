//! Mode `solicited`: several servers answer one solicitation, at once or after a random delay (RFC 4861 7.2.7).
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as the tests do, by a panic")]

use std::time::Duration;

use anycast_tests::lab::daemon::ServiceOptions;
use anycast_tests::lab::farm::SERVICE;
use anycast_tests::lab::{self, Daemon, DaemonOptions, Farm, FarmOptions, Solicitor, wait_until};
use anycast_user::telemetry::status::State;

const PATIENCE: Duration = Duration::from_secs(20);

/// Between two solicitations: more than the fast path's budget of events would hold at once.
const INTERVAL: Duration = Duration::from_millis(20);

/// Solicitations of a run.
const COUNT: usize = 60;

/// How long the first answer to each solicitation took, and how many servers answered in all.
fn answers(more: &str) -> (Vec<Duration>, usize) {
    let farm = Farm::new(&FarmOptions { servers: 2, ..FarmOptions::default() }).unwrap();
    let service = ServiceOptions {
        mode: "solicited".to_owned(),
        check: false,
        more: more.to_owned(),
        ..ServiceOptions::new("dns", SERVICE)
    };
    let options = DaemonOptions::with(service);
    let daemons: Vec<Daemon> =
        farm.servers.iter().map(|server| Daemon::start(server, &options).unwrap()).collect();
    for daemon in &daemons {
        daemon.wait_for_state("dns", State::Ready, PATIENCE).unwrap();
    }
    let solicitor = Solicitor::start(&farm, SERVICE, INTERVAL).unwrap();
    // Each server answers each: twice as many answers as solicitations.
    wait_until("both servers answer", PATIENCE, || solicitor.answers() >= 2 * COUNT).unwrap();
    let answers = solicitor.answers();
    let solicited = solicitor.stop();
    let delays = solicited.iter().filter_map(|one| one.answered?.0.duration_since(one.sent).ok());
    (delays.collect(), answers)
}

#[test]
fn answers_wait_for_a_random_time() {
    if let Err(reason) = lab::available() {
        anycast_tests::skip("answers_wait_for_a_random_time", &reason);
        return;
    }
    let (delays, _) = answers("answer_delay = \"500ms\"");
    assert!(delays.len() >= COUNT / 2, "{}", delays.len());
    // The first of two random answers within half a second comes after a sixth of a second in the mean.
    let mean = delays.iter().sum::<Duration>() / delays.len() as u32;
    assert!(mean > Duration::from_millis(80), "{mean:?}");
    assert!(delays.iter().any(|delay| *delay > Duration::from_millis(200)), "{delays:?}");
    // Negative control: without the key the fast path answers at once.
    let (delays, _) = answers("");
    let mean = delays.iter().sum::<Duration>() / delays.len() as u32;
    assert!(mean < Duration::from_millis(50), "{mean:?}");
}
