//! Registrar, elements and users of ours, all over SCTP.

use anycast_pool::wire::{Message, Source};
use anycast_tests::lab::Registrar;
use anycast_tests::lab::registrar::{registration, resolution};
use anycast_tests::lab::wait_until;
use anycast_user::pool::user::ResolveError;
use anycast_user::pool::{PoolUser, PoolUserOptions};
use nix::sys::signal::Signal;

use crate::support::{
    Member, OFTEN, PATIENCE, Raw, acknowledged, anycast, by_sctp, is_down, is_gone, is_up, local, registrar,
    run, status_json, until, user,
};

const POOL: &str = "echo";

#[test]
fn a_user_hears_of_elements_of_their_deaths_and_of_their_good_byes() {
    let registrar = registrar(OFTEN);
    let mut first = Member::start(registrar.address, POOL, 1, local(5001));
    let second = Member::start(registrar.address, POOL, 2, local(5002));
    run(async {
        let user = user(registrar.address);
        user.follow(&POOL.into());
        until("both are up", || is_up(&user, POOL, 1) && is_up(&user, POOL, 2)).await;
        let heard = user.snapshot(&POOL.into()).unwrap().heard;
        assert_eq!(heard.iter().map(|(_, pushes)| *pushes).collect::<Vec<_>>(), [true]);

        // Keep-alives go to and fro.
        let before = acknowledged(&registrar);
        until("keep-alives are answered", || acknowledged(&registrar) >= before + 4).await;
        assert!(is_up(&user, POOL, 1) && is_up(&user, POOL, 2));

        first.process.kill().unwrap();
        until("the first is down", || is_down(&user, POOL, 1)).await;
        assert!(is_up(&user, POOL, 2), "the other is what it was");

        second.process.signal(Signal::SIGTERM).unwrap();
        until("the second is gone", || is_gone(&user, POOL, 2)).await;
        assert!(!is_gone(&user, POOL, 1), "who died is not who said good-bye");
    });
    let elements = status_json(registrar.directory(), POOL);
    assert_eq!(elements.len(), 1, "{elements:?}");
    assert_eq!(
        (elements[0]["state"].as_str(), elements[0]["connected"].as_bool()),
        (Some("down"), Some(false))
    );
}

#[test]
fn the_transport_that_is_named_is_the_one_that_is_used() {
    // It listens on TCP and SCTP, at one address.
    let registrar = registrar("");
    let _member = Member::start(registrar.address, POOL, 1, local(5001));
    let named = registrar.address.to_string();
    let over = |named: &str| anycast(&["pool", "resolve", POOL, "--json", "--registrar", named]);
    wait_until("it is found over SCTP", PATIENCE, || over(&format!("sctp://{named}")).0).unwrap();
    let (good, text) = over(&named);
    assert!(good && text.contains("10.53.0.1"), "{text}");

    // The control: a port at which only TCP is listened.
    let tcp = Registrar::start(None, "").unwrap();
    run(async {
        let options =
            PoolUserOptions { patience: PATIENCE / 10, ..PoolUserOptions::new([by_sctp(tcp.address)]) };
        match PoolUser::connect(options).resolve(POOL).await {
            Err(ResolveError::Silent { registrars, .. }) => {
                let named = by_sctp(tcp.address).to_string();
                assert!(registrars.contains(&named) && registrars.contains("refused"), "{registrars}");
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_pool_of_hundreds_comes_whole_in_one_message() {
    const CONNECTIONS: u32 = 6;
    const EACH: u32 = 150;
    let registrar = registrar("[keep_alive]\ninterval = \"10m\"\n");
    let mut connections: Vec<Raw> = (0..CONNECTIONS).map(|_| Raw::connect(registrar.address)).collect();
    for (number, connection) in (0..).zip(&mut connections) {
        for id in number * EACH..(number + 1) * EACH {
            let answer = connection.ask(&registration(POOL, id + 1));
            assert!(matches!(answer, Message::RegistrationResponse { rejected: false, .. }), "{answer:?}");
        }
    }
    run(async {
        let snapshot = user(registrar.address).resolve(POOL).await.unwrap();
        assert_eq!(snapshot.elements.len(), (CONNECTIONS * EACH) as usize);
    });
}

#[test]
fn what_is_malformed_gets_an_error_or_silence_and_disturbs_nobody() {
    let registrar = registrar("");
    let mut element = Raw::connect(registrar.address);
    element.ask(&registration(POOL, 1));
    let mut user = Raw::connect(registrar.address);
    // A type that is unknown, whose top bits ask for a report (RFC 5354 2).
    user.send_octets(&[0x7f, 0, 0, 4]);
    assert!(matches!(user.receive(), Some(Message::Error(_))));
    // Top bits that ask for silence; less than a header; a length of more than there is; two messages in one.
    let good = resolution(POOL, false).to_octets().unwrap();
    let mut long = good.clone();
    long[3] += 40;
    for octets in [&[0xbf, 0, 0, 4][..], &[5], &long, &good.repeat(2)] {
        user.send_octets(octets);
    }
    // Too long for anything.
    let mut giant = Raw::connect(registrar.address);
    giant.send_octets(&[0; 60_000]);

    // The same association goes on, whatever was answered to the last of those.
    user.send(&resolution("nowhere", false));
    let answer = std::iter::from_fn(|| user.receive()).find(
        |answer| matches!(answer, Message::HandleResolutionResponse(response) if !response.errors.is_empty()),
    );
    assert!(answer.is_some(), "the association was closed");

    // So does the element's, which asks and is answered.
    let Message::HandleResolutionResponse(response) = element.ask(&resolution(POOL, false)) else {
        panic!("no answer to a resolution");
    };
    let entries = response.status.unwrap().entries;
    assert_eq!(
        entries.iter().map(|entry| (entry.id.0, entry.source)).collect::<Vec<_>>(),
        [(1, Source::Registration)]
    );
    let status = registrar.status(None).unwrap();
    assert_eq!(status.totals.elements_up, 1);
    assert!(status.counters.malformed.values().sum::<u64>() >= 4, "{:?}", status.counters.malformed);
}
