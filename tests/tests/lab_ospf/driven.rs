//! Daemons that already run on the servers, driven: FRR by vtysh, BIRD by its control socket.

use anycast_tests::lab::routed::Speaker;
use anycast_user::control::Command;

use crate::router::{BIRD, FRR, Kind};
use crate::{Rig, need_lab};

fn driven(kind: Kind, speaker: Speaker) {
    let mut rig = Rig::new(kind, speaker, 2, "");
    assert_eq!(rig.answering(), ["s1", "s2"], "flows are shared");
    rig.daemons[1].request(&Command::Drain { service: None }).unwrap();
    rig.wait_for_next_hops(&[0]);
    rig.daemons[1].request(&Command::Undrain { service: None }).unwrap();
    rig.wait_for_next_hops(&[0, 1]);
    rig.responders[1].kill().unwrap();
    rig.wait_for_next_hops(&[0]);
    let daemon = rig.daemons.remove(0);
    assert!(daemon.terminate().unwrap().success());
    rig.wait_for_next_hops(&[]);
}

#[test]
fn frr_on_the_servers_does_as_the_daemon_says() {
    need_lab!("frr_on_the_servers_does_as_the_daemon_says");
    driven(FRR, Speaker::FrrVtysh);
}

#[test]
fn bird_on_the_servers_does_as_the_daemon_says() {
    need_lab!("bird_on_the_servers_does_as_the_daemon_says");
    driven(BIRD, Speaker::BirdBirdc);
}
