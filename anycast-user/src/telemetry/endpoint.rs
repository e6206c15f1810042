//! An HTTP endpoint for Prometheus: of the daemon and the registrar, whose status is asked for at each scrape, and of whoever writes
//! its own text.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::metrics;
use crate::control::{Answer, Command, Request};
use crate::registrar;

/// Scrapes served at a time; others wait.
const CONNECTIONS_MAX: usize = 8;

/// How long one connection may last. A scraper connects for each scrape, or again.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long the controller may take for its status.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// What is served (OpenMetrics 1.0).
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
        Answer::Status(status) => Some(metrics::render(&status)),
        Answer::Registrar(status) => Some(registrar::metrics::render(&status)),
        Answer::Done(_) | Answer::Ospf(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::telemetry::status::tests::example;

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
