//! Loading, attaching, pinning and adopting the fast path on a veth pair; every refusal beside what makes it go away.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as the tests do, by a panic")]

use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use anycast_common::abi::{ABI_VERSION, HOLD_SHUT, Meta};
use anycast_common::packet::checksum;
use anycast_tests::lab::namespace::veth;
use anycast_tests::lab::programs::attach;
use anycast_tests::lab::{Namespace, wait_until};
use anycast_user::datapath::{self, Datapath, Error, Mode, Options, Service};
use aya::maps::{Array, Map, MapData};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const XDP_DROP: u32 = 1;
const XDP_TX: u32 = 3;

const INTERFACE: &str = "dp0";

/// A namespace with a veth pair whose end `dp0` the datapath goes on, and a bpffs of its own.
struct Bench {
    namespace: Namespace,
    bpffs: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let namespace = Namespace::new().unwrap();
        veth(&namespace, INTERFACE, &namespace, "dp1").unwrap();
        namespace.ip_batch(&format!("link set {INTERFACE} up\nlink set dp1 up\n")).unwrap();
        let bpffs = tempfile::tempdir().unwrap();
        nix::mount::mount(Some("bpf"), bpffs.path(), Some("bpf"), nix::mount::MsFlags::empty(), None::<&str>)
            .unwrap();
        Self { namespace, bpffs }
    }

    fn options(&self) -> Options {
        Options {
            interface: INTERFACE.to_owned(),
            mode: Mode::Native,
            bpffs: self.bpffs.path().join("anycast"),
            log: false,
            extra: false,
        }
    }

    fn open(&self, options: &Options) -> Result<Datapath, Error> {
        self.namespace.run(|| Datapath::open(options))
    }

    fn opened(&self) -> Datapath {
        self.open(&self.options()).unwrap()
    }

    fn refused(&self, options: &Options) -> Error {
        match self.open(options) {
            Ok(datapath) => panic!("opened {datapath:?}"),
            Err(error) => error,
        }
    }

    /// Nothing of the datapath is there: no pin, no program.
    fn assert_untouched(&self) {
        assert!(!self.options().bpffs.join(INTERFACE).exists(), "pins are left");
        assert!(!self.has_program(), "a program is left");
    }

    fn has_program(&self) -> bool {
        self.namespace.ip(&["-d", "link", "show", INTERFACE]).unwrap().contains("prog/xdp")
    }

    fn set_abi_version(&self, version: u32) {
        let path = self.options().bpffs.join(INTERFACE).join("maps/META");
        let map = Map::from_map_data(MapData::from_pin(path).unwrap()).unwrap();
        let mut map: Array<MapData, Meta> = map.try_into().unwrap();
        let meta = map.get(&0, 0).unwrap();
        map.set(0, Meta { abi_version: version, ..meta }, 0).unwrap();
    }

    /// Switches the interface's rxvlan offload.
    fn set_vlan_offload(&self, on: bool) {
        const ETHTOOL_GFLAGS: u32 = 0x25;
        const ETHTOOL_SFLAGS: u32 = 0x26;
        const ETH_FLAG_RXVLAN: u32 = 1 << 8;
        self.namespace.run(|| {
            let socket = std::net::UdpSocket::bind("[::1]:0").unwrap();
            // SAFETY: all-zero is a valid `ifreq`.
            let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
            for (place, octet) in request.ifr_name.iter_mut().zip(INTERFACE.bytes()) {
                *place = octet as libc::c_char;
            }
            let mut value = [ETHTOOL_GFLAGS, 0];
            request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
            let mut call = |value: &[u32; 2]| {
                let _ = value;
                // SAFETY: SIOCETHTOOL takes an `ifreq` whose data points to two words for these commands.
                let result = unsafe {
                    libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&socket), libc::SIOCETHTOOL, &raw mut request)
                };
                assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
            };
            call(&value);
            let others = value[1] & !ETH_FLAG_RXVLAN;
            value = [ETHTOOL_SFLAGS, if on { others | ETH_FLAG_RXVLAN } else { others }];
            call(&value);
        });
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.bpffs.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

fn service() -> Service {
    Service { ports: vec![53], ..Service::new("2001:db8::53".parse().unwrap()) }
}

