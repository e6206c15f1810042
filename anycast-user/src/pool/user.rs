//! The pool user: which element of a pool to use now.
//!
//! ```no_run
//! use std::time::Instant;
//!
//! use anycast_user::pool::{PoolUser, PoolUserOptions};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let options = PoolUserOptions::new(["[2001:db8::1]:3863".parse()?, "[2001:db8::2]:3863".parse()?]);
//! let user = PoolUser::connect(options);
//! // Waits until a registrar has answered; from now on it says what changes.
//! user.resolve("dns").await?;
//! let mut tried = Vec::new();
//! while let Some(pick) = user.pick("dns", &tried) {
//!     let begun = Instant::now();
//!     match ask(&pick.transport).await {
//!         Ok(answer) => {
//!             user.succeeded("dns", pick.id, begun.elapsed());
//!             return Ok(answer);
//!         }
//!         Err(_) => {
//!             // Registrars are told, and this element comes last for a while.
//!             user.failed("dns", pick.id);
//!             tried.push(pick.id);
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! # async fn ask(_: &anycast_pool::wire::Transport) -> std::io::Result<()> { Ok(()) }
//! ```

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anycast_pool::user::{Change, Event, Input, Output, Pick, PoolSnapshot, User, UserConfig};
use anycast_pool::wire::CauseCode;
use anycast_pool::{ElementId, LinkState, PoolHandle, RegistrarSnapshot, Time};
use tokio::sync::broadcast;
use tokio::task::AbortHandle;
use tracing::{info, warn};

use super::address::RegistrarAddress;
use super::links::{Links, Registrars};
use super::side::{Machine, Side, Word, seed};

/// News that wait for a slow reader; beyond them it is told how many it missed.
const NEWS: usize = 1024;

/// How to use pools.
#[derive(Clone, Debug)]
pub struct PoolUserOptions {
    /// Whom to ask.
    pub registrars: Registrars,
    /// How long [`PoolUser::resolve`] waits for an answer.
    pub patience: Duration,
    /// Times and limits. The number of registrars and the seed are set by [`PoolUser::connect`].
    pub config: UserConfig,
}

impl PoolUserOptions {
    /// With the times of RFC 5352 and connections to all of these registrars.
    pub fn new(registrars: impl IntoIterator<Item = RegistrarAddress>) -> Self {
        let addresses: Vec<RegistrarAddress> = registrars.into_iter().collect();
        let config = UserConfig::new(addresses.len(), 0);
        let registrars = Registrars { addresses, ..Registrars::default() };
        Self { registrars, patience: Duration::from_secs(5), config }
    }
}

/// Why a pool cannot be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Registrars answer, but know no such pool.
    #[error(
        "no registrar knows a pool {pool}: see its name, and whether an element has registered ({registrars})"
    )]
    Unknown {
        /// Its name.
        pool: PoolHandle,
        /// Who said so.
        registrars: String,
    },
    /// A registrar answers, but not with the pool.
    #[error("not resolved: {0}: see the registrar's log")]
    Refused(String),
    /// No registrar answers.
    #[error("no registrar answered within {} s: {registrars}", patience.as_secs_f32())]
    Silent {
        /// How long was waited.
        patience: Duration,
        /// What is the matter with each.
        registrars: String,
    },
}

/// What a subscriber hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// An element changed.
    Change(Change),
    /// A registrar answered, is lost or was not understood; in words.
    Registrar(String),
    /// So many of the above came too fast for the subscriber: look at the whole with [`PoolUser::snapshot`].
    Missed(u64),
}

/// A subscription to [`News`].
#[derive(Debug)]
pub struct Changes {
    news: broadcast::Receiver<News>,
}

