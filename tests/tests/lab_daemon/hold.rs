//! The operator's word, given with bpftool.

use std::process::Command;
use std::time::Duration;

use anycast_tests::lab::farm::{SERVER, SERVICE};
use anycast_tests::lab::{DaemonOptions, Server, Solicitor, wait_until};
use anycast_user::telemetry::status::{Gate, State};

use crate::{DNS, PATIENCE, Rig, need_lab};

/// Between two solicitations.
const INTERVAL: Duration = Duration::from_millis(5);

#[test]
fn bpftool_holds_the_gate_shut_and_lets_it_go() {
    need_lab!("bpftool_holds_the_gate_shut_and_lets_it_go");
    let options = DaemonOptions::default();
    let rig = Rig::single(&options);
    assert!(answers(&rig));
    set_hold(rig.server(), 1);
    // The fast path obeys at once, the controller within one reading of the map: a server that is held shut serves nobody.
    rig.daemons[0]
        .wait_for_service(DNS, "held shut, and no owner", PATIENCE, |service| {
            service.gate == Gate::HeldShut && service.state != State::Owner
        })
        .unwrap();
    assert!(!answers(&rig));
    // The controller's renewals do not undo it.
    let since = std::time::Instant::now();
    wait_until("some leases pass", PATIENCE, || since.elapsed() > 4 * options.lease).unwrap();
    assert!(!answers(&rig));
    set_hold(rig.server(), 0);
    rig.daemons[0].wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
    assert!(answers(&rig));
}

#[test]
fn bpftool_holds_the_gate_open_beyond_the_daemon() {
    need_lab!("bpftool_holds_the_gate_open_beyond_the_daemon");
    let options = DaemonOptions::default();
    let mut rig = Rig::single(&options);
    set_hold(rig.server(), 2);
    rig.daemons[0].wait_for_service(DNS, "held open", PATIENCE, |s| s.gate == Gate::HeldOpen).unwrap();
    rig.daemons[0].kill().unwrap();
    let since = std::time::Instant::now();
    wait_until("some leases pass", PATIENCE, || since.elapsed() > 3 * options.lease).unwrap();
    assert!(answers(&rig));
    // Control: without the hold the lease has long run out.
    set_hold(rig.server(), 0);
    assert!(!answers(&rig));
}

#[test]
fn the_maps_are_dumped_with_names() {
    need_lab!("the_maps_are_dumped_with_names");
    let rig = Rig::single(&DaemonOptions::default());
    let maps = rig.server().bpffs.join(SERVER).join("maps");
    for (map, field) in
        [("GATES", "open_until_ns"), ("COUNTERS", "solicitations_multicast"), ("META", "abi_version")]
    {
        let output =
            Command::new("bpftool").args(["map", "dump", "pinned"]).arg(maps.join(map)).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains(field), "{map}: {text}");
    }
}

/// Sets the hold of the first gate as an operator does: `bpftool map lookup`, the ninth octet changed, `bpftool map update`.
fn set_hold(server: &Server, hold: u8) {
    let gates = server.bpffs.join(SERVER).join("maps/GATES");
    let bpftool = |action: &str, value: &[String]| {
        let mut command = Command::new("bpftool");
        command
            .args(["--json", "map", action, "pinned"])
            .arg(&gates)
            .args("key 0 0 0 0".split(' '))
            .args(value);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "bpftool map {action}: {said}");
        said
    };
    let found: serde_json::Value = serde_json::from_str(&bpftool("lookup", &[])).unwrap();
    let octets = found["value"].as_array().unwrap().iter().map(|octet| octet.as_str().unwrap().to_owned());
    let mut value: Vec<String> = ["value".to_owned()].into_iter().chain(octets).collect();
    assert_eq!(value.len(), 1 + 16);
    value[1 + 8] = hold.to_string();
    bpftool("update", &value);
}

/// Whether the fast path answers now: of twenty solicitations all or none are.
fn answers(rig: &Rig) -> bool {
    let solicitor = Solicitor::start(&rig.farm, SERVICE, INTERVAL).unwrap();
    let since = std::time::Instant::now();
    wait_until("twenty solicitations", PATIENCE, || since.elapsed() > 20 * INTERVAL).unwrap();
    let solicited = solicitor.stop();
    let answered = solicited.iter().filter(|one| one.answered.is_some()).count();
    assert!(answered == 0 || answered == solicited.len(), "{answered} of {} answered", solicited.len());
    answered > 0
}
