//! What the tests share: the registrar's machine behind a socket, so that it can be killed at any moment; and DNS servers that can be
//! silenced.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anycast_pool::registrar::{Action, Config, ConnectionId, ConnectionKind, Event, Registrar};
use anycast_pool::{RegistrarId, Time};
use anycast_tests::lab::dns::{Query, kind};
use anycast_user::monitor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{mpsc, oneshot};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The loopback address, with any port.
pub const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Runs an asynchronous test, bounded.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE * 3, test).await.expect("the test hangs") })
}

/// Waits until `condition` holds, looking often.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A registrar on a thread of its own; dropped, it is dead without a word.
pub struct MachineRegistrar {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl MachineRegistrar {
    /// On a listener, which may have been made in another namespace.
    pub fn start(listener: std::net::TcpListener, id: u32) -> Self {
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = serve(listener, id) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// On a free port of the loopback address.
    pub fn local(id: u32) -> Self {
        Self::start(std::net::TcpListener::bind(ANY).unwrap(), id)
    }
}

impl Drop for MachineRegistrar {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the registrar panicked");
        }
    }
}

enum Heard {
    Octets(ConnectionId, Vec<u8>),
    Closed(ConnectionId),
}

async fn serve(listener: TcpListener, id: u32) {
    let now = || Time::from_nanos(monitor::now().as_nanos());
    let config = Config { announce_interval: Duration::ZERO, ..Config::new(RegistrarId(id)) };
    let mut registrar = Registrar::new(config, u64::from(id), now()).unwrap();
    let (heard_in, mut heard) = mpsc::channel(64);
    let mut writers = HashMap::new();
    let mut next = 0;
    loop {
        while let Some(action) = registrar.next_action() {
            match action {
                Action::Send { connection, octets } => {
                    let writer: Option<&mpsc::UnboundedSender<Arc<[u8]>>> = writers.get(&connection);
                    let length = octets.len();
                    if writer.is_some_and(|writer| writer.send(octets).is_ok()) {
                        registrar.handle(now(), Event::Written { connection, octets: length });
                    }
                }
                Action::Close { connection, .. } => drop(writers.remove(&connection)),
                Action::Journal(_) | Action::Announce(_) | Action::Notice(_) => {}
            }
        }
        let wait = registrar.next_deadline().map_or(PATIENCE, |at| at.since(now()));
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, peer) = accepted.unwrap();
                let connection = ConnectionId(next);
                next += 1;
                let (writer_in, mut writes) = mpsc::unbounded_channel::<Arc<[u8]>>();
                writers.insert(connection, writer_in);
                let heard_in = heard_in.clone();
                tokio::spawn(async move {
                    let (mut reader, mut writer) = stream.into_split();
                    let mut buffer = [0; 4096];
                    loop {
                        tokio::select! {
                            read = reader.read(&mut buffer) => match read {
                                Ok(length) if length > 0 => {
                                    let _ = heard_in.send(Heard::Octets(connection, buffer[..length].to_vec())).await;
                                }
                                _ => break,
                            },
                            octets = writes.recv() => match octets {
                                Some(octets) if writer.write_all(&octets).await.is_ok() => {}
                                _ => break,
                            },
                        }
                    }
                    let _ = heard_in.send(Heard::Closed(connection)).await;
                });
                let kind = ConnectionKind::Tcp;
                registrar.handle(now(), Event::Connected { connection, peer, kind, identity: None });
            }
            Some(heard) = heard.recv() => match heard {
                Heard::Octets(connection, octets) => {
                    registrar.handle(now(), Event::Received { connection, octets: &octets });
                }
                Heard::Closed(connection) => {
                    writers.remove(&connection);
                    registrar.handle(now(), Event::Closed { connection });
                }
            },
            () = tokio::time::sleep(wait + Duration::from_millis(1)) => registrar.handle(now(), Event::Tick),
        }
    }
}

/// A DNS server that answers each query with its name, on UDP and TCP, unless it is silenced; dropped, its ports are closed.
pub struct Server {
    pub address: SocketAddr,
    pub queries: Arc<AtomicU64>,
    silent: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Server {
    pub async fn start(name: &'static str) -> Self {
        let tcp = TcpListener::bind(ANY).await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).await.unwrap();
        let (queries, silent) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let answer = {
            let (queries, silent) = (Arc::clone(&queries), Arc::clone(&silent));
            move |octets: &[u8]| {
                let query = Query::parse(octets).unwrap();
                queries.fetch_add(1, Ordering::Relaxed);
                let text = [&[u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
                (!silent.load(Ordering::Relaxed)).then(|| query.respond(0, &[(kind::TXT, text)]))
            }
        };
        let by_udp = {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                loop {
                    let Ok((length, client)) = udp.recv_from(&mut buffer).await else { continue };
                    if let Some(answer) = answer(&buffer[..length]) {
                        let _ = udp.send_to(&answer, client).await;
                    }
                }
            })
        };
        let by_tcp = tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let mut length = [0; 2];
                // Who connects to ask is asked for one query.
                if stream.read_exact(&mut length).await.is_err() {
                    continue;
                }
                let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut query).await.unwrap();
                if let Some(answer) = answer(&query) {
                    let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                    let _ = stream.write_all(&[&length[..], &answer].concat()).await;
                }
            }
        });
        Self { address, queries, silent, tasks: vec![by_udp, by_tcp] }
    }

    /// It gets queries and answers none, as a stopped process.
    pub fn silence(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
