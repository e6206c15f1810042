//! The library's pool user.

use std::net::SocketAddr;
use std::time::Duration;

use anycast_pool::element::ElementConfig;
use anycast_pool::policy::Policy;
use anycast_pool::user::What;
use anycast_pool::wire::{State, StatusFlags, Transport};
use anycast_pool::{ElementId, PoolHandle};
use anycast_user::pool::element::{Condition, PoolElement};
use anycast_user::pool::user::{News, ResolveError};
use anycast_user::pool::{PoolUser, PoolUserOptions, Registrars};

use crate::support::{ANY, PATIENCE, Registrar, run, until};

pub const ABLE: Condition = Condition { able: true, standby: false, draining: false, load: 0 };

pub fn options(registrars: &[&Registrar]) -> PoolUserOptions {
    PoolUserOptions {
        patience: PATIENCE,
        ..PoolUserOptions::new(registrars.iter().map(|registrar| registrar.address.into()))
    }
}

/// An element of the pool `dns` that serves at that address and is able.
pub fn element(registrars: &[&Registrar], id: u32, at: SocketAddr) -> PoolElement {
    let addresses = registrars.iter().map(|registrar| registrar.address.into()).collect();
    let mut element = element_of(Registrars { addresses, ..Registrars::default() }, id, at);
    element.tell(ABLE);
    element
}

/// The same, with any registrars and not able yet.
pub fn element_of(registrars: Registrars, id: u32, at: SocketAddr) -> PoolElement {
    let config =
        ElementConfig::new("dns".into(), ElementId(id), Transport::Udp(at), Policy::RoundRobin, 0, 0);
    PoolElement::start(config, registrars, "test")
}

pub fn port(port: u16) -> SocketAddr {
    (ANY.ip(), port).into()
}

/// Ids that the user knows as up.
fn up(user: &PoolUser) -> Vec<u32> {
    let snapshot = user.snapshot(&"dns".into());
    let elements = snapshot.into_iter().flat_map(|snapshot| snapshot.elements);
    let mut up: Vec<u32> =
        elements.filter(|element| element.state == State::Up).map(|element| element.id.0).collect();
    up.sort_unstable();
    up
}

#[test]
fn a_user_is_told_of_each_change_and_picks_what_works() {
    run(async {
        let registrar = Registrar::start(None, "").unwrap();
        let one = element(&[&registrar], 1, port(1001));
        let two = element(&[&registrar], 2, port(1002));
        let user = PoolUser::connect(options(&[&registrar]));
        let mut changes = user.changes();
        user.resolve("dns").await.unwrap();
        until("both elements are up", || up(&user) == [1, 2]).await;
        let picks: Vec<u32> = (0..4).map(|_| user.pick("dns", &[]).unwrap().id.0).collect();
        assert!(picks.contains(&1) && picks.contains(&2), "{picks:?}");
        assert_eq!(user.pick("dns", &[ElementId(1)]).unwrap().id, ElementId(2));

        // Without a word, as a process that is killed.
        drop(one);
        until("its end is known", || up(&user) == [2]).await;
        let mut down = false;
        while !down {
            let news = tokio::time::timeout(PATIENCE, changes.next()).await.unwrap().unwrap();
            down = matches!(news, News::Change(change) if change.id == ElementId(1)
                && matches!(change.what, What::State(State::Down, _)));
        }
        assert!((0..4).all(|_| user.pick("dns", &[]).unwrap().id == ElementId(2)));

        // With a good-bye.
        two.stop().await;
        until("nobody is left", || up(&user).is_empty()).await;
        let snapshot = user.snapshot(&"dns".into()).unwrap();
        let two = snapshot.elements.iter().find(|element| element.id == ElementId(2)).unwrap();
        assert!(two.flags.contains(StatusFlags::TOMBSTONE), "{two:?}");
    });
}

#[test]
fn the_death_of_one_of_two_registrars_changes_nothing_for_users() {
    run(async {
        let (one, two) = (Registrar::start(None, "").unwrap(), Registrar::start(None, "").unwrap());
        let elements = [element(&[&one, &two], 1, port(1001)), element(&[&one, &two], 2, port(1002))];
        let user = PoolUser::connect(options(&[&one, &two]));
        user.resolve("dns").await.unwrap();
        until("both registrars told of both elements", || {
            up(&user) == [1, 2] && user.snapshot(&"dns".into()).unwrap().heard.len() == 2
        })
        .await;
        let mut changes = user.changes();
        drop(one);
        until("it is known to be gone", || user.snapshot(&"dns".into()).unwrap().heard.len() == 1).await;
        assert_eq!(up(&user), [1, 2]);
        assert!(user.pick("dns", &[ElementId(1)]).is_some());
        // The control: the same death of an element is told, and it is the first change that is.
        drop(elements);
        loop {
            match tokio::time::timeout(PATIENCE, changes.next()).await.unwrap().unwrap() {
                News::Change(change) => {
                    assert!(matches!(change.what, What::State(State::Down, _)), "{change}");
                    break;
                }
                News::Registrar(_) => {}
                News::Missed(count) => panic!("missed {count}"),
            }
        }
        drop(two);
    });
}

#[test]
fn who_cannot_resolve_is_told_why() {
    run(async {
        let registrar = Registrar::start(None, "").unwrap();
        let short = |mut options: PoolUserOptions| {
            options.patience = Duration::from_millis(300);
            options
        };
        let user = PoolUser::connect(short(options(&[&registrar])));
        let error = user.resolve("nothing").await.unwrap_err();
        assert!(matches!(error, ResolveError::Unknown { .. }), "{error}");
        assert!(error.to_string().contains("no registrar knows a pool nothing"), "{error}");
        let closed = registrar.address;
        drop(registrar);
        let user = PoolUser::connect(short(PoolUserOptions::new([closed.into()])));
        let error = user.resolve("dns").await.unwrap_err();
        assert!(matches!(error, ResolveError::Silent { .. }), "{error}");
        assert!(error.to_string().contains("Connection refused"), "{error}");
        assert!(user.pick(PoolHandle::from("dns"), &[]).is_none());
    });
}
