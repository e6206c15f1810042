//! Elements and users that talk by TLS, and certificates that are renewed meanwhile.

use std::sync::Arc;

use anycast_pool::wire::State;
use anycast_tests::lab::{Certificates, Registrar};
use anycast_user::pool::user::ResolveError;
use anycast_user::pool::{PoolUser, PoolUserOptions, Registrars, Tls};
use anycast_user::tls;

use crate::support::{PATIENCE, run, until};
use crate::user::{ABLE, element_of, port};

/// The registrar, by TLS with these files.
fn registrars(registrar: &Registrar, files: tls::Files) -> Registrars {
    let tls = Tls {
        client: Arc::new(tls::Client::client(files).unwrap()),
        server_name: Some(tls::server_name("localhost").unwrap()),
    };
    let addresses = vec![registrar.address_tls.unwrap().into()];
    Registrars { addresses, tls: Some(tls), ..Registrars::default() }
}

fn user(registrars: Registrars) -> PoolUser {
    PoolUser::connect(PoolUserOptions { registrars, patience: PATIENCE / 5, ..PoolUserOptions::new([]) })
}

fn knows_an_element(user: &PoolUser) -> bool {
    user.snapshot(&"dns".into())
        .is_some_and(|pool| pool.elements.iter().any(|element| element.state == State::Up))
}

#[test]
fn elements_and_users_show_who_they_are_and_strangers_are_not_heard() {
    let (ours, theirs) = (Certificates::new().unwrap(), Certificates::new().unwrap());
    let registrar = Registrar::start(Some(&ours), "").unwrap();
    run(async {
        let files = ours.files("ns1.example", &ours).unwrap();
        let mut element = element_of(registrars(&registrar, files), 1, port(1001));
        element.tell(ABLE);
        let friend = user(registrars(&registrar, ours.files("user.example", &ours).unwrap()));
        friend.follow(&"dns".into());
        until("the user knows the element", || knows_an_element(&friend)).await;
        let status = registrar.status(Some("dns")).unwrap();
        assert_eq!(status.elements[0].identity.as_deref(), Some("ns1.example"));

        // The registrar does not know who signed it, or it does not know who signed the registrar.
        for (files, why) in [
            (theirs.files("user.example", &ours), "it refused this side's certificate"),
            (ours.files("user.example", &theirs), "its certificate is not trusted"),
        ] {
            let stranger = user(registrars(&registrar, files.unwrap()));
            let error = stranger.resolve("dns").await.unwrap_err();
            assert!(matches!(error, ResolveError::Silent { .. }), "{error}");
            assert!(error.to_string().contains(why), "{error}");
        }
    });
}

#[test]
fn only_those_on_the_list_register_in_a_pool() {
    let ours = Certificates::new().unwrap();
    let list = "[[pool]]\nname = \"dns\"\nelements = [\"*.dns.example\"]\n";
    let registrar = Registrar::start(Some(&ours), list).unwrap();
    run(async {
        let start = |name, id| {
            let mut element =
                element_of(registrars(&registrar, ours.files(name, &ours).unwrap()), id, port(1001));
            element.tell(ABLE);
            element
        };
        let (_listed, other) = (start("ns1.dns.example", 1), start("www.example", 2));
        until("one is registered and the other rejected", || {
            let (snapshot, _) = other.snapshot();
            registrar.status(Some("dns")).is_ok_and(|status| status.elements.len() == 1)
                && snapshot.registrations.iter().any(|one| one.problem.is_some())
        })
        .await;
        assert_eq!(registrar.status(Some("dns")).unwrap().elements[0].id, "00000001");
        let (snapshot, _) = other.snapshot();
        let problem = snapshot.registrations[0].problem.as_ref().unwrap();
        assert!(problem.advice().contains("certificate"), "{problem}: {}", problem.advice());
    });
}

#[test]
fn renewed_certificates_are_taken_without_a_restart() {
    let (ours, theirs) = (Certificates::new().unwrap(), Certificates::new().unwrap());
    let registrar = Registrar::start(Some(&ours), "").unwrap();
    run(async {
        let mut element =
            element_of(registrars(&registrar, ours.files("ns1.example", &ours).unwrap()), 1, port(1001));
        element.tell(ABLE);
        // Ends before the exchange: who trusts the new authority is not heard.
        let early = user(registrars(&registrar, theirs.files("early.example", &theirs).unwrap()));
        early.resolve("dns").await.unwrap_err();
        drop(early);

        // The registrar moves to another authority: its own certificate, and whom it takes.
        let (certificate, key) = theirs.issue("registrar", &["localhost"]).unwrap();
        let (old_certificate, old_key) = ours.paths("registrar");
        std::fs::rename(key, old_key).unwrap();
        std::fs::rename(certificate, old_certificate).unwrap();
        std::fs::copy(theirs.authority_file(), ours.authority_file()).unwrap();
        let late = user(registrars(&registrar, theirs.files("late.example", &theirs).unwrap()));
        late.follow(&"dns".into());
        until("who trusts the new authority is heard", || knows_an_element(&late)).await;
        // Connections that were there are not touched.
        let status = registrar.status(Some("dns")).unwrap();
        assert_eq!((status.elements.len(), status.elements[0].state.as_str()), (1, "up"));
    });
}
