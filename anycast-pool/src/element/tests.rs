use super::*;
use crate::Time;
use crate::wire::{Cause, CauseCode, Message, StatusFlags};

fn at(ms: u64) -> Time {
    Time::from_nanos(ms * 1_000_000)
}

fn handle() -> PoolHandle {
    PoolHandle::from("dns")
}

fn config(registrars: usize) -> ElementConfig {
    let transport = Transport::Udp("[2001:db8::1]:53".parse().unwrap());
    ElementConfig::new(handle(), ElementId(7), transport, Policy::LeastUsed { load: 0 }, registrars, 1)
}

/// An element and what it wants of its registrars, who answer nothing by themselves.
struct Lab {
    element: Element,
    now: Time,
    sent: Vec<(ConnectionId, Message)>,
    events: Vec<Event>,
    closed: Vec<ConnectionId>,
    connecting: Vec<(ConnectionId, Target)>,
    stopped: bool,
}

impl Lab {
    fn new(config: ElementConfig) -> Self {
        let element = Element::new(config);
        let mut lab = Self {
            element,
            now: at(0),
            sent: Vec::new(),
            events: Vec::new(),
            closed: Vec::new(),
            connecting: Vec::new(),
            stopped: false,
        };
        lab.say(Input::Tick);
        lab
    }

    fn say(&mut self, input: Input<'_>) {
        for output in self.element.handle(self.now, input) {
            match output {
                Output::Connect(connection, target) => self.connecting.push((connection, target)),
                Output::Send(connection, octets) => {
                    self.sent.push((connection, Message::parse(&octets).unwrap().message));
                }
                Output::Close(connection) => self.closed.push(connection),
                Output::Event(event) => self.events.push(event),
                Output::Stopped => self.stopped = true,
            }
        }
    }

    /// Opens the connection that was asked for first.
    fn connect(&mut self) -> ConnectionId {
        let (connection, _) = self.connecting.remove(0);
        self.say(Input::Connected(connection));
        connection
    }

    fn answer(&mut self, connection: ConnectionId, message: &Message) {
        self.say(Input::Message(connection, &message.to_octets().unwrap()));
    }

    fn accept(&mut self, connection: ConnectionId) {
        let (rejected, errors) = (false, vec![]);
        self.answer(
            connection,
            &Message::RegistrationResponse { handle: handle(), id: ElementId(7), rejected, errors },
        );
    }

    fn reject(&mut self, connection: ConnectionId, code: CauseCode) {
        let errors = vec![Cause::bare(code)];
        let rejected = true;
        self.answer(
            connection,
            &Message::RegistrationResponse { handle: handle(), id: ElementId(7), rejected, errors },
        );
    }

    fn goodbye(&mut self, connection: ConnectionId) {
        self.answer(
            connection,
            &Message::DeregistrationResponse { handle: handle(), id: ElementId(7), errors: vec![] },
        );
    }

    /// Lets time pass until then, timer by timer.
    fn until(&mut self, ms: u64) {
        while let Some(next) = self.element.next_timeout().filter(|next| *next <= at(ms)) {
            assert!(next > self.now || next <= at(ms), "the timer stands still at {next}");
            self.now = self.now.max(next);
            self.say(Input::Tick);
        }
        self.now = at(ms);
    }

    fn take(&mut self) -> Vec<(ConnectionId, Message)> {
        std::mem::take(&mut self.sent)
    }

    fn registered(registrars: usize) -> (Self, Vec<ConnectionId>) {
        let mut lab = Self::new(config(registrars));
        lab.say(Input::Able(true));
        let connections: Vec<_> = (0..registrars).map(|_| lab.connect()).collect();
        connections.iter().for_each(|connection| lab.accept(*connection));
        lab.take();
        (lab, connections)
    }
}

fn load_of(message: &Message) -> Option<u32> {
    match message {
        Message::Registration { element, .. } => Policy::parse(&element.policy).unwrap().load(),
        _ => None,
    }
}

fn keep_alive(pool: &str, adopt: bool) -> Message {
    Message::EndpointKeepAlive { registrar: RegistrarId(9), handle: PoolHandle::from(pool), adopt }
}

#[test]
fn it_registers_with_every_registrar_once_it_is_able() {
    let mut lab = Lab::new(config(2));
    let first = lab.connect();
    assert!(lab.take().is_empty(), "not able yet");
    lab.say(Input::Able(true));
    let second = lab.connect();
    let sent = lab.take();
    assert_eq!(sent.iter().map(|(connection, _)| *connection).collect::<Vec<_>>(), [first, second]);
    assert!(
        sent.iter().all(|(_, message)| matches!(message, Message::Registration { handle: pool, element, .. }
        if *pool == handle() && element.id == ElementId(7)))
    );
    lab.accept(first);
    assert_eq!(lab.events, [Event::Registered(Target::Configured(0))]);
    let states = lab.element.snapshot(lab.now).registrations;
    assert_eq!(states[0].state, RegistrationState::Registered);
    assert_eq!(states[1].state, RegistrationState::Registering);
}

