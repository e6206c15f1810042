//! What is on a wire, and putting something there.

use std::fmt;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::frame::Frame;
use super::namespace::Namespace;

/// Longer than any frame of the lab; a longer one is cut.
const FRAME_MAX: usize = 65_536;

/// Where a VLAN tag is put back.
const TAG_OFFSET: usize = 12;

/// One captured frame.
#[derive(Clone)]
pub struct Captured {
    /// When the kernel saw it.
    pub at: SystemTime,
    /// Whether the interface sent it; else it was received.
    pub outgoing: bool,
    /// The whole frame, with its VLAN tags.
    pub bytes: Vec<u8>,
}

impl Captured {
    /// What it says.
    pub fn parse(&self) -> Frame {
        Frame::parse(&self.bytes)
    }
}

impl fmt::Debug for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.outgoing { "sent" } else { "received" };
        write!(f, "{direction} {:?}", self.parse())
    }
}

#[derive(Debug, Default)]
struct Shared {
    frames: Mutex<Vec<Captured>>,
    arrived: Condvar,
    stop: AtomicBool,
    lost: Mutex<u64>,
}

/// A running capture of an interface; it ends on drop.
///
/// It sees what passes the interface's XDP program, and never what that program drops or transmits: capture at the other
/// end of the wire.
#[derive(Debug)]
pub struct Capture {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Starts one; frames from now on are in it.
    ///
    /// # Errors
    /// No such interface, or no packet socket for want of privilege.
    pub fn start(namespace: &Namespace, interface: &str) -> Result<Self> {
        let socket = packet_socket(namespace, interface, libc::ETH_P_ALL as u16)?;
        // A packet socket that was not yet bound heard every interface; what it heard so far is another wire's.
        set_option(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
        set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 16 << 20)?;
        let shared = Arc::new(Shared::default());
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || collect(&socket, &shared)
        });
        Ok(Self { shared, thread: Some(thread) })
    }

    /// All frames so far.
    pub fn frames(&self) -> Vec<Captured> {
        lock(&self.shared.frames).clone()
    }

    /// Forgets the frames so far.
    pub fn clear(&self) {
        lock(&self.shared.frames).clear();
    }

    /// How many frames so far are of a kind.
    pub fn count(&self, mut wanted: impl FnMut(&Captured) -> bool) -> usize {
        lock(&self.shared.frames).iter().filter(|frame| wanted(frame)).count()
    }

    /// Frames the kernel could not hand over in time; a test that counts frames asserts that there are none.
    pub fn lost(&self) -> u64 {
        *lock(&self.shared.lost)
    }

    /// The first frame of a kind, be it there already or yet to come.
    ///
    /// # Errors
    /// `what` was not seen within `timeout`; the error lists what was.
    pub fn wait_for(
        &self,
        what: &str,
        timeout: Duration,
        mut wanted: impl FnMut(&Captured) -> bool,
    ) -> Result<Captured> {
        let deadline = Instant::now() + timeout;
        let mut looked_at = 0;
        let mut frames = lock(&self.shared.frames);
        loop {
            if let Some(found) = frames.iter().skip(looked_at).find(|frame| wanted(frame)) {
                return Ok(found.clone());
            }
            looked_at = frames.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let seen: Vec<String> =
                    frames.iter().rev().take(12).rev().map(|frame| format!("{frame:?}")).collect();
                bail!(
                    "waited {timeout:?} in vain for {what}; last of {} frames:\n{}",
                    frames.len(),
                    seen.join("\n")
                );
            }
            frames = match self.shared.arrived.wait_timeout(frames, left) {
                Ok((frames, _)) => frames,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the collector has been printed and must not become a second one here.
            let _ = thread.join();
        }
    }
}

/// A socket that puts frames on a wire, byte for byte.
#[derive(Debug)]
pub struct Injector(OwnedFd);

impl Injector {
    /// Opens one on an interface. It receives nothing.
    ///
    /// # Errors
    /// No such interface, or no packet socket for want of privilege.
    pub fn new(namespace: &Namespace, interface: &str) -> Result<Self> {
        packet_socket(namespace, interface, 0).map(Self)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The interface is down or gone, or the frame too long for it.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        // SAFETY: the pointer and the length are those of one slice.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent != frame.len() as isize {
            return Err(std::io::Error::last_os_error()).context("send a frame");
        }
        Ok(())
    }
}

