//! RSPLIB's elements and users at our registrar.

use anycast_pool::wire::{PolicyParameter, Transport};
use anycast_tests::lab::wait_until;
use nix::sys::signal::Signal;

use crate::rsplib::{POOL, Rsplib, echoed};
use crate::support::{
    OFTEN, PATIENCE, acknowledged, is_down, is_gone, is_up, local, registrar, run, status_json, until, user,
};

#[test]
fn its_elements_register_answer_are_found_die_and_leave() {
    let registrar = registrar(OFTEN);
    let mut first = Rsplib::element(registrar.address, 0x11, local(5011));
    let mut second = Rsplib::element(registrar.address, 0x12, local(5012));
    run(async {
        let user = user(registrar.address);
        user.follow(&POOL.into());
        until("both are up", || is_up(&user, POOL, 0x11) && is_up(&user, POOL, 0x12)).await;
        let elements = user.snapshot(&POOL.into()).unwrap().elements;
        for element in elements.iter().map(|element| element.element.as_ref().unwrap()) {
            assert!(
                matches!(&element.user_transport, Transport::Sctp { port: 5011 | 5012, .. }),
                "{element:?}"
            );
            assert_eq!(element.policy, PolicyParameter::ROUND_ROBIN);
            // The registrar knows it from the association, whatever the element says.
            assert!(matches!(&element.asap_transport, Some(Transport::Sctp { .. })), "{element:?}");
        }
        let before = acknowledged(&registrar);
        until("it answers keep-alives", || acknowledged(&registrar) >= before + 6).await;
        assert!(is_up(&user, POOL, 0x11) && is_up(&user, POOL, 0x12));
        let shown = status_json(registrar.directory(), POOL);
        assert_eq!(shown.len(), 2);
        assert!(
            shown.iter().all(|element| element["state"] == "up" && element["connected"] == true),
            "{shown:?}"
        );

        first.process.kill().unwrap();
        until("the first is down", || is_down(&user, POOL, 0x11)).await;
        assert!(is_up(&user, POOL, 0x12), "the other is what it was");
        let shown = status_json(registrar.directory(), POOL);
        assert!(shown.iter().any(|element| element["id"] == "00000011" && element["state"] == "down"));

        second.process.signal(Signal::SIGINT).unwrap();
        until("the second is gone", || is_gone(&user, POOL, 0x12)).await;
    });
    assert!(second.process.wait(PATIENCE).unwrap().success(), "{}", second.log());
    let shown = status_json(registrar.directory(), POOL);
    assert!(shown.iter().all(|element| element["id"] != "00000012"), "{shown:?}");
    let refused = registrar.status(None).unwrap().counters;
    assert_eq!(refused.malformed.values().sum::<u64>(), 0, "{:?}", refused.malformed);
    assert_eq!(refused.refused.values().sum::<u64>(), 0, "{:?}", refused.refused);
}

#[test]
fn its_users_find_its_elements() {
    let registrar = registrar("");
    let _element = Rsplib::element(registrar.address, 0x21, local(5021));
    wait_until("it is registered", PATIENCE, || !status_json(registrar.directory(), POOL).is_empty())
        .unwrap();
    assert!(echoed(registrar.address, "found by a registrar of another make"));
}
