//! The bits by which routers and prefixes tell what they can (RFC 5340 A.2 and A.4.1.1, RFC 7166 2.1).
//!
//! ```text
//!                          1                     2
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3  4 5  6 7  8  9 0 1 2  3
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+--+-+--+-+-+--+-+-+-+--+--+
//! | | | | | | | | | | | | | |AT|L|AF|*|*|DC|R|N|x| E|V6|
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+--+-+--+-+-+--+-+-+-+--+--+
//! ```

use std::ops::BitOr;

/// Options of a router on a link: 24 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options(u32);

impl Options {
    /// Takes part in IPv6 routing.
    pub const V6: Self = Self(0x00_0001);
    /// AS-External-LSAs are flooded here: the area is not a stub.
    pub const E: Self = Self(0x00_0002);
    /// The area is not-so-stubby.
    pub const N: Self = Self(0x00_0008);
    /// Forwards: routes may lead through it.
    pub const R: Self = Self(0x00_0010);
    /// Demand circuits.
    pub const DC: Self = Self(0x00_0020);
    /// Address families (RFC 5838).
    pub const AF: Self = Self(0x00_0100);
    /// A block of link-local signalling follows the packet (RFC 5613).
    pub const L: Self = Self(0x00_0200);
    /// An authentication trailer follows the packet (RFC 7166 2.1).
    pub const AT: Self = Self(0x00_0400);

    /// From the 24 bits on the wire; higher ones are dropped.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & 0x00ff_ffff)
    }

    /// The 24 bits on the wire.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Are all of those set?
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

impl BitOr for Options {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Options of a prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrefixOptions(pub u8);

impl PrefixOptions {
    /// Not for unicast.
    pub const NU: Self = Self(0x01);
    /// An address of the originator itself; allowed for host prefixes.
    pub const LA: Self = Self(0x02);
}
