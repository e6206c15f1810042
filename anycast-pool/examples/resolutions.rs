//! How many resolutions a second one core answers, and how much memory an element takes: 100,000 elements in 1,000 pools.
//!
//! `cargo run --release -p anycast-pool --example resolutions`

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anycast_pool::registrar::{Action, Config, ConnectionId, ConnectionKind, Event, Limits, Rate, Registrar};
use anycast_pool::wire::{Lifetime, Message, PolicyParameter, PoolElement, StatusFlags, Transport};
use anycast_pool::{ElementId, PoolHandle, RegistrarId, Time};

const POOLS: usize = 1_000;
const ELEMENTS: usize = 100_000;
const SUBSCRIBERS: u64 = 10_000;
const RESOLUTIONS: usize = 1_000_000;

fn main() {
    // Memory given back is not seen by the next run, so each policy is to be measured by a process of its own.
    let wanted = std::env::args().nth(1);
    for (name, policy) in [
        ("round robin", PolicyParameter::ROUND_ROBIN),
        ("weighted random", PolicyParameter::new(4, &[10]).unwrap_or(PolicyParameter::ROUND_ROBIN)),
        ("least used", PolicyParameter::new(0x4000_0001, &[10]).unwrap_or(PolicyParameter::ROUND_ROBIN)),
        (
            "least used with degradation",
            PolicyParameter::new(0x4000_0002, &[10, 1]).unwrap_or(PolicyParameter::ROUND_ROBIN),
        ),
    ]
    .into_iter()
    .filter(|(name, _)| wanted.as_deref().is_none_or(|wanted| wanted == *name))
    {
        run(name, policy);
    }
}

fn run(name: &str, policy: PolicyParameter) {
    let limits = Limits {
        elements_per_connection: ELEMENTS,
        connections: 2 + SUBSCRIBERS as usize,
        subscriptions: SUBSCRIBERS as usize,
        ..Limits::default()
    };
    let mut config = Config { limits, ..Config::new(RegistrarId(1)) };
    let unlimited = Rate { per_second: 1_000_000_000, burst: u32::MAX };
    (config.rates.registrations, config.rates.resolutions) = (unlimited, unlimited);
    let now = Time::ZERO;
    let Ok(mut registrar) = Registrar::new(config, 7, now) else { return };
    connect(&mut registrar, 0);

    let before = memory();
    let begin = Instant::now();
    for at in 0..ELEMENTS {
        let element = PoolElement {
            id: ElementId(at as u32),
            home: RegistrarId::UNDETERMINED,
            life: Lifetime::Seconds(600),
            user_transport: Transport::Udp(SocketAddr::new([192, 0, (at >> 8) as u8, at as u8].into(), 53)),
            policy,
            asap_transport: None,
        };
        let message = Message::Registration { handle: handle(at), element, flags: StatusFlags::NONE };
        send(&mut registrar, 0, &message);
    }
    let registered = begin.elapsed();
    let taken = memory().saturating_sub(before);

    connect(&mut registrar, 1);
    let questions: Vec<Vec<u8>> = (0..POOLS).filter_map(|at| question(at, false).to_octets().ok()).collect();
    let (mut answers, mut octets) = (0, 0);
    let begin = Instant::now();
    for at in 0..RESOLUTIONS {
        // Pools are asked in an order that caches do not know.
        let question = &questions[at.wrapping_mul(7_919) % POOLS];
        registrar.handle(now, Event::Received { connection: ConnectionId(1), octets: question });
        let sent = drain(&mut registrar);
        answers += usize::from(sent > 0);
        octets += sent;
    }
    let resolved = begin.elapsed();
    println!(
        "{name}: {} registrations/s, {} octets of memory an element, {} resolutions/s, {} octets an answer",
        per_second(ELEMENTS, registered),
        taken / ELEMENTS,
        per_second(answers, resolved),
        octets / answers.max(1)
    );

    // All subscribe to one pool, of which an element then goes away.
    let before = memory();
    for at in 0..SUBSCRIBERS {
        connect(&mut registrar, 2 + at);
        send(&mut registrar, 2 + at, &question(0, true));
    }
    let taken = memory().saturating_sub(before);
    let leave = Message::Deregistration { handle: handle(0), id: ElementId(0) };
    let begin = Instant::now();
    let sent = send(&mut registrar, 0, &leave);
    println!(
        "  pushed to {SUBSCRIBERS} subscribers in {} ms, {} octets; {} octets of memory a subscriber",
        begin.elapsed().as_millis(),
        sent,
        taken / SUBSCRIBERS as usize
    );
}

fn handle(at: usize) -> PoolHandle {
    PoolHandle::new(format!("pool-{:04}", at % POOLS))
}

fn question(at: usize, subscribe: bool) -> Message {
    Message::HandleResolution { handle: handle(at), subscribe, limit: Some(8), status: subscribe }
}

fn connect(registrar: &mut Registrar, connection: u64) {
    let connection = ConnectionId(connection);
    let peer = SocketAddr::new([198, 51, 100, 1].into(), 40_000);
    let kind = ConnectionKind::Tcp;
    registrar.handle(Time::ZERO, Event::Connected { connection, peer, kind, identity: None });
}

fn send(registrar: &mut Registrar, connection: u64, message: &Message) -> usize {
    let octets = message.to_octets().unwrap_or_default();
    let connection = ConnectionId(connection);
    registrar.handle(Time::ZERO, Event::Received { connection, octets: &octets });
    drain(registrar)
}

/// Takes all that is sent, as a socket would; the result is how many octets that is.
fn drain(registrar: &mut Registrar) -> usize {
    let mut sent = 0;
    while let Some(action) = registrar.next_action() {
        if let Action::Send { connection, octets } = action {
            sent += octets.len();
            registrar.handle(Time::ZERO, Event::Written { connection, octets: octets.len() });
        }
    }
    sent
}

fn per_second(count: usize, time: Duration) -> u64 {
    (count as f64 / time.as_secs_f64()) as u64
}

/// Octets of memory that the process has, as the kernel counts them.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kibibytes.unwrap_or(0) * 1024
}
