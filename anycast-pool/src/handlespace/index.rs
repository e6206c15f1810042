//! Hashing of names that anybody can choose: by a seed that nobody outside knows.

use std::hash::{BuildHasher, Hasher};

use crate::random::mix;

/// Makes hashers with the seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeded(pub u64);

impl BuildHasher for Seeded {
    type Hasher = Mixing;

    fn build_hasher(&self) -> Mixing {
        Mixing(self.0)
    }
}

/// Eight octets at a time through SplitMix64's finalizer.
#[derive(Debug)]
pub(super) struct Mixing(u64);

impl Hasher for Mixing {
    fn write(&mut self, octets: &[u8]) {
        for chunk in octets.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = mix(self.0.rotate_left(23) ^ word);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
