//! Checks against real sockets and processes on loopback.

mod exec;
mod responder;

use std::{
    net::{Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{net::TcpListener, sync::mpsc, time::timeout};

use super::*;
use responder::{Answer, Responder};

/// Much longer than anything here takes: a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for every answer that comes.
const LONG: Duration = Duration::from_secs(10);
/// For answers that never come.
const SHORT: Duration = Duration::from_millis(60);

fn options(kind: CheckKind, timeout: Duration) -> CheckOptions {
    CheckOptions { interval: Duration::from_secs(3600), timeout, kind, service_addresses: Vec::new() }
}

fn soa_check(server: SocketAddr) -> DnsCheck {
    DnsCheck::new(server, "health.example", "SOA").unwrap()
}

async fn ask(
    udp: Answer,
    tcp: Answer,
    use_udp: bool,
    use_tcp: bool,
    timeout: Duration,
) -> Result<(), String> {
    let server = Responder::start(udp, tcp).await;
    let check = soa_check(server.address).with_transports(use_udp, use_tcp).unwrap();
    let result = run_once(&options(CheckKind::Dns(check), timeout)).await;
    assert!(server.is_serving());
    result.map(drop).map_err(|error| error.to_string().replace(&server.address.to_string(), "SERVER"))
}

#[tokio::test]
async fn a_good_answer_over_both_transports_is_good() {
    for answer in [Answer::Good, Answer::GoodThroughCname, Answer::GoodInOtherCase] {
        assert_eq!(ask(answer, answer, true, true, LONG).await, Ok(()), "{answer:?}");
    }
    // A spoofed datagram before it does not spoil it.
    assert_eq!(ask(Answer::WrongIdThenGood, Answer::Good, true, true, LONG).await, Ok(()));
}

/// Each row is wrong in one way; the same server with `Good` instead is the control above.
#[tokio::test]
async fn every_wrong_answer_over_udp_fails_and_says_why() {
    let rows = [
        (Answer::ServFail, LONG, "UDP SERVER answered health.example. SOA with SERVFAIL"),
        (Answer::ServFailWithoutQuestion, LONG, "UDP SERVER answered health.example. SOA with SERVFAIL"),
        (Answer::NxDomain, LONG, "UDP SERVER answered health.example. SOA with NXDOMAIN"),
        (Answer::Truncated, LONG, "UDP SERVER: the answer is truncated (TC=1)"),
        (
            Answer::NoRecords,
            LONG,
            "UDP SERVER: NOERROR, but no SOA record at health.example. among 0 answer record(s)",
        ),
        (Answer::OtherType, LONG, "among 1 answer record(s)"),
        (Answer::OtherName, LONG, "among 1 answer record(s)"),
        (Answer::CnameOnly, LONG, "among 1 answer record(s)"),
        (Answer::CnameLoop, LONG, "among 2 answer record(s)"),
        (
            Answer::WrongId,
            SHORT,
            "timed out after 60ms waiting for UDP answer from SERVER; ignored an answer with id",
        ),
        (Answer::WrongQuestion, SHORT, "ignored an answer to another question"),
        (Answer::NoQuestion, SHORT, "ignored an answer without the question"),
        (Answer::NotAResponse, SHORT, "ignored a query (QR=0)"),
        (Answer::WrongOpcode, SHORT, "ignored an answer with opcode Notify"),
        (Answer::Garbage, SHORT, "ignored 40 bytes that are not"),
        (Answer::Half, SHORT, "bytes that are not a DNS message"),
    ];
    for (answer, timeout, expected) in rows {
        let error = ask(answer, Answer::Good, true, true, timeout).await.unwrap_err();
        assert!(error.contains(expected), "{answer:?}: {error}");
    }
    for answer in [Answer::FromElsewhere, Answer::Nothing] {
        let error = ask(answer, Answer::Good, true, true, SHORT).await.unwrap_err();
        assert_eq!(error, "timed out after 60ms waiting for UDP answer from SERVER", "{answer:?}");
    }
}

#[tokio::test]
async fn every_wrong_answer_over_tcp_fails_and_says_why() {
    let rows = [
        (Answer::ServFail, LONG, "TCP SERVER answered health.example. SOA with SERVFAIL"),
        (Answer::Truncated, LONG, "TCP SERVER: the answer is truncated (TC=1)"),
        (Answer::NoRecords, LONG, "TCP SERVER: NOERROR, but no SOA record"),
        (Answer::WrongId, LONG, "TCP SERVER: an answer with id"),
        (Answer::WrongQuestion, LONG, "TCP SERVER: an answer to another question"),
        (Answer::NotAResponse, LONG, "TCP SERVER: a query (QR=0)"),
        (Answer::Garbage, LONG, "TCP SERVER: 40 bytes that are not"),
        (Answer::Half, LONG, "TCP SERVER: closed the connection before its answer was complete"),
        (Answer::Nothing, SHORT, "timed out after 60ms waiting for TCP answer from SERVER"),
    ];
    for (answer, timeout, expected) in rows {
        let error = ask(Answer::Good, answer, true, true, timeout).await.unwrap_err();
        assert!(error.contains(expected), "{answer:?}: {error}");
    }
}

#[tokio::test]
async fn only_the_chosen_transports_are_asked() {
    assert_eq!(ask(Answer::Good, Answer::ServFail, true, false, LONG).await, Ok(()));
    assert_eq!(ask(Answer::ServFail, Answer::Good, false, true, LONG).await, Ok(()));
    assert!(ask(Answer::Good, Answer::ServFail, false, true, LONG).await.is_err());
    assert!(ask(Answer::ServFail, Answer::Good, true, false, LONG).await.is_err());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_refused_at_once() {
    let server = Responder::start_udp_only().await;
    let check = CheckKind::Dns(soa_check(server.address));
    let error = run_once(&options(check, LONG)).await.unwrap_err();
    assert!(matches!(error, CheckError::Refused { transport: "TCP", .. }), "{error}");

    let address = server.address;
    drop(server);
    let check = CheckKind::Dns(soa_check(address).with_transports(true, false).unwrap());
    // The closed socket goes away when the runtime gets to it: until then the query is lost, and times out.
    let refused = async {
        loop {
            match run_once(&options(check.clone(), SHORT)).await {
                Err(CheckError::Refused { transport: "UDP", .. }) => return,
                Err(CheckError::TimedOut { .. }) | Ok(_) => {}
                Err(other) => panic!("{other}"),
            }
        }
    };
    timeout(PATIENCE, refused).await.unwrap();
}

#[tokio::test]
async fn ids_are_not_the_same_every_time() {
    let socket = tokio::net::UdpSocket::bind("[::1]:0").await.unwrap();
    let check = soa_check(socket.local_addr().unwrap()).with_transports(true, false).unwrap();
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let run = options(CheckKind::Dns(check.clone()), Duration::from_millis(5));
        run_once(&run).await.unwrap_err();
        let mut buffer = [0; 512];
        let (_, client) = socket.recv_from(&mut buffer).await.unwrap();
        assert_eq!(client.ip(), Ipv6Addr::LOCALHOST, "the source is not loopback");
        ids.insert([buffer[0], buffer[1]]);
    }
    // Eight equal ids of 65,536 by chance: never.
    assert!(ids.len() > 1, "{ids:?}");
}

#[test]
fn questions_that_cannot_be_asked_are_refused() {
    let server = SocketAddr::from((Ipv6Addr::LOCALHOST, 53));
    let refused = |name: &str, record_type: &str| DnsCheck::new(server, name, record_type).unwrap_err();
    assert!(matches!(refused("", "SOA"), QuestionError::Name { .. }));
    assert!(matches!(refused("a..b", "SOA"), QuestionError::Name { .. }));
    assert!(matches!(refused(&"a".repeat(64), "SOA"), QuestionError::Name { .. }));
    assert!(matches!(refused("example.", "SOAP"), QuestionError::UnknownType { .. }));
    assert!(matches!(refused("example.", "ANY"), QuestionError::MetaType { .. }));
    assert!(matches!(refused("example.", "AXFR"), QuestionError::MetaType { .. }));
    let check = DnsCheck::new(server, ".", "soa").unwrap();
    assert_eq!(check.to_string(), ". SOA at [::1]:53");
    assert_eq!(check.with_transports(false, false).unwrap_err(), QuestionError::NoTransport);
    // The final dot makes no difference.
    assert_eq!(DnsCheck::new(server, "example", "A"), DnsCheck::new(server, "example.", "a"));
}

#[tokio::test]
async fn a_tcp_check_opens_a_connection() {
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    run_once(&options(CheckKind::Tcp { address }, LONG)).await.unwrap();
    drop(listener);
    let error = run_once(&options(CheckKind::Tcp { address }, LONG)).await.unwrap_err();
    assert_eq!(error.to_string(), format!("TCP {address}: connection refused: nothing listens there"));
}

#[tokio::test]
async fn a_service_address_may_also_be_an_ipv4_loopback_address() {
    let listener = TcpListener::bind("127.0.0.53:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut options = options(CheckKind::Tcp { address }, LONG);
    options.service_addresses = vec![address.ip()];
    let (checked, accepted) = tokio::join!(run_once(&options), listener.accept());
    checked.unwrap();
    assert_eq!(accepted.unwrap().1.ip().to_string(), "127.0.0.1");
}

#[test]
fn what_was_late_is_a_failure() {
    let timeout = Duration::from_millis(300);
    assert_eq!(in_time(timeout, timeout).unwrap(), timeout);
    let error = in_time(Duration::from_millis(301), timeout).unwrap_err();
    assert_eq!(error.to_string(), "took 301ms, longer than the timeout of 300ms");
}

#[tokio::test]
async fn the_first_run_is_at_once_and_others_on_demand() {
    let server = Responder::start(Answer::Good, Answer::Good).await;
    let (sender, mut reports) = mpsc::channel(1);
    // An interval of an hour: only the first run and those asked for come.
    let check = spawn(CheckId(7), options(CheckKind::Dns(soa_check(server.address)), LONG), sender);
    for _ in 0..3 {
        let report = timeout(PATIENCE, reports.recv()).await.unwrap().unwrap();
        assert_eq!(report.id, CheckId(7));
        report.outcome.unwrap();
        assert!(reports.try_recv().is_err(), "a run that nobody asked for");
        check.run_now();
    }
}

#[tokio::test]
async fn runs_repeat_and_never_overlap() {
    let socket = tokio::net::UdpSocket::bind("[::1]:0").await.unwrap();
    let check = soa_check(socket.local_addr().unwrap()).with_transports(true, false).unwrap();
    let (sender, mut reports) = mpsc::channel(1);
    // The timeout is many intervals long, and the server silent.
    let mut options = options(CheckKind::Dns(check), SHORT);
    options.interval = Duration::from_millis(1);
    let check = spawn(CheckId(0), options, sender);
    for _ in 0..3 {
        let report = timeout(PATIENCE, reports.recv()).await.unwrap().unwrap();
        assert!(matches!(report.outcome, Err(CheckError::TimedOut { .. })));
    }
    drop(check);
    let mut queries = 0;
    while socket.try_recv(&mut [0; 512]).is_ok() {
        queries += 1;
    }
    // Three reported runs, at most one whose report waited for room and one under way.
    assert!((3..=5).contains(&queries), "{queries} queries in three runs");
}

#[tokio::test]
async fn a_check_ends_with_its_handle_and_with_its_listener() {
    let server = Responder::start(Answer::Nothing, Answer::Nothing).await;
    let kind = CheckKind::Dns(soa_check(server.address));
    let (sender, mut reports) = mpsc::channel(1);
    let check = spawn(CheckId(0), options(kind.clone(), LONG), sender);
    tokio::task::yield_now().await;
    drop(check);
    // The task's sender is dropped without a report.
    assert!(timeout(PATIENCE, reports.recv()).await.unwrap().is_none());

    let (sender, reports) = mpsc::channel(1);
    let check = spawn(CheckId(0), options(kind, Duration::from_millis(1)), sender);
    assert!(!check.is_finished());
    drop(reports);
    let finished = async {
        while !check.is_finished() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, finished).await.unwrap();
}
