//! Single values that TOML has no type for.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

/// A time with its unit: `"300ms"`, `"1s"`, `"2m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Duration);

/// One VLAN identifier, or two, outermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vlan(pub Vec<i64>);

/// Reads a whole number and its unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let wrong = || {
        format!(
            "{text:?} is not a duration: write a whole number and one of us, ms, s, m, h, as in \"300ms\" or \"1s\""
        )
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let micros = match unit.trim_start() {
        "us" => Some(number),
        "ms" => number.checked_mul(1_000),
        "s" => number.checked_mul(1_000_000),
        "m" | "min" => number.checked_mul(60_000_000),
        "h" => number.checked_mul(3_600_000_000),
        _ => return Err(wrong()),
    };
    micros.map(Duration::from_micros).ok_or_else(|| format!("{text:?} is too long a time"))
}

/// Writes a duration the way the file has it.
pub fn written(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0 => "0s".to_owned(),
        _ if micros.is_multiple_of(1_000_000) => format!("{}s", micros / 1_000_000),
        _ if micros.is_multiple_of(1_000) => format!("{}ms", micros / 1_000),
        _ => format!("{micros}us"),
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeVisitor;

        impl Visitor<'_> for TimeVisitor {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration with its unit in quotes, as in \"300ms\" or \"1s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
                duration(text).map(Time).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(TimeVisitor)
    }
}

impl<'de> Deserialize<'de> for Vlan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VlanVisitor;

        impl<'de> Visitor<'de> for VlanVisitor {
            type Value = Vlan;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a VLAN identifier, as in 7, or two, outermost first, as in [100, 7]")
            }

            fn visit_i64<E: de::Error>(self, vid: i64) -> Result<Vlan, E> {
                Ok(Vlan(vec![vid]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut vids: A) -> Result<Vlan, A::Error> {
                let mut read = Vec::new();
                while let Some(vid) = vids.next_element()? {
                    read.push(vid);
                }
                Ok(Vlan(read))
            }
        }

        deserializer.deserialize_any(VlanVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_whole_number_and_a_unit() {
        for (text, micros) in [
            ("300ms", 300_000),
            ("1s", 1_000_000),
            ("10 s", 10_000_000),
            ("2m", 120_000_000),
            ("1h", 3_600_000_000),
            ("250us", 250),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_micros(micros)), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "1.5s",
            "-1s",
            "1d",
            "1 s 2",
            "ms300",
            "99999999999999999999s",
            "9999999999999999h",
        ] {
            assert!(duration(text).is_err(), "{text} was taken");
        }
    }

    #[test]
    fn written_durations_read_back() {
        for micros in [0, 1, 999, 1_000, 300_000, 1_000_000, 90_000_000] {
            let value = Duration::from_micros(micros);
            assert_eq!(duration(&written(value)), Ok(value));
        }
    }
}
