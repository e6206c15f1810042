//! `[pool]`, and what of a service belongs to it: `[service.pool]`.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use anycast_pool::policy::{Policy, PolicyType};
use toml::Spanned;

use super::Validator;
use crate::config::options;
use crate::config::pool::{Element, Pool, TlsFiles};
use crate::config::{Checked, Service};
use crate::pool::{NoTlsOverSctp, RegistrarAddress, RegistrarProtocol};

/// Octets of the longest name that a registrar takes by default.
const NAME_MAX: usize = 255;

/// The policy if none is given. It follows the load, and since it draws, users do not all run to the one element whose load was
/// lowest when they were last told, as with least-used.
const POLICY: PolicyType = PolicyType::RandomizedLeastUsed;

/// What all services have that say nothing else.
pub struct Defaults {
    name: Option<String>,
    address: Option<IpAddr>,
    policy: Policy,
    span: Range<usize>,
}

impl Validator<'_> {
    pub fn pool(&mut self, pool: Spanned<options::Pool>) -> (Pool, Defaults) {
        let span = pool.span();
        let pool = pool.into_inner();
        let discover = self.discover(pool.discover);
        let registrars = self.registrars(pool.registrars, span.clone(), !discover.is_empty());
        if let Some(tls) = &pool.tls
            && let Some(address) = registrars.iter().find(|one| one.protocol() == RegistrarProtocol::Sctp)
        {
            self.problem(tls.span(), "pool.tls", NoTlsOverSctp(address.clone()).to_string());
        }
        let name = self.pool_name(pool.name, "pool.name");
        let address = self.own_address(pool.address.as_ref(), "pool.address");
        let policy = self.policy(pool.policy.as_ref(), pool.weight, pool.priority);
        let tls = pool.tls.map(|tls| self.tls_files(tls));
        (Pool { registrars, discover, tls }, Defaults { name, address, policy, span })
    }

    fn registrars(
        &mut self,
        registrars: Option<Spanned<Vec<String>>>,
        span: Range<usize>,
        discovers: bool,
    ) -> Vec<RegistrarAddress> {
        const KEY: &str = "pool.registrars";
        let Some(registrars) = registrars else {
            if !discovers {
                let what = "is missing: name the registrars, as [\"[2001:db8::1]:3863\"], or with pool.discover \
                            the interfaces on which they announce themselves";
                self.problem(span, KEY, what);
            }
            return Vec::new();
        };
        let mut all = Vec::new();
        for text in registrars.get_ref() {
            match text.parse::<RegistrarAddress>() {
                Ok(address) if all.contains(&address) => {
                    self.problem(registrars.span(), KEY, format!("{address} stands there twice"));
                }
                Ok(address) => all.push(address),
                Err(error) => self.problem(registrars.span(), KEY, error.to_string()),
            }
        }
        if registrars.get_ref().is_empty() && !discovers {
            self.problem(registrars.span(), KEY, "there is none: name one, better two");
        }
        all
    }

    fn discover(&mut self, interfaces: Option<Spanned<Vec<Spanned<String>>>>) -> Vec<String> {
        const KEY: &str = "pool.discover";
        let mut all = Vec::new();
        for interface in interfaces.map(Spanned::into_inner).unwrap_or_default() {
            let Some(name) = self.interface_name(Some(&interface), interface.span(), KEY) else { continue };
            if all.contains(&name) {
                self.problem(interface.span(), KEY, format!("{name} stands there twice"));
            }
            all.push(name);
        }
        all
    }

    fn pool_name(&mut self, name: Option<Spanned<String>>, key: &str) -> Option<String> {
        let name = name?;
        if !(1..=NAME_MAX).contains(&name.get_ref().len()) {
            self.problem(name.span(), key, format!("must be 1 to {NAME_MAX} octets"));
        }
        Some(name.into_inner())
    }

    fn own_address(&mut self, address: Option<&Spanned<String>>, key: &str) -> Option<IpAddr> {
        let address = address?;
        match address.get_ref().parse::<IpAddr>() {
            Ok(parsed) if !parsed.is_unspecified() && !parsed.is_multicast() && !parsed.is_loopback() => {
                Some(parsed)
            }
            _ => {
                let what = format!(
                    "{:?} is no address that users can reach: give this server's own, as \"2001:db8::11\"",
                    address.get_ref()
                );
                self.problem(address.span(), key, what);
                None
            }
        }
    }

    fn policy(
        &mut self,
        policy: Option<&Spanned<String>>,
        weight: Option<Spanned<i64>>,
        priority: Option<Spanned<i64>>,
    ) -> Policy {
        let kinds = PolicyType::ALL.map(|kind| (kind.name(), kind));
        let kind = self.word(policy, "pool.policy", &kinds).unwrap_or(POLICY);
        let mut value = |value: Option<Spanned<i64>>, key: &str, wanted: bool, default: u32| {
            let Some(value) = value else { return default };
            let fitting = u32::try_from(*value.get_ref());
            if !wanted {
                let what = format!("has no meaning with policy {:?}: remove it", kind.name());
                self.problem(value.span(), key, what);
            } else if fitting.is_err() {
                let what = format!("{} is out of range: 0 to {}", value.get_ref(), u32::MAX);
                self.problem(value.span(), key, what);
            }
            fitting.unwrap_or(default)
        };
        let weighted = matches!(kind, PolicyType::WeightedRoundRobin | PolicyType::WeightedRandom);
        let weight = value(weight, "pool.weight", weighted, 1);
        let priority = value(priority, "pool.priority", kind == PolicyType::Priority, 0);
        match Policy::neutral(kind) {
            Policy::WeightedRoundRobin { .. } => Policy::WeightedRoundRobin { weight },
            Policy::WeightedRandom { .. } => Policy::WeightedRandom { weight },
            Policy::Priority { .. } => Policy::Priority { priority },
            other => other,
        }
    }

    fn tls_files(&mut self, tls: Spanned<options::PoolTls>) -> TlsFiles {
        let span = tls.span();
        let tls = tls.into_inner();
        let mut file = |path: Option<Spanned<std::path::PathBuf>>, key: &str| match path {
            Some(path) => self.absolute_path(path, key),
            None => {
                self.problem(span.clone(), key, "is missing: TLS needs ca, certificate and key");
                std::path::PathBuf::new()
            }
        };
        TlsFiles {
            ca: file(tls.ca, "pool.tls.ca"),
            certificate: file(tls.certificate, "pool.tls.certificate"),
            key: file(tls.key, "pool.tls.key"),
            server_name: tls.server_name.map(Spanned::into_inner),
        }
    }

    /// What services are in a pool: all of them, unless they say otherwise. `options` and `services` are in the same order.
    pub fn elements(
        &mut self,
        defaults: Option<&Defaults>,
        options: Vec<Option<Spanned<options::ServicePool>>>,
        services: &mut [Service],
    ) {
        let Some(defaults) = defaults else {
            for options in options.into_iter().flatten() {
                self.problem(options.span(), "service.pool", "needs the table [pool] with registrars");
            }
            return;
        };
        let mut seen: Vec<(String, SocketAddr)> = Vec::new();
        for (number, options) in options.into_iter().enumerate() {
            let span = options.as_ref().map_or_else(|| defaults.span.clone(), Spanned::span);
            let own = options.map(Spanned::into_inner).unwrap_or_default();
            if own.enabled == Some(false) {
                continue;
            }
            let name = self.pool_name(own.name, "service.pool.name").or_else(|| defaults.name.clone());
            let address = self.own_address(own.address.as_ref(), "service.pool.address").or(defaults.address);
            let address = address.or_else(|| checked_at(services, number));
            let port = own.port.as_ref().map_or_else(
                || services[number].ports.first().copied(),
                |port| u16::try_from(*port.get_ref()).ok().filter(|port| *port != 0),
            );
            let service = services[number].name.clone();
            let Some(pool) = name else {
                let what =
                    format!("is missing: name the pool of service {service}, here or in [service.pool]");
                self.problem(span, "pool.name", what);
                continue;
            };
            let Some(address) = address else {
                let what = format!(
                    "is missing: users of the pool reach service {service} at an address of this server alone, as \"2001:db8::11\""
                );
                self.problem(span, "pool.address", what);
                continue;
            };
            let Some(port) = port else {
                let port = own.port.map_or(span, |port| port.span());
                self.problem(port, "service.pool.port", "is not a port: 1 to 65535 are");
                continue;
            };
            let address = SocketAddr::new(address, port);
            if seen.contains(&(pool.clone(), address)) {
                let what = format!(
                    "service {service} would be a second element of pool {pool} at {address}: give it another name or port, or enabled = false"
                );
                self.problem(span, "service.pool", what);
                continue;
            }
            seen.push((pool.clone(), address));
            services[number].element = Some(Element { pool, address, policy: defaults.policy });
        }
    }
}

/// Where the service's check asks, if users can ask there too.
fn checked_at(services: &[Service], number: usize) -> Option<IpAddr> {
    let mut check = &services.get(number)?.check;
    if let Checked::As(other) = check {
        check = &services.get(*other)?.check;
    }
    let Checked::Own(check) = check else { return None };
    let address = check.dns.as_ref()?.server.ip();
    (!address.is_loopback()).then_some(address)
}
