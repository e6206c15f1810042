//! The heartbeat: what the servers of a farm tell each other on a link, and its form on the wire.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |          "AF" (0x4146)        |  Version = 1  |     Flags     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                       Interval, microseconds                  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                                                               |
//! +                           Server id                           +
//! |                                                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                                                               |
//! +                          Incarnation                          +
//! |                                                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                                                               |
//! +                            Sequence                           +
//! |                                                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |              Type             |             Length            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Value (Length octets), then the next Type …
//! ```
//!
//! Flag 0x01 = Leaving: the sender stops, forget it. Other flags are zero when sent and ignored when received.
//!
//! All numbers are big-endian. Elements need no alignment and no padding. An element of unknown type is skipped, unless the
//! highest bit of its type is set: then the datagram is refused, because ignoring it would change its meaning. Elements:
//!
//! | type | name | value |
//! |---|---|---|
//! | 1 | Farm | name, UTF-8, 1 to 63 octets; exactly once, first |
//! | 2 | Link-layer address | 6 octets: the MAC from which the sender serves |
//! | 3 | Service | 16 address (IPv4 as `::ffff:a.b.c.d`), 4 VLAN key, 1 state, 1 flags, 8 epoch, 8 owner, then elements |
//! | 3.1 | Successors | server ids, 8 octets each, first to last |
//! | 3.2 | Slice left | 4 octets, milliseconds |
//! | 3.3 | Load | 2 load in permille, 4 capacity and 4 rate in queries per second (capacity 0: unknown) |
//! | 3.4 | Priority | 1 octet; left out if it is 100 |
//! | 3.5 | Routers | for each router 6 MAC address, 2 flags, 8 interface identifier of its link-local address, 8 owner (0: none) |
//!
//! Flag 0x0001 of a router: the sender has seen it itself. An owner of the address names the owner of each router's entry, any other
//! server only those it owns itself. The element is there, if need be empty, exactly if the sender can own single routers' entries.
//!
//! A signed heartbeat ends with the elements of [`trailer`](crate::auth::trailer), which everybody without keys skips.
//!
//! A datagram that is longer than [`DATAGRAM_MAX`] is never sent: a server with more services sends several, each with a
//! sequence number of its own.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::config::{FARM_NAME_MAX, PRIORITY_DEFAULT, ServerId};
use crate::event::State;
use crate::router::{ROUTERS_MAX, Router};

/// Longest UDP payload sent: fits IPv6's minimum MTU of 1280 (RFC 8200 5) behind 40 + 8 octets of headers.
pub const DATAGRAM_MAX: usize = 1200;

/// Most successors an owner names.
pub const SUCCESSORS_MAX: usize = 8;

const MAGIC: u16 = 0x4146;
const VERSION: u8 = 1;

/// Octet ranges of the fixed part.
pub(crate) mod field {
    use core::ops::Range;

    pub const MAGIC: Range<usize> = 0..2;
    pub const VERSION: usize = 2;
    pub const FLAGS: usize = 3;
    pub const INTERVAL: Range<usize> = 4..8;
    pub const SERVER: Range<usize> = 8..16;
    pub const INCARNATION: Range<usize> = 16..24;
    pub const SEQUENCE: Range<usize> = 24..32;
    pub const ELEMENTS: usize = 32;

    /// Within an element.
    pub const TYPE: Range<usize> = 0..2;
    pub const LENGTH: Range<usize> = 2..4;
    pub const VALUE: usize = 4;

    /// Within the value of a Service element.
    pub const ADDRESS: Range<usize> = 0..16;
    pub const VLAN: Range<usize> = 16..20;
    pub const STATE: usize = 20;
    pub const SERVICE_FLAGS: usize = 21;
    pub const EPOCH: Range<usize> = 22..30;
    pub const OWNER: Range<usize> = 30..38;
    pub const SERVICE_ELEMENTS: usize = 38;

    /// Within the value of a Load element.
    pub const PERMILLE: Range<usize> = 0..2;
    pub const CAPACITY: Range<usize> = 2..6;
    pub const RATE: Range<usize> = 6..10;
    pub const LOAD_LEN: usize = 10;

