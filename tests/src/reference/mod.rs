//! An independent model of the fast path: what the RFCs and the design say must become of a frame.
//!
//! It is the other opinion in the packet tests, so it shares nothing with the program but the numbers of the maps
//! ([`anycast_common::abi`]): it has its own parsers, works on whole packets instead of words, computes every checksum in
//! full, and prefers to be slow and plain.
//!
//! Where a frame breaks several rules at once, neither RFC 4861 nor the design says which of them is to be counted. So the
//! model names every rule that is broken, and the program must count exactly one of them.

mod arp;
mod neighbor;
mod reader;
mod transport;

use std::net::{IpAddr, Ipv6Addr};

use anycast_common::abi::{self, Counters, Drop, Event, Gate};

use crate::frames::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Mac, TPID_CUSTOMER, TPID_SERVICE, Tag};
use reader::Reader;

/// A service as its owner configures it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The service address.
    pub address: IpAddr,
    /// Identifiers of the VLAN tags its frames carry, outermost first; none, one or two.
    pub vlan: Vec<u16>,
    /// UDP and TCP ports.
    pub ports: Vec<u16>,
    /// Advertise with the Override flag.
    pub override_flag: bool,
    /// Advertise with the Router flag.
    pub router: bool,
    /// Source address of the advertisements; none = the service address.
    pub source: Option<Ipv6Addr>,
    /// Multicast solicitations are the controller's to answer; only in a world with extras.
    pub delayed: bool,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// To the kernel, unchanged.
    Pass,
    /// Gone.
    Drop,
    /// Rewritten into the answer and sent back.
    Tx,
}

/// All that the fast path does with one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// What is added to a service's counters.
    pub counted: Option<(usize, Counters)>,
    /// The reasons of which exactly one is counted; empty = none is.
    pub reasons: Vec<Drop>,
    /// The event for the controller, if its rate limit has room.
    pub event: Option<Event>,
}

/// What the fast path knows.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The interface's address.
    pub mac: Mac,
    /// The services; the position is the index.
    pub services: &'a [Service],
    /// The gate of each service.
    pub gates: &'a [Gate],
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub now_ns: u64,
    /// With extras: the gates of single routers, by service and MAC address, which go before the service's lease.
    pub extra: Option<&'a [RouterGate]>,
}

/// The gate of one router: service, MAC address, open until.
pub type RouterGate = (usize, Mac, u64);

/// The link layer of a frame.
#[derive(Clone, Debug)]
struct Link {
    destination: Mac,
    source: Mac,
    tags: Vec<Tag>,
}

impl Link {
    /// Identifiers of the tags; a priority tag (identifier 0) adds nothing.
    fn vlan(&self) -> Vec<u16> {
        let identifiers = self.tags.iter().map(|tag| tag.tci & 0x0fff);
        identifiers.filter(|&identifier| identifier != 0).collect()
    }

    /// Sent by one station: no answer may go to a group.
    fn is_from_a_station(&self) -> bool {
        self.source[0] & 1 == 0
    }

    fn vlan_number(&self) -> u32 {
        self.vlan().iter().fold(0, |key, &identifier| key * 4096 + u32::from(identifier))
    }
}

