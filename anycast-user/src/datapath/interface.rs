//! What the kernel says about an interface: index, MTU, VLAN offload, and which XDP program is attached.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// The XDP program attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    pub program_id: u32,
    pub native: bool,
}

/// The interface's index; `None` if there is none of this name.
pub(super) fn index(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

/// The interface's MTU in octets.
pub(super) fn mtu(name: &str) -> io::Result<u32> {
    let mut request = Request::new(name)?;
    // SAFETY: SIOCGIFMTU takes and fills an `ifreq`.
    unsafe { request.call(libc::SIOCGIFMTU)? };
    // SAFETY: SIOCGIFMTU has filled this member.
    Ok(unsafe { request.ifreq.ifr_ifru.ifru_mtu } as u32)
}

/// Does the interface take VLAN tags off received frames?
pub(super) fn takes_vlan_tags_off(name: &str) -> io::Result<bool> {
    const ETHTOOL_GFLAGS: u32 = 0x25;
    const ETH_FLAG_RXVLAN: u32 = 1 << 8;
    #[repr(C)]
    struct EthtoolValue {
        cmd: u32,
        data: u32,
    }
    let mut value = EthtoolValue { cmd: ETHTOOL_GFLAGS, data: 0 };
    let mut request = Request::new(name)?;
    request.ifreq.ifr_ifru.ifru_data = std::ptr::from_mut(&mut value).cast();
    // SAFETY: SIOCETHTOOL takes an `ifreq` whose data points to an `ethtool_value` for this command; it lives until the end.
    match unsafe { request.call(libc::SIOCETHTOOL) } {
        Ok(()) => Ok(value.data & ETH_FLAG_RXVLAN != 0),
        // A driver without offloads.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
        Err(error) => Err(error),
    }
}

struct Request {
    socket: OwnedFd,
    ifreq: libc::ifreq,
}

impl Request {
    fn new(name: &str) -> io::Result<Self> {
        // SAFETY: all-zero is a valid `ifreq`.
        let mut ifreq: libc::ifreq = unsafe { std::mem::zeroed() };
        // The last octet stays zero.
        if name.len() >= ifreq.ifr_name.len() {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        for (place, octet) in ifreq.ifr_name.iter_mut().zip(name.bytes()) {
            *place = octet as libc::c_char;
        }
        Ok(Self { socket: socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?, ifreq })
    }

    /// # Safety
    ///
    /// `request` must be one that takes an `ifreq` as it has been filled.
    unsafe fn call(&mut self, request: libc::Ioctl) -> io::Result<()> {
        // SAFETY: the caller's promise; the structure lives during the call.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), request, &raw mut self.ifreq) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

fn socket(family: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: socket(2) takes no pointers.
    let fd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor, nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Asks the kernel by rtnetlink which XDP program is attached. Programs attached in both modes show as the native one.
pub(super) fn attached(ifindex: u32) -> io::Result<Option<Attached>> {
    let socket = socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
    // nlmsghdr and ifinfomsg, native byte order (rtnetlink(7)).
    let mut request = [0u8; 32];
    request[0..4].copy_from_slice(&32u32.to_ne_bytes());
    request[4..6].copy_from_slice(&libc::RTM_GETLINK.to_ne_bytes());
    request[6..8].copy_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    request[20..24].copy_from_slice(&ifindex.to_ne_bytes());
    let mut reply = vec![0u8; 64 * 1024];
    // SAFETY: the buffers live during the calls and their lengths are given.
    let received = unsafe {
        if libc::send(socket.as_raw_fd(), request.as_ptr().cast(), request.len(), 0) < 0 {
            return Err(io::Error::last_os_error());
        }
        libc::recv(socket.as_raw_fd(), reply.as_mut_ptr().cast(), reply.len(), 0)
    };
    if received < 0 {
        return Err(io::Error::last_os_error());
    }
    parse(&reply[..received as usize])
}

fn parse(message: &[u8]) -> io::Result<Option<Attached>> {
    const IFLA_XDP_ATTACHED: u16 = 2;
    const IFLA_XDP_PROG_ID: u16 = 4;
    const IFLA_XDP_DRV_PROG_ID: u16 = 5;
    const IFLA_XDP_SKB_PROG_ID: u16 = 6;
    const XDP_ATTACHED_NONE: u8 = 0;
    let kind = message.get(4..6).and_then(|octets| octets.try_into().ok()).map(u16::from_ne_bytes);
    match kind {
        Some(libc::RTM_NEWLINK) => {}
        Some(kind) if i32::from(kind) == libc::NLMSG_ERROR => {
            let code =
                message.get(16..20).and_then(|octets| octets.try_into().ok()).map_or(0, i32::from_ne_bytes);
            return Err(io::Error::from_raw_os_error(-code));
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    }
    let Some(xdp) =
        attributes(message.get(32..).unwrap_or_default()).find(|(kind, _)| *kind == libc::IFLA_XDP)
    else {
        return Ok(None);
    };
    let number = |wanted| {
        let (_, value) = attributes(xdp.1).find(|(kind, _)| *kind == wanted)?;
        value.try_into().ok().map(u32::from_ne_bytes)
    };
    let mode = attributes(xdp.1).find(|(kind, _)| *kind == IFLA_XDP_ATTACHED).map(|(_, value)| value);
    if mode.is_none_or(|mode| mode.first().is_none_or(|mode| *mode == XDP_ATTACHED_NONE)) {
        return Ok(None);
    }
    Ok(match (number(IFLA_XDP_DRV_PROG_ID), number(IFLA_XDP_SKB_PROG_ID), number(IFLA_XDP_PROG_ID)) {
        (Some(program_id), _, _) => Some(Attached { program_id, native: true }),
        (None, Some(program_id), _) => Some(Attached { program_id, native: false }),
        (None, None, Some(program_id)) => Some(Attached { program_id, native: true }),
        (None, None, None) => None,
    })
}

/// Netlink attributes: length, type, value, padded to four octets. Ends at the first that does not fit.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const HEADER: usize = 4;
    const TYPE_MASK: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let (head, _) = rest.split_first_chunk::<HEADER>()?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & TYPE_MASK;
        let value = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_end_where_they_do_not_fit() {
        let octets = [5, 0, 2, 0, 7, 0, 0, 0, 8, 0, 4, 0, 1, 2, 3, 4, 9, 0, 1, 0, 1];
        let found: Vec<_> = attributes(&octets).collect();
        assert_eq!(found, [(2, &[7][..]), (4, &[1, 2, 3, 4][..])]);
        assert_eq!(attributes(&[0, 0, 1, 0, 0, 0, 0, 0]).count(), 0);
    }

    #[test]
    fn loopback_exists_and_has_no_vlan_offload() {
        assert!(index("lo").is_some());
        assert!(index("no-such-if").is_none());
        assert!(!takes_vlan_tags_off("lo").unwrap());
        assert!(mtu("lo").unwrap() >= 1280);
        assert!(mtu("no-such-if").is_err());
    }
}
