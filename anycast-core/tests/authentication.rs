//! Forged, replayed, truncated and changed messages: none is obeyed under `enforce`, each is counted; and what a farm with keys
//! does must be what one without does.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use anycast_core::auth::trailer::{self, Heard, Trailer};
use anycast_core::auth::{Authentication, KeyId, KeyRing, Mode, Verdict};
use anycast_core::heartbeat::{Message, Report};
use anycast_core::nd_option::{Envelope, Information};
use anycast_core::sim::{self, Network, Plan, Sim};
use anycast_core::status::Owner;
use anycast_core::{Action, Alarm, Config, Event, LinkId, Machine, ServerId, ServiceId, State, Time};
use proptest::prelude::*;

const SERVICE: ServiceId = ServiceId(0);
const LINK: LinkId = LinkId(0);
const MS: Duration = Duration::from_millis(1);
const OVERRIDE: u8 = 0x20;

fn keys() -> KeyRing {
    KeyRing::new(KeyId(1), &[0x5a; 32])
}

fn other_keys() -> KeyRing {
    KeyRing::new(KeyId(1), &[0xa5; 32])
}

fn config(number: usize, mode: Option<Mode>) -> Config {
    let mut config = sim::config(number);
    if let Some(farm) = &mut config.farm {
        farm.auth = mode.map(|mode| Authentication { keys: keys(), mode, incarnation: 1 });
    }
    config
}

fn enforcing(number: usize) -> Config {
    config(number, Some(Mode::Enforce))
}

fn target() -> Ipv6Addr {
    match sim::config(0).services[0].address {
        IpAddr::V6(address) => address,
        IpAddr::V4(_) => Ipv6Addr::UNSPECIFIED,
    }
}

/// One machine, and one peer of it that the test plays.
struct Pair {
    machine: Machine,
    now: Duration,
    /// The peer's start and the number of its last message.
    peer: (u64, u64),
    /// What the machine sent, newest last.
    sent: Vec<Message>,
    /// Whom its heartbeats say it has heard, newest last.
    heard: Vec<Heard>,
    alarms: Vec<Alarm>,
}

const PEER: ServerId = ServerId(77);
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 77];

impl Pair {
    fn new(config: Config) -> Self {
        let machine = Machine::new(config, 1, Time::ZERO).expect("valid configuration");
        let mut pair = Self {
            machine,
            now: Duration::ZERO,
            peer: (5, 0),
            sent: Vec::new(),
            heard: Vec::new(),
            alarms: Vec::new(),
        };
        for event in [
            Event::Mac { link: LINK, mac: sim::mac(0) },
            Event::Link { link: LINK, up: true },
            Event::Address { service: SERVICE, present: true },
            Event::Process { service: SERVICE, alive: true },
            Event::Check { service: SERVICE, check: 0, ok: true, latency: Duration::ZERO },
        ] {
            pair.handle(event);
        }
        pair
    }

    fn time(&self) -> Time {
        Time::ZERO + self.now
    }

    fn handle(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        let now = self.time();
        self.machine.handle(now, event, &mut actions);
        for action in &actions {
            match action {
                Action::Heartbeat { datagram, .. } => {
                    self.sent.push(Message::decode(datagram).expect("own heartbeats can be read"));
                    if let Ok(trailer) = trailer::verify(datagram, &keys()) {
                        self.heard.extend(trailer.heard);
                    }
                }
                Action::Alarm(alarm) => self.alarms.push(alarm.clone()),
                _ => {}
            }
        }
        actions
    }

