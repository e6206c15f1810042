//! Route cost: what an advertised route says about this server's situation, for whoever advertises by a routing protocol.
//!
//! Routers that reach several servers at one distance use those of the *lowest* cost alone, and share among equals: a difference of
//! one moves everything. So a cost is a step of few, and a step is taken for one of two reasons only:
//!
//! * **The farm's**: all servers together are loaded so much that routers should rather go to another site. Each computes the
//!   step from the same figures (everybody's rates and capacities), so that all take it within `jitter` of each other.
//! * **Its own**: for a while this server has been congested and those that share with it have not (it is smaller than it says,
//!   or something else runs on it). It steps aside by one, unless so many others have done so already, or those left could not
//!   carry the whole; and back when what would come to it then is well below the mark.
//!
//! A server that knows no peers is a farm of one: its cost follows its load.
//!
//! Two servers with one history agree; two that differ in it (one has restarted) would disagree for as long as the load stays
//! between two thresholds, and all traffic would go to one of them. Between the thresholds the step that most of the farm has
//! taken decides.
//!
//! `up_hold` and `down_hold` pass between a change and the next one in their direction; the first change after such a pause is
//! made at once. They begin when most of the farm has changed, for all its servers at one moment: if each counted from its own
//! change, the first to lower its cost again would have all traffic until the others may. From that moment on everybody goes where
//! most have gone, without a hold, and judges anew only when everybody has told anew. In a minute there are six changes at most. Withdrawing and
//! draining wait for nothing.

use std::time::Duration;

use crate::Time;
use crate::random::Random;

/// Tells routers to use this server only when there is no other (RFC 6987 has the same number for links).
pub const DRAINED: u16 = u16::MAX;

/// Load must be this far past a threshold for a step up, and this far below for one down, permille.
const HYSTERESIS: u16 = 50;

/// So many changes of a cost at most …
const CHANGES: usize = 6;
/// … in any time of this length, whatever the holds say.
const CHANGES_IN: Duration = Duration::from_secs(60);

/// A server steps aside when it has been worse off than the others for this long: longer than what they told of themselves may
/// be old.
const WORSE_FOR: Duration = Duration::from_secs(15);

/// So long after most of the farm has changed its step, what servers told of themselves may be from before: they tell every 10 s.
const STALE_FOR: Duration = Duration::from_secs(12);

/// The share of a farm's servers, one in so many, that may have stepped aside at a time.
const ASIDE: usize = 4;

/// A server is worse off if its load is this many times that of those that share with it, in percent …
const WORSE: u32 = 125;
/// … and back if what would come to it is below this share of the mark, in percent.
const BACK: u32 = 80;

/// How a cost follows the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostConfig {
    /// The cost of an idle server.
    pub min: u16,
    /// The cost of a server that is fully loaded, or more.
    pub max: u16,
    /// Steps from one to the other; at least 2.
    pub levels: u8,
    /// Least time between a change and a raise.
    pub up_hold: Duration,
    /// Least time between a change and a lowering.
    pub down_hold: Duration,
    /// A change is put off by a random time up to this, so that the servers of a farm do not all move at one moment.
    pub jitter: Duration,
    /// From this load on a server is congested, permille.
    pub congested_above: u16,
}

impl CostConfig {
    /// Can it be?
    ///
    /// # Errors
    /// Why not.
    pub fn validate(&self) -> Result<(), &'static str> {
        if self.min == 0 || self.min > self.max || self.max == DRAINED {
            return Err("min must be at least 1, and max at least min and at most 65534");
        }
        if self.levels < 2 || u32::from(self.levels) > u32::from(self.max - self.min) + 1 {
            return Err("levels must be at least 2, and no more than there are costs from min to max");
        }
        if self.up_hold < Duration::from_secs(1) || self.down_hold < Duration::from_secs(1) {
            return Err(
                "up_hold and down_hold must be at least 1 s: routers take no two changes within a second",
            );
        }
        Ok(())
    }

    /// The cost of a step; steps beyond the last cost what the last does.
    pub fn cost(&self, level: u8) -> u16 {
        let last = u32::from(self.levels.max(2) - 1);
        let range = u32::from(self.max.saturating_sub(self.min));
        let above = range * u32::from(level).min(last) / last;
        // At most `max`, which fits.
        self.min + above as u16
    }

    /// The step of a cost that another server advertises: the nearest.
    pub fn level(&self, cost: u16) -> u8 {
        let levels = 0..self.levels.max(2);
        levels.min_by_key(|level| self.cost(*level).abs_diff(cost)).unwrap_or(0)
    }

    /// The step of a load.
    fn quantise(&self, permille: u16) -> u8 {
        let levels = u32::from(self.levels.max(2));
        // The last step begins where a server is full.
        (u32::from(permille) * (levels - 1) / 1000).min(levels - 1) as u8
    }
}

