//! A farm on one link: switch, router, servers and a client behind the router.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::frame::Mac;
use super::namespace::{Namespace, veth};
use super::neighbour::{self, Neighbour, Nud};
use super::programs::{self, Attached};
use super::sweep::{bpffs_of, remove_scratch, unique_name};

/// The service address (RFC 3849 documentation prefix), on the servers' link.
pub const SERVICE: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x53, 1, 0, 0, 0, 0x53));
/// A second service address on the same link.
pub const SERVICE_B: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x53, 1, 0, 0, 0, 0x5353));
/// The IPv4 service address (RFC 5737 documentation prefix).
pub const SERVICE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53));

/// The router's interface to the servers' link.
pub const ROUTER_LINK: &str = "acr0";
/// The router's interface to the client.
pub const ROUTER_CLIENT: &str = "acc1";
/// The client's interface.
pub const CLIENT: &str = "acc0";
/// Each server's interface to the link.
pub const SERVER: &str = "acs0";
/// The switch.
pub const SWITCH: &str = "acbr";
/// The switch's port to the router.
pub const SWITCH_ROUTER: &str = "acpr";

/// The router's addresses on the servers' link.
pub const ROUTER_ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x53, 1, 0, 0, 0, 1);
/// See [`ROUTER_ADDRESS`].
pub const ROUTER_ADDRESS_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A directory of the lab for what its servers must find again: configuration, state, pid files, pins. Removed on drop.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes the directory and mounts a BPF file system of the lab's own in it, so that pins of two labs, or of a lab and
    /// the machine's real daemon, never meet.
    ///
    /// # Errors
    /// The directory cannot be made, or the file system not mounted.
    pub fn new() -> Result<Self> {
        let directory = std::env::temp_dir().join(unique_name());
        let bpffs = bpffs_of(&directory);
        std::fs::create_dir_all(&bpffs).with_context(|| format!("create {}", bpffs.display()))?;
        let scratch = Self(directory);
        nix::mount::mount(Some("bpf"), &bpffs, Some("bpf"), nix::mount::MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mount a BPF file system on {}", bpffs.display()))?;
        Ok(scratch)
    }

    /// The BPF file system.
    pub fn bpffs(&self) -> PathBuf {
        bpffs_of(&self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove_scratch(&self.0);
    }
}

/// How the switch treats multicast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snooping {
    /// Floods it.
    Off,
    /// Snoops MLD and queries: a group reaches only the ports that reported it.
    Querier,
}

/// What farm to build.
#[derive(Clone, Debug)]
pub struct FarmOptions {
    /// How many servers.
    pub servers: usize,
    /// How the switch treats multicast.
    pub snooping: Snooping,
}

impl Default for FarmOptions {
    fn default() -> Self {
        Self { servers: 3, snooping: Snooping::Off }
    }
}

/// One server of the farm.
#[derive(Debug)]
pub struct Server {
    /// `s1`, `s2`, …
    pub name: String,
    /// Where it lives; its interface is [`SERVER`].
    pub namespace: Namespace,
    /// The MAC address of its interface, fixed so that a captured frame tells the server at a glance.
    pub mac: Mac,
    /// Its own address on the link, not the service address.
    pub address: Ipv6Addr,
    /// Its own IPv4 address on the link.
    pub address_v4: Ipv4Addr,
    /// The switch's port to it.
    pub port: String,
    /// Its directory.
    pub directory: PathBuf,
    /// Where it pins: one directory a server, since all call their interface the same.
    pub bpffs: PathBuf,
}

impl Server {
    /// Puts a service address on `lo`, as the daemon does: /128 or /32, not tentative, never chosen as a source.
    ///
    /// # Errors
    /// The address is there already.
    pub fn add_service_address(&self, address: IpAddr) -> Result<()> {
        match address {
            IpAddr::V6(address) => self.namespace.ip(&[
                "addr",
                "add",
                &format!("{address}/128"),
                "dev",
                "lo",
                "nodad",
                "preferred_lft",
                "0",
            ]),
            IpAddr::V4(address) => self.namespace.ip(&["addr", "add", &format!("{address}/32"), "dev", "lo"]),
        }
        .map(drop)
    }

