//! Runs a scenario: steps at their times, clients that send queries, controllers that read their counters; and keeps the
//! books.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::bounds::Violation;
use super::figures::{Figures, Happened, longest};
use super::scenario::{Deed, Scenario, Selector, Step, Way};
use super::{Sim, Traffic};
use crate::config::{ConfigError, Mode};
use crate::event::{Action, Command, State};
use crate::random::Random;
use crate::{ServerId, Time};

/// Queries arrive in bundles at this distance.
const BUNDLE: Duration = Duration::from_millis(10);
/// Controllers read their counters at this distance …
const POLL: Duration = Duration::from_millis(100);
/// … and those that have neither owned nor received anything for this long, once a second.
const BUSY: Duration = Duration::from_secs(5);
/// A router's entry that names a server that does not answer lasts this long: DELAY_FIRST_PROBE_TIME and three probes a
/// second apart (RFC 4861 7.3.3, 10).
const UNREACHABLE: Duration = Duration::from_secs(8);
/// What happens within this time after a step is put down to it.
const FOLLOWS: Duration = Duration::from_secs(20);
/// Moves are counted over this time (RFC 7432 15.1).
const MOVES: Duration = Duration::from_secs(180);

/// Runs a scenario to its end.
///
/// # Errors
/// The farm's configuration is not valid.
pub fn run(scenario: &Scenario) -> Result<Figures, ConfigError> {
    let mut drive = Drive::new(scenario)?;
    drive.pass(scenario.warm_up)?;
    drive.begin();
    drive.pass(scenario.warm_up + scenario.duration)?;
    Ok(drive.end())
}

/// What is to be done to the farm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Todo {
    /// A step, by its number, for the so-many-th time.
    Step(usize, u32),
    /// One server of a step that takes several one after the other.
    One(usize, usize),
    /// A step is undone for the servers from one number to another.
    Undo(usize, usize, usize),
    /// A server's daemon starts for the first time.
    Boot(usize),
    /// Queries arrive.
    Bundle,
    /// Counters are read.
    Poll,
    /// Servers in standby are counted.
    Second,
}

struct Drive<'a> {
    scenario: &'a Scenario,
    sim: Sim,
    random: Random,
    todo: BinaryHeap<Reverse<(Time, u64, Todo)>>,
    /// Things of one time are done in the order in which they were asked for.
    asked: u64,
    /// Queries per second now; towards which rate, from when, until when.
    ramp: (f64, f64, Time, Time),
    fraction: f64,
    /// Since when the router's entry has named a server that does not answer.
    astray: Option<Time>,
    /// When each server last owned or received queries, and how many it had then.
    busy: Vec<(Option<Time>, u64)>,
    answered: Vec<u64>,
    owner_since: Option<(usize, Time)>,
    owned: Vec<Duration>,
    figures: Figures,
    times: Vec<Time>,
    handovers: VecDeque<Time>,
    start: Time,
    before: Traffic,
    seconds: u64,
}

impl<'a> Drive<'a> {
    fn new(scenario: &'a Scenario) -> Result<Self, ConfigError> {
        let configs = scenario.farm.configs();
        configs.iter().try_for_each(|config| config.validate())?;
        let servers = configs.len();
        let mut drive = Self {
            sim: Sim::of(configs, scenario.seed, scenario.network),
            // Another sequence than the link's.
            random: Random::new(scenario.seed ^ 0x5EED_0F57_E950_F0E5),
            scenario,
            todo: BinaryHeap::new(),
            asked: 0,
            ramp: (scenario.rate.into(), scenario.rate.into(), Time::ZERO, Time::ZERO),
            fraction: 0.0,
            astray: None,
            busy: vec![(None, 0); servers],
            answered: vec![0; servers],
            owner_since: None,
            owned: vec![Duration::ZERO; servers],
            figures: Figures::default(),
            times: Vec::new(),
            handovers: VecDeque::new(),
            start: Time::ZERO,
            before: Traffic::default(),
            seconds: 0,
        };
        for server in 0..servers {
            let at = Time::ZERO + drive.random.up_to(scenario.boot);
            drive.push(at, Todo::Boot(server));
        }
        let traffic = scenario.rate > 0
            || scenario.steps.iter().any(|step| matches!(step.deed, Deed::Rate(_)))
            || scenario.farm.standby.is_some();
        if traffic {
            drive.push(Time::ZERO + BUNDLE, Todo::Bundle);
            drive.push(Time::ZERO + POLL, Todo::Poll);
        }
        drive.push(Time::ZERO + Duration::from_secs(1), Todo::Second);
        Ok(drive)
    }

