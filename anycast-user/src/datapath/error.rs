//! What can go wrong with the datapath, and what the operator can do about it.

use std::{io, net::IpAddr, path::PathBuf};

use anycast_common::abi::{ABI_VERSION, PORTS_MAX, SERVICES_MAX};
use thiserror::Error;

/// An error of the datapath.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The binary was built without the BPF object.
    #[error("this binary was built without the BPF program; build it with `cargo xtask build`")]
    NotEmbedded,
    /// The kernel does not let this process use BPF.
    #[error("no permission to {operation}: run as root or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON")]
    Permission {
        /// What was tried.
        operation: &'static str,
    },
    /// There is no such interface.
    #[error("there is no interface {interface}; `ip link` lists those there are")]
    NoInterface {
        /// Its name.
        interface: String,
    },
    /// The path is not on a bpffs.
    #[error(
        "{path} is not on a BPF file system; mount one with `mount -t bpf bpf /sys/fs/bpf`, or set `bpffs` to where one is"
    )]
    NoBpffs {
        /// The configured path.
        path: PathBuf,
    },
    /// The driver cannot run XDP programs.
    #[error(
        "the driver of {interface} does not support XDP in native mode; use generic mode (`--mode generic`), which every interface supports and which is slower"
    )]
    NoNativeXdp {
        /// The interface.
        interface: String,
    },
    /// The driver refuses the interface's MTU.
    #[error(
        "the driver of {interface} refuses XDP at an MTU of {mtu} ({source}); lower it (`ip link set {interface} mtu 1500`) or use generic mode (`--mode generic`)"
    )]
    Mtu {
        /// The interface.
        interface: String,
        /// Its MTU in octets.
        mtu: u32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The interface takes VLAN tags off before the program sees the frame.
    #[error(
        "{interface} takes VLAN tags off received frames (rxvlan offload), so the program cannot tell VLANs apart; switch that off with `ethtool -K {interface} rxvlan off`"
    )]
    VlanOffload {
        /// The interface.
        interface: String,
    },
    /// Another XDP program is attached.
    #[error(
        "{interface} already has an XDP program: {name} (id {id}); find its owner with `bpftool link` and detach it, or with `ip link set {interface} xdp off`"
    )]
    Occupied {
        /// The interface.
        interface: String,
        /// The program's name.
        name: String,
        /// The program's identifier.
        id: u32,
    },
    /// The kernel attaches the program, if at all, only by netlink: not pinnable, and outliving everybody.
    #[error(
        "the kernel refuses a BPF link for XDP on {interface} ({source}); an attachment by netlink could not be pinned and would outlive the daemon, so none was made; use Linux 5.18 or later"
    )]
    NoLink {
        /// The interface.
        interface: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Pinned maps have another layout.
    #[error(
        "{path} holds maps of ABI version {found}, this binary has version {ABI_VERSION}; stop the daemon they belong to, then remove them with `anycast detach {interface}`"
    )]
    AbiVersion {
        /// Where the pins are.
        path: PathBuf,
        /// The interface they are for.
        interface: String,
        /// The version they say they have.
        found: u32,
    },
    /// Another process has this interface's datapath open.
    #[error(
        "another anycast process controls {interface} ({path} is locked); stop it first with `anycast stop`"
    )]
    InUse {
        /// Where the pins are.
        path: PathBuf,
        /// The interface.
        interface: String,
    },
    /// The program could not be loaded.
    #[error("load BPF program: {message}; Linux 5.18 or later with BTF is needed")]
    Load {
        /// The verifier's or the loader's words.
        message: String,
    },
    /// An operation of the kernel on a pin or an interface failed.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// An operation on a map failed.
    #[error("{operation} BPF map {map}: {message}")]
    Map {
        /// What was tried.
        operation: &'static str,
        /// The map's name.
        map: &'static str,
        /// What happened.
        message: String,
    },
    /// More services than the maps have room for.
    #[error("{count} services on one interface, at most {SERVICES_MAX} are possible")]
    TooManyServices {
        /// How many there were.
        count: usize,
    },
    /// A service cannot be put into the maps.
    #[error("service {address}: {reason}")]
    Service {
        /// Its address.
        address: IpAddr,
        /// Why.
        reason: ServiceFault,
    },
}

/// Why a service cannot be put into the maps.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServiceFault {
    /// Listed twice with the same VLAN.
    #[error("is listed twice with the same VLAN")]
    Duplicate,
    /// Not an address that one interface answers for.
    #[error("is not a unicast address")]
    NotUnicast,
    /// Too many ports, or port 0.
    #[error("has more than {PORTS_MAX} ports, or port 0")]
    Ports,
    /// Too many tags or identifiers out of range.
    #[error("has more than two VLAN identifiers, or one that is not between 1 and 4094")]
    Vlan,
}

impl Error {
    /// An error of the operating system on a path, told as what it means if it is one of permission.
    pub(super) fn io(operation: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM) => Self::Permission { operation },
            _ => Self::Io { operation, path: path.into(), source },
        }
    }

    pub(super) fn map(operation: &'static str, map: &'static str, message: impl ToString) -> Self {
        Self::Map { operation, map, message: message.to_string() }
    }
}
