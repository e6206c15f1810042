//! As much of the DNS (RFC 1035) as a small authoritative server and a client that counts need.

use anyhow::{Context as _, Result, ensure};

/// Record types (RFC 1035 3.2.2, RFC 3596 2.1, RFC 6891 6.1.1).
pub mod kind {
    #![expect(missing_docs, reason = "the names are the types' own")]
    pub const A: u16 = 1;
    pub const SOA: u16 = 6;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const OPT: u16 = 41;
    pub const ANY: u16 = 255;
}

/// Class IN (RFC 1035 3.2.4).
pub const CLASS_IN: u16 = 1;
/// Class CH, in which servers tell who they are (RFC 4892).
pub const CLASS_CH: u16 = 3;

/// Response codes (RFC 1035 4.1.1).
pub mod rcode {
    #![expect(missing_docs, reason = "the names are the codes' own")]
    pub const NOERROR: u8 = 0;
    pub const FORMERR: u8 = 1;
    pub const NOTIMP: u8 = 4;
    pub const REFUSED: u8 = 5;
}

/// Parts of the header (RFC 1035 4.1.1).
mod header {
    use core::ops::Range;
    pub const ID: Range<usize> = 0..2;
    pub const FLAGS: Range<usize> = 2..4;
    pub const QUESTIONS: Range<usize> = 4..6;
    pub const ANSWERS: Range<usize> = 6..8;
    pub const ADDITIONAL: Range<usize> = 10..12;
    pub const LENGTH: usize = 12;
    pub const QR: u16 = 0x8000;
    pub const OPCODE: u16 = 0x7800;
    pub const AA: u16 = 0x0400;
    pub const RD: u16 = 0x0100;
    pub const RCODE: u16 = 0x000f;
}

/// A pointer to the question's name (RFC 1035 4.1.4).
const NAME_OF_QUESTION: [u8; 2] = [0xc0, header::LENGTH as u8];

/// Seconds an answer may be kept; 0, so that every query comes to a server.
const TTL: u32 = 0;

/// A query with one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The querier's number.
    pub id: u16,
    /// The name as text with a final dot, in lower case; bytes that are no letters, digits, `-` or `_` as `?`.
    pub name: String,
    /// The name as it came.
    pub wire_name: Vec<u8>,
    /// The type asked for.
    pub kind: u16,
    /// The class asked for.
    pub class: u16,
    /// Opcode; 0 = QUERY.
    pub opcode: u8,
    /// RD, which a response repeats.
    pub recursion_desired: bool,
    /// Whether the querier speaks EDNS (RFC 6891), so that the response must too.
    pub edns: bool,
}

impl Query {
    /// A query in class IN.
    ///
    /// # Errors
    /// A label is empty or longer than 63 bytes.
    pub fn new(id: u16, name: &str, kind: u16) -> Result<Self> {
        let wire_name = encode_name(name)?;
        let name = name.to_owned();
        Ok(Self {
            id,
            name,
            wire_name,
            kind,
            class: CLASS_IN,
            opcode: 0,
            recursion_desired: false,
            edns: false,
        })
    }

    /// The message.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = self.id.to_be_bytes().to_vec();
        let flags = if self.recursion_desired { header::RD } else { 0 };
        for field in [flags, 1, 0, 0, 0] {
            bytes.extend(field.to_be_bytes());
        }
        bytes.extend(self.question());
        bytes
    }

    /// Reads a query.
    ///
    /// # Errors
    /// It is no query, is cut short, or has not exactly one question.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let flags = field(bytes, header::FLAGS)?;
        ensure!(flags & header::QR == 0, "a response");
        ensure!(field(bytes, header::QUESTIONS)? == 1, "not one question");
        let (wire_name, rest) = split_name(bytes.get(header::LENGTH..).context("cut short")?)?;
        let additional = field(bytes, header::ADDITIONAL)?;
        Ok(Self {
            id: field(bytes, header::ID)?,
            name: decode_name(wire_name),
            wire_name: wire_name.to_vec(),
            kind: field(rest, 0..2)?,
            class: field(rest, 2..4)?,
            opcode: ((flags & header::OPCODE) >> 11) as u8,
            recursion_desired: flags & header::RD != 0,
            // OPT is the only record a plain query carries: root name, type 41.
            edns: additional > 0
                && rest.get(4) == Some(&0)
                && field(rest, 5..7).is_ok_and(|kind| kind == kind::OPT),
        })
    }

    /// The response to this query with the given records, each type and data, all owned by the question's name.
    pub fn respond(&self, code: u8, answers: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut flags = header::QR | header::AA | u16::from(self.opcode) << 11 | u16::from(code);
        if self.recursion_desired {
            flags |= header::RD;
        }
        let mut bytes = self.id.to_be_bytes().to_vec();
        for field in [flags, 1, answers.len() as u16, 0, u16::from(self.edns)] {
            bytes.extend(field.to_be_bytes());
        }
        bytes.extend(self.question());
        for (kind, data) in answers {
            bytes.extend(NAME_OF_QUESTION);
            bytes.extend(kind.to_be_bytes());
            bytes.extend(self.class.to_be_bytes());
            bytes.extend(TTL.to_be_bytes());
            bytes.extend((data.len() as u16).to_be_bytes());
            bytes.extend(data);
        }
        if self.edns {
            // Root, OPT, payload size 1232, no extended code, version 0, no options.
            bytes.extend([0, 0, kind::OPT as u8, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
        }
        bytes
    }

    fn question(&self) -> Vec<u8> {
        let mut bytes = self.wire_name.clone();
        bytes.extend(self.kind.to_be_bytes());
        bytes.extend(self.class.to_be_bytes());
        bytes
    }
}

/// A response to one of our queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The number of the query.
    pub id: u16,
    /// The name asked for.
    pub name: String,
    /// The response code.
    pub code: u8,
    /// The first string of the first record if that is TXT.
    pub text: Option<String>,
}

