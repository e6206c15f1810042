//! Maps of the lab's programs: what the generator sends, what the counters count.

/// Longest frame that the generator sends, octets.
pub const FRAME_MAX: usize = 128;

/// One value of `FRAME`, an array of one entry: the frame that the generator sends.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Octets of the frame; the program is to be run on an input of this length.
    pub length: u32,
    /// Zero.
    pub pad: u32,
    /// The frame, filled up with zero.
    pub octets: [u8; FRAME_MAX],
}

/// One value of `RECEIVED`, per CPU, an array of one entry: what `drop_and_count` and `generator` saw.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Frames that `drop_and_count` dropped.
    pub dropped: u64,
    /// Neighbor Advertisements among them.
    pub advertisements: u64,
    /// Frames that `generator` sent.
    pub sent: u64,
}

const _: () = assert!(size_of::<Frame>() == 8 + FRAME_MAX);
const _: () = assert!(FRAME_MAX.is_multiple_of(8));
const _: () = assert!(size_of::<Received>() == 24);

#[cfg(feature = "user")]
mod pod {
    use super::{Frame, Received};

    // SAFETY: `repr(C)`, integers only, no implicit padding (sizes asserted above), every bit pattern valid.
    unsafe impl aya::Pod for Frame {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Received {}
}
