//! What each command needs on the machine, in one table.

use std::path::Path;

use crate::{
    process,
    toolchain::{self, BPF_LINKER_VERSION, BpfToolchain},
};

/// The version of `cargo-deny` that setup installs where there is none.
pub const CARGO_DENY_VERSION: &str = "0.20.2";

/// A thing to do that needs tools of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Job {
    /// Build the BPF objects and the binaries
    Build,
    /// Run the farm in network namespaces
    Demo,
    /// Check formatting, lints, documentation, licences and sources
    Lint,
    /// Run the test rings that need the kernel
    Test,
    /// Run the tests that need another kernel, in a virtual machine
    Vm,
    /// Measure
    Bench,
}

impl Job {
    /// The jobs that are part of this one, itself included.
    fn parts(self) -> &'static [Self] {
        match self {
            Self::Build => &[Self::Build],
            Self::Demo => &[Self::Build, Self::Demo],
            Self::Lint => &[Self::Build, Self::Lint],
            Self::Test => &[Self::Build, Self::Demo, Self::Test],
            Self::Vm => &[Self::Build, Self::Demo, Self::Test, Self::Vm],
            Self::Bench => &[Self::Build, Self::Demo, Self::Test, Self::Bench],
        }
    }
}

/// Who provides a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Debian's packages.
    Apt,
    /// `rustup component add`, for the toolchain that runs this program.
    Rustup,
    /// `cargo install bpf-linker`, pinned, against Debian's LLVM.
    BpfLinker,
    /// `cargo install cargo-deny`, pinned.
    CargoDeny,
}

