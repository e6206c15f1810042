//! Standby by too few queries, and back by a solicitation.

use std::time::{Duration, Instant};

use anycast_tests::lab::daemon::ServiceOptions;
use anycast_tests::lab::farm::SERVICE;
use anycast_tests::lab::{Capture, Client, DaemonOptions, wait_until};
use anycast_user::control::Command;
use anycast_user::telemetry::status::State;

use crate::{DNS, PATIENCE, Rig, announces, need_lab, unsolicited};

/// Queries within [`WINDOW`] below which a server stands by.
const QUERIES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(3);

fn with_standby() -> DaemonOptions {
    let mut service = ServiceOptions::new(DNS, SERVICE);
    service.standby = Some((QUERIES, WINDOW));
    DaemonOptions::with(service)
}

#[test]
fn a_lone_owner_falls_quiet_and_a_solicitation_wakes_it() {
    need_lab!("a_lone_owner_falls_quiet_and_a_solicitation_wakes_it");
    let rig = Rig::single(&with_standby());
    let server = rig.server();
    wait_until_quiet(&rig);
    let capture = rig.capture();
    // Longer than the distance of two advertisements: none is outstanding.
    let since = Instant::now();
    wait_until("some time passes", PATIENCE, || since.elapsed() > Duration::from_millis(2500)).unwrap();
    assert_eq!(
        capture.count(|seen| announces(seen, SERVICE, server.mac)),
        0,
        "a quiet server does not advertise"
    );

    // The router resolves the address for a client; the fast path answers, since this server is the last one.
    farm_forgets(&rig);
    let client = Client::start(&rig.farm.client, SERVICE, Duration::from_millis(200)).unwrap();
    let mac = server.mac;
    let seen = capture
        .wait_for("the announcement of the woken server", PATIENCE, |seen| announces(seen, SERVICE, mac))
        .unwrap();
    assert!(seen.parse().advertisement().is_some_and(|na| na.override_flag && !na.solicited));
    let record = client.stop();
    assert_eq!(record.lost(), 0, "the last server kept its gate open");
}

#[test]
fn an_owner_with_enough_queries_does_not_stand_by() {
    need_lab!("an_owner_with_enough_queries_does_not_stand_by");
    let rig = Rig::single(&with_standby());
    let client = Client::start(&rig.farm.client, SERVICE, Duration::from_millis(20)).unwrap();
    let since = Instant::now();
    wait_until("two windows pass", PATIENCE, || since.elapsed() > 2 * WINDOW).unwrap();
    let capture = rig.capture();
    assert_eq!(announced_on_request(&rig, &capture), 1, "it advertises still");
    assert_eq!(client.stop().lost(), 0);
}

#[test]
fn with_another_owner_it_is_silent_until_it_is_solicited() {
    need_lab!("with_another_owner_it_is_silent_until_it_is_solicited");
    let rig = Rig::new(2, &with_standby());
    let first = rig.owner();
    let second = 1 - first;
    // The operator sends the owner into standby; the other one takes over.
    rig.daemons[first].request(&Command::Standby { service: DNS.to_owned() }).unwrap();
    rig.daemons[second].wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
    let service = rig.daemons[first].wait_for_state(DNS, State::Standby, PATIENCE).unwrap();
    assert!(!service.gate.answers(), "{service:?}");
    let answered = service.solicitations_answered_total;

    farm_forgets(&rig);
    let client = Client::start(&rig.farm.client, SERVICE, Duration::from_millis(20)).unwrap();
    let service = rig.daemons[first].wait_for_state(DNS, State::Ready, PATIENCE).unwrap();
    assert_eq!(service.solicitations_answered_total, answered, "the owner answers, not the woken one");
    let record = client.stop();
    assert_eq!(record.lost(), 0);
    assert_eq!(record.by_server().into_keys().collect::<Vec<_>>(), [rig.farm.servers[second].name.clone()]);
}

/// The announcements of taking over are out (three, a second apart), and a whole window had no query.
fn wait_until_quiet(rig: &Rig) {
    rig.daemons[0].wait_for_service(DNS, "quiet", PATIENCE, |service| service.quiet).unwrap();
}

/// Asks the daemon to announce, and counts what comes of it by the time the daemon has answered something sent behind.
fn announced_on_request(rig: &Rig, capture: &Capture) -> usize {
    // A token of the bucket must be there (one a second, depth two).
    let since = Instant::now();
    wait_until("the bucket fills", PATIENCE, || since.elapsed() > Duration::from_millis(2100)).unwrap();
    capture.clear();
    // A quiet server may refuse, or have nothing to announce: the wire decides.
    let _ = rig.daemons[0].request(&Command::Announce { service: None });
    rig.daemons[0].status().unwrap();
    let since = Instant::now();
    wait_until("a frame would have come through", PATIENCE, || since.elapsed() > Duration::from_millis(300))
        .unwrap();
    capture.count(|seen| unsolicited(seen, SERVICE))
}

fn farm_forgets(rig: &Rig) {
    rig.farm.forget_router_neighbour(SERVICE).unwrap();
}
