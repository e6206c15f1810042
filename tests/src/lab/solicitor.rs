//! A neighbour that solicits without end and remembers who answered.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};

use super::capture::{Capture, Injector};
use super::farm::{Farm, ROUTER_LINK};
use super::frame::Mac;
use super::wait::wait_until;
use crate::frames::Neighbor;

/// Nobody's MAC address; the switch learns that it is behind the router's port.
const MAC: Mac = Mac([0x02, 0xac, 0, 0, 2, 1]);

/// How long a stopped solicitor still waits for answers.
const SETTLE: Duration = Duration::from_secs(1);

/// One solicitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicited {
    /// When it was sent.
    pub sent: SystemTime,
    /// When it was first answered, and by whom.
    pub answered: Option<(SystemTime, Mac)>,
}

/// Multicast solicitations from the router's place on the link, each from a source address of its own, so that every
/// answer tells what it answers.
#[derive(Debug)]
pub struct Solicitor {
    capture: Capture,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<SystemTime>>>,
}

impl Solicitor {
    /// Starts soliciting `target` every `interval`.
    ///
    /// # Errors
    /// `target` is not IPv6, or no packet sockets.
    pub fn start(farm: &Farm, target: IpAddr, interval: Duration) -> Result<Self> {
        let IpAddr::V6(target) = target else { bail!("{target} cannot be solicited: it is no IPv6 address") };
        let capture = Capture::start(&farm.router, ROUTER_LINK)?;
        let injector = Injector::new(&farm.router, ROUTER_LINK)?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || solicit(&injector, target, interval, &stop)
        });
        Ok(Self { capture, stop, thread: Some(thread) })
    }

    /// Answers so far.
    pub fn answers(&self) -> usize {
        self.capture.count(|seen| answer(seen).is_some())
    }

    /// Stops, waits for answers under way, and tells all.
    ///
    /// # Panics
    /// The capture lost frames, so that nothing could be said of answers.
    pub fn stop(mut self) -> Vec<Solicited> {
        let sent = self.end();
        let wanted = sent.len();
        // Those that stay unanswered are what is to be found out: no error here.
        let _ = wait_until("every answer", SETTLE, || self.answers() >= wanted);
        assert_eq!(self.capture.lost(), 0, "the capture lost frames");
        let mut solicited: Vec<Solicited> =
            sent.into_iter().map(|sent| Solicited { sent, answered: None }).collect();
        for seen in self.capture.frames() {
            let Some((number, mac)) = answer(&seen) else { continue };
            if let Some(entry) = solicited.get_mut(number) {
                entry.answered.get_or_insert((seen.at, mac));
            }
        }
        solicited
    }

    fn end(&mut self) -> Vec<SystemTime> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(sent)) => sent,
            // Its panic has been printed; nothing was sent as far as anybody knows.
            Some(Err(_)) | None => Vec::new(),
        }
    }
}

impl Drop for Solicitor {
    fn drop(&mut self) {
        self.end();
    }
}

fn solicit(injector: &Injector, target: Ipv6Addr, interval: Duration, stop: &AtomicBool) -> Vec<SystemTime> {
    let start = Instant::now();
    let mut sent = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let frame = Neighbor::solicitation(MAC.0, source(sent.len()), target).frame();
        sent.push(SystemTime::now());
        // A frame that could not be sent counts as unanswered, which it is.
        let _ = injector.send(&frame);
        let due = start + interval * sent.len() as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    sent
}

/// The source address of solicitation `number`.
fn source(number: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5011, 0, (number >> 16) as u16, number as u16)
}

/// The number of the solicitation that a frame answers, and who answers.
fn answer(seen: &super::Captured) -> Option<(usize, Mac)> {
    if seen.outgoing {
        return None;
    }
    let parsed = seen.parse();
    let advertisement = parsed.advertisement().filter(|na| na.solicited)?;
    let [.., interface_high, _, high, low] = advertisement.destination.segments();
    (interface_high == 0x5011).then(|| (usize::from(high) << 16 | usize::from(low), advertisement.from))
}
