//! The keys of a farm, and the file they stand in.
//!
//! ```text
//! # The first key signs, all of them verify.
//! 2 8f1c…64 hexadecimal digits…
//! 1 rT0k…base64 of 32 to 64 octets…
//! ```

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Octets of an HMAC-SHA256.
pub const SIGNATURE_LEN: usize = 32;

/// Fewest octets of a secret: as many as the hash has (RFC 2104 3).
pub const SECRET_MIN: usize = 32;

/// Most octets of a secret: a longer one is hashed first and gains nothing (RFC 2104 2).
pub const SECRET_MAX: usize = 64;

/// Most keys of a ring: a roll-over needs two.
pub const KEYS_MAX: usize = 16;

/// The number of a key, which travels with each signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u16);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The keys of a farm: the first signs, all verify.
#[derive(Clone)]
pub struct KeyRing {
    /// Never empty. With the secret already absorbed, which is half of the work of a short message.
    keys: Vec<(KeyId, Hmac<Sha256>)>,
}

/// What a signature is for: a signature of one kind is none of the other, whatever the octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Heartbeat,
    Advertisement,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Heartbeat => b"anycast heartbeat 1\0",
            Self::Advertisement => b"anycast nd option 1\0",
        }
    }
}

/// What is wrong with a key file, and on which line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum KeyFileError {
    #[error("there is no key in it: write one a line, as `1 ` and the output of `openssl rand -hex 32`")]
    Empty,
    #[error("not `ID SECRET`: a number from 0 to 65535, a space, the secret in hexadecimal or base64")]
    Form { line: usize },
    #[error("{id:?} is no key id: a number from 0 to 65535 is")]
    Id { line: usize, id: String },
    #[error("the secret is neither hexadecimal nor base64")]
    Encoding { line: usize },
    #[error(
        "the secret has {length} octets: {SECRET_MIN} to {SECRET_MAX} fit; `openssl rand -hex 32` makes one"
    )]
    Length { line: usize, length: usize },
    #[error("key {id} stands there twice: give the new one a number of its own")]
    Twice { line: usize, id: KeyId },
    #[error("more than {KEYS_MAX} keys: remove those that no server signs with any more")]
    Many { line: usize },
}

impl KeyFileError {
    /// The line, counted from 1.
    pub const fn line(&self) -> usize {
        match self {
            Self::Empty => 1,
            Self::Form { line }
            | Self::Id { line, .. }
            | Self::Encoding { line }
            | Self::Length { line, .. }
            | Self::Twice { line, .. }
            | Self::Many { line } => *line,
        }
    }
}

impl KeyRing {
    /// A ring of one key.
    pub fn new(id: KeyId, secret: &[u8; SECRET_MIN]) -> Self {
        let mut ring = Self { keys: Vec::new() };
        ring.push(id, secret);
        ring
    }

    /// Adds a key that verifies.
    #[must_use]
    pub fn with(mut self, id: KeyId, secret: &[u8; SECRET_MIN]) -> Self {
        self.push(id, secret);
        self
    }

    /// Reads a key file: one `ID SECRET` a line, `#` begins a comment.
    ///
    /// # Errors
    /// What is wrong, with its line; never the secret.
    pub fn parse(text: &str) -> Result<Self, KeyFileError> {
        let mut ring = Self { keys: Vec::new() };
        for (number, line) in text.lines().enumerate() {
            let number = number + 1;
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(id) = words.next() else { continue };
            let (Some(secret), None) = (words.next(), words.next()) else {
                return Err(KeyFileError::Form { line: number });
            };
            let digits = id.bytes().all(|byte| byte.is_ascii_digit());
            let id = id
                .parse()
                .ok()
                .filter(|_| digits)
                .map(KeyId)
                .ok_or_else(|| KeyFileError::Id { line: number, id: id.to_owned() })?;
            let secret = hexadecimal(secret)
                .or_else(|| base64(secret))
                .ok_or(KeyFileError::Encoding { line: number })?;
            if !(SECRET_MIN..=SECRET_MAX).contains(&secret.len()) {
                return Err(KeyFileError::Length { line: number, length: secret.len() });
            }
            if ring.keys.iter().any(|(known, _)| *known == id) {
                return Err(KeyFileError::Twice { line: number, id });
            }
            if ring.keys.len() == KEYS_MAX {
                return Err(KeyFileError::Many { line: number });
            }
            ring.push(id, &secret);
        }
        if ring.keys.is_empty() { Err(KeyFileError::Empty) } else { Ok(ring) }
    }

    fn push(&mut self, id: KeyId, secret: &[u8]) {
        // HMAC takes a secret of any length (RFC 2104 2): there is no error to have.
        if let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret) {
            self.keys.push((id, mac));
        }
    }

    /// The numbers of the keys; the first signs.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.keys.iter().map(|(id, _)| *id)
    }

    /// The number of the key that signs.
    pub(crate) fn signing_id(&self) -> KeyId {
        self.keys.first().map_or(KeyId(0), |(id, _)| *id)
    }

    /// Signs the parts, in this order, with the first key.
    pub(crate) fn sign(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; SIGNATURE_LEN] {
        match self.keys.first() {
            Some((_, mac)) => absorb(mac, purpose, parts).finalize().into_bytes().into(),
            None => [0; SIGNATURE_LEN],
        }
    }

    /// Does the signature fit the parts? `None`: there is no such key. Takes the same time whichever octet differs.
    pub(crate) fn verify(
        &self,
        id: KeyId,
        purpose: Purpose,
        parts: &[&[u8]],
        signature: &[u8; SIGNATURE_LEN],
    ) -> Option<bool> {
        let (_, mac) = self.keys.iter().find(|(known, _)| *known == id)?;
        Some(absorb(mac, purpose, parts).verify_slice(signature).is_ok())
    }
}

