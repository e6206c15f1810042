//! What becomes of a frame, and the one place where that is counted.

use anycast_common::abi::Drop;
use aya_ebpf::{bindings::xdp_action, helpers::bpf_ktime_get_coarse_ns, programs::XdpContext};
use aya_log_ebpf::macro_support::{Level, level_enabled};

use crate::maps::{DROPS, LOGGED};

/// What becomes of a frame.
pub enum Verdict {
    /// It is the kernel's: not for a service, or doubtful.
    Pass,
    /// It has been rewritten into the answer.
    Answer,
    /// It ends here.
    Drop(Drop),
}

/// Shortest distance of two lines in the log of a CPU, nanoseconds.
const LOG_INTERVAL_NS: u64 = 10_000_000;

impl Verdict {
    /// Counts the verdict and translates it for the driver. Never `XDP_ABORTED`: what the program cannot handle, the kernel can.
    #[inline(always)]
    pub fn finish(self, ctx: &XdpContext) -> u32 {
        match self {
            Self::Pass => xdp_action::XDP_PASS,
            Self::Answer => {
                if logs() {
                    aya_log_ebpf::debug!(ctx, "answered");
                }
                xdp_action::XDP_TX
            }
            Self::Drop(reason) => {
                count(reason);
                if logs() {
                    aya_log_ebpf::debug!(ctx, "dropped reason={}", reason as u32);
                }
                xdp_action::XDP_DROP
            }
        }
    }
}

/// Counts a drop or a lost event.
#[inline(always)]
pub fn count(reason: Drop) {
    if let Some(drops) = DROPS.get_ptr_mut(reason as u32) {
        // SAFETY: the pointer is to this CPU's value, which no other program run writes to at the same time.
        unsafe { *drops += 1 }
    }
}

/// Shall this frame be logged? The level is a constant by the time of loading: switched off, the verifier removes everything
/// behind it.
#[inline(always)]
fn logs() -> bool {
    if !level_enabled(Level::Debug) {
        return false;
    }
    let Some(logged) = LOGGED.get_ptr_mut(0) else { return false };
    // SAFETY: the helper has no requirements; the pointer is to this CPU's value.
    unsafe {
        let now = bpf_ktime_get_coarse_ns();
        if now.wrapping_sub(*logged) < LOG_INTERVAL_NS {
            return false;
        }
        *logged = now;
    }
    true
}
