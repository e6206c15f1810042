//! Which Rust toolchain builds the BPF programs.
//!
//! `core` has to be compiled for the BPF target, so the toolchain needs its library source, and the linker has to read
//! the bitcode that the compiler writes, so its LLVM must not be older than the compiler's.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::process;

/// The version of `bpf-linker` that is known to work with what is here.
pub const BPF_LINKER_VERSION: &str = "0.13.0";

/// The LLVM that setup builds `bpf-linker` with: Debian's newest.
pub const LLVM_MAJOR: u32 = 22;

/// A toolchain that can build for the BPF target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BpfToolchain {
    /// rustup's nightly with the component `rust-src`.
    Nightly {
        /// `rustc`'s release, such as 1.97.0-nightly.
        release: String,
        /// The major version of its LLVM.
        llvm: u32,
    },
    /// Debian's packages `rustc-web`, `cargo-web` and `rust-web-src`, called by their own paths: rustup's proxies in
    /// front of them on the search path are not asked.
    Debian {
        /// `rustc`'s release, such as 1.96.0.
        release: String,
        /// The major version of its LLVM.
        llvm: u32,
    },
}

const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CLIPPY: &str = "/usr/bin/cargo-clippy";

impl BpfToolchain {
    /// The toolchain to build with: nightly if it has its source and an LLVM that the pinned linker reads, else
    /// Debian's; `None` if there is neither.
    pub fn detect() -> Option<Self> {
        choose(nightly(), debian(), process::find("apt-get").is_some())
    }

    /// A cargo of this toolchain, cut off from the toolchain that runs this program.
    pub fn cargo(&self) -> Command {
        match self {
            Self::Nightly { .. } => {
                self.prepared(process::command("rustup").args(["run", "nightly", "cargo"]))
            }
            Self::Debian { .. } => self.prepared(&mut process::command(DEBIAN_CARGO)),
        }
    }

    /// This toolchain's `cargo clippy`, if it has one.
    pub fn clippy(&self) -> Option<Command> {
        match self {
            Self::Nightly { .. } => {
                let mut clippy = self.cargo();
                clippy.arg("clippy");
                let mut version = self.cargo();
                process::output(version.args(["clippy", "--version"])).ok()?;
                Some(clippy)
            }
            // Called by its path: `cargo clippy` would find rustup's proxy first.
            Self::Debian { .. } => Path::new(DEBIAN_CLIPPY).exists().then(|| {
                let mut command = self.prepared(process::command(DEBIAN_CLIPPY).arg("clippy"));
                command.env("CARGO", DEBIAN_CARGO);
                command
            }),
        }
    }

    fn prepared(&self, command: &mut Command) -> Command {
        let mut prepared = process::command(command.get_program());
        prepared.args(command.get_args());
        process::without_cargo_variables(&mut prepared);
        // `-Z build-std` is unstable; Debian's compiler is a stable one.
        prepared.env("RUSTC_BOOTSTRAP", "1");
        if let Self::Debian { .. } = self {
            prepared.env("RUSTC", DEBIAN_RUSTC);
        }
        prepared
    }
}

impl fmt::Display for BpfToolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nightly { release, llvm } => write!(f, "rustup nightly {release} (LLVM {llvm})"),
            Self::Debian { release, llvm } => write!(f, "Debian rustc-web {release} (LLVM {llvm})"),
        }
    }
}

/// A `bpf-linker` of the pinned version.
pub fn bpf_linker() -> Option<PathBuf> {
    let own = own_tools().join("bin/bpf-linker");
    [Some(own), process::find("bpf-linker")]
        .into_iter()
        .flatten()
        .find(|path| version_of(path).is_some_and(|version| version == BPF_LINKER_VERSION))
}

/// Whether some other version of `bpf-linker` is installed, which setup must not replace.
pub fn other_bpf_linker() -> Option<(PathBuf, String)> {
    let path = process::find("bpf-linker")?;
    let version = version_of(&path)?;
    (version != BPF_LINKER_VERSION).then_some((path, version))
}