/// What is advertised of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Nothing: this server does not serve.
    Withdrawn,
    /// A route of this cost.
    Cost(u16),
    /// A route of the last resort, [`DRAINED`].
    Drained,
}

impl Route {
    /// The metric; `None` if there is no route.
    pub const fn metric(self) -> Option<u16> {
        match self {
            Self::Withdrawn => None,
            Self::Cost(cost) => Some(cost),
            Self::Drained => Some(DRAINED),
        }
    }
}

/// What this server would advertise if nothing waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Situation {
    /// It does not serve.
    Out,
    /// It serves.
    Serving,
    /// The operator has drained it; it could serve.
    Drained,
}

/// One server's figures: the own, or a peer's as its load advertisement told them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Load, permille.
    pub load: u16,
    /// Queries a second it can answer; 0 = not told.
    pub capacity: u32,
    /// Queries a second that come to it.
    pub rate: u32,
    /// What it advertises.
    pub route: Route,
}

/// The cost of one service's route on this server.
#[derive(Clone, Debug)]
pub struct Cost {
    config: CostConfig,
    /// The farm's step.
    level: u8,
    /// Stepped aside by one.
    aside: bool,
    /// What is advertised is a cost aside.
    advertised_aside: bool,
    worse_since: Option<Time>,
    advertised: Route,
    changed: Option<Time>,
    /// The step that most of the farm advertises, and since when; `None` = it was never seen to change.
    farm: Option<(u8, Option<Time>)>,
    /// The last changes, the oldest at `next_change`.
    changes: [Option<Time>; CHANGES],
    next_change: usize,
    /// The change that waits, and until when.
    due: Option<(Route, Time)>,
}

impl Cost {
    /// Of a service that is not advertised yet.
    pub const fn new(config: CostConfig) -> Self {
        Self {
            config,
            level: 0,
            aside: false,
            advertised_aside: false,
            worse_since: None,
            advertised: Route::Withdrawn,
            changed: None,
            farm: None,
            changes: [None; CHANGES],
            next_change: 0,
            due: None,
        }
    }

    /// What is advertised now.
    pub const fn advertised(&self) -> Route {
        self.advertised
    }

    /// When [`Cost::update`] is wanted at the latest; `None` = only new figures can change anything.
    pub fn deadline(&self) -> Option<Time> {
        self.due.map(|(_, at)| at)
    }

    /// Looks at the figures; returns what is to be advertised from now on, if that is something else.
    pub fn update(
        &mut self,
        now: Time,
        situation: Situation,
        own: Figures,
        peers: &[Figures],
        random: &mut Random,
    ) -> Option<Route> {
        let wanted = match situation {
            Situation::Out => return self.at_once(Route::Withdrawn, now),
            Situation::Drained => return self.at_once(Route::Drained, now),
            Situation::Serving => self.wanted(now, own, peers),
        };
        self.look_at_farm(now, peers);
        let Route::Cost(before) = self.advertised else {
            // Coming (back): there is nothing to keep still.
            return self.at_once(wanted, now);
        };
        if wanted == self.advertised {
            self.due = None;
            return None;
        }
        let at = match self.due {
            // The jitter is drawn once for a change, whatever becomes of its size meanwhile.
            Some((_, at)) => at,
            None => {
                let hold =
                    if wanted > Route::Cost(before) { self.config.up_hold } else { self.config.down_hold };
                let changed = if self.aside { self.changed } else { self.farm_changed() };
                let earliest = changed.map_or(now, |changed| (changed + hold).max(now));
                // Not by a whole farm in one moment.
                earliest + if peers.is_empty() { Duration::ZERO } else { random.up_to(self.config.jitter) }
            }
        };
        let at = if self.left_behind(wanted, peers) { now } else { at };
        let at = self.changes[self.next_change].map_or(at, |oldest| at.max(oldest + CHANGES_IN));
        self.due = Some((wanted, at));
        if now < at { None } else { self.at_once(wanted, now) }
    }

