//! How soon each user has the new vector, when an element's process or host is gone.

use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Instant;

use anycast_pool::registrar::Config;
use anycast_pool::wire::{Frames, Message, State};
use anycast_pool::{ElementId, PoolHandle, RegistrarId};
use anyhow::{Context as _, Result, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::super::stats::{Samples, Summary};
use crate::lab::namespace::veth;
use crate::lab::registrar::PATIENCE;
use crate::lab::{Asap, Child, Namespace, Registrar, lab_binary, wait_for};

const POOL: &str = "dns";

/// Where registrar and element are when the element's host is cut off.
const REGISTRAR: &str = "fd00:5::1";
const ELEMENT: &str = "fd00:5::2";

/// A user that subscribed.
struct Subscriber {
    stream: TcpStream,
    frames: Frames,
}

impl Subscriber {
    fn new(address: SocketAddr) -> Result<Self> {
        let mut asap = Asap::connect(address)?;
        asap.resolve(POOL, true)?;
        let stream = asap.socket().try_clone()?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, frames: Frames::default() })
    }

    /// Takes in what came; is `id` down in the newest of it?
    fn is_down(&mut self, id: ElementId) -> Result<bool> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => bail!("the registrar closed a subscriber"),
            Ok(length) => self.frames.push(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error).context("receive"),
        }
        let mut down = false;
        while let Some(octets) = self.frames.next_message()? {
            let parsed = Message::parse(octets).map_err(|malformed| malformed.error)?;
            let Message::HandleResolutionResponse(response) = parsed.message else { continue };
            let entries = response.status.map(|status| status.entries).unwrap_or_default();
            down = entries.iter().any(|entry| entry.id == id && entry.state == State::Down);
        }
        Ok(down)
    }
}

/// An element's process is killed; milliseconds until each subscriber has the vector in which it is down.
pub fn death(subscribers: usize, deaths: usize) -> Result<Summary> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raise the limit of descriptors")?;
    let registrar = Registrar::start(None, "")?;
    let mut stays = element(&registrar, registrar.address, 1, Command::new(lab_binary()?))?;
    let mut users = Vec::new();
    for _ in 0..subscribers {
        users.push(Subscriber::new(registrar.address)?);
    }
    let mut samples = Samples::default();
    for death in 0..deaths as u32 {
        let id = 100 + death;
        let mut dies = element(&registrar, registrar.address, id, Command::new(lab_binary()?))?;
        let begin = Instant::now();
        dies.kill()?;
        wait_all(&mut users, ElementId(id), begin, &mut samples)?;
    }
    stays.kill()?;
    Ok(samples.summary())
}

/// An element's host is cut off: its link goes down.
pub fn cut_off(runs: usize) -> Result<Summary> {
    let (here, there) = (Namespace::new()?, Namespace::new()?);
    veth(&here, "p0", &there, "p1")?;
    for (namespace, link, address) in [(&here, "p0", REGISTRAR), (&there, "p1", ELEMENT)] {
        namespace.ip(&["link", "set", "lo", "up"])?;
        namespace.ip(&["address", "add", &format!("{address}/64"), "dev", link, "nodad"])?;
        namespace.ip(&["link", "set", link, "up"])?;
    }
    let address = SocketAddr::new(REGISTRAR.parse()?, 3863);
    let registrar = Registrar::start_in(&here, address, "")?;
    let mut users = vec![here.run(|| Subscriber::new_when_there(address))?];
    let mut samples = Samples::default();
    for run in 0..runs as u32 {
        let id = 100 + run;
        let mut dies = element(&registrar, address, id, there.command(lab_binary()?))?;
        let begin = Instant::now();
        there.ip(&["link", "set", "p1", "down"])?;
        wait_all(&mut users, ElementId(id), begin, &mut samples)?;
        dies.kill()?;
        there.ip(&["link", "set", "p1", "up"])?;
        // An address of IPv6 goes with its link.
        let there_again = there.ip(&["address", "replace", &format!("{ELEMENT}/64"), "dev", "p1", "nodad"]);
        there_again.map(drop)?;
    }
    Ok(samples.summary())
}

/// What the time of [`cut_off`] may be, by the registrar's defaults.
pub fn bound_ms() -> f64 {
    let config = Config::new(RegistrarId(1));
    (config.keep_alive_interval.mul_f64(1.5) + config.keep_alive_timeout).as_secs_f64() * 1e3 + 100.0
}

impl Subscriber {
    /// Of a pool that there is not yet: resolves until the subscription is accepted.
    fn new_when_there(address: SocketAddr) -> Result<Self> {
        let mut first = Asap::connect(address)?;
        first.register(POOL, 1)?;
        let own = Self::new(address)?;
        // The pool stays, its first element is down from now on.
        drop(first);
        Ok(own)
    }
}

/// A process that is an element, registered.
fn element(registrar: &Registrar, address: SocketAddr, id: u32, mut command: Command) -> Result<Child> {
    command.args([
        "pool-element",
        "--registrar",
        &address.to_string(),
        "--pool",
        POOL,
        "--id",
        &id.to_string(),
    ]);
    let child = Child::spawn("element", command, &registrar.directory().join("element.log"))?;
    let wanted = ElementId(id).to_string();
    wait_for("the element is registered", PATIENCE, || {
        let status = registrar.status(Some(POOL)).ok()?;
        status.elements.iter().find(|element| element.id == wanted && element.state == "up").map(drop)
    })?;
    Ok(child)
}

/// Waits until each user has the vector in which the element is down.
fn wait_all(users: &mut [Subscriber], id: ElementId, begin: Instant, samples: &mut Samples) -> Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::empty()).context("epoll_create")?;
    for (at, user) in users.iter().enumerate() {
        epoll.add(&user.stream, EpollEvent::new(EpollFlags::EPOLLIN, at as u64)).context("epoll_ctl")?;
    }
    let mut waiting = users.len();
    let mut events = [EpollEvent::empty(); 1024];
    while waiting > 0 {
        if begin.elapsed() > PATIENCE * 3 {
            bail!("{waiting} subscribers never heard of it");
        }
        let ready = epoll.wait(&mut events, EpollTimeout::from(1_000_u16)).context("epoll_wait")?;
        for event in &events[..ready] {
            let user = &mut users[event.data() as usize];
            if user.is_down(id)? {
                samples.push(begin.elapsed().as_secs_f64() * 1e3);
                epoll.delete(&user.stream).context("epoll_ctl")?;
                waiting -= 1;
            }
        }
    }
    Ok(())
}

/// What the process of an element does: registers, answers keep-alives, until it is killed.
///
/// # Errors
/// The registrar is gone.
pub fn run_element(registrar: SocketAddr, pool: &str, id: u32) -> Result<()> {
    let mut asap = Asap::connect(registrar)?;
    asap.socket().set_read_timeout(None)?;
    asap.register(pool, id)?;
    loop {
        // Between keep-alives nothing comes.
        let message = match asap.receive() {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(()),
            Err(error) if is_timeout(&error) => continue,
            Err(error) => return Err(error),
        };
        if let Message::EndpointKeepAlive { .. } = message {
            asap.send(&Message::EndpointKeepAliveAck { handle: PoolHandle::from(pool), id: ElementId(id) })?;
        }
    }
}

fn is_timeout(error: &anyhow::Error) -> bool {
    let kind = error.root_cause().downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    matches!(kind, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut))
}
