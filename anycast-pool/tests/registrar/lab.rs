//! A registrar, a clock that jumps, and connections whose other ends do as they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use anycast_pool::journal::Record;
use anycast_pool::registrar::*;
use anycast_pool::wire::*;
use anycast_pool::{ElementId, PoolHandle, RegistrarId, Time};

pub const REGISTRAR: RegistrarId = RegistrarId(0x1122_3344);

pub fn config() -> Config {
    Config { announce_interval: Duration::ZERO, ..Config::new(REGISTRAR) }
}

pub fn handle(name: &str) -> PoolHandle {
    PoolHandle::from(name)
}

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub fn element(id: u32) -> PoolElement {
    PoolElement {
        id: ElementId(id),
        home: RegistrarId::UNDETERMINED,
        life: Lifetime::Infinite,
        user_transport: Transport::Udp(SocketAddr::new([192, 0, 2, id as u8].into(), 53)),
        policy: PolicyParameter::ROUND_ROBIN,
        asap_transport: None,
    }
}

pub fn policy(code: u32, words: &[u32]) -> PolicyParameter {
    PolicyParameter::new(code, words).expect("few words")
}

pub struct Lab {
    pub registrar: Registrar,
    pub now: Time,
    /// What was received over each connection and not yet looked at.
    pub inbox: BTreeMap<u64, Vec<Message>>,
    pub closed: BTreeMap<u64, CloseReason>,
    pub journal: Vec<Record>,
    pub notices: Vec<Notice>,
    pub announces: Vec<Message>,
    /// Ends that answer keep-alives, for these elements.
    pub answering: BTreeSet<(u64, u32)>,
    /// Ends that take no octets.
    pub stuck: BTreeSet<u64>,
    taken: Vec<(u64, usize)>,
}

impl Lab {
    pub fn new() -> Self {
        Self::with(config())
    }

    pub fn with(config: Config) -> Self {
        let now = Time::ZERO + seconds(1000);
        Self {
            registrar: Registrar::new(config, 7, now).expect("a configuration that can be"),
            now,
            inbox: BTreeMap::new(),
            closed: BTreeMap::new(),
            journal: Vec::new(),
            notices: Vec::new(),
            announces: Vec::new(),
            answering: BTreeSet::new(),
            stuck: BTreeSet::new(),
            taken: Vec::new(),
        }
    }

    pub fn event(&mut self, event: Event<'_>) {
        self.registrar.handle(self.now, event);
        self.settle();
    }

    pub fn connect(&mut self, connection: u64) {
        self.connect_as(connection, ConnectionKind::Tcp, None);
    }

    /// Each connection comes from a host of its own.
    pub fn connect_as(&mut self, connection: u64, kind: ConnectionKind, identity: Option<&str>) {
        let peer = SocketAddr::new([198, 51, 100, connection as u8].into(), 40_000);
        self.event(Event::Connected { connection: ConnectionId(connection), peer, kind, identity });
    }

    pub fn close(&mut self, connection: u64) {
        self.event(Event::Closed { connection: ConnectionId(connection) });
    }

    pub fn octets(&mut self, connection: u64, octets: &[u8]) {
        self.event(Event::Received { connection: ConnectionId(connection), octets });
    }

    pub fn send(&mut self, connection: u64, message: &Message) {
        self.octets(connection, &message.to_octets().expect("a short message"));
    }

    pub fn written(&mut self, connection: u64, octets: usize) {
        self.event(Event::Written { connection: ConnectionId(connection), octets });
    }

