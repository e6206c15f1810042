//! Our elements and users at RSPLIB's registrar, which knows of no status and no pushes.

use anycast_pool::user::PoolElementSnapshot;
use anycast_pool::wire::State;
use anycast_tests::lab::wait_until;
use nix::sys::signal::Signal;

use crate::rsplib::{POOL, Rsplib, dump, echoed};
use crate::support::{Member, PATIENCE, anycast, local, run, until, user};

fn resolved(registrar: std::net::SocketAddr) -> String {
    anycast(&["pool", "resolve", POOL, "--json", "--registrar", &format!("sctp://{registrar}")]).1
}

#[test]
fn our_elements_register_answer_are_found_and_leave() {
    let at = local(3863);
    let registrar = Rsplib::registrar(at);
    // The control: nobody is there yet.
    assert!(resolved(at).contains("no registrar knows a pool"), "{}", resolved(at));

    let member = Member::start(at, POOL, 0x31, local(5031));
    let mut other = Member::start(at, POOL, 0x32, local(5032));
    wait_until("both are found", PATIENCE, || {
        let text = resolved(at);
        text.contains("5031") && text.contains("5032")
    })
    .unwrap();
    wait_until("RSPLIB shows them", PATIENCE, || {
        let dump = dump();
        dump.contains("00000031") && dump.contains("00000032")
    })
    .unwrap_or_else(|error| panic!("{error}: {}\n{}", dump(), registrar.log()));

    // An element that answers nothing is removed after two seconds: who is there after ten has answered several times.
    let begun = std::time::Instant::now();
    other.process.signal(Signal::SIGSTOP).unwrap();
    wait_until("the stopped one is removed", PATIENCE, || !resolved(at).contains("5032")).unwrap();
    let took = begun.elapsed();
    wait_until("several such times pass", PATIENCE * 2, || begun.elapsed() > took * 4).unwrap();
    assert!(resolved(at).contains("5031"), "who answers stays");
    other.process.signal(Signal::SIGCONT).unwrap();
    wait_until("it is back", PATIENCE * 3, || resolved(at).contains("5032")).unwrap();

    assert!(echoed(at, "found by RSPLIB"));

    other.process.kill().unwrap();
    wait_until("the dead one is removed", PATIENCE, || !resolved(at).contains("5032")).unwrap();
    member.process.signal(Signal::SIGTERM).unwrap();
    wait_until("who says good-bye is removed", PATIENCE, || {
        resolved(at).contains("no registrar knows a pool")
    })
    .unwrap();
}

#[test]
fn our_users_are_told_of_its_elements_without_a_status() {
    let at = local(3863);
    let _registrar = Rsplib::registrar(at);
    let _element = Rsplib::element(at, 0x41, local(5041));
    run(async {
        let user = user(at);
        user.follow(&POOL.into());
        let elements = || -> Vec<PoolElementSnapshot> {
            user.snapshot(&POOL.into()).map(|snapshot| snapshot.elements).unwrap_or_default()
        };
        until("it is known", || elements().iter().any(|element| element.id.0 == 0x41)).await;
        // That a registrar lists it is all that is known.
        assert_ne!(elements()[0].state, State::Down);
        assert_eq!(user.pick(POOL, &[]).unwrap().id.0, 0x41);
    });
}
