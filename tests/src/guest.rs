//! The init of the `vm` ring's guest: mounts what tests need, loads modules, runs test binaries and says on the console what came of them.
//!
//! `cargo xtask test vm` packs the guest's file system and reads the console. Both agree on `/plan`, a file with a line for each thing
//! to do, its words parted by tabs:
//!
//! ```text
//! module  PATH                      load a kernel module
//! test    NAME  PATH  ARGUMENTS…    run a test binary
//! ```
//!
//! and on what is printed beside the tests' own lines: `@vm begin NAME`, `@vm skipped CASE  REASON`, `@vm end STATUS` after each binary
//! with the status as wait(2) gives it, `@vm error TEXT`, and `@vm done` when all was run.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use nix::mount::{MsFlags, mount};

/// What there is to do.
const PLAN: &str = "/plan";

/// An address of the guest that is not the loopback address: RSPLIB's elements do not register that.
pub const GUEST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 53, 0, 1);

/// Where cases write that they were skipped.
const SKIPPED: &str = "/tmp/skipped";

/// Random frames of the fast path's conformance: processors that are simulated are slow.
const FRAMES: &str = "1000";

/// What tests take for granted: source, place, type.
const MOUNTS: [(&str, &str, &str); 7] = [
    ("proc", "/proc", "proc"),
    ("sysfs", "/sys", "sysfs"),
    ("devtmpfs", "/dev", "devtmpfs"),
    ("bpf", "/sys/fs/bpf", "bpf"),
    ("cgroup2", "/sys/fs/cgroup", "cgroup2"),
    ("tmpfs", "/tmp", "tmpfs"),
    ("tmpfs", "/run", "tmpfs"),
];

/// Runs as the guest's first process, and ends with the guest.
///
/// # Errors
/// This is not the first process, or the machine cannot be stopped.
pub fn run() -> Result<()> {
    // What follows would turn any other machine upside down.
    if std::process::id() != 1 {
        bail!("this is the first process of the test's guest alone");
    }
    if let Err(error) = work() {
        println!("@vm error {error:#}");
    }
    // The console has all of it before the machine goes.
    io::stdout().flush()?;
    // SAFETY: the call takes no argument and touches no memory.
    unsafe { libc::sync() };
    // SAFETY: reboot(2) takes an integer; QEMU runs with -no-reboot, so that a restart is the end.
    unsafe { libc::reboot(libc::LINUX_REBOOT_CMD_RESTART) };
    Err(io::Error::last_os_error()).context("stop the guest")
}

fn work() -> Result<()> {
    for (source, place, kind) in MOUNTS {
        fs::create_dir_all(place).with_context(|| format!("make {place}"))?;
        mount(Some(source), place, Some(kind), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mount {kind} on {place}"))?;
    }
    raise_loopback().context("bring the loopback interface up")?;
    let plan = fs::read_to_string(PLAN).with_context(|| format!("read {PLAN}"))?;
    for line in plan.lines() {
        let words: Vec<&str> = line.split('\t').collect();
        match words[..] {
            ["module", path] => load_module(path)?,
            ["test", name, path, ref arguments @ ..] => test(name, path, arguments)?,
            _ => bail!("{PLAN} says {line:?}, which is nothing to do"),
        }
    }
    println!("@vm done");
    Ok(())
}

fn load_module(path: &str) -> Result<()> {
    let file = File::open(path).with_context(|| format!("open {path}"))?;
    let parameters = CString::default();
    // SAFETY: finit_module(2) takes an open descriptor, a string that outlives the call, and flags.
    let result = unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), parameters.as_ptr(), 0) };
    if result != 0 {
        return Err(io::Error::last_os_error()).with_context(|| format!("load the module {path}"));
    }
    Ok(())
}

fn test(name: &str, path: &str, arguments: &[&str]) -> Result<()> {
    fs::write(SKIPPED, "").with_context(|| format!("create {SKIPPED}"))?;
    println!("@vm begin {name}");
    let status = Command::new(path)
        .args(arguments)
        .current_dir("/tmp")
        .stdin(Stdio::null())
        // A failing case says what it has to say among the other lines.
        .stderr(io::stdout())
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/tmp")
        .env("ANYCAST_SKIPPED", SKIPPED)
        .env("ANYCAST_FRAMES", FRAMES)
        .env("ANYCAST_BIN", "/bin/anycast")
        .env("ANYCAST_LAB_BIN", Path::new("/init"))
        .status()
        .with_context(|| format!("start {path}"))?;
    for line in fs::read_to_string(SKIPPED)?.lines() {
        println!("@vm skipped {line}");
    }
    println!("@vm end {}", status.into_raw());
    Ok(())
}

/// Gives `lo` a further address and brings it up, as `ip` does.
fn raise_loopback() -> io::Result<()> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    let mut request = request_of("lo");
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads a struct ifreq, which `request` is and which outlives the call.
    let up = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    if up != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut request = request_of("lo:1");
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(GUEST_ADDRESS.octets()) },
        sin_zero: [0; 8],
    };
    // SAFETY: both are structures of 16 octets; one is the view of the other that the address family says.
    request.ifr_ifru.ifru_addr = unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(address) };
    // SAFETY: SIOCSIFADDR reads a struct ifreq, as above.
    let set = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR as _, &raw const request) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn request_of(interface: &str) -> libc::ifreq {
    // SAFETY: all zeros is a valid struct ifreq, of integers and a union of such.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    request
}
