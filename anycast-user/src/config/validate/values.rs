//! Single values: addresses, VLANs, ports, names, paths, times, words.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use anycast_common::abi::PORTS_MAX;
use toml::Spanned;

use super::Validator;
use crate::config::value::{Time, Vlan, duration, written};

impl Validator<'_> {
    pub fn service_address(
        &mut self,
        address: Option<&Spanned<String>>,
        span: Range<usize>,
    ) -> Option<IpAddr> {
        const KEY: &str = "service.address";
        let Some(address) = address else {
            self.problem(span, KEY, "is missing: give the service address, without a prefix length");
            return None;
        };
        let text = address.get_ref();
        let Ok(parsed) = text.parse::<IpAddr>() else {
            let what = match text.split_once('/') {
                Some((bare, _)) if bare.parse::<IpAddr>().is_ok() => {
                    format!(
                        "{text:?} has a prefix length: write {bare:?}, a service address is always a single one"
                    )
                }
                _ => format!("{text:?} is not an IPv6 or IPv4 address"),
            };
            self.problem(address.span(), KEY, what);
            return None;
        };
        match unfit(parsed) {
            None => Some(parsed),
            Some(why) => {
                self.problem(
                    address.span(),
                    KEY,
                    format!(
                        "{parsed} is {why}: a service address is a global or unique local unicast address"
                    ),
                );
                None
            }
        }
    }

    pub fn vlan(&mut self, vlan: &Spanned<Vlan>) -> Vec<u16> {
        let vids = &vlan.get_ref().0;
        if vids.len() > 2 || vids.is_empty() {
            let what = format!(
                "has {} identifiers: one, or two with the outermost first; leave the key out for untagged",
                vids.len()
            );
            self.problem(vlan.span(), "service.vlan", what);
        }
        let mut fitting = Vec::new();
        for vid in vids {
            match u16::try_from(*vid) {
                Ok(vid @ 1..=4094) => fitting.push(vid),
                _ => self.problem(
                    vlan.span(),
                    "service.vlan",
                    format!("{vid} is not a VLAN identifier: 1 to 4094 are"),
                ),
            }
        }
        fitting
    }

    pub fn ports(&mut self, ports: &Spanned<Vec<i64>>) -> Vec<u16> {
        const KEY: &str = "service.ports";
        if ports.get_ref().is_empty() || ports.get_ref().len() > PORTS_MAX {
            let what = format!("has {} ports: a service has 1 to {PORTS_MAX}", ports.get_ref().len());
            self.problem(ports.span(), KEY, what);
        }
        let mut fitting = Vec::new();
        for port in ports.get_ref() {
            match u16::try_from(*port) {
                Ok(port) if port != 0 && !fitting.contains(&port) => fitting.push(port),
                Ok(port) if port != 0 => {
                    self.problem(ports.span(), KEY, format!("{port} stands there twice"))
                }
                _ => self.problem(ports.span(), KEY, format!("{port} is not a port: 1 to 65535 are")),
            }
        }
        fitting
    }

    pub fn macs(&mut self, macs: &Spanned<Vec<String>>, key: &str) -> Vec<[u8; 6]> {
        let mut fitting = Vec::new();
        for text in macs.get_ref() {
            match mac(text) {
                Some(mac) if mac[0] & 1 == 0 && mac != [0; 6] => fitting.push(mac),
                Some(_) => {
                    self.problem(macs.span(), key, format!("{text} is not the MAC address of one server"))
                }
                None => {
                    let what = format!("{text:?} is not a MAC address: write it as \"02:00:5e:00:53:01\"");
                    self.problem(macs.span(), key, what);
                }
            }
        }
        fitting
    }

    pub fn interface_name(
        &mut self,
        name: Option<&Spanned<String>>,
        span: Range<usize>,
        key: &str,
    ) -> Option<String> {
        let Some(name) = name else {
            self.problem(span, key, "is missing: name a network interface, as `ip link` shows it");
            return None;
        };
        let text = name.get_ref();
        // The kernel's rule, dev_valid_name(): shorter than IFNAMSIZ, no '/', ':' or space, neither "." nor "..".
        let fits = (1..16).contains(&text.len())
            && !text.contains(['/', ':'])
            && !text.contains(char::is_whitespace)
            && !matches!(text.as_str(), "." | "..");
        if !fits {
            self.problem(
                name.span(),
                key,
                format!("{text:?} is not an interface name: 1 to 15 bytes, as `ip link` shows it"),
            );
            return None;
        }
        if text == "lo" {
            self.problem(
                name.span(),
                key,
                "lo has no neighbours: name the interface that the routers are on",
            );
            return None;
        }
        Some(text.clone())
    }

    pub fn socket_address(
        &mut self,
        address: &Spanned<String>,
        key: &str,
        example: &str,
    ) -> Option<SocketAddr> {
        match address.get_ref().parse::<SocketAddr>() {
            Ok(parsed) if parsed.port() != 0 => Some(parsed),
            _ => {
                let what =
                    format!("{:?} is not an address with a port: write it as {example:?}", address.get_ref());
                self.problem(address.span(), key, what);
                None
            }
        }
    }

    /// A time between two bounds, both allowed, written as they stand in the message.
    pub fn time(
        &mut self,
        time: Option<Spanned<Time>>,
        key: &str,
        default: Duration,
        least: &str,
        most: &str,
    ) -> Duration {
        let Some(time) = time else { return default };
        let value = time.get_ref().0;
        let bound = |text| duration(text).unwrap_or(default);
        if value < bound(least) || value > bound(most) {
            self.problem(time.span(), key, format!("{} is out of range: {least} to {most}", written(value)));
            return default;
        }
        value
    }

    pub fn count(&mut self, count: Option<Spanned<i64>>, key: &str, default: u32) -> u32 {
        let Some(count) = count else { return default };
        match u32::try_from(*count.get_ref()) {
            Ok(fitting @ 1..=1000) => fitting,
            _ => {
                self.problem(count.span(), key, format!("{} is out of range: 1 to 1000", count.get_ref()));
                default
            }
        }
    }

    pub fn path(&mut self, path: Option<Spanned<PathBuf>>, key: &str, default: &str) -> PathBuf {
        let Some(path) = path else { return PathBuf::from(default) };
        self.absolute(&path, key);
        path.into_inner()
    }

    pub fn absolute(&mut self, path: &Spanned<PathBuf>, key: &str) {
        if !path.get_ref().is_absolute() {
            let what = format!(
                "{:?} is relative: write the whole path from /",
                path.get_ref().display().to_string()
            );
            self.problem(path.span(), key, what);
        }
    }

    /// The same, and the path itself.
    pub fn absolute_path(&mut self, path: Spanned<PathBuf>, key: &str) -> PathBuf {
        self.absolute(&path, key);
        path.into_inner()
    }

    /// One of a few words.
    pub fn word<T: Copy>(
        &mut self,
        word: Option<&Spanned<String>>,
        key: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let word = word?;
        let found = words.iter().find(|(known, _)| known == word.get_ref());
        if found.is_none() {
            let known: Vec<String> = words.iter().map(|(known, _)| format!("{known:?}")).collect();
            self.problem(word.span(), key, format!("{:?} is none of {}", word.get_ref(), known.join(", ")));
        }
        found.map(|(_, value)| *value)
    }
}

/// Why an address cannot be a service address.
pub fn unfit(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("the unspecified address"),
        _ if address.is_loopback() => Some("a loopback address"),
        _ if address.is_multicast() => Some("a multicast address"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("an IPv4-mapped address; write it as IPv4"),
        IpAddr::V4(v4) if v4.is_link_local() => Some("a link-local address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.octets()[0] >= 240 => Some("a reserved address"),
        _ => None,
    }
}

/// Six octets in hexadecimal, separated by colons.
fn mac(text: &str) -> Option<[u8; 6]> {
    let mut octets = [0; 6];
    let mut parts = text.split(':');
    for octet in &mut octets {
        let part = parts.next()?;
        let fits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        *octet = fits.then(|| u8::from_str_radix(part, 16).ok())??;
    }
    parts.next().is_none().then_some(octets)
}