/// How to see whether a requirement is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The program is on the search path.
    Command(&'static str),
    /// The file exists.
    File(&'static str),
    /// `cargo NAME --version` works.
    CargoCommand(&'static str),
    /// A toolchain that can build for the BPF target.
    BpfToolchain,
    /// That toolchain's own clippy.
    BpfClippy,
    /// A `bpf-linker` of the pinned version.
    BpfLinker,
    /// The Debian package, needed only to build a `bpf-linker` that is not there yet.
    PackageForBpfLinker(&'static str),
}

/// One thing that has to be on the machine.
#[derive(Debug)]
pub struct Requirement {
    /// The name of the package, component or crate.
    pub name: &'static str,
    /// Who provides it.
    pub provider: Provider,
    /// How to see whether it is there.
    pub probe: Probe,
    /// The job that needs it; jobs that contain that one need it too.
    pub job: Job,
    /// What it is for.
    pub purpose: &'static str,
}

const fn apt(name: &'static str, probe: Probe, job: Job, purpose: &'static str) -> Requirement {
    Requirement { name, provider: Provider::Apt, probe, job, purpose }
}

const fn other(
    name: &'static str,
    provider: Provider,
    probe: Probe,
    job: Job,
    purpose: &'static str,
) -> Requirement {
    Requirement { name, provider, probe, job, purpose }
}

/// Everything, in the order in which it is installed.
pub const REQUIREMENTS: &[Requirement] = &[
    apt("gcc", Probe::Command("cc"), Job::Build, "links what cargo builds"),
    apt("libc6-dev", Probe::File("/usr/include/stdlib.h"), Job::Build, "the C library to link with"),
    apt("g++", Probe::PackageForBpfLinker("g++"), Job::Build, "compiles bpf-linker's binding to LLVM"),
    apt("rustc-web", Probe::BpfToolchain, Job::Build, "Rust compiler that comes with its library source"),
    apt("cargo-web", Probe::BpfToolchain, Job::Build, "cargo of that compiler"),
    apt("rust-web-src", Probe::BpfToolchain, Job::Build, "source of `core`, compiled for the BPF target"),
    apt("llvm-22-dev", Probe::PackageForBpfLinker("llvm-22-dev"), Job::Build, "LLVM, for bpf-linker"),
    apt("libpolly-22-dev", Probe::PackageForBpfLinker("libpolly-22-dev"), Job::Build, "LLVM, for bpf-linker"),
    apt("zlib1g-dev", Probe::PackageForBpfLinker("zlib1g-dev"), Job::Build, "LLVM needs it"),
    apt("libzstd-dev", Probe::PackageForBpfLinker("libzstd-dev"), Job::Build, "LLVM needs it"),
    other(
        "bpf-linker",
        Provider::BpfLinker,
        Probe::BpfLinker,
        Job::Build,
        "links BPF objects and writes BTF",
    ),
    apt("iproute2", Probe::Command("ip"), Job::Demo, "namespaces, links and neighbours of the lab"),
    apt("ethtool", Probe::Command("ethtool"), Job::Test, "the lab switches offloads"),
    apt("bpftool", Probe::Command("bpftool"), Job::Test, "the lab reads and writes maps as an operator does"),
    apt("nsd", Probe::Command("nsd"), Job::Test, "a real DNS server in the lab"),
    apt("frr", Probe::Command("vtysh"), Job::Test, "an OSPFv3 router in the lab"),
    apt("bird2", Probe::Command("birdc"), Job::Test, "another one"),
    apt("tshark", Probe::Command("tshark"), Job::Test, "an independent reader of our packets"),
    apt("iputils-ping", Probe::Command("ping"), Job::Test, "makes the lab's router resolve a neighbour"),
    apt("qemu-system-x86", Probe::Command("qemu-system-x86_64"), Job::Vm, "the virtual machine"),
    apt("rsplib-registrar", Probe::Command("rspregistrar"), Job::Vm, "RSPLIB's registrar, to talk to"),
    apt("rsplib-services", Probe::Command("rspserver"), Job::Vm, "RSPLIB's elements and users"),
    apt("rsplib-tools", Probe::Command("hsdump"), Job::Vm, "RSPLIB's other programs"),
    apt("dnsperf", Probe::Command("dnsperf"), Job::Bench, "queries at full speed"),
    apt("ndppd", Probe::Command("ndppd"), Job::Bench, "a user-space responder to compare with"),
    apt("dnsmasq-base", Probe::Command("dnsmasq"), Job::Bench, "a plain forwarder, to compare ours with"),
    apt("keepalived", Probe::Command("keepalived"), Job::Bench, "VRRP, to compare the failover with"),
    other("rustfmt", Provider::Rustup, Probe::CargoCommand("fmt"), Job::Lint, "checks the formatting"),
    other("clippy", Provider::Rustup, Probe::CargoCommand("clippy"), Job::Lint, "lints"),
    apt("rust-web-clippy", Probe::BpfClippy, Job::Lint, "lints the BPF programs as they are compiled"),
    other(
        "cargo-deny",
        Provider::CargoDeny,
        Probe::CargoCommand("deny"),
        Job::Lint,
        "licences, bans, sources",
    ),
];

/// What can be asked about a machine; a trait so that the table is tested without one.
pub trait Machine {
    /// Whether the thing that `probe` looks for is there.
    fn has(&self, probe: Probe) -> bool;
}

/// What `job` needs and `machine` has not.
pub fn missing(job: Job, machine: &dyn Machine) -> Vec<&'static Requirement> {
    REQUIREMENTS
        .iter()
        .filter(|requirement| job.parts().contains(&requirement.job) && !machine.has(requirement.probe))
        .collect()
}

/// The machine that this program runs on.
pub struct ThisMachine {
    toolchain: Option<BpfToolchain>,
    bpf_linker: bool,
}

impl ThisMachine {
    /// Looks at the machine; what several requirements share is looked up once.
    pub fn survey() -> Self {
        Self { toolchain: BpfToolchain::detect(), bpf_linker: toolchain::bpf_linker().is_some() }
    }
}

impl Machine for ThisMachine {
    fn has(&self, probe: Probe) -> bool {
        match probe {
            Probe::Command(name) => process::find(name).is_some(),
            Probe::File(path) => Path::new(path).exists(),
            Probe::CargoCommand(name) => process::output(process::cargo().args([name, "--version"])).is_ok(),
            Probe::BpfToolchain => self.toolchain.is_some(),
            // Clippy on the BPF target is only asked for where the toolchain's provider has it as a package.
            Probe::BpfClippy => match &self.toolchain {
                Some(toolchain @ BpfToolchain::Debian { .. }) => toolchain.clippy().is_some(),
                Some(BpfToolchain::Nightly { .. }) => true,
                None => false,
            },
            Probe::BpfLinker => self.bpf_linker,
            Probe::PackageForBpfLinker(name) => self.bpf_linker || is_installed(name),
        }
    }
}

/// A requirement as it is named to a person, with the version where one is pinned.
pub fn display_name(requirement: &Requirement) -> String {
    match requirement.provider {
        Provider::BpfLinker => format!("{} {BPF_LINKER_VERSION}", requirement.name),
        Provider::CargoDeny => format!("{} {CARGO_DENY_VERSION}", requirement.name),
        Provider::Apt | Provider::Rustup => requirement.name.to_owned(),
    }
}

fn is_installed(package: &str) -> bool {
    let mut query = process::command("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", package]);
    process::output(&mut query).is_ok_and(|status| status == "installed")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that has what the closure says.
    struct Fake<F: Fn(Probe) -> bool>(F);

    impl<F: Fn(Probe) -> bool> Machine for Fake<F> {
        fn has(&self, probe: Probe) -> bool {
            (self.0)(probe)
        }
    }

    fn names(job: Job, has: impl Fn(Probe) -> bool) -> Vec<&'static str> {
        missing(job, &Fake(has)).iter().map(|requirement| requirement.name).collect()
    }

    #[test]
    fn a_complete_machine_lacks_nothing_and_a_bare_one_everything() {
        assert!(names(Job::Test, |_| true).is_empty());
        let bare = names(Job::Build, |_| false);
        for name in ["gcc", "rustc-web", "llvm-22-dev", "bpf-linker"] {
            assert!(bare.contains(&name), "{name} is needed to build");
        }
    }

    #[test]
    fn each_job_needs_only_its_own_set() {
        assert!(!names(Job::Build, |_| false).contains(&"nsd"));
        assert!(!names(Job::Demo, |_| false).contains(&"cargo-deny"));
        assert!(!names(Job::Test, |_| false).contains(&"dnsperf"));
        assert!(!names(Job::Test, |_| false).contains(&"cargo-deny"));
        assert!(names(Job::Lint, |_| false).contains(&"cargo-deny"));
        assert!(names(Job::Bench, |_| false).contains(&"dnsperf"));
        assert!(names(Job::Bench, |_| false).contains(&"iproute2"));
    }

    #[test]
    fn one_missing_program_is_named_alone() {
        assert_eq!(names(Job::Test, |probe| probe != Probe::Command("nsd")), ["nsd"]);
        assert!(names(Job::Demo, |probe| probe != Probe::Command("nsd")).is_empty());
    }

    #[test]
    fn every_package_stands_in_the_table_once() {
        for (index, requirement) in REQUIREMENTS.iter().enumerate() {
            let again = REQUIREMENTS[index + 1..].iter().any(|other| other.name == requirement.name);
            assert!(!again, "{} stands twice", requirement.name);
        }
    }
}