    /// Lets time pass, ticking at each deadline.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(deadline) = self.machine.deadline().filter(|at| *at <= Time::ZERO + end) {
            self.now = self.now.max(Duration::from_nanos(deadline.as_nanos()));
            self.handle(Event::Tick);
        }
        self.now = end;
    }

    fn message(&mut self, state: State, epoch: u64) -> Message {
        self.peer.1 += 1;
        Message {
            farm: "sim".to_owned(),
            server: PEER,
            incarnation: self.peer.0,
            sequence: self.peer.1,
            interval: 50 * MS,
            leaving: false,
            mac: Some(PEER_MAC),
            services: vec![Report {
                address: IpAddr::V6(target()),
                vlan: 0,
                state,
                suspect: false,
                last: false,
                epoch,
                owner: None,
                successors: Vec::new(),
                slice_left: None,
                load: None,
                priority: 0,
                routers: None,
            }],
        }
    }

    /// The peer's next heartbeat; it tells the machine that it hears it, as a live peer does.
    fn signed(&mut self, state: State, epoch: u64, keys: &KeyRing) -> Vec<u8> {
        let mut datagram = self.message(state, epoch).encode();
        let newest = self.sent.last().expect("the machine has sent something");
        let heard =
            Heard { server: newest.server, incarnation: newest.incarnation, sequence: newest.sequence };
        trailer::sign(&mut datagram, &Trailer { asks: false, heard: vec![heard] }, keys);
        datagram
    }

    fn hear(&mut self, datagram: &[u8]) {
        let source = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7));
        self.handle(Event::Heartbeat { link: LINK, source, datagram: datagram.to_vec() });
    }

    /// A peer as it is after the question and the answer.
    fn introduce(&mut self, state: State, epoch: u64) {
        for _ in 0..2 {
            let datagram = self.signed(state, epoch, &keys());
            self.hear(&datagram);
            self.pass(20 * MS);
        }
        assert!(self.knows_peer(), "introduced");
    }

    fn knows_peer(&self) -> bool {
        self.machine.status(self.time()).services[0].peers.iter().any(|peer| peer.server == PEER)
    }

    fn owner(&self) -> Owner {
        self.machine.status(self.time()).services[0].owner
    }

    fn count(&self, verdict: Verdict) -> u64 {
        self.machine.status(self.time()).links[0].heartbeats.of(verdict)
    }

    fn advertisements(&self, verdict: Verdict) -> u64 {
        self.machine.status(self.time()).links[0].advertisements.of(verdict)
    }

    fn advertise(&mut self, mac: [u8; 6], option: Vec<u8>) -> Vec<Action> {
        self.handle(Event::PeerAdvertisement {
            service: SERVICE,
            mac,
            override_flag: true,
            flags: OVERRIDE,
            option,
        })
    }

    /// An option of the peer.
    fn option(&mut self, keys: Option<&KeyRing>) -> Vec<u8> {
        self.peer.1 += 1;
        let numbers = anycast_core::auth::replay::Numbers {
            server: PEER,
            incarnation: self.peer.0,
            sequence: self.peer.1,
        };
        let envelope = Envelope { target: target(), vlan: 0, mac: PEER_MAC, flags: OVERRIDE };
        Information { numbers, epoch: 3, load: 100 }.emit(&envelope, keys)
    }
}

#[test]
fn a_peer_is_heard_after_one_question_and_its_answer() {
    let mut pair = Pair::new(enforcing(0));
    let first = pair.signed(State::Owner, 9, &keys());
    let (asked, sent) = (pair.now, pair.sent.len());
    pair.hear(&first);
    assert!(!pair.knows_peer(), "it may be a recording");
    assert_eq!(pair.count(Verdict::Unproven), 1);
    assert!(pair.sent.len() > sent && pair.now == asked, "asked at once");
    let second = pair.signed(State::Owner, 9, &keys());
    pair.hear(&second);
    assert_eq!(pair.owner(), Owner::Peer(PEER));
    assert_eq!(pair.count(Verdict::Verified), 1);
}

#[test]
fn who_asks_is_told_that_it_is_heard() {
    let mut pair = Pair::new(enforcing(0));
    pair.introduce(State::Ready, 0);
    pair.heard.clear();
    let mut datagram = pair.message(State::Ready, 0).encode();
    trailer::sign(&mut datagram, &Trailer { asks: true, heard: Vec::new() }, &keys());
    pair.pass(20 * MS);
    pair.hear(&datagram);
    let heard = Heard { server: PEER, incarnation: pair.peer.0, sequence: pair.peer.1 };
    assert_eq!(pair.heard, [heard]);
}

