use super::*;
use crate::Time;
use crate::policy::Policy;
use crate::vector::Tier;
use crate::wire::{
    Cause, Lifetime, Message, PoolElement, RegistrarId, ResolutionResponse, Source, State, StatusEntry,
    StatusFlags, StatusVector,
};

fn at(ms: u64) -> Time {
    Time::from_nanos((1_000_000 + ms) * 1_000_000)
}

fn dns() -> PoolHandle {
    PoolHandle::from("dns")
}

fn id(number: u32) -> ElementId {
    ElementId(number)
}

fn element(number: u32, policy: &Policy) -> PoolElement {
    PoolElement {
        id: id(number),
        home: RegistrarId(1),
        life: Lifetime::Infinite,
        user_transport: Transport::Udp(SocketAddr::from(([192, 0, 2, number as u8], 53))),
        policy: policy.parameter(),
        asap_transport: None,
    }
}

/// An answer of a registrar that knows the status vector: elements with state and age in milliseconds.
fn answer(registrar: u32, sequence: u32, elements: &[(u32, State, u32)]) -> ResolutionResponse {
    let usable = elements.iter().filter(|(_, state, _)| *state != State::Down);
    let entries = elements.iter().map(|(number, state, age_ms)| StatusEntry {
        id: id(*number),
        state: *state,
        source: Source::KeepAlive,
        flags: StatusFlags::NONE,
        age_ms: *age_ms,
    });
    ResolutionResponse {
        handle: dns(),
        accepted: true,
        policy: None,
        elements: usable.map(|(number, ..)| element(*number, &Policy::RoundRobin)).collect(),
        errors: vec![],
        status: Some(StatusVector {
            registrar: RegistrarId(registrar),
            epoch: 1,
            sequence,
            entries: entries.collect(),
        }),
    }
}

/// An answer of a registrar that knows the RFCs alone.
fn plain(numbers: &[u32]) -> ResolutionResponse {
    let elements = numbers.iter().map(|number| element(*number, &Policy::RoundRobin)).collect();
    ResolutionResponse { accepted: false, elements, status: None, ..answer(1, 1, &[]) }
}

struct Lab {
    user: User,
    now: Time,
    sent: Vec<(ConnectionId, Message)>,
    events: Vec<Event>,
    changes: Vec<Change>,
    closed: Vec<ConnectionId>,
    connecting: Vec<(ConnectionId, Target)>,
}

impl Lab {
    fn with(config: UserConfig) -> Self {
        let mut lab = Self {
            user: User::new(config),
            now: at(0),
            sent: Vec::new(),
            events: Vec::new(),
            changes: Vec::new(),
            closed: Vec::new(),
            connecting: Vec::new(),
        };
        lab.say(Input::Open(&dns()));
        lab
    }

    /// With that many registrars, connected.
    fn connected(registrars: usize) -> (Self, Vec<ConnectionId>) {
        let mut lab = Self::with(UserConfig::new(registrars, 1));
        let connections: Vec<_> = (0..registrars).map(|_| lab.connect()).collect();
        lab.sent.clear();
        (lab, connections)
    }