/// A solicitation for the service address from fe80::2, to the solicited-node group.
fn solicitation() -> Vec<u8> {
    let mut frame = vec![0x33, 0x33, 0xff, 0, 0, 0x53];
    frame.extend(PEER_MAC);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]);
    frame.extend("fe80::2".parse::<Ipv6Addr>().unwrap().octets());
    frame.extend("ff02::1:ff00:53".parse::<Ipv6Addr>().unwrap().octets());
    frame.extend([135, 0, 0, 0, 0, 0, 0, 0]);
    frame.extend("2001:db8::53".parse::<Ipv6Addr>().unwrap().octets());
    frame.extend([1, 1]);
    frame.extend(PEER_MAC);
    let sum = checksum::sum(&frame[22..]) + checksum::sum(&[0, 32, 0, 58]);
    frame[56..58].copy_from_slice(&(!checksum::fold(sum)).to_ne_bytes());
    frame
}

fn later() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    (now.tv_sec() as u64 + 60) * 1_000_000_000
}

#[test]
fn an_unattached_program_answers_while_the_gate_is_open() {
    let mut datapath = Datapath::unattached().unwrap();
    let index = datapath.set_services(MAC, &[service()]).unwrap()[0];
    assert_eq!(datapath.run(&solicitation()).unwrap(), (XDP_DROP, solicitation()));
    datapath.set_lease(index, later());
    let (verdict, answer) = datapath.run(&solicitation()).unwrap();
    assert_eq!(verdict, XDP_TX);
    assert_eq!(answer[..6], PEER_MAC);
    assert_eq!(answer[6..12], MAC);
    datapath.set_hold(index, HOLD_SHUT);
    assert_eq!(datapath.run(&solicitation()).unwrap().0, XDP_DROP);
    datapath.set_hold(index, 0);
    datapath.set_lease(index, 1);
    assert_eq!(datapath.run(&solicitation()).unwrap().0, XDP_DROP);
    let counters = datapath.counters(index).unwrap();
    assert_eq!((counters.solicitations_multicast, counters.answered), (4, 1));
    assert_eq!((counters.refused_shut, counters.refused_held, counters.refused_stale), (1, 1, 1));
}

#[test]
fn events_are_awaited_and_none_is_taken_without_a_cause() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut datapath = Datapath::unattached().unwrap();
    let index = datapath.set_services(MAC, &[service()]).unwrap()[0];
    let mut events = Vec::new();
    runtime.block_on(async {
        // Nothing has happened: the future stays pending.
        let idle = std::time::Duration::from_millis(20);
        tokio::time::timeout(idle, datapath.events(&mut events)).await.unwrap_err();
        assert!(events.is_empty());
        datapath.run(&solicitation()).unwrap();
        datapath.events(&mut events).await;
    });
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].kind, events[0].index, events[0].mac), (1, index, PEER_MAC));
}

#[test]
fn services_keep_index_and_counters_and_new_ones_start_from_zero() {
    let mut datapath = Datapath::unattached().unwrap();
    let other = Service { address: "192.0.2.53".parse::<IpAddr>().unwrap(), ..service() };
    let index = datapath.set_services(MAC, &[service()]).unwrap()[0];
    datapath.set_lease(index, later());
    datapath.run(&solicitation()).unwrap();
    let indices = datapath.set_services(MAC, &[other.clone(), service()]).unwrap();
    assert_eq!(indices[1], index);
    assert_ne!(indices[0], index);
    assert_eq!(datapath.counters(index).unwrap().answered, 1);
    assert_eq!(datapath.run(&solicitation()).unwrap().0, XDP_TX);
    // Gone, its frames are the kernel's; back, it has forgotten all.
    datapath.set_services(MAC, &[other]).unwrap();
    assert_eq!(datapath.run(&solicitation()).unwrap().0, 2);
    let index = datapath.set_services(MAC, &[service()]).unwrap()[0];
    assert_eq!(datapath.counters(index).unwrap(), Default::default());
    assert_eq!(datapath.gate(index), Default::default());
}

