//! A pool user and a pool element to which registrars, and announces from anybody on the link, say anything while time passes.
//!
//! The input is a list of steps: one octet says what and over which connection, one how much of the rest.
#![no_main]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anycast_pool::element::{self, Element, ElementConfig};
use anycast_pool::policy::Policy;
use anycast_pool::user::{self, User, UserConfig};
use anycast_pool::wire::{
    Lifetime, Message, PolicyParameter, PoolElement, ResolutionResponse, Source, State, StatusEntry,
    StatusFlags, StatusVector, Transport,
};
use anycast_pool::{ConnectionId, ElementId, PoolHandle, RegistrarId, Time};
use libfuzzer_sys::fuzz_target;

const REGISTRARS: usize = 2;
const HERE: ([u8; 4], u16) = ([198, 51, 100, 9], 53);

fuzz_target!(|octets: &[u8]| {
    let pool = PoolHandle::from("dns");
    let mut now = Time::ZERO + Duration::from_secs(1);
    let mut user = Side {
        machine: User::new(UserConfig::new(REGISTRARS, 7)),
        open: BTreeSet::new(),
        connected: BTreeSet::new(),
    };
    let config = ElementConfig::new(
        pool.clone(),
        ElementId(1),
        Transport::Udp(HERE.into()),
        Policy::RandomizedLeastUsed { load: 0 },
        REGISTRARS,
        7,
    );
    let mut element =
        Side { machine: Element::new(config), open: BTreeSet::new(), connected: BTreeSet::new() };
    user.take(now, user::Input::Open(&pool));
    element.take(now, element::Input::Able(true));
    let mut rest = octets;
    while let [step, much, after @ ..] = rest {
        let (octets, next) = after.split_at(after.len().min(usize::from(*much)));
        rest = after;
        let place = usize::from(step >> 4 & 7);
        let of_user = user.connection(place);
        let of_element = element.connection(place);
        let id = ElementId(u32::from(*much & 7));
        match step & 0x0f {
            // A connection comes about once.
            0 | 1 => {
                if user.connected.insert(of_user) {
                    user.take(now, user::Input::Connected(of_user));
                }
                if element.connected.insert(of_element) {
                    element.take(now, element::Input::Connected(of_element));
                }
            }
            2 => {
                user.take(now, user::Input::Closed(of_user));
                element.take(now, element::Input::Closed(of_element));
            }
            3 => now = now + Duration::from_millis(u64::from(*much)),
            4 => {
                user.pass(&mut now, *much);
                element.pass(&mut now, *much);
            }
            5 => {
                let from = SocketAddr::new([198, 51, 100, step >> 4].into(), 3863);
                let transport = Transport::Tcp(SocketAddr::new([198, 51, 100, *much].into(), 3863));
                let transports = if step & 0x80 == 0 { vec![transport] } else { Vec::new() };
                user.take(now, user::Input::Announced(from, &transports));
                element.take(now, element::Input::Announced(from, &transports));
            }
            6 => {
                let (handle, latency) = (&pool, Duration::from_millis(u64::from(*much)));
                user.take(
                    now,
                    match step >> 4 & 3 {
                        0 => user::Input::Succeeded(handle, id, latency),
                        1 => user::Input::Failed(handle, id),
                        2 => user::Input::Forget(handle),
                        _ => user::Input::Open(handle),
                    },
                );
                if let Some(pick) = user.machine.pick(now, &pool, &[id]) {
                    assert_ne!(pick.id, id, "an excluded element was picked");
                }
            }
            7 => element.take(
                now,
                match step >> 4 & 7 {
                    0 | 1 => element::Input::Able(much & 1 == 1),
                    2 | 3 => element::Input::Drain(much & 1 == 1),
                    4 => element::Input::Standby(much & 1 == 1),
                    5 => element::Input::Stop,
                    _ => element::Input::Load(u32::from(*much) << 24),
                },
            ),
            8 | 9 => {
                rest = next;
                let answer =
                    answer(&pool, step >> 4, octets).to_octets().expect("an answer has few elements");
                user.take(now, user::Input::Message(of_user, &answer));
                element.take(now, element::Input::Message(of_element, &answer));
            }
            _ => {
                rest = next;
                user.take(now, user::Input::Message(of_user, octets));
                element.take(now, element::Input::Message(of_element, octets));
            }
        }
        if let Some(snapshot) = user.machine.snapshot(now, &pool) {
            let ids: BTreeSet<ElementId> = snapshot.elements.iter().map(|one| one.id).collect();
            assert_eq!(ids.len(), snapshot.elements.len(), "an element stands there twice");
        }
    }
});