    /// Within one router of a Routers element.
    pub const ROUTER_MAC: Range<usize> = 0..6;
    pub const ROUTER_FLAGS: Range<usize> = 6..8;
    pub const ROUTER_ADDRESS: Range<usize> = 8..16;
    pub const ROUTER_OWNER: Range<usize> = 16..24;
    pub const ROUTER_LEN: usize = 24;
}

/// Element types.
mod element {
    /// Set in the type: refuse the datagram rather than skip the element.
    pub const MANDATORY: u16 = 0x8000;
    pub const FARM: u16 = 1;
    pub const LINK_LAYER_ADDRESS: u16 = 2;
    pub const SERVICE: u16 = 3;
    /// Within a Service element.
    pub const SUCCESSORS: u16 = 1;
    pub const SLICE_LEFT: u16 = 2;
    pub const LOAD: u16 = 3;
    pub const PRIORITY: u16 = 4;
    pub const ROUTERS: u16 = 5;
}

/// Flag of a [`Message`]: the sender stops.
const FLAG_LEAVING: u8 = 0x01;
/// Flag of a [`Report`]: the sender suspects that the owner is dead; an owner answers at once, a successor too.
const FLAG_SUSPECT: u8 = 0x01;
/// Flag of a [`Report`]: at the back of the queue, because it is coming up or pays a flap penalty.
const FLAG_LAST: u8 = 0x02;

/// Flag of a [`Claim`]: seen by the sender itself.
const FLAG_FIRST_HAND: u16 = 0x0001;

/// One heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The farm's name.
    pub farm: String,
    /// Sender.
    pub server: ServerId,
    /// Which start of the sender this is: sequence numbers begin anew with each. With authentication it grows from start to start
    /// (see [`auth`](crate::auth)); without, it is drawn.
    pub incarnation: u64,
    /// Grows with each datagram of an incarnation.
    pub sequence: u64,
    /// The next heartbeat follows within this time; silent for three of them, the sender is dead. Microseconds on the wire.
    pub interval: Duration,
    /// The sender stops: after what this message reports there is nothing to wait for.
    pub leaving: bool,
    /// The sender's MAC address on the link.
    pub mac: Option<[u8; 6]>,
    /// Its services on the link (or those that fit).
    pub services: Vec<Report>,
}

/// What a heartbeat says about one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Service address.
    pub address: IpAddr,
    /// VLAN key.
    pub vlan: u32,
    /// The sender's state. `Owner` means: the gate is open and the sender means to keep it so.
    pub state: State,
    /// The sender suspects that the owner is dead.
    pub suspect: bool,
    /// The sender stands at the back of the queue.
    pub last: bool,
    /// Highest epoch the sender knows; an owner's own.
    pub epoch: u64,
    /// Whom the sender hears owning the address, itself included.
    pub owner: Option<ServerId>,
    /// From an owner: who takes over, first to last, at most [`SUCCESSORS_MAX`].
    pub successors: Vec<ServerId>,
    /// From an owner in `rotate` mode: what is left of its slice. Milliseconds on the wire.
    pub slice_left: Option<Duration>,
    /// The sender's load; an owner's rate is the farm's.
    pub load: Option<Load>,
    /// The sender's priority.
    pub priority: u8,
    /// What the sender knows of single routers, at most [`ROUTERS_MAX`]; `None` = it knows no such ownership.
    pub routers: Option<Vec<Claim>>,
}

/// What a heartbeat says about one router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The router.
    pub router: Router,
    /// Who owns its entry.
    pub server: Option<ServerId>,
    /// The sender has seen it itself.
    pub first_hand: bool,
}

/// Load of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Permille of what it can serve; above 1000 it loses queries.
    pub permille: u16,
    /// Queries per second it can serve; 0 = unknown.
    pub capacity: u32,
    /// Queries per second it gets.
    pub rate: u32,
}

/// Why a datagram is no heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum DecodeError {
    #[error("{0} octets are too few")]
    Short(usize),
    #[error("magic number {0:#06x}")]
    Magic(u16),
    #[error("version {0} is not spoken here")]
    Version(u8),
    #[error("server id 0")]
    ServerId,
    #[error("interval 0")]
    Interval,
    #[error("element {kind} of {length} octets at octet {offset} runs past the end")]
    Truncated { kind: u16, length: usize, offset: usize },
    #[error("element {kind} cannot have {length} octets")]
    Length { kind: u16, length: usize },
    #[error("mandatory element {0:#06x} is unknown")]
    Mandatory(u16),
    #[error("does not begin with the farm's name, or names it twice")]
    Farm,
    #[error("farm name is not UTF-8")]
    FarmName,
    #[error("state {0} is unknown")]
    State(u8),
    #[error("interface identifier {0:#018x} or its MAC address is no router's")]
    Router(u64),
}

