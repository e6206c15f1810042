//! The file with OSPF's keys: lines `ID ALGORITHM SECRET`, the first of which signs (RFC 7166).

use std::path::{Path, PathBuf};

use anycast_ospf::auth::{Algorithm, Key, KeyError, KeyRing};

use crate::config::keys::{KeysError as FileError, read_secret};

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line.
    #[error(
        "{}:{line}: {what}; write `1 hmac-sha-256 \"the secret\"`: the id, hmac-sha-256, -384 or -512, the secret as the routers have it",
        path.display()
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong; never the secret.
        what: &'static str,
    },
    /// The keys together.
    #[error("{}: {source}", path.display())]
    Ring {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: KeyError,
    },
}

/// Reads the keys.
///
/// # Errors
/// See [`KeysError`].
pub(super) fn load(path: &Path) -> Result<KeyRing, KeysError> {
    parse(path, &read_secret("ospf.key_file", path)?)
}

fn parse(path: &Path, text: &str) -> Result<KeyRing, KeysError> {
    let mut keys = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line_of = |what| KeysError::Line { path: path.to_owned(), line: number + 1, what };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.splitn(3, char::is_whitespace).map(str::trim);
        let id =
            words.next().and_then(|id| id.parse().ok()).ok_or_else(|| line_of("no id from 0 to 65535"))?;
        let algorithm = match words.next() {
            Some("hmac-sha-256") => Algorithm::HmacSha256,
            Some("hmac-sha-384") => Algorithm::HmacSha384,
            Some("hmac-sha-512") => Algorithm::HmacSha512,
            _ => return Err(line_of("no algorithm")),
        };
        let secret = words.next().filter(|secret| !secret.is_empty()).ok_or_else(|| line_of("no secret"))?;
        // Quotation marks, if there are spaces at its ends.
        let bare = secret.strip_prefix('"').and_then(|secret| secret.strip_suffix('"')).unwrap_or(secret);
        keys.push(Key { id, algorithm, secret: bare.as_bytes().to_vec() });
    }
    KeyRing::new(keys).map_err(|source| KeysError::Ring { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<KeyRing, KeysError> {
        parse(Path::new("ospf.keys"), text)
    }

    #[test]
    fn keys_are_read_in_their_order() {
        let ring = parsed("# new\n2 hmac-sha-512 \"two words \"\n\n1 hmac-sha-256 old\n").unwrap();
        let expected = KeyRing::new(vec![
            Key { id: 2, algorithm: Algorithm::HmacSha512, secret: b"two words ".to_vec() },
            Key { id: 1, algorithm: Algorithm::HmacSha256, secret: b"old".to_vec() },
        ]);
        assert_eq!(ring, expected.unwrap());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_without_the_secret() {
        for (text, what) in [
            ("", "no key"),
            ("x hmac-sha-256 hush", "ospf.keys:1: no id"),
            ("1 hmac-sha-256 a\n2 md5 hush", "ospf.keys:2: no algorithm"),
            ("1 hmac-sha-256", "no secret"),
            ("1 hmac-sha-256 a\n1 hmac-sha-256 hush", "stands there twice"),
        ] {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains(what) && !error.contains("hush"), "{text}: {error}");
        }
    }
}
