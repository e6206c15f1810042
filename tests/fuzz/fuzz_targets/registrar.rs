//! A registrar to which several connections say anything, in any order, while time passes.
//!
//! The input is a list of steps: one octet says what and over which connection, one how much of the rest.
#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use anycast_pool::registrar::{Action, Config, ConnectionId, ConnectionKind, Event, Limits, Registrar};
use anycast_pool::wire::{Message, State};
use anycast_pool::{RegistrarId, Time};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    connections: 6,
    pools: 4,
    elements: 8,
    elements_per_connection: 4,
    subscriptions: 6,
    subscriptions_per_connection: 3,
    handle_octets: 64,
    element_octets: 256,
    message_octets: 1024,
    malformed_per_connection: 20,
};

fuzz_target!(|octets: &[u8]| {
    let config = Config {
        limits: LIMITS,
        backlog_low: 500,
        backlog_max: 5_000,
        ..Config::new(RegistrarId(0x1122_3344))
    };
    let mut now = Time::ZERO + Duration::from_secs(1);
    let mut registrar = Registrar::new(config, 7, now).expect("a configuration that can be");
    let mut rest = octets;
    while let [step, much, after @ ..] = rest {
        let connection = ConnectionId(u64::from(step >> 4 & 7));
        let (octets, next) = after.split_at(after.len().min(usize::from(*much)));
        rest = after;
        match step & 0x0f {
            0 | 1 => {
                let peer = SocketAddr::new([198, 51, 100, step >> 4].into(), 1);
                let kind = if step & 1 == 0 { ConnectionKind::Tcp } else { ConnectionKind::Sctp };
                let identity = (much & 1 == 1).then_some("somebody");
                registrar.handle(now, Event::Connected { connection, peer, kind, identity });
            }
            2 => registrar.handle(now, Event::Closed { connection }),
            3 => registrar.handle(now, Event::Written { connection, octets: usize::from(*much) * 16 }),
            4 => now = now + Duration::from_millis(u64::from(*much)),
            5 => {
                // As many timers as come up: each step is one that was announced.
                for _ in 0..*much {
                    let Some(due) = registrar.next_deadline() else { break };
                    now = now.max(due);
                    registrar.handle(now, Event::Tick);
                }
            }
            6..=9 => {
                rest = next;
                registrar.handle(now, Event::Received { connection, octets });
            }
            _ => {
                rest = next;
                registrar.handle(now, Event::Message { connection, octets });
            }
        }
        drain(&mut registrar);
        check(&registrar, now);
    }
});

/// What is sent can be read, and nothing is sent for ever.
fn drain(registrar: &mut Registrar) {
    let mut actions = 0;
    while let Some(action) = registrar.next_action() {
        actions += 1;
        assert!(actions < 10_000, "actions do not come to an end");
        if let Action::Send { octets, .. } = action {
            let parsed = Message::parse(&octets).expect("what is sent can be read");
            assert!(parsed.report.is_empty());
            if let Message::HandleResolutionResponse(response) = parsed.message {
                let vector = response.status.as_ref();
                for element in &response.elements {
                    let entry =
                        vector.and_then(|vector| vector.entries.iter().find(|entry| entry.id == element.id));
                    assert!(vector.is_none() || entry.is_some_and(|entry| entry.state == State::Up));
                }
            }
        }
    }
}

fn check(registrar: &Registrar, now: Time) {
    let snapshot = registrar.snapshot(now);
    assert!(snapshot.connections <= LIMITS.connections && snapshot.elements <= LIMITS.elements);
    assert!(snapshot.subscriptions <= LIMITS.subscriptions && snapshot.pools <= LIMITS.pools);
    let connections = registrar.connection_snapshots();
    assert_eq!(connections.iter().map(|own| own.subscriptions).sum::<usize>(), snapshot.subscriptions);
    let pools = registrar.pool_snapshots();
    assert_eq!(pools.iter().map(|pool| pool.elements).sum::<usize>(), snapshot.elements);
    assert_eq!(pools.iter().map(|pool| pool.subscribers).sum::<usize>(), snapshot.subscriptions);
}
