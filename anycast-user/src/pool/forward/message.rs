//! What a forwarder must know of DNS messages: their header and their question (RFC 1035 4.1). The rest is the servers' and the
//! clients' business and passes through as it is.
//!
//! ```text
//!   0  1  2  3  4  5  6  7  8  9  0  1  2  3  4  5
//! +--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+
//! |                      ID                       |
//! |QR|   Opcode  |AA|TC|RD|RA|   Z    |   RCODE   |
//! |                    QDCOUNT                    |
//! |                    ANCOUNT                    |
//! |                    NSCOUNT                    |
//! |                    ARCOUNT                    |
//! +--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+
//! /                   question                    /
//! ```

use std::ops::Range;

/// The header's octets.
pub const HEADER_LEN: usize = 12;
const ID: Range<usize> = 0..2;
const FLAGS: usize = 2;
const CODES: usize = 3;
const QDCOUNT: Range<usize> = 4..6;
/// The counts behind QDCOUNT.
const COUNTS: Range<usize> = 6..12;

const QR: u8 = 0x80;
const OPCODE: u8 = 0x78;
const RD: u8 = 0x01;
const RA: u8 = 0x80;
const RCODE: u8 = 0x0f;

/// Response codes (RFC 1035 4.1.1).
pub mod rcode {
    pub const FORMERR: u8 = 1;
    pub const SERVFAIL: u8 = 2;
    pub const NOTIMP: u8 = 4;
    pub const REFUSED: u8 = 5;
}

/// What to do with what a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Forward it: it has one question, which ends there.
    Forward {
        /// Length of header and question.
        question_end: usize,
    },
    /// Answer it with that response code.
    Refuse(u8),
    /// Say nothing: it is an answer itself, or has no header.
    Ignore,
}

/// Judges what a client sent.
pub fn judge(message: &[u8]) -> Verdict {
    let Some(header) = message.first_chunk::<HEADER_LEN>() else { return Verdict::Ignore };
    if header[FLAGS] & QR != 0 {
        return Verdict::Ignore;
    }
    if header[FLAGS] & OPCODE != 0 {
        return Verdict::Refuse(rcode::NOTIMP);
    }
    if header[QDCOUNT] != [0, 1] {
        return Verdict::Refuse(rcode::FORMERR);
    }
    question_end(message)
        .map_or(Verdict::Refuse(rcode::FORMERR), |question_end| Verdict::Forward { question_end })
}

/// Where the one question ends: a name without compression, type and class.
fn question_end(message: &[u8]) -> Option<usize> {
    const LABEL_MAX: usize = 63;
    const NAME_MAX: usize = 255;
    let mut at = HEADER_LEN;
    loop {
        let length = usize::from(*message.get(at)?);
        if length > LABEL_MAX || at - HEADER_LEN > NAME_MAX {
            return None;
        }
        at += 1 + length;
        if length == 0 {
            break;
        }
    }
    let end = at + 4;
    (end <= message.len() && at - HEADER_LEN <= NAME_MAX).then_some(end)
}

/// Is this the answer to a query with that identifier and question? The source was the kernel's to check.
///
/// Servers that find no sense in a query may leave the question out (FORMERR, NOTIMP); a forwarder that takes such an answer from the
/// right address and port with the right identifier risks no more.
pub fn answers(answer: &[u8], id: u16, query: &[u8], question_end: usize) -> bool {
    let Some(header) = answer.first_chunk::<HEADER_LEN>() else { return false };
    if header[FLAGS] & QR == 0 || header[ID] != id.to_be_bytes() {
        return false;
    }
    if header[QDCOUNT] == [0, 0] {
        return matches!(rcode(answer), rcode::FORMERR | rcode::NOTIMP);
    }
    header[QDCOUNT] == [0, 1]
        && answer
            .get(HEADER_LEN..question_end)
            .is_some_and(|question| question.eq_ignore_ascii_case(&query[HEADER_LEN..question_end]))
}