#[test]
fn it_registers_again_in_time() {
    let (mut lab, connections) = Lab::registered(1);
    for second in 1..28 {
        lab.until(second * 10_000);
        lab.answer(connections[0], &keep_alive("other", false));
    }
    lab.until(279_999);
    assert!(lab.take().is_empty());
    lab.until(280_000);
    assert_eq!(lab.take().len(), 1);
    let times = [(300, 280), (10_000, 600), (30, 15)];
    for (life, renewal) in times {
        let config = ElementConfig { life: Duration::from_secs(life), ..config(1) };
        assert_eq!(config.renewal().as_secs(), renewal);
    }
}

#[test]
fn a_silent_registrar_is_registered_with_again() {
    let (mut lab, _) = Lab::registered(1);
    lab.until(59_999);
    assert!(lab.take().is_empty());
    lab.until(60_000);
    assert_eq!(lab.take().len(), 1);
}

#[test]
fn a_load_is_said_if_it_is_worth_it_and_not_too_often() {
    let (mut lab, connections) = Lab::registered(1);
    lab.until(5_000);
    lab.say(Input::Load(FULL_LOAD / 30));
    assert!(lab.take().is_empty(), "3 % is not worth it");
    lab.say(Input::Load(FULL_LOAD / 10));
    assert_eq!(
        lab.take().iter().map(|(_, message)| load_of(message)).collect::<Vec<_>>(),
        [Some(FULL_LOAD / 10)]
    );
    lab.accept(connections[0]);
    lab.until(5_500);
    lab.say(Input::Load(FULL_LOAD / 2));
    lab.say(Input::Load(FULL_LOAD));
    assert!(lab.take().is_empty(), "too soon");
    lab.until(6_000);
    assert_eq!(lab.take().iter().map(|(_, message)| load_of(message)).collect::<Vec<_>>(), [Some(FULL_LOAD)]);
}

#[test]
fn standby_is_said_at_once_and_stays_registered() {
    let (mut lab, connections) = Lab::registered(1);
    lab.say(Input::Standby(true));
    let sent = lab.take();
    assert!(matches!(sent[..], [(_, Message::Registration { flags: StatusFlags::STANDBY, .. })]));
    lab.accept(connections[0]);
    lab.answer(connections[0], &keep_alive("dns", false));
    assert!(matches!(lab.take()[..], [(_, Message::EndpointKeepAliveAck { .. })]));
}

#[test]
fn keep_alives_are_answered_while_it_is_able_and_for_its_pool_alone() {
    let (mut lab, connections) = Lab::registered(1);
    lab.answer(connections[0], &keep_alive("dns", false));
    assert_eq!(
        lab.take(),
        [(connections[0], Message::EndpointKeepAliveAck { handle: handle(), id: ElementId(7) })]
    );
    lab.answer(connections[0], &keep_alive("other", false));
    assert!(lab.take().is_empty());
    lab.say(Input::Able(false));
    assert!(matches!(lab.take()[..], [(_, Message::Deregistration { .. })]));
    lab.answer(connections[0], &keep_alive("dns", false));
    assert!(lab.take().is_empty());
}

#[test]
fn flag_h_makes_the_sender_the_home() {
    let (mut lab, connections) = Lab::registered(1);
    lab.answer(connections[0], &keep_alive("dns", false));
    assert_eq!(lab.element.snapshot(lab.now).home, RegistrarId::UNDETERMINED);
    lab.answer(connections[0], &keep_alive("dns", true));
    assert_eq!(lab.element.snapshot(lab.now).home, RegistrarId(9));
    assert_eq!(lab.events.last(), Some(&Event::Home(RegistrarId(9))));
}

#[test]
fn draining_deregisters_and_undraining_registers() {
    let (mut lab, connections) = Lab::registered(1);
    lab.say(Input::Drain(true));
    assert!(matches!(lab.take()[..], [(_, Message::Deregistration { .. })]));
    lab.goodbye(connections[0]);
    assert_eq!(lab.events.last(), Some(&Event::Deregistered(Target::Configured(0))));
    lab.until(1_000_000);
    assert!(lab.take().is_empty());
    lab.say(Input::Drain(false));
    assert!(matches!(lab.take()[..], [(_, Message::Registration { .. })]));
}

