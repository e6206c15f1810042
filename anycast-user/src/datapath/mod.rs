//! The BPF side: loading, attaching, pinning, maps and rings. The only user of aya.
//!
//! [`Datapath`] is one interface's fast path. It outlives the process by its pins under `<bpffs>/<interface>` (dots in the
//! interface's name, which a bpffs refuses, as colons); who opens it again adopts link, gates and counters as they are.

mod error;
mod events;
mod interface;
mod maps;
mod object;
mod pins;
mod preflight;
mod sys;
mod table;

use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv6Addr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use anycast_common::{
    abi::{Counters, DROPS, Event, Gate},
    packet::MAC_LENGTH,
};
use aya::{Ebpf, programs::ProgramInfo};

pub use self::error::{Error, ServiceFault};
pub use self::preflight::preflight;
use self::{
    events::Rings,
    interface::Attached,
    maps::{Maps, NAMES},
    pins::{Pins, State},
};

/// How the program is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// In the driver, before the kernel allocates a socket buffer.
    #[default]
    Native,
    /// In the kernel's receive path: on every interface, and slower.
    Generic,
}

impl Mode {
    /// The name on the command line, in the configuration and in status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// What [`Datapath::open`] needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the interface.
    pub interface: String,
    /// How to attach.
    pub mode: Mode,
    /// Directory on a bpffs under which the interface's pins go.
    pub bpffs: PathBuf,
    /// Shall the program log answers and drops (at most one line in 10 ms and CPU, at debug level)?
    pub log: bool,
    /// Load the program that also looks at the gates of single routers and leaves answers to the controller.
    pub extra: bool,
}

/// A service address and what the fast path does for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The service address.
    pub address: IpAddr,
    /// VLAN identifiers, outermost first; empty for untagged frames.
    pub vlan: Vec<u16>,
    /// UDP and TCP ports whose packets are counted.
    pub ports: Vec<u16>,
    /// O flag of the NA.
    pub override_flag: bool,
    /// R flag of the NA.
    pub router: bool,
    /// Source address of the NA; the service address if `None`. Without meaning for IPv4.
    pub source: Option<Ipv6Addr>,
    /// Multicast solicitations are left to the controller. Needs [`Options::extra`].
    pub delayed: bool,
}

impl Service {
    /// A service without VLAN and ports that answers from its own address with O=1, R=0.
    pub const fn new(address: IpAddr) -> Self {
        Self {
            address,
            vlan: Vec::new(),
            ports: Vec::new(),
            override_flag: true,
            router: false,
            source: None,
            delayed: false,
        }
    }
}

/// One interface's fast path.
pub struct Datapath {
    maps: Maps,
    rings: Rings,
    program_id: u32,
    attachment: Option<Attachment>,
    /// Holds the program that was loaded, which is not the attached one if an equal one was adopted.
    ebpf: Ebpf,
}

struct Attachment {
    interface: String,
    pins: Pins,
    mode: Mode,
    adopted: bool,
    // Dropping it does not detach: the pin holds the link.
    _link: OwnedFd,
    _lock: File,
}

