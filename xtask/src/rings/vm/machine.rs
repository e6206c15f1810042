//! QEMU.

use std::{fs::File, path::Path, process::Command, time::Duration};

use anyhow::Result;

use super::kernel::Kernel;
use crate::{process, rings::stream};

const QEMU: &str = "qemu-system-x86_64";
const MEMORY: &str = "2048";
const PROCESSORS: &str = "2";

/// How long a kernel without a file system may take to say that it has none, where the processor helps. It takes a second.
const TRIAL: Duration = Duration::from_secs(15);

/// What the kernel says then.
const NO_ROOT: &str = "Unable to mount root fs";

/// How the guest's instructions are run: by the processor if that works, else in software. That a device is there does not say that it
/// works, as on machines that are themselves virtual.
pub fn accelerator(kernel: &Kernel) -> Result<&'static str> {
    if File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return Ok("tcg");
    }
    let mut works = false;
    let mut command = command(kernel, "kvm", None);
    command.stderr(std::process::Stdio::null());
    stream::quiet_lines(&mut command, TRIAL, |line| works |= line.contains(NO_ROOT))?;
    Ok(if works { "kvm" } else { "tcg" })
}

/// Boots the kernel; the guest's console is the command's standard output, and its end is the command's.
pub fn command(kernel: &Kernel, accelerator: &str, initramfs: Option<&Path>) -> Command {
    let mut command = process::command(QEMU);
    command.args(["-accel", accelerator, "-machine", "q35", "-cpu", "max"]);
    command.args(["-m", MEMORY, "-smp", PROCESSORS]);
    // No disk, no network, no display: what a guest has not cannot fail.
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]);
    command.arg("-kernel").arg(&kernel.image);
    if let Some(initramfs) = initramfs {
        command.arg("-initrd").arg(initramfs);
    }
    // A panic ends the machine at once; of the kernel's other lines only errors disturb those of the tests.
    let line = "console=ttyS0 panic=-1 oops=panic loglevel=4 -- vm-init";
    command.arg("-append").arg(line);
    command
}