#[test]
fn stopping_waits_for_the_answers_but_not_for_ever() {
    let (mut lab, connections) = Lab::registered(2);
    lab.say(Input::Stop);
    assert_eq!(lab.take().len(), 2);
    lab.goodbye(connections[0]);
    assert!(!lab.stopped);
    let mut other = Lab { element: lab.element.clone(), ..Lab::registered(2).0 };
    lab.goodbye(connections[1]);
    assert!(lab.stopped);
    assert_eq!(lab.closed, connections);
    assert_eq!(lab.element.next_timeout(), None);
    other.until(999);
    assert!(!other.stopped);
    other.until(1_000);
    assert!(other.stopped);
}

#[test]
fn stopping_while_a_registration_waits_says_good_bye_all_the_same() {
    let mut lab = Lab::new(config(1));
    lab.say(Input::Able(true));
    let connection = lab.connect();
    lab.say(Input::Stop);
    assert!(matches!(
        lab.take()[..],
        [(_, Message::Registration { .. }), (_, Message::Deregistration { .. })]
    ));
    lab.accept(connection);
    assert!(!lab.stopped);
    lab.goodbye(connection);
    assert!(lab.stopped);
}

#[test]
fn a_registrar_without_answer_is_left_and_sought_again() {
    let mut lab = Lab::new(config(1));
    lab.say(Input::Able(true));
    let connection = lab.connect();
    lab.until(89_999);
    assert_eq!(lab.take().len(), 3, "MAX-REG-ATTEMPT is 2: two more than the first");
    assert!(lab.closed.is_empty());
    lab.until(90_000);
    assert_eq!(lab.closed, [connection]);
    assert_eq!(
        lab.events,
        [Event::Problem(Target::Configured(0), Problem::Silent(3)), Event::Lost(Target::Configured(0))]
    );
    lab.until(91_000);
    let again = lab.connect();
    lab.accept(again);
    assert_eq!(lab.element.snapshot(lab.now).registrations[0].problem, None);
}

#[test]
fn a_lost_connection_leads_to_another_registration_of_the_same_identifier() {
    let (mut lab, connections) = Lab::registered(1);
    lab.say(Input::Closed(connections[0]));
    lab.until(1_000);
    let again = lab.connect();
    assert!(matches!(&lab.take()[..], [(connection, Message::Registration { element, .. })]
        if *connection == again && element.id == ElementId(7)));
    // The control: what the lost connection still brings changes nothing.
    lab.accept(connections[0]);
    assert_eq!(lab.element.snapshot(lab.now).registrations[0].state, RegistrationState::Registering);
}

#[test]
fn a_drained_element_says_good_bye_over_the_next_connection() {
    let (mut lab, connections) = Lab::registered(1);
    lab.say(Input::Closed(connections[0]));
    lab.say(Input::Drain(true));
    lab.until(1_000);
    let again = lab.connect();
    assert!(matches!(lab.take()[..], [(_, Message::Deregistration { .. })]));
    lab.goodbye(again);
    lab.until(100_000);
    assert!(lab.take().is_empty());
}

#[test]
fn a_rejection_is_told_once_with_advice_and_not_hammered() {
    let mut lab = Lab::new(config(1));
    lab.say(Input::Able(true));
    let connection = lab.connect();
    lab.take();
    lab.reject(connection, CauseCode::InconsistentPolicy);
    lab.until(29_999);
    assert!(lab.take().is_empty());
    lab.until(90_000);
    assert_eq!(lab.take().len(), 1);
    lab.reject(connection, CauseCode::InconsistentPolicy);
    assert_eq!(lab.events.len(), 1);
    assert!(lab.events[0].to_string().contains("same policy type"), "{}", lab.events[0]);
    assert_eq!(lab.element.snapshot(lab.now).registrations[0].state, RegistrationState::Rejected);
}

#[test]
fn a_rejection_that_may_pass_is_tried_again_soon() {
    let mut lab = Lab::new(config(1));
    lab.say(Input::Able(true));
    let connection = lab.connect();
    lab.take();
    lab.reject(connection, CauseCode::NonUniqueElementId);
    lab.until(750);
    assert_eq!(lab.take().len(), 1);
    lab.accept(connection);
    assert_eq!(lab.element.snapshot(lab.now).registrations[0].state, RegistrationState::Registered);
}

#[test]
fn an_element_that_is_taken_out_registers_again() {
    let (mut lab, connections) = Lab::registered(1);
    lab.goodbye(connections[0]);
    assert_eq!(lab.events.last(), Some(&Event::Removed(Target::Configured(0))));
    assert!(matches!(lab.take()[..], [(_, Message::Registration { .. })]));
}

#[test]
fn what_cannot_be_read_is_told_once() {
    let (mut lab, connections) = Lab::registered(1);
    lab.events.clear();
    (0..3).for_each(|_| lab.say(Input::Message(connections[0], &[3, 0, 0, 8, 0, 9, 0, 99])));
    assert!(matches!(lab.events[..], [Event::Problem(_, Problem::Malformed(_))]));
}