impl Response {
    /// Reads a response.
    ///
    /// # Errors
    /// It is no response, or cut short.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let flags = field(bytes, header::FLAGS)?;
        ensure!(flags & header::QR != 0, "a query");
        ensure!(field(bytes, header::QUESTIONS)? == 1, "not one question");
        let (name, rest) = split_name(bytes.get(header::LENGTH..).context("cut short")?)?;
        let mut text = None;
        if field(bytes, header::ANSWERS)? > 0 {
            let record = rest.get(4..).context("cut short")?;
            let (_, record) = split_name(record)?;
            if field(record, 0..2)? == kind::TXT {
                // Type, class, TTL and data length before the data; then a length byte before the string.
                let length = usize::from(*record.get(10).context("cut short")?);
                let string = record.get(11..11 + length).context("cut short")?;
                text = Some(String::from_utf8_lossy(string).into_owned());
            }
        }
        let code = (flags & header::RCODE) as u8;
        Ok(Self { id: field(bytes, header::ID)?, name: decode_name(name), code, text })
    }
}

/// The name in wire format.
///
/// # Errors
/// A label is empty or longer than 63 bytes, or the name longer than 255.
pub fn encode_name(name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for label in name.trim_end_matches('.').split('.').filter(|_| name != ".") {
        ensure!((1..64).contains(&label.len()), "bad label {label:?} in the name {name:?}");
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    ensure!(bytes.len() <= 255, "the name {name:?} is too long");
    Ok(bytes)
}

/// The name at the start, with its end (a zero byte or a pointer), and what follows.
fn split_name(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let mut end = 0;
    loop {
        let length = usize::from(*bytes.get(end).context("cut short in a name")?);
        match length {
            0 => end += 1,
            1..64 => {
                end += 1 + length;
                continue;
            }
            _ => end += 2,
        }
        ensure!(end <= bytes.len(), "cut short in a name");
        return Ok(bytes.split_at(end));
    }
}

fn decode_name(mut wire: &[u8]) -> String {
    let mut name = String::new();
    while let [length @ 1..64, rest @ ..] = wire {
        let (label, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
        name.extend(
            label.iter().map(|byte| if plain(byte) { byte.to_ascii_lowercase() as char } else { '?' }),
        );
        name.push('.');
        wire = rest;
    }
    if name.is_empty() {
        name.push('.');
    }
    name
}

fn field(bytes: &[u8], range: core::ops::Range<usize>) -> Result<u16> {
    let field = bytes.get(range).context("cut short")?;
    Ok(u16::from_be_bytes(field.try_into().context("cut short")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_written() {
        let query = Query::new(0x1234, "Q7.whoami.example.", kind::TXT).unwrap();
        let read = Query::parse(&query.emit()).unwrap();
        assert_eq!(read.name, "q7.whoami.example.");
        assert_eq!((read.id, read.kind, read.class, read.edns), (0x1234, kind::TXT, CLASS_IN, false));
        assert_eq!(Query::parse(&[1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1]).unwrap().name, ".");
    }

    #[test]
    fn a_response_carries_the_text() {
        let query = Query::new(9, "a.example.", kind::TXT).unwrap();
        let bytes = query.respond(rcode::NOERROR, &[(kind::TXT, vec![2, b's', b'1'])]);
        let response = Response::parse(&bytes).unwrap();
        let expected =
            Response { id: 9, name: "a.example.".into(), code: rcode::NOERROR, text: Some("s1".into()) };
        assert_eq!(response, expected);
        assert!(Query::parse(&bytes).is_err());
        assert!(Response::parse(&query.emit()).is_err());
    }

    #[test]
    fn edns_is_seen_and_answered() {
        let mut bytes = Query::new(9, "a.example.", kind::SOA).unwrap().emit();
        bytes[header::ADDITIONAL.end - 1] = 1;
        bytes.extend([0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]);
        let query = Query::parse(&bytes).unwrap();
        assert!(query.edns);
        assert_eq!(query.respond(rcode::REFUSED, &[])[header::ADDITIONAL], [0, 1]);
    }

    #[test]
    fn nothing_cut_short_is_read() {
        let query = Query::new(9, "abc.example.", kind::TXT).unwrap();
        let bytes = query.emit();
        for end in 0..bytes.len() {
            assert!(Query::parse(&bytes[..end]).is_err(), "{end}");
        }
        let bytes = query.respond(rcode::NOERROR, &[(kind::TXT, vec![2, b's', b'1'])]);
        for end in 0..bytes.len() {
            assert!(Response::parse(&bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn bad_names_are_refused() {
        assert!(encode_name("a..b.").is_err());
        assert!(encode_name(&"x".repeat(64)).is_err());
        assert!(encode_name(&"x.".repeat(128)).is_err());
        assert_eq!(encode_name(".").unwrap(), [0]);
    }
}
