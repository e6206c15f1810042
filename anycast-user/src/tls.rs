//! TLS with certificates on both sides (RFC 5352 5, RFC 5355): of the registrar, of pool elements, of pool users.
//!
//! Keys and certificates are PEM files. Both sides show a certificate, and each is checked against a file of authorities that
//! the operator names: the system's authorities say nothing about who may be in a pool.

mod renewal;

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sha2::{Digest, Sha256};

pub use renewal::{Client, Files, Renewable, Server};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read, or is no PEM file.
    #[error("cannot read {what} from {}: {source}", path.display())]
    Read {
        /// What was looked for in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: pem::Error,
    },
    /// There is no certificate in a file.
    #[error("{} holds no certificate: it must be a PEM file with BEGIN CERTIFICATE", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A certificate of an authority cannot be used.
    #[error("cannot use the authorities of {}: {reason}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Certificate and key do not go together, or are of a kind that is not known.
    #[error("cannot use the certificate {} with the key {}: {source}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
    /// The name or address of a server cannot stand in a certificate.
    #[error("{name} is neither a host name nor an address")]
    Name {
        /// What was given.
        name: String,
    },
}

/// The server's side: it shows `certificate`, and takes only clients whose certificate an authority of `client_ca` signed.
///
/// # Errors
/// See [`Error`].
pub fn server_config(certificate: &Path, key: &Path, client_ca: &Path) -> Result<Arc<ServerConfig>, Error> {
    let (chain, private) = pair(certificate, key)?;
    let unusable = |reason: String| Error::Authority { path: client_ca.to_owned(), reason };
    let roots = Arc::new(authorities(client_ca)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    let mismatch = mismatch(certificate, key);
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(&mismatch)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, private)
        .map_err(&mismatch)?;
    Ok(Arc::new(config))
}

/// The client's side: it shows `certificate`, and talks only to servers whose certificate an authority of `ca` signed for the
/// name that is asked for.
///
/// # Errors
/// See [`Error`].
pub fn client_config(ca: &Path, certificate: &Path, key: &Path) -> Result<Arc<ClientConfig>, Error> {
    let (chain, private) = pair(certificate, key)?;
    let mismatch = mismatch(certificate, key);
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(&mismatch)?
        .with_root_certificates(authorities(ca)?)
        .with_client_auth_cert(chain, private)
        .map_err(&mismatch)?;
    Ok(Arc::new(config))
}

/// What a server's certificate must be for: a host name, or an address as text.
///
/// # Errors
/// [`Error::Name`].
pub fn server_name(name: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(name.to_owned()).map_err(|_| Error::Name { name: name.to_owned() })
}

/// Who the other side is by the chain that it showed and that was verified: the first DNS name of its certificate, which stays
/// the same when the certificate is renewed; `sha256:…` of the certificate if it has none.
pub fn identity(chain: &[CertificateDer<'_>]) -> Option<String> {
    let own = chain.first()?;
    let parsed = webpki::EndEntityCert::try_from(own).ok();
    if let Some(name) = parsed.as_ref().and_then(|certificate| certificate.valid_dns_names().next()) {
        return Some(name.to_ascii_lowercase());
    }
    let mut text = "sha256:".to_owned();
    for octet in Sha256::digest(own) {
        // Writing to a string does not fail.
        let _ = write!(text, "{octet:02x}");
    }
    Some(text)
}

/// An error of a connection in words; of TLS, with what to look at. That the other side refused a certificate comes as an alert, with
/// TLS 1.3 after the handshake.
pub fn explain(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(refusal @ rustls::Error::AlertReceived(_)) => format!(
            "it refused this side's certificate ({refusal}): see whether an authority that it knows signed it"
        ),
        Some(rustls::Error::InvalidCertificate(reason)) => format!(
            "its certificate is not trusted ({reason:?}): see the authorities of this side, and the name it is asked by"
        ),
        _ => error.to_string(),
    }
}

/// The provider is named, never the process's default: two libraries of a process would fight for that.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn mismatch(certificate: &Path, key: &Path) -> impl Fn(rustls::Error) -> Error {
    let (certificate, key) = (certificate.to_owned(), key.to_owned());
    move |source| Error::Pair { certificate: certificate.clone(), key: key.clone(), source }
}

fn pair(
    certificate: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|source| Error::Read {
        what: "a private key",
        path: key.to_owned(),
        source,
    })?;
    Ok((chain, private))
}

