//! The system calls of BPF that aya does not offer in the form that is needed: a link without a fall-back, its pin and update,
//! one program run; and memory-mapped maps.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    ptr::NonNull,
};

const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_PROG_TEST_RUN: libc::c_int = 10;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_LINK_UPDATE: libc::c_int = 29;
const BPF_LINK_DETACH: libc::c_int = 34;
const BPF_XDP: u32 = 37;

/// Attach flag: generic mode.
pub(super) const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
/// Attach flag: native mode.
pub(super) const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// Calls bpf(2) with one of its attribute structures.
fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: `attributes` is a `repr(C)` structure of the command's leading attributes, of which the kernel reads and writes
    // `size_of::<T>()` octets; pointers in it are valid during the call, as each caller here ensures.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>() as libc::c_uint)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
}

fn owned(fd: libc::c_int) -> OwnedFd {
    // SAFETY: the kernel has just returned this descriptor, nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Attaches an XDP program to an interface by a BPF link. Unlike aya's, never by netlink instead.
pub(super) fn link_create(program: BorrowedFd<'_>, ifindex: u32, flags: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        prog_fd: u32,
        target_ifindex: u32,
        attach_type: u32,
        flags: u32,
    }
    let mut attributes = Attributes {
        prog_fd: program.as_raw_fd() as u32,
        target_ifindex: ifindex,
        attach_type: BPF_XDP,
        flags,
    };
    bpf(BPF_LINK_CREATE, &mut attributes).map(owned)
}

/// Replaces the program of a link, between one frame and the next.
pub(super) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        link_fd: u32,
        new_prog_fd: u32,
        flags: u32,
        old_prog_fd: u32,
    }
    let mut attributes = Attributes {
        link_fd: link.as_raw_fd() as u32,
        new_prog_fd: program.as_raw_fd() as u32,
        flags: 0,
        old_prog_fd: 0,
    };
    bpf(BPF_LINK_UPDATE, &mut attributes).map(drop)
}

/// Detaches a link at once; dropping its last descriptor and pin does it some time later.
pub(super) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut link_fd = link.as_raw_fd() as u32;
    bpf(BPF_LINK_DETACH, &mut link_fd).map(drop)
}

#[repr(C)]
struct ObjectAttributes {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// Pins a program, map or link.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut attributes =
        ObjectAttributes { pathname: path.as_ptr() as u64, bpf_fd: object.as_raw_fd() as u32, file_flags: 0 };
    bpf(BPF_OBJ_PIN, &mut attributes).map(drop)
}

/// Opens a pin.
pub(super) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let mut attributes = ObjectAttributes { pathname: path.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    bpf(BPF_OBJ_GET, &mut attributes).map(owned)
}

/// Runs an XDP program once on a frame: its verdict, and the frame as it left it.
pub(super) fn run(program: BorrowedFd<'_>, frame: &[u8]) -> io::Result<(u32, Vec<u8>)> {
    #[repr(C)]
    struct Attributes {
        prog_fd: u32,
        retval: u32,
        data_size_in: u32,
        data_size_out: u32,
        data_in: u64,
        data_out: u64,
        repeat: u32,
        duration: u32,
        ctx_size_in: u32,
        ctx_size_out: u32,
        ctx_in: u64,
        ctx_out: u64,
    }
    // Room for what the program may append.
    let mut out = vec![0; frame.len() + 256];
    let mut attributes = Attributes {
        prog_fd: program.as_raw_fd() as u32,
        retval: 0,
        data_size_in: frame.len() as u32,
        data_size_out: out.len() as u32,
        data_in: frame.as_ptr() as u64,
        data_out: out.as_mut_ptr() as u64,
        repeat: 1,
        duration: 0,
        ctx_size_in: 0,
        ctx_size_out: 0,
        ctx_in: 0,
        ctx_out: 0,
    };
    bpf(BPF_PROG_TEST_RUN, &mut attributes)?;
    out.truncate(attributes.data_size_out as usize);
    Ok((attributes.retval, out))
}

/// Waits until every program run that began before has ended: XDP programs run within an RCU read-side critical section, and
/// this membarrier(2) command waits for one of RCU's grace periods.
pub(super) fn wait_for_running_programs() -> io::Result<()> {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: the call takes no pointers.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The values of an array map, mapped into memory. Entries are `stride` octets apart: the value's size, rounded up to 8.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory is the kernel's and shared anyway; all accesses through `cell_*` are atomic.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `entries` values of `value_size` octets of an array map made with `BPF_F_MMAPABLE`.
    pub fn new(map: BorrowedFd<'_>, entries: usize, value_size: usize) -> io::Result<Self> {
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?.unwrap_or(4096) as usize;
        let length = (entries * value_size.next_multiple_of(8)).next_multiple_of(page);
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, length })
    }

    /// The 64-bit word at octet `at`.
    ///
    /// # Panics
    ///
    /// If it is not aligned or not within the mapping; all callers pass offsets of fields of entries that exist.
    pub fn cell_u64(&self, at: usize) -> &std::sync::atomic::AtomicU64 {
        assert!(at.is_multiple_of(8) && at + 8 <= self.length, "offset outside of the map");
        // SAFETY: aligned and within the mapping, checked just now; mapped as long as `self` lives; other writers (the kernel's
        // map updates, the BPF program) write whole words, and every access here is atomic.
        unsafe { std::sync::atomic::AtomicU64::from_ptr(self.start.as_ptr().add(at).cast()) }
    }

    /// The 32-bit word at octet `at`. Panics as [`Mapping::cell_u64`].
    pub fn cell_u32(&self, at: usize) -> &std::sync::atomic::AtomicU32 {
        assert!(at.is_multiple_of(4) && at + 4 <= self.length, "offset outside of the map");
        // SAFETY: as in `cell_u64`.
        unsafe { std::sync::atomic::AtomicU32::from_ptr(self.start.as_ptr().add(at).cast()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and references into it end with it. The result is of no use: the range is
        // the one that mmap returned.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}
