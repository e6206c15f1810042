//! The checks that run no test: formatting, lints, documentation, licences and sources.

use std::process::Command;

use super::summary::Outcome;
use crate::{
    build, process,
    toolchain::{self, BpfToolchain},
    workspace,
};

/// Runs every check, each counted as one case.
pub fn run() -> Outcome {
    let mut outcome = Outcome::default();
    for (name, command) in checks() {
        println!("\n--- lint: {name} ---");
        let result = match command {
            Some(mut command) => process::run(command.current_dir(workspace::root())),
            None => {
                Err(anyhow::anyhow!("the BPF toolchain has no clippy: `cargo xtask setup lint` installs it"))
            }
        };
        match result {
            Ok(()) => outcome.passed += 1,
            Err(error) => outcome.fail(format!("{name}: {error:#}")),
        }
    }
    outcome
}

/// The checks by name; one whose tool is missing has no command.
fn checks() -> Vec<(&'static str, Option<Command>)> {
    let cargo = |arguments: &[&str]| {
        let mut cargo = process::cargo();
        cargo.args(arguments);
        cargo
    };
    let mut documentation = cargo(&["doc", "--quiet", "--no-deps"]);
    documentation.env("RUSTDOCFLAGS", "-D warnings");
    vec![
        ("formatting", Some(cargo(&["fmt", "--all", "--check"]))),
        ("clippy", Some(cargo(&["clippy", "--quiet", "--all-targets", "--", "-D", "warnings"]))),
        ("clippy of the BPF programs", bpf_clippy()),
        ("documentation", Some(documentation)),
        ("licences, bans and sources", Some(cargo(&["deny", "check", "licenses", "bans", "sources"]))),
    ]
}

/// The second clippy: features of a crate that both sides share are unified by cargo, so the BPF programs are checked
/// by themselves, for their own target.
fn bpf_clippy() -> Option<Command> {
    let toolchain = BpfToolchain::detect()?;
    let mut clippy = toolchain.clippy()?;
    clippy.env("CARGO_ENCODED_RUSTFLAGS", build::rust_flags(&toolchain::bpf_linker()?));
    clippy.args(["--quiet", "--release", "--package", "anycast-ebpf", "-Z", "build-std=core"]);
    clippy.args(["--target", build::BPF_TARGET, "--target-dir"]).arg(build::bpf_target_directory());
    clippy.args(["--", "-D", "warnings"]);
    Some(clippy)
}
