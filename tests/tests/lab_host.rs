//! What the daemon changes on its host, and undoes, in a real network namespace; and the state directory on a disk that is
//! full or read-only.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as the tests do, by a panic")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anycast_tests::lab::namespace::veth;
use anycast_tests::lab::{Capture, Captured, Injector, Namespace, neighbour};
use anycast_tests::{frames, skip};
use anycast_user::host::address::{AddressError, AddressOrigin, Addresses};
use anycast_user::host::state::{State, StateDir, StateError};
use anycast_user::host::sysctl::Sysctls;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

const LINK: &str = "ach0";
const IPV6: &str = "2001:db8:1::53";
const IPV4: &str = "192.0.2.53";
const SOON: Duration = Duration::from_secs(10);

/// A host with one link.
fn host(test: &str) -> Option<Namespace> {
    if !nix::unistd::geteuid().is_root() {
        skip(test, "needs root for network namespaces");
        return None;
    }
    let namespace = Namespace::new().unwrap();
    veth(&namespace, LINK, &namespace, "ach1").unwrap();
    namespace.ip(&["link", "set", LINK, "up"]).unwrap();
    Some(namespace)
}

/// Runs `work` in the namespace as one run of the daemon, with its addresses and its state.
fn daemon<T: Send>(
    namespace: &Namespace,
    state: &Path,
    work: impl AsyncFnOnce(&Addresses, &mut StateDir) -> T + Send,
) -> T {
    namespace.run(|| {
        let mut state = StateDir::open(state).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let addresses = Addresses::open().unwrap();
            tokio::time::timeout(SOON, work(&addresses, &mut state)).await.unwrap()
        })
    })
}

/// The line of `ip` for an address, if it is anywhere in the namespace.
fn line(namespace: &Namespace, address: &str) -> Option<String> {
    let listed = namespace.ip(&["-o", "address", "show"]).unwrap();
    listed.lines().find(|line| line.contains(&format!(" {address}/"))).map(str::to_owned)
}

#[test]
fn an_address_is_put_on_lo_and_taken_away() {
    let Some(namespace) = host("an_address_is_put_on_lo_and_taken_away") else { return };
    let state = tempfile::tempdir().unwrap();
    for address in [IPV6, IPV4] {
        let ip: IpAddr = address.parse().unwrap();
        assert_eq!(line(&namespace, address), None);
        daemon(&namespace, state.path(), async |addresses, state| {
            // Twice, as every restart of the controller does.
            for _ in 0..2 {
                assert_eq!(addresses.add(state, ip, &[LINK]).await.unwrap(), AddressOrigin::Ours);
            }
            assert!(state.state().addresses.contains(&ip));
            let line = line(&namespace, address).unwrap();
            let wanted: &[&str] = if ip.is_ipv6() {
                &[": lo ", "/128 ", " nodad ", " deprecated ", "valid_lft forever preferred_lft 0sec"]
            } else {
                &[": lo ", "/32 ", " scope host "]
            };
            for word in wanted {
                assert!(line.contains(word), "{word:?} in {line:?}");
            }
            // Somebody takes it away: the next look puts it back.
            namespace.ip(&["address", "del", address, "dev", "lo"]).unwrap();
            assert_eq!(addresses.add(state, ip, &[LINK]).await.unwrap(), AddressOrigin::Ours);

            assert!(addresses.remove(state, ip).await.unwrap());
            assert!(!addresses.remove(state, ip).await.unwrap());
            assert!(state.state().addresses.is_empty());
        });
        assert_eq!(line(&namespace, address), None);
    }
}

#[test]
fn an_address_that_was_there_is_left_alone() {
    let Some(namespace) = host("an_address_that_was_there_is_left_alone") else { return };
    let state = tempfile::tempdir().unwrap();
    for address in [IPV6, IPV4] {
        let ip: IpAddr = address.parse().unwrap();
        namespace.ip(&["address", "add", address, "dev", "lo"]).unwrap();
        let before = line(&namespace, address).unwrap();
        daemon(&namespace, state.path(), async |addresses, state| {
            assert_eq!(addresses.add(state, ip, &[LINK]).await.unwrap(), AddressOrigin::Found);
            assert!(!addresses.remove(state, ip).await.unwrap());
            addresses.remove_all_but(state, &[]).await.unwrap();
        });
        assert_eq!(line(&namespace, address).unwrap(), before);
    }
}