impl Message {
    /// The datagram. Its length is [`encoded_len`](Self::encoded_len).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; field::ELEMENTS];
        out[field::MAGIC].copy_from_slice(&MAGIC.to_be_bytes());
        out[field::VERSION] = VERSION;
        out[field::FLAGS] = if self.leaving { FLAG_LEAVING } else { 0 };
        let interval = u32::try_from(self.interval.as_micros()).unwrap_or(u32::MAX).max(1);
        out[field::INTERVAL].copy_from_slice(&interval.to_be_bytes());
        out[field::SERVER].copy_from_slice(&self.server.0.to_be_bytes());
        out[field::INCARNATION].copy_from_slice(&self.incarnation.to_be_bytes());
        out[field::SEQUENCE].copy_from_slice(&self.sequence.to_be_bytes());
        emit(&mut out, element::FARM, |out| out.extend_from_slice(self.farm.as_bytes()));
        if let Some(mac) = self.mac {
            emit(&mut out, element::LINK_LAYER_ADDRESS, |out| out.extend_from_slice(&mac));
        }
        for service in &self.services {
            emit(&mut out, element::SERVICE, |out| service.emit(out));
        }
        out
    }

    /// Length of the datagram.
    pub fn encoded_len(&self) -> usize {
        let mac = self.mac.map_or(0, |mac| field::VALUE + mac.len());
        let services = self.services.iter().map(Report::element_len).sum::<usize>();
        field::ELEMENTS + field::VALUE + self.farm.len() + mac + services
    }

    /// Reads a datagram from anybody. Never panics.
    pub fn decode(datagram: &[u8]) -> Result<Self, DecodeError> {
        if datagram.len() < field::ELEMENTS {
            return Err(DecodeError::Short(datagram.len()));
        }
        let magic = u16::from_be_bytes(array(&datagram[field::MAGIC]));
        if magic != MAGIC {
            return Err(DecodeError::Magic(magic));
        }
        if datagram[field::VERSION] != VERSION {
            return Err(DecodeError::Version(datagram[field::VERSION]));
        }
        let server = ServerId(u64::from_be_bytes(array(&datagram[field::SERVER])));
        if server.0 == 0 {
            return Err(DecodeError::ServerId);
        }
        let interval = u32::from_be_bytes(array(&datagram[field::INTERVAL]));
        if interval == 0 {
            return Err(DecodeError::Interval);
        }
        let mut elements = Elements { rest: datagram, offset: field::ELEMENTS };
        let Some((element::FARM, farm)) = elements.next()? else { return Err(DecodeError::Farm) };
        if farm.is_empty() || farm.len() > FARM_NAME_MAX {
            return Err(DecodeError::Length { kind: element::FARM, length: farm.len() });
        }
        let mut message = Self {
            farm: str::from_utf8(farm).map_err(|_| DecodeError::FarmName)?.to_owned(),
            server,
            incarnation: u64::from_be_bytes(array(&datagram[field::INCARNATION])),
            sequence: u64::from_be_bytes(array(&datagram[field::SEQUENCE])),
            interval: Duration::from_micros(interval.into()),
            leaving: datagram[field::FLAGS] & FLAG_LEAVING != 0,
            mac: None,
            services: Vec::new(),
        };
        while let Some((kind, value)) = elements.next()? {
            match kind {
                element::FARM => return Err(DecodeError::Farm),
                element::LINK_LAYER_ADDRESS => {
                    message.mac = Some(value.try_into().map_err(|_| length(kind, value))?);
                }
                element::SERVICE => message.services.push(Report::parse(value)?),
                unknown if unknown & element::MANDATORY != 0 => return Err(DecodeError::Mandatory(unknown)),
                _ => {}
            }
        }
        Ok(message)
    }
}

