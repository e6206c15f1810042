//! Real child processes, found by a pid file and through a stub of systemd.

mod systemd;
mod unit;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::timeout;

use super::*;

/// Much longer than anything here takes: a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process that does nothing until it is killed; at the latest at the end of the test.
struct Service(Child);

impl Service {
    fn start() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Kills it and leaves the zombie: the service manager may be slow to reap.
    fn crash(&self) {
        self.signal(Signal::SIGKILL);
    }

    fn reap(&mut self) {
        self.0.wait().unwrap();
    }

    /// The state letter of proc(5).
    fn state(&self) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        stat.rsplit(") ").next().unwrap().chars().next().unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Watcher {
    reports: mpsc::Receiver<Report>,
    guard: TaskGuard,
}

impl Watcher {
    fn start(target: Target) -> Self {
        let (sender, reports) = mpsc::channel(8);
        Self { guard: spawn(ProcessId(3), target, sender), reports }
    }

    async fn next(&mut self) -> State {
        let report =
            timeout(PATIENCE, self.reports.recv()).await.expect("no report").expect("the task ended");
        assert_eq!(report.id, ProcessId(3));
        report.state
    }

    async fn runs(&mut self, service: &Service) {
        match self.next().await {
            State::Running { pid } => assert_eq!(pid, service.pid()),
            other => panic!("{other:?} instead of running"),
        }
    }

    async fn exits(&mut self, service: &Service) {
        match self.next().await {
            State::Exited { pid } => assert_eq!(pid, service.pid()),
            other => panic!("{other:?} instead of exited"),
        }
    }

    async fn absent(&mut self) -> ProcessError {
        match self.next().await {
            State::Absent { why } => why,
            other => panic!("{other:?} instead of absent"),
        }
    }
}

/// As daemons do: written beside, then renamed into place.
fn write_pid(path: &Path, content: impl ToString) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, content.to_string()).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

fn pid_file() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("service.pid");
    (directory, path)
}

#[tokio::test]
async fn an_exit_is_reported_though_nobody_reaped_and_the_file_still_names_it() {
    let (_directory, path) = pid_file();
    let mut service = Service::start();
    write_pid(&path, format!("{}\n", service.pid()));
    let mut watcher = Watcher::start(Target::PidFile(path.clone()));
    watcher.runs(&service).await;

    service.crash();
    watcher.exits(&service).await;
    assert_eq!(service.state(), 'Z', "the test reaped it, so it shows nothing about zombies");
    assert!(matches!(watcher.absent().await, ProcessError::Dead { pid, .. } if pid == service.pid()));

    // Reaping it changes nothing, and the next process is found as soon as the file names it.
    service.reap();
    let next = Service::start();
    write_pid(&path, next.pid());
    watcher.runs(&next).await;
}

#[tokio::test]
async fn a_stopped_process_lives() {
    let (_directory, path) = pid_file();
    let service = Service::start();
    write_pid(&path, service.pid());
    let mut watcher = Watcher::start(Target::PidFile(path.clone()));
    watcher.runs(&service).await;

    service.signal(Signal::SIGSTOP);
    let stopped = async {
        while service.state() != 'T' {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, stopped).await.unwrap();
    // Make the task look again before claiming that it has nothing to say: the same process under a new file.
    write_pid(&path, service.pid());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(watcher.reports.try_recv().is_err(), "a stopped process was reported");

    service.crash();
    watcher.exits(&service).await;
}

#[tokio::test]
async fn a_replaced_pid_file_moves_the_watch() {
    let (_directory, path) = pid_file();
    let (old, new) = (Service::start(), Service::start());
    write_pid(&path, old.pid());
    let mut watcher = Watcher::start(Target::PidFile(path.clone()));
    watcher.runs(&old).await;
    write_pid(&path, new.pid());
    watcher.runs(&new).await;

    // The old one does not matter any more: the next report is about the new one.
    old.crash();
    let gone = async {
        while old.state() != 'Z' {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
    new.crash();
    watcher.exits(&new).await;
}

#[tokio::test]
async fn a_removed_pid_file_does_not_end_a_process() {
    let (_directory, path) = pid_file();
    let service = Service::start();
    write_pid(&path, service.pid());
    let mut watcher = Watcher::start(Target::PidFile(path.clone()));
    watcher.runs(&service).await;
    std::fs::remove_file(&path).unwrap();
    // Another file in the directory makes the task wake up; it is not ours.
    write_pid(&path.with_file_name("other.pid"), 1);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(watcher.reports.try_recv().is_err());

    service.crash();
    watcher.exits(&service).await;
    assert!(matches!(watcher.absent().await, ProcessError::PidFile { .. }));
}

#[tokio::test]
async fn what_is_no_pid_is_absent_and_says_why_once() {
    let (_directory, path) = pid_file();
    let mut watcher = Watcher::start(Target::PidFile(path.clone()));
    let text = watcher.absent().await.to_string();
    assert!(text.contains("service.pid: No such file or directory"), "{text}");
    for content in ["", "nsd", "-1", "0", "99999999999"] {
        write_pid(&path, content);
        let text = watcher.absent().await.to_string();
        assert!(text.ends_with(&format!("holds no process id but `{content}`")), "{text}");
        // The same again is no change.
        write_pid(&path, content);
    }
    // No process has an id above PID_MAX_LIMIT.
    write_pid(&path, 4_194_305);
    assert!(matches!(watcher.absent().await, ProcessError::Dead { pid: 4_194_305, .. }));

    let service = Service::start();
    write_pid(&path, service.pid());
    watcher.runs(&service).await;
}

#[tokio::test]
async fn a_directory_that_appears_later_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run").join("service.pid");
    let mut watcher = Watcher::start(Target::PidFile(path.clone()));
    assert!(matches!(watcher.absent().await, ProcessError::PidFile { .. }));

    let service = Service::start();
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    write_pid(&path, service.pid());
    watcher.runs(&service).await;

    // And found again after it was removed and made anew, as /run/SERVICE is by a service manager.
    service.crash();
    watcher.exits(&service).await;
    watcher.absent().await;
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    watcher.absent().await;
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    let next = Service::start();
    write_pid(&path, next.pid());
    watcher.runs(&next).await;
}

#[tokio::test]
async fn a_fifo_in_the_files_place_does_not_hang_the_task() {
    let (_directory, path) = pid_file();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut watcher = Watcher::start(Target::PidFile(path));
    assert!(matches!(watcher.absent().await, ProcessError::NotAPid { .. }));
}

#[tokio::test]
async fn the_task_ends_with_its_guard_and_with_its_listener() {
    let (_directory, path) = pid_file();
    let mut watcher = Watcher::start(Target::PidFile(path.clone()));
    watcher.absent().await;
    drop(watcher.guard);
    assert!(timeout(PATIENCE, watcher.reports.recv()).await.unwrap().is_none());

    let watcher = Watcher::start(Target::PidFile(path));
    drop(watcher.reports);
    let finished = async {
        while !watcher.guard.is_finished() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, finished).await.unwrap();
}
