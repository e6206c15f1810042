//! The registrar's machine behind a TCP listener, without the daemon: for tests and benches of users and elements, where a registrar is
//! to be dead from one moment to the next and nothing of its own is measured.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anycast_pool::registrar::{Action, Config, ConnectionId, ConnectionKind, Event, Registrar};
use anycast_pool::{RegistrarId, Time};
use anycast_user::monitor;
use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::namespace::Namespace;

/// Wakes it now and then even if it waits for nothing.
const REST: Duration = Duration::from_secs(10);

/// A registrar on a thread of its own; dropped, it is dead without a word.
#[derive(Debug)]
pub struct MachineRegistrar {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl MachineRegistrar {
    /// On an address of a namespace.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn start(namespace: &Namespace, address: SocketAddr, id: u32) -> Result<Self> {
        let listener = namespace.run(|| std::net::TcpListener::bind(address));
        Self::on(listener.with_context(|| format!("listen on {address}"))?, id)
    }

    /// On a free port of the loopback address.
    ///
    /// # Errors
    /// There is none.
    pub fn local(id: u32) -> Result<Self> {
        Self::on(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, id)
    }

    fn on(listener: std::net::TcpListener, id: u32) -> Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener)?;
                tokio::select! {
                    result = serve(&listener, id) => result,
                    _ = stopped => Ok(()),
                }
            })
        });
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MachineRegistrar {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && !matches!(thread.join(), Ok(Ok(())))
            && !std::thread::panicking()
        {
            panic!("the registrar of {} failed", self.address);
        }
    }
}

enum Heard {
    Octets(ConnectionId, Vec<u8>),
    Closed(ConnectionId),
}

type Writers = HashMap<ConnectionId, mpsc::UnboundedSender<Arc<[u8]>>>;

async fn serve(listener: &TcpListener, id: u32) -> Result<()> {
    let now = || Time::from_nanos(monitor::now().as_nanos());
    let config = Config { announce_interval: Duration::ZERO, ..Config::new(RegistrarId(id)) };
    let mut registrar = Registrar::new(config, u64::from(id), now())?;
    let (heard_in, mut heard) = mpsc::channel(64);
    let mut writers = Writers::new();
    for next in 0.. {
        let connection = ConnectionId(next);
        loop {
            perform(&mut registrar, now(), &mut writers);
            let wait = registrar.next_deadline().map_or(REST, |at| at.since(now()));
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, peer) = accepted?;
                    let (writer, writes) = mpsc::unbounded_channel();
                    writers.insert(connection, writer);
                    tokio::spawn(converse(connection, stream, writes, heard_in.clone()));
                    let kind = ConnectionKind::Tcp;
                    registrar.handle(now(), Event::Connected { connection, peer, kind, identity: None });
                    break;
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
    Ok(())
}

fn perform(registrar: &mut Registrar, now: Time, writers: &mut Writers) {
    while let Some(action) = registrar.next_action() {
        match action {
            Action::Send { connection, octets } => {
                let length = octets.len();
                if writers.get(&connection).is_some_and(|writer| writer.send(octets).is_ok()) {
                    registrar.handle(now, Event::Written { connection, octets: length });
                }
            }
            Action::Close { connection, .. } => drop(writers.remove(&connection)),
            Action::Journal(_) | Action::Announce(_) | Action::Notice(_) => {}
        }
    }
}

async fn converse(
    connection: ConnectionId,
    mut stream: TcpStream,
    mut writes: mpsc::UnboundedReceiver<Arc<[u8]>>,
    heard: mpsc::Sender<Heard>,
) {
    let mut buffer = [0; 4096];
    loop {
        tokio::select! {
            read = stream.read(&mut buffer) => match read {
                Ok(length) if length > 0 => {
                    let octets = Heard::Octets(connection, buffer[..length].to_vec());
                    if heard.send(octets).await.is_err() {
                        return;
                    }
                }
                _ => break,
            },
            octets = writes.recv() => match octets {
                Some(octets) if stream.write_all(&octets).await.is_ok() => {}
                _ => break,
            },
        }
    }
    // The registrar may have gone.
    let _ = heard.send(Heard::Closed(connection)).await;
}
