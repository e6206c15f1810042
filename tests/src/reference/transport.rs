//! What passes and is counted: DNS over UDP, and the SYNs of TCP.

use std::net::IpAddr;

use anycast_common::abi::Counters;

use super::reader::Reader;
use super::{Link, Outcome, World, passed};
use crate::frames::{NEXT_TCP, NEXT_UDP, TCP_ACK, TCP_SYN};

const UDP_HEADER: usize = 8;
const TCP_HEADER: usize = 20;
const DNS_HEADER: usize = 12;

impl World<'_> {
    pub(super) fn ipv4(&self, frame: &[u8], link: &Link, reader: Reader<'_>) -> Option<Outcome> {
        let packet = reader.rest();
        let mut reader = reader;
        let first = reader.u8()?;
        reader.u8()?;
        let total = usize::from(reader.u16()?);
        reader.u16()?;
        let fragment = reader.u16()?;
        reader.u8()?;
        let protocol = reader.u8()?;
        reader.u16()?;
        reader.ipv4()?;
        let destination = reader.ipv4()?;
        // Options: doubt.
        if first != 0x45 || total < 20 || total > packet.len() {
            return None;
        }
        if fragment & 0x3fff != 0 {
            return self.transport_fragment(frame, link, destination.into(), protocol);
        }
        self.transport(frame, link, destination.into(), protocol, &packet[20..total])
    }

    pub(super) fn transport(
        &self,
        frame: &[u8],
        link: &Link,
        destination: IpAddr,
        protocol: u8,
        payload: &[u8],
    ) -> Option<Outcome> {
        if link.destination != self.mac {
            return None;
        }
        let index = self.service(destination, link)?;
        let mut reader = Reader::new(payload);
        reader.u16()?;
        let port = reader.u16()?;
        if !self.services[index].ports.contains(&port) {
            return None;
        }
        let mut counted = Counters { bytes: frame.len() as u64, ..Default::default() };
        match protocol {
            NEXT_UDP => {
                if payload.len() < UDP_HEADER {
                    return None;
                }
                match payload.get(UDP_HEADER..UDP_HEADER + DNS_HEADER) {
                    None => counted.malformed = 1,
                    Some(header) if header[2] & 0x80 == 0 => counted.queries = 1,
                    Some(_) => counted.responses = 1,
                }
            }
            NEXT_TCP => {
                let flags = payload.get(..TCP_HEADER)?[13];
                if flags & (TCP_SYN | TCP_ACK) != TCP_SYN {
                    return None;
                }
                counted.tcp_syns = 1;
            }
            _ => return None,
        }
        Some(passed(frame, index, counted))
    }

    pub(super) fn transport_fragment(
        &self,
        frame: &[u8],
        link: &Link,
        destination: IpAddr,
        protocol: u8,
    ) -> Option<Outcome> {
        if link.destination != self.mac || (protocol != NEXT_UDP && protocol != NEXT_TCP) {
            return None;
        }
        let index = self.service(destination, link)?;
        Some(passed(frame, index, Counters { fragments: 1, ..Default::default() }))
    }
}
