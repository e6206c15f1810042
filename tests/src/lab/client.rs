//! A client that asks without end and counts.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::socket::{setsockopt, sockopt};

use super::dns::{Query, Response, kind};
use super::namespace::Namespace;

/// How long a stopped client still waits for answers.
const SETTLE: Duration = Duration::from_secs(1);

/// Longest sleep between two looks at the wish to stop.
const NAP: Duration = Duration::from_millis(20);

/// A query that has no answer after this time gets none.
const UNDER_WAY: Duration = Duration::from_secs(2);

/// How long answers of many flows are waited for.
const FLOWS: Duration = Duration::from_millis(500);

/// Room for answers that come while the client's thread does not run.
const RECEIVE_BUFFER: usize = 4 << 20;

/// One query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When it was sent.
    pub sent: Instant,
    /// When the first answer came, and from which server.
    pub answered: Option<(Instant, String)>,
}

/// All queries of a client, in the order they were sent.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The queries.
    pub queries: Vec<Asked>,
    /// Answers to queries that had been answered before.
    pub duplicates: u64,
}

impl Record {
    /// How many were sent.
    pub fn sent(&self) -> usize {
        self.queries.len()
    }

    /// How many were answered.
    pub fn answered(&self) -> usize {
        self.queries.iter().filter(|query| query.answered.is_some()).count()
    }

    /// How many were not.
    pub fn lost(&self) -> usize {
        self.sent() - self.answered()
    }

    /// Answers by server.
    pub fn by_server(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for (_, server) in self.queries.iter().filter_map(|query| query.answered.as_ref()) {
            *counts.entry(server.clone()).or_default() += 1;
        }
        counts
    }

    /// The server that gave the last answer.
    pub fn last_server(&self) -> Option<&str> {
        self.queries.iter().rev().find_map(|query| query.answered.as_ref()).map(|(_, server)| server.as_str())
    }

    /// The part that was sent within a time; what is `None` is open.
    pub fn between(&self, from: Option<Instant>, to: Option<Instant>) -> Self {
        let within = |query: &&Asked| {
            from.is_none_or(|from| query.sent >= from) && to.is_none_or(|to| query.sent < to)
        };
        Self { queries: self.queries.iter().filter(within).cloned().collect(), duplicates: 0 }
    }

    /// The longest time between two answers.
    pub fn longest_gap(&self) -> Duration {
        let mut times: Vec<Instant> =
            self.queries.iter().filter_map(|query| query.answered.as_ref()).map(|(at, _)| *at).collect();
        times.sort_unstable();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// The first answer after `from` that did not come from `server`: when, and whose.
    pub fn first_answer_of_another(&self, server: &str, from: Instant) -> Option<(Instant, &str)> {
        // Queries stand in the order they were sent.
        let first = self.queries.partition_point(|query| query.sent + UNDER_WAY < from);
        self.queries[first..]
            .iter()
            .filter_map(|query| query.answered.as_ref())
            .filter(|(at, name)| *at >= from && name != server)
            .map(|(at, name)| (*at, name.as_str()))
            .min()
    }
}

#[derive(Debug, Default)]
struct Shared {
    record: Mutex<Record>,
    stop_asking: AtomicBool,
    stop_listening: AtomicBool,
}

/// A running client; it stops on drop.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Client {
    /// Starts asking `service` (UDP port 53) every `interval` for a TXT record, which tells the server's name.
    ///
    /// # Errors
    /// No socket, or no route.
    pub fn start(namespace: &Namespace, service: IpAddr, interval: Duration) -> Result<Self> {
        Self::start_at(namespace, SocketAddr::from((service, 53)), interval)
    }

    /// As [`Client::start`], for another port.
    ///
    /// # Errors
    /// No socket, or no route.
    pub fn start_at(namespace: &Namespace, service: SocketAddr, interval: Duration) -> Result<Self> {
        let socket = namespace.run(|| {
            let any: IpAddr =
                if service.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
            let socket = UdpSocket::bind((any, 0))?;
            socket.connect(service).map(|()| socket)
        });
        let socket = socket.with_context(|| format!("connect a UDP socket to {service}"))?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).context("enlarge the client's buffer")?;
        let listening = socket.try_clone()?;
        let shared = Arc::new(Shared::default());
        let threads = vec![
            std::thread::spawn({
                let shared = Arc::clone(&shared);
                move || ask(&socket, interval, &shared)
            }),
            std::thread::spawn({
                let shared = Arc::clone(&shared);
                move || listen(&listening, &shared)
            }),
        ];
        Ok(Self { shared, threads })
    }

    /// What was asked and answered so far; the last queries may still be under way.
    pub fn record(&self) -> Record {
        lock(&self.shared.record).clone()
    }

    /// Sent and answered so far, without copying the record.
    pub fn counts(&self) -> (usize, usize) {
        let record = lock(&self.shared.record);
        (record.sent(), record.answered())
    }

    /// The server that gave the last answer so far.
    pub fn last_server(&self) -> Option<String> {
        lock(&self.shared.record).last_server().map(str::to_owned)
    }

    /// As [`Record::first_answer_of_another`], so far.
    pub fn first_answer_of_another(&self, server: &str, from: Instant) -> Option<(Instant, String)> {
        let record = lock(&self.shared.record);
        record.first_answer_of_another(server, from).map(|(at, name)| (at, name.to_owned()))
    }

    /// Stops asking, waits for answers under way, and tells all.
    pub fn stop(mut self) -> Record {
        self.shared.stop_asking.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + SETTLE;
        while lock(&self.shared.record).lost() > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.join();
        std::mem::take(&mut *lock(&self.shared.record))
    }

    fn join(&mut self) {
        self.shared.stop_asking.store(true, Ordering::Relaxed);
        self.shared.stop_listening.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // Its panic has been printed, and the missing answers speak.
            let _ = thread.join();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.join();
    }
}

