//! The `dns` check: a real query over UDP and over TCP, its answer validated.
//!
//! What an answer must be (RFC 1035 4.1, RFC 5452 9.1): from the address asked; decodable; our random id; a response
//! (QR=1) to a standard query with our question in it; not truncated; NOERROR; and with a record of the type asked for
//! at the name asked for, or at the end of a CNAME chain from it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RData, RecordType},
};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{CheckError, Deadline, source};

/// A question for a DNS server, and how to ask it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsCheck {
    server: SocketAddr,
    name: Name,
    record_type: RecordType,
    udp: bool,
    tcp: bool,
}

/// Why a name or a type cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum QuestionError {
    /// Not a domain name.
    #[error("`{name}` is not a domain name: {reason}")]
    Name {
        /// The text.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Not a record type.
    #[error("`{record_type}` is not a DNS record type: use its mnemonic, such as SOA, AAAA or TXT")]
    UnknownType {
        /// The text.
        record_type: String,
    },
    /// A type that stands for no record, or for a transfer.
    #[error("`{record_type}` cannot be asked for in a check: no answer carries a record of this type")]
    MetaType {
        /// The text.
        record_type: String,
    },
    /// Neither transport.
    #[error("a DNS check needs at least one transport: udp or tcp")]
    NoTransport,
}

impl DnsCheck {
    /// Asks `server` for the records of `record_type` at `name` in class IN, over UDP and over TCP; both must answer.
    ///
    /// `name` is absolute, with or without the final dot; `record_type` is the mnemonic (`"SOA"`).
    ///
    /// # Errors
    /// If `name` is no domain name or `record_type` no type of record.
    pub fn new(server: SocketAddr, name: &str, record_type: &str) -> Result<Self, QuestionError> {
        let mut parsed_name = Name::from_str_relaxed(name)
            .map_err(|error| QuestionError::Name { name: name.to_owned(), reason: error.to_string() })?;
        if name.is_empty() {
            return Err(QuestionError::Name {
                name: String::new(),
                reason: "empty (the root is `.`)".to_owned(),
            });
        }
        parsed_name.set_fqdn(true);
        let mnemonic = record_type.to_ascii_uppercase();
        let parsed_type: RecordType = mnemonic
            .parse()
            .map_err(|_| QuestionError::UnknownType { record_type: record_type.to_owned() })?;
        if is_meta(parsed_type) {
            return Err(QuestionError::MetaType { record_type: record_type.to_owned() });
        }
        Ok(Self { server, name: parsed_name, record_type: parsed_type, udp: true, tcp: true })
    }

    /// Asks only over the transports that are `true`.
    ///
    /// # Errors
    /// If neither is.
    pub fn with_transports(mut self, udp: bool, tcp: bool) -> Result<Self, QuestionError> {
        if !udp && !tcp {
            return Err(QuestionError::NoTransport);
        }
        (self.udp, self.tcp) = (udp, tcp);
        Ok(self)
    }

    /// The server that is asked.
    pub fn server(&self) -> SocketAddr {
        self.server
    }
}

impl fmt::Display for DnsCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}", self.name, self.record_type, self.server)
    }
}

/// Types that no record in an answer section has (RFC 6895 3.1: meta and question types).
fn is_meta(record_type: RecordType) -> bool {
    matches!(
        record_type,
        RecordType::ANY
            | RecordType::AXFR
            | RecordType::IXFR
            | RecordType::OPT
            | RecordType::TSIG
            | RecordType::ZERO
            | RecordType::Unknown(_)
    )
}

/// Asks over every configured transport at the same time.
pub(super) async fn run(
    check: &DnsCheck,
    service_addresses: &[IpAddr],
    deadline: Deadline,
) -> Result<(), CheckError> {
    let udp =
        async { if check.udp { ask_over_udp(check, service_addresses, deadline).await } else { Ok(()) } };
    let tcp =
        async { if check.tcp { ask_over_tcp(check, service_addresses, deadline).await } else { Ok(()) } };
    // The first failure decides: the other transport cannot make it good again.
    tokio::try_join!(udp, tcp).map(|((), ())| ())
}

async fn ask_over_udp(
    check: &DnsCheck,
    service_addresses: &[IpAddr],
    deadline: Deadline,
) -> Result<(), CheckError> {
    let query = query(check);
    let socket = source::connect_udp(check.server, service_addresses).await?;
    let bytes = encode(&query, "UDP", check.server)?;
    socket.send(&bytes).await.map_err(|error| source::failed_connect("UDP", check.server, error))?;

    let mut ignored = Ignored::default();
    let mut buffer = vec![0; usize::from(u16::MAX)];
    let answer = async {
        loop {
            let length = socket
                .recv(&mut buffer)
                .await
                .map_err(|error| source::failed_connect("UDP", check.server, error))?;
            // Whoever guesses our port can send anything (RFC 5452): what is not an answer to this query is not an
            // answer, and the real one may still come.
            match correlate(&query, &buffer[..length]) {
                Ok(answer) => return Ok(answer),
                Err(reason) => ignored.note(reason),
            }
        }
    };
    let result = tokio::time::timeout_at(deadline.at, answer).await;
    match result {
        Ok(answer) => judge(&query, &answer?, "UDP", check.server),
        Err(_elapsed) => Err(CheckError::TimedOut {
            timeout: deadline.timeout,
            waiting_for: format!("UDP answer from {}{ignored}", check.server),
        }),
    }
}

