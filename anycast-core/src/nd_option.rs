//! The option of the unsolicited Neighbor Advertisements (RFC 4861 4.6): who sends it, since when it owns, how loaded it is.
//! Type 253 is for experiments (RFC 4727 4.2); routers ignore it.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Type = 253   | Length 5 / 10 |         "AF" (0x4146)         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Version = 1  |   Reserved    |         Load, permille        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                      Server id (64 bits)                      |
//! |                        Epoch (64 bits)                        |
//! |                     Incarnation (64 bits)                     |
//! |                      Sequence (64 bits)                       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |            Key id             |           Reserved            |   only with
//! |                           Reserved                            |   Length 10
//! |                    HMAC-SHA256 (32 octets)                    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! It stands directly behind the target link-layer address option, so that the fast path finds it at a fixed place. The HMAC
//! covers the target, the VLAN, the MAC address announced, the flags R, S and O, and the option up to the HMAC.

use std::net::Ipv6Addr;

use crate::auth::Verdict;
use crate::auth::key::{KeyId, KeyRing, Purpose};
use crate::auth::replay::Numbers;
use crate::config::ServerId;

/// Type of the option (RFC 4727 4.2).
pub const TYPE: u8 = 253;

/// Octets without a signature.
pub const PLAIN_LEN: usize = 40;

/// Octets with a signature.
pub const SIGNED_LEN: usize = 80;

const MAGIC: [u8; 2] = [0x41, 0x46];
const VERSION: u8 = 1;
const UNIT: usize = 8;

/// Octet ranges.
mod field {
    use core::ops::Range;

    pub const TYPE: usize = 0;
    pub const LENGTH: usize = 1;
    pub const MAGIC: Range<usize> = 2..4;
    pub const VERSION: usize = 4;
    pub const LOAD: Range<usize> = 6..8;
    pub const SERVER: Range<usize> = 8..16;
    pub const EPOCH: Range<usize> = 16..24;
    pub const INCARNATION: Range<usize> = 24..32;
    pub const SEQUENCE: Range<usize> = 32..40;
    pub const KEY: Range<usize> = 40..42;
    pub const SIGNATURE: Range<usize> = 48..80;
}

/// What the option says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Information {
    /// The sender and the number of its message.
    pub numbers: Numbers,
    /// Epoch of its ownership.
    pub epoch: u64,
    /// Its load in permille of what it can serve.
    pub load: u16,
}

/// What of the advertisement around the option is signed with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Target address.
    pub target: Ipv6Addr,
    /// VLAN key.
    pub vlan: u32,
    /// The MAC address announced.
    pub mac: [u8; 6],
    /// The flags as they stand in the advertisement: R 0x80, S 0x40, O 0x20.
    pub flags: u8,
}

/// Why octets are no option of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum OptionError {
    #[error("there is none")]
    Absent,
    #[error("length {0} is neither 5 nor 10, or more than there is")]
    Length(u8),
    #[error("version {0} is not spoken here")]
    Version(u8),
    #[error("server id 0")]
    ServerId,
}

impl Information {
    /// The option; signed if there are keys.
    pub fn emit(&self, envelope: &Envelope, keys: Option<&KeyRing>) -> Vec<u8> {
        let mut out = vec![0; if keys.is_some() { SIGNED_LEN } else { PLAIN_LEN }];
        out[field::TYPE] = TYPE;
        out[field::LENGTH] = (out.len() / UNIT) as u8;
        out[field::MAGIC].copy_from_slice(&MAGIC);
        out[field::VERSION] = VERSION;
        out[field::LOAD].copy_from_slice(&self.load.to_be_bytes());
        out[field::SERVER].copy_from_slice(&self.numbers.server.0.to_be_bytes());
        out[field::EPOCH].copy_from_slice(&self.epoch.to_be_bytes());
        out[field::INCARNATION].copy_from_slice(&self.numbers.incarnation.to_be_bytes());
        out[field::SEQUENCE].copy_from_slice(&self.numbers.sequence.to_be_bytes());
        if let Some(keys) = keys {
            out[field::KEY].copy_from_slice(&keys.signing_id().0.to_be_bytes());
            let signature = envelope.with_octets(|octets| {
                keys.sign(Purpose::Advertisement, &[octets, &out[..field::SIGNATURE.start]])
            });
            out[field::SIGNATURE].copy_from_slice(&signature);
        }
        out
    }

    /// Reads what stands behind the target link-layer address option of an advertisement from anybody; what follows the option
    /// is not looked at. Never panics.
    ///
    /// # Errors
    /// See [`OptionError`].
    pub fn decode(octets: &[u8]) -> Result<Self, OptionError> {
        let magic = octets.get(field::MAGIC);
        if octets.first() != Some(&TYPE) || magic != Some(&MAGIC) {
            return Err(OptionError::Absent);
        }
        let units = octets[field::LENGTH];
        let length = usize::from(units) * UNIT;
        if (length != PLAIN_LEN && length != SIGNED_LEN) || octets.len() < length {
            return Err(OptionError::Length(units));
        }
        if octets[field::VERSION] != VERSION {
            return Err(OptionError::Version(octets[field::VERSION]));
        }
        let number = |range: std::ops::Range<usize>| {
            octets[range].iter().fold(0, |number, octet| number << 8 | u64::from(*octet))
        };
        let server = ServerId(number(field::SERVER));
        if server.0 == 0 {
            return Err(OptionError::ServerId);
        }
        let (incarnation, sequence) = (number(field::INCARNATION), number(field::SEQUENCE));
        Ok(Self {
            numbers: Numbers { server, incarnation, sequence },
            epoch: number(field::EPOCH),
            load: number(field::LOAD) as u16,
        })
    }

