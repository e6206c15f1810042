//! The handlespace on disk.
