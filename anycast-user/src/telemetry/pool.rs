//! The services of this host as elements of their pools: for the status, its table and the metrics.

use serde::{Deserialize, Serialize};

use super::scrape::{Labels, Scrape, flag};

/// A service in its pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Element {
    /// The service.
    pub service: String,
    /// Its pool.
    pub pool: String,
    /// Its identifier there.
    pub id: String,
    /// Where users of the pool find it.
    pub address: String,
    /// The pool's policy as this host wants it.
    pub policy: String,
    /// It should be registered: it is able and not drained.
    pub wanted: bool,
    /// It is registered as one that waits until others cannot serve.
    pub standby: bool,
    /// Load as a share of what it can serve.
    pub load: f64,
    /// Registrations sent.
    pub registrations_sent_total: u64,
    /// Keep-alives answered.
    pub keep_alives_answered_total: u64,
    /// One entry a registrar.
    pub registrations: Vec<Registration>,
}

/// How it stands with a registrar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// The registrar, as it is configured.
    pub registrar: String,
    /// Its identifier; `null` until it has sent a keep-alive.
    pub id: Option<String>,
    /// `none`, `registering`, `registered`, `deregistering` or `rejected`.
    pub state: String,
    /// Whether it has the element.
    pub registered: bool,
    /// Seconds until the registration is renewed.
    pub renewal_seconds: Option<f64>,
    /// Seconds since it sent a keep-alive.
    pub keep_alive_seconds: Option<f64>,
    /// Why it cannot be reached; `null` = it can.
    pub error: Option<String>,
    /// What else is wrong; `null` = nothing.
    pub problem: Option<String>,
    /// What to do about that.
    pub advice: Option<String>,
}

impl Element {
    /// What an operator should look at.
    pub fn alarms(&self) -> impl Iterator<Item = String> + '_ {
        let (service, pool) = (&self.service, &self.pool);
        self.registrations.iter().filter_map(move |registration| {
            let name = &registration.registrar;
            if let Some(problem) = &registration.problem {
                let advice = registration.advice.as_deref().unwrap_or("see its log");
                return Some(format!("{service}: pool {pool}: {name}: {problem}: {advice}"));
            }
            let error = registration.error.as_ref()?;
            Some(format!(
                "{service}: pool {pool}: {name} cannot be reached ({error}): see whether it runs, and pool.registrars"
            ))
        })
    }

    /// The parts of a line for people.
    pub fn parts(&self) -> Vec<String> {
        let registered = self.registrations.iter().filter(|registration| registration.registered).count();
        let mut parts = vec![
            format!("pool {} element {}", self.pool, self.id),
            format!("at {}", self.address),
            format!("registered with {registered} of {}", self.registrations.len()),
        ];
        if !self.wanted {
            parts.push("not wanted".to_owned());
        }
        if self.standby {
            parts.push("standby".to_owned());
        }
        parts.push(self.policy.clone());
        parts.push(format!("load {:.1} %", self.load * 100.0));
        parts
    }
}

/// Writes them as metrics.
pub(super) fn metrics(scrape: &mut Scrape, elements: &[Element]) {
    if elements.is_empty() {
        return;
    }
    let wanted = scrape.gauge("anycast_pool_wanted", "Whether the service should be registered in its pool");
    let standby = scrape.gauge("anycast_pool_standby", "Whether it is registered as standby");
    let registered = scrape.gauge("anycast_pool_registered", "Whether the registrar has the service");
    let problem = scrape.gauge(
        "anycast_pool_problem",
        "Whether something is wrong with the registrar; `anycast status` says what",
    );
    let sent = scrape.counter("anycast_pool_registrations_sent", "Registrations sent to registrars");
    let answered = scrape.counter("anycast_pool_keep_alives_answered", "Keep-alives of registrars answered");
    for element in elements {
        let plain: Labels = vec![("service", element.service.clone()), ("pool", element.pool.clone())];
        wanted.get_or_create(&plain).set(flag(element.wanted));
        standby.get_or_create(&plain).set(flag(element.standby));
        sent.get_or_create(&plain).inc_by(element.registrations_sent_total);
        answered.get_or_create(&plain).inc_by(element.keep_alives_answered_total);
        for registration in &element.registrations {
            let mut labels = plain.clone();
            labels.push(("registrar", registration.registrar.clone()));
            registered.get_or_create(&labels).set(flag(registration.registered));
            let wrong = registration.problem.is_some() || registration.error.is_some();
            problem.get_or_create(&labels).set(flag(wrong));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_advice_and_what_is_well_is_not() {
        let well =
            Registration { registrar: "registrar a".into(), registered: true, ..Registration::default() };
        let lost = Registration {
            registrar: "registrar b".into(),
            error: Some("Connection refused".into()),
            ..Registration::default()
        };
        let rejected = Registration {
            registrar: "registrar c".into(),
            problem: Some("rejected".into()),
            advice: Some("do it".into()),
            ..Registration::default()
        };
        let element = Element {
            service: "dns".into(),
            pool: "p".into(),
            registrations: vec![well, lost, rejected],
            ..Element::default()
        };
        let alarms: Vec<String> = element.alarms().collect();
        assert_eq!(alarms.len(), 2);
        assert!(alarms[0].contains("registrar b cannot be reached (Connection refused)"));
        assert!(alarms[1].ends_with("registrar c: rejected: do it"));
        assert!(element.parts().contains(&"registered with 1 of 3".to_owned()));
    }
}
