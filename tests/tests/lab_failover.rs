//! Each thing that can happen to the server that answers, once, with real daemons and NSD: another server answers. How fast is what
//! `cargo xtask bench failover` measures.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as the tests do, by a panic")]

use std::time::{Duration, Instant};

use anycast_tests::lab::farm::SERVICE;
use anycast_tests::lab::{Client, Cluster, DaemonOptions, Event, wait_until};
use anycast_user::control::Command;

const PATIENCE: Duration = Duration::from_secs(30);

/// Between two queries.
const QUERY_INTERVAL: Duration = Duration::from_millis(2);

/// Returns from the test if the lab cannot run here.
macro_rules! need_lab {
    ($name:literal) => {
        if let Err(reason) = anycast_tests::lab::available() {
            anycast_tests::skip($name, &reason);
            return;
        }
    };
}

fn cluster() -> Cluster {
    let mut cluster = Cluster::new(3).unwrap();
    cluster.run_anycast(vec![DaemonOptions::default(); 3]).unwrap();
    cluster.settled(PATIENCE).unwrap();
    cluster
}

fn client(cluster: &Cluster) -> Client {
    Client::start(&cluster.farm.client, SERVICE, QUERY_INTERVAL).unwrap()
}

/// Waits until everybody is well and the owner's answers arrive; its number and its name.
fn owner(cluster: &Cluster, client: &Client) -> (usize, String) {
    let owner = cluster.settled(PATIENCE).unwrap();
    let name = cluster.farm.servers[owner].name.clone();
    wait_until("the owner answers", PATIENCE, || client.last_server().as_ref() == Some(&name)).unwrap();
    (owner, name)
}

fn another_answers(client: &Client, victim: &str, at: Instant) {
    wait_until("another server answers", PATIENCE, || client.first_answer_of_another(victim, at).is_some())
        .unwrap();
}

#[test]
fn whatever_happens_to_the_owner_another_server_answers() {
    need_lab!("whatever_happens_to_the_owner_another_server_answers");
    let mut cluster = cluster();
    let asking = client(&cluster);
    // Negative control: nothing happens, nothing moves and nothing is lost.
    let (first, name) = owner(&cluster, &asking);
    let (sent, _) = asking.counts();
    wait_until("the quiet time", PATIENCE, || asking.counts().0 > sent + 500).unwrap();
    assert_eq!(asking.first_answer_of_another(&name, Instant::now() - Duration::from_secs(1)), None);
    assert_eq!(owner(&cluster, &asking).0, first);
    assert_eq!(asking.stop().lost(), 0);

    for event in Event::ALL {
        let asking = client(&cluster);
        let (victim, name) = owner(&cluster, &asking);
        let at = cluster.strike(event, victim).unwrap();
        another_answers(&asking, &name, at);
        cluster.repair(event, victim).unwrap();
        let (next, _) = owner(&cluster, &asking);
        assert_ne!(next, victim, "{event:?}: the owner stays when the victim is well again");
        let record = asking.stop();
        match event {
            Event::Planned => assert_eq!(record.lost(), 0, "{event:?}, of {}", record.sent()),
            // Its queries wait in the socket of the hung server, and are answered when it goes on.
            Event::ServiceHung | Event::DaemonKilled => {}
            Event::ProcessKilled | Event::LinkCut => assert!(record.lost() > 0, "{event:?}: no event at all"),
        }
    }
    cluster.stop().unwrap();
}

#[test]
fn drain_and_restart_lose_nothing() {
    need_lab!("drain_and_restart_lose_nothing");
    let mut cluster = cluster();
    let asking = client(&cluster);
    for _ in 0..2 {
        let (drained, name) = owner(&cluster, &asking);
        let at = Instant::now();
        cluster.request(drained, &Command::Drain { service: None }).unwrap();
        another_answers(&asking, &name, at);
        // Not while it is drained: with two servers ready the farm is not settled.
        assert_eq!(cluster.owner(), None);
        cluster.request(drained, &Command::Undrain { service: None }).unwrap();

        let (restarted, _) = owner(&cluster, &asking);
        assert_ne!(restarted, drained);
        cluster.restart_keeping(restarted).unwrap();
        assert_eq!(owner(&cluster, &asking).0, restarted, "it owns on");
    }
    let record = asking.stop();
    assert_eq!(record.lost(), 0, "of {}", record.sent());

    // Negative control: the same client notices when something is lost.
    let asking = client(&cluster);
    let (victim, name) = owner(&cluster, &asking);
    let at = cluster.strike(Event::LinkCut, victim).unwrap();
    another_answers(&asking, &name, at);
    cluster.repair(Event::LinkCut, victim).unwrap();
    assert!(asking.stop().lost() > 0);
    cluster.stop().unwrap();
}