/// A raw packet socket bound to an interface; protocol 0 receives nothing.
fn packet_socket(namespace: &Namespace, interface: &str, protocol: u16) -> Result<OwnedFd> {
    let index = namespace
        .interface_index(interface)
        .with_context(|| format!("no interface {interface} in namespace {}", namespace.name()))?;
    // Protocol 0 until it is bound, so that no frame of another interface gets in.
    let raw = namespace.run(|| {
        // SAFETY: no pointers.
        let raw = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if raw < 0 { Err(std::io::Error::last_os_error()) } else { Ok(raw) }
    });
    let raw = raw.context("open a packet socket")?;
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: all zero is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = index as i32;
    // SAFETY: the pointer is to a sockaddr_ll of the length given.
    let bound = unsafe {
        libc::bind(raw, (&raw const address).cast(), size_of::<libc::sockaddr_ll>() as libc::socklen_t)
    };
    if bound != 0 {
        return Err(std::io::Error::last_os_error())
            .with_context(|| format!("bind a packet socket to {interface}"));
    }
    Ok(socket)
}

fn set_option(socket: &OwnedFd, level: i32, option: i32, value: i32) -> Result<()> {
    // SAFETY: the pointer is to an int and the length is an int's.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if result != 0 {
        return Err(std::io::Error::last_os_error())
            .with_context(|| format!("set socket option {level}/{option}"));
    }
    Ok(())
}

fn collect(socket: &OwnedFd, shared: &Shared) {
    let mut buffer = vec![0; FRAME_MAX];
    while !shared.stop.load(Ordering::Relaxed) {
        let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::from(20u8)) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => continue,
            Ok(_) => {}
            Err(error) => panic!("poll a packet socket: {error}"),
        }
        while let Some(frame) = receive(socket, &mut buffer) {
            lock(&shared.frames).push(frame);
            shared.arrived.notify_all();
        }
        *lock(&shared.lost) += drops(socket);
    }
}

/// The next waiting frame.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Option<Captured> {
    // SAFETY: all zero is a valid sockaddr_ll and a valid msghdr.
    let (mut from, mut message): (libc::sockaddr_ll, libc::msghdr) = unsafe { std::mem::zeroed() };
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // u64 for the alignment that a cmsghdr needs.
    let mut control = [0u64; 16];
    message.msg_name = (&raw mut from).cast();
    message.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: every pointer in `message` is to a live local of the length given beside it.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    // An interface that goes down says so once (ENETDOWN); its frames are not lost by that.
    let length = usize::try_from(length).ok()?;
    let mut bytes = buffer[..length].to_vec();
    let mut at = SystemTime::now();
    // SAFETY: the kernel filled msg_control and msg_controllen; the macros walk within that.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            let data = libc::CMSG_DATA(header);
            match ((*header).cmsg_level, (*header).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let stamp = data.cast::<libc::timespec>().read_unaligned();
                    at = SystemTime::UNIX_EPOCH + Duration::new(stamp.tv_sec as u64, stamp.tv_nsec as u32);
                }
                (libc::SOL_PACKET, libc::PACKET_AUXDATA) => {
                    let auxiliary = data.cast::<libc::tpacket_auxdata>().read_unaligned();
                    if auxiliary.tp_status & libc::TP_STATUS_VLAN_VALID != 0 && bytes.len() >= TAG_OFFSET {
                        let tag = [auxiliary.tp_vlan_tpid.to_be_bytes(), auxiliary.tp_vlan_tci.to_be_bytes()];
                        bytes.splice(TAG_OFFSET..TAG_OFFSET, tag.concat());
                    }
                }
                _ => {}
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Some(Captured { at, outgoing: from.sll_pkttype == libc::PACKET_OUTGOING, bytes })
}

/// Frames lost since the last call.
fn drops(socket: &OwnedFd) -> u64 {
    // struct tpacket_stats: packets, drops.
    let mut statistics = [0u32; 2];
    let mut length = size_of_val(&statistics) as libc::socklen_t;
    // SAFETY: the pointers are to live locals; the length is that of the array.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            statistics.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result == 0 { statistics[1].into() } else { 0 }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panicking holder leaves a list of whole frames.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
