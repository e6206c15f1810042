//! Random histories: whatever happens, some things hold.

use std::collections::BTreeMap;

use anycast_pool::ElementId;
use anycast_pool::registrar::*;
use anycast_pool::wire::*;
use proptest::prelude::*;

use crate::lab::*;

const POOLS: [&str; 3] = ["dns", "web", "echo"];

#[derive(Clone, Debug)]
enum Step {
    Connect(u64),
    Close(u64),
    Register { connection: u64, pool: usize, id: u32, load: u32, flags: u16 },
    Deregister { connection: u64, pool: usize, id: u32 },
    Resolve { connection: u64, pool: usize, subscribe: bool, status: bool },
    Report { connection: u64, pool: usize, id: u32 },
    Answer { connection: u64, id: u32, does: bool },
    Stick { connection: u64, does: bool },
    Octets { connection: u64, octets: Vec<u8> },
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (connection, pool, id) = (0..8_u64, 0..POOLS.len(), 0..6_u32);
    prop_oneof![
        2 => connection.clone().prop_map(Step::Connect),
        1 => connection.clone().prop_map(Step::Close),
        6 => (connection.clone(), pool.clone(), id.clone(), 0..3_u32, 0..4_u16).prop_map(
            |(connection, pool, id, load, flags)| Step::Register { connection, pool, id, load, flags }
        ),
        1 => (connection.clone(), pool.clone(), id.clone())
            .prop_map(|(connection, pool, id)| Step::Deregister { connection, pool, id }),
        4 => (connection.clone(), pool.clone(), any::<bool>(), any::<bool>()).prop_map(
            |(connection, pool, subscribe, status)| Step::Resolve { connection, pool, subscribe, status }
        ),
        3 => (connection.clone(), pool.clone(), id.clone())
            .prop_map(|(connection, pool, id)| Step::Report { connection, pool, id }),
        3 => (connection.clone(), id, any::<bool>())
            .prop_map(|(connection, id, does)| Step::Answer { connection, id, does }),
        1 => (connection.clone(), any::<bool>()).prop_map(|(connection, does)| Step::Stick { connection, does }),
        1 => (connection, proptest::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(connection, octets)| Step::Octets { connection, octets }),
        3 => prop_oneof![0..50_u64, 0..10_000_u64, 0..400_000_u64].prop_map(Step::Pass),
    ]
}

fn limits() -> Limits {
    Limits {
        connections: 6,
        pools: 2,
        elements: 8,
        elements_per_connection: 4,
        subscriptions: 5,
        subscriptions_per_connection: 2,
        ..Limits::default()
    }
}

/// Registrations sent and answered, by connection.
#[derive(Default)]
struct Tally {
    asked: BTreeMap<u64, usize>,
    answered: BTreeMap<u64, usize>,
}

fn check(lab: &mut Lab, tally: &mut Tally) {
    let limits = limits();
    let snapshot = lab.registrar.snapshot(lab.now);
    assert!(snapshot.connections <= limits.connections);
    assert!(snapshot.pools <= limits.pools + 1, "{snapshot:?}");
    assert!(snapshot.elements <= limits.elements);
    assert!(snapshot.subscriptions <= limits.subscriptions);
    assert!(snapshot.timers <= 200, "{snapshot:?}");
    let connections = lab.registrar.connection_snapshots();
    for connection in &connections {
        assert!(connection.elements <= limits.elements_per_connection);
        assert!(connection.subscriptions <= limits.subscriptions_per_connection);
        assert!(connection.pending <= connection.subscriptions);
        assert!(connection.backlog <= lab.registrar.config().backlog_max + MESSAGE_MAX);
    }
    let pools = lab.registrar.pool_snapshots();
    assert_eq!(pools.iter().map(|pool| pool.elements).sum::<usize>(), snapshot.elements);
    assert_eq!(pools.iter().map(|pool| pool.subscribers).sum::<usize>(), snapshot.subscriptions);
    assert_eq!(connections.iter().map(|own| own.subscriptions).sum::<usize>(), snapshot.subscriptions);
    for pool in &pools {
        let elements = lab.registrar.element_snapshots(&pool.handle, lab.now);
        assert_eq!(elements.iter().filter(|element| element.usable).count(), pool.usable);
        assert!(elements.iter().all(|element| !element.usable || element.state == State::Up));
        assert!(pool.elements + pool.tombstones + pool.subscribers > 0, "an empty pool is forgotten");
        for element in elements {
            if let Some(connection) = element.connection {
                assert!(connections.iter().any(|own| own.connection == connection && own.elements > 0));
            } else {
                assert_eq!(element.state, State::Down);
            }
        }
    }
    for (connection, messages) in std::mem::take(&mut lab.inbox) {
        for message in messages {
            match message {
                Message::RegistrationResponse { .. } => *tally.answered.entry(connection).or_default() += 1,
                Message::HandleResolutionResponse(response) => check_response(lab, &response),
                _ => {}
            }
        }
    }
}