#[test]
fn opened_pinned_adopted_and_detached_without_a_trace() {
    let bench = Bench::new();
    bench.assert_untouched();
    let mut datapath = bench.opened();
    assert!(!datapath.adopted() && bench.has_program());
    let (program, index) = (datapath.program_id(), datapath.set_services(MAC, &[service()]).unwrap()[0]);
    datapath.set_lease(index, later());
    datapath.set_hold(index, HOLD_SHUT);
    datapath.run(&solicitation()).unwrap();
    let (gate, counters) = (datapath.gate(index), datapath.counters(index).unwrap());
    assert!(matches!(bench.refused(&bench.options()), Error::InUse { .. }));
    datapath.keep();

    let pinned =
        bench.namespace.run(|| datapath::inspect(&bench.options().bpffs, INTERFACE)).unwrap().unwrap();
    assert_eq!((pinned.program_id, pinned.mode), (program, Some(Mode::Native)));
    let found = &pinned.services[0];
    assert_eq!((found.address, &found.ports, found.gate), (service().address, &vec![53], gate));

    let mut datapath = bench.opened();
    assert!(datapath.adopted());
    // The same build: not even the program is replaced.
    assert_eq!(datapath.program_id(), program);
    assert_eq!(datapath.set_services(MAC, &[service()]).unwrap(), [index]);
    assert_eq!((datapath.gate(index), datapath.counters(index).unwrap()), (gate, counters));
    datapath.keep();

    // With the log it is another program, put in the place of the old one; the maps stay.
    let datapath = bench.open(&Options { log: true, ..bench.options() }).unwrap();
    assert!(datapath.adopted());
    assert_ne!(datapath.program_id(), program);
    assert_eq!((datapath.gate(index), datapath.counters(index).unwrap()), (gate, counters));
    datapath.keep();

    // Another mode is another attachment; the maps stay.
    let generic = Options { mode: Mode::Generic, ..bench.options() };
    let datapath = bench.open(&generic).unwrap();
    assert_eq!(datapath.gate(index), gate);
    let shown = bench.namespace.ip(&["-d", "link", "show", INTERFACE]).unwrap();
    assert!(shown.contains("xdpgeneric"), "{shown}");
    bench.namespace.run(|| datapath.detach()).unwrap();
    bench.assert_untouched();
    assert!(!bench.namespace.run(|| datapath::detach(&bench.options().bpffs, INTERFACE)).unwrap());
}

#[test]
fn a_datapath_whose_interface_was_made_anew_is_attached_again() {
    let bench = Bench::new();
    let mut datapath = bench.opened();
    let index = datapath.set_services(MAC, &[service()]).unwrap()[0];
    datapath.set_hold(index, HOLD_SHUT);
    datapath.keep();
    bench.namespace.ip(&["link", "del", INTERFACE]).unwrap();
    veth(&bench.namespace, INTERFACE, &bench.namespace, "dp1").unwrap();
    assert!(!bench.has_program());
    let datapath = bench.opened();
    assert!(bench.has_program());
    assert_eq!(datapath.gate(index).hold, HOLD_SHUT);
}

#[test]
fn leftovers_of_a_killed_start_are_cleared_away() {
    let bench = Bench::new();
    bench.opened().keep();
    let directory = bench.options().bpffs.join(INTERFACE);
    std::fs::remove_file(directory.join("link")).unwrap();
    std::fs::remove_file(directory.join("maps/GATES")).unwrap();
    // Removing the last reference to a link detaches some time later.
    let gone = wait_until("the link to be gone", std::time::Duration::from_secs(5), || !bench.has_program());
    gone.unwrap();
    let datapath = bench.opened();
    assert!(!datapath.adopted());
    bench.namespace.run(|| datapath.detach()).unwrap();
    bench.assert_untouched();
}

#[test]
fn large_mtu_is_no_obstacle() {
    let bench = Bench::new();
    bench.namespace.ip_batch(&format!("link set {INTERFACE} mtu 9000\nlink set dp1 mtu 9000\n")).unwrap();
    bench.opened();
    assert!(bench.has_program());
}

/// A bpffs refuses names with a dot.
#[test]
fn interface_names_may_have_dots() {
    let bench = Bench::new();
    bench
        .namespace
        .ip_batch(&format!("link set {INTERFACE} down\nlink set {INTERFACE} name dp0.7\n"))
        .unwrap();
    let options = Options { interface: "dp0.7".to_owned(), ..bench.options() };
    bench.open(&options).unwrap().keep();
    let pinned = bench.namespace.run(|| datapath::inspect(&options.bpffs, "dp0.7")).unwrap();
    assert!(pinned.is_some());
    assert!(bench.namespace.run(|| datapath::detach(&options.bpffs, "dp0.7")).unwrap());
}