/// What an attacker on the link can send, with the verdict on it. He has recorded heartbeats of the peer, and no key.
fn attacks(pair: &mut Pair) -> Vec<(&'static str, Vec<u8>, Verdict)> {
    let recorded = pair.signed(State::Owner, 50, &keys());
    let unsigned = pair.message(State::Owner, 50).encode();
    let forged = pair.signed(State::Owner, 50, &other_keys());
    let unknown = pair.signed(State::Owner, 50, &KeyRing::new(KeyId(9), &[0x5a; 32]));
    let mut followed = recorded.clone();
    followed.extend_from_slice(&[0, 99, 0, 0]);
    let mut renumbered = recorded.clone();
    // The last octet of the sequence number.
    renumbered[31] = renumbered[31].wrapping_add(40);
    let stripped = recorded[..recorded.len() - 40].to_vec();
    vec![
        ("unsigned", unsigned, Verdict::Unsigned),
        ("signed with another key", forged, Verdict::BadSignature),
        ("signed with an unknown key", unknown, Verdict::UnknownKey),
        ("recorded, with more behind the signature", followed, Verdict::Malformed),
        ("recorded, with another number", renumbered, Verdict::BadSignature),
        ("recorded, without its signature", stripped, Verdict::Unsigned),
    ]
}

#[test]
fn no_forgery_is_obeyed_and_each_is_counted() {
    for attack in 0..6 {
        let mut pair = Pair::new(enforcing(0));
        pair.introduce(State::Ready, 0);
        pair.pass(500 * MS);
        pair.introduce(State::Ready, 0);
        assert_eq!(pair.owner(), Owner::This);
        let (name, datagram, verdict) = attacks(&mut pair).remove(attack);
        let before = pair.count(verdict);
        pair.hear(&datagram);
        assert_eq!(pair.owner(), Owner::This, "{name} is obeyed");
        assert_eq!(pair.count(verdict), before + 1, "{name} is counted");
        assert!(
            pair.alarms.iter().any(|alarm| matches!(alarm, Alarm::Unauthentic { .. })),
            "{name}: {:?}",
            pair.alarms
        );

        // The control: without authentication all but what cannot be read is obeyed.
        let mut pair = Pair::new(config(0, None));
        pair.pass(500 * MS);
        assert_eq!(pair.owner(), Owner::This);
        pair.hear(&datagram);
        assert_eq!(pair.owner(), Owner::Peer(PEER), "{name} without authentication");
    }
}

#[test]
fn a_replay_is_not_obeyed_and_counted() {
    let mut pair = Pair::new(enforcing(0));
    pair.introduce(State::Ready, 0);
    let recorded = pair.signed(State::Owner, 9, &keys());
    pair.hear(&recorded);
    assert_eq!(pair.owner(), Owner::Peer(PEER), "the control: it is obeyed once");
    // The peer dies; this server takes over, and the recording is played.
    pair.pass(Duration::from_secs(10));
    assert_eq!(pair.owner(), Owner::This);
    for _ in 0..10 {
        pair.hear(&recorded);
        pair.pass(50 * MS);
        assert_eq!(pair.owner(), Owner::This);
    }
    assert_eq!(pair.count(Verdict::Replayed), 10);
    // Long after the peer has been forgotten as a peer, its numbers are not.
    pair.pass(Duration::from_secs(600));
    pair.hear(&recorded);
    assert_eq!((pair.owner(), pair.count(Verdict::Replayed)), (Owner::This, 11));
}

