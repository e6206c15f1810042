//! The shape of a scenario file, as it stands there. What is left out is as [`Scenario::default`] has it.

use anycast_core::sim::Selector;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use toml::Spanned;

use crate::config::value::Time;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    #[serde(default)]
    pub farm: Farm,
    #[serde(default)]
    pub link: Link,
    #[serde(default)]
    pub run: Run,
    #[serde(default)]
    pub bounds: Bounds,
    #[serde(default)]
    pub step: Vec<Spanned<Step>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Farm {
    pub servers: Option<Spanned<i64>>,
    pub mode: Option<Spanned<String>>,
    pub slice: Option<Spanned<Time>>,
    pub heartbeat: Option<Spanned<Time>>,
    pub lease: Option<Spanned<Time>>,
    pub weights: Option<Spanned<Vec<i64>>>,
    pub capacity: Option<Spanned<Vec<i64>>>,
    pub congested_above: Option<Spanned<f64>>,
    pub standby: Option<Spanned<Standby>>,
    pub detection: Option<Spanned<Time>>,
    #[serde(default)]
    pub keys: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standby {
    pub queries: Spanned<i64>,
    pub window: Spanned<Time>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    pub latency: Option<Spanned<Time>>,
    pub jitter: Option<Spanned<Time>>,
    pub loss: Option<Spanned<f64>>,
    pub loss_run: Option<Spanned<i64>>,
    pub duplication: Option<Spanned<f64>>,
    pub reordering: Option<Spanned<f64>>,
    pub drift: Option<Spanned<i64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub seed: Option<Spanned<i64>>,
    pub boot: Option<Spanned<Time>>,
    pub warm_up: Option<Spanned<Time>>,
    pub duration: Option<Spanned<Time>>,
    pub rate: Option<Spanned<i64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    pub ownerless: Option<Spanned<Time>>,
    pub ownerless_alone: Option<Spanned<Time>>,
    pub owners: Option<Spanned<Time>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub at: Spanned<Time>,
    #[serde(rename = "do")]
    pub deed: Spanned<String>,
    pub server: Option<Spanned<Servers>>,
    pub way: Option<Spanned<String>>,
    pub loss: Option<Spanned<f64>>,
    pub rate: Option<Spanned<i64>>,
    #[serde(rename = "for")]
    pub lasts: Option<Spanned<Time>>,
    pub every: Option<Spanned<Time>>,
    pub times: Option<Spanned<i64>>,
    pub spacing: Option<Spanned<Time>>,
}

/// Which servers a step is about: a word, a range, or a number without quotes.
#[derive(Clone, Copy, Debug)]
pub struct Servers(pub Selector);

impl<'de> Deserialize<'de> for Servers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ServersVisitor;

        impl Visitor<'_> for ServersVisitor {
            type Value = Servers;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("owner, next, random, all, a number from 0, or a range as \"0-9\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Servers, E> {
                text.parse().map(Servers).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Servers, E> {
                self.visit_str(&number.to_string())
            }
        }

        deserializer.deserialize_any(ServersVisitor)
    }
}