#[test]
fn missing_interface_is_refused() {
    let bench = Bench::new();
    let error = bench.refused(&Options { interface: "nothere".to_owned(), ..bench.options() });
    assert!(matches!(error, Error::NoInterface { .. }), "{error}");
    bench.opened();
}

#[test]
fn bpffs_that_is_none_is_refused() {
    let bench = Bench::new();
    let error = bench.refused(&Options { bpffs: Path::new("/tmp").to_owned(), ..bench.options() });
    assert!(matches!(error, Error::NoBpffs { .. }), "{error}");
    assert!(!Path::new("/tmp").join(INTERFACE).exists());
    bench.opened();
}

#[test]
fn native_mode_without_driver_support_is_refused() {
    let bench = Bench::new();
    let native = Options { interface: "lo".to_owned(), ..bench.options() };
    let error = bench.refused(&native);
    assert!(matches!(error, Error::NoNativeXdp { .. }), "{error}");
    assert!(error.to_string().contains("--mode generic"), "{error}");
    assert!(!native.bpffs.join("lo").exists());
    let datapath = bench.open(&Options { mode: Mode::Generic, ..native }).unwrap();
    bench.namespace.run(|| datapath.detach()).unwrap();
}

#[test]
fn vlan_on_an_interface_that_hides_vlans_is_refused() {
    let bench = Bench::new();
    let mut datapath = bench.opened();
    let tagged = Service { vlan: vec![7], ..service() };
    bench.set_vlan_offload(true);
    let error =
        bench.namespace.run(|| datapath.set_services(MAC, std::slice::from_ref(&tagged))).unwrap_err();
    assert!(matches!(error, Error::VlanOffload { .. }), "{error}");
    bench.namespace.run(|| datapath.set_services(MAC, &[service()])).unwrap();
    bench.set_vlan_offload(false);
    bench.namespace.run(|| datapath.set_services(MAC, &[tagged])).unwrap();
}

#[test]
fn another_program_on_the_interface_is_refused_and_left_alone() {
    let bench = Bench::new();
    let other = attach(&bench.namespace, "pass", &[INTERFACE.to_owned()]).unwrap();
    for mode in [Mode::Native, Mode::Generic] {
        let error = bench.refused(&Options { mode, ..bench.options() });
        assert!(matches!(&error, Error::Occupied { name, .. } if name == "pass"), "{error}");
        assert!(!bench.options().bpffs.join(INTERFACE).exists());
        assert!(bench.has_program());
    }
    drop(other);
    // A child that another test forks holds the link too, until it executes its program.
    wait_until("the other program is off", std::time::Duration::from_secs(5), || !bench.has_program())
        .unwrap();
    bench.opened();
}

#[test]
fn pins_of_another_abi_version_are_refused_until_detached() {
    let bench = Bench::new();
    bench.opened().keep();
    bench.set_abi_version(ABI_VERSION + 1);
    let error = bench.refused(&bench.options());
    assert!(matches!(error, Error::AbiVersion { found, .. } if found == ABI_VERSION + 1), "{error}");
    assert!(error.to_string().contains("anycast detach dp0"), "{error}");
    assert!(bench.has_program());
    assert!(bench.namespace.run(|| datapath::detach(&bench.options().bpffs, INTERFACE)).unwrap());
    bench.assert_untouched();
    assert!(!bench.opened().adopted());
}

#[test]
fn want_of_permission_is_told() {
    let bench = Bench::new();
    // The loader probes the kernel once, which must not happen without permission.
    Datapath::unattached().unwrap();
    let options = bench.options();
    let error = bench.namespace.run(|| {
        drop_capabilities();
        Datapath::open(&options).map(drop).unwrap_err()
    });
    assert!(matches!(error, Error::Permission { .. }), "{error}");
    bench.assert_untouched();
    bench.opened();
}

/// Takes all capabilities from the calling thread, for good.
fn drop_capabilities() {
    /// _LINUX_CAPABILITY_VERSION_3
    const VERSION: u32 = 0x2008_0522;
    let header = [VERSION, 0];
    let none = [0u32; 6];
    // SAFETY: header and data have the layout of version 3; only this thread is changed.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}
