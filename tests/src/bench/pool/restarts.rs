//! A registrar killed and restarted: what was acknowledged must be there. And one of two: users must not notice.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anycast_pool::element::ElementConfig;
use anycast_pool::policy::Policy;
use anycast_pool::user::What;
use anycast_pool::wire::{Message, State, Transport};
use anycast_pool::{ElementId, PoolHandle};
use anycast_user::pool::element::{Condition, PoolElement};
use anycast_user::pool::user::News;
use anycast_user::pool::{PoolUser, PoolUserOptions, Registrars};
use anyhow::Result;
use serde::Serialize;

use super::super::stats::{Samples, Summary};
use crate::lab::registrar::{PATIENCE, registration};
use crate::lab::{Registrar, wait_until};

const POOL: &str = "dns";

/// Registrations on their way when it dies, and how many of them are acknowledged before.
const SENT: u32 = 50;
const AWAITED: usize = 10;

/// What was lost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Restarts {
    runs: usize,
    /// Registrations that were acknowledged, in all.
    acknowledged: usize,
    /// Those of them that were not there after a restart.
    lost: usize,
}

/// Kills and restarts a registrar `runs` times, each time in the middle of registrations.
pub fn measure(runs: usize) -> Result<Restarts> {
    let mut registrar = Registrar::start(None, "")?;
    let (mut acknowledged, mut lost) = (BTreeSet::new(), BTreeSet::new());
    for run in 0..runs as u32 {
        let mut element = registrar.connect()?;
        let mut all = Vec::new();
        for id in run * SENT..(run + 1) * SENT {
            registration(POOL, id).emit(&mut all)?;
        }
        element.send_octets(&all)?;
        for _ in 0..AWAITED {
            if let Some(Message::RegistrationResponse { id, rejected: false, .. }) = element.receive()? {
                acknowledged.insert(format!("{id}"));
            }
        }
        registrar.kill()?;
        while let Ok(Some(Message::RegistrationResponse { id, rejected: false, .. })) = element.receive() {
            acknowledged.insert(format!("{id}"));
        }
        registrar.restart()?;
        let there: BTreeSet<_> =
            registrar.status(Some(POOL))?.elements.into_iter().map(|element| element.id).collect();
        lost.extend(acknowledged.difference(&there).cloned());
    }
    Ok(Restarts { runs, acknowledged: acknowledged.len(), lost: lost.len() })
}

/// Elements while one of two registrars is killed and restarted.
const ELEMENTS: u32 = 5;

/// Between two picks of the user.
const PICK_INTERVAL: Duration = Duration::from_millis(1);

/// What a user noticed of restarts of one of two registrars, in turn.
#[derive(Clone, Debug, Serialize)]
pub struct OneOfTwo {
    runs: usize,
    /// Elements that the user asked for, one each millisecond.
    picks: usize,
    /// How often there was none.
    picks_without_element: usize,
    /// Elements that the user took for down though they were not.
    false_downs: usize,
    /// Death of an element while a registrar is dead, to the user's knowledge.
    told_ms: Summary,
}

/// What the user sees, from its own thread.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    picks: AtomicUsize,
    without: AtomicUsize,
    downs: Mutex<Vec<(ElementId, Instant)>>,
}

impl Seen {
    fn down(&self, id: ElementId, since: Instant) -> Option<Instant> {
        let downs = self.downs.lock().unwrap_or_else(PoisonError::into_inner);
        downs.iter().find(|(other, at)| *other == id && *at >= since).map(|(_, at)| *at)
    }

