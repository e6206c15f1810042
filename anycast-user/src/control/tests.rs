//! Both ends of the control socket, with a controller that notes what it is asked.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use super::protocol::{self, LINE_MAX};
use super::server::{Error, Server};
use super::{Answer, Command, Hold, Request, client};
use crate::telemetry::status::Status;

/// A daemon's control socket in a directory of its own, served on a thread until it is dropped.
struct Daemon {
    path: PathBuf,
    asked: Arc<Mutex<Vec<Command>>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl Daemon {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/control.sock");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn({
            let (path, asked) = (path.clone(), Arc::clone(&asked));
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let server = Server::bind(&path).unwrap();
                    let (requests, mut controller) = mpsc::channel::<Request>(1);
                    ready.send(()).unwrap();
                    let answering = async {
                        while let Some(Request { command, reply }) = controller.recv().await {
                            let answer = match &command {
                                Command::Status => Ok(Answer::Status(Box::default())),
                                Command::Takeover { .. } => Err("not able: link down".to_owned()),
                                _ => Ok(Answer::Done("done".to_owned())),
                            };
                            asked.lock().unwrap().push(command);
                            let _ = reply.send(answer);
                        }
                    };
                    tokio::select! {
                        () = server.run(requests.clone()) => {}
                        () = answering => {}
                        _ = stopped => {}
                    }
                });
            }
        });
        is_ready.recv().unwrap();
        Self { path, asked, stop: Some(stop), thread: Some(thread), _directory: directory }
    }

    /// Sends bytes as they are and returns the line that comes back.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(&self.path).unwrap();
        stream.write_all(bytes).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn bind(path: &Path) -> Result<Server, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _context = runtime.enter();
    Server::bind(path)
}

#[test]
fn commands_reach_the_controller_and_answers_come_back() {
    let daemon = Daemon::start();
    assert_eq!(
        client::request(&daemon.path, &Command::Status).unwrap(),
        Answer::Status(Box::<Status>::default())
    );
    let hold = Command::Hold { service: "dns".into(), hold: Hold::Shut };
    assert_eq!(client::request(&daemon.path, &hold).unwrap(), Answer::Done("done".into()));
    let refused = client::request(&daemon.path, &Command::Takeover { service: "dns".into() }).unwrap_err();
    assert_eq!(refused.to_string(), "the daemon refused: not able: link down");
    assert_eq!(daemon.asked.lock().unwrap().len(), 3);
    assert_eq!(daemon.asked.lock().unwrap()[1], hold);
}

#[test]
fn the_lines_are_as_documented() {
    let daemon = Daemon::start();
    assert!(
        daemon
            .raw(b"{\"version\":1,\"command\":\"status\"}\n")
            .starts_with("{\"ok\":{\"status\":{\"services\":[]")
    );
    let hold = b"{\"version\":1,\"command\":{\"hold\":{\"service\":\"dns\",\"hold\":\"open\"}}}\n";
    assert_eq!(daemon.raw(hold), "{\"ok\":{\"done\":\"done\"}}\n");
    assert_eq!(
        protocol::encode_request(&Command::Stop { keep: true }),
        "{\"version\":1,\"command\":{\"stop\":{\"keep\":true}}}\n"
    );
    // Several requests on one connection.
    let mut stream = UnixStream::connect(&daemon.path).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    for _ in 0..3 {
        stream.write_all(hold).unwrap();
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "{\"ok\":{\"done\":\"done\"}}\n");
    }
}

#[test]
fn what_cannot_be_read_is_refused_and_not_done() {
    let daemon = Daemon::start();
    for (line, why) in [
        ("status\n", "not a request"),
        ("{}\n", "missing field `version`"),
        ("{\"version\":2,\"command\":\"status\"}\n", "version 2 is not spoken here, only 1"),
        ("{\"version\":1,\"command\":\"explode\"}\n", "unknown variant `explode`"),
        ("{\"version\":1,\"command\":{\"hold\":{\"service\":\"dns\"}}}\n", "missing field `hold`"),
        ("{\"version\":1,\"command\":{\"stop\":{\"keep\":true,\"now\":true}}}\n", "unknown field `now`"),
        ("{\"version\":1,\"command\":\"status\",\"more\":1}\n", "unknown field `more`"),
    ] {
        let answer = daemon.raw(line.as_bytes());
        assert!(answer.starts_with("{\"error\":\"") && answer.contains(why), "{line}{answer}");
    }
    assert_eq!(*daemon.asked.lock().unwrap(), []);
    // The control: the same daemon goes on serving.
    assert!(client::request(&daemon.path, &Command::Status).is_ok());
}

#[test]
fn a_line_has_a_longest_length() {
    let daemon = Daemon::start();
    let with_length = |length: usize| {
        let mut line = b"{\"version\":1,\"command\":\"status\"}".to_vec();
        line.resize(length - 1, b' ');
        line.push(b'\n');
        line
    };
    assert!(daemon.raw(&with_length(LINE_MAX)).starts_with("{\"ok\""));
    let mut long = with_length(LINE_MAX + 1);
    // Without its line feed, so that nothing is left unread when the daemon closes.
    long.pop();
    assert!(daemon.raw(&long).contains("a request is at most 65536 bytes"));
}

#[test]
fn the_33rd_client_is_told_to_wait() {
    let daemon = Daemon::start();
    let mut clients = Vec::new();
    for _ in 0..32 {
        let mut stream = UnixStream::connect(&daemon.path).unwrap();
        // Accepted for sure once it has been answered.
        stream.write_all(b"{\"version\":1,\"command\":\"status\"}\n").unwrap();
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
        clients.push(stream);
    }
    let refused = client::request(&daemon.path, &Command::Status).unwrap_err().to_string();
    assert!(refused.contains("32 clients are connected already"), "{refused}");
    drop(clients);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while client::request(&daemon.path, &Command::Status).is_err() {
        assert!(std::time::Instant::now() < deadline, "places do not come back");
        std::thread::yield_now();
    }
}

#[test]
fn the_socket_is_for_owner_and_group() {
    let daemon = Daemon::start();
    assert_eq!(std::fs::metadata(&daemon.path).unwrap().permissions().mode() & 0o7777, 0o660);
    let path = daemon.path.clone();
    drop(daemon);
    assert!(!path.exists(), "the socket is removed");
}

#[test]
fn a_live_socket_is_refused_with_the_process_that_has_it() {
    let daemon = Daemon::start();
    let error = bind(&daemon.path).unwrap_err();
    assert!(
        matches!(error, Error::InUse { pid, .. } if pid == i32::try_from(std::process::id()).unwrap()),
        "{error}"
    );
    let text = error.to_string();
    assert!(text.contains("is in use by process") && text.contains("anycast --socket /"), "{text}");
    assert!(client::request(&daemon.path, &Command::Status).is_ok(), "and the live one lives on");
}

#[test]
fn a_stale_socket_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the control: a socket nobody listens on is left");
    let server = bind(&path).unwrap();
    assert!(UnixStream::connect(&path).is_ok());
    drop(server);
    assert!(!path.exists());
}

#[test]
fn what_is_not_a_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(bind(&path), Err(Error::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_socket_that_another_daemon_made_meanwhile_is_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    let server = bind(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    drop(server);
    assert!(path.exists());
}

#[test]
fn without_a_daemon_the_client_says_what_to_do() {
    let error =
        client::request(Path::new("/nonexistent/control.sock"), &Command::Status).unwrap_err().to_string();
    assert!(
        error.contains("no daemon listens on /nonexistent/control.sock") && error.contains("--socket"),
        "{error}"
    );
}
