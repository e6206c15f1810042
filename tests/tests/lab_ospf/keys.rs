//! Authenticated adjacencies (RFC 7166).

use std::path::PathBuf;

use anycast_tests::lab::routed::Speaker;
use anycast_tests::lab::wait_until;
use tempfile::TempDir;

use crate::router::Kind;
use crate::{PATIENCE, Rig, need_lab};

/// A key file.
pub struct Keys {
    _directory: TempDir,
    file: PathBuf,
}

impl Keys {
    pub fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ospf.keys");
        let keys = Self { _directory: directory, file };
        keys.write(text);
        keys
    }

    pub fn write(&self, text: &str) {
        std::fs::write(&self.file, text).unwrap();
        std::fs::set_permissions(&self.file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }

    /// The line of `[ospf]`.
    pub fn line(&self) -> String {
        format!("key_file = \"{}\"", self.file.display())
    }
}

/// A server of which the router becomes no neighbour, and that says why.
fn refused(kind: Kind, more: &str) {
    let rig = Rig::at_once(kind, Speaker::Native, 1, more);
    wait_until("packets are refused", PATIENCE, || {
        let rejected = &rig.picture(0).interfaces[0].rejected;
        rejected.iter().any(|rejected| rejected.reason == "auth" && rejected.total >= 3)
    })
    .unwrap();
    assert_eq!(rig.picture(0).neighbors, []);
    assert_eq!(rig.next_hops(), Vec::<String>::new());
    let log = rig.daemons[0].log();
    assert!(log.contains("auth"), "the log does not say why: {log}");
}

fn taken(kind: Kind, more: &str) {
    let rig = Rig::new(kind, Speaker::Native, 1, more);
    rig.wait_until_full(0, &[("10.0.0.1", "DR")]);
    assert!(rig.picture(0).interfaces[0].authenticated);
    assert_eq!(rig.answering(), ["s1"]);
}

const BIRD: Kind =
    Kind::Bird("authentication cryptographic; password \"between us\" { id 7; algorithm hmac sha256; };");

const FRR: Kind = Kind::Frr(" ipv6 ospf6 authentication key-id 7 hash-algo hmac-sha-256 key between-us\n");

#[test]
fn with_a_key_bird_takes_the_route_and_with_another_does_not() {
    need_lab!("with_a_key_bird_takes_the_route_and_with_another_does_not");
    let keys = Keys::new("7 hmac-sha-256 \"between us\"\n");
    taken(BIRD, &keys.line());
    // Control: with another secret they do not become neighbours, and each counts why.
    keys.write("7 hmac-sha-256 \"between them\"\n");
    refused(BIRD, &keys.line());
}

#[test]
fn with_a_key_frr_84_takes_the_route_through_the_switch_alone() {
    need_lab!("with_a_key_frr_84_takes_the_route_through_the_switch_alone");
    let keys = Keys::new("7 hmac-sha-256 between-us\n");
    let switched = format!("{}\nfrr84_compat = true", keys.line());
    taken(FRR, &switched);
    // Controls: without the switch, and with it and another secret.
    refused(FRR, &keys.line());
    keys.write("7 hmac-sha-256 between-them\n");
    refused(FRR, &switched);
}
