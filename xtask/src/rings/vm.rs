//! The ring `vm`: test binaries in a virtual machine with another kernel, Debian's of the previous release, which also has SCTP.
//!
//! ```text
//!  Debian's kernel package ──► vmlinuz, modules ──┐
//!  test binaries, `anycast`, RSPLIB's programs ───┼──► initramfs ──► QEMU ──serial console──► counted as of any other ring
//!  `anycast-lab vm-init`, the first process ──────┘
//! ```
//!
//! Nothing is installed of the kernel: its package is unpacked below `target/vm`. The guest has no network but its loopback, and no disk.

mod console;
mod initramfs;
mod kernel;
mod machine;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};

use self::{console::Console, initramfs::Initramfs, kernel::Kernel};
use super::{
    stream,
    summary::Outcome,
    targets::{Target, Targets},
};
use crate::{
    process,
    workspace::{self, Profile},
};

/// Modules that tests need; those that they need come along.
const MODULES: [&str; 1] = ["sctp"];

/// Programs of RSPLIB that tests start.
const RSPLIB: [&str; 4] = ["rspregistrar", "rspserver", "rspterminal", "hsdump"];

/// Cases of the ring `packet` that are about many frames, in a millisecond or in all: simulated processors take too few.
const MANY_FRAMES: [&str; 2] = [
    "answers_carry_the_right_checksum_for_every_sum",
    "events::a_flood_of_solicitations_costs_one_event_of_each_kind_and_service_in_an_interval",
];

/// Runs the targets named `vm…`, and those of the ring `packet` that test the program as it was built.
pub fn run(targets: &Targets, limit: Duration, case: Option<&str>) -> Result<Outcome> {
    let kernel = Kernel::fetch(&workspace::target().join("vm"))?;
    let targets: Vec<&Target> = targets.in_guest().collect();
    let image = workspace::target().join("vm").join("initramfs");
    std::fs::write(&image, initramfs(&kernel, &targets, case)?.finish())
        .with_context(|| format!("write {}", image.display()))?;

    let accelerator = machine::accelerator(&kernel)?;
    println!("\n--- vm: Linux {} in QEMU, accelerated by {accelerator} ---", kernel.release);
    let mut console = Console::default();
    let mut command = machine::command(&kernel, accelerator, Some(&image));
    let ended = stream::lines(&mut command, limit, |line| console.line(line))?;
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    Ok(console.into_outcome(&names, &ended))
}

/// All that the guest has.
fn initramfs(kernel: &Kernel, targets: &[&Target], case: Option<&str>) -> Result<Initramfs> {
    let mut files = Initramfs::new();
    let mut plan = String::new();
    for module in kernel.modules(&MODULES)? {
        let place = format!("/lib/modules/{}.ko", module.name);
        files.file(&place, &module.octets, false);
        plan += &format!("module\t{place}\n");
    }
    files.program(&Profile::Debug.binary("anycast-lab"), "/init")?;
    files.program(&Profile::Debug.binary("anycast"), "/bin/anycast")?;
    for name in RSPLIB {
        let path = process::find(name).with_context(|| format!("find {name}: `cargo xtask setup vm`"))?;
        files.program(&path, &format!("/bin/{name}"))?;
    }
    for target in targets {
        let file = target.executable.file_name().context("a test binary has a name")?;
        let place = Path::new("/tests").join(file);
        let place = place.to_str().context("a test binary's name is text")?;
        files.program(&target.executable, place)?;
        // Ports are shared by all cases, and the processors are slow.
        let mut arguments = vec!["--test-threads", "1"];
        arguments.extend(MANY_FRAMES.iter().flat_map(|case| ["--skip", case]));
        arguments.extend(case);
        let arguments = arguments.join("\t");
        plan += &format!("test\t{}\t{place}\t{arguments}\n", target.name);
    }
    files.file("/plan", plan.as_bytes(), false);
    files.file("/etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n", false);
    Ok(files)
}
