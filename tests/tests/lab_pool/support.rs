//! What the tests share: a runtime with a bound, waiting, and DNS servers that can be silenced.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub use anycast_tests::lab::Registrar;
use anycast_tests::lab::dns::{Query, kind};
use anycast_tests::lab::wait::{becomes, run_within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The loopback address, with any port.
pub const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Runs an asynchronous test, bounded.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    run_within(PATIENCE * 3, test).unwrap()
}

/// Waits until `condition` holds, looking often.
pub async fn until(what: &str, condition: impl FnMut() -> bool) {
    becomes(what, PATIENCE, condition).await.unwrap();
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