#[test]
fn an_address_outlives_a_killed_daemon_and_is_still_ours() {
    let Some(namespace) = host("an_address_outlives_a_killed_daemon_and_is_still_ours") else { return };
    let state = tempfile::tempdir().unwrap();
    let (ip, other): (IpAddr, IpAddr) = (IPV6.parse().unwrap(), IPV4.parse().unwrap());
    daemon(&namespace, state.path(), async |addresses, state| {
        addresses.add(state, ip, &[LINK]).await.unwrap();
        addresses.add(state, other, &[LINK]).await.unwrap();
        // Killed here.
    });
    assert!(line(&namespace, IPV6).is_some());
    daemon(&namespace, state.path(), async |addresses, state| {
        assert_eq!(addresses.add(state, ip, &[LINK]).await.unwrap(), AddressOrigin::Ours);
        // The new configuration no longer has the other one.
        addresses.remove_all_but(state, &[ip]).await.unwrap();
    });
    assert!(line(&namespace, IPV6).is_some());
    assert_eq!(line(&namespace, IPV4), None);
    daemon(&namespace, state.path(), async |addresses, state| {
        assert!(addresses.remove(state, ip).await.unwrap());
    });
    assert_eq!(line(&namespace, IPV6), None);
}

#[test]
fn a_record_of_another_namespace_claims_nothing() {
    let Some(first) = host("a_record_of_another_namespace_claims_nothing") else { return };
    let second = Namespace::new().unwrap();
    let state = tempfile::tempdir().unwrap();
    let ip: IpAddr = IPV6.parse().unwrap();
    daemon(&first, state.path(), async |addresses, state| {
        addresses.add(state, ip, &[LINK]).await.unwrap();
    });
    second.ip(&["address", "add", IPV6, "dev", "lo"]).unwrap();
    daemon(&second, state.path(), async |addresses, state| {
        assert_eq!(addresses.add(state, ip, &[LINK]).await.unwrap(), AddressOrigin::Found);
        assert!(!addresses.remove(state, ip).await.unwrap());
    });
    assert!(line(&second, IPV6).is_some());
}

#[test]
fn an_address_on_the_link_is_refused_with_what_to_type() {
    let Some(namespace) = host("an_address_on_the_link_is_refused_with_what_to_type") else { return };
    let state = tempfile::tempdir().unwrap();
    for (address, prefix) in [(IPV6, 64), (IPV4, 24)] {
        let ip: IpAddr = address.parse().unwrap();
        namespace.ip(&["address", "add", &format!("{address}/{prefix}"), "dev", LINK]).unwrap();
        daemon(&namespace, state.path(), async |addresses, state| {
            let error = addresses.add(state, ip, &["ach9", LINK]).await.unwrap_err();
            assert!(matches!(error, AddressError::OnLink { .. }), "{error}");
            let command = format!("ip address del {address}/{prefix} dev {LINK}");
            assert!(error.to_string().contains(&command), "{error}");
            assert!(state.state().addresses.is_empty());
            // The control: on an interface that carries no service it is local, and left alone.
            assert_eq!(addresses.add(state, ip, &["ach1"]).await.unwrap(), AddressOrigin::Found);
        });
        // What the error says is what helps.
        namespace.ip(&["address", "del", &format!("{address}/{prefix}"), "dev", LINK]).unwrap();
        daemon(&namespace, state.path(), async |addresses, state| {
            assert_eq!(addresses.add(state, ip, &[LINK]).await.unwrap(), AddressOrigin::Ours);
            addresses.remove(state, ip).await.unwrap();
        });
    }
}