async fn ask_over_tcp(
    check: &DnsCheck,
    service_addresses: &[IpAddr],
    deadline: Deadline,
) -> Result<(), CheckError> {
    let server = check.server;
    let query = query(check);
    let connect = source::connect_tcp(server, service_addresses);
    let mut stream = deadline.limit(|| format!("a TCP connection to {server}"), connect).await?;
    let exchange = async {
        let message = encode(&query, "TCP", server)?;
        // RFC 7766 8: length and message in one segment.
        let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
        let framed = [&length.to_be_bytes()[..], &message].concat();
        stream.write_all(&framed).await.map_err(CheckError::io(format!("send a query to TCP {server}")))?;

        let truncated = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                bad("TCP", server, "closed the connection before its answer was complete")
            }
            _ => CheckError::Io { operation: format!("receive an answer from TCP {server}"), source: error },
        };
        let length = stream.read_u16().await.map_err(truncated)?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await.map_err(truncated)?;
        Ok(answer)
    };
    let answer = deadline.limit(|| format!("TCP answer from {server}"), exchange).await?;
    // The connection is ours alone: what comes through it is the server's answer, right or wrong.
    let answer = correlate(&query, &answer).map_err(|reason| bad("TCP", server, reason))?;
    judge(&query, &answer, "TCP", server)
}

/// The payload size that avoids fragments on every link (RFC 9715; DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1232;

/// A query with a random id. Recursion is desired, or a resolver would answer only from its cache; an authoritative
/// server does not mind.
fn query(check: &DnsCheck) -> Message {
    let mut question = Query::query(check.name.clone(), check.record_type);
    question.set_query_class(DNSClass::IN);
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD);
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(question);
    query.set_edns(edns);
    query
}

fn encode(query: &Message, transport: &'static str, server: SocketAddr) -> Result<Vec<u8>, CheckError> {
    query.to_vec().map_err(|error| CheckError::Io {
        operation: format!("encode the query for {transport} {server}"),
        source: std::io::Error::other(error.to_string()),
    })
}

/// Decodes `bytes` if it is an answer to `query`, whatever it says; otherwise tells why it is not.
fn correlate(query: &Message, bytes: &[u8]) -> Result<Message, String> {
    let answer = Message::from_vec(bytes)
        .map_err(|error| format!("{} bytes that are not a DNS message ({error})", bytes.len()))?;
    let (asked, got) = (query.metadata.id, answer.metadata.id);
    if got != asked {
        return Err(format!("an answer with id {got:#06x} where {asked:#06x} was asked"));
    }
    if answer.metadata.message_type != MessageType::Response {
        return Err("a query (QR=0) where an answer was due".to_owned());
    }
    if answer.metadata.op_code != OpCode::Query {
        return Err(format!("an answer with opcode {:?} to a standard query", answer.metadata.op_code));
    }
    if answer.queries != query.queries {
        // An error may come without the question (RFC 1035 7.3 leaves it to the server): its code is what matters.
        let without = answer.queries.is_empty() && answer.metadata.response_code != ResponseCode::NoError;
        if !without {
            return Err(match answer.queries.first() {
                Some(other) => format!("an answer to another question: {other}"),
                None => "an answer without the question".to_owned(),
            });
        }
    }
    Ok(answer)
}

/// Whether an answer to the query is a good one.
fn judge(
    query: &Message,
    answer: &Message,
    transport: &'static str,
    server: SocketAddr,
) -> Result<(), CheckError> {
    let Some(question) = query.queries.first() else {
        return Err(bad(transport, server, "was asked nothing"));
    };
    if answer.metadata.response_code != ResponseCode::NoError {
        return Err(CheckError::ResponseCode {
            transport,
            server,
            name: question.name.to_string(),
            record_type: question.query_type.to_string(),
            code: answer.metadata.response_code,
        });
    }
    if answer.metadata.truncation {
        return Err(bad(transport, server, "the answer is truncated (TC=1)"));
    }
    let in_answer = |name: &Name, record_type: RecordType| {
        answer.answers.iter().find(|record| {
            record.name == *name && record.dns_class == DNSClass::IN && record.record_type() == record_type
        })
    };
    let mut name = question.name.clone();
    // A chain cannot be longer than the answer has records; this also ends a loop.
    for _ in 0..=answer.answers.len() {
        if in_answer(&name, question.query_type).is_some() {
            return Ok(());
        }
        match in_answer(&name, RecordType::CNAME).map(|record| &record.data) {
            Some(RData::CNAME(target)) => name = target.0.clone(),
            _ => break,
        }
    }
    let reason = format!(
        "NOERROR, but no {} record at {} among {} answer record(s)",
        question.query_type,
        question.name,
        answer.answers.len()
    );
    Err(bad(transport, server, reason))
}

fn bad(transport: &'static str, server: SocketAddr, reason: impl Into<String>) -> CheckError {
    CheckError::BadAnswer { transport, server, reason: reason.into() }
}

/// What arrived and was no answer: shown if none comes.
#[derive(Debug, Default)]
struct Ignored {
    count: u32,
    last: String,
}

impl Ignored {
    fn note(&mut self, reason: String) {
        self.count += 1;
        self.last = reason;
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            0 => Ok(()),
            1 => write!(f, "; ignored {}", self.last),
            count => write!(f, "; ignored {count} datagrams, the last: {}", self.last),
        }
    }
}
