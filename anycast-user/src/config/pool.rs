//! `[pool]` and `[service.pool]`, checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anycast_pool::policy::Policy;

use crate::pool::{RegistrarAddress, Registrars, Tls};
use crate::tls;

/// `[pool]`: services register with registrars as elements of a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Each is registered with.
    pub registrars: Vec<RegistrarAddress>,
    /// Interfaces on which announces of more are heard.
    pub discover: Vec<String>,
    /// TLS to them; `None` = plain TCP.
    pub tls: Option<TlsFiles>,
}

/// `[pool.tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities of the registrars' certificates.
    pub ca: PathBuf,
    /// The certificate that is shown to them.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The name in the registrars' certificates; `None` = what each is named by in `registrars`.
    pub server_name: Option<String>,
}

/// A service as an element.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// Its pool's name.
    pub pool: String,
    /// Where users find it.
    pub address: SocketAddr,
    /// How it wants to be chosen.
    pub policy: Policy,
}

impl TlsFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// One cannot be read, or holds something else.
    pub fn load(&self) -> Result<Tls, tls::Error> {
        Ok(Tls {
            client: Arc::new(tls::Client::client(tls::Files {
                certificate: self.certificate.clone(),
                key: self.key.clone(),
                authorities: self.ca.clone(),
            })?),
            server_name: self.server_name.as_deref().map(tls::server_name).transpose()?,
        })
    }
}

impl Pool {
    /// Whom to connect to, and how.
    ///
    /// # Errors
    /// As [`TlsFiles::load`].
    pub fn registrars(&self) -> Result<Registrars, tls::Error> {
        Ok(Registrars {
            addresses: self.registrars.clone(),
            discover: self.discover.clone(),
            tls: self.tls.as_ref().map(TlsFiles::load).transpose()?,
        })
    }
}
