//! Where things are in the workspace.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// The workspace's root: the directory above this package.
pub fn root() -> PathBuf {
    // The variable is set by `cargo run`; a binary started by hand falls back on where it was compiled.
    let package = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map_or_else(|| package.clone(), Path::to_path_buf)
}

/// Cargo's target directory of the workspace.
pub fn target() -> PathBuf {
    let root = root();
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |directory| root.join(directory))
}

/// Where the built BPF objects lie; the packages that embed them look here, whatever the target directory.
pub fn bpf_objects() -> PathBuf {
    root().join("target").join("bpf")
}

/// Which profile the host's binaries are built with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Debug, the lab's.
    Debug,
    /// Release, the benches'.
    Release,
}

impl Profile {
    /// The path of a binary of the workspace that was built with this profile.
    pub fn binary(self, name: &str) -> PathBuf {
        let directory = match self {
            Self::Debug => "debug",
            Self::Release => "release",
        };
        target().join(directory).join(name)
    }
}

/// Writes `bytes` to `path` if the file does not hold them already, whole or not at all; says whether it did.
///
/// A file that keeps its content keeps its modification time, so that cargo rebuilds nothing that embeds it.
pub fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<bool> {
    if fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(false);
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = PathBuf::from(temporary);
    fs::write(&temporary, bytes).with_context(|| format!("write {}", temporary.display()))?;
    fs::rename(&temporary, path).with_context(|| format!("rename to {}", path.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_file_is_not_written_again() {
        let directory = env::temp_dir().join(format!("xtask-write-{}", std::process::id()));
        let path = directory.join("deep/object");
        assert!(write_if_changed(&path, b"one").unwrap());
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        assert!(!write_if_changed(&path, b"one").unwrap());
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
        assert!(write_if_changed(&path, b"two").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
        fs::remove_dir_all(directory).unwrap();
    }
}
