//! The operator's programs: a service stopped in standby and started on waking, and what `notify` is told.

use std::fs;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anycast_tests::lab::daemon::ServiceOptions;
use anycast_tests::lab::farm::SERVICE;
use anycast_tests::lab::responder::{answers, pid_file};
use anycast_tests::lab::{
    Client, Daemon, DaemonOptions, Farm, FarmOptions, Nsd, Server, wait_for, wait_until,
};
use anycast_user::telemetry::status::State;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{DNS, PATIENCE, Rig, need_lab};

const QUERIES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// Two servers with NSD, which hooks stop and start.
struct Sleepers {
    daemons: Vec<Daemon>,
    farm: Farm,
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        // What hooks have started is nobody's child.
        end_all(&self.farm);
    }
}

/// Servers whose programs hang; a killed daemon cannot end its own.
struct Hanging(Rig);

impl Drop for Hanging {
    fn drop(&mut self) {
        end_all(&self.0.farm);
    }
}

fn end_all(farm: &Farm) {
    farm.servers.iter().for_each(|server| server.namespace.kill_all());
}

/// What `on_wake` does.
#[derive(Clone, Copy)]
enum Wake {
    Starts,
    Fails,
}

impl Sleepers {
    fn new(wake: Wake) -> Self {
        let farm = Farm::new(&FarmOptions { servers: 2, ..FarmOptions::default() }).unwrap();
        let mut sleepers = Self { daemons: Vec::new(), farm };
        for server in &sleepers.farm.servers {
            let start = start_script(server, Wake::Starts);
            let started = server.namespace.command(&start).status().unwrap();
            assert!(started.success(), "{}", server.name);
            wait_until("NSD answers", PATIENCE, || serves(server)).unwrap();
            let options = with_hooks(server, &start_script(server, wake));
            sleepers.daemons.push(Daemon::start(server, &options).unwrap());
        }
        sleepers
    }

    /// Waits until one server stands by and the other, the last one, owns: (asleep, owner).
    fn asleep(&self) -> (usize, usize) {
        let services =
            || self.daemons.iter().map(|daemon| daemon.service(DNS)).collect::<Result<Vec<_>, _>>().ok();
        let found = wait_for("one stands by, its service stopped; the other owns", PATIENCE, || {
            let services = services()?;
            let asleep = services.iter().position(|service| service.state_detail == "suspended")?;
            (services[1 - asleep].state == State::Owner).then_some((asleep, 1 - asleep))
        });
        found.unwrap_or_else(|error| panic!("{error:#}; they are {:#?}", services()))
    }
}