impl Datapath {
    /// Loads, attaches and pins the fast path of an interface, or adopts the pinned one: then link, services, gates (with the
    /// operator's holds) and counters go on as they are, and the program is replaced between two frames if this binary's is
    /// another. After an error everything is as it was before.
    ///
    /// # Errors
    ///
    /// See [`Error`]: each names what the operator can do.
    pub fn open(options: &Options) -> Result<Self, Error> {
        let name = &options.interface;
        pins::check_bpffs(&options.bpffs)?;
        let ifindex = interface::index(name).ok_or_else(|| Error::NoInterface { interface: name.clone() })?;
        let pins = Pins::new(&options.bpffs, name);
        let state = pins.state()?;
        if state == State::Whole {
            let lock = pins.lock()?;
            return Self::adopt(options, ifindex, pins, lock);
        }
        // Asked before anything is made or removed, for the sake of the message; attaching decides.
        if let Some(attached) = attached(name, ifindex)? {
            return Err(occupied(name, attached));
        }
        if state == State::Partial {
            let lock = pins.lock()?;
            pins.remove()?;
            drop(lock);
        }
        let mut ebpf = object::load(object::embedded()?, options.log, options.extra, None)?;
        pins.create()?;
        let lock = pins.lock()?;
        let undo = Undo { pins: &pins, armed: true };
        pin_maps(&ebpf, &pins)?;
        let mut maps = Maps::take(&mut ebpf)?;
        let rings = Rings::take(&mut ebpf, options.log)?;
        maps.initialise(ifindex);
        let link = attach(&ebpf, &pins, options, ifindex)?;
        undo.disarm();
        let program_id = program_info(&ebpf)?.id();
        let attachment = Attachment {
            interface: name.clone(),
            pins,
            mode: options.mode,
            adopted: false,
            _link: link,
            _lock: lock,
        };
        Ok(Self { maps, rings, program_id, attachment: Some(attachment), ebpf })
    }

    fn adopt(options: &Options, ifindex: u32, pins: Pins, lock: File) -> Result<Self, Error> {
        let name = &options.interface;
        let mut ebpf = object::load(object::embedded()?, options.log, options.extra, Some(&pins.maps()))?;
        let loaded = program_info(&ebpf)?;
        let attached = attached(name, ifindex)?;
        let pinned = pinned_program(&pins);
        let link = sys::open_pin(&pins.link()).ok();
        // The link is alive if the program it was made for is on the interface; it is not if the interface has been made anew.
        let alive = match (&attached, &pinned) {
            (Some(attached), Some(pinned)) => attached.program_id == pinned.id(),
            _ => false,
        };
        if let (Some(attached), false) = (attached, alive) {
            return Err(occupied(name, attached));
        }
        let same_mode = attached.is_some_and(|attached| attached.native == (options.mode == Mode::Native));
        let mut program_id = loaded.id();
        let link = match link {
            Some(link) if alive && same_mode => {
                match &pinned {
                    Some(pinned) if !options.log && same_program(pinned, &loaded) => program_id = pinned.id(),
                    _ => replace(&ebpf, &pins, &link)?,
                }
                link
            }
            link => {
                // Another mode, or a link to an interface that is gone: the maps live on under a new link.
                if let Some(link) = link {
                    let _ = sys::link_detach(link.as_fd());
                }
                for path in [pins.link(), pins.program()] {
                    let _ = std::fs::remove_file(path);
                }
                attach(&ebpf, &pins, options, ifindex)?
            }
        };
        let maps = Maps::take(&mut ebpf)?;
        let rings = Rings::take(&mut ebpf, options.log)?;
        maps.set_ifindex(ifindex);
        let attachment = Attachment {
            interface: name.clone(),
            pins,
            mode: options.mode,
            adopted: true,
            _link: link,
            _lock: lock,
        };
        Ok(Self { maps, rings, program_id, attachment: Some(attachment), ebpf })
    }

    /// Loads the fast path without attaching it, for [`Datapath::run`].
    ///
    /// # Errors
    ///
    /// If it is not embedded or cannot be loaded.
    pub fn unattached() -> Result<Self, Error> {
        Self::unattached_from(object::embedded()?, false)
    }

    /// As [`Datapath::unattached`], with the program of [`Options::extra`].
    ///
    /// # Errors
    ///
    /// If it is not embedded or cannot be loaded.
    pub fn unattached_extra() -> Result<Self, Error> {
        Self::unattached_from(object::embedded()?, true)
    }

    /// As [`Datapath::unattached`], with a program of another object, the one of [`Options::extra`] if `extra`: for tests of what
    /// a faulty program would do.
    ///
    /// # Errors
    ///
    /// If it cannot be loaded.
    pub fn unattached_from(object: &[u8], extra: bool) -> Result<Self, Error> {
        let mut ebpf = object::load(object, false, extra, None)?;
        let mut maps = Maps::take(&mut ebpf)?;
        let rings = Rings::take(&mut ebpf, false)?;
        maps.initialise(0);
        let program_id = program_info(&ebpf)?.id();
        Ok(Self { maps, rings, program_id, attachment: None, ebpf })
    }

