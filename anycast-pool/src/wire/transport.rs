//! Transport parameters (RFC 5354 3.1 to 3.7, 3.16): where a service, an element or a registrar is.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |       Type = 0x3 … 0x7        |       Length                  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |       Port                    |  Transport Use or reserved    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! :       DCCP: Service Code                                      :
//! :       Address parameter; SCTP: one or more                    :
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::DecodeError;
use super::parameter::{Parameter, ParameterType, Reports, Writer};

/// Is a control channel carried beside the data (RFC 5354 3.4)? Only SCTP can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TransportUse {
    /// Data only.
    #[default]
    Data,
    /// Data and control.
    DataAndControl,
    /// One from the future.
    Other(u16),
}

impl TransportUse {
    const fn code(self) -> u16 {
        match self {
            Self::Data => 0,
            Self::DataAndControl => 1,
            Self::Other(code) => code,
        }
    }

    const fn from_code(code: u16) -> Self {
        match code {
            0 => Self::Data,
            1 => Self::DataAndControl,
            _ => Self::Other(code),
        }
    }
}

/// Which transport, without its address. All elements of a pool have the same (RFC 5352 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum TransportKind {
    Dccp,
    Sctp,
    Tcp,
    Udp,
    UdpLite,
    Opaque,
}

impl TransportKind {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dccp => "dccp",
            Self::Sctp => "sctp",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::UdpLite => "udplite",
            Self::Opaque => "opaque",
        }
    }
}

/// A transport address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// RFC 5354 3.3.
    Dccp {
        /// Address and port.
        address: SocketAddr,
        /// DCCP service code.
        service_code: u32,
    },
    /// RFC 5354 3.4.
    Sctp {
        /// Port of all addresses.
        port: u16,
        /// With the control channel?
        transport_use: TransportUse,
        /// One at least.
        addresses: Vec<IpAddr>,
    },
    /// RFC 5354 3.5.
    Tcp(SocketAddr),
    /// RFC 5354 3.6.
    Udp(SocketAddr),
    /// RFC 5354 3.7.
    UdpLite(SocketAddr),
    /// RFC 5354 3.16: for whoever knows what it means.
    Opaque(Vec<u8>),
}

impl Transport {
    /// Which transport.
    pub const fn kind(&self) -> TransportKind {
        match self {
            Self::Dccp { .. } => TransportKind::Dccp,
            Self::Sctp { .. } => TransportKind::Sctp,
            Self::Tcp(_) => TransportKind::Tcp,
            Self::Udp(_) => TransportKind::Udp,
            Self::UdpLite(_) => TransportKind::UdpLite,
            Self::Opaque(_) => TransportKind::Opaque,
        }
    }

    /// With the control channel?
    pub const fn transport_use(&self) -> TransportUse {
        match self {
            Self::Sctp { transport_use, .. } => *transport_use,
            _ => TransportUse::Data,
        }
    }