#[test]
fn an_address_that_cannot_be_had_leaves_nothing_behind() {
    let Some(namespace) = host("an_address_that_cannot_be_had_leaves_nothing_behind") else { return };
    let state = tempfile::tempdir().unwrap();
    let ip: IpAddr = IPV6.parse().unwrap();
    namespace.sysctl("net/ipv6/conf/lo/disable_ipv6", "1").unwrap();
    daemon(&namespace, state.path(), async |addresses, state| {
        let error = addresses.add(state, ip, &[LINK]).await.unwrap_err();
        assert!(error.to_string().contains("net.ipv6.conf.lo.disable_ipv6=0"), "{error}");
        assert!(state.state().addresses.is_empty());
    });
    namespace.sysctl("net/ipv6/conf/lo/disable_ipv6", "0").unwrap();
    namespace.ip(&["link", "set", "lo", "down"]).unwrap();
    daemon(&namespace, state.path(), async |addresses, state| {
        let error = addresses.add(state, ip, &[LINK]).await.unwrap_err();
        assert!(matches!(error, AddressError::LoopbackDown), "{error}");
        assert!(state.state().addresses.is_empty());
    });
    assert_eq!(line(&namespace, IPV6), None);
}

#[test]
fn an_address_that_cannot_be_recorded_is_not_added() {
    let Some(namespace) = host("an_address_that_cannot_be_recorded_is_not_added") else { return };
    let state = tempfile::tempdir().unwrap();
    let ip: IpAddr = IPV6.parse().unwrap();
    // A directory where the next state would be written.
    fs::create_dir(state.path().join("state.json.new")).unwrap();
    daemon(&namespace, state.path(), async |addresses, state| {
        let error = addresses.add(state, ip, &[LINK]).await.unwrap_err();
        assert!(matches!(error, AddressError::State(_)), "{error}");
    });
    assert_eq!(line(&namespace, IPV6), None);
}

/// Why the sysctls are set: what the kernel does with a service address on `lo` without and with them.
#[test]
fn the_kernel_neither_answers_nor_asks_with_the_address() {
    let Some(near) = host("the_kernel_neither_answers_nor_asks_with_the_address") else { return };
    let far = Namespace::new().unwrap();
    near.ip(&["link", "set", "ach1", "netns", far.name()]).unwrap();
    near.ip_batch(&format!("address add {IPV4}/32 dev lo scope host\naddress add 192.0.2.2/24 dev {LINK}\n"))
        .unwrap();
    far.ip_batch("address add 192.0.2.1/24 dev ach1\nlink set ach1 up\n").unwrap();
    let service: Ipv4Addr = IPV4.parse().unwrap();
    let (own, router): (Ipv4Addr, Ipv4Addr) = ("192.0.2.2".parse().unwrap(), "192.0.2.1".parse().unwrap());
    let capture = Capture::start(&far, "ach1").unwrap();
    let injector = Injector::new(&far, "ach1").unwrap();
    let asking_mac = [2, 0, 0x5e, 0, 0x53, 0x77];
    let answers_for = |address: Ipv4Addr| {
        move |frame: &Captured| {
            frame.parse().arp().is_some_and(|arp| arp.operation == 2 && arp.sender_address == address)
        }
    };
    // Whether the kernel answers for the service address, and the sender address of its own request for the router.
    let look = || {
        neighbour::forget(&near, LINK, router.into()).unwrap();
        capture.clear();
        injector
            .send(&frames::Arp::request(asking_mac, Ipv4Addr::new(192, 0, 2, 9), service).frame())
            .unwrap();
        // It answers in order: with the second answer here, there will be no first one.
        injector.send(&frames::Arp::request(asking_mac, Ipv4Addr::new(192, 0, 2, 9), own).frame()).unwrap();
        capture.wait_for("the answer for the own address", SOON, answers_for(own)).unwrap();
        near.run(|| {
            let socket = UdpSocket::bind((service, 0)).unwrap();
            socket.send_to(b"an answer", (router, 9)).unwrap();
        });
        let request = capture
            .wait_for("the request for the router", SOON, |frame| {
                frame.parse().arp().is_some_and(|arp| arp.operation == 1 && arp.target_address == router)
            })
            .unwrap();
        let sender = request.parse().arp().unwrap().sender_address;
        (capture.count(answers_for(service)) > 0, sender)
    };
    let state = tempfile::tempdir().unwrap();
    let sysctls = Sysctls::default();
    let with_state =
        |work: &(dyn Fn(&mut StateDir) + Sync)| near.run(|| work(&mut StateDir::open(state.path()).unwrap()));

    // The control: the theft.
    assert_eq!(look(), (true, service));
    with_state(&|state| sysctls.set_arp(state, LINK).unwrap());
    assert_eq!(look(), (false, own));
    with_state(&|state| sysctls.restore(state, LINK).unwrap());
    assert_eq!(look(), (true, service));
}

