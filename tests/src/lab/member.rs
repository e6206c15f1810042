//! An element as a process of its own: the product's element side, and an echo service over SCTP for its users.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;

use anycast_pool::element::ElementConfig;
use anycast_pool::policy::Policy;
use anycast_pool::wire::{Transport, TransportUse};
use anycast_pool::{ElementId, PoolHandle};
use anycast_user::pool::element::{Condition, PoolElement};
use anycast_user::pool::{RegistrarAddress, Registrars};
use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::signal::unix::{SignalKind, signal};

/// Associations that wait to be accepted.
const BACKLOG: i32 = 8;

/// Registers an element that serves at `service` and answers keep-alives, until SIGTERM, on which it says good-bye.
///
/// # Errors
/// The address cannot be had.
pub fn run(registrars: Vec<RegistrarAddress>, pool: &str, id: u32, service: SocketAddr) -> Result<()> {
    let listener = listen(service).with_context(|| format!("listen on sctp {service}"))?;
    // It ends with the process.
    std::thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            std::thread::spawn(move || echo(client));
        }
    });
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let transport = Transport::Sctp {
            port: service.port(),
            transport_use: TransportUse::Data,
            addresses: vec![service.ip()],
        };
        let config = ElementConfig::new(
            PoolHandle::from(pool),
            ElementId(id),
            transport,
            Policy::RoundRobin,
            registrars.len(),
            0,
        );
        let registrars = Registrars { addresses: registrars, ..Registrars::default() };
        let mut element = PoolElement::start(config, registrars, pool);
        element.tell(Condition { able: true, ..Condition::default() });
        terminate.recv().await;
        element.stop().await;
        Ok(())
    })
}

fn listen(address: SocketAddr) -> io::Result<Socket> {
    let protocol = Some(Protocol::from(libc::IPPROTO_SCTP));
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, protocol)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn echo(mut client: Socket) {
    let mut buffer = [0; 2048];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        if client.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}
