//! Registrars that nobody named: found by their announces.

use std::net::SocketAddr;

use anycast_pool::wire::State;
use anycast_pool::{LinkState, PoolHandle, Target};
use anycast_tests::lab::namespace::veth;
use anycast_tests::lab::{Namespace, Registrar};
use anycast_user::pool::user::ResolveError;
use anycast_user::pool::{PoolUser, PoolUserOptions, Registrars};

use crate::support::{PATIENCE, run, until};
use crate::user::{ABLE, element_of};

const REGISTRAR: &str = "[fd00:7::1]:3863";

/// A link with a registrar at one end and elements and users at the other.
struct Rig {
    registrar: Registrar,
    there: Namespace,
    _here: Namespace,
}

impl Rig {
    fn new(announce: &str) -> Self {
        let (here, there) = (Namespace::new().unwrap(), Namespace::new().unwrap());
        veth(&here, "reg0", &there, "use0").unwrap();
        for (namespace, link, number) in [(&here, "reg0", 1), (&there, "use0", 2)] {
            let addresses = [format!("fd00:7::{number}/64"), format!("192.0.2.{number}/24")];
            namespace.ip(&["link", "set", link, "up"]).unwrap();
            for address in &addresses {
                let mut add = vec!["address", "add", address.as_str(), "dev", link];
                if address.contains(':') {
                    add.push("nodad");
                }
                namespace.ip(&add).unwrap();
            }
        }
        let registrar = Registrar::start_in(&here, REGISTRAR.parse().unwrap(), announce).unwrap();
        Self { registrar, there, _here: here }
    }

    fn registrars() -> Registrars {
        Registrars { discover: vec!["use0".to_owned()], ..Registrars::default() }
    }

    fn user() -> PoolUser {
        let options = PoolUserOptions {
            registrars: Self::registrars(),
            patience: PATIENCE,
            ..PoolUserOptions::new([])
        };
        PoolUser::connect(options)
    }
}

/// Announces on the link, by the given address of TCP.
fn announces(address: &str) -> String {
    format!("[announce]\ninterfaces = [\"reg0\"]\ninterval = \"200ms\"\naddresses = [\"{address}\"]\n")
}

#[test]
fn a_registrar_that_announces_itself_needs_no_name() {
    need_lab!("a_registrar_that_announces_itself_needs_no_name");
    let rig = Rig::new(&announces(REGISTRAR));
    let address: SocketAddr = REGISTRAR.parse().unwrap();
    rig.there.run(|| {
        run(async {
            let mut element = element_of(Rig::registrars(), 1, "[fd00:7::2]:53".parse().unwrap());
            element.tell(ABLE);
            let user = Rig::user();
            user.follow(&PoolHandle::from("dns"));
            until("the user knows the element", || {
                user.snapshot(&"dns".into())
                    .is_some_and(|pool| pool.elements.iter().any(|element| element.state == State::Up))
            })
            .await;
            // Both groups carry the same announce: it is one registrar.
            let known = user.registrars();
            assert_eq!(known.len(), 1, "{known:?}");
            assert!(matches!(&known[0].1.target, Target::Announced(transport) if transport.address() == Some(address)));
            assert!(matches!(known[0].1.state, LinkState::Open(..)));
        });
    });
    assert_eq!(rig.registrar.status(Some("dns")).unwrap().elements.len(), 1);
    assert!(!rig.registrar.log().contains("cannot announce"), "{}", rig.registrar.log());
}

#[test]
fn without_announces_nobody_is_found() {
    need_lab!("without_announces_nobody_is_found");
    let rig = Rig::new("");
    rig.there.run(|| {
        run(async {
            let options = PoolUserOptions {
                registrars: Rig::registrars(),
                patience: std::time::Duration::from_secs(1),
                ..PoolUserOptions::new([])
            };
            let user = PoolUser::connect(options);
            let error = user.resolve("dns").await.unwrap_err();
            assert!(matches!(error, ResolveError::Silent { .. }), "{error}");
            assert!(error.to_string().contains("none is known"), "{error}");
        });
    });
}