    /// Asks for an element all the time and keeps what is news.
    async fn watch(&self, user: &PoolUser) {
        let mut changes = user.changes();
        let mut ticks = tokio::time::interval(PICK_INTERVAL);
        while !self.stop.load(Ordering::Relaxed) {
            tokio::select! {
                _ = ticks.tick() => {
                    self.picks.fetch_add(1, Ordering::Relaxed);
                    if user.pick(POOL, &[]).is_none() {
                        self.without.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Some(news) = changes.next() => {
                    if let News::Change(change) = news
                        && matches!(change.what, What::State(State::Down, _))
                    {
                        self.downs
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push((change.id, Instant::now()));
                    }
                }
            }
        }
    }
}

/// Kills and restarts one of two registrars `runs` times; while it is dead an element dies, which the other must tell.
pub fn one_of_two(runs: usize) -> Result<OneOfTwo> {
    let mut registrars = [Registrar::start(None, "")?, Registrar::start(None, "")?];
    let addresses: Vec<SocketAddr> = registrars.iter().map(|registrar| registrar.address).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let _context = handle.enter();
    let user = PoolUser::connect(PoolUserOptions::new(addresses.iter().map(|address| (*address).into())));
    user.follow(&PoolHandle::from(POOL));
    let seen = Seen::default();
    std::thread::scope(|scope| {
        scope.spawn(|| runtime.block_on(seen.watch(&user)));
        let result = restart_in_turn(&mut registrars, &addresses, &user, &seen, runs);
        seen.stop.store(true, Ordering::Relaxed);
        result
    })
}

fn restart_in_turn(
    registrars: &mut [Registrar; 2],
    addresses: &[SocketAddr],
    user: &PoolUser,
    seen: &Seen,
    runs: usize,
) -> Result<OneOfTwo> {
    let mut elements: Vec<Option<PoolElement>> =
        (0..ELEMENTS).map(|id| Some(start_element(id, addresses))).collect();
    settled(registrars, user)?;
    let before = seen.without.load(Ordering::Relaxed);
    let (first_picks, begin) = (seen.picks.load(Ordering::Relaxed), Instant::now());
    let mut told = Samples::default();
    for run in 0..runs {
        registrars[run % 2].kill()?;
        let (place, death) = (run % elements.len(), Instant::now());
        let id = ElementId(place as u32);
        elements[place] = None;
        wait_until("the user knows of the death", PATIENCE, || seen.down(id, death).is_some())?;
        if let Some(at) = seen.down(id, death) {
            told.push(at.duration_since(death).as_secs_f64() * 1e3);
        }
        registrars[run % 2].restart()?;
        elements[place] = Some(start_element(id.0, addresses));
        settled(registrars, user)?;
    }
    let downs = seen.downs.lock().unwrap_or_else(PoisonError::into_inner);
    let false_downs = downs.iter().filter(|(_, at)| *at >= begin).count() - told.len();
    Ok(OneOfTwo {
        runs,
        picks: seen.picks.load(Ordering::Relaxed) - first_picks,
        picks_without_element: seen.without.load(Ordering::Relaxed) - before,
        false_downs,
        told_ms: told.summary(),
    })
}

fn start_element(id: u32, registrars: &[SocketAddr]) -> PoolElement {
    let addresses: Vec<_> = registrars.iter().map(|address| (*address).into()).collect();
    let at = (Ipv4Addr::LOCALHOST, 1_000 + id as u16).into();
    let config = ElementConfig::new(
        POOL.into(),
        ElementId(id),
        Transport::Udp(at),
        Policy::RoundRobin,
        addresses.len(),
        0,
    );
    let mut element = PoolElement::start(config, Registrars { addresses, ..Registrars::default() }, "bench");
    element.tell(Condition { able: true, standby: false, draining: false, load: 0 });
    element
}

/// Waits until both registrars have all elements and the user hears both.
fn settled(registrars: &[Registrar; 2], user: &PoolUser) -> Result<()> {
    let complete = |registrar: &Registrar| {
        registrar.status(Some(POOL)).is_ok_and(|status| {
            status
                .elements
                .iter()
                .filter(|element| element.state == "up" && element.source != "restored")
                .count()
                == ELEMENTS as usize
        })
    };
    wait_until("both registrars and the user know all elements", PATIENCE, || {
        registrars.iter().all(complete)
            && user.snapshot(&PoolHandle::from(POOL)).is_some_and(|pool| {
                pool.heard.iter().filter(|(_, pushed)| *pushed).count() == 2
                    && pool.elements.iter().filter(|element| element.state == State::Up).count()
                        == ELEMENTS as usize
            })
    })
}