/// Where setup installs a tool of which the user already has another version.
pub fn own_tools() -> PathBuf {
    crate::workspace::root().join("target").join("tools")
}

fn version_of(bpf_linker: &Path) -> Option<String> {
    if !bpf_linker.exists() {
        return None;
    }
    let output = process::output(process::command(bpf_linker).arg("--version")).ok()?;
    output.split_whitespace().nth(1).map(str::to_owned)
}

fn choose(
    nightly: Option<BpfToolchain>,
    debian: Option<BpfToolchain>,
    debian_installable: bool,
) -> Option<BpfToolchain> {
    match nightly {
        Some(BpfToolchain::Nightly { llvm, .. }) if llvm <= LLVM_MAJOR => nightly,
        // Without apt the user brought the linker too, and may have built it with a newer LLVM than setup would.
        Some(_) if debian.is_none() && !debian_installable => nightly,
        _ => debian,
    }
}

fn nightly() -> Option<BpfToolchain> {
    process::find("rustup")?;
    let (release, llvm, sysroot) = describe(|| {
        let mut rustc = process::command("rustup");
        rustc.args(["run", "nightly", "rustc"]);
        rustc
    })?;
    has_library_source(&sysroot).then_some(BpfToolchain::Nightly { release, llvm })
}

fn debian() -> Option<BpfToolchain> {
    if !Path::new(DEBIAN_RUSTC).exists() || !Path::new(DEBIAN_CARGO).exists() {
        return None;
    }
    let (release, llvm, sysroot) = describe(|| process::command(DEBIAN_RUSTC))?;
    // An older Debian compiler (1.63 is Debian 12's default) lacks what the workspace needs.
    (llvm == LLVM_MAJOR && has_library_source(&sysroot)).then_some(BpfToolchain::Debian { release, llvm })
}

/// Asks a compiler for its release, the major version of its LLVM and its sysroot; `None` if it does not run.
fn describe(rustc: impl Fn() -> Command) -> Option<(String, u32, PathBuf)> {
    let ask = |arguments: &[&str]| {
        process::output(process::without_cargo_variables(&mut rustc()).args(arguments)).ok()
    };
    let (release, llvm) = parse_version(&ask(&["--version", "--verbose"])?)?;
    let sysroot = PathBuf::from(ask(&["--print", "sysroot"])?.trim_end());
    Some((release, llvm, sysroot))
}

fn parse_version(verbose: &str) -> Option<(String, u32)> {
    let value = |key: &str| verbose.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let llvm = value("LLVM version:")?.split('.').next()?.parse().ok()?;
    Some((value("release:")?.to_owned(), llvm))
}

fn has_library_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nightly(llvm: u32) -> Option<BpfToolchain> {
        Some(BpfToolchain::Nightly { release: "1.97.0-nightly".into(), llvm })
    }

    fn debian() -> Option<BpfToolchain> {
        Some(BpfToolchain::Debian { release: "1.96.0".into(), llvm: 22 })
    }

    #[test]
    fn nightly_is_preferred_where_the_linker_reads_its_bitcode() {
        assert_eq!(choose(nightly(22), debian(), true), nightly(22));
        assert_eq!(choose(nightly(22), None, true), nightly(22));
        assert_eq!(choose(nightly(23), debian(), true), debian());
        assert_eq!(choose(nightly(23), None, true), None, "setup installs Debian's set");
        assert_eq!(choose(nightly(23), None, false), nightly(23), "no apt: the user's own linker");
        assert_eq!(choose(None, debian(), true), debian());
        assert_eq!(choose(None, None, true), None);
    }

    #[test]
    fn the_version_is_read_from_the_verbose_output() {
        let verbose = "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n\
                       release: 1.96.0\nLLVM version: 22.1.8\n";
        assert_eq!(parse_version(verbose), Some(("1.96.0".into(), 22)));
        assert_eq!(parse_version("rustc 1.96.0\n"), None);
    }
}
