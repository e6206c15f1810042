//! What the virtual link does to frames.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::random::Random;

/// Properties of the link between any two servers.
#[derive(Clone, Copy, Debug)]
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
}

impl Default for Network {
    /// A good link: 200 µs, nothing lost.
    fn default() -> Self {
        let delay = Duration::from_micros(200);
        Self { delay, jitter: Duration::from_micros(100), loss: 0.0, loss_run: u32::MAX, duplication: 0.0 }
    }
}

/// What is cut, and how many frames in a row were lost.
#[derive(Debug)]
pub(super) struct Link {
    servers: usize,
    cut: BTreeMap<(usize, usize), ()>,
    lost: Vec<u32>,
}

impl Link {
    pub(super) fn new(servers: usize) -> Self {
        Self { servers, cut: BTreeMap::new(), lost: vec![0; servers * servers] }
    }

    pub(super) fn cut(&mut self, from: usize, to: usize, cut: bool) {
        if cut {
            self.cut.insert((from, to), ());
        } else {
            self.cut.remove(&(from, to));
        }
    }

    /// Carries one frame: after what delays it arrives, once, twice or not at all.
    pub(super) fn carry(
        &mut self,
        network: &Network,
        random: &mut Random,
        from: usize,
        to: usize,
    ) -> [Option<Duration>; 2] {
        if self.cut.contains_key(&(from, to)) {
            return [None, None];
        }
        let lost = &mut self.lost[from * self.servers + to];
        if *lost < network.loss_run && network.loss > 0.0 && random.chance(network.loss) {
            *lost += 1;
            return [None, None];
        }
        *lost = 0;
        let mut delay = || network.delay + random.up_to(network.jitter);
        let first = delay();
        let second = delay();
        [Some(first), random.chance(network.duplication).then_some(second)]
    }
}