/// Of the messages since the last check only those with the newest sequence can be compared with the handlespace of now.
fn check_response(lab: &Lab, response: &ResolutionResponse) {
    assert!(response.errors.is_empty() || response.elements.is_empty() && !response.accepted);
    let Some(vector) = &response.status else {
        assert!(
            !response.elements.is_empty() || !response.errors.is_empty(),
            "a plain answer lists something"
        );
        return;
    };
    let state = |id| vector.entries.iter().find(|entry| entry.id == id).map(|entry| entry.state);
    for element in &response.elements {
        assert_eq!(state(element.id), Some(State::Up), "what is listed is up");
    }
    let pools = lab.registrar.pool_snapshots();
    let Some(pool) = pools.iter().find(|pool| pool.handle == response.handle) else { return };
    if pool.sequence == vector.sequence {
        for element in lab.registrar.element_snapshots(&response.handle, lab.now) {
            assert_eq!(state(element.id), Some(element.state), "vector and handlespace agree");
        }
        assert_eq!(vector.entries.len(), pool.elements + pool.tombstones);
    }
}

fn play(lab: &mut Lab, tally: &mut Tally, next: &mut u64, names: &mut BTreeMap<u64, u64>, step: Step) {
    // Connections of the history are numbers that come again; names are not used twice.
    let name = |names: &BTreeMap<u64, u64>, connection| names.get(&connection).copied().unwrap_or(0);
    let there = |lab: &Lab, name: u64| {
        lab.registrar.connection_snapshots().iter().any(|own| own.connection == ConnectionId(name))
    };
    match step {
        Step::Connect(connection) => {
            if !there(lab, name(names, connection)) {
                *next += 1;
                names.insert(connection, *next);
                lab.connect(*next);
            }
        }
        Step::Close(connection) => lab.close(name(names, connection)),
        Step::Register { connection, pool, id, load, flags } => {
            let name = name(names, connection);
            let value = match pool {
                0 => PolicyParameter::ROUND_ROBIN,
                1 => policy(0x4000_0001, &[load]),
                _ => policy(4, &[load]),
            };
            let life = if load == 0 { Lifetime::Seconds(60) } else { Lifetime::Infinite };
            let element = PoolElement { policy: value, life, ..element(id) };
            let (handle, flags) = (handle(POOLS[pool]), StatusFlags(flags));
            if there(lab, name) && !lab.stuck.contains(&name) {
                *tally.asked.entry(name).or_default() += 1;
            }
            if !lab.stuck.contains(&name) {
                lab.send(name, &Message::Registration { handle, element, flags });
            }
        }
        Step::Deregister { connection, pool, id } => {
            let message = Message::Deregistration { handle: handle(POOLS[pool]), id: ElementId(id) };
            lab.send(name(names, connection), &message);
        }
        Step::Resolve { connection, pool, subscribe, status } => {
            let message =
                Message::HandleResolution { handle: handle(POOLS[pool]), subscribe, limit: None, status };
            lab.send(name(names, connection), &message);
        }
        Step::Report { connection, pool, id } => {
            let message = Message::EndpointUnreachable { handle: handle(POOLS[pool]), id: ElementId(id) };
            lab.send(name(names, connection), &message);
        }
        Step::Answer { connection, id, does } => {
            let name = name(names, connection);
            if does {
                lab.answering.insert((name, id));
            } else {
                lab.answering.remove(&(name, id));
            }
        }
        Step::Stick { connection, does } => {
            let name = name(names, connection);
            if does {
                lab.stuck.insert(name);
            } else if lab.stuck.remove(&name) {
                let own = lab.registrar.connection_snapshots();
                let own = own.iter().find(|own| own.connection == ConnectionId(name));
                if let Some(backlog) = own.map(|own| own.backlog) {
                    lab.written(name, backlog);
                }
            }
        }
        Step::Octets { connection, octets } => {
            // A message, so that the stream goes on; what it has inside is anything.
            let mut message = vec![octets.first().copied().unwrap_or(0), 1];
            message.extend(((octets.len() + 4) as u16).to_be_bytes());
            message.extend(&octets);
            message.resize(message.len().next_multiple_of(4), 0);
            let before = lab.registrar.counters().received(MessageType::Registration);
            lab.octets(name(names, connection), &message);
            if lab.registrar.counters().received(MessageType::Registration) > before {
                *tally.asked.entry(name(names, connection)).or_default() += 1;
            }
        }
        Step::Pass(time) => lab.pass(ms(time)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens(steps in proptest::collection::vec(step(), 1..120)) {
        let mut lab = Lab::with(Config { limits: limits(), backlog_low: 300, backlog_max: 3000, ..config() });
        let (mut tally, mut next, mut names) = (Tally::default(), 0, BTreeMap::new());
        for step in steps {
            play(&mut lab, &mut tally, &mut next, &mut names, step);
            check(&mut lab, &mut tally);
        }
        prop_assert_eq!(tally.asked, tally.answered, "each registration is answered once");
        // In the end all goes, and nothing is left.
        for connection in lab.registrar.connection_snapshots() {
            lab.close(connection.connection.0);
        }
        lab.pass(seconds(1000));
        let snapshot = lab.registrar.snapshot(lab.now);
        prop_assert_eq!((snapshot.pools, snapshot.elements, snapshot.subscriptions, snapshot.timers), (0, 0, 0, 0));
    }
}