/// The response code of a message that has a header.
pub fn rcode(message: &[u8]) -> u8 {
    message.get(CODES).map_or(rcode::SERVFAIL, |codes| codes & RCODE)
}

/// The identifier of a message that has a header.
pub fn id(message: &[u8]) -> u16 {
    message.first_chunk::<2>().map_or(0, |id| u16::from_be_bytes(*id))
}

/// Changes the identifier of a message that has a header.
pub fn set_id(message: &mut [u8], id: u16) {
    if let Some(place) = message.first_chunk_mut::<2>() {
        *place = id.to_be_bytes();
    }
}

/// An answer without records, made from the query's header and question.
pub fn refusal(query: &[u8], question_end: Option<usize>, code: u8) -> Vec<u8> {
    let end = question_end.unwrap_or(HEADER_LEN).min(query.len());
    let mut answer = query[..end].to_vec();
    if let Some(header) = answer.first_chunk_mut::<HEADER_LEN>() {
        header[FLAGS] = QR | header[FLAGS] & (OPCODE | RD);
        header[CODES] = RA | code;
        header[COUNTS].fill(0);
        if question_end.is_none() {
            header[QDCOUNT].fill(0);
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `www.example. IN AAAA` with RD.
    const QUERY: &[u8] =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x00\x00\x1c\x00\x01";

    fn answer() -> Vec<u8> {
        let mut answer = QUERY.to_vec();
        answer[2] |= QR;
        answer
    }

    #[test]
    fn a_query_is_forwarded_and_what_is_none_is_not() {
        assert_eq!(judge(QUERY), Verdict::Forward { question_end: QUERY.len() });
        let mut more = QUERY.to_vec();
        more.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        assert_eq!(judge(&more), Verdict::Forward { question_end: QUERY.len() });
        assert_eq!(judge(&answer()), Verdict::Ignore);
        assert_eq!(judge(&QUERY[..11]), Verdict::Ignore);
        for end in HEADER_LEN..QUERY.len() {
            assert_eq!(judge(&QUERY[..end]), Verdict::Refuse(rcode::FORMERR), "{end}");
        }
        let with = |at: usize, octet: u8| {
            let mut query = QUERY.to_vec();
            query[at] = octet;
            judge(&query)
        };
        assert_eq!(with(2, 0x28), Verdict::Refuse(rcode::NOTIMP));
        assert_eq!(with(5, 2), Verdict::Refuse(rcode::FORMERR));
        assert_eq!(with(12, 0xc0), Verdict::Refuse(rcode::FORMERR));
    }

    #[test]
    fn an_answer_has_identifier_and_question_of_its_query() {
        let good = |answer: &[u8]| answers(answer, 0x1234, QUERY, QUERY.len());
        assert!(good(&answer()));
        let mut upper = answer();
        upper[13] = b'W';
        assert!(good(&upper));
        for (at, octet) in [(0, 0x13), (2, 0x01), (13, b'v'), (26, 0x01), (5, 2), (5, 0)] {
            let mut other = answer();
            other[at] = octet;
            assert!(!good(&other), "{at}");
        }
        assert!(!good(&answer()[..20]));
        let mut bare = answer()[..HEADER_LEN].to_vec();
        bare[5] = 0;
        bare[3] = rcode::FORMERR;
        assert!(good(&bare));
    }

    #[test]
    fn a_refusal_repeats_the_question_and_says_why() {
        let answer = refusal(QUERY, Some(QUERY.len()), rcode::SERVFAIL);
        assert!(answers(&answer, 0x1234, QUERY, QUERY.len()));
        assert_eq!(rcode(&answer), rcode::SERVFAIL);
        let bare = refusal(&QUERY[..14], None, rcode::FORMERR);
        assert_eq!((bare.len(), bare[5], rcode(&bare)), (HEADER_LEN, 0, rcode::FORMERR));
    }
}
