//! What the daemon refuses to start with: it says what, where and what to do, and leaves nothing half-done.

use anycast_tests::lab::daemon::{PATIENCE, ServiceOptions, write_config};
use anycast_tests::lab::farm::{SERVER, SERVICE};
use anycast_tests::lab::programs;
use anycast_tests::lab::{Daemon, DaemonOptions, DnsResponder, Farm, FarmOptions, Server};
use anycast_user::telemetry::status::State;

use crate::{DNS, attached, joined, local, need_lab, pins};

/// A server without a daemon.
fn farm() -> (DnsResponder, Farm) {
    let farm = Farm::new(&FarmOptions { servers: 1, ..FarmOptions::default() }).unwrap();
    (DnsResponder::start(&farm.servers[0]).unwrap(), farm)
}

/// Starts the daemon, which must end by itself with `code`, say all of `words`, and leave nothing.
fn refuses(server: &Server, options: &DaemonOptions, code: i32, words: &[&str]) {
    // The kernel joins for an address on the link, where one test puts it.
    let joined_before = joined(server);
    let mut daemon = Daemon::spawn(server, options).unwrap();
    let status = daemon.child().wait(PATIENCE).unwrap();
    let log = daemon.log();
    assert_eq!(status.code(), Some(code), "{log}");
    for word in words {
        assert!(log.contains(word), "no {word:?} in:\n{log}");
    }
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(joined(server), joined_before, "a group stayed");
    assert!(!local(server), "an address stayed");
}

/// As [`refuses`], where the pins can be looked at and nothing else is attached.
fn refuses_cleanly(server: &Server, options: &DaemonOptions, code: i32, words: &[&str]) {
    refuses(server, options, code, words);
    assert_eq!(pins(server), Vec::<String>::new());
    assert!(!attached(server), "a program stayed");
}

/// The control: with nothing in its way the same server starts.
fn starts(server: &Server, options: &DaemonOptions) {
    let daemon = Daemon::start(server, options).unwrap();
    daemon.wait_for_state(DNS, State::Owner, PATIENCE).unwrap();
    daemon.terminate().unwrap();
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    need_lab!("an_unknown_key_is_named_with_its_line");
    let (_responder, farm) = farm();
    let server = &farm.servers[0];
    let options = DaemonOptions { more: "leese = \"300ms\"".to_owned(), ..DaemonOptions::default() };
    let config = write_config(server, &options).unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    let line = 1 + text.lines().position(|line| line.starts_with("leese")).unwrap();
    refuses_cleanly(server, &options, 2, &[&format!("{}:{line}", config.display()), "leese"]);
    starts(server, &DaemonOptions::default());
}

#[test]
fn addresses_that_are_no_service_addresses_are_refused() {
    need_lab!("addresses_that_are_no_service_addresses_are_refused");
    let (_responder, farm) = farm();
    let server = &farm.servers[0];
    for address in ["ff02::1", "::1", "::", "224.0.0.1", "127.0.0.1", "0.0.0.0"] {
        let options = DaemonOptions::with(ServiceOptions::new(DNS, address.parse().unwrap()));
        refuses_cleanly(server, &options, 2, &["address"]);
    }
    let mut options = DaemonOptions::default();
    options.services.push(ServiceOptions::new("already", SERVICE));
    refuses_cleanly(server, &options, 2, &["already"]);
    starts(server, &DaemonOptions::default());
}

#[test]
fn an_address_on_the_link_is_refused_with_what_to_type() {
    need_lab!("an_address_on_the_link_is_refused_with_what_to_type");
    let (_responder, farm) = farm();
    let server = &farm.servers[0];
    let address = format!("{SERVICE}/128");
    server.namespace.ip(&["addr", "add", &address, "dev", SERVER, "nodad"]).unwrap();
    refuses_cleanly(server, &DaemonOptions::default(), 1, &["ip address del", SERVER]);
    assert!(server.has_address(SERVER, SERVICE).unwrap(), "what the operator did is the operator's to undo");
    server.namespace.ip(&["addr", "del", &address, "dev", SERVER]).unwrap();
    starts(server, &DaemonOptions::default());
}

#[test]
fn a_missing_interface_is_refused() {
    need_lab!("a_missing_interface_is_refused");
    let (_responder, farm) = farm();
    let server = &farm.servers[0];
    let mut service = ServiceOptions::new(DNS, SERVICE);
    service.interface = "acnone".to_owned();
    refuses_cleanly(server, &DaemonOptions::with(service), 1, &["acnone"]);
    starts(server, &DaemonOptions::default());
}

