//! Where a registrar is, as people write it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// ASAP over TCP (RFC 5352 9.1).
pub const PORT: u16 = 3863;
/// ASAP over TLS (RFC 5352 9.1).
pub const PORT_TLS: u16 = 3864;

/// A registrar: an address or a name, with or without a port. Without one it is 3863, with TLS 3864.
///
/// ```
/// use anycast_user::pool::RegistrarAddress;
///
/// let one: RegistrarAddress = "2001:db8::1".parse().unwrap();
/// assert_eq!((one.host(), one.port(false), one.port(true)), ("2001:db8::1", 3863, 3864));
/// let other: RegistrarAddress = "registrar.example:4000".parse().unwrap();
/// assert_eq!((other.host(), other.port(false)), ("registrar.example", 4000));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegistrarAddress {
    host: String,
    port: Option<u16>,
}

/// What was written names no registrar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no registrar: write an address or a name, as \"[2001:db8::1]:3863\", \"192.0.2.1\" or \"registrar.example\""
)]
pub struct NoAddress(pub String);

impl RegistrarAddress {
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
        Self { host: address.ip().to_string(), port: Some(address.port()) }
    }
}

impl FromStr for RegistrarAddress {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return if address.port() == 0 { Err(NoAddress(text.to_owned())) } else { Ok(address.into()) };
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if bare.parse::<IpAddr>().is_ok() {
            return Ok(Self { host: bare.to_owned(), port: None });
        }
        let (host, port) = match text.split_once(':') {
            None => (text, None),
            Some((host, port)) => {
                let port = port.parse().ok().filter(|port| *port != 0);
                (host, Some(port.ok_or_else(|| NoAddress(text.to_owned()))?))
            }
        };
        let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || !host.chars().all(of_name) {
            return Err(NoAddress(text.to_owned()));
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for RegistrarAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.port, self.host.contains(':')) {
            (Some(port), true) => write!(f, "[{}]:{port}", self.host),
            (Some(port), false) => write!(f, "{}:{port}", self.host),
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
    fn what_names_nobody_is_refused_with_an_example() {
        for text in
            ["", ":3863", "one.example:0", "[::1]:0", "one.example:x", "a b", "[::1", "2001:db8::1:zz"]
        {
            let error = text.parse::<RegistrarAddress>().unwrap_err().to_string();
            assert!(error.contains("registrar.example"), "{text}: {error}");
        }
    }
}
