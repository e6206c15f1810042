//! A heartbeat from anybody: the decoder, the trailer with its signature, and a machine that hears it.
#![no_main]

use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;
use std::time::Duration;

use anycast_core::auth::trailer;
use anycast_core::auth::{Authentication, KeyId, KeyRing, Mode};
use anycast_core::heartbeat::Message;
use anycast_core::{Event, LinkId, Machine, ServiceId, State, Time, sim};
use libfuzzer_sys::fuzz_target;

const LINK: LinkId = LinkId(0);
const SERVICE: ServiceId = ServiceId(0);

static KEYS: LazyLock<KeyRing> = LazyLock::new(|| KeyRing::new(KeyId(1), &[0x5a; 32]));

/// An owner: without keys it obeys what it can read, with keys it must not obey what the fuzzer makes up.
fn owner(mode: Option<Mode>) -> Machine {
    let mut config = sim::config(0);
    if let Some(farm) = &mut config.farm {
        farm.auth = mode.map(|mode| Authentication { keys: KEYS.clone(), mode, incarnation: 1 });
    }
    let mut machine = Machine::new(config, 1, Time::ZERO).expect("a valid configuration");
    let mut actions = Vec::new();
    for event in [
        Event::Mac { link: LINK, mac: sim::mac(0) },
        Event::Link { link: LINK, up: true },
        Event::Address { service: SERVICE, present: true },
        Event::Process { service: SERVICE, alive: true },
        Event::Check { service: SERVICE, check: 0, ok: true, latency: Duration::ZERO },
    ] {
        machine.handle(Time::ZERO, event, &mut actions);
    }
    let mut now = Time::ZERO;
    while machine.state(SERVICE) != Some(State::Owner) {
        now = now + Duration::from_millis(10);
        machine.handle(now, Event::Tick, &mut actions);
    }
    machine
}

static OPEN: LazyLock<Machine> = LazyLock::new(|| owner(None));
static ENFORCING: LazyLock<Machine> = LazyLock::new(|| owner(Some(Mode::Enforce)));

fn hear(machine: &Machine, datagram: &[u8]) -> Machine {
    let mut machine = machine.clone();
    let (now, mut actions) = (Time::ZERO + Duration::from_secs(1), Vec::new());
    let source = IpAddr::V6(Ipv6Addr::LOCALHOST);
    machine.handle(now, Event::Heartbeat { link: LINK, source, datagram: datagram.to_vec() }, &mut actions);
    machine
}

fuzz_target!(|datagram: &[u8]| {
    let message = Message::decode(datagram);
    if let Ok(message) = &message {
        // What is accepted has a meaning that survives being written again.
        let again = message.encode();
        assert_eq!(again.len(), message.encoded_len());
        assert_eq!(Message::decode(&again).as_ref(), Ok(message));
    }
    assert!(trailer::verify(datagram, &KEYS).is_err(), "nobody guesses a signature");
    hear(&OPEN, datagram);
    let hearer = hear(&ENFORCING, datagram);
    let status = hearer.status(Time::ZERO + Duration::from_secs(1));
    assert_eq!(hearer.state(SERVICE), Some(State::Owner), "obeyed a forgery");
    assert!(status.services[0].peers.is_empty(), "took a forger for a peer");

    // Signed, it is read to its end: whatever stands before the signature.
    if message.is_ok() {
        let mut signed = datagram.to_vec();
        trailer::sign(&mut signed, &trailer::Trailer::default(), &KEYS);
        let _ = trailer::verify(&signed, &KEYS);
        hear(&ENFORCING, &signed);
    }
});
