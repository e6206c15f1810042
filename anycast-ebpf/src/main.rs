//! The XDP fast path: answers Neighbor Solicitations and ARP requests for service addresses while the gate is open, counts the
//! DNS packets that pass, reports what the controller must know, and leaves everything else to the kernel.
//!
//! ```text
//! frame -> network -> neighbour | arp -> service (SERVICES, GATES) -> reply -> XDP_TX
//!                  -> transport (COUNTERS) ----------------------------------> XDP_PASS
//! ```
//!
//! Two programs from one source: `anycast`, and `anycast_extra` with what few services ask for (gates of single routers,
//! answers left to the controller). What is generic over `EXTRA` is compiled once for each, so that who does not ask for it
//! does not pay for it: not for a look-up, nor for the question whether there is one to be made.
//!
//! Functions return `None` for "this frame is the kernel's", so that `?` on any bounds check or look-up passes the frame.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod arp;
#[cfg(target_arch = "bpf")]
mod frame;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod neighbour;
#[cfg(target_arch = "bpf")]
mod network;
#[cfg(target_arch = "bpf")]
mod reply;
#[cfg(target_arch = "bpf")]
mod report;
#[cfg(target_arch = "bpf")]
mod service;
#[cfg(target_arch = "bpf")]
mod transport;
#[cfg(target_arch = "bpf")]
mod verdict;

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{macros::xdp, programs::XdpContext};

    use crate::{frame::Frame, network, verdict::Verdict};

    /// The entry. `frags`: drivers refuse a program without it on interfaces whose MTU does not fit into one buffer.
    #[xdp(frags)]
    #[inline(always)]
    pub fn anycast(ctx: XdpContext) -> u32 {
        judge::<false>(&ctx).unwrap_or(Verdict::Pass).finish(&ctx)
    }

    /// The entry with extras.
    #[xdp(frags)]
    #[inline(always)]
    pub fn anycast_extra(ctx: XdpContext) -> u32 {
        judge::<true>(&ctx).unwrap_or(Verdict::Pass).finish(&ctx)
    }

    /// Untagged frames have a copy of the program to themselves: there each offset is a constant, which saves them a tenth.
    #[inline(always)]
    fn judge<const EXTRA: bool>(ctx: &XdpContext) -> Option<Verdict> {
        let frame = Frame::parse(ctx.ctx)?;
        if frame.is_tagged() {
            network::judge::<EXTRA>(frame.untagged()?)
        } else {
            network::judge::<EXTRA>(frame)
        }
    }

    /// The kernel lets only programs under a GPL-compatible licence use some helpers.
    #[unsafe(no_mangle)]
    #[unsafe(link_section = "license")]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {
    // A BPF program has no `main`; this one lets host tools (rust-analyzer, `cargo check --workspace`) see the crate.
}
