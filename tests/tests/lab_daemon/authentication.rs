//! An attacker on the link, with real daemons: he has recorded heartbeats, and forges heartbeats and advertisements without the
//! key.

use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use anycast_core::heartbeat::{Message, Report};
use anycast_core::{ServerId, State as CoreState};
use anycast_tests::frames::Neighbor;
use anycast_tests::lab::farm::{ROUTER_LINK, SERVICE};
use anycast_tests::lab::{Capture, Captured, Daemon, DaemonOptions, Injector, Server, wait_until};
use anycast_user::advertise::heartbeat::PORT;
use anycast_user::telemetry::status::{Interface, State};
use nix::sys::signal::Signal;

use crate::{DNS, PATIENCE, Rig, need_lab, unsolicited};

const OLD: &str = "0101010101010101010101010101010101010101010101010101010101010101";
const NEW: &str = "0202020202020202020202020202020202020202020202020202020202020202";

/// Where the payload of a heartbeat's frame begins: Ethernet, IPv6, UDP.
const PAYLOAD: usize = 14 + 40 + 8;

/// Writes a server's key file, and names it.
fn keys(server: &Server, text: &str) -> PathBuf {
    let path = server.directory.join("farm.keys");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A configuration with `auth` and the key file of this server.
fn with_key(server: &Server, key: &str, auth: &str) -> DaemonOptions {
    let file = keys(server, &format!("1 {key}\n"));
    let farm_more = format!("key_file = \"{}\"\nauth = \"{auth}\"", file.display());
    DaemonOptions { farm_more, ..DaemonOptions::default() }
}

/// Two servers, each with the key that `key` gives it; without one, not authenticated.
fn rig(key: impl Fn(usize) -> Option<&'static str>) -> Rig {
    let mut rig = Rig::without_daemons(2);
    rig.daemons = rig
        .farm
        .servers
        .iter()
        .enumerate()
        .map(|(number, server)| Daemon::start(server, &options(server, key(number))).unwrap())
        .collect();
    rig
}

fn options(server: &Server, key: Option<&str>) -> DaemonOptions {
    key.map_or_else(DaemonOptions::default, |key| with_key(server, key, "enforce"))
}

fn interface(daemon: &Daemon) -> Interface {
    daemon.status().unwrap().interfaces.remove(0)
}

/// Heartbeats with this verdict.
fn heartbeats(daemon: &Daemon, verdict: &str) -> u64 {
    interface(daemon).heartbeats_authentication.get(verdict).copied().unwrap_or_default()
}

/// The payload of a captured heartbeat.
fn payload(seen: &Captured) -> Option<&[u8]> {
    let udp = seen.bytes.get(12..14)? == [0x86, 0xdd] && seen.bytes.get(20)? == &17;
    let port = seen.bytes.get(56..58)? == PORT.to_be_bytes();
    if udp && port { seen.bytes.get(PAYLOAD..) } else { None }
}

/// Sends a heartbeat from the router, in a frame that was recorded.
fn play(injector: &Injector, recorded: &[u8], payload: &[u8]) {
    let mut frame = recorded[..PAYLOAD].to_vec();
    frame.extend_from_slice(payload);
    let length = (8 + payload.len()) as u16;
    frame[18..20].copy_from_slice(&length.to_be_bytes());
    frame[58..60].copy_from_slice(&length.to_be_bytes());
    frame[60..62].fill(0);
    let checksum = {
        let word = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).unwrap());
        anycast_tests::frames::upper_checksum(word(22).into(), word(38).into(), 17, &frame[54..])
    };
    frame[60..62].copy_from_slice(&checksum.to_be_bytes());
    injector.send(&frame).unwrap();
}

/// What a forger says: the dead server lives, and owns since much later.
fn forged(recorded: &[u8]) -> Vec<u8> {
    let told = Message::decode(recorded).unwrap();
    let report = Report {
        address: SERVICE,
        vlan: 0,
        state: CoreState::Owner,
        suspect: false,
        last: false,
        epoch: told.services[0].epoch + 1_000,
        owner: None,
        successors: Vec::new(),
        slice_left: None,
        load: None,
        priority: 0,
        routers: None,
    };
    Message { sequence: told.sequence + 1_000_000, leaving: false, services: vec![report], ..told }.encode()
}