impl Report {
    /// Octets of the Service element.
    pub fn element_len(&self) -> usize {
        let successors = self.successors.len().min(SUCCESSORS_MAX);
        let successors = if successors == 0 { 0 } else { field::VALUE + 8 * successors };
        field::VALUE
            + field::SERVICE_ELEMENTS
            + successors
            + self.slice_left.map_or(0, |_| field::VALUE + 4)
            + self.load.map_or(0, |_| field::VALUE + field::LOAD_LEN)
            + if self.priority == PRIORITY_DEFAULT { 0 } else { field::VALUE + 1 }
            + self
                .routers
                .as_ref()
                .map_or(0, |claims| field::VALUE + field::ROUTER_LEN * claims.len().min(ROUTERS_MAX))
    }

    fn emit(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + field::SERVICE_ELEMENTS, 0);
        let fixed = &mut out[start..];
        let address = match self.address {
            IpAddr::V6(address) => address,
            IpAddr::V4(address) => address.to_ipv6_mapped(),
        };
        fixed[field::ADDRESS].copy_from_slice(&address.octets());
        fixed[field::VLAN].copy_from_slice(&self.vlan.to_be_bytes());
        fixed[field::STATE] = state_number(self.state);
        fixed[field::SERVICE_FLAGS] =
            if self.suspect { FLAG_SUSPECT } else { 0 } | if self.last { FLAG_LAST } else { 0 };
        fixed[field::EPOCH].copy_from_slice(&self.epoch.to_be_bytes());
        fixed[field::OWNER].copy_from_slice(&self.owner.map_or(0, |owner| owner.0).to_be_bytes());
        if !self.successors.is_empty() {
            emit(out, element::SUCCESSORS, |out| {
                for successor in self.successors.iter().take(SUCCESSORS_MAX) {
                    out.extend_from_slice(&successor.0.to_be_bytes());
                }
            });
        }
        if let Some(left) = self.slice_left {
            let left = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
            emit(out, element::SLICE_LEFT, |out| out.extend_from_slice(&left.to_be_bytes()));
        }
        if let Some(load) = self.load {
            emit(out, element::LOAD, |out| {
                out.extend_from_slice(&load.permille.to_be_bytes());
                out.extend_from_slice(&load.capacity.to_be_bytes());
                out.extend_from_slice(&load.rate.to_be_bytes());
            });
        }
        if self.priority != PRIORITY_DEFAULT {
            emit(out, element::PRIORITY, |out| out.push(self.priority));
        }
        if let Some(claims) = &self.routers {
            emit(out, element::ROUTERS, |out| {
                claims.iter().take(ROUTERS_MAX).for_each(|claim| claim.emit(out));
            });
        }
    }

    fn parse(value: &[u8]) -> Result<Self, DecodeError> {
        if value.len() < field::SERVICE_ELEMENTS {
            return Err(length(element::SERVICE, value));
        }
        let address = Ipv6Addr::from_octets(array(&value[field::ADDRESS]));
        let flags = value[field::SERVICE_FLAGS];
        let owner = u64::from_be_bytes(array(&value[field::OWNER]));
        let mut report = Self {
            address: address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4),
            vlan: u32::from_be_bytes(array(&value[field::VLAN])),
            state: state(value[field::STATE])?,
            suspect: flags & FLAG_SUSPECT != 0,
            last: flags & FLAG_LAST != 0,
            epoch: u64::from_be_bytes(array(&value[field::EPOCH])),
            owner: (owner != 0).then_some(ServerId(owner)),
            successors: Vec::new(),
            slice_left: None,
            load: None,
            priority: PRIORITY_DEFAULT,
            routers: None,
        };
        let mut elements = Elements { rest: value, offset: field::SERVICE_ELEMENTS };
        while let Some((kind, value)) = elements.next()? {
            match kind {
                element::SUCCESSORS => {
                    if value.len() % 8 != 0 || value.len() > 8 * SUCCESSORS_MAX {
                        return Err(length(kind, value));
                    }
                    report.successors =
                        value.chunks_exact(8).map(|id| ServerId(u64::from_be_bytes(array(id)))).collect();
                }
                element::SLICE_LEFT => {
                    let left: [u8; 4] = value.try_into().map_err(|_| length(kind, value))?;
                    report.slice_left = Some(Duration::from_millis(u32::from_be_bytes(left).into()));
                }
                element::LOAD => {
                    let load: [u8; field::LOAD_LEN] = value.try_into().map_err(|_| length(kind, value))?;
                    report.load = Some(Load {
                        permille: u16::from_be_bytes(array(&load[field::PERMILLE])),
                        capacity: u32::from_be_bytes(array(&load[field::CAPACITY])),
                        rate: u32::from_be_bytes(array(&load[field::RATE])),
                    });
                }
                element::PRIORITY => {
                    let [priority] = value.try_into().map_err(|_| length(kind, value))?;
                    report.priority = priority;
                }
                element::ROUTERS => {
                    if value.len() % field::ROUTER_LEN != 0 || value.len() > field::ROUTER_LEN * ROUTERS_MAX {
                        return Err(length(kind, value));
                    }
                    let claims = value.chunks_exact(field::ROUTER_LEN).map(Claim::parse);
                    report.routers = Some(claims.collect::<Result<_, _>>()?);
                }
                unknown if unknown & element::MANDATORY != 0 => return Err(DecodeError::Mandatory(unknown)),
                _ => {}
            }
        }
        Ok(report)
    }
}

