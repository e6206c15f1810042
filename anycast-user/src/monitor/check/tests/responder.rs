//! A DNS server on loopback that answers in every way an answer can be wrong.

use std::{net::SocketAddr, str::FromStr, time::Duration};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

/// How to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Truthfully.
    Good,
    /// Through a CNAME, its target's record in the same answer.
    GoodThroughCname,
    /// With the question's name in other letters (RFC 4343: the same name).
    GoodInOtherCase,
    WrongId,
    WrongQuestion,
    NoQuestion,
    NotAResponse,
    WrongOpcode,
    ServFail,
    ServFailWithoutQuestion,
    NxDomain,
    Truncated,
    NoRecords,
    OtherType,
    OtherName,
    CnameOnly,
    CnameLoop,
    Garbage,
    /// UDP: from another port. TCP: nothing.
    FromElsewhere,
    Nothing,
    /// TCP: the length, half of the message, and the end. UDP: half of the message.
    Half,
    /// UDP: something wrong, then the good answer.
    WrongIdThenGood,
}

/// A server that lives as long as this value.
pub struct Responder {
    pub address: SocketAddr,
    tasks: JoinSet<()>,
}

impl Responder {
    /// Serves UDP and TCP on one port of `::1`.
    pub async fn start(udp: Answer, tcp: Answer) -> Self {
        let (socket, listener) = bind().await;
        let address = socket.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(socket, udp));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve_tcp(stream, tcp));
            }
        });
        Self { address, tasks }
    }

    /// Serves UDP only; TCP is refused.
    pub async fn start_udp_only() -> Self {
        let (socket, listener) = bind().await;
        drop(listener);
        let address = socket.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(socket, Answer::Good));
        Self { address, tasks }
    }

    /// How many of its tasks are alive; keeps the field from being only a guard.
    pub fn is_serving(&self) -> bool {
        !self.tasks.is_empty()
    }
}

/// One port for both transports: another process may have the TCP port that belongs to a free UDP port.
async fn bind() -> (UdpSocket, TcpListener) {
    loop {
        let socket = UdpSocket::bind("[::1]:0").await.unwrap();
        if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()).await {
            return (socket, listener);
        }
    }
}

async fn serve_udp(socket: UdpSocket, answer: Answer) {
    let elsewhere = UdpSocket::bind("[::1]:0").await.unwrap();
    let mut buffer = [0; 4096];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        let query = Message::from_vec(&buffer[..length]).unwrap();
        match answer {
            Answer::Nothing => {}
            Answer::FromElsewhere => {
                let _ = elsewhere.send_to(&encode(&query, Answer::Good), client).await;
            }
            Answer::WrongIdThenGood => {
                let _ = socket.send_to(&encode(&query, Answer::WrongId), client).await;
                let _ = socket.send_to(&encode(&query, Answer::Garbage), client).await;
                let _ = socket.send_to(&encode(&query, Answer::Good), client).await;
            }
            Answer::Half => {
                let bytes = encode(&query, Answer::Good);
                let _ = socket.send_to(&bytes[..bytes.len() / 2], client).await;
            }
            answer => {
                let _ = socket.send_to(&encode(&query, answer), client).await;
            }
        }
    }
}

async fn serve_tcp(mut stream: TcpStream, answer: Answer) {
    let Ok(length) = stream.read_u16().await else { return };
    let mut bytes = vec![0; usize::from(length)];
    if stream.read_exact(&mut bytes).await.is_err() {
        return;
    }
    let query = Message::from_vec(&bytes).unwrap();
    if matches!(answer, Answer::Nothing | Answer::FromElsewhere) {
        // Keep the connection open, silently, until the client gives up.
        let _ = stream.read_u8().await;
        return;
    }
    let bytes = encode(&query, answer);
    let _ = stream.write_u16(u16::try_from(bytes.len()).unwrap()).await;
    let sent = if answer == Answer::Half { &bytes[..bytes.len() / 2] } else { &bytes[..] };
    let _ = stream.write_all(sent).await;
}

fn encode(query: &Message, answer: Answer) -> Vec<u8> {
    if answer == Answer::Garbage {
        return vec![0xa5; 40];
    }
    let question = query.queries[0].clone();
    let mut reply = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    reply.add_query(question.clone());
    let soa = |name: &Name| Record::from_rdata(name.clone(), 60, RData::SOA(soa()));
    let alias = Name::from_str("alias.example.").unwrap();
    let cname =
        |name: &Name, to: &Name| Record::from_rdata(name.clone(), 60, RData::CNAME(rdata::CNAME(to.clone())));
    match answer {
        Answer::Good | Answer::Half => {
            reply.add_answer(soa(&question.name));
        }
        Answer::GoodThroughCname => {
            // The order in an answer section means nothing.
            reply.add_answer(soa(&alias)).add_answer(cname(&question.name, &alias));
        }
        Answer::GoodInOtherCase => {
            let name = Name::from_ascii(question.name.to_ascii().to_ascii_uppercase()).unwrap();
            reply.queries[0].set_name(name.clone());
            reply.add_answer(soa(&name));
        }
        Answer::WrongId => {
            reply.metadata.id = query.metadata.id.wrapping_add(1);
            reply.add_answer(soa(&question.name));
        }
        Answer::WrongQuestion => {
            reply.queries = vec![Query::query(alias.clone(), RecordType::SOA)];
            reply.add_answer(soa(&alias));
        }
        Answer::NoQuestion => {
            reply.queries.clear();
            reply.add_answer(soa(&question.name));
        }
        Answer::NotAResponse => {
            reply.metadata.message_type = MessageType::Query;
            reply.add_answer(soa(&question.name));
        }
        Answer::WrongOpcode => {
            reply.metadata.op_code = OpCode::Notify;
            reply.add_answer(soa(&question.name));
        }
        Answer::ServFail => reply.metadata.response_code = ResponseCode::ServFail,
        Answer::ServFailWithoutQuestion => {
            reply.queries.clear();
            reply.metadata.response_code = ResponseCode::ServFail;
        }
        Answer::NxDomain => reply.metadata.response_code = ResponseCode::NXDomain,
        Answer::Truncated => {
            reply.metadata.truncation = true;
            reply.add_answer(soa(&question.name));
        }
        Answer::NoRecords => {
            reply.add_authority(soa(&question.name));
        }
        Answer::OtherType => {
            let text = rdata::TXT::new(vec!["not a start of authority".to_owned()]);
            reply.add_answer(Record::from_rdata(question.name.clone(), 60, RData::TXT(text)));
        }
        Answer::OtherName => {
            reply.add_answer(soa(&alias));
        }
        Answer::CnameOnly => {
            reply.add_answer(cname(&question.name, &alias));
        }
        Answer::CnameLoop => {
            reply.add_answer(cname(&question.name, &alias)).add_answer(cname(&alias, &question.name));
        }
        Answer::Garbage | Answer::FromElsewhere | Answer::Nothing | Answer::WrongIdThenGood => {
            unreachable!("{answer:?} is not a message")
        }
    }
    reply.to_vec().unwrap()
}

fn soa() -> rdata::SOA {
    let name = |text| Name::from_str(text).unwrap();
    let day = i32::try_from(Duration::from_secs(86_400).as_secs()).unwrap();
    rdata::SOA::new(name("ns.example."), name("hostmaster.example."), 1, day, day, day, 60)
}