/// The receiver restarts and remembers nothing, the sender is dead: its recorded heartbeats answer no question of the new
/// start.
#[test]
fn a_replay_after_the_receivers_restart_is_not_obeyed() {
    let mut before = Pair::new(enforcing(0));
    before.introduce(State::Ready, 0);
    let mut recording = Vec::new();
    for _ in 0..200 {
        before.pass(50 * MS);
        let datagram = before.signed(State::Owner, 9, &keys());
        before.hear(&datagram);
        recording.push(datagram);
    }
    assert_eq!(before.owner(), Owner::Peer(PEER));

    let restart = |incarnation, mode: Mode| {
        let mut config = config(0, Some(mode));
        if let Some(auth) = config.farm.as_mut().and_then(|farm| farm.auth.as_mut()) {
            auth.incarnation = incarnation;
        }
        Pair::new(config)
    };
    let mut after = restart(2, Mode::Enforce);
    for datagram in &recording {
        after.hear(datagram);
        assert!(!after.knows_peer());
        after.pass(50 * MS);
    }
    assert_eq!(after.owner(), Owner::This, "it has taken over long since");
    assert_eq!(after.count(Verdict::Unproven), 200);
    assert_eq!(after.count(Verdict::Verified), 0);
    // The controls: a start whose number is not new believes the recording, and so does one that does not enforce.
    let mut again = restart(1, Mode::Enforce);
    again.pass(Duration::from_secs(1));
    let own = again.sent.last().expect("sent").sequence;
    let mut obeyed = false;
    for datagram in &recording {
        again.hear(datagram);
        obeyed |= again.knows_peer();
    }
    assert!(obeyed, "numbers up to {own} of incarnation 1 are in the recording");
    let mut permissive = restart(2, Mode::Permissive);
    permissive.hear(&recording[0]);
    assert!(permissive.knows_peer());
}

#[test]
fn an_earlier_start_of_the_sender_is_not_obeyed() {
    let mut pair = Pair::new(enforcing(0));
    pair.introduce(State::Ready, 0);
    pair.peer.1 += 1_000;
    let recorded = pair.signed(State::Owner, 9, &keys());
    pair.peer = (6, 0);
    pair.introduce(State::Ready, 0);
    pair.pass(500 * MS);
    pair.hear(&recorded);
    assert_eq!(pair.owner(), Owner::This);
    assert!(pair.count(Verdict::Replayed) > 0);
}

/// This server's own heartbeats of an earlier start are no other server with its id.
#[test]
fn own_recordings_raise_no_alarm() {
    let own = |incarnation| {
        let mut message = Pair::new(enforcing(0)).message(State::Owner, 9);
        message.server = ServerId(1);
        message.incarnation = incarnation;
        let mut datagram = message.encode();
        trailer::sign(&mut datagram, &Trailer::default(), &keys());
        datagram
    };
    let mut config = enforcing(0);
    if let Some(auth) = config.farm.as_mut().and_then(|farm| farm.auth.as_mut()) {
        auth.incarnation = 4;
    }
    let mut pair = Pair::new(config);
    pair.hear(&own(3));
    assert_eq!((pair.alarms.len(), pair.count(Verdict::Replayed)), (0, 1));
    pair.hear(&own(5));
    assert!(matches!(pair.alarms[..], [Alarm::DuplicateServer { .. }]), "{:?}", pair.alarms);
}

#[test]
fn a_farm_gets_its_key_step_by_step_without_losing_a_heartbeat() {
    let steps = [None, Some(Mode::ReceiveOnly), Some(Mode::Permissive), Some(Mode::Enforce)];
    for (place, here) in steps.into_iter().enumerate() {
        // Neighbouring steps understand each other, both ways.
        for there in &steps[place.saturating_sub(1)..=(place + 1).min(3)] {
            let mut pair = Pair::new(config(0, here));
            let mut got = 0;
            for _ in 0..10 {
                pair.pass(20 * MS);
                let datagram = match there {
                    Some(mode) if mode.signs() => pair.signed(State::Ready, 0, &keys()),
                    _ => pair.message(State::Ready, 0).encode(),
                };
                pair.hear(&datagram);
                got += u32::from(pair.knows_peer());
            }
            // The first heartbeat of a peer is the question's.
            assert!(got >= 9, "{here:?} hears {got} of 10 of {there:?}");
        }
    }
    // The control: two steps apart they do not.
    let mut pair = Pair::new(enforcing(0));
    let datagram = pair.message(State::Ready, 0).encode();
    pair.hear(&datagram);
    assert!(!pair.knows_peer());
}

