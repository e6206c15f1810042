//! Names: of pools, elements and registrars.

use std::fmt;
use std::sync::Arc;

/// Name of a pool: any octets (RFC 5354 3.9), mostly readable ones. Copies share the octets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolHandle(Arc<[u8]>);

impl PoolHandle {
    /// The handle of these octets.
    pub fn new(octets: impl AsRef<[u8]>) -> Self {
        Self(Arc::from(octets.as_ref()))
    }

    /// Its octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for PoolHandle {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl std::borrow::Borrow<[u8]> for PoolHandle {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for PoolHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for PoolHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Name of an element within its pool: random, 32 bits (RFC 5352 3.1 R2.2).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ElementId(pub u32);

/// Name of a registrar (ENRP server): random, never zero, 32 bits (RFC 5353 2.1).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistrarId(pub u32);

impl RegistrarId {
    /// No registrar yet, or none known (RFC 5354 3.10).
    pub const UNDETERMINED: Self = Self(0);
}

impl fmt::Display for ElementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for ElementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ElementId({self})")
    }
}

impl fmt::Display for RegistrarId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for RegistrarId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegistrarId({self})")
    }
}
