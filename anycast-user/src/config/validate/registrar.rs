//! The registrar's file, from options to a configuration.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anycast_pool::registrar::{Config as Machine, Limits as MachineLimits, Member, Members, NoMember};
use anycast_pool::{RegistrarId, wire};
use toml::Spanned;

use super::Validator;
use crate::config::registrar::{
    Announce, AnnounceOptions, DEFAULT_CONTROL_SOCKET, DEFAULT_STATE_DIR, Limits, LimitsOptions, Options,
    PoolOptions, Registrar, Sync, TlsOptions,
};
use crate::config::{Error, value::written};
use crate::tls::Files;

/// Least octets that may wait for a connection: twice as much as an answer of a large pool has.
const BACKLOG_LEAST: i64 = 128 * 1024;

/// Checks the whole file.
pub(in crate::config) fn validate(path: &Path, text: &str, options: Options) -> Result<Registrar, Error> {
    let mut v = Validator { path, text, problems: Vec::new(), warnings: Vec::new() };
    let Options { registrar: own, tls, keep_alive, limits, announce, pool } = options;
    let defaults = Machine::new(RegistrarId(1));
    let any = |port| SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
    let wants_tls = own.listen_tls.as_ref().map(Spanned::span);
    let listen = v.listeners(own.listen, "registrar.listen", &[any(wire::PORT)]);
    let default_tls = if tls.is_some() { vec![any(wire::PORT_TLS)] } else { Vec::new() };
    let listen_tls = v.listeners(own.listen_tls, "registrar.listen_tls", &default_tls);
    let listen_sctp = v.listeners(own.listen_sctp, "registrar.listen_sctp", &[any(wire::PORT)]);
    if let (None, Some(span), false) = (&tls, wants_tls, listen_tls.is_empty()) {
        v.problem(span, "registrar.listen_tls", "needs a table [tls] with certificate, key and client_ca");
    }
    if listen.is_empty() && listen_tls.is_empty() && listen_sctp.is_empty() {
        v.problem(0..0, "registrar.listen", "is empty, and so are the others: nobody could reach it");
    }
    let tls = tls.map(|tls| v.tls(tls));
    let require_secured = own.require_secured.as_ref().is_some_and(|flag| *flag.get_ref());
    if let (Some(flag), true, None) = (&own.require_secured, require_secured, &tls) {
        v.problem(flag.span(), "registrar.require_secured", "needs [tls]: no element could register");
    }
    let members = v.members(pool, tls.is_some());
    let interval_span = keep_alive.interval.as_ref().map_or(0..0, Spanned::span);
    let keep_alive_interval =
        v.time(keep_alive.interval, "keep_alive.interval", defaults.keep_alive_interval, "100ms", "10m");
    let keep_alive_timeout =
        v.time(keep_alive.timeout, "keep_alive.timeout", defaults.keep_alive_timeout, "50ms", "1m");
    if keep_alive_timeout > keep_alive_interval {
        let what = format!(
            "{} is shorter than keep_alive.timeout, {}: the next keep-alive is due before the last is given up",
            written(keep_alive_interval),
            written(keep_alive_timeout)
        );
        v.warning(interval_span, "keep_alive.interval", what);
    }
    let limits = v.limits(limits, &defaults);
    let announce = announce.map(|announce| v.announce(announce, &listen));
    let metrics =
        own.metrics.and_then(|address| v.socket_address(&address, "registrar.metrics", "[::1]:9532"));
    let words = [("second", Sync::Second), ("always", Sync::Always)];
    let sync = v.word(own.sync.as_ref(), "registrar.sync", &words).unwrap_or(Sync::Second);
    let control_socket = v.path(own.control_socket, "registrar.control_socket", DEFAULT_CONTROL_SOCKET);
    let state_dir = v.path(own.state_dir, "registrar.state_dir", DEFAULT_STATE_DIR);
    v.warnings.sort_by_key(|warning| warning.line);
    if !v.problems.is_empty() {
        v.problems.sort_by_key(|problem| problem.line);
        return Err(Error::Wrong { problems: v.problems });
    }
    Ok(Registrar {
        path: path.to_owned(),
        listen,
        listen_tls,
        listen_sctp,
        tls,
        require_secured,
        members,
        control_socket,
        state_dir,
        metrics,
        sync,
        keep_alive_interval,
        keep_alive_timeout,
        limits,
        announce,
        warnings: v.warnings,
    })
}

