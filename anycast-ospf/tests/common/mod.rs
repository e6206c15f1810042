//! What several tests need: the captures.

#![allow(dead_code, reason = "not every test binary uses all of it")]

use std::net::Ipv6Addr;

/// One captured packet.
#[derive(Clone, Debug)]
pub struct Captured {
    /// Line of the file.
    pub line: usize,
    /// IPv6 source.
    pub source: Ipv6Addr,
    /// IPv6 destination.
    pub destination: Ipv6Addr,
    /// IPv6 payload.
    pub payload: Vec<u8>,
}

/// FRR and BIRD becoming fully adjacent.
pub const PLAIN: &str = include_str!("../captures/frr-bird.txt");

/// FRR and BIRD with authentication trailers.
pub const AUTHENTICATED: &str = include_str!("../captures/frr-bird-auth.txt");

/// The packets of a capture.
pub fn packets(text: &str) -> Vec<Captured> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
    let packet = |(at, line): (usize, &str)| {
        let [source, destination, hex] = line.split(' ').collect::<Vec<_>>().try_into().expect("three words");
        let octet = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        Captured {
            line: at + 1,
            source: source.parse().expect("an address"),
            destination: destination.parse().expect("an address"),
            payload: (0..hex.len()).step_by(2).map(octet).collect(),
        }
    };
    lines.map(packet).collect()
}
