//! The authentication trailer (RFC 7166): an HMAC behind each packet, and a sequence number that only grows.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Authentication Type = 1      |        Auth Data Len          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |           Reserved            |  Security Association ID      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |           Cryptographic Sequence Number (64 bits)             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                     Authentication Data …                     |
//! ```
//!
//! The trailer is not counted in the packet's length. With it the packet's checksum is zero and not looked at (RFC 7166 4.2).
//! A key roll-over: give every router both keys, then put the new one first on each, then take the old one away.
//!
//! The sequence number must grow over restarts too (RFC 7166 4.1): its high half is a boot count that the caller keeps. The last
//! numbers of each boot are left to the guard, which says good-bye for a speaker that was killed: see [`Sequence`].

use std::fmt;
use std::net::Ipv6Addr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::codec::{Cursor, DecodeError};

/// Octets of a trailer before its digest.
const FIXED_LEN: usize = 16;

/// Authentication type: HMAC (RFC 7166 4.1).
const HMAC: u16 = 1;

/// OSPFv3 Cryptographic Protocol ID (RFC 7166 7), which is appended to the key so that no other protocol's digest fits.
const PROTOCOL_ID: [u8; 2] = [0, 1];

/// What FRR 8.4 appends in its place.
const PROTOCOL_ID_FRR84: [u8; 2] = [1, 0];

/// Behind the source address, what stands in the digest's place while it is computed (RFC 7166 4.5).
const APAD: [u8; 4] = [0x87, 0x8f, 0xe1, 0xf3];

/// Low half of the guard's first sequence number.
const GUARD: u32 = 0xffff_0000;

/// Hash function of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256, the default (RFC 7166 4.3).
    #[default]
    HmacSha256,
    /// SHA-384.
    HmacSha384,
    /// SHA-512.
    HmacSha512,
}

impl Algorithm {
    /// Octets of its digest.
    pub const fn digest_len(self) -> usize {
        match self {
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }
}

/// A key, RFC 7166's security association.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Its number, which travels with each digest. All routers of the link know it by the same.
    pub id: u16,
    /// Hash function.
    pub algorithm: Algorithm,
    /// The secret.
    pub secret: Vec<u8>,
}

impl fmt::Debug for Key {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl Key {
    /// `Ko`: as long as the digest (RFC 7166 4.5 step 1). HMAC itself hashes only what is longer than a block, so a secret between
    /// digest and block must be hashed here.
    fn prepared(&self, protocol_id: [u8; 2]) -> Vec<u8> {
        let specific = [self.secret.as_slice(), &protocol_id].concat();
        if specific.len() <= self.algorithm.digest_len() {
            // HMAC pads with zeros, as the RFC does.
            return specific;
        }
        match self.algorithm {
            Algorithm::HmacSha256 => Sha256::digest(&specific).to_vec(),
            Algorithm::HmacSha384 => Sha384::digest(&specific).to_vec(),
            Algorithm::HmacSha512 => Sha512::digest(&specific).to_vec(),
        }
    }

    fn apad(&self, source: Ipv6Addr) -> Vec<u8> {
        let repeated = APAD.into_iter().cycle().take(self.algorithm.digest_len() - 16);
        source.octets().into_iter().chain(repeated).collect()
    }

    fn run<M: Mac + KeyInit>(&self, protocol_id: [u8; 2], parts: &[&[u8]]) -> M {
        #[expect(clippy::expect_used, reason = "an HMAC takes a key of any length")]
        let mut mac =
            <M as KeyInit>::new_from_slice(&self.prepared(protocol_id)).expect("a key of any length");
        for part in parts {
            Mac::update(&mut mac, part);
        }
        mac
    }

    fn digest(&self, protocol_id: [u8; 2], parts: &[&[u8]]) -> Vec<u8> {
        match self.algorithm {
            Algorithm::HmacSha256 => {
                self.run::<Hmac<Sha256>>(protocol_id, parts).finalize().into_bytes().to_vec()
            }
            Algorithm::HmacSha384 => {
                self.run::<Hmac<Sha384>>(protocol_id, parts).finalize().into_bytes().to_vec()
            }
            Algorithm::HmacSha512 => {
                self.run::<Hmac<Sha512>>(protocol_id, parts).finalize().into_bytes().to_vec()
            }
        }
    }

