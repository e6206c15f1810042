//! `cargo xtask test`: the test rings, from the one that needs least to the one that needs most.

mod leftovers;
mod libtest;
mod lint;
mod stream;
mod summary;
mod targets;
mod vm;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use self::{
    leftovers::Before,
    summary::{Outcome, Skip, Summary},
    targets::{Target, Targets},
};
use crate::{
    build, process,
    requirements::Job,
    setup,
    workspace::{self, Profile},
};

/// A group of tests with the same needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Ring {
    /// Formatting, lints, documentation, licences and sources
    Lint,
    /// Tests in virtual time: no root, no BPF
    Unit,
    /// The BPF program on single frames (BPF_PROG_TEST_RUN)
    Packet,
    /// Network namespaces: router, servers and clients on the real kernel
    Lab,
    /// A virtual machine with Debian's kernel 6.1: SCTP, and RSPLIB's programs
    Vm,
}

impl Ring {
    /// Those that run when none is named.
    const DEFAULT: [Self; 4] = [Self::Lint, Self::Unit, Self::Packet, Self::Lab];

    /// The ring's name on the command line and in the summary.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lint => "lint",
            Self::Unit => "unit",
            Self::Packet => "packet",
            Self::Lab => "lab",
            Self::Vm => "vm",
        }
    }

    /// What must be set up for it.
    fn job(self) -> Option<Job> {
        match self {
            Self::Lint => Some(Job::Lint),
            Self::Unit => None,
            Self::Packet | Self::Lab => Some(Job::Test),
            Self::Vm => Some(Job::Vm),
        }
    }

    /// Whether it loads BPF programs into this machine's kernel, which takes root.
    fn needs_root(self) -> bool {
        matches!(self, Self::Packet | Self::Lab)
    }

    /// Whether it needs the BPF objects and the binaries that embed them.
    fn needs_objects(self) -> bool {
        self.needs_root() || self == Self::Vm
    }

    /// How long one test binary of it may take; a hanging one is ended and counted as failed.
    fn limit(self) -> Duration {
        Duration::from_secs(match self {
            Self::Lint | Self::Unit => 10 * 60,
            Self::Packet => 20 * 60,
            Self::Lab | Self::Vm => 30 * 60,
        })
    }

    /// How many of its cases run at a time. A lab case starts several daemons, and a child that one case forks holds the
    /// sockets and BPF links of another until it executes its program.
    fn threads(self) -> Option<&'static str> {
        (self == Self::Lab).then_some("1")
    }
}

/// What `cargo xtask test` takes.
#[derive(Args)]
pub struct TestArguments {
    /// Which rings to run [default: all of them but vm]
    #[arg(value_enum)]
    rings: Vec<Ring>,
    /// Run the ring vm too: it installs QEMU and RSPLIB, downloads a kernel, and boots it
    #[arg(long)]
    vm: bool,
    /// Let this ring or case be skipped; any other that is skipped makes the run fail
    #[arg(long, value_name = "NAME")]
    allow_skip: Vec<String>,
    /// Run only the cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
}

/// Runs the rings and prints what came of them; says whether all is well.
pub fn test(arguments: &TestArguments) -> Result<bool> {
    let mut rings = if arguments.rings.is_empty() { Ring::DEFAULT.to_vec() } else { arguments.rings.clone() };
    rings.extend(arguments.vm.then_some(Ring::Vm));
    rings.sort_unstable();
    rings.dedup();

    // Without root the rings that need it are skipped below, so there is nothing to set up for them.
    let runnable = |ring: &Ring| !ring.needs_root() || process::is_root();
    let jobs: Vec<Job> = rings.iter().filter(|ring| runnable(ring)).filter_map(|ring| ring.job()).collect();
    setup::ensure(&jobs)?;

    let mut summary = Summary::new(&arguments.allow_skip);
    if rings.contains(&Ring::Lint) {
        summary.ring(Ring::Lint, || Ok(lint::run()));
    }
    let tests: Vec<Ring> = rings.into_iter().filter(|ring| *ring != Ring::Lint).collect();
    if !tests.is_empty() {
        run_tests(&tests, arguments, runnable, &mut summary)?;
    }
    summary.print();
    Ok(summary.is_good())
}