fn authorities(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| Error::Authority { path: path.to_owned(), reason: error.to_string() })?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = |source| Error::Read { what: "certificates", path: path.to_owned(), source };
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(read)?.collect::<Result<_, _>>().map_err(read)?;
    if certificates.is_empty() {
        return Err(Error::Empty { path: path.to_owned() });
    }
    Ok(certificates)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    pub type Authority = CertifiedIssuer<'static, KeyPair>;

    pub fn authority() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// `NAME.pem` and `NAME.key` in a directory.
    pub fn issue(directory: &Path, authority: &Authority, name: &str, names: &[&str]) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, authority).unwrap();
        let paths = (directory.join(format!("{name}.pem")), directory.join(format!("{name}.key")));
        std::fs::write(&paths.0, certificate.pem()).unwrap();
        std::fs::write(&paths.1, key.serialize_pem()).unwrap();
        paths
    }

    pub fn authority_file(directory: &Path, authority: &Authority, name: &str) -> PathBuf {
        let path = directory.join(name);
        std::fs::write(&path, authority.pem()).unwrap();
        path
    }

    /// Who the server says the client is, after a handshake and an octet each way.
    async fn talk(
        server: Arc<ServerConfig>,
        client: Arc<ClientConfig>,
        name: &str,
    ) -> Result<Option<String>, ()> {
        let (near, far) = tokio::io::duplex(4096);
        let serve = async {
            let mut stream = TlsAcceptor::from(server).accept(far).await.map_err(drop)?;
            let identity = stream.get_ref().1.peer_certificates().and_then(identity);
            stream.write_all(&[1]).await.map_err(drop)?;
            stream.flush().await.map_err(drop)?;
            Ok(identity)
        };
        let ask = async {
            let name = server_name(name).unwrap();
            let mut stream = TlsConnector::from(client).connect(name, near).await.map_err(drop)?;
            stream.read_u8().await.map_err(drop)
        };
        let (identity, answer) = tokio::join!(serve, ask);
        answer?;
        identity
    }

    #[tokio::test]
    async fn both_sides_show_who_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let (ours, theirs) = (authority(), authority());
        let (ca, other_ca) =
            (authority_file(path, &ours, "ca.pem"), authority_file(path, &theirs, "other.pem"));
        let (certificate, key) = issue(path, &ours, "server", &["registrar.example", "192.0.2.1"]);
        let server = server_config(&certificate, &key, &ca).unwrap();

        let (certificate, key) = issue(path, &ours, "client", &["NS1.example"]);
        let client = client_config(&ca, &certificate, &key).unwrap();
        for name in ["registrar.example", "192.0.2.1"] {
            let identity = talk(server.clone(), client.clone(), name).await;
            assert_eq!(identity, Ok(Some("ns1.example".to_owned())));
        }
        // The server is another one than the one that is asked for.
        talk(server.clone(), client, "other.example").await.unwrap_err();
        // The client trusts another authority.
        let client = client_config(&other_ca, &certificate, &key).unwrap();
        talk(server.clone(), client, "registrar.example").await.unwrap_err();
        // The server does.
        let (certificate, key) = issue(path, &theirs, "stranger", &["ns1.example"]);
        let client = client_config(&ca, &certificate, &key).unwrap();
        talk(server, client, "registrar.example").await.unwrap_err();
    }

    #[test]
    fn a_certificate_without_a_name_is_known_by_its_digest() {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, _) = issue(directory.path(), &authority(), "client", &["192.0.2.7"]);
        let identity = identity(&certificates(&certificate).unwrap()).unwrap();
        assert!(identity.starts_with("sha256:") && identity.len() == 7 + 64, "{identity}");
    }

    #[test]
    fn errors_name_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let authority = authority();
        let ca = authority_file(path, &authority, "ca.pem");
        let (certificate, key) = issue(path, &authority, "a", &["a.example"]);
        let (_, other) = issue(path, &authority, "b", &["b.example"]);
        let empty = path.join("empty.pem");
        std::fs::write(&empty, "").unwrap();
        let cases = [
            (path.join("missing.pem"), key.clone(), ca.clone(), "missing.pem"),
            (empty.clone(), key.clone(), ca.clone(), "empty.pem holds no certificate"),
            (certificate.clone(), empty.clone(), ca.clone(), "a private key from"),
            (certificate.clone(), other, ca, "b.key"),
            (certificate, key, empty, "empty.pem"),
        ];
        for (certificate, key, ca, expected) in cases {
            let error = server_config(&certificate, &key, &ca).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            let error = client_config(&ca, &certificate, &key).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