    /// Whether an address is on an interface of this server.
    ///
    /// # Errors
    /// The interface does not exist.
    pub fn has_address(&self, interface: &str, address: IpAddr) -> Result<bool> {
        let listed = self.namespace.ip(&["-o", "addr", "show", "dev", interface])?;
        Ok(listed.contains(&format!(" {address}/")))
    }
}

/// The whole lab; everything of it goes when it is dropped. Drop daemons and responders first.
#[derive(Debug)]
pub struct Farm {
    // Before the namespaces: links are detached from interfaces that still exist.
    _pass: Attached,
    /// The servers, in order.
    pub servers: Vec<Server>,
    /// The client, behind the router, on [`CLIENT`].
    pub client: Namespace,
    /// The router, between [`ROUTER_LINK`] and [`ROUTER_CLIENT`].
    pub router: Namespace,
    /// The switch of the servers' link.
    pub switch: Namespace,
    scratch: Scratch,
}

impl Farm {
    /// Builds it. Both address families are routed and everybody reaches everybody; no service address is anywhere yet.
    ///
    /// # Errors
    /// Something of the lab cannot be had here, see [`super::available`].
    pub fn new(options: &FarmOptions) -> Result<Self> {
        let scratch = Scratch::new()?;
        let switch = build_switch(options.snooping)?;
        let router = build_router(&switch)?;
        let client = build_client(&router)?;
        let servers = (1..=options.servers)
            .map(|number| build_server(number, &switch, &scratch))
            .collect::<Result<Vec<_>>>()?;
        let ports: Vec<String> = servers.iter().map(|server| server.port.clone()).collect();
        let pass = programs::attach(&switch, "pass", &ports)?;
        Ok(Self { _pass: pass, servers, client, router, switch, scratch })
    }

    /// The lab's directory, removed with it.
    pub fn directory(&self) -> &Path {
        &self.scratch.0
    }

    /// What the router believes of an address on the servers' link.
    ///
    /// # Errors
    /// The neighbour cache cannot be read.
    pub fn router_neighbour(&self, address: IpAddr) -> Result<Option<Neighbour>> {
        neighbour::read(&self.router, ROUTER_LINK, address)
    }

    /// Makes the router believe something. `Nud::Incomplete` and `Nud::Failed` take no MAC.
    ///
    /// # Errors
    /// The neighbour cache cannot be written.
    pub fn set_router_neighbour(&self, address: IpAddr, mac: Option<Mac>, state: Nud) -> Result<()> {
        neighbour::write(&self.router, ROUTER_LINK, address, mac, state)
    }

    /// Makes the router forget an address; it need not have known it.
    ///
    /// # Errors
    /// The neighbour cache cannot be written.
    pub fn forget_router_neighbour(&self, address: IpAddr) -> Result<()> {
        neighbour::forget(&self.router, ROUTER_LINK, address)
    }

    /// The server with a MAC address.
    pub fn server_by_mac(&self, mac: Mac) -> Option<&Server> {
        self.servers.iter().find(|server| server.mac == mac)
    }

    /// Cuts or mends the link of a server at the switch: the server sees its carrier go.
    ///
    /// # Errors
    /// As [`Namespace::ip`].
    pub fn set_port(&self, server: usize, up: bool) -> Result<()> {
        let port = &self.servers[server].port;
        self.switch.ip(&["link", "set", port, if up { "up" } else { "down" }]).map(drop)
    }

    /// Cuts the link of a server as [`Farm::set_port`] does, and tells when: without a process to start first.
    ///
    /// # Errors
    /// There is no such port.
    pub fn cut(&self, server: usize) -> Result<Instant> {
        let port = &self.servers[server].port;
        self.switch.run(|| take_down(port)).with_context(|| format!("take {port} down"))
    }
}