    fn push(&mut self, at: Time, todo: Todo) {
        self.asked += 1;
        self.todo.push(Reverse((at, self.asked, todo)));
    }

    /// Lets time pass until `end`, and does what is due.
    fn pass(&mut self, end: Duration) -> Result<(), ConfigError> {
        let end = Time::ZERO + end;
        while self.todo.peek().is_some_and(|Reverse((at, ..))| *at <= end) {
            let Some(Reverse((at, _, todo))) = self.todo.pop() else { break };
            self.sim.run(at.since(self.sim.now()));
            self.act(todo)?;
            self.books();
        }
        self.sim.run(end.since(self.sim.now()));
        self.books();
        Ok(())
    }

    /// Counting begins, and the steps.
    fn begin(&mut self) {
        for (number, step) in self.scenario.steps.iter().enumerate() {
            self.push(self.sim.now() + step.at, Todo::Step(number, 1));
        }
        self.sim.forget();
        self.before = self.sim.traffic();
        self.start = self.sim.now();
        self.figures = Figures::default();
        self.handovers.clear();
        self.answered.fill(0);
        self.owned.fill(Duration::ZERO);
        self.owner_since = self.owner_since.map(|(owner, _)| (owner, self.start));
        self.seconds = 0;
    }

    fn end(mut self) -> Figures {
        self.own(None);
        let watch = self.sim.watch();
        let company = watch.none_in_company();
        let spells = watch.spells().to_vec();
        let mut figures = std::mem::take(&mut self.figures);
        figures.runs = 1;
        figures.servers = self.sim.servers();
        figures.time = self.sim.now().since(self.start);
        figures.ownerless = watch.ownerless();
        figures.ownerless_worst = longest(&spells);
        figures.ownerless_alone = watch.none().length;
        figures.ownerless_in_company = company.length;
        figures.owners =
            if self.scenario.farm.mode == Mode::Solicited { Duration::ZERO } else { watch.several().length };
        figures.traffic = self.sim.traffic().since(self.before);
        for spell in &spells {
            match self.cause(spell.start) {
                Some(cause) => figures.happened[cause].ownerless += spell.length,
                None => figures.unexplained += 1,
            }
        }
        let queries = figures.queries > 0;
        let done = (0..self.answered.len()).map(|server| {
            let owned = self.owned[server].as_millis() as u64;
            (self.scenario.farm.weight(server), if queries { self.answered[server] } else { owned })
        });
        figures.shares = done.collect();
        let bounds = self.scenario.bounds;
        for (bound, spell, what) in [
            (bounds.ownerless, company, "no gate open although servers in company could serve"),
            (bounds.ownerless_alone, watch.none(), "no gate open although a server could serve"),
            (bounds.owners, watch.several(), "more than one gate open"),
        ] {
            if let Some(bound) = bound.filter(|bound| spell.length > *bound) {
                let what = format!("{what} for {:?}, bound {bound:?}", spell.length);
                figures.violations.push(Violation { at: spell.start, what });
            }
        }
        for (at, server, broken) in self.sim.broken() {
            figures.violations.push(Violation { at: *at, what: format!("server {server}: {broken:?}") });
        }
        figures
    }

    /// What happened last before `at`, if it may be the cause.
    fn cause(&self, at: Time) -> Option<usize> {
        let last = self.times.partition_point(|time| *time <= at).checked_sub(1)?;
        (at.since(self.times[last]) < FOLLOWS).then_some(last)
    }

    /// Reads the log.
    fn books(&mut self) {
        if self.sim.log().is_empty() {
            return;
        }
        for entry in self.sim.take_log() {
            match entry.action {
                Action::Advertise { .. } => {
                    // Those of the first who took over, not of whose turn it was later.
                    if let Some(cause) = self.cause(entry.at)
                        && self.figures.happened[cause].handovers <= 1
                    {
                        self.figures.happened[cause].advertisements += 1;
                    }
                }
                Action::StateChanged { to: State::Owner, .. } => {
                    self.own(Some((entry.server, entry.at)));
                    self.figures.handovers += 1;
                    if let Some(cause) = self.cause(entry.at) {
                        self.figures.happened[cause].handovers += 1;
                    }
                    self.handovers.push_back(entry.at);
                    while self.handovers.front().is_some_and(|at| entry.at.since(*at) >= MOVES) {
                        self.handovers.pop_front();
                    }
                    self.figures.moves = self.figures.moves.max(self.handovers.len());
                }
                _ => {}
            }
        }
    }