    /// Reads an option and verifies its signature.
    ///
    /// # Errors
    /// Why it is not authentic.
    pub fn verify(octets: &[u8], envelope: &Envelope, keys: &KeyRing) -> Result<Self, Verdict> {
        let information = match Self::decode(octets) {
            Ok(information) => information,
            Err(OptionError::Absent) => return Err(Verdict::Unsigned),
            Err(_) => return Err(Verdict::Malformed),
        };
        let Some(option) =
            octets.get(..SIGNED_LEN).filter(|option| usize::from(option[field::LENGTH]) * UNIT == SIGNED_LEN)
        else {
            return Err(Verdict::Unsigned);
        };
        let id = KeyId(u16::from_be_bytes([option[field::KEY.start], option[field::KEY.start + 1]]));
        let (covered, signature) = option.split_at(field::SIGNATURE.start);
        let signature = signature.try_into().map_err(|_| Verdict::Malformed)?;
        let fits = envelope
            .with_octets(|octets| keys.verify(id, Purpose::Advertisement, &[octets, covered], signature));
        match fits {
            Some(true) => Ok(information),
            Some(false) => Err(Verdict::BadSignature),
            None => Err(Verdict::UnknownKey),
        }
    }
}

impl Envelope {
    fn with_octets<T>(&self, f: impl FnOnce(&[u8]) -> T) -> T {
        let mut octets = [0; 16 + 4 + 6 + 1];
        octets[..16].copy_from_slice(&self.target.octets());
        octets[16..20].copy_from_slice(&self.vlan.to_be_bytes());
        octets[20..26].copy_from_slice(&self.mac);
        octets[26] = self.flags & 0xe0;
        f(&octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVELOPE: Envelope = Envelope {
        target: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x53),
        vlan: 7,
        mac: [2, 0, 0x5e, 0, 0x53, 1],
        flags: 0x20,
    };

    const INFORMATION: Information = Information {
        numbers: Numbers {
            server: ServerId(0x0102_0304_0506_0708),
            incarnation: 0x1112_1314_1516_1718,
            sequence: 0x2122_2324_2526_2728,
        },
        epoch: 9,
        load: 500,
    };

    #[rustfmt::skip]
    const PLAIN: [u8; PLAIN_LEN] = [
        253, 5, 0x41, 0x46, 1, 0, 0x01, 0xf4,
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
        0, 0, 0, 0, 0, 0, 0, 9,
        0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,
        0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28,
    ];

    fn keys() -> KeyRing {
        KeyRing::new(KeyId(3), &[0x2a; 32])
    }

    #[test]
    fn fixed_octets_are_fixed_information_both_ways() {
        assert_eq!(INFORMATION.emit(&ENVELOPE, None), PLAIN);
        assert_eq!(Information::decode(&PLAIN), Ok(INFORMATION));
        assert_eq!(Information::verify(&PLAIN, &ENVELOPE, &keys()), Err(Verdict::Unsigned));
    }

    #[test]
    fn a_signed_option_fits_its_advertisement_only() {
        let option = INFORMATION.emit(&ENVELOPE, Some(&keys()));
        assert_eq!(option.len(), SIGNED_LEN);
        assert_eq!(Information::verify(&option, &ENVELOPE, &keys()), Ok(INFORMATION));
        let mut longer = option.clone();
        longer.extend_from_slice(&[1; 8]);
        assert_eq!(
            Information::verify(&longer, &ENVELOPE, &keys()),
            Ok(INFORMATION),
            "other options may follow"
        );
        for other in [
            Envelope { target: Ipv6Addr::LOCALHOST, ..ENVELOPE },
            Envelope { vlan: 8, ..ENVELOPE },
            Envelope { mac: [2, 0, 0x5e, 0, 0x53, 2], ..ENVELOPE },
            Envelope { flags: 0xa0, ..ENVELOPE },
        ] {
            assert_eq!(
                Information::verify(&option, &other, &keys()),
                Err(Verdict::BadSignature),
                "{other:?}"
            );
        }
        let other = KeyRing::new(KeyId(3), &[0x2b; 32]);
        assert_eq!(Information::verify(&option, &ENVELOPE, &other), Err(Verdict::BadSignature));
        let other = KeyRing::new(KeyId(4), &[0x2a; 32]);
        assert_eq!(Information::verify(&option, &ENVELOPE, &other), Err(Verdict::UnknownKey));
    }

    #[test]
    fn no_changed_bit_and_no_shorter_option_is_verified() {
        let option = INFORMATION.emit(&ENVELOPE, Some(&keys()));
        for bit in 0..8 * option.len() {
            let mut changed = option.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(Information::verify(&changed, &ENVELOPE, &keys()).is_err(), "bit {bit}");
        }
        for length in 0..option.len() {
            assert!(Information::verify(&option[..length], &ENVELOPE, &keys()).is_err(), "{length} octets");
        }
    }

    #[test]
    fn each_mistake_is_refused_with_its_reason() {
        let with = |at: usize, value: u8| {
            let mut option = PLAIN;
            option[at] = value;
            Information::decode(&option)
        };
        assert_eq!(Information::decode(&[]), Err(OptionError::Absent));
        assert_eq!(with(0, 254), Err(OptionError::Absent));
        assert_eq!(with(2, 0), Err(OptionError::Absent), "somebody else's experiment");
        assert_eq!(with(1, 0), Err(OptionError::Length(0)));
        assert_eq!(with(1, 4), Err(OptionError::Length(4)));
        assert_eq!(with(1, 10), Err(OptionError::Length(10)));
        assert_eq!(with(4, 2), Err(OptionError::Version(2)));
        let mut option = PLAIN;
        option[field::SERVER].fill(0);
        assert_eq!(Information::decode(&option), Err(OptionError::ServerId));
    }
}