impl Claim {
    fn emit(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + field::ROUTER_LEN, 0);
        let claim = &mut out[start..];
        let flags = if self.first_hand { FLAG_FIRST_HAND } else { 0 };
        claim[field::ROUTER_MAC].copy_from_slice(&self.router.mac);
        claim[field::ROUTER_FLAGS].copy_from_slice(&flags.to_be_bytes());
        claim[field::ROUTER_ADDRESS].copy_from_slice(&self.router.interface_id().to_be_bytes());
        claim[field::ROUTER_OWNER].copy_from_slice(&self.server.map_or(0, |server| server.0).to_be_bytes());
    }

    fn parse(claim: &[u8]) -> Result<Self, DecodeError> {
        let interface_id = u64::from_be_bytes(array(&claim[field::ROUTER_ADDRESS]));
        let owner = u64::from_be_bytes(array(&claim[field::ROUTER_OWNER]));
        Ok(Self {
            router: Router::new(Router::address_of(interface_id), array(&claim[field::ROUTER_MAC]))
                .ok_or(DecodeError::Router(interface_id))?,
            server: (owner != 0).then_some(ServerId(owner)),
            first_hand: u16::from_be_bytes(array(&claim[field::ROUTER_FLAGS])) & FLAG_FIRST_HAND != 0,
        })
    }
}

/// Appends an element whose value `value` appends.
fn emit(out: &mut Vec<u8>, kind: u16, value: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0; 2]);
    value(out);
    // The longest value is a Service element of 38 + 68 + 8 + 14 + 5 + 388 octets.
    let length = u16::try_from(out.len() - start - field::VALUE).unwrap_or(u16::MAX);
    out[start..][field::LENGTH].copy_from_slice(&length.to_be_bytes());
}

/// Walks over elements.
pub(crate) struct Elements<'a> {
    pub(crate) rest: &'a [u8],
    pub(crate) offset: usize,
}

impl<'a> Elements<'a> {
    /// The next element's type and value; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u16, &'a [u8])>, DecodeError> {
        let rest = self.rest.get(self.offset..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        if rest.len() < field::VALUE {
            return Err(DecodeError::Truncated { kind: 0, length: rest.len(), offset: self.offset });
        }
        let kind = u16::from_be_bytes(array(&rest[field::TYPE]));
        let length = usize::from(u16::from_be_bytes(array(&rest[field::LENGTH])));
        let Some(value) = rest[field::VALUE..].get(..length) else {
            return Err(DecodeError::Truncated { kind, length, offset: self.offset });
        };
        self.offset += field::VALUE + length;
        Ok(Some((kind, value)))
    }
}

const fn length(kind: u16, value: &[u8]) -> DecodeError {
    DecodeError::Length { kind, length: value.len() }
}

/// A slice whose length the caller's named range or chunk fixes, as an array.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(bytes);
    out
}

const fn state_number(state: State) -> u8 {
    match state {
        State::Down => 0,
        State::Standby => 1,
        State::Ready => 2,
        State::Owner => 3,
        State::Drained => 4,
    }
}

