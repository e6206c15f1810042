//! A key file as an operator may write it.
#![no_main]

use anycast_core::auth::KeyRing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match KeyRing::parse(text) {
        Ok(ring) => assert!(ring.ids().next().is_some()),
        Err(error) => assert!(error.line() >= 1 && error.line() <= text.lines().count().max(1)),
    }
});