#[test]
fn keys_are_rolled_over_while_heartbeats_are_heard() {
    let (old, new) = ([0x5a; 32], [0x77; 32]);
    let both = KeyRing::new(KeyId(1), &old).with(KeyId(2), &new);
    let new_first = KeyRing::new(KeyId(2), &new).with(KeyId(1), &old);
    let only_new = KeyRing::new(KeyId(2), &new);
    // The receiver is a step ahead of the sender, or behind it.
    for (receiver, sender) in [
        (&keys(), &both),
        (&both, &keys()),
        (&both, &new_first),
        (&new_first, &both),
        (&new_first, &only_new),
        (&only_new, &new_first),
    ] {
        let mut pair = Pair::new(enforcing(0));
        pair.introduce(State::Ready, 0);
        pair.machine.set_keys(receiver.clone());
        let before = pair.count(Verdict::Verified);
        let datagram = pair.signed(State::Ready, 0, sender);
        pair.hear(&datagram);
        assert_eq!(pair.count(Verdict::Verified), before + 1, "{receiver:?} hears {sender:?}");
    }
    // The control: without the step between they do not understand each other.
    let mut pair = Pair::new(enforcing(0));
    pair.introduce(State::Ready, 0);
    let datagram = pair.signed(State::Ready, 0, &only_new);
    pair.hear(&datagram);
    assert_eq!(pair.count(Verdict::UnknownKey), 1);
}

/// What an option proves decides, not the MAC address that anybody can write.
#[test]
fn only_a_peers_signed_advertisement_is_no_rogues() {
    let rogues = |pair: &Pair| pair.machine.status(pair.time()).services[0].rogue_total;
    let mut pair = Pair::new(enforcing(0));
    pair.introduce(State::Ready, 0);
    pair.pass(120 * MS);
    pair.introduce(State::Ready, 0);
    assert_eq!(pair.owner(), Owner::This);
    let signed = pair.option(Some(&keys()));
    pair.advertise(PEER_MAC, signed.clone());
    assert_eq!((rogues(&pair), pair.advertisements(Verdict::Verified)), (0, 1));

    pair.pass(300 * MS);
    pair.advertise(PEER_MAC, signed.clone());
    assert_eq!((rogues(&pair), pair.advertisements(Verdict::Replayed)), (1, 1), "again");
    pair.advertise(PEER_MAC, Vec::new());
    assert_eq!((rogues(&pair), pair.advertisements(Verdict::Unsigned)), (2, 1), "a peer's MAC alone");
    let unsigned = pair.option(None);
    pair.advertise(PEER_MAC, unsigned);
    assert_eq!((rogues(&pair), pair.advertisements(Verdict::Unsigned)), (3, 2));
    let mut cut = pair.option(Some(&keys()));
    cut.truncate(48);
    pair.advertise(PEER_MAC, cut);
    assert_eq!((rogues(&pair), pair.advertisements(Verdict::Malformed)), (4, 1));
    // Another MAC address than the one that was signed.
    let moved = pair.option(Some(&keys()));
    pair.advertise([2, 0, 0, 9, 9, 9], moved);
    assert_eq!(pair.advertisements(Verdict::BadSignature), 1);

    // The control: without authentication the MAC address is believed.
    let mut pair = Pair::new(config(0, None));
    let datagram = pair.message(State::Ready, 0).encode();
    pair.hear(&datagram);
    pair.advertise(PEER_MAC, Vec::new());
    assert_eq!(rogues(&pair), 0);
}

/// Signed with another key: a second farm. An alarm, and no counter-advertisement: it would fight back.
#[test]
fn a_second_farm_is_not_countered() {
    let counters =
        |actions: &[Action]| actions.iter().any(|action| matches!(action, Action::Advertise { .. }));
    let owner = || {
        let mut pair = Pair::new(enforcing(0));
        pair.pass(Duration::from_secs(20));
        assert_eq!(pair.owner(), Owner::This);
        pair
    };
    let mut pair = owner();
    for _ in 0..100 {
        let option = pair.option(Some(&other_keys()));
        assert!(!counters(&pair.advertise(PEER_MAC, option)));
        pair.pass(Duration::from_secs(1));
    }
    assert!(pair.alarms.iter().any(|alarm| matches!(alarm, Alarm::SecondFarm { mac: PEER_MAC, .. })));
    assert_eq!(pair.owner(), Owner::This);
    // The control: a rogue, who signs nothing, is countered.
    assert!(counters(&owner().advertise(PEER_MAC, Vec::new())));
}

