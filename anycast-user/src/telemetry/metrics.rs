//! Prometheus metrics over HTTP, rendered from a [`Status`] that the controller gives out at each scrape: there is no
//! second set of books.
//!
//! Names follow Prometheus: base units, `_total` for what only grows, labels `service`, `address`, `interface`. What the
//! fast path counts grows since its program was attached, over restarts of the daemon; what the daemon counts, since its
//! start.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::ospf::{Ospf, Rejected};
use super::status::{State, Status};
use crate::control::{Answer, Command, Request};

/// Scrapes served at a time; others wait.
const CONNECTIONS_MAX: usize = 8;

/// How long one connection may last. A scraper connects for each scrape, or again.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long the controller may take for its status.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// What [`render`] writes (OpenMetrics 1.0).
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The endpoint cannot be opened.
#[derive(Debug, Error)]
#[error(
    "cannot serve metrics on {address}: {source}; change daemon.metrics, or remove it to switch them off"
)]
pub struct Error {
    /// From the configuration.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// A bound metrics endpoint.
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
}

impl Endpoint {
    /// Binds the endpoint. Needs a tokio runtime.
    ///
    /// # Errors
    /// The address is not this host's, or it is taken.
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        let listener = TcpListener::bind(address).await.map_err(|source| Error { address, source })?;
        Ok(Self { listener })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves what `text` writes, for ever. Cancel-safe.
    pub async fn run_with(&self, text: impl Fn() -> String + Send + 'static) {
        let (requests, mut scrapes) = mpsc::channel::<Scraped>(CONNECTIONS_MAX);
        let answering = async {
            while let Some(scrape) = scrapes.recv().await {
                // The client may have gone.
                let _ = scrape.send(text());
            }
        };
        tokio::join!(self.accept(Source::Text(requests)), answering);
    }

    /// Serves scrapes until the controller drops its end of `requests`. Cancel-safe.
    pub async fn run(&self, requests: mpsc::Sender<Request>) {
        self.accept(Source::Controller(requests)).await;
    }

