//! The forwarder: retries elsewhere, in time, and only when it must.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anycast_tests::lab::dns::{Query, Response, kind};
use anycast_tests::lab::registrar::own_address;
use anycast_tests::lab::{Child, anycast_binary};
use anycast_user::pool::PoolUser;
use anycast_user::pool::element::PoolElement;
use anycast_user::pool::forward::{Forward, ForwardOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use crate::support::{ANY, PATIENCE, Registrar, Server, run, until};
use crate::user::{element, options};

/// Servers, their elements, a registrar and a forwarder.
struct Rig {
    servers: Vec<Option<Server>>,
    elements: Vec<PoolElement>,
    user: PoolUser,
    forward: SocketAddr,
    task: JoinHandle<()>,
    _registrar: Registrar,
}

impl Rig {
    async fn new(names: &[&'static str], patience: Duration) -> Self {
        let registrar = Registrar::start(None, "").unwrap();
        let (mut servers, mut elements) = (Vec::new(), Vec::new());
        for (number, name) in names.iter().enumerate() {
            let server = Server::start(name).await;
            elements.push(element(&[&registrar], number as u32 + 1, server.address));
            servers.push(Some(server));
        }
        let user = PoolUser::connect(options(&[&registrar]));
        let forward_options = ForwardOptions { patience, ..ForwardOptions::new(vec![ANY], "dns") };
        let forward = Forward::bind(user.clone(), &forward_options).await.unwrap();
        let address = forward.addresses().unwrap()[0];
        let task = tokio::spawn(forward.run());
        if !names.is_empty() {
            until("all elements are known", || {
                user.snapshot(&"dns".into()).is_some_and(|pool| pool.elements.len() == names.len())
            })
            .await;
        }
        Self { servers, elements, user, forward: address, task, _registrar: registrar }
    }

    /// Asks by UDP; the name of the server that answered, or the response code.
    async fn ask(&self, id: u16) -> Result<String, u8> {
        let socket = UdpSocket::bind(ANY).await.unwrap();
        socket.connect(self.forward).await.unwrap();
        socket.send(&Query::new(id, "one.whoami.example.", kind::TXT).unwrap().emit()).await.unwrap();
        let mut buffer = [0; 4096];
        let length = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
        said(id, &buffer[..length])
    }

    async fn ask_tcp(&self, id: u16) -> Result<String, u8> {
        let mut stream = TcpStream::connect(self.forward).await.unwrap();
        let query = Query::new(id, "one.whoami.example.", kind::TXT).unwrap().emit();
        let length = u16::try_from(query.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length[..], &query].concat()).await.unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).await.unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).await.unwrap();
        said(id, &answer)
    }

    /// Queries that each server got.
    fn queries(&self) -> Vec<u64> {
        let count = |server: &Option<Server>| {
            server.as_ref().map_or(0, |server| server.queries.load(Ordering::Relaxed))
        };
        self.servers.iter().map(count).collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.task.abort();
        self.elements.clear();
    }
}

fn said(id: u16, answer: &[u8]) -> Result<String, u8> {
    assert_eq!(answer[..2], id.to_be_bytes(), "the client's identifier");
    let code = answer[3] & 0x0f;
    if code != 0 {
        return Err(code);
    }
    Ok(Response::parse(answer).unwrap().text.unwrap())
}

#[test]
fn queries_are_shared_and_answered_by_udp_and_tcp() {
    run(async {
        let rig = Rig::new(&["one", "two"], PATIENCE).await;
        for id in 0..20 {
            rig.ask(id).await.unwrap();
            rig.ask_tcp(id).await.unwrap();
        }
        let queries = rig.queries();
        assert!(queries.iter().all(|count| *count > 5), "{queries:?}");
    });
}

