//! What the virtual link does to frames.

use std::time::Duration;

use crate::random::Random;

/// Frames that overtake others are late by up to this many jitters more.
pub(super) const LATE: u32 = 4;

/// Properties of the link between any two servers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    /// Frames take this long …
    pub delay: Duration,
    /// … and up to this much more, each for itself, so they overtake each other.
    pub jitter: Duration,
    /// Share of frames lost, 0 to 1.
    pub loss: f64,
    /// Most frames lost in a row between two servers; a link that loses more is broken, and no bound holds on it.
    pub loss_run: u32,
    /// Share of frames that arrive twice.
    pub duplication: f64,
    /// Share of frames that are late by up to four more jitters.
    pub reordering: f64,
    /// Clocks run fast or slow by up to this much, parts per million, and were started at different times.
    pub drift: u32,
}

impl Network {
    /// The longest time that a frame which is not lost can take.
    pub fn longest(&self) -> Duration {
        let late = if self.reordering > 0.0 { self.jitter * LATE } else { Duration::ZERO };
        self.delay + self.jitter + late
    }
}

impl Default for Network {
    /// A good link: 200 µs, nothing lost.
    fn default() -> Self {
        Self {
            delay: Duration::from_micros(200),
            jitter: Duration::from_micros(100),
            loss: 0.0,
            loss_run: u32::MAX,
            duplication: 0.0,
            reordering: 0.0,
            drift: 0,
        }
    }
}

/// How bad each way is, and how many frames in a row it lost.
#[derive(Debug)]
pub(super) struct Link {
    servers: usize,
    /// Share of frames lost on each way besides the network's; empty until one is worse.
    worse: Vec<f32>,
    /// Ways that lose more than the network's share.
    broken: usize,
    lost: Vec<u32>,
    /// Share of frames lost from each server to the router, and back.
    router: Vec<(f32, f32)>,
}

impl Link {
    pub(super) fn new(servers: usize) -> Self {
        Self { servers, worse: Vec::new(), broken: 0, lost: Vec::new(), router: vec![(0.0, 0.0); servers] }
    }

    /// The ways between a server and the router: what it sends, and what is sent to it.
    pub(super) fn router(&mut self, server: usize) -> &mut (f32, f32) {
        &mut self.router[server]
    }

    /// The share of frames that the router's queries lose on their way to a server.
    pub(super) fn unreached(&self, server: usize) -> f64 {
        self.router[server].1.into()
    }

    /// From now on the way from one server to another loses this share, at least. 1 = cut.
    pub(super) fn set(&mut self, from: usize, to: usize, loss: f64) {
        if self.worse.is_empty() {
            if loss <= 0.0 {
                return;
            }
            self.worse = vec![0.0; self.servers * self.servers];
        }
        let before = std::mem::replace(&mut self.worse[from * self.servers + to], loss as f32);
        match (before > 0.0, loss > 0.0) {
            (false, true) => self.broken += 1,
            (true, false) => self.broken -= 1,
            _ => {}
        }
    }

    /// Is some way worse than the network says?
    pub(super) const fn broken(&self) -> bool {
        self.broken > 0
    }

    /// Does anything get from one server to another?
    pub(super) fn passes(&self, from: usize, to: usize) -> bool {
        self.worse.is_empty() || self.worse[from * self.servers + to] < 1.0
    }

    /// Carries one frame: after what delays it arrives, once, twice or not at all.
    pub(super) fn carry(
        &mut self,
        network: &Network,
        random: &mut Random,
        from: usize,
        to: usize,
    ) -> [Option<Duration>; 2] {
        let way = from * self.servers + to;
        let worse = self.worse.get(way).copied().unwrap_or(0.0);
        if worse > 0.0 && (worse >= 1.0 || random.chance(f64::from(worse))) {
            return [None, None];
        }
        if network.loss > 0.0 {
            let lost = random.chance(network.loss);
            if network.loss_run == u32::MAX {
                if lost {
                    return [None, None];
                }
            } else {
                if self.lost.is_empty() {
                    self.lost = vec![0; self.servers * self.servers];
                }
                let run = &mut self.lost[way];
                if lost && *run < network.loss_run {
                    *run += 1;
                    return [None, None];
                }
                *run = 0;
            }
        }
        let first = network.delay + random.up_to(network.jitter) + late(network, random);
        let twice = network.duplication > 0.0 && random.chance(network.duplication);
        [Some(first), twice.then(|| network.delay + random.up_to(network.jitter))]
    }

    /// Carries one frame to the router: after what delay it arrives, if it does.
    pub(super) fn carry_to_router(
        &self,
        network: &Network,
        random: &mut Random,
        from: usize,
    ) -> Option<Duration> {
        let worse = self.router[from].0;
        if worse > 0.0 && (worse >= 1.0 || random.chance(f64::from(worse))) {
            return None;
        }
        if network.loss > 0.0 && random.chance(network.loss) {
            return None;
        }
        Some(network.delay + random.up_to(network.jitter) + late(network, random))
    }
}

fn late(network: &Network, random: &mut Random) -> Duration {
    if network.reordering > 0.0 && random.chance(network.reordering) {
        random.up_to(network.jitter * LATE)
    } else {
        Duration::ZERO
    }
}