impl Changes {
    /// The next; `None` once the user is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<News> {
        match self.news.recv().await {
            Ok(news) => Some(news),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(News::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// The same as a stream.
    pub fn into_stream(self) -> impl futures_util::Stream<Item = News> {
        futures_util::stream::unfold(self, |mut changes| async { Some((changes.next().await?, changes)) })
    }
}

/// A user of pools, connected to registrars. Clones are the same user; the last one that is dropped ends it.
#[derive(Clone)]
pub struct PoolUser {
    side: Arc<Side<UserSide>>,
    news: broadcast::Sender<News>,
    patience: Duration,
    _task: Arc<Guard>,
}

/// Ends a task with its owner.
struct Guard(AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl PoolUser {
    /// Begins to connect to the registrars: RFC 5352 3.6 hunts for one of many, here each that is known is asked, because one alone may
    /// not know an element. Must be called in a Tokio runtime, in which it then lives.
    pub fn connect(options: PoolUserOptions) -> Self {
        let PoolUserOptions { registrars, patience, mut config } = options;
        config.registrars = registrars.addresses.len();
        config.hunt.parallel = config.hunt.parallel.max(registrars.expected(&config.hunt));
        config.seed = seed();
        let (news, _) = broadcast::channel(NEWS);
        let machine = UserSide { user: User::new(config), news: news.clone(), refused: Vec::new() };
        let (side, reports) = Side::new(machine, registrars);
        side.with(|machine, links, now| machine.take(now, Word::Tick, links));
        let task = tokio::spawn(Arc::clone(&side).run(reports)).abort_handle();
        Self { side, news, patience, _task: Arc::new(Guard(task)) }
    }

    /// Follows a pool from now on, and waits until a registrar has said what it has.
    ///
    /// # Errors
    /// None has within the patience of the options. The pool is followed all the same.
    pub async fn resolve(&self, pool: impl Into<PoolHandle>) -> Result<PoolSnapshot, ResolveError> {
        let pool = pool.into();
        let mut news = self.news.subscribe();
        self.follow(&pool);
        let resolved = async {
            loop {
                if let Some(snapshot) = self.snapshot(&pool).filter(|snapshot| !snapshot.heard.is_empty()) {
                    return snapshot;
                }
                // Each answer is news, as is each change; the sender lives as long as this user.
                let _ = news.recv().await;
            }
        };
        match tokio::time::timeout(self.patience, resolved).await {
            Ok(snapshot) => Ok(snapshot),
            Err(_) => Err(self.why_not(&pool)),
        }
    }

    /// Follows a pool from now on, without waiting.
    pub fn follow(&self, pool: &PoolHandle) {
        self.side.with(|machine, links, now| machine.input(now, Input::Open(pool), links));
    }

    /// Follows a pool no longer.
    pub fn forget(&self, pool: &PoolHandle) {
        self.side.with(|machine, links, now| machine.input(now, Input::Forget(pool), links));
    }

    /// The element to use now, none of those in `exclude`: the ones tried already for the same request. `None` if none is known, or all
    /// are excluded.
    pub fn pick(&self, pool: impl Into<PoolHandle>, exclude: &[ElementId]) -> Option<Pick> {
        let pool = pool.into();
        self.side.with(|machine, _, now| machine.user.pick(now, &pool, exclude))
    }

    /// An element served a request, after that long.
    pub fn succeeded(&self, pool: impl Into<PoolHandle>, id: ElementId, latency: Duration) {
        let pool = pool.into();
        self.side.with(|machine, links, now| machine.input(now, Input::Succeeded(&pool, id, latency), links));
    }

    /// An element did not serve a request: it comes last for a while, and registrars are told to look after it.
    pub fn failed(&self, pool: impl Into<PoolHandle>, id: ElementId) {
        let pool = pool.into();
        self.side.with(|machine, links, now| machine.input(now, Input::Failed(&pool, id), links));
    }

    /// What is known of a pool; `None` if it is not followed.
    pub fn snapshot(&self, pool: &PoolHandle) -> Option<PoolSnapshot> {
        self.side.with(|machine, _, now| machine.user.snapshot(now, pool))
    }

    /// What changes from now on, of all pools that are followed.
    pub fn changes(&self) -> Changes {
        Changes { news: self.news.subscribe() }
    }

    /// Each registrar: its name, how it stands with it, and why it cannot be reached.
    pub fn registrars(&self) -> Vec<(String, RegistrarSnapshot, Option<String>)> {
        self.side.with(|machine, links, _| machine.registrars(links))
    }

    fn why_not(&self, pool: &PoolHandle) -> ResolveError {
        self.side.with(|machine, links, _| {
            let refused = machine.refused.iter().filter(|(_, of, _)| of == pool);
            let (mut unknown, mut others) = (String::new(), String::new());
            for (target, _, causes) in refused {
                let name = links.registrars().name(target);
                if causes.contains(&CauseCode::UnknownPoolHandle) {
                    comma(&mut unknown, &format!("asked {name}"));
                } else {
                    let causes: Vec<String> = causes.iter().map(ToString::to_string).collect();
                    comma(&mut others, &format!("{name}: {}", causes.join(", ")));
                }
            }
            if !others.is_empty() {
                return ResolveError::Refused(others);
            }
            if !unknown.is_empty() {
                return ResolveError::Unknown { pool: pool.clone(), registrars: unknown };
            }
            let mut registrars = String::new();
            for (name, snapshot, error) in machine.registrars(links) {
                let error = error.unwrap_or_else(|| match snapshot.state {
                    LinkState::Open(..) => "is connected and does not answer".to_owned(),
                    LinkState::Connecting(..) => "does not answer: see its address and firewalls".to_owned(),
                    LinkState::Idle(_) => "is not connected".to_owned(),
                });
                comma(&mut registrars, &format!("{name}: {error}"));
            }
            if registrars.is_empty() {
                let interfaces = links.registrars().discover.join(", ");
                registrars = format!("none is known, no announce was heard on {interfaces}");
            }
            ResolveError::Silent { patience: self.patience, registrars }
        })
    }
}

fn comma(list: &mut String, more: &str) {
    // Writing into a string does not fail.
    let _ = write!(list, "{}{more}", if list.is_empty() { "" } else { "; " });
}

/// The machine and those who listen.
struct UserSide {
    user: User,
    news: broadcast::Sender<News>,
    /// Who does not answer for which pool, and why.
    refused: Vec<(anycast_pool::Target, PoolHandle, Vec<CauseCode>)>,
}

impl UserSide {
    fn input(&mut self, now: Time, input: Input<'_>, links: &mut Links) {
        let mut outputs = self.user.handle(now, input);
        // What cannot be sent closes its connection, which has consequences of its own.
        while !outputs.is_empty() {
            let mut failed = Vec::new();
            for output in outputs {
                match output {
                    Output::Connect(id, target) => links.connect(id, target),
                    Output::Send(id, octets) => {
                        if !links.send(id, octets) {
                            failed.push(id);
                        }
                    }
                    Output::Close(id) => links.close(id),
                    // Nobody may be listening.
                    Output::Change(change) => drop(self.news.send(News::Change(change))),
                    Output::Event(event) => self.event(event, links),
                }
            }
            let closed = failed.into_iter().flat_map(|id| self.user.handle(now, Input::Closed(id)));
            outputs = closed.collect();
        }
    }

    fn event(&mut self, event: Event, links: &Links) {
        let (target, words) = match &event {
            Event::Heard(target) => (target, "answers".to_owned()),
            Event::Lost(target) => {
                let why = links.error(target).unwrap_or("it does not answer");
                (target, format!("is not connected ({why}); trying again"))
            }
            Event::Silent(target, times) => {
                (target, format!("did not answer {times} times: see whether it hangs or is overloaded"))
            }
            Event::Refused(target, handle, causes) => {
                let names: Vec<String> = causes.iter().map(ToString::to_string).collect();
                self.refused.retain(|(other, of, _)| (other, of) != (target, handle));
                self.refused.push((target.clone(), handle.clone(), causes.clone()));
                (target, format!("does not resolve {handle}: {}", names.join(", ")))
            }
            Event::Malformed(target, error) => {
                (target, format!("is not understood: {error}: see whether that port belongs to a registrar"))
            }
        };
        let text = format!("{} {words}", links.registrars().name(target));
        match event {
            Event::Heard(_) | Event::Refused(..) => info!("{text}"),
            _ => warn!("{text}"),
        }
        if matches!(event, Event::Heard(_) | Event::Lost(_)) {
            let target = target.clone();
            self.refused.retain(|(other, ..)| *other != target);
        }
        let _ = self.news.send(News::Registrar(text));
    }

    fn registrars(&self, links: &Links) -> Vec<(String, RegistrarSnapshot, Option<String>)> {
        let all = self.user.registrars().into_iter().map(|(_, snapshot)| {
            let name = links.registrars().name(&snapshot.target);
            let error = links.error(&snapshot.target).map(str::to_owned);
            (name, snapshot, error)
        });
        all.collect()
    }
}

impl Machine for UserSide {
    fn take(&mut self, now: Time, word: Word<'_>, links: &mut Links) {
        let input = match word {
            Word::Connected(id) => Input::Connected(id),
            Word::Message(id, octets) => Input::Message(id, octets),
            Word::Closed(id) => Input::Closed(id),
            Word::Announced(from, transports) => Input::Announced(from, transports),
            Word::Tick => Input::Tick,
        };
        self.input(now, input, links);
    }

    fn next_timeout(&self) -> Option<Time> {
        self.user.next_timeout()
    }
}
