//! The file with the farm's keys: who may read it, and what stands in it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anycast_core::auth::{KeyFileError, KeyRing};
use thiserror::Error;

/// Octets of the longest file: many times what the keys of a roll-over need.
const LENGTH_MAX: u64 = 64 * 1024;

/// Permissions that a file of secrets must not have: everybody's, and writing and executing of others than the owner.
const FORBIDDEN: u32 = 0o137;

/// Why the keys could not be read.
#[derive(Debug, Error)]
pub enum KeysError {
    /// The file.
    #[error("{key}: cannot read {}: {source}", path.display())]
    Read {
        /// Its key in the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else could read or change it.
    #[error(
        "{key}: {} has mode {mode:04o}: others than its owner and group could read it, or others than its owner change \
         it; `chmod 0600` it (0640 lets a group read)",
        path.display()
    )]
    Permissions {
        /// Its key in the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Its owner is somebody else.
    #[error("{key}: {} belongs to user {owner}: `chown root` it", path.display())]
    Owner {
        /// Its key in the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// It is no file, or far too long.
    #[error("{key}: {} is no regular file of at most {LENGTH_MAX} octets", path.display())]
    NoFile {
        /// Its key in the configuration.
        key: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// What stands in it.
    #[error("{}:{}: {source}", path.display(), source.line())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, and on which line.
        source: KeyFileError,
    },
}

/// Reads the keys of a farm.
///
/// # Errors
/// See [`KeysError`]; no error tells a secret.
pub fn load(path: &Path) -> Result<KeyRing, KeysError> {
    let text = read_secret("farm.key_file", path)?;
    KeyRing::parse(&text).map_err(|source| KeysError::Wrong { path: path.to_owned(), source })
}

/// Reads a file of secrets, which nobody else may read or change. `key` is its key in the configuration.
///
/// # Errors
/// See [`KeysError`]; all but [`KeysError::Wrong`].
pub fn read_secret(key: &'static str, path: &Path) -> Result<String, KeysError> {
    let read = |source| KeysError::Read { key, path: path.to_owned(), source };
    let mut file = File::open(path).map_err(read)?;
    // Of the open file, so that it is the one that is read.
    let metadata = file.metadata().map_err(read)?;
    if !metadata.is_file() || metadata.len() > LENGTH_MAX {
        return Err(KeysError::NoFile { key, path: path.to_owned() });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & FORBIDDEN != 0 {
        return Err(KeysError::Permissions { key, path: path.to_owned(), mode });
    }
    let owner = metadata.uid();
    if owner != 0 && owner != nix::unistd::geteuid().as_raw() {
        return Err(KeysError::Owner { key, path: path.to_owned(), owner });
    }
    let mut text = String::new();
    file.by_ref().take(LENGTH_MAX).read_to_string(&mut text).map_err(read)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use anycast_core::auth::KeyId;

    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("farm.keys");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (directory, path)
    }

    fn good() -> String {
        format!("# the farm\n7 {}\n", "ab".repeat(32))
    }

    #[test]
    fn a_file_that_only_owner_and_group_read_is_taken() {
        for mode in [0o400, 0o600, 0o440, 0o640] {
            let (_directory, path) = file(&good(), mode);
            assert!(load(&path).unwrap().ids().eq([KeyId(7)]), "{mode:o}");
        }
    }

    #[test]
    fn a_file_that_others_read_or_change_is_refused() {
        for mode in [0o644, 0o660, 0o604, 0o601, 0o700, 0o620] {
            let (_directory, path) = file(&good(), mode);
            let error = load(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("mode {mode:04o}")) && error.contains("chmod 0600"), "{error}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_without_the_secret() {
        let (_directory, path) = file(&format!("{}8 secretsecret!\n", good()), 0o600);
        let error = load(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}:3: ", path.display())), "{error}");
        assert!(!error.contains("secretsecret"), "{error}");
    }

    #[test]
    fn no_file_and_no_regular_file_are_errors_that_say_so() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(load(&directory.path().join("none")), Err(KeysError::Read { .. })));
        assert!(matches!(load(directory.path()), Err(KeysError::NoFile { .. })));
        let (_directory, path) = file(&"#".repeat(65 * 1024), 0o600);
        assert!(matches!(load(&path), Err(KeysError::NoFile { .. })));
    }
}