/// Takes an interface of the calling thread's namespace down (netdevice(7)); tells when it began to.
fn take_down(interface: &str) -> Result<Instant> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: an all-zero `ifreq` is a valid one: it is made of integers and of addresses made of integers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if interface.len() >= request.ifr_name.len() {
        bail!("{interface} is too long for the name of an interface");
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: the socket is open, and the request is an `ifreq`, as SIOCGIFFLAGS takes and fills it.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) } != 0 {
        return Err(std::io::Error::last_os_error()).context("read its flags");
    }
    // SAFETY: SIOCGIFFLAGS has set this member of the union.
    unsafe { request.ifr_ifru.ifru_flags &= !(libc::IFF_UP as libc::c_short) };
    let at = Instant::now();
    // SAFETY: as above; SIOCSIFFLAGS reads it.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } != 0 {
        return Err(std::io::Error::last_os_error()).context("set its flags");
    }
    Ok(at)
}

fn build_switch(snooping: Snooping) -> Result<Namespace> {
    let switch = Namespace::new()?;
    let multicast = match snooping {
        Snooping::Off => "mcast_snooping 0",
        Snooping::Querier => "mcast_snooping 1 mcast_querier 1",
    };
    switch.ip_batch(&format!(
        "link add {SWITCH} type bridge forward_delay 0 {multicast}\nlink set {SWITCH} up\n"
    ))?;
    Ok(switch)
}

fn build_router(switch: &Namespace) -> Result<Namespace> {
    let router = Namespace::new()?;
    for family in ["net/ipv6/conf/all/forwarding", "net/ipv4/conf/all/forwarding"] {
        router.sysctl(family, "1")?;
    }
    veth(switch, SWITCH_ROUTER, &router, ROUTER_LINK)?;
    switch.ip_batch(&format!("link set {SWITCH_ROUTER} master {SWITCH} up\n"))?;
    router.ip_batch(&format!(
        "link set {ROUTER_LINK} address 02:ac:00:00:00:01 up\n\
         addr add {ROUTER_ADDRESS}/64 dev {ROUTER_LINK}\n\
         addr add {ROUTER_ADDRESS_V4}/24 dev {ROUTER_LINK}\n"
    ))?;
    Ok(router)
}

fn build_client(router: &Namespace) -> Result<Namespace> {
    let client = Namespace::new()?;
    veth(router, ROUTER_CLIENT, &client, CLIENT)?;
    router.ip_batch(&format!(
        "link set {ROUTER_CLIENT} up\n\
         addr add 2001:db8:53:2::1/64 dev {ROUTER_CLIENT}\n\
         addr add 198.51.100.1/24 dev {ROUTER_CLIENT}\n"
    ))?;
    client.ip_batch(&format!(
        "link set {CLIENT} up\n\
         addr add 2001:db8:53:2::2/64 dev {CLIENT}\n\
         addr add 198.51.100.2/24 dev {CLIENT}\n\
         route add default via 2001:db8:53:2::1\n\
         route add default via 198.51.100.1\n"
    ))?;
    Ok(client)
}

fn build_server(number: usize, switch: &Namespace, scratch: &Scratch) -> Result<Server> {
    let octet = u8::try_from(number).context("too many servers for the lab's addresses")?;
    let name = format!("s{number}");
    let namespace = Namespace::new()?;
    let port = format!("acp{number}");
    let mac = Mac([0x02, 0xac, 0, 0, 1, octet]);
    let address = Ipv6Addr::new(0x2001, 0xdb8, 0x53, 1, 0, 0, 1, number as u16);
    let address_v4 = Ipv4Addr::new(192, 0, 2, 100 + octet);
    veth(switch, &port, &namespace, SERVER)?;
    switch.ip_batch(&format!("link set {port} master {SWITCH} up\n"))?;
    namespace.ip_batch(&format!(
        "link set {SERVER} address {mac} up\n\
         addr add {address}/64 dev {SERVER}\n\
         addr add {address_v4}/24 dev {SERVER}\n\
         route add default via {ROUTER_ADDRESS}\n\
         route add default via {ROUTER_ADDRESS_V4}\n"
    ))?;
    let directory = scratch.0.join(&name);
    let bpffs = bpffs_of(&scratch.0).join(&name);
    for needed in [&directory, &bpffs] {
        std::fs::create_dir_all(needed).with_context(|| format!("create {}", needed.display()))?;
    }
    Ok(Server { name, namespace, mac, address, address_v4, port, directory, bpffs })
}