    fn at_once(&mut self, route: Route, now: Time) -> Option<Route> {
        self.due = None;
        if route == self.advertised {
            return None;
        }
        if !matches!(route, Route::Cost(_)) {
            (self.level, self.aside) = (0, false);
        }
        // Coming back is not a change that the next one must keep its distance from, and neither is going.
        self.changed = matches!((self.advertised, route), (Route::Cost(_), Route::Cost(_))).then_some(now);
        if let Some(changed) = self.changed {
            self.changes[self.next_change] = Some(changed);
            self.next_change = (self.next_change + 1) % CHANGES;
        }
        self.advertised = route;
        self.advertised_aside = self.aside;
        Some(route)
    }

    fn wanted(&mut self, now: Time, own: Figures, peers: &[Figures]) -> Route {
        self.level = self.farm_level(now, farm_load(own, peers), peers);
        self.worse_since = self.worse(own, peers).then(|| self.worse_since.unwrap_or(now));
        let worse = self.worse_since.is_some_and(|since| now.since(since) >= WORSE_FOR);
        self.aside = if self.aside { self.stays_aside(own, peers) } else { worse && self.spared(own, peers) };
        Route::Cost(self.config.cost(self.level + u8::from(self.aside)))
    }

    /// Notes when most of the farm has changed its step.
    fn look_at_farm(&mut self, now: Time, peers: &[Figures]) {
        let own = match self.advertised {
            Route::Cost(cost) => self.config.level(cost),
            Route::Withdrawn | Route::Drained => return,
        };
        let most = self.median(own, peers);
        match self.farm {
            None => self.farm = Some((most, None)),
            Some((before, _)) if before != most => self.farm = Some((most, Some(now))),
            Some(_) => {}
        }
    }

    /// When the hold began: the farm's last change, or this server's own if it knows of no other.
    fn farm_changed(&self) -> Option<Time> {
        self.farm.and_then(|(_, changed)| changed)
    }

    /// The step in the middle of `own` and those that peers advertise. Those that stepped aside are one above, and few.
    fn median(&self, own: u8, peers: &[Figures]) -> u8 {
        let mut steps: Vec<u8> = peers
            .iter()
            .filter_map(|peer| match peer.route {
                Route::Cost(cost) => Some(self.config.level(cost)),
                Route::Withdrawn | Route::Drained => None,
            })
            .collect();
        steps.push(own);
        steps.sort_unstable();
        steps[(steps.len() - 1) / 2]
    }

    /// The farm's step: what all its servers compute from the same figures.
    fn farm_level(&self, now: Time, farm: u16, peers: &[Figures]) -> u8 {
        let median = self.median(self.level, peers);
        // What moved from server to server would be counted twice, or not at all: where most go is right meanwhile, and who went
        // first does not turn back before the others can have followed.
        let stale = |changed: Option<Time>| changed.is_some_and(|changed| now.since(changed) < STALE_FOR);
        if !peers.is_empty() && (stale(self.changed) || stale(self.farm_changed())) {
            return if self.farm_changed() < self.changed { self.level } else { median };
        }
        let (lowest, highest) = (
            self.config.quantise(farm.saturating_sub(HYSTERESIS)),
            self.config.quantise(farm.saturating_add(HYSTERESIS)),
        );
        // Between the thresholds, the step that most have taken.
        median.clamp(lowest, highest)
    }