    /// Lets time pass, timer by timer.
    pub fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut steps = 0;
        while let Some(due) = self.registrar.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.event(Event::Tick);
            steps += 1;
            assert!(steps < 1_000_000, "timers do not come to rest");
        }
        self.now = end;
    }

    /// All that came over a connection.
    pub fn take(&mut self, connection: u64) -> Vec<Message> {
        self.inbox.remove(&connection).unwrap_or_default()
    }

    /// The only message that came.
    pub fn one(&mut self, connection: u64) -> Message {
        let mut all = self.take(connection);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn settle(&mut self) {
        loop {
            let mut answers = Vec::new();
            while let Some(action) = self.registrar.next_action() {
                match action {
                    Action::Send { connection: ConnectionId(connection), octets } => {
                        assert!(!self.closed.contains_key(&connection), "sent after close");
                        let parsed = Message::parse(&octets).expect("what is sent can be read");
                        assert!(parsed.report.is_empty());
                        if let Message::EndpointKeepAlive { handle, .. } = &parsed.message {
                            answers.push((connection, handle.clone()));
                        }
                        self.inbox.entry(connection).or_default().push(parsed.message);
                        if !self.stuck.contains(&connection) {
                            self.taken.push((connection, octets.len()));
                        }
                    }
                    Action::Close { connection: ConnectionId(connection), reason } => {
                        self.closed.insert(connection, reason);
                    }
                    Action::Journal(record) => self.journal.push(record),
                    Action::Announce(octets) => self
                        .announces
                        .push(Message::parse(&octets).expect("what is sent can be read").message),
                    Action::Notice(notice) => self.notices.push(notice),
                }
            }
            let taken = std::mem::take(&mut self.taken);
            if answers.is_empty() && taken.is_empty() {
                return;
            }
            for (connection, octets) in taken {
                let connection = ConnectionId(connection);
                self.registrar.handle(self.now, Event::Written { connection, octets });
            }
            for (connection, handle) in answers {
                let ids = self.answering.iter().filter(|(answering, _)| *answering == connection);
                for (_, id) in ids.copied().collect::<Vec<_>>() {
                    let ack = Message::EndpointKeepAliveAck { handle: handle.clone(), id: ElementId(id) };
                    let octets = ack.to_octets().expect("a short message");
                    let connection = ConnectionId(connection);
                    self.registrar.handle(self.now, Event::Received { connection, octets: &octets });
                }
            }
        }
    }

    pub fn register(&mut self, connection: u64, pool: &str, element: &PoolElement) -> Result<(), CauseCode> {
        self.register_with(connection, pool, element, StatusFlags::NONE)
    }

    pub fn register_with(
        &mut self,
        connection: u64,
        pool: &str,
        element: &PoolElement,
        flags: StatusFlags,
    ) -> Result<(), CauseCode> {
        self.take(connection);
        self.send(
            connection,
            &Message::Registration { handle: handle(pool), element: element.clone(), flags },
        );
        let responses = self.take(connection).into_iter().filter_map(|message| match message {
            Message::RegistrationResponse { id, rejected, errors, .. } if id == element.id => {
                Some(if rejected { Err(errors[0].code) } else { Ok(()) })
            }
            _ => None,
        });
        let responses: Vec<_> = responses.collect();
        assert_eq!(responses.len(), 1, "each registration is answered once");
        responses[0]
    }

    /// Connects, registers and answers keep-alives from then on.
    pub fn element(&mut self, connection: u64, pool: &str, id: u32) {
        self.connect(connection);
        self.register(connection, pool, &element(id)).expect("it may register");
        self.answering.insert((connection, id));
    }

    pub fn resolve(
        &mut self,
        connection: u64,
        pool: &str,
        subscribe: bool,
        status: bool,
    ) -> ResolutionResponse {
        self.resolve_some(connection, pool, subscribe, status, None)
    }

    pub fn resolve_some(
        &mut self,
        connection: u64,
        pool: &str,
        subscribe: bool,
        status: bool,
        limit: Option<u32>,
    ) -> ResolutionResponse {
        self.take(connection);
        self.send(connection, &Message::HandleResolution { handle: handle(pool), subscribe, limit, status });
        let mut responses = self.responses(connection);
        assert_eq!(responses.len(), 1);
        responses.remove(0)
    }

    /// Handle resolution responses that came.
    pub fn responses(&mut self, connection: u64) -> Vec<ResolutionResponse> {
        let all = self.take(connection).into_iter();
        all.filter_map(|message| match message {
            Message::HandleResolutionResponse(response) => Some(response),
            _ => None,
        })
        .collect()
    }

    /// State and source of an element, as the vector has it.
    pub fn status(&self, pool: &str, id: u32) -> Option<(State, Source)> {
        let space = self.registrar.handlespace();
        let index = space.find_pool(pool.as_bytes())?;
        let status = anycast_pool::handlespace::Status { registrar: REGISTRAR, epoch: 0, now: self.now };
        let entries = space.status(index, status)?.entries;
        entries.iter().find(|entry| entry.id == ElementId(id)).map(|entry| (entry.state, entry.source))
    }

    pub fn is_up(&self, pool: &str, id: u32) -> bool {
        self.status(pool, id).is_some_and(|(state, _)| state == State::Up)
    }
}

pub fn ids(response: &ResolutionResponse) -> Vec<u32> {
    response.elements.iter().map(|element| element.id.0).collect()
}

/// States in a response's vector, by identifier.
pub fn states(response: &ResolutionResponse) -> BTreeMap<u32, (State, Source)> {
    let entries = response.status.as_ref().expect("a vector was asked for").entries.iter();
    entries.map(|entry| (entry.id.0, (entry.state, entry.source))).collect()
}

pub fn keep_alives(messages: &[Message]) -> usize {
    messages.iter().filter(|message| matches!(message, Message::EndpointKeepAlive { .. })).count()
}
