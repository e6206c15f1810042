//! The rings: what the program reports, and its log.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use anycast_common::abi::{Drop, Event};
use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use aya_log::EbpfLogger;
use tokio::io::unix::AsyncFd;

use super::Error;

/// The rings of one interface.
pub(super) struct Rings {
    // Registered with the runtime when first waited for: a packet test needs none.
    ready: Option<Ready>,
    peers: RingBuf<MapData>,
    solicited: RingBuf<MapData>,
    log: Option<EbpfLogger<Bridge>>,
}

struct Ready {
    peers: AsyncFd<OwnedFd>,
    solicited: AsyncFd<OwnedFd>,
    log: Option<AsyncFd<OwnedFd>>,
}

impl Rings {
    pub fn take(ebpf: &mut Ebpf, log: bool) -> Result<Self, Error> {
        let mut ring = |name| {
            let map = ebpf
                .take_map(name)
                .ok_or_else(|| Error::map("find", name, "the embedded program has no such map"))?;
            RingBuf::try_from(map).map_err(|error| Error::map("open", name, error))
        };
        let (peers, solicited) = (ring("PEERS")?, ring("SOLICITED")?);
        let log = if log {
            let logger = EbpfLogger::init_with_logger(ebpf, Bridge);
            Some(logger.map_err(|error| Error::map("open", "AYA_LOGS", error))?)
        } else {
            None
        };
        Ok(Self { ready: None, peers, solicited, log })
    }

    /// Takes what is there, without waiting: first the peers' advertisements.
    pub fn drain(&mut self, out: &mut Vec<Event>) {
        for ring in [&mut self.peers, &mut self.solicited] {
            while let Some(record) = ring.next() {
                if let Some(event) = parse(&record) {
                    out.push(event);
                }
            }
        }
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }

    /// Waits until something is there, then takes it.
    pub async fn next(&mut self, out: &mut Vec<Event>) -> io::Result<()> {
        let before = out.len();
        loop {
            self.drain(out);
            if out.len() > before {
                return Ok(());
            }
            let ready = match &mut self.ready {
                Some(ready) => ready,
                None => self.ready.insert(Ready {
                    peers: readable(&self.peers)?,
                    solicited: readable(&self.solicited)?,
                    log: self.log.as_ref().map(readable).transpose()?,
                }),
            };
            // Readiness is forgotten before the ring is emptied, so that what comes in between is announced again.
            let log = async {
                match &ready.log {
                    Some(log) => log.readable().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                guard = ready.peers.readable() => guard?.clear_ready(),
                guard = ready.solicited.readable() => guard?.clear_ready(),
                guard = log => guard?.clear_ready(),
            }
        }
    }
}

fn readable(ring: &impl AsFd) -> io::Result<AsyncFd<OwnedFd>> {
    let own = ring.as_fd().try_clone_to_owned()?;
    // SAFETY: the descriptor is an `OwnedFd` of its own, which stays open and the same until it is dropped.
    Ok(unsafe { AsyncFd::register_with_interest(own, tokio::io::Interest::READABLE) }?)
}

fn parse(record: &[u8]) -> Option<Event> {
    let record: &[u8; size_of::<Event>()] = record.get(..size_of::<Event>())?.try_into().ok()?;
    // SAFETY: `Event` consists of integers and arrays of integers, is `repr(C)` without padding and valid for every bit
    // pattern; the source has its size; the read does not need alignment.
    Some(unsafe { record.as_ptr().cast::<Event>().read_unaligned() })
}

/// Turns the program's log into events of tracing, the numbers of drop reasons into their names.
struct Bridge;

impl log::Log for Bridge {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let message = with_names(&record.args().to_string());
        tracing::debug!(target: "anycast::fast_path", "{message}");
    }

    fn flush(&self) {}
}

fn with_names(message: &str) -> String {
    let Some((before, number)) = message.split_once("reason=") else { return message.to_owned() };
    match number.parse::<usize>().ok().and_then(|number| Drop::ALL.get(number)) {
        Some(reason) => format!("{before}reason={}", reason.name()),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_named() {
        assert_eq!(with_names("dropped reason=4"), "dropped reason=ns_checksum");
        assert_eq!(with_names("dropped reason=999"), "dropped reason=999");
        assert_eq!(with_names("answered"), "answered");
    }

    #[test]
    fn short_records_are_none() {
        assert_eq!(parse(&[0; size_of::<Event>()]), Some(Event::default()));
        assert_eq!(parse(&[0; size_of::<Event>() - 1]), None);
    }
}
