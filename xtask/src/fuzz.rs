//! `cargo xtask fuzz`: libFuzzer over what is read from anybody on the link.
//!
//! The targets have the layout of cargo-fuzz, which is not needed: the flags that it sets for coverage are stable ones, and the
//! address sanitizer, for which it wants a nightly compiler, would find nothing in a crate that forbids unsafe code.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{process, workspace};

/// All targets: the files of `tests/fuzz/fuzz_targets`.
const TARGETS: [&str; 8] = [
    "heartbeat",
    "nd_option",
    "key_file",
    "ospf_packet",
    "ospf_speaker",
    "asap_message",
    "registrar",
    "pool_sides",
];

/// What the compiler must add for libFuzzer to see which way an input went.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares";

/// What `cargo xtask fuzz` takes.
#[derive(Args)]
pub struct FuzzArguments {
    /// Which target to fuzz [default: each in turn]
    #[arg(value_parser = TARGETS)]
    target: Option<String>,
    /// How long to fuzz each target
    #[arg(long, value_name = "N", default_value_t = 600)]
    seconds: u64,
}

/// Builds the targets and fuzzes them; says whether nothing was found.
pub fn fuzz(arguments: &FuzzArguments) -> Result<bool> {
    let directory = workspace::root().join("tests").join("fuzz");
    let output = workspace::root().join("target").join("fuzz");
    let host = host()?;
    // With --target, so that build scripts and macros are built without the flags.
    let mut build = process::cargo();
    build
        .current_dir(&directory)
        .args(["build", "--release", "--bins", "--target", &host, "--target-dir"])
        .arg(&output)
        .env("RUSTFLAGS", FLAGS);
    process::run(&mut build)
        .context("build the fuzz targets; libFuzzer needs a C++ compiler, as `apt-get install g++` has it")?;

    let mut clean = true;
    for target in
        TARGETS.into_iter().filter(|name| arguments.target.as_deref().is_none_or(|wanted| wanted == *name))
    {
        println!("\n--- {target}: {} seconds ---", arguments.seconds);
        let corpus = output.join("corpus").join(target);
        let artifacts = output.join("artifacts").join(target);
        for directory in [&corpus, &artifacts] {
            fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
        }
        let mut run = process::command(output.join(&host).join("release").join(target));
        run.arg(format!("-max_total_time={}", arguments.seconds))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .args(["-print_final_stats=1", "-max_len=1232", "-timeout=10", "-rss_limit_mb=2048"])
            .arg(&corpus);
        let seeds: PathBuf = directory.join("seeds").join(target);
        if seeds.is_dir() {
            run.arg(seeds);
        }
        if let Err(error) = process::run(&mut run) {
            eprintln!("error: {error:#}\n{target} found something: the input is in {}", artifacts.display());
            clean = false;
        }
    }
    Ok(clean)
}

fn host() -> Result<String> {
    let about = process::output(process::command("rustc").arg("-vV"))?;
    match about.lines().find_map(|line| line.strip_prefix("host: ")) {
        Some(host) => Ok(host.to_owned()),
        None => bail!("`rustc -vV` does not tell the host's target"),
    }
}
