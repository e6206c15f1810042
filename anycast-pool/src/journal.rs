//! The handlespace on disk: a log of records that is appended to, and now and then written anew as a snapshot.
//!
//! Octets in, octets out; the caller has the file. Times are wall-clock times, so that ages survive a restart. A record whose
//! checksum is wrong, or that was cut off, ends the log: what is behind it was never acknowledged, if it was written in order.
//!
//! ```text
//! file:    "ASAPPOOL" | version u16 = 1 | reserved u16 = 0 | record …
//! record:  length u32 of what follows the checksum | CRC-32 of it u32 | kind u8 | wall clock, ms since 1970 u64 | body
//!   1 registered   handle, flags u16, identity, element: the Pool Element parameter
//!   2 status       handle, PE id u32, state u8, source u8
//!   3 removed      handle, PE id u32, source u8
//! handle, identity, element:  length u16 | octets; an empty identity is none
//! ```
//!
//! All big-endian.

use std::sync::Arc;
use std::time::Duration;

use crate::wire::{Source, State, StatusFlags};
use crate::{ElementId, PoolHandle};

/// What a file begins with.
const MAGIC: [u8; 8] = *b"ASAPPOOL";

/// The version that is written, and the only one that is read.
const VERSION: u16 = 1;

/// Octets before the first record.
pub const HEADER_LEN: usize = 12;

/// Octets of a record before its kind.
const RECORD_HEADER_LEN: usize = 8;

/// A record longer than that is none.
const RECORD_MAX: usize = 256 * 1024;

/// A log that has grown by less than that is not worth a snapshot.
const COMPACT_LEAST: u64 = 1 << 20;

/// One change of the handlespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An element registered, or has other attributes now.
    Registered {
        /// Its pool.
        handle: PoolHandle,
        /// The Pool Element parameter.
        element: Box<[u8]>,
        /// What it says of itself.
        flags: StatusFlags,
        /// Who it is by its certificate.
        identity: Option<Arc<str>>,
    },
    /// The state of an element.
    Status {
        /// Its pool.
        handle: PoolHandle,
        /// Which.
        id: ElementId,
        /// Is it up?
        state: State,
        /// From what that is known.
        source: Source,
        /// How long ago that was seen.
        age: Duration,
    },
    /// An element is no longer registered.
    Removed {
        /// Its pool.
        handle: PoolHandle,
        /// Which.
        id: ElementId,
        /// Why.
        source: Source,
        /// How long ago.
        age: Duration,
    },
}

/// What a file had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// Records in order, with ages as of now.
    pub records: Vec<Record>,
    /// Octets that are in order. What is behind them is to be cut off before anything is appended.
    pub valid: usize,
    /// Why the rest is not.
    pub rest: Option<Tail>,
}

/// Why the end of a log cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Tail {
    /// The process or the machine stopped while a record was written.
    #[error("the last record is not complete")]
    Cut,
    /// The file was damaged.
    #[error("a record's checksum is wrong")]
    Checksum,
    /// Its checksum is right, so it was written by something else.
    #[error("a record cannot be read")]
    Unreadable,
}

/// Why a file is no journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Something else, or nothing.
    #[error("it does not begin as a journal does: move it away")]
    Magic,
    /// Written by another version.
    #[error(
        "it has version {0}, this program reads version 1: use the program that wrote it, or move it away"
    )]
    Version(u16),
}

/// What a file begins with.
pub fn header() -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&VERSION.to_be_bytes());
    header
}

/// Appends a record to `out`. `wall` is the time since 1970.
pub fn append(record: &Record, wall: Duration, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; RECORD_HEADER_LEN]);
    let body = out.len();
    match record {
        Record::Registered { handle, element, flags, identity } => {
            begin(1, wall, Duration::ZERO, handle, out);
            out.extend_from_slice(&flags.0.to_be_bytes());
            put(identity.as_deref().unwrap_or_default().as_bytes(), out);
            put(element, out);
        }
        Record::Status { handle, id, state, source, age } => {
            begin(2, wall, *age, handle, out);
            out.extend_from_slice(&id.0.to_be_bytes());
            out.extend_from_slice(&[state.code(), source.code()]);
        }
        Record::Removed { handle, id, source, age } => {
            begin(3, wall, *age, handle, out);
            out.extend_from_slice(&id.0.to_be_bytes());
            out.push(source.code());
        }
    }
    let length = (out.len() - body) as u32;
    let checksum = crc32(&out[body..]);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    out[start + 4..body].copy_from_slice(&checksum.to_be_bytes());
}