    /// Compares in constant time.
    fn holds(&self, protocol_id: [u8; 2], parts: &[&[u8]], digest: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::HmacSha256 => {
                self.run::<Hmac<Sha256>>(protocol_id, parts).verify_slice(digest).is_ok()
            }
            Algorithm::HmacSha384 => {
                self.run::<Hmac<Sha384>>(protocol_id, parts).verify_slice(digest).is_ok()
            }
            Algorithm::HmacSha512 => {
                self.run::<Hmac<Sha512>>(protocol_id, parts).verify_slice(digest).is_ok()
            }
        }
    }
}

/// Why keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum KeyError {
    #[error("no key: the first one signs")]
    None,
    #[error("key {0} stands there twice: give each its own id")]
    Twice(u16),
    #[error("key {0} has an empty secret")]
    Empty(u16),
}

/// The keys of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRing {
    keys: Vec<Key>,
    frr84_compat: bool,
}

/// Why a packet is not authentic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum AuthError {
    #[error("no authentication trailer")]
    Missing,
    #[error("authentication type {0}, not 1")]
    Type(u16),
    #[error("the trailer says that it has {said} octets, {got} are there")]
    Length { said: u16, got: usize },
    #[error("key {0} is not known here")]
    UnknownKey(u16),
    #[error("wrong digest with key {0}")]
    Digest(u16),
    #[error("sequence {got:#x} is not above {last:#x}: replayed, or the sender lost its count")]
    Replay { got: u64, last: u64 },
}

impl AuthError {
    /// What to change.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Missing => "configure RFC 7166 authentication on the sender too, or take it away here",
            Self::Type(_) | Self::Length { .. } => {
                "the sender builds wrong trailers, or uses another algorithm under this key id: compare both configurations"
            }
            Self::UnknownKey(_) => "add the key with this id here, or use one of ours there",
            Self::Digest(_) => {
                "compare secret and algorithm; if the sender is FRR before 9.1, update it or set auth.frr84_compat on all others"
            }
            Self::Replay { .. } => {
                "if the sender restarted, it lost its sequence number: it is heard again after the dead interval; else somebody replays"
            }
        }
    }
}

impl KeyRing {
    /// Keys: the first one signs, all of them verify.
    ///
    /// # Errors
    /// There is none, or two share an id, or a secret is empty.
    pub fn new(keys: Vec<Key>) -> Result<Self, KeyError> {
        if keys.is_empty() {
            return Err(KeyError::None);
        }
        for (at, key) in keys.iter().enumerate() {
            if keys.iter().take(at).any(|other| other.id == key.id) {
                return Err(KeyError::Twice(key.id));
            }
            if key.secret.is_empty() {
                return Err(KeyError::Empty(key.id));
            }
        }
        Ok(Self { keys, frr84_compat: false })
    }

    /// Signs and verifies as FRR 8.4 does, which appends the protocol id to the key with its octets swapped (repaired in FRR 9.1).
    /// Then no router that follows the RFC understands us.
    #[must_use]
    pub fn frr84_compat(self, compat: bool) -> Self {
        Self { frr84_compat: compat, ..self }
    }

    const fn protocol_id(&self) -> [u8; 2] {
        if self.frr84_compat { PROTOCOL_ID_FRR84 } else { PROTOCOL_ID }
    }

    /// Octets of the trailer it appends.
    pub fn trailer_len(&self) -> usize {
        FIXED_LEN + self.keys.first().map_or(0, |key| key.algorithm.digest_len())
    }

    /// Appends the trailer to a packet whose checksum is zero.
    pub fn sign(&self, source: Ipv6Addr, sequence: u64, packet: &mut Vec<u8>) {
        // A ring has a first key.
        let Some(key) = self.keys.first() else { return };
        packet.extend_from_slice(&HMAC.to_be_bytes());
        packet.extend_from_slice(&(self.trailer_len() as u16).to_be_bytes());
        packet.extend_from_slice(&[0, 0]);
        packet.extend_from_slice(&key.id.to_be_bytes());
        packet.extend_from_slice(&sequence.to_be_bytes());
        let digest = key.digest(self.protocol_id(), &[packet, &key.apad(source)]);
        packet.extend_from_slice(&digest);
    }