#[test]
fn a_silent_server_is_left_for_another_and_reported() {
    run(async {
        let rig = Rig::new(&["one", "two"], PATIENCE).await;
        rig.servers[0].as_ref().unwrap().silence(true);
        for id in 0..20 {
            assert_eq!(rig.ask(id).await.as_deref(), Ok("two"));
        }
        for id in 20..24 {
            assert_eq!(rig.ask_tcp(id).await.as_deref(), Ok("two"));
        }
        let failed = |rig: &Rig| {
            let pool = rig.user.snapshot(&"dns".into()).unwrap();
            pool.elements.iter().find(|element| element.id.0 == 1).unwrap().used.2
        };
        assert!(failed(&rig) > 0);
        // It is not asked each time: the vector holds it back.
        assert!(rig.queries()[0] < 12, "{:?}", rig.queries());
        // The control: without its elsewhere, the query ends in SERVFAIL, not in silence.
        let alone = Rig::new(&["one"], Duration::from_millis(200)).await;
        assert_eq!(alone.ask(1).await.as_deref(), Ok("one"));
        alone.servers[0].as_ref().unwrap().silence(true);
        assert_eq!(alone.ask(2).await, Err(2));
        assert_eq!(alone.ask_tcp(3).await, Err(2));
    });
}

#[test]
fn a_closed_port_is_left_for_another_at_once() {
    run(async {
        let mut rig = Rig::new(&["one", "two"], PATIENCE).await;
        rig.servers[0] = None;
        for id in 0..10 {
            assert_eq!(rig.ask(id).await.as_deref(), Ok("two"));
            assert_eq!(rig.ask_tcp(id).await.as_deref(), Ok("two"));
        }
    });
}

#[test]
fn without_elements_and_for_nonsense_there_is_an_answer_too() {
    run(async {
        let rig = Rig::new(&[], PATIENCE).await;
        assert_eq!(rig.ask(7).await, Err(2));
        let socket = UdpSocket::bind(ANY).await.unwrap();
        socket.connect(rig.forward).await.unwrap();
        let mut notify = Query::new(8, "example.", kind::SOA).unwrap().emit();
        notify[2] |= 0x20;
        // Not even a header: there is nobody to answer.
        socket.send(&[1, 2, 3]).await.unwrap();
        socket.send(&notify).await.unwrap();
        let mut buffer = [0; 512];
        let length = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(said(8, &buffer[..length]), Err(4));
    });
}

#[test]
fn the_command_forwards_and_serves_its_metrics() {
    run(async {
        let registrar = Registrar::start(None, "").unwrap();
        let server = Server::start("one").await;
        let _element = element(&[&registrar], 1, server.address);
        let (listen, metrics) = (own_address(), own_address());
        let directory = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new(anycast_binary().unwrap());
        command.args(["pool", "forward", "--pool", "dns", "--listen", &listen.to_string()]);
        command.args(["--registrar", &registrar.address.to_string(), "--metrics", &metrics.to_string()]);
        let log = directory.path().join("forward.log");
        let mut forward = Child::spawn("anycast pool forward", command, &log).unwrap();
        until("it knows the pool", || forward.log().contains("forwarding pool=")).await;

        let socket = UdpSocket::bind(ANY).await.unwrap();
        socket.connect(listen).await.unwrap();
        for id in 1..=3 {
            socket.send(&Query::new(id, "one.whoami.example.", kind::TXT).unwrap().emit()).await.unwrap();
            let mut buffer = [0; 4096];
            let length = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
            assert_eq!(said(id, &buffer[..length]), Ok("one".to_owned()));
        }
        let mut stream = TcpStream::connect(metrics).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let answered = "anycast_pool_forward_queries_total{pool=\"dns\",outcome=\"answered\"} 3";
        assert!(text.starts_with("HTTP/1.1 200") && text.contains(answered), "{text}");

        assert!(forward.terminate(PATIENCE).unwrap().success());
        assert!(forward.log().contains("stopped by SIGTERM: 3 answered"), "{}", forward.log());
    });
}
