//! A wire of two ends for measuring: a server's interface, and a peer that makes frames in the kernel and counts what comes
//! back.
//!
//! ```text
//!  peer: generator (BPF_PROG_TEST_RUN, live frames) ── XDP_TX ──► acmp ═══ veth ═══ acms ── what is measured
//!        drop_and_count on acmp ◄──────────────────────────────── the answers ◄───────────┘
//! ```
//!
//! The generator and the far end run on the core of the thread that calls [`Wire::flood`]: it makes a batch, and the
//! answers are made and counted before it makes the next. So a rate is what one core does in all.

use std::net::Ipv6Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use anycast_common::lab::{FRAME_MAX, Frame, Received};
use anyhow::{Context as _, Result, bail};
use aya::Ebpf;
use aya::maps::{Array, PerCpuArray};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp, XdpMode};

use crate::lab::namespace::veth;
use crate::lab::programs::OBJECT;
use crate::lab::{Injector, Namespace, wait_until};

/// The server's interface.
pub const SERVER: &str = "acms";
/// The peer's interface.
pub const PEER: &str = "acmp";
/// MAC address of the server's interface.
pub const SERVER_MAC: [u8; 6] = [0x02, 0xac, 0, 0, 0, 0x01];
/// MAC address of the peer's interface.
pub const PEER_MAC: [u8; 6] = [0x02, 0xac, 0, 0, 0, 0x02];
/// The peer's address, the source of its solicitations: a global one, since ndppd does not answer link-local ones.
pub const PEER_ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
/// The server's own address.
pub const SERVER_ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// The server's link-local address, from which it advertises.
pub const SERVER_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// Frames the kernel makes in one go.
const BATCH: u32 = 64;

/// The two ends.
pub struct Wire {
    generator: Ebpf,
    /// The server's end.
    pub server: Namespace,
    /// The peer's end.
    pub peer: Namespace,
    peer_index: u32,
}

/// What a flood was, and what came back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flood {
    /// Frames made.
    pub sent: u64,
    /// Frames that came back.
    pub returned: u64,
    /// Neighbor Advertisements among them.
    pub advertisements: u64,
    /// How long it took.
    pub seconds: f64,
}

impl Flood {
    fn between(before: Received, after: Received, seconds: f64) -> Self {
        Self {
            sent: after.sent - before.sent,
            returned: after.dropped - before.dropped,
            advertisements: after.advertisements - before.advertisements,
            seconds,
        }
    }

    /// Advertisements a second.
    pub fn answered_per_second(&self) -> f64 {
        self.advertisements as f64 / self.seconds
    }

    /// Frames back a second.
    pub fn returned_per_second(&self) -> f64 {
        self.returned as f64 / self.seconds
    }

    /// Frames made a second.
    pub fn sent_per_second(&self) -> f64 {
        self.sent as f64 / self.seconds
    }
}

impl Wire {
    /// Builds it, with `counter` on the peer's end: `drop_and_count`, or `drop_advertisements` where other traffic is to arrive
    /// there. Nothing is attached to the server's end.
    ///
    /// # Errors
    /// Namespaces or programs cannot be had.
    pub fn new(counter: &str) -> Result<Self> {
        let (server, peer) = (Namespace::new()?, Namespace::new()?);
        veth(&server, SERVER, &peer, PEER)?;
        for (namespace, interface, mac, address) in
            [(&server, SERVER, SERVER_MAC, SERVER_ADDRESS), (&peer, PEER, PEER_MAC, PEER_ADDRESS)]
        {
            namespace.sysctl(&format!("net/ipv6/conf/{interface}/addr_gen_mode"), "1")?;
            let mac = mac.map(|octet| format!("{octet:02x}")).join(":");
            namespace.ip(&["link", "set", "dev", interface, "address", &mac, "up"])?;
            namespace.ip(&["addr", "add", &format!("{address}/64"), "dev", interface, "nodad"])?;
        }
        server.ip(&["addr", "add", &format!("{SERVER_LINK_LOCAL}/64"), "dev", SERVER, "nodad"])?;
        // Each knows the other for good: the peer's counter drops whatever would resolve it.
        for (namespace, interface, address, mac) in
            [(&server, SERVER, PEER_ADDRESS, PEER_MAC), (&peer, PEER, SERVER_ADDRESS, SERVER_MAC)]
        {
            let (address, mac) = (address.to_string(), mac.map(|octet| format!("{octet:02x}")).join(":"));
            namespace.ip(&[
                "neigh",
                "replace",
                &address,
                "lladdr",
                &mac,
                "dev",
                interface,
                "nud",
                "permanent",
            ])?;
        }
        let mut generator =
            Ebpf::load(OBJECT).context("load the lab's BPF programs (run `cargo xtask build`)")?;
        for name in ["generator", counter] {
            program(&mut generator, name)?.load().with_context(|| format!("load the program {name}"))?;
        }
        let peer_index = peer.interface_index(PEER).context("the peer's interface has gone")?;
        let counter = program(&mut generator, counter)?;
        peer.run(|| counter.attach(PEER, XdpMode::Driver))
            .context("attach the counter to the peer's interface")?;
        Ok(Self { generator, server, peer, peer_index })
    }

    /// What the generator is to send from now on.
    ///
    /// # Errors
    /// The frame is longer than [`FRAME_MAX`].
    pub fn load(&mut self, frame: &[u8]) -> Result<()> {
        let mut octets = [0; FRAME_MAX];
        octets
            .get_mut(..frame.len())
            .context("the frame is too long for the generator")?
            .copy_from_slice(frame);
        let mut map: Array<_, Frame> =
            Array::try_from(self.generator.map_mut("FRAME").context("no map FRAME in the lab's object")?)?;
        map.set(0, Frame { length: u32::try_from(frame.len())?, pad: 0, octets }, 0)?;
        Ok(())
    }