    /// Was a pinned datapath adopted?
    pub fn adopted(&self) -> bool {
        self.attachment.as_ref().is_some_and(|attachment| attachment.adopted)
    }

    /// How the program is attached.
    pub fn mode(&self) -> Mode {
        self.attachment.as_ref().map_or(Mode::Native, |attachment| attachment.mode)
    }

    /// The kernel's identifier of the program.
    pub fn program_id(&self) -> u32 {
        self.program_id
    }

    /// The program's instructions: after translation by the kernel, and as many as the verifier walked.
    ///
    /// # Errors
    ///
    /// If the kernel does not tell.
    pub fn instructions(&self) -> Result<(u32, u32), Error> {
        const INSTRUCTION: u32 = 8;
        let info = program_info(&self.ebpf)?;
        let translated = info.size_translated().unwrap_or(0) / INSTRUCTION;
        Ok((translated, info.verified_instruction_count().unwrap_or(0)))
    }

    /// Replaces the services of the interface in one step; `mac` is the interface's. Gives the index of each, in their order.
    ///
    /// A service (address and VLAN) that is in the maps keeps its index, gate and counters; a new one starts with the gate
    /// shut and counters at zero; one that is gone has its gate shut.
    ///
    /// # Errors
    ///
    /// If a service cannot be put into the maps, or a VLAN is asked for on an interface that hides VLANs; nothing has changed
    /// then.
    pub fn set_services(&mut self, mac: [u8; MAC_LENGTH], services: &[Service]) -> Result<Vec<u32>, Error> {
        if let Some(Attachment { interface, .. }) = &self.attachment
            && services.iter().any(|service| !service.vlan.is_empty())
            && interface::takes_vlan_tags_off(interface)
                .map_err(|error| Error::io("query the offloads of", interface, error))?
        {
            return Err(Error::VlanOffload { interface: interface.clone() });
        }
        self.maps.set_services(mac, services)
    }

    /// Opens the gate of service `index` until `open_until_ns` of `CLOCK_MONOTONIC`; 0 shuts it. One store, no system call.
    pub fn set_lease(&mut self, index: u32, open_until_ns: u64) {
        self.maps.set_lease(index, open_until_ns);
    }

    /// Replaces the gates of single routers of service `index`, which go before the service's: open until that time of
    /// `CLOCK_MONOTONIC`, 0 = shut. A router that is not among them is under the service's gate. Only the program of
    /// [`Options::extra`] looks at them.
    ///
    /// # Errors
    ///
    /// If the map cannot be written, as when it is full; what could be written is.
    pub fn set_router_gates(&mut self, index: u32, gates: &[([u8; MAC_LENGTH], u64)]) -> Result<(), Error> {
        self.maps.set_router_gates(index, gates)
    }

