//! A controller that was killed: when its lease is over its fast path answers no more.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::frames::Neighbor;
use crate::lab::farm::{ROUTER_LINK, SERVICE};
use crate::lab::{Capture, Farm, Injector, Mac, wait_until};

/// Solicitations after each lease.
const SOLICITATIONS: u64 = 20;

/// What the fast path reads as the time may differ from ours by this much.
const MARGIN: Duration = Duration::from_millis(5);

/// Nobody's MAC address, behind the router's port.
const MAC: Mac = Mac([0x02, 0xac, 0, 0, 2, 2]);

/// Solicitations that came after the lease of a killed controller, and who answered them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Silence {
    /// Controllers killed.
    pub runs: usize,
    /// Solicitations sent after their leases.
    pub solicitations: u64,
    /// Answered by the server of the killed controller: must be none.
    pub answered_by_victim: u64,
    /// Answered by the new owner: the control.
    pub answered_by_others: u64,
}

impl Silence {
    /// Solicits the service address after `silent_from`, when the fast path of `victim` must be silent.
    ///
    /// # Errors
    /// No packet sockets, or the capture lost frames.
    pub(super) fn listen(&mut self, farm: &Farm, victim: usize, silent_from: Instant) -> Result<()> {
        let IpAddr::V6(target) = SERVICE else { bail!("the lab's service address is not IPv6") };
        let injector = Injector::new(&farm.router, ROUTER_LINK)?;
        // The end of the lease is a moment, not a condition: nothing happens then that could be polled for.
        std::thread::sleep((silent_from + MARGIN).saturating_duration_since(Instant::now()));
        let capture = Capture::start(&farm.router, ROUTER_LINK)?;
        let frame = Neighbor::solicitation(MAC.0, "fe80::5011:2".parse()?, target).frame();
        for _ in 0..SOLICITATIONS {
            injector.send(&frame)?;
        }
        let victim = farm.servers[victim].mac;
        let answers = |of_victim: bool| {
            capture.count(|seen| {
                let parsed = seen.parse();
                let answer =
                    parsed.advertisement().filter(|na| na.solicited && IpAddr::V6(na.target) == SERVICE);
                answer.is_some_and(|na| (na.from == victim) == of_victim)
            }) as u64
        };
        // The answers of a silent one never come; those of the new owner tell that its would have been here.
        let _ =
            wait_until("the new owner's answers", Duration::from_secs(1), || answers(false) >= SOLICITATIONS);
        if capture.lost() > 0 {
            bail!("the capture lost frames: nothing can be said of answers");
        }
        self.runs += 1;
        self.solicitations += SOLICITATIONS;
        self.answered_by_victim += answers(true);
        self.answered_by_others += answers(false);
        Ok(())
    }
}
