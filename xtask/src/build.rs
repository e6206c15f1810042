//! Building: the BPF objects, then the binaries that embed them.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    process,
    toolchain::{self, BpfToolchain},
    workspace::{self, Profile},
};

/// The target triple of the BPF programs.
pub const BPF_TARGET: &str =
    if cfg!(target_endian = "little") { "bpfel-unknown-none" } else { "bpfeb-unknown-none" };

/// The objects that the package `anycast-ebpf` is built into.
const BPF_OBJECTS: [&str; 2] = ["anycast-fast-path", "anycast-lab-programs"];

/// What `cargo xtask build` takes.
#[derive(Args)]
pub struct BuildArguments {
    /// Build the binaries with the release profile (the BPF objects always are)
    #[arg(long)]
    release: bool,
    /// Build only the BPF objects, from another copy of this workspace
    #[arg(long, value_name = "DIR", requires = "out")]
    source: Option<PathBuf>,
    /// Put the BPF objects here, and build no binaries
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Cargo's target directory for --out; builds that share one compile `core` once
    #[arg(long, value_name = "DIR", requires = "out")]
    target_dir: Option<PathBuf>,
}

/// Runs `cargo xtask build`.
pub fn build(arguments: &BuildArguments) -> Result<()> {
    let profile = if arguments.release { Profile::Release } else { Profile::Debug };
    let Some(out) = &arguments.out else {
        return all(profile);
    };
    let source = arguments.source.clone().unwrap_or_else(workspace::root);
    let target = arguments
        .target_dir
        .clone()
        .unwrap_or_else(|| workspace::root().join("target").join("bpf-build-elsewhere"));
    let here = env::current_dir().context("find the current directory")?;
    bpf_objects(&here.join(source), &here.join(target), &here.join(out))
}

/// Builds the BPF objects and the two binaries that embed them.
pub fn all(profile: Profile) -> Result<()> {
    bpf_objects(&workspace::root(), &bpf_target_directory(), &workspace::bpf_objects())?;
    binaries(profile)
}

/// Builds the BPF objects of the workspace at `source` and puts those that changed into `out`.
fn bpf_objects(source: &Path, target: &Path, out: &Path) -> Result<()> {
    let (Some(toolchain), Some(linker)) = (BpfToolchain::detect(), toolchain::bpf_linker()) else {
        bail!(
            "the BPF toolchain is not complete: `cargo xtask setup` installs it, `… setup --check` says what lacks"
        );
    };
    println!(
        "BPF objects: {toolchain}, bpf-linker {} at {}",
        toolchain::BPF_LINKER_VERSION,
        linker.display()
    );
    let mut cargo = toolchain.cargo();
    cargo
        .current_dir(source)
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(&linker))
        .args(["build", "--release", "--package", "anycast-ebpf", "-Z", "build-std=core"])
        .args(["--target", BPF_TARGET, "--target-dir"])
        .arg(target);
    process::run(&mut cargo).context("build the BPF objects")?;
    for object in BPF_OBJECTS {
        let built = target.join(BPF_TARGET).join("release").join(object);
        let bytes = fs::read(&built).with_context(|| format!("read the built object {}", built.display()))?;
        let path = out.join(object);
        let changed = workspace::write_if_changed(&path, &bytes)?;
        println!(
            "  {}: {} bytes{}",
            path.strip_prefix(workspace::root()).unwrap_or(&path).display(),
            bytes.len(),
            if changed { "" } else { ", unchanged" }
        );
    }
    Ok(())
}

/// Cargo's target directory for the BPF objects: `core` is compiled into it, once.
pub fn bpf_target_directory() -> PathBuf {
    workspace::root().join("target").join("bpf-build")
}

/// Compiler flags of the BPF target: its linker, and debug information that the linker turns into BTF.
pub fn rust_flags(linker: &Path) -> String {
    let linker = format!("-Clinker={}", linker.display());
    [&linker, "-Cdebuginfo=2", "-Clink-arg=--btf"].join("\x1f")
}

fn binaries(profile: Profile) -> Result<()> {
    let mut cargo = process::cargo();
    cargo.current_dir(workspace::root()).args(["build"]);
    cargo.args(["--package", "anycast-user", "--package", "anycast-tests", "--bins"]);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    process::run(&mut cargo).context("build the binaries")
}
