//! What passes and is counted: DNS over UDP, and the SYNs of TCP.

use std::net::IpAddr;

use anycast_common::abi::Counters;

use super::reader::Reader;
use super::{Link, Outcome, World, passed};
use crate::frames::{NEXT_TCP, NEXT_UDP, TCP_ACK, TCP_SYN};

const UDP_HEADER: usize = 8;
const TCP_HEADER: usize = 20;
const DNS_HEADER: usize = 12;

/// What an IP packet carries.
#[derive(Clone, Copy)]
pub(super) struct Payload<'a> {
    /// Octets, as the IP header says.
    pub(super) length: usize,
    /// Octets up to the frame's end, be they fewer or more.
    pub(super) visible: &'a [u8],
}

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
        let header = usize::from(first & 0x0f) * 4;
        if first >> 4 != 4 || header < 20 {
            return None;
        }
        if fragment & 0x3fff != 0 {
            return self.transport_fragment(frame, link, destination.into(), protocol);
        }
        let payload = Payload { length: total.checked_sub(header)?, visible: packet.get(header..)? };
        self.transport(frame, link, destination.into(), protocol, payload)
    }

    pub(super) fn transport(
        &self,
        frame: &[u8],
        link: &Link,
        destination: IpAddr,
        protocol: u8,
        payload: Payload<'_>,
    ) -> Option<Outcome> {
        if link.destination != self.mac {
            return None;
        }
        let index = self.service(destination, link)?;
        let mut reader = Reader::new(payload.visible);
        reader.u16()?;
        let port = reader.u16()?;
        if !self.services[index].ports.contains(&port) {
            return None;
        }
        let mut counted = Counters { bytes: frame.len() as u64, ..Default::default() };
        match protocol {
            NEXT_UDP => {
                let datagram_length = usize::from(reader.u16()?);
                reader.u16()?;
                if payload.length < UDP_HEADER {
                    return None;
                }
                let whole = datagram_length.min(payload.length) >= UDP_HEADER + DNS_HEADER;
                match reader.bytes(DNS_HEADER).filter(|_| whole) {
                    None => counted.malformed = 1,
                    Some(header) if header[2] & 0x80 == 0 => counted.queries = 1,
                    Some(_) => counted.responses = 1,
                }
            }
            NEXT_TCP => {
                let flags = payload.visible.get(..TCP_HEADER)?[13];
                if flags & (TCP_SYN | TCP_ACK) != TCP_SYN || payload.length < TCP_HEADER {
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