/// Reads a file. An empty one is a journal without records.
///
/// # Errors
/// It is no journal, or of another version.
pub fn read(octets: &[u8], wall: Duration) -> Result<Journal, JournalError> {
    if octets.len() < HEADER_LEN && header().starts_with(octets) {
        let rest = (!octets.is_empty()).then_some(Tail::Cut);
        return Ok(Journal { records: Vec::new(), valid: 0, rest });
    }
    let (magic, after) = octets.split_first_chunk::<8>().ok_or(JournalError::Magic)?;
    let (version, _) = after.split_first_chunk::<2>().ok_or(JournalError::Magic)?;
    if *magic != MAGIC {
        return Err(JournalError::Magic);
    }
    if u16::from_be_bytes(*version) != VERSION {
        return Err(JournalError::Version(u16::from_be_bytes(*version)));
    }
    let mut journal = Journal { records: Vec::new(), valid: HEADER_LEN, rest: None };
    while journal.rest.is_none() && journal.valid < octets.len() {
        match read_record(&octets[journal.valid..], wall) {
            Ok((record, length)) => {
                journal.records.push(record);
                journal.valid += length;
            }
            Err(tail) => journal.rest = Some(tail),
        }
    }
    Ok(journal)
}

/// Is it time for a snapshot, when the last one had `snapshot` octets and the file has `now`?
pub const fn should_compact(snapshot: u64, now: u64) -> bool {
    now > snapshot.saturating_mul(2).saturating_add(COMPACT_LEAST)
}

fn begin(kind: u8, wall: Duration, age: Duration, handle: &PoolHandle, out: &mut Vec<u8>) {
    let at = u64::try_from(wall.saturating_sub(age).as_millis()).unwrap_or(u64::MAX);
    out.push(kind);
    out.extend_from_slice(&at.to_be_bytes());
    put(handle.as_bytes(), out);
}

/// What is put has come in a message, whose parts are never longer than 16 bits can say; a certificate's name may be, and is cut.
fn put(octets: &[u8], out: &mut Vec<u8>) {
    let octets = &octets[..octets.len().min(usize::from(u16::MAX))];
    out.extend_from_slice(&(octets.len() as u16).to_be_bytes());
    out.extend_from_slice(octets);
}

fn read_record(octets: &[u8], wall: Duration) -> Result<(Record, usize), Tail> {
    let (header, rest) = octets.split_first_chunk::<RECORD_HEADER_LEN>().ok_or(Tail::Cut)?;
    let [a, b, c, d, checksum @ ..] = *header;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > RECORD_MAX {
        return Err(Tail::Checksum);
    }
    let body = rest.get(..length).ok_or(Tail::Cut)?;
    if crc32(body) != u32::from_be_bytes(checksum) {
        return Err(Tail::Checksum);
    }
    let record = read_body(body, wall).ok_or(Tail::Unreadable)?;
    Ok((record, RECORD_HEADER_LEN + length))
}

fn read_body(mut body: &[u8], wall: Duration) -> Option<Record> {
    let [kind] = take(&mut body)?;
    let at = Duration::from_millis(u64::from_be_bytes(take(&mut body)?));
    // A clock that was set back makes nothing younger than now.
    let age = wall.saturating_sub(at);
    let handle = PoolHandle::new(take_sized(&mut body)?);
    let record = match kind {
        1 => {
            let flags = StatusFlags(u16::from_be_bytes(take(&mut body)?));
            let identity = std::str::from_utf8(take_sized(&mut body)?).ok()?;
            let identity = (!identity.is_empty()).then(|| identity.into());
            let element = take_sized(&mut body)?.into();
            Record::Registered { handle, element, flags, identity }
        }
        2 => {
            let id = ElementId(u32::from_be_bytes(take(&mut body)?));
            let [state, source] = take(&mut body)?;
            let (state, source) = (State::from_code(state), Source::from_code(source));
            Record::Status { handle, id, state, source, age }
        }
        3 => {
            let id = ElementId(u32::from_be_bytes(take(&mut body)?));
            let [source] = take(&mut body)?;
            Record::Removed { handle, id, source: Source::from_code(source), age }
        }
        _ => return None,
    };
    body.is_empty().then_some(record)
}