fn run_tests(
    rings: &[Ring],
    arguments: &TestArguments,
    runnable: impl Fn(&Ring) -> bool,
    summary: &mut Summary,
) -> Result<()> {
    // The test binaries embed the BPF objects, so the objects come first.
    let built = if rings.iter().any(|ring| ring.needs_objects() && runnable(ring)) {
        build::all(Profile::Debug)
    } else {
        Ok(())
    };
    if let Err(error) = &built {
        eprintln!("error: {error:#}");
    }
    let targets = targets::build(rings);
    if let Err(error) = &targets {
        eprintln!("error: {error:#}");
    }
    for ring in rings {
        summary.ring(*ring, || {
            if !runnable(ring) {
                return Ok(Outcome::not_run("BPF and network namespaces need root"));
            }
            if ring.needs_objects() && built.is_err() {
                return Ok(Outcome::failed_whole("the build failed"));
            }
            match &targets {
                Ok(targets) => run_ring(*ring, targets, arguments.case.as_deref()),
                Err(_) => Ok(Outcome::failed_whole("the tests do not compile")),
            }
        });
    }
    Ok(())
}

fn run_ring(ring: Ring, targets: &Targets, case: Option<&str>) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    if ring == Ring::Vm {
        outcome.add(vm::run(targets, ring.limit(), case)?);
    }
    for target in targets.of(ring).filter(|_| ring != Ring::Vm) {
        outcome.add(run_target(ring, target, case)?);
    }
    if ring == Ring::Unit && case.is_none() {
        outcome.add(run_documentation_tests()?);
    }
    if outcome.is_empty() && case.is_none() {
        outcome.fail("no case ran".to_owned());
    }
    Ok(outcome)
}

fn run_target(ring: Ring, target: &Target, case: Option<&str>) -> Result<Outcome> {
    println!("\n--- {}: {} ---", ring.name(), target.name);
    let before = Before::look();
    let skipped = SkippedFile::new()?;
    let mut command = process::command(&target.executable);
    command.current_dir(&target.directory).env("CARGO_MANIFEST_DIR", &target.directory);
    command.env("ANYCAST_SKIPPED", &skipped.path);
    command.env("ANYCAST_BIN", Profile::Debug.binary("anycast"));
    command.env("ANYCAST_LAB_BIN", Profile::Debug.binary("anycast-lab"));
    before.mark(&mut command);
    if let Some(threads) = ring.threads() {
        command.arg("--test-threads").arg(threads);
    }
    command.args(case);
    let mut report = libtest::Report::default();
    let ended = stream::lines(&mut command, ring.limit(), |line| report.line(line))?;
    let mut outcome = report.into_outcome(&target.name, &ended, skipped.read()?);
    // Looked for after each binary: the next lab to start sweeps up after the ones that were killed.
    for left in before.left_over() {
        outcome.fail(format!("{}: left behind: {left}", target.name));
    }
    Ok(outcome)
}

fn run_documentation_tests() -> Result<Outcome> {
    println!("\n--- unit: documentation examples ---");
    let mut command = process::cargo();
    command.current_dir(workspace::root()).args(["test", "--quiet", "--doc"]);
    let mut report = libtest::Report::default();
    let ended = stream::lines(&mut command, Ring::Unit.limit(), |line| report.line(line))?;
    Ok(report.into_outcome("documentation examples", &ended, Vec::new()))
}

/// The file into which the cases of one test binary write that they were skipped, and why.
struct SkippedFile {
    path: PathBuf,
}

impl SkippedFile {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("anycast-skipped-{}", std::process::id()));
        std::fs::write(&path, "").with_context(|| format!("create {}", path.display()))?;
        Ok(Self { path })
    }

    fn read(&self) -> Result<Vec<Skip>> {
        let text = std::fs::read_to_string(&self.path)
            .with_context(|| format!("read the skipped cases from {}", self.path.display()))?;
        Ok(text.lines().map(Skip::parse).collect())
    }
}

impl Drop for SkippedFile {
    fn drop(&mut self) {
        // A temporary file that stays harms nobody.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Runs `work` and says how long it took.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}
