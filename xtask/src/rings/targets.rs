//! Compiling the test binaries and sorting them into rings.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::Ring;
use crate::{process, workspace};

/// A test binary.
#[derive(Debug)]
pub struct Target {
    /// Its package and its name.
    pub name: String,
    /// The file to run.
    pub executable: PathBuf,
    /// Its package's directory, which cargo makes the current one for tests.
    pub directory: PathBuf,
    ring: Ring,
}

/// All test binaries of the workspace.
pub struct Targets(Vec<Target>);

impl Targets {
    /// Those of `ring`.
    pub fn of(&self, ring: Ring) -> impl Iterator<Item = &Target> {
        self.0.iter().filter(move |target| target.ring == ring)
    }

    /// Those that the ring `vm` runs: its own, and the fast path's conformance, to see it on the guest's kernel too.
    pub fn in_guest(&self) -> impl Iterator<Item = &Target> {
        self.0.iter().filter(|target| target.ring == Ring::Vm || target.name.ends_with("tests/packet"))
    }
}

/// Compiles the test binaries that `rings` need.
pub fn build(rings: &[Ring]) -> Result<Targets> {
    let mut cargo = process::cargo();
    cargo.current_dir(workspace::root());
    cargo.args(["test", "--no-run", "--message-format", "json-render-diagnostics"]);
    // What the other rings need takes longer to compile than the guest runs.
    if rings == [Ring::Vm] {
        cargo.args(["--package", "anycast-tests", "--test", "packet", "--test", "vm*"]);
    }
    cargo.stderr(std::process::Stdio::inherit());
    let output = cargo.output().with_context(|| format!("start `{}`", process::line(&cargo)))?;
    anyhow::ensure!(output.status.success(), "compile the tests: `{}` failed", process::line(&cargo));
    let messages = String::from_utf8_lossy(&output.stdout);
    let mut targets: Vec<Target> = messages.lines().filter_map(test_binary).collect();
    targets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Targets(targets))
}

/// A message of cargo, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    executable: Option<PathBuf>,
    target: Option<MessageTarget>,
    profile: Option<MessageProfile>,
}

#[derive(Deserialize)]
struct MessageTarget {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct MessageProfile {
    test: bool,
}

fn test_binary(line: &str) -> Option<Target> {
    let message: Message = serde_json::from_str(line).ok()?;
    if message.reason != "compiler-artifact" || !message.profile?.test {
        return None;
    }
    let (target, executable) = (message.target?, message.executable?);
    let directory = message.manifest_path?.parent()?.to_owned();
    let package = directory.file_name()?.to_string_lossy().into_owned();
    let is_integration = target.kind.iter().any(|kind| kind == "test");
    let ring = if is_integration { ring_of(&target.name) } else { Ring::Unit };
    let kind = if is_integration { "tests" } else { "src" };
    Some(Target { name: format!("{package}/{kind}/{}", target.name), executable, directory, ring })
}

/// The ring of an integration test, by the beginning of its name.
fn ring_of(name: &str) -> Ring {
    if name.starts_with("packet") {
        Ring::Packet
    } else if name.starts_with("lab") {
        Ring::Lab
    } else if name.starts_with("vm") {
        Ring::Vm
    } else {
        Ring::Unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &str, kind: &str, test: bool) -> String {
        format!(
            r#"{{"reason":"compiler-artifact","package_id":"x","manifest_path":"/w/tests/Cargo.toml",
            "target":{{"kind":["{kind}"],"name":"{name}"}},"profile":{{"test":{test},"opt_level":"1"}},
            "executable":"/w/target/debug/deps/{name}-1","fresh":true}}"#
        )
    }

    #[test]
    fn test_binaries_are_sorted_by_name() {
        let ring = |name, kind| test_binary(&message(name, kind, true)).map(|target| target.ring);
        assert_eq!(ring("packet_mutations", "test"), Some(Ring::Packet));
        assert_eq!(ring("lab_router", "test"), Some(Ring::Lab));
        assert_eq!(ring("vm_sctp", "test"), Some(Ring::Vm));
        assert_eq!(ring("unit_dependencies", "test"), Some(Ring::Unit));
        assert_eq!(
            ring("command_line", "test"),
            Some(Ring::Unit),
            "whatever is in no other ring needs nothing"
        );
        assert_eq!(ring("lab", "lib"), Some(Ring::Unit), "only integration tests are sorted by name");
    }

    #[test]
    fn the_guest_runs_its_own_and_the_conformance() {
        let all = ["packet", "packet_mutations", "lab_pool", "vm_sctp"];
        let targets =
            Targets(all.iter().filter_map(|name| test_binary(&message(name, "test", true))).collect());
        let names: Vec<&str> = targets.in_guest().map(|target| target.name.as_str()).collect();
        assert_eq!(names, ["tests/tests/packet", "tests/tests/vm_sctp"]);
    }

    #[test]
    fn what_is_no_test_binary_is_left_out() {
        assert!(test_binary(&message("anycast", "bin", false)).is_none());
        assert!(test_binary(r#"{"reason":"build-finished","success":true}"#).is_none());
        assert!(test_binary("warning: not JSON").is_none());
    }
}
