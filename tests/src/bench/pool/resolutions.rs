//! How many resolutions a second: 100,000 elements in 1,000 pools, answers of 8. The elements answer their keep-alives meanwhile, as in
//! service.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use anycast_pool::registrar::{Action, Config, ConnectionId, ConnectionKind, Event, Registrar as Machine};
use anycast_pool::wire::{Frames, Message};
use anycast_pool::{ElementId, PoolHandle, RegistrarId, Time};
use anyhow::{Context as _, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::lab::Registrar;
use crate::lab::registrar::{Asap, registration};

const POOLS: u32 = 1_000;
const ELEMENTS: u32 = 100_000;
const RESOLUTIONS: usize = 500_000;

/// Elements of one connection: below the limit of a connection, and so fast that its rate does not reject them. All of them are of
/// different pools, since a keep-alive names the pool alone (RFC 5352 2.2.7).
const PER_CONNECTION: u32 = 1_000;

/// Users that ask at once: one alone may not ask 100,000 times a second.
const USERS: usize = 4;

/// An answer with 8 elements is longer than that: each has a header, three words, an address and a policy.
const ANSWER_OF_8: usize = 8 * 36;

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Resolutions {
    /// Through a connection.
    pub per_s: f64,
    /// The machine alone.
    pub per_s_machine: f64,
    /// Resident memory of the registrar.
    pub bytes_per_element: f64,
}

/// Measures both.
pub fn measure() -> Result<Resolutions> {
    let registrar = Registrar::start(None, "")?;
    let before = resident(registrar.pid())?;
    let elements = Elements::register(&registrar)?;
    let bytes_per_element = (resident(registrar.pid())? - before) / f64::from(ELEMENTS);
    let per_s = through_connections(&registrar)?;
    let up = registrar.status(None)?.totals.elements_up;
    ensure!(up == u64::from(ELEMENTS), "only {up} elements are up after the measurement");
    elements.end()?;
    Ok(Resolutions { per_s, per_s_machine: machine()?, bytes_per_element })
}

/// Elements that answer their keep-alives, on a thread of their own.
struct Elements {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Elements {
    fn register(registrar: &Registrar) -> Result<Self> {
        let mut connections = Vec::new();
        for first in (0..ELEMENTS).step_by(PER_CONNECTION as usize) {
            let mut asap = registrar.connect()?;
            let connection =
                Connection { stream: asap.socket().try_clone()?, frames: Frames::default(), first };
            let mut all = Vec::new();
            for id in first..first + PER_CONNECTION {
                registration(&pool(id), id).emit(&mut all)?;
            }
            asap.send_octets(&all)?;
            let mut registered = 0;
            while registered < PER_CONNECTION {
                match asap.receive()? {
                    Some(Message::RegistrationResponse { rejected: false, .. }) => registered += 1,
                    Some(Message::EndpointKeepAlive { handle, .. }) => {
                        let id = element(connection.first, &handle)?;
                        asap.send(&Message::EndpointKeepAliveAck { handle, id })?;
                    }
                    other => bail!("not registered: {other:?}"),
                }
            }
            connections.push(connection);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || answer_keep_alives(connections, &stopped));
        Ok(Self { stop, thread })
    }

    fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the elements' thread panicked"))?
    }
}

/// A connection of elements.
struct Connection {
    stream: TcpStream,
    frames: Frames,
    /// Its first element.
    first: u32,
}

/// The element of a pool on the connection whose first element is `first`.
fn element(first: u32, handle: &PoolHandle) -> Result<ElementId> {
    let name = std::str::from_utf8(handle.as_bytes()).ok();
    let number = name.and_then(|name| name.strip_prefix("pool-")?.parse::<u32>().ok());
    Ok(ElementId(first + number.with_context(|| format!("a keep-alive for {handle}"))?))
}

fn answer_keep_alives(mut connections: Vec<Connection>, stop: &AtomicBool) -> Result<()> {
    let (mut buffer, mut out) = (vec![0; 64 * 1024], Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let mut fds: Vec<_> =
            connections.iter().map(|one| PollFd::new(one.stream.as_fd(), PollFlags::POLLIN)).collect();
        poll(&mut fds, PollTimeout::from(50_u16)).context("poll")?;
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        for (connection, _) in connections.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            let length = connection.stream.read(&mut buffer).context("receive keep-alives")?;
            ensure!(length > 0, "the registrar closed the connection of elements");
            connection.frames.push(&buffer[..length]);
            while let Some(octets) = connection.frames.next_message()? {
                let parsed = Message::parse(octets).map_err(|malformed| malformed.error)?;
                if let Message::EndpointKeepAlive { handle, .. } = parsed.message {
                    let id = element(connection.first, &handle)?;
                    Message::EndpointKeepAliveAck { handle, id }.emit(&mut out)?;
                }
            }
            connection.stream.write_all(&out).context("answer keep-alives")?;
            out.clear();
        }
    }
    Ok(())
}

