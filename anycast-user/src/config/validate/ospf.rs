//! `[ospf]`, and what of a service belongs to it: `advertise`, `[service.cost]`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use super::Validator;
use crate::config::options;
use crate::config::ospf::{
    Advertise, Bird, Cost, Driver, External, Frr, KernelRoute, LoadLsa, Native, Ospf, Tag, Uplink,
};
use crate::config::value::{Time, written};
use crate::config::{Mode, Service};

/// Load LSA of experiments.
const LOAD_LSA: u16 = 0xbff0;
/// `rtm_protocol` of our kernel routes: of those that nobody has, one that looks like the name.
const PROTOCOL: u8 = 0xac;
/// The main routing table.
const TABLE: u32 = 254;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Native,
    Frr,
    Bird,
    Route,
}

impl Validator<'_> {
    pub fn ospf(&mut self, ospf: Spanned<options::Ospf>) -> Ospf {
        let span = ospf.span();
        let mut ospf = ospf.into_inner();
        let kinds =
            [("native", Kind::Native), ("frr", Kind::Frr), ("bird", Kind::Bird), ("route", Kind::Route)];
        let kind = self.word(ospf.driver.as_ref(), "ospf.driver", &kinds).unwrap_or(Kind::Native);
        self.tables_of_others(&ospf, kind);
        let guard = ospf.guard.unwrap_or(true);
        let driver = match kind {
            Kind::Native => Driver::Native(self.native(ospf, span)),
            Kind::Frr => Driver::Frr(self.frr(ospf.frr.take())),
            Kind::Bird => Driver::Bird(self.bird(ospf.bird.take())),
            Kind::Route => Driver::Route(self.kernel_route(ospf.route.take())),
        };
        Ospf { driver, guard }
    }

    /// What belongs to a driver that is not chosen is a mistake.
    fn tables_of_others(&mut self, ospf: &options::Ospf, kind: Kind) {
        let tables = [
            (Kind::Frr, "ospf.frr", ospf.frr.as_ref().map(Spanned::span)),
            (Kind::Bird, "ospf.bird", ospf.bird.as_ref().map(Spanned::span)),
            (Kind::Route, "ospf.route", ospf.route.as_ref().map(Spanned::span)),
            (Kind::Native, "ospf.router_id", ospf.router_id.as_ref().map(Spanned::span)),
            (Kind::Native, "ospf.lsa", ospf.lsa.as_ref().map(Spanned::span)),
            (Kind::Native, "ospf.tag", ospf.tag.as_ref().map(Spanned::span)),
            (Kind::Native, "ospf.load_lsa", ospf.load_lsa.as_ref().map(Spanned::span)),
            (Kind::Native, "ospf.enterprise", ospf.enterprise.as_ref().map(Spanned::span)),
            (Kind::Native, "ospf.key_file", ospf.key_file.as_ref().map(Spanned::span)),
            (Kind::Native, "ospf.interface", ospf.interface.first().map(Spanned::span)),
        ];
        for (of, key, span) in tables {
            if let Some(span) = span.filter(|_| of != kind) {
                self.problem(span, key, "belongs to another driver: remove it, or change ospf.driver");
            }
        }
    }

    fn native(&mut self, ospf: options::Ospf, span: Range<usize>) -> Native {
        let router_id = match &ospf.router_id {
            None => {
                let what = "is missing: give each server its own, such as its IPv4 address";
                self.problem(span.clone(), "ospf.router_id", what);
                Ipv4Addr::UNSPECIFIED
            }
            Some(id) => match id.get_ref().parse() {
                Ok(id) if id != Ipv4Addr::UNSPECIFIED => id,
                _ => {
                    let what = format!("{:?} is no router id: write it as \"10.0.0.53\"", id.get_ref());
                    self.problem(id.span(), "ospf.router_id", what);
                    Ipv4Addr::UNSPECIFIED
                }
            },
        };
        if ospf.interface.is_empty() {
            let what = "there is none: add [[ospf.interface]] with the name of an uplink";
            self.problem(span, "ospf.interface", what);
        }
        let mut interfaces: Vec<Uplink> = Vec::new();
        for interface in ospf.interface {
            let at = interface.span();
            let Some(uplink) = self.uplink(interface) else { continue };
            let same = |other: &&Uplink| other.name == uplink.name && other.instance == uplink.instance;
            if interfaces.iter().any(|other| same(&other)) {
                let what = format!("{} has two tables for instance {}", uplink.name, uplink.instance);
                self.problem(at, "ospf.interface.name", what);
            }
            interfaces.push(uplink);
        }
        let tag_span = ospf.tag.as_ref().map(Spanned::span);
        let tag = self.tag(ospf.tag);
        let kinds = [("intra-area", None), ("external-1", Some(false)), ("external-2", Some(true))];
        let lsa = self.word(ospf.lsa.as_ref(), "ospf.lsa", &kinds).flatten();
        if let Some(span) = tag_span.filter(|_| lsa.is_none()) {
            self.problem(
                span,
                "ospf.tag",
                "needs lsa = \"external-1\" or \"external-2\": others have no tag",
            );
        }
        if lsa.is_some() && interfaces.iter().any(|uplink| uplink.stub) {
            let what = "does not reach a stub area: use \"intra-area\"";
            self.problem(ospf.lsa.as_ref().map_or(0..0, Spanned::span), "ospf.lsa", what);
        }
        Native {
            router_id,
            interfaces,
            external: lsa.map(|type_2| External { type_2, tag }),
            load: self.load_lsa(ospf.load_lsa, ospf.enterprise),
            key_file: ospf.key_file.map(|path| self.absolute_path(path, "ospf.key_file")),
            frr84_compat: ospf.frr84_compat.unwrap_or(false),
            recalculate: ospf.recalculate.unwrap_or(true),
        }
    }

    fn uplink(&mut self, uplink: Spanned<options::Uplink>) -> Option<Uplink> {
        let span = uplink.span();
        let uplink = uplink.into_inner();
        let name = self.interface_name(uplink.name.as_ref(), span, "ospf.interface.name");
        let kinds = [("broadcast", false), ("point-to-point", true)];
        let kind = self.word(uplink.link_type.as_ref(), "ospf.interface.type", &kinds);
        let dead_span = uplink.dead.as_ref().map_or(0..0, Spanned::span);
        let hello = self.seconds(uplink.hello, "ospf.interface.hello", 10);
        let dead = self.seconds(uplink.dead, "ospf.interface.dead", hello.saturating_mul(4));
        if dead <= hello {
            let what = format!("{dead}s must be longer than hello ({hello}s): four times is usual");
            self.problem(dead_span, "ospf.interface.dead", what);
        }
        let area = self.area(uplink.area, "ospf.interface.area");
        let stub = uplink.stub.unwrap_or(false);
        if stub && area == Ipv4Addr::UNSPECIFIED {
            self.problem(0..0, "ospf.interface.stub", "the backbone (area 0) cannot be a stub");
        }
        let retransmit = Duration::from_secs(5);
        Some(Uplink {
            name: name?,
            area,
            stub,
            point_to_point: kind.unwrap_or(false),
            instance: self.number(uplink.instance, "ospf.interface.instance", 0, 0..=31) as u8,
            hello,
            dead,
            retransmit: self.time(uplink.retransmit, "ospf.interface.retransmit", retransmit, "1s", "1h"),
            cost: self.number(uplink.cost, "ospf.interface.cost", 10, 1..=65534) as u16,
            mtu_ignore: uplink.mtu_ignore.unwrap_or(false),
        })
    }

    /// Whole seconds: the packet has no others.
    fn seconds(&mut self, time: Option<Spanned<Time>>, key: &str, default: u16) -> u16 {
        let Some(time) = time else { return default };
        let value = time.get_ref().0;
        match u16::try_from(value.as_secs()) {
            Ok(seconds @ 1..) if value.subsec_nanos() == 0 => seconds,
            _ => {
                let what = format!("{} must be whole seconds, 1s to 65535s", written(value));
                self.problem(time.span(), key, what);
                default
            }
        }
    }

    fn area(&mut self, area: Option<Spanned<String>>, key: &str) -> Ipv4Addr {
        let Some(area) = area else { return Ipv4Addr::UNSPECIFIED };
        let text = area.get_ref();
        text.parse().or_else(|_| text.parse::<u32>().map(Ipv4Addr::from)).unwrap_or_else(|_| {
            self.problem(area.span(), key, format!("{text:?} is no area: write it as \"0.0.0.0\" or \"0\""));
            Ipv4Addr::UNSPECIFIED
        })
    }

    fn number(
        &mut self,
        number: Option<Spanned<i64>>,
        key: &str,
        default: i64,
        range: std::ops::RangeInclusive<i64>,
    ) -> i64 {
        let Some(number) = number else { return default };
        let value = *number.get_ref();
        if range.contains(&value) {
            return value;
        }
        let what = format!("{value} is out of range: {} to {}", range.start(), range.end());
        self.problem(number.span(), key, what);
        default
    }

    fn tag(&mut self, tag: Option<Spanned<String>>) -> Tag {
        let Some(tag) = tag else { return Tag::None };
        match tag.get_ref().as_str() {
            "load" => Tag::Load,
            text => text.parse().map(Tag::Fixed).unwrap_or_else(|_| {
                let what = format!("{text:?} is no tag: \"load\", or a number from 0 to 4294967295");
                self.problem(tag.span(), "ospf.tag", what);
                Tag::None
            }),
        }
    }

    fn load_lsa(
        &mut self,
        ls_type: Option<Spanned<String>>,
        enterprise: Option<Spanned<i64>>,
    ) -> Option<LoadLsa> {
        let enterprise_span = enterprise.as_ref().map(Spanned::span);
        let enterprise = self.number(enterprise, "ospf.enterprise", 0, 0..=i64::from(u32::MAX)) as u32;
        let Some(written) = ls_type else {
            return Some(LoadLsa { ls_type: LOAD_LSA, enterprise });
        };
        let text = written.get_ref();
        if text == "off" {
            return None;
        }
        let parsed = text.strip_prefix("0x").and_then(|digits| u16::from_str_radix(digits, 16).ok());
        // U-bit and area scope; codes for experiments or vendors (RFC 5340 A.4.2.1).
        let fits = |ls_type: &u16| matches!(ls_type, 0xbff0..=0xbffe);
        let Some(ls_type) = parsed.filter(fits) else {
            let what = format!(
                "{text:?} is no type for it: \"0xbff0\" to \"0xbff7\" (experiments), \"0xbff8\" to \"0xbffe\" (vendors, with enterprise), \"off\""
            );
            self.problem(written.span(), "ospf.load_lsa", what);
            return None;
        };
        if (ls_type >= 0xbff8) != (enterprise != 0) {
            let what = "goes with types from \"0xbff8\" on, and these with it";
            self.problem(enterprise_span.unwrap_or_else(|| written.span()), "ospf.enterprise", what);
        }
        Some(LoadLsa { ls_type, enterprise })
    }

    fn frr(&mut self, frr: Option<Spanned<options::Frr>>) -> Frr {
        let frr = frr.map(Spanned::into_inner).unwrap_or_default();
        Frr {
            vty_socket: self.path(frr.vty_socket, "ospf.frr.vty_socket", "/var/run/frr"),
            vtysh: self.path(frr.vtysh, "ospf.frr.vtysh", "/usr/bin/vtysh"),
            area: self.area(frr.area, "ospf.frr.area"),
        }
    }

    fn bird(&mut self, bird: Option<Spanned<options::Bird>>) -> Bird {
        let bird = bird.map(Spanned::into_inner).unwrap_or_default();
        Bird {
            control_socket: self.path(bird.control_socket, "ospf.bird.control_socket", "/run/bird/bird.ctl"),
            include: self.path(bird.include, "ospf.bird.include", "/etc/bird/anycast.conf"),
        }
    }

    fn kernel_route(&mut self, route: Option<Spanned<options::KernelRoute>>) -> KernelRoute {
        let route = route.map(Spanned::into_inner).unwrap_or_default();
        KernelRoute {
            protocol: self.number(route.protocol, "ospf.route.protocol", PROTOCOL.into(), 5..=255) as u8,
            table: self.number(route.table, "ospf.route.table", TABLE.into(), 1..=i64::from(u32::MAX)) as u32,
            prefix_length: self.number(route.prefix_length, "ospf.route.prefix_length", 128, 1..=128) as u8,
        }
    }

    pub fn advertise(&mut self, words: Option<&Spanned<Vec<String>>>) -> Advertise {
        const KEY: &str = "service.advertise";
        let Some(words) = words else { return Advertise::default() };
        let mut advertise = Advertise { ndp: false, ospf: false };
        for word in words.get_ref() {
            match word.as_str() {
                "ndp" => advertise.ndp = true,
                "ospf" => advertise.ospf = true,
                _ => self.problem(words.span(), KEY, format!("{word:?} is not known: \"ndp\", \"ospf\"")),
            }
        }
        if words.get_ref().is_empty() {
            self.problem(words.span(), KEY, "is empty: nobody would find the service");
        }
        advertise
    }

    /// The mode; that of a service which is not advertised on the link is always the one in which nobody owns.
    pub fn mode_of(&mut self, advertise: Advertise, mode: Option<Mode>, span: Option<Range<usize>>) -> Mode {
        if advertise.ndp {
            return mode.unwrap_or(Mode::Failover);
        }
        if let Some(span) = span.filter(|_| mode != Some(Mode::Solicited)) {
            let what = "has no meaning without \"ndp\" in advertise: all servers have a route at the same time; remove it";
            self.problem(span, "service.mode", what);
        }
        Mode::Solicited
    }

    pub fn cost(&mut self, cost: Option<Spanned<options::Cost>>, advertise: Advertise) -> Cost {
        let Some(cost) = cost else { return Cost::default() };
        let span = cost.span();
        if !advertise.ospf {
            self.problem(span, "service.cost", "needs \"ospf\" in service.advertise: NDP knows no costs");
            return Cost::default();
        }
        let cost = cost.into_inner();
        let default = Cost::default();
        let min = self.number(cost.min, "service.cost.min", default.min.into(), 1..=65534);
        let max_span = cost.max.as_ref().map_or(span.clone(), Spanned::span);
        let max = self.number(cost.max, "service.cost.max", default.max.max(min as u16).into(), 1..=65534);
        if max < min {
            self.problem(max_span, "service.cost.max", format!("{max} is below min ({min})"));
        }
        let most = (max - min + 1).clamp(2, 64);
        let levels_default = i64::from(default.levels).min(most);
        let levels = self.number(cost.levels, "service.cost.levels", levels_default, 2..=most);
        Cost {
            min: min as u16,
            max: max as u16,
            levels: levels as u8,
            up_hold: self.time(cost.up_hold, "service.cost.up_hold", default.up_hold, "1s", "1h"),
            down_hold: self.time(cost.down_hold, "service.cost.down_hold", default.down_hold, "1s", "1h"),
            jitter: self.time(cost.jitter, "service.cost.jitter", default.jitter, "0s", "1m"),
        }
    }

    /// Services and `[ospf]` need each other.
    pub fn advertised(&mut self, ospf: Option<&Ospf>, span: Option<Range<usize>>, services: &[Service]) {
        let routed = || services.iter().filter(|service| service.advertise.ospf);
        let Some(ospf) = ospf else {
            if let Some(service) = routed().next() {
                let what =
                    format!("service {} is advertised by \"ospf\": add the table [ospf]", service.name);
                self.problem(0..0, "ospf", what);
            }
            return;
        };
        let span = span.unwrap_or(0..0);
        if routed().next().is_none() && self.problems.is_empty() {
            let what = "no service has \"ospf\" in advertise: add it, or remove the table";
            self.problem(span, "ospf", what);
            return;
        }
        let mut destinations = BTreeMap::new();
        for service in routed() {
            let name = &service.name;
            if let Driver::Route(route) = &ospf.driver
                && let Some(other) = destinations.insert(route.destination(service.address), name)
            {
                let what = format!("services {other} and {name} would have the same route");
                self.problem(span.clone(), "ospf.route.prefix_length", what);
            }
            if matches!(service.address, IpAddr::V4(_)) && !matches!(ospf.driver, Driver::Route(_)) {
                let what = format!("OSPFv3 carries no IPv4: service {name} needs driver = \"route\"");
                self.problem(span.clone(), "ospf.driver", what);
            }
            if matches!(ospf.driver, Driver::Frr(_)) && service.ospf_interface.is_none() {
                let what =
                    format!("is missing in service {name}: FRR advertises an interface's address; name it");
                self.problem(span.clone(), "service.ospf_interface", what);
            }
            if !matches!(ospf.driver, Driver::Frr(_)) && service.ospf_interface.is_some() {
                let what = format!("of service {name}: only driver \"frr\" needs it");
                self.problem(span.clone(), "service.ospf_interface", what);
            }
        }
    }
}