impl World<'_> {
    /// What becomes of `frame`.
    pub fn handle(&self, frame: &[u8]) -> Outcome {
        self.judge(frame).unwrap_or_else(|| Outcome {
            verdict: Verdict::Pass,
            frame: frame.to_vec(),
            counted: None,
            reasons: Vec::new(),
            event: None,
        })
    }

    /// None: the frame passes without a trace.
    fn judge(&self, frame: &[u8]) -> Option<Outcome> {
        let mut reader = Reader::new(frame);
        let (destination, source) = (reader.mac()?, reader.mac()?);
        let mut tags = Vec::new();
        let mut ethertype = reader.u16()?;
        while (ethertype == TPID_CUSTOMER || ethertype == TPID_SERVICE) && tags.len() < 2 {
            tags.push(Tag { tpid: ethertype, tci: reader.u16()? });
            ethertype = reader.u16()?;
        }
        let link = Link { destination, source, tags };
        match ethertype {
            ETHERTYPE_ARP => self.arp(frame, &link, reader),
            ETHERTYPE_IPV4 => self.ipv4(frame, &link, reader),
            ETHERTYPE_IPV6 => self.ipv6(frame, &link, reader),
            _ => None,
        }
    }

    fn service(&self, address: impl Into<IpAddr>, link: &Link) -> Option<usize> {
        let (address, vlan) = (address.into(), link.vlan());
        self.services.iter().position(|service| {
            let own = service.vlan.iter().copied().filter(|&identifier| identifier != 0);
            service.address == address && own.eq(vlan.iter().copied())
        })
    }

    /// The reason why the gate is shut, and its counter. A stranger's duplicate address detection is under the service's gate.
    fn refusal(&self, index: usize, kind: u32, from: Mac) -> Option<(Drop, Counters)> {
        let mut gate = self.gates[index];
        let named = |(service, mac, _): &&RouterGate| *service == index && *mac == from;
        if kind != abi::EVENT_SOLICITED_DAD
            && let Some((_, _, until)) = self.extra.and_then(|gates| gates.iter().find(named))
        {
            gate.open_until_ns = *until;
        }
        match gate.hold {
            abi::HOLD_OPEN => None,
            abi::HOLD_SHUT => Some((Drop::GateHeld, Counters { refused_held: 1, ..Default::default() })),
            _ if gate.open_until_ns == 0 => {
                Some((Drop::GateShut, Counters { refused_shut: 1, ..Default::default() }))
            }
            _ if gate.open_until_ns < self.now_ns => {
                Some((Drop::LeaseStale, Counters { refused_stale: 1, ..Default::default() }))
            }
            _ => None,
        }
    }

    /// A valid solicitation: `answer`, or a refusal and its event.
    fn solicited(&self, link: &Link, solicitation: Solicitation, answer: Vec<u8>) -> Outcome {
        let Solicitation { index, kind, source } = solicitation;
        let mut counted = match kind {
            abi::EVENT_SOLICITED_MULTICAST => Counters { solicitations_multicast: 1, ..Default::default() },
            abi::EVENT_SOLICITED_UNICAST => Counters { solicitations_unicast: 1, ..Default::default() },
            _ => Counters { solicitations_dad: 1, ..Default::default() },
        };
        let event = |kind| Event {
            kind,
            index: index as u32,
            address: memory(source),
            mac: link.source,
            announced: [0; 6],
            vlan: link.vlan_number(),
            ..Event::default()
        };
        let Some((reason, refused)) = self.refusal(index, kind, link.source) else {
            let multicast = kind == abi::EVENT_SOLICITED_MULTICAST && source.is_ipv6();
            if self.extra.is_some() && multicast && self.services[index].delayed {
                return Outcome {
                    verdict: Verdict::Drop,
                    frame: Vec::new(),
                    counted: Some((index, counted)),
                    reasons: vec![Drop::Delayed],
                    event: Some(event(abi::EVENT_SOLICITED_DELAYED)),
                };
            }
            counted.answered = 1;
            let told = self.extra.is_some() && kind != abi::EVENT_SOLICITED_DAD;
            return Outcome {
                verdict: Verdict::Tx,
                frame: answer,
                counted: Some((index, counted)),
                reasons: Vec::new(),
                event: told.then(|| event(abi::EVENT_SOLICITED_ANSWERED)),
            };
        };
        counted.refused_held = refused.refused_held;
        counted.refused_shut = refused.refused_shut;
        counted.refused_stale = refused.refused_stale;
        Outcome {
            verdict: Verdict::Drop,
            frame: Vec::new(),
            counted: Some((index, counted)),
            reasons: vec![reason],
            event: Some(event(kind)),
        }
    }

    /// A valid advertisement of another server.
    fn peer(
        &self,
        link: &Link,
        index: usize,
        source: impl Into<IpAddr>,
        announced: Option<Mac>,
        flags: u8,
        behind: &[u8],
    ) -> Outcome {
        // Copied are as many octets as an option with a signature has, or as one without, or none.
        let copied = [80, 40].into_iter().find(|length| *length <= behind.len()).unwrap_or(0);
        let mut option = [[0; 8]; 10];
        for (at, octet) in behind.iter().enumerate().take(copied) {
            option[at / 8][at % 8] = *octet;
        }
        Outcome {
            verdict: Verdict::Drop,
            frame: Vec::new(),
            counted: Some((index, Counters { advertisements: 1, ..Default::default() })),
            reasons: vec![Drop::PeerAdvertisement],
            event: Some(Event {
                kind: abi::EVENT_PEER_ADVERTISEMENT,
                index: index as u32,
                address: memory(source),
                mac: link.source,
                announced: announced.unwrap_or_default(),
                vlan: link.vlan_number(),
                flags: flags.into(),
                option_length: copied as u32,
                option,
            }),
        }
    }
}

struct Solicitation {
    index: usize,
    kind: u32,
    source: IpAddr,
}

fn dropped(reasons: Vec<Drop>) -> Outcome {
    Outcome { verdict: Verdict::Drop, frame: Vec::new(), counted: None, reasons, event: None }
}

/// A frame that passes and is counted.
fn passed(frame: &[u8], index: usize, counted: Counters) -> Outcome {
    Outcome {
        verdict: Verdict::Pass,
        frame: frame.to_vec(),
        counted: Some((index, counted)),
        reasons: Vec::new(),
        event: None,
    }
}

/// The address as the maps hold it: network byte order in memory, IPv4 mapped into IPv6.
fn memory(address: impl Into<IpAddr>) -> [u32; 4] {
    let octets = match address.into() {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    std::array::from_fn(|word| u32::from_ne_bytes(std::array::from_fn(|octet| octets[4 * word + octet])))
}
