//! The 32-bit names of routers and areas, written as four decimal numbers.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// Name of a router; 0 is no router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId(pub u32);

/// Name of an area; 0 is the backbone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AreaId(pub u32);

impl RouterId {
    /// No router: no Designated Router is known, for instance.
    pub const NONE: Self = Self(0);
}

impl AreaId {
    /// The backbone.
    pub const BACKBONE: Self = Self(0);
}

/// Text that names no router or area.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither four decimal numbers such as 10.0.0.1 nor one number")]
pub struct IdError(String);

fn parse(text: &str) -> Result<u32, IdError> {
    let dotted = text.parse::<Ipv4Addr>().map(u32::from).ok();
    dotted.or_else(|| text.parse().ok()).ok_or_else(|| IdError(text.to_owned()))
}

impl fmt::Display for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ipv4Addr::from(self.0).fmt(f)
    }
}

impl fmt::Display for AreaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ipv4Addr::from(self.0).fmt(f)
    }
}

impl FromStr for RouterId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        parse(text).map(Self)
    }
}

impl FromStr for AreaId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        parse(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_shown() {
        assert_eq!("10.0.0.1".parse(), Ok(RouterId(0x0a00_0001)));
        assert_eq!(RouterId(0x0a00_0001).to_string(), "10.0.0.1");
        assert_eq!("7".parse(), Ok(AreaId(7)));
        assert_eq!(AreaId::BACKBONE.to_string(), "0.0.0.0");
        assert!("10.0.1".parse::<RouterId>().is_err());
        assert!("-1".parse::<AreaId>().is_err());
    }
}