impl Validator<'_> {
    fn listeners(
        &mut self,
        given: Option<Spanned<Vec<Spanned<String>>>>,
        key: &str,
        default: &[SocketAddr],
    ) -> Vec<SocketAddr> {
        let Some(given) = given else { return default.to_vec() };
        let mut read = Vec::new();
        for address in given.into_inner() {
            let Some(parsed) = self.socket_address(&address, key, "[::]:3863") else { continue };
            if read.contains(&parsed) {
                self.problem(address.span(), key, format!("{parsed} stands there twice"));
            }
            read.push(parsed);
        }
        read
    }

    fn tls(&mut self, tls: Spanned<TlsOptions>) -> Files {
        let span = tls.span();
        let tls = tls.into_inner();
        let mut file = |given: Option<Spanned<PathBuf>>, key: &str, what: &str| match given {
            Some(path) => self.absolute_path(path, key),
            None => {
                self.problem(span.clone(), key, format!("is missing: name the PEM file of {what}"));
                PathBuf::new()
            }
        };
        Files {
            certificate: file(tls.certificate, "tls.certificate", "the registrar's certificate"),
            key: file(tls.key, "tls.key", "its key"),
            authorities: file(tls.client_ca, "tls.client_ca", "the authorities of elements and users"),
        }
    }

    /// Who may register in which pool.
    fn members(&mut self, pools: Vec<PoolOptions>, tls: bool) -> Members {
        let mut members = Members::default();
        let mut names = Vec::new();
        for pool in pools {
            let name = pool.name.get_ref().clone();
            if name.is_empty() || names.contains(&name) {
                let what = format!("{name:?} is empty, or stands there twice");
                self.problem(pool.name.span(), "pool.name", what);
            }
            let mut own = Vec::new();
            for element in pool.elements.get_ref() {
                match element.get_ref().parse() {
                    Ok(member) => {
                        if !tls && member != Member::Anybody {
                            let what = "needs [tls]: without certificates no element has a name";
                            self.problem(element.span(), "pool.elements", what);
                        }
                        own.push(member);
                    }
                    Err(error) => self.problem(element.span(), "pool.elements", NoMember::to_string(&error)),
                }
            }
            if pool.elements.get_ref().is_empty() {
                self.warning(pool.elements.span(), "pool.elements", "is empty: nobody may register there");
            }
            members.allow(name.as_str().into(), own);
            names.push(name);
        }
        members
    }

    fn limits(&mut self, limits: LimitsOptions, defaults: &Machine) -> Limits {
        let machine: MachineLimits = defaults.limits;
        Limits {
            connections: self.quantity(limits.connections, "limits.connections", machine.connections, 1),
            pools: self.quantity(limits.pools, "limits.pools", machine.pools, 1),
            elements: self.quantity(limits.elements, "limits.elements", machine.elements, 1),
            elements_per_connection: self.quantity(
                limits.elements_per_connection,
                "limits.elements_per_connection",
                machine.elements_per_connection,
                1,
            ),
            subscriptions: self.quantity(
                limits.subscriptions,
                "limits.subscriptions",
                machine.subscriptions,
                1,
            ),
            subscriptions_per_connection: self.quantity(
                limits.subscriptions_per_connection,
                "limits.subscriptions_per_connection",
                machine.subscriptions_per_connection,
                1,
            ),
            backlog: self.quantity(limits.backlog, "limits.backlog", defaults.backlog_max, BACKLOG_LEAST),
            stuck: self.time(limits.stuck, "limits.stuck", defaults.stuck_after, "100ms", "10m"),
        }
    }

    fn quantity(&mut self, given: Option<Spanned<i64>>, key: &str, default: usize, least: i64) -> usize {
        const MOST: i64 = 100_000_000;
        let Some(given) = given else { return default };
        let value = *given.get_ref();
        match usize::try_from(value) {
            Ok(fitting) if (least..=MOST).contains(&value) => fitting,
            _ => {
                self.problem(given.span(), key, format!("{value} is out of range: {least} to {MOST}"));
                default
            }
        }
    }

    fn announce(&mut self, announce: Spanned<AnnounceOptions>, listen: &[SocketAddr]) -> Announce {
        let span = announce.span();
        let announce = announce.into_inner();
        let given = announce.interfaces.map(Spanned::into_inner).unwrap_or_default();
        if given.is_empty() {
            let what = "is missing: name the interfaces on which elements and users listen for announces";
            self.problem(span.clone(), "announce.interfaces", what);
        }
        let names = given.iter();
        let interfaces = names
            .filter_map(|name| self.interface_name(Some(name), name.span(), "announce.interfaces"))
            .collect();
        let addresses = match announce.addresses {
            Some(given) => self.listeners(Some(given), "announce.addresses", &[]),
            None => listen.to_vec(),
        };
        if addresses.is_empty() || addresses.iter().any(|address| address.ip().is_unspecified()) {
            let what = "must say by which addresses the registrar is reached: it listens on all of them, as in \
                        [\"[2001:db8::1]:3863\"]";
            self.problem(span, "announce.addresses", what);
        }
        let default = Duration::from_secs(1);
        let interval = self.time(announce.interval, "announce.interval", default, "100ms", "1h");
        Announce { interfaces, interval, addresses }
    }
}