/// A farm of two whose owner has been recorded and is dead; the other has restarted since, and owns.
struct Scene {
    rig: Rig,
    survivor: usize,
    dead: ServerId,
    recording: Vec<Vec<u8>>,
    injector: Injector,
}

impl Scene {
    fn new(key: Option<&'static str>) -> Self {
        let mut rig = rig(|_| key);
        let owner = rig.owner();
        let survivor = 1 - owner;
        let capture = rig.capture();
        let mac = rig.farm.servers[owner].mac;
        let of_owner = |seen: &Captured| payload(seen).is_some() && seen.bytes[6..12] == mac.0;
        wait_until("heartbeats are recorded", PATIENCE, || capture.count(of_owner) >= 40).unwrap();
        let recording: Vec<Vec<u8>> =
            capture.frames().into_iter().filter(of_owner).map(|seen| seen.bytes).collect();
        rig.daemons[owner].kill().unwrap();
        rig.daemons[survivor].wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
        // It forgets what it has heard.
        let server = &rig.farm.servers[survivor];
        rig.daemons.remove(survivor).terminate().unwrap();
        rig.daemons.insert(survivor, Daemon::start(server, &options(server, key)).unwrap());
        rig.daemons[survivor].wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
        let dead = Message::decode(&recording[0][PAYLOAD..]).unwrap().server;
        let injector = Injector::new(&rig.farm.router, ROUTER_LINK).unwrap();
        Self { rig, survivor, dead, recording, injector }
    }

    fn daemon(&self) -> &Daemon {
        &self.rig.daemons[self.survivor]
    }

    /// Does the survivor take the dead server for a peer?
    fn believed(&self) -> bool {
        let peers = self.daemon().service(DNS).unwrap().peers;
        peers.iter().any(|peer| peer.id == self.dead.to_string())
    }

    fn play_recording(&self) {
        for recorded in &self.recording {
            // On a virtual link the checksum of what was recorded is yet to be completed: `play` writes a whole one.
            play(&self.injector, recorded, &recorded[PAYLOAD..]);
        }
    }

    fn play_forgery(&self) {
        let recorded = &self.recording[0];
        play(&self.injector, recorded, &forged(&recorded[PAYLOAD..]));
    }
}

#[test]
fn recorded_and_forged_heartbeats_are_not_obeyed_and_counted() {
    need_lab!("recorded_and_forged_heartbeats_are_not_obeyed_and_counted");
    let scene = Scene::new(Some(OLD));
    let before = scene.daemon().service(DNS).unwrap().transitions_total;
    scene.play_recording();
    let count = scene.recording.len() as u64;
    wait_until("the recording is counted", PATIENCE, || heartbeats(scene.daemon(), "unproven") >= count)
        .unwrap();
    // Once more: now they are old, too.
    scene.play_recording();
    wait_until("the replay is counted", PATIENCE, || heartbeats(scene.daemon(), "replayed") >= count)
        .unwrap();
    for _ in 0..50 {
        scene.play_forgery();
    }
    // Recorded, and changed in its last octet, which is the signature's.
    let mut changed = scene.recording[0][PAYLOAD..].to_vec();
    *changed.last_mut().unwrap() ^= 1;
    play(&scene.injector, &scene.recording[0], &changed);
    wait_until("the forgeries are counted", PATIENCE, || {
        heartbeats(scene.daemon(), "unsigned") >= 50 && heartbeats(scene.daemon(), "bad_signature") >= 1
    })
    .unwrap();
    assert!(!scene.believed());
    let service = scene.daemon().service(DNS).unwrap();
    assert_eq!((service.state, service.transitions_total), (State::Owner, before));
    assert_eq!(heartbeats(scene.daemon(), "verified"), 0, "nobody else lives");
    let alarms = scene.daemon().status().unwrap().alarms;
    assert!(alarms.iter().any(|alarm| alarm.contains("heartbeats")), "{alarms:?}");
}