    /// Verifies a payload whose packet has `length` octets. `signalling` = the packet's options have the L-bit, so that a block of
    /// link-local signalling stands before the trailer (RFC 7166 4.6). Returns the sequence number, for [`Replay`].
    ///
    /// # Errors
    /// Why it is not authentic.
    pub fn verify(
        &self,
        source: Ipv6Addr,
        payload: &[u8],
        length: usize,
        signalling: bool,
    ) -> Result<u64, AuthError> {
        let short = |_: DecodeError| AuthError::Missing;
        let mut cursor = Cursor::new("authentication trailer", payload);
        cursor.take(length).map_err(short)?;
        if signalling {
            // RFC 5613 2.2: checksum, then the block's length in 32-bit words, these four octets included.
            let (_checksum, words) = (cursor.u16().map_err(short)?, cursor.u16().map_err(short)?);
            cursor.take((usize::from(words) * 4).saturating_sub(4)).map_err(short)?;
        }
        let got = cursor.len();
        let kind = cursor.u16().map_err(short)?;
        let said = cursor.u16().map_err(short)?;
        let _reserved = cursor.u16().map_err(short)?;
        let id = cursor.u16().map_err(short)?;
        let high = cursor.u32().map_err(short)?;
        let low = cursor.u32().map_err(short)?;
        if kind != HMAC {
            return Err(AuthError::Type(kind));
        }
        if usize::from(said) != got {
            return Err(AuthError::Length { said, got });
        }
        let key = self.keys.iter().find(|key| key.id == id).ok_or(AuthError::UnknownKey(id))?;
        let digest = cursor.rest();
        if digest.len() != key.algorithm.digest_len() {
            return Err(AuthError::Length { said, got });
        }
        let covered = &payload[..payload.len() - digest.len()];
        if !key.holds(self.protocol_id(), &[covered, &key.apad(source)], digest) {
            return Err(AuthError::Digest(id));
        }
        Ok(u64::from(high) << 32 | u64::from(low))
    }
}

/// The sequence numbers of what is sent.
#[derive(Clone, Debug)]
pub struct Sequence(u64);

impl Sequence {
    /// Those of one boot. The caller counts boots and keeps the count over restarts.
    pub const fn new(boot_count: u32) -> Self {
        Self((boot_count as u64) << 32)
    }

    /// The next one. When those of a boot are used up, which takes a packet a second 136 years, those of the next follow.
    pub const fn advance(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        if self.0 as u32 >= GUARD {
            self.0 = (self.0 | 0xffff_ffff).wrapping_add(1);
        }
        self.0
    }

    /// The guard's `number`-th one: above all that the speaker of this boot sends, below all of the next boot.
    pub const fn of_guard(boot_count: u32, number: u16) -> u64 {
        (boot_count as u64) << 32 | (GUARD as u64 + number as u64)
    }
}

/// The last sequence numbers of a neighbour, one for each type of packet: types may overtake each other (RFC 7166 4.1).
#[derive(Clone, Debug, Default)]
pub struct Replay([Option<u64>; crate::codec::Kind::ALL.len()]);

impl Replay {
    /// Is it above the last one?
    ///
    /// # Errors
    /// It is not.
    pub fn check(&self, kind: crate::codec::Kind, sequence: u64) -> Result<(), AuthError> {
        match self.0[kind as usize - 1] {
            Some(last) if sequence <= last => Err(AuthError::Replay { got: sequence, last }),
            _ => Ok(()),
        }
    }

