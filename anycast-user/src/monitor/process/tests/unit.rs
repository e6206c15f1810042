//! A unit's main process, through the stub of systemd.

use super::{systemd::Systemd, *};

struct Stub {
    _directory: tempfile::TempDir,
    socket: PathBuf,
    bus: Option<Systemd>,
}

impl Stub {
    fn start(main_pid: i32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("bus");
        Self { bus: Some(Systemd::start(&socket, main_pid)), socket, _directory: directory }
    }

    fn bus(&self) -> &Systemd {
        self.bus.as_ref().unwrap()
    }

    fn watch(&self, name: &str) -> Watcher {
        Watcher::start(Target::Unit { name: name.to_owned(), bus: Bus::Address(self.bus().address()) })
    }
}

#[tokio::test]
async fn the_main_process_of_a_unit_is_watched_from_start_to_restart() {
    let service = Service::start();
    let stub = Stub::start(0);
    let mut watcher = stub.watch("nsd.service");
    let why = watcher.absent().await;
    assert_eq!(why.to_string(), "unit nsd.service has no main process: it is not started");

    stub.bus().change_main_pid(service.pid()).await;
    watcher.runs(&service).await;

    // The exit comes from the process, long before systemd says anything.
    service.crash();
    watcher.exits(&service).await;
    assert!(matches!(watcher.absent().await, ProcessError::Dead { pid, .. } if pid == service.pid()));
    stub.bus().change_main_pid(0).await;
    assert!(matches!(watcher.absent().await, ProcessError::NotStarted { .. }));

    let next = Service::start();
    stub.bus().change_main_pid(next.pid()).await;
    watcher.runs(&next).await;
}

#[tokio::test]
async fn a_main_process_that_systemd_replaces_is_followed() {
    let (old, new) = (Service::start(), Service::start());
    let stub = Stub::start(old.pid());
    let mut watcher = stub.watch("nsd.service");
    watcher.runs(&old).await;
    stub.bus().change_main_pid(new.pid()).await;
    watcher.runs(&new).await;
    // Each search asks twice: before and after the process was opened.
    assert!(stub.bus().asked() >= 4, "{}", stub.bus().asked());
}

#[tokio::test]
async fn an_exit_is_reported_without_the_bus_and_the_bus_is_found_again() {
    let service = Service::start();
    let mut stub = Stub::start(service.pid());
    let mut watcher = stub.watch("nsd.service");
    watcher.runs(&service).await;

    // The bus dies first: the process is still held.
    stub.bus = None;
    service.crash();
    watcher.exits(&service).await;
    let why = watcher.absent().await;
    assert!(matches!(why, ProcessError::Bus { .. }), "{why}");

    let next = Service::start();
    stub.bus = Some(Systemd::start(&stub.socket, next.pid()));
    loop {
        match watcher.next().await {
            State::Running { pid } => break assert_eq!(pid, next.pid()),
            State::Absent { why: ProcessError::Bus { .. } } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_unit_that_systemd_does_not_know_is_absent_and_says_so() {
    let stub = Stub::start(1);
    let text = stub.watch("not a unit").absent().await.to_string();
    assert!(text.starts_with("ask systemd for the main process of not a unit: "), "{text}");
    assert!(text.contains("Unit name not a unit is not valid."), "{text}");
}