    fn say(&mut self, input: Input<'_>) {
        for output in self.user.handle(self.now, input) {
            match output {
                Output::Connect(connection, target) => self.connecting.push((connection, target)),
                Output::Send(connection, octets) => {
                    self.sent.push((connection, Message::parse(&octets).unwrap().message));
                }
                Output::Close(connection) => self.closed.push(connection),
                Output::Change(change) => self.changes.push(change),
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    fn connect(&mut self) -> ConnectionId {
        let (connection, _) = self.connecting.remove(0);
        self.say(Input::Connected(connection));
        connection
    }

    fn answer(&mut self, connection: ConnectionId, response: ResolutionResponse) {
        let octets = Message::HandleResolutionResponse(response).to_octets().unwrap();
        self.say(Input::Message(connection, &octets));
    }

    fn until(&mut self, ms: u64) {
        while let Some(next) = self.user.next_timeout().filter(|next| *next <= at(ms)) {
            self.now = self.now.max(next);
            self.say(Input::Tick);
        }
        self.now = at(ms);
    }

    fn take(&mut self) -> Vec<(ConnectionId, Message)> {
        std::mem::take(&mut self.sent)
    }

    fn pick(&mut self, exclude: &[u32]) -> Option<u32> {
        let exclude: Vec<_> = exclude.iter().map(|number| id(*number)).collect();
        self.user.pick(self.now, &dns(), &exclude).map(|pick| pick.id.0)
    }

    fn fail(&mut self, number: u32) {
        self.say(Input::Failed(&dns(), id(number)));
    }

    fn tier(&self, number: u32) -> Tier {
        let snapshot = self.user.snapshot(self.now, &dns()).unwrap();
        snapshot.elements.iter().find(|element| element.id == id(number)).unwrap().tier
    }
}

const UP: State = State::Up;
const DOWN: State = State::Down;

#[test]
fn it_subscribes_to_each_registrar_and_merges_by_newest() {
    let mut lab = Lab::with(UserConfig::new(2, 1));
    let (first, second) = (lab.connect(), lab.connect());
    let asked =
        Message::HandleResolution { handle: dns(), subscribe: true, limit: Some(u32::MAX), status: true };
    assert_eq!(lab.take(), [(first, asked.clone()), (second, asked)]);
    lab.answer(first, answer(1, 1, &[(1, UP, 500), (2, UP, 500)]));
    lab.answer(second, answer(2, 1, &[(1, DOWN, 400), (2, DOWN, 600), (3, UP, 0)]));
    let states: Vec<_> = lab
        .user
        .snapshot(lab.now, &dns())
        .unwrap()
        .elements
        .iter()
        .map(|element| (element.id.0, element.state))
        .collect();
    assert_eq!(states, [(2, UP), (3, UP), (1, DOWN)]);
    assert!(lab.user.is_heard(&dns()));
}

#[test]
fn changes_come_as_data() {
    let (mut lab, connections) = Lab::connected(1);
    lab.answer(connections[0], answer(1, 1, &[(1, UP, 0)]));
    let what: Vec<_> = lab.changes.drain(..).map(|change| change.what).collect();
    assert!(matches!(what[..], [What::Appeared(_), What::State(UP, _)]));
    lab.answer(connections[0], answer(1, 1, &[(1, UP, 0)]));
    assert!(lab.changes.is_empty());
    lab.answer(connections[0], answer(1, 2, &[(1, DOWN, 0)]));
    assert_eq!(lab.changes.len(), 1);
    assert_eq!(lab.changes[0].to_string(), "dns 00000001 is down: keep-alive of 00000001");
}

#[test]
fn a_push_moves_the_next_pick_and_a_late_one_does_not() {
    let (mut lab, connections) = Lab::connected(1);
    lab.answer(connections[0], answer(1, 1, &[(1, UP, 0), (2, UP, 0)]));
    let both: std::collections::BTreeSet<_> = (0..4).map(|_| lab.pick(&[]).unwrap()).collect();
    assert_eq!(both.len(), 2);
    lab.answer(connections[0], answer(1, 3, &[(1, DOWN, 0), (2, UP, 0)]));
    assert!((0..10).all(|_| lab.pick(&[]) == Some(2)));
    lab.answer(connections[0], answer(1, 2, &[(1, UP, 0), (2, DOWN, 0)]));
    assert!((0..10).all(|_| lab.pick(&[]) == Some(2)));
}

#[test]
fn an_own_failure_moves_the_next_pick_and_is_reported_once() {
    let (mut lab, connections) = Lab::connected(2);
    for (number, connection) in connections.iter().enumerate() {
        lab.answer(*connection, answer(number as u32 + 1, 1, &[(1, UP, 0), (2, UP, 0)]));
    }
    lab.take();
    lab.until(1);
    lab.fail(1);
    let report = Message::EndpointUnreachable { handle: dns(), id: id(1) };
    assert_eq!(lab.take(), [(connections[0], report.clone()), (connections[1], report)]);
    (0..50).for_each(|_| lab.fail(1));
    assert!(lab.take().is_empty());
    assert!((0..10).all(|_| lab.pick(&[]) == Some(2)));
    // Last resort.
    assert_eq!(lab.pick(&[2]), Some(1));
    assert_eq!(lab.pick(&[1, 2]), None);
}

#[test]
fn reports_are_restrained() {
    let (mut lab, connections) = Lab::connected(1);
    let all: Vec<_> = (0..100).map(|number| (number, UP, 0)).collect();
    lab.answer(connections[0], answer(1, 1, &all));
    lab.take();
    lab.until(1);
    (0..100).for_each(|number| lab.fail(number));
    let reports =
        lab.take().into_iter().filter(|(_, message)| matches!(message, Message::EndpointUnreachable { .. }));
    assert_eq!(reports.count(), 20);
}

#[test]
fn after_a_failure_it_asks_whether_the_element_is_back() {
    let (mut lab, connections) = Lab::connected(1);
    lab.answer(connections[0], answer(1, 1, &[(1, UP, 0), (2, UP, 0)]));
    lab.until(100);
    lab.fail(1);
    lab.take();
    lab.until(1_099);
    assert!(lab.take().is_empty());
    lab.until(1_100);
    assert!(matches!(lab.take()[..], [(_, Message::HandleResolution { .. })]));
    // The registrar has seen it after the failure.
    lab.answer(connections[0], answer(1, 1, &[(1, UP, 500), (2, UP, 500)]));
    assert_eq!(lab.tier(1), Tier::Fresh);
}

#[test]
fn losing_one_registrar_loses_nothing() {
    let (mut lab, connections) = Lab::connected(2);
    for (number, connection) in connections.iter().enumerate() {
        lab.answer(*connection, answer(number as u32 + 1, 1, &[(1, UP, 0), (2, UP, 0)]));
    }
    lab.say(Input::Closed(connections[0]));
    lab.until(14_000);
    assert_eq!((lab.tier(1), lab.tier(2)), (Tier::Fresh, Tier::Fresh));
    lab.answer(connections[1], answer(2, 2, &[(1, DOWN, 0), (2, UP, 0)]));
    assert_eq!(lab.tier(1), Tier::Down);
}

#[test]
fn a_lost_connection_is_made_again_and_asked_anew() {
    let (mut lab, connections) = Lab::connected(1);
    lab.answer(connections[0], answer(1, 1, &[(1, UP, 0)]));
    lab.say(Input::Closed(connections[0]));
    lab.say(Input::Closed(connections[0]));
    assert_eq!(lab.events.last(), Some(&Event::Lost(Target::Configured(0))));
    lab.until(1_000);
    lab.take();
    let again = lab.connect();
    assert!(
        matches!(lab.take()[..], [(connection, Message::HandleResolution { .. })] if connection == again)
    );
    // The element is known and used all the while.
    assert_eq!(lab.pick(&[]), Some(1));
}

#[test]
fn a_registrar_without_answer_is_asked_three_times_and_left() {
    let (mut lab, connections) = Lab::connected(1);
    lab.until(44_999);
    assert_eq!(lab.take().len(), 2, "MAX-REQUEST-RETRANSMIT");
    lab.until(45_000);
    assert_eq!(lab.closed, connections);
    assert!(lab.events.contains(&Event::Silent(Target::Configured(0), 3)));
}

#[test]
fn a_subscription_is_not_trusted_beyond_an_unanswered_request() {
    let (mut lab, connections) = Lab::connected(1);
    lab.answer(connections[0], answer(1, 1, &[(1, UP, 0), (2, UP, 0)]));
    lab.until(14_000);
    assert!(lab.user.is_heard(&dns()));
    // Asked after at most 15 s, unanswered for 15 s.
    lab.until(30_001);
    assert!(!lab.user.is_heard(&dns()));
    assert_eq!(lab.tier(1), Tier::Older);
}

#[test]
fn a_plain_registrar_is_asked_when_its_answer_is_stale() {
    let (mut lab, connections) = Lab::connected(1);
    lab.answer(connections[0], plain(&[1, 2]));
    lab.take();
    lab.until(29_999);
    assert!(lab.take().is_empty());
    assert_eq!((lab.tier(1), lab.tier(2)), (Tier::Fresh, Tier::Fresh));
    let used: Vec<_> = (0..4).map(|_| lab.pick(&[]).unwrap()).collect();
    assert_eq!(used, [1, 2, 1, 2]);
    lab.until(30_000);
    assert_eq!(lab.take().len(), 1);
    lab.answer(connections[0], plain(&[2]));
    assert_eq!(lab.tier(1), Tier::Leaving);
    assert!((0..4).all(|_| lab.pick(&[]) == Some(2)));
}

#[test]
fn an_unknown_pool_is_told_once_and_asked_for_again() {
    let (mut lab, connections) = Lab::connected(1);
    let unknown = || ResolutionResponse {
        accepted: false,
        errors: vec![Cause::bare(CauseCode::UnknownPoolHandle)],
        ..plain(&[])
    };
    for _ in 0..3 {
        lab.answer(connections[0], unknown());
        lab.take();
        lab.until(lab.now.as_nanos() / 1_000_000 - 1_000_000 + 3_000);
        assert_eq!(lab.take().len(), 1);
    }
    assert_eq!(lab.events.iter().filter(|event| matches!(event, Event::Refused(..))).count(), 1);
    assert_eq!(lab.pick(&[]), None);
}

#[test]
fn without_registrars_a_failed_element_is_tried_once_in_each_hold_down() {
    let (mut lab, connections) = Lab::connected(1);
    lab.answer(connections[0], answer(1, 1, &[(1, UP, 0), (2, UP, 0)]));
    lab.until(1);
    lab.fail(1);
    lab.say(Input::Closed(connections[0]));
    assert!((0..5).all(|_| lab.pick(&[]) == Some(2)));
    lab.now = at(1_001);
    assert_eq!(lab.pick(&[]), Some(1));
    assert!((0..5).all(|_| lab.pick(&[]) == Some(2)));
    lab.say(Input::Succeeded(&dns(), id(1), Duration::from_millis(3)));
    let both: std::collections::BTreeSet<_> = (0..4).map(|_| lab.pick(&[]).unwrap()).collect();
    assert_eq!(both.len(), 2);
}

#[test]
fn the_policy_decides_within_the_fresh() {
    let (mut lab, connections) = Lab::connected(1);
    let mut response = answer(1, 1, &[(1, UP, 0), (2, UP, 9_000), (3, DOWN, 0)]);
    let priorities = [5, 9, 99].map(|priority| Policy::Priority { priority });
    response.policy = Some(priorities[0].parameter());
    response.elements = (1..=3).map(|number| element(number, &priorities[number as usize - 1])).collect();
    lab.answer(connections[0], response);
    assert!((0..5).all(|_| lab.pick(&[]) == Some(2)));
    assert_eq!(lab.pick(&[2]), Some(1));
    assert_eq!(lab.user.snapshot(lab.now, &dns()).unwrap().policy.name(), "priority");
}

#[test]
fn weights_hold_for_a_whole_pool() {
    let (mut lab, connections) = Lab::connected(1);
    let mut response = answer(1, 1, &[(1, UP, 0), (2, UP, 0), (3, UP, 0)]);
    let weights = [1, 3, 0].map(|weight| Policy::WeightedRoundRobin { weight });
    response.policy = Some(weights[0].parameter());
    response.elements = (1..=3).map(|number| element(number, &weights[number as usize - 1])).collect();
    lab.answer(connections[0], response.clone());
    let picked: Vec<_> = (0..40).map(|_| lab.pick(&[]).unwrap()).collect();
    assert_eq!(picked.iter().filter(|number| **number == 2).count(), 30);
    assert!(!picked.contains(&3));
    // The control: what a plain registrar selected carries the weights already.
    let (mut lab, connections) = Lab::connected(1);
    lab.answer(connections[0], ResolutionResponse { accepted: false, status: None, ..response });
    let picked: Vec<_> = (0..30).map(|_| lab.pick(&[]).unwrap()).collect();
    assert_eq!(picked.iter().filter(|number| **number == 2).count(), 10);
}

#[test]
fn registrars_are_learnt_from_announces() {
    let mut lab = Lab::with(UserConfig::new(0, 1));
    assert!(lab.connecting.is_empty());
    let from: SocketAddr = "[fe80::1]:9".parse().unwrap();
    let transport = Transport::Tcp("[2001:db8::9]:3863".parse().unwrap());
    lab.say(Input::Announced(from, std::slice::from_ref(&transport)));
    assert_eq!(lab.connecting[0].1, Target::Announced(transport));
    let connection = lab.connect();
    lab.answer(connection, answer(1, 1, &[(1, UP, 0)]));
    assert_eq!(lab.pick(&[]), Some(1));
}

#[test]
fn a_forgotten_pool_is_silent() {
    let (mut lab, connections) = Lab::connected(1);
    lab.say(Input::Forget(&dns()));
    lab.answer(connections[0], answer(1, 1, &[(1, UP, 0)]));
    lab.until(600_000);
    assert!(lab.changes.is_empty());
    assert_eq!(lab.pick(&[]), None);
}