fn absorb(mac: &Hmac<Sha256>, purpose: Purpose, parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = mac.clone();
    mac.update(purpose.label());
    for part in parts {
        mac.update(part);
    }
    mac
}

/// Numbers of the keys, never the secrets.
impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits = text.bytes().map(|byte| char::from(byte).to_digit(16)).collect::<Option<Vec<_>>>()?;
    let pairs = digits.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())
}

/// Base64 (RFC 4648 4), padded, and with no bits left over.
fn base64(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let bare = text.trim_end_matches('=');
    if text.len() - bare.len() > 2 {
        return None;
    }
    let mut out = Vec::new();
    let (mut bits, mut held) = (0u32, 0);
    for byte in bare.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    (bits == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn secret() -> [u8; 32] {
        std::array::from_fn(|octet| octet as u8)
    }

    /// RFC 4231 4.3, whose key is too short for a file.
    #[test]
    fn signatures_are_those_of_hmac_sha256() {
        let mac = Hmac::<Sha256>::new_from_slice(b"Jefe").expect("any length");
        let mut mac = mac;
        mac.update(b"what do ya want for nothing?");
        let expected = hexadecimal("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert_eq!(Some(mac.finalize().into_bytes().to_vec()), expected);
    }

    #[test]
    fn a_signature_fits_its_key_purpose_and_octets_only() {
        let ring = KeyRing::new(KeyId(1), &secret()).with(KeyId(2), &[7; 32]);
        let signature = ring.sign(Purpose::Heartbeat, &[b"one", b"two"]);
        let verify = |id, purpose, parts: &[&[u8]]| ring.verify(KeyId(id), purpose, parts, &signature);
        assert_eq!(verify(1, Purpose::Heartbeat, &[b"one", b"two"]), Some(true));
        assert_eq!(verify(1, Purpose::Heartbeat, &[b"one", b"twO"]), Some(false));
        assert_eq!(verify(1, Purpose::Advertisement, &[b"one", b"two"]), Some(false));
        assert_eq!(verify(2, Purpose::Heartbeat, &[b"one", b"two"]), Some(false));
        assert_eq!(verify(3, Purpose::Heartbeat, &[b"one", b"two"]), None);
        assert_eq!(ring.signing_id(), KeyId(1));
    }

    #[test]
    fn a_file_has_keys_in_hexadecimal_or_base64_and_comments() {
        let text = format!("# farm\n\n2 {HEX} # new\n  1\t{BASE64}\n");
        let ring = KeyRing::parse(&text).expect("a good file");
        assert!(ring.ids().eq([KeyId(2), KeyId(1)]));
        let signature = ring.sign(Purpose::Heartbeat, &[b"x"]);
        assert_eq!(
            ring.verify(KeyId(1), Purpose::Heartbeat, &[b"x"], &signature),
            Some(true),
            "the same secret"
        );
        assert_eq!(format!("{ring:?}"), "[KeyId(2), KeyId(1)]", "no secret in logs");
    }

    #[test]
    fn each_mistake_in_a_file_has_its_line() {
        let error = |text: &str| KeyRing::parse(text).map(|_| ()).expect_err("must be refused");
        assert_eq!(error(""), KeyFileError::Empty);
        assert_eq!(error("# nothing\n"), KeyFileError::Empty);
        assert_eq!(error(&format!("\n{HEX}\n")), KeyFileError::Form { line: 2 });
        assert_eq!(error(&format!("1 {HEX} more\n")), KeyFileError::Form { line: 1 });
        for id in ["65536", "-1", "+1", "x"] {
            assert_eq!(error(&format!("{id} {HEX}")), KeyFileError::Id { line: 1, id: id.to_owned() });
        }
        assert_eq!(error("1 secret!"), KeyFileError::Encoding { line: 1 });
        assert_eq!(error(&format!("1 {}", &HEX[..62])), KeyFileError::Length { line: 1, length: 31 });
        assert_eq!(error(&format!("1 {HEX}{HEX}00")), KeyFileError::Length { line: 1, length: 65 });
        let twice = format!("1 {HEX}\n1 {BASE64}");
        assert_eq!(error(&twice), KeyFileError::Twice { line: 2, id: KeyId(1) });
        let many = (0..17).map(|id| format!("{id} {HEX}\n")).collect::<String>();
        assert_eq!(error(&many), KeyFileError::Many { line: 17 });
        for line in [error(""), error("1 secret!")].map(|error| error.line()) {
            assert_eq!(line, 1);
        }
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (text, octets) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9vYg==", b"foob"),
            ("Zm9vYmE=", b"fooba"),
            ("Zm9vYmFy", b"foobar"),
        ] {
            assert_eq!(base64(text).as_deref(), Some(octets), "{text}");
        }
        for wrong in ["Zg", "Zg=", "Zh==", "Z===", "Zm9-", "Zg==Zg=="] {
            assert_eq!(base64(wrong), None, "{wrong}");
        }
    }
}
