//! `[service.check]`: what makes a server able.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use hickory_proto::rr::{Name, RecordType};
use toml::Spanned;

use super::Validator;
use crate::config::value::written;
use crate::config::{Check, DnsCheck, ProcessTarget, options};

impl Validator<'_> {
    pub fn check(&mut self, check: Spanned<options::Check>, service_address: Option<IpAddr>) -> Check {
        let span = check.span();
        let check = check.into_inner();
        let timeout_span = check.timeout.as_ref().map_or(span.clone(), Spanned::span);
        let interval =
            self.time(check.interval, "service.check.interval", Duration::from_secs(1), "10ms", "1h");
        let timeout = self.time(
            check.timeout,
            "service.check.timeout",
            Duration::from_millis(300).min(interval),
            "1ms",
            "1h",
        );
        if timeout > interval {
            let what = format!(
                "{} is longer than the interval of {}: checks do not overlap",
                written(timeout),
                written(interval)
            );
            self.problem(timeout_span, "service.check.timeout", what);
        }
        if check.dns.is_none() && check.tcp.is_none() && check.exec.is_none() && check.process.is_none() {
            let what = "checks nothing: add dns = { … }, tcp = { … }, exec = { … } or process = { … }";
            self.problem(span, "service.check", what);
        }
        Check {
            interval,
            timeout,
            rise: self.count(check.rise, "service.check.rise", 2),
            fall: self.count(check.fall, "service.check.fall", 3),
            dns: check.dns.and_then(|dns| self.dns(dns, service_address)),
            tcp: check.tcp.and_then(|tcp| {
                let span = tcp.span();
                self.target(tcp.into_inner().server, span, "service.check.tcp.server", service_address)
            }),
            exec: check.exec.and_then(|exec| self.exec(exec)),
            process: check.process.and_then(|process| self.process(process)),
        }
    }

    fn dns(&mut self, dns: Spanned<options::Dns>, service_address: Option<IpAddr>) -> Option<DnsCheck> {
        let span = dns.span();
        let dns = dns.into_inner();
        let server = self.target(dns.server, span.clone(), "service.check.dns.server", service_address);
        let name = match dns.name {
            None => {
                let what = "is missing: a name this server must answer for, as in \"health.example.\"";
                self.problem(span.clone(), "service.check.dns.name", what);
                None
            }
            Some(name) => match Name::from_ascii(name.get_ref()) {
                Ok(mut parsed) => {
                    parsed.set_fqdn(true);
                    Some(parsed.to_ascii())
                }
                Err(error) => {
                    let what = format!("{:?} is not a domain name ({error})", name.get_ref());
                    self.problem(name.span(), "service.check.dns.name", what);
                    None
                }
            },
        };
        let rtype = match dns.rtype {
            None => Some("SOA".to_owned()),
            Some(rtype) => {
                let upper = rtype.get_ref().to_ascii_uppercase();
                match upper.parse::<RecordType>() {
                    Ok(known)
                        if !matches!(
                            known,
                            RecordType::ANY
                                | RecordType::AXFR
                                | RecordType::IXFR
                                | RecordType::OPT
                                | RecordType::TSIG
                                | RecordType::ZERO
                        ) =>
                    {
                        Some(upper)
                    }
                    _ => {
                        let what = format!(
                            "{:?} is not a type to ask for: SOA, NS, A, AAAA, TXT and others are",
                            rtype.get_ref()
                        );
                        self.problem(rtype.span(), "service.check.dns.type", what);
                        None
                    }
                }
            }
        };
        let (udp, tcp) = (dns.udp.unwrap_or(true), dns.tcp.unwrap_or(true));
        if !udp && !tcp {
            self.problem(span, "service.check.dns", "asks over neither UDP nor TCP: leave at least one on");
        }
        Some(DnsCheck { server: server?, name: name?, rtype: rtype?, udp, tcp })
    }

    fn target(
        &mut self,
        server: Option<Spanned<String>>,
        span: Range<usize>,
        key: &str,
        service_address: Option<IpAddr>,
    ) -> Option<SocketAddr> {
        let Some(server) = server else {
            self.problem(
                span,
                key,
                "is missing: the address and port this server itself listens on, as in \"[::1]:53\"",
            );
            return None;
        };
        let parsed = self.socket_address(&server, key, "[::1]:53")?;
        if parsed.ip().is_unspecified() || parsed.ip().is_multicast() {
            self.problem(server.span(), key, format!("{} is not an address to connect to", parsed.ip()));
            return None;
        }
        if Some(parsed.ip()) == service_address {
            let what = format!(
                "{} is the service address: when it is missing here the check may reach another server; an address of this \
                 server alone, as [::1], is better",
                parsed.ip()
            );
            self.warning(server.span(), key, what);
        }
        Some(parsed)
    }

    fn exec(&mut self, exec: Spanned<options::Exec>) -> Option<Vec<String>> {
        const KEY: &str = "service.check.exec.command";
        let span = exec.span();
        let Some(command) = exec.into_inner().command else {
            self.problem(
                span,
                KEY,
                "is missing: the program and its arguments, as in [\"/usr/bin/check\", \"-q\"]",
            );
            return None;
        };
        self.program(command, KEY)
    }

    /// A program and its arguments.
    pub fn program(&mut self, command: Spanned<Vec<String>>, key: &str) -> Option<Vec<String>> {
        match command.get_ref().first() {
            None => {
                self.problem(command.span(), key, "is empty: name a program");
                None
            }
            Some(program) if !Path::new(program).is_absolute() => {
                let what =
                    format!("{program:?} is relative: write the whole path, the daemon has no PATH to trust");
                self.problem(command.span(), key, what);
                None
            }
            Some(_) => Some(command.into_inner()),
        }
    }

    fn process(&mut self, process: Spanned<options::Process>) -> Option<ProcessTarget> {
        const KEY: &str = "service.check.process";
        let span = process.span();
        let process = process.into_inner();
        match (process.pid_file, process.unit) {
            (Some(pid_file), None) => {
                self.absolute(&pid_file, "service.check.process.pid_file");
                Some(ProcessTarget::PidFile(pid_file.into_inner()))
            }
            (None, Some(unit)) => {
                let name = unit.get_ref();
                if !name.ends_with(".service") || name.contains(['/', ' ']) {
                    let what = format!("{name:?} is not the name of a service unit, as in \"nsd.service\"");
                    self.problem(unit.span(), "service.check.process.unit", what);
                }
                Some(ProcessTarget::Unit(unit.into_inner()))
            }
            (Some(_), Some(_)) => {
                self.problem(span, KEY, "has both pid_file and unit: one of them");
                None
            }
            (None, None) => {
                self.problem(
                    span,
                    KEY,
                    "watches nothing: give pid_file = \"/run/….pid\" or unit = \"….service\"",
                );
                None
            }
        }
    }
}
