//! The embedded DNS service: a small real DNS server that says which server it is.
//!
//! It is authoritative for everything below `example.`: each name there has SOA, A, AAAA and TXT, the TXT being the
//! server's name. `id.server.` and `hostname.bind.` in class CH tell the same (RFC 4892). Any other name is refused. UDP and
//! TCP, IPv6 and IPv4, on the wildcard address, so that it serves a service address that comes after it started; a response
//! leaves from the address that the query was sent to.

use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt, sockopt,
};

use super::child::{Child, lab_binary};
use super::dns::{CLASS_CH, CLASS_IN, Query, Response, encode_name, kind, rcode};
use super::farm::Server;
use super::namespace::Namespace;
use super::wait::wait_until;

/// The name the daemon's check asks for.
pub const HEALTH_NAME: &str = "health.example.";

/// Longest UDP query that is read.
const QUERY_MAX: usize = 4096;

/// How long a TCP connection may be idle.
const TCP_IDLE: Duration = Duration::from_secs(5);

/// A responder running as a process of its own in a server's namespace, so that it can be killed.
#[derive(Debug)]
pub struct DnsResponder {
    child: Child,
    pid_file: PathBuf,
}

impl DnsResponder {
    /// Starts one on port 53 of `server` and waits until it answers.
    ///
    /// # Errors
    /// It did not start; the port may be taken.
    pub fn start(server: &Server) -> Result<Self> {
        let mut command = server.namespace.command(lab_binary()?);
        command.args(["dns-responder", "--name", &server.name]);
        let log = server.directory.join("dns-responder.log");
        let mut child = Child::spawn(&format!("dns-responder of {}", server.name), command, &log)?;
        let address = SocketAddr::from((Ipv6Addr::LOCALHOST, 53));
        wait_until("the DNS responder answers", Duration::from_secs(10), || {
            matches!(child.ended(), Ok(Some(_))) || answers(&server.namespace, address)
        })?;
        if let Some(status) = child.ended()? {
            anyhow::bail!("the DNS responder ended with {status}: {}", child.log());
        }
        let pid_file = pid_file(server);
        std::fs::write(&pid_file, format!("{}\n", child.pid()))
            .with_context(|| format!("write {}", pid_file.display()))?;
        Ok(Self { child, pid_file })
    }

    /// The file with its process id.
    pub fn pid_file(&self) -> &PathBuf {
        &self.pid_file
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.ended(), Ok(None))
    }

    /// The process.
    pub fn child(&self) -> &Child {
        &self.child
    }
}

/// Where the process id of a server's DNS service stands.
pub fn pid_file(server: &Server) -> PathBuf {
    server.directory.join("dns.pid")
}

/// Whether a DNS server answers at an address, asked from inside the namespace.
pub fn answers(namespace: &Namespace, address: SocketAddr) -> bool {
    namespace.run(|| ask(address).is_ok())
}

/// Asks a DNS server for the SOA record of [`HEALTH_NAME`].
///
/// # Errors
/// It does not answer within 200 ms.
pub fn ask(address: SocketAddr) -> Result<Response> {
    let socket = UdpSocket::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)))?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    socket.connect(address)?;
    socket.send(&Query::new(1, HEALTH_NAME, kind::SOA)?.emit())?;
    let mut buffer = [0; QUERY_MAX];
    let length = socket.recv(&mut buffer)?;
    Response::parse(&buffer[..length])
}

/// Serves until the process is killed.
///
/// # Errors
/// The port cannot be had.
pub fn serve(name: &str, port: u16) -> Result<()> {
    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let listener = TcpListener::bind(address).with_context(|| format!("listen on TCP {address}"))?;
    let identity = name.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let identity = identity.clone();
            // An error ends one connection, which is all it may do.
            std::thread::spawn(move || serve_tcp(stream, &identity));
        }
    });
    serve_udp(address, name)
}

fn serve_udp(address: SocketAddr, identity: &str) -> Result<()> {
    let socket = UdpSocket::bind(address).with_context(|| format!("listen on UDP {address}"))?;
    setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)
        .context("ask for the address a query is sent to")?;
    // Without CAP_NET_ADMIN the default must do.
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &(4 << 20));
    let mut buffer = [0; QUERY_MAX];
    let mut control = nix::cmsg_space!(libc::in6_pktinfo);
    loop {
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let received = match recvmsg::<SockaddrIn6>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::empty(),
        ) {
            Ok(received) => received,
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(error).context("receive a query"),
        };
        let (length, from) = (received.bytes, received.address);
        let sent_to = received.cmsgs().ok().into_iter().flatten().find_map(|message| match message {
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(info),
            _ => None,
        });
        let Some(response) = answer(&buffer[..length], identity) else { continue };
        // From the address that was asked, over whatever interface leads back.
        let source = sent_to.map(|info| libc::in6_pktinfo { ipi6_ifindex: 0, ..info });
        let source: Vec<ControlMessage> = source.iter().map(ControlMessage::Ipv6PacketInfo).collect();
        // A response that cannot be sent is lost, as one on the wire may be.
        let _ = sendmsg(
            socket.as_raw_fd(),
            &[IoSlice::new(&response)],
            &source,
            MsgFlags::empty(),
            from.as_ref(),
        );
    }
}

