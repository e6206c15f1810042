//! `cargo xtask setup`: installs what is missing, or says all of it at once.

use std::{fmt::Write as _, path::Path};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    no_services::NoServices,
    process,
    requirements::{self, CARGO_DENY_VERSION, Job, Provider, Requirement, ThisMachine},
    toolchain::{self, BPF_LINKER_VERSION, BpfToolchain, LLVM_MAJOR},
};

/// What `cargo xtask setup` takes.
#[derive(Args)]
pub struct SetupArguments {
    /// Only report what is missing; exit 1 if anything is
    #[arg(long)]
    check: bool,
    /// Set up for this command alone [default: for all of them but vm]
    #[arg(value_enum)]
    job: Option<Job>,
}

/// Runs `cargo xtask setup`.
pub fn setup(arguments: &SetupArguments) -> Result<()> {
    let jobs = arguments.job.map_or_else(|| vec![Job::Lint, Job::Test, Job::Bench], |job| vec![job]);
    if arguments.check {
        let missing = missing_for(&jobs);
        if !missing.is_empty() {
            bail!("{}", report(&missing));
        }
    } else {
        install(missing_for(&jobs))?;
    }
    match BpfToolchain::detect() {
        Some(toolchain) => println!("set-up is complete; BPF objects are built with {toolchain}"),
        None => println!("set-up is complete"),
    }
    Ok(())
}

/// Sets up for `jobs`; silent if there is nothing to do.
pub fn ensure(jobs: &[Job]) -> Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    install(missing_for(jobs))
}

fn missing_for(jobs: &[Job]) -> Vec<&'static Requirement> {
    let machine = ThisMachine::survey();
    let mut missing: Vec<&'static Requirement> = Vec::new();
    for requirement in jobs.iter().flat_map(|job| requirements::missing(*job, &machine)) {
        if !missing.iter().any(|present| present.name == requirement.name) {
            missing.push(requirement);
        }
    }
    missing
}

fn install(missing: Vec<&'static Requirement>) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let packages = names(&missing, Provider::Apt);
    let components = names(&missing, Provider::Rustup);
    if !packages.is_empty() && (!process::is_root() || process::find("apt-get").is_none()) {
        bail!("{}", report(&missing));
    }
    if !components.is_empty() && process::find("rustup").is_none() {
        bail!("{}", report(&missing));
    }
    println!("setting up:");
    for requirement in &missing {
        println!("  {:24} {}", requirements::display_name(requirement), requirement.purpose);
    }
    if !packages.is_empty() {
        install_packages(&packages)?;
    }
    if !components.is_empty() {
        let mut rustup = process::command("rustup");
        process::run(rustup.args(["component", "add"]).args(&components)).with_context(|| {
            format!(
                "add {} to the Rust toolchain (a toolchain of rustup's default profile has it)",
                components.join(", ")
            )
        })?;
    }
    for requirement in &missing {
        match requirement.provider {
            Provider::BpfLinker => install_bpf_linker()?,
            Provider::CargoDeny => install_cargo_deny()?,
            Provider::Apt | Provider::Rustup => {}
        }
    }
    // Installing is not having: a package of another suite may not bring what was looked for.
    let machine = ThisMachine::survey();
    let still: Vec<_> = missing
        .into_iter()
        .filter(|requirement| !requirements::Machine::has(&machine, requirement.probe))
        .collect();
    if !still.is_empty() {
        bail!("everything was installed, and yet {}", report(&still));
    }
    Ok(())
}

