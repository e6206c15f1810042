//! Who may register in which pool (RFC 5355 2.4: an element that is who it says may still not belong there).

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::PoolHandle;

/// The pools that there may be, and for each who may be in it. Without any there may be all, for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    pools: BTreeMap<PoolHandle, Vec<Member>>,
}

/// Elements by the name that they showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// Anybody, whether a name was shown or not: `*`.
    Anybody,
    /// All names below this one: `*.example`.
    Below(String),
    /// This name.
    Name(String),
}

/// What was written names no element.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no name of a certificate: write \"ns1.example\", \"*.example\" for all below, or \"*\" for anybody"
)]
pub struct NoMember(pub String);

impl FromStr for Member {
    type Err = NoMember;

    fn from_str(text: &str) -> Result<Self, NoMember> {
        if text == "*" {
            return Ok(Self::Anybody);
        }
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        // A digest stands for a certificate without a name.
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(fits) {
            return Err(NoMember(text.to_owned()));
        }
        let name = name.to_ascii_lowercase();
        Ok(if below { Self::Below(name) } else { Self::Name(name) })
    }
}

impl Member {
    fn is(&self, name: Option<&str>) -> bool {
        match (self, name) {
            (Self::Anybody, _) => true,
            (_, None) => false,
            (Self::Name(own), Some(name)) => name.eq_ignore_ascii_case(own),
            (Self::Below(own), Some(name)) => {
                let name = name.to_ascii_lowercase();
                name.strip_suffix(own.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
        }
    }
}

impl Members {
    /// Lets these register in a pool, beside those that may already.
    pub fn allow(&mut self, pool: PoolHandle, members: impl IntoIterator<Item = Member>) {
        self.pools.entry(pool).or_default().extend(members);
    }

    /// May an element that showed this name register in the pool?
    pub fn may(&self, pool: &PoolHandle, name: Option<&str>) -> bool {
        self.pools.is_empty()
            || self.pools.get(pool).is_some_and(|members| members.iter().any(|member| member.is(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(names: &[&str]) -> Members {
        let mut members = Members::default();
        members.allow("dns".into(), names.iter().map(|name| name.parse().unwrap()));
        members
    }

    #[test]
    fn without_a_list_everything_is_open_and_with_one_the_rest_is_closed() {
        assert!(Members::default().may(&"any".into(), None));
        let members = members(&["ns1.example"]);
        assert!(members.may(&"dns".into(), Some("NS1.example")));
        assert!(!members.may(&"dns".into(), Some("ns2.example")));
        assert!(!members.may(&"dns".into(), None));
        assert!(!members.may(&"any".into(), Some("ns1.example")));
    }

    #[test]
    fn names_below_and_anybody() {
        let below = members(&["*.dns.example"]);
        for (name, may) in [
            ("ns1.dns.example", true),
            ("a.b.dns.example", true),
            ("dns.example", false),
            (".dns.example", false),
            ("ns1dns.example", false),
            ("ns1.dns.example.org", false),
        ] {
            assert_eq!(below.may(&"dns".into(), Some(name)), may, "{name}");
        }
        assert!(members(&["*"]).may(&"dns".into(), None));
        assert!(!members(&[]).may(&"dns".into(), Some("ns1.example")));
        assert!(members(&["sha256:ab12"]).may(&"dns".into(), Some("sha256:ab12")));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "*.", "*x", "a b", ".example", "a.*.example"] {
            assert!(text.parse::<Member>().is_err(), "{text}");
        }
    }
}