fn ask(socket: &UdpSocket, interval: Duration, shared: &Shared) {
    let start = Instant::now();
    for number in 0u32.. {
        if shared.stop_asking.load(Ordering::Relaxed) {
            return;
        }
        let Ok(query) = Query::new(number as u16, &format!("q{number}.whoami.example."), kind::TXT) else {
            return;
        };
        lock(&shared.record).queries.push(Asked { sent: Instant::now(), answered: None });
        // An ICMP error about an earlier query shows up here; then this one has not been sent, so once more.
        if socket.send(&query.emit()).is_err() {
            let _ = socket.send(&query.emit());
        }
        let due = start + interval * (number + 1);
        while !shared.stop_asking.load(Ordering::Relaxed) && Instant::now() < due {
            std::thread::sleep(due.saturating_duration_since(Instant::now()).min(NAP));
        }
    }
}

fn listen(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = [0; 1500];
    while !shared.stop_listening.load(Ordering::Relaxed) {
        // A timeout, or an ICMP error about a query that is counted as lost anyway.
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        let now = Instant::now();
        let Ok(response) = Response::parse(&buffer[..length]) else { continue };
        let number =
            response.name.strip_prefix('q').and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        let mut record = lock(&shared.record);
        let Some(query) = number.and_then(|number| record.queries.get_mut(number)) else { continue };
        match (&query.answered, response.text) {
            (None, Some(server)) => query.answered = Some((now, server)),
            (Some(_), _) => record.duplicates += 1,
            // An answer without the server's name is none: it stays lost.
            (None, None) => {}
        }
    }
}

/// Asks `service` once from each of so many ports, which are as many flows, and counts the answers by server.
///
/// # Errors
/// No socket, or no route.
pub fn flows(namespace: &Namespace, service: IpAddr, flows: u16) -> Result<BTreeMap<String, u64>> {
    let ask = |number: u16| -> Result<UdpSocket> {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
        socket.connect((service, 53))?;
        socket.send(&Query::new(number, &format!("q{number}.whoami.example."), kind::TXT)?.emit())?;
        Ok(socket)
    };
    let sockets = namespace.run(|| (0..flows).map(ask).collect::<Result<Vec<_>>>());
    let deadline = Instant::now() + FLOWS;
    let mut servers = BTreeMap::new();
    let mut buffer = [0; 1500];
    for socket in sockets.with_context(|| format!("ask {service} from {flows} ports"))? {
        let left = deadline.saturating_duration_since(Instant::now());
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        // Without an answer there is nothing to count.
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        if let Some(server) = Response::parse(&buffer[..length]).ok().and_then(|response| response.text) {
            *servers.entry(server).or_default() += 1;
        }
    }
    Ok(servers)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panicking holder leaves a record with whole entries.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(answers: &[Option<(u64, &str)>]) -> (Instant, Record) {
        let start = Instant::now();
        let queries = (0u64..).zip(answers).map(|(number, answer)| Asked {
            sent: start + Duration::from_millis(10 * number),
            answered: answer.map(|(delay, server)| {
                (start + Duration::from_millis(10 * number + delay), server.to_owned())
            }),
        });
        (start, Record { queries: queries.collect(), duplicates: 0 })
    }

    #[test]
    fn counts_what_was_lost_and_who_answered() {
        let (start, record) = record(&[Some((1, "s1")), None, None, Some((1, "s2")), Some((2, "s2"))]);
        assert_eq!((record.sent(), record.answered(), record.lost()), (5, 3, 2));
        assert_eq!(record.by_server(), BTreeMap::from([("s1".into(), 1), ("s2".into(), 2)]));
        assert_eq!(record.longest_gap(), Duration::from_millis(30));
        assert_eq!(record.last_server(), Some("s2"));
        let cut = start + Duration::from_millis(25);
        assert_eq!(record.between(None, Some(cut)).lost(), 2);
        assert_eq!(record.between(Some(cut), None).lost(), 0);
        assert_eq!(
            record.first_answer_of_another("s1", start),
            Some((start + Duration::from_millis(31), "s2"))
        );
        let later = start + Duration::from_millis(35);
        assert_eq!(record.first_answer_of_another("s2", later), None);
    }
}