    /// The first address and the port; `None` for an opaque one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Dccp { address, .. } | Self::Tcp(address) | Self::Udp(address) | Self::UdpLite(address) => {
                Some(*address)
            }
            Self::Sctp { port, addresses, .. } => {
                addresses.first().map(|address| SocketAddr::new(*address, *port))
            }
            Self::Opaque(_) => None,
        }
    }

    /// All addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let (one, many): (Option<IpAddr>, &[IpAddr]) = match self {
            Self::Dccp { address, .. } | Self::Tcp(address) | Self::Udp(address) | Self::UdpLite(address) => {
                (Some(address.ip()), &[])
            }
            Self::Sctp { addresses, .. } => (None, addresses),
            Self::Opaque(_) => (None, &[]),
        };
        one.into_iter().chain(many.iter().copied())
    }

    pub(super) const fn is_transport(kind: ParameterType) -> bool {
        matches!(kind.0, 0x0003..=0x0007 | 0x0010)
    }

    /// Reads the parameter, of which [`is_transport`](Self::is_transport) holds.
    pub(super) fn parse(parameter: Parameter<'_>, reports: &mut Reports) -> Result<Self, DecodeError> {
        let kind = parameter.kind;
        if kind == ParameterType::OPAQUE_TRANSPORT {
            return Ok(Self::Opaque(parameter.value().to_vec()));
        }
        let mut cursor = parameter.cursor();
        let port = cursor.u16()?;
        let transport_use = TransportUse::from_code(cursor.u16()?);
        let service_code = if kind == ParameterType::DCCP_TRANSPORT { cursor.u32()? } else { 0 };
        let mut addresses = Vec::with_capacity(1);
        while let Some(inner) = Parameter::next(&mut cursor, reports)? {
            addresses.push(parse_address(inner)?);
        }
        let missing = DecodeError::Missing("address of a transport");
        let first = SocketAddr::new(*addresses.first().ok_or(missing)?, port);
        if kind == ParameterType::SCTP_TRANSPORT {
            return Ok(Self::Sctp { port, transport_use, addresses });
        }
        if addresses.len() > 1 {
            let address = if addresses[1].is_ipv4() {
                ParameterType::IPV4_ADDRESS
            } else {
                ParameterType::IPV6_ADDRESS
            };
            return Err(DecodeError::Unexpected { kind: address.0, within: "a transport of one address" });
        }
        Ok(match kind {
            ParameterType::DCCP_TRANSPORT => Self::Dccp { address: first, service_code },
            ParameterType::TCP_TRANSPORT => Self::Tcp(first),
            ParameterType::UDP_TRANSPORT => Self::Udp(first),
            _ => Self::UdpLite(first),
        })
    }

    pub(super) fn emit(&self, out: &mut Writer<'_>) {
        match self {
            Self::Dccp { address, service_code } => out.nested(ParameterType::DCCP_TRANSPORT, |out| {
                out.u16(address.port());
                out.u16(0);
                out.u32(*service_code);
                emit_address(address.ip(), out);
            }),
            Self::Sctp { port, transport_use, addresses } => {
                out.nested(ParameterType::SCTP_TRANSPORT, |out| {
                    out.u16(*port);
                    out.u16(transport_use.code());
                    addresses.iter().for_each(|address| emit_address(*address, out));
                });
            }
            Self::Tcp(address) => emit_plain(ParameterType::TCP_TRANSPORT, *address, out),
            Self::Udp(address) => emit_plain(ParameterType::UDP_TRANSPORT, *address, out),
            Self::UdpLite(address) => emit_plain(ParameterType::UDP_LITE_TRANSPORT, *address, out),
            Self::Opaque(octets) => out.nested(ParameterType::OPAQUE_TRANSPORT, |out| out.octets(octets)),
        }
    }

    /// The whole parameter, as cause 7 shows it (RFC 5354 3.12.8).
    pub(crate) fn to_parameter(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        self.emit(&mut Writer::new(&mut octets));
        octets
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address(), self) {
            (_, Self::Opaque(octets)) => write!(f, "opaque:{}", octets.escape_ascii()),
            (Some(address), _) => write!(f, "{}:{address}", self.kind().name()),
            (None, _) => write!(f, "{}:nowhere", self.kind().name()),
        }
    }
}

fn emit_plain(kind: ParameterType, address: SocketAddr, out: &mut Writer<'_>) {
    out.nested(kind, |out| {
        out.u16(address.port());
        out.u16(0);
        emit_address(address.ip(), out);
    });
}

fn parse_address(parameter: Parameter<'_>) -> Result<IpAddr, DecodeError> {
    let value = parameter.value();
    let wrong = DecodeError::ValueLength { kind: parameter.kind.0, length: value.len() };
    match parameter.kind {
        ParameterType::IPV4_ADDRESS => <[u8; 4]>::try_from(value).map(|octets| Ipv4Addr::from(octets).into()),
        ParameterType::IPV6_ADDRESS => {
            <[u8; 16]>::try_from(value).map(|octets| Ipv6Addr::from(octets).into())
        }
        kind => return Err(DecodeError::Unexpected { kind: kind.0, within: "a transport" }),
    }
    .map_err(|_| wrong)
}

fn emit_address(address: IpAddr, out: &mut Writer<'_>) {
    match address {
        IpAddr::V4(address) => out.nested(ParameterType::IPV4_ADDRESS, |out| out.octets(&address.octets())),
        IpAddr::V6(address) => out.nested(ParameterType::IPV6_ADDRESS, |out| out.octets(&address.octets())),
    }
}
