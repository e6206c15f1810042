//! Pools by handle, elements by identifier.