    async fn accept(&self, requests: Source) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = tokio::task::JoinSet::new();
        loop {
            // Never closed: the semaphore is ours.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let accepted = loop {
                tokio::select! {
                    accepted = self.listener.accept() => break accepted,
                    Some(_) = connections.join_next() => {}
                    () = requests.closed() => return,
                }
            };
            match accepted {
                Ok((stream, peer)) => {
                    let requests = requests.clone();
                    connections.spawn(async move {
                        match timeout(TIMEOUT, serve(stream, requests)).await {
                            Ok(Ok(())) | Err(_) => {}
                            Ok(Err(error)) => debug!(%peer, %error, "metrics connection ended"),
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(%error, "cannot accept a metrics connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Who wants the text.
type Scraped = oneshot::Sender<String>;

/// Where the text comes from.
#[derive(Clone)]
enum Source {
    /// The controller's status.
    Controller(mpsc::Sender<Request>),
    /// Somebody who writes it.
    Text(mpsc::Sender<Scraped>),
}

impl Source {
    async fn closed(&self) {
        match self {
            Self::Controller(requests) => requests.closed().await,
            Self::Text(requests) => requests.closed().await,
        }
    }

    /// The text; `None` once its source has ended.
    async fn text(&self) -> Option<String> {
        match self {
            Self::Controller(requests) => page(requests).await,
            Self::Text(requests) => {
                let (reply, answer) = oneshot::channel();
                requests.send(reply).await.ok()?;
                answer.await.ok()
            }
        }
    }
}

async fn serve(stream: TcpStream, requests: Source) -> Result<(), hyper::Error> {
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let requests = requests.clone();
        async move { Ok::<_, Infallible>(respond(request.method(), request.uri().path(), &requests).await) }
    });
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
}

async fn respond(method: &Method, path: &str, requests: &Source) -> Response<Full<Bytes>> {
    let plain = |status, text: &str| answer(status, "text/plain; charset=utf-8", format!("{text}\n"));
    if method != Method::GET && method != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is served");
    }
    if path != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "metrics are at /metrics");
    }
    match timeout(STATUS_TIMEOUT, requests.text()).await {
        Ok(Some(text)) => answer(StatusCode::OK, CONTENT_TYPE, text),
        Ok(None) => plain(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping"),
        Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "the controller does not answer"),
    }
}

fn answer(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

/// The daemon's page, or the registrar's.
async fn page(requests: &mpsc::Sender<Request>) -> Option<String> {
    let (reply, answer) = oneshot::channel();
    requests.send(Request { command: Command::Status, reply }).await.ok()?;
    match answer.await.ok()?.ok()? {
        Answer::Status(status) => Some(render(&status)),
        Answer::Registrar(status) => Some(crate::registrar::metrics::render(&status)),
        Answer::Done(_) | Answer::Ospf(_) => None,
    }
}

pub(crate) type Labels = Vec<(&'static str, String)>;
pub(crate) type Counters = Family<Labels, Counter>;
pub(crate) type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;

/// The registry of one scrape.
#[derive(Default)]
pub(crate) struct Scrape {
    pub(crate) registry: Registry,
}

impl Scrape {
    /// A metric that only grows; `_total` is added to its name.
    pub(crate) fn counter(&mut self, name: &str, help: &str) -> Counters {
        let family = Counters::default();
        self.registry.register(name, help, family.clone());
        family
    }

    pub(crate) fn gauge(&mut self, name: &str, help: &str) -> Gauges {
        let family = Gauges::default();
        self.registry.register(name, help, family.clone());
        family
    }

    /// A single value.
    pub(crate) fn plain(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        self.registry.register(name, help, gauge);
    }
}

impl Scrape {
    /// The page.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

fn flag(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge of Prometheus is a float; epochs and moves stay far below 2^53"
)]
pub(crate) fn float(value: u64) -> f64 {
    value as f64
}

/// Writes a status as OpenMetrics text.
pub fn render(status: &Status) -> String {
    let mut scrape = Scrape::default();
    daemon(&mut scrape, status);
    ownership(&mut scrape, status);
    fast_path(&mut scrape, status);
    checks(&mut scrape, status);
    interfaces(&mut scrape, status);
    if let Some(picture) = &status.ospf {
        ospf(&mut scrape, picture);
    }
    pool(&mut scrape, status);
    scrape.text()
}

fn pool(scrape: &mut Scrape, status: &Status) {
    if status.pool.is_empty() {
        return;
    }
    let wanted = scrape.gauge("anycast_pool_wanted", "Whether the service should be registered in its pool");
    let standby = scrape.gauge("anycast_pool_standby", "Whether it is registered as standby");
    let registered = scrape.gauge("anycast_pool_registered", "Whether the registrar has the service");
    let problem = scrape.gauge(
        "anycast_pool_problem",
        "Whether something is wrong with the registrar; `anycast status` says what",
    );
    let sent = scrape.counter("anycast_pool_registrations_sent", "Registrations sent to registrars");
    let answered = scrape.counter("anycast_pool_keep_alives_answered", "Keep-alives of registrars answered");
    for element in &status.pool {
        let plain: Labels = vec![("service", element.service.clone()), ("pool", element.pool.clone())];
        wanted.get_or_create(&plain).set(flag(element.wanted));
        standby.get_or_create(&plain).set(flag(element.standby));
        sent.get_or_create(&plain).inc_by(element.registrations_sent_total);
        answered.get_or_create(&plain).inc_by(element.keep_alives_answered_total);
        for registration in &element.registrations {
            let mut labels = plain.clone();
            labels.push(("registrar", registration.registrar.clone()));
            registered.get_or_create(&labels).set(flag(registration.registered));
            let wrong = registration.problem.is_some() || registration.error.is_some();
            problem.get_or_create(&labels).set(flag(wrong));
        }
    }
}

fn daemon(scrape: &mut Scrape, status: &Status) {
    let build =
        Info::new(vec![("version", status.daemon.version.clone()), ("farm", status.daemon.farm.clone())]);
    scrape.registry.register("anycast_build", "Version of the daemon and name of the farm", build);
    scrape.plain("anycast_uptime_seconds", "Time since the daemon started", status.daemon.uptime_seconds);
    let alarms = float(status.alarms.len() as u64);
    scrape.plain(
        "anycast_alarms",
        "Things an operator should look at now; `anycast status` lists them",
        alarms,
    );
}

/// The labels of a service.
fn labels(service: &super::status::Service, more: &[(&'static str, &str)]) -> Labels {
    let mut labels = vec![
        ("service", service.name.clone()),
        ("address", service.address.to_string()),
        ("interface", service.interface.clone()),
    ];
    labels.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    labels
}

fn ownership(scrape: &mut Scrape, status: &Status) {
    let state = scrape.gauge("anycast_service_state", "1 for the state the service is in, 0 for the others");
    let able = scrape.gauge("anycast_service_able", "Whether this server could serve");
    let open = scrape.gauge("anycast_gate_open", "Whether the fast path answers solicitations");
    let held = scrape.gauge("anycast_gate_held", "Whether the operator holds the gate open or shut");
    let lease = scrape.gauge("anycast_lease_age_seconds", "Time since the open gate was last renewed");
    let epoch = scrape.gauge("anycast_epoch", "Epoch of the ownership");
    let load = scrape.gauge("anycast_load_ratio", "Load as a share of what this server can do");
    let route =
        scrape.gauge("anycast_route_metric", "Metric of the route that is advertised, 65535 = drained");
    let moves = scrape.gauge("anycast_moves_180s", "Changes of owner in the last 180 seconds");
    let transitions = scrape.counter("anycast_service_transitions", "Changes of state");
    let sent = scrape.counter("anycast_advertisements_sent", "Unsolicited advertisements sent");
    let failed =
        scrape.counter("anycast_advertisements_failed", "Unsolicited advertisements that could not be sent");
    let socket_drops =
        scrape.gauge("anycast_socket_drops", "What the service's sockets dropped since they were opened");
    let peers = scrape.gauge("anycast_peers", "Other servers heard, by the state they say they are in");
    let routers =
        scrape.gauge("anycast_routers", "Routers on the link, by whether this server owns their entry");
    let told = scrape.counter("anycast_router_advertisements_sent", "Advertisements sent to single routers");
    for service in &status.services {
        let plain = labels(service, &[]);
        for (owned, word) in [(true, "here"), (false, "elsewhere")] {
            let count = service.routers.iter().filter(|router| router.owned_here == owned).count() as u64;
            routers.get_or_create(&labels(service, &[("owned", word)])).set(float(count));
        }
        told.get_or_create(&plain).inc_by(service.router_advertisements_total);
        for each in State::ALL {
            state.get_or_create(&labels(service, &[("state", each.name())])).set(flag(each == service.state));
            let count = service.peers.iter().filter(|peer| peer.state == each).count() as u64;
            peers.get_or_create(&labels(service, &[("state", each.name())])).set(float(count));
        }
        able.get_or_create(&plain).set(flag(service.able));
        open.get_or_create(&plain).set(flag(service.gate.answers()));
        held.get_or_create(&plain).set(flag(service.hold != crate::control::Hold::Automatic));
        if let Some(left) = service.lease_ms_left {
            // An adopted gate is open for longer than a lease: its age is not known, and not an alarm.
            lease.get_or_create(&plain).set(float(status.daemon.lease_ms.saturating_sub(left)) / 1000.0);
        }
        epoch.get_or_create(&plain).set(float(service.epoch));
        if let Some(permille) = service.load {
            load.get_or_create(&plain).set(f64::from(permille) / 1000.0);
        }
        if let Some(metric) = service.route {
            route.get_or_create(&plain).set(f64::from(metric));
        }
        moves.get_or_create(&plain).set(f64::from(service.moves_180s));
        transitions.get_or_create(&plain).inc_by(service.transitions_total);
        sent.get_or_create(&plain).inc_by(service.advertisements_sent_total);
        failed.get_or_create(&plain).inc_by(service.advertisements_failed_total);
        if service.load.is_some() {
            socket_drops.get_or_create(&plain).set(float(service.socket_drops_total));
        }
    }
}

fn fast_path(scrape: &mut Scrape, status: &Status) {
    let queries = scrape.counter("anycast_queries", "UDP queries that arrived");
    let responses = scrape.counter("anycast_responses", "UDP packets with QR = 1 that arrived");
    let syns = scrape.counter("anycast_tcp_syns", "TCP connections begun by clients");
    let bytes = scrape.counter("anycast_bytes", "Bytes of the frames counted as queries, responses and SYNs");
    let malformed = scrape.counter("anycast_malformed", "UDP packets too short for a DNS header");
    let fragments = scrape.counter("anycast_fragments", "IP fragments to the service address");
    let solicitations = scrape.counter("anycast_solicitations", "Solicitations that arrived");
    let answered =
        scrape.counter("anycast_solicitations_answered", "Solicitations answered by the fast path");
    let refused = scrape.counter("anycast_solicitations_refused", "Solicitations not answered");
    let advertisements = scrape
        .counter("anycast_peer_advertisements", "Advertisements for the service address from another MAC");
    for service in &status.services {
        let plain = labels(service, &[]);
        let counters = &service.counters;
        queries.get_or_create(&plain).inc_by(counters.queries);
        responses.get_or_create(&plain).inc_by(counters.responses);
        syns.get_or_create(&plain).inc_by(counters.tcp_syns);
        bytes.get_or_create(&plain).inc_by(counters.bytes);
        malformed.get_or_create(&plain).inc_by(counters.malformed);
        fragments.get_or_create(&plain).inc_by(counters.fragments);
        answered.get_or_create(&plain).inc_by(counters.answered);
        advertisements.get_or_create(&plain).inc_by(counters.advertisements);
        for (kind, count) in [
            ("multicast", counters.solicitations_multicast),
            ("unicast", counters.solicitations_unicast),
            ("dad", counters.solicitations_dad),
        ] {
            solicitations.get_or_create(&labels(service, &[("kind", kind)])).inc_by(count);
        }
        for (reason, count) in [
            ("shut", counters.refused_shut),
            ("stale", counters.refused_stale),
            ("held", counters.refused_held),
        ] {
            refused.get_or_create(&labels(service, &[("reason", reason)])).inc_by(count);
        }
    }
}

fn checks(scrape: &mut Scrape, status: &Status) {
    let up = scrape.gauge("anycast_check_up", "Whether the check is up, after rise and fall");
    let duration = scrape.gauge("anycast_check_duration_seconds", "How long the last success took");
    let results = scrape.counter("anycast_check_results", "Results of the check");
    for service in &status.services {
        for check in &service.checks {
            let of = |more: &[(&'static str, &str)]| {
                let mut labels = labels(service, &[("kind", &check.kind), ("target", &check.target)]);
                labels.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
                labels
            };
            up.get_or_create(&of(&[])).set(flag(check.up));
            if let Some(latency) = check.latency_ms {
                duration.get_or_create(&of(&[])).set(latency / 1000.0);
            }
            results.get_or_create(&of(&[("result", "success")])).inc_by(check.successes_total);
            results.get_or_create(&of(&[("result", "failure")])).inc_by(check.failures_total);
        }
    }
}

fn interfaces(scrape: &mut Scrape, status: &Status) {
    let up = scrape.gauge("anycast_interface_up", "Whether the interface is up and has a carrier");
    let mode = scrape.gauge("anycast_xdp_mode", "1 for the mode in which the fast path is attached");
    let drops = scrape.counter("anycast_drops", "Frames dropped and events lost by the fast path");
    let sent = scrape.counter("anycast_heartbeats_sent", "Heartbeats sent");
    let heard = scrape.counter("anycast_heartbeats_heard", "Heartbeats of this farm heard");
    let refused = scrape.counter("anycast_heartbeats_refused", "Heartbeats refused");
    let heartbeats = scrape.counter(
        "anycast_heartbeats_authentication",
        "Heartbeats of this farm by what authentication made of them",
    );
    let advertisements = scrape.counter(
        "anycast_advertisements_authentication",
        "Advertisements of other servers by what authentication made of them",
    );
    for interface in &status.interfaces {
        let of = |more: &[(&'static str, &str)]| {
            let mut labels = vec![("interface", interface.name.clone())];
            labels.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
            labels
        };
        up.get_or_create(&of(&[])).set(flag(interface.up));
        if interface.program.is_some() {
            mode.get_or_create(&of(&[("mode", &interface.xdp_mode)])).set(1.0);
        }
        for (reason, count) in &interface.drops {
            drops.get_or_create(&of(&[("reason", reason)])).inc_by(*count);
        }
        sent.get_or_create(&of(&[])).inc_by(interface.heartbeats_sent_total);
        heard.get_or_create(&of(&[])).inc_by(interface.heartbeats_heard_total);
        for (reason, count) in &interface.heartbeats_refused {
            refused.get_or_create(&of(&[("reason", reason)])).inc_by(*count);
        }
        for (verdict, count) in &interface.heartbeats_authentication {
            heartbeats.get_or_create(&of(&[("verdict", verdict)])).inc_by(*count);
        }
        for (verdict, count) in &interface.advertisements_authentication {
            advertisements.get_or_create(&of(&[("verdict", verdict)])).inc_by(*count);
        }
    }
}

fn ospf(scrape: &mut Scrape, ospf: &Ospf) {
    let neighbors = scrape.gauge("anycast_ospf_neighbors", "OSPF neighbours, by state");
    let changed =
        scrape.gauge("anycast_ospf_neighbor_state_seconds", "How long the neighbour is in its state");
    for neighbor in &ospf.neighbors {
        let interface = ("interface", neighbor.interface.clone());
        let state = ("state", neighbor.state.clone());
        neighbors.get_or_create(&vec![interface.clone(), state.clone()]).inc();
        let router = ("router", neighbor.router_id.clone());
        changed.get_or_create(&vec![interface, router, state]).set(neighbor.state_seconds);
    }
    let received = scrape.counter("anycast_ospf_packets_received", "OSPF packets received");
    let sent = scrape.counter("anycast_ospf_packets_sent", "OSPF packets sent");
    let again =
        scrape.counter("anycast_ospf_lsas_retransmitted", "LSAs sent again for want of an acknowledgement");
    let rejected = scrape.counter("anycast_ospf_rejected", "OSPF packets and LSAs that were not taken");
    for interface in &ospf.interfaces {
        let of = vec![("interface", interface.name.clone())];
        received.get_or_create(&of).inc_by(interface.received_total);
        sent.get_or_create(&of).inc_by(interface.sent_total);
        again.get_or_create(&of).inc_by(interface.retransmitted_total);
        for Rejected { reason, total } in &interface.rejected {
            let labels = vec![("interface", interface.name.clone()), ("reason", reason.clone())];
            rejected.get_or_create(&labels).inc_by(*total);
        }
    }
    if ospf.router_id.is_some() {
        scrape.plain("anycast_ospf_database_lsas", "LSAs in the database", float(ospf.database_lsas as u64));
        scrape.plain("anycast_ospf_database_bytes", "Their size", float(ospf.database_octets as u64));
        let refused: Counter = Counter::default();
        refused.inc_by(ospf.database_refused_total);
        scrape.registry.register(
            "anycast_ospf_database_refused",
            "LSAs for which there was no room",
            refused,
        );
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::telemetry::status::tests::example;

    #[test]
    fn everything_is_named_as_prometheus_wants() {
        let text = render(&example());
        let dns = "service=\"dns\",address=\"2001:db8:1::53\",interface=\"eth0\"";
        for line in [
            "anycast_build_info{version=\"0.1.0\",farm=\"dns-north\"} 1".to_owned(),
            "anycast_alarms 1.0".to_owned(),
            format!("anycast_service_state{{{dns},state=\"owner\"}} 1.0"),
            format!("anycast_service_state{{{dns},state=\"down\"}} 0.0"),
            format!("anycast_gate_open{{{dns}}} 1.0"),
            format!("anycast_lease_age_seconds{{{dns}}} 0.06"),
            format!("anycast_load_ratio{{{dns}}} 0.25"),
            format!("anycast_socket_drops{{{dns}}} 17.0"),
            format!("anycast_queries_total{{{dns}}} 98765432"),
            format!("anycast_solicitations_answered_total{{{dns}}} 1234567"),
            format!("anycast_solicitations_total{{{dns},kind=\"unicast\"}} 567"),
            format!("anycast_solicitations_refused_total{{{dns},reason=\"shut\"}} 3"),
            format!("anycast_service_transitions_total{{{dns}}} 4"),
            format!("anycast_peers{{{dns},state=\"ready\"}} 1.0"),
            format!("anycast_routers{{{dns},owned=\"here\"}} 1.0"),
            format!("anycast_router_advertisements_sent_total{{{dns}}} 6"),
            format!(
                "anycast_check_duration_seconds{{{dns},kind=\"dns\",target=\"[::1]:53 health.example. SOA\"}} 0.0005"
            ),
            "anycast_xdp_mode{interface=\"eth0\",mode=\"native\"} 1.0".to_owned(),
            "anycast_drops_total{interface=\"eth0\",reason=\"ns_checksum\"} 1".to_owned(),
            "anycast_heartbeats_refused_total{interface=\"eth0\",reason=\"foreign farm\"} 2".to_owned(),
            "anycast_heartbeats_authentication_total{interface=\"eth0\",verdict=\"bad_signature\"} 4"
                .to_owned(),
            "anycast_advertisements_authentication_total{interface=\"eth0\",verdict=\"replayed\"} 1"
                .to_owned(),
            "anycast_ospf_neighbors{interface=\"eth0\",state=\"Full\"} 1.0".to_owned(),
            "anycast_ospf_rejected_total{interface=\"eth0\",reason=\"mtu_mismatch\"} 5".to_owned(),
            "anycast_ospf_database_lsas 9.0".to_owned(),
            "anycast_ospf_database_refused_total 1".to_owned(),
            "# EOF".to_owned(),
        ] {
            assert!(text.lines().any(|has| has == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("_total_total"));
    }

    #[test]
    fn a_shut_gate_has_no_lease_to_age() {
        let mut status = example();
        status.services[0].lease_ms_left = None;
        assert!(!render(&status).contains("anycast_lease_age_seconds{"));
        status.services[0].lease_ms_left = Some(9_000);
        assert!(render(&status).contains(
            "anycast_lease_age_seconds{service=\"dns\",address=\"2001:db8:1::53\",interface=\"eth0\"} 0.0"
        ));
    }

    /// What the endpoint answers to one request.
    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_endpoint_serves_metrics_and_nothing_else() {
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = endpoint.address().unwrap();
        let (requests, mut controller) = mpsc::channel::<Request>(1);
        let asking = async {
            let get = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            let good = ask(address, get).await;
            assert!(good.starts_with("HTTP/1.1 200 OK\r\n"), "{good}");
            assert!(good.contains("content-type: application/openmetrics-text"), "{good}");
            assert!(good.ends_with("# EOF\n"), "{good}");
            let other = ask(address, &get.replace("/metrics", "/")).await;
            assert!(
                other.starts_with("HTTP/1.1 404 ") && other.contains("metrics are at /metrics"),
                "{other}"
            );
            let post = ask(address, &get.replace("GET", "POST")).await;
            assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
        };
        let answering = async {
            while let Some(request) = controller.recv().await {
                assert_eq!(request.command, Command::Status);
                let _ = request.reply.send(Ok(Answer::Status(Box::new(example()))));
            }
        };
        tokio::select! {
            () = asking => {}
            () = answering => panic!("the endpoint is gone"),
            () = endpoint.run(requests.clone()) => panic!("the endpoint ended"),
        }
        // Without a controller it says so, and it ends with the controller.
        drop(controller);
        timeout(Duration::from_secs(5), endpoint.run(requests)).await.unwrap();
    }

    #[tokio::test]
    async fn a_taken_address_is_told() {
        let first = Endpoint::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = Endpoint::bind(first.address().unwrap()).await.unwrap_err().to_string();
        assert!(
            error.contains("cannot serve metrics on 127.0.0.1:") && error.contains("daemon.metrics"),
            "{error}"
        );
    }
}