fn serve_tcp(mut stream: TcpStream, identity: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(TCP_IDLE))?;
    loop {
        // RFC 1035 4.2.2: two bytes of length before each message.
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut query = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut query)?;
        let Some(response) = answer(&query, identity) else { return Ok(()) };
        let mut message = (response.len() as u16).to_be_bytes().to_vec();
        message.extend(response);
        stream.write_all(&message)?;
    }
}

/// The response to a message; `None` to what is no query at all.
fn answer(message: &[u8], identity: &str) -> Option<Vec<u8>> {
    let query = match Query::parse(message) {
        Ok(query) => query,
        Err(_) => return format_error(message),
    };
    if query.opcode != 0 {
        return Some(query.respond(rcode::NOTIMP, &[]));
    }
    let identity_name = ["id.server.", "hostname.bind."].contains(&query.name.as_str());
    let ours = match query.class {
        CLASS_IN => query.name == "example." || query.name.ends_with(".example."),
        CLASS_CH => identity_name && [kind::TXT, kind::ANY].contains(&query.kind),
        _ => false,
    };
    if !ours {
        return Some(query.respond(rcode::REFUSED, &[]));
    }
    let wanted = |kind| [kind, kind::ANY].contains(&query.kind);
    let mut answers = Vec::new();
    if wanted(kind::TXT) {
        answers.push((kind::TXT, text(identity)));
    }
    if query.class == CLASS_IN {
        if wanted(kind::SOA) {
            answers.push((kind::SOA, soa(&query)?));
        }
        if wanted(kind::A) {
            answers.push((kind::A, Ipv4Addr::new(192, 0, 2, 80).octets().to_vec()));
        }
        if wanted(kind::AAAA) {
            answers.push((kind::AAAA, Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80).octets().to_vec()));
        }
    }
    Some(query.respond(rcode::NOERROR, &answers))
}

/// FORMERR with the header alone, if there is a header of a query to take the number from.
fn format_error(message: &[u8]) -> Option<Vec<u8>> {
    let [id_high, id_low, flags, ..] = *message else { return None };
    let is_query = flags & 0x80 == 0;
    (is_query && message.len() >= 12)
        .then(|| vec![id_high, id_low, 0x80 | flags & 0x79, rcode::FORMERR, 0, 0, 0, 0, 0, 0, 0, 0])
}

fn text(string: &str) -> Vec<u8> {
    let bytes = &string.as_bytes()[..string.len().min(255)];
    let mut data = vec![bytes.len() as u8];
    data.extend(bytes);
    data
}

/// RFC 1035 3.3.13: server, mailbox, serial, refresh, retry, expire, minimum.
fn soa(query: &Query) -> Option<Vec<u8>> {
    let mut data = query.wire_name.clone();
    data.extend(encode_name("hostmaster.example.").ok()?);
    for number in [1u32, 3600, 600, 86_400, 0] {
        data.extend(number.to_be_bytes());
    }
    Some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(name: &str, kind: u16, class: u16) -> Response {
        let query = Query { class, ..Query::new(7, name, kind).unwrap() };
        Response::parse(&answer(&query.emit(), "s2").unwrap()).unwrap()
    }

    #[test]
    fn says_who_it_is() {
        assert_eq!(response("q1.whoami.example.", kind::TXT, CLASS_IN).text.as_deref(), Some("s2"));
        assert_eq!(response("id.server.", kind::TXT, CLASS_CH).text.as_deref(), Some("s2"));
    }

    #[test]
    fn answers_the_health_check() {
        let query = Query::new(7, HEALTH_NAME, kind::SOA).unwrap();
        let bytes = answer(&query.emit(), "s2").unwrap();
        assert_eq!(bytes[6..8], [0, 1]);
        assert_eq!(Response::parse(&bytes).unwrap().code, rcode::NOERROR);
    }

    #[test]
    fn refuses_what_it_does_not_serve() {
        assert_eq!(response("www.example.org.", kind::A, CLASS_IN).code, rcode::REFUSED);
        assert_eq!(response("version.bind.", kind::TXT, CLASS_CH).code, rcode::REFUSED);
        assert_eq!(response("myexample.", kind::A, CLASS_IN).code, rcode::REFUSED);
    }

    #[test]
    fn garbage_gets_an_error_or_silence() {
        assert_eq!(answer(&[1, 2, 3], "s"), None);
        let two_questions = [0xab, 0xcd, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0];
        assert_eq!(answer(&two_questions, "s").unwrap()[..4], [0xab, 0xcd, 0x80, rcode::FORMERR]);
        // Never a response to a response: two servers would talk for ever.
        assert_eq!(answer(&[0xab, 0xcd, 0x80, 0, 0, 2, 0, 0, 0, 0, 0, 0], "s"), None);
    }
}
