//! XDP programs of the lab: what the fast path is measured against, and what makes and counts frames.
//!
//! * `empty`: the floor, passes everything without looking;
//! * `pass`: the same, for the far ends of veth pairs, where `XDP_TX` needs some program;
//! * `reflector`: the limit, swaps the MAC addresses and sends the frame back;
//! * `drop_and_count`: counts what comes back; `drop_advertisements`: only Neighbor Advertisements, the rest passes;
//! * `generator`: makes the frame anew from the map `FRAME` and sends it. For `BPF_PROG_TEST_RUN` with
//!   `BPF_F_TEST_XDP_LIVE_FRAMES`, which uses its pages again after the other end has written to them.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod program {
    use anycast_common::{
        lab::{FRAME_MAX, Frame, Received},
        packet::{MAC_LENGTH, ethernet, ipv6, ndp, octets, put},
    };
    use aya_ebpf::{
        bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
        btf_maps::{Array, PerCpuArray},
        macros::{btf_map, xdp},
        programs::XdpContext,
    };

    #[btf_map]
    static FRAME: Array<Frame, 1> = Array::new();

    #[btf_map]
    static RECEIVED: PerCpuArray<Received, 1> = PerCpuArray::new();

    #[xdp(frags)]
    pub fn empty(_: XdpContext) -> u32 {
        XDP_PASS
    }

    #[xdp(frags)]
    pub fn pass(_: XdpContext) -> u32 {
        XDP_PASS
    }

    #[xdp(frags)]
    pub fn reflector(ctx: XdpContext) -> u32 {
        let Some(header) = view::<{ ethernet::LENGTH }>(&ctx, 0) else { return XDP_PASS };
        let destination: [u8; MAC_LENGTH] = octets(header, ethernet::DESTINATION);
        let source: [u8; MAC_LENGTH] = octets(header, ethernet::SOURCE);
        put(header, ethernet::DESTINATION, source);
        put(header, ethernet::SOURCE, destination);
        XDP_TX
    }

    #[xdp(frags)]
    pub fn drop_and_count(ctx: XdpContext) -> u32 {
        count(is_advertisement(&ctx));
        XDP_DROP
    }

    #[xdp(frags)]
    pub fn drop_advertisements(ctx: XdpContext) -> u32 {
        if !is_advertisement(&ctx) {
            return XDP_PASS;
        }
        count(true);
        XDP_DROP
    }

    #[inline(always)]
    fn is_advertisement(ctx: &XdpContext) -> bool {
        const TYPE: usize = ethernet::LENGTH + ipv6::LENGTH + ndp::TYPE;
        let Some(frame) = view::<{ TYPE + 1 }>(ctx, 0) else { return false };
        octets(frame, ethernet::ETHER_TYPE) == ethernet::IPV6.to_be_bytes()
            && frame[ethernet::LENGTH + ipv6::NEXT_HEADER] == ipv6::ICMPV6
            && frame[TYPE] == ndp::ADVERTISEMENT
    }

    /// Counts a frame that is dropped.
    #[inline(always)]
    fn count(advertisement: bool) {
        if let Some(received) = RECEIVED.get_ptr_mut(0) {
            // SAFETY: the pointer is to this CPU's value, which no other program run writes to at the same time.
            unsafe {
                (*received).dropped += 1;
                (*received).advertisements += u64::from(advertisement);
            }
        }
    }

    #[xdp(frags)]
    pub fn generator(ctx: XdpContext) -> u32 {
        let Some(frame) = FRAME.get(0) else { return XDP_DROP };
        let mut at = 0;
        while at < FRAME_MAX {
            let Some((from, _)) = frame.octets.split_at(at).1.split_first_chunk::<8>() else { break };
            match view::<8>(&ctx, opaque(at)) {
                Some(to) => *to = *from,
                None => {
                    // Less than a word is left.
                    let mut rest = 0;
                    while rest < 7 {
                        let Some(to) = view::<1>(&ctx, opaque(at + rest)) else { break };
                        *to = [from[rest]];
                        rest += 1;
                    }
                    break;
                }
            }
            at += 8;
        }
        if let Some(received) = RECEIVED.get_ptr_mut(0) {
            // SAFETY: the pointer is to this CPU's value, which no other program run writes to at the same time.
            unsafe { (*received).sent += 1 }
        }
        XDP_TX
    }

    /// Hides from the compiler where an offset comes from. Otherwise it takes the bounds check out of the loop as a bound of the
    /// counter, in which the verifier does not recognise it.
    #[inline(always)]
    fn opaque(mut offset: usize) -> usize {
        // SAFETY: one instruction that keeps an offset below 256 in its register.
        unsafe {
            core::arch::asm!("{0} &= 255", inout(reg) offset, options(pure, nomem, nostack, preserves_flags))
        };
        offset
    }

    /// `N` octets of the frame from `at` on.
    #[expect(
        clippy::mut_from_ref,
        reason = "the frame is memory of its own, to which the context only points"
    )]
    #[inline(always)]
    fn view<const N: usize>(ctx: &XdpContext, at: usize) -> Option<&mut [u8; N]> {
        let start = ctx.data() + at;
        if start + N > ctx.data_end() {
            return None;
        }
        // SAFETY: the range lies within the frame, checked just now; each program here holds one view at a time.
        Some(unsafe { &mut *(start as *mut [u8; N]) })
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