    /// The gates of single routers of service `index`.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn router_gates(&self, index: u32) -> Result<Vec<([u8; MAC_LENGTH], u64)>, Error> {
        self.maps.router_gates(index)
    }

    /// The gate of service `index`.
    pub fn gate(&self, index: u32) -> Gate {
        self.maps.gate(index)
    }

    /// Holds a gate, on the operator's behalf: one of the `HOLD_` values of the ABI.
    pub fn set_hold(&mut self, index: u32, hold: u32) {
        self.maps.set_hold(index, hold);
    }

    /// The counters of service `index`, summed over all CPUs.
    ///
    /// # Errors
    ///
    /// If there is no such index.
    pub fn counters(&self, index: u32) -> Result<Counters, Error> {
        self.maps.counters(index)
    }

    /// Dropped frames and lost events by the number of their reason, summed over all CPUs.
    ///
    /// # Errors
    ///
    /// If the kernel does not let the map be read.
    pub fn drops(&self) -> Result<[u64; DROPS], Error> {
        self.maps.drops()
    }

    /// Waits for events and appends them to `out`, peers' advertisements first. Cancel safe: what has been taken from a ring
    /// is in `out`. Also hands the program's log on to tracing.
    ///
    /// Must be called within a tokio runtime with I/O enabled. If the rings cannot be waited for, never returns and says why
    /// in the log once.
    pub async fn events(&mut self, out: &mut Vec<Event>) {
        if let Err(error) = self.rings.next(out).await {
            tracing::error!(%error, "cannot wait for the rings of the fast path, no events will be seen");
            std::future::pending::<()>().await;
        }
    }

    /// Takes the events that are there, without waiting.
    pub fn drain_events(&mut self, out: &mut Vec<Event>) {
        self.rings.drain(out);
    }

    /// Runs the program once on a frame (`BPF_PROG_TEST_RUN`): its verdict, one of the `XDP_` values, and the frame as it left
    /// it. Counters and events are as if the frame had been received.
    ///
    /// # Errors
    ///
    /// If the kernel refuses, for instance a frame shorter than an Ethernet header.
    pub fn run(&self, frame: &[u8]) -> Result<(u32, Vec<u8>), Error> {
        sys::run(self.program()?, frame).map_err(|error| Error::io("run a frame through", "program", error))
    }

    /// The descriptor of the loaded program.
    ///
    /// # Errors
    ///
    /// None that can be caused from outside.
    pub fn program(&self) -> Result<BorrowedFd<'_>, Error> {
        object::program(&self.ebpf)?
            .fd()
            .map(|fd| fd.as_fd())
            .map_err(|error| Error::Load { message: error.to_string() })
    }

    /// Detaches the program and leaves nothing: no link, pin, map or directory.
    ///
    /// # Errors
    ///
    /// If a pin cannot be removed.
    pub fn detach(self) -> Result<(), Error> {
        match &self.attachment {
            Some(attachment) => attachment.pins.remove(),
            None => Ok(()),
        }
    }

    /// Lets go of the datapath and leaves it attached and pinned: it answers as long as its leases last. The same as dropping
    /// it, said aloud.
    pub fn keep(self) {}
}

/// Removes the pins that were made if not disarmed; dropping the link's descriptor detaches then.
struct Undo<'a> {
    pins: &'a Pins,
    armed: bool,
}

impl Undo<'_> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if self.armed
            && let Err(error) = self.pins.remove()
        {
            tracing::warn!(%error, "cannot remove what was pinned before an error");
        }
    }
}

fn pin_maps(ebpf: &Ebpf, pins: &Pins) -> Result<(), Error> {
    for name in NAMES {
        let map = ebpf.map(name).and_then(maps::descriptor);
        let map = map.ok_or_else(|| Error::map("find", name, "the embedded program has no such map"))?;
        let path = pins.maps().join(name);
        sys::pin(map, &path).map_err(|error| Error::io("pin", path, error))?;
    }
    Ok(())
}

/// Pins the program, attaches it, pins the link. After an error neither is pinned nor attached.
fn attach(ebpf: &Ebpf, pins: &Pins, options: &Options, ifindex: u32) -> Result<OwnedFd, Error> {
    let flags = match options.mode {
        Mode::Native => sys::XDP_FLAGS_DRV_MODE,
        Mode::Generic => sys::XDP_FLAGS_SKB_MODE,
    };
    let program = object::program(ebpf)?.fd().map_err(|error| Error::Load { message: error.to_string() })?;
    let path = pins.program();
    sys::pin(program.as_fd(), &path).map_err(|error| Error::io("pin", &path, error))?;
    let unpin = |error| {
        let _ = std::fs::remove_file(pins.program());
        error
    };
    let link = sys::link_create(program.as_fd(), ifindex, flags)
        .map_err(|error| unpin(refusal(options, ifindex, error)))?;
    let path = pins.link();
    if let Err(error) = sys::pin(link.as_fd(), &path) {
        let _ = sys::link_detach(link.as_fd());
        return Err(unpin(Error::io("pin", path, error)));
    }
    Ok(link)
}