    /// Remembers it.
    pub const fn note(&mut self, kind: crate::codec::Kind, sequence: u64) {
        self.0[kind as usize - 1] = Some(sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Kind;

    fn key(id: u16, algorithm: Algorithm, secret: &[u8]) -> Key {
        Key { id, algorithm, secret: secret.to_vec() }
    }

    fn source() -> Ipv6Addr {
        "fe80::1".parse().unwrap()
    }

    #[test]
    fn what_is_signed_verifies_and_nothing_else() {
        for algorithm in [Algorithm::HmacSha256, Algorithm::HmacSha384, Algorithm::HmacSha512] {
            // Shorter than the digest, between digest and block, longer than a block.
            for length in [1, algorithm.digest_len() - 2, algorithm.digest_len(), 100, 300] {
                let ring = KeyRing::new(vec![key(7, algorithm, &vec![0x55; length])]).unwrap();
                let mut payload = vec![3; 36];
                ring.sign(source(), 0x1_0000_0002, &mut payload);
                assert_eq!(payload.len(), 36 + ring.trailer_len());
                assert_eq!(ring.verify(source(), &payload, 36, false), Ok(0x1_0000_0002));
                let other = "fe80::2".parse().unwrap();
                assert_eq!(
                    ring.verify(other, &payload, 36, false),
                    Err(AuthError::Digest(7)),
                    "the source is covered"
                );
                for at in 0..payload.len() {
                    let mut dirty = payload.clone();
                    dirty[at] ^= 1;
                    let reserved = (36 + 4..36 + 6).contains(&at);
                    let verified = ring.verify(source(), &dirty, 36, false);
                    assert!(verified.is_err(), "octet {at}, reserved {reserved}");
                }
                for cut in 36..payload.len() {
                    assert!(ring.verify(source(), &payload[..cut], 36, false).is_err());
                }
                assert_eq!(ring.verify(source(), &payload[..36], 36, false), Err(AuthError::Missing));
                let compat = ring.clone().frr84_compat(true);
                assert_eq!(compat.verify(source(), &payload, 36, false), Err(AuthError::Digest(7)));
            }
        }
    }

    #[test]
    fn keys_roll_over_by_their_ids() {
        let (old, new) = (key(1, Algorithm::HmacSha256, b"old"), key(2, Algorithm::HmacSha512, b"new"));
        let before = KeyRing::new(vec![old.clone(), new.clone()]).unwrap();
        let after = KeyRing::new(vec![new.clone(), old.clone()]).unwrap();
        let done = KeyRing::new(vec![new]).unwrap();
        for (from, to, verdict) in [
            (&before, &after, Ok(9)),
            (&after, &before, Ok(9)),
            (&after, &done, Ok(9)),
            (&before, &done, Err(AuthError::UnknownKey(1))),
        ] {
            let mut payload = vec![0; 20];
            from.sign(source(), 9, &mut payload);
            assert_eq!(to.verify(source(), &payload, 20, false), verdict);
        }
        assert_eq!(KeyRing::new(vec![]), Err(KeyError::None));
        assert_eq!(KeyRing::new(vec![old.clone(), old]), Err(KeyError::Twice(1)));
        assert_eq!(KeyRing::new(vec![key(3, Algorithm::HmacSha256, b"")]), Err(KeyError::Empty(3)));
        assert!(!format!("{done:?}").contains("secret"), "secrets are not shown");
    }

    #[test]
    fn a_block_of_link_local_signalling_before_the_trailer_is_covered() {
        let ring = KeyRing::new(vec![key(7, Algorithm::HmacSha256, b"s")]).unwrap();
        let mut payload = vec![3; 36];
        payload.extend_from_slice(&[0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8]);
        ring.sign(source(), 1, &mut payload);
        assert_eq!(ring.verify(source(), &payload, 36, true), Ok(1));
        assert!(ring.verify(source(), &payload, 36, false).is_err());
        payload[39] = 0xff;
        assert_eq!(ring.verify(source(), &payload, 36, true), Err(AuthError::Missing));
    }

    #[test]
    fn sequences_grow_over_packets_guard_and_boots() {
        let mut sequence = Sequence::new(5);
        let first = sequence.advance();
        assert_eq!((first, sequence.advance()), (0x5_0000_0001, 0x5_0000_0002));
        assert!(
            Sequence::of_guard(5, 0) > 0x5_0000_0002
                && Sequence::of_guard(5, u16::MAX) < Sequence::new(6).advance()
        );
        let mut used_up = Sequence(0x5_fffe_ffff);
        assert_eq!(used_up.advance(), 0x6_0000_0000, "the guard's are left out");
        let mut replay = Replay::default();
        assert_eq!(replay.check(Kind::Hello, 0), Ok(()));
        replay.note(Kind::Hello, 7);
        assert_eq!(replay.check(Kind::Hello, 7), Err(AuthError::Replay { got: 7, last: 7 }));
        assert_eq!(replay.check(Kind::Hello, 8), Ok(()));
        assert_eq!(replay.check(Kind::LinkStateUpdate, 7), Ok(()), "types may overtake each other");
    }
}
