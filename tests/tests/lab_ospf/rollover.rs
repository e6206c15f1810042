//! Keys that change while the daemon runs (RFC 7166 3.2).

use std::time::{Duration, Instant};

use anycast_tests::lab::routed::Speaker;
use anycast_tests::lab::wait_until;
use anycast_user::control::{Answer, Command};
use nix::sys::signal::Signal;

use crate::keys::Keys;
use crate::router::{Kind, Router};
use crate::{PATIENCE, Rig, need_lab};

/// BIRD takes both and signs with the first.
const BOTH: &str = "authentication cryptographic; password \"old\" { id 7; algorithm hmac sha256; }; \
                    password \"new\" { id 8; algorithm hmac sha256; };";

/// Longer than the routers' dead interval of 4 s.
const DEAD: Duration = Duration::from_secs(6);

fn full_for(rig: &Rig) -> Option<f64> {
    let Answer::Ospf(picture) = rig.daemons[0].request(&Command::Ospf).unwrap() else { panic!() };
    let full = picture.neighbors.iter().find(|neighbor| neighbor.state == "Full");
    full.map(|neighbor| neighbor.state_seconds)
}

#[test]
fn keys_are_rolled_over_without_a_break() {
    need_lab!("keys_are_rolled_over_without_a_break");
    let keys = Keys::new("7 hmac-sha-256 old\n");
    let mut rig = Rig::new(Kind::Bird(BOTH), Speaker::Native, 1, &keys.line());
    keys.write("8 hmac-sha-256 new\n7 hmac-sha-256 old\n");
    rig.daemons[0].child().signal(Signal::SIGHUP).unwrap();
    wait_until("they are read", PATIENCE, || rig.daemons[0].log().contains("OSPF: keys read again")).unwrap();
    // The router knows the new one only: what is not signed with it does not count any more.
    let Router::Bird(bird) = &rig.router else { panic!() };
    let file = bird.socket().with_file_name("bird.conf");
    let text = std::fs::read_to_string(&file).unwrap();
    let old = "password \"old\" { id 7; algorithm hmac sha256; };";
    assert!(text.contains(old));
    std::fs::write(&file, text.replace(old, "")).unwrap();
    bird.birdc("configure").unwrap();
    let since = Instant::now();
    wait_until("a dead interval has passed", PATIENCE, || since.elapsed() > DEAD).unwrap();
    assert!(full_for(&rig).is_some_and(|seconds| seconds > DEAD.as_secs_f64()), "never broken");
    // Control: with the old one alone they part.
    keys.write("7 hmac-sha-256 old\n");
    rig.daemons[0].child().signal(Signal::SIGHUP).unwrap();
    wait_until("they part", PATIENCE, || full_for(&rig).is_none()).unwrap();
    // A file that is wrong changes nothing, and says so.
    keys.write("8 md5 new\n");
    rig.daemons[0].child().signal(Signal::SIGHUP).unwrap();
    wait_until("an alarm", PATIENCE, || {
        rig.daemons[0]
            .status()
            .unwrap()
            .alarms
            .iter()
            .any(|alarm| alarm.contains("ospf.keys:1: no algorithm"))
    })
    .unwrap();
}
