//! A case that cannot run here is reported as skipped, never as passed.

use std::fs::OpenOptions;
use std::io::Write;

/// Names the file in which skipped cases are collected, one a line: name, tab, reason.
pub const SKIPPED_FILE: &str = "ANYCAST_SKIPPED";

/// Reports the case `name` as skipped because of `reason`: printed, and appended to the file that `ANYCAST_SKIPPED` names.
///
/// # Panics
/// If the file cannot be written: a skipped case that nobody hears of would count as passed.
pub fn skip(name: &str, reason: &str) {
    println!("skipped {name}: {reason}");
    if let Some(path) = std::env::var_os(SKIPPED_FILE) {
        let line = format!("{name}\t{}\n", reason.replace('\n', " "));
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(line.as_bytes()));
        if let Err(error) = written {
            panic!("append to {}: {error}", path.display());
        }
    }
}
