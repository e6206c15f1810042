//! The end of a signed heartbeat: what its sender has heard, then the signature over everything before.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |        Type 4 (Heard)         |     Length = 4 + 24 × n       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |A|                          Reserved                           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                   Server id heard (64 bits)                   |
//! |                  Its incarnation (64 bits)                    |
//! |             Its highest sequence heard (64 bits)              |
//! |                          … n times                            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |    Type 5 (Authentication)    |          Length = 36          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |            Key id             |           Reserved            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |              HMAC-SHA256 (32 octets), the last                |
//! ```
//!
//! A = the sender asks to be heard: it has a peer that has not yet shown that its heartbeats are new. Both types are skipped by
//! a receiver without keys.

use crate::auth::Verdict;
use crate::auth::key::{KeyId, KeyRing, Purpose, SIGNATURE_LEN};
use crate::config::ServerId;
use crate::heartbeat::{Elements, field};

/// Most servers that one heartbeat says it has heard.
pub const HEARD_MAX: usize = 16;

/// Most octets of a trailer.
pub const TRAILER_MAX: usize = 4 + HEARD_HEAD + HEARD_MAX * HEARD_LEN + AUTHENTICATION_LEN;

/// Element: what the sender has heard.
const HEARD: u16 = 4;
/// Element: the signature.
const AUTHENTICATION: u16 = 5;

const FLAG_ASKS: u8 = 0x80;
/// Octets of flags before the servers.
const HEARD_HEAD: usize = 4;
/// Octets of one server.
const HEARD_LEN: usize = 24;
/// Octets of the value of the signature's element.
const SIGNED_VALUE_LEN: usize = 4 + SIGNATURE_LEN;
/// Octets of the signature's element.
const AUTHENTICATION_LEN: usize = 4 + SIGNED_VALUE_LEN;

/// A heartbeat that was heard: whose, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Its sender.
    pub server: ServerId,
    /// The sender's incarnation.
    pub incarnation: u64,
    /// The highest sequence number heard.
    pub sequence: u64,
}

/// What a trailer says besides the signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trailer {
    /// The sender wants to be told that it is heard.
    pub asks: bool,
    /// Whom it has heard lately, at most [`HEARD_MAX`].
    pub heard: Vec<Heard>,
}

/// Appends a trailer to a heartbeat that ends with a whole element.
pub fn sign(datagram: &mut Vec<u8>, trailer: &Trailer, keys: &KeyRing) {
    let heard = &trailer.heard[..trailer.heard.len().min(HEARD_MAX)];
    if trailer.asks || !heard.is_empty() {
        header(datagram, HEARD, HEARD_HEAD + heard.len() * HEARD_LEN);
        datagram.extend_from_slice(&[if trailer.asks { FLAG_ASKS } else { 0 }, 0, 0, 0]);
        for heard in heard {
            datagram.extend_from_slice(&heard.server.0.to_be_bytes());
            datagram.extend_from_slice(&heard.incarnation.to_be_bytes());
            datagram.extend_from_slice(&heard.sequence.to_be_bytes());
        }
    }
    header(datagram, AUTHENTICATION, SIGNED_VALUE_LEN);
    datagram.extend_from_slice(&keys.signing_id().0.to_be_bytes());
    datagram.extend_from_slice(&[0; 2]);
    let signature = keys.sign(Purpose::Heartbeat, &[datagram]);
    datagram.extend_from_slice(&signature);
}

fn header(out: &mut Vec<u8>, kind: u16, length: usize) {
    out.extend_from_slice(&kind.to_be_bytes());
    // A trailer is shorter than TRAILER_MAX.
    out.extend_from_slice(&(length as u16).to_be_bytes());
}

/// Reads and verifies the trailer of a heartbeat from anybody. Never panics.
///
/// # Errors
/// Why it is not authentic: [`Verdict::Unsigned`], [`Verdict::Malformed`], [`Verdict::UnknownKey`] or
/// [`Verdict::BadSignature`].
pub fn verify(datagram: &[u8], keys: &KeyRing) -> Result<Trailer, Verdict> {
    let mut trailer = Trailer::default();
    let mut elements = Elements { rest: datagram, offset: field::ELEMENTS };
    loop {
        let (kind, value) = match elements.next() {
            Ok(Some(element)) => element,
            Ok(None) => return Err(Verdict::Unsigned),
            Err(_) => return Err(Verdict::Malformed),
        };
        match kind {
            HEARD => trailer = parse_heard(value).ok_or(Verdict::Malformed)?,
            AUTHENTICATION => {
                // Nothing may follow: it would not be covered.
                let last = elements.offset == datagram.len();
                let (Some((head, signature)), true) = (value.split_last_chunk::<SIGNATURE_LEN>(), last)
                else {
                    return Err(Verdict::Malformed);
                };
                let &[high, low, _, _] = head else { return Err(Verdict::Malformed) };
                let id = KeyId(u16::from_be_bytes([high, low]));
                let covered = &datagram[..datagram.len() - SIGNATURE_LEN];
                return match keys.verify(id, Purpose::Heartbeat, &[covered], signature) {
                    Some(true) => Ok(trailer),
                    Some(false) => Err(Verdict::BadSignature),
                    None => Err(Verdict::UnknownKey),
                };
            }
            _ => {}
        }
    }
}

fn parse_heard(value: &[u8]) -> Option<Trailer> {
    let (head, servers) = value.split_first_chunk::<HEARD_HEAD>()?;
    let (servers, []) = servers.as_chunks::<HEARD_LEN>() else { return None };
    if servers.len() > HEARD_MAX {
        return None;
    }
    let number = |octets: &[u8]| octets.iter().fold(0, |number, octet| number << 8 | u64::from(*octet));
    let heard = servers.iter().map(|server| Heard {
        server: ServerId(number(&server[..8])),
        incarnation: number(&server[8..16]),
        sequence: number(&server[16..]),
    });
    Some(Trailer { asks: head[0] & FLAG_ASKS != 0, heard: heard.collect() })
}
