//! Pools as tables of 80 columns, and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use anycast_pool::policy::Policy;
use anycast_pool::user::{PoolElementSnapshot, PoolSnapshot};
use anycast_pool::wire::{State, StatusFlags};
use anycast_pool::{LinkState, RegistrarSnapshot};
use anycast_user::pool::user::News;
use anycast_user::telemetry::table::seconds;
use serde_json::{Value, json};

type Registrars = [(String, RegistrarSnapshot, Option<String>)];

/// The elements as they are to be tried.
pub fn resolved(pool: &PoolSnapshot, registrars: &Registrars) -> String {
    let mut text = head(pool, registrars);
    // Writing into a string does not fail; so everywhere below.
    let _ = writeln!(text, "{:<8}  {:<44} {:<8} {:<7} {:>8}", "ELEMENT", "ADDRESS", "STATE", "TIER", "AGE");
    for element in &pool.elements {
        let _ = writeln!(
            text,
            "{}  {:<44} {:<8} {:<7} {:>8}",
            element.id,
            address(element),
            element.state.name(),
            element.tier.name(),
            age(element.age)
        );
    }
    text
}

/// All that is known of each.
pub fn elements(pool: &PoolSnapshot, registrars: &Registrars) -> String {
    let mut text = head(pool, registrars);
    for element in &pool.elements {
        let flags = flags(element.flags);
        let flags = if flags.is_empty() { String::new() } else { format!(", {}", flags.join(", ")) };
        let _ = writeln!(text, "{}  {}", element.id, address(element));
        let seen = element.witness.map_or_else(String::new, |witness| format!(" ({witness})"));
        let _ = writeln!(
            text,
            "  {}{seen}, {} ago{flags}; tier {}",
            element.state.name(),
            age(element.age),
            element.tier.name()
        );
        if let Some(known) = &element.element
            && let Ok(policy) = Policy::parse(&known.policy)
        {
            let load = policy.load().map_or_else(String::new, |load| {
                format!(", load {:.1} %", f64::from(load) / f64::from(u32::MAX) * 100.0)
            });
            let _ = writeln!(text, "  {}{load}, home {}", policy.kind(), known.home);
        }
    }
    text
}

/// The same as JSON.
pub fn json(pool: &PoolSnapshot, registrars: &Registrars) -> String {
    let elements: Vec<Value> = pool.elements.iter().map(element_json).collect();
    let registrars: Vec<Value> = registrars
        .iter()
        .map(|(name, snapshot, error)| {
            json!({
                "name": name,
                "id": snapshot.id.map(|id| id.to_string()),
                "connected": matches!(snapshot.state, LinkState::Open(..)),
                "error": error,
            })
        })
        .collect();
    let value = json!({
        "pool": pool.handle.to_string(),
        "policy": pool.policy.to_string(),
        "registrars": registrars,
        "elements": elements,
    });
    format!("{value:#}\n")
}

fn element_json(element: &PoolElementSnapshot) -> Value {
    let policy = element.element.as_ref().and_then(|known| Policy::parse(&known.policy).ok());
    json!({
        "id": element.id.to_string(),
        "address": address(element),
        "transport": element.element.as_ref().map(|known| known.user_transport.kind().name()),
        "state": element.state.name(),
        "tier": element.tier.name(),
        "flags": flags(element.flags),
        "age_seconds": element.age.map(|age| age.as_secs_f64()),
        "witness": element.witness.map(|witness| witness.to_string()),
        "load": policy.and_then(|policy| policy.load()).map(|load| f64::from(load) / f64::from(u32::MAX)),
    })
}

/// A line of `anycast pool watch`, of what happened at `time`.
pub fn news(news: &News, time: &str, json: bool) -> String {
    let text = match news {
        News::Change(change) => change.to_string(),
        News::Registrar(text) => text.clone(),
        News::Missed(count) => format!("{count} changes came too fast and are not shown"),
    };
    if !json {
        return format!("{time} {text}\n");
    }
    let value = match news {
        News::Change(change) => json!({
            "time": time,
            "pool": change.handle.to_string(),
            "element": change.id.to_string(),
            "change": text,
        }),
        News::Registrar(text) => json!({ "time": time, "registrar": text }),
        News::Missed(count) => json!({ "time": time, "missed": count }),
    };
    format!("{value}\n")
}

fn head(pool: &PoolSnapshot, registrars: &Registrars) -> String {
    let up = pool.elements.iter().filter(|element| element.state == State::Up).count();
    let mut text = format!(
        "pool {}: {up} of {} elements up, policy {}\n",
        pool.handle,
        pool.elements.len(),
        pool.policy
    );
    for (name, snapshot, error) in registrars {
        if !matches!(snapshot.state, LinkState::Open(..)) {
            let why = error.as_deref().unwrap_or("does not answer");
            let _ = writeln!(text, "{name}: {why}");
        }
    }
    text
}

fn address(element: &PoolElementSnapshot) -> String {
    match &element.element {
        Some(known) => known
            .user_transport
            .address()
            .map_or_else(|| known.user_transport.to_string(), |address| address.to_string()),
        None => "-".to_owned(),
    }
}

fn age(age: Option<Duration>) -> String {
    age.map_or_else(|| "never".to_owned(), |age| seconds(age.as_secs_f64()))
}

fn flags(flags: StatusFlags) -> Vec<&'static str> {
    let names = [
        (StatusFlags::STANDBY, "standby"),
        (StatusFlags::DRAINING, "draining"),
        (StatusFlags::TOMBSTONE, "gone"),
    ];
    names.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| *name).collect()
}
