//! Dependencies run one way, and the rooms keep their doors.

use std::collections::BTreeMap;
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// What each member may use of the workspace, directly.
const ALLOWED: [(&str, &[&str]); 8] = [
    ("anycast-common", &[]),
    ("anycast-ebpf", &["anycast-common"]),
    ("anycast-core", &["anycast-common"]),
    ("anycast-ospf", &[]),
    ("anycast-pool", &[]),
    ("anycast-user", &["anycast-common", "anycast-core", "anycast-ospf", "anycast-pool"]),
    ("anycast-tests", &["anycast-common", "anycast-core", "anycast-ospf", "anycast-pool", "anycast-user"]),
    ("xtask", &[]),
];

/// Crates that do input and output, and who may use them. Development dependencies count too: a test of `core` that needs a
/// socket is in the wrong room.
const DOORS: [(&str, &[&str]); 4] = [
    ("tokio", &["anycast-user", "anycast-tests"]),
    // `common` has it for the trait that user space needs on the maps' types.
    ("aya", &["anycast-user", "anycast-tests", "anycast-common"]),
    ("socket2", &["anycast-user", "anycast-tests"]),
    ("nix", &["anycast-user", "anycast-tests", "xtask"]),
];

fn metadata() -> Metadata {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo metadata of the workspace")
}

/// The edges that are not allowed, as text.
fn violations(edges: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    let mut violations = Vec::new();
    for (from, to) in edges {
        let Some(allowed_to) = allowed.get(from.as_str()) else {
            violations.push(format!("{from} is not in the list of rooms"));
            continue;
        };
        for to in to {
            let inside = edges.contains_key(to);
            let door = DOORS.iter().find(|door| door.0 == to.as_str());
            if inside && !allowed_to.contains(&to.as_str()) {
                violations.push(format!("{from} -> {to}"));
            }
            if door.is_some_and(|door| !door.1.contains(&from.as_str())) {
                violations.push(format!("{from} -> {to}"));
            }
        }
    }
    violations
}

fn edges() -> BTreeMap<String, Vec<String>> {
    let metadata = metadata();
    let direct = |package: &cargo_metadata::Package| {
        package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Build || dependency.path.is_some())
            .map(|dependency| dependency.name.clone())
            .collect()
    };
    metadata.workspace_packages().iter().map(|package| (package.name.to_string(), direct(package))).collect()
}

#[test]
fn dependencies_run_one_way() {
    let edges = edges();
    assert!(edges.len() >= 6, "{edges:?}");
    assert_eq!(violations(&edges), Vec::<String>::new());
}

#[test]
fn a_dependency_against_the_direction_is_found() {
    for (from, to) in
        [("anycast-core", "anycast-user"), ("anycast-core", "tokio"), ("xtask", "anycast-common"), ("x", "y")]
    {
        let mut edges = edges();
        edges.entry(from.to_owned()).or_default().push(to.to_owned());
        assert_eq!(violations(&edges).len(), 1, "{from} -> {to}");
    }
}
