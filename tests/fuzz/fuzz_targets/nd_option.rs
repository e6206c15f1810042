//! What stands behind the target link-layer address option of an advertisement from anybody.
#![no_main]

use std::net::Ipv6Addr;
use std::sync::LazyLock;

use anycast_core::auth::{KeyId, KeyRing};
use anycast_core::nd_option::{Envelope, Information};
use libfuzzer_sys::fuzz_target;

static KEYS: LazyLock<KeyRing> = LazyLock::new(|| KeyRing::new(KeyId(1), &[0x5a; 32]));

const ENVELOPE: Envelope = Envelope {
    target: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x53),
    vlan: 0,
    mac: [2, 0, 0, 0, 0, 1],
    flags: 0x20,
};

fuzz_target!(|octets: &[u8]| {
    assert!(Information::verify(octets, &ENVELOPE, &KEYS).is_err(), "nobody guesses a signature");
    if let Ok(information) = Information::decode(octets) {
        let plain = information.emit(&ENVELOPE, None);
        assert_eq!(Information::decode(&plain), Ok(information));
        let mut signed = information.emit(&ENVELOPE, Some(&KEYS));
        assert_eq!(Information::verify(&signed, &ENVELOPE, &KEYS), Ok(information));
        // One octet of the input says which bit of the signed option is turned.
        let bit = usize::from(octets[5]) * 2 + usize::from(octets[4] & 1);
        signed[bit / 8 % 80] ^= 1 << (bit % 8);
        assert!(Information::verify(&signed, &ENVELOPE, &KEYS).is_err(), "bit {bit}");
    }
});
