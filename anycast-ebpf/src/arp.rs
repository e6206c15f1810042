//! ARP for an IPv4 service address (RFC 826, RFC 5227): the same rules as for Neighbor Discovery.

use anycast_common::{
    abi::{Drop, IPV4_KEY, Service},
    packet::{arp, be16, ethernet, halves, mapped, ne32, octets},
};

use crate::{
    frame::{Frame, same_mac},
    maps::COUNTERS,
    neighbour::admit,
    reply,
    report::{self, Advertisement, Kind},
    service::{find, services},
    verdict::Verdict,
};

/// Judges an ARP packet to our MAC address or the broadcast address, from a single station.
///
/// A request is for the service that it asks for; a reply, and an announcement (a request for the sender's own address), is
/// about the service that it names as the sender. A request *from* a service address for another address passes: it may ask
/// for one of the kernel's own, which must answer.
#[inline(always)]
pub fn judge<const EXTRA: bool>(frame: Frame) -> Option<Verdict> {
    let packet = frame.view::<{ arp::LENGTH }>(frame.network)?;
    let services = services()?;
    let (to, from) = frame.addresses()?;
    let unicast = frame.is_to_us(services);
    if !unicast && !same_mac(&to, &ethernet::BROADCAST) || from[0] & ethernet::GROUP_BIT != 0 {
        return None;
    }
    let sender = ne32(packet, arp::SENDER_PROTOCOL);
    let target = ne32(packet, arp::TARGET_PROTOCOL);
    let operation = be16(packet, arp::OPERATION);
    let about = if operation == arp::REPLY { sender } else { target };
    let service = find(services, halves(mapped(about)), frame.vlan | IPV4_KEY)?;
    let head: [u8; 6] = octets(packet, arp::HARDWARE_TYPE);
    // `same_mac` compares six octets, whatever they mean.
    if !same_mac(&head, &arp::ETHERNET_IPV4) || operation != arp::REQUEST && operation != arp::REPLY {
        return Some(Verdict::Drop(Drop::ArpInvalid));
    }
    if operation == arp::REPLY || sender == target {
        return judge_advertisement(&frame, service, packet);
    }
    let kind = if sender == 0 {
        Kind::Dad
    } else if unicast {
        Kind::Unicast
    } else {
        Kind::Multicast
    };
    if let Err(refused) = admit::<EXTRA>(&frame, service.index, kind)? {
        report::solicited(service.index, kind, mapped(sender), from, frame.vlan);
        return Some(Verdict::Drop(refused));
    }
    if EXTRA && kind != Kind::Dad {
        report::answered(service.index, mapped(sender), from, frame.vlan);
    }
    reply::answer_arp(frame, service)
}

#[inline(always)]
fn judge_advertisement(frame: &Frame, service: &Service, packet: &[u8; arp::LENGTH]) -> Option<Verdict> {
    let (_, from) = frame.addresses()?;
    let announced = octets(packet, arp::SENDER_HARDWARE);
    if same_mac(&from, &service.mac) || same_mac(&announced, &service.mac) {
        return Some(Verdict::Drop(Drop::OwnAdvertisement));
    }
    // SAFETY: the pointer is to this CPU's map value, which no other program run writes to at the same time.
    unsafe { (*COUNTERS.get_ptr_mut(service.index)?).advertisements += 1 }
    let address = service.address;
    let advertisement = Advertisement { address, mac: from, announced, flags: 0, option: None };
    report::peer_advertisement(frame, service.index, advertisement);
    Some(Verdict::Drop(Drop::PeerAdvertisement))
}