    /// The owner changes: the last one's time is added up.
    fn own(&mut self, next: Option<(usize, Time)>) {
        let now = next.map_or(self.sim.now(), |(_, at)| at);
        if let Some((owner, since)) = std::mem::replace(&mut self.owner_since, next) {
            self.owned[owner] += now.since(since);
        }
    }

    fn act(&mut self, todo: Todo) -> Result<(), ConfigError> {
        let now = self.sim.now();
        match todo {
            Todo::Boot(server) => self.sim.start(server)?,
            Todo::Step(number, time) => {
                let step = &self.scenario.steps[number];
                let again = step.times.is_none_or(|times| time < times);
                if let Some(every) = step.every.filter(|every| again && !every.is_zero()) {
                    self.push(now + every, Todo::Step(number, time + 1));
                }
                self.step(number)?;
            }
            Todo::One(number, server) => self.happen(number, server, server)?,
            Todo::Undo(number, from, to) => {
                let deed = self.scenario.steps[number].deed;
                (from..=to).try_for_each(|server| self.undo(deed, server, from, to))?;
            }
            Todo::Bundle => {
                self.bundle();
                self.push(now + BUNDLE, Todo::Bundle);
            }
            Todo::Poll => {
                self.poll();
                self.push(now + POLL, Todo::Poll);
            }
            Todo::Second => {
                self.seconds += 1;
                self.figures.standby_seconds += self.sim.in_state(State::Standby).len() as u64;
                self.push(now + Duration::from_secs(1), Todo::Second);
            }
        }
        Ok(())
    }

    fn step(&mut self, number: usize) -> Result<(), ConfigError> {
        let step = &self.scenario.steps[number];
        match step.deed {
            Deed::Solicit => {
                self.sim.solicit();
                return Ok(());
            }
            Deed::Rate(rate) => {
                let now = self.sim.now();
                self.ramp = (self.rate(), rate.into(), now, now + step.lasts.unwrap_or_default());
                return Ok(());
            }
            _ => {}
        }
        let Some((from, to)) = self.select(step.on) else { return Ok(()) };
        if step.spacing.is_zero() {
            return self.happen(number, from, to);
        }
        for (place, server) in (from..=to).enumerate() {
            self.push(self.sim.now() + step.spacing * place as u32, Todo::One(number, server));
        }
        Ok(())
    }

    /// Who is meant, from the first number to the last; `None` if there is nobody.
    fn select(&mut self, on: Selector) -> Option<(usize, usize)> {
        let servers = self.sim.servers();
        let number = |id: ServerId| (id.0 as usize).checked_sub(1).filter(|number| *number < servers);
        let one = match on {
            Selector::Owner => self.owner(),
            Selector::Next => {
                let status = self.sim.status(self.owner()?)?;
                number(*status.services.first()?.successors.first()?)
            }
            Selector::Random => Some(self.random.below(servers as u64) as usize),
            Selector::All => return Some((0, servers.checked_sub(1)?)),
            Selector::Numbers(from, to) => return (from < servers).then(|| (from, to.min(servers - 1))),
        }?;
        Some((one, one))
    }

    fn owner(&self) -> Option<usize> {
        let mut owners = self.sim.in_state(State::Owner).into_iter();
        owners.find(|server| self.sim.open(*server)).or_else(|| {
            let solicited = self.scenario.farm.mode == Mode::Solicited;
            self.sim.entry().or_else(|| self.sim.gates().first().copied()).filter(|_| solicited)
        })
    }

    /// A step happens to the servers from one number to another.
    fn happen(&mut self, number: usize, from: usize, to: usize) -> Result<(), ConfigError> {
        let step = &self.scenario.steps[number];
        // What came of the things before is theirs.
        self.books();
        if !matches!(step.deed, Deed::Start | Deed::Recover | Deed::Heal) {
            self.times.push(self.sim.now());
            let (ownerless, advertisements, handovers) = (Duration::ZERO, 0, 0);
            let what = step.deed.name();
            self.figures.happened.push(Happened { what, ownerless, advertisements, handovers });
        }
        (from..=to).try_for_each(|server| self.one(step, server, from, to))?;
        let lasts = match step.deed {
            Deed::Restart => Some(step.lasts.unwrap_or(Duration::from_secs(1))),
            Deed::Pause => None,
            _ => step.lasts,
        };
        if let Some(lasts) = lasts {
            self.push(self.sim.now() + lasts, Todo::Undo(number, from, to));
        }
        Ok(())
    }