fn pool(id: u32) -> String {
    format!("pool-{:04}", id % POOLS)
}

fn questions() -> Result<Vec<Vec<u8>>> {
    let question = |at| Message::HandleResolution {
        handle: PoolHandle::new(pool(at)),
        subscribe: false,
        limit: Some(8),
        status: false,
    };
    (0..POOLS).map(|at| Ok(question(at).to_octets()?)).collect()
}

/// Pools are asked in an order that caches do not know.
fn which(at: usize) -> usize {
    at.wrapping_mul(7_919) % POOLS as usize
}

/// Users ask without waiting, and count the answers.
fn through_connections(registrar: &Registrar) -> Result<f64> {
    let questions = questions()?;
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let users: Vec<_> = (0..USERS)
            .map(|user| {
                let questions = &questions;
                scope.spawn(move || ask(registrar.address, questions, user))
            })
            .collect();
        for user in users {
            user.join().map_err(|_| anyhow::anyhow!("a user panicked"))??;
        }
        Ok(RESOLUTIONS as f64 / begin.elapsed().as_secs_f64())
    })
}

/// One user: a window of questions is under way at any time.
fn ask(address: SocketAddr, questions: &[Vec<u8>], user: usize) -> Result<()> {
    const WINDOW: usize = 200;
    let share = RESOLUTIONS / USERS;
    let mut stream = Asap::connect(address)?.socket().try_clone()?;
    let (mut frames, mut buffer) = (Frames::default(), vec![0; 256 * 1024]);
    let (mut asked, mut answers) = (0, 0);
    while answers < share {
        let until = (answers + WINDOW).min(share);
        // Half a window at a time: a write for each question would measure writes.
        if until - asked >= WINDOW / 2 || until == share {
            let all: Vec<u8> =
                (asked..until).flat_map(|at| questions[which(user * share + at)].iter().copied()).collect();
            stream.write_all(&all).context("ask")?;
            asked = until;
        }
        let length = stream.read(&mut buffer).context("receive")?;
        ensure!(length > 0, "the registrar closed the connection after {answers} answers");
        frames.push(&buffer[..length]);
        while let Some(octets) = frames.next_message()? {
            ensure!(octets.len() > ANSWER_OF_8, "an answer of {} octets", octets.len());
            answers += 1;
        }
    }
    Ok(())
}

fn machine() -> Result<f64> {
    let mut config = Config::new(RegistrarId(1));
    config.limits.elements_per_connection = ELEMENTS as usize;
    config.rates.registrations.burst = u32::MAX;
    (config.rates.resolutions.per_second, config.rates.resolutions.burst) = (u32::MAX, u32::MAX);
    let mut machine = Machine::new(config, 7, Time::ZERO)?;
    let connection = ConnectionId(1);
    let peer = SocketAddr::new([198, 51, 100, 1].into(), 40_000);
    machine
        .handle(Time::ZERO, Event::Connected { connection, peer, kind: ConnectionKind::Tcp, identity: None });
    for id in 0..ELEMENTS {
        let octets = registration(&pool(id), id).to_octets()?;
        take(&mut machine, connection, &octets);
    }
    let questions = questions()?;
    let begin = Instant::now();
    let mut answers = 0;
    for at in 0..RESOLUTIONS {
        answers += usize::from(take(&mut machine, connection, &questions[which(at)]) > ANSWER_OF_8);
    }
    if answers != RESOLUTIONS {
        bail!("{answers} answers to {RESOLUTIONS} questions");
    }
    Ok(RESOLUTIONS as f64 / begin.elapsed().as_secs_f64())
}

/// Hands octets over and takes all that is sent; the result is how many octets that is.
fn take(machine: &mut Machine, connection: ConnectionId, octets: &[u8]) -> usize {
    machine.handle(Time::ZERO, Event::Received { connection, octets });
    let mut sent = 0;
    while let Some(action) = machine.next_action() {
        if let Action::Send { connection, octets } = action {
            sent += octets.len();
            machine.handle(Time::ZERO, Event::Written { connection, octets: octets.len() });
        }
    }
    sent
}

/// Octets of memory that a process has.
fn resident(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: f64 = line.split_whitespace().next().context("no figure")?.parse()?;
    Ok(kibibytes * 1024.0)
}