#[test]
fn arp_sysctls_are_set_and_restored_across_a_kill() {
    let Some(namespace) = host("arp_sysctls_are_set_and_restored_across_a_kill") else { return };
    let state = tempfile::tempdir().unwrap();
    let values = || {
        ["ach0/arp_announce", "ach0/arp_ignore", "ach1/arp_announce", "all/arp_announce", "all/arp_ignore"]
            .map(|key| namespace.read_sysctl(&format!("net/ipv4/conf/{key}")).unwrap())
    };
    namespace.sysctl("net/ipv4/conf/ach0/arp_announce", "1").unwrap();
    assert_eq!(values(), ["1", "0", "0", "0", "0"]);
    let sysctls = Sysctls::default();
    let set = || {
        namespace.run(|| {
            let mut state = StateDir::open(state.path()).unwrap();
            sysctls.set_arp(&mut state, LINK).unwrap();
            state.state().sysctls.len()
        })
    };
    // Killed and run again.
    for _ in 0..2 {
        assert_eq!(set(), 2);
        assert_eq!(values(), ["2", "1", "0", "0", "0"]);
    }
    namespace.run(|| sysctls.restore_all(&mut StateDir::open(state.path()).unwrap())).unwrap();
    assert_eq!(values(), ["1", "0", "0", "0", "0"]);
    // Nothing is recorded any more, and nothing is restored that somebody sets later.
    namespace.sysctl("net/ipv4/conf/ach0/arp_announce", "2").unwrap();
    namespace.run(|| sysctls.restore_all(&mut StateDir::open(state.path()).unwrap())).unwrap();
    assert_eq!(values()[0], "2");
}

/// Runs `work` on a thread with mounts of its own and a file system of one page at `directory`.
fn with_tiny_disk(directory: &Path, work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            // One block is the directory's, one the lock's, two are for the state and its successor.
            mount(Some("tmpfs"), directory, Some("tmpfs"), MsFlags::empty(), Some("size=16k")).unwrap();
            work();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn a_full_disk_keeps_the_old_state_and_says_so() {
    let Some(_namespace) = host("a_full_disk_keeps_the_old_state_and_says_so") else { return };
    let directory = tempfile::tempdir().unwrap();
    with_tiny_disk(directory.path(), || {
        let mut state = StateDir::open(directory.path()).unwrap();
        state.update(|state| state.raise_epoch("dns", 7)).unwrap();
        let before = fs::read_to_string(directory.path().join("state.json")).unwrap();

        let ballast = directory.path().join("ballast");
        fs::write(&ballast, [0; 1 << 20]).unwrap_err();
        let change = |state: &mut State| state.raise_epoch("dns", 8);
        let error = state.update(change).unwrap_err();
        assert!(matches!(error, StateError::Io { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("state.json.new") && text.contains("free some space"), "{text}");
        assert!(state.probe().is_err());
        assert_eq!(state.state().service("dns").epoch, 7);
        assert_eq!(fs::read_to_string(directory.path().join("state.json")).unwrap(), before);

        // The control: with room again it works, and a restart finds the new state.
        fs::remove_file(&ballast).unwrap();
        state.update(change).unwrap();
        state.probe().unwrap();
        drop(state);
        assert_eq!(StateDir::open(directory.path()).unwrap().state().service("dns").epoch, 8);
    });
}

#[test]
fn a_read_only_disk_says_so() {
    let Some(_namespace) = host("a_read_only_disk_says_so") else { return };
    let directory = tempfile::tempdir().unwrap();
    with_tiny_disk(directory.path(), || {
        let none = None::<&str>;
        let remount = |flags| mount(none, directory.path(), none, MsFlags::MS_REMOUNT | flags, none).unwrap();
        remount(MsFlags::MS_RDONLY);
        let error = StateDir::open(directory.path()).unwrap_err();
        assert!(error.to_string().contains("set state_dir to a writable file system"), "{error}");
        let error = StateDir::open(&directory.path().join("below")).unwrap_err();
        assert!(error.to_string().contains("set state_dir to a writable file system"), "{error}");
        remount(MsFlags::empty());
        StateDir::open(directory.path()).unwrap().probe().unwrap();
    });
}
