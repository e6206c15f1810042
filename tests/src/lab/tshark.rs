//! What an independent dissector reads in frames: Wireshark's, run as tshark.

use std::io::Write as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The fields that tell of anything a dissector does not like: what is malformed, and expert information of any severity.
const COMPLAINTS: [&str; 2] = ["_ws.malformed", "_ws.expert.message"];

/// One frame as tshark reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dissected {
    /// What the dissectors complain of; empty = nothing.
    pub complaints: Vec<String>,
    /// The values of each field that was asked for, in the order of the question; a field may be there several times.
    pub fields: Vec<Vec<String>>,
}

/// Whether it is installed.
pub fn installed() -> bool {
    Command::new("tshark").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Dissects Ethernet frames; `fields` by their names in display filters.
///
/// # Errors
/// tshark is not installed, or knows no such field.
pub fn dissect<'a>(frames: impl IntoIterator<Item = &'a [u8]>, fields: &[&str]) -> Result<Vec<Dissected>> {
    let mut file = tempfile::NamedTempFile::new().context("make a file for frames")?;
    file.write_all(&pcap(frames)).context("write frames")?;
    let mut command = Command::new("tshark");
    // The kernel leaves checksums of frames that never see a wire to nobody: the lab's are partial, and not looked at.
    command.args(["-r"]).arg(file.path()).args(["-T", "fields", "-E", "separator=/t", "-E", "aggregator=|"]);
    for field in COMPLAINTS.iter().chain(fields) {
        command.args(["-e", field]);
    }
    let output = command.output().context("run tshark (package tshark)")?;
    if !output.status.success() {
        bail!("tshark: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout).context("read what tshark says")?;
    let values =
        |cell: &str| cell.split('|').filter(|value| !value.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    Ok(text
        .lines()
        .map(|line| {
            let mut cells: Vec<Vec<String>> = line.split('\t').map(values).collect();
            cells.resize(COMPLAINTS.len() + fields.len(), Vec::new());
            let fields = cells.split_off(COMPLAINTS.len());
            Dissected { complaints: cells.concat(), fields }
        })
        .collect())
}

/// A file of the classic format: magic, version 2.4, no time zone, link type 1 (Ethernet). Nobody asks for the times.
fn pcap<'a>(frames: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 0x0004_0000, 1] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    for (number, frame) in (0_u32..).zip(frames) {
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        for word in [number, 0, length, length] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(frame);
    }
    file
}
