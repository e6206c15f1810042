//! What is to happen, in order of time. What one server sends to all others is one entry that moves from one arrival to
//! the next: thousand receivers cost a sort of thousand numbers, not thousand entries of the heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::again::Heard;
use crate::Time;

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// A server's machine asked for a tick.
    Tick(usize),
    /// A lease runs out.
    Lapse(usize),
    /// A paused daemon runs again.
    Resume(usize),
    /// A hanging service is found out, or found well again.
    Check(usize),
    /// The hook has stopped the service.
    Stopped(usize),
    /// The hook has started the service.
    Started(usize),
    /// An advertisement reaches the router.
    Router(usize),
    /// An advertisement to one router reaches it: which of those that were sent.
    OneRouter(usize),
    /// A frame reaches a server.
    Arrival(usize, Payload),
}

/// What a frame carries.
#[derive(Clone, Debug)]
pub(super) enum Payload {
    Heartbeat(Arc<Heard>),
    /// A heartbeat as it is on the wire, for each receiver to verify.
    Signed(Arc<[u8]>),
    Advertisement([u8; 6], Arc<[u8]>),
}

/// A frame under way to many servers.
#[derive(Debug)]
struct Wave {
    payload: Payload,
    /// When it reaches whom, the next one last.
    arrivals: Vec<(Time, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Tick,
    Lapse,
    Resume,
    Check,
    Stopped,
    Started,
    Router,
    OneRouter,
    Wave,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<(Time, u64, Kind, u32)>>,
    /// Waves by their place in the heap's entries.
    waves: Vec<Option<Wave>>,
    free: Vec<u32>,
    /// The wave that is being delivered, and its number: it need not go through the heap for each arrival.
    current: Option<(u64, u32)>,
    pushed: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: Time, happening: Happening) {
        let (kind, number) = match happening {
            Happening::Tick(server) => (Kind::Tick, server),
            Happening::Lapse(server) => (Kind::Lapse, server),
            Happening::Resume(server) => (Kind::Resume, server),
            Happening::Check(server) => (Kind::Check, server),
            Happening::Stopped(server) => (Kind::Stopped, server),
            Happening::Started(server) => (Kind::Started, server),
            Happening::Router(server) => (Kind::Router, server),
            Happening::OneRouter(number) => (Kind::OneRouter, number),
            Happening::Arrival(server, payload) => return self.wave(payload, vec![(at, server as u32)]),
        };
        self.pushed += 1;
        self.heap.push(Reverse((at, self.pushed, kind, number as u32)));
    }

    /// A frame that reaches each of these servers at its time.
    pub(super) fn wave(&mut self, payload: Payload, mut arrivals: Vec<(Time, u32)>) {
        // The next one is taken from the end.
        arrivals.sort_unstable_by_key(|arrival| Reverse(*arrival));
        let Some((first, _)) = arrivals.last().copied() else { return };
        let wave = Some(Wave { payload, arrivals });
        let place = match self.free.pop() {
            Some(place) => {
                self.waves[place as usize] = wave;
                place
            }
            None => {
                self.waves.push(wave);
                self.waves.len() as u32 - 1
            }
        };
        self.pushed += 1;
        self.heap.push(Reverse((first, self.pushed, Kind::Wave, place)));
    }

    /// The next thing that happens, if it happens at `end` or before.
    pub(super) fn pop(&mut self, end: Time) -> Option<(Time, Happening)> {
        if let Some((number, place)) = self.current.take() {
            let next = self.next_of(place)?;
            if next > end || self.heap.peek().is_some_and(|Reverse((at, n, ..))| (*at, *n) < (next, number)) {
                self.heap.push(Reverse((next, number, Kind::Wave, place)));
            } else {
                return self.arrival(number, place);
            }
        }
        if self.heap.peek().is_none_or(|Reverse((at, ..))| *at > end) {
            return None;
        }
        let Reverse((at, number, kind, place)) = self.heap.pop()?;
        let server = place as usize;
        let happening = match kind {
            Kind::Tick => Happening::Tick(server),
            Kind::Lapse => Happening::Lapse(server),
            Kind::Resume => Happening::Resume(server),
            Kind::Check => Happening::Check(server),
            Kind::Stopped => Happening::Stopped(server),
            Kind::Started => Happening::Started(server),
            Kind::Router => Happening::Router(server),
            Kind::OneRouter => Happening::OneRouter(server),
            Kind::Wave => return self.arrival(number, place),
        };
        Some((at, happening))
    }

    fn next_of(&self, place: u32) -> Option<Time> {
        self.waves[place as usize].as_ref()?.arrivals.last().map(|(at, _)| *at)
    }

    fn arrival(&mut self, number: u64, place: u32) -> Option<(Time, Happening)> {
        let slot = &mut self.waves[place as usize];
        let wave = slot.as_mut()?;
        let (at, server) = wave.arrivals.pop()?;
        let payload = if wave.arrivals.is_empty() {
            self.free.push(place);
            slot.take()?.payload
        } else {
            self.current = Some((number, place));
            wave.payload.clone()
        };
        Some((at, Happening::Arrival(server as usize, payload)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn at(ns: u64) -> Time {
        Time::from_nanos(ns)
    }

    /// Everything that was pushed comes out, in order of time, whether a wave carried it or not.
    #[test]
    fn things_happen_in_order_of_time() {
        let mut random = Random::new(5);
        let mut queue = Queue::default();
        let (mut pushed, mut popped) = (0, 0);
        let mut now = Time::ZERO;
        for _ in 0..2_000 {
            let soon = |random: &mut Random| at(now.as_nanos() + random.below(1_000));
            let time = soon(&mut random);
            queue.push(time, Happening::Tick(0));
            let arrivals = (0..random.below(5)).map(|server| (soon(&mut random), server as u32));
            let arrivals = arrivals.collect::<Vec<_>>();
            pushed += 1 + arrivals.len();
            queue.wave(Payload::Advertisement([0; 6], Arc::from([])), arrivals);
            let end = at(now.as_nanos() + random.below(300));
            while let Some((time, _)) = queue.pop(end) {
                assert!(now <= time && time <= end);
                now = time;
                popped += 1;
                if random.chance(0.1) {
                    queue.push(now, Happening::Lapse(1));
                    pushed += 1;
                }
            }
            now = end;
        }
        while queue.pop(at(u64::MAX)).is_some() {
            popped += 1;
        }
        assert_eq!(pushed, popped);
        assert!(queue.waves.len() < 2_000, "places are used again");
    }
}