/// An answer with vector of the registrar `registrar` that is sound, for a fuzzer seldom hits on one: three octets an element.
fn answer(pool: &PoolHandle, registrar: u8, octets: &[u8]) -> Message {
    let home = RegistrarId(u32::from(registrar & 1) + 1);
    let (mut elements, mut entries) = (Vec::new(), Vec::new());
    for [id, what, age] in octets.as_chunks().0 {
        let id = ElementId(u32::from(id & 7));
        let state = [State::Unknown, State::Up, State::Down, State::Up][usize::from(what & 3)];
        entries.push(StatusEntry {
            id,
            state,
            source: Source::from_code(what >> 2 & 7),
            flags: StatusFlags(u16::from(what >> 5)),
            age_ms: 1 << (age & 31),
        });
        if state == State::Up {
            elements.push(PoolElement {
                id,
                home,
                life: Lifetime::Seconds(60),
                user_transport: Transport::Udp(SocketAddr::new([198, 51, 100, age >> 5].into(), 53)),
                policy: PolicyParameter::ROUND_ROBIN,
                asap_transport: None,
            });
        }
    }
    let (epoch, sequence) =
        (u32::from(registrar >> 1 & 1), octets.first().copied().unwrap_or_default().into());
    Message::HandleResolutionResponse(ResolutionResponse {
        handle: pool.clone(),
        accepted: registrar & 4 == 0,
        policy: None,
        elements,
        errors: Vec::new(),
        status: Some(StatusVector { registrar: home, epoch, sequence, entries }),
    })
}

/// Goes to the time of a timer; false if there is none. `still` counts those that came at one time.
fn reach(now: &mut Time, due: Option<Time>, still: &mut u32) -> bool {
    let Some(due) = due else { return false };
    *still = if due <= *now { *still + 1 } else { 0 };
    assert!(*still < 10, "a timer comes again and again at one time");
    *now = due.max(*now);
    true
}

/// A machine and the connections that it asked for.
struct Side<M> {
    machine: M,
    open: BTreeSet<ConnectionId>,
    /// Those of them that came about.
    connected: BTreeSet<ConnectionId>,
}

impl<M> Side<M> {
    /// One that it asked for, or one that it does not know.
    fn connection(&self, place: usize) -> ConnectionId {
        self.open.iter().nth(place).copied().unwrap_or(ConnectionId(u64::MAX))
    }

    fn send(&self, id: ConnectionId, octets: &[u8]) {
        assert!(self.open.contains(&id), "it sends over a connection that it does not have");
        let parsed = Message::parse(octets).expect("what is sent can be read");
        assert!(parsed.report.is_empty());
    }
}

impl Side<User> {
    fn take(&mut self, now: Time, input: user::Input<'_>) {
        if let user::Input::Closed(id) = input {
            self.open.remove(&id);
        }
        for output in self.machine.handle(now, input) {
            match output {
                user::Output::Connect(id, _) => assert!(self.open.insert(id)),
                user::Output::Send(id, octets) => self.send(id, &octets),
                // Of one that it does not know too: that is not wanted.
                user::Output::Close(id) => drop(self.open.remove(&id)),
                user::Output::Change(_) | user::Output::Event(_) => {}
            }
        }
    }

    /// As many timers as come up.
    fn pass(&mut self, now: &mut Time, timers: u8) {
        let mut still = 0;
        for _ in 0..timers {
            if !reach(now, self.machine.next_timeout(), &mut still) {
                break;
            }
            self.take(*now, user::Input::Tick);
        }
    }
}

impl Side<Element> {
    fn take(&mut self, now: Time, input: element::Input<'_>) {
        if let element::Input::Closed(id) = input {
            self.open.remove(&id);
        }
        for output in self.machine.handle(now, input) {
            match output {
                element::Output::Connect(id, _) => assert!(self.open.insert(id)),
                element::Output::Send(id, octets) => self.send(id, &octets),
                // Of one that it does not know too: that is not wanted.
                element::Output::Close(id) => drop(self.open.remove(&id)),
                element::Output::Event(_) | element::Output::Stopped => {}
            }
        }
    }

    /// As many timers as come up.
    fn pass(&mut self, now: &mut Time, timers: u8) {
        let mut still = 0;
        for _ in 0..timers {
            if !reach(now, self.machine.next_timeout(), &mut still) {
                break;
            }
            self.take(*now, element::Input::Tick);
        }
    }
}