#[test]
fn an_interface_without_native_xdp_is_refused_and_taken_in_generic_mode() {
    need_lab!("an_interface_without_native_xdp_is_refused_and_taken_in_generic_mode");
    let (_responder, farm) = farm();
    let server = &farm.servers[0];
    // A bridge has no native XDP.
    server.namespace.ip_batch("link add acbr0 type bridge\nlink set acbr0 up\n").unwrap();
    let mut service = ServiceOptions::new(DNS, SERVICE);
    service.interface = "acbr0".to_owned();
    let options = DaemonOptions::with(service);
    refuses_cleanly(server, &options, 1, &["acbr0", "generic"]);
    let generic = DaemonOptions { xdp_mode: "generic".to_owned(), ..options };
    Daemon::start(server, &generic).unwrap().terminate().unwrap();
}

#[test]
fn another_program_on_the_interface_is_refused() {
    need_lab!("another_program_on_the_interface_is_refused");
    let (_responder, farm) = farm();
    let server = &farm.servers[0];
    let other = programs::attach(&server.namespace, "pass", &[SERVER.to_owned()]).unwrap();
    refuses(server, &DaemonOptions::default(), 1, &[SERVER, "pass"]);
    assert_eq!(pins(server), Vec::<String>::new());
    assert!(attached(server), "the other program is not ours to remove");
    drop(other);
    starts(server, &DaemonOptions::default());
}

#[test]
fn a_directory_that_is_no_bpffs_is_refused() {
    need_lab!("a_directory_that_is_no_bpffs_is_refused");
    let (_responder, mut farm) = farm();
    let server = &mut farm.servers[0];
    let bpffs = std::mem::replace(&mut server.bpffs, server.directory.join("no-bpffs"));
    std::fs::create_dir_all(&server.bpffs).unwrap();
    refuses_cleanly(server, &DaemonOptions::default(), 1, &["no-bpffs", "mount"]);
    server.bpffs = bpffs;
    starts(server, &DaemonOptions::default());
}

#[test]
fn a_control_socket_in_use_is_refused_and_a_stale_one_replaced() {
    need_lab!("a_control_socket_in_use_is_refused_and_a_stale_one_replaced");
    let farm = Farm::new(&FarmOptions { servers: 2, ..FarmOptions::default() }).unwrap();
    let _responders: Vec<DnsResponder> =
        farm.servers.iter().map(|server| DnsResponder::start(server).unwrap()).collect();
    let (one, other) = (&farm.servers[0], &farm.servers[1]);
    let mut running = Daemon::start(one, &DaemonOptions::default()).unwrap();
    let pid = running.child().pid().to_string();
    // The other server's configuration names the socket of the first one.
    let socket = other.directory.join("control.sock");
    std::os::unix::fs::symlink(one.directory.join("control.sock"), &socket).unwrap();
    refuses_cleanly(other, &DaemonOptions::default(), 1, &["control.sock", "in use", &pid]);
    assert!(running.status().is_ok(), "the running daemon is unharmed");
    std::fs::remove_file(&socket).unwrap();

    running.kill().unwrap();
    assert!(one.directory.join("control.sock").exists(), "a killed daemon leaves its socket");
    let daemon = Daemon::start(one, &DaemonOptions::default()).unwrap();
    daemon.terminate().unwrap();
}

#[test]
fn a_full_disk_is_refused() {
    need_lab!("a_full_disk_is_refused");
    let (_responder, farm) = farm();
    let server = &farm.servers[0];
    let disk = Disk::mount(server);
    disk.fill();
    refuses_cleanly(server, &DaemonOptions::default(), 1, &["state", "space"]);
    disk.empty();
    starts(server, &DaemonOptions::default());
}

/// A small disk where the server keeps its state.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mount(server: &Server) -> Self {
        use nix::mount::{MsFlags, mount};
        let directory = server.directory.join("state");
        std::fs::create_dir_all(&directory).unwrap();
        mount(Some("tmpfs"), &directory, Some("tmpfs"), MsFlags::empty(), Some("size=64k")).unwrap();
        Self(directory)
    }

    fn fill(&self) {
        let full = std::fs::write(self.0.join("ballast"), vec![0; 1 << 20]);
        assert!(full.is_err(), "the disk is larger than a megabyte");
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}