    /// Sends what is loaded as fast as it goes for about `duration`, on the core of this thread.
    ///
    /// # Errors
    /// The kernel refuses to run the generator.
    pub fn flood(&self, duration: Duration) -> Result<Flood> {
        // The thread in the namespace inherits the core. A first, short run tells how many frames fill the time: each call
        // costs the kernel a grace period to take down, so that what is measured must be one call.
        self.peer.run(|| {
            let (frames, seconds) = (64 * 1024, self.make(64 * 1024)?);
            let rate = f64::from(frames) / seconds;
            let frames = (rate * duration.as_secs_f64()).clamp(64.0 * 1024.0, 1e9) as u32;
            let before = self.received()?;
            let seconds = self.make(frames)?;
            Ok(Flood::between(before, self.received()?, seconds))
        })
    }

    /// Sends `frame` `rate` times a second for `duration` through a packet socket; far slower than [`Wire::flood`], but evenly.
    ///
    /// # Errors
    /// The socket refuses.
    pub fn trickle(&self, frame: &[u8], duration: Duration, rate: f64) -> Result<Flood> {
        let injector = Injector::new(&self.peer, PEER)?;
        let before = self.received()?;
        let started = Instant::now();
        let mut sent = 0_u64;
        while started.elapsed() < duration {
            if sent as f64 > rate * started.elapsed().as_secs_f64() {
                // The wait is shorter than any sleep is exact.
                std::hint::spin_loop();
                continue;
            }
            injector.send(frame)?;
            sent += 1;
        }
        let seconds = started.elapsed().as_secs_f64();
        // What was answered late is answered: a process has a queue.
        let mut after = self.received()?;
        let _ = wait_until("the last answers", Duration::from_millis(200), || {
            after = self.received().unwrap_or(after);
            after.advertisements - before.advertisements >= sent
        });
        Ok(Flood { sent, ..Flood::between(before, after, seconds) })
    }

    /// What the programs have counted so far, over all cores.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn received(&self) -> Result<Received> {
        let map: PerCpuArray<_, Received> = PerCpuArray::try_from(
            self.generator.map("RECEIVED").context("no map RECEIVED in the lab's object")?,
        )?;
        let mut sum = Received::default();
        for each in map.get(&0, 0)?.iter() {
            sum.dropped += each.dropped;
            sum.advertisements += each.advertisements;
            sum.sent += each.sent;
        }
        Ok(sum)
    }

    /// Makes frames; returns how long that took. To be called in the peer's namespace, where the kernel looks for the interface.
    fn make(&self, frames: u32) -> Result<f64> {
        let map: Array<_, Frame> =
            Array::try_from(self.generator.map("FRAME").context("no map FRAME in the lab's object")?)?;
        let frame = map.get(&0, 0)?;
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context: [u32; 6] = [0, frame.length, 0, self.peer_index, 0, 0];
        let context: Vec<u8> = context.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let input = &frame.octets[..frame.length as usize];
        let program: &Xdp =
            self.generator.program("generator").context("no program generator")?.try_into()?;
        let started = Instant::now();
        program
            .test_run(TestRunOptions {
                data_in: Some(input),
                ctx_in: Some(&context),
                repeat: frames,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..Default::default()
            })
            .context("run the generator")?;
        Ok(started.elapsed().as_secs_f64())
    }
}

fn program<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    Ok(object
        .program_mut(name)
        .with_context(|| format!("no program {name} in the lab's object"))?
        .try_into()?)
}

/// Pins this thread to a core.
///
/// # Errors
/// There is no such core.
pub fn pin(core: usize) -> Result<()> {
    let mut set = nix::sched::CpuSet::new();
    set.set(core)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set)
        .with_context(|| format!("pin to core {core}"))
}

/// Lets threads of their own serve the receive queues of an interface, and binds them to a core. To be called when a program is
/// attached, for only then has a veth such queues.
///
/// # Errors
/// The kernel has no such threads (before 5.12), or they do not appear.
pub fn bind_queues(namespace: &Namespace, interface: &str, core: usize) -> Result<()> {
    let output = Command::new("ip")
        .args(["netns", "exec", namespace.name(), "sh", "-c"])
        .arg(format!("echo 1 > /sys/class/net/{interface}/threaded"))
        .output()
        .context("run ip netns exec")?;
    if !output.status.success() {
        bail!("serve {interface} by threads: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let core = {
        let mut set = nix::sched::CpuSet::new();
        set.set(core)?;
        set
    };
    let name = format!("napi/{interface}-");
    let mut bound = 0;
    for entry in std::fs::read_dir("/proc").context("list the processes")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may be gone by now.
        if std::fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.starts_with(&name)) {
            nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(pid), &core)
                .with_context(|| format!("bind the thread {pid} of {interface}"))?;
            bound += 1;
        }
    }
    if bound == 0 {
        bail!("no thread serves {interface}");
    }
    Ok(())
}

/// Attaches a program of the lab to the server's interface while the result lives.
///
/// # Errors
/// The kernel refuses.
pub fn attach(wire: &Wire, name: &str) -> Result<Ebpf> {
    let mut object = Ebpf::load(OBJECT).context("load the lab's BPF programs")?;
    let program = program(&mut object, name)?;
    program.load().with_context(|| format!("load the program {name}"))?;
    wire.server.run(|| program.attach(SERVER, XdpMode::Driver)).with_context(|| format!("attach {name}"))?;
    Ok(object)
}