fn take<const N: usize>(body: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = body.split_first_chunk::<N>()?;
    *body = rest;
    Some(*taken)
}

fn take_sized<'a>(body: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(u16::from_be_bytes(take(body)?));
    let (taken, rest) = body.split_at_checked(length)?;
    *body = rest;
    Some(taken)
}

/// CRC-32 of IEEE 802.3, reflected.
const fn crc32(octets: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    let mut at = 0;
    while at < octets.len() {
        crc = CRC_TABLE[((crc ^ octets[at] as u32) & 0xff) as usize] ^ (crc >> 8);
        at += 1;
    }
    !crc
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = at as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: Duration = Duration::from_secs(1_700_000_000);

    fn records() -> Vec<Record> {
        let handle = PoolHandle::from("dns");
        let id = ElementId(7);
        vec![
            Record::Registered {
                handle: handle.clone(),
                element: vec![1, 2, 3].into(),
                flags: StatusFlags::STANDBY,
                identity: Some("a.example".into()),
            },
            Record::Status {
                handle: handle.clone(),
                id,
                state: State::Down,
                source: Source::KeepAlive,
                age: Duration::from_secs(5),
            },
            Record::Removed { handle, id, source: Source::Deregistration, age: Duration::ZERO },
        ]
    }

    fn file() -> Vec<u8> {
        let mut file = header().to_vec();
        records().iter().for_each(|record| append(record, WALL, &mut file));
        file
    }

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn records_come_back_older_by_the_time_that_passed() {
        let file = file();
        let journal = read(&file, WALL).unwrap();
        assert_eq!((journal.records, journal.valid, journal.rest), (records(), file.len(), None));
        let later = read(&file, WALL + Duration::from_secs(10)).unwrap();
        let Record::Status { age, .. } = later.records[1] else { panic!("{later:?}") };
        assert_eq!(age, Duration::from_secs(15));
        let set_back = read(&file, WALL - Duration::from_secs(100)).unwrap();
        let Record::Status { age, .. } = set_back.records[1] else { panic!("{set_back:?}") };
        assert_eq!(age, Duration::ZERO);
    }

    #[test]
    fn a_file_cut_anywhere_gives_what_was_complete() {
        let file = file();
        let mut ends = vec![HEADER_LEN];
        for count in 1..=3 {
            let mut part = header().to_vec();
            records()[..count].iter().for_each(|record| append(record, WALL, &mut part));
            ends.push(part.len());
        }
        for cut in 0..=file.len() {
            let journal = read(&file[..cut], WALL).unwrap();
            let complete = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(journal.records.len(), complete.saturating_sub(1), "{cut}");
            assert_eq!(journal.rest.is_none(), cut == 0 || ends.contains(&cut), "{cut}");
            assert_eq!(journal.valid, if complete == 0 { 0 } else { ends[complete - 1] });
        }
    }

    #[test]
    fn a_damaged_record_ends_the_log_and_never_panics() {
        let file = file();
        for at in HEADER_LEN..file.len() {
            for bit in 0..8 {
                let mut damaged = file.clone();
                damaged[at] ^= 1 << bit;
                let journal = read(&damaged, WALL).unwrap();
                assert!(journal.rest.is_some() && journal.records.len() < 3, "{at} {bit}");
                assert_eq!(journal.records[..], records()[..journal.records.len()]);
            }
        }
    }

    #[test]
    fn other_files_and_versions_are_told_apart() {
        assert_eq!(read(b"something else", WALL), Err(JournalError::Magic));
        let mut other = header();
        other[9] = 2;
        assert_eq!(read(&other, WALL), Err(JournalError::Version(2)));
    }

    #[test]
    fn a_snapshot_is_due_when_the_log_has_doubled_and_is_worth_it() {
        assert!(!should_compact(0, 1 << 20));
        assert!(should_compact(0, (1 << 20) + 1));
        assert!(!should_compact(10 << 20, 20 << 20));
    }
}
