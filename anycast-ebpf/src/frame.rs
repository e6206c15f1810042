//! A frame in the driver's buffer: bounds checks, headers as arrays of fixed length, Ethernet and VLAN tags.
//!
//! In a frame that the driver handed over in several buffers only the first is looked at; what is not there is not seen, and
//! what is not seen passes.

use anycast_common::{
    abi::Services,
    packet::{MAC_LENGTH, be16, ethernet, halves, ne16, ne32, ne64, octets, vlan},
};
use aya_ebpf::{
    bindings::xdp_md,
    helpers::{bpf_xdp_adjust_tail, bpf_xdp_get_buff_len},
};

/// A frame, parsed up to the header behind Ethernet, and behind VLAN tags after [`Frame::untagged`].
pub struct Frame {
    ctx: *mut xdp_md,
    data: usize,
    end: usize,
    /// EtherType behind what is parsed.
    pub ether_type: u16,
    /// Offset of what is behind that, the network header in the end.
    pub network: usize,
    /// VLAN of the tags, as `abi::vlan_key`.
    pub vlan: u32,
}

impl Frame {
    /// The frame of `ctx` up to the first EtherType; `None` if it ends before that.
    #[inline(always)]
    pub fn parse(ctx: *mut xdp_md) -> Option<Self> {
        let mut frame = Self::bare(ctx);
        frame.ether_type = be16(frame.view::<{ ethernet::LENGTH }>(0)?, ethernet::ETHER_TYPE);
        frame.network = ethernet::LENGTH;
        Some(frame)
    }

    /// Is what follows a VLAN tag?
    #[inline(always)]
    pub fn is_tagged(&self) -> bool {
        self.ether_type == vlan::CUSTOMER || self.ether_type == vlan::SERVICE
    }

    /// A tagged frame parsed up to its network header, behind one tag or two; `None` if it ends before that.
    #[inline(always)]
    pub fn untagged(mut self) -> Option<Self> {
        // Not a loop: each number of tags is a case of its own for the verifier, with all offsets known.
        self.untag()?;
        if self.is_tagged() {
            self.untag()?;
        }
        Some(self)
    }

    #[inline(always)]
    fn bare(ctx: *mut xdp_md) -> Self {
        // SAFETY: the kernel passes a valid context, and nothing else has a reference to it.
        let (data, end) = unsafe { ((*ctx).data as usize, (*ctx).data_end as usize) };
        Self { ctx, data, end, ether_type: 0, network: 0, vlan: 0 }
    }

    #[inline(always)]
    fn untag(&mut self) -> Option<()> {
        let tag = *self.view::<{ vlan::LENGTH }>(self.network)?;
        let identifier = u32::from(be16(&tag, vlan::CONTROL) & vlan::IDENTIFIER_MASK);
        // As `abi::vlan_key`: a priority tag adds nothing.
        if identifier != 0 {
            self.vlan = self.vlan << 12 | identifier;
        }
        self.ether_type = be16(&tag, vlan::ETHER_TYPE);
        self.network += vlan::LENGTH;
        Some(())
    }

    /// `N` octets from offset `at` on, if they are there.
    #[inline(always)]
    pub fn view<const N: usize>(&self, at: usize) -> Option<&[u8; N]> {
        let start = self.data + at;
        if start + N > self.end {
            return None;
        }
        // SAFETY: `start..start + N` lies between the frame's first octet and its end, checked just now in the form in which
        // the verifier checks it again; octets have no alignment and no invalid values. The borrow of `self` ends before
        // `resize` moves the end.
        Some(unsafe { &*(start as *const [u8; N]) })
    }

    /// As [`Frame::view`], to be written to.
    #[inline(always)]
    pub fn view_mut<const N: usize>(&mut self, at: usize) -> Option<&mut [u8; N]> {
        let start = self.data + at;
        if start + N > self.end {
            return None;
        }
        // SAFETY: as in `view`, and the exclusive borrow of `self` makes this the only reference into the frame.
        Some(unsafe { &mut *(start as *mut [u8; N]) })
    }

    /// Where offset `at` of the frame and its end are in memory. Not more than that: who reads between them checks the bounds.
    #[inline(always)]
    pub fn bounds(&self, at: usize) -> (usize, usize) {
        (self.data + at, self.end)
    }

    /// Destination and source MAC address.
    #[inline(always)]
    pub fn addresses(&self) -> Option<([u8; MAC_LENGTH], [u8; MAC_LENGTH])> {
        let header = self.view::<{ ethernet::LENGTH }>(0)?;
        Some((octets(header, ethernet::DESTINATION), octets(header, ethernet::SOURCE)))
    }

    /// Is the frame addressed to the interface's own MAC address? One load and one shift for each of the two.
    #[inline(always)]
    pub fn is_to_us(&self, services: &Services) -> bool {
        // SAFETY: the eight octets are the address and its padding, which is zero. Volatile, or the compiler drops the
        // padding and loads octet by octet.
        let ours = unsafe { core::ptr::from_ref(&services.mac).cast::<[u64; 1]>().read_volatile()[0] };
        let mac = |word: u64| if cfg!(target_endian = "little") { word << 16 } else { word >> 16 };
        self.view::<{ ethernet::LENGTH }>(0)
            .is_some_and(|header| mac(ne64(header, ethernet::DESTINATION)) == mac(ours))
    }

    /// Octets of the first buffer.
    #[inline(always)]
    pub fn linear_length(&self) -> usize {
        self.end - self.data
    }

    /// Octets of the frame. `network_length` is what the IP header says: only if that does not fit into the first buffer can
    /// there be more of it, and only then is the kernel asked.
    #[inline(always)]
    pub fn length(&self, network_length: usize) -> u64 {
        if self.network + network_length <= self.linear_length() {
            self.linear_length() as u64
        } else {
            // SAFETY: the context is the one that the kernel passed.
            unsafe { bpf_xdp_get_buff_len(self.ctx) }
        }
    }

    /// Makes the frame `length` octets long by its tail. `None` if the driver has no room; the frame is then as it was.
    ///
    /// Takes the frame, for all pointers into it are stale afterwards.
    #[inline(always)]
    pub fn resize(self, length: usize) -> Option<Self> {
        let by = length as i32 - self.linear_length() as i32;
        if by == 0 {
            return Some(self);
        }
        // SAFETY: the context is the one that the kernel passed.
        if unsafe { bpf_xdp_adjust_tail(self.ctx, by) } != 0 {
            return None;
        }
        let Self { ctx, data: _, end: _, ether_type, network, vlan } = self;
        Some(Self { ether_type, network, vlan, ..Self::bare(ctx) })
    }
}

/// Are two MAC addresses the same? Two comparisons of words instead of a call of `memcmp`.
#[inline(always)]
pub fn same_mac(a: &[u8; MAC_LENGTH], b: &[u8; MAC_LENGTH]) -> bool {
    ne32(a, 0) == ne32(b, 0) && ne16(a, 4) == ne16(b, 4)
}

/// Are two addresses the same? Without a branch for each word.
#[inline(always)]
pub fn same_address(a: [u32; 4], b: [u32; 4]) -> bool {
    same_halves(halves(a), halves(b))
}

/// As [`same_address`], of addresses in halves.
#[inline(always)]
pub fn same_halves(a: [u64; 2], b: [u64; 2]) -> bool {
    (a[0] ^ b[0]) | (a[1] ^ b[1]) == 0
}
