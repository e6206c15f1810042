//! Where a registrar is, as people write it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// ASAP over TCP and SCTP (RFC 5352 9.1).
pub const PORT: u16 = 3863;
/// ASAP over TLS (RFC 5352 9.1).
pub const PORT_TLS: u16 = 3864;

/// What stands before an address that is to be reached by SCTP.
const SCTP: &str = "sctp://";

/// How a registrar is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RegistrarProtocol {
    /// TCP, perhaps with TLS.
    #[default]
    Tcp,
    /// SCTP, in clear text.
    Sctp,
}

/// A registrar: an address or a name, with or without a port. Without one it is 3863, with TLS 3864. It is reached by TCP, or by SCTP if
/// `sctp://` stands before.
///
/// ```
/// use anycast_user::pool::{RegistrarAddress, RegistrarProtocol};
///
/// let one: RegistrarAddress = "2001:db8::1".parse().unwrap();
/// assert_eq!((one.host(), one.port(false), one.port(true)), ("2001:db8::1", 3863, 3864));
/// let other: RegistrarAddress = "registrar.example:4000".parse().unwrap();
/// assert_eq!((other.host(), other.port(false)), ("registrar.example", 4000));
/// let third: RegistrarAddress = "sctp://[2001:db8::1]:4000".parse().unwrap();
/// assert_eq!((third.protocol(), third.host()), (RegistrarProtocol::Sctp, "2001:db8::1"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegistrarAddress {
    protocol: RegistrarProtocol,
    host: String,
    port: Option<u16>,
}

/// What was written names no registrar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no registrar: write an address or a name, as \"[2001:db8::1]:3863\", \"192.0.2.1\", \"registrar.example\" or \"sctp://192.0.2.1\""
)]
pub struct NoAddress(pub String);

impl RegistrarAddress {
    /// The same, reached in another way.
    #[must_use]
    pub fn by(self, protocol: RegistrarProtocol) -> Self {
        Self { protocol, ..self }
    }

    /// How it is reached.
    pub const fn protocol(&self) -> RegistrarProtocol {
        self.protocol
    }

    /// The address or name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self, tls: bool) -> u16 {
        self.port.unwrap_or(if tls { PORT_TLS } else { PORT })
    }
}

impl From<SocketAddr> for RegistrarAddress {
    fn from(address: SocketAddr) -> Self {
        let (host, port) = (address.ip().to_string(), Some(address.port()));
        Self { protocol: RegistrarProtocol::Tcp, host, port }
    }
}

impl FromStr for RegistrarAddress {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let (protocol, rest) = match text.strip_prefix(SCTP) {
            Some(rest) => (RegistrarProtocol::Sctp, rest),
            None => (RegistrarProtocol::Tcp, text),
        };
        match host_and_port(rest) {
            Some((host, port)) => Ok(Self { protocol, host, port }),
            None => Err(NoAddress(text.to_owned())),
        }
    }
}

/// The two parts of an address or name; `None` if it is neither.
fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.port() != 0).then(|| (address.ip().to_string(), Some(address.port())));
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare.parse::<IpAddr>().is_ok() {
        return Some((bare.to_owned(), None));
    }
    let (host, port) = match text.split_once(':') {
        None => (text, None),
        Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port != 0)?)),
    };
    let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (!host.is_empty() && host.chars().all(of_name)).then(|| (host.to_owned(), port))
}

impl fmt::Display for RegistrarAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.protocol == RegistrarProtocol::Sctp {
            f.write_str(SCTP)?;
        }
        match (self.port, self.host.contains(':')) {
            (Some(port), true) => write!(f, "[{}]:{port}", self.host),
            (Some(port), false) => write!(f, "{}:{port}", self.host),
            // A scheme has brackets after it.
            (None, true) if self.protocol == RegistrarProtocol::Sctp => write!(f, "[{}]", self.host),
            (None, _) => f.write_str(&self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_read_and_written() {
        for (text, host, port) in [
            ("[2001:db8::1]:99", "2001:db8::1", 99),
            ("2001:db8::1", "2001:db8::1", 3863),
            ("192.0.2.1:1", "192.0.2.1", 1),
            ("192.0.2.1", "192.0.2.1", 3863),
            ("one.example", "one.example", 3863),
            ("one.example:5", "one.example", 5),
        ] {
            let read: RegistrarAddress = text.parse().unwrap();
            assert_eq!((read.host(), read.port(false)), (host, port), "{text}");
            assert_eq!(read.to_string(), text);
        }
        assert_eq!("[2001:db8::1]".parse::<RegistrarAddress>().unwrap().host(), "2001:db8::1");
    }

    #[test]
    fn sctp_is_asked_for_by_a_scheme() {
        for (text, host, port) in [
            ("sctp://[2001:db8::1]:99", "2001:db8::1", 99),
            ("sctp://[2001:db8::1]", "2001:db8::1", 3863),
            ("sctp://192.0.2.1", "192.0.2.1", 3863),
            ("sctp://one.example:5", "one.example", 5),
        ] {
            let read: RegistrarAddress = text.parse().unwrap();
            assert_eq!(read.protocol(), RegistrarProtocol::Sctp);
            assert_eq!((read.host(), read.port(false)), (host, port), "{text}");
            assert_eq!(read.to_string(), text);
            assert_ne!(text.trim_start_matches(SCTP).parse(), Ok(read), "the transport makes a difference");
        }
    }

    #[test]
    fn what_names_nobody_is_refused_with_an_example() {
        for text in [
            "",
            ":3863",
            "one.example:0",
            "[::1]:0",
            "one.example:x",
            "a b",
            "[::1",
            "2001:db8::1:zz",
            "sctp://",
            "udp://::1",
        ] {
            let error = text.parse::<RegistrarAddress>().unwrap_err().to_string();
            assert!(error.contains("registrar.example"), "{text}: {error}");
        }
    }
}