#[test]
fn foreign_servers_need_no_key() {
    let mut config = enforcing(0);
    config.services[0].foreign = vec![PEER_MAC];
    let mut pair = Pair::new(config);
    pair.pass(Duration::from_secs(1));
    pair.advertise(PEER_MAC, Vec::new());
    assert_eq!(pair.owner(), Owner::Foreign(PEER_MAC));
}

fn plan(servers: usize, config: fn(usize) -> Config) -> Plan {
    Plan { servers, seed: 1, network: Network::default(), config }
}

fn settled(servers: usize, config: fn(usize) -> Config) -> Sim {
    let mut sim = Sim::new(&plan(servers, config));
    sim.start_all().expect("valid configuration");
    sim.run(Duration::from_secs(10));
    assert_eq!(sim.in_state(State::Owner).len(), 1, "one owner");
    sim.forget();
    sim
}

/// Takes over within the same time as a farm without keys.
#[test]
fn a_farm_with_keys_settles_and_survives_as_one_without() {
    for servers in [2, 3, 8, 30] {
        let mut sim = settled(servers, enforcing);
        let old = sim.in_state(State::Owner)[0];
        assert_eq!(sim.in_state(State::Ready).len(), servers - 1);
        sim.crash_host(old);
        let took = sim.run_until(Duration::from_secs(2), MS, |sim| {
            sim.in_state(State::Owner).iter().any(|server| *server != old && sim.open(*server))
        });
        assert!(took.is_some_and(|took| took <= 190 * MS), "{servers} servers: {took:?}");
        // The crashed server comes back with a new incarnation, is heard, and does not disturb.
        sim.start(old).expect("valid configuration");
        sim.run(Duration::from_secs(2));
        assert_eq!(sim.state(old), State::Ready, "{servers} servers");
        assert_eq!(sim.in_state(State::Owner).len(), 1, "{servers} servers");
        let refused = sim.status(old).expect("runs").links[0].heartbeats;
        assert_eq!((refused.of(Verdict::BadSignature), refused.of(Verdict::Unsigned)), (0, 0));
    }
}

fn rotating(number: usize) -> Config {
    let mut config = enforcing(number);
    config.services[0].mode = anycast_core::Mode::Rotate { slice: Duration::from_secs(1) };
    config
}

/// Hand-overs by server, and counter-advertisements, in forty slices under one forged advertisement each `distance`.
fn under_fire(sim: &mut Sim, forged: Option<[u8; 6]>, distance: Duration) -> (Vec<u32>, usize) {
    let mut elapsed = Duration::ZERO;
    while elapsed < Duration::from_secs(40) {
        for server in 0..4 {
            fire(sim, server, forged);
        }
        sim.run(distance);
        elapsed += distance;
    }
    let mut turns = vec![0; 4];
    for (_, server, state, _) in sim.changes() {
        turns[server] += u32::from(state == State::Owner);
    }
    let defences = sim.advertisements().filter(|(.., cause)| *cause == anycast_core::Cause::Defence);
    (turns, defences.count())
}

fn fire(sim: &mut Sim, server: usize, forged: Option<[u8; 6]>) {
    if let Some(mac) = forged {
        let (flags, option) = (OVERRIDE, Vec::new());
        sim.event(
            server,
            Event::PeerAdvertisement { service: SERVICE, mac, override_flag: true, flags, option },
        );
    }
}