fn names(missing: &[&'static Requirement], provider: Provider) -> Vec<&'static str> {
    missing
        .iter()
        .filter(|requirement| requirement.provider == provider)
        .map(|requirement| requirement.name)
        .collect()
}

fn install_packages(packages: &[&str]) -> Result<()> {
    process::run(apt_get().arg("update")).context("refresh the list of Debian packages")?;
    let unavailable = without_candidate(packages)?;
    if !unavailable.is_empty() {
        bail!(
            "no configured package source has {}; on Debian 12 they come from the suites `bookworm` and \
             `bookworm-security`, component `main` (see /etc/apt/sources.list and sources.list.d)",
            unavailable.join(", ")
        );
    }
    let services = NoServices::begin()?;
    let result = process::run(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(packages));
    services.end()?;
    result.with_context(|| format!("install the Debian packages {}", packages.join(" ")))
}

/// apt-get that asks nothing.
pub fn apt_get() -> std::process::Command {
    let mut command = process::command("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").env("APT_LISTCHANGES_FRONTEND", "none");
    // Wait for another apt rather than fail; ask nothing about configuration files.
    command.args([
        "-q",
        "-o",
        "DPkg::Lock::Timeout=300",
        "-o",
        "Dpkg::Options::=--force-confold",
        "-o",
        "Dpkg::Use-Pty=0",
    ]);
    command
}

/// Those of `packages` that apt knows no version to install of.
fn without_candidate<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    let policy =
        process::output(process::command("apt-cache").arg("policy").args(packages).env("LC_ALL", "C"))?;
    let available = with_candidate(&policy);
    Ok(packages.iter().copied().filter(|name| !available.contains(name)).collect())
}

fn with_candidate(policy: &str) -> Vec<&str> {
    let mut available = Vec::new();
    let mut package = "";
    for line in policy.lines() {
        if !line.starts_with(' ') {
            package = line.trim_end_matches(':');
        } else if let Some(candidate) = line.trim_start().strip_prefix("Candidate:")
            && candidate.trim() != "(none)"
        {
            available.push(package);
        }
    }
    available
}

fn install_bpf_linker() -> Result<()> {
    let mut cargo = process::cargo();
    cargo.env("LLVM_PREFIX", format!("/usr/lib/llvm-{LLVM_MAJOR}"));
    cargo.args(["install", "bpf-linker", "--locked", "--version", BPF_LINKER_VERSION]);
    cargo.args(["--no-default-features", "--features", &format!("llvm-{LLVM_MAJOR}")]);
    if let Some((path, version)) = toolchain::other_bpf_linker() {
        println!("bpf-linker {version} at {} stays; the pinned one goes into target/tools", path.display());
        cargo.arg("--root").arg(toolchain::own_tools());
    }
    install_by_cargo(&mut cargo, "bpf-linker")
}

fn install_cargo_deny() -> Result<()> {
    let mut cargo = process::cargo();
    // A debug build takes a third of the time to compile, and what it has to read here takes it a second.
    cargo.args(["install", "cargo-deny", "--locked", "--debug", "--version", CARGO_DENY_VERSION]);
    install_by_cargo(&mut cargo, "cargo-deny")
}

fn install_by_cargo(cargo: &mut std::process::Command, name: &str) -> Result<()> {
    // Away from the workspace: its `.cargo/config.toml` and `Cargo.lock` are not the tool's.
    let target = crate::workspace::root().join("target").join("tools-build");
    cargo.current_dir(Path::new("/")).arg("--target-dir").arg(&target);
    process::run(cargo).with_context(|| format!("install {name}"))?;
    // Only the binary is of use; what it was built from is large.
    std::fs::remove_dir_all(&target).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error).with_context(|| format!("remove {}", target.display())),
    })
}

/// Everything that is missing, what each is for, and the commands that install it.
fn report(missing: &[&Requirement]) -> String {
    let mut text = String::from("this machine lacks:\n");
    for requirement in missing {
        let kind = match requirement.provider {
            Provider::Apt => "Debian package",
            Provider::Rustup => "rustup component",
            Provider::BpfLinker | Provider::CargoDeny => "crate",
        };
        let name = requirements::display_name(requirement);
        // Writing into a String cannot fail.
        let _ = writeln!(text, "  {name:20} {kind:17} {}", requirement.purpose);
    }
    let all = |provider| {
        let names = missing.iter().filter(|requirement| requirement.provider == provider);
        names.map(|requirement| requirement.name).collect::<Vec<_>>().join(" ")
    };
    let packages = all(Provider::Apt);
    if process::find("apt-get").is_none() {
        text.push_str(
            "This is no Debian: install what corresponds to these, then run the same command again.",
        );
        return text;
    }
    text.push_str(if packages.is_empty() || process::is_root() {
        "`cargo xtask setup` installs it. By hand:"
    } else {
        "Debian packages need root: run `cargo xtask setup` as root. By hand:"
    });
    if !packages.is_empty() {
        let _ = write!(text, "\n  apt-get update && apt-get install --no-install-recommends {packages}");
    }
    let components = all(Provider::Rustup);
    if !components.is_empty() {
        let _ = write!(text, "\n  rustup component add {components}");
    }
    for requirement in missing {
        let _ = match requirement.provider {
            Provider::BpfLinker => write!(
                text,
                "\n  LLVM_PREFIX=/usr/lib/llvm-{LLVM_MAJOR} cargo install bpf-linker --locked --version \
                 {BPF_LINKER_VERSION} --no-default-features --features llvm-{LLVM_MAJOR}"
            ),
            Provider::CargoDeny => {
                write!(text, "\n  cargo install cargo-deny --locked --version {CARGO_DENY_VERSION}")
            }
            Provider::Apt | Provider::Rustup => Ok(()),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_a_candidate_is_told_from_one_that_has_one() {
        let policy = "nsd:\n  Installed: (none)\n  Candidate: 4.6.1-1\n  Version table:\n     4.6.1-1 500\n\
                      ghost:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n";
        assert_eq!(with_candidate(policy), ["nsd"]);
        assert!(with_candidate("").is_empty());
    }

    #[test]
    fn the_report_names_everything_at_once_and_how_to_install_it() {
        let missing: Vec<&Requirement> = requirements::REQUIREMENTS.iter().collect();
        let text = report(&missing);
        for requirement in requirements::REQUIREMENTS {
            assert!(text.contains(requirement.name), "{} is missing from:\n{text}", requirement.name);
        }
        let none = report(&[]);
        assert!(!none.contains("nsd") && !none.contains("bpf-linker"));
    }
}
