//! The loop that all targets share: hold the process that is there, look for the next one.

use std::{future::Future, io};

use tokio::sync::mpsc;

use super::{ProcessError, ProcessId, Report, State, pidfd::Pidfd};

/// Where the id of the process comes from.
pub(super) trait Source {
    /// What is named, for errors.
    fn target(&self) -> String;

    /// The id that is named now.
    fn read(&mut self) -> impl Future<Output = Result<i32, ProcessError>> + Send;

    /// Waits for a sign that another id may be named.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;
}

/// Watches the process that `source` names, until nobody listens to the reports any more.
pub(super) async fn run(id: ProcessId, mut source: impl Source, reports: mpsc::Sender<Report>) {
    let mut reporter = Reporter { id, reports, absent: None };
    let mut current: Option<Pidfd> = None;
    // Whether the id must be read, as opposed to waiting for a change first. Kept here because the search below is
    // dropped and started again when the process ends meanwhile.
    let mut stale = true;
    loop {
        let step = tokio::select! {
            // An exit is never held up by a search: systemd may be slow to answer just when the service dies.
            biased;
            () = exited(current.as_ref()) => Step::Exited,
            () = reporter.reports.closed() => return,
            found = search(&mut source, &mut stale) => Step::Found(found),
        };
        let sent = match step {
            Step::Exited => {
                stale = true;
                match current.take() {
                    Some(process) => reporter.exited(process.pid()).await,
                    None => Ok(()),
                }
            }
            // Whether it still names the process that is held is told by the process itself, not by its id.
            Step::Found(Ok(process)) if current.as_ref().is_some_and(|held| held.pid() == process.pid()) => {
                Ok(())
            }
            Step::Found(Ok(process)) => {
                let pid = process.pid();
                current = Some(process);
                reporter.running(pid).await
            }
            // A process lives on when its pid file is removed, as many do before they end.
            Step::Found(Err(_)) if current.is_some() => Ok(()),
            Step::Found(Err(why)) => reporter.absent(why).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

enum Step {
    Exited,
    Found(Result<Pidfd, ProcessError>),
}

async fn exited(process: Option<&Pidfd>) {
    match process {
        Some(process) => process.exited().await,
        None => std::future::pending().await,
    }
}

/// Waits for a change, unless the id is stale already, then finds the process.
async fn search(source: &mut impl Source, stale: &mut bool) -> Result<Pidfd, ProcessError> {
    if !*stale {
        source.changed().await;
        *stale = true;
    }
    let found = find(source).await;
    *stale = false;
    found
}

/// Reads the id, opens the process and reads the id again: if it is still named, it was named while it was opened, and
/// cannot be a later process with a used id. (A dead process's id that stays named cannot be told from a later process
/// with that id; the pid file's owner must remove it, as systemd does.)
async fn find(source: &mut impl Source) -> Result<Pidfd, ProcessError> {
    /// A pid that changes this often within one search is a service that dies as it starts: the next change will do.
    const TRIES: usize = 3;
    let mut pid = source.read().await?;
    for _ in 0..TRIES {
        let opened = Pidfd::open(pid);
        let again = source.read().await?;
        if again != pid {
            pid = again;
            continue;
        }
        return match opened {
            Ok(process) if process.has_exited() => Err(ProcessError::Dead { target: source.target(), pid }),
            Ok(process) => Ok(process),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                Err(ProcessError::Dead { target: source.target(), pid })
            }
            Err(error) => Err(ProcessError::Io { operation: format!("open process {pid}"), source: error }),
        };
    }
    Err(ProcessError::Io {
        operation: format!("open the process of {}", source.target()),
        source: io::Error::other("it was replaced again and again"),
    })
}

/// Nobody listens any more.
struct Closed;

/// Sends changes, and only changes.
struct Reporter {
    id: ProcessId,
    reports: mpsc::Sender<Report>,
    /// The reason of the last `Absent`, if that was the last report.
    absent: Option<String>,
}

impl Reporter {
    async fn running(&mut self, pid: i32) -> Result<(), Closed> {
        self.absent = None;
        self.send(State::Running { pid }).await
    }

    async fn exited(&mut self, pid: i32) -> Result<(), Closed> {
        self.absent = None;
        self.send(State::Exited { pid }).await
    }

    async fn absent(&mut self, why: ProcessError) -> Result<(), Closed> {
        let reason = why.to_string();
        if self.absent.as_ref() == Some(&reason) {
            return Ok(());
        }
        self.absent = Some(reason);
        self.send(State::Absent { why }).await
    }

    async fn send(&self, state: State) -> Result<(), Closed> {
        let report = Report { id: self.id, state, at: crate::monitor::now() };
        self.reports.send(report).await.map_err(|_| Closed)
    }
}