/// One forged advertisement a slice, and a flood of them, from a stranger's MAC address and from a peer's: the farm rotates on.
#[test]
fn forged_advertisements_do_not_park_the_farm() {
    let second = Duration::from_secs(1);
    // A rotation without an attack has counter-advertisements too: old and new owner hear each other.
    let (_, usual) = under_fire(&mut settled(4, rotating), None, second);
    for (distance, mac) in [
        (second, [2, 0, 0, 9, 9, 9]),
        (second, sim::mac(1)),
        (2 * MS, [2, 0, 0, 9, 9, 9]),
        (2 * MS, sim::mac(1)),
    ] {
        let mut sim = settled(4, rotating);
        let (turns, defences) = under_fire(&mut sim, Some(mac), distance);
        let (least, all) = (turns.iter().min(), turns.iter().sum::<u32>());
        assert!(least >= Some(&8) && all >= 36, "{mac:?} each {distance:?}: {turns:?}");
        // Each server counters at once, after 10 s, 20 s more, …
        assert!(defences <= usual + 4 * 3, "{defences} counter-advertisements, {usual} without an attack");

        // A dead owner is replaced under the same fire.
        let old = sim.in_state(State::Owner)[0];
        sim.crash_host(old);
        let mut waited = Duration::ZERO;
        while !sim.in_state(State::Owner).iter().any(|server| *server != old) {
            for server in (0..4).filter(|server| *server != old) {
                fire(&mut sim, server, Some(mac));
            }
            sim.run(2 * MS);
            waited += 2 * MS;
            assert!(waited < 400 * MS, "{mac:?} each {distance:?}: parked");
        }
    }
}

/// Two farms of two servers each, of one name and one address, with different keys on one link: both alarm, neither gives way,
/// neither fights.
#[test]
fn two_farms_with_different_keys_alarm_and_do_not_fight() {
    fn two_farms(number: usize) -> Config {
        let mut config = enforcing(number);
        if let (Some(auth), 1) = (config.farm.as_mut().and_then(|farm| farm.auth.as_mut()), number % 2) {
            auth.keys = other_keys();
        }
        config
    }
    let mut sim = Sim::new(&plan(4, two_farms));
    sim.start_all().expect("valid configuration");
    sim.run(Duration::from_secs(10));
    let owners = sim.in_state(State::Owner);
    assert!(owners.len() == 2 && owners[0] % 2 != owners[1] % 2, "one of each farm: {owners:?}");
    sim.forget();
    sim.run(Duration::from_secs(300));
    assert_eq!(sim.in_state(State::Owner), owners);
    assert_eq!((sim.changes().count(), sim.advertisements().count()), (0, 0), "no fight");
    for server in 0..4 {
        let alarmed = |(other, alarm): (usize, &Alarm)| {
            other == server && matches!(alarm, Alarm::Unauthentic { verdict: Verdict::BadSignature, .. })
        };
        assert!(sim.alarms().any(alarmed), "server {server}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is done to a recorded heartbeat, it is not obeyed.
    #[test]
    fn no_changed_heartbeat_is_verified(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut pair = Pair::new(enforcing(0));
        pair.pass(500 * MS);
        let datagram = pair.signed(State::Owner, 50, &keys());
        let mut changed = datagram.clone();
        for (at, bit) in flips {
            let at = at.index(changed.len());
            changed[at] ^= 1 << bit;
        }
        if let Some(cut) = cut {
            changed.truncate(cut.index(changed.len()));
        }
        prop_assume!(changed != datagram);
        prop_assert!(trailer::verify(&changed, &keys()).is_err());
        for _ in 0..3 {
            pair.hear(&changed);
            pair.pass(MS);
            prop_assert_eq!(pair.owner(), Owner::This);
        }
        prop_assert_eq!(pair.count(Verdict::Verified), 0);
    }

    /// A trailer says the same after its way over the wire, behind any octets that are whole elements.
    #[test]
    fn any_trailer_survives_the_wire(
        asks: bool,
        heard in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 0..16),
    ) {
        let heard = heard.into_iter().map(|(server, incarnation, sequence)| {
            Heard { server: ServerId(server), incarnation, sequence }
        });
        let sent = Trailer { asks, heard: heard.collect() };
        let mut datagram = Pair::new(enforcing(0)).message(State::Ready, 0).encode();
        let message = Message::decode(&datagram);
        trailer::sign(&mut datagram, &sent, &keys());
        prop_assert_eq!(trailer::verify(&datagram, &keys()), Ok(sent));
        prop_assert_eq!(Message::decode(&datagram), message, "skipped by whoever has no key");
        prop_assert!(datagram.len() <= anycast_core::heartbeat::DATAGRAM_MAX);
    }
}
