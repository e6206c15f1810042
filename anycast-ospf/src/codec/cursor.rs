//! A cursor over octets from anybody.

use std::net::Ipv6Addr;

use super::DecodeError;

/// What is left to read, and the name of what is being read.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(what: &'static str, octets: &'a [u8]) -> Self {
        Self { rest: octets, what }
    }

    pub(crate) const fn len(&self) -> usize {
        self.rest.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let short = DecodeError::Short { what: self.what, need: count, got: self.rest.len() };
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let short = DecodeError::Short { what: self.what, need: N, got: self.rest.len() };
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(short)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[octet]| octet)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u24(&mut self) -> Result<u32, DecodeError> {
        self.array::<3>().map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn address(&mut self) -> Result<Ipv6Addr, DecodeError> {
        self.array::<16>().map(Ipv6Addr::from)
    }

    /// Reads items until nothing is left. `unit` is the length of one: a rest that is no multiple of it is an error.
    pub(crate) fn all<T>(
        mut self,
        unit: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let left = self.rest.len() % unit;
        if left != 0 {
            return Err(DecodeError::Ragged { what: self.what, unit, left });
        }
        let mut items = Vec::with_capacity(self.rest.len() / unit);
        while !self.is_empty() {
            items.push(item(&mut self)?);
        }
        Ok(items)
    }

    /// Reads `count` items of at least `least` octets. A count that cannot fit is refused before anything is allocated for it.
    pub(crate) fn counted<T>(
        &mut self,
        count: u32,
        least: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let room = self.rest.len() / least;
        let too_many = DecodeError::Count { what: self.what, said: count, room };
        let count = usize::try_from(count).ok().filter(|count| *count <= room).ok_or(too_many)?;
        (0..count).map(|_| item(self)).collect()
    }

    /// Nothing may be left.
    pub(crate) const fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing { what: self.what, octets: self.rest.len() })
        }
    }
}
