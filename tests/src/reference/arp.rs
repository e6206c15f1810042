//! ARP: RFC 826, and RFC 5227 for probes and announcements.

use anycast_common::abi::{self, Drop};

use super::reader::Reader;
use super::{Link, Outcome, Solicitation, World, dropped};
use crate::frames::{Arp, BROADCAST, ETHERTYPE_IPV4, Ether};

const REQUEST: u16 = 1;
const REPLY: u16 = 2;

impl World<'_> {
    pub(super) fn arp(&self, frame: &[u8], link: &Link, mut reader: Reader<'_>) -> Option<Outcome> {
        let heard = link.destination == self.mac || link.destination == BROADCAST;
        if !heard || !link.is_from_a_station() {
            return None;
        }
        let (hardware, protocol) = (reader.u16()?, reader.u16()?);
        let (hardware_length, protocol_length) = (reader.u8()?, reader.u8()?);
        let operation = reader.u16()?;
        let (sender_mac, sender) = (reader.mac()?, reader.ipv4()?);
        let (_, target) = (reader.mac()?, reader.ipv4()?);
        let padding = reader.rest().len();

        // A reply is about its sender, whatever else about its target.
        let about = if operation == REPLY { sender } else { target };
        let index = self.service(about, link)?;
        let formed = (hardware, protocol, hardware_length, protocol_length) == (1, ETHERTYPE_IPV4, 6, 4)
            && (operation == REQUEST || operation == REPLY);
        if !formed {
            return Some(dropped(vec![Drop::ArpInvalid]));
        }
        if operation == REPLY || sender == target {
            if sender_mac == self.mac || link.source == self.mac {
                return Some(dropped(vec![Drop::OwnAdvertisement]));
            }
            return Some(self.peer(link, index, sender, Some(sender_mac), 0, &[]));
        }
        let kind = if sender.is_unspecified() {
            abi::EVENT_SOLICITED_DAD
        } else if link.destination == self.mac {
            abi::EVENT_SOLICITED_UNICAST
        } else {
            abi::EVENT_SOLICITED_MULTICAST
        };
        let reply = Arp {
            ether: Ether { destination: link.source, source: self.mac, tags: link.tags.clone(), padding: 0 },
            ..Arp::reply(self.mac, target, sender_mac, sender)
        };
        let mut answer = reply.frame();
        answer.extend(&frame[frame.len() - padding..]);
        Some(self.solicited(link, Solicitation { index, kind, source: sender.into() }, answer))
    }
}