    fn one(&mut self, step: &Step, server: usize, from: usize, to: usize) -> Result<(), ConfigError> {
        let sim = &mut self.sim;
        match step.deed {
            Deed::Crash => sim.crash_host(server),
            Deed::Kill => sim.crash(server),
            Deed::Start if !sim.running(server) => sim.start(server)?,
            Deed::Fail => sim.process(server, false),
            Deed::Recover => sim.process(server, true),
            Deed::Hang => sim.hang(server, true, self.scenario.farm.detection),
            Deed::Pause => sim.pause(server, step.lasts.unwrap_or(Duration::from_secs(1))),
            Deed::Stop => sim.stop(server, false),
            Deed::Restart => sim.stop(server, true),
            Deed::Cut { way, loss } => cut(sim, server, from, to, way, loss),
            Deed::Heal => cut(sim, server, server, server, Way::Both, 0.0),
            Deed::Operator(command) => {
                // An operator is told why not; here nobody listens.
                let _ = sim.command(server, command);
            }
            Deed::Start | Deed::Solicit | Deed::Rate(_) => {}
        }
        Ok(())
    }

    fn undo(&mut self, deed: Deed, server: usize, from: usize, to: usize) -> Result<(), ConfigError> {
        let sim = &mut self.sim;
        match deed {
            Deed::Crash | Deed::Kill | Deed::Stop | Deed::Restart if !sim.running(server) => {
                sim.start(server)?;
            }
            Deed::Fail => sim.process(server, true),
            Deed::Hang => sim.hang(server, false, self.scenario.farm.detection),
            Deed::Cut { way, .. } => cut(sim, server, from, to, way, 0.0),
            Deed::Operator(Command::Drain) => {
                let _ = sim.command(server, Command::Undrain);
            }
            _ => {}
        }
        Ok(())
    }

    /// Queries per second now.
    fn rate(&self) -> f64 {
        let (from, to, start, end) = self.ramp;
        let now = self.sim.now();
        if now >= end {
            return to;
        }
        let share = now.since(start).as_secs_f64() / end.since(start).as_secs_f64();
        from + (to - from) * share
    }

    /// Queries arrive where the router's entry points; an entry that leads nowhere is given up in the end.
    fn bundle(&mut self) {
        let now = self.sim.now();
        self.fraction += self.rate() * BUNDLE.as_secs_f64();
        let count = self.fraction as u64;
        self.fraction -= count as f64;
        if count == 0 {
            return;
        }
        if self.sim.entry().is_none()
            && self.astray.is_none_or(|since| now.since(since) >= Duration::from_secs(1))
        {
            self.astray = Some(now);
            self.sim.solicit();
        }
        self.figures.queries += count;
        match self.sim.entry() {
            Some(server) if self.sim.serves(server) && self.sim.unreached(server) < 1.0 => {
                let reached = count - (count as f64 * self.sim.unreached(server)).round() as u64;
                self.figures.lost += count - reached;
                self.answered[server] += reached;
                self.sim.arrive(reached);
                self.astray = None;
            }
            entry => {
                self.figures.lost += count;
                let since = *self.astray.get_or_insert(now);
                if entry.is_some() && now.since(since) >= UNREACHABLE {
                    self.astray = None;
                    self.sim.solicit();
                }
            }
        }
    }

    fn poll(&mut self) {
        let now = self.sim.now();
        let second = now.as_nanos() % 1_000_000_000 < POLL.as_nanos() as u64;
        for server in 0..self.sim.servers() {
            let (last, queries) = self.busy[server];
            let count = self.sim.queries_of(server);
            if count != queries || self.sim.open(server) {
                self.busy[server] = (Some(now), count);
            }
            let busy = self.busy[server].0.or(last).is_some_and(|at| now.since(at) < BUSY);
            if busy || second {
                self.sim.read_counters_of(server);
            }
        }
    }
}

/// Makes the ways between a server and those that are not among `from` to `to` lose this share.
fn cut(sim: &mut Sim, server: usize, from: usize, to: usize, way: Way, loss: f64) {
    // One server named alone is cut off from all others, a group from the rest.
    let outside = |other: &usize| !(from..=to).contains(other);
    for other in (0..sim.servers()).filter(outside) {
        if way != Way::In {
            sim.worsen(server, other, loss);
        }
        if way != Way::Out {
            sim.worsen(other, server, loss);
        }
    }
    // The router is one of the others.
    sim.worsen_router(server, (way != Way::In).then_some(loss), (way != Way::Out).then_some(loss));
}