/// The control: without authentication the recording makes a peer, and the forgery an owner.
#[test]
fn without_authentication_they_are_obeyed() {
    need_lab!("without_authentication_they_are_obeyed");
    let scene = Scene::new(None);
    scene.play_recording();
    wait_until("the recording is believed", PATIENCE, || scene.believed()).unwrap();
    wait_until("the forgery is obeyed", PATIENCE, || {
        scene.play_forgery();
        scene.daemon().service(DNS).unwrap().state == State::Ready
    })
    .unwrap();
}

#[test]
fn a_flood_of_forged_advertisements_moves_nobody() {
    need_lab!("a_flood_of_forged_advertisements_moves_nobody");
    let mut rig = rig(|_| Some(OLD));
    let owner = rig.owner();
    let ready = 1 - owner;
    let IpAddr::V6(target) = SERVICE else { panic!("the service address is IPv6") };
    let peer = &rig.farm.servers[ready];
    // With the MAC address of a peer, and with a stranger's.
    let stranger = [2, 0, 0, 9, 9, 9];
    let frames = [peer.mac.0, stranger].map(|mac| Neighbor::advertisement(mac, peer.address, target).frame());
    let flood = |injector: &Injector| {
        for frame in frames.iter().cycle().take(64) {
            injector.send(frame).unwrap();
        }
    };
    let injector = Injector::new(&rig.farm.router, ROUTER_LINK).unwrap();
    let before: Vec<u64> =
        rig.daemons.iter().map(|daemon| daemon.service(DNS).unwrap().transitions_total).collect();
    let capture = Capture::start(&rig.farm.router, ROUTER_LINK).unwrap();
    let refused = |daemon: &Daemon| {
        interface(daemon).advertisements_authentication.get("unsigned").copied().unwrap_or_default()
    };
    wait_until("a thousand are refused", PATIENCE, || {
        flood(&injector);
        refused(&rig.daemons[owner]) >= 1_000
    })
    .unwrap();
    for (daemon, before) in rig.daemons.iter().zip(before) {
        assert_eq!(daemon.service(DNS).unwrap().transitions_total, before);
    }
    // Countered once, and not for every one of them; the repetitions of the take-over may still be under way.
    let counters = capture.count(|seen| !seen.outgoing && unsolicited(seen, SERVICE));
    assert!(counters <= 3, "{counters} counter-advertisements");
    // The farm is not parked: a dead owner is replaced while the flood goes on.
    rig.daemons[owner].kill().unwrap();
    wait_until("the other takes over under the flood", PATIENCE, || {
        flood(&injector);
        rig.daemons[ready].service(DNS).unwrap().state == State::Owner
    })
    .unwrap();
}

/// The owner's own advertisement carries a signed option that the other verifies.
#[test]
fn advertisements_are_signed_and_verified() {
    need_lab!("advertisements_are_signed_and_verified");
    let rig = Rig::without_daemons(2);
    let capture = rig.capture();
    let mut rig = rig;
    rig.daemons = rig
        .farm
        .servers
        .iter()
        .map(|server| Daemon::start(server, &with_key(server, OLD, "enforce")).unwrap())
        .collect();
    let owner = rig.owner();
    rig.daemons[1 - owner]
        .request(&anycast_user::control::Command::Takeover { service: DNS.to_owned() })
        .unwrap();
    wait_until("the advertisement is verified", PATIENCE, || {
        let told = interface(&rig.daemons[owner]).advertisements_authentication;
        told.get("verified").is_some_and(|count| *count >= 1)
    })
    .unwrap();
    let seen = capture.wait_for("an advertisement", PATIENCE, |seen| unsolicited(seen, SERVICE)).unwrap();
    // Ethernet, IPv6, the fixed part, the target link-layer address option; then type 253, ten units.
    assert_eq!(seen.bytes[14 + 40 + 24 + 8..][..4], [253, 10, 0x41, 0x46]);
    assert_eq!(rig.owner(), 1 - owner);
}