/// What the kernel's refusal to attach means.
fn refusal(options: &Options, ifindex: u32, source: io::Error) -> Error {
    let interface = options.interface.clone();
    if let Some(libc::EBUSY | libc::EEXIST) = source.raw_os_error()
        && let Ok(Some(attached)) = attached(&interface, ifindex)
    {
        return occupied(&interface, attached);
    }
    let mtu = interface::mtu(&interface).unwrap_or(0);
    refusal_without_program(interface, options.mode, mtu, source)
}

/// As [`refusal`], when it is not another program's fault. Drivers answer `EINVAL` or `ERANGE` to an MTU that they have no
/// buffers for, and so does a kernel without BPF links for XDP, to which the MTU does not matter.
fn refusal_without_program(interface: String, mode: Mode, mtu: u32, source: io::Error) -> Error {
    /// MTU that every driver with XDP has buffers for.
    const USUAL_MTU: u32 = 1500;
    let native = mode == Mode::Native;
    match source.raw_os_error() {
        Some(libc::EPERM) => Error::Permission { operation: "attach an XDP program" },
        Some(libc::EOPNOTSUPP) if native => Error::NoNativeXdp { interface },
        Some(libc::ENODEV) => Error::NoInterface { interface },
        Some(libc::ERANGE) if native => Error::Mtu { interface, mtu, source },
        Some(libc::EINVAL) if native && mtu > USUAL_MTU => Error::Mtu { interface, mtu, source },
        Some(libc::EINVAL) => Error::NoLink { interface, source },
        _ => Error::io("attach to", interface, source),
    }
}

/// Puts the loaded program into the place of the pinned one.
fn replace(ebpf: &Ebpf, pins: &Pins, link: &OwnedFd) -> Result<(), Error> {
    let program = object::program(ebpf)?.fd().map_err(|error| Error::Load { message: error.to_string() })?;
    let (path, new) = (pins.program(), pins.new_program());
    let _ = std::fs::remove_file(&new);
    sys::pin(program.as_fd(), &new).map_err(|error| Error::io("pin", &new, error))?;
    if let Err(error) = sys::link_update(link.as_fd(), program.as_fd()) {
        let _ = std::fs::remove_file(&new);
        return Err(Error::io("replace the program of", pins.link(), error));
    }
    std::fs::rename(&new, &path).map_err(|error| Error::io("rename", new, error))
}

fn program_info(ebpf: &Ebpf) -> Result<ProgramInfo, Error> {
    object::program(ebpf)?.info().map_err(|error| Error::Load { message: error.to_string() })
}

fn pinned_program(pins: &Pins) -> Option<ProgramInfo> {
    ProgramInfo::from_pin(pins.program()).ok()
}

/// Same instructions before and after translation: the tag does not cover the log level, which decides how much of the program
/// the verifier left.
fn same_program(a: &ProgramInfo, b: &ProgramInfo) -> bool {
    a.tag() == b.tag() && a.size_translated() == b.size_translated()
}

fn attached(interface: &str, ifindex: u32) -> Result<Option<Attached>, Error> {
    interface::attached(ifindex).map_err(|error| Error::io("query", interface, error))
}

fn occupied(interface: &str, attached: Attached) -> Error {
    let name = aya::programs::loaded_programs()
        .filter_map(Result::ok)
        .find(|program| program.id() == attached.program_id)
        .and_then(|program| program.name_as_str().map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned());
    Error::Occupied { interface: interface.to_owned(), name, id: attached.program_id }
}