    /// Have most others gone already where this server wants to go? Up: what they shed comes to it. Down: it gets nothing, and they
    /// its share. But who steps aside, or back, goes alone.
    fn left_behind(&self, wanted: Route, peers: &[Figures]) -> bool {
        let serving = || peers.iter().filter(|peer| matches!(peer.route, Route::Cost(_)));
        let ahead = |peer: &&Figures| match wanted > self.advertised {
            true => peer.route >= wanted,
            false => peer.route <= wanted && !self.advertised_aside,
        };
        serving().filter(ahead).count() * 2 > serving().count()
    }

    /// Is this server congested, and those that share with it are not?
    fn worse(&self, own: Figures, peers: &[Figures]) -> bool {
        let sharing = peers.iter().filter(|peer| peer.route == self.advertised);
        let (count, sum) = sharing.fold((0, 0), |(count, sum), peer| (count + 1, sum + u32::from(peer.load)));
        count > 0
            && own.load >= self.config.congested_above
            && u32::from(own.load) * 100 >= sum / count * WORSE
    }

    /// May it step aside? Not too many at once, and those left must be able to carry the whole below the mark.
    fn spared(&self, own: Figures, peers: &[Figures]) -> bool {
        let (mut aside, mut left, mut capacity) = (1, 0, 0_u64);
        for peer in peers.iter().filter(|peer| matches!(peer.route, Route::Cost(_))) {
            if peer.route > self.advertised {
                aside += 1;
            } else {
                left += 1;
                capacity += u64::from(peer.capacity);
            }
        }
        let rates: u64 = peers.iter().map(|peer| u64::from(peer.rate)).sum::<u64>() + u64::from(own.rate);
        let carried = capacity == 0 || rates * 1000 < capacity * u64::from(self.config.congested_above);
        left > 0 && aside <= ((aside + left) / ASIDE).max(1) && carried
    }

    /// Stepped aside: until an equal share of everything would leave it well below the mark, or there is nobody to step aside for.
    fn stays_aside(&self, own: Figures, peers: &[Figures]) -> bool {
        let mark = self.config.congested_above;
        let too_much = share(own, peers).is_some_and(|load| u32::from(load) * 100 >= u32::from(mark) * BACK);
        // Its own trouble (latency, drops) may have nothing to do with its share.
        let alone = !peers.iter().any(|peer| matches!(peer.route, Route::Cost(_)));
        (too_much || own.load >= mark) && !alone
    }
}

impl PartialOrd for Route {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Route {
    /// From the best for a router to the worst.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |route: &Self| route.metric().map_or(u32::MAX, u32::from);
        key(self).cmp(&key(other))
    }
}

/// The load of all servers that serve together; of one that knows no others, its own.
fn farm_load(own: Figures, peers: &[Figures]) -> u16 {
    let serving: Vec<&Figures> = peers.iter().filter(|peer| matches!(peer.route, Route::Cost(_))).collect();
    if serving.is_empty() {
        return own.load;
    }
    let all = || serving.iter().copied().chain([&own]);
    let capacity: u64 = all().map(|figures| u64::from(figures.capacity)).sum();
    if all().all(|figures| figures.capacity > 0) {
        let rate: u64 = all().map(|figures| u64::from(figures.rate)).sum();
        return u16::try_from(rate * 1000 / capacity).unwrap_or(u16::MAX);
    }
    // Somebody does not tell: the mean of what they say of themselves.
    let mean = all().map(|figures| u64::from(figures.load)).sum::<u64>() / (serving.len() as u64 + 1);
    u16::try_from(mean).unwrap_or(u16::MAX)
}

/// The load of this server if it had its equal share; `None` if its capacity is unknown.
fn share(own: Figures, peers: &[Figures]) -> Option<u16> {
    let serving = peers.iter().filter(|peer| matches!(peer.route, Route::Cost(_)));
    let servers = serving.clone().count() as u64 + 1;
    let rates = serving.map(|peer| u64::from(peer.rate)).sum::<u64>() + u64::from(own.rate);
    let capacity = u64::from(own.capacity);
    (capacity > 0).then(|| u16::try_from(rates * 1000 / servers / capacity).unwrap_or(u16::MAX))
}