#[test]
fn two_farms_with_different_keys_alarm_and_do_not_fight() {
    need_lab!("two_farms_with_different_keys_alarm_and_do_not_fight");
    let rig = rig(|number| Some([OLD, NEW][number]));
    for daemon in &rig.daemons {
        daemon.wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
    }
    for daemon in &rig.daemons {
        wait_until("the alarm is raised", PATIENCE, || {
            let alarms = daemon.status().unwrap().alarms;
            alarms.iter().any(|alarm| alarm.contains("second farm") && alarm.contains("wrong key file"))
        })
        .unwrap();
        // By then the advertisements of the start are through: three, a second apart.
        wait_until("heartbeats are refused", PATIENCE, || heartbeats(daemon, "bad_signature") >= 80).unwrap();
    }
    let capture = rig.capture();
    let marks: Vec<u64> = rig.daemons.iter().map(|daemon| heartbeats(daemon, "bad_signature")).collect();
    for (daemon, mark) in rig.daemons.iter().zip(marks) {
        wait_until("some seconds pass", PATIENCE, || heartbeats(daemon, "bad_signature") >= mark + 60)
            .unwrap();
        assert_eq!(daemon.service(DNS).unwrap().state, State::Owner);
    }
    assert_eq!(capture.count(|seen| unsolicited(seen, SERVICE)), 0, "no fight");
}

#[test]
fn keys_are_rolled_over_by_sighup() {
    need_lab!("keys_are_rolled_over_by_sighup");
    let mut rig = rig(|_| Some(OLD));
    let owner = rig.owner();
    let before: Vec<u64> =
        rig.daemons.iter().map(|daemon| daemon.service(DNS).unwrap().transitions_total).collect();
    let reload = |rig: &mut Rig, text: &str, ids: &[u16]| {
        for number in 0..2 {
            keys(&rig.farm.servers[number], text);
            rig.daemons[number].child().signal(Signal::SIGHUP).unwrap();
            let daemon = &rig.daemons[number];
            wait_until("the keys are read", PATIENCE, || daemon.status().unwrap().daemon.keys == ids)
                .unwrap();
            let mark = heartbeats(daemon, "verified");
            wait_until("heartbeats are heard", PATIENCE, || heartbeats(daemon, "verified") >= mark + 5)
                .unwrap();
        }
    };
    reload(&mut rig, &format!("1 {OLD}\n2 {NEW}\n"), &[1, 2]);
    reload(&mut rig, &format!("2 {NEW}\n1 {OLD}\n"), &[2, 1]);
    reload(&mut rig, &format!("2 {NEW}\n"), &[2]);
    assert_eq!(rig.owner(), owner);
    for (daemon, before) in rig.daemons.iter().zip(before) {
        assert_eq!(daemon.service(DNS).unwrap().transitions_total, before);
        assert_eq!(heartbeats(daemon, "unknown_key") + heartbeats(daemon, "bad_signature"), 0);
    }
    // A file that is wrong changes nothing, and is shown.
    keys(&rig.farm.servers[owner], "3 short\n");
    rig.daemons[owner].child().signal(Signal::SIGHUP).unwrap();
    let daemon = &rig.daemons[owner];
    wait_until("the mistake is shown", PATIENCE, || {
        daemon.status().unwrap().alarms.iter().any(|alarm| alarm.contains("farm.keys:1:"))
    })
    .unwrap();
    assert_eq!(daemon.status().unwrap().daemon.keys, [2]);
}

/// Everybody could read it: the daemon does not start.
#[test]
fn a_key_file_that_everybody_reads_is_refused() {
    need_lab!("a_key_file_that_everybody_reads_is_refused");
    let rig = Rig::without_daemons(1);
    let server = rig.server();
    let options = with_key(server, OLD, "enforce");
    let file = server.directory.join("farm.keys");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let error = format!("{:#}", Daemon::start(server, &options).unwrap_err());
    assert!(error.contains("farm.keys has mode 0644") && error.contains("chmod 0600"), "{error}");
    // The control: with the right mode it starts.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let daemon = Daemon::start(server, &options).unwrap();
    daemon.wait_for_state(DNS, State::Owner, Duration::from_secs(10)).unwrap();
}