fn state(number: u8) -> Result<State, DecodeError> {
    State::ALL.into_iter().find(|state| state_number(*state) == number).ok_or(DecodeError::State(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use std::net::Ipv4Addr;

    fn message() -> Message {
        Message {
            farm: "dns".to_owned(),
            server: ServerId(0x0102_0304_0506_0708),
            incarnation: 0x1112_1314_1516_1718,
            sequence: 0x2122_2324_2526_2728,
            interval: Duration::from_millis(50),
            leaving: false,
            mac: Some([2, 0, 0, 0, 0, 1]),
            services: vec![Report {
                address: "2001:db8::53".parse().expect("an address"),
                vlan: 7,
                state: State::Owner,
                suspect: false,
                last: true,
                epoch: 9,
                owner: Some(ServerId(0x0102_0304_0506_0708)),
                successors: vec![ServerId(3)],
                slice_left: Some(Duration::from_millis(1000)),
                load: Some(Load { permille: 500, capacity: 200_000, rate: 100_000 }),
                priority: PRIORITY_DEFAULT,
                routers: None,
            }],
        }
    }

    #[rustfmt::skip]
    const BYTES: &[u8] = &[
        0x41, 0x46, 1, 0, 0, 0, 0xc3, 0x50,
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
        0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,
        0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28,
        0, 1, 0, 3, b'd', b'n', b's',
        0, 2, 0, 6, 2, 0, 0, 0, 0, 1,
        0, 3, 0, 72,
        0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53,
        0, 0, 0, 7, 3, 2,
        0, 0, 0, 0, 0, 0, 0, 9,
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
        0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 3,
        0, 2, 0, 4, 0, 0, 0x03, 0xe8,
        0, 3, 0, 10, 0x01, 0xf4, 0, 0x03, 0x0d, 0x40, 0, 0x01, 0x86, 0xa0,
    ];

    #[test]
    fn fixed_octets_are_a_fixed_message_both_ways() {
        assert_eq!(message().encode(), BYTES);
        assert_eq!(message().encoded_len(), BYTES.len());
        assert_eq!(Message::decode(BYTES), Ok(message()));
    }

    #[test]
    fn any_message_survives_the_wire() {
        let mut random = Random::new(3);
        for _ in 0..2_000 {
            let message = any(&mut random);
            let datagram = message.encode();
            assert_eq!(datagram.len(), message.encoded_len());
            assert_eq!(Message::decode(&datagram), Ok(message));
        }
    }

    #[test]
    fn each_mistake_is_refused_with_its_reason() {
        let with = |at: usize, value: u8| {
            let mut bytes = BYTES.to_vec();
            bytes[at] = value;
            Message::decode(&bytes)
        };
        assert_eq!(Message::decode(&BYTES[..31]), Err(DecodeError::Short(31)));
        assert_eq!(with(0, 0), Err(DecodeError::Magic(0x0046)));
        assert_eq!(with(2, 2), Err(DecodeError::Version(2)));
        assert_eq!(Message::decode(&BYTES[..32]), Err(DecodeError::Farm));
        assert_eq!(with(33, 2), Err(DecodeError::Farm), "must begin with the farm");
        assert_eq!(with(36, 0xff), Err(DecodeError::FarmName));
        assert_eq!(with(40, 1), Err(DecodeError::Farm), "twice");
        assert_eq!(with(42, 5), Err(DecodeError::Length { kind: 2, length: 5 }));
        assert_eq!(with(52, 73), Err(DecodeError::Truncated { kind: 3, length: 73, offset: 49 }));
        assert_eq!(with(73, 5), Err(DecodeError::State(5)));
        let mut no_server = BYTES.to_vec();
        no_server[field::SERVER].fill(0);
        assert_eq!(Message::decode(&no_server), Err(DecodeError::ServerId));
        let mut no_interval = BYTES.to_vec();
        no_interval[field::INTERVAL].fill(0);
        assert_eq!(Message::decode(&no_interval), Err(DecodeError::Interval));
    }

    #[test]
    fn unknown_elements_are_skipped_unless_mandatory() {
        let mut bytes = BYTES.to_vec();
        bytes.extend_from_slice(&[0, 99, 0, 2, 1, 2]);
        assert_eq!(Message::decode(&bytes), Ok(message()));
        let at = bytes.len() - 6;
        bytes[at] = 0x80;
        assert_eq!(Message::decode(&bytes), Err(DecodeError::Mandatory(0x8063)));
    }

    #[test]
    fn routers_have_fixed_octets_and_a_limit() {
        let mut sent = message();
        let router = Router { address: Router::address_of(0x0201), mac: [2, 0, 0, 0, 0, 9] };
        let claim = Claim { router, server: Some(ServerId(7)), first_hand: true };
        sent.services[0].routers = Some(vec![claim]);
        let mut expected = BYTES.to_vec();
        expected[52] += 4 + 24;
        expected.extend_from_slice(&[0, 5, 0, 24, 2, 0, 0, 0, 0, 9, 0, 1]);
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(sent.encode(), expected);
        assert_eq!(Message::decode(&expected), Ok(sent.clone()));
        // The largest report still fits into one datagram.
        sent.services[0].routers = Some(vec![claim; ROUTERS_MAX + 1]);
        sent.services[0].successors = vec![ServerId(1); SUCCESSORS_MAX];
        sent.farm = "x".repeat(FARM_NAME_MAX);
        assert!(sent.encode().len() < DATAGRAM_MAX / 2 + 100, "{}", sent.encode().len());
        assert_eq!(
            Message::decode(&sent.encode()).expect("decodes").services[0].routers.as_ref().map(Vec::len),
            Some(ROUTERS_MAX)
        );
        let at = expected.len() - 24;
        expected[at] = 1;
        assert_eq!(Message::decode(&expected), Err(DecodeError::Router(0x0201)), "a group's MAC address");
    }

    #[test]
    fn ipv4_addresses_travel_mapped() {
        let mut sent = message();
        sent.services[0].address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53));
        assert_eq!(Message::decode(&sent.encode()), Ok(sent));
    }

    #[test]
    fn no_octets_panic_the_decoder() {
        let mut random = Random::new(5);
        let mut refused = 0;
        for _ in 0..50_000 {
            let mut bytes = any(&mut random).encode();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                match random.below(3) {
                    0 => bytes[at] = random.next() as u8,
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, random.next() as u8),
                }
            }
            match Message::decode(&bytes) {
                // What is accepted has a meaning that survives being written again.
                Ok(message) => assert_eq!(Message::decode(&message.encode()), Ok(message)),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 10_000, "{refused}");
    }

    fn any(random: &mut Random) -> Message {
        let service = |random: &mut Random| Report {
            address: IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) | u128::from(random.next()))),
            vlan: random.below(4096) as u32,
            state: State::ALL[random.below(5) as usize],
            suspect: random.chance(0.5),
            last: random.chance(0.5),
            epoch: random.next(),
            owner: random.chance(0.5).then(|| ServerId(random.next().max(1))),
            successors: (0..random.below(9)).map(|_| ServerId(random.next())).collect(),
            slice_left: random.chance(0.5).then(|| Duration::from_millis(random.below(100_000))),
            load: random.chance(0.5).then(|| Load { permille: random.next() as u16, capacity: 5, rate: 7 }),
            priority: if random.chance(0.5) { PRIORITY_DEFAULT } else { random.next() as u8 },
            routers: random.chance(0.5).then(|| {
                let claim = |random: &mut Random| Claim {
                    router: Router {
                        address: Router::address_of(random.next().max(1)),
                        mac: [2, 0, 0, 0, 0, random.next() as u8],
                    },
                    server: random.chance(0.5).then(|| ServerId(random.next().max(1))),
                    first_hand: random.chance(0.5),
                };
                (0..random.below(17)).map(|_| claim(random)).collect()
            }),
        };
        Message {
            farm: "x".repeat(1 + random.below(63) as usize),
            server: ServerId(random.next().max(1)),
            incarnation: random.next(),
            sequence: random.next(),
            interval: Duration::from_micros(1 + random.below(1 << 31)),
            leaving: random.chance(0.5),
            mac: random.chance(0.5).then(|| [2, 0, 0, 0, 0, random.next() as u8]),
            services: (0..random.below(5)).map(|_| service(random)).collect(),
        }
    }
}