fn script(server: &Server, name: &str, body: &str) -> PathBuf {
    let path = server.directory.join(name);
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn start_script(server: &Server, wake: Wake) -> PathBuf {
    let pid = pid_file(server);
    let addresses = [Ipv6Addr::LOCALHOST.into(), SERVICE];
    let configuration = Nsd::configure(&server.name, &server.directory, &pid, &addresses).unwrap();
    let (pid, configuration) = (pid.display(), configuration.display());
    match wake {
        Wake::Starts => script(
            server,
            "start-dns",
            &format!("kill -0 \"$(cat '{pid}')\" 2>/dev/null && exit 0\nexec nsd -c '{configuration}'"),
        ),
        // Good as long as the service runs: only waking fails.
        Wake::Fails => script(
            server,
            "wake-not",
            &format!(
                "kill -0 \"$(cat '{pid}' 2>/dev/null)\" 2>/dev/null && exit 0\necho 'no such service'; exit 5"
            ),
        ),
    }
}

fn with_hooks(server: &Server, start: &Path) -> DaemonOptions {
    let pid = pid_file(server);
    let body = format!(
        "pid=$(cat '{0}') || exit 0\nkill \"$pid\"\nwhile kill -0 \"$pid\" 2>/dev/null; do sleep 0.01; done",
        pid.display()
    );
    let stop = script(server, "stop-dns", &body);
    let log = server.directory.join("notified");
    let notify =
        script(server, "notify", &format!("echo \"$ANYCAST_EVENT $ANYCAST_TO\" >>'{}'", log.display()));
    let mut service = ServiceOptions::new(DNS, SERVICE);
    // An owner with too few queries stands by when another owns: at the end of its slice.
    service.mode = "rotate".to_owned();
    service.more = "slice = \"1s\"".to_owned();
    service.standby = Some((QUERIES, WINDOW));
    service.standby_more = format!(
        "on_standby = [\"{}\"]\non_wake = [\"{}\"]\nwake_timeout = \"3s\"",
        stop.display(),
        start.display()
    );
    DaemonOptions { more: format!("notify = \"{}\"", notify.display()), ..DaemonOptions::with(service) }
}

/// Does its DNS server answer?
fn serves(server: &Server) -> bool {
    answers(&server.namespace, SocketAddr::from((Ipv6Addr::LOCALHOST, 53)))
}

fn pid_of(server: &Server) -> Option<Pid> {
    let text = fs::read_to_string(pid_file(server)).ok()?;
    text.trim().parse().ok().map(Pid::from_raw)
}

fn notified(server: &Server) -> Vec<String> {
    let text = fs::read_to_string(server.directory.join("notified")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_service_stopped_in_standby_is_started_when_the_owner_fails() {
    need_lab!("a_service_stopped_in_standby_is_started_when_the_owner_fails");
    let sleepers = Sleepers::new(Wake::Starts);
    let (asleep, owner) = sleepers.asleep();
    let [sleeper, last] = [asleep, owner].map(|number| &sleepers.farm.servers[number]);
    wait_until("its process is gone", PATIENCE, || !serves(sleeper)).unwrap();
    assert!(serves(last), "the last one's runs on");
    // Its checks fail, on purpose, and it is not down for that.
    let since = Instant::now();
    wait_until("checks fail more than once", PATIENCE, || since.elapsed() > Duration::from_secs(1)).unwrap();
    let service = sleepers.daemons[asleep].service(DNS).unwrap();
    assert_eq!((service.state, service.able), (State::Standby, true), "{service:#?}");
    assert!(!serves(sleeper));

    // The owner's service dies. Nobody can serve until the sleeper's is started.
    kill(pid_of(last).unwrap(), Signal::SIGKILL).unwrap();
    let service = sleepers.daemons[asleep].wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
    assert!(service.gate.answers(), "{service:#?}");
    assert!(serves(sleeper), "its gate opens when it is able, and not before");
    let client = Client::start(&sleepers.farm.client, SERVICE, Duration::from_millis(5)).unwrap();
    wait_until("the woken server answers", PATIENCE, || client.counts().1 >= 50).unwrap();
    assert!(client.stop().by_server().into_keys().eq([sleeper.name.clone()]));

    let expected = ["state standby", "state ready", "state owner"];
    wait_until("the program was told of it all", PATIENCE, || {
        notified(sleeper).ends_with(&expected.map(str::to_owned))
    })
    .unwrap();
}

#[test]
fn a_service_that_cannot_be_started_leaves_its_server_down_and_says_why() {
    need_lab!("a_service_that_cannot_be_started_leaves_its_server_down_and_says_why");
    let sleepers = Sleepers::new(Wake::Fails);
    let (asleep, owner) = sleepers.asleep();
    kill(pid_of(&sleepers.farm.servers[owner]).unwrap(), Signal::SIGKILL).unwrap();
    let service = sleepers.daemons[asleep].wait_for_state(DNS, State::Down, PATIENCE).unwrap();
    assert!(service.state_reason.contains("not able within wake_timeout"), "{service:#?}");
    assert!(!service.gate.answers());
    let log = sleepers.daemons[asleep].log();
    assert!(log.contains("hook failed") && log.contains("no such service"), "{log}");
}

#[test]
fn a_notification_that_hangs_delays_nothing() {
    need_lab!("a_notification_that_hangs_delays_nothing");
    let mut hanging = Hanging(Rig::without_daemons(2));
    let rig = &mut hanging.0;
    for server in &rig.farm.servers {
        let log = server.directory.join("notified");
        let hang = script(server, "hang", &format!("echo $$ >>'{}'\nexec sleep 1000", log.display()));
        let options =
            DaemonOptions { more: format!("notify = \"{}\"", hang.display()), ..DaemonOptions::default() };
        rig.daemons.push(Daemon::start(server, &options).unwrap());
    }
    let owner = rig.owner();
    let next = 1 - owner;
    let hangs = |server: &Server| {
        let pid = notified(server).first()?.parse().ok().map(Pid::from_raw)?;
        kill(pid, None).is_ok().then_some(pid)
    };
    let hanging = wait_for("its program hangs", PATIENCE, || hangs(&rig.farm.servers[next])).unwrap();
    rig.responders[owner].kill().unwrap();
    rig.daemons[next].wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
    assert_eq!(hangs(&rig.farm.servers[next]), Some(hanging), "it hung all the while");
    // It does not keep the daemon from stopping, and does not outlive it.
    let daemon = rig.daemons.remove(next);
    assert!(daemon.terminate().unwrap().success());
    wait_until("the program is killed", PATIENCE, || kill(hanging, None).is_err()).unwrap();
}
