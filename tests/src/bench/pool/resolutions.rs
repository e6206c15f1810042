//! How many resolutions a second: 100,000 elements in 1,000 pools, answers of 8.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anycast_pool::registrar::{Action, Config, ConnectionId, ConnectionKind, Event, Registrar as Machine};
use anycast_pool::wire::{Frames, Message};
use anycast_pool::{PoolHandle, RegistrarId, Time};
use anyhow::{Context as _, Result, bail};

use crate::lab::Registrar;
use crate::lab::registrar::{Asap, registration};

const POOLS: u32 = 1_000;
const ELEMENTS: u32 = 100_000;
const RESOLUTIONS: usize = 500_000;

/// Elements of one connection: below the limit of a connection, and so fast that its rate does not reject them.
const PER_CONNECTION: u32 = 1_000;

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
    let mut elements = Vec::new();
    for first in (0..ELEMENTS).step_by(PER_CONNECTION as usize) {
        let mut asap = registrar.connect()?;
        let mut all = Vec::new();
        for id in first..first + PER_CONNECTION {
            registration(&pool(id), id).emit(&mut all)?;
        }
        asap.send_octets(&all)?;
        for _ in 0..PER_CONNECTION {
            match asap.receive()? {
                Some(Message::RegistrationResponse { rejected: false, .. }) => {}
                other => bail!("not registered: {other:?}"),
            }
        }
        elements.push(asap);
    }
    let bytes_per_element = (resident(registrar.pid())? - before) / f64::from(ELEMENTS);
    let per_s = through_a_connection(&registrar)?;
    drop(elements);
    Ok(Resolutions { per_s, per_s_machine: machine()?, bytes_per_element })
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

/// One thread asks without waiting, this one counts the answers.
fn through_a_connection(registrar: &Registrar) -> Result<f64> {
    let questions = questions()?;
    let asap = Asap::connect(registrar.address)?;
    let (mut out, mut back): (TcpStream, TcpStream) =
        (asap.socket().try_clone()?, asap.socket().try_clone()?);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let asking = scope.spawn(move || -> Result<()> {
            for from in (0..RESOLUTIONS).step_by(200) {
                let all: Vec<u8> =
                    (from..from + 200).flat_map(|at| questions[which(at)].iter().copied()).collect();
                out.write_all(&all).context("ask")?;
            }
            Ok(())
        });
        let (mut frames, mut buffer, mut answers) = (Frames::default(), vec![0; 256 * 1024], 0);
        while answers < RESOLUTIONS {
            let length = back.read(&mut buffer).context("receive")?;
            if length == 0 {
                bail!("the registrar closed the connection after {answers} answers");
            }
            frames.push(&buffer[..length]);
            while frames.next_message()?.is_some() {
                answers += 1;
            }
        }
        asking.join().map_err(|_| anyhow::anyhow!("the asking thread panicked"))??;
        Ok(RESOLUTIONS as f64 / begin.elapsed().as_secs_f64())
    })
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
        answers += usize::from(take(&mut machine, connection, &questions[which(at)]) > 100);
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
