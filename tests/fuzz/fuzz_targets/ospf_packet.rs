//! A payload of protocol 89 from anybody: the codec, each LSA's body, the authentication trailer.
#![no_main]

use std::net::Ipv6Addr;
use std::sync::LazyLock;

use anycast_ospf::auth::{Algorithm, Key, KeyRing};
use anycast_ospf::codec::body::LoadLsa;
use anycast_ospf::codec::{Body, Lsa, LsaBody, Packet};
use libfuzzer_sys::fuzz_target;

const SOURCE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

static KEYS: LazyLock<KeyRing> = LazyLock::new(|| {
    let key = Key { id: 7, algorithm: Algorithm::HmacSha256, secret: vec![0x5a; 32] };
    KeyRing::new(vec![key]).expect("a key")
});

fuzz_target!(|payload: &[u8]| {
    let Ok((packet, trailer)) = Packet::decode(payload) else { return };
    let length = payload.len() - trailer.len();
    for signalling in [false, true] {
        assert!(KEYS.verify(SOURCE, payload, length, signalling).is_err(), "nobody guesses a digest");
    }
    // What is accepted has a meaning that survives being written again, at the same length.
    let again = packet.encode();
    assert_eq!(again.len() + trailer.len(), payload.len());
    assert_eq!(Packet::decode(&again), Ok((packet.clone(), &[][..])));
    if let Body::LinkStateUpdate(lsas) = &packet.body {
        lsas.iter().for_each(body);
    }
});

fn body(lsa: &Lsa) {
    let _ = LoadLsa::decode(&lsa.body, 0);
    let Ok(body) = LsaBody::decode(lsa) else { return };
    let key = lsa.header.key;
    let again = Lsa::new(key, lsa.header.sequence, lsa.header.age, &body.encode());
    assert!(again.is_intact());
    assert_eq!(LsaBody::decode(&again), Ok(body));
}