/// Detaches what is pinned for an interface, of whatever ABI version, and removes the pins. `false` if there was nothing.
///
/// # Errors
///
/// If a daemon has the datapath open, or a pin cannot be removed.
pub fn detach(bpffs: &Path, interface: &str) -> Result<bool, Error> {
    let pins = Pins::new(bpffs, interface);
    if !pins.directory().exists() {
        return Ok(false);
    }
    let _lock = pins.lock()?;
    pins.remove()?;
    Ok(true)
}

/// What is pinned for an interface.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// The program's identifier.
    pub program_id: u32,
    /// How it is attached; `None` if it is not: the interface it was attached to is gone.
    pub mode: Option<Mode>,
    /// The services in the maps, by index.
    pub services: Vec<PinnedService>,
    /// Dropped frames and lost events by the number of their reason.
    pub drops: [u64; DROPS],
}

/// A service as it stands in pinned maps.
#[derive(Clone, Debug)]
pub struct PinnedService {
    /// Its index.
    pub index: u32,
    /// The service address.
    pub address: IpAddr,
    /// VLAN identifiers, outermost first.
    pub vlan: Vec<u16>,
    /// Ports.
    pub ports: Vec<u16>,
    /// The gate.
    pub gate: Gate,
    /// The counters, summed over all CPUs.
    pub counters: Counters,
}

/// Reads what is pinned for an interface, without a daemon and without changing anything. `None` if nothing whole is.
///
/// # Errors
///
/// If the pins are of another ABI version or cannot be read.
pub fn inspect(bpffs: &Path, interface: &str) -> Result<Option<Pinned>, Error> {
    let pins = Pins::new(bpffs, interface);
    if pins.state()? != State::Whole {
        return Ok(None);
    }
    let Some(program) = pinned_program(&pins) else { return Ok(None) };
    let maps = Maps::from_pins(&pins.maps())?;
    let mut services = Vec::new();
    for service in maps.active() {
        services.push(PinnedService {
            index: service.index,
            address: table::address(service.address),
            vlan: table::vlan(service.vlan),
            ports: service.ports.into_iter().filter(|port| *port != 0).map(u16::from_be).collect(),
            gate: maps.gate(service.index),
            counters: maps.counters(service.index)?,
        });
    }
    services.sort_by_key(|service| service.index);
    let mode = match interface::index(interface).map(interface::attached) {
        Some(Ok(Some(attached))) if attached.program_id == program.id() => {
            Some(if attached.native { Mode::Native } else { Mode::Generic })
        }
        _ => None,
    };
    Ok(Some(Pinned { program_id: program.id(), mode, services, drops: maps.drops()? }))
}

impl std::fmt::Debug for Datapath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Datapath")
            .field("program_id", &self.program_id)
            .field("interface", &self.attachment.as_ref().map(|attachment| &attachment.interface))
            .field("mode", &self.mode().name())
            .field("adopted", &self.adopted())
            .field("program", &self.program().map(|fd| fd.as_raw_fd()).ok())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_by_what_the_operator_can_do() {
        let refusal = |mode, mtu, code| {
            refusal_without_program("eth9".to_owned(), mode, mtu, io::Error::from_raw_os_error(code))
        };
        use Mode::{Generic, Native};
        assert!(matches!(refusal(Native, 1500, libc::EPERM), Error::Permission { .. }));
        assert!(matches!(refusal(Native, 1500, libc::EOPNOTSUPP), Error::NoNativeXdp { .. }));
        assert!(matches!(refusal(Generic, 1500, libc::EOPNOTSUPP), Error::Io { .. }));
        assert!(matches!(refusal(Native, 9000, libc::EINVAL), Error::Mtu { mtu: 9000, .. }));
        assert!(matches!(refusal(Native, 3520, libc::ERANGE), Error::Mtu { mtu: 3520, .. }));
        // Where aya would have attached by netlink.
        assert!(matches!(refusal(Native, 1500, libc::EINVAL), Error::NoLink { .. }));
        assert!(matches!(refusal(Generic, 9000, libc::EINVAL), Error::NoLink { .. }));
        assert!(matches!(refusal(Native, 1500, libc::ENOMEM), Error::Io { .. }));
    }
}
